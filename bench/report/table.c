/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <string.h>

/* A column of numbers. Of times, `counter` is the name without its unit. */
struct column {
	const char *title;
	const char *counter;
	bool time;
};

static const struct column columns[] = {
	{ "median", "median", true },
	{ "p99", "p99", true },
	{ "p99.9", "p999", true },
	{ "median", "median", false },
	{ "p10", "p10", false },
	{ "p90", "p90", false },
	{ "floors", "floors", false },
	{ "messages", "messages", false },
	{ "round trips", "round_trips", false },
	{ "remote events", "remote_events", false },
	{ "work requests", "work_requests", false },
	{ "completions", "completions", false },
	{ "a second", "per_s", false },
	{ "GiB/s", "gib_per_s", false },
	{ "trap, us", "part_trap_us", false },
	{ "engine, us", "part_engine_us", false },
	{ "request, us", "part_request_us", false },
	{ "read, us", "part_read_us", false },
	{ "map, us", "part_map_us", false },
	{ "wake, us", "part_wake_us", false },
};

#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

/* Counters that a table has no column for: the charts have them, or they are of no use in one. */
static const char *const hidden[] = {
	"count",     "min_us", "p10_us", "p25_us",  "p75_us",  "p90_us", "max_us",
	"min_ns",    "p10_ns", "p25_ns", "p75_ns",  "p90_ns",  "max_ns", "median_us",
	"median_ns", "p99_us", "p99_ns", "p999_us", "p999_ns",
};

/* What a program has beside the columns that all have. */
#define OTHERS_MAX 12u

struct shape {
	bool shown[COLUMN_COUNT];
	const char *others[OTHERS_MAX]; /* counters, by their own names */
	size_t other_count;
	bool differs[CONFIG_COUNT]; /* the rows' configurations do, in this */
	double time_scale;	    /* microseconds to what the table shows */
	const char *time_unit;
};

/* How one kind of table is written. */
struct writer {
	const char *begin;
	const char *rule_cell; /* NULL: no rule below the heading */
	const char *end;
	const char *row_begin;
	const char *row_end;
	const char *cell_begin;
	const char *cell_end;
	void (*text)(FILE *out, const char *text);
};

static void markdown_text(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (strchr("|\\<", *text) != NULL)
			fputc('\\', out);
		fputc(*text, out);
	}
}

void html_text(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '>')
			fputs("&gt;", out);
		else if (*text == '&')
			fputs("&amp;", out);
		else if (*text == '"')
			fputs("&quot;", out);
		else
			fputc(*text, out);
	}
}

static const struct writer markdown = {
	.begin = "",
	.rule_cell = " --- |",
	.end = "",
	.row_begin = "|",
	.row_end = "\n",
	.cell_begin = " ",
	.cell_end = " |",
	.text = markdown_text,
};

static const struct writer html = {
	.begin = "<div class=\"wide\"><table>\n",
	.end = "</table></div>\n",
	.row_begin = "<tr>",
	.row_end = "</tr>\n",
	.cell_begin = "<td>",
	.cell_end = "</td>",
	.text = html_text,
};

const char *number_text(double value, char *text, size_t bytes)
{
	double size = value < 0 ? -value : value;

	if (size >= 99.95 || size == 0)
		snprintf(text, bytes, "%.0f", value);
	else
		snprintf(text, bytes, "%.3g", value);
	return text;
}

/* ---- what is shown ---- */

static bool begins(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);

	if (length > 0 && prefix[length - 1] == '$')
		return strlen(name) == length - 1 && strncmp(name, prefix, length - 1) == 0;
	return strncmp(name, prefix, length) == 0;
}

bool choice_takes(const struct choice *choice, const struct section *section,
		  const struct result *row)
{
	const struct config *config = &section->results->configs[row->config];
	bool named = choice->prefix_count == 0;

	for (size_t i = 0; i < choice->prefix_count; i++)
		named |= begins(row->name, choice->prefixes[i]);
	for (int key = 0; key < CONFIG_COUNT; key++) {
		if (choice->wants[key] != NULL &&
		    strcmp(choice->wants[key], config->values[key]) != 0)
			return false;
	}
	return named;
}

static bool value_of(const struct result *row, const struct column *column, struct spread *out)
{
	return column->time ? result_time(row, column->counter, out)
			    : result_spread(row, column->counter, out);
}

