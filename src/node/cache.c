/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory in bounds. Frames of pages whose home is elsewhere are a cache; with a budget (option
 * "cache") the engine is asked to give copies up as new ones come (EV_EVICT), and their frames go
 * back to the kernel when it says so (CMD_RELEASE).
 *
 * Which: user space does not see the processor's accessed bits, so all that is known of a page is
 * when it came. That is what the simplified 2Q policy works with (T. Johnson and D. Shasha, "2Q: a
 * low overhead high performance buffer management replacement algorithm", VLDB 1994): pages that
 * come are FRESH, first in first out; who has left FRESH of late is remembered, without its frame,
 * as a GHOST; who comes back as one is KNOWN. So a scan goes through FRESH and leaves KNOWN alone.
 * Within KNOWN, where 2Q has an LRU list, it is first in first out too: a page that is used all the
 * time leaves some day, and comes back as a fresh one.
 *
 * Invariants: a page is in one list at most; those in FRESH and KNOWN have a frame here, or one is
 * about to be filled; a victim stays in its list, at the end, until its frame is gone.
 */
#include "base/assert.h"
#include "base/log.h"
#include "node/node.h"
#include "port/clock.h"

#include <errno.h>
#include <unistd.h>

/* Of the budget, as the paper has it: FRESH at least, and pages remembered as GHOST. */
#define FRESH_PERCENT 25u
#define GHOST_PERCENT 50u

/* With less, nodes would do little but exchange pages. */
#define BUDGET_LEAST 256u

/* Pages that are on their way out at a time, and begun in one go. */
#define LEAVING_MAX 256u

/* Pages that are fresh now are not soon; pinned ones may stay for long. */
#define RETRY_FIRST_NS UINT64_C(500000)
#define RETRY_LAST_NS UINT64_C(100000000)

static size_t links_bytes(const struct node *node)
{
	return node->page_limit * sizeof(*node->cache.links);
}

/* A fabric that registers memory in chunks pins it: a frame that goes would stay with the device.
 */
static bool frames_are_pinned(const struct node *node)
{
	for (unsigned int i = 0; i < node->link_count; i++) {
		if (node->links[i].chunk_pages != 0)
			return true;
	}
	return false;
}

/* Half of what this host has, shared among its nodes. */
static uint64_t automatic_budget(const struct node *node)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 / node->local_count;
}

static uint64_t budget_of(const struct node *node)
{
	uint64_t bytes = settings_u64(&node->settings, SETTING_CACHE);
	uint64_t pages = bytes == SETTINGS_AUTO ? automatic_budget(node) : bytes / PAGE_BYTES;

	if (pages == 0)
		return 0;
	return pages < BUDGET_LEAST ? BUDGET_LEAST : pages;
}

int cache_open(struct node *node)
{
	struct cache *cache = &node->cache;

	cache->pinned = frames_are_pinned(node);
	cache->budget = budget_of(node);
	if (cache->budget != 0 && cache->pinned) {
		log_line(LOG_WARNING,
			 "PERGOLA_CACHE=%s has no effect: frames that RDMA devices "
			 "know are not given back yet",
			 settings_text(&node->settings, SETTING_CACHE));
		cache->budget = 0;
	}
	if (cache->budget == 0)
		return 0;
	cache->links = table_open(links_bytes(node));
	return cache->links == NULL ? -ENOMEM : 0;
}

void cache_close(struct node *node)
{
	table_close(node->cache.links, links_bytes(node));
}

/* ---- lists ---- */

static void push(struct cache *cache, enum cache_list kind, uint64_t page)
{
	struct cache_queue *queue = &cache->queues[kind];
	uint32_t link = (uint32_t)page + 1;

	cache->links[page] = (struct cache_link){ .previous = queue->last, .list = kind };
	if (queue->last == 0)
		queue->first = link;
	else
		cache->links[queue->last - 1].next = link;
	queue->last = link;
	queue->count++;
}

static void take(struct cache *cache, uint64_t page)
{
	struct cache_link *link = &cache->links[page];
	struct cache_queue *queue = &cache->queues[link->list];

	ASSERT(link->list != CACHE_NONE && queue->count > 0);
	if (link->previous == 0)
		queue->first = link->next;
	else
		cache->links[link->previous - 1].next = link->next;
	if (link->next == 0)
		queue->last = link->previous;
	else
		cache->links[link->next - 1].previous = link->previous;
	queue->count--;
	*link = (struct cache_link){ .list = CACHE_NONE };
}

static uint64_t resident(const struct cache *cache)
{
	return cache->queues[CACHE_FRESH].count + cache->queues[CACHE_KNOWN].count;
}

