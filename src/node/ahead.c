/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead at work. Each fault is shown to readahead.c, which says what to ask for. What is kept
 * here: what the program has advised, and which pages are withheld.
 *
 * A page is withheld when it comes as a stream's trigger: the engine holds it for reading, the
 * pager does not show it. That is the same as a page whose translation the kernel has dropped: the
 * next access faults, and the engine has it shown (row "fault" of docs/protocol.md). Invariant: no
 * thread waits for a page that is withheld. A page becomes a trigger only while it is neither here
 * nor asked for, and a fault on it ends that.
 */
#include "base/assert.h"
#include "base/bitset.h"
#include "node/node.h"

#include <errno.h>

#define NO_PAGE UINT64_MAX

static size_t advice_bytes(const struct node *node)
{
	return node->page_limit / UNIT_PAGES;
}

static size_t withheld_bytes(const struct node *node)
{
	return bitset_words(node->page_limit) * sizeof(*node->ahead.withheld);
}

static bool on(const struct node *node)
{
	return node->ahead.withheld != NULL;
}

int ahead_open(struct node *node)
{
	struct ahead *ahead = &node->ahead;
	uint32_t window_max = (uint32_t)settings_u64(&node->settings, SETTING_READ_AHEAD);

	ahead->faulted = NO_PAGE;
	if (window_max == 0)
		return 0;
	readahead_init(&ahead->streams, window_max);
	ahead->advice = table_open(advice_bytes(node));
	ahead->withheld = table_open(withheld_bytes(node));
	return ahead->advice == NULL || ahead->withheld == NULL ? -ENOMEM : 0;
}

void ahead_close(struct node *node)
{
	table_close(node->ahead.advice, advice_bytes(node));
	table_close(node->ahead.withheld, withheld_bytes(node));
}

/* ---- asking ---- */

/* False: there is no room now. What was not asked for is asked for when a thread comes to it. */
static bool ask(struct node *node, struct run run, bool guess)
{
	struct event event = { .kind = EV_PREFETCH };

	event.fault.run = run;
	event.fault.guess = guess;
	return loop_step(node, &event) == 0;
}

/* Adjacent pages in runs, those that are reached first before the others. */
static void ask_adjacent(struct node *node, const struct readahead_plan *plan, bool guess)
{
	uint32_t left = plan->count;
	int64_t next = plan->first;

	while (left > 0) {
		uint32_t count = left < UNIT_PAGES ? left : UNIT_PAGES;
		int64_t lowest = plan->stride > 0 ? next : next - (int64_t)count + 1;

		if (!ask(node, (struct run){ page_id((uint64_t)lowest), count }, guess)) {
			plan->stream->front = next;
			return;
		}
		next += plan->stride * (int64_t)count;
		left -= count;
	}
}

static void ask_apart(struct node *node, const struct readahead_plan *plan, bool guess)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		int64_t page = plan->first + (int64_t)i * plan->stride;

		if (!ask(node, (struct run){ page_id((uint64_t)page), 1 }, guess)) {
			plan->stream->front = page;
			return;
		}
	}
}

/* The first page of the plan that nobody has asked for yet. */
static void choose_trigger(struct node *node, const struct readahead_plan *plan)
{
	plan->stream->trigger = -1;
	for (uint32_t i = 0; i < plan->count; i++) {
		int64_t page = plan->first + (int64_t)i * plan->stride;

		if (engine_page_missing(node->engine, page_id((uint64_t)page))) {
			plan->stream->trigger = page;
			return;
		}
	}
}

/* ---- faults ---- */

void ahead_begin(struct node *node, struct page_id page)
{
	if (!on(node))
		return;
	node->ahead.faulted = page.value;
	node->ahead.coming = !engine_page_missing(node->engine, page);
	bitset_clear(node->ahead.withheld, page.value);
}

void ahead_end(struct node *node)
{
	node->ahead.faulted = NO_PAGE;
}

static struct readahead_bounds bounds_of(const struct node *node, struct page_id page)
{
	uint32_t index = region_index(node, page);
	const struct region *region = &node->regions[index];

	ASSERT(index < REGIONS_MAX);
	return (struct readahead_bounds){
		.first = (int64_t)region->first.value,
		.end = (int64_t)(region->first.value + region->page_count),
		.sequential = node->ahead.advice[page.value / UNIT_PAGES] == ADVICE_SEQUENTIAL,
	};
}

void ahead_fault(struct node *node, struct page_id page, bool write)
{
	struct ahead *ahead = &node->ahead;
	int64_t number = (int64_t)page.value;
	struct readahead_plan plan = { .count = 0 };

	if (!on(node))
		return;
	bool trigger = readahead_trigger(&ahead->streams, number, number + 1) >= 0;
	struct readahead_bounds bounds = bounds_of(node, page);

	if ((!write || trigger) && ahead->advice[page.value / UNIT_PAGES] != ADVICE_RANDOM)
		plan = readahead_fault(&ahead->streams, number, ahead->coming, &bounds);
	/* Whatever became of it: a thread may wait for this page, so it is to be shown. */
	readahead_forget(&ahead->streams, number);
	if (plan.count == 0)
		return;
	choose_trigger(node, &plan);
	if (plan.stride == 1 || plan.stride == -1)
		ask_adjacent(node, &plan, !bounds.sequential);
	else
		ask_apart(node, &plan, !bounds.sequential);
}

/* ---- showing ---- */

uint32_t ahead_shown(struct node *node, struct run run)
{
	int64_t first = (int64_t)run.page.value;

	if (!on(node))
		return run.page_count;
	int64_t trigger =
		readahead_trigger(&node->ahead.streams, first, first + (int64_t)run.page_count);

	if (trigger < 0)
		return run.page_count;
	if (trigger > first)
		return (uint32_t)(trigger - first);
	if (run.page.value == node->ahead.faulted)
		return 1;
	bitset_set(node->ahead.withheld, run.page.value);
	return 0;
}

void ahead_reveal(struct node *node, struct run run)
{
	for (uint32_t i = 0; i < run.page_count && on(node); i++) {
		struct event event = { .kind = EV_FAULT };

		event.fault.run = (struct run){ page_add(run.page, i), 1 };
		if (!bitset_test(node->ahead.withheld, event.fault.run.page.value))
			continue;
		/* As if it were touched; it is pinned, so it is held. */
		loop_fault(node, &event);
	}
}

void ahead_advise(struct node *node, struct run run, enum advice advice)
{
	uint64_t last = (run.page.value + run.page_count - 1) / UNIT_PAGES;

	if (!on(node))
		return;
	for (uint64_t unit = run.page.value / UNIT_PAGES; unit <= last; unit++)
		node->ahead.advice[unit] = (uint8_t)advice;
}
