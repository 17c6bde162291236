/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster, from its making to its end, and what happens in between, in order of time. */
#include "base/assert.h"
#include "scale.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Things that happen for one miss, at most and on average; beyond it the window will never be full:
 * nodes take a page from each other for ever, or the pattern does not miss.
 */
#define HAPPENINGS_A_MISS_MAX 10000u

#define COMMANDS_BYTES (COMMANDS_MAX * sizeof(struct command))

/* ---- making and unmaking ---- */

/* Zeros. Tables are as large as they could ever need to be; what is not touched costs nothing. */
static void *memory_map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ASSERT(bytes > 0 && memory != MAP_FAILED);
	return memory;
}

static void node_open(struct world *world, unsigned int index)
{
	const struct setup *setup = &world->setup;
	struct node *node = &world->nodes[index];
	const struct engine_config config = {
		.self = node_id(index),
		.node_count = setup->node_count,
		.page_limit = (uint64_t)setup->node_count * UNIT_PAGES,
		.manager = setup->manager,
		.hold_ns = setup->hold_ns,
		.page_requests = UNIT_PAGES + setup->thread_count,
		.sync_objects = 16,
		.calls = 16,
	};

	node->memory_bytes = engine_bytes(&config);
	node->memory = memory_map(node->memory_bytes);
	node->engine = engine_init(node->memory, &config);
	node->timer_ps = UINT64_MAX;
	node->threads = &world->threads[index * setup->thread_count];
	for (unsigned int i = 0; i < setup->thread_count; i++) {
		node->threads[i] = (struct thread){
			.state = THREAD_STOPPED,
			.node = node_id(index),
			.index = (uint16_t)i,
		};
	}
}

/* One allocation of all pages, dealt round the nodes, as dsm_malloc() does it. */
static void homes_deal(struct world *world)
{
	struct event region = { .kind = EV_REGION };
	struct event alloc = { .kind = EV_HEAP_ALLOC, .token = { 1 } };

	region.region.run.page_count = world->setup.node_count * UNIT_PAGES;
	region.region.heap = true;
	for (unsigned int i = 0; i < world->setup.node_count; i++)
		node_step_free(world, node_id(i), &region);
	alloc.heap.unit_count = world->setup.node_count;
	alloc.heap.placement = PLACE_CYCLIC;
	node_step_free(world, node_id(0), &alloc);
}

/* Every node asks for all homes: what would otherwise be asked once, early in a long run. */
static void homes_learn(struct world *world)
{
	for (unsigned int i = 0; i < world->setup.node_count; i++) {
		for (unsigned int unit = 0; unit < world->setup.node_count; unit += HOMES_MAX) {
			struct event event = { .kind = EV_HOME, .token = { 1 } };

			event.home = page_id((uint64_t)unit * UNIT_PAGES);
			node_step_free(world, node_id(i), &event);
		}
	}
	world_settle(world);
}

void world_open(struct world *world, const struct setup *setup)
{
	size_t threads = (size_t)setup->node_count * setup->thread_count;

	*world = (struct world){ .setup = *setup, .prng = prng_init(setup->seed) };
	world->nodes = calloc(setup->node_count, sizeof(*world->nodes));
	world->threads = calloc(threads, sizeof(*world->threads));
	world->commands.list = memory_map(COMMANDS_BYTES);
	world->totals.misses = calloc(setup->misses + 1, sizeof(*world->totals.misses));
	world->searches = calloc((size_t)setup->node_count * UNIT_PAGES, sizeof(*world->searches));
	ASSERT(world->nodes != NULL && world->threads != NULL && world->totals.misses != NULL &&
	       world->searches != NULL);
	for (unsigned int i = 0; i < setup->node_count; i++)
		node_open(world, i);
	homes_deal(world);
	homes_learn(world);
	work_open(world);
}

void world_close(struct world *world)
{
	work_close(world);
	for (unsigned int i = 0; i < world->setup.node_count; i++)
		munmap(world->nodes[i].memory, world->nodes[i].memory_bytes);
	free(world->nodes);
	free(world->threads);
	free(world->searches);
	munmap(world->commands.list, COMMANDS_BYTES);
	free(world->totals.misses);
	agenda_free(&world->agenda);
	jobs_free(&world->jobs);
}

