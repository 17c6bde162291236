/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strassen's multiplication in one thread on private memory: recursion down to leaf_multiply(),
 * odd sizes peeled at every level (Strassen, "Gaussian elimination is not optimal", Numerische
 * Mathematik 13, 1969; peeling: Huss-Lederman et al., "Implementation of Strassen's algorithm for
 * matrix multiplication", Supercomputing 1996).
 */
#ifndef APPS_STRASSEN_SERIAL_H
#define APPS_STRASSEN_SERIAL_H

#include "leaf.h"

#include <stddef.h>

/*
 * Strassen's seven products. Product i is (sum of a[i][q] A_q) (sum of b[i][q] B_q), and C_q is
 * the sum of c[i][q] times product i; quadrants q in the order 11, 12, 21, 22.
 */
struct strassen_product {
	signed char a[4];
	signed char b[4];
	signed char c[4];
};

extern const struct strassen_product strassen_products[7];

struct serial {
	const struct leaf_kernel *kernel;
	size_t leaf;	 /* a product whose smallest size is at most this is a leaf; >= 1 */
	double *scratch; /* serial_scratch_doubles(), page-aligned */
};

/* Levels of recursion for a product of these sizes. */
unsigned int serial_levels(size_t leaf, size_t m, size_t k, size_t n);

size_t serial_scratch_doubles(size_t leaf, size_t m, size_t k, size_t n);

/* c (m x n) = a (m x k) times b (k x n). Nothing overlaps. */
void serial_multiply(const struct serial *serial, size_t m, size_t k, size_t n, struct const_view a,
		     struct const_view b, struct view c);

/* One term of a sum of matrices. */
struct term {
	double sign; /* 1 or -1 */
	struct const_view view;
};

/* to (rows x cols) = the sum of the terms; count >= 1. */
void serial_sum(size_t rows, size_t cols, struct view to, const struct term *terms, size_t count);

#endif
