/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One word: is there an order of its events that a word of memory can have had, which agrees with
 * each thread's own order (coherence), and with time as well (linearizability; Herlihy and Wing,
 * "Linearizability: a correctness condition for concurrent objects", ACM TOPLAS 12(3), 1990)?
 *
 * Exact, because values are distinct: in every legal order a block's events are in one piece, and
 * all that is open is the order of blocks. With time, block A must come before block B if an event
 * of A ended before one of B began, so if A's first end is before B's last begin; and whenever such
 * demands make a circle, two of its blocks demand it of each other: the one with the first end of
 * all ends before every other's last begin. (Gibbons and Korach, "Testing shared memories", SIAM
 * Journal on Computing 26(4), 1997, whose clusters and zones these are; a block is a chain of
 * clusters that atomic operations hold together.) So sorting suffices.
 */
#include "graph.h"
#include "words.h"

#include <inttypes.h>
#include <stdlib.h>

/* What of a block matters to other blocks. */
struct zone {
	size_t ends_first;
	size_t begins_last;
	uint64_t end_ns;
	uint64_t begin_ns;
};

static bool say_order(const struct words *words, const struct word *word, const char *what,
		      size_t first, size_t second, struct verdict *verdict)
{
	verdict_say(verdict, "%c%u: %s\n", word->object.letter, word->object.number, what);
	words_show(words, first, verdict);
	return words_show(words, second, verdict);
}

/* The writing event whose value a reader found, or the event itself. */
static size_t writer_of(const struct words *words, size_t event)
{
	return words->events[event].writes ? event : words->events[event].source;
}

/* ---- program order ---- */

/* Two events of one thread in one block: the second stands before the first in every legal order.
 */
static bool say_back(const struct words *words, const struct word *word, size_t first,
		     size_t second, struct verdict *verdict)
{
	if (words->events[first].source == second)
		return say_order(words, word,
				 "a thread found a value before it was written:", first, second,
				 verdict);
	say_order(words, word, "a thread saw an older value after a newer one:", first, second,
		  verdict);
	verdict_say(verdict, "  because the value of the first replaced that of the second, by\n");
	words_show(words, words->events[writer_of(words, second)].next, verdict);
	return words_show(words, writer_of(words, first), verdict);
}

static bool say_block_cycle(const struct words *words, const struct word *word,
			    const struct graph *graph, const size_t *cycle, size_t length,
			    struct verdict *verdict)
{
	verdict_say(verdict, "%c%u: threads saw its values in orders that contradict each other:\n",
		    word->object.letter, word->object.number);
	for (size_t i = 0; i < length; i++) {
		const struct graph_edge *edge = &graph->edges[cycle[i]];

		verdict_say(verdict, "  one thread did\n");
		words_show(words, edge->witness[0], verdict);
		words_show(words, edge->witness[1], verdict);
	}
	return false;
}

/* Adds an edge for each two neighbours in program order whose blocks differ. */
static bool add_program_order(const struct words *words, const struct word *word,
			      struct graph *graph, struct verdict *verdict)
{
	size_t last[HISTORY_ALL_THREADS_MAX];

	for (size_t i = 0; i < HISTORY_ALL_THREADS_MAX; i++)
		last[i] = word->first;
	for (size_t i = word->first + 1; i < word->first + word->count; i++) {
		const struct word_event *event = &words->events[i];
		size_t before = last[event->thread];
		size_t block = words->events[before].block;

		if (!event->kept)
			continue;
		if (block == event->block && words->events[before].position > event->position)
			return say_back(words, word, before, i, verdict);
		if (block != event->block)
			graph_add(graph, (struct graph_edge){ .from = block,
							      .to = event->block,
							      .witness = { before, i } });
		if (event->goes_on)
			last[event->thread] = i;
	}
	return true;
}

bool words_check_coherence(struct words *words, const struct word *word, struct verdict *verdict)
{
	struct graph graph;
	size_t *cycle = words_memory(word->block_count, sizeof(cycle[0]));

	graph_init(&graph, word->block_count);
	bool good = add_program_order(words, word, &graph, verdict);

	if (good) {
		size_t length = graph_cycle(&graph, cycle);

		if (length > 0)
			good = say_block_cycle(words, word, &graph, cycle, length, verdict);
	}
	free(cycle);
	graph_fini(&graph);
	return good;
}

/* ---- time, within blocks ---- */

static int compare_places(const void *a, const void *b, void *argument)
{
	const struct word_event *events = argument;
	const struct word_event *one = &events[*(const size_t *)a];
	const struct word_event *other = &events[*(const size_t *)b];

	if (one->block != other->block)
		return one->block < other->block ? -1 : 1;
	if (one->position != other->position)
		return one->position < other->position ? -1 : 1;
	return one < other ? -1 : one > other;
}

static bool say_late(const struct words *words, const struct word *word, size_t early, size_t late,
		     struct verdict *verdict)
{
	if (words->events[early].source == late)
		return say_order(words, word, "this found a value before it was written:", early,
				 late, verdict);
	say_order(words, word, "the first had ended before the second began:", early, late,
		  verdict);
	verdict_say(verdict, "  but what the first found or wrote came later, since it was written "
			     "by\n");
	words_show(words, writer_of(words, early), verdict);
	verdict_say(verdict, "  and what the second found or wrote was replaced by\n");
	return words_show(words, words->events[writer_of(words, late)].next, verdict);
}