struct page_id world_page(const struct world *world, uint64_t number)
{
	uint64_t unit = number % world->setup.node_count;

	return page_id(unit * UNIT_PAGES + number / world->setup.node_count);
}

/* ---- time goes on ---- */

static void happen(struct world *world)
{
	struct happening next = agenda_take(&world->agenda);

	ASSERT(next.at_ps >= world->now_ps);
	world->now_ps = next.at_ps;
	switch ((enum happening_kind)next.kind) {
	case HAPPEN_POST:
		net_posted(world, next.job);
		return;
	case HAPPEN_ARRIVE:
		net_arrived(world, next.job);
		return;
	case HAPPEN_DELIVER:
		node_take(world, next.job);
		return;
	case HAPPEN_FREE:
		node_freed(world, node_id(next.node));
		return;
	case HAPPEN_THREAD:
		thread_run(world, &world->nodes[next.node].threads[next.thread]);
		return;
	}
}

/* At rest everything has been served, and nothing is left over. */
static void check_rest(const struct world *world)
{
	size_t threads = (size_t)world->setup.node_count * world->setup.thread_count;

	ASSERT(world->begun == world->finished && world->waiting == 0);
	ASSERT(world->posted == world->taken && world->jobs.live == 0);
	for (unsigned int i = 0; i < world->setup.node_count; i++)
		ASSERT(engine_quiet(world->nodes[i].engine) && !world->nodes[i].busy);
	for (size_t i = 0; i < threads; i++)
		ASSERT(world->threads[i].state == THREAD_STOPPED ||
		       world->threads[i].state == THREAD_BLOCKED);
}

void world_settle(struct world *world)
{
	while (world->agenda.count > 0)
		happen(world);
	check_rest(world);
}

/* ---- measuring ---- */

void world_reset_counts(struct world *world)
{
	struct miss *misses = world->totals.misses;

	memset(&world->totals, 0, sizeof(world->totals));
	world->totals.misses = misses;
	world->totals.start_ps = world->now_ps;
	world->waiting_since_ps = world->now_ps;
	for (unsigned int i = 0; i < world->setup.node_count; i++)
		world->nodes[i].load = (struct load){ 0 };
}

static void until_missed(struct world *world, uint64_t misses)
{
	uint64_t left = (HAPPENINGS_A_MISS_MAX + 100 * world->setup.node_count) * (misses + 1);

	while (world->totals.miss_count < misses) {
		ASSERT(world->agenda.count > 0);
		if (left-- == 0) {
			fprintf(stderr, "scale: no progress: %u nodes, hold time %u ns\n",
				world->setup.node_count, (unsigned int)world->setup.hold_ns);
			exit(1);
		}
		happen(world);
	}
}

void world_measure(struct world *world)
{
	unsigned int node_count = world->setup.node_count;
	struct load *loads = calloc(node_count, sizeof(*loads));

	ASSERT(loads != NULL);
	for (unsigned int i = 0; i < node_count * world->setup.thread_count; i++)
		thread_think(world, &world->threads[i]);
	world_reset_counts(world);
	until_missed(world, world->setup.warm);
	world_reset_counts(world);
	until_missed(world, world->setup.misses);
	thread_count_waiting(world);
	world->totals.end_ps = world->now_ps;

	struct totals window = world->totals;

	for (unsigned int i = 0; i < node_count; i++)
		loads[i] = world->nodes[i].load;
	world->stopping = true;
	world_settle(world);
	world->totals = window;
	for (unsigned int i = 0; i < node_count; i++)
		world->nodes[i].load = loads[i];
	free(loads);
}

uint64_t world_access_ps(struct world *world, unsigned int node, struct page_id page, bool write)
{
	struct thread *thread = &world->nodes[node].threads[0];
	uint64_t before_ps = world->totals.miss_ps;

	ASSERT(world->setup.pattern == PATTERN_NONE && world->agenda.count == 0);
	thread->page = page;
	thread->write = write;
	thread->state = THREAD_WAKING;
	world->stopping = true; /* after this one */
	thread_run(world, thread);
	world_settle(world);
	return world->totals.miss_ps - before_ps;
}
