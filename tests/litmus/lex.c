/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of a litmus file, and errors with their line. */
#include "parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool parse_fail(struct parser *parser, unsigned int line, const char *format, ...)
{
	char *text = parser->error->text;
	size_t bytes = sizeof(parser->error->text);
	va_list arguments;

	if (!parser->failed) {
		int used = snprintf(text, bytes, "%s:%u: ", parser->path, line);

		va_start(arguments, format);
		vsnprintf(text + used, bytes - (size_t)used, format, arguments);
		va_end(arguments);
	}
	parser->failed = true;
	parser->token = (struct token){ .kind = TOKEN_END, .line = line, .start = parser->end };
	parser->at = parser->end;
	return false;
}

bool parse_expected(struct parser *parser, const char *what)
{
	const struct token token = parser->token;

	if (token.kind == TOKEN_END)
		return parse_fail(parser, token.line, "expected %s, and the file ends", what);
	return parse_fail(parser, token.line, "expected %s, not '%.*s'", what,
			  token.length > 40 ? 40 : (int)token.length, token.start);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool starts(const struct parser *parser, const char *text)
{
	size_t length = strlen(text);

	return (size_t)(parser->end - parser->at) >= length &&
	       memcmp(parser->at, text, length) == 0;
}

static void step(struct parser *parser)
{
	if (*parser->at == '\n')
		parser->line++;
	parser->at++;
}

/* OCaml's comments, which may stand in one another. */
static bool skip_nested(struct parser *parser)
{
	unsigned int line = parser->line, open = 0;

	do {
		if (parser->at == parser->end)
			return parse_fail(parser, line, "this comment has no end");
		if (starts(parser, "(*")) {
			open++;
			parser->at++;
		} else if (starts(parser, "*)")) {
			open--;
			parser->at++;
		}
		step(parser);
	} while (open > 0);
	return true;
}

static bool skip_c_comment(struct parser *parser)
{
	unsigned int line = parser->line;

	for (parser->at += 2; !starts(parser, "*/"); step(parser)) {
		if (parser->at == parser->end)
			return parse_fail(parser, line, "this comment has no end");
	}
	parser->at += 2;
	return true;
}

bool parse_skip(struct parser *parser)
{
	bool ok = true;

	while (ok && parser->at < parser->end) {
		char c = *parser->at;

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			step(parser);
		else if (!parser->in_thread && starts(parser, "(*"))
			ok = skip_nested(parser);
		else if (starts(parser, "/*"))
			ok = skip_c_comment(parser);
		else if (starts(parser, "//"))
			while (parser->at < parser->end && *parser->at != '\n')
				parser->at++;
		else
			break;
	}
	return ok;
}

/* How long the sign is that stands here, or 0. */
static size_t sign_length(const struct parser *parser)
{
	static const char *const pairs[] = { "/\\", "\\/", "=>", "==", "!=", "<=", ">=",
					     "&&",  "||",  "<<", ">>", "++", "--", "->",
					     "+=",  "-=",  "*=", "&=", "|=", "^=" };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (starts(parser, pairs[i]))
			return 2;
	}
	return strchr("(){}[];,:=~*+-/%&|^<>!\"?.", *parser->at) != NULL ? 1 : 0;
}

static bool number(struct parser *parser, struct token *token)
{
	while (parser->at < parser->end && is_digit(*parser->at))
		parser->at++;
	if (parser->at < parser->end && is_letter(*parser->at))
		return parse_fail(parser, token->line, "numbers are decimal, and '%c' is no digit",
				  *parser->at);
	return true;
}

