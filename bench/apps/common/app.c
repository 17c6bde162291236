/* SPDX-License-Identifier: Apache-2.0 */
/* The common part of the programs. No state but what the caller holds. */
#include "app.h"

#include <pergola/dsm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* The unit in which the shared heap hands out large blocks (pergola/dsm.h). */
#define HEAP_UNIT_BYTES (256u << 10)

/* What a large private block is aligned to. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* The nodes' common page. Any node writes `status`; the barriers of app_agree() order it. */
struct app_shared {
	int status;
};

static void say(const char *name, const char *format, va_list args)
{
	char line[640];

	(void)vsnprintf(line, sizeof(line), format, args);
	(void)fprintf(stderr, "%s: %s\n", name, line);
}

void app_say(const char *name, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(name, format, args);
	va_end(args);
}

bool app_speaks(void)
{
	const char *rank = getenv("PERGOLA_RANK");

	return rank == NULL || strcmp(rank, "0") == 0;
}

int app_usage_error(const char *name, const char *format, ...)
{
	va_list args;

	if (!app_speaks())
		return APP_BAD_INPUT;
	va_start(args, format);
	say(name, format, args);
	va_end(args);
	(void)fprintf(stderr, "Try '%s --help'.\n", name);
	return APP_BAD_INPUT;
}

void app_must(const struct app *app, int result, const char *call)
{
	if (result >= 0)
		return;
	app_say(app->name, "node %d: %s: %s: %s", app->node, call, dsm_strerror(result),
		dsm_error());
	exit(APP_FAILED);
}

int app_join(struct app *app, const char *name)
{
	*app = (struct app){ .name = name };
	int error = dsm_init(-1);

	if (error < 0) {
		app_say(name, "cannot join the job: %s: %s", dsm_strerror(error), dsm_error());
		return APP_FAILED;
	}
	app->node = dsm_node_id();
	app->nodes = dsm_node_count();
	app->shared = dsm_reserve(NULL, DSM_PAGE_BYTES);
	if (app->shared != NULL)
		return 0;
	app_say(name, "node %d: no shared memory: %s", app->node, dsm_error());
	return APP_FAILED;
}

int app_leave(struct app *app, int status)
{
	int error = dsm_finish();

	if (error == 0)
		return status;
	app_say(app->name, "node %d: cannot leave the job: %s", app->node, dsm_error());
	return APP_FAILED;
}

int app_agree(struct app *app, int status)
{
	int *worst = &app->shared->status;
	int seen = __atomic_load_n(worst, __ATOMIC_SEQ_CST);

	while (seen < status && !__atomic_compare_exchange_n(worst, &seen, status, false,
							     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		continue;
	app_must(app, dsm_barrier(), "dsm_barrier");
	int agreed = __atomic_load_n(worst, __ATOMIC_SEQ_CST);
	/* No node may go on and raise the status again before all have read this one. */
	app_must(app, dsm_barrier(), "dsm_barrier");
	return agreed;
}

int app_heap_open(struct app *app, uint64_t bytes, size_t allocation_count)
{
	/* Each block may leave a unit partly used, each node a unit for its small blocks. */
	uint64_t spare = ((uint64_t)allocation_count + 4 * (uint64_t)app->nodes) * HEAP_UNIT_BYTES;
	void *heap = dsm_open(NULL, bytes + spare);

	if (heap != NULL)
		return 0;
	if (app->node == 0)
		app_say(app->name, "%llu bytes of shared memory are not to be had: %s",
			(unsigned long long)(bytes + spare), dsm_error());
	return APP_FAILED;
}

void *app_heap_take(struct app *app, size_t bytes, int placement)
{
	void *block = NULL;

	if (app->node == 0) {
		block = dsm_malloc_at(bytes, placement);
		if (block == NULL)
			app_say(app->name, "%zu bytes of shared memory are not to be had: %s",
				bytes, dsm_error());
	}
	app_must(app, dsm_bcast(&block, sizeof(block), 0), "dsm_bcast");
	return block;
}

void *app_private_take(size_t bytes)
{
	size_t unit = bytes < HUGE_PAGE_BYTES ? DSM_PAGE_BYTES : HUGE_PAGE_BYTES;
	size_t rounded = (bytes / unit + 1) * unit;
	void *block = aligned_alloc(unit, rounded);

	if (block == NULL)
		return NULL;
	/* A wish: fewer misses in the table of translations; without it all is right, if slower. */
	if (unit == HUGE_PAGE_BYTES)
		(void)madvise(block, rounded, MADV_HUGEPAGE);
	memset(block, 0, rounded);
	return block;
}

double app_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

double app_median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), double_compare);
	if (count % 2 == 1)
		return values[count / 2];
	return (values[count / 2 - 1] + values[count / 2]) / 2;
}
