/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One multiplication C = A B shared out over nodes; with one node and private memory the very same
 * code is the serial program.
 *
 * Layout. A and B are cut into a 4 x 4 grid of blocks (sizes rounded up, the rest zeros), each
 * block contiguous, row by row, on pages of its own, and the four blocks of a quadrant follow each
 * other. A quadrant or a block is thus one range for dsm_prefetch(), and a task fetches exactly the
 * pages it uses; in plain row order a quadrant's rows would be strips between its neighbour's, half
 * of each fetched page wasted once a row is no whole number of pages. Each task's product has a
 * slot of pages of its own, at home on the node that is to take the task; C is kept in strips, one
 * for each node, at home there and written only there. No page ever has two writers.
 *
 * Work. Strassen's top level gives 7 products. As many as fill whole rounds of all nodes are taken
 * whole; each of the rest is cut by Strassen's second level into 7 smaller tasks, so that 2 nodes
 * end within 1/7 of a product of each other, not a whole one. Tasks are taken from a shared list;
 * a node takes its own tasks first, then what others have left. The next task is taken and its
 * pages are asked for while the present product is computed.
 */
#ifndef APPS_STRASSEN_JOB_H
#define APPS_STRASSEN_JOB_H

#include "common/app.h"
#include "serial.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOB_TASKS_MAX 49u

struct job_sizes {
	size_t m; /* A is m x k, B is k x n */
	size_t k;
	size_t n;
};

/* Product `outer` of the top level; of it product `inner` of the second level, or all of it. */
struct job_task {
	int outer;
	int inner; /* -1: all */
	double *slot;
};

struct job {
	struct app *app; /* NULL: private memory, one node */
	size_t node;
	size_t nodes;
	struct job_sizes sizes;
	struct job_sizes block; /* sizes of a block; 4 blocks cover the matrix */
	size_t a_block_doubles; /* from one block to the next: whole pages */
	size_t b_block_doubles;
	double *a;
	double *b;
	double **strips; /* C: the strip of each node */
	uint32_t *taken; /* the list: 1 for each task that a node has taken */
	size_t task_count;
	struct job_task tasks[JOB_TASKS_MAX];
	struct serial serial;
	double *left; /* this node's operands and product, private */
	double *right;
	double *product;
};

/* Lays the job out. app == NULL: serial. 0, or APP_FAILED (said). Collective when shared. */
int job_open(struct job *job, struct app *app, const struct job_sizes *sizes, size_t leaf);

/* Frees private memory. Shared memory goes with the job. */
void job_close(struct job *job);

/* Puts A and B, row by row, into the layout and clears the list. By one node, between barriers. */
void job_load(struct job *job, const double *a, const double *b);

/* Multiplies. Collective when shared; the result stands when all nodes have returned. */
void job_run(struct job *job);

/* Asks for all of C to come to this node, which is about to read it. */
void job_fetch(const struct job *job);

/* Row i of C: n doubles. */
const double *job_row(const struct job *job, size_t i);

/* Levels of Strassen's recursion in all, of the task that has most. */
unsigned int job_levels(const struct job *job);

#endif
