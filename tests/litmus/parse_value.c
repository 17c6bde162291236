/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions. What one reads from memory is read by steps, into registers of the parser's own,
 * before the expression itself. C leaves the order of two reads in one expression open, so there
 * may be one at most; what a function is given is read before the function itself reads.
 */
#include "parse.h"

#include <stdio.h>
#include <string.h>

struct function {
	const char *name;
	enum litmus_step_kind kind;
	enum litmus_operator op;
	bool is_explicit;
};

#define BOTH(name, kind, op)                                                                       \
	{ name, kind, op, false },                                                                 \
	{                                                                                          \
		name "_explicit", kind, op, true                                                   \
	}

/* What has a result. */
static const struct function functions[] = {
	BOTH("atomic_load", LITMUS_LOAD, LITMUS_ADD),
	BOTH("atomic_exchange", LITMUS_UPDATE, LITMUS_SECOND),
	BOTH("atomic_fetch_add", LITMUS_UPDATE, LITMUS_ADD),
	BOTH("atomic_fetch_sub", LITMUS_UPDATE, LITMUS_SUBTRACT),
	BOTH("atomic_fetch_and", LITMUS_UPDATE, LITMUS_AND),
	BOTH("atomic_fetch_or", LITMUS_UPDATE, LITMUS_OR),
	BOTH("atomic_fetch_xor", LITMUS_UPDATE, LITMUS_XOR),
	BOTH("atomic_compare_exchange_strong", LITMUS_COMPARE, LITMUS_SECOND),
};

static struct litmus_thread *program(const struct parser *parser)
{
	return &parser->test->threads[parser->thread];
}

/* ---- nodes ---- */

static bool new_node(struct parser *parser, struct litmus_node node, uint16_t *number)
{
	struct litmus_test *test = parser->test;

	if (test->node_count == LITMUS_NODES_MAX)
		return parse_fail(parser, parser->token.line,
				  "the expressions have more than %u parts", LITMUS_NODES_MAX);
	*number = (uint16_t)test->node_count;
	test->nodes[test->node_count++] = node;
	return true;
}

bool parse_constant(struct parser *parser, uint32_t value, uint16_t *node)
{
	return new_node(parser, (struct litmus_node){ .kind = LITMUS_CONSTANT, .value = value },
			node);
}

static bool register_node(struct parser *parser, unsigned int number, uint16_t *node)
{
	return new_node(parser, (struct litmus_node){ .kind = LITMUS_REGISTER, .value = number },
			node);
}

/* ---- accesses ---- */

bool parse_pointer(struct parser *parser, const char *function, uint8_t *location)
{
	const struct token token = parser->token;
	char name[LITMUS_NAME_MAX];
	unsigned int number;

	if (parse_is(parser, "&"))
		return parse_fail(parser, token.line,
				  "parameters are pointers already, and registers have no address");
	if (!parse_name(parser, name, &token))
		return false;
	number = parse_find_location(parser, &token);
	if (number == parser->test->location_count || !parser->parameters[number])
		return parse_fail(parser, token.line, "%s is no parameter of P%u", name,
				  parser->thread);
	if (function != NULL && parser->test->locations[number].type != LITMUS_ATOMIC)
		return parse_fail(parser, token.line, "%s needs an atomic_int*, and %s is an int*",
				  function, name);
	*location = (uint8_t)number;
	return parse_next(parser);
}

/* The orders of C11; which of them an access may have depends on what it does. */
static bool order_fits(const struct parser *parser, bool loads, bool stores)
{
	if (parse_is(parser, "memory_order_acquire") || parse_is(parser, "memory_order_consume"))
		return loads;
	if (parse_is(parser, "memory_order_release"))
		return stores;
	if (parse_is(parser, "memory_order_acq_rel"))
		return loads && stores;
	return parse_is(parser, "memory_order_relaxed") || parse_is(parser, "memory_order_seq_cst");
}

