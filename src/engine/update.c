/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holder's side of pages under write-update: which pages this node may have changed since they
 * were last published, the threads that wait until they are, and updates of pages that this node
 * reads. Invariants:
 *   - a page is in the list from its becoming writable until PUBLISHED, or its manager's loss; the
 *     list is in the order of the tickets;
 *   - a page of the list that is not writable is moving: its DOWNGRADED is sent, or is as soon as
 *     the pager is done, and PUBLISHED answers it;
 *   - what leaves the list unpublished, with its manager, is told to those who wait for it, or else
 *     to the next who publishes;
 *   - pages of the list before the cursor are moving, or will be when they are not pinned any more,
 *     or were made writable after the goal was set;
 *   - a page that is being fetched is held for reading, at the version before the one that comes.
 */
#include "engine/internal.h"

static struct page_entry *entry_of(struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return &engine->pages[page.value];
}

/* ---- the list of what has changed ---- */

static struct update_link *link_at(struct update_state *update, uint32_t link)
{
	ASSERT(link != 0);
	return &update->links[link - 1];
}

static struct update_link *link_of(struct engine *engine, struct page_id page)
{
	return link_at(&engine->update, (uint32_t)page.value + 1);
}

void update_writable(struct engine *engine, struct page_id page)
{
	struct update_state *update = &engine->update;
	struct update_link *entry = link_of(engine, page);
	uint32_t link = (uint32_t)page.value + 1;

	ASSERT(entry->ticket == 0);
	*entry = (struct update_link){ .ticket = ++update->ticket, .previous = update->last };
	if (update->last == 0)
		update->first = link;
	else
		link_at(update, update->last)->next = link;
	update->last = link;
	if (update->cursor == 0)
		update->cursor = link;
}

static void list_remove(struct engine *engine, struct page_id page)
{
	struct update_state *update = &engine->update;
	struct update_link *entry = link_of(engine, page);

	ASSERT(entry->ticket != 0);
	if (entry_of(engine, page)->state != PAGE_WRITE) {
		ASSERT(update->moving > 0);
		update->moving--;
	}
	if (update->cursor == page.value + 1)
		update->cursor = entry->next;
	if (entry->previous == 0)
		update->first = entry->next;
	else
		link_at(update, entry->previous)->next = entry->next;
	if (entry->next == 0)
		update->last = entry->previous;
	else
		link_at(update, entry->next)->previous = entry->previous;
	*entry = (struct update_link){ .ticket = 0 };
}

/* ---- publishing ---- */

/* DOWNGRADED follows when the pager is done, whether the manager has asked for it or not. */
static void protect(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = entry_of(engine, page);
	struct node_id manager;

	ASSERT(entry->state == PAGE_WRITE && link_of(engine, page)->ticket != 0);
	ASSERT(home_known(engine, page, &manager) && entry->peer == 0);
	entry->state = PAGE_READ;
	entry->peer = (uint16_t)(manager.value + 1u);
	entry->protecting = 1;
	engine->update.moving++;
	engine->pager_count++;
	engine->stats.downgrades++;
	emit_page(engine, CMD_DOWNGRADE, page, engine->config.self);
}

/* As many pages as one message speaks of; the rest when the pager is done with these. */
void update_advance(struct engine *engine)
{
	struct update_state *update = &engine->update;
	uint32_t count = 0;

	while (update->cursor != 0 && count < RUN_MAX) {
		struct page_id page = page_id(update->cursor - 1);
		struct update_link *link = link_of(engine, page);
		struct node_id manager;

		if (link->ticket > update->goal)
			return;
		update->cursor = link->next;
		ASSERT(home_known(engine, page, &manager));
		if (entry_of(engine, page)->state != PAGE_WRITE ||
		    pin_puts_off(engine, page, manager, true))
			continue;
		protect(engine, page);
		count++;
	}
}

/* Threads whose pages have all left the list go on. */
static void waiters_wake(struct engine *engine)
{
	struct update_state *update = &engine->update;

	while (update->waiter_count > 0) {
		struct update_waiter waiter = update->waiters[update->waiter_head];

		if (update->first != 0 && link_at(update, update->first)->ticket <= waiter.ticket)
			return;
		update->waiter_head = (update->waiter_head + 1) % engine->config.calls;
		update->waiter_count--;
		emit_complete(engine, waiter.token, waiter.status, 0);
	}
}

int update_publish(struct engine *engine, const struct event *event)
{
	struct update_state *update = &engine->update;
	uint32_t slot = (update->waiter_head + update->waiter_count) % engine->config.calls;

	if (update->first != 0 && update->waiter_count == engine->config.calls)
		return -EAGAIN;
	int status = update->unpublished ? -EHOSTDOWN : 0;

	update->unpublished = false;
	update->goal = update->ticket;
	if (update->first == 0 || MUTANT(EARLY_PUBLISH)) {
		ROW("nothing to publish");
		emit_complete(engine, event->token, status, 0);
	} else {
		ROW("publish");
		update->waiters[slot] = (struct update_waiter){
			.token = event->token,
			.ticket = update->goal,
			.status = status,
		};
		update->waiter_count++;
	}
	update_advance(engine);
	return 0;
}

