/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 64-bit mixer: every input bit moves every output bit (the finaliser of Steele, Lea and Flood,
 * "Fast splittable pseudorandom number generators", OOPSLA 2014).
 */
#ifndef PERGOLA_BASE_HASH_H
#define PERGOLA_BASE_HASH_H

#include <stdint.h>

static inline uint64_t hash_u64(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif
