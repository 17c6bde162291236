/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sor: red-black successive over-relaxation on all nodes of a job. The rows are cut into bands, one
 * for each node, at home there and on pages of their own; a node writes its band only and reads the
 * two rows next to it. Node 0 reads, verifies against a serial run, writes and prints.
 */
#include "common/app.h"
#include "common/npy.h"
#include "grid.h"

#include <getopt.h>
#include <pergola/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "sor"
#define SIDE_MAX (1u << 20)

static const char help[] =
	"Usage: sor [options]\n"
	"Solves Laplace's equation on a grid with fixed edges by red-black successive\n"
	"over-relaxation, its rows banded over all nodes of the job, and compares the result bit\n"
	"for bit with a serial run.\n"
	"\n"
	"  -r, --rows R        rows of the grid, edges included (512)\n"
	"  -c, --cols C        columns (512)\n"
	"  -n, --iterations I  red and black half sweeps (100)\n"
	"  -w, --omega W       relaxation factor, between 0 and 2 (1.5)\n"
	"  -i, --input FILE    take the grid from a NumPy file (float64, 2 dimensions)\n"
	"  -o, --output FILE   write the result as a NumPy file\n"
	"  -h, --help          print this\n"
	"\n"
	"Ends with status 0: verified, 1: wrong result, 2: bad usage, input or output, 3: failure\n"
	"of the system or the library.\n";

struct options {
	uint64_t rows;
	uint64_t cols;
	uint64_t iterations;
	double omega;
	const char *input;
	const char *output;
	bool help;
};

