/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared words behind a layer that is not coherent, for litmus_broken: what the runner has to find.
 * Each mode breaks one promise.
 */
#include "memory.h"

#include "alter.h"
#include "check.h"
#include "coherent.h"

enum mode {
	WHOLE,
	ONE_EXCHANGED,
	ALL_EXCHANGED,
	STORES_LATE,
	LOADS_STALE,
	UPDATES_TORN,
	THIN_AIR,
};

static const char *const mode_names[] = {
	[ONE_EXCHANGED] = "one-exchanged", [ALL_EXCHANGED] = "all-exchanged",
	[STORES_LATE] = "stores-late",	   [LOADS_STALE] = "loads-stale",
	[UPDATES_TORN] = "updates-torn",   [THIN_AIR] = "thin-air",
};

const char memory_help[] =
	"  --broken MODE    break the memory between the threads and the shared words:\n"
	"                   one-exchanged  two accesses of a thread are exchanged\n"
	"                   all-exchanged  two accesses of each thread are exchanged\n"
	"                   stores-late    a thread's stores wait in a buffer of its own\n"
	"                   loads-stale    a load may find what was there before\n"
	"                   updates-torn   an update is a load, and a store later\n"
	"                   thin-air       a load may find what nobody has stored\n";

static enum mode mode; /* set once, before there are threads */

bool memory_break(const char *name)
{
	for (size_t i = ONE_EXCHANGED; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (strcmp(name, mode_names[i]) == 0)
			mode = (enum mode)i;
	}
	return mode != WHOLE;
}

/* In all threads: then what a circle needs of the others comes about when all run at once. */
void memory_alter(struct litmus_test *test)
{
	bool done = mode != ONE_EXCHANGED && mode != ALL_EXCHANGED;

	for (unsigned int t = 0; t < test->thread_count && !done; t++)
		done = alter_exchange_first(test, t) && mode == ONE_EXCHANGED;
}

/* ---- accesses ---- */

static uint32_t access_word(struct memory *memory, const struct litmus_access *access)
{
	return coherent_access(memory->words[access->location], access);
}

static uint32_t load(struct memory *memory, unsigned int location)
{
	const struct litmus_access access = { .kind = LITMUS_LOAD, .location = location };

	return access_word(memory, &access);
}

/* So long that others may come in between. */
static void linger(struct memory *memory)
{
	uint64_t end = check_now_ns() + check_below(memory->random, 100000);

	while (check_now_ns() < end)
		;
}

void memory_begin(struct memory *memory)
{
	memory->held_count = 0;
	for (unsigned int i = 0; mode == LOADS_STALE && i < memory->location_count; i++)
		memory->earlier[i] = load(memory, i);
}

void memory_end(struct memory *memory)
{
	if (memory->held_count > 0)
		linger(memory);
	for (unsigned int i = 0; i < memory->held_count; i++)
		access_word(memory, &memory->held[i]);
	memory->held_count = 0;
}

/* A thread sees its own stores at once; the others see them at its end. */
static uint32_t access_late(struct memory *memory, const struct litmus_access *access)
{
	unsigned int i = memory->held_count;
	struct litmus_access store = { .kind = LITMUS_STORE, .location = access->location };
	uint32_t seen;

	while (i > 0 && memory->held[i - 1].location != access->location)
		i--;
	seen = i > 0 ? memory->held[i - 1].operand : load(memory, access->location);
	store.operand = litmus_after(access, seen);
	if (access->kind != LITMUS_LOAD)
		memory->held[memory->held_count++] = store;
	return seen;
}

static uint32_t access_torn(struct memory *memory, const struct litmus_access *access)
{
	struct litmus_access store = { .kind = LITMUS_STORE, .location = access->location };
	uint32_t seen = load(memory, access->location);

	linger(memory);
	store.operand = litmus_after(access, seen);
	access_word(memory, &store);
	return seen;
}

uint32_t memory_access(struct memory *memory, const struct litmus_access *access)
{
	switch (mode) {
	case WHOLE:
		break;
	case ONE_EXCHANGED:
	case ALL_EXCHANGED:
		linger(memory);
		break;
	case STORES_LATE:
		return access_late(memory, access);
	case LOADS_STALE:
		if (access->kind == LITMUS_LOAD && check_below(memory->random, 2) == 0)
			return memory->earlier[access->location];
		break;
	case UPDATES_TORN:
		if (access->kind == LITMUS_UPDATE || access->kind == LITMUS_COMPARE)
			return access_torn(memory, access);
		break;
	case THIN_AIR:
		if (access->kind == LITMUS_LOAD && check_below(memory->random, 4) == 0)
			return (uint32_t)check_below(memory->random, 4);
		break;
	}
	return access_word(memory, access);
}
