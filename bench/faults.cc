/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page fault costs, by kind, beside the floor of userfaultfd taken in the same run, in the
 * same kind of delivery:
 *
 *	pergola run -n 2 bench_faults        (3 nodes: also pages of a third; 8: seven readers)
 *
 * Times are of single accesses: the loop touches a page and looks at the clock before and after.
 * The other nodes wait in dsm_bcast() meanwhile, that is, they poll for PERGOLA_SPIN and then
 * sleep. With PERGOLA_SPIN=1s and two nodes the other one polls all the time. Then pages are the
 *same in each round, so that none is touched for the first time, and "sums" is the median in sums
 *of what a miss consists of at least: a fault, a copy of 4 KiB, three spinning round trips of the
 * fabric.
 */
#include "fabric_floor.h"
#include "floor.h"
#include "kinds.h"
#include "tally.h"

#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstring>
#include <pergola/dsm.h>

using bench::Kind;
using bench::Step;

namespace
{

constexpr uint64_t batch_pages = 256;
const uint64_t batches = bench::amount(16, 1);
constexpr size_t region_bytes = size_t{ 1 } << 30;

double floor_read_us;
double floor_upgrade_us;
double sum_us; /* 0: not measured, or the others sleep */

uint64_t timed_touch(char *pages, bool write, bench::Tally &tally)
{
	uint64_t total = 0;

	for (uint64_t i = 0; i < batch_pages; i++) {
		uint64_t start = bench::now_ns();

		bench::touch(pages + i * DSM_PAGE_BYTES, write);
		uint64_t taken = bench::now_ns() - start;
		tally.add_ns(taken);
		total += taken;
	}
	return total;
}

void run(benchmark::State &state, const Kind &kind)
{
	bench::Tally tally;
	bench::Tally first;
	bool again = sum_us > 0 && !kind.by_peer.empty();
	char *pages = nullptr;

	if (again) {
		pages = bench::prepare(kind, batch_pages);
		timed_touch(pages, kind.write, first);
	}
	for (auto _ : state) {
		pages = bench::prepare(kind, batch_pages, again ? pages : nullptr);
		tally.begin();
		uint64_t total = timed_touch(pages, kind.write, tally);
		tally.end();
		state.SetIterationTime(static_cast<double>(total) / 1e9);
	}
	tally.publish(state, kind.write && kind.read_here ? floor_upgrade_us : floor_read_us);
	if (sum_us > 0)
		state.counters["sums"] = bench::quantile(tally.samples_us, 0.5) / sum_us;
}

/* 16 MiB that the other node has written are asked for at once, then each page is touched. */
void prefetch(benchmark::State &state)
{
	constexpr uint64_t pages = 4096;
	const size_t bytes = pages * DSM_PAGE_BYTES;
	char *block = static_cast<char *>(dsm_malloc_at(bytes, 1));
	bench::Tally tally; /* a page's share */

	bench::must(block == nullptr ? -1 : 0);
	for (auto _ : state) {
		bench::tell({ Step::write, 1, block, pages });
		uint64_t start = bench::now_ns();

		bench::must(dsm_prefetch(block, bytes, DSM_READ));
		for (uint64_t i = 0; i < pages; i++)
			(void)*static_cast<volatile char *>(block + i * DSM_PAGE_BYTES);
		uint64_t taken = bench::now_ns() - start;
		tally.add_ns(taken / pages);
		state.SetIterationTime(static_cast<double>(taken) / 1e9);
	}
	tally.publish(state, floor_read_us);
}

void report_floor(const char *name, std::vector<double> &samples)
{
	std::vector<double> copy = samples;

	bench::benchmark_of(name, 1, [copy](benchmark::State &state) mutable {
		for (auto _ : state)
			state.SetIterationTime(1e-6);
		bench::publish_times(state, copy, "us");
	});
}

/* Median of spinning round trips, before there is a job. */
double measure_round_us()
{
	std::vector<uint64_t> times(bench::amount(20000, 100));

	if (!fabric_round_trips(times.data(), static_cast<unsigned int>(times.size())))
		return 0;
	std::vector<double> samples(times.begin(), times.end());
	return bench::quantile(samples, 0.5) / 1e3;
}

bool measure_floors(double round_us)
{
	bench::FloorSamples any = bench::measure_floor(batch_pages * batches, false);
	bench::FloorSamples one = bench::measure_floor(batch_pages * batches, true);

	if (!any.error.empty()) {
		fprintf(stderr, "the floor cannot be taken: %s\n", any.error.c_str());
		return false;
	}
	bench::FloorSamples here = bench::measure_inline_floor(batch_pages * batches);
	bool by_signal = strcmp(dsm_option_get("delivery"), "inline") == 0 && here.error.empty();

	/* Ratios are to the floor of the same way of delivery. */
	floor_read_us = bench::quantile(by_signal ? here.read_us : any.read_us, 0.5);
	floor_upgrade_us = bench::quantile(by_signal ? here.upgrade_us : any.upgrade_us, 0.5);
	if (round_us > 0 && strcmp(dsm_option_get("spin"), "1s") == 0)
		sum_us = floor_read_us + bench::quantile(any.copy_us, 0.5) + 3 * round_us;
	report_floor("floor/read", any.read_us);
	report_floor("floor/upgrade", any.upgrade_us);
	report_floor("floor/read/one_core", one.read_us);
	report_floor("floor/upgrade/one_core", one.upgrade_us);
	if (here.error.empty()) {
		report_floor("floor/read/inline", here.read_us);
		report_floor("floor/upgrade/inline", here.upgrade_us);
	}
	report_floor("floor/copy_4KiB", any.copy_us);
	return true;
}

void register_kinds(int nodes)
{
	for (const Kind &kind : bench::kinds_for(nodes))
		bench::benchmark_of(kind.name, batches,
				    [kind](benchmark::State &state) { run(state, kind); });
}

void register_prefetch(int nodes)
{
	if (nodes < 2)
		return;
	bench::benchmark_of("prefetch/dirty_there/a_page", batches, prefetch);
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	double round_us = measure_round_us();
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	if (measure_floors(round_us)) {
		register_kinds(dsm_node_count());
		register_prefetch(dsm_node_count());
		benchmark::RunSpecifiedBenchmarks();
	}
	return bench::finish();
}
