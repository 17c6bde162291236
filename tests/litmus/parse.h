/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the parser of litmus files: lex.c makes tokens, parse.c knows what a file is made of,
 * parse_thread.c and parse_value.c read a thread's C, parse_condition.c the condition. By recursive
 * descent, one token ahead.
 *
 * Every function that returns bool returns false when the text is wrong. The first error is
 * recorded and the token becomes TOKEN_END, so that nothing more is read. `depth` bounds recursion.
 */
#ifndef PERGOLA_TESTS_LITMUS_PARSE_H
#define PERGOLA_TESTS_LITMUS_PARSE_H

#include "litmus.h"

#define PARSE_DEPTH_MAX 24

enum token_kind {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_NUMBER,
	TOKEN_SIGN, /* punctuation, one or two characters */
};

struct token {
	enum token_kind kind;
	unsigned int line;
	const char *start;
	size_t length;
};

struct parser {
	const char *path;
	const char *at; /* what follows the token */
	const char *end;
	unsigned int line; /* of `at` */
	struct token token;
	const char *previous_end; /* of the token before */
	bool failed;
	bool in_thread; /* where "(*" is no comment, but a parenthesis and a star */
	unsigned int depth;
	unsigned int thread;		       /* whose C is being read */
	unsigned int value_reads;	       /* of memory, by the expression that is being read */
	bool parameters[LITMUS_LOCATIONS_MAX]; /* the locations that this thread may name */
	struct litmus_test *test;
	struct litmus_error *error;
};

/* ---- lex.c ---- */

/* Records the error, unless there is one already. Returns false. */
__attribute__((format(printf, 3, 4))) bool parse_fail(struct parser *parser, unsigned int line,
						      const char *format, ...);

/* "expected WHAT, not 'TOKEN'", at the token. Returns false. */
bool parse_expected(struct parser *parser, const char *what);

/* Goes on to the next token. */
bool parse_next(struct parser *parser);

/* Goes past blanks and comments. */
bool parse_skip(struct parser *parser);

/* Whether the token is this sign or name. */
bool parse_is(const struct parser *parser, const char *text);

/* Goes past the token if it is `text`, and says whether it was. */
bool parse_accept(struct parser *parser, const char *text);

/* Goes past the token, which must be `text`. */
bool parse_expect(struct parser *parser, const char *text);

/* An integer, perhaps with a minus, that an int holds; goes past it. */
bool parse_integer(struct parser *parser, uint32_t *value);

/* "P" and a number: the number of a thread. */
bool parse_is_thread(const struct token *token, unsigned int *number);

/* Copies a name of the file into `name`. */
bool parse_name(struct parser *parser, char name[LITMUS_NAME_MAX], const struct token *token);

/* One deeper, if that is permitted; parse_leave() afterwards. */
bool parse_enter(struct parser *parser);
void parse_leave(struct parser *parser);

/* ---- parse.c ---- */

/* The number of the location with the token's name, or location_count. */
unsigned int parse_find_location(const struct parser *parser, const struct token *token);

/* The number of the thread's register with the token's name, or its register_count. */
unsigned int parse_find_register(const struct parser *parser, unsigned int thread,
				 const struct token *token);

/*
 * The type before a location's name, if there is one: volatile, _Atomic, int and atomic_int. *type:
 * LITMUS_UNTYPED, there is none.
 */
bool parse_type(struct parser *parser, enum litmus_type *type);

/* The location with the token's name is of `type`; it is made where it does not exist yet. */
bool parse_location(struct parser *parser, enum litmus_type type, unsigned int *location);

/* ---- parse_thread.c, parse_value.c, parse_condition.c ---- */

/* "P0(parameters) { statements }", from the P0 on. */
bool parse_thread(struct parser *parser);

/* Room for another step. */
bool parse_step(struct parser *parser, struct litmus_step **step);

/* Another register, which has no name yet: one of the parser's own. */
bool parse_register(struct parser *parser, unsigned int *number);

/* An expression; *node is its value. Reads of memory that it needs have become steps. */
bool parse_value(struct parser *parser, uint16_t *node);

bool parse_constant(struct parser *parser, uint32_t value, uint16_t *node);

/*
 * A pointer that a function is given: the name of a parameter. `function` wants an atomic one;
 * NULL: it may be of any type.
 */
bool parse_pointer(struct parser *parser, const char *function, uint8_t *location);

/* ", memory_order_..." if there is to be one; `function` is given it. */
bool parse_order(struct parser *parser, const char *function, bool loads, bool stores);

/* "exists", "~exists" or "forall" and the condition, to the end of the file. */
bool parse_condition(struct parser *parser);

#endif
