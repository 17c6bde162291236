/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors of the network, below the coherence: one-sided reads of 4 KiB, and a message of 64
 * bytes there and back, both sides polling (spin) or both asleep until something comes (sleep):
 *
 *	pergola run -n 2 --fabric shm bench_fabric
 */
#include "fabric_floor.h"
#include "tally.h"

#include <benchmark/benchmark.h>

namespace
{

void publish(const char *name, const std::vector<uint64_t> &times)
{
	bench::benchmark_of(name, 1, [times](benchmark::State &state) {
		bench::Tally tally;
		uint64_t total = 0;

		for (uint64_t time : times) {
			tally.add_ns(time);
			total += time;
		}
		for (auto _ : state)
			state.SetIterationTime(static_cast<double>(total) / 1e9);
		tally.publish(state);
	});
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	const unsigned int count = static_cast<unsigned int>(bench::amount(20000, 100));
	std::vector<uint64_t> read(count);
	std::vector<uint64_t> spin(count);
	std::vector<uint64_t> sleep(count);
	struct fabric_floor floor = { read.data(), spin.data(), sleep.data(), {} };

	if (fabric_floor_measure(&floor, count) != 0)
		return 0;
	bench::describe_program(2, floor.fabric);
	publish("one_sided_read/4096", read);
	publish("round_trip/spin/64", spin);
	publish("round_trip/sleep/64", sleep);
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
