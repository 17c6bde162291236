/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared heap beside malloc(3), in one run:
 *
 *	pergola run -n 2 bench_heap
 *
 * pairs: one block at a time. fill: 4,096 live blocks, then all of them are freed.
 */
#include "job.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <pergola/dsm.h>

namespace
{

constexpr size_t region_bytes = size_t{ 256 } << 20;
constexpr int samples_max = 1 << 16;
constexpr int inner = 64; /* calls between two looks at the clock */

void report(benchmark::State &state, std::vector<double> &samples)
{
	state.counters["median_ns"] = bench::quantile(samples, 0.5);
	state.counters["p99_ns"] = bench::quantile(samples, 0.99);
}

template <typename Allocate, typename Free>
void pairs(benchmark::State &state, Allocate allocate, Free release)
{
	const size_t size = static_cast<size_t>(state.range(0));
	std::vector<double> samples;

	for (auto _ : state) {
		uint64_t start = bench::now_ns();

		for (int i = 0; i < inner; i++) {
			void *block = allocate(size);

			benchmark::DoNotOptimize(block);
			release(block, size);
		}
		if (samples.size() < samples_max)
			samples.push_back(static_cast<double>(bench::now_ns() - start) / inner);
	}
	report(state, samples);
}

void dsm_pairs(benchmark::State &state)
{
	pairs(state, dsm_malloc, dsm_free);
}

void libc_pairs(benchmark::State &state)
{
	pairs(state, malloc, [](void *block, size_t) { free(block); });
}

/* Many live blocks: fill, then free in the order of allocation. */
void dsm_fill(benchmark::State &state)
{
	const size_t size = static_cast<size_t>(state.range(0));
	constexpr size_t count = 4096;
	std::vector<void *> blocks(count);
	std::vector<double> samples;

	for (auto _ : state) {
		uint64_t start = bench::now_ns();

		for (void *&block : blocks)
			block = dsm_malloc(size);
		for (void *block : blocks)
			dsm_free(block, size);
		samples.push_back(static_cast<double>(bench::now_ns() - start) / count);
	}
	report(state, samples);
}

BENCHMARK(libc_pairs)->Arg(64)->Arg(4096);
BENCHMARK(dsm_pairs)->Arg(64)->Arg(4096)->Arg(65536);
BENCHMARK(dsm_pairs)->Name("dsm_pairs_large")->Arg(1 << 20);
BENCHMARK(dsm_fill)->Arg(64);

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
