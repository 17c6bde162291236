/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TSPLIB parser; and branch and bound against dynamic programming, which share no code but the
 * instance. The data files' optima are established here by the latter.
 */
#include "tsp/solve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD(n, format)                                                                            \
	"NAME: t\nTYPE: TSP\nDIMENSION: " n                                                        \
	"\nEDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT: " format "\nEDGE_WEIGHT_SECTION\n"
#define POINTS(n) "TYPE : TSP\nDIMENSION : " n "\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n"

/* Each describes the weights 1 (cities 1 and 2), 2 (1 and 3), 3 (2 and 3). */
static const char *const same_instance[] = {
	HEAD("3", "FULL_MATRIX") "0 1 2\n1 0 3\n2 3 0\nEOF\n",
	HEAD("3", "UPPER_ROW") "1 2\n3\nEOF\n",
	HEAD("3", "UPPER_DIAG_ROW") "0 1 2 0 3 0\nEOF\n",
	HEAD("3", "LOWER_DIAG_ROW") "0\n1\n0 2\n3 0",
	"COMMENT : a colon : in it\nTYPE : TSP (M.~Hofmeister)\r\nDIMENSION:3\r\n"
	"EDGE_WEIGHT_TYPE : EXPLICIT\r\nEDGE_WEIGHT_FORMAT : UPPER_ROW\r\n"
	"DISPLAY_DATA_TYPE : TWOD_DISPLAY\r\nDISPLAY_DATA_SECTION\r\n1 0.5 1\r\n2 0 0\r\n3 1e3 "
	"2\r\n"
	"EDGE_WEIGHT_SECTION :\r\n1 2 3\r\nEOF\r\nanything",
};

static void test_formats(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(same_instance) / sizeof(same_instance[0]); i++) {
		struct tsp_instance instance;
		struct app_error error = { "" };
		const char *text = same_instance[i];

		if (tsplib_parse(text, strlen(text), &instance, &error) != 0)
			fail_msg("%s: %s", text, error.text);
		assert_int_equal(instance.city_count, 3);
		for (size_t city = 0; city < 3; city++)
			assert_int_equal(instance.weight[city][city], 0);
		assert_int_equal(instance.weight[0][1], 1);
		assert_int_equal(instance.weight[1][0], 1);
		assert_int_equal(instance.weight[0][2], 2);
		assert_int_equal(instance.weight[2][0], 2);
		assert_int_equal(instance.weight[1][2], 3);
		assert_int_equal(instance.weight[2][1], 3);
	}
}

static void test_points(void **state)
{
	static const char text[] = POINTS("3") "3 3.5 0\n1 0 0\n2 0 4\nEOF\n";
	struct tsp_instance instance;
	struct app_error error;

	(void)state;
	assert_int_equal(tsplib_parse(text, strlen(text), &instance, &error), 0);
	assert_int_equal(instance.weight[0][1], 4);
	assert_int_equal(instance.weight[0][2], 4); /* 3.5, rounded up */
	assert_int_equal(instance.weight[1][2], 5); /* 5.315 */
}

struct refusal {
	const char *text;
	const char *refused;
};

static const struct refusal refusals[] = {
	{ "", "empty file" },
	{ "NAME : x\n", "no DIMENSION" },
	{ "DIMENSION : 5\n", "no EDGE_WEIGHT_TYPE" },
	{ "DIMENSION : 2\n", "not within 3 and 64" },
	{ "DIMENSION : 65\n", "not within 3 and 64" },
	{ "DIMENSION : 99999999999999999999\n", "no number" },
	{ "DIMENSION : -3\n", "no number" },
	{ "DIMENSION : 3\nDIMENSION : 4\n", "twice" },
	{ "TYPE : ATSP\n", "TYPE ATSP" },
	{ "TYPE : TSPTW\n", "TYPE TSPTW" },
	{ "EDGE_WEIGHT_TYPE : GEO\n", "EDGE_WEIGHT_TYPE GEO" },
	{ "EDGE_WEIGHT_FORMAT : LOWER_COL\n", "EDGE_WEIGHT_FORMAT LOWER_COL" },
	{ "NODE_COORD_TYPE : THREED_COORDS\n", "NODE_COORD_TYPE" },
	{ "CAPACITY : 3\n", "'CAPACITY'" },
	{ "DIMENSION : 3\nFIXED_EDGES_SECTION\n1 2\n", "section FIXED_EDGES_SECTION" },
	{ "NODE_COORD_SECTION\n1 2 3\n", "before DIMENSION" },
	{ "DIMENSION : 3\nEDGE_WEIGHT_SECTION\n1 2 3\n", "before EDGE_WEIGHT_FORMAT" },
	{ "DIMENSION : 3\nEDGE_WEIGHT_TYPE : EUC_2D\nEOF\n", "no NODE_COORD_SECTION" },
	{ "DIMENSION : 3\nEDGE_WEIGHT_TYPE : EXPLICIT\nEOF\n", "no EDGE_WEIGHT_SECTION" },
	{ POINTS("3") "1 0 0\n2 0 4\n", "ends before" },
	{ POINTS("3") "1 0 0\n2 0 4\nEOF\n", "'EOF" },
	{ POINTS("3") "1 0 0\n2 0 4\n2 1 1\n", "city 2" },
	{ POINTS("3") "1 0 0\n2 0 4\n4 1 1\n", "city 4" },
	{ POINTS("3") "0 0 0\n2 0 4\n4 1 1\n", "city 0" },
	{ POINTS("3") "1.5 0 0\n2 0 4\n4 1 1\n", "city 1.5" },
	{ POINTS("3") "1 0 nan\n2 0 4\n3 1 1\n", "'nan" },
	{ POINTS("3") "1 0 0x\n2 0 4\n3 1 1\n", "'0x" },
	{ POINTS("3") "1 0 0\n2 0 1e300\n3 1 1\n", "apart" },
	{ HEAD("3", "UPPER_ROW") "1 2\n", "ends before" },
	{ HEAD("3", "UPPER_ROW") "1 2 3 4\n", "'4'" },
	{ HEAD("3", "UPPER_ROW") "1 2.5 3\n", "2.5" },
	{ HEAD("3", "UPPER_ROW") "1 -2 3\n", "-2" },
	{ HEAD("3", "UPPER_ROW") "1 2000000000 3\n", "2e+09" },
	{ HEAD("3", "UPPER_ROW") "1 2 3\nEDGE_WEIGHT_SECTION\n1 2 3\n", "twice" },
	{ HEAD("3", "FULL_MATRIX") "0 1 2\n1 0 3\n2 4 0\n", "not symmetric" },
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct tsp_instance instance;
		struct app_error error = { "" };
		const char *text = refusals[i].text;
		int status = tsplib_parse(text, strlen(text), &instance, &error);

		if (status != APP_BAD_INPUT || strstr(error.text, refusals[i].refused) == NULL)
			fail_msg("%s: status %d, \"%s\", not \"%s\"", text, status, error.text,
				 refusals[i].refused);
	}
}

