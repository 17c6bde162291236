/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the four programs share: joining the job, agreeing on one exit status, error texts,
 * numbers from the command line, time.
 *
 * Exit statuses (enum app_exit) are the same on every node: app_agree() gives all nodes the worst
 * of their statuses, so that no node is left waiting for one that has given up.
 */
#ifndef APPS_COMMON_APP_H
#define APPS_COMMON_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum app_exit {
	APP_VERIFIED = 0,  /* the result is there and right */
	APP_WRONG = 1,	   /* there is a result, and it is wrong */
	APP_BAD_INPUT = 2, /* the command line, an input file or an output file */
	APP_FAILED = 3,	   /* the system or the library: no memory, could not join, ... */
};

/* The sentence that goes with a failure. Set by whoever finds it, printed once by app_say(). */
struct app_error {
	char text[480];
};

/* Records the sentence; returns APP_BAD_INPUT. */
__attribute__((format(printf, 2, 3))) int app_error_set(struct app_error *error, const char *format,
							...);

/* One process of the program: what it is called, which node it is, and the nodes' common page. */
struct app {
	const char *name;
	int node;
	int nodes;
	struct app_shared *shared;
};

/* Joins the job. Returns 0, or APP_FAILED having said why. */
int app_join(struct app *app, const char *name);

/* Leaves the job; returns `status`, or APP_FAILED when leaving failed. Collective. */
int app_leave(struct app *app, int status);

/* The worst status of all nodes, now or in an earlier call. Collective. */
int app_agree(struct app *app, int status);

/* Ends the process, and by that the job, when `result` is a negative errno of a dsm call. */
void app_must(const struct app *app, int result, const char *call);

/*
 * Opens a shared heap that `allocation_count` blocks of `bytes` in all fit into, whichever
 * nodes they are placed on. 0 or APP_FAILED, said by node 0. Collective.
 */
int app_heap_open(struct app *app, uint64_t bytes, size_t allocation_count);

/*
 * One block of shared memory, taken by node 0, known to all. NULL: none left, said by node 0.
 * `placement` as for dsm_malloc_at(). Never freed: it goes with the job. Collective.
 */
void *app_heap_take(struct app *app, size_t bytes, int placement);

/*
 * A block of private memory, to be freed: page-aligned, of huge pages if it is large and there are
 * any, all zeros, and already touched so that no run pays for the first touch. NULL: no memory.
 */
void *app_private_take(size_t bytes);

/* A line on standard error, "name: ...". From every node that calls it. */
__attribute__((format(printf, 2, 3))) void app_say(const char *name, const char *format, ...);

/*
 * Says what is wrong with the command line (from one node only, as far as the environment tells
 * before the job is joined) and where to find help. Returns APP_BAD_INPUT.
 */
__attribute__((format(printf, 2, 3))) int app_usage_error(const char *name, const char *format,
							  ...);

/* True on the node that speaks before the job is joined: PERGOLA_RANK is not set, or is 0. */
bool app_speaks(void);

/* A whole number of [min, max]; false: it is none, or out of range. */
bool app_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* A finite number; false: it is none. */
bool app_parse_double(const char *text, double *out);

/* Seconds on a monotonic clock. */
double app_seconds(void);

/* The median of `values`, which it sorts. count > 0. */
double app_median(double *values, size_t count);

#endif
