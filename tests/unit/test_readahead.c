/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What read-ahead makes of the faults of some programs. A page is here when it was asked for, and
 * faults once more when it is a trigger; so a program's faults, and what was asked for in vain,
 * come out as if it had run.
 */
#include "node/readahead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGES 20000
#define WINDOW 256u

struct program {
	struct readahead ahead;
	struct readahead_bounds bounds;
	uint8_t here[PAGES];
	uint8_t refused[PAGES]; /* asked for in vain: somebody writes it */
	unsigned int faults;
	unsigned int asked;
	unsigned int used; /* of those asked for */
	uint32_t largest;
};

#define ASKED 1u
#define TOUCHED 2u

static int setup(void **state)
{
	struct program *program = calloc(1, sizeof(*program));

	assert_non_null(program);
	readahead_init(&program->ahead, WINDOW);
	program->bounds = (struct readahead_bounds){ .first = 0, .end = PAGES };
	*state = program;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void take(struct program *program, const struct readahead_plan *plan)
{
	if (plan->count > program->largest)
		program->largest = plan->count;
	for (uint32_t i = 0; i < plan->count; i++) {
		int64_t page = plan->first + (int64_t)i * plan->stride;

		assert_in_range(page, program->bounds.first, program->bounds.end - 1);
		if (program->refused[page] || program->here[page] != 0)
			continue;
		program->here[page] = ASKED;
		program->asked++;
	}
}

static void touch(struct program *program, int64_t page)
{
	bool trigger = readahead_trigger(&program->ahead, page, page + 1) == page;
	bool here = program->here[page] != 0;

	if (program->here[page] == ASKED)
		program->used++;
	program->here[page] = TOUCHED;
	if (here && !trigger)
		return;
	program->faults++;
	struct readahead_plan plan = readahead_fault(&program->ahead, page, here, &program->bounds);

	readahead_forget(&program->ahead, page);
	take(program, &plan);
}

static void scan(struct program *program, int64_t first, int64_t count, int64_t stride)
{
	for (int64_t i = 0; i < count; i++)
		touch(program, first + i * stride);
}

/* Windows double up to the limit: a fault a window, and nothing but the last ones in vain. */
static void a_scan_faults_once_a_window(void **state)
{
	struct program *program = *state;

	scan(program, 0, PAGES, 1);
	assert_int_equal(program->largest, WINDOW);
	assert_in_range(program->faults, PAGES / WINDOW, PAGES / WINDOW + 12);
	assert_in_range(program->used, PAGES - 12, PAGES);
	assert_int_equal(program->asked, program->used);
}

static void a_scan_may_go_down(void **state)
{
	struct program *program = *state;

	scan(program, PAGES - 1, PAGES, -1);
	assert_in_range(program->faults, PAGES / WINDOW, PAGES / WINDOW + 12);
	assert_int_equal(program->asked, program->used);
}

/* Pages apart are asked for at most 32 at a time. */
static void a_scan_may_skip(void **state)
{
	struct program *program = *state;

	scan(program, 0, PAGES / 7, 7);
	assert_in_range(program->faults, PAGES / 7 / 32, PAGES / 7 / 32 + 12);
	assert_in_range(program->asked - program->used, 0, 64);
	assert_true(program->largest <= 32);
}

/* Sixteen threads, each on its way. */
static void streams_are_kept_apart(void **state)
{
	struct program *program = *state;

	for (int64_t i = 0; i < 1000; i++) {
		for (int64_t thread = 0; thread < READAHEAD_STREAMS; thread++)
			touch(program, thread * 1200 + i);
	}
	assert_in_range(program->faults, 0, READAHEAD_STREAMS * 20);
	assert_in_range(program->used, READAHEAD_STREAMS * 980, READAHEAD_STREAMS * 1000);
}

static uint64_t random_of(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1;
	return *seed >> 33;
}

/* Pages in no order are hardly ever taken for a stream. */
static void random_pages_are_left_alone(void **state)
{
	struct program *program = *state;
	uint64_t seed = 1;

	for (unsigned int i = 0; i < 5000; i++)
		touch(program, (int64_t)(random_of(&seed) % PAGES));
	assert_in_range(program->asked, 0, 100);
}

/* Short runs at random places: what is asked for behind their ends becomes less. */
static void short_runs_make_it_careful(void **state)
{
	struct program *program = *state;
	uint64_t seed = 1;
	unsigned int wasted[2];

	for (unsigned int half = 0; half < 2; half++) {
		unsigned int before = program->asked - program->used;

		for (unsigned int i = 0; i < 60; i++)
			scan(program,
			     (int64_t)(half * 60 + i) * 160 + (int64_t)(random_of(&seed) % 8), 4,
			     1);
		wasted[half] = program->asked - program->used - before;
	}
	assert_true(wasted[1] < wasted[0]);
	assert_true(wasted[1] <= 60 * 4);
	/* And it is forgotten when things change. */
	memset(program->here, 0, sizeof(program->here));
	program->faults = 0;
	scan(program, 0, PAGES, 1);
	assert_in_range(program->faults, PAGES / WINDOW, PAGES / WINDOW + 40);
}

/* A page that was refused is a fault of its own, and the stream goes on behind it. */
static void refused_pages_do_not_end_a_stream(void **state)
{
	struct program *program = *state;

	for (int64_t page = 1000; page < PAGES; page += 500)
		program->refused[page] = 1;
	scan(program, 0, PAGES, 1);
	assert_in_range(program->faults, 0, PAGES / 500 * 4);
	assert_in_range(program->used, PAGES - 200, PAGES);
}

/* Where every page is being written the window shrinks: little is asked for in vain. */
static void a_window_shrinks_where_all_is_refused(void **state)
{
	struct program *program = *state;

	memset(program->refused, 1, sizeof(program->refused));
	scan(program, 0, 2000, 1);
	assert_int_equal(program->faults, 2000);
	for (unsigned int i = 0; i < READAHEAD_STREAMS; i++)
		assert_true(program->ahead.streams[i].window <= 2);
}

static void advice_saves_the_watching(void **state)
{
	struct program *program = *state;

	program->bounds.sequential = true;
	scan(program, 0, PAGES, 1);
	assert_in_range(program->faults, PAGES / WINDOW, PAGES / WINDOW + 3);
}

static void a_stream_ends_with_its_region(void **state)
{
	struct program *program = *state;

	program->bounds = (struct readahead_bounds){ .first = 100, .end = 300 };
	scan(program, 100, 200, 1);
	assert_int_equal(program->asked, program->used);
	scan(program, 299, 200, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_scan_faults_once_a_window, setup, teardown),
		cmocka_unit_test_setup_teardown(a_scan_may_go_down, setup, teardown),
		cmocka_unit_test_setup_teardown(a_scan_may_skip, setup, teardown),
		cmocka_unit_test_setup_teardown(streams_are_kept_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(random_pages_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(short_runs_make_it_careful, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_pages_do_not_end_a_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(a_window_shrinks_where_all_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(advice_saves_the_watching, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_ends_with_its_region, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
