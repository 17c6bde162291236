/* SPDX-License-Identifier: Apache-2.0 */
/* The recursion. Scratch memory is a stack: each level takes its three blocks and gives them back.
 */
#include "serial.h"

const struct strassen_product strassen_products[7] = {
	{ { 1, 0, 0, 1 }, { 1, 0, 0, 1 }, { 1, 0, 0, 1 } },
	{ { 0, 0, 1, 1 }, { 1, 0, 0, 0 }, { 0, 0, 1, -1 } },
	{ { 1, 0, 0, 0 }, { 0, 1, 0, -1 }, { 0, 1, 0, 1 } },
	{ { 0, 0, 0, 1 }, { -1, 0, 1, 0 }, { 1, 0, 1, 0 } },
	{ { 1, 1, 0, 0 }, { 0, 0, 0, 1 }, { -1, 1, 0, 0 } },
	{ { -1, 0, 1, 0 }, { 1, 1, 0, 0 }, { 0, 0, 0, 1 } },
	{ { 0, 1, 0, -1 }, { 0, 0, 1, 1 }, { 1, 0, 0, 0 } },
};

static bool is_leaf(size_t leaf, size_t m, size_t k, size_t n)
{
	size_t least = m < k ? m : k;

	least = least < n ? least : n;
	return least <= leaf || least < 2;
}

unsigned int serial_levels(size_t leaf, size_t m, size_t k, size_t n)
{
	unsigned int levels = 0;

	for (; !is_leaf(leaf, m, k, n); m /= 2, k /= 2, n /= 2)
		levels++;
	return levels;
}

size_t serial_scratch_doubles(size_t leaf, size_t m, size_t k, size_t n)
{
	size_t doubles = leaf_scratch_doubles();

	for (; !is_leaf(leaf, m, k, n); m /= 2, k /= 2, n /= 2)
		doubles += (m / 2) * (k / 2) + (k / 2) * (n / 2) + (m / 2) * (n / 2);
	return doubles;
}

static void row_set(double *restrict out, size_t cols, double sign, const double *restrict x)
{
	for (size_t j = 0; j < cols; j++)
		out[j] = sign * x[j];
}

static void row_add(double *restrict out, size_t cols, double sign, const double *restrict x)
{
	for (size_t j = 0; j < cols; j++)
		out[j] += sign * x[j];
}

static void row_set_two(double *restrict out, size_t cols, double x_sign, const double *restrict x,
			double y_sign, const double *restrict y)
{
	for (size_t j = 0; j < cols; j++)
		out[j] = x_sign * x[j] + y_sign * y[j];
}

/* Row by row, so that a row of the sum stays in the first-level cache. */
void serial_sum(size_t rows, size_t cols, struct view to, const struct term *terms, size_t count)
{
	for (size_t i = 0; i < rows; i++) {
		double *out = to.at + i * to.ld;
		const double *first = terms[0].view.at + i * terms[0].view.ld;

		if (count == 1)
			row_set(out, cols, terms[0].sign, first);
		else
			row_set_two(out, cols, terms[0].sign, first, terms[1].sign,
				    terms[1].view.at + i * terms[1].view.ld);
		for (size_t t = 2; t < count; t++)
			row_add(out, cols, terms[t].sign, terms[t].view.at + i * terms[t].view.ld);
	}
}

/* to (rows x cols) += sign * x. */
static void accumulate(size_t rows, size_t cols, struct view to, double sign, struct const_view x)
{
	for (size_t i = 0; i < rows; i++)
		row_add(to.at + i * to.ld, cols, sign, x.at + i * x.ld);
}

/* Quadrant q of a matrix whose quadrants are rows x cols. */
static struct const_view quadrant(struct const_view matrix, size_t q, size_t rows, size_t cols)
{
	return (struct const_view){ matrix.at + (q / 2) * rows * matrix.ld + (q % 2) * cols,
				    matrix.ld };
}