static void test_bytes_that_are_no_text(void **state)
{
	struct tsp_instance instance;
	struct app_error error;

	(void)state;
	assert_int_equal(tsplib_parse("DIMENSION : 3\0", 14, &instance, &error), APP_BAD_INPUT);
	assert_non_null(strstr(error.text, "not a text file"));
}

/* ---- the search ---------------------------------------------------------------------------- */

static int64_t local_best(void *context)
{
	return ((const struct tsp_tour *)context)->length;
}

static void local_found(void *context, const struct tsp_tour *tour)
{
	*(struct tsp_tour *)context = *tour;
}

/* Branch and bound, from nothing or a good tour; checks the tour and returns its length. */
static int64_t solve(const struct tsp_instance *instance, bool cold, bool plain)
{
	struct tsp_problem *problem = malloc(sizeof(*problem));
	struct tsp_tour first;
	struct tsp_tour tour = { .length = TSP_NO_TOUR };
	struct tsp_search search = { .best = local_best, .found = local_found, .context = &tour };

	assert_non_null(problem);
	tsp_heuristic(instance, &first);
	assert_true(tsp_tour_check(instance, &first));
	if (!cold)
		tour = first;
	tsp_prepare(problem, instance, first.length, plain);
	search.problem = problem;
	struct tsp_prefix root = tsp_root(problem);
	tsp_search_below(&search, &root);
	assert_true(tsp_tour_check(instance, &tour));
	assert_true(problem->root_bound <= tour.length);
	assert_true(tour.length <= first.length);
	free(problem);
	return tour.length;
}

static void check_file(const char *name, size_t city_count, int64_t optimum)
{
	struct tsp_instance instance;
	struct app_error error = { "" };
	char path[1024];

	(void)snprintf(path, sizeof(path), "%s/%s", APPS_DATA, name);
	if (tsplib_read(path, &instance, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(instance.city_count, city_count);
	bool small = city_count <= TSP_EXACT_MAX;
	assert_int_equal(tsp_exact(&instance), small ? optimum : -1);
	assert_int_equal(solve(&instance, small, false), optimum);
}

static void test_data_files(void **state)
{
	(void)state;
	check_file("gr17.tsp", 17, 2085);
	check_file("berlin15.tsp", 15, 4967);
	check_file("berlin52.tsp", 52, 7542);
}

static void test_against_dynamic_programming(void **state)
{
	uint64_t random = 7;

	(void)state;
	for (size_t round = 0; round < 60; round++) {
		struct tsp_instance instance = { .city_count = 3 + round % 8 };

		for (size_t i = 0; i < instance.city_count; i++) {
			for (size_t j = 0; j < i; j++) {
				random = random * UINT64_C(6364136223846793005) + 1;
				int32_t weight = (int32_t)(random >> 33) % (round % 2 ? 10 : 1000);

				instance.weight[i][j] = weight;
				instance.weight[j][i] = weight;
			}
		}
		int64_t exact = tsp_exact(&instance);
		assert_int_equal(solve(&instance, true, false), exact);
		assert_int_equal(solve(&instance, true, true), exact);
	}
}

/* The check of a result can fail. */
static void test_wrong_tours(void **state)
{
	struct tsp_instance instance;
	struct app_error error;
	struct tsp_tour tour = { .length = 6, .city = { 0, 1, 2 } };
	const char *text = same_instance[0];

	(void)state;
	assert_int_equal(tsplib_parse(text, strlen(text), &instance, &error), 0);
	assert_true(tsp_tour_check(&instance, &tour));
	tour.length = 5;
	assert_false(tsp_tour_check(&instance, &tour));
	tour = (struct tsp_tour){ .length = 2, .city = { 0, 1, 1 } };
	assert_false(tsp_tour_check(&instance, &tour));
	tour = (struct tsp_tour){ .length = 6, .city = { 0, 1, 3 } };
	assert_false(tsp_tour_check(&instance, &tour));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_points),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_data_files),
		cmocka_unit_test(test_against_dynamic_programming),
		cmocka_unit_test(test_wrong_tours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
