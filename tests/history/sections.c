/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data under locks. Each exclusive section reads a number that it increments, so the sections'
 * order is known, without clocks: the numbers are 0, 1, 2, ... Sections of that order must not
 * overlap in time, and a queue carried out in that order must give what the sections found.
 */
#include "history.h"

#include <inttypes.h>
#include <stdlib.h>

struct sections {
	const struct history *history;
	struct history_object object;
	const struct history_op **ops; /* exclusive ones that came to their end, by number */
	size_t count;
	size_t doubtful; /* others: each may have taken a number */
	bool voided[HISTORY_NODES_MAX];
	struct verdict *verdict;
};

static bool say_object(struct verdict *verdict, struct history_object object, const char *what)
{
	return verdict_say(verdict, "%c%u: %s\n", object.letter, object.number, what);
}

static bool say_two(const struct sections *sections, const char *what, const struct history_op *one,
		    const struct history_op *other)
{
	say_object(sections->verdict, sections->object, what);
	verdict_show(sections->verdict, one);
	return verdict_show(sections->verdict, other);
}

/* Whether what it did is there in any case: what a lost node did last may be lost with it. */
static bool is_firm(const struct history *history, const struct history_op *op)
{
	return op->state == HISTORY_DONE && !history->lost[op->node];
}

static bool is_exclusive(const struct history_op *op)
{
	return op->kind != HISTORY_READ_LOCKED;
}

/* ---- the sections' order ---- */

static int compare_numbers(const void *a, const void *b)
{
	const struct history_op *one = *(const struct history_op *const *)a;
	const struct history_op *other = *(const struct history_op *const *)b;

	if (one->result != other->result)
		return one->result < other->result ? -1 : 1;
	return one < other ? -1 : one > other;
}

static void gather(struct sections *sections)
{
	const struct history *history = sections->history;

	sections->ops = calloc(history->count + 1, sizeof(sections->ops[0]));
	if (sections->ops == NULL)
		abort();
	for (size_t i = 0; i < history->count; i++) {
		const struct history_op *op = &history->ops[i];

		if (!history_object_equal(op->object, sections->object) || !is_exclusive(op))
			continue;
		if (op->left_ns != 0)
			sections->ops[sections->count++] = op;
		else
			sections->doubtful += op->entered_ns != 0;
	}
	qsort(sections->ops, sections->count, sizeof(sections->ops[0]), compare_numbers);
	sections->verdict->section_op_count += sections->count;
}

/*
 * Two with one number: an update was lost, and that may be only with the node that made it, with
 * all that this node did later; and not if its giving back the lock tells that the update had
 * settled.
 */
static bool drop_voided(struct sections *sections)
{
	size_t kept = 0;

	for (size_t i = 0; i < sections->count; i++) {
		const struct history_op *op = sections->ops[i];
		const struct history_op *last = kept > 0 ? sections->ops[kept - 1] : NULL;

		bool lost = sections->history->lost[op->node];

		if (last == NULL || last->result != op->result) {
			if (!lost || !sections->voided[op->node])
				sections->ops[kept++] = op;
			continue;
		}
		if (lost == sections->history->lost[last->node] || sections->history->settled)
			return say_two(sections, "a lost update: both found the same number", last,
				       op);
		sections->voided[lost ? op->node : last->node] = true;
		sections->verdict->unseen_count++;
		if (!lost)
			sections->ops[kept - 1] = op;
	}
	sections->count = kept;
	return true;
}

static bool check_numbers(struct sections *sections)
{
	uint64_t missing = 0;

	for (size_t i = 0; i < sections->count; i++) {
		uint64_t number = sections->ops[i]->result;

		missing = number - i;
		if (missing <= sections->doubtful)
			continue;
		verdict_say(sections->verdict,
			    "%c%u: nobody had the number before this one's, or not everybody's "
			    "is known (%" PRIu64
			    " missing, %zu sections that may have taken one)\n",
			    sections->object.letter, sections->object.number, missing,
			    sections->doubtful);
		return verdict_show(sections->verdict, sections->ops[i]);
	}
	return true;
}

static bool check_overlap(const struct sections *sections)
{
	if (sections->history->no_clock)
		return true;
	for (size_t i = 1; i < sections->count; i++) {
		if (sections->ops[i]->entered_ns < sections->ops[i - 1]->left_ns)
			return say_two(sections,
				       "two held the lock at one time:", sections->ops[i - 1],
				       sections->ops[i]);
	}
	return true;
}

/* Who was killed while it held the lock holds it for good. */
static bool check_holders(const struct sections *sections)
{
	const struct history *history = sections->history;
	const struct history_op *latest = NULL;

	for (size_t i = 0; i < sections->count; i++) {
		if (latest == NULL || sections->ops[i]->entered_ns > latest->entered_ns)
			latest = sections->ops[i];
	}
	for (size_t i = 0; i < history->count && latest != NULL && !history->no_clock; i++) {
		const struct history_op *op = &history->ops[i];

		if (history_object_equal(op->object, sections->object) &&
		    op->state == HISTORY_PENDING && op->entered_ns != 0 && op->left_ns == 0 &&
		    op->entered_ns < latest->entered_ns)
			return say_two(sections, "the first never gave the lock back:", op, latest);
	}
	return true;
}

