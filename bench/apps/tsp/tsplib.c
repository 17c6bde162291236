/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TSPLIB parser. A file is lines of "KEYWORD : value", then sections: a keyword alone and
 * numbers, which may be broken into lines in any way. What is not known is refused, never skipped:
 * an instance that is read half is another instance.
 */
#include "tsplib.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (4u << 20)
#define WORD_MAX 64u

enum weight_type {
	WEIGHTS_UNKNOWN = 0,
	WEIGHTS_EUC_2D,
	WEIGHTS_EXPLICIT,
};

enum weight_format {
	FORMAT_UNKNOWN = 0,
	FORMAT_FULL_MATRIX,
	FORMAT_UPPER_ROW,
	FORMAT_UPPER_DIAG_ROW,
	FORMAT_LOWER_DIAG_ROW,
};

/* The text that is left, and what is known so far. */
struct parser {
	const char *at;
	const char *end;
	struct app_error *error;
	struct tsp_instance *out;
	enum weight_type type;
	enum weight_format format;
	bool has_coordinates;
	bool has_weights;
	double x[TSP_CITIES_MAX];
	double y[TSP_CITIES_MAX];
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_space(struct parser *parser)
{
	while (parser->at < parser->end && (is_blank(*parser->at) || *parser->at == '\n'))
		parser->at++;
}

/* The keyword: up to a blank or a colon. Returns false at the end of the text. */
static bool take_keyword(struct parser *parser, char word[WORD_MAX])
{
	size_t length = 0;

	skip_space(parser);
	if (parser->at == parser->end)
		return false;
	while (parser->at < parser->end && !is_blank(*parser->at) && *parser->at != '\n' &&
	       *parser->at != ':') {
		if (length < WORD_MAX - 1)
			word[length++] = *parser->at;
		parser->at++;
	}
	word[length] = '\0';
	return true;
}

/* Some writers put a colon after a section's name. */
static void skip_colon(struct parser *parser)
{
	const char *at = parser->at;

	while (at < parser->end && is_blank(*at))
		at++;
	if (at < parser->end && *at == ':')
		parser->at = at + 1;
}

/* What follows on the line, without the colon and blanks around; cut to WORD_MAX - 1. */
static void take_value(struct parser *parser, char value[WORD_MAX])
{
	size_t length = 0;

	while (parser->at < parser->end && (is_blank(*parser->at) || *parser->at == ':'))
		parser->at++;
	for (; parser->at < parser->end && *parser->at != '\n'; parser->at++) {
		if (length < WORD_MAX - 1)
			value[length++] = *parser->at;
	}
	while (length > 0 && is_blank(value[length - 1]))
		length--;
	value[length] = '\0';
}

/* One number of a section. The text ends in a NUL, so that strtod() stops. */
static int take_number(struct parser *parser, const char *section, double *out)
{
	char *end = NULL;

	skip_space(parser);
	if (parser->at == parser->end)
		return app_error_set(parser->error, "%s ends before all its numbers", section);
	double value = strtod(parser->at, &end);
	if (end == parser->at || !isfinite(value) ||
	    (end < parser->end && !is_blank(*end) && *end != '\n'))
		return app_error_set(parser->error, "%s: '%.20s' where a number is missing",
				     section, parser->at);
	parser->at = end;
	*out = value;
	return 0;
}

static int need_dimension(struct parser *parser, const char *section)
{
	if (parser->out->city_count != 0)
		return 0;
	return app_error_set(parser->error, "%s comes before DIMENSION", section);
}

/* ---- the specification part ---------------------------------------------------------------- */

static int parse_dimension(struct parser *parser, const char *value)
{
	uint64_t count = 0;

	if (parser->out->city_count != 0)
		return app_error_set(parser->error, "DIMENSION comes twice");
	if (!app_parse_u64(value, 0, UINT64_MAX, &count))
		return app_error_set(parser->error, "DIMENSION '%s' is no number", value);
	if (count < TSP_CITIES_MIN || count > TSP_CITIES_MAX)
		return app_error_set(parser->error, "DIMENSION %llu is not within %u and %u",
				     (unsigned long long)count, TSP_CITIES_MIN, TSP_CITIES_MAX);
	parser->out->city_count = (size_t)count;
	return 0;
}

static int parse_weight_type(struct parser *parser, const char *value)
{
	if (strcmp(value, "EUC_2D") == 0)
		parser->type = WEIGHTS_EUC_2D;
	else if (strcmp(value, "EXPLICIT") == 0)
		parser->type = WEIGHTS_EXPLICIT;
	else
		return app_error_set(parser->error, "EDGE_WEIGHT_TYPE %s is not EUC_2D or EXPLICIT",
				     value);
	return 0;
}

static int parse_weight_format(struct parser *parser, const char *value)
{
	static const struct {
		const char *name;
		enum weight_format format;
	} formats[] = {
		{ "FULL_MATRIX", FORMAT_FULL_MATRIX },
		{ "UPPER_ROW", FORMAT_UPPER_ROW },
		{ "UPPER_DIAG_ROW", FORMAT_UPPER_DIAG_ROW },
		{ "LOWER_DIAG_ROW", FORMAT_LOWER_DIAG_ROW },
	};

	/* Files with coordinates say FUNCTION. */
	if (strcmp(value, "FUNCTION") == 0)
		return 0;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(value, formats[i].name) == 0) {
			parser->format = formats[i].format;
			return 0;
		}
	}
	return app_error_set(parser->error,
			     "EDGE_WEIGHT_FORMAT %s is not FULL_MATRIX, UPPER_ROW, UPPER_DIAG_ROW "
			     "or LOWER_DIAG_ROW",
			     value);
}