bool parse_order(struct parser *parser, const char *function, bool loads, bool stores)
{
	if (function != NULL && !parse_expect(parser, ","))
		return false;
	if (!order_fits(parser, loads, stores)) {
		char what[80];

		snprintf(what, sizeof(what), "a memory order that %s may have",
			 function != NULL ? function : "a fence");
		return parse_expected(parser, what);
	}
	return parse_next(parser);
}

/* A step that reads into a register of the parser's own; *node is what it has read. */
static bool read_step(struct parser *parser, struct litmus_step step, uint16_t *node)
{
	struct litmus_step *place;
	unsigned int result = 0;

	if (!parse_register(parser, &result) || !register_node(parser, result, node) ||
	    !parse_step(parser, &place))
		return false;
	*place = step;
	place->result = (uint8_t)result;
	return true;
}

/* An expression that a function is given: what it reads does not count as the outer one's. */
static bool argument(struct parser *parser, uint16_t *node)
{
	unsigned int outer = parser->value_reads;
	bool ok = parse_value(parser, node);

	parser->value_reads = outer;
	return ok;
}

/*
 * From the comma on: "expected, desired [, order, order])". As C has it, `expected` points to what
 * the location is to hold, and is given what it held instead.
 */
static bool compare(struct parser *parser, const struct function *function, uint8_t location,
		    uint16_t *node)
{
	uint16_t desired = 0, wanted = 0, seen = 0;
	struct litmus_step *step;
	unsigned int unless;
	uint8_t expected = 0;

	if (!parse_expect(parser, ",") || !parse_pointer(parser, NULL, &expected) ||
	    !parse_expect(parser, ",") || !argument(parser, &desired) ||
	    (function->is_explicit && (!parse_order(parser, function->name, true, true) ||
				       !parse_order(parser, function->name, true, false))))
		return false;
	if (expected == location)
		return parse_fail(parser, parser->token.line, "%s compares %s with itself",
				  function->name, parser->test->locations[location].name);
	struct litmus_step load = { .kind = LITMUS_LOAD, .location = expected };
	struct litmus_step swap = { .kind = LITMUS_COMPARE,
				    .location = location,
				    .operand = desired };

	if (!read_step(parser, load, &wanted))
		return false;
	swap.expected = wanted;
	if (!read_step(parser, swap, &seen) ||
	    !new_node(parser,
		      (struct litmus_node){ .kind = LITMUS_BINARY,
					    .op = LITMUS_NOT_EQUAL,
					    .left = seen,
					    .right = wanted },
		      node))
		return false;
	unless = program(parser)->step_count;
	if (!parse_step(parser, &step))
		return false;
	*step = (struct litmus_step){ .kind = LITMUS_UNLESS,
				      .operand = *node,
				      .target = (uint8_t)(unless + 2) };
	if (!parse_step(parser, &step))
		return false;
	*step = (struct litmus_step){ .kind = LITMUS_STORE, .location = expected, .operand = seen };
	return new_node(
		parser,
		(struct litmus_node){
			.kind = LITMUS_BINARY, .op = LITMUS_EQUAL, .left = seen, .right = wanted },
		node);
}

/* From the parenthesis on. */
static bool function_value(struct parser *parser, const struct function *function, uint16_t *node)
{
	struct litmus_step step = { .kind = function->kind, .op = function->op };

	parser->value_reads++;
	if (!parse_expect(parser, "(") || !parse_pointer(parser, function->name, &step.location))
		return false;
	if (function->kind == LITMUS_COMPARE)
		return compare(parser, function, step.location, node) && parse_expect(parser, ")");
	if (function->kind == LITMUS_UPDATE &&
	    (!parse_expect(parser, ",") || !argument(parser, &step.operand)))
		return false;
	if (function->is_explicit &&
	    !parse_order(parser, function->name, true, function->kind == LITMUS_UPDATE))
		return false;
	return parse_expect(parser, ")") && read_step(parser, step, node);
}

