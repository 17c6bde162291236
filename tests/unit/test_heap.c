/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared heap's units, between four engines: placement, exhaustion, what may be released, the
 * way of freed blocks to their superblock; and against a naive model that keeps one owner a unit.
 * With the argument "time" it prints what requests cost in a space of 2^20 units instead.
 */
#include "base/prng.h"
#include "engine_cluster.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define UNITS 160u /* some words of a bitmap, and a part */

/* ---- events ---- */

static void open_region(struct cluster *cluster, uint64_t page, uint32_t page_count, bool heap)
{
	struct event event = { .kind = EV_REGION };

	event.region.run = (struct run){ page_id(page), page_count };
	event.region.heap = heap;
	for (unsigned int node = 0; node < cluster->config.node_count; node++)
		assert_int_equal(cluster_step(cluster, node, &event), 0);
}

static struct cluster *open_heap(void)
{
	struct engine_config config = cluster_config();

	config.page_limit = UNITS * UNIT_PAGES;
	struct cluster *cluster = cluster_open(&config);

	open_region(cluster, 0, UNITS * UNIT_PAGES, true);
	return cluster;
}

/* Runs a call to its end; -EINPROGRESS when it has none. */
static int finish(struct cluster *cluster, unsigned int node, struct event *event, uint64_t *value)
{
	event->token = cluster_token(cluster);
	int error = cluster_step(cluster, node, event);

	if (value != NULL)
		*value = UINT64_MAX;
	if (error != 0)
		return error;
	cluster_run(cluster);
	if (cluster_status(cluster, event->token) == CLUSTER_PENDING)
		return -EINPROGRESS;
	if (value != NULL)
		*value = cluster->results[event->token.value].value;
	return cluster_status(cluster, event->token);
}

static struct event alloc_event(uint64_t unit_count, unsigned int placement, bool slab)
{
	struct event event = { .kind = EV_HEAP_ALLOC };

	event.heap.unit_count = unit_count;
	event.heap.placement = (uint16_t)placement;
	event.heap.slab = slab;
	return event;
}

static int alloc(struct cluster *cluster, unsigned int node, uint64_t unit_count,
		 unsigned int placement, uint64_t *unit)
{
	struct event event = alloc_event(unit_count, placement, false);

	return finish(cluster, node, &event, unit);
}

/* A superblock of `node`, placed at `placement`. */
static uint64_t superblock(struct cluster *cluster, unsigned int node, unsigned int placement)
{
	struct event event = alloc_event(1, placement, true);
	uint64_t unit = UINT64_MAX;

	assert_int_equal(finish(cluster, node, &event, &unit), 0);
	return unit;
}

static int release(struct cluster *cluster, unsigned int node, uint64_t unit, uint64_t unit_count)
{
	struct event event = { .kind = EV_HEAP_RELEASE };

	event.heap.unit = unit;
	event.heap.unit_count = unit_count;
	return finish(cluster, node, &event, NULL);
}

/* The home of a unit as `node` is told, or a negative errno value. */
static int home(struct cluster *cluster, unsigned int node, uint64_t unit)
{
	struct event event = { .kind = EV_HOME, .home = page_id(unit * UNIT_PAGES) };
	uint64_t value = 0;
	int status = finish(cluster, node, &event, &value);

	return status == 0 ? (int)value : status;
}

static void touch(struct cluster *cluster, unsigned int node, uint64_t unit)
{
	struct event event = { .kind = EV_FAULT };

	event.fault.run = (struct run){ page_id(unit * UNIT_PAGES), 1 };
	event.fault.write = true;
	assert_int_equal(cluster_step(cluster, node, &event), 0);
	cluster_run(cluster);
}

/* ---- placement ---- */

