/* SPDX-License-Identifier: Apache-2.0 */
/* The condition on the outcome: exists, ~exists or forall, and a proposition. */
#include "parse.h"

#include <string.h>

static bool proposition(struct parser *parser, unsigned int precedence, uint16_t *number);
static bool primary(struct parser *parser, uint16_t *number);

static bool new_prop(struct parser *parser, struct litmus_prop prop, uint16_t *number)
{
	struct litmus_test *test = parser->test;

	if (test->prop_count == LITMUS_PROPS_MAX)
		return parse_fail(parser, parser->token.line,
				  "the condition has more than %u parts", LITMUS_PROPS_MAX);
	*number = (uint16_t)test->prop_count;
	test->props[test->prop_count++] = prop;
	return true;
}

/* ---- atoms ---- */

/* "0:r0" or "P0:r0", from the number on. */
static bool observed_register(struct parser *parser, struct litmus_prop *prop)
{
	const struct token thread = parser->token;
	unsigned int number = 0, reg;
	uint32_t value;

	if (parse_is_thread(&thread, &number)) {
		if (!parse_next(parser))
			return false;
	} else {
		if (!parse_integer(parser, &value))
			return false;
		number = value;
	}
	if (number >= parser->test->thread_count)
		return parse_fail(parser, thread.line, "there is no thread %u", number);
	if (!parse_expect(parser, ":"))
		return false;
	reg = parse_find_register(parser, number, &parser->token);
	if (parser->token.kind != TOKEN_NAME || reg == parser->test->threads[number].register_count)
		return parse_expected(parser, "a register of that thread");
	prop->kind = LITMUS_PROP_REGISTER;
	prop->thread = (uint8_t)number;
	prop->index = (uint8_t)reg;
	return parse_next(parser);
}

static bool observed(struct parser *parser, struct litmus_prop *prop)
{
	unsigned int location, thread;
	bool bracket;

	*prop = (struct litmus_prop){ .kind = LITMUS_PROP_LAST };
	if (parser->token.kind == TOKEN_NUMBER || parse_is_thread(&parser->token, &thread))
		return observed_register(parser, prop);
	bracket = parse_accept(parser, "[");
	location = parse_find_location(parser, &parser->token);
	if (parser->token.kind != TOKEN_NAME || location == parser->test->location_count)
		return parse_expected(parser, "a location, or a register such as 0:r0");
	prop->index = (uint8_t)location;
	return parse_next(parser) && (!bracket || parse_expect(parser, "]"));
}

/* "0:r0=1", "x=2", "[x]!=2" */
static bool atom(struct parser *parser, uint16_t *number)
{
	struct litmus_prop prop;
	bool differs;

	if (!observed(parser, &prop))
		return false;
	differs = parse_accept(parser, "!=");
	if (!differs && !parse_accept(parser, "=") && !parse_accept(parser, "=="))
		return parse_expected(parser, "'=' or '!='");
	if (!parse_integer(parser, &prop.value) || !new_prop(parser, prop, number))
		return false;
	return !differs ||
	       new_prop(parser, (struct litmus_prop){ .kind = LITMUS_PROP_NOT, .left = *number },
			number);
}

/* ---- connectives ---- */

static bool negation(struct parser *parser, uint16_t *number)
{
	bool ok = parse_enter(parser) && primary(parser, number) &&
		  new_prop(parser, (struct litmus_prop){ .kind = LITMUS_PROP_NOT, .left = *number },
			   number);

	parse_leave(parser);
	return ok;
}

static bool primary(struct parser *parser, uint16_t *number)
{
	bool is_true = parse_is(parser, "true");

	if (parse_accept(parser, "(")) {
		bool ok = parse_enter(parser) && proposition(parser, 0, number) &&
			  parse_expect(parser, ")");

		parse_leave(parser);
		return ok;
	}
	if (parse_accept(parser, "~") || parse_accept(parser, "not"))
		return negation(parser, number);
	if (parse_accept(parser, "true") || parse_accept(parser, "false"))
		return new_prop(
			parser,
			(struct litmus_prop){ .kind = LITMUS_PROP_CONSTANT, .value = is_true },
			number);
	return atom(parser, number);
}

