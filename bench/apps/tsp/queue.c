/* SPDX-License-Identifier: Apache-2.0 */
/* The shared queue: a binary heap of bounds over slots of prefixes, under one lock. */
#include "queue.h"

#include <pergola/dsm.h>
#include <string.h>

/* Objects are named by addresses: these three, of which the bytes are used for other things too. */
#define LOCK(queue) ((void *)&(queue)->size)
#define CHANGED(queue) ((void *)&(queue)->busy)
#define BEST_LOCK(queue) ((void *)&(queue)->best)

_Static_assert(sizeof(struct tsp_prefix) <= 96, "a prefix is small");

static void swap(struct queue_entry *a, struct queue_entry *b)
{
	struct queue_entry kept = *a;

	*a = *b;
	*b = kept;
}

static void heap_push(struct queue *queue, const struct tsp_prefix *prefix)
{
	uint64_t slot = queue->free[--queue->free_count];
	size_t at = (size_t)queue->size++;

	queue->slot[slot] = *prefix;
	queue->heap[at] = (struct queue_entry){ prefix->bound, slot };
	for (; at > 0 && queue->heap[at].bound < queue->heap[(at - 1) / 2].bound; at = (at - 1) / 2)
		swap(&queue->heap[at], &queue->heap[(at - 1) / 2]);
}

static struct tsp_prefix heap_pop(struct queue *queue)
{
	uint64_t slot = queue->heap[0].slot;
	size_t size = (size_t)--queue->size;
	size_t at = 0;

	queue->heap[0] = queue->heap[size];
	while (2 * at + 1 < size) {
		size_t child = 2 * at + 1;

		if (child + 1 < size && queue->heap[child + 1].bound < queue->heap[child].bound)
			child++;
		if (queue->heap[at].bound <= queue->heap[child].bound)
			break;
		swap(&queue->heap[at], &queue->heap[child]);
		at = child;
	}
	queue->free[queue->free_count++] = slot;
	return queue->slot[slot];
}

/* When the lowest bound is no better than the best tour, none is. */
static void drop_hopeless(struct queue *queue)
{
	if (queue->size == 0 || queue->heap[0].bound < queue_best(queue))
		return;
	for (uint64_t i = 0; i < queue->size; i++)
		queue->free[queue->free_count++] = queue->heap[i].slot;
	queue->size = 0;
}

int queue_init(struct queue *queue, const struct tsp_tour *first, const struct tsp_prefix *root)
{
	queue->size = 0;
	queue->busy = 0;
	queue->best = *first;
	queue->free_count = QUEUE_CAPACITY;
	for (uint64_t i = 0; i < QUEUE_CAPACITY; i++)
		queue->free[i] = QUEUE_CAPACITY - 1 - i;
	heap_push(queue, root);
	int result = dsm_lock_init(LOCK(queue));
	if (result == 0)
		result = dsm_cond_init(CHANGED(queue));
	return result < 0 ? result : dsm_lock_init(BEST_LOCK(queue));
}

/* Waits, with the lock held, for prefixes or the end. Returns how many, or a negative errno. */
static int take_or_end(struct queue *queue, size_t nodes, struct tsp_prefix *next)
{
	for (;;) {
		drop_hopeless(queue);
		if (queue->size > 0)
			break;
		if (queue->busy == 0)
			return 0;
		int result = dsm_cond_wait(CHANGED(queue), LOCK(queue));
		if (result < 0)
			return result;
	}
	size_t share = (size_t)queue->size / (2 * nodes);
	size_t count = share < 1 ? 1 : share > QUEUE_BATCH ? QUEUE_BATCH : share;
	for (size_t i = 0; i < count; i++)
		next[i] = heap_pop(queue);
	queue->busy++;
	return (int)count;
}

int queue_exchange(struct queue *queue, size_t nodes, bool was_busy,
		   const struct tsp_prefix *children, size_t count, size_t *kept,
		   struct tsp_prefix next[QUEUE_BATCH])
{
	int result = dsm_lock(LOCK(queue));
	int taken = 0;

	if (result < 0)
		return result;
	size_t room = (size_t)queue->free_count;
	*kept = count < room ? count : room;
	for (size_t i = 0; i < *kept; i++)
		heap_push(queue, &children[i]);
	if (*kept == count) {
		queue->busy -= was_busy ? 1 : 0;
		taken = take_or_end(queue, nodes, next);
	}
	/* What was added is for others to take; when all is done, it is for others to see. */
	if (*kept > 0 || (taken == 0 && *kept == count))
		result = dsm_cond_broadcast(CHANGED(queue));
	int unlocked = dsm_unlock(LOCK(queue));
	if (taken < 0 || result < 0)
		return taken < 0 ? taken : result;
	return unlocked < 0 ? unlocked : taken;
}

int64_t queue_best(const struct queue *queue)
{
	return __atomic_load_n(&queue->best.length, __ATOMIC_ACQUIRE);
}

int queue_offer(struct queue *queue, const struct tsp_tour *tour)
{
	int result = dsm_lock(BEST_LOCK(queue));

	if (result < 0)
		return result;
	if (tour->length < queue->best.length) {
		memcpy(queue->best.city, tour->city, sizeof(tour->city));
		__atomic_store_n(&queue->best.length, tour->length, __ATOMIC_RELEASE);
	}
	return dsm_unlock(BEST_LOCK(queue));
}
