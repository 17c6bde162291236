/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model: every interleaving of small clusters.
 *
 *   model [--manager NAME] [--seconds N] [--states N] [--walks N] [WORLD...]
 *   model --manager NAME --path CHOICES WORLD       what happens on one way
 *   model --rows ...                              then which rows were taken
 *   model --list
 *
 * Without names all worlds but the big ones, without a manager each. A line for each world: its
 * name, manager, states, transitions, depth, ends (states in which nothing more can happen but a
 * crash), whether that is all of it, whether every run must end, and seconds. --seconds and
 * --states bound each world; --walks does random walks first, which compare the looked-up states
 * with engines that go on. --rows prints a line for each row of docs/protocol.md that was taken,
 * with how often one was looked up anew.
 *
 * Exit status 0: all rules hold. Else the shortest way to a broken one is printed, with the command
 * that shows it again.
 */
#include "../sim/taken.h"
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const enum manager_kind managers[] = { MANAGER_CENTRAL, MANAGER_FIXED, MANAGER_BROADCAST,
					      MANAGER_DYNAMIC };

struct options {
	const char *manager; /* NULL: each */
	const char *path;
	struct limits limits;
	bool states_said;
	bool rows;
	unsigned int walks;
};

static void usage(void)
{
	fprintf(stderr, "usage: model [--manager NAME] [--seconds N] [--states N] [--walks N] "
			"[--path CHOICES] [--rows] [WORLD...]\n"
			"       model --list\n");
	exit(2);
}

static int fail(struct model *model, const struct explored *explored)
{
	printf("model: %s: %s: %s\n", model->plan.world->name,
	       plan_manager_name(model->plan.manager), model->said);
	if (explored != NULL)
		trace_print(model, explored);
	return 1;
}

/* One line, and what is broken. */
static int report(struct model *model, struct explored *explored)
{
	uint32_t stuck = explored->broken ? NUMBER_NONE : graph_stuck(explored);
	uint64_t endless = explored->broken ? 0 : graph_endless(explored);

	printf("model: %-12s %-9s %9u states %10" PRIu64
	       " transitions  depth %3u  %6u ends  %s, %s  "
	       "%.1f s\n",
	       model->plan.world->name, plan_manager_name(model->plan.manager),
	       explored->state_count, explored->transition_count, explored->depth,
	       explored->quiet_count,
	       explored->complete ? "complete"
	       : explored->broken ? "broken"
				  : "bound",
	       !explored->complete ? "-"
	       : endless == 0	   ? "every run ends"
				   : "some runs need not end",
	       explored->seconds);
	if (stuck != NUMBER_NONE) {
		model_broken(model, "a state from which the quiet end cannot be reached");
		explored->broken = true;
		explored->broken_in = stuck;
		explored->by = false;
	}
	return explored->broken ? fail(model, explored) : 0;
}

static int run(const struct world *world, enum manager_kind manager, const struct options *options)
{
	struct limits limits = options->limits;
	struct model model;
	struct explored explored;

	model_open(&model, world, manager);
	if (!trace_walks(&model, options->walks, 1))
		return fail(&model, NULL);
	if (!options->states_said && plan_moves(&model.plan))
		limits.states = world->moving_limit;
	explore(&model, &limits, &explored);
	int status = report(&model, &explored);

	explored_free(&explored);
	model_close(&model);
	return status;
}

static int replay(const struct world *world, enum manager_kind manager, const char *path)
{
	struct model model;

	model_open(&model, world, manager);
	int status = trace_replay(&model, path) ? 0 : fail(&model, NULL);

	model_close(&model);
	return status;
}

static int run_world(const struct world *world, const struct options *options)
{
	int status = 0;

	for (unsigned int i = 0; i < sizeof(managers) / sizeof(managers[0]) && status == 0; i++) {
		if (options->manager != NULL &&
		    strcmp(options->manager, plan_manager_name(managers[i])) != 0)
			continue;
		if (world->fast && managers[i] != MANAGER_CENTRAL && managers[i] != MANAGER_FIXED)
			continue;
		if (options->path != NULL)
			status = replay(world, managers[i], options->path);
		else
			status = run(world, managers[i], options);
		fflush(stdout);
	}
	return status;
}

static const struct world *world_find(const char *name)
{
	for (unsigned int i = 0; i < world_count; i++) {
		if (strcmp(worlds[i].name, name) == 0)
			return &worlds[i];
	}
	fprintf(stderr, "model: no world \"%s\"; --list names all\n", name);
	exit(2);
}

static int list(void)
{
	for (unsigned int i = 0; i < world_count; i++)
		printf("%-12s %s%s\n", worlds[i].name, worlds[i].why,
		       worlds[i].big ? " (big)" : "");
	return 0;
}

static uint64_t take_states(struct options *options, const char *value)
{
	options->states_said = true;
	return strtoull(value, NULL, 0);
}

static void option_take(struct options *options, const char *name, const char *value)
{
	if (value == NULL)
		usage();
	if (strcmp(name, "--manager") == 0)
		options->manager = value;
	else if (strcmp(name, "--path") == 0)
		options->path = value;
	else if (strcmp(name, "--seconds") == 0)
		options->limits.seconds = strtod(value, NULL);
	else if (strcmp(name, "--states") == 0)
		options->limits.states = take_states(options, value);
	else if (strcmp(name, "--walks") == 0)
		options->walks = (unsigned int)strtoul(value, NULL, 0);
	else
		usage();
}

int main(int argc, char **argv)
{
	struct options options = { .limits.seconds = 600 };
	int status = 0;
	int at = 1;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list();
	for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
		if (strcmp(argv[at], "--rows") == 0) {
			options.rows = true;
			continue;
		}
		option_take(&options, argv[at], at + 1 < argc ? argv[at + 1] : NULL);
		at++;
	}
	if (at == argc) {
		for (unsigned int i = 0; i < world_count && status == 0; i++)
			status = worlds[i].big ? 0 : run_world(&worlds[i], &options);
	}
	for (; at < argc && status == 0; at++)
		status = run_world(world_find(argv[at]), &options);
	if (options.rows)
		taken_print();
	return status;
}