/* This node's view of the run. */
struct run {
	struct app *app;
	struct grid grid;
	double *above; /* private copies of the rows next to the band */
	double *below;
	size_t first; /* the band: rows [first, last) */
	size_t last;
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
	case 'r':
		return parse_number(optarg, "rows", 3, SIDE_MAX, &options->rows);
	case 'c':
		return parse_number(optarg, "columns", 3, SIDE_MAX, &options->cols);
	case 'n':
		return parse_number(optarg, "iterations", 1, UINT32_MAX, &options->iterations);
	case 'w':
		if (app_parse_double(optarg, &options->omega) && options->omega > 0 &&
		    options->omega < 2)
			return 0;
		return app_usage_error(NAME, "omega '%s' is not between 0 and 2", optarg);
	case 'i':
		options->input = optarg;
		return 0;
	case 'o':
		options->output = optarg;
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
		{ "rows", required_argument, NULL, 'r' },
		{ "cols", required_argument, NULL, 'c' },
		{ "iterations", required_argument, NULL, 'n' },
		{ "omega", required_argument, NULL, 'w' },
		{ "input", required_argument, NULL, 'i' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option = 0;

	*options = (struct options){ .rows = 512, .cols = 512, .iterations = 100, .omega = 1.5 };
	opterr = 0;
	while ((option = getopt_long(argc, argv, "r:c:n:w:i:o:h", names, NULL)) != -1) {
		int status = parse_option(option, options);

		if (status != 0)
			return status;
	}
	if (!options->help && optind != argc)
		return app_usage_error(NAME, "'%s' is no option", argv[optind]);
	return 0;
}

/* ---- memory and input --------------------------------------------------------------------- */

static size_t band_begin(const struct run *run, size_t node)
{
	return run->grid.rows * node / (size_t)run->app->nodes;
}

/* Takes every node's band and points the rows into them. */
static int take_bands(struct run *run)
{
	struct grid *grid = &run->grid;
	size_t nodes = (size_t)run->app->nodes;
	size_t row_bytes = grid->cols * sizeof(double);
	int status =
		app_heap_open(run->app, grid->rows * row_bytes + nodes * DSM_PAGE_BYTES, nodes);

	for (size_t node = 0; status == 0 && node < nodes; node++) {
		size_t first = band_begin(run, node);
		size_t rows = band_begin(run, node + 1) - first;
		/* Whole pages, so that two bands never meet on one. */
		size_t bytes = (rows * row_bytes / DSM_PAGE_BYTES + 1) * DSM_PAGE_BYTES;
		double *band = app_heap_take(run->app, bytes, (int)node);

		if (band == NULL)
			return APP_FAILED;
		for (size_t i = 0; i < rows; i++)
			grid->row[first + i] = band + i * grid->cols;
	}
	return status;
}

static int said(const struct app_error *error)
{
	app_say(NAME, "%s", error->text);
	return APP_BAD_INPUT;
}

static int no_memory(void)
{
	app_say(NAME, "no memory for the grid");
	return APP_FAILED;
}

/* On node 0: opens the input, if there is one, and learns its size. */
static int open_input(const struct options *options, struct npy_file *file, size_t sizes[2])
{
	struct app_error error;

	if (options->input == NULL) {
		sizes[0] = (size_t)options->rows;
		sizes[1] = (size_t)options->cols;
		return 0;
	}
	if (npy_open(file, options->input, &error) != 0)
		return said(&error);
	sizes[0] = file->rows;
	sizes[1] = file->cols;
	if (file->rows >= 3 && file->cols >= 3)
		return 0;
	(void)npy_close(file, &error);
	(void)app_error_set(&error, "%s: a grid of %zu x %zu has no inner cell", options->input,
			    file->rows, file->cols);
	return said(&error);
}

/* On node 0: straight from the file into every node's band. */
static int read_grid(const struct run *run, struct npy_file *file)
{
	struct app_error error;
	int status = 0;

	for (size_t i = 0; i < run->grid.rows && status == 0; i++)
		status = npy_read(file, run->grid.row[i], run->grid.cols, &error);
	(void)npy_close(file, &(struct app_error){ "" });
	return status == 0 ? 0 : said(&error);
}

static void fill_band(const struct run *run)
{
	for (size_t i = run->first; i < run->last; i++) {
		for (size_t j = 0; j < run->grid.cols; j++)
			run->grid.row[i][j] = grid_initial(&run->grid, i, j);
	}
}

static int open_run(struct run *run, struct app *app, const size_t sizes[2])
{
	*run = (struct run){ .app = app, .grid = { .rows = sizes[0], .cols = sizes[1] } };
	run->grid.row = calloc(sizes[0], sizeof(*run->grid.row));
	run->above = calloc(sizes[1], sizeof(double));
	run->below = calloc(sizes[1], sizeof(double));
	run->first = band_begin(run, (size_t)app->node);
	run->last = band_begin(run, (size_t)app->node + 1);
	int status =
		run->grid.row == NULL || run->above == NULL || run->below == NULL ? no_memory() : 0;
	status = app_agree(app, status);
	return status == 0 ? app_agree(app, take_bands(run)) : status;
}

static void close_run(struct run *run)
{
	free(run->grid.row);
	free(run->above);
	free(run->below);
}

/* ---- the shared sweeps -------------------------------------------------------------------- */

static void relax_row(const struct run *run, size_t i, unsigned int colour, double omega)
{
	const struct grid *grid = &run->grid;

	if (i == 0 || i + 1 == grid->rows)
		return;
	grid_relax_row(grid, i, i == run->first ? run->above : grid->row[i - 1],
		       i + 1 == run->last ? run->below : grid->row[i + 1], colour, omega);
}

/*
 * The rows next door are copied first, and the band's own outer rows are changed last: a neighbour
 * copies those while this node is busy inside, and each such page moves once in a half sweep. What
 * the neighbour may change meanwhile are cells of this half sweep's colour, which are not used.
 */
static void half_sweep(const struct run *run, unsigned int colour, double omega)
{
	const struct grid *grid = &run->grid;
	size_t bytes = grid->cols * sizeof(double);
	bool has_above = run->first > 0 && run->first < run->last;
	bool has_below = run->last < grid->rows && run->first < run->last;

	if (has_above)
		(void)dsm_prefetch(grid->row[run->first - 1], bytes, DSM_READ);
	if (has_below)
		(void)dsm_prefetch(grid->row[run->last], bytes, DSM_READ);
	if (has_above)
		memcpy(run->above, grid->row[run->first - 1], bytes);
	if (has_below)
		memcpy(run->below, grid->row[run->last], bytes);
	for (size_t i = run->first + 1; i + 1 < run->last; i++)
		relax_row(run, i, colour, omega);
	if (run->first < run->last)
		relax_row(run, run->first, colour, omega);
	if (run->first + 1 < run->last)
		relax_row(run, run->last - 1, colour, omega);
}

static double relax_shared(const struct run *run, const struct options *options)
{
	/* Node 0 has read the whole grid, or written it: each node takes its band back. */
	if (run->first < run->last)
		(void)dsm_prefetch(run->grid.row[run->first],
				   (run->last - run->first) * run->grid.cols * sizeof(double),
				   DSM_WRITE);
	app_must(run->app, dsm_barrier(), "dsm_barrier");
	double start = app_seconds();
	for (uint64_t half = 0; half < 2 * options->iterations; half++) {
		half_sweep(run, half % 2, options->omega);
		app_must(run->app, dsm_barrier(), "dsm_barrier");
	}
	return app_seconds() - start;
}

/* ---- verification and output -------------------------------------------------------------- */

/* A private copy of the grid, in one block that row[0] points to. */
static bool copy_grid(struct grid *copy, const struct grid *from)
{
	*copy = (struct grid){ .rows = from->rows, .cols = from->cols };
	copy->row = malloc(from->rows * sizeof(*copy->row));
	double *cells = malloc(from->rows * from->cols * sizeof(double));
	if (copy->row == NULL || cells == NULL) {
		free(copy->row);
		free(cells);
		copy->row = NULL;
		return false;
	}
	for (size_t i = 0; i < from->rows; i++) {
		copy->row[i] = cells + i * from->cols;
		memcpy(copy->row[i], from->row[i], from->cols * sizeof(double));
	}
	return true;
}

static void free_grid(struct grid *copy)
{
	if (copy->row != NULL)
		free(copy->row[0]);
	free(copy->row);
}

static bool same_bits(const struct grid *a, const struct grid *b)
{
	for (size_t i = 0; i < a->rows; i++) {
		if (memcmp(a->row[i], b->row[i], a->cols * sizeof(double)) == 0)
			continue;
		app_say(NAME, "row %zu differs from the serial run's", i);
		return false;
	}
	return true;
}

static int write_grid(const struct grid *grid, const char *path)
{
	struct app_error error;
	struct npy_file file;
	int status = npy_create(&file, path, grid->rows, grid->cols, &error);

	if (status != 0)
		return said(&error);
	for (size_t i = 0; i < grid->rows && status == 0; i++)
		status = npy_write(&file, grid->row[i], grid->cols, &error);
	int closed = npy_close(&file, status == 0 ? &error : &(struct app_error){ "" });
	return status == 0 && closed == 0 ? 0 : said(&error);
}

/* On node 0. `copy` is the grid as it was before the run. */
static int report(const struct options *options, const struct run *run, struct grid *copy,
		  double time)
{
	double start = app_seconds();

	grid_relax(copy, (size_t)options->iterations, options->omega);
	double serial = app_seconds() - start;
	bool right = same_bits(&run->grid, copy);
	printf(NAME ": %zu x %zu, %llu iterations, omega %g, %d node%s, time %.6f s, verified %s, "
		    "tolerance 0 (bit for bit), residual %.3g, serial %.6f s\n",
	       run->grid.rows, run->grid.cols, (unsigned long long)options->iterations,
	       options->omega, run->app->nodes, run->app->nodes == 1 ? "" : "s", time,
	       right ? "yes" : "no", grid_residual(copy), serial);
	(void)fflush(stdout);
	if (!right)
		return APP_WRONG;
	return options->output == NULL ? APP_VERIFIED : write_grid(&run->grid, options->output);
}

/* ---- the run ------------------------------------------------------------------------------ */

/* Fills the grid, runs, reports. `file` is open on node 0 if there is an input. */
static int run_grid(const struct options *options, struct run *run, struct npy_file *file)
{
	struct app *app = run->app;
	struct grid copy = { .rows = 0 };
	int status = 0;

	if (options->input == NULL)
		fill_band(run);
	else if (app->node == 0)
		status = read_grid(run, file);
	app_must(app, dsm_barrier(), "dsm_barrier");
	if (status == 0 && app->node == 0 && !copy_grid(&copy, &run->grid))
		status = no_memory();
	status = app_agree(app, status);
	if (status == 0) {
		double time = relax_shared(run, options);

		if (app->node == 0)
			status = report(options, run, &copy, time);
		status = app_agree(app, status);
	}
	free_grid(&copy);
	return status;
}

static int run_all(const struct options *options, struct app *app)
{
	size_t sizes[2] = { 0 };
	struct npy_file file = { .fd = -1 };
	struct run run;
	int status = app->node == 0 ? open_input(options, &file, sizes) : 0;

	status = app_agree(app, status);
	if (status != 0)
		return status;
	app_must(app, dsm_bcast(sizes, sizeof(sizes), 0), "dsm_bcast");
	status = open_run(&run, app, sizes);
	if (status == 0)
		status = run_grid(options, &run, &file);
	close_run(&run);
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
	return app_leave(&app, run_all(&options, &app));
}
