/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: clusters in one thread, from seeds.
 *
 *   sim --mode pages|loss|many|pins|update [--seconds N] [--base SEED]   fresh seeds for N seconds
 *   sim --mode MODE --seed SEED [--trace]                    one seed
 *   sim --mode MODE --rows ...                               then which rows were taken
 *   sim --mode MODE --manager KIND ...                       all of one kind, whatever the seed
 *   sim --mode MODE --seeds FILE ...                         first those of FILE ("MODE SEED #
 * why")
 *
 * --rows prints a line for each row of docs/protocol.md that was taken, with how often.
 *
 * Without --base, SIM_BASE in the environment is the first fresh seed, or the time of day.
 *
 * Exit status 0: all passed. A failure says what rule was broken and how to replay it.
 */
#include "sim.h"
#include "taken.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
	enum sim_mode mode;
	enum manager_kind manager;
	uint64_t seconds;
	uint64_t base;
	uint64_t seed;
	bool one_seed;
	bool trace;
	bool rows;
	const char *file;
};

struct totals {
	uint64_t worlds;
	uint64_t steps;
	uint64_t loads;
	uint64_t stores;
	uint64_t refused;
	uint64_t avoidable;
	uint64_t fast;
};

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void on_abort(int signal)
{
	(void)signal;
	sim_print_replay();
}

static void usage(void)
{
	fprintf(stderr,
		"usage: sim --mode pages|loss|many|pins|update [--seconds N] [--base SEED]\n"
		"       sim --mode MODE --seed SEED [--trace]\n"
		"       sim --mode MODE --seeds FILE\n"
		"       sim --mode MODE --rows ...\n"
		"       sim --mode MODE --manager fixed|central|broadcast|dynamic ...\n");
	exit(2);
}

static bool mode_parse(const char *name, enum sim_mode *mode)
{
	for (unsigned int i = MODE_PAGES; i < MODE_END; i++) {
		if (strcmp(name, sim_mode_name((enum sim_mode)i)) == 0) {
			*mode = (enum sim_mode)i;
			return true;
		}
	}
	return false;
}

static bool manager_parse(const char *name, enum manager_kind *manager)
{
	for (unsigned int i = MANAGER_FIXED; i <= MANAGER_LAST; i++) {
		if (strcmp(name, sim_manager_name((enum manager_kind)i)) == 0) {
			*manager = (enum manager_kind)i;
			return true;
		}
	}
	return false;
}

static void option_take(struct options *options, const char *name, const char *value)
{
	if (strcmp(name, "--mode") == 0) {
		if (!mode_parse(value, &options->mode))
			usage();
	} else if (strcmp(name, "--manager") == 0) {
		if (!manager_parse(value, &options->manager))
			usage();
	} else if (strcmp(name, "--seconds") == 0) {
		options->seconds = strtoull(value, NULL, 0);
	} else if (strcmp(name, "--base") == 0) {
		options->base = strtoull(value, NULL, 0);
	} else if (strcmp(name, "--seed") == 0) {
		options->seed = strtoull(value, NULL, 0);
		options->one_seed = true;
	} else if (strcmp(name, "--seeds") == 0) {
		options->file = value;
	} else {
		usage();
	}
}

static struct options options_parse(int argc, char **argv)
{
	const char *base = getenv("SIM_BASE");
	struct options options = { .seconds = 10, .base = (uint64_t)time(NULL) * 1000000 };

	if (base != NULL)
		options.base = strtoull(base, NULL, 0);

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0) {
			options.trace = true;
			continue;
		}
		if (strcmp(argv[i], "--rows") == 0) {
			options.rows = true;
			continue;
		}
		if (i + 1 == argc)
			usage();
		option_take(&options, argv[i], argv[i + 1]);
		i++;
	}
	return options;
}

static void run(struct world *world, struct totals *totals, enum sim_mode mode, uint64_t seed,
		bool trace)
{
	world_run(world, mode, seed, trace);
	totals->worlds++;
	totals->steps += world->step;
	totals->loads += world->loads_checked;
	totals->stores += world->stores;
	totals->refused += world->refused;
	totals->avoidable += world->avoidable_losses;
	totals->fast += world->fast_reads;
}

/* The kept seeds of the mode: worlds in which a bug was found once. */
static void run_file(struct world *world, struct totals *totals, const struct options *options)
{
	FILE *file = fopen(options->file, "r");
	char line[256];

	if (file == NULL) {
		perror(options->file);
		exit(2);
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		char name[16];
		uint64_t seed;
		enum sim_mode mode;

		if (line[0] == '#' || sscanf(line, "%15s %" SCNu64, name, &seed) != 2)
			continue;
		if (!mode_parse(name, &mode))
			usage();
		if (mode == options->mode)
			run(world, totals, mode, seed, options->trace);
	}
	fclose(file);
}

static void run_budget(struct world *world, struct totals *totals, const struct options *options)
{
	double end = seconds_now() + (double)options->seconds;

	printf("base seed %" PRIu64 "\n", options->base);
	for (uint64_t seed = options->base; seconds_now() < end; seed++)
		run(world, totals, options->mode, seed, options->trace);
}

int main(int argc, char **argv)
{
	struct options options = options_parse(argc, argv);
	struct world world = { .forced = options.manager };
	struct totals totals = { .worlds = 0 };
	double start = seconds_now();

	signal(SIGABRT, on_abort);
	if (options.file != NULL)
		run_file(&world, &totals, &options);
	if (options.one_seed)
		run(&world, &totals, options.mode, options.seed, options.trace);
	else if (options.seconds > 0)
		run_budget(&world, &totals, &options);
	world_free(&world);
	double seconds = seconds_now() - start;

	printf("%s: %" PRIu64 " worlds, %" PRIu64 " steps, %.0f steps/s, %" PRIu64
	       " loads checked, %" PRIu64 " stores, %" PRIu64 " refusals, %" PRIu64
	       " avoidable losses, %" PRIu64 " fast reads, %u rows taken\n",
	       sim_mode_name(options.mode), totals.worlds, totals.steps,
	       (double)totals.steps / seconds, totals.loads, totals.stores, totals.refused,
	       totals.avoidable, totals.fast, taken_count());
	if (options.rows)
		taken_print();
	return 0;
}
