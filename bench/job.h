/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A benchmark on several nodes: node 0 runs Google Benchmark, the other nodes do what node 0 tells
 * them, step by step, and wait in dsm_bcast() in between. A step is collective.
 */
#ifndef PERGOLA_BENCH_JOB_H
#define PERGOLA_BENCH_JOB_H

#include <cstdint>
#include <vector>

namespace bench
{

/* What the nodes are told to do; `actor` does it, the others wait. */
enum class Step : uint32_t { quit, read, write };

struct Order {
	Step step;
	int32_t actor;
	char *pages;
	uint64_t page_count;
};

/* Joins the job or ends the process; false on node 0, true on the others. */
bool join();

/* On nodes other than 0: obeys until told to quit. Returns the process's exit status. */
int serve();

/* On node 0. Returns when it is done. */
void tell(const Order &order);

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
