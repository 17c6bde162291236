/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsp: the shortest round tour of a TSPLIB instance, by branch and bound on all nodes of a job.
 * Node 0 reads the instance, finds a first tour and the reduction of the weights, and checks the
 * result; all nodes search. Here: the command line, the worker's loop, the checks.
 */
#include "common/app.h"
#include "queue.h"

#include <errno.h>
#include <getopt.h>
#include <pergola/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "tsp"
#define DEPTH_DEFAULT 4u
#define SQUARE 1000.0 /* side of the field of random cities */

static const char help[] =
	"Usage: tsp [options] FILE.tsp\n"
	"       tsp [options] --random N\n"
	"Finds the shortest tour of a symmetric TSPLIB instance of 3 to 64 cities (EUC_2D, or\n"
	"EXPLICIT as FULL_MATRIX, UPPER_ROW, UPPER_DIAG_ROW, LOWER_DIAG_ROW) by branch and bound\n"
	"on all nodes of the job, and checks it: by the method of Held and Karp up to 20 cities.\n"
	"\n"
	"  -O, --optimum L    the result must be as long as L\n"
	"  -o, --output FILE  write the tour, as a TSPLIB tour file\n"
	"  -R, --random N     N cities at random points of a square\n"
	"  -s, --seed S       of the random points (1)\n"
	"  -d, --depth D      share out tours that begin with up to D cities (4)\n"
	"  -c, --cold         start the search without a tour, instead of with a good one\n"
	"  -p, --plain        leave the weights unreduced: weak bounds, more work to share out\n"
	"  -h, --help         print this\n"
	"\n"
	"Ends with status 0: verified, 1: wrong result, 2: bad usage, input or output, 3: failure\n"
	"of the system or the library.\n";

struct options {
	const char *path;
	const char *output;
	uint64_t random; /* 0: not asked for */
	uint64_t seed;
	uint64_t depth;
	uint64_t optimum;
	bool has_optimum;
	bool cold;
	bool plain;
	bool help;
};

/* All that the nodes share. */
struct shared {
	struct queue queue;
	_Alignas(4096) struct tsp_problem problem;
	_Alignas(4096) uint64_t expanded; /* by all nodes; added to at the end */
};

/* ---- command line ------------------------------------------------------------------------- */

static int parse_number(const char *text, const char *what, uint64_t min, uint64_t max,
			uint64_t *out)
{
	if (app_parse_u64(text, min, max, out))
		return 0;
	return app_usage_error(NAME, "%s '%s' is not a number from %llu to %llu", what, text,
			       (unsigned long long)min, (unsigned long long)max);
}

