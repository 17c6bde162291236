/* SPDX-License-Identifier: Apache-2.0 */
/* The reference product and the comparison with it. Runs on node 0, outside all timing. */
#include "check.h"

#include <cblas.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

static double max_abs(const double *values, size_t count)
{
	double most = 0;

	for (size_t i = 0; i < count; i++)
		most = fmax(most, fabs(values[i]));
	return most;
}

double check_tolerance(const struct job_sizes *sizes, unsigned int levels, double a_max,
		       double b_max)
{
	double k = (double)sizes->k;
	double leaf = ceil((k + 3) / ldexp(1, (int)levels)); /* + 3: the grid's zeros */
	double strassen = pow(12, levels) * (leaf * leaf + 5 * leaf);

	return (strassen + 2 * k * k) * (DBL_EPSILON / 2) * a_max * b_max;
}

int check_open(struct check *check, const struct job_sizes *sizes, const double *a, const double *b,
	       unsigned int levels)
{
	double a_max = max_abs(a, sizes->m * sizes->k);
	double b_max = max_abs(b, sizes->k * sizes->n);

	*check = (struct check){ .sizes = *sizes, .right = true };
	check->tolerance = check_tolerance(sizes, levels, a_max, b_max);
	if (sizes->m > INT_MAX || sizes->k > INT_MAX || sizes->n > INT_MAX) {
		app_say("strassen", "a size past %d cannot be verified with CBLAS", INT_MAX);
		return APP_FAILED;
	}
	check->reference = malloc(sizes->m * sizes->n * sizeof(double));
	if (check->reference == NULL) {
		app_say("strassen", "no memory to verify the product");
		return APP_FAILED;
	}
	cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)sizes->m, (int)sizes->n,
		    (int)sizes->k, 1.0, a, (int)sizes->k, b, (int)sizes->n, 0.0, check->reference,
		    (int)sizes->n);
	return 0;
}

void check_close(struct check *check)
{
	free(check->reference);
	check->reference = NULL;
}

void check_product(struct check *check, const struct job *job)
{
	double error = 0;
	double difference = 0;
	double norm = 0;

	job_fetch(job);
	for (size_t i = 0; i < check->sizes.m; i++) {
		const double *expected = check->reference + i * check->sizes.n;
		const double *row = job_row(job, i);

		for (size_t j = 0; j < check->sizes.n; j++) {
			double off = fabs(row[j] - expected[j]);

			/* Written so that a NaN, which no comparison holds for, is an error. */
			error = off <= error ? error : off;
			if (!(off <= check->tolerance))
				check->right = false;
			difference += off * off;
			norm += expected[j] * expected[j];
		}
	}
	double relative = norm > 0 ? sqrt(difference / norm) : sqrt(difference);
	check->frobenius = fmax(check->frobenius, relative);
	check->max_error = fmax(check->max_error, error);
}
