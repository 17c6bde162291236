/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Litmus tests: a few threads, each with a few accesses to shared words, and a condition on the
 * outcome (names and shapes after Alglave, Maranget and Tautschnig, "Herding cats", ACM TOPLAS
 * 36(2), 2014). A test is a file in the C format of the herd7 and litmus7 tools, one shape a file;
 * docs/testing.md says which part of the format.
 *
 * parse.c and its neighbours turn the text into steps; program.c carries steps out, for the model
 * in outcomes.c and for the real run alike; outcomes.c finds every outcome of every interleaving,
 * which is what sequential consistency permits. What the file says of its condition must agree with
 * that. Nothing here knows of the library; the run (run.c, play.c) does.
 */
#ifndef PERGOLA_TESTS_LITMUS_H
#define PERGOLA_TESTS_LITMUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITMUS_THREADS_MAX 6
#define LITMUS_LOCATIONS_MAX 6
#define LITMUS_REGISTERS_MAX 12 /* of one thread, with those that the parser adds */
#define LITMUS_STEPS_MAX 32	/* of one thread */
#define LITMUS_NODES_MAX 128	/* of all expressions of a test */
#define LITMUS_PROPS_MAX 96	/* of the condition */
#define LITMUS_NAME_MAX 40
#define LITMUS_CONDITION_MAX 200
#define LITMUS_PATH_MAX 256
#define LITMUS_FILE_BYTES_MAX 65536u
#define LITMUS_OUTCOMES_MAX 1024u
#define LITMUS_STATES_MAX 65536u /* of all threads together, while they are interleaved */

/* The first thing that was wrong, as "file:line: what". */
struct litmus_error {
	char text[400];
};

enum litmus_operator {
	LITMUS_ADD,
	LITMUS_SUBTRACT,
	LITMUS_MULTIPLY,
	LITMUS_AND,
	LITMUS_OR,
	LITMUS_XOR,
	LITMUS_EQUAL,
	LITMUS_NOT_EQUAL,
	LITMUS_LESS,
	LITMUS_GREATER,
	LITMUS_LESS_EQUAL,
	LITMUS_GREATER_EQUAL,
	LITMUS_SECOND, /* an exchange: the new value whatever the old one is */
};

enum litmus_node_kind {
	LITMUS_CONSTANT,
	LITMUS_REGISTER,
	LITMUS_BINARY,
};

/* An expression of registers and constants, as a tree whose nodes the test holds. */
struct litmus_node {
	enum litmus_node_kind kind;
	enum litmus_operator op;
	uint32_t value;	      /* the constant, or the register's number */
	uint16_t left, right; /* nodes */
};

enum litmus_step_kind {
	LITMUS_LOAD,	/* result = location */
	LITMUS_STORE,	/* location = operand */
	LITMUS_UPDATE,	/* result = location; location = result `op` operand: atomically */
	LITMUS_COMPARE, /* result = location; if it is `expected`, location = operand: atomically */
	LITMUS_SET,	/* result = operand */
	LITMUS_UNLESS,	/* if operand is 0, go to target */
	LITMUS_JUMP,	/* go to target */
};

/* Targets are further down, always: every thread ends. */
struct litmus_step {
	enum litmus_step_kind kind;
	enum litmus_operator op;
	uint16_t operand;  /* a node */
	uint16_t expected; /* a node */
	uint8_t location;
	uint8_t result; /* a register */
	uint8_t target; /* a step */
};

struct litmus_register {
	char name[LITMUS_NAME_MAX]; /* "": the parser's own, not part of an outcome */
};

struct litmus_thread {
	unsigned int register_count;
	unsigned int step_count;
	struct litmus_register registers[LITMUS_REGISTERS_MAX];
	struct litmus_step steps[LITMUS_STEPS_MAX];
};

enum litmus_type {
	LITMUS_UNTYPED, /* not said yet */
	LITMUS_PLAIN,
	LITMUS_ATOMIC,
};

struct litmus_location {
	char name[LITMUS_NAME_MAX];
	enum litmus_type type;
	uint32_t initial;
};

enum litmus_prop_kind {
	LITMUS_PROP_CONSTANT, /* value */
	LITMUS_PROP_REGISTER, /* register `index` of `thread` is value */
	LITMUS_PROP_LAST,     /* location `index` is value in the end */
	LITMUS_PROP_NOT,      /* left */
	LITMUS_PROP_BOTH,
	LITMUS_PROP_EITHER,
	LITMUS_PROP_IMPLIES,
};

