/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conventional matrix multiplication, for the leaves of Strassen's recursion: operands are packed
 * into panels that fit the caches, and a register tile of the result is computed with the widest
 * vectors this CPU has (Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication", ACM TOMS 34(3), 2008). One thread.
 */
#ifndef APPS_STRASSEN_LEAF_H
#define APPS_STRASSEN_LEAF_H

#include <stdbool.h>
#include <stddef.h>

/* A matrix inside a larger one: element (i, j) stands at at[i * ld + j]. */
struct view {
	double *at;
	size_t ld;
};

struct const_view {
	const double *at;
	size_t ld;
};

static inline struct const_view view_const(struct view view)
{
	return (struct const_view){ view.at, view.ld };
}

/* A register tile: c (tile_rows x tile_cols) = or += a panel times b panel, both packed, k long. */
struct leaf_kernel {
	const char *name;
	size_t tile_rows;
	size_t tile_cols;
	void (*run)(size_t k, const double *a, const double *b, struct view c, bool add);
};

/* The kernels that this CPU can run, best first; the last one runs anywhere. At least one. */
const struct leaf_kernel *leaf_kernels(size_t *count);

/* Doubles of scratch memory that leaf_multiply() needs, whatever the sizes. Page-aligned. */
size_t leaf_scratch_doubles(void);

/* c (m x n) = or += a (m x k) times b (k x n). Nothing overlaps. */
void leaf_multiply(const struct leaf_kernel *kernel, double *scratch, size_t m, size_t k, size_t n,
		   struct const_view a, struct const_view b, struct view c, bool add);

#endif
