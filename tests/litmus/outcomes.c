/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sequential consistency permits: the threads' accesses are carried out on a model of memory
 * in every order that keeps each thread's own (Lamport, "How to make a multiprocessor computer that
 * correctly executes multiprocess programs", IEEE Transactions on Computers C-28(9), 1979). Orders
 * that lead to the same state go on from there as one, so the work grows with the states and not
 * with the orders.
 */
#include "litmus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All zero where the test has nothing, so that equal states have equal bytes; it has no padding. */
struct state {
	struct litmus_player players[LITMUS_THREADS_MAX];
	uint32_t memory[LITMUS_LOCATIONS_MAX];
};

#define SLOTS (2 * LITMUS_STATES_MAX)

/*
 * The states found so far; those from `next` on are still to be gone on from. A slot holds the
 * number of a state plus one, or 0.
 */
struct search {
	struct state *states;
	uint32_t *slots;
	unsigned int count, capacity;
	unsigned int next;
};

unsigned int litmus_find(const struct litmus_outcomes *outcomes,
			 const struct litmus_outcome *outcome)
{
	unsigned int i = 0;

	while (i < outcomes->count && memcmp(&outcomes->list[i], outcome, sizeof(*outcome)) != 0)
		i++;
	return i;
}

static int too_much(const struct litmus_test *test, struct litmus_error *error, const char *what,
		    unsigned int limit)
{
	snprintf(error->text, sizeof(error->text), "%s:1: %s has more than %u %s", test->path,
		 test->name, limit, what);
	return -E2BIG;
}

/* Fowler, Noll and Vo's hash, word by word. */
static uint32_t hash(const struct state *state)
{
	const uint32_t *words = (const uint32_t *)(const void *)state;
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(*state) / sizeof(*words); i++)
		value = (value ^ words[i]) * UINT64_C(0x100000001b3);
	return (uint32_t)(value >> 32);
}

static int grow(struct search *search)
{
	unsigned int capacity = search->capacity == 0 ? 256 : 2 * search->capacity;
	struct state *states = realloc(search->states, capacity * sizeof(*states));

	if (states == NULL)
		return -ENOMEM;
	search->states = states;
	search->capacity = capacity;
	return 0;
}

/* Adds the state, unless it is known. */
static int add(const struct litmus_test *test, struct search *search, const struct state *state,
	       struct litmus_error *error)
{
	uint32_t slot = hash(state) % SLOTS;

	for (; search->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
		if (memcmp(&search->states[search->slots[slot] - 1], state, sizeof(*state)) == 0)
			return 0;
	}
	if (search->count == LITMUS_STATES_MAX)
		return too_much(test, error, "states", LITMUS_STATES_MAX);
	if (search->count == search->capacity && grow(search) != 0)
		return -ENOMEM;
	search->states[search->count++] = *state;
	search->slots[slot] = search->count;
	return 0;
}

static int note(const struct litmus_test *test, const struct state *state,
		struct litmus_outcomes *out, struct litmus_error *error)
{
	struct litmus_outcome outcome;

	memset(&outcome, 0, sizeof(outcome));
	for (unsigned int t = 0; t < test->thread_count; t++)
		litmus_note(test, t, &state->players[t], &outcome);
	memcpy(outcome.last, state->memory, sizeof(outcome.last));
	if (litmus_find(out, &outcome) < out->count)
		return 0;
	if (out->count == LITMUS_OUTCOMES_MAX)
		return too_much(test, error, "outcomes", LITMUS_OUTCOMES_MAX);
	out->list[out->count++] = outcome;
	return 0;
}

/* Each thread that has not ended makes its next access, in turn. */
static int go_on(const struct litmus_test *test, struct search *search, struct state from,
		 struct litmus_outcomes *out, struct litmus_error *error)
{
	bool over = true;
	int status = 0;

	for (unsigned int t = 0; t < test->thread_count && status == 0; t++) {
		struct state to = from;
		struct litmus_access access;

		if (!litmus_advance(test, t, &to.players[t], &access))
			continue;
		uint32_t *word = &to.memory[access.location];
		uint32_t seen = *word;

		over = false;
		*word = litmus_after(&access, seen);
		litmus_accept(test, t, &to.players[t], seen);
		/* What concerns the thread alone goes with the access: fewer states. */
		litmus_advance(test, t, &to.players[t], &access);
		status = add(test, search, &to, error);
	}
	return over ? note(test, &from, out, error) : status;
}

static int explore(const struct litmus_test *test, struct search *search,
		   struct litmus_outcomes *out, struct litmus_error *error)
{
	struct litmus_access unused;
	struct state start;
	int status;

	memset(&start, 0, sizeof(start));
	for (unsigned int i = 0; i < test->location_count; i++)
		start.memory[i] = test->locations[i].initial;
	for (unsigned int t = 0; t < test->thread_count; t++)
		litmus_advance(test, t, &start.players[t], &unused);
	status = add(test, search, &start, error);
	while (status == 0 && search->next < search->count)
		status = go_on(test, search, search->states[search->next++], out, error);
	return status;
}

int litmus_enumerate(const struct litmus_test *test, struct litmus_outcomes *out,
		     struct litmus_error *error)
{
	struct search search = { .slots = calloc(SLOTS, sizeof(uint32_t)) };
	int status = -ENOMEM;

	_Static_assert(sizeof(struct state) % sizeof(uint32_t) == 0, "hashed word by word");
	out->count = 0;
	if (search.slots != NULL)
		status = explore(test, &search, out, error);
	if (status == -ENOMEM)
		snprintf(error->text, sizeof(error->text), "%s:1: no memory to enumerate %s",
			 test->path, test->name);
	free(search.states);
	free(search.slots);
	return status;
}