static int parse_entry(struct parser *parser, const char *key)
{
	char value[WORD_MAX];

	take_value(parser, value);
	if (strcmp(key, "NAME") == 0) {
		memcpy(parser->out->name, value, sizeof(value));
		return 0;
	}
	if (strcmp(key, "COMMENT") == 0 || strcmp(key, "DISPLAY_DATA_TYPE") == 0)
		return 0;
	if (strcmp(key, "NODE_COORD_TYPE") == 0 && strcmp(value, "THREED_COORDS") != 0)
		return 0;
	if (strcmp(key, "TYPE") == 0)
		return strncmp(value, "TSP", 3) == 0 && (value[3] == '\0' || value[3] == ' ')
			       ? 0
			       : app_error_set(parser->error, "TYPE %s is not TSP", value);
	if (strcmp(key, "DIMENSION") == 0)
		return parse_dimension(parser, value);
	if (strcmp(key, "EDGE_WEIGHT_TYPE") == 0)
		return parse_weight_type(parser, value);
	if (strcmp(key, "EDGE_WEIGHT_FORMAT") == 0)
		return parse_weight_format(parser, value);
	return app_error_set(parser->error, "'%s' is no keyword or section that is known", key);
}

/* ---- sections ------------------------------------------------------------------------------ */

static int parse_coordinates(struct parser *parser)
{
	static const char section[] = "NODE_COORD_SECTION";
	uint64_t seen = 0;
	int status = need_dimension(parser, section);

	if (status == 0 && parser->has_coordinates)
		status = app_error_set(parser->error, "%s comes twice", section);
	for (size_t i = 0; status == 0 && i < parser->out->city_count; i++) {
		double id = 0;
		double x = 0;
		double y = 0;

		status = take_number(parser, section, &id);
		if (status == 0 &&
		    (id != floor(id) || id < 1 || id > (double)parser->out->city_count ||
		     (seen >> ((unsigned int)id - 1) & 1) != 0))
			status = app_error_set(parser->error, "%s: city %g is none, or comes twice",
					       section, id);
		if (status == 0)
			status = take_number(parser, section, &x);
		if (status == 0)
			status = take_number(parser, section, &y);
		if (status != 0)
			break;
		seen |= UINT64_C(1) << ((unsigned int)id - 1);
		parser->x[(size_t)id - 1] = x;
		parser->y[(size_t)id - 1] = y;
	}
	parser->has_coordinates = true;
	return status;
}