static bool is_known(const struct shape *shape, const char *counter)
{
	for (size_t c = 0; c < COLUMN_COUNT; c++) {
		if (!columns[c].time && strcmp(columns[c].counter, counter) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		if (strcmp(hidden[i], counter) == 0)
			return true;
	}
	for (size_t i = 0; i < shape->other_count; i++) {
		if (strcmp(shape->others[i], counter) == 0)
			return true;
	}
	return false;
}

static void find_others(struct shape *shape, const struct result *row)
{
	for (size_t i = 0; i < row->counter_count && shape->other_count < OTHERS_MAX; i++) {
		if (!is_known(shape, row->counters[i].name))
			shape->others[shape->other_count++] = row->counters[i].name;
	}
}

/* A column is shown if a row has it; times are in ns if all of them are short. */
static struct shape shape_of(const struct section *section, const struct choice *choice)
{
	struct shape shape = { .time_scale = 1e3, .time_unit = "ns" };
	const struct config *configs = section->results->configs;
	const struct result *first = NULL;
	struct spread value;

	for (size_t i = 0; i < section->row_count; i++) {
		const struct result *row = section->rows[i];

		if (!choice_takes(choice, section, row))
			continue;
		first = first == NULL ? row : first;
		config_differences(&configs[first->config], &configs[row->config], shape.differs);
		for (size_t c = 0; c < COLUMN_COUNT; c++)
			shape.shown[c] |= value_of(row, &columns[c], &value);
		find_others(&shape, row);
		if (result_spread(row, "median_us", &value)) {
			shape.time_scale = 1;
			shape.time_unit = "us";
		}
	}
	return shape;
}

/* ---- writing ---- */

static void write_cell(FILE *out, const struct writer *writer, const char *text)
{
	fputs(writer->cell_begin, out);
	writer->text(out, text);
	fputs(writer->cell_end, out);
}

static void write_heading(FILE *out, const struct writer *writer, const struct shape *shape)
{
	size_t cells = 1;
	char title[64];

	fputs(writer->row_begin, out);
	write_cell(out, writer, "");
	for (int key = CONFIG_FABRIC; key < CONFIG_COUNT; key++) {
		if (shape->differs[key])
			write_cell(out, writer, config_names[key]);
		cells += shape->differs[key];
	}
	for (size_t c = 0; c < COLUMN_COUNT; c++) {
		if (!shape->shown[c])
			continue;
		snprintf(title, sizeof(title), "%s%s%s", columns[c].title,
			 columns[c].time ? ", " : "", columns[c].time ? shape->time_unit : "");
		write_cell(out, writer, title);
		cells++;
	}
	for (size_t i = 0; i < shape->other_count; i++, cells++)
		write_cell(out, writer, shape->others[i]);
	fputs(writer->row_end, out);
	if (writer->rule_cell == NULL)
		return;
	fputs(writer->row_begin, out);
	while (cells-- > 0)
		fputs(writer->rule_cell, out);
	fputs(writer->row_end, out);
}

static void write_value(FILE *out, const struct writer *writer, const struct result *row,
			const struct column *column, double scale)
{
	struct spread value;
	char text[128] = "";
	char middle[32];
	char low[32];
	char high[32];

	if (value_of(row, column, &value)) {
		if (!column->time)
			scale = 1;
		number_text(value.median * scale, middle, sizeof(middle));
		number_text(value.low * scale, low, sizeof(low));
		number_text(value.high * scale, high, sizeof(high));
		if (strcmp(low, high) == 0)
			snprintf(text, sizeof(text), "%s", middle);
		else
			snprintf(text, sizeof(text), "%s (%s-%s)", middle, low, high);
	}
	write_cell(out, writer, text);
}

static void write_row(FILE *out, const struct writer *writer, const struct section *section,
		      const struct result *row, const struct shape *shape)
{
	const struct config *config = &section->results->configs[row->config];

	fputs(writer->row_begin, out);
	write_cell(out, writer, row->name);
	for (int key = CONFIG_FABRIC; key < CONFIG_COUNT; key++) {
		if (shape->differs[key])
			write_cell(out, writer, config->values[key]);
	}
	for (size_t c = 0; c < COLUMN_COUNT; c++) {
		if (shape->shown[c])
			write_value(out, writer, row, &columns[c], shape->time_scale);
	}
	for (size_t i = 0; i < shape->other_count; i++) {
		const struct column column = { .counter = shape->others[i] };

		write_value(out, writer, row, &column, 1);
	}
	fputs(writer->row_end, out);
}

static size_t write_table(FILE *out, const struct writer *writer, const struct section *section,
			  const struct choice *choice)
{
	struct shape shape = shape_of(section, choice);
	size_t rows = 0;

	fputs(writer->begin, out);
	for (size_t i = 0; i < section->row_count; i++) {
		if (!choice_takes(choice, section, section->rows[i]))
			continue;
		if (rows++ == 0)
			write_heading(out, writer, &shape);
		write_row(out, writer, section, section->rows[i], &shape);
	}
	fputs(writer->end, out);
	return rows;
}

size_t table_markdown(FILE *out, const struct section *section, const struct choice *choice)
{
	return write_table(out, &markdown, section, choice);
}

size_t table_html(FILE *out, const struct section *section, const struct choice *choice)
{
	return write_table(out, &html, section, choice);
}

const char *row_label(const struct section *section, const struct result *row, char *text,
		      size_t bytes)
{
	const struct config *config = &section->results->configs[row->config];
	size_t used = 0;

	text[0] = '\0';
	for (int key = CONFIG_FABRIC; key < CONFIG_COUNT; key++) {
		if (section->differs[key] && used < bytes)
			used += (size_t)snprintf(text + used, bytes - used, "%s%s",
						 used == 0 ? "" : " ", config->values[key]);
	}
	return text;
}
