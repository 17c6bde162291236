/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster from a seed, and its life: rounds of work, each followed by rest, in which everything
 * under way must come to its end and everything must agree. Then every survivor touches every hot
 * page once more.
 */
#include "engine/internal.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Steps in which a world that gets no new work must come to rest. */
#define REST_STEPS 2000000u

/* ---- from the seed ---- */

static void choose_weights(struct world *world)
{
	static const unsigned int weights[] = { 2, 10, 30, 100 };

	for (unsigned int i = 0; i <= ACT_NOISE; i++)
		world->weight[i] = weights[below(world, 4)];
	world->weight[ACT_NOISE] = 1;
	world->weight[ACT_TIMER] = 10;
	world->percent_store = 5 + below(world, 90);
	world->percent_prefetch = chance(world, 50) ? 0 : below(world, 60);
	world->percent_evict = world->seed % 4 == 2 ? 30 : 0;
	world->guesses = world->seed % 3 == 1; /* nothing is drawn: kept seeds stay as they are */
	world->percent_sync = chance(world, 40) ? 0 : below(world, 40);
	world->percent_heap = chance(world, 60) ? 0 : below(world, 10);
	world->sem_value = 1 + below(world, 3);
	world->heap = chance(world, 50);
	world->percent_slow_pager = chance(world, 30) ? 0 : below(world, 101);
}

static void choose_pages(struct world *world)
{
	/* Near the end of a unit, so that runs go over into the next one's home. */
	bool wide = chance(world, 10);
	uint64_t unit = below(world, SIM_UNITS - 1);
	uint32_t before = 1 + below(world, wide ? 60 : 12);

	world->window.page = page_id((unit + 1) * UNIT_PAGES - before);
	world->window.page_count = before + below(world, wide ? UNIT_PAGES : 12);
	world->hot_count = 0;
	unsigned int few = chance(world, 50) ? 1 + below(world, 3) : world->window.page_count;

	for (unsigned int i = 0; i < world->window.page_count; i++) {
		if (i < few || world->percent_prefetch > 0)
			world->hot[world->hot_count++] = page_add(world->window.page, i);
	}
	if (chance(world, 50))
		world->hot[world->hot_count++] = page_id(below(world, SIM_PAGES));
}

static void choose_manager(struct world *world)
{
	static const enum manager_kind kinds[] = {
		MANAGER_FIXED,	   MANAGER_FIXED,   MANAGER_CENTRAL, MANAGER_BROADCAST,
		MANAGER_BROADCAST, MANAGER_DYNAMIC, MANAGER_DYNAMIC, MANAGER_DYNAMIC,
	};

	world->manager = kinds[below(world, 8)];
	if (world->forced != 0)
		world->manager = world->forced;
}

static void choose_update(struct world *world)
{
	if (chance(world, 2)) {
		world->node_count = 60 + below(world, 10);
		world->thread_count = 1;
		world->rounds = 1;
	}
	if (world->node_count > 1 && chance(world, 50))
		world->crashes_left = 1 + below(world, world->node_count > 3 ? 3 : 1);
}

static void choose_config(struct world *world)
{
	static const uint64_t holds[] = { 0, 0, 1000, 20000, 300000 };

	world->node_count = 1 + below(world, 8);
	world->thread_count = 1 + below(world, SIM_THREADS_MAX);
	world->rounds = 1 + below(world, 4);
	world->steps_per_round = 200 + below(world, 3000);
	world->crashes_left = 0;
	if (world->mode == MODE_LOSS) {
		world->node_count = 2 + below(world, 7);
		world->crashes_left = 1 + below(world, world->node_count - 1);
		world->crashes_left = world->crashes_left > 3 ? 3 : world->crashes_left;
		world->steps_per_round = 100 + below(world, 1500);
	}
	if (world->mode == MODE_PINS) {
		world->node_count = 2 + below(world, 5);
		world->crashes_left = below(world, 2);
	}
	if (world->mode == MODE_MANY) {
		world->node_count = 70 + below(world, SIM_NODES_MAX - 70 + 1);
		world->thread_count = 1;
		world->rounds = 1;
		world->steps_per_round = 6000;
		world->crashes_left = chance(world, 30) ? 2 : 0;
	}
	if (world->mode == MODE_UPDATE)
		choose_update(world);
	choose_manager(world);
	world->hold_ns = holds[below(world, 5)];
	world->page_requests = UNIT_PAGES + below(world, 32);
	choose_weights(world);
	fast_choose(world);
	if (world->mode == MODE_PINS)
		world->percent_pin = 5 + below(world, 60);
	choose_pages(world);
	if (world->mode == MODE_UPDATE)
		updates_choose(world);
}

/* ---- making and unmaking ---- */

