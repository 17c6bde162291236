/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A region under write-update. What is stored before a release is seen after the acquire that
 * follows it, through every kind of synchronisation; readers keep their pages meanwhile, which the
 * counts of dsm_stats_get() show; a word never goes back; a page has one writer at a time.
 */
#include "check.h"

#define PAGES 8u
#define PAGE_WORDS (DSM_PAGE_BYTES / sizeof(uint64_t))
#define WORDS (PAGES * PAGE_WORDS)
#define ROUNDS 60u
#define WARM_UP 3u

/* What stands in the region. Synchronisation objects are named by addresses beside it. */
static volatile uint64_t *words;
static char *names;
static unsigned int self;
static unsigned int count;

static struct dsm_stats stats(void)
{
	struct dsm_stats now;

	CHECK_OK(dsm_stats_get(&now));
	return now;
}

static void write_all(uint64_t round)
{
	for (unsigned int i = 0; i < WORDS; i++)
		words[i] = round * WORDS + i;
}

static void check_all(uint64_t round)
{
	for (unsigned int i = 0; i < WORDS; i++)
		CHECK_IS(words[i], round * WORDS + i);
}

/* Node 0 stores, all load. After the first rounds no reader faults, and no page is taken away. */
static void one_producer(void)
{
	struct dsm_stats before = stats();

	for (unsigned int round = 1; round <= ROUNDS; round++) {
		if (self == 0)
			write_all(round);
		CHECK_OK(dsm_barrier());
		check_all(round);
		if (round == WARM_UP)
			before = stats();
		CHECK_OK(dsm_barrier());
	}
	struct dsm_stats after = stats();

	CHECK_IS(after.invalidations, before.invalidations);
	CHECK_IS(after.pages_fetched, before.pages_fetched);
	CHECK_IS(after.read_faults, before.read_faults);
	if (self != 0) {
		CHECK_IS(after.upgrades + after.write_faults,
			 before.upgrades + before.write_faults);
		CHECK_IS(after.pages_updated - before.pages_updated, PAGES * (ROUNDS - WARM_UP));
	} else {
		CHECK_IS(after.pages_published - before.pages_published,
			 PAGES * (ROUNDS - WARM_UP));
	}
}

/* Everybody in turn. */
static void many_producers(void)
{
	for (unsigned int round = 1; round <= ROUNDS; round++) {
		if (self == round % count)
			write_all(round + ROUNDS);
		CHECK_OK(dsm_barrier());
		check_all(round + ROUNDS);
		CHECK_OK(dsm_barrier());
	}
}

/* Each its own words of the same pages, all at once: stores of one page follow each other. */
static void false_sharing(void)
{
	for (unsigned int round = 1; round <= ROUNDS; round++) {
		for (unsigned int i = self; i < 2 * PAGE_WORDS; i += count)
			words[i] = round * 10000 + i;
		CHECK_OK(dsm_barrier());
		for (unsigned int i = 0; i < 2 * PAGE_WORDS; i++)
			CHECK_IS(words[i], round * 10000 + i);
		CHECK_OK(dsm_barrier());
	}
}

/* Two pages that are always equal to who has the lock. */
static void with_locks(void *lock)
{
	volatile uint64_t *twin = words + PAGE_WORDS;
	uint64_t start = words[0];

	CHECK_OK(dsm_barrier());
	if (self == 0)
		twin[0] = start;
	CHECK_OK(dsm_barrier());
	for (unsigned int i = 0; i < ROUNDS; i++) {
		CHECK_OK(dsm_lock(lock));
		CHECK_IS(twin[0], words[0]);
		words[0] = words[0] + 1;
		twin[0] = twin[0] + 1;
		CHECK_OK(dsm_unlock(lock));
	}
	CHECK_OK(dsm_barrier());
	CHECK_IS(words[0], start + ROUNDS * count);
	CHECK_OK(dsm_barrier());
}

static void with_rwlocks(void *lock)
{
	if (self == 0)
		words[5] = words[2 * PAGE_WORDS] = 0;
	CHECK_OK(dsm_barrier());
	for (unsigned int i = 1; i <= ROUNDS; i++) {
		if (self == i % count) {
			CHECK_OK(dsm_rwlock_wrlock(lock));
			words[5] = words[2 * PAGE_WORDS] = words[5] + 1;
		} else {
			CHECK_OK(dsm_rwlock_rdlock(lock));
			CHECK_IS(words[5], words[2 * PAGE_WORDS]);
		}
		CHECK_OK(dsm_rwlock_unlock(lock));
	}
	CHECK_OK(dsm_barrier());
}

