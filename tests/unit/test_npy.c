/* SPDX-License-Identifier: Apache-2.0 */
/* The reader and writer of NumPy files: every header that is taken, and why others are refused. */
#include "common/npy.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER_MAX 512u

/* A file's first bytes: preamble of the version, dictionary, padding, newline. */
static size_t build(unsigned char *out, unsigned int major, const char *dictionary)
{
	size_t length_bytes = major == 1 ? 2 : 4;
	size_t start = 8 + length_bytes;
	size_t total = (start + strlen(dictionary) + 1 + 63) / 64 * 64;
	size_t length = total - start;

	memset(out, ' ', total);
	memcpy(out, "\x93NUMPY", 6);
	out[6] = (unsigned char)major;
	out[7] = 0;
	for (size_t i = 0; i < length_bytes; i++)
		out[8 + i] = (unsigned char)(length >> 8 * i);
	memcpy(out + start, dictionary, strlen(dictionary));
	out[total - 1] = '\n';
	return total;
}

#define GOOD "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }"

struct header_case {
	const char *dictionary;
	unsigned int major;
	uint64_t data_bytes;
	const char *refused; /* part of the sentence; NULL: taken as 3 x 4 */
};

static const struct header_case header_cases[] = {
	{ GOOD, 1, 96, NULL },
	{ GOOD, 2, 96, NULL },
	{ GOOD, 3, 96, NULL },
	{ "{\"shape\":(3,4),\"descr\":\"<f8\",\"fortran_order\":False}", 1, 96, NULL },
	{ GOOD, 4, 96, "version 4.0" },
	{ GOOD, 0, 96, "version 0.0" },
	{ GOOD, 1, 95, "truncated" },
	{ GOOD, 1, 97, "too many" },
	{ GOOD, 1, 0, "truncated" },
	{ "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 1, 48, "'<f4'" },
	{ "{'descr': '>f8', 'fortran_order': False, 'shape': (3, 4), }", 1, 96, "'>f8'" },
	{ "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3, 4), }", 1, 96,
	  "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 4), }", 1, 96, "Fortran" },
	{ "{'descr': '<f8', 'fortran_order': Maybe, 'shape': (3, 4), }", 1, 96, "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 1, 8, "0 dimensions" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (12,), }", 1, 96, "1 dimension," },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2, 2), }", 1, 96, "3 dimensions" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4), }", 1, 0, "empty matrix" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 4), }", 1, 96, "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (3 4), }", 1, 96, "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 1, 0,
	  "more bytes than can be counted" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976, 2), }", 1, 0,
	  "more bytes than can be counted" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 1), }", 1, 0,
	  "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': False, }", 1, 96, "dictionary" },
	{ "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }", 1, 96,
	  "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), 'more': 1}", 1, 96,
	  "dictionary" },
	{ "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), } x", 1, 96, "dictionary" },
	{ "{'descr': '<f8", 1, 96, "dictionary" },
	{ "", 1, 96, "dictionary" },
};

static void check_header(const struct header_case *c)
{
	unsigned char bytes[HEADER_MAX];
	struct npy_header header = { 0 };
	struct app_error error = { "" };
	size_t size = build(bytes, c->major, c->dictionary);
	int status = npy_header_parse(bytes, size, size + c->data_bytes, &header, &error);

	if (c->refused == NULL) {
		assert_int_equal(status, 0);
		assert_int_equal(header.rows, 3);
		assert_int_equal(header.cols, 4);
		assert_int_equal(header.data_offset, size);
		return;
	}
	assert_int_equal(status, APP_BAD_INPUT);
	if (strstr(error.text, c->refused) == NULL)
		fail_msg("%s: refused with \"%s\", not \"%s\"", c->dictionary, error.text,
			 c->refused);
}

static void test_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(header_cases) / sizeof(header_cases[0]); i++)
		check_header(&header_cases[i]);
}

/* Cut off anywhere, a file is refused, and no byte past its end is read (a sanitizer would see). */
static void test_every_prefix_is_refused(void **state)
{
	unsigned char bytes[HEADER_MAX];
	size_t total = build(bytes, 2, GOOD);

	(void)state;
	for (size_t size = 0; size <= total; size++) {
		unsigned char *exact = malloc(size + (size == 0));
		struct npy_header header;
		struct app_error error = { "" };

		assert_non_null(exact);
		memcpy(exact, bytes, size);
		assert_int_equal(npy_header_parse(exact, size, size, &header, &error),
				 APP_BAD_INPUT);
		assert_true(error.text[0] != '\0');
		free(exact);
	}
}

static void test_header_longer_than_file(void **state)
{
	unsigned char bytes[HEADER_MAX];
	struct npy_header header;
	struct app_error error;
	size_t size = build(bytes, 2, GOOD);

	(void)state;
	memcpy(bytes + 8, "\xff\xff\xff\xff", 4);
	assert_int_equal(npy_header_parse(bytes, size, size + 96, &header, &error), APP_BAD_INPUT);
	assert_non_null(strstr(error.text, "more than the file has"));
}

/* Random damage: never a crash, and what is taken is consistent with the file's length. */
static void test_damage(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (size_t round = 0; round < 20000; round++) {
		unsigned char bytes[HEADER_MAX];
		struct npy_header header;
		struct app_error error;
		size_t size = build(bytes, 1 + (unsigned int)(round % 3), GOOD);

		for (size_t i = 0; i < 1 + round % 3; i++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
			bytes[(random >> 33) % size] = (unsigned char)(random >> 56);
		}
		if (npy_header_parse(bytes, size, size + 96, &header, &error) == 0)
			assert_int_equal(header.data_offset + header.rows * header.cols * 8,
					 size + 96);
	}
}

static void make_path(char path[64])
{
	(void)strcpy(path, "/tmp/pergola-npy-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	(void)close(fd);
}

static void test_round_trip(void **state)
{
	double values[6] = { 1.5, -0.0, 3e300, -4, 5e-324, INFINITY };
	double back[6] = { 0 };
	struct npy_file file;
	struct app_error error = { "" };
	char path[64];

	(void)state;
	make_path(path);
	assert_int_equal(npy_create(&file, path, 2, 3, &error), 0);
	assert_int_equal(npy_write(&file, values, 2, &error), 0);
	assert_int_equal(npy_write(&file, values + 2, 4, &error), 0);
	assert_int_equal(npy_close(&file, &error), 0);
	assert_int_equal(npy_open(&file, path, &error), 0);
	assert_int_equal(file.rows, 2);
	assert_int_equal(file.cols, 3);
	assert_int_equal(npy_read(&file, back, 6, &error), 0);
	assert_int_equal(npy_close(&file, &error), 0);
	assert_memory_equal(values, back, sizeof(values));
	assert_int_equal(unlink(path), 0);
}

static void test_files_that_are_refused(void **state)
{
	struct npy_file file;
	struct app_error error = { "" };
	char path[64];

	(void)state;
	make_path(path);
	assert_int_equal(npy_open(&file, path, &error), APP_BAD_INPUT);
	assert_non_null(strstr(error.text, "empty file"));
	assert_non_null(strstr(error.text, path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(npy_open(&file, path, &error), APP_BAD_INPUT);
	assert_non_null(strstr(error.text, "No such file"));
	assert_int_equal(npy_open(&file, "/tmp", &error), APP_BAD_INPUT);
	assert_non_null(strstr(error.text, "not a regular file"));
	assert_int_equal(npy_create(&file, "/nowhere/at/all.npy", 1, 1, &error), APP_BAD_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_every_prefix_is_refused),
		cmocka_unit_test(test_header_longer_than_file),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_files_that_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