static int take_weight(struct parser *parser, int32_t *out)
{
	double value = 0;
	int status = take_number(parser, "EDGE_WEIGHT_SECTION", &value);

	if (status != 0)
		return status;
	if (value != floor(value) || value < 0 || value > TSP_WEIGHT_MAX)
		return app_error_set(parser->error, "weight %g is no whole number from 0 to %d",
				     value, TSP_WEIGHT_MAX);
	*out = (int32_t)value;
	return 0;
}

/* The columns that row i has in this format: [*first, *last). */
static void format_columns(enum weight_format format, size_t i, size_t count, size_t *first,
			   size_t *last)
{
	*first = 0;
	*last = count;
	switch (format) {
	case FORMAT_UNKNOWN:
	case FORMAT_FULL_MATRIX:
		break;
	case FORMAT_UPPER_ROW:
		*first = i + 1;
		break;
	case FORMAT_UPPER_DIAG_ROW:
		*first = i;
		break;
	case FORMAT_LOWER_DIAG_ROW:
		*last = i + 1;
		break;
	}
}

static int parse_weights(struct parser *parser)
{
	struct tsp_instance *out = parser->out;
	int status = need_dimension(parser, "EDGE_WEIGHT_SECTION");

	if (status == 0 && parser->has_weights)
		status = app_error_set(parser->error, "EDGE_WEIGHT_SECTION comes twice");
	if (status == 0 && parser->format == FORMAT_UNKNOWN)
		status = app_error_set(parser->error,
				       "EDGE_WEIGHT_SECTION comes before EDGE_WEIGHT_FORMAT");
	for (size_t i = 0; status == 0 && i < out->city_count; i++) {
		size_t first = 0;
		size_t last = 0;

		format_columns(parser->format, i, out->city_count, &first, &last);
		for (size_t j = first; status == 0 && j < last; j++)
			status = take_weight(parser, &out->weight[i][j]);
	}
	parser->has_weights = true;
	return status;
}

/* Points to draw the cities at, which are of no use here, but must be there. */
static int skip_display(struct parser *parser)
{
	int status = need_dimension(parser, "DISPLAY_DATA_SECTION");
	double ignored = 0;

	for (size_t i = 0; status == 0 && i < 3 * parser->out->city_count; i++)
		status = take_number(parser, "DISPLAY_DATA_SECTION", &ignored);
	return status;
}

static int parse_part(struct parser *parser, const char *key, bool *end)
{
	if (strcmp(key, "EOF") == 0) {
		*end = true;
		return 0;
	}
	if (strstr(key, "_SECTION") != NULL)
		skip_colon(parser);
	if (strcmp(key, "NODE_COORD_SECTION") == 0)
		return parse_coordinates(parser);
	if (strcmp(key, "EDGE_WEIGHT_SECTION") == 0)
		return parse_weights(parser);
	if (strcmp(key, "DISPLAY_DATA_SECTION") == 0)
		return skip_display(parser);
	if (strstr(key, "_SECTION") != NULL)
		return app_error_set(parser->error, "section %s is not known", key);
	return parse_entry(parser, key);
}

/* ---- the whole ----------------------------------------------------------------------------- */

int32_t tsplib_euclid(double x1, double y1, double x2, double y2)
{
	double distance = floor(hypot(x1 - x2, y1 - y2) + 0.5);

	return distance <= TSP_WEIGHT_MAX ? (int32_t)distance : -1;
}

static int weights_of_points(struct parser *parser)
{
	struct tsp_instance *out = parser->out;

	for (size_t i = 0; i < out->city_count; i++) {
		for (size_t j = 0; j < out->city_count; j++) {
			out->weight[i][j] = tsplib_euclid(parser->x[i], parser->y[i], parser->x[j],
							  parser->y[j]);
			if (out->weight[i][j] < 0)
				return app_error_set(parser->error,
						     "cities %zu and %zu are more than %d apart",
						     i + 1, j + 1, TSP_WEIGHT_MAX);
		}
	}
	return 0;
}

