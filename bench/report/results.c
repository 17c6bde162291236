/* SPDX-License-Identifier: Apache-2.0 */
#include "results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const config_names[CONFIG_COUNT] = {
	[CONFIG_PROGRAM] = "program",	[CONFIG_NODES] = "nodes",     [CONFIG_FABRIC] = "fabric",
	[CONFIG_DELIVERY] = "delivery", [CONFIG_MANAGER] = "manager", [CONFIG_HOLD] = "hold",
	[CONFIG_SPIN] = "spin",
};

void *memory_grow(void *memory, size_t count, size_t bytes)
{
	void *grown = reallocarray(memory, count, bytes);

	if (grown == NULL && count > 0) {
		fprintf(stderr, "bench_report: no memory\n");
		exit(1);
	}
	return grown;
}

char *memory_text(const char *text)
{
	size_t bytes = strlen(text) + 1;

	return memcpy(memory_grow(NULL, bytes, 1), text, bytes);
}

/* ---- collecting ---- */

static bool same_config(const struct config *a, const char *const values[CONFIG_COUNT])
{
	for (int key = 0; key < CONFIG_COUNT; key++) {
		if (strcmp(a->values[key], values[key]) != 0)
			return false;
	}
	return true;
}

size_t results_config(struct results *results, const char *const values[CONFIG_COUNT])
{
	for (size_t i = 0; i < results->config_count; i++) {
		if (same_config(&results->configs[i], values))
			return i;
	}
	results->configs =
		memory_grow(results->configs, results->config_count + 1, sizeof(*results->configs));
	for (int key = 0; key < CONFIG_COUNT; key++)
		results->configs[results->config_count].values[key] = memory_text(values[key]);
	return results->config_count++;
}

struct result *results_get(struct results *results, size_t config, const char *name)
{
	for (size_t i = 0; i < results->count; i++) {
		struct result *result = &results->list[i];

		if (result->config == config && strcmp(result->name, name) == 0)
			return result;
	}
	results->list = memory_grow(results->list, results->count + 1, sizeof(*results->list));
	results->list[results->count] =
		(struct result){ .name = memory_text(name), .config = config };
	return &results->list[results->count++];
}

static struct counter *find_counter(const struct result *result, const char *name)
{
	for (size_t i = 0; i < result->counter_count; i++) {
		if (strcmp(result->counters[i].name, name) == 0)
			return &result->counters[i];
	}
	return NULL;
}

void result_add(struct result *result, const char *name, double value)
{
	struct counter *counter = find_counter(result, name);

	if (counter == NULL) {
		result->counters = memory_grow(result->counters, result->counter_count + 1,
					       sizeof(*result->counters));
		counter = &result->counters[result->counter_count++];
		*counter = (struct counter){ .name = memory_text(name) };
	}
	counter->values =
		memory_grow(counter->values, counter->count + 1, sizeof(*counter->values));
	counter->values[counter->count++] = value;
}

void results_free(struct results *results)
{
	for (size_t i = 0; i < results->config_count; i++) {
		for (int key = 0; key < CONFIG_COUNT; key++)
			free(results->configs[i].values[key]);
	}
	for (size_t i = 0; i < results->count; i++) {
		struct result *result = &results->list[i];

		for (size_t k = 0; k < result->counter_count; k++) {
			free(result->counters[k].name);
			free(result->counters[k].values);
		}
		free(result->counters);
		free(result->name);
	}
	free(results->configs);
	free(results->list);
	free(results->machine.kernel);
	free(results->machine.date);
}

/* ---- values ---- */

static int compare(const void *a, const void *b)
{
	double first = *(const double *)a;
	double second = *(const double *)b;

	return first < second ? -1 : first > second;
}

bool result_spread(const struct result *result, const char *name, struct spread *out)
{
	struct counter *counter = find_counter(result, name);

	if (counter == NULL)
		return false;
	qsort(counter->values, counter->count, sizeof(*counter->values), compare);
	*out = (struct spread){
		.median = counter->values[(counter->count - 1) / 2],
		.low = counter->values[0],
		.high = counter->values[counter->count - 1],
	};
	return true;
}

bool result_time(const struct result *result, const char *name, struct spread *out)
{
	static const struct {
		const char *suffix;
		double microseconds;
	} units[] = { { "us", 1 }, { "ns", 1e-3 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		char full[64];

		snprintf(full, sizeof(full), "%s_%s", name, units[i].suffix);
		if (!result_spread(result, full, out))
			continue;
		out->median *= units[i].microseconds;
		out->low *= units[i].microseconds;
		out->high *= units[i].microseconds;
		return true;
	}
	return false;
}

/* ---- sections ---- */

static const struct config *config_of(const struct results *results, const struct result *result)
{
	return &results->configs[result->config];
}

static struct section *section_for(struct section **sections, size_t *count,
				   const struct config *config)
{
	for (size_t i = 0; i < *count; i++) {
		struct section *section = &(*sections)[i];

		if (strcmp(section->program, config->values[CONFIG_PROGRAM]) == 0 &&
		    strcmp(section->nodes, config->values[CONFIG_NODES]) == 0)
			return section;
	}
	*sections = memory_grow(*sections, *count + 1, sizeof(**sections));
	(*sections)[*count] = (struct section){
		.program = config->values[CONFIG_PROGRAM],
		.nodes = config->values[CONFIG_NODES],
	};
	return &(*sections)[(*count)++];
}

/* Rows of one name stand together, whatever file they came from. */
static void insert_row(struct section *section, const struct result *result)
{
	size_t at = section->row_count;

	section->rows = memory_grow(section->rows, section->row_count + 1, sizeof(*section->rows));
	for (size_t i = 0; i < section->row_count; i++) {
		if (strcmp(section->rows[i]->name, result->name) == 0)
			at = i + 1;
	}
	memmove(&section->rows[at + 1], &section->rows[at],
		(section->row_count - at) * sizeof(*section->rows));
	section->rows[at] = result;
	section->row_count++;
}

size_t section_series(const struct section *section, const struct result *row)
{
	size_t series = 0;

	while (series < section->config_count && section->configs[series] != row->config)
		series++;
	return series;
}

static void note_config(struct section *section, const struct result *row)
{
	if (section_series(section, row) < section->config_count)
		return;
	section->configs =
		memory_grow(section->configs, section->config_count + 1, sizeof(*section->configs));
	section->configs[section->config_count++] = row->config;
}

void config_differences(const struct config *a, const struct config *b, bool *differs)
{
	for (int key = 0; key < CONFIG_COUNT; key++)
		differs[key] |= strcmp(a->values[key], b->values[key]) != 0;
}

static void find_differences(struct section *section)
{
	const struct config *first = config_of(section->results, section->rows[0]);

	for (size_t i = 1; i < section->row_count; i++) {
		const struct config *other = config_of(section->results, section->rows[i]);

		for (int key = 0; key < CONFIG_COUNT; key++)
			section->differs[key] |=
				strcmp(first->values[key], other->values[key]) != 0;
	}
}

struct section *sections_make(const struct results *results, size_t *count)
{
	struct section *sections = NULL;

	*count = 0;
	for (size_t i = 0; i < results->count; i++) {
		const struct result *result = &results->list[i];
		struct section *section = section_for(&sections, count, config_of(results, result));

		section->results = results;
		insert_row(section, result);
		note_config(section, result);
	}
	for (size_t i = 0; i < *count; i++)
		find_differences(&sections[i]);
	return sections;
}

void sections_free(struct section *sections, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(sections[i].rows);
		free(sections[i].configs);
	}
	free(sections);
}