bool parse_next(struct parser *parser)
{
	struct token token;

	parser->previous_end = parser->token.start + parser->token.length;
	if (parser->failed || !parse_skip(parser))
		return false;
	token = (struct token){ .line = parser->line, .start = parser->at };
	if (parser->at == parser->end) {
		token.kind = TOKEN_END;
	} else if (is_letter(*parser->at)) {
		token.kind = TOKEN_NAME;
		while (parser->at < parser->end &&
		       (is_letter(*parser->at) || is_digit(*parser->at)))
			parser->at++;
	} else if (is_digit(*parser->at)) {
		token.kind = TOKEN_NUMBER;
		if (!number(parser, &token))
			return false;
	} else if (*parser->at != '\0' && sign_length(parser) > 0) {
		token.kind = TOKEN_SIGN;
		parser->at += sign_length(parser);
	} else {
		return parse_fail(parser, parser->line, "byte 0x%02x has no meaning here",
				  (unsigned char)*parser->at);
	}
	token.length = (size_t)(parser->at - token.start);
	parser->token = token;
	return true;
}

bool parse_is(const struct parser *parser, const char *text)
{
	const struct token *token = &parser->token;

	return token->kind != TOKEN_END && token->length == strlen(text) &&
	       memcmp(token->start, text, token->length) == 0;
}

bool parse_accept(struct parser *parser, const char *text)
{
	return parse_is(parser, text) && parse_next(parser);
}

bool parse_expect(struct parser *parser, const char *text)
{
	char what[48];

	if (parse_is(parser, text))
		return parse_next(parser);
	snprintf(what, sizeof(what), "'%s'", text);
	return parse_expected(parser, what);
}

bool parse_integer(struct parser *parser, uint32_t *value)
{
	bool negative = parse_accept(parser, "-");
	const struct token token = parser->token;
	uint64_t digits = 0;

	if (token.kind != TOKEN_NUMBER)
		return parse_expected(parser, "a number");
	for (size_t i = 0; i < token.length && digits <= UINT32_MAX; i++)
		digits = digits * 10 + (uint64_t)(token.start[i] - '0');
	if (digits > (negative ? UINT64_C(1) << 31 : INT32_MAX))
		return parse_fail(parser, token.line, "%s%.*s is more than an int holds",
				  negative ? "-" : "", token.length > 40 ? 40 : (int)token.length,
				  token.start);
	*value = negative ? 0u - (uint32_t)digits : (uint32_t)digits;
	return parse_next(parser);
}

bool parse_is_thread(const struct token *token, unsigned int *number)
{
	if (token->kind != TOKEN_NAME || token->length < 2 || token->length > 4 ||
	    token->start[0] != 'P')
		return false;
	*number = 0;
	for (size_t i = 1; i < token->length; i++) {
		if (!is_digit(token->start[i]))
			return false;
		*number = *number * 10 + (unsigned int)(token->start[i] - '0');
	}
	return true;
}

/* Words that the C of litmus files, or the format itself, has another use for. */
static bool is_reserved(const struct token *token)
{
	static const char *const words[] = {
		"auto",	    "atomic_int", "break",   "case",	"char",	 "const",    "continue",
		"default",  "do",	  "double",  "else",	"enum",	 "exists",   "extern",
		"filter",   "float",	  "for",     "forall",	"goto",	 "if",	     "inline",
		"int",	    "locations",  "long",    "return",	"short", "signed",   "sizeof",
		"static",   "struct",	  "switch",  "typedef", "union", "unsigned", "void",
		"volatile", "while",	  "_Atomic", "true",	"false", "not",	     "register",
	};
	unsigned int thread;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (token->length == strlen(words[i]) &&
		    memcmp(token->start, words[i], token->length) == 0)
			return true;
	}
	return parse_is_thread(token, &thread);
}

bool parse_name(struct parser *parser, char name[LITMUS_NAME_MAX], const struct token *token)
{
	if (token->kind != TOKEN_NAME || is_reserved(token))
		return parse_expected(parser, "a name");
	if (token->length >= LITMUS_NAME_MAX)
		return parse_fail(parser, token->line, "a name has %u characters at most",
				  LITMUS_NAME_MAX - 1);
	memcpy(name, token->start, token->length);
	name[token->length] = '\0';
	return true;
}

bool parse_enter(struct parser *parser)
{
	if (++parser->depth <= PARSE_DEPTH_MAX)
		return true;
	return parse_fail(parser, parser->token.line, "more than %u deep", PARSE_DEPTH_MAX);
}

void parse_leave(struct parser *parser)
{
	parser->depth--;
}
