/* SPDX-License-Identifier: Apache-2.0 */
/* Vertices that no cycle needs are peeled off; from each that is left, a search in breadth. */
#include "graph.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define STARTS_MAX 1000

struct search {
	const struct graph *graph;
	size_t *first; /* of each vertex: its edges are by_start[first[v] .. first[v + 1]) */
	size_t *by_start;
	bool *left;   /* vertices not peeled off */
	size_t *came; /* the edge by which the search came to a vertex */
	size_t *queue;
};

static void *memory(size_t count, size_t bytes)
{
	void *space = calloc(count + 2, bytes);

	if (space == NULL)
		abort();
	return space;
}

void graph_init(struct graph *graph, size_t vertex_count)
{
	*graph = (struct graph){ .vertex_count = vertex_count };
}

void graph_fini(struct graph *graph)
{
	free(graph->edges);
}

void graph_add(struct graph *graph, struct graph_edge edge)
{
	if (graph->edge_count == graph->edge_capacity) {
		graph->edge_capacity = graph->edge_capacity == 0 ? 64 : 2 * graph->edge_capacity;
		graph->edges =
			realloc(graph->edges, graph->edge_capacity * sizeof(graph->edges[0]));
		if (graph->edges == NULL)
			abort();
	}
	graph->edges[graph->edge_count++] = edge;
}

static void sort_edges(struct search *search)
{
	const struct graph *graph = search->graph;

	for (size_t i = 0; i < graph->edge_count; i++)
		search->first[graph->edges[i].from + 1]++;
	for (size_t v = 0; v < graph->vertex_count; v++)
		search->first[v + 1] += search->first[v];
	size_t *next = memory(graph->vertex_count, sizeof(next[0]));

	memcpy(next, search->first, graph->vertex_count * sizeof(next[0]));
	for (size_t i = 0; i < graph->edge_count; i++)
		search->by_start[next[graph->edges[i].from]++] = i;
	free(next);
}

/* Takes away vertices that no edge leads to, as long as there are any. */
static void peel(struct search *search)
{
	const struct graph *graph = search->graph;
	size_t *degree = memory(graph->vertex_count, sizeof(degree[0]));
	size_t count = 0;

	for (size_t i = 0; i < graph->edge_count; i++)
		degree[graph->edges[i].to]++;
	for (size_t v = 0; v < graph->vertex_count; v++) {
		search->left[v] = degree[v] > 0;
		if (degree[v] == 0)
			search->queue[count++] = v;
	}
	for (size_t done = 0; done < count; done++) {
		size_t from = search->queue[done];

		for (size_t i = search->first[from]; i < search->first[from + 1]; i++) {
			size_t to = graph->edges[search->by_start[i]].to;

			if (--degree[to] == 0) {
				search->left[to] = false;
				search->queue[count++] = to;
			}
		}
	}
	free(degree);
}

/* The last edge of a shortest cycle through `start`, or GRAPH_NONE. */
static size_t search_from(struct search *search, size_t start)
{
	const struct graph *graph = search->graph;
	size_t count = 1;

	for (size_t v = 0; v < graph->vertex_count; v++)
		search->came[v] = GRAPH_NONE;
	search->queue[0] = start;
	for (size_t done = 0; done < count; done++) {
		size_t from = search->queue[done];

		for (size_t i = search->first[from]; i < search->first[from + 1]; i++) {
			size_t edge = search->by_start[i];
			size_t to = graph->edges[edge].to;

			if (to == start)
				return edge;
			if (!search->left[to] || search->came[to] != GRAPH_NONE)
				continue;
			search->came[to] = edge;
			search->queue[count++] = to;
		}
	}
	return GRAPH_NONE;
}

/* Writes the cycle down if it is shorter than `best` edges. Returns the shorter count. */
static size_t note_cycle(const struct search *search, size_t start, size_t last, size_t best,
			 size_t *cycle)
{
	const struct graph *graph = search->graph;
	size_t length = 1;

	for (size_t v = graph->edges[last].from; v != start; length++)
		v = graph->edges[search->came[v]].from;
	if (best != 0 && length >= best)
		return best;
	cycle[length - 1] = last;
	for (size_t i = length - 1; i > 0; i--)
		cycle[i - 1] = search->came[graph->edges[cycle[i]].from];
	return length;
}

static size_t search_all(struct search *search, size_t *cycle)
{
	size_t best = 0;
	unsigned int starts = 0;

	/* Where vertices are left there is a cycle, though not through each of them. */
	for (size_t v = 0; v < search->graph->vertex_count; v++) {
		if (!search->left[v] || (best != 0 && starts >= STARTS_MAX))
			continue;
		starts++;
		size_t last = search_from(search, v);

		if (last != GRAPH_NONE)
			best = note_cycle(search, v, last, best, cycle);
	}
	return best;
}

size_t graph_cycle(const struct graph *graph, size_t *cycle)
{
	size_t count = graph->vertex_count;
	struct search search = {
		.graph = graph,
		.first = memory(count, sizeof(size_t)),
		.by_start = memory(graph->edge_count, sizeof(size_t)),
		.left = memory(count, sizeof(bool)),
		.came = memory(count, sizeof(size_t)),
		.queue = memory(count, sizeof(size_t)),
	};

	sort_edges(&search);
	peel(&search);
	size_t length = search_all(&search, cycle);

	free(search.first);
	free(search.by_start);
	free(search.left);
	free(search.came);
	free(search.queue);
	return length;
}
