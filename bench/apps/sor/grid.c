/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic. Compiled without contraction of products and sums, so that a cell comes out the
 * same wherever its row is computed.
 */
#include "grid.h"

#include <math.h>

double grid_initial(const struct grid *grid, size_t row, size_t col)
{
	if (row == 0)
		return 100.0;
	if (row == grid->rows - 1)
		return 0.0;
	if (col == 0 || col == grid->cols - 1)
		return 100.0 * (double)(grid->rows - 1 - row) / (double)(grid->rows - 1);
	return 0.0;
}

void grid_relax_row(const struct grid *grid, size_t i, const double *above, const double *below,
		    unsigned int colour, double omega)
{
	double *row = grid->row[i];
	size_t first = 1 + (i + 1 + colour) % 2;

	for (size_t j = first; j + 1 < grid->cols; j += 2) {
		double mean = (above[j] + below[j] + row[j - 1] + row[j + 1]) * 0.25;

		row[j] += omega * (mean - row[j]);
	}
}

void grid_relax(const struct grid *grid, size_t iterations, double omega)
{
	for (size_t half = 0; half < 2 * iterations; half++) {
		for (size_t i = 1; i + 1 < grid->rows; i++)
			grid_relax_row(grid, i, grid->row[i - 1], grid->row[i + 1], half % 2,
				       omega);
	}
}

double grid_residual(const struct grid *grid)
{
	double most = 0;

	for (size_t i = 1; i + 1 < grid->rows; i++) {
		const double *row = grid->row[i];

		for (size_t j = 1; j + 1 < grid->cols; j++) {
			double mean = (grid->row[i - 1][j] + grid->row[i + 1][j] + row[j - 1] +
				       row[j + 1]) *
				      0.25;

			most = fmax(most, fabs(mean - row[j]));
		}
	}
	return most;
}
