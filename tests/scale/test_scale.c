/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the model keep to its own arithmetic? What a lone miss costs is added up by hand here, from
 * docs/protocol.md and the profile, and must come out of the simulation to the picosecond; under
 * load the operational laws of queueing must hold. At rest nothing may be left over (world_settle()
 * sees to it). Each planted bug of the model must break one of these.
 */
#include "scale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const enum manager_kind managers[] = { MANAGER_CENTRAL, MANAGER_FIXED };
static const enum pattern patterns[] = { PATTERN_MIGRATORY, PATTERN_READ_MOSTLY, PATTERN_PRODUCER };

static struct setup setup_of(enum manager_kind manager, enum pattern pattern,
			     unsigned int node_count)
{
	return (struct setup){
		.profile = *profile_at(0),
		.manager = manager,
		.pattern = pattern,
		.node_count = node_count,
		.thread_count = 1,
		.pages_per_node = 4,
		.block_pages = 16,
		.consumers = 3,
		.writes_permille = 100,
		.think_ns = 200000,
		.hold_ns = 100000,
		.seed = 1,
		.warm = 1000,
		.misses = 4000,
	};
}

/* ---- the agenda ---- */

static void test_agenda_order(void **state)
{
	struct agenda agenda = { 0 };
	struct prng prng = prng_init(7);
	struct happening last = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		if (agenda.count > 0 && prng_below(&prng, 3) == 0) {
			struct happening next = agenda_take(&agenda);

			assert_true(next.at_ps >= last.at_ps);
			if (next.at_ps == last.at_ps)
				assert_true(next.order > last.order);
			last = next;
			continue;
		}
		agenda_add(&agenda,
			   (struct happening){ .at_ps = last.at_ps + prng_below(&prng, 50) });
	}
	while (agenda.count > 0) {
		struct happening next = agenda_take(&agenda);

		assert_true(next.at_ps > last.at_ps ||
			    (next.at_ps == last.at_ps && next.order > last.order));
		last = next;
	}
	agenda_free(&agenda);
}

/* ---- a lone miss, added up ---- */

/* Bytes of the messages of one page. */
#define RUN_BYTES 24u
#define REQUEST_BYTES 32u
#define GRANT_BYTES 34u

static uint64_t wire_ps(const struct profile *p, uint64_t bytes)
{
	return p->wire_ns * PS_PER_NS + (bytes + p->header_bytes) * p->byte_ps;
}

/* A message, from the decision to send it to its arrival. */
static uint64_t message_ps(const struct profile *p, uint64_t bytes)
{
	return p->send_ns * PS_PER_NS + wire_ps(p, bytes);
}

/* A completion: taken, and its step. */
static uint64_t take_ps(const struct profile *p)
{
	return (p->receive_ns + p->step_ns) * PS_PER_NS;
}

static uint64_t fault_ps(const struct profile *p)
{
	return (p->trap_ns + p->step_ns) * PS_PER_NS;
}

static uint64_t fetch_ps(const struct profile *p)
{
	return p->send_ns * PS_PER_NS + wire_ps(p, 16) + p->dma_ns * PS_PER_NS +
	       wire_ps(p, 4 + PAGE_BYTES) + take_ps(p);
}

/* The page is shown and the thread runs on. */
static uint64_t shown_ps(const struct profile *p, bool upgrade)
{
	return ((upgrade ? p->protect_ns : p->map_ns) + p->wake_ns) * PS_PER_NS;
}

/* Request to the manager, and its grant, apart from what the manager must do first. */
static uint64_t asked_ps(const struct profile *p)
{
	return message_ps(p, REQUEST_BYTES) + take_ps(p) + message_ps(p, GRANT_BYTES) + take_ps(p);
}

/* The manager recalls a page from another node, and takes up the answer. */
static uint64_t recall_ps(const struct profile *p, bool downgrade)
{
	return message_ps(p, RUN_BYTES) + take_ps(p) +
	       ((downgrade ? p->protect_ns : p->drop_ns) + p->step_ns) * PS_PER_NS +
	       message_ps(p, RUN_BYTES) + take_ps(p);
}

static uint64_t clean_read_ps(const struct profile *p)
{
	return fault_ps(p) + asked_ps(p) + fetch_ps(p) + shown_ps(p, false);
}

static uint64_t dirty_read_ps(const struct profile *p)
{
	return clean_read_ps(p) + recall_ps(p, true);
}

static uint64_t dirty_write_ps(const struct profile *p)
{
	return clean_read_ps(p) + recall_ps(p, false);
}

static uint64_t upgrade_alone_ps(const struct profile *p)
{
	return fault_ps(p) + asked_ps(p) + shown_ps(p, true);
}

static uint64_t upgrade_shared_ps(const struct profile *p)
{
	return upgrade_alone_ps(p) + recall_ps(p, false);
}

/* The second recall leaves one send later; its answer waits for the first to be taken. */
static uint64_t write_two_readers_ps(const struct profile *p)
{
	uint64_t behind_ps = p->send_ns * PS_PER_NS;

	return dirty_write_ps(p) + (behind_ps > take_ps(p) ? behind_ps : take_ps(p));
}

static uint64_t home_writes_first_ps(const struct profile *p)
{
	return fault_ps(p) + shown_ps(p, false);
}

static uint64_t home_reads_dirty_ps(const struct profile *p)
{
	return fault_ps(p) + recall_ps(p, true) + fetch_ps(p) + shown_ps(p, false);
}

/* The home downgrades its own page within the request's step. */
static uint64_t reads_from_home_ps(const struct profile *p)
{
	return clean_read_ps(p) + (p->protect_ns + p->step_ns) * PS_PER_NS;
}

/* Roles: node 0 is the manager, 1, 2, 3 are others. */
struct access {
	unsigned int node;
	bool write;
};

static const struct lone_miss {
	const char *name;
	struct access before[3];
	unsigned int before_count;
	struct access miss;
	uint64_t (*expected_ps)(const struct profile *profile);
	unsigned int asked;	 /* requests, grants, confirmations: each so many */
	unsigned int downgraded; /* and answers */
	unsigned int invalidated;
	unsigned int reads;
} lone_misses[] = {
	{ "clean read", { { 1, true }, { 2, false } }, 2, { 3, false }, clean_read_ps, 1, 0, 0, 1 },
	{ "dirty read", { { 1, true } }, 1, { 2, false }, dirty_read_ps, 1, 1, 0, 1 },
	{ "dirty write", { { 1, true } }, 1, { 2, true }, dirty_write_ps, 1, 0, 1, 1 },
	{ "upgrade, alone", { { 1, false } }, 1, { 1, true }, upgrade_alone_ps, 1, 0, 0, 0 },
	{ "upgrade, shared",
	  { { 1, true }, { 2, false } },
	  2,
	  { 2, true },
	  upgrade_shared_ps,
	  1,
	  0,
	  1,
	  0 },
	{ "write, two readers",
	  { { 1, true }, { 2, false } },
	  2,
	  { 3, true },
	  write_two_readers_ps,
	  1,
	  0,
	  2,
	  1 },
	{ "home writes first", { { 0, false } }, 0, { 0, true }, home_writes_first_ps, 0, 0, 0, 0 },
	{ "home reads dirty", { { 1, true } }, 1, { 0, false }, home_reads_dirty_ps, 0, 1, 0, 1 },
	{ "home wrote", { { 0, true } }, 1, { 1, false }, reads_from_home_ps, 1, 0, 0, 1 },
};

static void check_messages(const struct world *world, const struct lone_miss *miss)
{
	const uint64_t *sent = world->totals.messages;
	uint64_t all = 0;

	for (unsigned int i = 0; i < MSG_KIND_END; i++)
		all += sent[i];
	assert_int_equal(sent[MSG_READ_REQUEST] + sent[MSG_WRITE_REQUEST], miss->asked);
	assert_int_equal(sent[MSG_READ_GRANT] + sent[MSG_WRITE_GRANT], miss->asked);
	assert_int_equal(sent[MSG_CONFIRM], miss->asked);
	assert_int_equal(sent[MSG_DOWNGRADE], miss->downgraded);
	assert_int_equal(sent[MSG_DOWNGRADED], miss->downgraded);
	assert_int_equal(sent[MSG_INVALIDATE], miss->invalidated);
	assert_int_equal(sent[MSG_INVALIDATED], miss->invalidated);
	assert_int_equal(all, 3 * miss->asked + 2 * (miss->downgraded + miss->invalidated));
	assert_int_equal(world->totals.reads, miss->reads);
	assert_int_equal(world->totals.faults, 1);
	assert_int_equal(world->totals.hops[miss->asked], 1);
}

static void check_lone_miss(const struct setup *setup, unsigned int manager,
			    const struct lone_miss *miss)
{
	struct world world;
	struct page_id page;

	world_open(&world, setup);
	page = world_page(&world, manager);
	for (unsigned int i = 0; i < miss->before_count; i++)
		world_access_ps(&world, (manager + miss->before[i].node) % setup->node_count, page,
				miss->before[i].write);
	world_reset_counts(&world);
	uint64_t took_ps = world_access_ps(&world, (manager + miss->miss.node) % setup->node_count,
					   page, miss->miss.write);

	if (took_ps != miss->expected_ps(&setup->profile))
		print_error("%s, %s, manager %u: %llu ps, should be %llu\n", miss->name,
			    manager_name(setup->manager), manager, (unsigned long long)took_ps,
			    (unsigned long long)miss->expected_ps(&setup->profile));
	assert_int_equal(took_ps, miss->expected_ps(&setup->profile));
	check_messages(&world, miss);
	world_close(&world);
}

