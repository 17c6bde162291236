/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All states, breadth first, so that the first broken rule is at the end of a shortest way. Of a
 * state that has been expanded only its 128-bit hash is kept, its number (in the order of finding),
 * the number of the state it was found from, and its successors' numbers; the strings of two levels
 * are in memory at a time.
 */
#include "model.h"

#include <stdlib.h>
#include <time.h>

struct visited {
	struct hash128 hash;
	uint32_t number; /* + 1; 0: free */
	uint32_t parent;
};

/* ---- the states seen ---- */

static struct visited *place(const struct explored *explored, struct hash128 hash)
{
	uint32_t at = (uint32_t)hash.low & (explored->visited_room - 1);

	for (;;) {
		struct visited *entry = &explored->visited[at];

		if (entry->number == 0 ||
		    (entry->hash.low == hash.low && entry->hash.high == hash.high))
			return entry;
		at = (at + 1) & (explored->visited_room - 1);
	}
}

static void widen(struct explored *explored)
{
	struct visited *old = explored->visited;
	uint32_t old_room = explored->visited_room;

	explored->visited_room = old_room == 0 ? 1u << 16 : old_room * 2;
	explored->visited = calloc(explored->visited_room, sizeof(*old));
	ASSERT(explored->visited != NULL);
	for (uint32_t i = 0; i < old_room; i++) {
		if (old[i].number != 0)
			*place(explored, old[i].hash) = old[i];
	}
	free(old);
}

/* ---- levels ---- */

struct level {
	unsigned char *bytes;
	size_t used;
	size_t room;
	size_t at; /* next to be expanded */
};

static void level_push(struct level *level, const unsigned char *bytes, size_t count)
{
	uint16_t length = (uint16_t)count;

	while (level->used + sizeof(length) + count > level->room) {
		level->room = level->room == 0 ? 1 << 20 : level->room * 2;
		level->bytes = realloc(level->bytes, level->room);
		ASSERT(level->bytes != NULL);
	}
	memcpy(level->bytes + level->used, &length, sizeof(length));
	memcpy(level->bytes + level->used + sizeof(length), bytes, count);
	level->used += sizeof(length) + count;
}

static const unsigned char *level_next(struct level *level)
{
	uint16_t length;

	if (level->at == level->used)
		return NULL;
	memcpy(&length, level->bytes + level->at, sizeof(length));
	const unsigned char *bytes = level->bytes + level->at + sizeof(length);

	level->at += sizeof(length) + length;
	return bytes;
}

/* ---- one state ---- */

struct search {
	struct model *model;
	struct explored *explored;
	const struct limits *limits;
	struct level now;
	struct level next;
	double end;
};

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The state's number; a state never seen goes to the next level. */
static uint32_t find(struct search *search, const struct state *state, uint32_t parent)
{
	struct explored *explored = search->explored;
	unsigned char bytes[STATE_BYTES_MAX];
	size_t count = state_pack(search->model, state, bytes);
	struct hash128 hash = hash_bytes(bytes, count);
	struct visited *entry = place(explored, hash);

	if (entry->number != 0)
		return entry->number - 1;
	uint32_t number = explored->state_count++;

	*entry = (struct visited){ .hash = hash, .number = number + 1, .parent = parent };
	level_push(&search->next, bytes, count);
	if (explored->state_count > explored->visited_room / 3 * 2)
		widen(explored);
	return number;
}

static void add_edge(struct explored *explored, uint32_t to)
{
	explored->edges = model_grow(explored->edges, sizeof(*explored->edges),
				     explored->edge_count, &explored->edge_room);
	explored->edges[explored->edge_count++] = to;
}

