/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies to and from memory that other processes change meanwhile. Each aligned 8-byte word of the
 * remote side is accessed whole, which memcpy() does not promise; bytes before the first and
 * after the last whole word are accessed one by one.
 */
#ifndef PERGOLA_SHM_COPY_H
#define PERGOLA_SHM_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Below this many words a loop beats the start-up of a string instruction. */
#define SHM_COPY_STRING_WORDS 32

typedef uint64_t shm_word __attribute__((may_alias));

static inline size_t shm_copy_lead(const void *remote, size_t bytes)
{
	size_t lead = (size_t)(-(uintptr_t)remote % 8);

	return lead < bytes ? lead : bytes;
}

static inline void shm_copy_bytes(unsigned char *to, const unsigned char *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		unsigned char byte = __atomic_load_n(from + i, __ATOMIC_RELAXED);

		__atomic_store_n(to + i, byte, __ATOMIC_RELAXED);
	}
}

/* Both sides aligned. */
static inline void shm_copy_words(unsigned char *to, const unsigned char *from, size_t words)
{
#ifdef __x86_64__
	/* Moves in units of 8 bytes or more, and faster than any loop of 8-byte moves. */
	if (words >= SHM_COPY_STRING_WORDS) {
		__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
		return;
	}
#endif
	for (size_t i = 0; i < words; i++) {
		uint64_t word = __atomic_load_n((const shm_word *)from + i, __ATOMIC_RELAXED);

		__atomic_store_n((shm_word *)to + i, word, __ATOMIC_RELAXED);
	}
}

static inline void shm_copy_from(unsigned char *local, const unsigned char *remote, size_t bytes)
{
	size_t lead = shm_copy_lead(remote, bytes);
	size_t words = (bytes - lead) / 8;

	shm_copy_bytes(local, remote, lead);
	local += lead;
	remote += lead;
	if ((uintptr_t)local % 8 == 0) {
		shm_copy_words(local, remote, words);
	} else {
		for (size_t i = 0; i < words; i++) {
			uint64_t word =
				__atomic_load_n((const shm_word *)remote + i, __ATOMIC_RELAXED);

			memcpy(local + i * 8, &word, 8);
		}
	}
	shm_copy_bytes(local + words * 8, remote + words * 8, (bytes - lead) % 8);
}

static inline void shm_copy_to(unsigned char *remote, const unsigned char *local, size_t bytes)
{
	size_t lead = shm_copy_lead(remote, bytes);
	size_t words = (bytes - lead) / 8;

	shm_copy_bytes(remote, local, lead);
	local += lead;
	remote += lead;
	if ((uintptr_t)local % 8 == 0) {
		shm_copy_words(remote, local, words);
	} else {
		for (size_t i = 0; i < words; i++) {
			uint64_t word;

			memcpy(&word, local + i * 8, 8);
			__atomic_store_n((shm_word *)remote + i, word, __ATOMIC_RELAXED);
		}
	}
	shm_copy_bytes(remote + words * 8, local + words * 8, (bytes - lead) % 8);
}

#endif
