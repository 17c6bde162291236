/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of whole 8-byte words while others load or store them: each word is accessed whole, which
 * memcpy() does not promise.
 */
#ifndef PERGOLA_BASE_WORD_COPY_H
#define PERGOLA_BASE_WORD_COPY_H

#include <stddef.h>
#include <stdint.h>

/* Below this many words a loop beats the start-up of a string instruction. */
#define WORD_COPY_STRING 32

typedef uint64_t word_alias __attribute__((may_alias));

/* Both sides aligned. */
static inline void word_copy(unsigned char *to, const unsigned char *from, size_t words)
{
#ifdef __x86_64__
	/* Moves in units of 8 bytes or more, and faster than any loop of 8-byte moves. */
	if (words >= WORD_COPY_STRING) {
		__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
		return;
	}
#endif
	for (size_t i = 0; i < words; i++) {
		uint64_t word = __atomic_load_n((const word_alias *)from + i, __ATOMIC_RELAXED);

		__atomic_store_n((word_alias *)to + i, word, __ATOMIC_RELAXED);
	}
}

#endif