/* False when the choice breaks a rule. */
static bool follow(struct search *search, const struct state *state, struct choice choice,
		   uint32_t number)
{
	struct state next = *state;
	bool runs;

	search->explored->transition_count++;
	if (!state_step(search->model, &next, choice, &runs))
		return false;
	uint32_t to = find(search, &next, number);

	if (choice.action.kind != ACT_CRASH)
		add_edge(search->explored, to);
	if (!runs)
		return true;
	choice.action.pieces = 1;
	return follow(search, state, choice, number);
}

static void break_at(struct explored *explored, uint32_t number, bool by)
{
	explored->broken = true;
	explored->broken_in = number;
	explored->by = by;
}

static void expand(struct search *search, const struct state *state, uint32_t number)
{
	struct explored *explored = search->explored;
	struct choice choices[CHOICES_MAX];
	unsigned int count = state_choices(search->model, state, choices);
	bool rests = true;

	explored->first_edge = model_grow(explored->first_edge, sizeof(*explored->first_edge),
					  number + 1, &explored->first_room);
	explored->first_edge[number] = explored->edge_count;
	for (unsigned int i = 0; i < count; i++) {
		rests &= choices[i].action.kind == ACT_CRASH;
		if (!follow(search, state, choices[i], number)) {
			break_at(explored, number, true);
			return;
		}
	}
	explored->first_edge[number + 1] = explored->edge_count;
	explored->expanded = number + 1;
	explored->quiet_count += rests;
	if (rests && !rest_check(search->model, state))
		break_at(explored, number, false);
}

/* ---- all of them ---- */

static bool out_of_room(const struct search *search)
{
	const struct explored *explored = search->explored;

	if (search->limits->states != 0 && explored->expanded >= search->limits->states)
		return true;
	return explored->expanded % 1024 == 0 && seconds_now() > search->end;
}

/* True when the level is done; false when the search is over. */
static bool expand_level(struct search *search)
{
	const unsigned char *bytes;

	while ((bytes = level_next(&search->now)) != NULL) {
		struct state state;

		if (out_of_room(search))
			return false;
		state_unpack(search->model, bytes, &state);
		expand(search, &state, search->explored->expanded);
		if (search->explored->broken)
			return false;
	}
	return true;
}

void explore(struct model *model, const struct limits *limits, struct explored *explored)
{
	struct search search = {
		.model = model,
		.explored = explored,
		.limits = limits,
		.end = seconds_now() + limits->seconds,
	};
	struct state first;
	double start = seconds_now();

	*explored = (struct explored){ .state_count = 0 };
	widen(explored);
	state_first(model, &first);
	find(&search, &first, NUMBER_NONE);
	while (search.next.used > 0) {
		struct level done = search.now;

		search.now = search.next;
		search.now.at = 0;
		search.next = done;
		search.next.used = 0;
		if (!expand_level(&search))
			break;
		explored->depth += search.next.used > 0;
	}
	explored->complete = !explored->broken && explored->expanded == explored->state_count;
	explored->seconds = seconds_now() - start;
	free(search.now.bytes);
	free(search.next.bytes);
}

void explored_free(struct explored *explored)
{
	free(explored->visited);
	free(explored->edges);
	free(explored->first_edge);
}

/* ---- the way back ---- */

struct hash128 *explored_path(const struct explored *explored, uint32_t number, uint32_t *length)
{
	uint32_t *entry_of = malloc(explored->state_count * sizeof(*entry_of));

	ASSERT(entry_of != NULL);
	for (uint32_t i = 0; i < explored->visited_room; i++) {
		if (explored->visited[i].number != 0)
			entry_of[explored->visited[i].number - 1] = i;
	}
	*length = 0;
	for (uint32_t at = number; at != 0; at = explored->visited[entry_of[at]].parent)
		(*length)++;
	struct hash128 *path = malloc((*length + 1) * sizeof(*path));

	ASSERT(path != NULL);
	for (uint32_t i = *length; i > 0; i--) {
		path[i - 1] = explored->visited[entry_of[number]].hash;
		number = explored->visited[entry_of[number]].parent;
	}
	free(entry_of);
	return path;
}
