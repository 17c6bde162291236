/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver and the nodes of a job share beside the job's own memory: a memfd that the driver
 * makes and the nodes inherit, so that what a killed node had noted is there afterwards. The driver
 * writes the plan before it starts the nodes; each thread writes its own operations.
 */
#ifndef PERGOLA_TESTS_HISTORY_RECORDS_H
#define PERGOLA_TESTS_HISTORY_RECORDS_H

#include "history.h"

/* Objects of a run. */
#define RECORDS_MIXED 8u     /* x */
#define RECORDS_EXCHANGED 8u /* e */
#define RECORDS_ADDED 4u     /* a */
#define RECORDS_WORDS (RECORDS_MIXED + RECORDS_EXCHANGED + RECORDS_ADDED)
#define RECORDS_MUTEXES 3u
#define RECORDS_RWLOCKS 2u
#define RECORDS_SEMAPHORES 2u
#define RECORDS_QUEUE 8u /* a queue's capacity */

/* A thread's operations beside those it is told to do: the last look at all words. */
#define RECORDS_SPARE RECORDS_WORDS

/* Wrong on purpose, to see that it is found. */
enum records_fault {
	FAULT_NONE = 0,
	FAULT_PRIVATE,	/* words that each node has for itself */
	FAULT_SPLIT,	/* additions that are a load and a store */
	FAULT_EARLY,	/* loads that happen before the exchange that they follow */
	FAULT_UNLOCKED, /* sections without their lock */
};

struct records_plan {
	uint32_t node_count;
	uint32_t thread_count; /* of a node */
	uint32_t step_count;   /* of a thread */
	uint32_t word_pages;
	uint64_t seed;
	uint64_t zero_ns; /* times are counted from here */
	uint32_t fault;
	bool loses;  /* a node will be killed: errors that say so are none */
	bool spread; /* what one lock protects is on two pages */
};

struct records_thread {
	uint32_t count; /* operations begun; read by the driver meanwhile */
};

struct records {
	struct records_plan plan;
	uint32_t over[HISTORY_NODES_MAX]; /* a node's threads have ended */
	uint32_t leave;			  /* the driver: all survivors may go */
	struct records_thread threads[HISTORY_ALL_THREADS_MAX];
	struct history_op ops[]; /* each thread's, records_capacity() of them */
};

static inline size_t records_capacity(const struct records_plan *plan)
{
	/* A step may be two: a semaphore's wait and post; a rare one as many as a page has words.
	 */
	return 4 * (size_t)plan->step_count + 20 * RECORDS_WORDS + RECORDS_SPARE;
}

static inline size_t records_bytes(const struct records_plan *plan)
{
	return sizeof(struct records) + (size_t)plan->node_count * plan->thread_count *
						records_capacity(plan) * sizeof(struct history_op);
}

static inline struct history_op *records_ops(struct records *records, unsigned int node,
					     unsigned int thread)
{
	size_t index = (size_t)node * records->plan.thread_count + thread;

	return &records->ops[index * records_capacity(&records->plan)];
}

static inline struct records_thread *records_thread(struct records *records, unsigned int node,
						    unsigned int thread)
{
	return &records->threads[node * HISTORY_THREADS_MAX + thread];
}

#endif
