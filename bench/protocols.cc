/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write-invalidate and write-update beside each other, in one run and in turn:
 *
 *	pergola run -n 2 bench_protocols
 *
 * produce/P        node 0 stores to P pages, a barrier, all others load them, a barrier
 * take_turns/P     as that, but each round another node stores
 * write_only/P     as that, but nobody loads after the first round: updates that nobody wants
 *
 * A round's time is node 0's: invalidate_us and update_us; prefetch_us is write-invalidate with a
 * dsm_prefetch() by those who load. Medians of all rounds but the first of each batch; *_ratio is
 * the median of each batch's quotient of the same medians.
 */
#include "job.h"

#include <benchmark/benchmark.h>
#include <pergola/dsm.h>

namespace
{

constexpr uint64_t pages_max = 256;
const uint64_t rounds = bench::amount(30, 3);
const uint64_t batches = bench::amount(11, 1);

enum Pattern : uint64_t { produce, take_turns, write_only };
enum Protocol : uint64_t { invalidate, prefetch, update, protocols };

constexpr const char *pattern_names[] = { "produce", "take_turns", "write_only" };
constexpr const char *protocol_names[] = { "invalidate", "prefetch", "update" };

char *invalidated;
char *updated;
int task_rounds;
std::vector<double> times_us; /* of this node's latest task */

struct Work {
	Pattern pattern;
	Protocol protocol;
	uint64_t pages;
};

uint64_t pack(const Work &work)
{
	return work.pages << 8 | work.pattern << 4 | work.protocol;
}

Work unpack(uint64_t argument)
{
	return { static_cast<Pattern>(argument >> 4 & 15), static_cast<Protocol>(argument & 15),
		 argument >> 8 };
}

/* ---- on all nodes ---- */

volatile uint64_t *word(char *pages, uint64_t page)
{
	return reinterpret_cast<volatile uint64_t *>(pages + page * DSM_PAGE_BYTES);
}

bool stores(const Work &work, uint64_t round)
{
	const uint64_t node = static_cast<uint64_t>(dsm_node_id());
	const uint64_t count = static_cast<uint64_t>(dsm_node_count());

	return node == (work.pattern == take_turns ? round % count : 0);
}

void load(const Work &work, char *pages, uint64_t value)
{
	if (work.protocol == prefetch)
		bench::must(dsm_prefetch(pages, work.pages * DSM_PAGE_BYTES, DSM_READ));
	for (uint64_t page = 0; page < work.pages; page++)
		bench::must(*word(pages, page) == value ? 0 : -1);
}

/* What is stored is another value in each round and batch. */
void one_round(const Work &work, char *pages, uint64_t round)
{
	static uint64_t value;

	value++;
	for (uint64_t page = 0; stores(work, round) && page < work.pages; page++)
		*word(pages, page) = value;
	bench::must(dsm_barrier());
	if (!stores(work, round) && (round == 0 || work.pattern != write_only))
		load(work, pages, value);
	bench::must(dsm_barrier());
}

void all_rounds(uint64_t argument)
{
	const Work work = unpack(argument);
	char *pages = work.protocol == update ? updated : invalidated;

	times_us.clear();
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t start = bench::now_ns();

		one_round(work, pages, round);
		if (round > 0)
			times_us.push_back(static_cast<double>(bench::now_ns() - start) / 1e3);
	}
}

/* ---- node 0 ---- */

double median(std::vector<double> &samples)
{
	return bench::quantile(samples, 0.5);
}

void compare(benchmark::State &state, Pattern pattern, uint64_t pages)
{
	std::vector<double> samples[protocols];
	std::vector<double> ratios[protocols];

	for (auto _ : state) {
		uint64_t start = bench::now_ns();
		double medians[protocols];

		for (uint64_t p = 0; p < protocols; p++) {
			bench::run_task(task_rounds,
					pack({ pattern, static_cast<Protocol>(p), pages }));
			samples[p].insert(samples[p].end(), times_us.begin(), times_us.end());
			medians[p] = median(times_us);
		}
		for (uint64_t p = 0; p < protocols; p++)
			ratios[p].push_back(medians[p] / medians[update]);
		state.SetIterationTime(static_cast<double>(bench::now_ns() - start) / 1e9);
	}
	for (uint64_t p = 0; p < protocols; p++) {
		const std::string name = protocol_names[p];

		state.counters[name + "_us"] = median(samples[p]);
		if (p != update)
			state.counters[name + "_ratio"] = median(ratios[p]);
	}
}

void register_all()
{
	if (dsm_node_count() < 2)
		return;
	for (Pattern pattern : { produce, take_turns, write_only }) {
		for (uint64_t pages : { uint64_t{ 1 }, uint64_t{ 16 }, pages_max }) {
			const std::string name =
				std::string(pattern_names[pattern]) + "/" + std::to_string(pages);

			benchmark::RegisterBenchmark(name.c_str(),
						     [pattern, pages](benchmark::State &state) {
							     compare(state, pattern, pages);
						     })
				->Iterations(static_cast<benchmark::IterationCount>(batches))
				->UseManualTime()
				->Unit(benchmark::kMicrosecond);
		}
	}
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	task_rounds = bench::offer(all_rounds);
	bool peer = bench::join();

	invalidated = static_cast<char *>(dsm_reserve(nullptr, pages_max * DSM_PAGE_BYTES));
	updated = static_cast<char *>(
		dsm_reserve_as(nullptr, pages_max * DSM_PAGE_BYTES, DSM_UPDATE));
	bench::must(invalidated == nullptr || updated == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	register_all();
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