struct litmus_prop {
	enum litmus_prop_kind kind;
	uint8_t thread, index;
	uint16_t left, right; /* props */
	uint32_t value;
};

/* How often the condition holds among the outcomes that sequential consistency permits. */
enum litmus_result {
	LITMUS_POSSIBLE, /* sometimes or always */
	LITMUS_NEVER,
	LITMUS_SOMETIMES,
	LITMUS_ALWAYS,
};

struct litmus_test {
	char path[LITMUS_PATH_MAX]; /* for messages */
	char name[LITMUS_NAME_MAX];
	char condition[LITMUS_CONDITION_MAX]; /* its text; cut where it is longer */
	unsigned int condition_line;
	uint64_t hash;		   /* of the file's bytes */
	enum litmus_result result; /* what the file says */
	unsigned int thread_count;
	unsigned int location_count;
	unsigned int node_count;
	unsigned int prop_count; /* the last one is the whole condition */
	struct litmus_thread threads[LITMUS_THREADS_MAX];
	struct litmus_location locations[LITMUS_LOCATIONS_MAX];
	struct litmus_node nodes[LITMUS_NODES_MAX];
	struct litmus_prop props[LITMUS_PROPS_MAX];
};

/* Values in the end; 0 where the test has no such register, or it is the parser's own. */
struct litmus_outcome {
	uint32_t registers[LITMUS_THREADS_MAX][LITMUS_REGISTERS_MAX];
	uint32_t last[LITMUS_LOCATIONS_MAX];
};

struct litmus_outcomes {
	unsigned int count;
	struct litmus_outcome list[LITMUS_OUTCOMES_MAX];
};

/* ---- files: parse.c, read.c ---- */

/* `text` of `bytes` bytes; `path` is named in messages. Returns 0, or -EINVAL with the error. */
int litmus_parse(const char *path, const char *text, size_t bytes, struct litmus_test *test,
		 struct litmus_error *error);

/*
 * Reads and parses a file, which must have the name of the test it holds. Returns 0, or -EINVAL, or
 * what opening or reading it returned.
 */
int litmus_read(const char *path, struct litmus_test *test, struct litmus_error *error);

/* ---- carrying a thread's steps out: program.c ---- */

struct litmus_player {
	unsigned int next; /* step */
	uint32_t registers[LITMUS_REGISTERS_MAX];
};

/* What a player does to memory next. Only LOAD, STORE, UPDATE and COMPARE are accesses. */
struct litmus_access {
	enum litmus_step_kind kind;
	enum litmus_operator op;
	unsigned int location;
	uint32_t operand;
	uint32_t expected;
};

uint32_t litmus_apply(enum litmus_operator op, uint32_t left, uint32_t right);

/*
 * Carries out what concerns registers alone, up to the next access; false: there is none, the
 * thread has ended.
 */
bool litmus_advance(const struct litmus_test *test, unsigned int thread,
		    struct litmus_player *player, struct litmus_access *access);

/* The access has been carried out, and found `seen` (a store: anything). */
void litmus_accept(const struct litmus_test *test, unsigned int thread,
		   struct litmus_player *player, uint32_t seen);

/* What the location holds after an access that found `seen`. */
uint32_t litmus_after(const struct litmus_access *access, uint32_t seen);

/* Puts a player's registers into an outcome. */
void litmus_note(const struct litmus_test *test, unsigned int thread,
		 const struct litmus_player *player, struct litmus_outcome *outcome);

/* ---- outcomes: outcomes.c, condition.c ---- */

/*
 * The outcomes of all interleavings, each once. Returns 0; -E2BIG, with the error: there are more
 * states or outcomes than the limits permit; -ENOMEM.
 */
int litmus_enumerate(const struct litmus_test *test, struct litmus_outcomes *out,
		     struct litmus_error *error);

/* The outcome's place in the list, or `count`: it is not there. */
unsigned int litmus_find(const struct litmus_outcomes *outcomes,
			 const struct litmus_outcome *outcome);

/*
 * Whether what the file says of its condition is so among these outcomes. Returns 0, or -EINVAL
 * with the error.
 */
int litmus_judge(const struct litmus_test *test, const struct litmus_outcomes *outcomes,
		 struct litmus_error *error);

/* Whether the outcome is one that the file itself rules out. */
bool litmus_forbidden(const struct litmus_test *test, const struct litmus_outcome *outcome);

/* "0:r0=1 1:r0=0 x=2", into `text`. Returns it. */
const char *litmus_text(const struct litmus_test *test, const struct litmus_outcome *outcome,
			char *text, size_t bytes);

#endif
