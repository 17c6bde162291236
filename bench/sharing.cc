/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes and threads that touch the same memory at the same time:
 *
 *	pergola run -n 2 bench_sharing
 *
 * ping_pong        nodes 0 and 1 write one page in turn; a time is one hand-over
 * stores           every node stores to a word of its own, all on one page or each on another
 * fetch_add        a shared counter: on a page held here, on pages written there, from all nodes
 * threads          threads of node 0, each with pages of its own that node 1 has written
 *
 * The setting "hold" is part of what the first three say: a fresh page stays for that long.
 */
#include "tally.h"

#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstdlib>
#include <pergola/dsm.h>
#include <sched.h>
#include <thread>

using bench::Step;

namespace
{

constexpr size_t region_bytes = size_t{ 1 } << 30;
constexpr size_t samples_max = size_t{ 1 } << 18;
constexpr uint64_t batch_pages = 256;
constexpr uint64_t word_stride = 64; /* words of different nodes on one page */
constexpr uint64_t pages_on_board = DSM_NODES_MAX + 2;
const uint64_t run_ns = bench::amount(300, 5) * 1000000;
const uint64_t rounds = bench::amount(2000, 20);

/* Reserved on all nodes: page 0 is shared by all, page 1 + n is node n's. */
char *board;

std::vector<uint64_t> times_ns; /* of this node's latest task */

uint64_t *shared_word(uint64_t page, uint64_t index)
{
	return reinterpret_cast<uint64_t *>(board + page * DSM_PAGE_BYTES + index * word_stride);
}

uint64_t own_page()
{
	return 1 + static_cast<uint64_t>(dsm_node_id());
}

/* ---- tasks, on all nodes ---- */

void await(uint64_t *word, uint64_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
		sched_yield();
}

/* The word counts up, odd values by node 0. */
void ping_pong(uint64_t first)
{
	uint64_t *word = shared_word(0, 0);
	const uint64_t parity = static_cast<uint64_t>(dsm_node_id());

	if (dsm_node_id() > 1)
		return;
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t start = bench::now_ns();

		await(word, first + 2 * i + parity);
		__atomic_store_n(word, first + 2 * i + parity + 1, __ATOMIC_RELEASE);
		if (dsm_node_id() == 0 && i > 0)
			times_ns.push_back((bench::now_ns() - start) / 2);
	}
}

/* Does it until time is up; every time is kept, up to a limit. Returns how often. */
template <typename Function> uint64_t repeat(Function function)
{
	uint64_t end = bench::now_ns() + run_ns;
	uint64_t count = 0;

	for (uint64_t start = bench::now_ns(); start < end; count++) {
		function(count);
		uint64_t now = bench::now_ns();

		if (times_ns.size() < samples_max)
			times_ns.push_back(now - start);
		start = now;
	}
	return count;
}

void stores(uint64_t own_pages)
{
	const uint64_t node = static_cast<uint64_t>(dsm_node_id());
	uint64_t *word = own_pages != 0 ? shared_word(own_page(), 1) : shared_word(0, node % 64);

	times_ns.reserve(samples_max);
	uint64_t count = repeat([&](uint64_t i) { __atomic_store_n(word, i, __ATOMIC_RELAXED); });

	*shared_word(own_page(), 0) = count;
}

void add_all(uint64_t)
{
	uint64_t *word = shared_word(0, 0);

	times_ns.reserve(samples_max);
	uint64_t count = repeat([&](uint64_t) { __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST); });

	*shared_word(own_page(), 0) = count;
}

int task_ping_pong;
int task_stores;
int task_add_all;

/* ---- node 0 ---- */

/* What all nodes have counted in their latest task. */
uint64_t counted()
{
	uint64_t sum = 0;

	for (uint64_t node = 0; node < static_cast<uint64_t>(dsm_node_count()); node++)
		sum += *shared_word(1 + node, 0);
	return sum;
}

/* One task on all nodes; its times on node 0 are published. */
void together(benchmark::State &state, int task, uint64_t argument, bool all)
{
	bench::Tally tally;
	uint64_t operations = 0;

	for (auto _ : state) {
		times_ns.clear();
		tally.begin();
		uint64_t start = bench::now_ns();

		bench::run_task(task, argument);
		double taken = static_cast<double>(bench::now_ns() - start) / 1e9;
		tally.end();
		for (uint64_t time : times_ns)
			tally.add_ns(time);
		operations += all ? counted() : 2 * rounds;
		state.SetIterationTime(taken);
		state.counters["per_s"] = static_cast<double>(operations) / taken;
	}
	tally.publish(state, 0, operations);
}

void ping_pong_page(benchmark::State &state)
{
	*shared_word(0, 0) = 0;
	together(state, task_ping_pong, 0, false);
}

/* A lost addition would be a lost store: the end of the benchmark. */
void fetch_add_all(benchmark::State &state)
{
	*shared_word(0, 0) = 0;
	together(state, task_add_all, 0, true);
	if (*shared_word(0, 0) != counted()) {
		fprintf(stderr, "benchmark: additions to a shared word were lost\n");
		exit(1);
	}
}

