/* SPDX-License-Identifier: Apache-2.0 */
/* Histories in memory, and as text. */
#include "history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { WRITTEN = 1, EXPECTED = 2, RESULT = 4, GOT = 8, SECTION = 16 };

struct kind {
	const char *name;
	const char *letters; /* of the objects that it may be done to */
	unsigned int fields; /* that it has when it is done */
};

static const struct kind kinds[HISTORY_KIND_COUNT] = {
	[HISTORY_LOAD] = { "load", "xea", RESULT },
	[HISTORY_STORE] = { "store", "x", WRITTEN },
	[HISTORY_EXCHANGE] = { "xchg", "xe", WRITTEN | RESULT },
	[HISTORY_COMPARE] = { "cas", "x", WRITTEN | EXPECTED | RESULT },
	[HISTORY_ADD] = { "add", "a", RESULT },
	[HISTORY_COUNT] = { "count", "m", RESULT | SECTION },
	[HISTORY_PUT] = { "put", "m", WRITTEN | RESULT | GOT | SECTION },
	[HISTORY_GET] = { "get", "m", RESULT | GOT | SECTION },
	[HISTORY_READ_LOCKED] = { "rdlock", "r", RESULT | GOT | SECTION },
	[HISTORY_WRITE_LOCKED] = { "wrlock", "r", RESULT | SECTION },
	[HISTORY_DOWN] = { "down", "s", 0 },
	[HISTORY_TRY_DOWN] = { "trydown", "s", RESULT },
	[HISTORY_UP] = { "up", "s", 0 },
	[HISTORY_MEET] = { "meet", "b", RESULT },
};

/* ---- in memory ---- */

void history_init(struct history *history)
{
	memset(history, 0, sizeof(*history));
}

void history_fini(struct history *history)
{
	free(history->ops);
	history_init(history);
}

void history_add(struct history *history, const struct history_op *op)
{
	if (history->count == history->capacity) {
		history->capacity = history->capacity == 0 ? 1024 : 2 * history->capacity;
		history->ops = realloc(history->ops, history->capacity * sizeof(history->ops[0]));
		if (history->ops == NULL)
			abort();
	}
	history->ops[history->count++] = *op;
}

unsigned int history_thread(const struct history_op *op)
{
	return op->node * HISTORY_THREADS_MAX + op->thread;
}

bool history_object_equal(struct history_object a, struct history_object b)
{
	return a.letter == b.letter && a.number == b.number;
}

bool history_is_word(enum history_kind kind)
{
	return kind <= HISTORY_ADD;
}

bool verdict_say(struct verdict *verdict, const char *format, ...)
{
	va_list arguments;
	size_t room = sizeof(verdict->text) - verdict->length;

	va_start(arguments, format);
	int length = vsnprintf(verdict->text + verdict->length, room, format, arguments);
	va_end(arguments);
	verdict->length += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
	verdict->wrong = true;
	return false;
}

bool verdict_show(struct verdict *verdict, const struct history_op *op)
{
	char text[HISTORY_OP_TEXT_MAX];

	return verdict_say(verdict, "    %s\n", history_op_text(op, text));
}

/* ---- to text ---- */

/* What is known of it: all of a done operation, what was asked for of any other. */
static unsigned int known_fields(const struct history_op *op)
{
	unsigned int fields = kinds[op->kind].fields;

	if (op->state == HISTORY_DONE || ((fields & SECTION) != 0 && op->left_ns != 0))
		return fields;
	return fields & (WRITTEN | EXPECTED | SECTION);
}

static void append(char text[HISTORY_OP_TEXT_MAX], const char *before, uint64_t number,
		   const char *after)
{
	size_t length = strlen(text);

	snprintf(text + length, HISTORY_OP_TEXT_MAX - length, "%s%" PRIu64 "%s", before, number,
		 after);
}

static void append_end(char text[HISTORY_OP_TEXT_MAX], uint64_t end_ns)
{
	if (end_ns != 0)
		append(text, "", end_ns, "");
}

