/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histories of real runs:
 *
 *   history run JOB [--nodes N] [--threads N] [--steps N] [--seed N] [--runs N] [--kill]
 *           [--calm] [--fault private|split|early|unlocked] [--wrong] [--keep FILE]
 *   history check FILE
 *
 * JOB is the program history_job. Each run has the next seed; without --seed (or CHECK_SEED) the
 * first is taken from the clock and printed. With --fault the nodes do something wrong on purpose;
 * then, or with --wrong, the program fails if nothing wrong is found. --keep: where to put the last
 * history.
 */
#include "run.h"

#include "drive.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static int usage(void)
{
	fprintf(stderr, "usage: history run JOB [--nodes N] [--threads N] [--steps N] [--seed N] "
			"[--runs N] [--kill]\n"
			"               [--calm] [--fault private|split|early|unlocked] [--wrong] "
			"[--keep FILE]\n"
			"       history check FILE\n");
	return 2;
}

/* A number from `least` to `most`, or an end of the program. */
static unsigned int number(const char *text, unsigned long least, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < least || value > most) {
		fprintf(stderr, "%s: not a number from %lu to %lu\n", text, least, most);
		exit(2);
	}
	return (unsigned int)value;
}

static enum records_fault fault(const char *text)
{
	for (int i = FAULT_NONE; i <= FAULT_UNLOCKED; i++) {
		if (strcmp(text, run_fault_name((enum records_fault)i)) == 0)
			return (enum records_fault)i;
	}
	fprintf(stderr, "%s: there is no such fault\n", text);
	exit(2);
}

static void set_option(struct run_options *options, int letter, const char *value)
{
	switch (letter) {
	case 'n':
		options->node_count = number(value, 1, HISTORY_NODES_MAX);
		break;
	case 't':
		options->thread_count = number(value, 1, HISTORY_THREADS_MAX);
		break;
	case 's':
		options->step_count = number(value, 1, 100000);
		break;
	case 'r':
		options->run_count = number(value, 1, 1000000);
		break;
	case 'S':
		options->seed = strtoull(value, NULL, 0);
		break;
	case 'k':
		options->kill = true;
		break;
	case 'f':
		options->fault = fault(value);
		options->wrong = true;
		break;
	case 'c':
		options->calm = true;
		break;
	case 'w':
		options->wrong = true;
		break;
	case 'K':
		options->keep = value;
		break;
	default:
		exit(usage());
	}
}

static int run(int argc, char **argv, struct run_options *options)
{
	static const struct option long_options[] = {
		{ "nodes", required_argument, NULL, 'n' },
		{ "threads", required_argument, NULL, 't' },
		{ "steps", required_argument, NULL, 's' },
		{ "runs", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 'S' },
		{ "kill", no_argument, NULL, 'k' },
		{ "fault", required_argument, NULL, 'f' },
		{ "calm", no_argument, NULL, 'c' },
		{ "wrong", no_argument, NULL, 'w' },
		{ "keep", required_argument, NULL, 'K' },
		{ NULL, 0, NULL, 0 },
	};
	const char *seed = getenv("CHECK_SEED");
	int letter;

	options->seed = drive_now_ns() / 1000 & 0xffffff;
	if (seed != NULL)
		options->seed = strtoull(seed, NULL, 0);
	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		set_option(options, letter, optarg);
	if (optind + 1 != argc)
		return usage();
	options->job = argv[optind];
	if (options->kill && options->node_count < 2) {
		fprintf(stderr, "--kill needs two nodes\n");
		return 2;
	}
	return run_all(options);
}

int main(int argc, char **argv)
{
	struct run_options options = {
		.command = argv[0],
		.node_count = 3,
		.thread_count = 2,
		.step_count = 600,
		.run_count = 1,
	};

	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return run_check(argv[2]);
	if (argc >= 3 && strcmp(argv[1], "run") == 0)
		return run(argc - 1, argv + 1, &options);
	return usage();
}
