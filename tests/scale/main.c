/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scale: one measurement of a simulated cluster, as a line of CSV on standard output.
 *
 *   scale [--network infiniband|roce] [--set FIELD=VALUE]...      what things cost
 *         [--manager NAME] [--pattern migratory|read-mostly|stores|producer]
 *         [--nodes N] [--threads N] [--think-us T] [--hold-us T]
 *         [--pages N] [--writes-permille N] [--block N] [--consumers N]
 *         [--warm MISSES] [--misses MISSES] [--seed N]
 *         [--header] [--hops FILE] [--trace] [--time-engine]
 *   scale --profiles | --managers                                  lists them
 *
 * --header prints the columns' names first. --hops appends
 * "network,manager,pattern,nodes,miss,hops,misses".
 * --trace tells before it all that each engine is told and says; --time-engine, on standard error,
 * how long engine_step() really takes here. Exit status 0: measured, and everything came to rest;
 * 2: bad arguments.
 */
#include "scale.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct options {
	struct setup setup;
	const char *hops;
	bool header;
	bool trace;
	bool timed;
	bool warm_given;
	bool misses_given;
};

__attribute__((noreturn)) static void usage(const char *wrong)
{
	fprintf(stderr, "scale: %s\n", wrong);
	fprintf(stderr, "usage: scale [--network NAME] [--manager NAME] [--pattern NAME] "
			"[--nodes N] ... (see tests/scale/main.c)\n");
	exit(2);
}

static uint64_t number(const char *text, uint64_t minimum, uint64_t maximum)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 10);

	if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < minimum ||
	    value > maximum)
		usage(text);
	return value;
}

static bool pattern_find(const char *name, enum pattern *pattern)
{
	for (unsigned int i = 0; i < PATTERN_NONE; i++) {
		if (strcmp(name, pattern_name((enum pattern)i)) == 0) {
			*pattern = (enum pattern)i;
			return true;
		}
	}
	return false;
}

static bool take_name(struct options *options, const char *name, const char *value)
{
	struct setup *setup = &options->setup;

	if (strcmp(name, "--network") == 0) {
		if (profile_find(value) == NULL)
			usage(value);
		setup->profile = *profile_find(value);
	} else if (strcmp(name, "--set") == 0) {
		if (!profile_set(&setup->profile, value))
			usage(value);
	} else if (strcmp(name, "--manager") == 0) {
		if (!manager_find(value, &setup->manager))
			usage(value);
	} else if (strcmp(name, "--pattern") == 0) {
		if (!pattern_find(value, &setup->pattern))
			usage(value);
	} else if (strcmp(name, "--hops") == 0) {
		options->hops = value;
	} else {
		return false;
	}
	return true;
}

static bool take_size(struct options *options, const char *name, const char *value)
{
	struct setup *setup = &options->setup;

	if (strcmp(name, "--nodes") == 0)
		setup->node_count = (unsigned int)number(value, 2, NODES_MAX);
	else if (strcmp(name, "--threads") == 0)
		setup->thread_count = (unsigned int)number(value, 1, 64);
	else if (strcmp(name, "--pages") == 0)
		setup->page_count = (unsigned int)number(value, 1, UNIT_PAGES * NODES_MAX);
	else if (strcmp(name, "--block") == 0)
		setup->block_pages = (unsigned int)number(value, 1, UNIT_PAGES);
	else if (strcmp(name, "--consumers") == 0)
		setup->consumers = (unsigned int)number(value, 1, NODES_MAX - 1);
	else if (strcmp(name, "--writes-permille") == 0)
		setup->writes_permille = (unsigned int)number(value, 1, 1000);
	else
		return false;
	return true;
}

