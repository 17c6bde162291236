/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of small integers over words that the caller owns. All-zero words are the empty set, so
 * that memory fresh from the kernel holds empty sets.
 */
#ifndef PERGOLA_BASE_BITSET_H
#define PERGOLA_BASE_BITSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITSET_NONE SIZE_MAX

static inline size_t bitset_words(size_t bit_count)
{
	return (bit_count + 63) / 64;
}

static inline bool bitset_test(const uint64_t *words, size_t bit)
{
	return words[bit / 64] >> (bit % 64) & 1;
}

static inline void bitset_set(uint64_t *words, size_t bit)
{
	words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void bitset_clear(uint64_t *words, size_t bit)
{
	words[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

static inline void bitset_zero(uint64_t *words, size_t word_count)
{
	for (size_t i = 0; i < word_count; i++)
		words[i] = 0;
}

static inline size_t bitset_count(const uint64_t *words, size_t word_count)
{
	size_t count = 0;

	for (size_t i = 0; i < word_count; i++)
		count += (size_t)__builtin_popcountll(words[i]);
	return count;
}

static inline bool bitset_empty(const uint64_t *words, size_t word_count)
{
	for (size_t i = 0; i < word_count; i++) {
		if (words[i] != 0)
			return false;
	}
	return true;
}

/* The first member >= `from`, or BITSET_NONE. */
static inline size_t bitset_next(const uint64_t *words, size_t word_count, size_t from)
{
	size_t i = from / 64;

	if (i >= word_count)
		return BITSET_NONE;
	uint64_t word = words[i] & (~UINT64_C(0) << (from % 64));
	while (word == 0) {
		if (++i == word_count)
			return BITSET_NONE;
		word = words[i];
	}
	return i * 64 + (size_t)__builtin_ctzll(word);
}

#endif
