/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Semaphores: at no time have more waits returned than the first count and the posts begun by then;
 * and a trywait may fail only if the count can have been 0. Barriers: nobody leaves a round before
 * everybody has come to it. Both need clocks that compare.
 */
#include "history.h"

#include <stdlib.h>

static bool say(struct verdict *verdict, const struct history_op *op, const char *what)
{
	verdict_say(verdict, "%c%u: %s\n", op->object.letter, op->object.number, what);
	return verdict_show(verdict, op);
}

/* ---- semaphores ---- */

struct semaphore {
	uint64_t first_count;
	uint64_t *post_begins;		 /* all sorted */
	uint64_t *post_ends;		 /* of those that are done */
	uint64_t *wait_begins;		 /* that may have succeeded */
	const struct history_op **waits; /* that have, by their ends */
	size_t post_count;
	size_t post_end_count;
	size_t begin_count;
	size_t wait_count;
};

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t *one = a;
	const uint64_t *other = b;

	return *one < *other ? -1 : *one > *other;
}

static int compare_ends(const void *a, const void *b)
{
	const struct history_op *one = *(const struct history_op *const *)a;
	const struct history_op *other = *(const struct history_op *const *)b;

	return one->end_ns < other->end_ns ? -1 : one->end_ns > other->end_ns;
}

