/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker is a thread of some node; node 0 has workers 0, node_count, ... so that neighbours stand
 * on different nodes. In each batch, a worker plays one of the test's threads, or nobody; the next
 * batch deals the threads anew, one further. A batch has many instances of the test's locations;
 * each is used once, and set for the next batch by a worker that differs each time, so that pages
 * begin on different nodes.
 *
 * In an even batch the players meet at a barrier before every instance, then wait for a random
 * time; in an odd one they run through all instances as fast as they can. Before an instance, a
 * player may read its words, so that the stores have copies to take away.
 */
#include "play.h"

#include "memory.h"

#include <pthread.h>

/* So many batches at least: both paces, and each thread on more than one node. */
#define BATCHES_MIN 4u

struct worker {
	struct play *play;
	unsigned int id;
	uint64_t random;
	uint32_t results[PLAY_INSTANCES_MAX][LITMUS_REGISTERS_MAX];
	pthread_t thread;
};

/* ---- one thread of one instance ---- */

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

static void look(const struct memory *memory)
{
	for (unsigned int i = 0; i < memory->location_count; i++)
		(void)__atomic_load_n(memory->words[i], __ATOMIC_RELAXED);
}

static void play_instance(const struct litmus_test *test, unsigned int thread,
			  struct memory *memory, struct worker *worker, bool pace,
			  struct litmus_player *player)
{
	struct litmus_access access;

	if (check_below(&worker->random, 2) == 0)
		look(memory);
	memory_begin(memory);
	if (pace) {
		CHECK(dsm_barrier_wait(worker->play->shared->pace_barrier) >= 0);
		random_delay(&worker->random);
	}
	while (litmus_advance(test, thread, player, &access)) {
		litmus_accept(test, thread, player, memory_access(memory, &access));
		if (pace && check_below(&worker->random, 4) == 0)
			random_delay(&worker->random);
	}
	memory_end(memory);
}

/* ---- batches and rounds ---- */

static void play_batch(const struct play_round *round, const struct litmus_test *altered,
		       unsigned int batch, struct worker *worker)
{
	struct play *play = worker->play;
	unsigned int thread = (worker->id + batch) % play->worker_count;
	struct memory memory = {
		.location_count = round->test->location_count,
		.relaxed = play->relaxed,
		.random = &worker->random,
	};

	if (thread >= round->test->thread_count)
		return;
	for (unsigned int i = 0; i < round->instance_count; i++) {
		struct litmus_player player = { .next = 0 };

		for (unsigned int k = 0; k < memory.location_count; k++)
			memory.words[k] = play_word(play->shared, round, i, k);
		play_instance(altered, thread, &memory, worker, batch % 2 == 0, &player);
		memcpy(worker->results[i], player.registers, sizeof(player.registers));
	}
	/* Only now: the pages of the results would be in the way of those that are tested. */
	memcpy(play->shared->results[thread], worker->results,
	       round->instance_count * sizeof(worker->results[0]));
}

static void set_words(const struct play *play, const struct play_round *round)
{
	for (unsigned int i = 0; i < round->instance_count; i++) {
		for (unsigned int k = 0; k < round->test->location_count; k++)
			*play_word(play->shared, round, i, k) = round->test->locations[k].initial;
	}
}

static void meet(const struct worker *worker)
{
	CHECK(dsm_barrier_wait(worker->play->shared->all_barrier) >= 0);
}

static void play_batches(const struct play_round *round, struct worker *worker, struct tally *tally)
{
	struct litmus_test altered = *round->test;

	memory_alter(&altered);
	for (unsigned int batch = 0; batch < round->batch_count; batch++) {
		if (worker->id == batch % worker->play->worker_count)
			set_words(worker->play, round);
		meet(worker);
		play_batch(round, &altered, batch, worker);
		meet(worker);
		if (worker->id == 0)
			tally_batch(tally, worker->play, round);
		meet(worker);
	}
}

static void play_round(const struct play_round *round, struct worker *worker)
{
	uint8_t *pace = worker->play->shared->pace_barrier;
	struct tally *tally;

	if (worker->id != 0) {
		play_batches(round, worker, NULL);
		return;
	}
	tally = tally_open(round->test);
	CHECK_OK(dsm_barrier_init(pace, round->test->thread_count));
	play_batches(round, worker, tally);
	CHECK_OK(dsm_barrier_destroy(pace));
	tally_close(tally, worker->play, round);
}

static struct play_round plan(const struct play *play, const struct litmus_test *test,
			      enum play_placement placement)
{
	unsigned int most = (unsigned int)PLAY_WORDS / test->location_count;
	unsigned int count = (play->iterations + BATCHES_MIN - 1) / BATCHES_MIN;

	if (count > most)
		count = most;
	if (count > PLAY_INSTANCES_MAX)
		count = PLAY_INSTANCES_MAX;
	return (struct play_round){
		.test = test,
		.placement = placement,
		.instance_count = count,
		.batch_count = (play->iterations + count - 1) / count,
	};
}

/* What has one location has it on one page in any case. */
static void *work(void *argument)
{
	struct worker *worker = argument;
	const struct play *play = worker->play;

	for (unsigned int i = 0; i < play->test_count; i++) {
		const struct litmus_test *test = &play->tests[i];

		for (unsigned int placement = 0; placement < PLAY_PLACEMENTS; placement++) {
			struct play_round round = plan(play, test, (enum play_placement)placement);

			if (play->placements[placement] &&
			    (test->location_count > 1 || placement == PLAY_OWN_PAGES))
				play_round(&round, worker);
		}
	}
	return NULL;
}

/* ---- all of it ---- */

static void run_workers(struct play *play)
{
	unsigned int nodes = (unsigned int)dsm_node_count();
	unsigned int here = play->worker_count / nodes;
	uint64_t seed = check_seed(check_now_ns() & 0xffffff);
	struct worker *workers = calloc(here, sizeof(*workers));

	CHECK(workers != NULL);
	for (unsigned int i = 0; i < here; i++) {
		struct worker *worker = &workers[i];

		worker->play = play;
		worker->id = (unsigned int)dsm_node_id() + i * nodes;
		worker->random = seed ^ ((worker->id + 1) << 8);
		CHECK_OK(pthread_create(&worker->thread, NULL, work, worker));
	}
	for (unsigned int i = 0; i < here; i++)
		CHECK_OK(pthread_join(workers[i].thread, NULL));
	free(workers);
}

void play_all(struct play *play)
{
	unsigned int nodes = (unsigned int)dsm_node_count(), threads = 1;

	for (unsigned int i = 0; i < play->test_count; i++) {
		if (play->tests[i].thread_count > threads)
			threads = play->tests[i].thread_count;
	}
	play->worker_count = (threads + nodes - 1) / nodes * nodes;
	play->shared = dsm_reserve(NULL, sizeof(*play->shared));
	CHECK(play->shared != NULL);
	if (dsm_node_id() == 0)
		CHECK_OK(dsm_barrier_init(play->shared->all_barrier, play->worker_count));
	CHECK_OK(dsm_barrier());
	run_workers(play);
}