static int parse_option(int option, struct options *options)
{
	switch (option) {
	case 'O':
		options->has_optimum = true;
		return parse_number(optarg, "optimum", 0, INT64_MAX, &options->optimum);
	case 'o':
		options->output = optarg;
		return 0;
	case 'R':
		return parse_number(optarg, "number of cities", TSP_CITIES_MIN, TSP_CITIES_MAX,
				    &options->random);
	case 's':
		return parse_number(optarg, "seed", 0, UINT64_MAX, &options->seed);
	case 'd':
		return parse_number(optarg, "depth", 1, TSP_CITIES_MAX, &options->depth);
	case 'c':
		options->cold = true;
		return 0;
	case 'p':
		options->plain = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	}
	return app_usage_error(NAME, "that option is not known, or lacks its value");
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{ "optimum", required_argument, NULL, 'O' },
		{ "output", required_argument, NULL, 'o' },
		{ "random", required_argument, NULL, 'R' },
		{ "seed", required_argument, NULL, 's' },
		{ "depth", required_argument, NULL, 'd' },
		{ "cold", no_argument, NULL, 'c' },
		{ "plain", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option = 0;

	*options = (struct options){ .seed = 1, .depth = DEPTH_DEFAULT };
	opterr = 0;
	while ((option = getopt_long(argc, argv, "O:o:R:s:d:cph", names, NULL)) != -1) {
		int status = parse_option(option, options);

		if (status != 0)
			return status;
	}
	int wanted = options->random != 0 ? 0 : 1;
	if (!options->help && argc - optind != wanted)
		return app_usage_error(NAME, "%d file names where %d is needed", argc - optind,
				       wanted);
	options->path = wanted == 1 ? argv[optind] : NULL;
	return 0;
}

/* ---- input and output --------------------------------------------------------------------- */

static double random_unit(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t x = *state;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (double)((x ^ x >> 31) >> 11) * 0x1.0p-53;
}

static void make_instance(const struct options *options, struct tsp_instance *instance)
{
	double x[TSP_CITIES_MAX];
	double y[TSP_CITIES_MAX];
	uint64_t state = options->seed;

	*instance = (struct tsp_instance){ .name = "random" };
	instance->city_count = (size_t)options->random;
	for (size_t i = 0; i < instance->city_count; i++) {
		x[i] = random_unit(&state) * SQUARE;
		y[i] = random_unit(&state) * SQUARE;
	}
	for (size_t i = 0; i < instance->city_count; i++) {
		for (size_t j = 0; j < instance->city_count; j++)
			instance->weight[i][j] = tsplib_euclid(x[i], y[i], x[j], y[j]);
	}
}

static int get_instance(const struct options *options, struct tsp_instance *instance)
{
	struct app_error error;

	if (options->random != 0) {
		make_instance(options, instance);
		return 0;
	}
	if (tsplib_read(options->path, instance, &error) == 0)
		return 0;
	app_say(NAME, "%s", error.text);
	return APP_BAD_INPUT;
}

static int write_tour(const char *path, const struct tsp_instance *instance,
		      const struct tsp_tour *tour)
{
	FILE *file = fopen(path, "w");

	if (file == NULL) {
		app_say(NAME, "%s: %s", path, strerror(errno));
		return APP_BAD_INPUT;
	}
	(void)fprintf(file, "NAME : %s\nTYPE : TOUR\nCOMMENT : length %lld\nDIMENSION : %zu\n",
		      instance->name, (long long)tour->length, instance->city_count);
	(void)fprintf(file, "TOUR_SECTION\n");
	for (size_t i = 0; i < instance->city_count; i++)
		(void)fprintf(file, "%d\n", tour->city[i] + 1);
	(void)fprintf(file, "-1\nEOF\n");
	bool failed = ferror(file) != 0;
	if (fclose(file) == 0 && !failed)
		return 0;
	app_say(NAME, "%s: could not be written", path);
	return APP_BAD_INPUT;
}

/* ---- search ------------------------------------------------------------------------------- */

/* The context of this node's search. */
struct worker {
	const struct app *app;
	struct shared *shared;
	size_t depth;
};

static int64_t worker_best(void *context)
{
	struct worker *worker = context;

	return queue_best(&worker->shared->queue);
}

static void worker_found(void *context, const struct tsp_tour *tour)
{
	struct worker *worker = context;

	app_must(worker->app, queue_offer(&worker->shared->queue, tour), "queue_offer");
}

/* What a node has taken off the queue, and what came of it: see QUEUE_BATCH. */
struct batch {
	struct tsp_prefix prefix[QUEUE_BATCH];
	struct tsp_prefix child[QUEUE_BATCH * TSP_CITIES_MAX];
	size_t child_count;
};

/* Short prefixes are branched for all, long ones searched. */
static void work_on(struct worker *worker, struct tsp_search *search, struct batch *batch,
		    size_t count)
{
	batch->child_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct tsp_prefix *prefix = &batch->prefix[i];

		if (prefix->bound >= worker_best(worker))
			continue;
		if (prefix->depth >= worker->depth)
			tsp_search_below(search, prefix);
		else
			batch->child_count +=
				tsp_expand(search, prefix, batch->child + batch->child_count);
	}
}

/* Takes prefixes until there are none. */
static void work(struct worker *worker, struct tsp_search *search, struct batch *batch)
{
	size_t nodes = (size_t)worker->app->nodes;
	size_t kept = 0;
	bool busy = false;

	batch->child_count = 0;
	for (;;) {
		int result = queue_exchange(&worker->shared->queue, nodes, busy, batch->child,
					    batch->child_count, &kept, batch->prefix);

		app_must(worker->app, result, "queue_exchange");
		if (result == 0 && kept == batch->child_count)
			return;
		busy = true;
		for (; kept < batch->child_count; kept++)
			tsp_search_below(search, &batch->child[kept]);
		work_on(worker, search, batch, (size_t)result);
	}
}

static void search_shared(struct app *app, const struct options *options, struct shared *shared,
			  const struct tsp_problem *problem, struct batch *batch)
{
	struct worker worker = { app, shared, (size_t)options->depth };
	struct tsp_search search = {
		.problem = problem, .best = worker_best, .found = worker_found, .context = &worker
	};

	work(&worker, &search, batch);
	(void)__atomic_fetch_add(&shared->expanded, search.expanded, __ATOMIC_ACQ_REL);
}

/* ---- checks ------------------------------------------------------------------------------- */

