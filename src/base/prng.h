/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reproducible pseudo-random sequence: the same seed, the same sequence, on every machine. Not
 * for secrets.
 */
#ifndef PERGOLA_BASE_PRNG_H
#define PERGOLA_BASE_PRNG_H

#include "base/hash.h"

#include <stdint.h>

struct prng {
	uint64_t state;
};

static inline struct prng prng_init(uint64_t seed)
{
	return (struct prng){ seed };
}

static inline uint64_t prng_next(struct prng *prng)
{
	prng->state += UINT64_C(0x9e3779b97f4a7c15);
	return hash_u64(prng->state);
}

/* Uniform in [0, limit); limit > 0. The bias of limit / 2^64 is below notice. */
static inline uint64_t prng_below(struct prng *prng, uint64_t limit)
{
	return (uint64_t)(((unsigned __int128)prng_next(prng) * limit) >> 64);
}

/* Uniform in [0, 1). */
static inline double prng_unit(struct prng *prng)
{
	return (double)(prng_next(prng) >> 11) * 0x1.0p-53;
}

#endif
