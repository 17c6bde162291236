/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread: its parameters, and statements that become steps. There are no loops, so that every
 * thread ends and all of a test's states can be enumerated.
 */
#include "parse.h"

#include <stdio.h>
#include <string.h>

static bool statement(struct parser *parser);

static struct litmus_thread *program(const struct parser *parser)
{
	return &parser->test->threads[parser->thread];
}

bool parse_step(struct parser *parser, struct litmus_step **step)
{
	struct litmus_thread *thread = program(parser);

	if (thread->step_count == LITMUS_STEPS_MAX)
		return parse_fail(parser, parser->token.line, "P%u has more than %u steps",
				  parser->thread, LITMUS_STEPS_MAX);
	*step = &thread->steps[thread->step_count++];
	return true;
}

bool parse_register(struct parser *parser, unsigned int *number)
{
	struct litmus_thread *thread = program(parser);

	if (thread->register_count == LITMUS_REGISTERS_MAX)
		return parse_fail(parser, parser->token.line,
				  "P%u needs more than %u registers, with those for what it reads",
				  parser->thread, LITMUS_REGISTERS_MAX);
	*number = thread->register_count++;
	thread->registers[*number].name[0] = '\0';
	return true;
}

/* ---- stores, fences, assignments ---- */

/* "*x = value;", from the star on. */
static bool plain_store(struct parser *parser)
{
	struct litmus_step *step = NULL;
	uint8_t location = 0;
	uint16_t value = 0;

	if (!parse_next(parser) || !parse_pointer(parser, NULL, &location) ||
	    !parse_expect(parser, "=") || !parse_value(parser, &value) ||
	    !parse_step(parser, &step))
		return false;
	*step = (struct litmus_step){ .kind = LITMUS_STORE,
				      .location = location,
				      .operand = value };
	return parse_expect(parser, ";");
}

/* "atomic_store(x, value);", or atomic_store_explicit, from the parenthesis on. */
static bool atomic_store(struct parser *parser, const char *function, bool is_explicit)
{
	struct litmus_step *step = NULL;
	uint8_t location = 0;
	uint16_t value = 0;

	if (!parse_expect(parser, "(") || !parse_pointer(parser, function, &location) ||
	    !parse_expect(parser, ",") || !parse_value(parser, &value) ||
	    (is_explicit && !parse_order(parser, function, false, true)) ||
	    !parse_step(parser, &step))
		return false;
	*step = (struct litmus_step){ .kind = LITMUS_STORE,
				      .location = location,
				      .operand = value };
	return parse_expect(parser, ")") && parse_expect(parser, ";");
}

/* Every access is sequentially consistent anyway (play.c), so a fence is nothing to be done. */
static bool fence(struct parser *parser)
{
	static const char order[] = "memory_order_";
	const struct token *token = &parser->token;

	if (!parse_expect(parser, "("))
		return false;
	if (token->kind != TOKEN_NAME || token->length <= strlen(order) ||
	    memcmp(token->start, order, strlen(order)) != 0)
		return parse_expected(parser, "a memory order");
	return parse_order(parser, NULL, true, true) && parse_expect(parser, ")") &&
	       parse_expect(parser, ";");
}

/*
 * Makes `value` the register's. If it is what the last step has just read, that step writes to the
 * register, and the parser's own register is given back.
 */
static bool assign(struct parser *parser, unsigned int number, uint16_t value)
{
	struct litmus_thread *thread = program(parser);
	const struct litmus_node *node = &parser->test->nodes[value];
	struct litmus_step *step =
		&thread->steps[thread->step_count > 0 ? thread->step_count - 1 : 0];

	if (thread->step_count > 0 && node->kind == LITMUS_REGISTER &&
	    step->result == node->value &&
	    (step->kind == LITMUS_LOAD || step->kind == LITMUS_UPDATE) &&
	    node->value == thread->register_count - 1 && node->value != number &&
	    thread->registers[node->value].name[0] == '\0') {
		step->result = (uint8_t)number;
		thread->register_count--;
		return true;
	}
	if (!parse_step(parser, &step))
		return false;
	*step = (struct litmus_step){ .kind = LITMUS_SET,
				      .operand = value,
				      .result = (uint8_t)number };
	return true;
}

/* "= value;" */
static bool assignment(struct parser *parser, unsigned int number)
{
	uint16_t value = 0;

	return parse_expect(parser, "=") && parse_value(parser, &value) &&
	       assign(parser, number, value) && parse_expect(parser, ";");
}

/* "int r0 = value;" or "int r0;", from the name on. */
static bool declaration(struct parser *parser)
{
	const struct token token = parser->token;
	char name[LITMUS_NAME_MAX] = "";
	unsigned int number = 0;

	if (!parse_name(parser, name, &token))
		return false;
	if (parse_find_register(parser, parser->thread, &token) < program(parser)->register_count)
		return parse_fail(parser, token.line, "%s is declared twice", name);
	if (parse_find_location(parser, &token) < parser->test->location_count)
		return parse_fail(parser, token.line, "%s is a location's name", name);
	if (!parse_next(parser) || !parse_register(parser, &number))
		return false;
	/* Without its name while its own value is read: it has none yet. */
	if (!parse_accept(parser, ";") && !assignment(parser, number))
		return false;
	memcpy(program(parser)->registers[number].name, name, sizeof(name));
	return !parser->failed;
}

/* ---- if ---- */

