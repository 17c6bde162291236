/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Litmus tests: a few threads, each with a few loads and stores of shared words, and an outcome
 * that sequential consistency forbids (names and shapes after Alglave, Maranget and Tautschnig,
 * "Herding cats", ACM TOPLAS 36(2), 2014). A test is data. What is permitted is not written down
 * but enumerated: the outcomes of all interleavings; whatever else is seen is a violation.
 */
#ifndef PERGOLA_TESTS_LITMUS_H
#define PERGOLA_TESTS_LITMUS_H

#include <stdbool.h>
#include <stdint.h>

#define LITMUS_THREADS_MAX 4
#define LITMUS_OPS_MAX 2
#define LITMUS_LOCATIONS_MAX 3
#define LITMUS_REGISTERS_MAX 4
#define LITMUS_CONDITIONS_MAX 4
#define LITMUS_OUTCOMES_MAX 256

enum litmus_op_kind {
	LITMUS_NONE = 0, /* the thread has no more to do */
	LITMUS_LOAD,
	LITMUS_STORE,
};

struct litmus_op {
	enum litmus_op_kind kind;
	unsigned int location;
	unsigned int number; /* of the register loaded to, or the value stored: 1 .. 15 */
};

/*
 * An outcome: four bits for each register, then four for each location's last value. A register
 * that the test does not use is 0, so is a location.
 */
struct litmus_outcome {
	uint32_t code;
};

/* A register (or a location's last value) is `value`. */
struct litmus_condition {
	bool used;
	bool last;
	unsigned int number;
	unsigned int value;
};

struct litmus_test {
	const char *name;
	const char *forbidden_text;
	unsigned int thread_count;
	unsigned int location_count;
	unsigned int register_count;
	struct litmus_op ops[LITMUS_THREADS_MAX][LITMUS_OPS_MAX];
	struct litmus_condition forbidden[LITMUS_CONDITIONS_MAX]; /* all of them together */
};

struct litmus_outcomes {
	unsigned int count;
	struct litmus_outcome list[LITMUS_OUTCOMES_MAX];
};

extern const struct litmus_test litmus_tests[];
extern const unsigned int litmus_test_count;

static inline struct litmus_outcome litmus_register(unsigned int number, unsigned int value)
{
	return (struct litmus_outcome){ value << (4 * number) };
}

static inline struct litmus_outcome litmus_last(unsigned int location, unsigned int value)
{
	return litmus_register(LITMUS_REGISTERS_MAX + location, value);
}

/* The outcomes of all interleavings, each once. */
void litmus_enumerate(const struct litmus_test *test, struct litmus_outcomes *out);

/* The outcome's place in the list, or `count`: it is not there. */
unsigned int litmus_find(const struct litmus_outcomes *outcomes, struct litmus_outcome outcome);

/* Whether all conditions of the forbidden outcome hold. */
bool litmus_forbidden(const struct litmus_test *test, struct litmus_outcome outcome);

/* "r0=1 r1=0 x=2", in a buffer of the function's. */
const char *litmus_text(const struct litmus_test *test, struct litmus_outcome outcome);

#endif