static void lone_misses_add_up(const struct setup *base)
{
	struct setup setup = *base;

	setup.pattern = PATTERN_NONE;
	setup.hold_ns = 0;
	for (unsigned int i = 0; i < COUNT(lone_misses); i++) {
		for (unsigned int network = 0; profile_at(network) != NULL; network++) {
			setup.profile = *profile_at(network);
			setup.manager = MANAGER_CENTRAL;
			check_lone_miss(&setup, 0, &lone_misses[i]);
			setup.manager = MANAGER_FIXED;
			check_lone_miss(&setup, 0, &lone_misses[i]);
			check_lone_miss(&setup, 3, &lone_misses[i]);
		}
	}
}

static void test_lone_misses(void **state)
{
	struct setup setup = setup_of(MANAGER_FIXED, PATTERN_NONE, 5);

	(void)state;
	lone_misses_add_up(&setup);
}

/* ---- under load ---- */

static void assert_near(double is, double should, double tolerance)
{
	if (is < should * (1 - tolerance) || is > should * (1 + tolerance)) {
		print_error("%g, should be %g within %g%%\n", is, should, tolerance * 100);
		fail();
	}
}

/* Over the whole run: what is asked is granted and confirmed, what is recalled is answered. */
static void check_pairs(const struct world *world)
{
	const uint64_t *sent = world->messages;
	uint64_t asked = sent[MSG_READ_REQUEST] + sent[MSG_WRITE_REQUEST];

	assert_true(asked > 0);
	assert_int_equal(sent[MSG_READ_GRANT] + sent[MSG_WRITE_GRANT], asked);
	assert_int_equal(sent[MSG_CONFIRM], asked);
	assert_int_equal(sent[MSG_DOWNGRADE], sent[MSG_DOWNGRADED]);
	assert_int_equal(sent[MSG_INVALIDATE], sent[MSG_INVALIDATED]);
	assert_int_equal(sent[MSG_REFUSE] + sent[MSG_FETCH_FAILED], 0);
}

/* Utilisation law: a server is busy for what its jobs cost, no more and no less; and at most 1. */
static void check_utilisation(const struct world *world)
{
	const struct profile *p = &world->setup.profile;
	uint64_t window_ps = world->totals.end_ps - world->totals.start_ps;

	for (unsigned int i = 0; i < world->setup.node_count; i++) {
		const struct load *load = &world->nodes[i].load;
		uint64_t taken = load->jobs[JOB_MESSAGE] + load->jobs[JOB_READ_DONE];
		uint64_t cost_ns =
			taken * p->receive_ns + load->steps * p->step_ns + load->posts * p->send_ns;

		assert_int_equal(load->busy_ps, cost_ns * PS_PER_NS + load->pager_ps);
		assert_true(load->busy_ps <= window_ps + window_ps / 100);
		assert_true(load->tx_ps <= window_ps + window_ps / 50);
		assert_true(load->rx_ps <= window_ps + window_ps / 50);
	}
}

/*
 * Little's law for the threads that wait; and, where threads do nothing but think and wait, the
 * response time law: all their time is one or the other.
 */
static void check_waiting(const struct world *world)
{
	const struct totals *totals = &world->totals;
	double window_ps = (double)(totals->end_ps - totals->start_ps);

	assert_near((double)totals->miss_ps, (double)totals->waiting_ps, 0.03);
	if (world->setup.pattern != PATTERN_PRODUCER)
		assert_near((double)(totals->thought_ps + totals->waiting_ps),
			    window_ps * world->setup.node_count, 0.05);
}

static void run_and_check(const struct setup *setup)
{
	struct world world;

	world_open(&world, setup);
	world_measure(&world);
	check_pairs(&world);
	check_utilisation(&world);
	check_waiting(&world);
	assert_int_equal(world.totals.miss_count, setup->misses);
	world_close(&world);
}

static void loads_obey_laws(const struct setup *base, unsigned int most_nodes)
{
	for (unsigned int m = 0; m < COUNT(managers); m++) {
		for (unsigned int p = 0; p < COUNT(patterns); p++) {
			for (unsigned int n = 2; n <= most_nodes; n *= 2) {
				struct setup setup = *base;

				setup.manager = managers[m];
				setup.pattern = patterns[p];
				setup.node_count = n;
				run_and_check(&setup);
			}
		}
	}
}

static void test_laws(void **state)
{
	struct setup setup = setup_of(MANAGER_FIXED, PATTERN_MIGRATORY, 2);

	(void)state;
	loads_obey_laws(&setup, 64);
	setup.thread_count = 3;
	setup.pattern = PATTERN_PRODUCER;
	setup.node_count = 9;
	run_and_check(&setup);
}