static void test_placement_at_a_node(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t unit;

	(void)state;
	for (unsigned int node = 0; node < CLUSTER_NODES; node++) {
		unsigned int placement = (node + 1) % CLUSTER_NODES;

		assert_int_equal(alloc(cluster, node, 3, placement, &unit), 0);
		for (unsigned int asker = 0; asker < CLUSTER_NODES; asker++) {
			for (uint64_t i = 0; i < 3; i++)
				assert_int_equal(home(cluster, asker, unit + i), placement);
		}
		assert_int_equal(engine_stats(cluster->engines[node])->heap_units, 3);
	}
	assert_true(cluster_quiet(cluster));
	cluster_close(cluster);
}

static void test_placement_dealt(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 1, 3, 2, &unit), 0);
	assert_int_equal(alloc(cluster, 1, 9, PLACE_CYCLIC, &unit), 0);
	for (uint64_t i = unit; i < unit + 9; i++)
		assert_int_equal(home(cluster, 3, i), i % CLUSTER_NODES);
	cluster_close(cluster);
}

static void test_placement_by_first_touch(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 1, 2, PLACE_FIRST_TOUCH, &unit), 0);
	assert_int_equal(home(cluster, 1, unit), -ENOENT);
	touch(cluster, 3, unit);
	assert_int_equal(home(cluster, 1, unit), 3);
	assert_int_equal(home(cluster, 1, unit + 1), -ENOENT);
	touch(cluster, 2, unit + 1);
	assert_int_equal(home(cluster, 0, unit + 1), 2);
	cluster_close(cluster);
}

/* What came back is used again where its home is wanted; fresh units are for other homes. */
static void test_used_units_keep_their_home(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t first;
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 0, 4, 1, &first), 0);
	assert_int_equal(release(cluster, 2, first, 4), 0);
	assert_int_equal(alloc(cluster, 0, 2, 2, &unit), 0);
	assert_true(unit >= first + 4);
	assert_int_equal(home(cluster, 0, unit), 2);
	assert_int_equal(alloc(cluster, 0, 1, PLACE_CYCLIC, &unit), 0);
	assert_int_equal(unit, first + 1); /* of node 1, as by dealing round */
	assert_int_equal(alloc(cluster, 0, 2, 1, &unit), 0);
	assert_int_equal(unit, first + 2);
	assert_int_equal(alloc(cluster, 0, 1, 1, &unit), 0);
	assert_int_equal(unit, first);
	assert_int_equal(home(cluster, 3, first + 3), 1);
	cluster_close(cluster);
}

/* Used units that nobody had touched can still be placed. */
static void test_untouched_units_are_placed_again(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t first;
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 0, UNITS, PLACE_FIRST_TOUCH, &first), 0);
	touch(cluster, 2, first + 1);
	assert_int_equal(release(cluster, 0, first, UNITS), 0);
	assert_int_equal(alloc(cluster, 0, 1, PLACE_FIRST_TOUCH, &unit), 0);
	assert_int_equal(unit, first);
	assert_int_equal(alloc(cluster, 0, 1, PLACE_FIRST_TOUCH, &unit), 0);
	assert_int_equal(unit, first + 2);
	assert_int_equal(alloc(cluster, 0, 1, 2, &unit), 0);
	assert_int_equal(unit, first + 1);
	assert_int_equal(alloc(cluster, 0, 1, 3, &unit), 0);
	assert_int_equal(home(cluster, 0, unit), 3);
	cluster_close(cluster);
}

/* A placement is a wish. */
static void test_placement_gives_way(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 0, UNITS, 1, &unit), 0);
	assert_int_equal(release(cluster, 0, unit, UNITS), 0);
	assert_int_equal(alloc(cluster, 0, UNITS / 2, 2, &unit), 0);
	assert_int_equal(home(cluster, 0, unit), 1);
	assert_int_equal(alloc(cluster, 0, UNITS / 2, PLACE_CYCLIC, &unit), 0);
	assert_int_equal(alloc(cluster, 0, 1, PLACE_FIRST_TOUCH, &unit), -ENOMEM);
	cluster_close(cluster);
}

