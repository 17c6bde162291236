/* SPDX-License-Identifier: Apache-2.0 */
/* Shared words, reached as the test says. */
#include "memory.h"

#include "coherent.h"

const char memory_help[] = "";

bool memory_break(const char *mode)
{
	(void)mode;
	return false;
}

void memory_alter(struct litmus_test *test)
{
	(void)test;
}

void memory_begin(struct memory *memory)
{
	(void)memory;
}

void memory_end(struct memory *memory)
{
	(void)memory;
}

uint32_t memory_access(struct memory *memory, const struct litmus_access *access)
{
	uint32_t *word = memory->words[access->location];

	return memory->relaxed ? coherent_access_relaxed(word, access)
			       : coherent_access(word, access);
}
