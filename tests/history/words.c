/* SPDX-License-Identifier: Apache-2.0 */
/* Events from operations; which of the doubtful ones took effect. */
#include "words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void *words_memory(size_t count, size_t bytes)
{
	void *memory = calloc(count + 1, bytes);

	if (memory == NULL)
		abort();
	return memory;
}

bool words_show(const struct words *words, size_t event, struct verdict *verdict)
{
	const struct history_op *op = words->events[event].op;

	if (op == NULL)
		return verdict_say(verdict, "    (the word is 0 at the beginning)\n");
	return verdict_show(verdict, op);
}

/* ---- events from operations ---- */

/* By object, then by line. */
static int compare_ops(const void *a, const void *b)
{
	const struct history_op *one = *(const struct history_op *const *)a;
	const struct history_op *other = *(const struct history_op *const *)b;

	if (one->object.letter != other->object.letter)
		return one->object.letter < other->object.letter ? -1 : 1;
	if (one->object.number != other->object.number)
		return one->object.number < other->object.number ? -1 : 1;
	return one < other ? -1 : one > other;
}

static bool is_firm(const struct words *words, const struct history_op *op)
{
	const struct history *history = words->history;

	if (op->state != HISTORY_DONE)
		return false;
	return !history->lost[op->node] ||
	       (history->settled && op->end_ns < words->last_call_ns[op->node]);
}

static bool changed(const struct history_op *op)
{
	switch (op->kind) {
	case HISTORY_STORE:
	case HISTORY_EXCHANGE:
	case HISTORY_ADD:
		return true;
	case HISTORY_COMPARE:
		return op->state != HISTORY_DONE || op->result == op->expected;
	case HISTORY_LOAD:
	case HISTORY_COUNT:
	case HISTORY_PUT:
	case HISTORY_GET:
	case HISTORY_READ_LOCKED:
	case HISTORY_WRITE_LOCKED:
	case HISTORY_DOWN:
	case HISTORY_TRY_DOWN:
	case HISTORY_UP:
	case HISTORY_MEET:
	case HISTORY_KIND_COUNT:
		break;
	}
	return false;
}

static void make_event(const struct words *words, const struct history_op *op,
		       struct word_event *event)
{
	bool done = op->state == HISTORY_DONE;
	bool adds = op->kind == HISTORY_ADD;

	*event = (struct word_event){
		.op = op,
		.thread = history_thread(op),
		.reads = done && op->kind != HISTORY_STORE,
		/* What an addition wrote is known by what it found. */
		.writes = changed(op) && (done || !adds),
		.firm = is_firm(words, op),
		.goes_on = done,
		.read = op->result,
		.written = adds ? op->result + 1 : op->written,
		.begin_ns = op->begin_ns,
		.end_ns = done ? op->end_ns : HISTORY_NEVER,
		.source = WORD_NONE,
		.next = WORD_NONE,
	};
	if (!done && op->kind == HISTORY_COMPARE) {
		event->reads = true;
		event->read = op->expected;
	}
}

static void make_beginning(struct word_event *event)
{
	*event = (struct word_event){
		.thread = HISTORY_ALL_THREADS_MAX,
		.writes = true,
		.firm = true,
		.source = WORD_NONE,
		.next = WORD_NONE,
	};
}

static void note_calls(struct words *words)
{
	for (size_t i = 0; i < words->history->count; i++) {
		const struct history_op *op = &words->history->ops[i];

		if (!history_is_word(op->kind) && op->state == HISTORY_DONE &&
		    op->begin_ns > words->last_call_ns[op->node])
			words->last_call_ns[op->node] = op->begin_ns;
	}
}

static void make_word(struct words *words, const struct history_op *const *ops, size_t count)
{
	struct word *word = &words->words[words->word_count++];

	*word = (struct word){ .object = ops[0]->object,
			       .first = words->event_count,
			       .count = count + 1 };
	word->by_value = words_memory(word->count, sizeof(word->by_value[0]));
	make_beginning(&words->events[words->event_count++]);
	for (size_t i = 0; i < count; i++)
		make_event(words, ops[i], &words->events[words->event_count++]);
}

void words_make(struct words *words, const struct history *history)
{
	const struct history_op **ops = words_memory(history->count, sizeof(ops[0]));
	size_t count = 0;

	*words = (struct words){ .history = history };
	note_calls(words);
	for (size_t i = 0; i < history->count; i++) {
		if (history_is_word(history->ops[i].kind))
			ops[count++] = &history->ops[i];
	}
	qsort(ops, count, sizeof(ops[0]), compare_ops);
	words->events = words_memory(2 * count, sizeof(words->events[0]));
	words->words = words_memory(count, sizeof(words->words[0]));
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && history_object_equal(ops[i]->object, ops[end]->object))
			end++;
		make_word(words, ops + i, end - i);
		i = end;
	}
	free(ops);
}

