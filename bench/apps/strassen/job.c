/* SPDX-License-Identifier: Apache-2.0 */
/* The shared multiplication: plan, memory, tasks, combination. */
#include "job.h"

#include <pergola/dsm.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_DOUBLES (DSM_PAGE_BYTES / sizeof(double))
#define NO_TASK SIZE_MAX
#define MARKS_A_PAGE (DSM_PAGE_BYTES / sizeof(uint32_t))

_Static_assert(JOB_TASKS_MAX <= MARKS_A_PAGE, "one node's marks fit a page");

static size_t round_to_page(size_t doubles)
{
	return (doubles + PAGE_DOUBLES - 1) / PAGE_DOUBLES * PAGE_DOUBLES;
}

/* ---- plan --------------------------------------------------------------------------------- */

/*
 * Whole products first, the smaller tasks that even out the nodes' ends last. With 2 nodes this
 * order gives node 1, which has to fetch the input, the second, fourth and sixth product, made of
 * six of the eight quadrants, and splits the third, which needs but one more (B22).
 */
static void plan_tasks(struct job *job)
{
	static const int order[7] = { 0, 1, 4, 3, 6, 5, 2 };
	size_t whole = 7 / job->nodes * job->nodes;

	job->task_count = 0;
	for (size_t i = 0; i < 7; i++) {
		size_t parts = i < whole ? 1 : 7;

		for (size_t part = 0; part < parts; part++)
			job->tasks[job->task_count++] =
				(struct job_task){ .outer = order[i],
						   .inner = parts == 1 ? -1 : (int)part };
	}
}

static bool is_whole(const struct job_task *task)
{
	return task->inner < 0;
}

/* Sizes of the product that a task computes. */
static struct job_sizes task_sizes(const struct job *job, const struct job_task *task)
{
	size_t blocks = is_whole(task) ? 2 : 1;

	return (struct job_sizes){ blocks * job->block.m, blocks * job->block.k,
				   blocks * job->block.n };
}

unsigned int job_levels(const struct job *job)
{
	unsigned int most = 0;

	for (size_t t = 0; t < job->task_count; t++) {
		struct job_sizes sizes = task_sizes(job, &job->tasks[t]);
		unsigned int levels = serial_levels(job->serial.leaf, sizes.m, sizes.k, sizes.n) +
				      (is_whole(&job->tasks[t]) ? 1 : 2);

		most = levels > most ? levels : most;
	}
	return most;
}

/* Strips: node i has the rows [strip_begin(i), strip_begin(i + 1)) of each half of C. */
static size_t strip_begin(const struct job *job, size_t node)
{
	return 2 * job->block.m * node / job->nodes;
}

static size_t strip_doubles(const struct job *job, size_t node)
{
	size_t rows = strip_begin(job, node + 1) - strip_begin(job, node);

	return round_to_page(2 * rows * 4 * job->block.n + 1);
}

/* ---- memory ------------------------------------------------------------------------------- */

static double *take(struct job *job, size_t doubles, size_t node)
{
	if (job->app == NULL)
		return app_private_take(doubles * sizeof(double));
	return app_heap_take(job->app, doubles * sizeof(double), (int)node);
}

static size_t slot_doubles(const struct job *job, const struct job_task *task)
{
	struct job_sizes sizes = task_sizes(job, task);

	return round_to_page(sizes.m * sizes.n);
}

static int open_heap(struct job *job)
{
	uint64_t doubles = 16 * ((uint64_t)job->a_block_doubles + job->b_block_doubles);

	if (job->app == NULL)
		return 0;
	for (size_t t = 0; t < job->task_count; t++)
		doubles += slot_doubles(job, &job->tasks[t]);
	for (size_t i = 0; i < job->nodes; i++)
		doubles += strip_doubles(job, i);
	return app_heap_open(job->app, (doubles + job->nodes * PAGE_DOUBLES) * sizeof(double),
			     job->task_count + job->nodes + 3);
}

/* The input is at home on node 0, which writes it; slots and strips on the nodes that do. */
static bool take_blocks(struct job *job)
{
	bool ok = true;

	job->a = take(job, 16 * job->a_block_doubles, 0);
	job->b = take(job, 16 * job->b_block_doubles, 0);
	job->taken = (uint32_t *)take(job, job->nodes * PAGE_DOUBLES, 0);
	ok = job->a != NULL && job->b != NULL && job->taken != NULL;
	for (size_t t = 0; t < job->task_count; t++) {
		struct job_task *task = &job->tasks[t];

		task->slot = take(job, slot_doubles(job, task), t % job->nodes);
		ok = ok && task->slot != NULL;
	}
	for (size_t i = 0; i < job->nodes; i++) {
		job->strips[i] = take(job, strip_doubles(job, i), i);
		ok = ok && job->strips[i] != NULL;
	}
	return ok;
}

