/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A benchmark on several nodes: node 0 runs Google Benchmark, the other nodes do what node 0 tells
 * them, step by step, and wait in dsm_bcast() in between. A step is collective.
 */
#ifndef PERGOLA_BENCH_JOB_H
#define PERGOLA_BENCH_JOB_H

#include <cstdint>
#include <string>
#include <vector>

namespace bench
{

/* What the nodes are told to do: `actor` does it and the others wait, but counts and tasks are for
 * all. */
enum class Step : uint32_t { quit, read, write, counts, task };

struct Order {
	Step step;
	int32_t actor; /* of Step::task: the task's number */
	char *pages;
	uint64_t page_count;
	uint64_t argument = 0; /* of Step::task */
};

/* What all nodes do at the same time. */
using Task = void (*)(uint64_t argument);

/* What a node and all others have done so far. */
struct Counts {
	uint64_t sent;		/* messages of this node */
	uint64_t received;	/* messages to it */
	uint64_t fetched;	/* pages that it has read one-sided */
	uint64_t work_requests; /* 0: no RDMA */
	uint64_t completions;
	uint64_t remote; /* messages that other nodes' processors have taken in */
};

/* Joins the job or ends the process; false on node 0, true on the others. */
bool join();

/* What JSON needs to say of the job, after it is joined: nodes, fabric, delivery, manager, ... */
void describe();

/* The part of it that needs no job. */
void describe_program(int nodes, const std::string &fabric);

/* BENCH_QUICK=1: only to see that all runs; figures mean nothing then. */
bool quick();

/* `full`, or when it has to be quick `least`. */
uint64_t amount(uint64_t full, uint64_t least);

/* On all nodes, in the same order and before serve(): makes a task known. */
int offer(Task task);

/* On nodes other than 0: obeys until told to quit. Returns the process's exit status. */
int serve();

/* On node 0. Returns when it is done. */
void tell(const Order &order);

/* On node 0: all nodes run the task; returns when all have. */
void run_task(int task, uint64_t argument);

/* On node 0, while the others wait for orders: all that was done so far, and since. What the
 * counting itself brings about is taken out again. */
Counts count();
Counts count_since(const Counts &before);

/* On node 0: ends the others, and the job. Returns the process's exit status. */
int finish();

/* Ends the process when `status` is not 0. */
void must(int status);

/* Nanoseconds of a monotonic clock. */
uint64_t now_ns();

/* Value at quantile q of the samples, which it sorts. */
double quantile(std::vector<double> &samples, double q);

} // namespace bench

#endif
