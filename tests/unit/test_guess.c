/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses: pages asked for that nobody waits for. A writer keeps its page; whoever touches a page
 * that is guessed, and gets no grant, is served like any other.
 */
#include "engine_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

/* Homed at node 0, which deals units round. */
#define FIRST (4u * UNIT_PAGES)

static int setup(void **state)
{
	struct engine_config config = cluster_config();

	config.page_requests = 2 * UNIT_PAGES;
	struct cluster *cluster = cluster_open(&config);
	struct event event = { .kind = EV_REGION };

	event.region.run = (struct run){ page_id(0), (uint32_t)config.page_limit };
	for (unsigned int node = 0; node < CLUSTER_NODES; node++)
		assert_int_equal(cluster_step(cluster, node, &event), 0);
	*state = cluster;
	return 0;
}

static int teardown(void **state)
{
	cluster_close(*state);
	return 0;
}

static int step(struct cluster *cluster, unsigned int node, enum event_kind kind, uint64_t page,
		uint32_t page_count, bool write)
{
	struct event event = { .kind = kind };

	event.fault.run = (struct run){ page_id(page), page_count };
	event.fault.write = write;
	event.fault.guess = kind == EV_PREFETCH;
	return cluster_step(cluster, node, &event);
}

static void touch(struct cluster *cluster, unsigned int node, uint64_t page, bool write)
{
	assert_int_equal(step(cluster, node, EV_FAULT, page, 1, write), 0);
	cluster_run(cluster);
}

static void guess(struct cluster *cluster, unsigned int node, uint64_t page, uint32_t page_count)
{
	assert_int_equal(step(cluster, node, EV_PREFETCH, page, page_count, false), 0);
}

static enum page_state state_of(const struct cluster *cluster, unsigned int node, uint64_t page)
{
	return engine_page_state(cluster->engines[node], page_id(page));
}

static void downgraded(struct cluster *cluster, unsigned int node, uint64_t page)
{
	struct event event = { .kind = EV_PAGER_DONE };

	event.pager.run = (struct run){ page_id(page), 1 };
	event.pager.downgrade = true;
	assert_int_equal(cluster_step(cluster, node, &event), 0);
	cluster_run(cluster);
}

static void fetched(struct cluster *cluster, unsigned int node, unsigned int from, uint64_t page)
{
	struct event event = { .kind = EV_READ_DONE, .peer = node_id(from) };

	event.run = (struct run){ page_id(page), 1 };
	assert_int_equal(cluster_step(cluster, node, &event), 0);
	cluster_run(cluster);
}

/* Node 2 writes the first page; node 3 knows the home. */
static void prepare(struct cluster *cluster)
{
	touch(cluster, 2, FIRST, true);
	touch(cluster, 3, FIRST + 63, false);
	assert_int_equal(state_of(cluster, 2, FIRST), PAGE_WRITE);
}

static void a_writer_keeps_its_page(void **state)
{
	struct cluster *cluster = *state;

	prepare(cluster);
	guess(cluster, 3, FIRST, 4);
	cluster_run(cluster);
	assert_int_equal(state_of(cluster, 2, FIRST), PAGE_WRITE);
	assert_int_equal(state_of(cluster, 3, FIRST), PAGE_INVALID);
	for (uint64_t page = FIRST + 1; page < FIRST + 4; page++)
		assert_int_equal(state_of(cluster, 3, page), PAGE_READ);
	assert_int_equal(engine_stats(cluster->engines[3])->guesses, 4);
	assert_int_equal(engine_stats(cluster->engines[3])->guesses_met, 3);
	assert_true(cluster_quiet(cluster));
}

static void who_waits_for_a_guess_is_served(void **state)
{
	struct cluster *cluster = *state;

	prepare(cluster);
	guess(cluster, 3, FIRST, 1);
	touch(cluster, 3, FIRST, false); /* before the answer has come */
	assert_true(engine_threads_waiting(cluster->engines[3]));
	downgraded(cluster, 2, FIRST);
	fetched(cluster, 3, 2, FIRST);
	assert_int_equal(state_of(cluster, 3, FIRST), PAGE_READ);
	assert_int_equal(state_of(cluster, 2, FIRST), PAGE_READ);
	assert_false(engine_threads_waiting(cluster->engines[3]));
	assert_true(cluster_quiet(cluster));
}

static void no_home_is_claimed(void **state)
{
	struct cluster *cluster = *state;

	guess(cluster, 3, FIRST, 1);
	cluster_run(cluster);
	assert_int_equal(engine_stats(cluster->engines[3])->guesses, 0);
	assert_int_equal(engine_home(cluster->engines[0], page_id(FIRST)), HOME_UNKNOWN);
	assert_int_equal(cluster->message_count, 0);
}

/* Faults find room behind guesses. */
static void guesses_fill_half(void **state)
{
	struct cluster *cluster = *state;

	prepare(cluster);
	guess(cluster, 3, FIRST, UNIT_PAGES);
	assert_int_equal(step(cluster, 3, EV_PREFETCH, FIRST + UNIT_PAGES, 2, false), -EAGAIN);
	assert_int_equal(step(cluster, 3, EV_FAULT, 8 * UNIT_PAGES, 1, false), 0);
	cluster_run(cluster);
	assert_true(cluster_quiet(cluster));
}

/* A page whose manager is lost is refused when somebody touches it, and not before. */
static void lost_managers_are_not_asked(void **state)
{
	struct cluster *cluster = *state;

	touch(cluster, 3, FIRST + UNIT_PAGES, false); /* home: node 1 */
	cluster_lose(cluster, 1);
	cluster_run(cluster);
	guess(cluster, 3, FIRST + UNIT_PAGES + 1, 1);
	assert_int_equal(engine_stats(cluster->engines[3])->guesses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_writer_keeps_its_page, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_for_a_guess_is_served, setup, teardown),
		cmocka_unit_test_setup_teardown(no_home_is_claimed, setup, teardown),
		cmocka_unit_test_setup_teardown(guesses_fill_half, setup, teardown),
		cmocka_unit_test_setup_teardown(lost_managers_are_not_asked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
