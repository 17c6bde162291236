/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up copies that this node wants memory back from. A copy goes in two steps: it is unmapped,
 * then the manager says whether its frame is needed (EVICTED: no; KEPT: it has the only current
 * bytes, or others may be reading it). Only after EVICTED does the frame go, and with it the
 * version: a frame that was given back reads as zeros, which is what version 0 is.
 *
 * Invariants:
 *   - a page has at most one EVICT on its way, which is answered in the step in which it arrives;
 *   - from EVICTED on, the manager names the node's frame to nobody until it grants the page to it;
 *   - the home's frame is never given up, nor one of a page under write-update, nor any where
 *     managers move: a copy that is unmapped unknown to the manager would have its next request
 *     taken for one that was served already (row "stale").
 *
 * An owner that goes has the page returned home first: the home is told to ask for it (TAKE), as
 * anybody would, and becomes the owner when it confirms. The owner asks again some time.
 */
#include "engine/directory.h"

/* ---- the holder's side ---- */

static void set_leave(struct engine *engine, struct page_entry *entry, enum page_leave leave)
{
	engine->leave_count -= entry->leave != LEAVE_NONE;
	engine->leave_count += leave != LEAVE_NONE;
	entry->leave = (unsigned int)leave & 3u;
}

bool engine_evictable(const struct engine *engine, struct page_id page)
{
	/* Whose frame a gate names, somebody may be reading. */
	return !engine_fast(engine) && !engine_updates(engine, page) && !home_moves(engine, page) &&
	       engine_home(engine, page) != engine->config.self.value;
}

/* Can the copy go? The manager is told in `manager`. */
static bool may_leave(struct engine *engine, struct page_id page, struct node_id *manager)
{
	const struct page_entry *entry = &engine->pages[page.value];

	if (entry->pending != PENDING_NONE || entry->peer != 0 || entry->leave != LEAVE_NONE ||
	    page_fresh(engine, page) || pin_holds(engine, page))
		return false;
	return engine_evictable(engine, page) && home_known(engine, page, manager) &&
	       !engine_down(engine, *manager);
}

static void ask(struct engine *engine, struct page_id page, struct node_id manager)
{
	set_leave(engine, &engine->pages[page.value], LEAVE_ASKED);
	emit_pages(engine, manager, MSG_EVICT, page);
}

void evict_event(struct engine *engine, const struct event *event)
{
	for (uint32_t i = 0; i < event->run.page_count; i++) {
		struct page_id page = page_add(event->run.page, i);
		struct page_entry *entry = &engine->pages[page.value];
		struct node_id manager;

		if (!may_leave(engine, page, &manager))
			continue;
		engine->stats.evictions++;
		if (entry->state == PAGE_INVALID) {
			ROW("evict what is not mapped");
			ask(engine, page, manager);
			continue;
		}
		ROW("evict");
		set_leave(engine, entry, LEAVE_UNMAPPING);
		entry->state = PAGE_INVALID;
		engine->pager_count++;
		emit_page(engine, CMD_INVALIDATE, page, engine->config.self);
	}
}

bool evict_recalled(struct engine *engine, struct page_id page, struct node_id manager,
		    bool downgrade)
{
	struct page_entry *entry = &engine->pages[page.value];

	if (entry->leave != LEAVE_UNMAPPING || MUTANT(HASTY_LEAVER))
		return false;
	ROW("recall of a page that goes");
	entry->recall_downgrade = downgrade;
	entry->peer = (uint16_t)(manager.value + 1u);
	return true;
}

/* The manager's recall that has come meanwhile, if any, is answered before it is asked. */
static void unmapped(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = &engine->pages[page.value];
	struct node_id manager = node_id(entry->peer - 1u);

	set_leave(engine, entry, LEAVE_NONE);
	if (entry->peer != 0) {
		ROW("unmapped after a recall");
		entry->peer = 0;
		page_acknowledge(engine, manager, page, entry->recall_downgrade, false);
		entry->recall_downgrade = 0;
	}
	if (home_known(engine, page, &manager) && !engine_down(engine, manager)) {
		ROW("unmapped");
		ask(engine, page, manager);
	}
}

bool evict_unmapped(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = &engine->pages[page.value];

	if (entry->leave == LEAVE_UNMAPPING) {
		unmapped(engine, page);
		return true;
	}
	if (entry->leave != LEAVE_SHOWN)
		return false;
	/* A recall of what was shown meanwhile is answered when the pager has done both. */
	ROW("unmapped, and shown again");
	set_leave(engine, entry, LEAVE_NONE);
	return true;
}

void evict_granted(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = &engine->pages[page.value];

	if (entry->leave == LEAVE_UNMAPPING)
		set_leave(engine, entry, LEAVE_SHOWN);
}

static int answered(struct engine *engine, struct page_id page, bool gone)
{
	struct page_entry *entry = &engine->pages[page.value];

	/* It is answered before anything that this node has asked for since. */
	if (entry->leave != LEAVE_ASKED || (gone && entry->state != PAGE_INVALID))
		return -EPROTO;
	set_leave(engine, entry, LEAVE_NONE);
	if (!gone) {
		ROW("frame kept");
	} else {
		ROW("evicted");
		engine->stats.pages_evicted++;
		entry->version = MUTANT(KEPT_EVICTED) ? entry->version : 0;
		emit_page(engine, CMD_RELEASE, page, engine->config.self);
	}
	return 0;
}

int evict_answered(struct engine *engine, struct node_id from, const struct message_pages *pages,
		   bool gone)
{
	(void)from;
	for (uint32_t i = 0; i < pages->page_count; i++) {
		int error = answered(engine, page_id(pages->pages[i]), gone);

		if (error != 0)
			return error;
	}
	return 0;
}

