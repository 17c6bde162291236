/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON file of Google Benchmark. What is wrong with it is said with its place: files come from
 * runs that were broken off, from full disks and from hand.
 */
#include "results.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A run of all benchmarks makes less than a megabyte. */
#define FILE_BYTES_MAX ((size_t)64 << 20)

static int refuse(const char *path, const char *place, const char *what)
{
	fprintf(stderr, "bench_report: %s: %s%s%s\n", path, place, *place != '\0' ? ": " : "",
		what);
	return -1;
}

/* All of a file and a zero behind it; NULL: the reason is told. */
static char *read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;

	*bytes = 0;
	if (file == NULL) {
		refuse(path, "", strerror(errno));
		return NULL;
	}
	do {
		text = memory_grow(text, *bytes + 65537, 1);
		*bytes += fread(text + *bytes, 1, 65536, file);
	} while (!feof(file) && !ferror(file) && *bytes < FILE_BYTES_MAX);
	bool good = feof(file) && !ferror(file);

	text[*bytes] = '\0';
	fclose(file);
	if (good)
		return text;
	refuse(path, "", *bytes < FILE_BYTES_MAX ? "cannot be read" : "is too large");
	free(text);
	return NULL;
}

/* ---- not JSON ---- */

static int refuse_text(const char *path, const char *text, size_t bytes, const char *at)
{
	unsigned long line = 1;
	unsigned long column = 1;
	char place[64];
	char what[96];

	for (const char *c = text; c < at; c++) {
		column = *c == '\n' ? 1 : column + 1;
		line += *c == '\n';
	}
	snprintf(place, sizeof(place), "line %lu, column %lu", line, column);
	if (strspn(at, " \t\r\n") >= (size_t)(text + bytes - at))
		return refuse(path, place,
			      bytes == 0 ? "the file is empty"
					 : "the file ends in the middle of a value");
	snprintf(what, sizeof(what), "this is not JSON: \"%.*s\"", (int)strcspn(at, "\n") % 40, at);
	return refuse(path, place, what);
}

/* ---- not as it should be ---- */

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text == NULL ? "" : text;
}

static double number_of(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static void read_machine(struct results *results, const cJSON *context)
{
	if (results->has_machine)
		return;
	results->has_machine = true;
	results->machine = (struct machine){
		.kernel = memory_text(text_of(context, "kernel")),
		.date = memory_text(text_of(context, "date")),
		.processors = number_of(context, "num_cpus"),
		.mhz = number_of(context, "mhz_per_cpu"),
	};
}

static size_t read_config(struct results *results, const cJSON *context)
{
	const char *values[CONFIG_COUNT];

	for (int key = 0; key < CONFIG_COUNT; key++)
		values[key] = text_of(context, config_names[key]);
	if (strncmp(values[CONFIG_PROGRAM], "bench_", 6) == 0)
		values[CONFIG_PROGRAM] += 6;
	return results_config(results, values);
}

/* What the library itself writes for each benchmark. */
static bool is_counter(const cJSON *item)
{
	static const char *const others[] = { "family_index", "per_family_instance_index",
					      "repetitions",  "repetition_index",
					      "threads",      "iterations",
					      "real_time",    "cpu_time" };

	if (!cJSON_IsNumber(item))
		return false;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (strcmp(item->string, others[i]) == 0)
			return false;
	}
	return true;
}

/* "read/dirty_there/iterations:16/manual_time" -> "read/dirty_there" */
static char *short_name(const char *name)
{
	static const char *const endings[] = { "/iterations:", "/manual_time" };
	char *copy = memory_text(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		char *at = strstr(copy, endings[i]);

		if (at != NULL)
			*at = '\0';
	}
	return copy;
}

static int read_benchmark(struct results *results, size_t config, const cJSON *benchmark,
			  const char *path, const char *place)
{
	const char *name = text_of(benchmark, "name");
	const cJSON *item;

	if (!cJSON_IsObject(benchmark))
		return refuse(path, place, "is not an object");
	if (*name == '\0')
		return refuse(path, place, "has no name");
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(benchmark, "error_occurred"))) {
		fprintf(stderr, "bench_report: %s: %s (%s) has failed: %s\n", path, place, name,
			text_of(benchmark, "error_message"));
		return -1;
	}
	if (strcmp(text_of(benchmark, "run_type"), "aggregate") == 0)
		return 0;
	char *brief = short_name(name);
	struct result *result = results_get(results, config, brief);

	free(brief);
	cJSON_ArrayForEach(item, benchmark)
	{
		if (is_counter(item))
			result_add(result, item->string, item->valuedouble);
	}
	return 0;
}

static int read_benchmarks(struct results *results, const cJSON *root, const char *path)
{
	const cJSON *context = cJSON_GetObjectItemCaseSensitive(root, "context");
	const cJSON *benchmarks = cJSON_GetObjectItemCaseSensitive(root, "benchmarks");
	const cJSON *benchmark;
	unsigned int index = 0;

	if (!cJSON_IsObject(context))
		return refuse(path, "\"context\"", "is not there, or not an object");
	if (!cJSON_IsArray(benchmarks))
		return refuse(path, "\"benchmarks\"", "is not there, or not a list");
	if (*text_of(context, "program") == '\0')
		return refuse(path, "context.program", "is not there: not from a program of bench");
	read_machine(results, context);
	size_t config = read_config(results, context);

	cJSON_ArrayForEach(benchmark, benchmarks)
	{
		char place[32];

		snprintf(place, sizeof(place), "benchmarks[%u]", index++);
		if (read_benchmark(results, config, benchmark, path, place) != 0)
			return -1;
	}
	results->file_count++;
	return 0;
}

int results_load(struct results *results, const char *path)
{
	const char *end = NULL;
	size_t bytes;
	char *text = read_file(path, &bytes);
	int error;

	if (text == NULL)
		return -1;
	/* The zero behind it makes it an error when more follows. */
	cJSON *root = cJSON_ParseWithLengthOpts(text, bytes + 1, &end, true);

	if (root == NULL)
		error = refuse_text(path, text, bytes, end == NULL ? text : end);
	else
		error = read_benchmarks(results, root, path);
	cJSON_Delete(root);
	free(text);
	return error;
}
