/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strassen: multiplies two matrices on all nodes of a job. Node 0 reads, verifies, writes and
 * prints; all nodes multiply. Here: the command line, input and output, and the order of a run.
 */
#include "check.h"
#include "common/npy.h"
#include "job.h"

#include <getopt.h>
#include <math.h>
#include <pergola/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "strassen"
#define SIDE_MAX 65536u
#define REPEAT_MAX 1000u

/*
 * Below 512 the sums of a further level cost more than the multiplications it saves (measured with
 * the avx512f kernel: 2048 x 2048 in 0.35 s with leaves of 512, 0.38 of 256, 0.44 of 128).
 */
#define LEAF_DEFAULT 512u

static const char help[] =
	"Usage: strassen [options] A.npy B.npy\n"
	"       strassen [options] --random SIZE\n"
	"       strassen --generate SIZE FILE.npy\n"
	"Multiplies two matrices on all nodes of the job with Strassen's method and verifies the\n"
	"product with CBLAS. Files are NumPy's: two dimensions, float64, C order.\n"
	"\n"
	"  -o, --output FILE   write the product\n"
	"  -R, --random SIZE   multiply random matrices: N, or MxKxN for (M x K) times (K x N)\n"
	"  -g, --generate SIZE write a random matrix, N or MxN, and end\n"
	"  -s, --seed S        of the random numbers (1)\n"
	"  -S, --serial        multiply on node 0 alone, in private memory\n"
	"  -c, --compare       multiply both ways in turn; print both medians and their ratio\n"
	"  -r, --repeat R      multiply R times; times are medians (1; with --compare 5)\n"
	"  -l, --leaf L        go over to conventional multiplication at size L (512)\n"
	"  -v, --stats         print each node's page and message counts\n"
	"  -h, --help          print this\n"
	"\n"
	"Ends with status 0: verified, 1: wrong product, 2: bad usage, input or output, 3: "
	"failure\n"
	"of the system or the library.\n";

struct options {
	const char *a_path;
	const char *b_path;
	const char *output;
	const char *generate;
	struct job_sizes random; /* m == 0: not asked for */
	uint64_t seed;
	uint64_t repeat;
	uint64_t leaf;
	bool serial;
	bool compare;
	bool stats;
	bool help;
};

/* What node 0 holds privately. */
struct input {
	struct job_sizes sizes;
	double *a;
	double *b;
};

struct times {
	double *shared;
	double *serial;
};

/* ---- command line ------------------------------------------------------------------------- */

/* "N", "MxN" or "MxKxN" into `parts`; returns how many, or 0. */
static size_t parse_size(const char *text, size_t parts[3])
{
	char copy[64];
	size_t count = 0;
	char *rest = NULL;

	if (strlen(text) >= sizeof(copy))
		return 0;
	memcpy(copy, text, strlen(text) + 1);
	for (char *part = strtok_r(copy, "x", &rest); part != NULL;
	     part = strtok_r(NULL, "x", &rest)) {
		uint64_t value = 0;

		if (count == 3 || !app_parse_u64(part, 1, SIDE_MAX, &value))
			return 0;
		parts[count++] = (size_t)value;
	}
	return count;
}

static int parse_random(const char *text, struct options *options)
{
	size_t parts[3] = { 0 };
	size_t count = parse_size(text, parts);

	if (count == 1)
		parts[2] = parts[1] = parts[0];
	else if (count != 3)
		return app_usage_error(NAME, "size '%s' is not N or MxKxN, each 1 to %u", text,
				       SIDE_MAX);
	options->random = (struct job_sizes){ parts[0], parts[1], parts[2] };
	return 0;
}

static int parse_number(const char *text, const char *what, uint64_t max, uint64_t *out)
{
	if (app_parse_u64(text, 1, max, out))
		return 0;
	return app_usage_error(NAME, "%s '%s' is not a number from 1 to %llu", what, text,
			       (unsigned long long)max);
}

