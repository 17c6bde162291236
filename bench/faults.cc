/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page fault costs, by kind, beside the floor of userfaultfd taken in the same run:
 *
 *	pergola run -n 2 bench_faults        (3 nodes: also reads of clean pages)
 *
 * Times are of single accesses: the loop touches a page and looks at the clock before and after.
 * The other nodes wait in dsm_bcast() meanwhile, that is, they poll for PERGOLA_SPIN and then
 *sleep.
 */
#include "floor.h"
#include "job.h"

#include <benchmark/benchmark.h>
#include <cstdio>
#include <pergola/dsm.h>

using bench::Order;
using bench::Step;

namespace
{

constexpr uint64_t batch_pages = 256;
constexpr int batches = 16;
constexpr size_t region_bytes = size_t{ 1 } << 30;

double floor_read_us;
double floor_upgrade_us;

/* How a batch is prepared, and what is timed. */
struct Kind {
	const char *name;
	int home;
	std::vector<Step> by_peer; /* what node 1 does with the batch first */
	bool by_third;		   /* then node 2 reads it */
	bool read_here;		   /* then node 0 reads it */
	bool write;		   /* timed: a store, else a load */
};

void report(benchmark::State &state, std::vector<double> &samples, double floor_us)
{
	state.counters["median_us"] = bench::quantile(samples, 0.5);
	state.counters["p99_us"] = bench::quantile(samples, 0.99);
	state.counters["p999_us"] = bench::quantile(samples, 0.999);
	state.counters["floors"] = bench::quantile(samples, 0.5) / floor_us;
}

void prepare(const Kind &kind, char *pages)
{
	for (Step step : kind.by_peer)
		bench::tell({ step, 1, pages, batch_pages });
	if (kind.by_third)
		bench::tell({ Step::read, 2, pages, batch_pages });
	if (kind.read_here)
		bench::tell({ Step::read, 0, pages, batch_pages });
}

uint64_t timed_touch(char *pages, bool write, std::vector<double> &samples)
{
	uint64_t total = 0;

	for (uint64_t i = 0; i < batch_pages; i++) {
		volatile char *byte = pages + i * DSM_PAGE_BYTES;
		uint64_t start = bench::now_ns();

		if (write)
			*byte = 1;
		else
			(void)*byte;
		uint64_t taken = bench::now_ns() - start;
		samples.push_back(static_cast<double>(taken) / 1e3);
		total += taken;
	}
	return total;
}

/* What node 0 sent, received, ... */
void per_fault(benchmark::State &state, const char *what, uint64_t count,
	       const std::vector<double> &samples)
{
	state.counters[what] = static_cast<double>(count) / static_cast<double>(samples.size());
}

void run(benchmark::State &state, const Kind &kind)
{
	std::vector<double> samples;
	struct dsm_stats before;
	struct dsm_stats after;
	uint64_t messages = 0;
	uint64_t requests = 0;
	uint64_t completions = 0;
	const size_t bytes = batch_pages * DSM_PAGE_BYTES;

	for (auto _ : state) {
		char *pages = static_cast<char *>(dsm_malloc_at(bytes, kind.home));

		bench::must(pages == nullptr ? -1 : 0);
		prepare(kind, pages);
		bench::must(dsm_stats_get(&before));
		uint64_t total = timed_touch(pages, kind.write, samples);
		bench::must(dsm_stats_get(&after));
		messages += after.messages_sent - before.messages_sent + after.messages_received -
			    before.messages_received;
		requests += after.work_requests - before.work_requests;
		completions += after.completions - before.completions;
		state.SetIterationTime(static_cast<double>(total) / 1e9);
	}
	report(state, samples, kind.write && kind.read_here ? floor_upgrade_us : floor_read_us);
	per_fault(state, "messages", messages, samples);
	if (requests > 0) { /* a node on RDMA */
		per_fault(state, "work_requests", requests, samples);
		per_fault(state, "completions", completions, samples);
	}
}

/* 16 MiB that the other node has written are asked for at once, then each page is touched. */
void prefetch(benchmark::State &state)
{
	constexpr uint64_t pages = 4096;
	const size_t bytes = pages * DSM_PAGE_BYTES;
	char *block = static_cast<char *>(dsm_malloc_at(bytes, 1));
	std::vector<double> samples; /* microseconds a page */

	bench::must(block == nullptr ? -1 : 0);
	for (auto _ : state) {
		bench::tell({ Step::write, 1, block, pages });
		uint64_t start = bench::now_ns();

		bench::must(dsm_prefetch(block, bytes, DSM_READ));
		for (uint64_t i = 0; i < pages; i++)
			(void)*static_cast<volatile char *>(block + i * DSM_PAGE_BYTES);
		uint64_t taken = bench::now_ns() - start;
		samples.push_back(static_cast<double>(taken) / 1e3 / static_cast<double>(pages));
		state.SetIterationTime(static_cast<double>(taken) / 1e9);
	}
	report(state, samples, floor_read_us);
}

void report_floor(const char *name, std::vector<double> &samples)
{
	std::vector<double> copy = samples;

	benchmark::RegisterBenchmark(name,
				     [copy](benchmark::State &state) mutable {
					     for (auto _ : state)
						     state.SetIterationTime(1e-6);
					     report(state, copy, bench::quantile(copy, 0.5));
				     })
		->Iterations(1)
		->UseManualTime();
}

bool measure_floors()
{
	bench::FloorSamples any = bench::measure_floor(batch_pages * batches, false);
	bench::FloorSamples one = bench::measure_floor(batch_pages * batches, true);

	if (!any.error.empty()) {
		fprintf(stderr, "the floor cannot be taken: %s\n", any.error.c_str());
		return false;
	}
	floor_read_us = bench::quantile(any.read_us, 0.5);
	floor_upgrade_us = bench::quantile(any.upgrade_us, 0.5);
	report_floor("floor/read", any.read_us);
	report_floor("floor/upgrade", any.upgrade_us);
	report_floor("floor/read/one_core", one.read_us);
	report_floor("floor/upgrade/one_core", one.upgrade_us);
	report_floor("floor/copy_4KiB", any.copy_us);
	return true;
}

void register_kinds(int nodes)
{
	const std::vector<Kind> kinds = {
		{ "first_touch/read/home_here", 0, {}, false, false, false },
		{ "first_touch/write/home_here", 0, {}, false, false, true },
		{ "first_touch/write/home_there", 1, {}, false, false, true },
		{ "read/dirty_there/home_there", 1, { Step::write }, false, false, false },
		{ "read/dirty_there/home_here", 0, { Step::write }, false, false, false },
		{ "write/dirty_there/home_there", 1, { Step::write }, false, false, true },
		{ "write/dirty_there/home_here", 0, { Step::write }, false, false, true },
		{ "upgrade/nobody_else/home_here", 0, {}, false, true, true },
		{ "upgrade/one_reader/home_there", 1, { Step::write }, false, true, true },
		{ "upgrade/one_reader/home_here", 0, { Step::write }, false, true, true },
		{ "read/clean_there/home_there", 1, { Step::write }, true, false, false },
		{ "write/two_readers/home_there", 1, { Step::write }, true, false, true },
	};

	for (const Kind &kind : kinds) {
		if (kind.by_third && nodes < 3)
			continue;
		if (nodes < 2 && (kind.home > 0 || !kind.by_peer.empty()))
			continue;
		benchmark::RegisterBenchmark(kind.name,
					     [kind](benchmark::State &state) { run(state, kind); })
			->Iterations(batches)
			->UseManualTime()
			->Unit(benchmark::kMicrosecond);
	}
}

void register_prefetch(int nodes)
{
	if (nodes < 2)
		return;
	benchmark::RegisterBenchmark("prefetch/dirty_there/a_page", prefetch)
		->Iterations(batches)
		->UseManualTime()
		->Unit(benchmark::kMicrosecond);
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	if (measure_floors()) {
		register_kinds(dsm_node_count());
		register_prefetch(dsm_node_count());
		benchmark::RunSpecifiedBenchmarks();
	}
	return bench::finish();
}
