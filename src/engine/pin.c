/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages held for system calls and devices, which find a page missing that a program would only have
 * to touch. A pinned page keeps its state until it is unpinned; a recall that comes meanwhile is
 * put off. Invariants:
 *   - the state of a pinned page is enough for what it is pinned for;
 *   - of each page at most one recall is put off, since its manager waits for the answer (or is
 *     lost, and another recalls the page). Under write-update, that this node is to publish the
 * page is the same as its manager's recall;
 *   - while one is, the page is not pinned anew for what the recall takes away: else threads of
 *     this node could keep it for ever;
 *   - a waiter is in the list from EV_PIN until its page is pinned or refused, or EV_PIN_CANCEL.
 */
#include "engine/internal.h"

/* ---- the table ---- */

static uint32_t *bucket_of(struct engine *engine, struct page_id page)
{
	return &engine->pin.buckets[hash_u64(page.value) % PIN_BUCKETS];
}

static struct pin *find(struct engine *engine, struct page_id page)
{
	struct pin_state *state = &engine->pin;

	for (uint32_t link = *bucket_of(engine, page); link != 0;
	     link = state->pins[link - 1].next) {
		if (page_equal(state->pins[link - 1].page, page))
			return &state->pins[link - 1];
	}
	return NULL;
}

/* NULL: as many pages are pinned as can be. */
static struct pin *make(struct engine *engine, struct page_id page)
{
	struct pin_state *state = &engine->pin;
	uint32_t *bucket = bucket_of(engine, page);
	uint32_t link = state->free;

	if (link != 0)
		state->free = state->pins[link - 1].next;
	else if (state->fresh < PINNED_MAX)
		link = ++state->fresh;
	else
		return NULL;
	state->pins[link - 1] = (struct pin){ .page = page, .next = *bucket };
	*bucket = link;
	return &state->pins[link - 1];
}

static void forget(struct engine *engine, struct pin *pin)
{
	struct pin_state *state = &engine->pin;
	uint32_t link = (uint32_t)(pin - state->pins) + 1;
	uint32_t *at = bucket_of(engine, pin->page);

	while (*at != link)
		at = &state->pins[*at - 1].next;
	*at = pin->next;
	*pin = (struct pin){ .next = state->free };
	state->free = link;
}

/* Does the pin keep the page from such a recall? */
static bool keeps(const struct pin *pin, bool downgrade)
{
	return pin->writers > 0 || (!downgrade && pin->readers > 0);
}

/* ---- pinning ---- */

static bool usable(struct engine *engine, struct page_id page, bool write)
{
	const struct pin *pin = find(engine, page);

	if (pin != NULL && pin->recalled && (write || !pin->downgrade))
		return false;
	return engine_page_state(engine, page) >= (write ? PAGE_WRITE : PAGE_READ);
}

static int add(struct engine *engine, struct page_id page, bool write)
{
	struct pin *pin = find(engine, page);

	if (pin == NULL)
		pin = make(engine, page);
	if (pin == NULL)
		return -ENOSPC;
	if (write)
		pin->writers++;
	else
		pin->readers++;
	return 0;
}

int pin_event(struct engine *engine, const struct event *event)
{
	struct pin_state *state = &engine->pin;
	struct page_id page = event->pin.page;
	bool write = event->pin.write;

	if (usable(engine, page, write)) {
		ROW("pin");
		emit_complete(engine, event->token, add(engine, page, write), 0);
		return 0;
	}
	if (state->waiter_count == PIN_WAITERS_MAX || !page_room(engine, page))
		return -EAGAIN;
	ROW("pin waits");
	state->waiters[state->waiter_count++] =
		(struct pin_waiter){ .token = event->token, .page = page, .write = write };
	page_want(engine, page, write);
	return 0;
}

/* Completes a waiter, and takes it out of the list: the last one takes its place. */
static void end_waiter(struct engine *engine, uint32_t index, int status)
{
	struct pin_state *state = &engine->pin;
	struct token token = state->waiters[index].token;

	state->waiters[index] = state->waiters[--state->waiter_count];
	emit_complete(engine, token, status, 0);
}

