/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on words, as the checks of words see them: events that read a value, write one, or
 * do both at once; each reading event knows the event that wrote its value (values written to a
 * word are distinct). Doubtful operations are settled here: those that took effect for all that the
 * others tell are events that may have done so at any time after they began; the rest is left out.
 *
 * A word's written values form chains: an atomic operation that replaced v by w stands in every
 * legal order right after v and v's readers. The chain that begins with 0, and each that begins
 * with a plain store, is a block: in every legal order a block's events are in one piece.
 */
#ifndef PERGOLA_TESTS_HISTORY_WORDS_H
#define PERGOLA_TESTS_HISTORY_WORDS_H

#include "history.h"

#define WORD_NONE SIZE_MAX

struct word_event {
	const struct history_op *op; /* NULL: the word's beginning, the store of 0 */
	unsigned int thread;
	bool reads;
	bool writes;
	bool firm;    /* took effect in any case */
	bool kept;    /* takes part */
	bool goes_on; /* what its thread did next came after it */
	uint64_t read;
	uint64_t written;
	uint64_t begin_ns;
	uint64_t end_ns; /* HISTORY_NEVER: no later operation is known to come after it */
	size_t source;	 /* of what it reads */
	size_t next;	 /* the event that read what this wrote, and replaced it */
	size_t block;	 /* counted within its word */
	size_t position; /* in the block: writes have even ones, the readers of one the next odd one
			  */
};

/* The events of one word, in the order of the history's lines; the first is its beginning. */
struct word {
	struct history_object object;
	size_t first;
	size_t count;
	size_t block_count;
	size_t *by_value; /* writing events that are kept, by value: by_value[0 .. value_count) */
	size_t value_count;
};

struct words {
	const struct history *history;
	struct word_event *events;
	size_t event_count;
	struct word *words;
	size_t word_count;
	uint64_t last_call_ns[HISTORY_NODES_MAX]; /* begin of a node's last dsm_*() that returned */
};

/* Makes the events of a history. */
void words_make(struct words *words, const struct history *history);
void words_free(struct words *words);

/* Settles what is doubtful. False: a value written twice. */
bool words_settle(struct words *words, struct word *word, struct verdict *verdict);

/* Sources, chains and blocks. False: a value from nowhere, or replaced twice. */
bool words_link(struct words *words, struct word *word, struct verdict *verdict);

/* Is there an order that agrees with each thread's own? With time? */
bool words_check_coherence(struct words *words, const struct word *word, struct verdict *verdict);
bool words_check_times(struct words *words, const struct word *word, struct verdict *verdict);

/* Is there one order of all events on all words that agrees with each thread's own? */
bool words_check_order(struct words *words, struct verdict *verdict);

/* The writing event that is kept and wrote the value, or WORD_NONE. */
size_t words_find(const struct words *words, const struct word *word, uint64_t value);

bool words_show(const struct words *words, size_t event, struct verdict *verdict);

/* Memory that is there. */
void *words_memory(size_t count, size_t bytes);

#endif
