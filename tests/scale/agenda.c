/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens when: a binary heap by time, and among equal times by the order of adding, so that
 * one seed gives one course of events everywhere.
 */
#include "base/assert.h"
#include "scale.h"

#include <stdlib.h>

static bool before(const struct happening *a, const struct happening *b)
{
	return a->at_ps < b->at_ps || (a->at_ps == b->at_ps && a->order < b->order);
}

void agenda_add(struct agenda *agenda, struct happening happening)
{
	if (agenda->count == agenda->capacity) {
		agenda->capacity = agenda->capacity == 0 ? 1024 : 2 * agenda->capacity;
		agenda->heap = realloc(agenda->heap, agenda->capacity * sizeof(*agenda->heap));
		ASSERT(agenda->heap != NULL);
	}
	size_t at = agenda->count++;

	happening.order = agenda->order++;
	while (at > 0) {
		size_t parent = (at - 1) / 2;

		if (!before(&happening, &agenda->heap[parent]))
			break;
		agenda->heap[at] = agenda->heap[parent];
		at = parent;
	}
	agenda->heap[at] = happening;
}

struct happening agenda_take(struct agenda *agenda)
{
	ASSERT(agenda->count > 0);
	struct happening first = agenda->heap[0];
	struct happening last = agenda->heap[--agenda->count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= agenda->count)
			break;
		if (child + 1 < agenda->count &&
		    before(&agenda->heap[child + 1], &agenda->heap[child]))
			child++;
		if (!before(&agenda->heap[child], &last))
			break;
		agenda->heap[at] = agenda->heap[child];
		at = child;
	}
	agenda->heap[at] = last;
	return first;
}

void agenda_free(struct agenda *agenda)
{
	free(agenda->heap);
	*agenda = (struct agenda){ 0 };
}
