/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared heap beside malloc(3), in one run:
 *
 *	pergola run -n 2 bench_heap
 *
 * pairs: one block at a time. fill: 4,096 live blocks, then all of them are freed. free_theirs:
 * node 0 frees blocks that node 1 has allocated. On node 0, which also deals out the large units;
 * from_there: node 1 asks it for them.
 */
#include "tally.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <pergola/dsm.h>

namespace
{

constexpr size_t region_bytes = size_t{ 256 } << 20;
constexpr int samples_max = 1 << 16;
constexpr int inner = 64; /* calls between two looks at the clock */
constexpr size_t theirs_max = 2048;

/* Reserved on all nodes: what node 1 leaves for node 0. */
struct Board {
	void *blocks[theirs_max];
	uint64_t times_ns[theirs_max];
};

Board *board;
int task_allocate;
int task_large;

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
	bench::publish_times(state, samples, "ns");
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
	bench::publish_times(state, samples, "ns");
}

/* ---- two nodes ---- */

void allocate_there(uint64_t size)
{
	if (dsm_node_id() != 1)
		return;
	for (void *&block : board->blocks)
		block = dsm_malloc(size);
}

/* Blocks that node 0 must find units for, and take back. */
void large_there(uint64_t size)
{
	if (dsm_node_id() != 1)
		return;
	for (uint64_t &time : board->times_ns) {
		uint64_t start = bench::now_ns();
		void *block = dsm_malloc(size);

		bench::must(block == nullptr ? -1 : dsm_free(block, size));
		time = bench::now_ns() - start;
	}
}

/* A free of another node's block is put aside, and now and then many are sent: a mean of 64. */
void free_theirs(benchmark::State &state, size_t size)
{
	std::vector<double> samples;

	for (auto _ : state) {
		bench::run_task(task_allocate, size);
		uint64_t begun = bench::now_ns();

		for (size_t i = 0; i < theirs_max; i += inner) {
			uint64_t start = bench::now_ns();

			for (size_t k = i; k < i + inner; k++)
				bench::must(dsm_free(board->blocks[k], size));
			samples.push_back(static_cast<double>(bench::now_ns() - start) / inner);
		}
		state.SetIterationTime(static_cast<double>(bench::now_ns() - begun) / 1e9);
	}
	bench::publish_times(state, samples, "ns");
}

void pairs_from_there(benchmark::State &state, size_t size)
{
	std::vector<double> samples;
	uint64_t total = 0;

	for (auto _ : state) {
		bench::run_task(task_large, size);
		for (uint64_t time : board->times_ns) {
			samples.push_back(static_cast<double>(time));
			total += time;
		}
		state.SetIterationTime(static_cast<double>(total) / 1e9);
	}
	bench::publish_times(state, samples, "ns");
}

void register_two_nodes()
{
	const uint64_t batches = bench::amount(16, 1);

	if (dsm_node_count() < 2)
		return;
	for (size_t size : { size_t{ 64 }, size_t{ 4096 } })
		bench::benchmark_of("dsm_free_theirs/" + std::to_string(size), batches,
				    [size](benchmark::State &state) { free_theirs(state, size); });
	bench::benchmark_of("dsm_pairs_large/from_there/1048576", 1, [](benchmark::State &state) {
		pairs_from_there(state, size_t{ 1 } << 20);
	});
}

BENCHMARK(libc_pairs)->Arg(64)->Arg(4096);
BENCHMARK(dsm_pairs)->Arg(64)->Arg(4096)->Arg(65536);
BENCHMARK(dsm_pairs)->Name("dsm_pairs_large")->Arg(1 << 20);
BENCHMARK(dsm_fill)->Arg(64);

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	task_allocate = bench::offer(allocate_there);
	task_large = bench::offer(large_there);
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	board = static_cast<Board *>(dsm_reserve(nullptr, sizeof(Board)));
	bench::must(board == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	register_two_nodes();
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
