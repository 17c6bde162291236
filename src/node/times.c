/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults under way stand in a table by page number, where a later one takes an earlier one's place;
 * those that are over, in a ring, where the latest take the places of the oldest.
 */
#include "node/times.h"

#include "base/error.h"
#include "port/clock.h"

#include <errno.h>
#include <stdlib.h>

#define UNDER_WAY 256u

struct slot {
	struct fault_times fault;
	bool used;
};

struct times {
	struct slot slots[UNDER_WAY];
	uint32_t capacity;
	uint64_t added; /* to the ring, ever ... */
	uint64_t taken; /* ... and out of it, by the reader or by overwriting */
	struct fault_times ring[];
};

int times_open(struct node *node, uint32_t capacity)
{
	struct times *times = calloc(1, sizeof(*times) + capacity * sizeof(times->ring[0]));

	if (times == NULL)
		return error_set(-ENOMEM, "no memory to note the times of %u faults", capacity);
	times->capacity = capacity;
	times_close(node);
	pthread_mutex_lock(&node->lock);
	node->times = times;
	pthread_mutex_unlock(&node->lock);
	return 0;
}

void times_close(struct node *node)
{
	pthread_mutex_lock(&node->lock);
	struct times *times = node->times;

	node->times = NULL;
	pthread_mutex_unlock(&node->lock);
	free(times);
}

static void add(struct times *times, const struct fault_times *fault)
{
	if (times->capacity == 0)
		return;
	if (times->added - times->taken == times->capacity)
		times->taken++;
	times->ring[times->added++ % times->capacity] = *fault;
}

uint32_t times_take(struct node *node, struct fault_times *out, uint32_t limit)
{
	uint32_t count = 0;

	pthread_mutex_lock(&node->lock);
	struct times *times = node->times;

	while (times != NULL && count < limit && times->taken < times->added)
		out[count++] = times->ring[times->taken++ % times->capacity];
	pthread_mutex_unlock(&node->lock);
	return count;
}

static void note(struct times *times, enum times_point point, struct page_id page, uint64_t now_ns)
{
	struct slot *slot = &times->slots[page.value % UNDER_WAY];

	if (point == TIMES_TAKEN)
		*slot = (struct slot){ .fault = { .page = page }, .used = true };
	if (!slot->used || slot->fault.page.value != page.value)
		return; /* not a fault: prefetched, or overtaken */
	if (slot->fault.at_ns[point] == 0)
		slot->fault.at_ns[point] = now_ns;
	if (point != TIMES_MAPPED)
		return;
	add(times, &slot->fault);
	slot->used = false;
}

void times_note(struct times *times, enum times_point point, struct run run)
{
	uint64_t now_ns = clock_now_ns();

	for (uint32_t i = 0; i < run.page_count; i++)
		note(times, point, page_add(run.page, i), now_ns);
}

void times_note_command(struct times *times, const struct command *command, bool done)
{
	switch (command->kind) {
	case CMD_READ:
		if (!done)
			times_note(times, TIMES_GRANTED, command->run);
		return;
	case CMD_MAP_READ:
	case CMD_MAP_WRITE:
	case CMD_UPGRADE:
		times_note(times, done ? TIMES_MAPPED : TIMES_MAPPING, command->run);
		return;
	case CMD_SEND:
	case CMD_FAST_READ:
	case CMD_TAKE:
	case CMD_GATE:
	case CMD_COLLECT:
	case CMD_UPDATE: /* no fault waits for it */
	case CMD_INVALIDATE:
	case CMD_DOWNGRADE:
	case CMD_FAIL:
	case CMD_COMPLETE:
	case CMD_FREE:
	case CMD_LOSE:
	case CMD_RELEASE:
		return;
	}
}