/* The answers of a manager that is lost do not come. */
void evict_peer_down(struct engine *engine, struct node_id peer)
{
	for (uint64_t i = 0; i < engine->region_end && engine->leave_count > 0; i++) {
		struct page_entry *entry = &engine->pages[i];
		struct node_id manager;

		if (entry->leave != LEAVE_ASKED || !home_known(engine, page_id(i), &manager) ||
		    !node_equal(manager, peer))
			continue;
		ROW("no answer will come");
		set_leave(engine, entry, LEAVE_NONE);
	}
}

/* ---- the home's side ---- */

int evict_take(struct engine *engine, struct node_id from, const struct message_pages *pages)
{
	for (uint32_t i = 0; i < pages->page_count; i++) {
		struct page_id page = page_id(pages->pages[i]);
		const struct page_entry *entry = &engine->pages[page.value];
		struct node_id manager;

		if (home_moves(engine, page) || engine_updates(engine, page) ||
		    !home_known(engine, page, &manager) || !node_equal(manager, from))
			return -EPROTO;
		home_learn(engine, page, (uint16_t)(engine->config.self.value + 1u));
		if (entry->state != PAGE_INVALID || !page_room(engine, page))
			continue; /* it is here, or the owner will ask again */
		ROW("take");
		page_want(engine, page, false);
	}
	return 0;
}

/* ---- the manager's side ---- */

static void answer(struct engine *engine, struct node_id node, enum message_kind kind,
		   struct page_id page)
{
	emit_pages(engine, node, kind, page);
}

static bool is_home(const struct engine *engine, struct page_id page, struct node_id node)
{
	return engine_home(engine, page) == node.value;
}

/* The owner wants to go, and nobody is reading its frame. */
static void return_home(struct engine *engine, struct directory_entry *entry, struct page_id page,
			struct node_id from)
{
	uint16_t home = engine_home(engine, page);

	set_flag(entry, DIRECTORY_EXCLUSIVE, false); /* it has unmapped the page */
	if (home == HOME_UNKNOWN || engine_down(engine, node_id(home))) {
		ROW("evict of an owner without a home");
		answer(engine, from, MSG_KEPT, page);
	} else if (home == from.value) {
		ROW("evict of an owner at home");
		answer(engine, from, MSG_KEPT, page);
		emit_pages(engine, from, MSG_TAKE, page); /* so it hears of it */
	} else if (bitset_test(holders_of(entry), home)) {
		ROW("evict beside the home's copy");
		entry->owner = (uint16_t)(home + 1u);
		answer(engine, from, MSG_EVICTED, page);
	} else {
		ROW("evict of an owner");
		set_flag(entry, DIRECTORY_RETURNING, true);
		answer(engine, from, MUTANT(LOST_RETURN) ? MSG_EVICTED : MSG_KEPT, page);
		emit_pages(engine, node_id(home), MSG_TAKE, page);
	}
}

/* Are grants out that name other frames than the owner's? */
static bool mixed(struct directory_entry *entry)
{
	if (entry->granted == 0)
		set_flag(entry, DIRECTORY_MIXED, false);
	return flag(entry, DIRECTORY_MIXED);
}

static void evict(struct engine *engine, struct directory_entry *entry, struct page_id page,
		  struct node_id from)
{
	bool told = entry->state == DIRECTORY_INVALIDATING &&
		    bitset_test(holders_of(entry), from.value);

	if (told || directory_is_granted(engine, entry, from.value)) {
		ROW("evict beside an invalidation");
		answer(engine, from, MSG_KEPT, page);
		return;
	}
	bitset_clear(holders_of(entry), from.value);
	if (entry->version == 0) {
		ROW("evict of zeros");
		answer(engine, from, MSG_EVICTED, page);
	} else if (node_equal(owner_of(engine, entry), from)) {
		if (entry->state == DIRECTORY_QUIET && entry->granted == 0) {
			return_home(engine, entry, page, from);
			return;
		}
		ROW("evict of a frame that is read");
		answer(engine, from, MSG_KEPT, page);
	} else if ((entry->spare == from.value + 1u && entry->state != DIRECTORY_QUIET) ||
		   mixed(entry)) {
		ROW("evict of a frame that may be needed");
		answer(engine, from, MSG_KEPT, page);
	} else {
		ROW("evict of a copy");
		if (entry->spare == from.value + 1u)
			entry->spare = 0;
		answer(engine, from, MSG_EVICTED, page);
	}
	directory_pump(engine, entry, page);
}

int evict_asked(struct engine *engine, struct node_id from, const struct message_pages *pages)
{
	for (uint32_t i = 0; i < pages->page_count; i++) {
		struct page_id page = page_id(pages->pages[i]);
		struct directory_entry *entry = entry_of(engine, page);

		if (engine_updates(engine, page) || home_moves(engine, page) ||
		    !home_adopt(engine, page))
			return -EPROTO;
		directory_pump(engine, entry, page); /* after a loss, it mends the entry */
		evict(engine, entry, page, from);
	}
	return 0;
}

void evict_read_confirmed(struct engine *engine, struct directory_entry *entry, struct page_id page,
			  struct node_id from)
{
	if (!flag(entry, DIRECTORY_RETURNING) || !is_home(engine, page, from) ||
	    engine_down(engine, from))
		return;
	ROW("returned");
	entry->spare = (uint16_t)(owner_of(engine, entry).value + 1u); /* until it goes */
	entry->owner = (uint16_t)(from.value + 1u);
	set_flag(entry, DIRECTORY_RETURNING, false);
	/* Others may still be reading the old owner's frame. */
	if (entry->granted != 0)
		set_flag(entry, DIRECTORY_MIXED, true);
}