/* A factor of a product: one of the quadrants itself, or the sum of two, put into `aside`. */
static struct const_view factor(const signed char signs[4], struct const_view matrix, size_t rows,
				size_t cols, double *aside)
{
	struct term terms[4];
	size_t count = 0;

	for (size_t q = 0; q < 4; q++) {
		if (signs[q] != 0)
			terms[count++] = (struct term){ signs[q], quadrant(matrix, q, rows, cols) };
	}
	/* In Strassen's table a lone quadrant has the sign 1. */
	if (count == 1)
		return terms[0].view;
	serial_sum(rows, cols, (struct view){ aside, cols }, terms, count);
	return (struct const_view){ aside, cols };
}

/* The rows and columns that halving left over. m2, k2, n2: the sizes of a quadrant. */
static void peel(const struct serial *serial, size_t m, size_t k, size_t n, struct const_view a,
		 struct const_view b, struct view c)
{
	size_t m2 = m & ~(size_t)1;
	size_t k2 = k & ~(size_t)1;
	size_t n2 = n & ~(size_t)1;
	const struct leaf_kernel *kernel = serial->kernel;

	if (k2 < k)
		leaf_multiply(kernel, serial->scratch, m2, 1, n2,
			      (struct const_view){ a.at + k2, a.ld },
			      (struct const_view){ b.at + k2 * b.ld, b.ld }, c, true);
	if (n2 < n)
		leaf_multiply(kernel, serial->scratch, m, k, 1, a,
			      (struct const_view){ b.at + n2, b.ld },
			      (struct view){ c.at + n2, c.ld }, false);
	if (m2 < m)
		leaf_multiply(kernel, serial->scratch, 1, k, n2,
			      (struct const_view){ a.at + m2 * a.ld, a.ld }, b,
			      (struct view){ c.at + m2 * c.ld, c.ld }, false);
}

/* Adds product `i` to the quadrants it belongs to; *written has a bit for each begun quadrant. */
static void distribute(const signed char signs[4], size_t rows, size_t cols,
		       struct const_view product, struct view c, unsigned int *written)
{
	for (size_t q = 0; q < 4; q++) {
		struct view to = { c.at + (q / 2) * rows * c.ld + (q % 2) * cols, c.ld };

		if (signs[q] == 0)
			continue;
		if ((*written >> q & 1) != 0)
			accumulate(rows, cols, to, signs[q], product);
		else
			serial_sum(rows, cols, to, &(struct term){ signs[q], product }, 1);
		*written |= 1u << q;
	}
}

/* `stack` is free scratch memory behind the leaf's. */
static void multiply(const struct serial *serial, double *stack, size_t m, size_t k, size_t n,
		     struct const_view a, struct const_view b, struct view c)
{
	if (is_leaf(serial->leaf, m, k, n)) {
		leaf_multiply(serial->kernel, serial->scratch, m, k, n, a, b, c, false);
		return;
	}
	size_t m2 = m / 2;
	size_t k2 = k / 2;
	size_t n2 = n / 2;
	double *left = stack;
	double *right = left + m2 * k2;
	double *product = right + k2 * n2;
	struct view to = { product, n2 };
	unsigned int written = 0;

	for (size_t i = 0; i < 7; i++) {
		const struct strassen_product *p = &strassen_products[i];

		multiply(serial, product + m2 * n2, m2, k2, n2, factor(p->a, a, m2, k2, left),
			 factor(p->b, b, k2, n2, right), to);
		distribute(p->c, m2, n2, view_const(to), c, &written);
	}
	peel(serial, m, k, n, a, b, c);
}

void serial_multiply(const struct serial *serial, size_t m, size_t k, size_t n, struct const_view a,
		     struct const_view b, struct view c)
{
	multiply(serial, serial->scratch + leaf_scratch_doubles(), m, k, n, a, b, c);
}
