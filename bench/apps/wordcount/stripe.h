/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged counts: a hash table in shared memory, cut by hash into stripes. A stripe is one block
 * of shared memory with its places and the bytes of its words, big enough from the start for all
 * that the nodes have announced, and at home on the node that made it; its lock (named by its
 * address) protects it while nodes merge, and no stripe shares a page with another.
 */
#ifndef APPS_WORDCOUNT_STRIPE_H
#define APPS_WORDCOUNT_STRIPE_H

#include "words.h"

/* What a node has for a stripe, or all nodes together. */
struct stripe_need {
	uint64_t words;
	uint64_t bytes;
};

struct stripe_place {
	uint64_t hash;
	uint64_t count;	 /* 0: free */
	uint64_t offset; /* of the word's bytes, from the start of the stripe */
	uint64_t length;
};

struct stripe {
	uint64_t place_count; /* a power of two */
	uint64_t word_count;
	uint64_t used; /* bytes from the start of the stripe */
	uint64_t size;
	struct stripe_place place[];
};

/* The stripe that a hash belongs to. */
size_t stripe_index(uint64_t hash, size_t stripe_count);

/* Bytes of a stripe for `need`. */
size_t stripe_bytes(const struct stripe_need *need);

void stripe_init(struct stripe *stripe, const struct stripe_need *need);

/* Adds a word's count. The caller holds the lock; there is room. */
void stripe_add(struct stripe *stripe, const struct word *word);

static inline const char *stripe_text(const struct stripe *stripe, const struct stripe_place *place)
{
	return (const char *)stripe + place->offset;
}

#endif
