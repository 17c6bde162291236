/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the nodes share while they search: a priority queue of prefixes, lowest bound first, and the
 * best tour. All of it stands in shared memory.
 *
 * The queue's lock protects the queue and the count of busy nodes; its condition says that there
 * is a prefix to take or that the search has ended. It has ended when the queue is empty and no
 * node is busy with a prefix, for only a busy node can add one. The best tour has a lock of its own
 * and stands on pages of its own; its length is also read without the lock, on every step of the
 * search: a read of a page that every node keeps a copy of until the length changes.
 *
 * A node takes several prefixes at a time while there are plenty, and fewer as they run out (a
 * fraction of what is left for each node, as in guided self-scheduling: Polychronopoulos and Kuck,
 * IEEE Transactions on Computers C-36(12), 1987), because each visit to the queue costs a lock and
 * the transfer of its pages.
 */
#ifndef APPS_TSP_QUEUE_H
#define APPS_TSP_QUEUE_H

#include "solve.h"

/* Prefixes in the queue at most. A node whose children find no room searches them itself. */
#define QUEUE_CAPACITY 8192u

/* Prefixes that a node takes at a time at most. */
#define QUEUE_BATCH 32u

struct queue_entry {
	int64_t bound;
	uint64_t slot;
};

/* Each part begins on a page of its own, so that taking from the queue moves few pages. */
struct queue {
	_Alignas(4096) uint64_t size;
	uint64_t busy;
	uint64_t free_count;
	_Alignas(4096) struct tsp_tour best;
	_Alignas(4096) struct queue_entry heap[QUEUE_CAPACITY];
	_Alignas(4096) uint64_t free[QUEUE_CAPACITY]; /* slots that no entry of the heap names */
	_Alignas(4096) struct tsp_prefix slot[QUEUE_CAPACITY];
};

/* Called by one node; the others may use the queue after a barrier. Negative errno of dsm. */
int queue_init(struct queue *queue, const struct tsp_tour *first, const struct tsp_prefix *root);

/*
 * Ends this node's work on the prefixes it had (if `was_busy`), adds the `count` that came of them,
 * and takes up to QUEUE_BATCH others, for `nodes` nodes in all. Returns how many, 0 at the end of
 * the search, or a negative errno. What found no room, `children[*kept ..]`, the caller must search
 * itself: then nothing is taken and it is still busy (returns 0, *kept < count).
 */
int queue_exchange(struct queue *queue, size_t nodes, bool was_busy,
		   const struct tsp_prefix *children, size_t count, size_t *kept,
		   struct tsp_prefix next[QUEUE_BATCH]);

/* The best tour's length, without the lock. */
int64_t queue_best(const struct queue *queue);

/* Puts a tour in if it is better than the best. Negative errno of dsm. */
int queue_offer(struct queue *queue, const struct tsp_tour *tour);

#endif
