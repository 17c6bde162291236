/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A litmus file from its first line to its condition:
 *
 *   C NAME
 *   "what it is about"            perhaps
 *   Key=value                     any number; Result= is understood, the rest is for the reader
 *   { x=0; [y]=0; int z = 1; }
 *   P0(volatile int* x, atomic_int* y) { ... }
 *   P1(...) { ... }
 *   locations [x; 0:r0;]          perhaps; everything is observed in any case
 *   exists (0:r0=1 /\ x=2)
 */
#include "parse.h"

#include <errno.h>
#include <string.h>

unsigned int parse_find_location(const struct parser *parser, const struct token *token)
{
	const struct litmus_test *test = parser->test;
	unsigned int i = 0;

	while (i < test->location_count &&
	       (strlen(test->locations[i].name) != token->length ||
		memcmp(test->locations[i].name, token->start, token->length) != 0))
		i++;
	return i;
}

unsigned int parse_find_register(const struct parser *parser, unsigned int thread,
				 const struct token *token)
{
	const struct litmus_thread *program = &parser->test->threads[thread];
	unsigned int i = 0;

	while (i < program->register_count &&
	       (strlen(program->registers[i].name) != token->length ||
		memcmp(program->registers[i].name, token->start, token->length) != 0))
		i++;
	return i;
}

/* ---- the header ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct parser *parser)
{
	while (parser->at < parser->end && is_blank(*parser->at))
		parser->at++;
}

/* A run of characters other than blanks, ends of lines and those of `stops`. */
static struct token word(struct parser *parser, const char *stops)
{
	struct token token = { .kind = TOKEN_NAME, .line = parser->line, .start = parser->at };

	while (parser->at < parser->end && *parser->at != '\n' && !is_blank(*parser->at) &&
	       (*parser->at == '\0' || strchr(stops, *parser->at) == NULL))
		parser->at++;
	token.length = (size_t)(parser->at - token.start);
	return token;
}

/* Names of tests are the tools': letters, digits and _ / . - + [ ], here without the slash. */
static bool is_test_name(const struct token *token)
{
	for (size_t i = 0; i < token->length; i++) {
		char c = token->start[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
		    (c == '\0' || strchr("_.-+[]", c) == NULL))
			return false;
	}
	return token->length > 0 && token->length < LITMUS_NAME_MAX;
}

static bool first_line(struct parser *parser)
{
	struct token architecture = word(parser, ""), name;

	if (architecture.length != 1 || architecture.start[0] != 'C')
		return parse_fail(parser, 1, "the first line is to be \"C\" and the test's name");
	skip_blanks(parser);
	name = word(parser, "\"{(");
	if (!is_test_name(&name))
		return parse_fail(parser, 1, "the test's name is 1 to %u letters, digits, _.-+[]",
				  LITMUS_NAME_MAX - 1);
	memcpy(parser->test->name, name.start, name.length);
	return true;
}

static bool documentation(struct parser *parser)
{
	unsigned int line = parser->line;

	for (parser->at++; parser->at < parser->end && *parser->at != '"'; parser->at++)
		parser->line += *parser->at == '\n';
	if (parser->at == parser->end)
		return parse_fail(parser, line, "this text has no closing quote");
	parser->at++;
	return true;
}

static bool set_result(struct parser *parser, const struct token *value)
{
	static const struct {
		const char *text;
		enum litmus_result result;
	} results[] = { { "Never", LITMUS_NEVER },
			{ "Sometimes", LITMUS_SOMETIMES },
			{ "Always", LITMUS_ALWAYS } };

	if (parser->test->result != LITMUS_POSSIBLE)
		return parse_fail(parser, value->line, "Result= for the second time");
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		if (strlen(results[i].text) == value->length &&
		    memcmp(results[i].text, value->start, value->length) == 0) {
			parser->test->result = results[i].result;
			return true;
		}
	}
	return parse_fail(parser, value->line, "Result= is Never, Sometimes or Always");
}

/* "Key=value", to the end of the line. */
static bool information(struct parser *parser)
{
	struct token key = word(parser, "={"), value;

	skip_blanks(parser);
	if (key.length == 0 || parser->at == parser->end || *parser->at != '=')
		return parse_fail(parser, key.line,
				  "expected a line Key=value, or the initial state in { }");
	parser->at++;
	skip_blanks(parser);
	value = word(parser, "");
	if (key.length == strlen("Result") && memcmp(key.start, "Result", key.length) == 0)
		return set_result(parser, &value);
	while (parser->at < parser->end && *parser->at != '\n')
		parser->at++;
	return true;
}

static bool header(struct parser *parser)
{
	bool documented = false;

	if (!first_line(parser))
		return false;
	for (;;) {
		if (!parse_skip(parser))
			return false;
		if (parser->at == parser->end)
			return parse_fail(parser, parser->line, "there is no initial state { }");
		if (*parser->at == '{')
			return true;
		if (*parser->at == '"' && documented)
			return parse_fail(parser, parser->line, "a text for the second time");
		if (*parser->at == '"') {
			documented = true;
			if (!documentation(parser))
				return false;
		} else if (!information(parser)) {
			return false;
		}
	}
}

/* ---- locations ---- */

