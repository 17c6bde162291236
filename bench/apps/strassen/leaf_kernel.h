/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of one register-tile kernel. Included by leaf.c once for each vector width, with
 *   KERNEL_NAME    the function
 *   KERNEL_TARGET  its instruction set, as an attribute, or nothing
 *   KERNEL_BYTES   bytes of a vector
 *   KERNEL_ROWS    the macro that lists the tile's rows: ROWS_4 or ROWS_8
 *
 * The tile is two vectors wide. Every accumulator has a name of its own, because compilers keep
 * named vectors in registers and do not always do so with an array of them.
 */
#define VECTOR_(name) name##_vector
#define VECTOR(name) VECTOR_(name)
#define DOUBLES (KERNEL_BYTES / sizeof(double))

/* Aligned as a double: panels are, C need not be. */
typedef double VECTOR(KERNEL_NAME)
	__attribute__((vector_size(KERNEL_BYTES), aligned(8), may_alias));

KERNEL_TARGET static void KERNEL_NAME(size_t k, const double *a, const double *b, struct view c,
				      bool add)
{
	typedef VECTOR(KERNEL_NAME) vector;
	enum { TILE_ROWS = 0 KERNEL_ROWS(ROW_COUNT) };

	KERNEL_ROWS(ROW_DECLARE)
	for (size_t p = 0; p < k; p++) {
		vector b0 = *(const vector *)(b + p * 2 * DOUBLES);
		vector b1 = *(const vector *)(b + p * 2 * DOUBLES + DOUBLES);
		const double *column = a + p * TILE_ROWS;

		KERNEL_ROWS(ROW_UPDATE)
	}
	if (add) {
		KERNEL_ROWS(ROW_ADD)
	} else {
		KERNEL_ROWS(ROW_STORE)
	}
}

#undef VECTOR_
#undef VECTOR
#undef DOUBLES
#undef KERNEL_NAME
#undef KERNEL_TARGET
#undef KERNEL_BYTES
#undef KERNEL_ROWS