/* ---- the queue ---- */

struct queue {
	uint64_t *values; /* by number of puts and gets before */
	size_t put_count;
	size_t get_count;
	size_t capacity;
};

static bool step_queue(struct queue *queue, const struct history_op *op, uint64_t *expected)
{
	bool empty = queue->put_count == queue->get_count;

	*expected = op->got;
	if (op->kind == HISTORY_PUT) {
		*expected = queue->put_count - queue->get_count < queue->capacity;
		if (*expected == 1)
			queue->values[queue->put_count++] = op->written;
	} else if (op->kind == HISTORY_GET) {
		*expected = empty ? 0 : queue->values[queue->get_count++];
	}
	return *expected == op->got;
}

/* As far as every section is known. */
static bool check_queue(const struct sections *sections)
{
	struct queue queue = {
		.values = calloc(sections->count + 1, sizeof(queue.values[0])),
		.capacity = sections->history->parameters['m' - 'a'][sections->object.number],
	};
	bool good = true;

	if (queue.values == NULL)
		abort();
	for (size_t i = 0; i < sections->count && sections->ops[i]->result == i && good; i++) {
		uint64_t expected;

		good = step_queue(&queue, sections->ops[i], &expected);
		if (good)
			continue;
		verdict_say(sections->verdict,
			    "m%u: by the sections before, this should have got %" PRIu64 "\n",
			    sections->object.number, expected);
		verdict_show(sections->verdict, sections->ops[i]);
		if (i > 0) {
			verdict_say(sections->verdict, "  the section before:\n");
			verdict_show(sections->verdict, sections->ops[i - 1]);
		}
	}
	free(queue.values);
	return good;
}

/* ---- readers ---- */

/* The writer of that number, or the first after it, as an index. */
static size_t writer_from(const struct sections *sections, uint64_t number)
{
	size_t low = 0;
	size_t high = sections->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sections->ops[middle]->result < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A reader of version v is after the writer with number v - 1 and before the one with v. */
static bool check_reader(const struct sections *sections, const struct history_op *op)
{
	size_t next = writer_from(sections, op->result);
	const struct history_op *before = next > 0 ? sections->ops[next - 1] : NULL;
	bool known = op->result == 0 || (before != NULL && before->result == op->result - 1);

	if (op->got != op->result) {
		say_object(sections->verdict, sections->object,
			   "a reader found half of a writer's work");
		return verdict_show(sections->verdict, op);
	}
	if (!known && sections->doubtful == 0) {
		say_object(sections->verdict, sections->object, "no writer made this version");
		return verdict_show(sections->verdict, op);
	}
	if (sections->history->no_clock)
		return true;
	if (before != NULL && op->entered_ns < before->left_ns)
		return say_two(sections, "a reader was in before its version's writer was out:", op,
			       before);
	if (next < sections->count && sections->ops[next]->entered_ns < op->left_ns)
		return say_two(sections, "a writer was in while a reader was:", op,
			       sections->ops[next]);
	return true;
}

static bool check_readers(const struct sections *sections)
{
	const struct history *history = sections->history;

	for (size_t i = 0; i < history->count; i++) {
		const struct history_op *op = &history->ops[i];

		if (!history_object_equal(op->object, sections->object) || is_exclusive(op) ||
		    op->left_ns == 0)
			continue;
		sections->verdict->section_op_count++;
		if (!is_firm(history, op) && sections->voided[op->node])
			continue;
		if (!check_reader(sections, op))
			return false;
	}
	return true;
}

/* ---- all of them ---- */

static bool check_object(const struct history *history, struct history_object object,
			 struct verdict *verdict)
{
	struct sections sections = { .history = history, .object = object, .verdict = verdict };

	gather(&sections);
	bool good = drop_voided(&sections) && check_numbers(&sections) &&
		    check_overlap(&sections) && check_holders(&sections);

	if (good && object.letter == 'm')
		good = check_queue(&sections);
	if (good && object.letter == 'r')
		good = check_readers(&sections);
	free(sections.ops);
	return good;
}

static bool check_all(const struct history *history, char letter, struct verdict *verdict)
{
	bool used[HISTORY_NUMBERS_MAX] = { false };

	for (size_t i = 0; i < history->count; i++) {
		if (history->ops[i].object.letter == letter)
			used[history->ops[i].object.number] = true;
	}
	for (unsigned int i = 0; i < HISTORY_NUMBERS_MAX; i++) {
		if (used[i] &&
		    !check_object(history, (struct history_object){ letter, i }, verdict))
			return false;
	}
	return true;
}

bool history_check_mutexes(const struct history *history, struct verdict *verdict)
{
	return check_all(history, 'm', verdict);
}

bool history_check_rwlocks(const struct history *history, struct verdict *verdict)
{
	return check_all(history, 'r', verdict);
}