static int parse_option(int option, struct options *options)
{
	switch (option) {
	case 'o':
		options->output = optarg;
		return 0;
	case 'R':
		return parse_random(optarg, options);
	case 'g':
		options->generate = optarg;
		return 0;
	case 's':
		return parse_number(optarg, "seed", UINT64_MAX, &options->seed);
	case 'S':
		options->serial = true;
		return 0;
	case 'c':
		options->compare = true;
		return 0;
	case 'r':
		return parse_number(optarg, "repeat", REPEAT_MAX, &options->repeat);
	case 'l':
		return parse_number(optarg, "leaf", SIDE_MAX, &options->leaf);
	case 'v':
		options->stats = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	}
	return app_usage_error(NAME, "that option is not known, or lacks its value");
}

static int check_options(struct options *options, int operand_count, char **operands)
{
	int wanted = options->generate != NULL ? 1 : options->random.m != 0 ? 0 : 2;

	if (options->help)
		return 0;
	if (operand_count != wanted)
		return app_usage_error(NAME, "%d file name%s where %d %s needed", operand_count,
				       operand_count == 1 ? "" : "s", wanted,
				       wanted == 1 ? "is" : "are");
	if (options->serial && options->compare)
		return app_usage_error(NAME, "--serial and --compare exclude each other");
	options->a_path = wanted > 0 ? operands[0] : NULL;
	options->b_path = wanted > 1 ? operands[1] : NULL;
	if (options->repeat == 0)
		options->repeat = options->compare ? 5 : 1;
	return 0;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "random", required_argument, NULL, 'R' },
		{ "generate", required_argument, NULL, 'g' },
		{ "seed", required_argument, NULL, 's' },
		{ "serial", no_argument, NULL, 'S' },
		{ "compare", no_argument, NULL, 'c' },
		{ "repeat", required_argument, NULL, 'r' },
		{ "leaf", required_argument, NULL, 'l' },
		{ "stats", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option = 0;

	*options = (struct options){ .seed = 1, .leaf = LEAF_DEFAULT };
	opterr = 0;
	while ((option = getopt_long(argc, argv, "o:R:g:s:Scr:l:vh", names, NULL)) != -1) {
		int status = parse_option(option, options);

		if (status != 0)
			return status;
	}
	return check_options(options, argc - optind, argv + optind);
}

/* ---- input and output --------------------------------------------------------------------- */

/* Uniform in [-1, 1): the mixer of Steele, Lea and Flood (splitmix64, OOPSLA 2014). */
static void fill_random(double *values, size_t count, uint64_t *state)
{
	for (size_t i = 0; i < count; i++) {
		*state += UINT64_C(0x9e3779b97f4a7c15);
		uint64_t x = *state;

		x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
		values[i] = (double)((x ^ x >> 31) >> 11) * 0x1.0p-52 - 1;
	}
}

static int no_memory(void)
{
	app_say(NAME, "no memory for the matrices");
	return APP_FAILED;
}

static int said(const struct app_error *error)
{
	app_say(NAME, "%s", error->text);
	return APP_BAD_INPUT;
}

static int generate(const struct options *options)
{
	size_t parts[3] = { 0 };
	size_t count = parse_size(options->generate, parts);
	struct npy_file file;
	struct app_error error;
	uint64_t state = options->seed;

	if (count != 1 && count != 2)
		return app_usage_error(NAME, "size '%s' is not N or MxN", options->generate);
	size_t cols = count == 1 ? parts[0] : parts[1];
	double *row = malloc(cols * sizeof(*row));
	if (row == NULL)
		return no_memory();
	int status = npy_create(&file, options->a_path, parts[0], cols, &error);
	if (status == 0) {
		for (size_t i = 0; i < parts[0] && status == 0; i++) {
			fill_random(row, cols, &state);
			status = npy_write(&file, row, cols, &error);
		}
		int closed = npy_close(&file, status == 0 ? &error : &(struct app_error){ "" });
		status = status != 0 ? status : closed;
	}
	free(row);
	return status == 0 ? 0 : said(&error);
}

/* An infinity would come out as NaN where Strassen subtracts, and not as dgemm has it. */
static int check_finite(const struct npy_file *file, const double *values, struct app_error *error)
{
	for (size_t i = 0; i < file->rows * file->cols; i++) {
		if (!isfinite(values[i]))
			return app_error_set(error, "%s: element (%zu, %zu) is not finite",
					     file->path, i / file->cols, i % file->cols);
	}
	return 0;
}

