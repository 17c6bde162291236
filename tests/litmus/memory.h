/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a player reaches the shared words of an instance. Two files implement this: memory.c does
 * what the test says; broken.c, in the program litmus_broken, does not, so that one can see that
 * the runner notices.
 */
#ifndef PERGOLA_TESTS_LITMUS_MEMORY_H
#define PERGOLA_TESTS_LITMUS_MEMORY_H

#include "litmus.h"

struct memory {
	unsigned int location_count;
	uint32_t *words[LITMUS_LOCATIONS_MAX]; /* of the instance */
	bool relaxed;
	uint64_t *random;
	/* broken.c's */
	uint32_t earlier[LITMUS_LOCATIONS_MAX]; /* what the words were at the begin */
	unsigned int held_count;
	struct litmus_access held[LITMUS_STEPS_MAX]; /* stores that have not reached memory yet */
};

/* What --help says of --broken; "" where there is no such option. */
extern const char memory_help[];

/* Takes the argument of --broken. false: there is no such option, or no such mode. */
bool memory_break(const char *mode);

/* The program as it is played, which may differ from what the file says. */
void memory_alter(struct litmus_test *test);

/* Before a player's first access to an instance, and after its last. */
void memory_begin(struct memory *memory);
void memory_end(struct memory *memory);

/* Carries the access out. Returns what it found; a store: anything. */
uint32_t memory_access(struct memory *memory, const struct litmus_access *access);

#endif