/* A home that can still be chosen is better than a wrong one, wherever the last search ended. */
static void test_fresh_units_before_wrong_ones(void **state)
{
	struct engine_config config = cluster_config();
	struct cluster *cluster = cluster_open(&config);
	uint64_t unit;

	(void)state;
	open_region(cluster, 0, 16 * UNIT_PAGES, true);
	assert_int_equal(alloc(cluster, 0, 16, 1, &unit), 0);
	assert_int_equal(release(cluster, 0, unit, 16), 0);
	open_region(cluster, 32 * UNIT_PAGES, 16 * UNIT_PAGES, true);
	assert_int_equal(alloc(cluster, 0, 16, 2, &unit), 0);
	assert_int_equal(release(cluster, 0, unit, 16), 0);
	open_region(cluster, 20 * UNIT_PAGES, 4 * UNIT_PAGES, true);
	assert_int_equal(alloc(cluster, 0, 4, 3, &unit), 0);
	assert_int_equal(unit, 20);
	cluster_close(cluster);
}

/* ---- limits ---- */

static void test_exhaustion(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 1, UNITS + 1, 0, &unit), -ENOMEM);
	assert_int_equal(alloc(cluster, 1, UINT64_MAX, 0, &unit), -ENOMEM);
	assert_int_equal(alloc(cluster, 1, 0, 0, &unit), -EINVAL);
	assert_int_equal(alloc(cluster, 1, 1, CLUSTER_NODES, &unit), -EINVAL);
	for (uint64_t i = 0; i < UNITS; i++)
		assert_int_equal(alloc(cluster, 1, 1, (unsigned int)(i % 4), &unit), 0);
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -ENOMEM);
	assert_int_equal(release(cluster, 1, 10, 1), 0);
	assert_int_equal(release(cluster, 1, 12, 1), 0);
	assert_int_equal(alloc(cluster, 1, 2, 0, &unit), -ENOMEM);
	assert_int_equal(release(cluster, 1, 11, 1), 0);
	assert_int_equal(alloc(cluster, 1, 3, 0, &unit), 0);
	assert_int_equal(unit, 10);
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -ENOMEM);
	assert_int_equal(engine_stats(cluster->engines[1])->heap_units, UNITS + 3);
	cluster_close(cluster);
}

/* The next search begins where the last ended, in the middle of the only run that is long enough.
 */
static void test_run_across_the_hint(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 0, UNITS, 1, &unit), 0);
	assert_int_equal(release(cluster, 0, 0, UNITS), 0);
	assert_int_equal(alloc(cluster, 0, UNITS / 2, 2, &unit), 0);
	assert_int_equal(release(cluster, 0, unit, UNITS / 2), 0);
	assert_int_equal(alloc(cluster, 0, UNITS - 1, 2, &unit), 0);
	cluster_close(cluster);
}

