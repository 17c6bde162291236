/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All words: is there one order of all events, in which each reader finds the latest value, that
 * agrees with each thread's own order (sequential consistency; Lamport, "How to make a
 * multiprocessor computer that correctly executes multiprocess programs", IEEE Transactions on
 * Computers 28(9), 1979)? No time is asked for: this holds whatever clocks say.
 *
 * A graph of the events: program order; from a writer to those that found its value; from those to
 * what replaced it. There is such an order if and only if there is no cycle, where the order of a
 * word's values is known; and it is, where all writes are atomic operations, which say what they
 * replaced. For other words the edges are those that are certain, and what is found is as certain.
 */
#include "graph.h"
#include "words.h"

#include <stdlib.h>

static const char program_order[] = "program order";
static const char found[] = "the second found what the first wrote";
static const char replaced[] = "the second replaced what the first found";
static const char saw_later[] = "a thread saw the value of the first before that of the second";

static void add_edge(struct graph *graph, size_t from, size_t to, const char *label)
{
	graph_add(graph, (struct graph_edge){ .from = from, .to = to, .label = label });
}

struct place {
	size_t line; /* in the history */
	size_t event;
};

static int compare_lines(const void *a, const void *b)
{
	const struct place *one = a;
	const struct place *other = b;

	return one->line < other->line ? -1 : one->line > other->line;
}

static void add_program_order(const struct words *words, struct graph *graph)
{
	struct place *places = words_memory(words->event_count, sizeof(places[0]));
	size_t last[HISTORY_ALL_THREADS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < HISTORY_ALL_THREADS_MAX; i++)
		last[i] = WORD_NONE;
	for (size_t i = 0; i < words->event_count; i++) {
		const struct word_event *event = &words->events[i];

		if (event->kept && event->op != NULL)
			places[count++] =
				(struct place){ (size_t)(event->op - words->history->ops), i };
	}
	qsort(places, count, sizeof(places[0]), compare_lines);
	for (size_t i = 0; i < count; i++) {
		const struct word_event *event = &words->events[places[i].event];

		if (last[event->thread] != WORD_NONE)
			add_edge(graph, last[event->thread], places[i].event, program_order);
		if (event->goes_on)
			last[event->thread] = places[i].event;
	}
	free(places);
}

static void add_values(const struct words *words, struct graph *graph)
{
	for (size_t i = 0; i < words->event_count; i++) {
		const struct word_event *event = &words->events[i];

		if (!event->kept || event->source == WORD_NONE)
			continue;
		size_t next = words->events[event->source].next;

		add_edge(graph, event->source, i, found);
		if (next != WORD_NONE && next != i)
			add_edge(graph, i, next, replaced);
	}
}

/* The blocks' first writers and last ones. */
static void find_ends(const struct words *words, const struct word *word, size_t *first,
		      size_t *last)
{
	for (size_t i = word->first; i < word->first + word->count; i++) {
		const struct word_event *event = &words->events[i];

		if (!event->kept || !event->writes)
			continue;
		if (event->position == 0)
			first[event->block] = i;
		if (event->next == WORD_NONE)
			last[event->block] = i;
	}
}

/* Vertex number `end`: a block's end, which all that uses the block's last value comes before. */
static void add_ends(const struct words *words, const struct word *word, const size_t *last,
		     size_t end, struct graph *graph)
{
	for (size_t i = word->first; i < word->first + word->count; i++) {
		const struct word_event *event = &words->events[i];
		size_t writer = event->writes ? i : event->source;

		if (event->kept && writer == last[event->block])
			add_edge(graph, i, end + event->block, saw_later);
	}
}

/*
 * A thread's two events of one word in different blocks: all of the one comes before the other. To
 * each thread, the word's beginning came first.
 */
static void add_blocks(const struct words *words, const struct word *word, size_t end,
		       struct graph *graph)
{
	size_t *first = words_memory(word->block_count, sizeof(first[0]));
	size_t *last = words_memory(word->block_count, sizeof(last[0]));
	size_t before[HISTORY_ALL_THREADS_MAX];

	find_ends(words, word, first, last);
	add_ends(words, word, last, end, graph);
	for (size_t i = 0; i < HISTORY_ALL_THREADS_MAX; i++)
		before[i] = word->first;
	for (size_t i = word->first + 1; i < word->first + word->count; i++) {
		const struct word_event *event = &words->events[i];

		if (!event->kept)
			continue;
		size_t block = words->events[before[event->thread]].block;

		if (block != event->block)
			add_edge(graph, end + block, first[event->block], saw_later);
		if (event->goes_on)
			before[event->thread] = i;
	}
	free(first);
	free(last);
}

static bool say_cycle(const struct words *words, const struct graph *graph, const size_t *cycle,
		      size_t length, struct verdict *verdict)
{
	verdict_say(verdict, "not sequentially consistent: each of these comes before the next, "
			     "and the last before the first:\n");
	for (size_t i = 0; i < length; i++) {
		const struct graph_edge *edge = &graph->edges[cycle[i]];

		if (edge->from >= words->event_count)
			continue;
		words_show(words, edge->from, verdict);
		verdict_say(verdict, "      (%s)\n", edge->label);
	}
	return false;
}

bool words_check_order(struct words *words, struct verdict *verdict)
{
	struct graph graph;
	size_t vertex_count = words->event_count;
	bool good = true;

	for (size_t i = 0; i < words->word_count; i++)
		vertex_count += words->words[i].block_count;
	size_t *cycle = words_memory(vertex_count, sizeof(cycle[0]));
	size_t end = words->event_count;

	graph_init(&graph, vertex_count);
	add_program_order(words, &graph);
	add_values(words, &graph);
	for (size_t i = 0; i < words->word_count; i++) {
		add_blocks(words, &words->words[i], end, &graph);
		end += words->words[i].block_count;
	}
	verdict->edge_count += graph.edge_count;
	size_t length = graph_cycle(&graph, cycle);

	if (length > 0)
		good = say_cycle(words, &graph, cycle, length, verdict);
	free(cycle);
	graph_fini(&graph);
	return good;
}
