/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holder's side: what this node may do with each page, what it has asked for, and how it gives
 * pages up. Invariants:
 *   - a page with a request under way (pending) has exactly one, and it is at the page's manager;
 *   - state PAGE_READ or PAGE_WRITE implies that the frame holds bytes of `version`, the current
 * one;
 *   - an invalidation or downgrade is acknowledged after the pager has reported it done;
 *   - the manager sends no recall for a page between its grant and this node's confirmation.
 */
#include "engine/internal.h"

static struct page_entry *entry_of(struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return &engine->pages[page.value];
}

void page_set_pending(struct engine *engine, struct page_id page, enum page_pending pending)
{
	struct page_entry *entry = entry_of(engine, page);

	if (entry->pending == PENDING_NONE && pending != PENDING_NONE)
		engine->pending_count++;
	if (entry->pending != PENDING_NONE && pending == PENDING_NONE) {
		engine->pending_count--;
		engine->waited_count -= entry->waited;
		entry->waited = 0;
		entry->guess = 0;
	}
	entry->pending = (unsigned int)pending & 15u;
}

static bool pending_is_write(enum page_pending pending)
{
	return pending == PENDING_WRITE_HOME || pending == PENDING_WRITE_ASKED ||
	       pending == PENDING_WRITE_FETCH;
}

bool page_asked(const struct engine *engine, struct page_id page, bool write)
{
	return engine->pages[page.value].pending ==
	       (write ? PENDING_WRITE_ASKED : PENDING_READ_ASKED);
}

static void set_peer(struct page_entry *entry, struct node_id peer)
{
	entry->peer = (uint16_t)(peer.value + 1u);
}

/* ---- asking ---- */

static void fail(struct engine *engine, struct page_id page, struct node_id lost)
{
	page_set_pending(engine, page, PENDING_NONE);
	emit_page(engine, CMD_FAIL, page, lost);
	pin_settle(engine, page, -EHOSTDOWN);
	if (home_moves(engine, page)) {
		locate_end(engine, page);
		handover_send_back(engine, page);
	}
}

void page_ask(struct engine *engine, struct page_id page, bool write, struct node_id manager)
{
	const struct message_request request = {
		.node = engine->config.self.value,
		.flags = entry_of(engine, page)->guess ? REQUEST_GUESS : 0,
	};

	if (engine_down(engine, manager)) {
		fail(engine, page, manager);
		return;
	}
	page_set_pending(engine, page, write ? PENDING_WRITE_ASKED : PENDING_READ_ASKED);
	emit_request(engine, manager, write ? MSG_WRITE_REQUEST : MSG_READ_REQUEST, page, &request);
}

/* Sends the request, or has the home looked up first. `fast`: a fast read is worth a try. */
static void ask(struct engine *engine, struct page_id page, bool write, bool fast)
{
	struct node_id manager;

	if (!home_manager(engine, page, &manager)) {
		if (engine_down(engine, node_id(0))) {
			fail(engine, page, node_id(0));
			return;
		}
		page_set_pending(engine, page, write ? PENDING_WRITE_HOME : PENDING_READ_HOME);
		return;
	}
	if (!home_moves(engine, page)) {
		if (fast && !write && fast_possible(engine, page, manager))
			fast_ask(engine, page, manager);
		else
			page_ask(engine, page, write, manager);
		return;
	}
	page_set_pending(engine, page, write ? PENDING_WRITE_ASKED : PENDING_READ_ASKED);
	entry_of(engine, page)->turned = 0;
	locate_ask(engine, page);
}

bool page_room(struct engine *engine, struct page_id page)
{
	return entry_of(engine, page)->pending != PENDING_NONE ||
	       engine->pending_count < engine->config.page_requests;
}

void page_want(struct engine *engine, struct page_id page, bool write)
{
	struct page_entry *entry = entry_of(engine, page);

	if (entry->pending == PENDING_NONE && entry->state < (write ? PAGE_WRITE : PAGE_READ))
		ask(engine, page, write, true);
}

void page_guess(struct engine *engine, struct page_id page)
{
	entry_of(engine, page)->guess = 1;
	ask(engine, page, false, false);
}

bool page_forget(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = entry_of(engine, page);
	bool waited = entry->waited;

	page_set_pending(engine, page, PENDING_NONE);
	return waited;
}

void page_home_known(struct engine *engine, uint64_t unit)
{
	for (uint64_t i = 0; i < UNIT_PAGES; i++) {
		struct page_id page = page_id(unit * UNIT_PAGES + i);
		enum page_pending pending = entry_of(engine, page)->pending;

		if (pending == PENDING_READ_HOME || pending == PENDING_WRITE_HOME) {
			ROW("home known");
			ask(engine, page, pending == PENDING_WRITE_HOME, false);
		}
	}
}