static void test_release_is_checked(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t slab = superblock(cluster, 2, 2);
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 1, 4, 0, &unit), 0);
	assert_int_equal(release(cluster, 1, unit + 1, 3), -EINVAL);
	assert_int_equal(release(cluster, 1, unit, 3), -EINVAL);
	assert_int_equal(release(cluster, 1, unit, 5), -EINVAL);
	assert_int_equal(release(cluster, 1, unit, 0), -EINVAL);
	assert_int_equal(release(cluster, 1, UNITS, 1), -EINVAL);
	assert_int_equal(release(cluster, 1, 1, UNITS), -EINVAL);
	assert_int_equal(release(cluster, 1, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(release(cluster, 1, UNITS - 1, 1), -EINVAL);
	assert_int_equal(release(cluster, 2, slab, 1), -EINVAL);
	assert_int_equal(release(cluster, 3, unit, 4), 0);
	assert_int_equal(release(cluster, 3, unit, 4), -EINVAL);
	assert_int_equal(release(cluster, 1, unit, 4), -EINVAL);
	cluster_close(cluster);
}

/* Only whole units of heap regions are given out; the pages of other regions are dealt round. */
static void test_regions(void **state)
{
	struct engine_config config = cluster_config();
	struct cluster *cluster = cluster_open(&config);
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -ENOMEM);
	open_region(cluster, 0, 5 * UNIT_PAGES, false);
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -ENOMEM);
	assert_int_equal(home(cluster, 2, 3), 3);
	open_region(cluster, 6 * UNIT_PAGES + 1, 3 * UNIT_PAGES, true);
	assert_int_equal(home(cluster, 2, 6), 2);
	assert_int_equal(home(cluster, 2, 9), 1);
	assert_int_equal(alloc(cluster, 1, 3, 0, &unit), -ENOMEM);
	assert_int_equal(alloc(cluster, 1, 2, 0, &unit), 0);
	assert_int_equal(unit, 7);
	open_region(cluster, 20 * UNIT_PAGES, UNIT_PAGES, true);
	assert_int_equal(alloc(cluster, 1, 1, 3, &unit), 0);
	assert_int_equal(unit, 20);
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -ENOMEM);
	cluster_close(cluster);
}

static void test_slots_run_out(void **state)
{
	struct cluster *cluster = open_heap();
	struct event event = alloc_event(1, 0, false);
	uint64_t unit;

	(void)state;
	for (uint32_t i = 0; i < cluster->config.calls; i++) {
		event.token = cluster_token(cluster);
		assert_int_equal(cluster_step(cluster, 1, &event), 0);
	}
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -EAGAIN);
	assert_int_equal(release(cluster, 1, 0, 1), -EAGAIN);
	cluster_run(cluster);
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), 0);
	assert_int_equal(engine_stats(cluster->engines[1])->heap_units, cluster->config.calls + 1);
	cluster_close(cluster);
}

/* ---- freed blocks ---- */

static uint64_t block_of(uint64_t unit)
{
	return unit * UNIT_BYTES + 64;
}

static void free_blocks(struct cluster *cluster, unsigned int node, const uint64_t *offsets,
			uint32_t count)
{
	struct message_heap_free frees = { .block_count = count };
	struct event event = { .kind = EV_HEAP_FREE, .frees = &frees };

	for (uint32_t i = 0; i < count; i++) {
		frees.blocks[i].offset = offsets[i] & ((UINT64_C(1) << 48) - 1);
		frees.blocks[i].size_class = (uint16_t)(i + 1);
	}
	cluster->free_count = 0;
	cluster->message_count = 0;
	assert_int_equal(cluster_step(cluster, node, &event), 0);
	cluster_run(cluster);
}

/* One block from `node`: it must arrive at `owner` after so many messages. */
static void free_one(struct cluster *cluster, unsigned int node, uint64_t unit, unsigned int owner,
		     uint64_t message_count)
{
	uint64_t offset = block_of(unit);

	free_blocks(cluster, node, &offset, 1);
	assert_int_equal(cluster->free_count, 1);
	assert_int_equal(cluster->frees[0].node.value, owner);
	assert_int_equal(cluster->frees[0].status, 0);
	assert_int_equal(cluster->frees[0].offset, offset);
	assert_int_equal(cluster->frees[0].size_class, 1);
	assert_int_equal(cluster->message_count, message_count);
}

static void test_frees_find_their_owner(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t near = superblock(cluster, 2, 2); /* at its owner */
	uint64_t far = superblock(cluster, 2, 1);  /* at another node */
	uint64_t zero = superblock(cluster, 0, 0);

	(void)state;
	free_one(cluster, 2, near, 2, 0);
	free_one(cluster, 0, near, 2, 1);
	free_one(cluster, 0, zero, 0, 0);
	free_one(cluster, 3, near, 2, 2); /* by node 0 */
	free_one(cluster, 3, zero, 0, 1);
	assert_int_equal(home(cluster, 3, near), 2);
	free_one(cluster, 3, near, 2, 1); /* straight */
	assert_int_equal(home(cluster, 3, far), 1);
	free_one(cluster, 3, far, 2, 3); /* by the home, which does not own it, and node 0 */
	assert_int_equal(home(cluster, 1, far), 1);
	free_one(cluster, 1, far, 2, 2); /* the home itself: no use guessing */
	assert_true(cluster_quiet(cluster));
	cluster_close(cluster);
}