static bool take_private(struct job *job)
{
	struct job_sizes most = task_sizes(job, &job->tasks[0]);
	size_t scratch = serial_scratch_doubles(job->serial.leaf, most.m, most.k, most.n);

	job->serial.scratch = app_private_take(scratch * sizeof(double));
	job->left = app_private_take(most.m * most.k * sizeof(double));
	job->right = app_private_take(most.k * most.n * sizeof(double));
	job->product = app_private_take(most.m * most.n * sizeof(double));
	return job->serial.scratch != NULL && job->left != NULL && job->right != NULL &&
	       job->product != NULL;
}

int job_open(struct job *job, struct app *app, const struct job_sizes *sizes, size_t leaf)
{
	size_t kernel_count = 0;

	*job = (struct job){
		.app = app,
		.node = app == NULL ? 0 : (size_t)app->node,
		.nodes = app == NULL ? 1 : (size_t)app->nodes,
		.sizes = *sizes,
		.block = { (sizes->m + 3) / 4, (sizes->k + 3) / 4, (sizes->n + 3) / 4 },
		.serial = { .kernel = leaf_kernels(&kernel_count), .leaf = leaf },
	};
	job->a_block_doubles = round_to_page(job->block.m * job->block.k);
	job->b_block_doubles = round_to_page(job->block.k * job->block.n);
	plan_tasks(job);
	job->strips = calloc(job->nodes, sizeof(*job->strips));
	int status = job->strips != NULL && take_private(job) ? 0 : APP_FAILED;
	if (status != 0)
		app_say("strassen", "node %zu: no private memory for the operands", job->node);
	if (app != NULL)
		status = app_agree(app, status);
	if (status == 0)
		status = open_heap(job);
	if (status == 0 && !take_blocks(job))
		status = APP_FAILED;
	return status;
}

void job_close(struct job *job)
{
	free(job->left);
	free(job->right);
	free(job->product);
	free(job->serial.scratch);
	if (job->app == NULL) {
		free(job->a);
		free(job->b);
		free(job->taken);
		for (size_t t = 0; t < job->task_count; t++)
			free(job->tasks[t].slot);
		if (job->strips != NULL)
			free(job->strips[0]);
	}
	free(job->strips);
}

static void prefetch(const struct job *job, const double *at, size_t doubles, int mode)
{
	if (job->app != NULL && doubles > 0)
		app_must(job->app, dsm_prefetch(at, doubles * sizeof(*at), mode), "dsm_prefetch");
}

static void barrier(const struct job *job)
{
	if (job->app != NULL)
		app_must(job->app, dsm_barrier(), "dsm_barrier");
}

/* A task's mark on the list, which is a page for each node with the marks of its own tasks. */
static uint32_t *task_mark(const struct job *job, size_t t)
{
	return &job->taken[t % job->nodes * MARKS_A_PAGE + t / job->nodes];
}

/* ---- input -------------------------------------------------------------------------------- */

/* Copies the matrix (rows x cols, row by row) into the grid of blocks, zeros around it. */
static void load_grid(double *grid, size_t block_doubles, size_t block_rows, size_t block_cols,
		      const double *from, size_t rows, size_t cols)
{
	for (size_t i = 0; i < 4 * block_rows; i++) {
		size_t row = i / block_rows;

		for (size_t col = 0; col < 4; col++) {
			size_t outer = row / 2 * 2 + col / 2;
			size_t inner = row % 2 * 2 + col % 2;
			double *to = grid + (4 * outer + inner) * block_doubles +
				     i % block_rows * block_cols;
			size_t first = col * block_cols;
			size_t count = 0;

			if (i < rows && first < cols)
				count = cols - first < block_cols ? cols - first : block_cols;
			if (count > 0)
				memcpy(to, from + i * cols + first, count * sizeof(*to));
			memset(to + count, 0, (block_cols - count) * sizeof(*to));
		}
	}
}

void job_load(struct job *job, const double *a, const double *b)
{
	prefetch(job, job->a, 16 * job->a_block_doubles, DSM_WRITE);
	prefetch(job, job->b, 16 * job->b_block_doubles, DSM_WRITE);
	load_grid(job->a, job->a_block_doubles, job->block.m, job->block.k, a, job->sizes.m,
		  job->sizes.k);
	load_grid(job->b, job->b_block_doubles, job->block.k, job->block.n, b, job->sizes.k,
		  job->sizes.n);
	for (size_t t = 0; t < job->task_count; t++)
		*task_mark(job, t) = 0;
}

/* ---- tasks -------------------------------------------------------------------------------- */

