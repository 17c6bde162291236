/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can happen next, and the seeded choice among it. Kinds of happening have weights from the
 * seed, so that one world has a slow network and another slow threads.
 */
#include "sim.h"

/* ---- threads ---- */

static struct thread *runnable_thread(struct world *world, struct node_id *id)
{
	unsigned int total = world->node_count * world->thread_count;
	unsigned int start = below(world, total);

	for (unsigned int i = 0; i < total; i++) {
		unsigned int at = (start + i) % total;
		struct node *node = &world->nodes[at / world->thread_count];
		struct thread *thread = &node->threads[at % world->thread_count];

		*id = node_id(at / world->thread_count);
		if (thread_runnable(world, node, thread))
			return thread;
	}
	return NULL;
}

static bool any_runnable(struct world *world)
{
	for (unsigned int i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];

		for (unsigned int t = 0; t < world->thread_count; t++) {
			if (thread_runnable(world, node, &node->threads[t]))
				return true;
		}
	}
	return false;
}

/* ---- timers ---- */

static uint64_t next_timer(struct world *world, struct node_id *id)
{
	unsigned int start = below(world, world->node_count);
	uint64_t next = UINT64_MAX;

	for (unsigned int i = 0; i < world->node_count; i++) {
		unsigned int at = (start + i) % world->node_count;

		if (!world->nodes[at].alive)
			continue;
		uint64_t due = engine_timer_ns(world->nodes[at].engine);

		if (due < next) {
			next = due;
			*id = node_id(at);
		}
	}
	return next;
}

static void fire_timer(struct world *world)
{
	struct event event = { .kind = EV_TIMER };
	struct node_id id = { 0 };
	uint64_t due = next_timer(world, &id);

	if (due > world->now_ns && chance(world, 90))
		world->now_ns = due; /* else: too early, which must do no harm */
	node_step(world, id, &event);
}

/* ---- noise ---- */

static bool collective_calls_level(const struct world *world)
{
	for (unsigned int i = 0; i < world->node_count; i++) {
		if (world->nodes[i].collect_entered != world->collect_goal)
			return false;
	}
	return true;
}

static bool barriers_level(const struct world *world)
{
	for (unsigned int i = 0; i < world->node_count; i++) {
		if (world->nodes[i].barrier_entered != world->barrier_goal)
			return false;
	}
	return world->thread_count > 1;
}

/* A fault that no thread waits for: the kernel reports it late, or the translation was dropped. */
static void noise(struct world *world)
{
	struct fault *fault;

	if (chance(world, 20) && collective_calls_level(world)) {
		world->collect_goal++;
		return;
	}
	if (chance(world, 20) && barriers_level(world)) {
		world->barrier_goal++;
		return;
	}
	struct node_id id = node_id(below(world, world->node_count));

	if (!node_at(world, id)->alive)
		return;
	fault = bag_add(&world->faults);
	*fault =
		(struct fault){ id, world->hot[below(world, world->hot_count)], chance(world, 50) };
}

/* ---- the choice ---- */

static bool notice_ready(struct world *world, size_t *index)
{
	if (world->notices.count == 0)
		return false;
	size_t start = below(world, world->notices.count);

	for (size_t i = 0; i < world->notices.count; i++) {
		*index = (start + i) % world->notices.count;
		if (net_notice_ready(world, *index))
			return true;
	}
	return false;
}

static bool timer_possible(struct world *world)
{
	struct node_id id;
	uint64_t due = next_timer(world, &id);

	return due <= world->now_ns || (due != UINT64_MAX && chance(world, 5));
}

static void weigh(struct world *world, unsigned int weight[ACT_END])
{
	size_t index;
	const bool possible[ACT_END] = {
		[ACT_DELIVER] = world->busy.count > 0,
		[ACT_READ] = world->reads.count > 0,
		[ACT_PAGER] = world->pager_ops.count > 0,
		[ACT_FAULT] = world->faults.count > 0,
		[ACT_THREAD] = any_runnable(world),
		[ACT_TIMER] = timer_possible(world),
		[ACT_NOTICE] = notice_ready(world, &index),
		[ACT_NOISE] = !world->resting,
		[ACT_FAST] = world->fasts.count > 0,
		[ACT_COLLECT] = world->collects.count > 0,
	};

	for (unsigned int i = 0; i < ACT_END; i++)
		weight[i] = possible[i] ? world->weight[i] : 0;
}

static bool choose(struct world *world, enum action *action)
{
	unsigned int weight[ACT_END];
	unsigned int total = 0;

	weigh(world, weight);
	for (unsigned int i = 0; i < ACT_END; i++)
		total += weight[i];
	if (total == 0)
		return false;
	unsigned int point = below(world, total);

	for (unsigned int i = 0; i < ACT_END; i++) {
		if (point < weight[i]) {
			*action = (enum action)i;
			return true;
		}
		point -= weight[i];
	}
	return false;
}

static void perform(struct world *world, enum action action)
{
	struct node_id id;
	struct thread *thread;
	size_t index;

	switch (action) {
	case ACT_DELIVER:
		net_deliver(world);
		break;
	case ACT_READ:
		net_read_step(world);
		break;
	case ACT_PAGER:
		node_pager_step(world);
		break;
	case ACT_FAULT:
		node_fault_step(world);
		break;
	case ACT_THREAD:
		thread = runnable_thread(world, &id);
		thread_step(world, id, thread);
		break;
	case ACT_TIMER:
		fire_timer(world);
		break;
	case ACT_NOTICE:
		if (notice_ready(world, &index))
			net_notice(world, index);
		break;
	case ACT_NOISE:
		noise(world);
		break;
	case ACT_FAST:
		fast_step(world);
		break;
	case ACT_COLLECT:
		fast_collect_step(world);
		break;
	case ACT_END:
		break;
	}
}

bool act(struct world *world)
{
	enum action action;
	struct node_id id;

	world->step++;
	world->now_ns += below(world, 200);
	if (!choose(world, &action)) {
		if (next_timer(world, &id) == UINT64_MAX)
			return false;
		action = ACT_TIMER;
	}
	perform(world, action);
	return true;
}
