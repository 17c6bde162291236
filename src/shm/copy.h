/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies to and from memory that other processes change meanwhile. Each aligned 8-byte word of the
 * remote side is accessed whole, which memcpy() does not promise; bytes before the first and
 * after the last whole word are accessed one by one.
 */
#ifndef PERGOLA_SHM_COPY_H
#define PERGOLA_SHM_COPY_H

#include "base/word_copy.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

static inline void shm_copy_from(unsigned char *local, const unsigned char *remote, size_t bytes)
{
	size_t lead = shm_copy_lead(remote, bytes);
	size_t words = (bytes - lead) / 8;

	shm_copy_bytes(local, remote, lead);
	local += lead;
	remote += lead;
	if ((uintptr_t)local % 8 == 0) {
		word_copy(local, remote, words);
	} else {
		for (size_t i = 0; i < words; i++) {
			uint64_t word =
				__atomic_load_n((const word_alias *)remote + i, __ATOMIC_RELAXED);

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
		word_copy(remote, local, words);
	} else {
		for (size_t i = 0; i < words; i++) {
			uint64_t word;

			memcpy(&word, local + i * 8, 8);
			__atomic_store_n((word_alias *)remote + i, word, __ATOMIC_RELAXED);
		}
	}
	shm_copy_bytes(remote + words * 8, local + words * 8, (bytes - lead) % 8);
}

#endif