/* "*x", from the star on. */
static bool plain_read(struct parser *parser, uint16_t *node)
{
	struct litmus_step step = { .kind = LITMUS_LOAD };

	parser->value_reads++;
	return parse_next(parser) && parse_pointer(parser, NULL, &step.location) &&
	       read_step(parser, step, node);
}

/* ---- operators ---- */

static bool named(struct parser *parser, uint16_t *node)
{
	const struct token token = parser->token;
	unsigned int number;

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (parse_accept(parser, functions[i].name))
			return function_value(parser, &functions[i], node);
	}
	number = parse_find_register(parser, parser->thread, &token);
	if (number < program(parser)->register_count)
		return register_node(parser, number, node) && parse_next(parser);
	number = parse_find_location(parser, &token);
	if (number < parser->test->location_count)
		return parse_fail(parser, token.line, "%s is a pointer: *%s is its value",
				  parser->test->locations[number].name,
				  parser->test->locations[number].name);
	return parse_fail(parser, token.line, "'%.*s' is no register of P%u, nor a function here",
			  token.length > 60 ? 60 : (int)token.length, token.start, parser->thread);
}

static bool primary(struct parser *parser, uint16_t *node)
{
	uint32_t value = 0;
	bool ok;

	if (parse_is(parser, "*"))
		return plain_read(parser, node);
	if (parser->token.kind == TOKEN_NUMBER || parse_is(parser, "-"))
		return parse_integer(parser, &value) && parse_constant(parser, value, node);
	if (parser->token.kind == TOKEN_NAME)
		return named(parser, node);
	if (!parse_is(parser, "("))
		return parse_expected(parser, "a value");
	if (!parse_enter(parser) || !parse_next(parser))
		return false;
	ok = parse_value(parser, node) && parse_expect(parser, ")");
	parse_leave(parser);
	return ok;
}

struct infix {
	const char *text;
	enum litmus_operator op;
	unsigned int precedence;
};

/* C's precedences. */
static const struct infix infixes[] = {
	{ "|", LITMUS_OR, 0 },
	{ "^", LITMUS_XOR, 1 },
	{ "&", LITMUS_AND, 2 },
	{ "==", LITMUS_EQUAL, 3 },
	{ "!=", LITMUS_NOT_EQUAL, 3 },
	{ "<", LITMUS_LESS, 4 },
	{ ">", LITMUS_GREATER, 4 },
	{ "<=", LITMUS_LESS_EQUAL, 4 },
	{ ">=", LITMUS_GREATER_EQUAL, 4 },
	{ "+", LITMUS_ADD, 5 },
	{ "-", LITMUS_SUBTRACT, 5 },
	{ "*", LITMUS_MULTIPLY, 6 },
};

#define PRECEDENCE_MAX 6

static const struct infix *infix_here(const struct parser *parser)
{
	for (size_t i = 0; i < sizeof(infixes) / sizeof(infixes[0]); i++) {
		if (parse_is(parser, infixes[i].text))
			return &infixes[i];
	}
	return NULL;
}

/* Operators of `precedence` or more, which all bind to the left. */
static bool operation(struct parser *parser, unsigned int precedence, uint16_t *node)
{
	const struct infix *infix;
	uint16_t right = 0;

	if (!primary(parser, node))
		return false;
	while ((infix = infix_here(parser)) != NULL && infix->precedence >= precedence) {
		if (!parse_next(parser) || !operation(parser, infix->precedence + 1, &right) ||
		    !new_node(parser,
			      (struct litmus_node){ .kind = LITMUS_BINARY,
						    .op = infix->op,
						    .left = *node,
						    .right = right },
			      node))
			return false;
	}
	return true;
}

bool parse_value(struct parser *parser, uint16_t *node)
{
	unsigned int line = parser->token.line, outer = parser->value_reads;

	parser->value_reads = 0;
	if (!operation(parser, 0, node))
		return false;
	if (parser->value_reads > 1)
		return parse_fail(parser, line,
				  "an expression that reads memory twice: C leaves the order open");
	parser->value_reads += outer;
	return !parser->failed;
}