/*
 * Takes a task off the list, or NO_TASK. The exchange is the one point where nodes meet: a store
 * needs the page for writing, which one node at a time has, so it is atomic for all of them. While
 * a node has tasks of its own left it needs no page but its own.
 */
static size_t take_task(struct job *job)
{
	for (size_t pass = 0; pass < 2; pass++) {
		for (size_t t = 0; t < job->task_count; t++) {
			bool mine = t % job->nodes == job->node;

			if (mine != (pass == 0) ||
			    __atomic_load_n(task_mark(job, t), __ATOMIC_RELAXED) != 0)
				continue;
			if (__atomic_exchange_n(task_mark(job, t), 1, __ATOMIC_ACQ_REL) == 0)
				return t;
		}
	}
	return NO_TASK;
}

/* The sign of block (outer, inner) of the grid in a factor of the task. */
static int block_sign(const signed char outer_signs[4], const signed char inner_signs[4],
		      const struct job_task *task, size_t outer, size_t inner)
{
	return outer_signs[outer] * (is_whole(task) ? 1 : inner_signs[inner]);
}

static const signed char all_blocks[4] = { 1, 1, 1, 1 };

static void prefetch_factor(const struct job *job, const struct job_task *task,
			    const signed char outer_signs[4], const signed char inner_signs[4],
			    const double *grid, size_t block_doubles)
{
	for (size_t outer = 0; outer < 4; outer++) {
		for (size_t inner = 0; inner < 4; inner++) {
			if (block_sign(outer_signs, inner_signs, task, outer, inner) != 0)
				prefetch(job, grid + (4 * outer + inner) * block_doubles,
					 block_doubles, DSM_READ);
		}
	}
}

static void prefetch_task(const struct job *job, size_t t)
{
	const struct job_task *task = &job->tasks[t];
	const struct strassen_product *outer = &strassen_products[task->outer];
	const struct strassen_product *inner = &strassen_products[is_whole(task) ? 0 : task->inner];

	prefetch_factor(job, task, outer->a, is_whole(task) ? all_blocks : inner->a, job->a,
			job->a_block_doubles);
	prefetch_factor(job, task, outer->b, is_whole(task) ? all_blocks : inner->b, job->b,
			job->b_block_doubles);
}

/* Where a factor's blocks come from. */
struct grid {
	const double *at;
	size_t block_doubles;
	size_t rows; /* of a block */
	size_t cols;
};

/* Sums blocks of the shared input, read once, into a private factor of a whole product. */
static void form_whole(const struct grid *grid, const signed char outer_signs[4], double *to)
{
	for (size_t inner = 0; inner < 4; inner++) {
		struct term terms[4];
		size_t count = 0;
		struct view part = { to + inner / 2 * grid->rows * 2 * grid->cols +
					     inner % 2 * grid->cols,
				     2 * grid->cols };

		for (size_t outer = 0; outer < 4; outer++) {
			const double *at = grid->at + (4 * outer + inner) * grid->block_doubles;

			if (outer_signs[outer] != 0)
				terms[count++] =
					(struct term){ outer_signs[outer], { at, grid->cols } };
		}
		serial_sum(grid->rows, grid->cols, part, terms, count);
	}
}

/* The same for a product of the second level: one block of up to four terms. */
static void form_part(const struct grid *grid, const signed char outer_signs[4],
		      const signed char inner_signs[4], double *to)
{
	struct term terms[16];
	size_t count = 0;

	for (size_t i = 0; i < 16; i++) {
		int sign = outer_signs[i / 4] * inner_signs[i % 4];

		if (sign != 0)
			terms[count++] =
				(struct term){ sign,
					       { grid->at + i * grid->block_doubles, grid->cols } };
	}
	serial_sum(grid->rows, grid->cols, (struct view){ to, grid->cols }, terms, count);
}

static void form_operands(struct job *job, const struct job_task *task)
{
	const struct strassen_product *outer = &strassen_products[task->outer];
	struct grid a = { job->a, job->a_block_doubles, job->block.m, job->block.k };
	struct grid b = { job->b, job->b_block_doubles, job->block.k, job->block.n };

	if (is_whole(task)) {
		form_whole(&a, outer->a, job->left);
		form_whole(&b, outer->b, job->right);
		return;
	}
	const struct strassen_product *inner = &strassen_products[task->inner];
	form_part(&a, outer->a, inner->a, job->left);
	form_part(&b, outer->b, inner->b, job->right);
}

