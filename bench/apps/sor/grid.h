/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Red-black successive over-relaxation for Laplace's equation on a grid with fixed edges (Young,
 * "Iterative methods for solving partial difference equations of elliptic type", Transactions of
 * the AMS 76, 1954). A half sweep changes the cells of one colour and reads only the other's, so
 * that any order of cells, and any share of them among nodes, gives the same bits.
 */
#ifndef APPS_SOR_GRID_H
#define APPS_SOR_GRID_H

#include <stddef.h>

struct grid {
	size_t rows;
	size_t cols;
	double **row; /* one pointer for each row, wherever it stands */
};

/* The grid that is solved when none is given: cell (row, col) of the edge; 0 inside. */
double grid_initial(const struct grid *grid, size_t row, size_t col);

/*
 * One row's half sweep: the cells of `colour` (0, 1: parity of row + column) of row `i`, which is
 * not an edge row, given the rows above and below, which may be copies.
 */
void grid_relax_row(const struct grid *grid, size_t i, const double *above, const double *below,
		    unsigned int colour, double omega);

/* `iterations` whole sweeps of the whole grid in one thread. */
void grid_relax(const struct grid *grid, size_t iterations, double omega);

/* The largest distance of an inner cell from the mean of its neighbours. */
double grid_residual(const struct grid *grid);

#endif