/* One event with blocks of everybody and of nobody: one message a destination, each block once. */
static void test_frees_are_grouped(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t offsets[FREES_MAX];
	uint64_t units[CLUSTER_NODES];
	unsigned int seen[CLUSTER_NODES + 1] = { 0 };
	uint64_t extent;

	(void)state;
	for (unsigned int node = 0; node < CLUSTER_NODES; node++) {
		units[node] = superblock(cluster, node, node);
		assert_int_equal(home(cluster, 3, units[node]), node);
	}
	assert_int_equal(alloc(cluster, 0, 1, 0, &extent), 0);
	for (unsigned int i = 0; i < FREES_MAX; i++)
		offsets[i] = block_of(i % 5 < 4 ? units[i % 5] : extent);
	free_blocks(cluster, 3, offsets, FREES_MAX);
	assert_int_equal(cluster->message_count, 3);
	assert_int_equal(cluster->free_count, FREES_MAX);
	for (size_t i = 0; i < cluster->free_count; i++) {
		const struct cluster_free *freed = &cluster->frees[i];
		unsigned int which = freed->size_class - 1;

		assert_true(which < FREES_MAX && freed->offset == offsets[which]);
		assert_int_equal(freed->node.value, which % 5 < 4 ? which % 5 : 0);
		assert_int_equal(freed->status, which % 5 < 4 ? 0 : -EINVAL);
		seen[which % 5]++;
	}
	for (unsigned int i = 0; i <= CLUSTER_NODES; i++)
		assert_int_equal(seen[i], (FREES_MAX + 4 - i) / 5);
	cluster_close(cluster);
}

static void test_frees_of_nobody(void **state)
{
	struct cluster *cluster = open_heap();
	const uint64_t offset = block_of(140);

	(void)state;
	for (unsigned int node = 0; node < CLUSTER_NODES; node++) {
		free_blocks(cluster, node, &offset, 1);
		assert_int_equal(cluster->free_count, 1);
		assert_int_equal(cluster->frees[0].node.value, 0);
		assert_int_equal(cluster->frees[0].status, -EINVAL);
	}
	cluster_close(cluster);
}

/* ---- peers that break the rules ---- */

static int inject(struct cluster *cluster, unsigned int to, unsigned int from,
		  struct message *message)
{
	struct event event = { .kind = EV_MESSAGE, .peer = node_id(from), .message = message };

	message->bytes = (uint16_t)message_bytes(message);
	return cluster_step(cluster, to, &event);
}

static void test_broken_messages(void **state)
{
	struct cluster *cluster = open_heap();
	struct message request = { .kind = MSG_HEAP_REQUEST };
	struct message back = { .kind = MSG_HEAP_RELEASE };
	struct message frees = { .kind = MSG_HEAP_FREE };
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 0, 5, PLACE_CYCLIC, &unit), 0);
	request.heap_request.unit_count = 1;
	back.heap_release.unit_count = 1;
	frees.heap_free.block_count = 1;
	assert_int_equal(inject(cluster, 1, 2, &request), -EPROTO);
	assert_int_equal(inject(cluster, 1, 2, &back), -EPROTO);
	assert_int_equal(inject(cluster, 1, 0, &frees), -EPROTO); /* node 0 should know better */
	assert_int_equal(cluster->queue_count, 0);
	/* A wrong guess is not followed by another, for that could go on for ever. */
	assert_int_equal(home(cluster, 1, 2), 2);
	frees.heap_free.blocks[0].offset = 2 * UNIT_BYTES;
	assert_int_equal(inject(cluster, 1, 3, &frees), 0);
	assert_int_equal(cluster->queue_count, 1);
	assert_int_equal(cluster->queue[0].to.value, 0);
	cluster_close(cluster);
}

