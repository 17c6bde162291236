/* SPDX-License-Identifier: Apache-2.0 */
/* Directed graphs: is there a cycle, and which is a short one? */
#ifndef PERGOLA_TESTS_HISTORY_GRAPH_H
#define PERGOLA_TESTS_HISTORY_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#define GRAPH_NONE SIZE_MAX

struct graph_edge {
	size_t from;
	size_t to;
	size_t witness[2]; /* the caller's */
	const char *label; /* the caller's */
};

struct graph {
	size_t vertex_count;
	struct graph_edge *edges;
	size_t edge_count;
	size_t edge_capacity;
};

void graph_init(struct graph *graph, size_t vertex_count);
void graph_fini(struct graph *graph);
void graph_add(struct graph *graph, struct graph_edge edge);

/*
 * The edges of a cycle, in order, as indices in `cycle` (room for `vertex_count`); returns their
 * count, 0: there is no cycle. It is the shortest of the graph unless more than a thousand vertices
 * lie on cycles; then the shortest through some thousand of them.
 */
size_t graph_cycle(const struct graph *graph, size_t *cycle);

#endif