/* A token goes round: semaphore n says that it is node n's turn. */
static void with_semaphores(void)
{
	char *mine = names + 64 * (10 + (size_t)self);
	char *next = names + 64 * (10 + (size_t)(self + 1) % count);
	uint64_t turn = self;

	for (unsigned int i = 0; i < ROUNDS; i++, turn += count) {
		CHECK_OK(dsm_sem_wait(mine));
		CHECK_IS(words[3 * PAGE_WORDS], turn);
		words[3 * PAGE_WORDS] = turn + 1;
		CHECK_OK(dsm_sem_post(next));
	}
	CHECK_OK(dsm_barrier());
}

static void with_conditions(void *lock, void *cond)
{
	volatile uint64_t *turn = &words[4 * PAGE_WORDS];

	for (unsigned int i = 0; i < ROUNDS / 4; i++) {
		CHECK_OK(dsm_lock(lock));
		while (*turn % count != self)
			CHECK_OK(dsm_cond_wait(cond, lock));
		*turn = *turn + 1;
		CHECK_OK(dsm_cond_broadcast(cond));
		CHECK_OK(dsm_unlock(lock));
	}
	CHECK_OK(dsm_barrier());
	CHECK_IS(*turn, ROUNDS / 4 * count);
	CHECK_OK(dsm_barrier());
}

static void wait_for_word(const volatile uint64_t *word, uint64_t value)
{
	uint64_t end_ns = check_now_ns() + UINT64_C(20000000000);
	uint64_t seen = 0;

	while (seen < value) {
		uint64_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		CHECK(now >= seen);
		CHECK(check_now_ns() < end_ns);
		seen = now;
	}
}

/* Message passing without synchronisation: by publishing the data, then the flag. */
static void with_flags(void)
{
	volatile uint64_t *flag = &words[5 * PAGE_WORDS];
	volatile uint64_t *data = &words[6 * PAGE_WORDS];
	volatile uint64_t *seen = &words[7 * PAGE_WORDS];

	for (unsigned int round = 1; round <= ROUNDS; round++) {
		if (self == 0) {
			for (unsigned int i = 0; i < 16; i++)
				data[i] = round;
			CHECK_OK(dsm_publish());
			__atomic_store_n(flag, round, __ATOMIC_RELEASE);
			CHECK_OK(dsm_publish());
			if (count > 1)
				wait_for_word(seen, round);
		} else {
			wait_for_word(flag, round);
			for (unsigned int i = 0; i < 16; i++)
				CHECK(data[i] >= round);
			if (self == 1)
				__atomic_store_n(seen, round, __ATOMIC_RELEASE);
			CHECK_OK(dsm_publish());
		}
	}
	CHECK_OK(dsm_barrier());
}

/* A read-modify-write needs the page, and who has it has the latest. */
static void with_atomics(void)
{
	uint64_t *word = (uint64_t *)&words[9];
	uint64_t start = *word;

	CHECK_OK(dsm_barrier());
	for (unsigned int i = 0; i < 2000; i++)
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	CHECK_OK(dsm_barrier());
	CHECK_IS(*word, start + 2000 * (uint64_t)count);
	CHECK_OK(dsm_barrier());
}

static void objects_init(void)
{
	if (self == 0) {
		CHECK_OK(dsm_lock_init(names));
		CHECK_OK(dsm_rwlock_init(names + 64));
		CHECK_OK(dsm_cond_init(names + 128));
	}
	CHECK_OK(dsm_sem_init(names + 64 * (10 + (size_t)self), self == 0));
	if (self == 0)
		memset((void *)&words[3 * PAGE_WORDS], 0, 5 * DSM_PAGE_BYTES);
	CHECK_OK(dsm_barrier());
}

int main(void)
{
	CHECK_IS(dsm_publish(), -ENOTCONN);
	check_join();
	self = (unsigned int)dsm_node_id();
	count = (unsigned int)dsm_node_count();
	CHECK_OK(dsm_publish());
	CHECK_NULL(dsm_reserve_as(NULL, DSM_PAGE_BYTES, 7), EINVAL, "dsm_reserve_as");
	CHECK_NULL(dsm_reserve_as(NULL, 0, DSM_UPDATE), EINVAL, "dsm_reserve_as");
	words = dsm_reserve_as(NULL, WORDS * sizeof(*words), DSM_UPDATE);
	names = dsm_reserve_as(NULL, DSM_PAGE_BYTES, DSM_INVALIDATE);
	CHECK(words != NULL && names != NULL);
	if (count > 1)
		CHECK_NULL(dsm_reserve_as(NULL, DSM_PAGE_BYTES, self % 2), EINVAL,
			   "dsm_reserve_as");
	one_producer();
	many_producers();
	false_sharing();
	objects_init();
	with_locks(names);
	with_rwlocks(names + 64);
	with_semaphores();
	with_conditions(names, names + 128);
	with_flags();
	with_atomics();
	return check_end();
}