void fetch_add_here(benchmark::State &state)
{
	uint64_t *word = shared_word(1, 1);
	std::vector<double> samples;
	constexpr int inner = 64;

	for (auto _ : state) {
		uint64_t start = bench::now_ns();

		for (int i = 0; i < inner; i++)
			__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
		uint64_t taken = bench::now_ns() - start;
		samples.push_back(static_cast<double>(taken) / inner);
		state.SetIterationTime(static_cast<double>(taken) / 1e9);
	}
	bench::publish_times(state, samples, "ns");
}

/* One addition on each of many pages that node 1 has written. */
void fetch_add_there(benchmark::State &state)
{
	bench::Tally tally;
	char *pages = static_cast<char *>(dsm_malloc_at(batch_pages * DSM_PAGE_BYTES, 1));

	bench::must(pages == nullptr ? -1 : 0);
	for (auto _ : state) {
		uint64_t begun = bench::now_ns();

		bench::tell({ Step::write, 1, pages, batch_pages });
		tally.begin();
		for (uint64_t i = 0; i < batch_pages; i++) {
			uint64_t start = bench::now_ns();

			__atomic_fetch_add(pages + i * DSM_PAGE_BYTES, 1, __ATOMIC_SEQ_CST);
			tally.add_ns(bench::now_ns() - start);
		}
		tally.end();
		state.SetIterationTime(static_cast<double>(bench::now_ns() - begun) / 1e9);
	}
	bench::must(dsm_free(pages, batch_pages * DSM_PAGE_BYTES));
	tally.publish(state);
}

/* ---- threads of one node ---- */

void touch(const char *pages, std::vector<uint64_t> &times)
{
	for (uint64_t i = 0; i < batch_pages; i++) {
		uint64_t start = bench::now_ns();

		(void)*static_cast<const volatile char *>(pages + i * DSM_PAGE_BYTES);
		times.push_back(bench::now_ns() - start);
	}
}

/* All begin together. Returns how long it took from there until the last was done. */
uint64_t touch_with(uint64_t thread_count, const char *pages, bench::Tally &tally)
{
	std::vector<std::vector<uint64_t>> times(thread_count);
	std::vector<std::thread> threads;
	std::atomic<bool> go{ false };

	for (uint64_t i = 0; i < thread_count; i++) {
		times[i].reserve(batch_pages);
		threads.emplace_back([&, i] {
			while (!go.load(std::memory_order_acquire))
				sched_yield();
			touch(pages + i * batch_pages * DSM_PAGE_BYTES, times[i]);
		});
	}
	uint64_t start = bench::now_ns();

	go.store(true, std::memory_order_release);
	for (std::thread &thread : threads)
		thread.join();
	uint64_t taken = bench::now_ns() - start;
	for (const auto &list : times)
		for (uint64_t time : list)
			tally.add_ns(time);
	return taken;
}

void faulting_threads(benchmark::State &state, uint64_t thread_count)
{
	const uint64_t page_count = thread_count * batch_pages;
	char *pages = static_cast<char *>(dsm_malloc_at(page_count * DSM_PAGE_BYTES, 1));
	bench::Tally tally;
	double seconds = 0;

	bench::must(pages == nullptr ? -1 : 0);
	for (auto _ : state) {
		bench::tell({ Step::write, 1, pages, page_count });
		tally.begin();
		double taken = static_cast<double>(touch_with(thread_count, pages, tally)) / 1e9;
		tally.end();
		seconds += taken;
		state.SetIterationTime(taken);
	}
	bench::must(dsm_free(pages, page_count * DSM_PAGE_BYTES));
	state.counters["per_s"] = static_cast<double>(tally.samples_us.size()) / seconds;
	tally.publish(state);
}

void register_all()
{
	const uint64_t batches = bench::amount(16, 1);

	bench::benchmark_of("fetch_add/here", bench::amount(10000, 10), fetch_add_here);
	if (dsm_node_count() < 2)
		return;
	bench::benchmark_of("fetch_add/written_there", batches, fetch_add_there);
	bench::benchmark_of("fetch_add/all_nodes", 1, fetch_add_all);
	bench::benchmark_of("ping_pong/one_page", 1, ping_pong_page);
	bench::benchmark_of("stores/all_on_one_page", 1,
			    [](benchmark::State &state) { together(state, task_stores, 0, true); });
	bench::benchmark_of("stores/a_page_each", 1,
			    [](benchmark::State &state) { together(state, task_stores, 1, true); });
	for (uint64_t threads = 1; threads <= 8; threads *= 2)
		bench::benchmark_of(
			"read/dirty_there/threads:" + std::to_string(threads), batches,
			[threads](benchmark::State &state) { faulting_threads(state, threads); });
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	task_ping_pong = bench::offer(ping_pong);
	task_stores = bench::offer(stores);
	task_add_all = bench::offer(add_all);
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	board = static_cast<char *>(dsm_reserve(nullptr, pages_on_board * DSM_PAGE_BYTES));
	bench::must(board == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	register_all();
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