static int read_matrix(const char *path, size_t *rows, size_t *cols, double **out)
{
	struct app_error error;
	struct npy_file file;

	if (npy_open(&file, path, &error) != 0)
		return said(&error);
	*rows = file.rows;
	*cols = file.cols;
	*out = malloc(file.rows * file.cols * sizeof(double));
	if (*out == NULL) {
		(void)npy_close(&file, &error);
		return no_memory();
	}
	int status = npy_read(&file, *out, file.rows * file.cols, &error);
	if (status == 0)
		status = check_finite(&file, *out, &error);
	(void)npy_close(&file, &(struct app_error){ "" });
	return status == 0 ? 0 : said(&error);
}

static int read_input(const struct options *options, struct input *input)
{
	size_t b_rows = 0;
	struct job_sizes *sizes = &input->sizes;
	int status = read_matrix(options->a_path, &sizes->m, &sizes->k, &input->a);

	if (status == 0)
		status = read_matrix(options->b_path, &b_rows, &sizes->n, &input->b);
	if (status != 0)
		return status;
	if (b_rows == sizes->k)
		return 0;
	app_say(NAME, "%s has %zu columns and %s %zu rows: the shapes do not match",
		options->a_path, sizes->k, options->b_path, b_rows);
	return APP_BAD_INPUT;
}

static int make_input(const struct options *options, struct input *input)
{
	uint64_t state = options->seed;

	input->sizes = options->random;
	size_t a_count = input->sizes.m * input->sizes.k;
	size_t b_count = input->sizes.k * input->sizes.n;
	input->a = malloc(a_count * sizeof(double));
	input->b = malloc(b_count * sizeof(double));
	if (input->a == NULL || input->b == NULL)
		return no_memory();
	fill_random(input->a, a_count, &state);
	fill_random(input->b, b_count, &state);
	return 0;
}

/* Straight from shared memory. */
static int write_product(const struct job *job, const char *path)
{
	struct app_error error;
	struct npy_file file;
	int status = npy_create(&file, path, job->sizes.m, job->sizes.n, &error);

	if (status != 0)
		return said(&error);
	for (size_t i = 0; i < job->sizes.m && status == 0; i++)
		status = npy_write(&file, job_row(job, i), job->sizes.n, &error);
	int closed = npy_close(&file, status == 0 ? &error : &(struct app_error){ "" });
	return status == 0 && closed == 0 ? 0 : said(&error);
}

/* ---- runs --------------------------------------------------------------------------------- */

/* One timed multiplication: from the input in node 0's memory to the product combined. */
static double run_shared(struct app *app, struct job *job, const struct input *input,
			 struct check *check)
{
	/* Node 0 writes the input anew each time, so that each run pays for its distribution. */
	if (app->node == 0)
		job_load(job, input->a, input->b);
	app_must(app, dsm_barrier(), "dsm_barrier");
	double start = app_seconds();
	job_run(job);
	double time = app_seconds() - start;
	if (app->node == 0)
		check_product(check, job);
	app_must(app, dsm_barrier(), "dsm_barrier");
	return time;
}

/* Node 0 alone; the others wait in a barrier and leave it the machine. */
static double run_serial(struct app *app, struct job *job, const struct input *input,
			 struct check *check)
{
	double time = 0;

	if (app->node == 0) {
		job_load(job, input->a, input->b);
		double start = app_seconds();
		job_run(job);
		time = app_seconds() - start;
		check_product(check, job);
	}
	app_must(app, dsm_barrier(), "dsm_barrier");
	return time;
}

static void print_stats(const struct app *app)
{
	struct dsm_stats s;

	app_must(app, dsm_stats_get(&s), "dsm_stats_get");
	app_say(NAME,
		"node %d: read faults %llu, write faults %llu, upgrades %llu, fetched %llu, "
		"granted %llu, prefetched %llu, invalidations %llu, downgrades %llu, messages %llu",
		app->node, (unsigned long long)s.read_faults, (unsigned long long)s.write_faults,
		(unsigned long long)s.upgrades, (unsigned long long)s.pages_fetched,
		(unsigned long long)s.pages_granted, (unsigned long long)s.prefetches,
		(unsigned long long)s.invalidations, (unsigned long long)s.downgrades,
		(unsigned long long)s.messages_sent);
}

