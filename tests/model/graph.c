/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the finished graph says that no single state does. A crash is never needed to get on, so its
 * transitions are not in the graph.
 */
#include "model.h"

#include <stdlib.h>

static bool has_end(const struct explored *explored, uint32_t number)
{
	return number >= explored->expanded || /* not looked at: nothing is known against it */
	       explored->first_edge[number] == explored->first_edge[number + 1];
}

/* One pass from the last state to the first: most successors come later. True when it found any. */
static bool sweep(const struct explored *explored, uint8_t *reaches)
{
	bool found = false;

	for (uint32_t i = explored->expanded; i-- > 0;) {
		uint32_t end = explored->first_edge[i + 1];

		for (uint32_t edge = explored->first_edge[i]; edge < end && !reaches[i]; edge++) {
			reaches[i] = reaches[explored->edges[edge]];
			found |= reaches[i];
		}
	}
	return found;
}

uint32_t graph_stuck(const struct explored *explored)
{
	uint8_t *reaches = malloc(explored->state_count);
	uint32_t stuck = NUMBER_NONE;

	ASSERT(reaches != NULL);
	for (uint32_t i = 0; i < explored->state_count; i++)
		reaches[i] = has_end(explored, i);
	while (sweep(explored, reaches))
		;
	for (uint32_t i = 0; i < explored->state_count && stuck == NUMBER_NONE; i++) {
		if (!reaches[i])
			stuck = i;
	}
	free(reaches);
	return stuck;
}

/* Takes away, again and again, states that no other leads to: what stays is on or behind a cycle.
 */
uint64_t graph_endless(const struct explored *explored)
{
	uint32_t *incoming = calloc(explored->state_count, sizeof(*incoming));
	uint32_t *free_states = malloc(explored->state_count * sizeof(*free_states));
	uint32_t count = 0;
	uint64_t left = explored->state_count;

	ASSERT(incoming != NULL && free_states != NULL);
	for (uint32_t i = 0; i < explored->edge_count; i++)
		incoming[explored->edges[i]]++;
	for (uint32_t i = 0; i < explored->state_count; i++) {
		if (incoming[i] == 0)
			free_states[count++] = i;
	}
	while (count > 0) {
		uint32_t at = free_states[--count];

		left--;
		if (at >= explored->expanded)
			continue;
		for (uint32_t edge = explored->first_edge[at]; edge < explored->first_edge[at + 1];
		     edge++) {
			if (--incoming[explored->edges[edge]] == 0)
				free_states[count++] = explored->edges[edge];
		}
	}
	free(incoming);
	free(free_states);
	return left;
}
