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

static const enum manager_kind managers[] = { MANAGER_CENTRAL, MANAGER_FIXED, MANAGER_BROADCAST,
					      MANAGER_DYNAMIC };
static const enum pattern patterns[] = { PATTERN_MIGRATORY, PATTERN_READ_MOSTLY, PATTERN_STORES,
					 PATTERN_PRODUCER };

static struct setup setup_of(enum manager_kind manager, enum pattern pattern,
			     unsigned int node_count)
{
	return (struct setup){
		.profile = *profile_at(0),
		.manager = manager,
		.pattern = pattern,
		.node_count = node_count,
		.thread_count = 1,
		.page_count = 4 * node_count,
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
#define ABSENT_BYTES 32u
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

/* Roles: node 0 is the home of the page, and the manager if managers stand still. */
struct access {
	unsigned int node;
	bool write;
};

static const struct lone_miss {
	const char *name;
	struct access before[2];
	unsigned int before_count;
	struct access miss;
	unsigned int reads;
	/* Where managers stand still. */
	uint64_t (*expected_ps)(const struct profile *profile);
	unsigned int asked;	  /* requests, grants, confirmations: each so many */
	unsigned int downgraded;  /* and answers */
	unsigned int invalidated; /* and answers */
	/* Where they move: who has the page, how long its hints lead there, what it must do. */
	unsigned int owner;
	unsigned int hops;
	enum { DOES_NOTHING, PROTECTS, DROPS, RECALLS } owner_does;
} lone_misses[] = {
	{ "clean read",
	  { { 1, true }, { 2, false } },
	  2,
	  { 3, false },
	  1,
	  clean_read_ps,
	  1,
	  0,
	  0,
	  1,
	  2,
	  DOES_NOTHING },
	{ "dirty read",
	  { { 1, true } },
	  1,
	  { 2, false },
	  1,
	  dirty_read_ps,
	  1,
	  1,
	  0,
	  1,
	  2,
	  PROTECTS },
	{ "dirty write", { { 1, true } }, 1, { 2, true }, 1, dirty_write_ps, 1, 0, 1, 1, 2, DROPS },
	{ "upgrade, alone",
	  { { 1, false } },
	  1,
	  { 1, true },
	  0,
	  upgrade_alone_ps,
	  1,
	  0,
	  0,
	  0,
	  1,
	  DOES_NOTHING },
	{ "upgrade, shared",
	  { { 1, true }, { 2, false } },
	  2,
	  { 2, true },
	  0,
	  upgrade_shared_ps,
	  1,
	  0,
	  1,
	  1,
	  1,
	  DROPS },
	{ "write, two readers",
	  { { 1, true }, { 2, false } },
	  2,
	  { 3, true },
	  1,
	  write_two_readers_ps,
	  1,
	  0,
	  2,
	  1,
	  2,
	  RECALLS },
	{ "home writes first",
	  { { 0, false } },
	  0,
	  { 0, true },
	  0,
	  home_writes_first_ps,
	  0,
	  0,
	  0,
	  0,
	  0,
	  DOES_NOTHING },
	{ "home reads dirty",
	  { { 1, true } },
	  1,
	  { 0, false },
	  1,
	  home_reads_dirty_ps,
	  0,
	  1,
	  0,
	  1,
	  1,
	  PROTECTS },
	{ "home wrote",
	  { { 0, true } },
	  1,
	  { 1, false },
	  1,
	  reads_from_home_ps,
	  1,
	  0,
	  0,
	  0,
	  1,
	  PROTECTS },
};

/* ---- managers that move ---- */

/* Its own copy goes within the step; while another node is told, that takes no further time. */
static uint64_t owner_ps(const struct profile *p, const struct lone_miss *miss)
{
	switch (miss->owner_does) {
	case DOES_NOTHING:
		break;
	case PROTECTS:
		return (p->protect_ns + p->step_ns) * PS_PER_NS;
	case DROPS:
		return (p->drop_ns + p->step_ns) * PS_PER_NS;
	case RECALLS:
		return recall_ps(p, false);
	}
	return 0;
}

/* From the grant's step to the access. */
static uint64_t granted_ps(const struct profile *p, const struct lone_miss *miss)
{
	bool upgrade = miss->reads == 0 && miss->hops > 0;

	return (miss->reads > 0 ? fetch_ps(p) : 0) + shown_ps(p, upgrade);
}

static uint64_t dynamic_ps(const struct profile *p, const struct lone_miss *miss)
{
	if (miss->hops == 0)
		return fault_ps(p) + granted_ps(p, miss);
	return fault_ps(p) + miss->hops * (message_ps(p, REQUEST_BYTES) + take_ps(p)) +
	       owner_ps(p, miss) + message_ps(p, GRANT_BYTES) + take_ps(p) + granted_ps(p, miss);
}

/*
 * The requests leave one after another, to nodes in the order of their numbers. What answers come
 * before the grant are taken before it, and so may be one that is being taken.
 */
static uint64_t broadcast_ps(const struct profile *p, const struct lone_miss *miss,
			     unsigned int home, unsigned int node_count)
{
	unsigned int asker = (home + miss->miss.node) % node_count;
	unsigned int owner = (home + miss->owner) % node_count;
	uint64_t free_ps = (node_count - 1) * p->send_ns * PS_PER_NS;
	uint64_t left_ps = 0;
	uint64_t grant_ps = 0;

	if (miss->hops == 0)
		return fault_ps(p) + granted_ps(p, miss);
	for (unsigned int i = 0; i <= owner; i++)
		grant_ps += i == asker ? 0 : p->send_ns * PS_PER_NS;
	grant_ps += wire_ps(p, REQUEST_BYTES) + take_ps(p) + owner_ps(p, miss) +
		    message_ps(p, GRANT_BYTES);
	for (unsigned int i = 0; i < node_count; i++) {
		if (i == asker)
			continue;
		left_ps += p->send_ns * PS_PER_NS;
		uint64_t absent_ps = left_ps + wire_ps(p, REQUEST_BYTES) + take_ps(p) +
				     message_ps(p, ABSENT_BYTES);

		if (i != owner && absent_ps < grant_ps)
			free_ps = (absent_ps > free_ps ? absent_ps : free_ps) + take_ps(p);
	}
	return fault_ps(p) + (grant_ps > free_ps ? grant_ps : free_ps) + take_ps(p) +
	       granted_ps(p, miss);
}

static uint64_t expected_ps(const struct setup *setup, const struct lone_miss *miss,
			    unsigned int home)
{
	switch (setup->manager) {
	case MANAGER_CENTRAL:
	case MANAGER_FIXED:
		break;
	case MANAGER_DYNAMIC:
		return dynamic_ps(&setup->profile, miss);
	case MANAGER_BROADCAST:
		return broadcast_ps(&setup->profile, miss, home, setup->node_count);
	}
	return miss->expected_ps(&setup->profile);
}

/* ---- lone misses, simulated ---- */

static uint64_t sent_in_all(const uint64_t *sent)
{
	uint64_t all = 0;

	for (unsigned int i = 0; i < MSG_KIND_END; i++)
		all += sent[i];
	return all;
}

static void check_standing(const uint64_t *sent, const struct lone_miss *miss)
{
	assert_int_equal(sent[MSG_READ_REQUEST] + sent[MSG_WRITE_REQUEST], miss->asked);
	assert_int_equal(sent[MSG_READ_GRANT] + sent[MSG_WRITE_GRANT], miss->asked);
	assert_int_equal(sent[MSG_CONFIRM], miss->asked);
	assert_int_equal(sent[MSG_DOWNGRADE], miss->downgraded);
	assert_int_equal(sent[MSG_DOWNGRADED], miss->downgraded);
	assert_int_equal(sent[MSG_INVALIDATE], miss->invalidated);
	assert_int_equal(sent[MSG_INVALIDATED], miss->invalidated);
	assert_int_equal(sent_in_all(sent),
			 3 * miss->asked + 2 * (miss->downgraded + miss->invalidated));
}

static void check_moving(const uint64_t *sent, const struct lone_miss *miss, unsigned int requests,
			 unsigned int absent)
{
	unsigned int asked = miss->hops > 0;
	unsigned int recalled = miss->owner_does == RECALLS;

	assert_int_equal(sent[MSG_READ_REQUEST] + sent[MSG_WRITE_REQUEST], requests);
	assert_int_equal(sent[MSG_ABSENT], absent);
	assert_int_equal(sent[MSG_READ_GRANT] + sent[MSG_WRITE_GRANT], asked);
	assert_int_equal(sent[MSG_CONFIRM], asked);
	assert_int_equal(sent[MSG_HANDOVER], asked && miss->miss.write);
	assert_int_equal(sent[MSG_INVALIDATE], recalled);
	assert_int_equal(sent[MSG_INVALIDATED], recalled);
	assert_int_equal(sent_in_all(sent), requests + absent + 2 * asked +
						    (asked && miss->miss.write) + 2 * recalled);
}

static void check_messages(const struct world *world, const struct lone_miss *miss)
{
	unsigned int others = miss->hops == 0 ? 0 : world->setup.node_count - 1;
	unsigned int hops = 0;

	switch (world->setup.manager) {
	case MANAGER_CENTRAL:
	case MANAGER_FIXED:
		check_standing(world->totals.messages, miss);
		hops = miss->asked;
		break;
	case MANAGER_DYNAMIC:
		check_moving(world->totals.messages, miss, miss->hops, 0);
		hops = miss->hops;
		break;
	case MANAGER_BROADCAST:
		check_moving(world->totals.messages, miss, others, others - (others > 0));
		hops = miss->hops > 0;
		break;
	}
	assert_int_equal(world->totals.reads, miss->reads);
	assert_int_equal(world->totals.faults, 1);
	assert_int_equal(world->totals.hops[MISS_READ][hops] +
				 world->totals.hops[MISS_WRITE][hops] +
				 world->totals.hops[MISS_UPGRADE][hops],
			 1);
}

static void check_lone_miss(const struct setup *setup, unsigned int home,
			    const struct lone_miss *miss)
{
	uint64_t should_ps = expected_ps(setup, miss, home);
	unsigned int node = (home + miss->miss.node) % setup->node_count;
	struct world world;
	struct page_id page;

	world_open(&world, setup);
	page = world_page(&world, home);
	for (unsigned int i = 0; i < miss->before_count; i++)
		world_access_ps(&world, (home + miss->before[i].node) % setup->node_count, page,
				miss->before[i].write);
	world_reset_counts(&world);
	uint64_t took_ps = world_access_ps(&world, node, page, miss->miss.write);

	if (took_ps != should_ps)
		print_error("%s, %s, home %u: %llu ps, should be %llu\n", miss->name,
			    manager_name(setup->manager), home, (unsigned long long)took_ps,
			    (unsigned long long)should_ps);
	assert_int_equal(took_ps, should_ps);
	check_messages(&world, miss);
	world_close(&world);
}

/* Under a central manager the page's home must be that manager for the roles to fit. */
static void lone_misses_add_up(const struct setup *base)
{
	struct setup setup = *base;

	setup.pattern = PATTERN_NONE;
	setup.hold_ns = 0;
	for (unsigned int i = 0; i < COUNT(lone_misses); i++) {
		for (unsigned int m = 0; m < COUNT(managers); m++) {
			setup.manager = managers[m];
			for (unsigned int n = 0; profile_at(n) != NULL; n++) {
				setup.profile = *profile_at(n);
				check_lone_miss(&setup, 0, &lone_misses[i]);
				if (managers[m] != MANAGER_CENTRAL)
					check_lone_miss(&setup, 3, &lone_misses[i]);
			}
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

/*
 * Over the whole run: what is asked is granted and confirmed, what is recalled is answered. (Under
 * managers that move a node's request to itself may be handed on, and be granted by another.)
 */
static void check_pairs(const struct world *world)
{
	const uint64_t *sent = world->messages;
	uint64_t asked = sent[MSG_READ_REQUEST] + sent[MSG_WRITE_REQUEST];
	uint64_t granted = sent[MSG_READ_GRANT] + sent[MSG_WRITE_GRANT];

	assert_true(granted > 0);
	if (world->setup.manager == MANAGER_CENTRAL || world->setup.manager == MANAGER_FIXED)
		assert_int_equal(asked, granted);
	assert_int_equal(sent[MSG_CONFIRM] + sent[MSG_DECLINE], granted);
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

static void load_obeys_laws(const struct setup *base, enum manager_kind manager,
			    enum pattern pattern, unsigned int node_count)
{
	struct setup setup = *base;

	setup.manager = manager;
	setup.pattern = pattern;
	setup.node_count = node_count;
	setup.page_count = 4 * node_count;
	run_and_check(&setup);
}

static void loads_obey_laws(const struct setup *base, unsigned int most_nodes)
{
	static const unsigned int sizes[] = { 2, 5, 16, 64 };

	for (unsigned int m = 0; m < COUNT(managers); m++) {
		/* A miss costs it two messages a node. */
		unsigned int most = managers[m] == MANAGER_BROADCAST ? 16 : most_nodes;

		for (unsigned int p = 0; p < COUNT(patterns); p++) {
			for (unsigned int i = 0; i < COUNT(sizes); i++) {
				if (sizes[i] <= most && sizes[i] <= most_nodes)
					load_obeys_laws(base, managers[m], patterns[p], sizes[i]);
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
	setup.page_count = 256;
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

/* ---- chains ---- */

static unsigned int log2_of(unsigned int power)
{
	return (unsigned int)__builtin_ctz(power);
}

static double harmonic(unsigned int n)
{
	double sum = 0;

	for (unsigned int i = 1; i <= n; i++)
		sum += 1.0 / i;
	return sum;
}

/*
 * Requests to write turn the hints that they pass: path reversal, of which K from any beginning
 * cost at most K log2 N + N log2 N / 2 (Ginat, Sleator and Tarjan 1989); Li and Hudak: O(N + K log
 * N) for K searches. Here some requests overlap, and it should hold all the same.
 */
static void check_reversals(const struct world *world)
{
	unsigned int node_count = world->setup.node_count;
	unsigned int rate = log2_of(node_count);

	for (unsigned int i = 0; i < world->setup.page_count; i++) {
		const struct search *search = &world->searches[world_page(world, i).value];

		assert_true(search->misses > node_count);
		assert_true(search->sends <= search->misses * rate + node_count * rate / 2);
	}
}

/*
 * If all nodes are equally likely to be next, and each has had the page before, a request is sent
 * H(N) - 1 times on average (Naimi, Trehel and Arnold 1996), not at all by the one node of N that
 * has the page, which does not miss.
 */
static void test_chains(void **state)
{
	struct setup setup = setup_of(MANAGER_DYNAMIC, PATTERN_STORES, 64);
	struct summary summary;
	struct world world;

	(void)state;
	setup.page_count = 8;
	setup.think_ns = 20000000;
	setup.warm = 8 * setup.page_count * setup.node_count;
	setup.misses = 20000;
	world_open(&world, &setup);
	world_measure(&world);
	check_reversals(&world);
	report_summarise(&world, &summary);
	assert_near(summary.write_hops_mean * (1 - 1.0 / setup.node_count),
		    harmonic(setup.node_count) - 1, 0.01);
	assert_true(summary.hops_max < setup.node_count);
	world_close(&world);
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
	setup.misses = 2000;
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
		alarm(250);
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
		cmocka_unit_test(test_saturation),   cmocka_unit_test(test_chains),
		cmocka_unit_test(test_determinism),  cmocka_unit_test(test_bugs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