static void print_result(const struct options *options, const struct app *app,
			 const struct check *check, const struct times *times)
{
	size_t count = (size_t)options->repeat;
	double shared = options->serial ? 0 : app_median(times->shared, count);
	double serial = options->serial || options->compare ? app_median(times->serial, count) : 0;

	printf(NAME ": %zu x %zu x %zu, %d node%s, time %.6f s, verified %s, error %.3g, "
		    "tolerance %.3g, relative error %.3g",
	       check->sizes.m, check->sizes.k, check->sizes.n, options->serial ? 1 : app->nodes,
	       app->nodes == 1 || options->serial ? "" : "s", options->serial ? serial : shared,
	       check->right ? "yes" : "no", check->max_error, check->tolerance, check->frobenius);
	if (options->compare)
		printf(", serial %.6f s, speed-up %.3f, medians of %zu", serial, serial / shared,
		       count);
	printf("\n");
	(void)fflush(stdout);
}

static void run_all(const struct options *options, struct app *app, struct job *shared,
		    struct job *serial, const struct input *input, struct check *check,
		    struct times *times)
{
	for (size_t i = 0; i < options->repeat; i++) {
		if (!options->serial)
			times->shared[i] = run_shared(app, shared, input, check);
		if (options->serial || options->compare)
			times->serial[i] = run_serial(app, serial, input, check);
	}
}

/* From here on every node has its jobs; node 0 has the reference too. Returns the status. */
static int run_and_report(const struct options *options, struct app *app, struct job *shared,
			  struct job *serial, const struct input *input)
{
	const struct job *result = options->serial ? serial : shared;
	struct check check = { .right = true };
	struct times times = { calloc(options->repeat, sizeof(double)),
			       calloc(options->repeat, sizeof(double)) };
	int status = times.shared == NULL || times.serial == NULL ? no_memory() : 0;

	if (status == 0 && app->node == 0)
		status = check_open(&check, &input->sizes, input->a, input->b, job_levels(result));
	status = app_agree(app, status);
	if (status == 0) {
		run_all(options, app, shared, serial, input, &check, &times);
		if (app->node == 0) {
			print_result(options, app, &check, &times);
			status = check.right ? APP_VERIFIED : APP_WRONG;
		}
		if (status == 0 && app->node == 0 && options->output != NULL)
			status = write_product(result, options->output);
		if (options->stats)
			print_stats(app);
		status = app_agree(app, status);
	}
	check_close(&check);
	free(times.shared);
	free(times.serial);
	return status;
}

static int open_jobs(const struct options *options, struct app *app, const struct job_sizes *sizes,
		     struct job *shared, struct job *serial)
{
	int status = 0;

	if (!options->serial)
		status = job_open(shared, app, sizes, (size_t)options->leaf);
	if (status == 0 && app->node == 0 && (options->serial || options->compare))
		status = job_open(serial, NULL, sizes, (size_t)options->leaf);
	return app_agree(app, status);
}

static int run(const struct options *options, struct app *app)
{
	struct input input = { .a = NULL };
	struct job shared = { .app = app };
	struct job serial = { .app = NULL };
	int status = 0;

	if (app->node == 0)
		status = options->generate != NULL ? generate(options)
			 : options->random.m != 0  ? make_input(options, &input)
						   : read_input(options, &input);
	status = app_agree(app, status);
	if (status == 0 && options->generate == NULL) {
		app_must(app, dsm_bcast(&input.sizes, sizeof(input.sizes), 0), "dsm_bcast");
		status = open_jobs(options, app, &input.sizes, &shared, &serial);
		if (status == 0)
			status = run_and_report(options, app, &shared, &serial, &input);
		job_close(&shared);
		job_close(&serial);
	}
	free(input.a);
	free(input.b);
	return status;
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
	return app_leave(&app, run(&options, &app));
}
