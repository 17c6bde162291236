/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.h"

static uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], int count)
{
	for (int i = 0; i < count; i++) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static uint64_t load_le64(const uint8_t *bytes)
{
	uint64_t word = 0;

	for (unsigned int i = 0; i < 8; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	return word;
}

static void store_le64(uint8_t *bytes, uint64_t word)
{
	for (unsigned int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(word >> (8 * i));
}

static void absorb(struct siphash *hash, uint64_t word)
{
	hash->v[3] ^= word;
	rounds(hash->v, 2);
	hash->v[0] ^= word;
}

void siphash_init(struct siphash *hash, const uint8_t key[SIPHASH_KEY_BYTES])
{
	uint64_t k0 = load_le64(key);
	uint64_t k1 = load_le64(key + 8);

	hash->v[0] = k0 ^ UINT64_C(0x736f6d6570736575);
	hash->v[1] = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee; /* 0xee: 128-bit output */
	hash->v[2] = k0 ^ UINT64_C(0x6c7967656e657261);
	hash->v[3] = k1 ^ UINT64_C(0x7465646279746573);
	hash->tail = 0;
	hash->bytes = 0;
}

void siphash_update(struct siphash *hash, const void *data, size_t bytes)
{
	const uint8_t *next = data;

	for (size_t i = 0; i < bytes; i++) {
		hash->tail |= (uint64_t)next[i] << (8 * (hash->bytes % 8));
		if (++hash->bytes % 8 == 0) {
			absorb(hash, hash->tail);
			hash->tail = 0;
		}
	}
}

void siphash_final(struct siphash *hash, uint8_t tag[SIPHASH_TAG_BYTES])
{
	absorb(hash, hash->tail | hash->bytes << 56);
	for (size_t half = 0; half < 2; half++) {
		if (half == 0)
			hash->v[2] ^= 0xee;
		else
			hash->v[1] ^= 0xdd;
		rounds(hash->v, 4);
		store_le64(tag + 8 * half, hash->v[0] ^ hash->v[1] ^ hash->v[2] ^ hash->v[3]);
	}
}

bool siphash_equal(const void *a, const void *b, size_t bytes)
{
	const volatile uint8_t *left = a;
	const volatile uint8_t *right = b;
	unsigned int difference = 0;

	for (size_t i = 0; i < bytes; i++)
		difference |= (unsigned int)(left[i] ^ right[i]);
	return difference == 0;
}