void pin_settle(struct engine *engine, struct page_id page, int status)
{
	struct pin_state *state = &engine->pin;

	for (uint32_t i = state->waiter_count; i-- > 0;) {
		const struct pin_waiter waiter = state->waiters[i];

		if (!page_equal(waiter.page, page))
			continue;
		if (status != 0) {
			ROW("pin refused");
			end_waiter(engine, i, status);
		} else if (usable(engine, page, waiter.write)) {
			ROW("pin when shown");
			end_waiter(engine, i, add(engine, page, waiter.write));
		}
	}
}

/* Who still waits for the page has it asked for again. A refusal at once may empty the list. */
void pin_want(struct engine *engine, struct page_id page)
{
	struct pin_state *state = &engine->pin;

	for (uint32_t i = 0; i < state->waiter_count; i++) {
		if (!page_equal(state->waiters[i].page, page))
			continue;
		if (find(engine, page) == NULL || !find(engine, page)->recalled)
			page_want(engine, page, state->waiters[i].write);
		return;
	}
}

void pin_cancel(struct engine *engine, const struct event *event)
{
	struct pin_state *state = &engine->pin;

	for (uint32_t i = 0; i < state->waiter_count; i++) {
		if (state->waiters[i].token.value == event->token.value) {
			ROW("pin given up");
			end_waiter(engine, i, -ETIMEDOUT);
			return;
		}
	}
}

/* ---- recalls ---- */

bool pin_puts_off(struct engine *engine, struct page_id page, struct node_id manager,
		  bool downgrade)
{
	struct pin *pin = find(engine, page);

	if (pin == NULL || !keeps(pin, downgrade) || MUTANT(LOOSE_PIN))
		return false;
	ROW("recall of a pinned page");
	/* Of a manager that is lost: another has taken its place. */
	ASSERT(!pin->recalled || engine_down(engine, pin->manager) || engine_updates(engine, page));
	engine->pin.recalled_count += !pin->recalled;
	pin->recalled = true;
	pin->downgrade = downgrade;
	pin->manager = manager;
	return true;
}

/* The recall that was put off, if nothing keeps the page from it any more. */
static void serve_recall(struct engine *engine, struct pin *pin)
{
	struct page_id page = pin->page;

	if (!pin->recalled || keeps(pin, pin->downgrade) || MUTANT(FORGOTTEN_PIN))
		return;
	ROW("nothing keeps the page");
	pin->recalled = false;
	engine->pin.recalled_count--;
	/*
	 * As with the hold time: nobody would get what is taken away for a lost manager; but who
	 * waits for the page to be published is to hear of that.
	 */
	if (!engine_down(engine, pin->manager) || engine_updates(engine, page))
		page_recall(engine, page, pin->manager, pin->downgrade);
	pin_settle(engine, page, 0);
	pin_want(engine, page);
}

void pin_release(struct engine *engine, const struct event *event)
{
	struct page_id page = event->pin.page;
	struct pin *pin = find(engine, page);

	ASSERT(engine_pinned(engine, page, event->pin.write));
	ASSERT(pin != NULL);
	ROW("unpin");
	if (event->pin.write)
		pin->writers--;
	else
		pin->readers--;
	serve_recall(engine, pin);
	if (pin->writers == 0 && pin->readers == 0 && !pin->recalled)
		forget(engine, pin);
}

bool pin_holds(struct engine *engine, struct page_id page)
{
	return find(engine, page) != NULL;
}

bool pin_quiet(const struct engine *engine)
{
	return engine->pin.waiter_count == 0 && engine->pin.recalled_count == 0;
}

bool engine_pinned(struct engine *engine, struct page_id page, bool write)
{
	const struct pin *pin = find(engine, page);

	return pin != NULL && (write ? pin->writers : pin->readers) > 0;
}