static void count_fault(struct engine *engine, const struct page_entry *entry, bool write)
{
	if (!write)
		engine->stats.read_faults++;
	else if (entry->state == PAGE_READ)
		engine->stats.upgrades++;
	else
		engine->stats.write_faults++;
}

static void note_waiting(struct engine *engine, struct page_entry *entry)
{
	if (entry->pending == PENDING_NONE || entry->waited)
		return;
	entry->waited = 1;
	engine->waited_count++;
}

/* One that is to store faults again. */
void page_want_waited(struct engine *engine, struct page_id page)
{
	page_want(engine, page, false);
	note_waiting(engine, entry_of(engine, page));
}

int page_fault(struct engine *engine, const struct event *event)
{
	struct page_id page = event->fault.run.page;
	struct page_entry *entry = entry_of(engine, page);
	enum page_state wanted = event->fault.write ? PAGE_WRITE : PAGE_READ;

	if (entry->state >= wanted) {
		ROW("late fault");
		/* Stale: the page came while the fault was on its way, or the kernel dropped the
		 * translation. Showing it again is harmless and wakes the thread. */
		engine->stats.spurious_faults++;
		emit_page(engine, entry->state == PAGE_WRITE ? CMD_MAP_WRITE : CMD_MAP_READ, page,
			  engine->config.self);
		return 0;
	}
	if (entry->pending == PENDING_NONE) {
		if (engine->pending_count >= engine->config.page_requests)
			return -EAGAIN;
		ROW("fault");
		count_fault(engine, entry, event->fault.write);
		ask(engine, page, event->fault.write, true);
	} else {
		ROW("fault while asking");
	}
	/* The thread runs when the page comes; one that stores to a page for reading faults again.
	 */
	note_waiting(engine, entry);
	return 0;
}

int page_prefetch(struct engine *engine, const struct event *event)
{
	struct run run = event->fault.run;
	enum page_state wanted = event->fault.write ? PAGE_WRITE : PAGE_READ;

	ASSERT(run.page_count <= UNIT_PAGES);
	if (event->fault.guess)
		return guess_ask(engine, run);
	if (engine->pending_count + run.page_count > engine->config.page_requests)
		return -EAGAIN;
	for (uint32_t i = 0; i < run.page_count; i++) {
		struct page_entry *entry = entry_of(engine, page_add(run.page, i));

		if (entry->state >= wanted || entry->pending != PENDING_NONE)
			continue;
		ROW("prefetch");
		engine->stats.prefetches++;
		/* Many pages of one manager are asked for in one message. */
		ask(engine, page_add(run.page, i), event->fault.write, false);
	}
	return 0;
}

/* ---- granted ---- */

static uint32_t microseconds(uint64_t ns)
{
	return (uint32_t)(ns / 1000);
}

void page_show(struct engine *engine, struct page_id page, enum page_state state)
{
	struct page_entry *entry = entry_of(engine, page);
	enum command_kind command = CMD_MAP_READ;

	if (state == PAGE_WRITE)
		command = entry->state == PAGE_READ ? CMD_UPGRADE : CMD_MAP_WRITE;
	entry->state = (unsigned int)state & 3u;
	entry->held_until = microseconds(engine->now_ns + engine->config.hold_ns) + 1;
	engine->stats.guesses_met += entry->guess;
	page_set_pending(engine, page, PENDING_NONE);
	if (state == PAGE_WRITE && engine_updates(engine, page))
		update_writable(engine, page);
	emit_page(engine, command, page, engine->config.self);
}

/*
 * The page is shown, and told who granted it. Where managers move, a page for writing makes this
 * node its manager, as soon as the old one has handed it over, or is lost.
 */
static void complete(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = entry_of(engine, page);
	struct node_id granter = node_id(entry->peer - 1u);
	bool write = pending_is_write(entry->pending);
	bool confirmed = MUTANT(EARLY_CONFIRM) && entry->pending > PENDING_WRITE_ASKED;

	entry->version += write;
	page_show(engine, page, write ? PAGE_WRITE : PAGE_READ);
	if (!confirmed)
		emit_run(engine, granter, MSG_CONFIRM, page, node_id(0));
	if (!write || !home_moves(engine, page) || node_equal(granter, engine->config.self))
		entry->peer = 0;
	else
		handover_settle(engine, page);
	pin_settle(engine, page, 0);
	pin_want(engine, page);
}