static bool infix_here(const struct parser *parser, enum litmus_prop_kind *kind,
		       unsigned int *precedence)
{
	static const struct {
		const char *text;
		enum litmus_prop_kind kind;
		unsigned int precedence;
	} infixes[] = { { "\\/", LITMUS_PROP_EITHER, 0 },
			{ "/\\", LITMUS_PROP_BOTH, 1 },
			{ "=>", LITMUS_PROP_IMPLIES, 2 } };

	for (size_t i = 0; i < sizeof(infixes) / sizeof(infixes[0]); i++) {
		if (parse_is(parser, infixes[i].text)) {
			*kind = infixes[i].kind;
			*precedence = infixes[i].precedence;
			return true;
		}
	}
	return false;
}

/* The tools' precedences: \/ binds least, then /\, then =>, which binds to the right. */
static bool proposition(struct parser *parser, unsigned int precedence, uint16_t *number)
{
	enum litmus_prop_kind kind = LITMUS_PROP_BOTH;
	unsigned int here = 0;
	uint16_t right = 0;
	bool ok;

	if (!primary(parser, number))
		return false;
	while (infix_here(parser, &kind, &here) && here >= precedence) {
		if (!parse_enter(parser))
			return false;
		ok = parse_next(parser) &&
		     proposition(parser, kind == LITMUS_PROP_IMPLIES ? here : here + 1, &right);
		parse_leave(parser);
		if (!ok ||
		    !new_prop(parser,
			      (struct litmus_prop){ .kind = kind, .left = *number, .right = right },
			      number))
			return false;
	}
	return !parser->failed;
}

/* ---- the whole ---- */

/* "locations [x; 0:r0;]" */
static bool locations(struct parser *parser)
{
	struct litmus_prop unused;

	if (!parse_accept(parser, "locations"))
		return !parser->failed;
	if (!parse_expect(parser, "["))
		return false;
	while (!parse_accept(parser, "]")) {
		if (!observed(parser, &unused))
			return false;
		if (!parse_is(parser, "]") && !parse_expect(parser, ";"))
			return false;
	}
	return true;
}

static bool quantifier(struct parser *parser)
{
	struct litmus_test *test = parser->test;
	bool negated = parse_accept(parser, "~");
	enum litmus_result said = test->result, implied = LITMUS_POSSIBLE;

	if (parse_is(parser, "filter"))
		return parse_fail(parser, parser->token.line,
				  "'filter': every outcome counts here");
	if (negated)
		implied = LITMUS_NEVER;
	else if (parse_is(parser, "forall"))
		implied = LITMUS_ALWAYS;
	if (negated ? !parse_is(parser, "exists")
		    : !parse_is(parser, "exists") && !parse_is(parser, "forall"))
		return parse_expected(parser, negated ? "exists" : "exists, ~exists or forall");
	if (said != LITMUS_POSSIBLE && implied != LITMUS_POSSIBLE && said != implied)
		return parse_fail(parser, parser->token.line, "Result= contradicts %s",
				  negated ? "~exists" : "forall");
	if (said == LITMUS_POSSIBLE)
		test->result = implied;
	return parse_next(parser);
}

/* The condition as it stands in the file, blanks and line breaks made one blank. */
static void keep_text(struct parser *parser, const char *start, const char *end)
{
	char *text = parser->test->condition;
	size_t used = 0;

	for (; start < end && used < LITMUS_CONDITION_MAX - 1; start++) {
		bool blank = *start == ' ' || *start == '\t' || *start == '\r' || *start == '\n';

		if (!blank)
			text[used++] = *start;
		else if (used > 0 && text[used - 1] != ' ')
			text[used++] = ' ';
	}
	text[used] = '\0';
}

bool parse_condition(struct parser *parser)
{
	const char *start;
	uint16_t number = 0;

	if (!locations(parser))
		return false;
	start = parser->token.start;
	parser->test->condition_line = parser->token.line;
	if (!quantifier(parser) || !proposition(parser, 0, &number))
		return false;
	keep_text(parser, start, parser->previous_end);
	if (parser->token.kind != TOKEN_END)
		return parse_expected(parser, "the end of the file");
	return true;
}
