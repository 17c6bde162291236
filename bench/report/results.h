/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks have measured, from any number of JSON files of Google Benchmark. Files of
 * the same configuration are runs of the same thing: a value is kept from each.
 *
 * Everything is owned by struct results and lives until results_free(). The program cannot go on
 * without memory and ends where there is none.
 */
#ifndef PERGOLA_BENCH_REPORT_RESULTS_H
#define PERGOLA_BENCH_REPORT_RESULTS_H

#include <stdbool.h>
#include <stddef.h>

/* What a file's context says of how it was measured. */
enum config_key {
	CONFIG_PROGRAM = 0, /* without "bench_" */
	CONFIG_NODES,
	CONFIG_FABRIC,
	CONFIG_DELIVERY,
	CONFIG_MANAGER,
	CONFIG_HOLD,
	CONFIG_SPIN,
	CONFIG_COUNT,
};

extern const char *const config_names[CONFIG_COUNT];

struct config {
	char *values[CONFIG_COUNT]; /* "" where the file does not say */
};

/* One counter of one benchmark: a value from each run. */
struct counter {
	char *name;
	double *values;
	size_t count;
};

struct result {
	char *name;    /* without "/iterations:16/manual_time" */
	size_t config; /* index into results.configs */
	struct counter *counters;
	size_t counter_count;
};

/* The machine and the time, as the first file says. */
struct machine {
	char *kernel;
	char *date;
	double processors;
	double mhz;
};

struct results {
	struct config *configs;
	size_t config_count;
	struct result *list; /* in the order of first appearance */
	size_t count;
	struct machine machine;
	bool has_machine;
	size_t file_count;
};

/* A program on so many nodes: one table and its charts. */
struct section {
	const struct results *results;
	const char *program;
	const char *nodes;
	const struct result **rows;
	size_t row_count;
	size_t *configs; /* the rows', in the order of first appearance */
	size_t config_count;
	bool differs[CONFIG_COUNT]; /* the rows' configurations do, in this */
};

/*
 * Adds a file. Returns 0, or -1 after a line on standard error that names the file and the place:
 * a line and column of what is not JSON, or a benchmark that is not as it should be.
 */
int results_load(struct results *results, const char *path);
void results_free(struct results *results);

/* For the loader: the configuration, and the result of a name in it, made if there is none. */
size_t results_config(struct results *results, const char *const values[CONFIG_COUNT]);
struct result *results_get(struct results *results, size_t config, const char *name);
void result_add(struct result *result, const char *counter, double value);

/* Values of a counter over the runs; false: the benchmark has none of that name. */
struct spread {
	double median;
	double low;
	double high;
};

bool result_spread(const struct result *result, const char *counter, struct spread *out);

/*
 * As result_spread(), of a time: `name` with any unit, in microseconds. "p99" finds p99_us and
 * p99_ns.
 */
bool result_time(const struct result *result, const char *name, struct spread *out);

/* The sections, in the order of first appearance; *count of them. Freed by sections_free(). */
struct section *sections_make(const struct results *results, size_t *count);
void sections_free(struct section *sections, size_t count);

/* A row's configuration as a place in section.configs. */
size_t section_series(const struct section *section, const struct result *row);

/* Sets differs[key] where the two are not the same, and leaves the others as they are. */
void config_differences(const struct config *a, const struct config *b, bool *differs);

/* malloc and its kin, which end the process when there is no memory. */
void *memory_grow(void *memory, size_t count, size_t bytes);
char *memory_text(const char *text);

#endif
