/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of another node used in no order, with memory for some of them only (option "cache"):
 *
 *	pergola run -n 2 bench_budget
 *
 * within: as many pages as fit; all are missing once. over: three times as many, after a pass that
 * fills the memory. written: the same with stores, so that each page is returned home before it
 * goes. A time is what a missing page costs: all of the time, by the pages that came. ratio is to
 * within, of the same kind.
 */
#include "job.h"
#include "tally.h"

#include <benchmark/benchmark.h>
#include <pergola/dsm.h>
#include <random>
#include <string>

using bench::Step;

namespace
{

constexpr uint64_t budget_pages = 16384; /* 64 MiB */
const uint64_t fitting = bench::amount(budget_pages * 3 / 4, 1024);
const uint64_t all = bench::amount(budget_pages * 3, 4096);

char *block;
double within_us[2];

uint64_t came()
{
	struct dsm_stats stats;

	bench::must(dsm_stats_get(&stats));
	return stats.pages_fetched + stats.pages_granted;
}

void use(uint64_t page, bool write)
{
	volatile uint64_t *word =
		reinterpret_cast<volatile uint64_t *>(block + page * DSM_PAGE_BYTES);

	if (write)
		*word = page;
	else
		(void)*word;
}

/* Touches `count` of the first `page_count` pages, in an order of its own each time. */
void touch(std::mt19937_64 &random, uint64_t page_count, uint64_t count, bool write)
{
	for (uint64_t i = 0; i < count; i++)
		use(random() % page_count, write);
}

/* Node 1 has all pages, as it has written them. */
void prepare()
{
	bench::tell({ Step::write, 1, block, all });
}

void measure(benchmark::State &state, bool over, bool write)
{
	static std::mt19937_64 random(1);
	const uint64_t page_count = over ? all : fitting;
	double seconds = 0;
	uint64_t misses = 0;

	for (auto _ : state) {
		prepare();
		if (over)
			touch(random, page_count, page_count, write);
		uint64_t before = came();
		uint64_t start = bench::now_ns();

		touch(random, page_count, page_count, write);
		double taken = static_cast<double>(bench::now_ns() - start) / 1e9;

		misses += came() - before;
		seconds += taken;
		state.SetIterationTime(taken);
	}
	const double us = misses == 0 ? 0 : seconds * 1e6 / static_cast<double>(misses);

	if (!over)
		within_us[write] = us;
	state.counters["us_per_miss"] = us;
	state.counters["misses"] = static_cast<double>(misses);
	if (over && within_us[write] > 0)
		state.counters["ratio"] = us / within_us[write];
}

void add(const char *name, bool over, bool write)
{
	bench::benchmark_of(name, bench::amount(3, 1), [over, write](benchmark::State &state) {
		measure(state, over, write);
	});
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	bench::must(dsm_option_set("cache", bench::quick() ? "4M" : "64M"));
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, size_t{ 1 } << 29) == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	block = static_cast<char *>(
		dsm_malloc_at(all * DSM_PAGE_BYTES, dsm_node_count() > 1 ? 1 : 0));
	bench::must(block == nullptr ? -1 : 0);
	if (dsm_node_count() > 1) {
		add("within", false, false);
		add("over", true, false);
		add("written/within", false, true);
		add("written/over", true, true);
	}
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
