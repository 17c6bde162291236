/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial part of Strassen's multiplication against three loops, on matrices of small whole
 * numbers, whose products are exact in any order of sums: every difference is an error. And every
 * kernel this CPU can run.
 */
#include "strassen/serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Surrounds what is written, to see that nothing else is. */
#define MARK 12345.0

struct fixture {
	size_t m;
	size_t k;
	size_t n;
	size_t ld; /* of C: more than n */
	double *a;
	double *b;
	double *c;
	double *expected;
};

static double *doubles(size_t count)
{
	double *values = aligned_alloc(64, (count * sizeof(double) / 64 + 1) * 64);

	assert_non_null(values);
	return values;
}

static void fill(double *values, size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		values[i] = (double)(int64_t)(seed >> 60) - 7;
	}
}

static struct fixture make(size_t m, size_t k, size_t n)
{
	struct fixture f = { m, k, n, n + 3, NULL, NULL, NULL, NULL };

	f.a = doubles(m * k);
	f.b = doubles(k * n);
	f.c = doubles(m * f.ld);
	f.expected = doubles(m * f.ld);
	fill(f.a, m * k, m + 1);
	fill(f.b, k * n, n + 2);
	for (size_t i = 0; i < m * f.ld; i++)
		f.c[i] = f.expected[i] = MARK;
	for (size_t i = 0; i < m; i++) {
		for (size_t j = 0; j < n; j++) {
			double sum = 0;

			for (size_t p = 0; p < k; p++)
				sum += f.a[i * k + p] * f.b[p * n + j];
			f.expected[i * f.ld + j] = sum;
		}
	}
	return f;
}

static void check_and_free(struct fixture *f, const char *what)
{
	for (size_t i = 0; i < f->m * f->ld; i++) {
		if (f->c[i] != f->expected[i])
			fail_msg("%s, %zu x %zu x %zu: %g at (%zu, %zu), not %g", what, f->m, f->k,
				 f->n, f->c[i], i / f->ld, i % f->ld, f->expected[i]);
	}
	free(f->a);
	free(f->b);
	free(f->c);
	free(f->expected);
}

static const size_t sizes[][3] = {
	{ 1, 1, 1 },	{ 1, 5, 1 },	  { 2, 2, 2 },	     { 3, 3, 3 },
	{ 4, 4, 4 },	{ 8, 16, 16 },	  { 7, 9, 11 },	     { 16, 16, 16 },
	{ 17, 33, 65 }, { 31, 1, 31 },	  { 1, 100, 40 },    { 40, 100, 1 },
	{ 64, 64, 64 }, { 97, 101, 103 }, { 100, 300, 520 }, /* past the blocks of every loop */
};

static void test_leaf(void **state)
{
	size_t kernel_count = 0;
	const struct leaf_kernel *kernels = leaf_kernels(&kernel_count);
	double *scratch = doubles(leaf_scratch_doubles());

	(void)state;
	assert_true(kernel_count >= 1);
	for (size_t i = 0; i < kernel_count * (sizeof(sizes) / sizeof(sizes[0])); i++) {
		const size_t *s = sizes[i / kernel_count];
		const struct leaf_kernel *kernel = &kernels[i % kernel_count];
		struct fixture f = make(s[0], s[1], s[2]);

		leaf_multiply(kernel, scratch, f.m, f.k, f.n, (struct const_view){ f.a, f.k },
			      (struct const_view){ f.b, f.n }, (struct view){ f.c, f.ld }, false);
		check_and_free(&f, kernel->name);
	}
	free(scratch);
}

static void test_leaf_adds(void **state)
{
	size_t kernel_count = 0;
	const struct leaf_kernel *kernels = leaf_kernels(&kernel_count);
	double *scratch = doubles(leaf_scratch_doubles());

	(void)state;
	for (size_t i = 0; i < kernel_count; i++) {
		struct fixture f = make(29, 300, 35);

		for (size_t j = 0; j < f.m * f.ld; j++) {
			if (j % f.ld < f.n)
				f.expected[j] += MARK;
		}
		leaf_multiply(&kernels[i], scratch, f.m, f.k, f.n, (struct const_view){ f.a, f.k },
			      (struct const_view){ f.b, f.n }, (struct view){ f.c, f.ld }, true);
		check_and_free(&f, kernels[i].name);
	}
	free(scratch);
}

/* The identities themselves: the sum of the products' terms is A B, and nothing else. */
static void test_table(void **state)
{
	(void)state;
	for (int c = 0; c < 4; c++) {
		for (int ab = 0; ab < 16; ab++) {
			int a = ab / 4;
			int b = ab % 4;
			int sum = 0;

			for (size_t i = 0; i < 7; i++) {
				const struct strassen_product *p = &strassen_products[i];

				sum += p->c[c] * p->a[a] * p->b[b];
			}
			assert_int_equal(sum, a / 2 == c / 2 && b % 2 == c % 2 && a % 2 == b / 2);
		}
	}
}

static void check_recursion(size_t leaf, const size_t *s)
{
	size_t kernel_count = 0;
	struct serial serial = { .kernel = leaf_kernels(&kernel_count), .leaf = leaf };
	size_t scratch = serial_scratch_doubles(leaf, s[0], s[1], s[2]);
	struct fixture f = make(s[0], s[1], s[2]);

	serial.scratch = doubles(scratch + 1);
	serial.scratch[scratch] = MARK;
	serial_multiply(&serial, f.m, f.k, f.n, (struct const_view){ f.a, f.k },
			(struct const_view){ f.b, f.n }, (struct view){ f.c, f.ld });
	assert_true(serial.scratch[scratch] == MARK);
	free(serial.scratch);
	check_and_free(&f, "recursion");
}

static void test_recursion(void **state)
{
	static const size_t leaves[] = { 1, 2, 3, 8, 50, 1000 };

	(void)state;
	for (size_t l = 0; l < sizeof(leaves) / sizeof(leaves[0]); l++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			check_recursion(leaves[l], sizes[i]);
	}
}

static void test_levels(void **state)
{
	(void)state;
	assert_int_equal(serial_levels(512, 512, 4096, 4096), 0);
	assert_int_equal(serial_levels(512, 513, 4096, 4096), 1);
	assert_int_equal(serial_levels(512, 2048, 2048, 2048), 2);
	assert_int_equal(serial_levels(1, 1, 7, 7), 0);
	assert_int_equal(serial_levels(1, 7, 7, 7), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	  cmocka_unit_test(test_leaf),
		cmocka_unit_test(test_leaf_adds), cmocka_unit_test(test_recursion),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