static bool grant_fits(struct engine *engine, const struct message_grant *grant, uint32_t index,
		       bool write)
{
	struct page_id page = page_id(grant->page + index);
	struct page_entry *entry = entry_of(engine, page);
	bool same = entry->version == grant_version(grant, index) ||
		    (MUTANT(STALE_UPGRADE) && entry->state == PAGE_READ);

	return page_asked(engine, page, write) && entry->peer == 0 &&
	       (same ||
		(entry->state == PAGE_INVALID && grant->owner != engine->config.self.value));
}

/* Where managers move: from whom the page came is a good guess at who manages it. */
static void note_granter(struct engine *engine, struct page_id page, struct node_id from,
			 uint64_t version)
{
	struct page_entry *entry = entry_of(engine, page);

	locate_end(engine, page);
	if (node_equal(from, engine->config.self))
		return;
	if (!entry->turned)
		entry->hint = from.value + 1u;
	handover_note(engine, page,
		      (struct message_known){ .version = version & VERSION_NONE,
					      .node = from.value + 1u });
}

static void granted(struct engine *engine, struct node_id from, const struct message_grant *grant,
		    uint32_t index, bool write)
{
	struct page_id page = page_id(grant->page + index);
	struct page_entry *entry = entry_of(engine, page);
	uint64_t version = grant_version(grant, index);

	set_peer(entry, from);
	evict_granted(engine, page);
	if (home_moves(engine, page))
		note_granter(engine, page, from, version);
	if ((MUTANT(STALE_GRANT) || (MUTANT(STALE_UPGRADE) && entry->state == PAGE_READ)) &&
	    entry->version + 1 == version)
		entry->version = version & VERSION_NONE;
	if (entry->version == version) {
		ROW("grant");
		engine->stats.pages_granted++;
		complete(engine, page);
		return;
	}
	ROW("grant to fetch");
	engine->stats.pages_fetched++;
	entry->version = version & VERSION_NONE;
	page_set_pending(engine, page, write ? PENDING_WRITE_FETCH : PENDING_READ_FETCH);
	emit_page(engine, CMD_READ, page, node_id(grant->owner));
	if (MUTANT(EARLY_CONFIRM))
		emit_run(engine, from, MSG_CONFIRM, page, node_id(0));
}

/*
 * A manager that moves may have been asked more than once for the same thing; what
 * this node does not wait for it does not take.
 */
static bool declines(const struct engine *engine, const struct message_grant *grant, uint32_t index,
		     bool write)
{
	struct page_id page = page_id(grant->page + index);

	return home_moves(engine, page) && !page_asked(engine, page, write) &&
	       !MUTANT(SECOND_GRANT);
}

int page_granted(struct engine *engine, struct node_id from, const struct message *message)
{
	const struct message_grant *grant = &message->grant;
	bool write = message->kind == MSG_WRITE_GRANT;

	for (uint32_t i = 0; i < grant->page_count; i++) {
		if (!declines(engine, grant, i, write) && !grant_fits(engine, grant, i, write))
			return -EPROTO;
	}
	for (uint32_t i = 0; i < grant->page_count; i++) {
		if (!declines(engine, grant, i, write)) {
			granted(engine, from, grant, i, write);
			continue;
		}
		ROW("declined");
		engine->stats.declines++;
		emit_run(engine, from, MSG_DECLINE, page_id(grant->page + i), node_id(0));
	}
	return 0;
}

/* The manager finds another copy and grants again, or refuses. If it is lost, who has the page? */
static void not_had(struct engine *engine, struct page_id page, struct node_id source)
{
	struct page_entry *entry = entry_of(engine, page);
	bool write = entry->pending == PENDING_WRITE_FETCH;
	struct node_id granter = node_id(entry->peer - 1u);

	if (!MUTANT(KEPT_VERSION))
		entry->version = VERSION_NONE;
	entry->peer = 0;
	page_set_pending(engine, page, write ? PENDING_WRITE_ASKED : PENDING_READ_ASKED);
	if (engine_down(engine, granter) && home_moves(engine, page)) {
		ROW("manager lost before the bytes came");
		locate_again(engine, page);
	} else {
		ROW("bytes not had");
		emit_run(engine, granter, MSG_FETCH_FAILED, page, source);
	}
}

void page_read_done(struct engine *engine, const struct event *event)
{
	for (uint32_t i = 0; i < event->run.page_count; i++) {
		struct page_id page = page_add(event->run.page, i);
		struct page_entry *entry = entry_of(engine, page);

		if (entry->pending == PENDING_NONE)
			continue; /* given up when the manager was lost */
		if (entry->pending == PENDING_READ_FAR) {
			fast_far_done(engine, page, event->status);
			continue;
		}
		ASSERT(entry->pending == PENDING_READ_FETCH ||
		       entry->pending == PENDING_WRITE_FETCH);
		if (event->status != 0) {
			not_had(engine, page, event->peer);
			continue;
		}
		ROW("bytes arrived");
		complete(engine, page);
	}
}

