/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two figures that a newcomer asks for, in one run:
 *
 *	pergola run -n 2 bench_headline [--order=N] [--repeat=R]
 *
 * strassen: a product of N x N matrices (default 2048) by Strassen's method on all nodes in shared
 * memory, and by the very same code in one process on plain malloc memory, R times (default 9) in
 * turn, so that both see the same machine; the distribution of the operands is part of the time.
 * heap: dsm_malloc() and dsm_free() of 64 bytes on one node.
 */
#include "job.h"

extern "C" {
#include "common/app.h"
#include "strassen/job.h"
}

#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pergola/dsm.h>

namespace
{

struct Options {
	size_t order = bench::amount(2048, 256);
	size_t repeat = bench::amount(9, 2);
};

struct Results {
	std::vector<double> shared_s;
	std::vector<double> serial_s;
	std::vector<double> ratio;
	std::vector<double> pair_ns;
};

size_t number(const char *text)
{
	uint64_t value = 0;

	if (!app_parse_u64(text, 1, 16384, &value)) {
		fprintf(stderr, "bench_headline: '%s' is not a number from 1 to 16384\n", text);
		exit(2);
	}
	return static_cast<size_t>(value);
}

/* Takes its own options out of the command line; the rest is for the benchmark library. */
Options parse(int &argc, char **argv)
{
	Options options;
	int kept = 1;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--order=", 8) == 0)
			options.order = number(argv[i] + 8);
		else if (strncmp(argv[i], "--repeat=", 9) == 0)
			options.repeat = number(argv[i] + 9);
		else
			argv[kept++] = argv[i];
	}
	argc = kept;
	return options;
}

double timed(struct job *job)
{
	double start = app_seconds();

	job_run(job);
	return app_seconds() - start;
}

/* Collective. */
void multiply(struct app *app, const Options &options, Results &results)
{
	const struct job_sizes sizes = { options.order, options.order, options.order };
	std::vector<double> input(options.order * options.order, 1.0 / 3);
	struct job shared = {};
	struct job serial = {};
	bool first = app->node == 0;

	if (job_open(&shared, app, &sizes, 512) != 0 ||
	    (first && job_open(&serial, nullptr, &sizes, 512) != 0))
		exit(APP_FAILED);
	for (size_t i = 0; i < options.repeat; i++) {
		if (first)
			job_load(&shared, input.data(), input.data());
		bench::must(dsm_barrier());
		double shared_s = timed(&shared);
		bench::must(dsm_barrier());
		if (first) {
			job_load(&serial, input.data(), input.data());
			results.shared_s.push_back(shared_s);
			results.serial_s.push_back(timed(&serial));
			results.ratio.push_back(results.serial_s.back() / shared_s);
		}
		bench::must(dsm_barrier());
	}
	job_close(&shared);
	job_close(&serial);
}

void allocate(Results &results)
{
	constexpr int inner = 64;

	for (uint64_t sample = 0; sample < bench::amount(20000, 20); sample++) {
		uint64_t start = bench::now_ns();

		for (int i = 0; i < inner; i++) {
			void *block = dsm_malloc(64);

			benchmark::DoNotOptimize(block);
			dsm_free(block, 64);
		}
		results.pair_ns.push_back(static_cast<double>(bench::now_ns() - start) / inner);
	}
}

/* A figure taken already, as a line of the benchmark library's table and JSON. */
void publish(const char *name, std::vector<double> samples, double seconds_each)
{
	benchmark::RegisterBenchmark(name,
				     [samples, seconds_each](benchmark::State &state) {
					     std::vector<double> sorted = samples;
					     double median = bench::quantile(sorted, 0.5);

					     for (auto _ : state)
						     state.SetIterationTime(median * seconds_each);
					     state.counters["median"] = median;
					     state.counters["p10"] = bench::quantile(sorted, 0.1);
					     state.counters["p90"] = bench::quantile(sorted, 0.9);
				     })
		->Iterations(1)
		->UseManualTime();
}

} // namespace

int main(int argc, char **argv)
{
	struct app app;
	Results results;

	benchmark::Initialize(&argc, argv);
	Options options = parse(argc, argv);
	if (app_join(&app, "bench_headline") != 0)
		return APP_FAILED;
	bench::describe();
	multiply(&app, options, results);
	if (app.node == 0) {
		allocate(results);
		publish("strassen/serial_s", results.serial_s, 1);
		publish("strassen/nodes_s", results.shared_s, 1);
		publish("strassen/speed_up", results.ratio, 0);
		publish("heap/malloc_free_64_ns", results.pair_ns, 1e-9);
		benchmark::RunSpecifiedBenchmarks();
	}
	return app_leave(&app, 0);
}
