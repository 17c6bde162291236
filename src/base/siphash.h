/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 with 128-bit output, a keyed hash of short messages (Aumasson and Bernstein,
 * "SipHash: a fast short-input PRF", INDOCRYPT 2012; the 128-bit variant is that of the authors'
 * reference code). For proofs of a shared secret between nodes; not a hash without a key.
 */
#ifndef PERGOLA_BASE_SIPHASH_H
#define PERGOLA_BASE_SIPHASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_BYTES 16
#define SIPHASH_TAG_BYTES 16

struct siphash {
	uint64_t v[4];
	uint64_t tail; /* bytes not yet mixed in, lowest first */
	uint64_t bytes;
};

void siphash_init(struct siphash *hash, const uint8_t key[SIPHASH_KEY_BYTES]);
void siphash_update(struct siphash *hash, const void *data, size_t bytes);
void siphash_final(struct siphash *hash, uint8_t tag[SIPHASH_TAG_BYTES]);

/* Compares in time that depends on `bytes` alone. */
bool siphash_equal(const void *a, const void *b, size_t bytes);

#endif