static bool take_time(struct options *options, const char *name, const char *value)
{
	struct setup *setup = &options->setup;

	if (strcmp(name, "--think-us") == 0) {
		setup->think_ns = number(value, 1, 1000000) * 1000;
	} else if (strcmp(name, "--hold-us") == 0) {
		setup->hold_ns = number(value, 0, 1000000) * 1000;
	} else if (strcmp(name, "--seed") == 0) {
		setup->seed = number(value, 0, UINT64_MAX);
	} else if (strcmp(name, "--warm") == 0) {
		setup->warm = number(value, 0, UINT64_C(1000000000));
		options->warm_given = true;
	} else if (strcmp(name, "--misses") == 0) {
		setup->misses = number(value, 1, UINT64_C(1000000000));
		options->misses_given = true;
	} else {
		return false;
	}
	return true;
}

static bool take_flag(struct options *options, const char *name)
{
	if (strcmp(name, "--header") == 0)
		options->header = true;
	else if (strcmp(name, "--trace") == 0)
		options->trace = true;
	else if (strcmp(name, "--time-engine") == 0)
		options->timed = true;
	else
		return false;
	return true;
}

/*
 * Every page should have been had by several nodes before the window; of the pages that are mostly
 * read, each should have been written a few times, so that as many have copies as will have later.
 */
static void choose_lengths(struct options *options)
{
	struct setup *setup = &options->setup;
	bool read_mostly = setup->pattern == PATTERN_READ_MOSTLY;

	if (setup->page_count == 0)
		setup->page_count = setup->node_count * (read_mostly ? 1 : 4);
	if (setup->page_count > setup->node_count * UNIT_PAGES)
		usage("--pages: more than 64 a node");
	if (!options->warm_given)
		setup->warm = 2000 + (uint64_t)setup->page_count * (read_mostly ? 300 : 10);
	if (!options->misses_given)
		setup->misses = 20000 + 100 * (uint64_t)setup->node_count;
}

static struct options options_parse(int argc, char **argv)
{
	struct options options = {
		.setup = {
			.profile = *profile_at(0),
			.manager = MANAGER_FIXED,
			.node_count = 16,
			.thread_count = 1,
			.block_pages = 16,
			.consumers = 3,
			.writes_permille = 10,
			.think_ns = 200000,
			.hold_ns = 100000,
			.seed = 1,
		},
	};

	for (int i = 1; i < argc; i++) {
		if (take_flag(&options, argv[i]))
			continue;
		if (i + 1 == argc)
			usage(argv[i]);
		if (!take_name(&options, argv[i], argv[i + 1]) &&
		    !take_size(&options, argv[i], argv[i + 1]) &&
		    !take_time(&options, argv[i], argv[i + 1]))
			usage(argv[i]);
		i++;
	}
	choose_lengths(&options);
	return options;
}

static void list(const char *what)
{
	if (strcmp(what, "--managers") == 0) {
		for (unsigned int i = 0; manager_at(i) != 0; i++)
			puts(manager_name(manager_at(i)));
		exit(0);
	}
	if (strcmp(what, "--profiles") == 0) {
		for (unsigned int i = 0; profile_at(i) != NULL; i++)
			profile_print(stdout, profile_at(i));
		exit(0);
	}
}

static void write_hops(const struct options *options, const struct world *world)
{
	FILE *file = fopen(options->hops, "a");

	if (file == NULL) {
		perror(options->hops);
		exit(2);
	}
	report_hops(file, world);
	fclose(file);
}

int main(int argc, char **argv)
{
	if (argc == 2)
		list(argv[1]);

	struct options options = options_parse(argc, argv);
	struct world world;
	struct summary summary;

	world_open(&world, &options.setup);
	world.trace = options.trace;
	world.timed = options.timed;
	world_measure(&world);
	report_summarise(&world, &summary);
	if (options.header)
		report_header(stdout);
	report_line(stdout, &world, &summary);
	if (options.hops != NULL)
		write_hops(&options, &world);
	if (options.timed)
		fprintf(stderr, "%.0f ns a step\n",
			world.engine_seconds / (double)world.engine_steps * 1e9);
	world_close(&world);
	return 0;
}
