/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries litmus tests out on the nodes of a job.
 *
 *   litmus [--iterations N] [--relaxed] [--wrong-order] [TEST...]
 *
 * A worker is a thread of some node; node 0 has workers 0, node_count, ... so that neighbours stand
 * on different nodes. In each batch, a worker plays one of the test's threads, or nobody. A batch
 * has as many instances of the test's locations as fit; each is used once, and zeroed for the next
 * batch by a worker that differs each time, so that pages begin on different nodes.
 *
 * In an even batch the players meet at a barrier before every instance, then wait for a random
 * time; in an odd one they run through all instances as fast as they can. Before an instance, a
 * player may read its words, so that the stores have copies to take away.
 *
 * Accesses are C11 seq_cst atomics: the processor itself must not reorder what the test has in
 * order. --relaxed leaves that out and only reports. --wrong-order exchanges the first two
 * operations of the first thread that has two behind the checker's back: a violation must be found.
 */
#include "check.h"
#include "litmus.h"

#include <pthread.h>

#define WORDS (DSM_PAGE_BYTES / sizeof(uint32_t))
#define INSTANCES_MAX 512u

/* So many iterations show more than one outcome if the threads run at the same time at all. */
#define ENOUGH_TO_MEET 256u

struct options {
	unsigned int iterations;
	bool relaxed;
	bool wrong_order;
	char **names;
	unsigned int name_count;
};

/* Shared: three pages of locations, results of each worker's thread, and the barriers' names. */
struct shared {
	_Atomic uint32_t words[LITMUS_LOCATIONS_MAX][WORDS];
	uint32_t results[LITMUS_THREADS_MAX][INSTANCES_MAX];
	uint8_t all_barrier[16];  /* all workers */
	uint8_t pace_barrier[16]; /* the players */
};

/* One test on one layout of its locations. */
struct round {
	const struct litmus_test *test;
	bool one_page;
	unsigned int instance_count;
	unsigned int batch_count;
};

struct worker {
	unsigned int id;
	uint64_t random;
	pthread_t thread;
};

static struct options options = { .iterations = 2000 };
static struct shared *shared;
static unsigned int worker_count;
static unsigned int violation_count; /* node 0's */

/* ---- the parts of an iteration ---- */

static _Atomic uint32_t *word_of(const struct round *round, unsigned int instance,
				 unsigned int location)
{
	if (!round->one_page)
		return &shared->words[location][instance];
	return &shared->words[0][instance * round->test->location_count + location];
}

static void spin_ns(uint64_t ns)
{
	uint64_t end = check_now_ns() + ns;

	while (check_now_ns() < end)
		;
}

/* Mostly short or none, so that players that were let go together stay together. */
static void random_delay(uint64_t *random)
{
	static const uint64_t limits_ns[] = { 1, 1, 200, 2000, 20000, 200000 };
	uint64_t limit = limits_ns[check_below(random, 6)];

	if (limit > 1)
		spin_ns(check_below(random, limit));
}

static void carry_out(const struct round *round, unsigned int instance, const struct litmus_op *op,
		      struct litmus_outcome *outcome)
{
	_Atomic uint32_t *word = word_of(round, instance, op->location);
	uint32_t value;

	if (op->kind == LITMUS_STORE) {
		__atomic_store_n((uint32_t *)word, op->number,
				 options.relaxed ? __ATOMIC_RELAXED : __ATOMIC_SEQ_CST);
		return;
	}
	value = __atomic_load_n((uint32_t *)word,
				options.relaxed ? __ATOMIC_RELAXED : __ATOMIC_SEQ_CST);
	outcome->code |= litmus_register(op->number, value & 15).code;
}

static bool exchanged(const struct litmus_test *test, unsigned int thread)
{
	return options.wrong_order && test->ops[thread][1].kind != LITMUS_NONE &&
	       (thread == 0 || test->ops[0][1].kind == LITMUS_NONE);
}

