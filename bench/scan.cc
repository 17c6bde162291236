/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of 256 MiB that another node has written is read, page by page:
 *
 *	pergola run -n 3 bench_scan
 *
 * scan goes in order, random in none, scan_ahead in order with dsm_prefetch() one window ahead. In
 * these the library is told to read nothing ahead. scan_detected is scan with read-ahead as it
 * comes with setting read-ahead, scan_advised the same with DSM_ADVICE_SEQUENTIAL. first: no page
 *is here yet; second: all are. clean: a third node has read the pages before, so that the writer
 *need not be asked to stop; with two nodes they are dirty.
 *
 * floor/scan is what remains without a protocol and without faults: 64 pages are copied from plain
 * memory and shown by one UFFDIO_CONTINUE, then read.
 *
 * A time is a page's share in 64 pages; of scan_ahead, whose pages come in bursts, in a window.
 */
#include "floor.h"
#include "tally.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <linux/userfaultfd.h>
#include <numeric>
#include <pergola/dsm.h>
#include <random>
#include <sys/ioctl.h>
#include <sys/mman.h>

using bench::Step;

namespace
{

constexpr size_t region_bytes = size_t{ 1 } << 30;
constexpr uint64_t group_pages = 64;
constexpr uint64_t window_pages = 512;
constexpr double gib = double{ 1 << 30 };
const uint64_t page_count = bench::amount(65536, 1024);
const uint64_t passes = bench::amount(2, 1);

double floor_us;
char *block;

enum class Way { in_order, at_random, ahead, detected, advised };

uint64_t read_page(const char *page)
{
	const volatile uint64_t *words = reinterpret_cast<const volatile uint64_t *>(page);
	uint64_t sum = 0;

	for (size_t i = 0; i < DSM_PAGE_BYTES / sizeof(*words); i++)
		sum += words[i];
	return sum;
}

void publish(benchmark::State &state, bench::Tally &tally, double seconds)
{
	const double pages =
		static_cast<double>(page_count * static_cast<uint64_t>(state.iterations()));

	tally.publish(state, floor_us, page_count * static_cast<uint64_t>(state.iterations()));
	state.counters["gib_per_s"] = pages * DSM_PAGE_BYTES / gib / seconds;
}

/* ---- the floor ---- */

struct Source {
	char *frames;	 /* where pages are copied to */
	char *elsewhere; /* and where from */
};

void show(const bench::Area &area, char *page)
{
	struct uffdio_continue resume = {};

	resume.range = { reinterpret_cast<uintptr_t>(page), group_pages * DSM_PAGE_BYTES };
	if (ioctl(area.uffd, UFFDIO_CONTINUE, &resume) != 0)
		fprintf(stderr, "UFFDIO_CONTINUE: %s\n", strerror(errno));
}

uint64_t floor_pass(const bench::Area &area, const Source &source, bench::Tally &tally)
{
	constexpr size_t bytes = group_pages * DSM_PAGE_BYTES;
	uint64_t total = 0;

	madvise(area.view, area.bytes, MADV_DONTNEED);
	for (size_t at = 0; at < area.bytes; at += bytes) {
		uint64_t start = bench::now_ns();

		memcpy(source.frames + at, source.elsewhere + at, bytes);
		show(area, area.view + at);
		for (uint64_t i = 0; i < group_pages; i++)
			benchmark::DoNotOptimize(read_page(area.view + at + i * DSM_PAGE_BYTES));
		uint64_t taken = bench::now_ns() - start;
		tally.add_ns(taken / group_pages);
		total += taken;
	}
	return total;
}

char *map(size_t bytes, int fd)
{
	void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
			fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (at == MAP_FAILED) {
		perror("benchmark: mmap");
		exit(1);
	}
	return static_cast<char *>(at);
}

void floor_scan(benchmark::State &state)
{
	bench::Area area;
	bench::Tally tally;
	std::string error = bench::open_area(area, page_count);
	double seconds = 0;

	if (!error.empty()) {
		bench::close_area(area);
		state.SkipWithError(error.c_str());
		return;
	}
	const Source source = { map(area.bytes, area.memfd), map(area.bytes, -1) };

	memset(source.frames, 1, area.bytes);
	memset(source.elsewhere, 2, area.bytes);
	for (auto _ : state) {
		double taken = static_cast<double>(floor_pass(area, source, tally)) / 1e9;

		seconds += taken;
		state.SetIterationTime(taken);
	}
	munmap(source.frames, area.bytes);
	munmap(source.elsewhere, area.bytes);
	bench::close_area(area);
	floor_us = bench::quantile(tally.samples_us, 0.5);
	publish(state, tally, seconds);
}

/* ---- shared memory ---- */

std::vector<uint64_t> order_of(Way way)
{
	std::vector<uint64_t> order(page_count);
	std::mt19937_64 random(1);

	std::iota(order.begin(), order.end(), 0);
	if (way == Way::at_random)
		std::shuffle(order.begin(), order.end(), random);
	return order;
}

/* Pages as another node has written them, and perhaps a third has read. */
void prepare(bool second)
{
	bench::tell({ Step::write, 1, block, page_count });
	if (dsm_node_count() > 2)
		bench::tell({ Step::read, 2, block, page_count });
	if (second)
		bench::tell({ Step::read, 0, block, page_count });
}

void ask_for(uint64_t page)
{
	if (page < page_count)
		bench::must(dsm_prefetch(block + page * DSM_PAGE_BYTES,
					 std::min(window_pages, page_count - page) * DSM_PAGE_BYTES,
					 DSM_READ));
}

uint64_t pass(Way way, const std::vector<uint64_t> &order, bench::Tally &tally)
{
	const uint64_t share = way == Way::ahead ? window_pages : group_pages;
	uint64_t begun = bench::now_ns();

	if (way == Way::ahead)
		ask_for(0);
	for (uint64_t at = 0; at < page_count; at += share) {
		uint64_t start = bench::now_ns();

		if (way == Way::ahead)
			ask_for(at + window_pages);
		for (uint64_t i = at; i < at + share; i++)
			benchmark::DoNotOptimize(read_page(block + order[i] * DSM_PAGE_BYTES));
		tally.add_ns((bench::now_ns() - start) / share);
	}
	return bench::now_ns() - begun;
}

int advice_of(Way way)
{
	switch (way) {
	case Way::in_order:
	case Way::at_random:
	case Way::ahead:
		break;
	case Way::detected:
		return DSM_ADVICE_NORMAL;
	case Way::advised:
		return DSM_ADVICE_SEQUENTIAL;
	}
	return DSM_ADVICE_RANDOM;
}

/* The first pages to come would pay for the frames of all. */
void warm_up()
{
	static const bool done = [] {
		prepare(true);
		return true;
	}();
	(void)done;
}

void scan(benchmark::State &state, Way way, bool second)
{
	const std::vector<uint64_t> order = order_of(way);
	bench::Tally tally;
	double seconds = 0;

	warm_up();
	bench::must(dsm_advise(block, page_count * DSM_PAGE_BYTES, advice_of(way)));
	for (auto _ : state) {
		prepare(second);
		tally.begin();
		double taken = static_cast<double>(pass(way, order, tally)) / 1e9;
		tally.end();
		seconds += taken;
		state.SetIterationTime(taken);
	}
	publish(state, tally, seconds);
}

void register_all()
{
	const std::string state_there = dsm_node_count() > 2 ? "clean" : "dirty";

	bench::benchmark_of("floor/scan", passes, floor_scan);
	if (dsm_node_count() < 2)
		return;
	auto add = [&](const char *name, Way way, bool second) {
		bench::benchmark_of(
			name + ("/" + state_there) + (second ? "/second" : "/first"), passes,
			[way, second](benchmark::State &state) { scan(state, way, second); });
	};

	add("scan", Way::in_order, false);
	add("scan", Way::in_order, true);
	add("scan_ahead", Way::ahead, false);
	add("scan_detected", Way::detected, false);
	add("scan_detected", Way::detected, true);
	add("scan_advised", Way::advised, false);
	add("random", Way::at_random, false);
	add("random", Way::at_random, true);
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	bench::must(dsm_option_set("read-ahead", "512")); /* unless the environment says other */
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	block = static_cast<char *>(
		dsm_malloc_at(page_count * DSM_PAGE_BYTES, dsm_node_count() > 1 ? 1 : 0));
	bench::must(block == nullptr ? -1 : 0);
	register_all();
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