static void work(struct job *job)
{
	size_t t = take_task(job);

	if (t != NO_TASK)
		prefetch_task(job, t);
	while (t != NO_TASK) {
		const struct job_task *task = &job->tasks[t];
		struct job_sizes sizes = task_sizes(job, task);
		size_t result = sizes.m * sizes.n;

		form_operands(job, task);
		size_t next = take_task(job);
		if (next != NO_TASK)
			prefetch_task(job, next);
		prefetch(job, task->slot, result, DSM_WRITE);
		serial_multiply(&job->serial, sizes.m, sizes.k, sizes.n,
				(struct const_view){ job->left, sizes.k },
				(struct const_view){ job->right, sizes.n },
				(struct view){ job->product, sizes.n });
		memcpy(task->slot, job->product, result * sizeof(double));
		t = next;
	}
}

/* ---- combination -------------------------------------------------------------------------- */

/* A piece of C: rows [first, last) of a half, within one row of blocks. */
struct piece {
	size_t first;
	size_t last;
};

/* The part of task t's product that belongs to block (outer, inner) of C; sign 0: none does. */
static struct term product_term(const struct job *job, size_t t, size_t outer, size_t inner,
				const struct piece *piece)
{
	const struct job_task *task = &job->tasks[t];
	int sign = strassen_products[task->outer].c[outer];
	size_t cols = job->block.n;

	if (is_whole(task))
		return (struct term){
			sign, { task->slot + piece->first * 2 * cols + inner % 2 * cols, 2 * cols }
		};
	sign *= strassen_products[task->inner].c[inner];
	return (struct term){ sign, { task->slot + piece->first % job->block.m * cols, cols } };
}

/* The rows of this node's strip in block row `half` (0, 1) of each half of C. */
static struct piece strip_piece(const struct job *job, size_t half)
{
	struct piece piece = { strip_begin(job, job->node), strip_begin(job, job->node + 1) };
	size_t first = half * job->block.m;
	size_t last = first + job->block.m;

	piece.first = piece.first > first ? piece.first : first;
	piece.last = piece.last < last ? piece.last : last;
	if (piece.last < piece.first)
		piece.last = piece.first;
	return piece;
}

static double *strip_row(const struct job *job, size_t outer, size_t row)
{
	size_t rows = strip_begin(job, job->node + 1) - strip_begin(job, job->node);

	return job->strips[job->node] +
	       (outer / 2 * rows + row - strip_begin(job, job->node)) * 4 * job->block.n;
}

static void combine_block(struct job *job, size_t outer, size_t inner)
{
	struct piece piece = strip_piece(job, inner / 2);
	struct term terms[JOB_TASKS_MAX];
	size_t count = 0;

	if (piece.first == piece.last)
		return;
	for (size_t t = 0; t < job->task_count; t++) {
		struct term term = product_term(job, t, outer, inner, &piece);

		if (term.sign != 0)
			terms[count++] = term;
	}
	struct view to = { strip_row(job, outer, piece.first) +
				   (outer % 2 * 2 + inner % 2) * job->block.n,
			   4 * job->block.n };
	serial_sum(piece.last - piece.first, job->block.n, to, terms, count);
}

/* Asks for the rows of all products that this node's strip is made of. */
static void prefetch_products(const struct job *job)
{
	size_t cols = job->block.n;

	for (size_t half = 0; half < 2; half++) {
		struct piece piece = strip_piece(job, half);
		size_t rows = piece.last - piece.first;

		for (size_t t = 0; t < job->task_count && rows > 0; t++) {
			const struct job_task *task = &job->tasks[t];

			if (is_whole(task))
				prefetch(job, task->slot + piece.first * 2 * cols, rows * 2 * cols,
					 DSM_READ);
			else
				prefetch(job, task->slot + piece.first % job->block.m * cols,
					 rows * cols, DSM_READ);
		}
	}
}

void job_run(struct job *job)
{
	work(job);
	size_t rows = strip_begin(job, job->node + 1) - strip_begin(job, job->node);
	prefetch(job, job->strips[job->node], 2 * rows * 4 * job->block.n, DSM_WRITE);
	barrier(job);
	prefetch_products(job);
	for (size_t i = 0; i < 16; i++)
		combine_block(job, i / 4, i % 4);
	barrier(job);
}

void job_fetch(const struct job *job)
{
	for (size_t node = 0; node < job->nodes; node++) {
		size_t rows = strip_begin(job, node + 1) - strip_begin(job, node);

		prefetch(job, job->strips[node], 2 * rows * 4 * job->block.n, DSM_READ);
	}
}

const double *job_row(const struct job *job, size_t i)
{
	size_t half_rows = 2 * job->block.m;
	size_t row = i % half_rows;
	size_t node = 0;

	while (strip_begin(job, node + 1) <= row)
		node++;
	size_t strip_rows = strip_begin(job, node + 1) - strip_begin(job, node);
	return job->strips[node] +
	       (i / half_rows * strip_rows + row - strip_begin(job, node)) * 4 * job->block.n;
}
