/* SPDX-License-Identifier: Apache-2.0 */
#include "chart.h"

#include "table.h"

#include <math.h>
#include <string.h>

#define LABEL_WIDTH 380.0
#define PLOT_WIDTH 520.0
#define RIGHT_WIDTH 90.0
#define ROW_HEIGHT 20.0
#define TOP 8.0
#define AXIS_HEIGHT 26.0

const char *const chart_parts[CHART_PART_COUNT] = { "trap", "engine", "request",
						    "read", "map",    "wake" };

/* A scale from values to the plot's x. */
struct axis {
	double low;
	double high;
	bool logarithmic;
};

static double place(const struct axis *axis, double value)
{
	double share;

	if (axis->logarithmic)
		share = (log10(fmax(value, axis->low)) - log10(axis->low)) /
			(log10(axis->high) - log10(axis->low));
	else
		share = (value - axis->low) / (axis->high - axis->low);
	return LABEL_WIDTH + PLOT_WIDTH * fmin(fmax(share, 0), 1);
}

/* ---- what all charts have ---- */

static void draw_text(FILE *out, double x, double y, const char *class, const char *text)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
	html_text(out, text);
	fputs("</text>\n", out);
}

static void draw_line(FILE *out, double x1, double x2, double y1, double y2, const char *class)
{
	fprintf(out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1,
		x2, y1, y2, class);
}

static void draw_bar(FILE *out, double x1, double x2, double y, double height, unsigned int series)
{
	fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"s%u\"/>\n",
		x1, y, fmax(x2 - x1, 0.5), height, series % CHART_SERIES);
}

static void draw_tick(FILE *out, const struct axis *axis, double value, double bottom)
{
	char text[32];
	double x = place(axis, value);

	draw_line(out, x, x, TOP, bottom, "grid");
	draw_text(out, x, bottom + 16, "tick", number_text(value, text, sizeof(text)));
}

/* 1, 2 or 5 times a power of ten: at most eight of them up to `high`. */
static double step_for(double high)
{
	double step = pow(10, floor(log10(high / 8)));

	if (high / step > 40)
		return 10 * step;
	if (high / step > 16)
		return 5 * step;
	return high / step > 8 ? 2 * step : step;
}

static void open_chart(FILE *out, const struct axis *axis, size_t rows, const char *unit)
{
	double bottom = TOP + ROW_HEIGHT * (double)rows;

	fprintf(out, "<div class=\"wide\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
		LABEL_WIDTH + PLOT_WIDTH + RIGHT_WIDTH, bottom + AXIS_HEIGHT);
	if (axis->logarithmic) {
		int powers = (int)lround(log10(axis->high / axis->low));

		for (int i = 0; i <= powers; i++)
			draw_tick(out, axis, axis->low * pow(10, i), bottom);
	} else {
		double step = step_for(axis->high);

		for (int i = 0; step * i <= axis->high * 1.001; i++)
			draw_tick(out, axis, step * i, bottom);
	}
	draw_text(out, LABEL_WIDTH + PLOT_WIDTH + 32, bottom + 16, "unit", unit);
}

static void close_chart(FILE *out)
{
	fputs("</svg></div>\n", out);
}

/* Opens the row's group, with what a reader gets who points at it. */
static void open_row(FILE *out, const struct section *section, const struct result *row,
		     const char *tip, double y)
{
	char label[64];
	char name[160];

	row_label(section, row, label, sizeof(label));
	snprintf(name, sizeof(name), "%s%s%s", row->name, *label == '\0' ? "" : "  ", label);
	fputs("<g><title>", out);
	html_text(out, name);
	fputs(": ", out);
	html_text(out, tip);
	fputs("</title>\n", out);
	draw_text(out, LABEL_WIDTH - 8, y + ROW_HEIGHT * 0.72, "label", name);
}

static void close_row(FILE *out)
{
	fputs("</g>\n", out);
}