/* No event may end before one begins that stands at an earlier place. `places` are sorted. */
static bool check_places(const struct words *words, const struct word *word, const size_t *places,
			 size_t count, struct verdict *verdict)
{
	const struct word_event *events = words->events;
	size_t latest = WORD_NONE; /* begins last among those at earlier places of the block */
	size_t same = 0;	   /* the first at this place */

	for (size_t i = 0; i < count; i++) {
		const struct word_event *event = &events[places[i]];

		if (i == 0 || event->block != events[places[i - 1]].block) {
			latest = WORD_NONE;
			same = i;
		} else if (event->position != events[places[i - 1]].position) {
			for (; same < i; same++) {
				if (latest == WORD_NONE ||
				    events[places[same]].begin_ns > events[latest].begin_ns)
					latest = places[same];
			}
		}
		if (latest != WORD_NONE && event->end_ns < events[latest].begin_ns)
			return say_late(words, word, places[i], latest, verdict);
	}
	return true;
}

/* ---- time, between blocks ---- */

static void make_zones(const struct words *words, const size_t *places, size_t count,
		       struct zone *zones)
{
	for (size_t i = 0; i < count; i++) {
		const struct word_event *event = &words->events[places[i]];
		struct zone *zone = &zones[event->block];

		if (i == 0 || event->block != words->events[places[i - 1]].block)
			*zone = (struct zone){ places[i], places[i], event->end_ns,
					       event->begin_ns };
		if (event->end_ns < zone->end_ns) {
			zone->end_ns = event->end_ns;
			zone->ends_first = places[i];
		}
		if (event->begin_ns > zone->begin_ns) {
			zone->begin_ns = event->begin_ns;
			zone->begins_last = places[i];
		}
	}
}

static bool precedes(const struct zone *one, const struct zone *other)
{
	return one->end_ns < other->begin_ns;
}

static int compare_zones(const void *a, const void *b)
{
	const struct zone *one = a;
	const struct zone *other = b;

	if (one->end_ns != other->end_ns)
		return one->end_ns < other->end_ns ? -1 : 1;
	return one->begin_ns < other->begin_ns ? -1 : one->begin_ns > other->begin_ns;
}

static void say_writer(const struct words *words, size_t event, struct verdict *verdict)
{
	if (words->events[event].writes)
		return;
	verdict_say(verdict, "  which found what this wrote:\n");
	words_show(words, words->events[event].source, verdict);
}

static bool say_zones(const struct words *words, const struct word *word, const struct zone *one,
		      const struct zone *other, struct verdict *verdict)
{
	say_order(words, word,
		  "a stale value: the first had ended before the second began:", one->ends_first,
		  other->begins_last, verdict);
	say_writer(words, one->ends_first, verdict);
	say_writer(words, other->begins_last, verdict);
	verdict_say(verdict, "  and the other way round:\n");
	words_show(words, other->ends_first, verdict);
	words_show(words, one->begins_last, verdict);
	return false;
}

/* The last of the sorted zones that ends before `ns`, or WORD_NONE. */
static size_t last_before(const struct zone *zones, size_t count, uint64_t ns)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (zones[middle].end_ns < ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? low - 1 : WORD_NONE;
}

/*
 * Forward zones (an event ended before another began) must not overlap; a backward one (there is a
 * moment common to all events) must not lie within a forward one. `forward` is sorted.
 */
static bool check_zones(const struct words *words, const struct word *word,
			const struct zone *forward, size_t forward_count,
			const struct zone *backward, size_t backward_count, struct verdict *verdict)
{
	for (size_t i = 1; i < forward_count; i++) {
		if (precedes(&forward[i], &forward[i - 1]))
			return say_zones(words, word, &forward[i], &forward[i - 1], verdict);
	}
	for (size_t i = 0; i < backward_count; i++) {
		size_t other = last_before(forward, forward_count, backward[i].begin_ns);

		if (other != WORD_NONE && precedes(&backward[i], &forward[other]))
			return say_zones(words, word, &backward[i], &forward[other], verdict);
	}
	return true;
}

static bool check_blocks(const struct words *words, const struct word *word, const size_t *places,
			 size_t count, struct verdict *verdict)
{
	struct zone *zones = words_memory(word->block_count, sizeof(zones[0]));
	struct zone *sorted = words_memory(word->block_count, sizeof(sorted[0]));
	size_t forward = 0;
	size_t backward = word->block_count;

	make_zones(words, places, count, zones);
	for (size_t i = 0; i < word->block_count; i++) {
		if (precedes(&zones[i], &zones[i]))
			sorted[forward++] = zones[i];
		else
			sorted[--backward] = zones[i];
	}
	qsort(sorted, forward, sizeof(sorted[0]), compare_zones);
	bool good = check_zones(words, word, sorted, forward, sorted + backward,
				word->block_count - backward, verdict);

	free(zones);
	free(sorted);
	return good;
}

bool words_check_times(struct words *words, const struct word *word, struct verdict *verdict)
{
	size_t *places = words_memory(word->count, sizeof(places[0]));
	size_t count = 0;

	for (size_t i = word->first; i < word->first + word->count; i++) {
		if (words->events[i].kept)
			places[count++] = i;
	}
	qsort_r(places, count, sizeof(places[0]), compare_places, words->events);
	bool good = check_places(words, word, places, count, verdict) &&
		    check_blocks(words, word, places, count, verdict);

	free(places);
	return good;
}
