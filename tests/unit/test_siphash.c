/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4-128 against the reference vectors (key 00 01 .. 0f, message 00 01 .. n-1), whole and
 * in pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/siphash.h"

struct vector {
	size_t bytes;
	uint8_t tag[SIPHASH_TAG_BYTES];
};

static const struct vector vectors[] = {
	{ 0,
	  { 0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
	    0x02, 0x93 } },
	{ 1,
	  { 0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
	    0xfc, 0x45 } },
	{ 7,
	  { 0xa1, 0xf1, 0xeb, 0xbe, 0xd8, 0xdb, 0xc1, 0x53, 0xc0, 0xb8, 0x4a, 0xa6, 0x1f, 0xf0,
	    0x82, 0x39 } },
	{ 8,
	  { 0x3b, 0x62, 0xa9, 0xba, 0x62, 0x58, 0xf5, 0x61, 0x0f, 0x83, 0xe2, 0x64, 0xf3, 0x14,
	    0x97, 0xb4 } },
	{ 15,
	  { 0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97, 0xcf,
	    0xc3, 0xd9 } },
	{ 16,
	  { 0x6e, 0xe2, 0xa4, 0xca, 0x67, 0xb0, 0x54, 0xbb, 0xfd, 0x33, 0x15, 0xbf, 0x85, 0x23,
	    0x05, 0x77 } },
	{ 63,
	  { 0x51, 0x50, 0xd1, 0x77, 0x2f, 0x50, 0x83, 0x4a, 0x50, 0x3e, 0x06, 0x9a, 0x97, 0x3f,
	    0xbd, 0x7c } },
};

static void fill_counting(uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)i;
}

static void check_vector(const struct vector *vector, size_t piece_bytes)
{
	uint8_t key[SIPHASH_KEY_BYTES];
	uint8_t message[64];
	uint8_t tag[SIPHASH_TAG_BYTES];
	struct siphash hash;

	fill_counting(key, sizeof(key));
	fill_counting(message, sizeof(message));
	siphash_init(&hash, key);
	for (size_t at = 0; at < vector->bytes; at += piece_bytes) {
		size_t left = vector->bytes - at;

		siphash_update(&hash, message + at, left < piece_bytes ? left : piece_bytes);
	}
	siphash_final(&hash, tag);
	assert_memory_equal(tag, vector->tag, sizeof(tag));
}

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		check_vector(&vectors[i], 64);
		check_vector(&vectors[i], 1);
		check_vector(&vectors[i], 3);
	}
}

static void test_equal(void **state)
{
	uint8_t a[4] = { 1, 2, 3, 4 };
	uint8_t b[4] = { 1, 2, 3, 4 };

	(void)state;
	assert_true(siphash_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		assert_false(siphash_equal(a, b, sizeof(a)));
		b[i] ^= 0x80;
	}
	assert_true(siphash_equal(a, b, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
