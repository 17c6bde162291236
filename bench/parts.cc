/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page fault is made of:
 *
 *	pergola run -n 2 bench_parts
 *
 * trap     from the access until the library has the fault: the kernel, and waking a thread
 * engine   the library's own work: until its request is sent (with the call that wakes a peer who
 *          sleeps), and after the bytes have come
 * request  from there until the grant is here: messages, and the other nodes' work
 * read     the one-sided read of the bytes
 * map      the pager's call
 * wake     from there until the access is over
 *
 * They are means of the faults whose whole time is in the middle half, so that they add up to a
 * typical fault. The points are noted by the library (node/times.h), which is linked in, and not
 * the shared one; to note them takes about 0.2 us of each fault.
 */
#include "fault_parts.h"
#include "kinds.h"
#include "tally.h"

#include <algorithm>
#include <array>
#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>

using bench::Kind;

namespace
{

constexpr uint64_t batch_pages = 256;
constexpr size_t region_bytes = size_t{ 1 } << 30;
const uint64_t batches = bench::amount(16, 1);

enum Part { trap, engine, request, read_bytes, map, wake, part_count };

const char *const part_names[part_count] = { "part_trap_us", "part_engine_us", "part_request_us",
					     "part_read_us", "part_map_us",    "part_wake_us" };

struct Access {
	uint64_t start;
	uint64_t end;
};

struct Fault {
	double whole_us;
	std::array<double, part_count> parts_us;
};

double between(uint64_t from, uint64_t to)
{
	return to > from ? static_cast<double>(to - from) / 1e3 : 0;
}

/* The thread may go on before the call that lets it has returned: then the call ends there. */
Fault fault_of(const Access &access, const struct fault_points &at)
{
	const uint64_t answered = at.granted != 0 ? at.granted : at.mapping;
	const uint64_t mapped = std::min(at.mapped, access.end);
	Fault fault = { between(access.start, access.end), {} };

	fault.parts_us[trap] = between(access.start, at.taken);
	fault.parts_us[map] = between(at.mapping, mapped);
	fault.parts_us[wake] = between(mapped, access.end);
	if (at.asked == 0) { /* this node could serve it alone */
		fault.parts_us[engine] = between(at.taken, at.mapping);
		return fault;
	}
	fault.parts_us[engine] = between(at.taken, at.asked);
	fault.parts_us[request] = between(at.asked, answered);
	if (at.granted != 0 && at.fetched != 0) {
		fault.parts_us[read_bytes] = between(at.granted, at.fetched);
		fault.parts_us[engine] += between(at.fetched, at.mapping);
	}
	return fault;
}

/* Touches the batch and adds its faults. A page whose fault was not noted ends the benchmark. */
uint64_t touch_all(char *pages, bool write, bench::Tally &tally, std::vector<Fault> &faults)
{
	std::unordered_map<const char *, Access> accesses;
	std::vector<struct fault_points> points(2 * batch_pages);
	uint64_t total = 0;
	size_t known = 0;

	fault_points_take(points.data(), static_cast<uint32_t>(points.size()));
	for (uint64_t i = 0; i < batch_pages; i++) {
		char *page = pages + i * DSM_PAGE_BYTES;
		uint64_t start = bench::now_ns();

		bench::touch(page, write);
		uint64_t end = bench::now_ns();

		accesses[page] = { start, end };
		tally.add_ns(end - start);
		total += end - start;
	}
	points.resize(fault_points_take(points.data(), static_cast<uint32_t>(points.size())));
	for (const auto &point : points) {
		auto access = accesses.find(point.page);

		if (access == accesses.end())
			continue;
		faults.push_back(fault_of(access->second, point));
		known++;
	}
	if (known < batch_pages) {
		fprintf(stderr, "benchmark: of %llu faults only %zu were noted\n",
			static_cast<unsigned long long>(batch_pages), known);
		exit(1);
	}
	return total;
}

void publish_parts(benchmark::State &state, std::vector<Fault> &faults)
{
	std::array<double, part_count> sums = {};
	const size_t first = faults.size() / 4;
	const size_t last = faults.size() - first;

	std::sort(faults.begin(), faults.end(),
		  [](const Fault &a, const Fault &b) { return a.whole_us < b.whole_us; });
	for (size_t i = first; i < last; i++)
		for (size_t part = 0; part < part_count; part++)
			sums[part] += faults[i].parts_us[part];
	for (size_t part = 0; part < part_count; part++)
		state.counters[part_names[part]] = sums[part] / static_cast<double>(last - first);
}

void run(benchmark::State &state, const Kind &kind)
{
	bench::Tally tally;
	std::vector<Fault> faults;

	for (auto _ : state) {
		char *pages = bench::prepare(kind, batch_pages);
		uint64_t total = touch_all(pages, kind.write, tally, faults);

		state.SetIterationTime(static_cast<double>(total) / 1e9);
	}
	tally.publish(state);
	publish_parts(state, faults);
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	fault_points_begin(2 * batch_pages);
	for (const Kind &kind : bench::kinds_for(dsm_node_count()))
		bench::benchmark_of(kind.name, batches,
				    [kind](benchmark::State &state) { run(state, kind); });
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