/* Node 0 grants units that do not exist; the call stays open until it is known to be lost. */
static void test_broken_grant(void **state)
{
	struct cluster *cluster = open_heap();
	struct event event = alloc_event(2, 0, false);
	struct message reply = { .kind = MSG_REPLY };

	(void)state;
	event.token = cluster_token(cluster);
	assert_int_equal(cluster_step(cluster, 1, &event), 0);
	reply.reply.slot = cluster->queue[0].message.heap_request.slot;
	reply.reply.value = UNITS - 1;
	assert_int_equal(inject(cluster, 1, 0, &reply), -EPROTO);
	reply.reply.value = UINT64_MAX;
	assert_int_equal(inject(cluster, 1, 0, &reply), -EPROTO);
	assert_int_equal(inject(cluster, 1, 2, &reply), -EPROTO);
	assert_int_equal(cluster_status(cluster, event.token), CLUSTER_PENDING);
	cluster_lose(cluster, 0);
	assert_int_equal(cluster_status(cluster, event.token), -EHOSTDOWN);
	cluster_close(cluster);
}

/* ---- loss ---- */

static void test_node_0_lost(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t slab = superblock(cluster, 1, 1);
	uint64_t offset = block_of(slab);
	uint64_t unit;

	(void)state;
	cluster_lose(cluster, 0);
	assert_int_equal(alloc(cluster, 1, 1, 0, &unit), -EHOSTDOWN);
	assert_int_equal(release(cluster, 1, 0, 1), -EHOSTDOWN);
	free_one(cluster, 1, slab, 1, 0);
	free_blocks(cluster, 2, &offset, 1); /* nobody to ask: the block is not used again */
	assert_int_equal(cluster->free_count, 0);
	assert_true(cluster_quiet(cluster));
	cluster_close(cluster);
}

/* Nothing is given out whose home is lost, whether asked for or not. */
static void test_home_lost(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t lost;
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 0, 8, 3, &lost), 0);
	assert_int_equal(release(cluster, 0, lost, 8), 0);
	cluster_lose(cluster, 3);
	assert_int_equal(alloc(cluster, 1, 4, 3, &unit), 0);
	for (uint64_t i = unit; i < unit + 4; i++)
		assert_int_equal(home(cluster, 2, i), 1);
	assert_int_equal(alloc(cluster, 2, 8, PLACE_CYCLIC, &unit), 0);
	for (uint64_t i = unit; i < unit + 8; i++)
		assert_int_equal(home(cluster, 1, i), i % 4 == 3 ? 2 : i % 4);
	for (uint64_t i = 0; i < UNITS - 8 - 4 - 8; i++) {
		assert_int_equal(alloc(cluster, 1, 1, 2, &unit), 0);
		assert_false(unit >= lost && unit < lost + 8);
	}
	assert_int_equal(alloc(cluster, 1, 1, 2, &unit), -ENOMEM);
	assert_int_equal(alloc(cluster, 1, 1, PLACE_CYCLIC, &unit), -ENOMEM);
	cluster_close(cluster);
}

/* The guessed home is lost, the owner is not. */
static void test_frees_go_round_the_lost(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t slab = superblock(cluster, 2, 3);

	(void)state;
	assert_int_equal(home(cluster, 1, slab), 3);
	free_one(cluster, 1, slab, 2, 3);
	cluster_lose(cluster, 3);
	free_one(cluster, 1, slab, 2, 2);
	cluster_close(cluster);
}