/* Says what is wrong with the tour; true if nothing is. `how` is what its optimality rests on. */
static bool check_tour(const struct options *options, const struct tsp_problem *problem,
		       const struct tsp_tour *tour, const char **how)
{
	int64_t exact = tsp_exact(&problem->instance);

	*how = exact >= 0 ? "Held-Karp" : options->has_optimum ? "--optimum" : "the search alone";
	if (tour->length == TSP_NO_TOUR || !tsp_tour_check(&problem->instance, tour)) {
		app_say(NAME, "the result is not a tour of the length it claims");
		return false;
	}
	if (tour->length < problem->root_bound) {
		app_say(NAME, "the tour is shorter than the lower bound %lld",
			(long long)problem->root_bound);
		return false;
	}
	if (exact >= 0 && tour->length != exact) {
		app_say(NAME, "the shortest tour has length %lld (Held-Karp)", (long long)exact);
		return false;
	}
	if (options->has_optimum && (uint64_t)tour->length != options->optimum) {
		app_say(NAME, "length %lld is not the optimum given", (long long)tour->length);
		return false;
	}
	return true;
}

static int report(const struct options *options, const struct app *app, const struct shared *shared,
		  const struct tsp_problem *problem, double time)
{
	struct tsp_tour tour = shared->queue.best;
	const char *how = NULL;
	bool right = check_tour(options, problem, &tour, &how);

	printf(NAME ": %s, %zu cities, %d node%s, time %.6f s, length %lld, verified %s, tolerance "
		    "0, optimality by %s, root bound %lld, %llu prefixes\n",
	       problem->instance.name[0] == '\0' ? "unnamed" : problem->instance.name,
	       problem->instance.city_count, app->nodes, app->nodes == 1 ? "" : "s", time,
	       (long long)tour.length, right ? "yes" : "no", how, (long long)problem->root_bound,
	       (unsigned long long)shared->expanded);
	(void)fflush(stdout);
	if (!right)
		return APP_WRONG;
	if (options->output == NULL)
		return APP_VERIFIED;
	return write_tour(options->output, &problem->instance, &tour);
}

/* ---- the run ------------------------------------------------------------------------------ */

/* On node 0: the first tour, the reduction, the root of the search. */
static void set_up(struct app *app, const struct options *options, struct shared *shared,
		   const struct tsp_instance *instance)
{
	struct tsp_tour first;

	tsp_heuristic(instance, &first);
	tsp_prepare(&shared->problem, instance, first.length, options->plain);
	if (options->cold)
		first.length = TSP_NO_TOUR;
	struct tsp_prefix root = tsp_root(&shared->problem);
	shared->expanded = 0;
	app_must(app, queue_init(&shared->queue, &first, &root), "queue_init");
}

static int run(const struct options *options, struct app *app, struct tsp_problem *problem,
	       struct batch *batch)
{
	int status = app->node == 0 ? get_instance(options, &problem->instance) : 0;

	status = app_agree(app, status);
	if (status == 0)
		status = app_heap_open(app, sizeof(struct shared), 1);
	if (status != 0)
		return app_agree(app, status);
	struct shared *shared = app_heap_take(app, sizeof(*shared), 0);
	status = app_agree(app, shared == NULL ? APP_FAILED : 0);
	if (status != 0)
		return status;
	double start = app_seconds();
	if (app->node == 0)
		set_up(app, options, shared, &problem->instance);
	app_must(app, dsm_barrier(), "dsm_barrier");
	*problem = shared->problem;
	search_shared(app, options, shared, problem, batch);
	app_must(app, dsm_barrier(), "dsm_barrier");
	if (app->node == 0)
		status = report(options, app, shared, problem, app_seconds() - start);
	return app_agree(app, status);
}

int main(int argc, char **argv)
{
	struct options options;
	struct app app;
	int status = parse_options(argc, argv, &options);

	if (status != 0)
		return status;
	if (options.help) {
		if (app_speaks())
			(void)fputs(help, stdout);
		return 0;
	}
	status = app_join(&app, NAME);
	if (status != 0)
		return status;
	struct tsp_problem *problem = calloc(1, sizeof(*problem));
	struct batch *batch = malloc(sizeof(*batch));
	if (problem == NULL || batch == NULL) {
		app_say(NAME, "no memory");
		status = APP_FAILED;
	}
	status = app_agree(&app, status);
	if (status == 0)
		status = run(&options, &app, problem, batch);
	free(batch);
	free(problem);
	return app_leave(&app, status);
}