void words_free(struct words *words)
{
	for (size_t i = 0; i < words->word_count; i++)
		free(words->words[i].by_value);
	free(words->words);
	free(words->events);
}

/* ---- who wrote what ---- */

static int compare_values(const void *a, const void *b, void *argument)
{
	const struct word_event *events = argument;
	const struct word_event *one = &events[*(const size_t *)a];
	const struct word_event *other = &events[*(const size_t *)b];

	if (one->written != other->written)
		return one->written < other->written ? -1 : 1;
	if (one->firm != other->firm)
		return one->firm ? -1 : 1;
	return one < other ? -1 : one > other;
}

/* All writers when `all`, otherwise those kept. */
static void index_values(struct words *words, struct word *word, bool all)
{
	word->value_count = 0;
	for (size_t i = word->first; i < word->first + word->count; i++) {
		if (words->events[i].writes && (all || words->events[i].kept))
			word->by_value[word->value_count++] = i;
	}
	qsort_r(word->by_value, word->value_count, sizeof(word->by_value[0]), compare_values,
		words->events);
}

size_t words_find(const struct words *words, const struct word *word, uint64_t value)
{
	size_t low = 0;
	size_t high = word->value_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (words->events[word->by_value[middle]].written < value)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == word->value_count || words->events[word->by_value[low]].written != value)
		return WORD_NONE;
	return word->by_value[low];
}

static bool say_twice(const struct words *words, const struct word *word, size_t one, size_t other,
		      struct verdict *verdict)
{
	if (word->object.letter == 'a')
		verdict_say(verdict, "%c%u: two additions found the same value %" PRIu64 "\n",
			    word->object.letter, word->object.number, words->events[one].read);
	else
		verdict_say(verdict, "%c%u: the value %" PRIu64 " is written twice\n",
			    word->object.letter, word->object.number, words->events[one].written);
	words_show(words, one, verdict);
	return words_show(words, other, verdict);
}

/*
 * Of two that wrote the same one, the doubtful one did not take effect, and loads by its node of
 * this word may have seen what it had written (`voided`).
 */
static bool drop_doubles(struct words *words, struct word *word, bool *voided,
			 struct verdict *verdict)
{
	size_t kept = 0;

	for (size_t i = 0; i < word->value_count; i++) {
		size_t last = kept > 0 ? word->by_value[kept - 1] : WORD_NONE;
		struct word_event *event = &words->events[word->by_value[i]];

		if (last == WORD_NONE || words->events[last].written != event->written) {
			word->by_value[kept++] = word->by_value[i];
			continue;
		}
		if (event->firm || !words->events[last].firm)
			return say_twice(words, word, last, word->by_value[i], verdict);
		event->writes = false;
		event->reads = false;
		voided[event->op->node] = true;
	}
	word->value_count = kept;
	return true;
}

/* ---- which doubtful ones took effect ---- */

static bool keep_source(struct words *words, const struct word *word, uint64_t value)
{
	size_t source = words_find(words, word, value);

	if (source == WORD_NONE || words->events[source].kept)
		return false;
	words->events[source].kept = true;
	return true;
}

/*
 * A node that is lost takes with it what nobody has heard of: its last stores to a page. So those
 * before one that somebody has seen took effect too.
 */
static bool keep_earlier(struct words *words, const struct word *word)
{
	uint64_t seen_ns[HISTORY_NODES_MAX] = { 0 };
	struct word_event *events = words->events;
	bool more = false;

	for (size_t i = word->first + 1; i < word->first + word->count; i++) {
		if (events[i].kept && events[i].writes && !events[i].firm &&
		    events[i].begin_ns > seen_ns[events[i].op->node])
			seen_ns[events[i].op->node] = events[i].begin_ns;
	}
	for (size_t i = word->first + 1; i < word->first + word->count; i++) {
		if (events[i].kept || !events[i].writes || !events[i].goes_on ||
		    events[i].end_ns >= seen_ns[events[i].op->node])
			continue;
		events[i].kept = true;
		more = true;
	}
	return more;
}

/* What is firm, what it read, what that read, and so on. */
static void keep_all_seen(struct words *words, const struct word *word)
{
	bool more = true;

	for (size_t i = word->first; i < word->first + word->count; i++)
		words->events[i].kept = words->events[i].firm;
	while (more) {
		more = keep_earlier(words, word);
		for (size_t i = word->first; i < word->first + word->count; i++) {
			const struct word_event *event = &words->events[i];

			if (event->kept && event->reads)
				more = keep_source(words, word, event->read) || more;
		}
	}
}

/* Loads by lost nodes: of values that took effect. */
static void keep_doubtful_loads(struct words *words, const struct word *word, const bool *voided)
{
	for (size_t i = word->first + 1; i < word->first + word->count; i++) {
		struct word_event *event = &words->events[i];

		if (event->kept || event->writes || !event->reads || !event->goes_on ||
		    voided[event->op->node])
			continue;
		size_t source = words_find(words, word, event->read);

		event->kept = source == WORD_NONE || words->events[source].kept;
	}
}