/* Its blocks go nowhere; what it had allocated can still be released by others. */
static void test_owner_lost(void **state)
{
	struct cluster *cluster = open_heap();
	uint64_t slab = superblock(cluster, 3, 2);
	uint64_t offset = block_of(slab);
	uint64_t unit;

	(void)state;
	assert_int_equal(alloc(cluster, 3, 2, 1, &unit), 0);
	cluster_lose(cluster, 3);
	for (unsigned int node = 0; node < 3; node++) {
		free_blocks(cluster, node, &offset, 1);
		assert_int_equal(cluster->free_count, 0);
	}
	assert_int_equal(release(cluster, 1, slab, 1), -EINVAL);
	assert_int_equal(release(cluster, 1, unit, 2), 0);
	assert_true(cluster_quiet(cluster));
	cluster_close(cluster);
}

/* ---- against a model ---- */

struct model {
	struct cluster *cluster;
	struct prng prng;
	uint32_t extent[UNITS]; /* number of the extent that has the unit; 0: free */
	uint32_t extent_next;
	int homes[UNITS]; /* -ENOENT: not decided */
};

static bool model_fits(const struct model *model, uint64_t unit_count)
{
	uint64_t row = 0;

	for (uint64_t unit = 0; unit < UNITS; unit++) {
		row = model->extent[unit] == 0 ? row + 1 : 0;
		if (row == unit_count)
			return true;
	}
	return false;
}

/* A home is the one asked for where there was none before. */
static void model_place(struct model *model, uint64_t unit, unsigned int place)
{
	int *known = &model->homes[unit];

	if (*known == -ENOENT && place == PLACE_CYCLIC)
		*known = (int)(unit % CLUSTER_NODES);
	else if (*known == -ENOENT && place < CLUSTER_NODES)
		*known = (int)place;
	assert_int_equal(home(model->cluster, 2, unit), *known);
}

static void model_alloc(struct model *model)
{
	static const unsigned int places[] = { 0, 1, 2, 3, PLACE_CYCLIC, PLACE_FIRST_TOUCH };
	unsigned int place = places[prng_below(&model->prng, 6)];
	uint64_t unit_count = 1 + prng_below(&model->prng, prng_below(&model->prng, 4) ? 4 : 20);
	unsigned int node = (unsigned int)prng_below(&model->prng, CLUSTER_NODES);
	uint64_t first;
	int status = alloc(model->cluster, node, unit_count, place, &first);

	if (status == -ENOMEM) {
		assert_false(model_fits(model, unit_count));
		return;
	}
	assert_int_equal(status, 0);
	model->extent_next++;
	for (uint64_t unit = first; unit < first + unit_count; unit++) {
		assert_int_equal(model->extent[unit], 0);
		model->extent[unit] = model->extent_next;
		model_place(model, unit, place);
	}
}

/* At any unit, with any count: right only for a whole extent. */
static void model_release(struct model *model)
{
	uint64_t first = prng_below(&model->prng, UNITS);
	uint64_t unit_count = 1;
	uint32_t extent = model->extent[first];
	bool whole = extent != 0 && (first == 0 || model->extent[first - 1] != extent);

	while (first + unit_count < UNITS && model->extent[first + unit_count] == extent)
		unit_count++;
	if (prng_below(&model->prng, 8) == 0) {
		unit_count++;
		whole = false;
	}
	int status = release(model->cluster, 1, first, unit_count);

	assert_int_equal(status, whole ? 0 : -EINVAL);
	for (uint64_t unit = first; whole && unit < first + unit_count; unit++)
		model->extent[unit] = 0;
}

static void run_model(uint64_t seed)
{
	struct model model = { .cluster = open_heap(), .prng = prng_init(seed) };

	for (uint64_t unit = 0; unit < UNITS; unit++)
		model.homes[unit] = -ENOENT;
	for (unsigned int step = 0; step < 1500; step++) {
		uint64_t unit = prng_below(&model.prng, UNITS);

		if (prng_below(&model.prng, 3) == 0)
			model_alloc(&model);
		else
			model_release(&model);
		assert_int_equal(home(model.cluster, 3, unit), model.homes[unit]);
	}
	assert_true(cluster_quiet(model.cluster));
	cluster_close(model.cluster);
}

