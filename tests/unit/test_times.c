/* SPDX-License-Identifier: Apache-2.0 */
/* The notes on faults under way: which points they keep, of which pages, and how many. */
#include "node/times.h"

#include "port/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define CAPACITY 4u

static int setup(void **state)
{
	struct node *node = calloc(1, sizeof(*node));

	assert_non_null(node);
	assert_int_equal(pthread_mutex_init(&node->lock, NULL), 0);
	assert_int_equal(times_open(node, CAPACITY), 0);
	*state = node;
	return 0;
}

static int teardown(void **state)
{
	struct node *node = *state;

	times_close(node);
	pthread_mutex_destroy(&node->lock);
	free(node);
	return 0;
}

static struct run pages(uint64_t first, uint32_t count)
{
	return (struct run){ page_id(first), count };
}

static void reach(struct node *node, uint64_t page, enum times_point point)
{
	times_reach(node, point, pages(page, 1));
}

static void command(struct node *node, enum command_kind kind, struct run run, bool done)
{
	const struct command command = { .kind = kind, .run = run };

	times_command(node, &command, done);
}

static void whole_fault(struct node *node, uint64_t page)
{
	reach(node, page, TIMES_TAKEN);
	reach(node, page, TIMES_ASKED);
	command(node, CMD_READ, pages(page, 1), false);
	command(node, CMD_READ, pages(page, 1), true);
	reach(node, page, TIMES_FETCHED);
	command(node, CMD_MAP_READ, pages(page, 1), false);
	command(node, CMD_MAP_READ, pages(page, 1), true);
}

static void test_points_are_in_order(void **state)
{
	struct node *node = *state;
	struct fault_times fault;
	uint64_t before_ns = clock_now_ns();

	whole_fault(node, 7);
	uint64_t after_ns = clock_now_ns();

	assert_int_equal(times_take(node, &fault, 1), 1);
	assert_int_equal(fault.page.value, 7);
	assert_true(fault.at_ns[TIMES_TAKEN] >= before_ns);
	for (int point = TIMES_ASKED; point < TIMES_POINTS; point++)
		assert_true(fault.at_ns[point] >= fault.at_ns[point - 1]);
	assert_true(fault.at_ns[TIMES_MAPPED] <= after_ns);
	assert_int_equal(times_take(node, &fault, 1), 0);
}

static void test_points_left_out_are_zero(void **state)
{
	struct node *node = *state;
	struct fault_times fault;

	reach(node, 9, TIMES_TAKEN);
	command(node, CMD_UPGRADE, pages(9, 1), false);
	command(node, CMD_UPGRADE, pages(9, 1), true);
	reach(node, 9, TIMES_ASKED); /* the step is over only now: too late to count */
	assert_int_equal(times_take(node, &fault, 1), 1);
	assert_int_equal(fault.at_ns[TIMES_ASKED], 0);
	assert_int_equal(fault.at_ns[TIMES_GRANTED], 0);
	assert_int_equal(fault.at_ns[TIMES_FETCHED], 0);
	assert_true(fault.at_ns[TIMES_MAPPING] >= fault.at_ns[TIMES_TAKEN]);
}

static void test_only_faults_are_noted(void **state)
{
	struct node *node = *state;
	struct fault_times out[CAPACITY];

	reach(node, 20, TIMES_TAKEN);
	command(node, CMD_SEND, pages(20, 1), true);
	command(node, CMD_INVALIDATE, pages(20, 1), true);
	command(node, CMD_MAP_WRITE, pages(18, 8), false); /* the others were prefetched */
	command(node, CMD_MAP_WRITE, pages(18, 8), true);
	command(node, CMD_MAP_WRITE, pages(20, 1), true);
	assert_int_equal(times_take(node, out, CAPACITY), 1);
	assert_int_equal(out[0].page.value, 20);
}

static void test_a_later_fault_takes_the_place(void **state)
{
	struct node *node = *state;
	struct fault_times out[CAPACITY];

	reach(node, 3, TIMES_TAKEN);
	reach(node, 3, TIMES_ASKED);
	reach(node, 3, TIMES_TAKEN); /* taken anew: what was noted is void */
	command(node, CMD_MAP_READ, pages(3, 1), true);
	reach(node, 4, TIMES_TAKEN);
	reach(node, UINT64_C(4) << 32 | 4, TIMES_TAKEN); /* the same place in the table */
	command(node, CMD_MAP_READ, pages(4, 1), true);
	assert_int_equal(times_take(node, out, CAPACITY), 1);
	assert_int_equal(out[0].page.value, 3);
	assert_int_equal(out[0].at_ns[TIMES_ASKED], 0);
}

static void test_the_latest_are_kept(void **state)
{
	struct node *node = *state;
	struct fault_times out[2 * CAPACITY];

	for (uint64_t page = 0; page < 3 * CAPACITY + 1; page++)
		whole_fault(node, page);
	assert_int_equal(times_take(node, out, 1), 1);
	assert_int_equal(out[0].page.value, 2 * CAPACITY + 1);
	assert_int_equal(times_take(node, out, 2 * CAPACITY), CAPACITY - 1);
	assert_int_equal(out[CAPACITY - 2].page.value, 3 * CAPACITY);
}

static void test_off(void **state)
{
	struct node *node = *state;
	struct fault_times fault;

	reach(node, 1, TIMES_TAKEN);
	times_close(node);
	command(node, CMD_MAP_READ, pages(1, 1), true);
	assert_int_equal(times_take(node, &fault, 1), 0);
	assert_int_equal(times_open(node, CAPACITY), 0);
	command(node, CMD_MAP_READ, pages(1, 1), true);
	assert_int_equal(times_take(node, &fault, 1), 0);
	assert_int_equal(times_open(node, CAPACITY), 0); /* anew, without a leak */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_points_are_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_points_left_out_are_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_faults_are_noted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_later_fault_takes_the_place, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_the_latest_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