static void play_instance(const struct round *round, unsigned int thread, unsigned int instance,
			  bool pace, uint64_t *random)
{
	const struct litmus_op *ops = round->test->ops[thread];
	struct litmus_outcome outcome = { 0 };
	bool swap = exchanged(round->test, thread);

	if (check_below(random, 2) == 0) {
		for (unsigned int i = 0; i < round->test->location_count; i++)
			(void)*word_of(round, instance, i);
	}
	if (pace) {
		CHECK(dsm_barrier_wait(shared->pace_barrier) >= 0);
		random_delay(random);
	}
	carry_out(round, instance, &ops[swap ? 1 : 0], &outcome);
	if (pace && check_below(random, 4) == 0)
		random_delay(random);
	if (ops[1].kind != LITMUS_NONE)
		carry_out(round, instance, &ops[swap ? 0 : 1], &outcome);
	shared->results[thread][instance] = outcome.code;
}

/* ---- node 0 counts ---- */

struct tally {
	struct litmus_outcomes permitted;
	unsigned int seen[LITMUS_OUTCOMES_MAX];
	unsigned int violations;
};

static struct litmus_outcome outcome_of(const struct round *round, unsigned int instance)
{
	struct litmus_outcome outcome = { 0 };

	for (unsigned int t = 0; t < round->test->thread_count; t++)
		outcome.code |= shared->results[t][instance];
	for (unsigned int i = 0; i < round->test->location_count; i++)
		outcome.code |= litmus_last(i, *word_of(round, instance, i) & 15).code;
	return outcome;
}

static void count_batch(const struct round *round, struct tally *tally)
{
	for (unsigned int i = 0; i < round->instance_count; i++) {
		struct litmus_outcome outcome = outcome_of(round, i);
		unsigned int place = litmus_find(&tally->permitted, outcome);

		if (place < tally->permitted.count) {
			tally->seen[place]++;
			continue;
		}
		if (tally->violations++ < 5)
			printf("%s: VIOLATION: %s%s\n", round->test->name,
			       litmus_text(round->test, outcome),
			       litmus_forbidden(round->test, outcome) ? " (the forbidden outcome)"
								      : "");
	}
}

static void report(const struct round *round, const struct tally *tally)
{
	unsigned int kinds = 0;

	for (unsigned int i = 0; i < tally->permitted.count; i++)
		kinds += tally->seen[i] > 0;
	printf("%-5s %-10s %6u iterations, %u violations, forbidden %s; %u of %u permitted "
	       "outcomes seen:",
	       round->test->name, round->one_page ? "one page" : "own pages",
	       round->batch_count * round->instance_count, tally->violations,
	       round->test->forbidden_text, kinds, tally->permitted.count);
	for (unsigned int i = 0; i < tally->permitted.count; i++) {
		if (tally->seen[i] > 0)
			printf(" [%s] %u", litmus_text(round->test, tally->permitted.list[i]),
			       tally->seen[i]);
	}
	printf("\n");
	violation_count += tally->violations;
	if (!options.wrong_order && kinds < 2 && options.iterations >= ENOUGH_TO_MEET)
		check_fail(__FILE__, __LINE__, "the threads never met: one outcome only", kinds);
}

/* ---- a worker ---- */

static void meet(void)
{
	CHECK(dsm_barrier_wait(shared->all_barrier) >= 0);
}

static void play_batch(const struct round *round, unsigned int batch, struct worker *worker)
{
	unsigned int thread = (worker->id + batch) % worker_count;
	bool pace = batch % 2 == 0;

	if (thread >= round->test->thread_count)
		return;
	for (unsigned int i = 0; i < round->instance_count; i++)
		play_instance(round, thread, i, pace, &worker->random);
}

static void play_round(const struct round *round, struct worker *worker)
{
	struct tally tally = { .violations = 0 };

	litmus_enumerate(round->test, &tally.permitted);
	if (worker->id == 0)
		CHECK_OK(dsm_barrier_init(shared->pace_barrier, round->test->thread_count));
	for (unsigned int batch = 0; batch < round->batch_count; batch++) {
		if (worker->id == batch % worker_count)
			memset((void *)shared->words, 0, sizeof(shared->words));
		meet();
		play_batch(round, batch, worker);
		meet();
		if (worker->id == 0)
			count_batch(round, &tally);
		meet();
	}
	if (worker->id != 0)
		return;
	CHECK_OK(dsm_barrier_destroy(shared->pace_barrier));
	report(round, &tally);
	fflush(stdout);
}