/* A central manager that everybody waits for: its server is what limits the throughput. */
static void server_saturates(const struct setup *base)
{
	struct setup setup = *base;
	struct world world;
	struct summary summary;

	setup.manager = MANAGER_CENTRAL;
	setup.pattern = PATTERN_MIGRATORY;
	setup.node_count = 64;
	setup.think_ns = 10000;
	world_open(&world, &setup);
	world_measure(&world);
	check_utilisation(&world);
	check_waiting(&world);
	report_summarise(&world, &summary);
	assert_int_equal(summary.busiest, 0);
	assert_true(summary.busiest_utilisation > 0.98);
	assert_true(summary.mean_utilisation < 0.1);
	world_close(&world);
}

/* Pages over links of 1 Gb/s: the ports limit it. */
static void ports_saturate(const struct setup *base)
{
	struct setup setup = *base;
	struct world world;
	struct summary summary;

	setup.pattern = PATTERN_PRODUCER;
	setup.node_count = 8;
	setup.consumers = 7;
	setup.think_ns = 1000;
	setup.hold_ns = 0;
	setup.profile.byte_ps = 8000;
	world_open(&world, &setup);
	world_measure(&world);
	check_utilisation(&world);
	report_summarise(&world, &summary);
	assert_true(summary.busiest_port > 0.75);
	world_close(&world);
}

static void test_saturation(void **state)
{
	struct setup setup = setup_of(MANAGER_FIXED, PATTERN_MIGRATORY, 2);

	(void)state;
	server_saturates(&setup);
	ports_saturate(&setup);
}

/* ---- one seed, one course ---- */

static char *line_of(const struct setup *setup)
{
	struct world world;
	struct summary summary;
	char *line = NULL;
	size_t bytes = 0;
	FILE *file = open_memstream(&line, &bytes);

	assert_non_null(file);
	world_open(&world, setup);
	world_measure(&world);
	report_summarise(&world, &summary);
	report_line(file, &world, &summary);
	report_hops(file, &world);
	world_close(&world);
	assert_int_equal(fclose(file), 0);
	return line;
}

static void test_determinism(void **state)
{
	(void)state;
	for (unsigned int p = 0; p < COUNT(patterns); p++) {
		struct setup setup = setup_of(MANAGER_FIXED, patterns[p], 16);
		char *first = line_of(&setup);
		char *second = line_of(&setup);

		assert_string_equal(first, second);
		free(second);
		setup.seed++;
		second = line_of(&setup);
		assert_string_not_equal(first, second);
		free(first);
		free(second);
	}
}

/* ---- the profile's settings ---- */

static void test_profiles(void **state)
{
	struct profile profile = *profile_find("roce");

	(void)state;
	assert_null(profile_find("token-ring"));
	assert_true(profile_set(&profile, "send_ns=12345"));
	assert_int_equal(profile.send_ns, 12345);
	assert_true(profile_set(&profile, "drop_ns=0"));
	assert_int_equal(profile.drop_ns, 0);
	assert_false(profile_set(&profile, "send_ns=-1"));
	assert_false(profile_set(&profile, "send_ns=1x"));
	assert_false(profile_set(&profile, "send_ns="));
	assert_false(profile_set(&profile, "send=1"));
	assert_false(profile_set(&profile, "send_ns"));
	assert_false(profile_set(&profile, "send_ns=99999999999"));
	assert_int_equal(profile.send_ns, 12345);
}

/* ---- the tests' test ---- */

static void check_all(enum bug bug)
{
	struct setup setup = setup_of(MANAGER_FIXED, PATTERN_MIGRATORY, 5);

	setup.bug = bug;
	lone_misses_add_up(&setup);
	loads_obey_laws(&setup, 8);
	server_saturates(&setup);
	ports_saturate(&setup);
}

static void test_planted(void **state)
{
	check_all(*(const enum bug *)*state);
}

/* A failed check, a failed assertion of the model, or no end: all are seen from outside. */
static bool caught(enum bug bug)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_prestate(test_planted, &bug) };
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		alarm(60);
		if (freopen("/dev/null", "w", stderr) == NULL ||
		    freopen("/dev/null", "w", stdout) == NULL)
			_exit(0);
		_exit(cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void test_bugs(void **state)
{
	(void)state;
	assert_false(caught(BUG_NONE));
	for (unsigned int bug = BUG_NONE + 1; bug < BUG_END; bug++) {
		if (!caught((enum bug)bug)) {
			print_error("planted bug %u is not caught\n", bug);
			fail();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agenda_order), cmocka_unit_test(test_profiles),
		cmocka_unit_test(test_lone_misses),  cmocka_unit_test(test_laws),
		cmocka_unit_test(test_saturation),   cmocka_unit_test(test_determinism),
		cmocka_unit_test(test_bugs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