uint64_t cache_pages(const struct node *node)
{
	return node->cache.links == NULL ? 0 : resident(&node->cache);
}

/* ---- what happens to pages ---- */

void cache_arrived(struct node *node, struct run run)
{
	struct cache *cache = &node->cache;

	for (uint32_t i = 0; i < run.page_count && cache->links != NULL; i++) {
		struct page_id page = page_add(run.page, i);
		enum cache_list list = (enum cache_list)cache->links[page.value].list;

		if (list == CACHE_FRESH || list == CACHE_KNOWN ||
		    !engine_evictable(node->engine, page))
			continue;
		if (list == CACHE_GHOST)
			take(cache, page.value);
		push(cache, list == CACHE_GHOST ? CACHE_KNOWN : CACHE_FRESH, page.value);
		cache->retry_ns = 0;
	}
}

static void left(struct cache *cache, uint64_t page)
{
	enum cache_list list = (enum cache_list)cache->links[page].list;
	struct cache_queue *ghosts = &cache->queues[CACHE_GHOST];

	if (list != CACHE_FRESH && list != CACHE_KNOWN)
		return;
	take(cache, page);
	cache->retry_ns = 0;
	if (list != CACHE_FRESH)
		return;
	push(cache, CACHE_GHOST, page);
	if (ghosts->count > cache->budget * GHOST_PERCENT / 100)
		take(cache, ghosts->first - 1);
}

void cache_left(struct node *node, struct run run)
{
	for (uint32_t i = 0; i < run.page_count && node->cache.links != NULL; i++)
		left(&node->cache, run.page.value + i);
}

/* ---- making room ---- */

static struct cache_queue *next_queue(struct cache *cache)
{
	struct cache_queue *fresh = &cache->queues[CACHE_FRESH];
	struct cache_queue *known = &cache->queues[CACHE_KNOWN];

	if (known->count == 0 || fresh->count > cache->budget * FRESH_PERCENT / 100)
		return fresh;
	return known;
}

/* The page that is next to go, at the end of its list until it has gone. */
static uint64_t rotate(struct cache *cache, struct cache_queue *queue)
{
	uint64_t page = queue->first - 1u;
	enum cache_list list = (enum cache_list)cache->links[page].list;

	take(cache, page);
	push(cache, list, page);
	return page;
}

/* Adjacent pages that came one after the other go together. */
static struct run victims(struct cache *cache, uint32_t most)
{
	struct cache_queue *queue = next_queue(cache);
	struct run run = { page_id(rotate(cache, queue)), 1 };

	while (run.page_count < most && queue->first == run.page.value + run.page_count + 1u) {
		rotate(cache, queue);
		run.page_count++;
	}
	return run;
}

/* Under a central manager a node may hear late that it is a page's home: it keeps that. */
static bool disown(struct node *node, struct run run)
{
	bool any = false;

	for (uint32_t i = 0; i < run.page_count; i++) {
		uint64_t page = run.page.value + i;

		if (engine_evictable(node->engine, page_id(page)))
			continue;
		take(&node->cache, page);
		any = true;
	}
	return any;
}

/* A few free frames are kept, so that faults need not wait for others to go. */
static uint64_t goal(const struct cache *cache)
{
	uint64_t reserve = cache->budget / 16;

	return cache->budget - (reserve < LEAVING_MAX ? reserve : LEAVING_MAX);
}

void cache_trim(struct node *node)
{
	struct cache *cache = &node->cache;
	uint32_t tried = 0;

	if (cache->links == NULL || (cache->retry_ns != 0 && clock_now_ns() < cache->retry_ns))
		return;
	cache->retry_ns = 0;
	while (tried < LEAVING_MAX) {
		uint32_t leaving = engine_leaving(node->engine);

		if (leaving >= LEAVING_MAX || resident(cache) <= goal(cache) + leaving) {
			cache->retry_after_ns = RETRY_FIRST_NS;
			return;
		}
		struct event event = { .kind = EV_EVICT };

		event.run = victims(cache, RUN_MAX);
		if (disown(node, event.run))
			continue;
		tried += event.run.page_count;
		loop_step(node, &event);
	}
	/* All are fresh, pinned, or wait for something; those that are fresh will not say when. */
	if (cache->retry_after_ns < RETRY_LAST_NS)
		cache->retry_after_ns *= 2;
	cache->retry_ns = clock_now_ns() + cache->retry_after_ns;
}

uint64_t cache_due_ns(const struct node *node)
{
	return node->cache.retry_ns == 0 ? UINT64_MAX : node->cache.retry_ns;
}