static bool asked(const struct engine *engine, struct page_id page)
{
	return page_asked(engine, page, false) || page_asked(engine, page, true);
}

int page_refused(struct engine *engine, struct node_id from, const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (!asked(engine, page) && !home_moves(engine, page))
			return -EPROTO;
	}
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (!asked(engine, page))
			continue; /* the answer to an older request */
		ROW("refused");
		if (home_moves(engine, page))
			entry_of(engine, page)->hint = from.value + 1u;
		fail(engine, page, node_id(run->node));
	}
	return 0;
}

/* ---- recalled ---- */

static bool held(const struct engine *engine, const struct page_entry *entry)
{
	uint32_t hold_us = microseconds(engine->config.hold_ns) + 2;
	uint32_t left = entry->held_until - microseconds(engine->now_ns);

	return engine->config.hold_ns > 0 && left != 0 && left <= hold_us;
}

bool page_fresh(const struct engine *engine, struct page_id page)
{
	return held(engine, &engine->pages[page.value]);
}

void page_acknowledge(struct engine *engine, struct node_id manager, struct page_id page,
		      bool downgrade, bool empty)
{
	if (downgrade)
		emit_run(engine, manager, MSG_DOWNGRADED, page, node_id(0));
	else
		emit_flagged_run(engine, manager, MSG_INVALIDATED, page, node_id(0),
				 empty && engine_fast(engine) ? RUN_EMPTY : 0);
}

void page_recall(struct engine *engine, struct page_id page, struct node_id manager, bool downgrade)
{
	struct page_entry *entry = entry_of(engine, page);

	if (pin_puts_off(engine, page, manager, downgrade))
		return;
	if (downgrade && engine_updates(engine, page)) {
		update_recalled(engine, page);
		return;
	}
	if (evict_recalled(engine, page, manager, downgrade))
		return;
	if (entry->state == PAGE_INVALID) {
		ROW("recall of a page that has gone");
		page_acknowledge(engine, manager, page, downgrade, false);
		return;
	}
	/* So it was when the recall came; one that is put off leaves the page as it is. */
	ASSERT(entry->state == PAGE_WRITE || (entry->state == PAGE_READ && !downgrade));
	if (!MUTANT(STICKY_READ) || entry->pending != PENDING_WRITE_ASKED)
		entry->state = downgrade ? PAGE_READ : PAGE_INVALID;
	set_peer(entry, manager);
	entry->recall_downgrade = downgrade;
	engine->pager_count++;
	if (downgrade) {
		ROW("downgrade");
		engine->stats.downgrades++;
	} else {
		ROW("invalidate");
		engine->stats.invalidations++;
	}
	emit_page(engine, downgrade ? CMD_DOWNGRADE : CMD_INVALIDATE, page, engine->config.self);
	if (MUTANT(EARLY_ACK) || (MUTANT(EARLY_DOWNGRADED) && downgrade)) {
		entry->peer = 0;
		page_acknowledge(engine, manager, page, downgrade, false);
	}
}

static bool defer(struct engine *engine, struct page_id page, struct node_id manager,
		  bool downgrade)
{
	struct page_entry *entry = entry_of(engine, page);

	if (entry->state == PAGE_INVALID || !held(engine, entry) ||
	    engine->deferral_count == DEFERRALS_MAX)
		return false;
	ROW("recall of a fresh page");
	uint32_t left_us = entry->held_until - microseconds(engine->now_ns);
	uint32_t slot = (engine->deferral_head + engine->deferral_count++) % DEFERRALS_MAX;

	engine->deferrals[slot] = (struct deferral){
		.page = page,
		.manager = manager,
		.downgrade = downgrade,
		.due_ns = engine->now_ns + (uint64_t)left_us * 1000,
	};
	return true;
}

/*
 * Where managers move: the writer for whom this node gives up its copy is the next manager. Not so
 * if the hint was turned to a requester since; that one comes later still.
 */
static void note_writer(struct engine *engine, struct page_id page, struct node_id from,
			struct node_id writer)
{
	struct node_id manager;

	if (home_moves(engine, page) && !node_equal(from, engine->config.self) &&
	    home_known(engine, page, &manager) && node_equal(manager, from))
		entry_of(engine, page)->hint = writer.value + 1u;
}

/*
 * Is there something to give up? Who is in a copy set has the page, but for one that is being
 * granted it, and that one is not recalled, and sharers; nothing else may be under way that the
 * manager, or the pager, has to end first.
 */
