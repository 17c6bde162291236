/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verification: the product against CBLAS's conventional dgemm.
 *
 * Tolerance. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 23.2.2:
 * with the norm ||X|| = max |x_ij|, Strassen's method that recurs d times, down to inner size k0,
 * has an error of at most [12^d (k0^2 + 5 k0) - 5 k] u ||A|| ||B|| + O(u^2), and conventional
 * multiplication one of k^2 u ||A|| ||B||, u = 2^-53. We allow the sum of Strassen's bound,
 * dgemm's, and dgemm's once more for the peeled rows and columns. It is a worst case that random
 * matrices stay far below, but a misplaced block or a stale page is off by about ||A|| ||B||, which
 * is more than a million times the tolerance for any size that a computer of today holds.
 */
#ifndef APPS_STRASSEN_CHECK_H
#define APPS_STRASSEN_CHECK_H

#include "job.h"

struct check {
	struct job_sizes sizes;
	double *reference; /* dgemm's product, row by row */
	double tolerance;  /* of |difference|, any element */
	double max_error;  /* of the products seen so far */
	double frobenius;  /* ||C - reference||_F / ||reference||_F, likewise */
	bool right;
};

/* Computes the reference; `levels` is the deepest recursion. 0, or APP_FAILED (said). */
int check_open(struct check *check, const struct job_sizes *sizes, const double *a, const double *b,
	       unsigned int levels);
void check_close(struct check *check);

/* Compares the job's product. `right` stays true only while all products were within tolerance. */
void check_product(struct check *check, const struct job *job);

/* The tolerance above. */
double check_tolerance(const struct job_sizes *sizes, unsigned int levels, double a_max,
		       double b_max);

#endif
