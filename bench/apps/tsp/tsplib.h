/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Symmetric travelling salesman instances in TSPLIB files (Reinelt, "TSPLIB - a traveling salesman
 * problem library", ORSA Journal on Computing 3(4), 1991): EUC_2D with NODE_COORD_SECTION, and
 * EXPLICIT weights as FULL_MATRIX, UPPER_ROW, UPPER_DIAG_ROW or LOWER_DIAG_ROW.
 */
#ifndef APPS_TSP_TSPLIB_H
#define APPS_TSP_TSPLIB_H

#include "common/app.h"

#include <stddef.h>
#include <stdint.h>

/* A set of cities is one 64-bit word in the search. */
#define TSP_CITIES_MAX 64u
#define TSP_CITIES_MIN 3u

/* So that no sum of weights can overflow. */
#define TSP_WEIGHT_MAX 100000000

struct tsp_instance {
	char name[64];
	size_t city_count;
	int32_t weight[TSP_CITIES_MAX][TSP_CITIES_MAX]; /* symmetric, zeros on the diagonal */
};

/*
 * Parses `bytes` bytes of text. Returns 0, or APP_BAD_INPUT with a sentence that does not name the
 * file.
 */
int tsplib_parse(const char *text, size_t bytes, struct tsp_instance *out, struct app_error *error);

/* Reads and parses a file. 0 or APP_BAD_INPUT; the sentence names the file. */
int tsplib_read(const char *path, struct tsp_instance *out, struct app_error *error);

/* The weight between two points: their distance to the nearest whole number (EUC_2D); -1: none. */
int32_t tsplib_euclid(double x1, double y1, double x2, double y2);

#endif
