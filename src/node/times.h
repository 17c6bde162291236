/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the page faults of this node came to which point of their way; for benchmarks. Off, it costs
 * one branch a point, on a pointer in the node that is NULL.
 *
 * A fault is known by its page. Of two on one page at a time only the later is noted, and of many
 * at a time perhaps not all: this is for measuring few. All is protected by node->lock; what calls
 * this has it, times_open(), times_take() and times_close() apart.
 */
#ifndef PERGOLA_NODE_TIMES_H
#define PERGOLA_NODE_TIMES_H

#include "node/node.h"

/* In this order; a fault may leave some out. */
enum times_point {
	TIMES_TAKEN = 0, /* the fault is given to the engine */
	TIMES_ASKED,	 /* the engine has had it, and its request is with the fabric */
	TIMES_GRANTED,	 /* a grant says whose frame has the bytes */
	TIMES_FETCHED,	 /* they are here */
	TIMES_MAPPING,	 /* the pager is called ... */
	TIMES_MAPPED,	 /* ... and has returned */
	TIMES_POINTS,
};

struct fault_times {
	struct page_id page;
	uint64_t at_ns[TIMES_POINTS]; /* of clock_now_ns(); 0: the fault was not there */
};

/* Begins to note, and keeps the latest `capacity` faults that were mapped. -ENOMEM. */
int times_open(struct node *node, uint32_t capacity);

/* Takes out up to `limit` of them, the oldest first; returns how many. */
uint32_t times_take(struct node *node, struct fault_times *out, uint32_t limit);
void times_close(struct node *node);

/* What the hooks call when it is on. */
void times_note(struct times *times, enum times_point point, struct run run);
void times_note_command(struct times *times, const struct command *command, bool done);

/* The pages of `run` are at this point. */
static inline void times_reach(struct node *node, enum times_point point, struct run run)
{
	if (__builtin_expect(node->times != NULL, 0))
		times_note(node->times, point, run);
}

/* A command is about to be carried out, or is `done`. */
static inline void times_command(struct node *node, const struct command *command, bool done)
{
	if (__builtin_expect(node->times != NULL, 0))
		times_note_command(node->times, command, done);
}

#endif