static bool recall_fits(struct engine *engine, struct page_id page, bool downgrade)
{
	const struct page_entry *entry = entry_of(engine, page);

	/* A page that this node stops writing by itself may be asked for meanwhile. */
	if (entry->peer != 0)
		return downgrade && entry->protecting;
	/* One that goes does so unknown to the manager. */
	if (entry->leave == LEAVE_UNMAPPING || entry->leave == LEAVE_ASKED)
		return true;
	if (downgrade)
		return entry->state == PAGE_WRITE || engine_updates(engine, page);
	/* A sharer need not have the page. */
	return entry->state != PAGE_INVALID || entry->shared;
}

int page_recalled(struct engine *engine, struct node_id from, const struct message_run *run,
		  bool downgrade)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		if (!recall_fits(engine, page_id(run->page + i), downgrade))
			return -EPROTO;
	}
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (!downgrade)
			note_writer(engine, page, from, node_id(run->node));
		if (!downgrade && (run->flags & RUN_CLEARED) != 0)
			fast_cleared(engine, page);
		if (!downgrade && fast_recalled(engine, page, from))
			continue;
		if (!defer(engine, page, from, downgrade))
			page_recall(engine, page, from, downgrade);
	}
	return 0;
}

/*
 * Deferrals are due nearly in order; a later one waits for the head. One for
 * a manager that is lost by now is dropped: nobody would get what is taken away here.
 */
void page_timer(struct engine *engine)
{
	while (engine->deferral_count > 0) {
		struct deferral deferral = engine->deferrals[engine->deferral_head];

		if (deferral.due_ns > engine->now_ns)
			return;
		ROW("hold time over");
		engine->deferral_head = (engine->deferral_head + 1) % DEFERRALS_MAX;
		engine->deferral_count--;
		if (!engine_down(engine, deferral.manager))
			page_recall(engine, deferral.page, deferral.manager, deferral.downgrade);
	}
}

uint64_t page_timer_ns(const struct engine *engine)
{
	if (engine->deferral_count == 0 || MUTANT(FORGOTTEN_HOLD))
		return UINT64_MAX;
	return engine->deferrals[engine->deferral_head].due_ns;
}

void page_pager_done(struct engine *engine, const struct event *event)
{
	for (uint32_t i = 0; i < event->pager.run.page_count; i++) {
		struct page_id page = page_add(event->pager.run.page, i);
		struct page_entry *entry = entry_of(engine, page);
		struct node_id manager = node_id(entry->peer - 1u);

		ASSERT(engine->pager_count > 0);
		engine->pager_count--;
		if (evict_unmapped(engine, page))
			continue;
		if (MUTANT(EARLY_ACK) || (MUTANT(EARLY_DOWNGRADED) && event->pager.downgrade))
			continue;
		ASSERT(entry->peer != 0);
		ROW("pager done");
		entry->peer = 0;
		/* Of a page that was being evicted too, this may be the end of that. */
		page_acknowledge(engine, manager, page,
				 engine_updates(engine, page) ? event->pager.downgrade
							      : entry->recall_downgrade,
				 false);
		entry->recall_downgrade = 0;
		if (event->pager.downgrade && engine_updates(engine, page))
			update_protected(engine, page, manager);
	}
	update_advance(engine);
}

/* ---- loss ---- */

/* Is what the page waits for lost with `peer`? A page whose manager moves is looked for anew. */
static bool waits_for(const struct engine *engine, struct page_id page, struct node_id peer)
{
	enum page_pending pending = engine->pages[page.value].pending;
	struct node_id manager;

	if (pending == PENDING_NONE)
		return false;
	if (!home_known(engine, page, &manager))
		manager = node_id(0); /* it was asked for the home */
	else if (home_moves(engine, page))
		return false;
	return node_equal(manager, peer);
}

/* What was asked of the lost manager will not come. Pages held stay usable. */
void page_peer_down(struct engine *engine, struct node_id peer)
{
	if (engine->pending_count == 0)
		return;
	for (uint64_t i = 0; i < engine->region_end; i++) {
		struct page_entry *entry = &engine->pages[i];

		if (!waits_for(engine, page_id(i), peer))
			continue;
		ROW("manager lost");
		if (entry->pending == PENDING_READ_FETCH || entry->pending == PENDING_WRITE_FETCH ||
		    entry->pending == PENDING_READ_FAR)
			entry->version = VERSION_NONE;
		if (entry->pending > PENDING_WRITE_ASKED)
			entry->peer = 0;
		fail(engine, page_id(i), peer);
	}
}