int update_published(struct engine *engine, struct node_id from, const struct message_run *run)
{
	(void)from;
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (MUTANT(FORGOTTEN_RECALL) && link_of(engine, page)->ticket == 0)
			continue;
		if (link_of(engine, page)->ticket == 0 ||
		    entry_of(engine, page)->state == PAGE_WRITE)
			return -EPROTO;
		ROW("published");
		list_remove(engine, page);
		engine->stats.pages_published++;
	}
	waiters_wake(engine);
	return 0;
}

void update_recalled(struct engine *engine, struct page_id page)
{
	if (entry_of(engine, page)->state != PAGE_WRITE) {
		ROW("update downgrade crossed");
		return; /* it was stopped here: its DOWNGRADED is on the way, and answers this */
	}
	ROW("update downgrade");
	protect(engine, page);
	if (MUTANT(FORGOTTEN_RECALL)) {
		list_remove(engine, page);
		waiters_wake(engine);
	}
}

/* ---- being updated ---- */

static bool update_fits(struct engine *engine, const struct message_grant *update)
{
	bool self = update->owner == engine->config.self.value;

	for (uint32_t i = 0; i < update->page_count; i++) {
		struct page_entry *entry = entry_of(engine, page_id(update->page + i));
		uint64_t version = grant_version(update, i);

		if (entry->state != PAGE_READ || entry->updating)
			return false;
		if (version != entry->version && (self || version != entry->version + 1))
			return false;
	}
	return true;
}

static void acknowledge(struct engine *engine, struct page_id page, int status,
			struct node_id source)
{
	struct node_id manager;

	ASSERT(home_known(engine, page, &manager));
	if (status == 0)
		emit_run(engine, manager, MSG_UPDATED, page, node_id(0));
	else
		emit_run(engine, manager, MSG_UPDATE_FAILED, page, source);
}

/* The manager asks an owner whether it is there by telling it what it has. */
int update_arrived(struct engine *engine, struct node_id from, const struct message_grant *update)
{
	(void)from;
	if (!update_fits(engine, update))
		return -EPROTO;
	for (uint32_t i = 0; i < update->page_count; i++) {
		struct page_id page = page_id(update->page + i);
		struct page_entry *entry = entry_of(engine, page);

		if (entry->version == grant_version(update, i)) {
			ROW("update had");
			acknowledge(engine, page, 0, node_id(update->owner));
			continue;
		}
		ROW("update");
		entry->updating = 1;
		engine->update.fetch_count++;
		emit_page(engine, CMD_UPDATE, page, node_id(update->owner));
		if (MUTANT(EARLY_UPDATED))
			acknowledge(engine, page, 0, node_id(update->owner));
	}
	return 0;
}

/* What could not be had has changed nothing. */
void update_done(struct engine *engine, const struct event *event)
{
	for (uint32_t i = 0; i < event->run.page_count; i++) {
		struct page_id page = page_add(event->run.page, i);
		struct page_entry *entry = entry_of(engine, page);

		ASSERT(entry->updating && engine->update.fetch_count > 0);
		entry->updating = 0;
		engine->update.fetch_count--;
		if (event->status != 0) {
			ROW("update not had");
		} else {
			ROW("update arrived");
			entry->version++;
			engine->stats.pages_updated++;
		}
		if (!MUTANT(EARLY_UPDATED))
			acknowledge(engine, page, event->status, event->peer);
	}
}

/* ---- loss ---- */

/* The page will never be published: whoever waits for that is told, or else who publishes next. */
static void abandon(struct engine *engine, struct page_id page)
{
	struct update_state *update = &engine->update;
	uint64_t ticket = link_of(engine, page)->ticket;
	bool told = false;

	ROW("publisher's manager lost");
	for (uint32_t i = 0; i < update->waiter_count; i++) {
		struct update_waiter *waiter =
			&update->waiters[(update->waiter_head + i) % engine->config.calls];

		if (waiter->ticket < ticket)
			continue;
		waiter->status = -EHOSTDOWN;
		told = true;
	}
	if (!told)
		update->unpublished = true;
	list_remove(engine, page);
}

void update_protected(struct engine *engine, struct page_id page, struct node_id manager)
{
	struct page_entry *entry = entry_of(engine, page);

	entry->protecting = 0;
	if (!engine_down(engine, manager))
		return;
	abandon(engine, page);
	waiters_wake(engine);
}

/*
 * What this node can still store to it takes away, slice by slice,
 * as if it were to be published: the page stays for reading.
 */
void update_peer_down(struct engine *engine, struct node_id peer)
{
	struct update_state *update = &engine->update;
	uint32_t link = update->first;

	while (link != 0) {
		struct page_id page = page_id(link - 1);
		struct page_entry *entry = entry_of(engine, page);
		struct node_id manager;

		link = link_of(engine, page)->next;
		ASSERT(home_known(engine, page, &manager));
		if (node_equal(manager, peer) && entry->state != PAGE_WRITE && !entry->protecting)
			abandon(engine, page);
	}
	waiters_wake(engine);
	update->goal = update->ticket;
	update_advance(engine);
}

bool update_quiet(const struct engine *engine)
{
	const struct update_state *update = &engine->update;

	return update->waiter_count == 0 && update->moving == 0 && update->fetch_count == 0;
}