/* An addition with no result that may have found `value`: the one that began first. */
static size_t pending_addition(const struct words *words, const struct word *word)
{
	size_t first = WORD_NONE;

	for (size_t i = word->first + 1; i < word->first + word->count; i++) {
		const struct word_event *event = &words->events[i];

		if (event->op->kind != HISTORY_ADD || event->goes_on || event->kept)
			continue;
		if (first == WORD_NONE || event->begin_ns < words->events[first].begin_ns)
			first = i;
	}
	return first;
}

/*
 * Values that somebody found, or that somebody passed, and that no known addition made: additions
 * that had no time to note their result. All of them may have happened as early as the first of
 * them, since nobody knows which was which.
 */
static void place_additions(struct words *words, struct word *word)
{
	uint64_t most = 0;
	uint64_t begin_ns = HISTORY_NEVER;

	for (size_t i = word->first; i < word->first + word->count; i++) {
		const struct word_event *event = &words->events[i];

		if (event->kept && event->reads && event->read > most)
			most = event->read;
	}
	for (uint64_t value = 1; value <= most; value++) {
		size_t source = words_find(words, word, value);

		if (source != WORD_NONE) {
			words->events[source].kept = true;
			continue;
		}
		size_t event = pending_addition(words, word);

		if (event == WORD_NONE)
			continue;
		if (begin_ns == HISTORY_NEVER)
			begin_ns = words->events[event].begin_ns;
		words->events[event].begin_ns = begin_ns;
		words->events[event].reads = true;
		words->events[event].writes = true;
		words->events[event].read = value - 1;
		words->events[event].written = value;
		words->events[event].kept = true;
	}
}

bool words_settle(struct words *words, struct word *word, struct verdict *verdict)
{
	bool voided[HISTORY_NODES_MAX] = { false };

	index_values(words, word, true);
	if (!drop_doubles(words, word, voided, verdict))
		return false;
	keep_all_seen(words, word);
	keep_doubtful_loads(words, word, voided);
	if (word->object.letter == 'a')
		place_additions(words, word);
	for (size_t i = word->first; i < word->first + word->count; i++)
		verdict->unseen_count += !words->events[i].kept && words->events[i].goes_on;
	index_values(words, word, false);
	return true;
}

/* ---- sources, chains, blocks ---- */

static bool link_reader(struct words *words, const struct word *word, size_t reader,
			struct verdict *verdict)
{
	struct word_event *event = &words->events[reader];

	event->source = words_find(words, word, event->read);
	if (event->source == WORD_NONE) {
		verdict_say(verdict, "%c%u: nobody wrote the value %" PRIu64 ", which this found\n",
			    word->object.letter, word->object.number, event->read);
		return words_show(words, reader, verdict);
	}
	if (!event->writes)
		return true;
	struct word_event *source = &words->events[event->source];

	if (source->next != WORD_NONE) {
		verdict_say(verdict,
			    "%c%u: two atomic operations replaced the same value %" PRIu64 "\n",
			    word->object.letter, word->object.number, event->read);
		words_show(words, source->next, verdict);
		return words_show(words, reader, verdict);
	}
	source->next = reader;
	return true;
}

static void number_block(struct words *words, struct word *word, size_t head)
{
	size_t position = 0;

	for (size_t i = head; i != WORD_NONE; i = words->events[i].next) {
		words->events[i].block = word->block_count;
		words->events[i].position = position;
		position += 2;
	}
	word->block_count++;
}

/* Writers that nothing leads to from a beginning or a store replaced each other in a circle. */
static bool say_circle(struct words *words, const struct word *word, size_t start,
		       struct verdict *verdict)
{
	size_t event = start;

	verdict_say(verdict, "%c%u: these replaced each other's values in a circle\n",
		    word->object.letter, word->object.number);
	do {
		words_show(words, event, verdict);
		event = words->events[event].next;
	} while (event != start && event != WORD_NONE);
	return false;
}

bool words_link(struct words *words, struct word *word, struct verdict *verdict)
{
	size_t end = word->first + word->count;
	struct word_event *events = words->events;

	for (size_t i = word->first; i < end; i++) {
		events[i].block = WORD_NONE;
		if (events[i].kept && events[i].reads && !link_reader(words, word, i, verdict))
			return false;
	}
	for (size_t i = word->first; i < end; i++) {
		if (events[i].kept && events[i].writes && !events[i].reads)
			number_block(words, word, i);
	}
	for (size_t i = word->first; i < end; i++) {
		if (!events[i].kept)
			continue;
		if (events[i].writes && events[i].block == WORD_NONE)
			return say_circle(words, word, i, verdict);
	}
	for (size_t i = word->first; i < end; i++) {
		if (!events[i].kept || events[i].writes)
			continue;
		events[i].block = events[events[i].source].block;
		events[i].position = events[events[i].source].position + 1;
	}
	return true;
}