static bool chosen(const struct litmus_test *test)
{
	for (unsigned int i = 0; i < options.name_count; i++) {
		if (strcmp(options.names[i], test->name) == 0)
			return true;
	}
	return options.name_count == 0;
}

/* At least two batches: one of each pace. */
static void plan_round(struct round *round)
{
	round->instance_count = INSTANCES_MAX / 2;
	if (options.iterations < INSTANCES_MAX)
		round->instance_count = (options.iterations + 1) / 2;
	round->batch_count = options.iterations / round->instance_count;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (unsigned int i = 0; i < litmus_test_count; i++) {
		const struct litmus_test *test = &litmus_tests[i];

		for (unsigned int one_page = 0; one_page < 2 && chosen(test); one_page++) {
			struct round round = { .test = test, .one_page = one_page != 0 };

			if (test->location_count == 1 && round.one_page)
				continue;
			plan_round(&round);
			play_round(&round, worker);
		}
	}
	return NULL;
}

/* ---- the program ---- */

/* The table itself: what it calls forbidden must be what no interleaving gives. */
static void check_tests(void)
{
	for (unsigned int i = 0; i < litmus_test_count; i++) {
		struct litmus_outcomes permitted;

		litmus_enumerate(&litmus_tests[i], &permitted);
		CHECK(permitted.count >= 2);
		for (unsigned int k = 0; k < permitted.count; k++)
			CHECK(!litmus_forbidden(&litmus_tests[i], permitted.list[k]));
	}
}

static void parse(int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--relaxed") == 0)
			options.relaxed = true;
		else if (strcmp(argv[i], "--wrong-order") == 0)
			options.wrong_order = true;
		else if (strcmp(argv[i], "--iterations") == 0 && i + 1 < argc)
			options.iterations = (unsigned int)strtoul(argv[++i], NULL, 10);
		else
			exit(2);
	}
	if (options.iterations < 2)
		exit(2);
	options.names = argv + i;
	options.name_count = (unsigned int)(argc - i);
}

static void run_workers(void)
{
	unsigned int nodes = (unsigned int)dsm_node_count();
	unsigned int here = worker_count / nodes;
	uint64_t seed = check_seed(check_now_ns() & 0xffffff);
	struct worker workers[LITMUS_THREADS_MAX];

	for (unsigned int i = 0; i < here; i++) {
		unsigned int id = (unsigned int)dsm_node_id() + i * nodes;

		workers[i] = (struct worker){ .id = id, .random = seed ^ ((id + 1) << 8) };
		CHECK_OK(pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (unsigned int i = 0; i < here; i++)
		CHECK_OK(pthread_join(workers[i].thread, NULL));
}

/* Exit status: 0 as it should be, 1 not. */
static int verdict(void)
{
	if (options.relaxed)
		return 0;
	if (options.wrong_order && violation_count == 0)
		printf("the planted wrong order was not noticed\n");
	else if (!options.wrong_order && violation_count > 0)
		printf("%u violations of sequential consistency\n", violation_count);
	else
		return 0;
	return 1;
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	check_tests();
	check_join();
	unsigned int nodes = (unsigned int)dsm_node_count();

	worker_count = (LITMUS_THREADS_MAX + nodes - 1) / nodes * nodes;
	shared = dsm_reserve(NULL, sizeof(*shared));
	CHECK(shared != NULL);
	if (dsm_node_id() == 0)
		CHECK_OK(dsm_barrier_init(shared->all_barrier, worker_count));
	CHECK_OK(dsm_barrier());
	run_workers();
	int status = dsm_node_id() == 0 ? verdict() : 0;

	CHECK_OK(dsm_barrier());
	CHECK_OK(dsm_finish());
	return status;
}
