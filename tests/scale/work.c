/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patterns of sharing. In PRODUCER the turns of a group change by themselves, at no cost: how
 * the threads would tell each other is another question than what the pages cost.
 */
#include "base/assert.h"
#include "scale.h"

#include <stdlib.h>

const char *pattern_name(enum pattern pattern)
{
	static const char *const names[] = { "migratory", "read-mostly", "stores", "producer",
					     "none" };

	return names[pattern];
}

/* ---- PRODUCER: groups ---- */

static struct group *group_of(struct world *world, const struct thread *thread)
{
	unsigned int index = thread->node.value / (world->setup.consumers + 1);

	/* The last group takes in a node that would be alone. */
	return &world->groups[index < world->group_count ? index : world->group_count - 1];
}

static bool is_producer(const struct group *group, const struct thread *thread)
{
	return thread->node.value == group->first;
}

static void turn_begin(struct world *world, struct group *group, bool reading)
{
	unsigned int threads = world->setup.thread_count;
	unsigned int parts =
		threads < world->setup.block_pages ? threads : world->setup.block_pages;

	group->reading = reading;
	group->left = reading ? (group->node_count - 1) * parts : parts;
	for (unsigned int i = 0; i < group->node_count * threads; i++) {
		struct thread *thread = &world->threads[group->first * threads + i];

		thread->progress = thread->index;
		if (thread->state != THREAD_BLOCKED || is_producer(group, thread) == reading)
			continue;
		thread->state = THREAD_THINKING;
		thread->think_ps = 0;
		agenda_add(&world->agenda, (struct happening){
						   .at_ps = world->now_ps,
						   .kind = HAPPEN_THREAD,
						   .node = thread->node.value,
						   .thread = thread->index,
					   });
	}
}

/* The block's home is outside of the group, if there are other nodes. */
static void group_open(struct world *world, struct group *group, unsigned int index)
{
	unsigned int size = world->setup.consumers + 1;
	unsigned int end = (index + 1) * size;

	if (index + 1 == world->group_count)
		end = world->setup.node_count;
	group->first = index * size;
	group->node_count = end - group->first;
	group->block = page_id((uint64_t)(end % world->setup.node_count) * UNIT_PAGES);
	turn_begin(world, group, false);
}

void work_open(struct world *world)
{
	unsigned int size = world->setup.consumers + 1;
	unsigned int count = world->setup.node_count / size;

	if (world->setup.pattern != PATTERN_PRODUCER)
		return;
	if (count == 0 || world->setup.node_count % size > 1)
		count++;
	world->group_count = count;
	world->groups = calloc(count, sizeof(*world->groups));
	ASSERT(world->groups != NULL);
	for (unsigned int i = 0; i < count; i++)
		group_open(world, &world->groups[i], i);
}

void work_close(struct world *world)
{
	free(world->groups);
	world->groups = NULL;
}

static bool choose_of_block(struct world *world, struct thread *thread)
{
	const struct group *group = group_of(world, thread);

	if (group->reading == is_producer(group, thread) ||
	    thread->progress >= world->setup.block_pages)
		return false;
	thread->page = page_add(group->block, thread->progress);
	thread->write = !group->reading;
	return true;
}

static void part_done(struct world *world, struct thread *thread)
{
	struct group *group = group_of(world, thread);

	thread->progress += world->setup.thread_count;
	if (thread->progress < world->setup.block_pages)
		return;
	ASSERT(group->left > 0);
	if (--group->left == 0)
		turn_begin(world, group, !group->reading);
}

/* ---- what next ---- */

static struct page_id any_page(struct world *world)
{
	return world_page(world, prng_below(&world->prng, world->setup.page_count));
}

bool work_choose(struct world *world, struct thread *thread)
{
	switch (world->setup.pattern) {
	case PATTERN_MIGRATORY:
		thread->page = any_page(world);
		thread->write = false;
		return true;
	case PATTERN_STORES:
		thread->page = any_page(world);
		thread->write = true;
		return true;
	case PATTERN_READ_MOSTLY:
		thread->page = any_page(world);
		thread->write = prng_below(&world->prng, 1000) < world->setup.writes_permille;
		return true;
	case PATTERN_PRODUCER:
		return choose_of_block(world, thread);
	case PATTERN_NONE:
	case PATTERN_END:
		break;
	}
	return false;
}

bool work_next(struct world *world, struct thread *thread)
{
	if (world->setup.pattern == PATTERN_PRODUCER)
		part_done(world, thread);
	if (world->setup.pattern != PATTERN_MIGRATORY || thread->write)
		return false;
	thread->write = true;
	return true;
}