/* How many of the sorted numbers are less than `limit`. */
static size_t count_below(const uint64_t *numbers, size_t count, uint64_t limit)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (numbers[middle] < limit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void *memory(size_t count, size_t bytes)
{
	void *space = calloc(count + 1, bytes);

	if (space == NULL)
		abort();
	return space;
}

static void note_post(struct semaphore *semaphore, const struct history_op *op)
{
	semaphore->post_begins[semaphore->post_count++] = op->begin_ns;
	if (op->state == HISTORY_DONE)
		semaphore->post_ends[semaphore->post_end_count++] = op->end_ns;
}

static void note_wait(struct semaphore *semaphore, const struct history_op *op)
{
	bool refused = op->kind == HISTORY_TRY_DOWN && op->result == 0;

	if (op->state == HISTORY_DONE && refused)
		return;
	semaphore->wait_begins[semaphore->begin_count++] = op->begin_ns;
	if (op->state == HISTORY_DONE)
		semaphore->waits[semaphore->wait_count++] = op;
}

static void gather(struct semaphore *semaphore, const struct history *history, unsigned int number)
{
	semaphore->post_begins = memory(history->count, sizeof(uint64_t));
	semaphore->post_ends = memory(history->count, sizeof(uint64_t));
	semaphore->wait_begins = memory(history->count, sizeof(uint64_t));
	semaphore->waits = memory(history->count, sizeof(semaphore->waits[0]));
	semaphore->first_count = history->parameters['s' - 'a'][number];
	for (size_t i = 0; i < history->count; i++) {
		const struct history_op *op = &history->ops[i];

		if (op->object.letter != 's' || op->object.number != number)
			continue;
		if (op->kind == HISTORY_UP)
			note_post(semaphore, op);
		else
			note_wait(semaphore, op);
	}
	qsort(semaphore->post_begins, semaphore->post_count, sizeof(uint64_t), compare_numbers);
	qsort(semaphore->post_ends, semaphore->post_end_count, sizeof(uint64_t), compare_numbers);
	qsort(semaphore->wait_begins, semaphore->begin_count, sizeof(uint64_t), compare_numbers);
	qsort(semaphore->waits, semaphore->wait_count, sizeof(semaphore->waits[0]), compare_ends);
}

static bool check_waits(const struct semaphore *semaphore, struct verdict *verdict)
{
	for (size_t i = 0; i < semaphore->wait_count; i++) {
		const struct history_op *op = semaphore->waits[i];
		size_t posts =
			count_below(semaphore->post_begins, semaphore->post_count, op->end_ns + 1);

		if (i + 1 > semaphore->first_count + posts)
			return say(verdict, op, "more waits have returned than the count allows");
	}
	return true;
}

/* Even if every wait that had begun came before it, and no post that had not ended did? */
static bool check_refusal(const struct semaphore *semaphore, const struct history_op *op,
			  struct verdict *verdict)
{
	size_t posts = count_below(semaphore->post_ends, semaphore->post_end_count, op->begin_ns);
	size_t waits = count_below(semaphore->wait_begins, semaphore->begin_count, op->end_ns + 1);

	if (semaphore->first_count + posts <= waits)
		return true;
	return say(verdict, op, "refused, and the count cannot have been 0");
}

static bool check_refusals(const struct semaphore *semaphore, const struct history *history,
			   unsigned int number, struct verdict *verdict)
{
	for (size_t i = 0; i < history->count; i++) {
		const struct history_op *op = &history->ops[i];

		if (op->object.letter == 's' && op->object.number == number &&
		    op->kind == HISTORY_TRY_DOWN && op->state == HISTORY_DONE && op->result == 0 &&
		    !check_refusal(semaphore, op, verdict))
			return false;
	}
	return true;
}

static bool check_semaphore(const struct history *history, unsigned int number,
			    struct verdict *verdict)
{
	struct semaphore semaphore = { .post_count = 0 };

	gather(&semaphore, history, number);
	verdict->section_op_count += semaphore.wait_count + semaphore.post_count;
	bool good = check_waits(&semaphore, verdict) &&
		    check_refusals(&semaphore, history, number, verdict);

	free(semaphore.post_begins);
	free(semaphore.post_ends);
	free(semaphore.wait_begins);
	free(semaphore.waits);
	return good;
}

bool history_check_semaphores(const struct history *history, struct verdict *verdict)
{
	for (unsigned int i = 0; i < HISTORY_NUMBERS_MAX && !history->no_clock; i++) {
		if (!check_semaphore(history, i, verdict))
			return false;
	}
	return true;
}

/* ---- barriers ---- */

struct round {
	size_t count; /* of threads that came */
	size_t done_count;
	size_t first_count;		     /* of those that were told that they are the one */
	const struct history_op *comes_last; /* of all that came, begun or done */
	const struct history_op *goes_first; /* of those that are done */
};

static void note_meeting(struct round *round, const struct history_op *op)
{
	round->count++;
	if (round->comes_last == NULL || op->begin_ns > round->comes_last->begin_ns)
		round->comes_last = op;
	if (op->state != HISTORY_DONE)
		return;
	round->done_count++;
	round->first_count += op->result == 1;
	if (round->goes_first == NULL || op->end_ns < round->goes_first->end_ns)
		round->goes_first = op;
}

static bool check_round(const struct history *history, const struct round *round,
			struct verdict *verdict)
{
	const struct history_op *op = round->goes_first;

	if (op == NULL)
		return true;
	uint64_t all = history->parameters['b' - 'a'][op->object.number];

	if (round->count < all)
		return say(verdict, op, "left a round that not everybody had come to");
	if (!history->no_clock && round->comes_last->begin_ns > op->end_ns) {
		say(verdict, op, "left a round before this one came to it:");
		return verdict_show(verdict, round->comes_last);
	}
	if (round->first_count > 1 || (round->first_count == 0 && round->done_count == all))
		return say(verdict, op, "not exactly one of this round was told so");
	return true;
}

/* A thread's nth wait is for the nth round. */
static bool check_barrier(const struct history *history, unsigned int number,
			  struct verdict *verdict)
{
	size_t next[HISTORY_ALL_THREADS_MAX] = { 0 };
	struct round *rounds = memory(history->count, sizeof(rounds[0]));
	bool good = true;

	for (size_t i = 0; i < history->count; i++) {
		const struct history_op *op = &history->ops[i];

		if (op->object.letter == 'b' && op->object.number == number) {
			note_meeting(&rounds[next[history_thread(op)]++], op);
			verdict->section_op_count++;
		}
	}
	for (size_t i = 0; i < history->count && rounds[i].count > 0 && good; i++)
		good = check_round(history, &rounds[i], verdict);
	free(rounds);
	return good;
}

bool history_check_barriers(const struct history *history, struct verdict *verdict)
{
	for (unsigned int i = 0; i < HISTORY_NUMBERS_MAX; i++) {
		if (!check_barrier(history, i, verdict))
			return false;
	}
	return true;
}