static bool branch(struct parser *parser, enum litmus_step_kind kind, uint16_t value,
		   unsigned int *at)
{
	struct litmus_step *step = NULL;

	*at = program(parser)->step_count;
	if (!parse_step(parser, &step))
		return false;
	*step = (struct litmus_step){ .kind = kind, .operand = value };
	return true;
}

/* From the word "if" on. */
static bool if_statement(struct parser *parser)
{
	struct litmus_thread *thread = program(parser);
	unsigned int unless = 0, jump = 0;
	uint16_t value = 0;

	if (!parse_next(parser) || !parse_expect(parser, "(") || !parse_value(parser, &value) ||
	    !parse_expect(parser, ")") || !branch(parser, LITMUS_UNLESS, value, &unless) ||
	    !statement(parser))
		return false;
	if (parse_accept(parser, "else")) {
		if (!branch(parser, LITMUS_JUMP, 0, &jump))
			return false;
		thread->steps[unless].target = (uint8_t)thread->step_count;
		if (!statement(parser))
			return false;
		thread->steps[jump].target = (uint8_t)thread->step_count;
	} else {
		thread->steps[unless].target = (uint8_t)thread->step_count;
	}
	return !parser->failed;
}

/* ---- statements ---- */

static bool block(struct parser *parser)
{
	if (!parse_expect(parser, "{"))
		return false;
	while (!parse_is(parser, "}")) {
		if (!statement(parser))
			return false;
	}
	return parse_next(parser);
}

/* What C has and a litmus test here has not, with the reason. */
static bool refused(struct parser *parser)
{
	static const char *const loops[] = { "while", "for", "do", "goto", "return", "switch" };
	static const char *const locks[] = { "lock",	   "unlock",	"mtx_lock",
					     "mtx_unlock", "spin_lock", "spin_unlock" };

	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		if (parse_is(parser, loops[i]))
			return parse_fail(parser, parser->token.line,
					  "'%s': the only control here is if and else", loops[i]);
	}
	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
		if (parse_is(parser, locks[i]))
			return parse_fail(parser, parser->token.line,
					  "'%s': locks are not covered; build one of atomics",
					  locks[i]);
	}
	return true;
}

/* A function whose result is dropped. */
static bool call(struct parser *parser)
{
	uint16_t dropped;

	if (parse_accept(parser, "atomic_store"))
		return atomic_store(parser, "atomic_store", false);
	if (parse_accept(parser, "atomic_store_explicit"))
		return atomic_store(parser, "atomic_store_explicit", true);
	if (parse_accept(parser, "atomic_thread_fence"))
		return fence(parser);
	return !parser->failed && parse_value(parser, &dropped) && parse_expect(parser, ";");
}

static bool simple_statement(struct parser *parser)
{
	const struct token token = parser->token;
	unsigned int number;

	if (parse_is(parser, "*"))
		return plain_store(parser);
	if (parse_accept(parser, "int"))
		return declaration(parser);
	if (token.kind != TOKEN_NAME)
		return parse_expected(parser, "a statement");
	if (!refused(parser))
		return false;
	if (token.length > 7 && memcmp(token.start, "atomic_", 7) == 0)
		return call(parser);
	number = parse_find_register(parser, parser->thread, &token);
	if (number == program(parser)->register_count)
		return parse_fail(
			parser, token.line, "'%.*s' is no register of P%u, nor a statement",
			token.length > 40 ? 40 : (int)token.length, token.start, parser->thread);
	return parse_next(parser) && assignment(parser, number);
}

static bool statement(struct parser *parser)
{
	bool ok;

	if (!parse_enter(parser))
		return false;
	if (parse_is(parser, "{"))
		ok = block(parser);
	else if (parse_is(parser, "if"))
		ok = if_statement(parser);
	else
		ok = simple_statement(parser);
	parse_leave(parser);
	return ok && !parser->failed;
}

/* ---- the thread ---- */

static bool parameter(struct parser *parser)
{
	unsigned int line = parser->token.line, location;
	enum litmus_type type = LITMUS_UNTYPED;

	if (!parse_type(parser, &type))
		return false;
	if (type == LITMUS_UNTYPED)
		return parse_expected(parser, "a parameter such as volatile int* x");
	if (!parse_expect(parser, "*") || !parse_location(parser, type, &location))
		return false;
	if (parser->parameters[location])
		return parse_fail(parser, line, "%s is twice a parameter of P%u",
				  parser->test->locations[location].name, parser->thread);
	parser->parameters[location] = true;
	return true;
}

static bool parameters(struct parser *parser)
{
	memset(parser->parameters, 0, sizeof(parser->parameters));
	if (!parse_expect(parser, "("))
		return false;
	if (!parse_is(parser, ")")) {
		do {
			if (!parameter(parser))
				return false;
		} while (parse_accept(parser, ","));
	}
	return !parser->failed && parse_expect(parser, ")");
}

/*
 * The switch from one kind of comment to the other is at the braces, and each is the token ahead
 * when what follows it is read.
 */
static bool body(struct parser *parser)
{
	if (!parse_is(parser, "{"))
		return parse_expected(parser, "'{'");
	parser->in_thread = true;
	if (!parse_next(parser))
		return false;
	while (!parse_is(parser, "}")) {
		if (!statement(parser))
			return false;
	}
	parser->in_thread = false;
	return parse_next(parser);
}

bool parse_thread(struct parser *parser)
{
	unsigned int line = parser->token.line;

	parser->thread = parser->test->thread_count++;
	if (!parse_next(parser) || !parameters(parser) || !body(parser))
		return false;
	if (program(parser)->step_count == 0)
		return parse_fail(parser, line, "P%u does nothing", parser->thread);
	return true;
}