static void test_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		print_message("seed %lu\n", (unsigned long)seed);
		run_model(seed);
	}
}

/* ---- time ---- */

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static uint64_t timed_alloc(struct engine *engine, struct commands *commands, uint64_t unit_count,
			    unsigned int placement)
{
	struct event event = alloc_event(unit_count, placement, false);

	event.token.value = 1;
	commands->count = 0;
	if (engine_step(engine, &event, commands) != 0 || commands->list[0].status != 0)
		abort();
	return commands->list[0].complete.value;
}

static void timed_release(struct engine *engine, struct commands *commands, uint64_t unit)
{
	struct event event = { .kind = EV_HEAP_RELEASE, .token = { 1 } };

	event.heap.unit = unit;
	event.heap.unit_count = 1;
	commands->count = 0;
	if (engine_step(engine, &event, commands) != 0 || commands->list[0].status != 0)
		abort();
}

static int time_all(void)
{
	const uint64_t units = UINT64_C(1) << 20;
	struct engine_config config = cluster_config();
	struct commands commands = { .list = malloc(COMMANDS_MAX * sizeof(struct command)) };
	struct event region = { .kind = EV_REGION };

	config.page_limit = units * UNIT_PAGES;
	struct engine *engine =
		engine_init(aligned_alloc(64, (engine_bytes(&config) + 63) / 64 * 64), &config);
	double start = now_ns();

	region.region.run = (struct run){ page_id(0), (uint32_t)config.page_limit };
	region.region.heap = true;
	engine_step(engine, &region, &commands);
	printf("open 2^20 units: %.1f ms\n", (now_ns() - start) / 1e6);
	start = now_ns();
	for (uint64_t i = 0; i < units; i++)
		timed_alloc(engine, &commands, 1, (unsigned int)(i % 4));
	printf("allocate all, one by one: %.0f ns each\n", (now_ns() - start) / (double)units);
	start = now_ns();
	for (uint64_t unit = 0; unit < units; unit += 2)
		timed_release(engine, &commands, unit);
	printf("release each second: %.0f ns each\n", (now_ns() - start) / (double)units * 2);
	start = now_ns();
	for (unsigned int i = 0; i < 10000; i++)
		timed_alloc(engine, &commands, 1, i % 4);
	printf("allocate, half of all is free, single: %.0f ns each\n", (now_ns() - start) / 1e4);
	for (uint64_t unit = units / 2 + 1; unit < units / 2 + 129; unit += 2)
		timed_release(engine, &commands, unit);
	start = now_ns();
	timed_alloc(engine, &commands, 100, 1);
	printf("find the one run of 100 among them: %.1f us\n", (now_ns() - start) / 1e3);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_placement_at_a_node),
		cmocka_unit_test(test_placement_dealt),
		cmocka_unit_test(test_placement_by_first_touch),
		cmocka_unit_test(test_used_units_keep_their_home),
		cmocka_unit_test(test_untouched_units_are_placed_again),
		cmocka_unit_test(test_placement_gives_way),
		cmocka_unit_test(test_fresh_units_before_wrong_ones),
		cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_run_across_the_hint),
		cmocka_unit_test(test_release_is_checked),
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_slots_run_out),
		cmocka_unit_test(test_frees_find_their_owner),
		cmocka_unit_test(test_frees_are_grouped),
		cmocka_unit_test(test_frees_of_nobody),
		cmocka_unit_test(test_broken_messages),
		cmocka_unit_test(test_broken_grant),
		cmocka_unit_test(test_node_0_lost),
		cmocka_unit_test(test_home_lost),
		cmocka_unit_test(test_frees_go_round_the_lost),
		cmocka_unit_test(test_owner_lost),
		cmocka_unit_test(test_model),
	};

	if (argc == 2 && strcmp(argv[1], "time") == 0)
		return time_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