static double row_top(size_t row)
{
	return TOP + ROW_HEIGHT * (double)row;
}

/* ---- distributions ---- */

enum quantile { P10, P25, MEDIAN, P75, P90, P99, P999, QUANTILES };

static const char *const quantile_names[QUANTILES] = { "p10", "p25", "median", "p75",
						       "p90", "p99", "p999" };

/* False: the row has no distribution. NAN: it has too few times for that quantile. */
static bool read_quantiles(const struct result *row, double quantiles[QUANTILES])
{
	for (int q = 0; q < QUANTILES; q++) {
		struct spread value;

		quantiles[q] = NAN;
		if (result_time(row, quantile_names[q], &value))
			quantiles[q] = fmax(value.median, 1e-3); /* a clock may not see less */
		else if (q < P99)
			return false;
	}
	return true;
}

static void describe(const double *quantiles, char *text, size_t bytes)
{
	size_t used = 0;

	for (int q = 0; q < QUANTILES && used < bytes; q++) {
		if (!isnan(quantiles[q]))
			used += (size_t)snprintf(text + used, bytes - used, "%s %.3g us, ",
						 quantile_names[q], quantiles[q]);
	}
	text[strlen(text) - 2] = '\0';
}

static void draw_distribution(FILE *out, const struct section *section, const struct result *row,
			      const struct axis *axis, const double *quantiles, double y)
{
	double middle = y + ROW_HEIGHT / 2;
	unsigned int series = (unsigned int)section_series(section, row);
	char tip[256];

	describe(quantiles, tip, sizeof(tip));
	open_row(out, section, row, tip, y);
	draw_line(out, place(axis, quantiles[P10]), place(axis, quantiles[P90]), middle, middle,
		  "whisker");
	draw_bar(out, place(axis, quantiles[P25]), place(axis, quantiles[P75]), y + 4,
		 ROW_HEIGHT - 8, series);
	draw_line(out, place(axis, quantiles[MEDIAN]), place(axis, quantiles[MEDIAN]), y + 2,
		  y + ROW_HEIGHT - 2, "median");
	for (int q = P99; q <= P999; q++) {
		if (isnan(quantiles[q]))
			continue;
		fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" class=\"%s s%u\"/>\n",
			place(axis, quantiles[q]), middle, q == P99 ? "p99" : "p999",
			series % CHART_SERIES);
	}
	close_row(out);
}

/* Whole powers of ten around all that is drawn. Returns how many rows there are. */
static size_t distribution_axis(const struct section *section, struct axis *axis)
{
	double quantiles[QUANTILES];
	size_t rows = 0;

	*axis = (struct axis){ .low = INFINITY, .high = 0, .logarithmic = true };
	for (size_t i = 0; i < section->row_count; i++) {
		if (!read_quantiles(section->rows[i], quantiles))
			continue;
		axis->low = fmin(axis->low, quantiles[P10]);
		axis->high = fmax(axis->high, quantiles[P90]);
		axis->high = fmax(axis->high, quantiles[P99]); /* of NAN: the other */
		axis->high = fmax(axis->high, quantiles[P999]);
		rows++;
	}
	if (rows == 0)
		return 0;
	axis->low = pow(10, floor(log10(axis->low)));
	axis->high = pow(10, ceil(log10(axis->high)));
	if (axis->high <= axis->low)
		axis->high = 10 * axis->low;
	return rows;
}

bool chart_distributions(FILE *out, const struct section *section)
{
	double quantiles[QUANTILES];
	struct axis axis;
	size_t rows = distribution_axis(section, &axis);
	size_t drawn = 0;

	if (rows == 0)
		return false;
	open_chart(out, &axis, rows, "us");
	for (size_t i = 0; i < section->row_count; i++) {
		if (read_quantiles(section->rows[i], quantiles))
			draw_distribution(out, section, section->rows[i], &axis, quantiles,
					  row_top(drawn++));
	}
	close_chart(out);
	return true;
}