const char *history_op_text(const struct history_op *op, char text[HISTORY_OP_TEXT_MAX])
{
	unsigned int fields = known_fields(op);

	snprintf(text, HISTORY_OP_TEXT_MAX, "%u.%u %s %c%u", op->node, op->thread,
		 kinds[op->kind].name, op->object.letter, op->object.number);
	if ((fields & WRITTEN) != 0)
		append(text, " w=", op->written, "");
	if ((fields & EXPECTED) != 0)
		append(text, " e=", op->expected, "");
	if ((fields & RESULT) != 0)
		append(text, " r=", op->result, "");
	if ((fields & GOT) != 0)
		append(text, " g=", op->got, "");
	append(text, " @", op->begin_ns, "-");
	append_end(text, op->end_ns);
	if ((fields & SECTION) != 0 && op->entered_ns != 0) {
		append(text, " in=", op->entered_ns, "-");
		append_end(text, op->left_ns);
	}
	if (op->state == HISTORY_FAILED)
		strncat(text, " failed", HISTORY_OP_TEXT_MAX - strlen(text) - 1);
	return text;
}

void history_write(const struct history *history, FILE *file)
{
	char text[HISTORY_OP_TEXT_MAX];

	for (unsigned int letter = 0; letter < 26; letter++) {
		for (unsigned int i = 0; i < HISTORY_NUMBERS_MAX; i++) {
			if (history->parameters[letter][i] != 0)
				fprintf(file, "set %c%u %" PRIu64 "\n", (int)letter + 'a', i,
					history->parameters[letter][i]);
		}
	}
	for (unsigned int node = 0; node < HISTORY_NODES_MAX; node++) {
		if (history->lost[node])
			fprintf(file, "lost %u\n", node);
	}
	fprintf(file, "%s%s", history->settled ? "settled\n" : "",
		history->no_clock ? "no-clock\n" : "");
	for (size_t i = 0; i < history->count; i++)
		fprintf(file, "%s\n", history_op_text(&history->ops[i], text));
}

/* ---- from text ---- */

static bool parse_number(const char *text, const char **end, uint64_t *out)
{
	char *after;

	if (*text < '0' || *text > '9')
		return false;
	*out = strtoull(text, &after, 10);
	*end = after;
	return true;
}

static bool parse_object(const char *word, struct history_object *object)
{
	uint64_t number;
	const char *end;

	if (*word < 'a' || *word > 'z' || !parse_number(word + 1, &end, &number) || *end != '\0' ||
	    number >= HISTORY_NUMBERS_MAX)
		return false;
	*object = (struct history_object){ *word, (unsigned int)number };
	return true;
}

static bool parse_kind(const char *word, enum history_kind *kind)
{
	for (unsigned int i = 0; i < HISTORY_KIND_COUNT; i++) {
		if (strcmp(word, kinds[i].name) == 0) {
			*kind = (enum history_kind)i;
			return true;
		}
	}
	return false;
}

/* "120-190", or "120-": the second is 0. */
static bool parse_times(const char *text, uint64_t *from, uint64_t *to)
{
	const char *at;

	*to = 0;
	if (!parse_number(text, &at, from) || *from == 0 || *at != '-')
		return false;
	return at[1] == '\0' || (parse_number(at + 1, &at, to) && *at == '\0' && *to >= *from);
}

static bool parse_value(const char *word, struct history_op *op, unsigned int *fields)
{
	static const char names[] = "werg";
	uint64_t *const values[] = { &op->written, &op->expected, &op->result, &op->got };
	const char *name = strchr(names, *word);
	const char *end;

	if (name == NULL || word[1] != '=' || !parse_number(word + 2, &end, values[name - names]) ||
	    *end != '\0')
		return false;
	*fields |= 1u << (name - names);
	return true;
}

static bool parse_field(const char *word, struct history_op *op, unsigned int *fields)
{
	if (*word == '@')
		return parse_times(word + 1, &op->begin_ns, &op->end_ns);
	if (strncmp(word, "in=", 3) == 0) {
		*fields |= SECTION;
		return parse_times(word + 3, &op->entered_ns, &op->left_ns);
	}
	if (strcmp(word, "failed") == 0) {
		op->state = HISTORY_FAILED;
		return true;
	}
	return parse_value(word, op, fields);
}

