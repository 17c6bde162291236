/* SPDX-License-Identifier: Apache-2.0 */
/* Packing, cache blocking, and the choice of kernel. No state. */
#include "leaf.h"

#include <string.h>

/*
 * Blocks of the three loops: a packed block of B (BLOCK_K x BLOCK_N, 1 MiB) stays in the second
 * or third level cache, one of A (BLOCK_M x BLOCK_K, 192 KiB) in the second.
 */
#define BLOCK_M 96u
#define BLOCK_K 256u
#define BLOCK_N 512u

/* Room for the last panel of a block, which is padded to a whole tile. */
#define TILE_MAX 16u
#define PACKED_A ((BLOCK_M + TILE_MAX) * BLOCK_K)
#define PACKED_B ((BLOCK_N + TILE_MAX) * BLOCK_K)

#define ROW_COUNT(i) +1
#define ROW_DECLARE(i) vector c##i##0 = { 0 }, c##i##1 = { 0 };
#define ROW_UPDATE(i)                                                                              \
	c##i##0 += column[i] * b0;                                                                 \
	c##i##1 += column[i] * b1;
#define ROW_STORE(i)                                                                               \
	*(vector *)(c.at + (i)*c.ld) = c##i##0;                                                    \
	*(vector *)(c.at + (i)*c.ld + DOUBLES) = c##i##1;
#define ROW_ADD(i)                                                                                 \
	*(vector *)(c.at + (i)*c.ld) += c##i##0;                                                   \
	*(vector *)(c.at + (i)*c.ld + DOUBLES) += c##i##1;
#define ROWS_4(X) X(0) X(1) X(2) X(3)
#define ROWS_8(X) ROWS_4(X) X(4) X(5) X(6) X(7)

#if defined(__x86_64__)
#define KERNEL_NAME kernel_avx512
#define KERNEL_TARGET __attribute__((target("avx512f")))
#define KERNEL_BYTES 64
#define KERNEL_ROWS ROWS_8
#include "leaf_kernel.h"

#define KERNEL_NAME kernel_avx2
#define KERNEL_TARGET __attribute__((target("avx2,fma")))
#define KERNEL_BYTES 32
#define KERNEL_ROWS ROWS_4
#include "leaf_kernel.h"
#endif

#define KERNEL_NAME kernel_plain
#define KERNEL_TARGET
#define KERNEL_BYTES 16
#define KERNEL_ROWS ROWS_4
#include "leaf_kernel.h"

static const struct leaf_kernel kernels[] = {
#if defined(__x86_64__)
	{ .name = "avx512f", .tile_rows = 8, .tile_cols = 16, .run = kernel_avx512 },
	{ .name = "avx2", .tile_rows = 4, .tile_cols = 8, .run = kernel_avx2 },
#endif
	{ .name = "plain", .tile_rows = 4, .tile_cols = 4, .run = kernel_plain },
};

const struct leaf_kernel *leaf_kernels(size_t *count)
{
	size_t first = 0;

#if defined(__x86_64__)
	if (!__builtin_cpu_supports("avx512f"))
		first = 1;
	if (first == 1 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
		first = 2;
#endif
	*count = sizeof(kernels) / sizeof(kernels[0]) - first;
	return kernels + first;
}

size_t leaf_scratch_doubles(void)
{
	return PACKED_A + PACKED_B + TILE_MAX * TILE_MAX;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Panels of `tile` rows, each stored column after column; rows past m are zeros. */
static void pack_a(double *to, size_t m, size_t k, struct const_view a, size_t tile)
{
	for (size_t i0 = 0; i0 < m; i0 += tile, to += tile * k) {
		size_t rows = smaller(tile, m - i0);

		for (size_t i = 0; i < rows; i++) {
			const double *row = a.at + (i0 + i) * a.ld;

			for (size_t p = 0; p < k; p++)
				to[p * tile + i] = row[p];
		}
		for (size_t i = rows; i < tile; i++) {
			for (size_t p = 0; p < k; p++)
				to[p * tile + i] = 0;
		}
	}
}

/* Panels of `tile` columns, each stored row after row; columns past n are zeros. */
static void pack_b(double *to, size_t k, size_t n, struct const_view b, size_t tile)
{
	for (size_t j0 = 0; j0 < n; j0 += tile, to += tile * k) {
		size_t cols = smaller(tile, n - j0);

		for (size_t p = 0; p < k; p++) {
			double *row = to + p * tile;

			memcpy(row, b.at + p * b.ld + j0, cols * sizeof(*row));
			memset(row + cols, 0, (tile - cols) * sizeof(*row));
		}
	}
}

/* One tile at the edge of C, computed aside because the kernel writes whole tiles. */
static void edge_tile(const struct leaf_kernel *kernel, double *aside, size_t k, const double *a,
		      const double *b, struct view c, size_t rows, size_t cols, bool add)
{
	size_t ld = kernel->tile_cols;

	kernel->run(k, a, b, (struct view){ aside, ld }, false);
	for (size_t i = 0; i < rows; i++) {
		for (size_t j = 0; j < cols; j++) {
			double value = aside[i * ld + j];

			c.at[i * c.ld + j] = add ? c.at[i * c.ld + j] + value : value;
		}
	}
}

/* c (m x n) = or += packed a times packed b. */
static void multiply_packed(const struct leaf_kernel *kernel, double *aside, size_t m, size_t k,
			    size_t n, const double *a, const double *b, struct view c, bool add)
{
	for (size_t j = 0; j < n; j += kernel->tile_cols) {
		size_t cols = smaller(kernel->tile_cols, n - j);

		for (size_t i = 0; i < m; i += kernel->tile_rows) {
			size_t rows = smaller(kernel->tile_rows, m - i);
			struct view tile = { c.at + i * c.ld + j, c.ld };

			if (rows == kernel->tile_rows && cols == kernel->tile_cols)
				kernel->run(k, a + i * k, b + j * k, tile, add);
			else
				edge_tile(kernel, aside, k, a + i * k, b + j * k, tile, rows, cols,
					  add);
		}
	}
}

void leaf_multiply(const struct leaf_kernel *kernel, double *scratch, size_t m, size_t k, size_t n,
		   struct const_view a, struct const_view b, struct view c, bool add)
{
	double *packed_a = scratch;
	double *packed_b = packed_a + PACKED_A;
	double *aside = packed_b + PACKED_B;

	for (size_t j = 0; j < n; j += BLOCK_N) {
		size_t cols = smaller(BLOCK_N, n - j);

		for (size_t p = 0; p < k; p += BLOCK_K) {
			size_t depth = smaller(BLOCK_K, k - p);
			struct const_view part = { b.at + p * b.ld + j, b.ld };

			pack_b(packed_b, depth, cols, part, kernel->tile_cols);
			for (size_t i = 0; i < m; i += BLOCK_M) {
				size_t rows = smaller(BLOCK_M, m - i);
				struct view tile = { c.at + i * c.ld + j, c.ld };

				part = (struct const_view){ a.at + i * a.ld + p, a.ld };
				pack_a(packed_a, rows, depth, part, kernel->tile_rows);
				multiply_packed(kernel, aside, rows, depth, cols, packed_a,
						packed_b, tile, add || p > 0);
			}
		}
	}
}
