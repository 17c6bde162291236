/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one benchmark has measured: times, and what was sent and done for them here and elsewhere.
 * Published as counters of Google Benchmark; bench_report reads them by these names:
 *
 *	count, min_us, p10_us, p25_us, median_us, p75_us, p90_us, p99_us, p999_us, max_us
 *			the times (in _ns where published so); p99 of 100 times and more, p999 of
 *			1,000 and more
 *	floors		median in medians of a floor of the same run
 *	messages	sent and received by this node, for each time
 *	round_trips	answers this node waited for: messages received and one-sided reads;
 *			those that were on their way together count each
 *	remote_events	messages that other nodes' processors had to take in
 *	work_requests, completions	of this node's RDMA device, if it has one
 */
#ifndef PERGOLA_BENCH_TALLY_H
#define PERGOLA_BENCH_TALLY_H

#include "job.h"

#include <benchmark/benchmark.h>
#include <string>
#include <vector>

namespace bench
{

/* Sorts the samples, which are of the unit named: "us", "ns". */
void publish_times(benchmark::State &state, std::vector<double> &samples, const std::string &unit);

class Tally
{
      public:
	/* Around what is measured, on node 0, while the others wait for orders. */
	void begin();
	void end();

	void add_ns(uint64_t taken_ns);

	/* `floor_us`: 0: there is none to compare with. Counts go by `operations`, or by times. */
	void publish(benchmark::State &state, double floor_us = 0, uint64_t operations = 0);

	std::vector<double> samples_us;

      private:
	Counts before_ = {};
	Counts total_ = {};
	bool counted_ = false;
};

/* Registers a benchmark that sets its own times, for so many iterations. */
template <typename Function>
void benchmark_of(const std::string &name, uint64_t iterations, Function function)
{
	benchmark::RegisterBenchmark(name.c_str(), function)
		->Iterations(static_cast<benchmark::IterationCount>(iterations))
		->UseManualTime()
		->Unit(benchmark::kMicrosecond);
}

} // namespace bench

#endif
