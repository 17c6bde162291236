/* SPDX-License-Identifier: Apache-2.0 */
/* Playing litmus tests on the nodes of a job, and counting what came out. */
#ifndef PERGOLA_TESTS_LITMUS_PLAY_H
#define PERGOLA_TESTS_LITMUS_PLAY_H

#include "check.h"
#include "litmus.h"

#define PLAY_WORDS (DSM_PAGE_BYTES / sizeof(uint32_t))
#define PLAY_INSTANCES_MAX 256u

enum play_placement {
	PLAY_OWN_PAGES, /* each location on a page of its own */
	PLAY_ONE_PAGE,	/* all on one */
};

#define PLAY_PLACEMENTS 2

/* What the nodes share: pages of locations, what the threads' registers were, two barriers. */
struct play_shared {
	uint32_t words[LITMUS_LOCATIONS_MAX][PLAY_WORDS];
	uint32_t results[LITMUS_THREADS_MAX][PLAY_INSTANCES_MAX][LITMUS_REGISTERS_MAX];
	uint8_t all_barrier[16];  /* all workers */
	uint8_t pace_barrier[16]; /* the players */
};

/* A job's plan, alike on all nodes; and what node 0 has found. */
struct play {
	struct litmus_test *tests;
	unsigned int test_count;
	unsigned int iterations; /* of each test and placement; at least 2 */
	bool placements[PLAY_PLACEMENTS];
	bool relaxed;
	struct play_shared *shared;
	unsigned int worker_count;
	unsigned int violation_count;
};

/* One test with one placement. */
struct play_round {
	const struct litmus_test *test;
	enum play_placement placement;
	unsigned int instance_count; /* in a batch */
	unsigned int batch_count;
};

static inline uint32_t *play_word(struct play_shared *shared, const struct play_round *round,
				  unsigned int instance, unsigned int location)
{
	if (round->placement == PLAY_OWN_PAGES)
		return &shared->words[location][instance];
	return &shared->words[0][instance * round->test->location_count + location];
}

/* Plays everything. One thread of each node calls it, after joining. */
void play_all(struct play *play);

/* ---- tally.c: node 0 counts ---- */

struct tally;

/* What the test permits. The process ends where that cannot be found. */
struct tally *tally_open(const struct litmus_test *test);

/* Counts a batch that is over. */
void tally_batch(struct tally *tally, struct play *play, const struct play_round *round);

/* Prints a line, adds to the play's violations. Frees the tally. */
void tally_close(struct tally *tally, struct play *play, const struct play_round *round);

#endif