bool parse_type(struct parser *parser, enum litmus_type *type)
{
	bool is_volatile = false, is_atomic = false, is_int = false, repeated = false;

	for (bool more = true; more && !repeated;) {
		if (parse_accept(parser, "volatile")) {
			repeated = is_volatile;
			is_volatile = true;
		} else if (parse_accept(parser, "_Atomic")) {
			repeated = is_atomic;
			is_atomic = true;
		} else if (parse_accept(parser, "atomic_int")) {
			repeated = is_atomic || is_int;
			is_atomic = is_int = true;
		} else if (parse_accept(parser, "int")) {
			repeated = is_int;
			is_int = true;
		} else {
			more = false;
		}
	}
	if (repeated)
		return parse_fail(parser, parser->token.line, "a word of the type is there twice");
	if (!is_int && (is_volatile || is_atomic))
		return parse_expected(parser, "int or atomic_int");
	*type = is_atomic ? LITMUS_ATOMIC : is_int ? LITMUS_PLAIN : LITMUS_UNTYPED;
	return !parser->failed;
}

bool parse_location(struct parser *parser, enum litmus_type type, unsigned int *location)
{
	struct litmus_test *test = parser->test;
	const struct token token = parser->token;
	unsigned int number = parse_find_location(parser, &token);

	if (number == test->location_count) {
		if (number == LITMUS_LOCATIONS_MAX)
			return parse_fail(parser, token.line, "more than %u locations",
					  LITMUS_LOCATIONS_MAX);
		if (!parse_name(parser, test->locations[number].name, &token))
			return false;
		test->location_count++;
	}
	struct litmus_location *found = &test->locations[number];

	if (type != LITMUS_UNTYPED && found->type != LITMUS_UNTYPED && type != found->type)
		return parse_fail(parser, token.line, "%s is %s here and %s above", found->name,
				  type == LITMUS_ATOMIC ? "atomic" : "a plain int",
				  type == LITMUS_ATOMIC ? "a plain int" : "atomic");
	if (type != LITMUS_UNTYPED)
		found->type = type;
	*location = number;
	return parse_next(parser);
}

/* "x", "[x]", "int x", each perhaps with "= 1". */
static bool initial_location(struct parser *parser)
{
	unsigned int known = parser->test->location_count, location = 0;
	unsigned int line = parser->token.line;
	enum litmus_type type = LITMUS_UNTYPED;

	if (parser->token.kind == TOKEN_NUMBER)
		return parse_fail(parser, line,
				  "registers start as 0; only locations are set here");
	if (!parse_type(parser, &type))
		return false;
	if (parse_is(parser, "*"))
		return parse_fail(parser, line, "locations hold numbers here, not addresses");
	bool bracket = parse_accept(parser, "[");

	if (!parse_location(parser, type, &location))
		return false;
	if (location < known)
		return parse_fail(parser, line, "%s is set twice",
				  parser->test->locations[location].name);
	if (bracket && !parse_expect(parser, "]"))
		return false;
	if (!parse_accept(parser, "="))
		return !parser->failed;
	if (parser->token.kind == TOKEN_NAME || parse_is(parser, "&"))
		return parse_fail(parser, line, "locations hold numbers here, not addresses");
	return parse_integer(parser, &parser->test->locations[location].initial);
}

static bool initial_state(struct parser *parser)
{
	if (!parse_expect(parser, "{"))
		return false;
	while (!parse_accept(parser, "}")) {
		if (parser->failed || !initial_location(parser))
			return false;
		if (!parse_is(parser, "}") && !parse_expect(parser, ";"))
			return false;
	}
	return true;
}

/* ---- the whole ---- */

static bool check_used(struct parser *parser)
{
	bool used[LITMUS_LOCATIONS_MAX] = { false };

	for (unsigned int t = 0; t < parser->test->thread_count; t++) {
		const struct litmus_thread *thread = &parser->test->threads[t];

		for (unsigned int i = 0; i < thread->step_count; i++) {
			if (thread->steps[i].kind <= LITMUS_COMPARE)
				used[thread->steps[i].location] = true;
		}
	}
	for (unsigned int i = 0; i < parser->test->location_count; i++) {
		if (!used[i])
			return parse_fail(parser, parser->token.line, "no thread accesses %s",
					  parser->test->locations[i].name);
	}
	return true;
}

static bool threads(struct parser *parser)
{
	unsigned int number;

	while (parse_is_thread(&parser->token, &number)) {
		if (number != parser->test->thread_count)
			return parse_fail(parser, parser->token.line, "P%u where P%u is to be",
					  number, parser->test->thread_count);
		if (number == LITMUS_THREADS_MAX)
			return parse_fail(parser, parser->token.line, "more than %u threads",
					  LITMUS_THREADS_MAX);
		if (!parse_thread(parser))
			return false;
	}
	if (parser->test->thread_count == 0)
		return parse_expected(parser, "P0 and its parameters");
	return !parser->failed && check_used(parser);
}

static bool parse_file(struct parser *parser)
{
	if (!header(parser) || !parse_next(parser) || !initial_state(parser) || !threads(parser))
		return false;
	return parse_condition(parser);
}

int litmus_parse(const char *path, const char *text, size_t bytes, struct litmus_test *test,
		 struct litmus_error *error)
{
	struct parser parser = {
		.path = path,
		.at = text,
		.end = text + bytes,
		.line = 1,
		.previous_end = text,
		.token = { .start = text },
		.test = test,
		.error = error,
	};

	memset(test, 0, sizeof(*test));
	if (strlen(path) >= sizeof(test->path)) {
		parse_fail(&parser, 1, "the path is too long");
		return -EINVAL;
	}
	memcpy(test->path, path, strlen(path) + 1);
	return parse_file(&parser) ? 0 : -EINVAL;
}