/* Does it have what an operation of its kind and state has? NULL: yes. */
static const char *missing(struct history_op *op, unsigned int fields)
{
	if (strchr(kinds[op->kind].letters, op->object.letter) == NULL)
		return "this is not done to such an object";
	if (op->begin_ns == 0)
		return "no @BEGIN-";
	if (op->state != HISTORY_FAILED)
		op->state = op->end_ns != 0 ? HISTORY_DONE : HISTORY_PENDING;
	if (op->state == HISTORY_FAILED && op->end_ns == 0)
		return "failed, and without an end";
	unsigned int known = known_fields(op);

	if (op->state != HISTORY_DONE)
		known &= ~(unsigned int)SECTION;
	if ((fields & known) != known)
		return "a value is missing";
	if ((op->kind == HISTORY_STORE || op->kind == HISTORY_EXCHANGE ||
	     op->kind == HISTORY_COMPARE) &&
	    op->written == 0)
		return "0 is what words begin with and is never written";
	if ((fields & SECTION) != 0 && op->state == HISTORY_DONE && op->left_ns == 0)
		return "done, but the lock was not left";
	return NULL;
}

static bool parse_op(struct history *history, char **words, size_t count, const char **reason)
{
	struct history_op op = { .state = HISTORY_PENDING };
	unsigned int fields = 0;
	int used = 0;

	*reason = "not an operation";
	if (count < 4 || sscanf(words[0], "%u.%u%n", &op.node, &op.thread, &used) != 2 ||
	    words[0][used] != '\0')
		return false;
	*reason = "a node or thread out of range";
	if (op.node >= HISTORY_NODES_MAX || op.thread >= HISTORY_THREADS_MAX)
		return false;
	*reason = "no such operation, or no such object";
	if (!parse_kind(words[1], &op.kind) || !parse_object(words[2], &op.object))
		return false;
	*reason = "a field that is none";
	for (size_t i = 3; i < count; i++) {
		if (!parse_field(words[i], &op, &fields))
			return false;
	}
	*reason = missing(&op, fields);
	if (*reason != NULL)
		return false;
	history_add(history, &op);
	return true;
}

static bool parse_words(struct history *history, char **words, size_t count, const char **reason)
{
	struct history_object object;
	uint64_t number;
	const char *end;

	if (count == 1 && strcmp(words[0], "settled") == 0)
		return history->settled = true;
	if (count == 1 && strcmp(words[0], "no-clock") == 0)
		return history->no_clock = true;
	if (count == 2 && strcmp(words[0], "lost") == 0 && parse_number(words[1], &end, &number) &&
	    *end == '\0' && number < HISTORY_NODES_MAX)
		return history->lost[number] = true;
	if (count == 3 && strcmp(words[0], "set") == 0 && parse_object(words[1], &object) &&
	    parse_number(words[2], &end, &number) && *end == '\0') {
		history->parameters[object.letter - 'a'][object.number] = number;
		return true;
	}
	return parse_op(history, words, count, reason);
}

bool history_parse(struct history *history, const char *line, const char **reason)
{
	char copy[HISTORY_OP_TEXT_MAX];
	char *words[16];
	size_t count = 0;
	char *rest;

	if (line[0] == '#')
		return true;
	*reason = "too long a line";
	if (strlen(line) >= sizeof(copy))
		return false;
	strcpy(copy, line);
	for (char *word = strtok_r(copy, " \n", &rest); word != NULL;
	     word = strtok_r(NULL, " \n", &rest)) {
		*reason = "too many words";
		if (count == sizeof(words) / sizeof(words[0]))
			return false;
		words[count++] = word;
	}
	return count == 0 || parse_words(history, words, count, reason);
}

bool history_read(struct history *history, FILE *file, const char **reason, size_t *line_number)
{
	char *line = NULL;
	size_t bytes = 0;
	bool good = true;

	*line_number = 0;
	while (good && getline(&line, &bytes, file) >= 0) {
		++*line_number;
		good = history_parse(history, line, reason);
	}
	free(line);
	if (good && ferror(file) != 0) {
		*line_number = 0;
		*reason = "cannot be read";
		good = false;
	}
	return good;
}
