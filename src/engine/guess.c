/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses: pages that nobody of this node has touched, and that it would have if they cost the
 * others nothing. A guess is a request for reading which its manager grants at once or not at all.
 * Invariants:
 *   - a guess is answered in the step in which it arrives, by READ_GRANT or NOT_NOW; it never waits
 *     in a queue, and no page is downgraded for it;
 *   - a page has at most one request under way, guess or not: a thread that faults meanwhile waits
 *     for the answer, and if that is NOT_NOW the page is asked for as for any fault;
 *   - guesses fill at most half of the room for requests, so that faults find some;
 *   - only pages whose manager stands still are guessed: a manager that moves may have to be looked
 *     for at all nodes.
 */
#include "engine/directory.h"

/* ---- asking ---- */

/*
 * To ask for a home would be to claim it for a node that may never touch the page; to ask a lost
 * manager, to refuse the page before anybody touches it.
 */
static bool may_ask(const struct engine *engine, struct page_id page)
{
	struct node_id manager;

	return !home_moves(engine, page) && home_known(engine, page, &manager) &&
	       !engine_down(engine, manager);
}

/* Faults are to find room as well. */
static uint32_t room_for_faults(const struct engine *engine)
{
	uint32_t all = engine->config.page_requests;

	return all < 2 * UNIT_PAGES ? 0 : all / 2;
}

int guess_ask(struct engine *engine, struct run run)
{
	if (engine->pending_count + run.page_count + room_for_faults(engine) >
	    engine->config.page_requests)
		return -EAGAIN;
	for (uint32_t i = 0; i < run.page_count; i++) {
		struct page_id page = page_add(run.page, i);
		const struct page_entry *entry = &engine->pages[page.value];

		if (entry->state != PAGE_INVALID || entry->pending != PENDING_NONE ||
		    !may_ask(engine, page))
			continue;
		ROW("guess");
		engine->stats.guesses++;
		page_guess(engine, page);
	}
	return 0;
}

int guess_declined(struct engine *engine, struct node_id from, const struct message_run *run)
{
	(void)from; /* the manager, which the caller has checked */
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (!page_asked(engine, page, false) || !engine->pages[page.value].guess)
			return -EPROTO;
	}
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (page_forget(engine, page) && !MUTANT(DEAF_NOT_NOW)) {
			ROW("not now, and waited for");
			page_want_waited(engine, page);
		} else {
			ROW("not now");
		}
		pin_want(engine, page);
	}
	return 0;
}

/* ---- asked ---- */

/* Has the page been touched, and can it be read without anybody stopping to write, or waiting? */
static bool at_rest(const struct engine *engine, const struct directory_entry *entry,
		    struct page_id page)
{
	return engine_home(engine, page) != HOME_UNKNOWN && entry->state == DIRECTORY_QUIET &&
	       entry->waiting_head == 0 && !flag(entry, DIRECTORY_EXCLUSIVE) &&
	       !flag(entry, DIRECTORY_LOST) && !engine_down(engine, owner_of(engine, entry));
}

int guess_request(struct engine *engine, const struct message_request *request)
{
	for (uint32_t i = 0; i < request->page_count; i++) {
		struct page_id page = page_id(request->page + i);
		struct directory_entry *entry = entry_of(engine, page);

		directory_pump(engine, entry, page); /* after a loss, it mends the entry */
		if (at_rest(engine, entry, page) && directory_take(engine, request, page, false)) {
			ROW("guess granted");
			continue;
		}
		ROW("guess declined");
		if (!MUTANT(SILENT_NOT_NOW))
			emit_run(engine, node_id(request->node), MSG_NOT_NOW, page, node_id(0));
	}
	return 0;
}