static void node_open(struct world *world, unsigned int index)
{
	struct node *node = &world->nodes[index];
	const struct engine_config config = {
		.self = node_id(index),
		.node_count = world->node_count,
		.page_limit = SIM_PAGES,
		.manager = world->manager,
		.hold_ns = world->hold_ns,
		.page_requests = world->page_requests,
		.sync_objects = 16,
		.calls = 16,
		.fast_read = world->fast,
	};

	node->memory_bytes = engine_bytes(&config);
	node->memory = mmap(NULL, node->memory_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT(node->memory_bytes > 0 && node->memory != MAP_FAILED);
	node->engine = engine_init(node->memory, &config);
	node->alive = true;
}

/* A unit of what all nodes have opened already. */
static void update_region_open(struct world *world, uint64_t unit)
{
	struct event event = { .kind = EV_REGION };

	event.region.run = (struct run){ page_id(unit * UNIT_PAGES), UNIT_PAGES };
	event.region.update = true;
	for (unsigned int i = 0; i < world->node_count; i++)
		node_step(world, node_id(i), &event);
}

static void regions_open(struct world *world)
{
	struct event event = { .kind = EV_REGION };

	event.region.run = (struct run){ page_id(0), SIM_PAGES };
	event.region.heap = world->heap;
	for (unsigned int i = 0; i < world->node_count; i++)
		node_step(world, node_id(i), &event);
	for (uint64_t unit = 0; unit < SIM_UNITS; unit++) {
		if (world->update_units[unit])
			update_region_open(world, unit);
	}
	for (uint64_t unit = 0; unit < SIM_UNITS; unit++) {
		world->homes[unit] = HOME_UNKNOWN;
		if (!world->heap && chance(world, 50))
			home_assign_later(world->nodes[0].engine, unit, UNIT_FIRST_TOUCH);
	}
}

static void world_open(struct world *world, enum sim_mode mode, uint64_t seed, bool trace)
{
	struct commands commands = world->commands;

	if (commands.list == NULL)
		commands.list = malloc(COMMANDS_MAX * sizeof(*commands.list));
	*world = (struct world){
		.seed = seed,
		.mode = mode,
		.forced = world->forced,
		.trace = trace,
		.prng = prng_init(seed),
		.busy.item_bytes = sizeof(uint32_t),
		.reads.item_bytes = sizeof(struct read_op),
		.fasts.item_bytes = sizeof(struct fast_op),
		.collects.item_bytes = sizeof(struct sharers_op),
		.pager_ops.item_bytes = sizeof(struct pager_op),
		.faults.item_bytes = sizeof(struct fault),
		.notices.item_bytes = sizeof(struct notice),
		.commands = commands,
		.now_ns = 1 + (seed << 20 >> 16) % (UINT64_C(1) << 45),
	};
	choose_config(world);
	world->nodes = calloc(world->node_count, sizeof(*world->nodes));
	world->channels =
		calloc((size_t)world->node_count * world->node_count, sizeof(*world->channels));
	ASSERT(commands.list != NULL && world->nodes != NULL && world->channels != NULL);
	for (unsigned int i = 0; i < world->node_count; i++)
		node_open(world, i);
	regions_open(world);
}

static void world_close(struct world *world)
{
	net_clear(world);
	while (world->spare_packets != NULL) {
		struct packet *next = world->spare_packets->next;

		free(world->spare_packets);
		world->spare_packets = next;
	}
	for (unsigned int i = 0; i < world->node_count; i++)
		world->fast_reads += engine_stats(world->nodes[i].engine)->fast_reads;
	for (unsigned int i = 0; i < world->node_count; i++)
		munmap(world->nodes[i].memory, world->nodes[i].memory_bytes);
	free(world->nodes);
	free(world->channels);
	free(world->busy.items);
	free(world->reads.items);
	free(world->fasts.items);
	free(world->collects.items);
	free(world->pager_ops.items);
	free(world->faults.items);
	free(world->notices.items);
}

void world_free(struct world *world)
{
	free(world->commands.list);
}

/* ---- life ---- */

static void work(struct world *world, unsigned int rounds_left)
{
	for (unsigned int i = 0; i < world->steps_per_round; i++) {
		uint64_t steps_left = (uint64_t)rounds_left * world->steps_per_round - i;

		if (below(world, steps_left) < world->crashes_left)
			net_crash(world);
		act(world);
	}
}

static void rest(struct world *world)
{
	uint64_t limit = world->step + REST_STEPS;

	world->resting = true;
	while (act(world)) {
		if (world->step > limit)
			sim_fail(world, NULL, "the cluster does not come to rest");
	}
	check_rest(world);
	world->resting = false;
}

static void touch_all(struct world *world)
{
	bool write = chance(world, 30);

	for (unsigned int p = 0; p < world->hot_count; p += world->hot_count / 32 + 1) {
		for (unsigned int i = 0; i < world->node_count; i++) {
			if (world->nodes[i].alive)
				thread_access(world, &world->nodes[i].threads[0], world->hot[p],
					      write);
		}
		rest(world);
	}
}

void world_run(struct world *world, enum sim_mode mode, uint64_t seed, bool trace)
{
	world_open(world, mode, seed, trace);
	trace_line(world, "%u nodes, %u threads each, %s manager, hold %llu ns, %u hot pages%s",
		   world->node_count, world->thread_count, sim_manager_name(world->manager),
		   (unsigned long long)world->hold_ns, world->hot_count,
		   world->fast ? ", fast reads" : "");
	call_objects_init(world);
	rest(world);
	for (unsigned int round = 0; round < world->rounds; round++) {
		work(world, world->rounds - round);
		rest(world);
	}
	touch_all(world);
	world_close(world);
}