/* ---- the parts of a fault ---- */

/* Returns their sum; 0: the row has none. */
static double read_parts(const struct result *row, double parts[CHART_PART_COUNT])
{
	double sum = 0;

	for (size_t p = 0; p < CHART_PART_COUNT; p++) {
		struct spread value = { 0 };
		char name[32];

		snprintf(name, sizeof(name), "part_%s_us", chart_parts[p]);
		result_spread(row, name, &value);
		parts[p] = fmax(value.median, 0);
		sum += parts[p];
	}
	return sum;
}

static void draw_parts(FILE *out, const struct section *section, const struct result *row,
		       const struct axis *axis, const double *parts, double y)
{
	double sum = 0;
	char tip[256];
	char text[32];
	size_t used = 0;

	for (size_t p = 0; p < CHART_PART_COUNT; p++)
		used += (size_t)snprintf(tip + used, sizeof(tip) - used, "%s %.3g, ",
					 chart_parts[p], parts[p]);
	snprintf(tip + used, sizeof(tip) - used, "in us");
	open_row(out, section, row, tip, y);
	for (size_t p = 0; p < CHART_PART_COUNT; p++) {
		if (parts[p] > 0)
			draw_bar(out, place(axis, sum), place(axis, sum + parts[p]), y + 3,
				 ROW_HEIGHT - 6, (unsigned int)p);
		sum += parts[p];
	}
	draw_text(out, place(axis, sum) + 5, y + ROW_HEIGHT * 0.72, "value",
		  number_text(sum, text, sizeof(text)));
	close_row(out);
}

bool chart_parts_of_faults(FILE *out, const struct section *section)
{
	double parts[CHART_PART_COUNT];
	struct axis axis = { 0 };
	size_t rows = 0;
	size_t drawn = 0;

	for (size_t i = 0; i < section->row_count; i++) {
		double sum = read_parts(section->rows[i], parts);

		axis.high = fmax(axis.high, sum);
		rows += sum > 0;
	}
	if (rows == 0)
		return false;
	open_chart(out, &axis, rows, "us");
	for (size_t i = 0; i < section->row_count; i++) {
		if (read_parts(section->rows[i], parts) > 0)
			draw_parts(out, section, section->rows[i], &axis, parts, row_top(drawn++));
	}
	close_chart(out);
	return true;
}

/* ---- in floors ---- */

static void draw_floors(FILE *out, const struct section *section, const struct result *row,
			const struct axis *axis, double floors, double y)
{
	char text[32];
	char tip[64];

	number_text(floors, text, sizeof(text));
	snprintf(tip, sizeof(tip), "%s floors", text);
	open_row(out, section, row, tip, y);
	draw_bar(out, place(axis, axis->low), place(axis, floors), y + 3, ROW_HEIGHT - 6,
		 (unsigned int)section_series(section, row));
	draw_text(out, place(axis, floors) + 5, y + ROW_HEIGHT * 0.72, "value", text);
	close_row(out);
}

bool chart_floors(FILE *out, const struct section *section)
{
	struct axis axis = { .low = 0, .high = 1 };
	struct spread floors;
	size_t rows = 0;
	size_t drawn = 0;

	for (size_t i = 0; i < section->row_count; i++) {
		if (!result_spread(section->rows[i], "floors", &floors))
			continue;
		axis.high = fmax(axis.high, floors.median);
		rows++;
	}
	if (rows == 0)
		return false;
	open_chart(out, &axis, rows, "floors");
	for (size_t i = 0; i < section->row_count; i++) {
		if (result_spread(section->rows[i], "floors", &floors))
			draw_floors(out, section, section->rows[i], &axis, floors.median,
				    row_top(drawn++));
	}
	draw_line(out, place(&axis, 1), place(&axis, 1), TOP, row_top(rows), "one");
	close_chart(out);
	return true;
}