/* Fills the half that a triangular format leaves out, or compares the halves of a full one. */
static int mirror_weights(struct parser *parser)
{
	struct tsp_instance *out = parser->out;

	for (size_t i = 0; i < out->city_count; i++) {
		out->weight[i][i] = 0;
		for (size_t j = i + 1; j < out->city_count; j++) {
			int32_t *upper = &out->weight[i][j];
			int32_t *lower = &out->weight[j][i];

			if (parser->format == FORMAT_LOWER_DIAG_ROW)
				*upper = *lower;
			else if (parser->format != FORMAT_FULL_MATRIX)
				*lower = *upper;
			else if (*upper != *lower)
				return app_error_set(parser->error,
						     "not symmetric: %d from city %zu to %zu, %d "
						     "back",
						     *upper, i + 1, j + 1, *lower);
		}
	}
	return 0;
}

static int finish(struct parser *parser)
{
	if (parser->out->city_count == 0)
		return app_error_set(parser->error, "no DIMENSION");
	if (parser->type == WEIGHTS_UNKNOWN)
		return app_error_set(parser->error, "no EDGE_WEIGHT_TYPE");
	if (parser->type == WEIGHTS_EUC_2D && !parser->has_coordinates)
		return app_error_set(parser->error, "EUC_2D, but no NODE_COORD_SECTION");
	if (parser->type == WEIGHTS_EXPLICIT && !parser->has_weights)
		return app_error_set(parser->error, "EXPLICIT, but no EDGE_WEIGHT_SECTION");
	return parser->type == WEIGHTS_EUC_2D ? weights_of_points(parser) : mirror_weights(parser);
}

static int parse_text(const char *text, size_t bytes, struct tsp_instance *out,
		      struct app_error *error)
{
	struct parser parser = { .at = text, .end = text + bytes, .error = error, .out = out };
	char key[WORD_MAX];
	bool end = false;
	int status = 0;

	while (status == 0 && !end && take_keyword(&parser, key))
		status = parse_part(&parser, key, &end);
	return status == 0 ? finish(&parser) : status;
}

int tsplib_parse(const char *text, size_t bytes, struct tsp_instance *out, struct app_error *error)
{
	*out = (struct tsp_instance){ .city_count = 0 };
	if (bytes == 0)
		return app_error_set(error, "empty file");
	if (memchr(text, '\0', bytes) != NULL)
		return app_error_set(error, "not a text file");
	char *copy = malloc(bytes + 1);
	if (copy == NULL)
		return app_error_set(error, "no memory to read it");
	memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	int status = parse_text(copy, bytes, out, error);
	free(copy);
	return status;
}

/* The file's text, at most FILE_BYTES_MAX; to be freed. NULL: said in `error`. */
static char *read_text(const char *path, size_t *bytes, struct app_error *error)
{
	struct stat info;
	char *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		(void)app_error_set(error, "%s", strerror(errno));
		return NULL;
	}
	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
		(void)app_error_set(error, "not a regular file");
	else if (info.st_size > (off_t)FILE_BYTES_MAX)
		(void)app_error_set(error, "more than %u bytes", FILE_BYTES_MAX);
	else
		text = malloc((size_t)info.st_size + 1);
	if (text != NULL) {
		ssize_t got = read(fd, text, (size_t)info.st_size);

		*bytes = (size_t)info.st_size;
		if (got != (ssize_t)info.st_size) {
			(void)app_error_set(error, "cannot be read whole");
			free(text);
			text = NULL;
		}
	}
	(void)close(fd);
	return text;
}

int tsplib_read(const char *path, struct tsp_instance *out, struct app_error *error)
{
	struct app_error cause = { "no memory to read it" };
	size_t bytes = 0;
	char *text = read_text(path, &bytes, &cause);
	int status = APP_BAD_INPUT;

	if (text != NULL)
		status = tsplib_parse(text, bytes, out, &cause);
	free(text);
	return status == 0 ? 0 : app_error_set(error, "%s: %.380s", path, cause.text);
}
