/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the counts of rows taken: a hash table, since a step may take several. One thread. */
#include "taken.h"

#include "base/assert.h"
#include "base/hash.h"
#include "engine/rows.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#define SLOTS 1024u

static struct {
	const char *name;
	uint64_t count;
} slots[SLOTS];

static unsigned int used;
static void (*listening)(const char *row);

void taken_listen(void (*listener)(const char *row))
{
	listening = listener;
}

void engine_row(const char *name)
{
	uint64_t slot = hash_u64((uintptr_t)name) % SLOTS;

	while (slots[slot].name != NULL && slots[slot].name != name)
		slot = (slot + 1) % SLOTS;
	if (slots[slot].name == NULL) {
		ASSERT(++used < SLOTS);
		slots[slot].name = name;
	}
	slots[slot].count++;
	if (listening != NULL)
		listening(name);
}

unsigned int taken_count(void)
{
	return used;
}

void taken_print(void)
{
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		if (slots[slot].name != NULL)
			printf("%s\t%" PRIu64 "\n", slots[slot].name, slots[slot].count);
	}
}
