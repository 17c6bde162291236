/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory in bounds (option "cache"): nodes write and read far more than their budget, in order and
 * in none, and nothing is lost; copies stay within the budget; a page that is used again and again
 * survives scans; what a node has written goes home; DSM_ADVICE_DONE gives memory back.
 */
#include "check.h"

#include <pthread.h>

#define PAGES 3072 /* 12 MiB, some three times the copies that a node may have */
#define ROUNDS 3
#define LOCKS 64

/* More than the budget: pages come in faster than others go. */
#define MARGIN 384

static unsigned char *pages;
static unsigned char *sync_area;
static int self;
static int count;

static uint64_t *page(int number)
{
	return (uint64_t *)(void *)(pages + (size_t)number * DSM_PAGE_BYTES);
}

static struct dsm_stats stats(void)
{
	struct dsm_stats out;

	CHECK_OK(dsm_stats_get(&out));
	return out;
}

static uint64_t budget(void)
{
	const char *text = dsm_option_get("cache");

	return strtoull(text, NULL, 10) * ((size_t)1 << 20) / DSM_PAGE_BYTES;
}

/* Pages may come in faster than others go, where processors are few, but not for long. */
static void check_budget(void)
{
	if (budget() == 0)
		return;
	for (int i = 0; i < 5000 && stats().pages_cached > budget() + MARGIN; i++)
		check_sleep_ms(1);
	CHECK(stats().pages_cached <= budget() + MARGIN);
}

static uint64_t value(uint64_t round, int number, int word)
{
	return round * UINT64_C(1000003) + (uint64_t)number * 512 + (uint64_t)word;
}

/* Every node writes its share, which is another one each round; then all read all. */
static void shares(void)
{
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		CHECK_OK(dsm_barrier());
		for (int i = 0; i < PAGES; i++) {
			if ((i + (int)round) % count != self)
				continue;
			for (int word = 0; word < 512; word += 73)
				page(i)[word] = value(round, i, word);
		}
		check_budget();
		CHECK_OK(dsm_barrier());
		for (int i = 0; i < PAGES; i++) {
			for (int word = 0; word < 512; word += 73)
				CHECK_IS(page(i)[word] == value(round, i, word), 1);
		}
		check_budget();
	}
	CHECK_OK(dsm_barrier());
}

/* Counters all over the pages, each added to under one of a few locks, by two threads a node. */
static void *add(void *argument)
{
	uint64_t seed = (uint64_t)(self * 2 + *(int *)argument + 1);

	for (int i = 0; i < 600; i++) {
		int number = (int)check_below(&seed, PAGES);
		unsigned char *lock = sync_area + (size_t)(number % LOCKS) * 16;

		CHECK_OK(dsm_lock(lock));
		page(number)[1]++;
		CHECK_OK(dsm_unlock(lock));
	}
	return NULL;
}

static void counters(void)
{
	pthread_t threads[2];
	int numbers[2] = { 0, 1 };
	uint64_t sum = 0;

	for (int i = self; i < PAGES; i += count)
		page(i)[1] = 0;
	for (int i = self; i < LOCKS; i += count)
		CHECK_OK(dsm_lock_init(sync_area + (size_t)i * 16));
	CHECK_OK(dsm_barrier());
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, add, &numbers[i]) == 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_OK(dsm_barrier());
	for (int i = 0; i < PAGES; i++)
		sum += page(i)[1];
	CHECK_IS(sum, 600 * 2 * count);
	check_budget();
	CHECK_OK(dsm_barrier());
}

static void scan(int first, int last)
{
	for (int i = first; i < last; i++)
		(void)*(volatile uint64_t *)page(i);
}

/* Pages that are read again after they have left once are not driven out by the next scan. */
static void scans_leave_known_pages(void)
{
	int hot = (int)(budget() / 4);

	CHECK_OK(dsm_barrier());
	if (self == 0 && budget() != 0) {
		scan(0, hot);
		scan(hot, hot + (int)budget() / 2); /* they leave ... */
		scan(0, hot);			    /* ... and come back */
		scan(hot + (int)budget() / 2, PAGES);
		check_sleep_ms(20);
		uint64_t before = stats().pages_fetched + stats().pages_granted;

		scan(0, hot);
		uint64_t missed = stats().pages_fetched + stats().pages_granted - before;

		printf("of %d known pages %llu had left\n", hot, (unsigned long long)missed);
		CHECK(missed < (uint64_t)hot / 2);
	}
	CHECK_OK(dsm_barrier());
}

/* What is done with goes, also what was written: in the second go at the latest. */
static void done(void)
{
	size_t bytes = (size_t)PAGES * DSM_PAGE_BYTES;

	for (int i = 0; i < PAGES; i++) {
		if (i % count == self)
			page(i)[0] = value(9, i, 0);
	}
	CHECK_OK(dsm_barrier());
	uint64_t evicted = stats().pages_evicted;
	uint64_t resident = stats().pages_resident;

	for (int i = 0; i < 200 && stats().pages_resident > resident / 2 + 64; i++) {
		CHECK_OK(dsm_advise(pages, bytes, DSM_ADVICE_DONE));
		check_sleep_ms(5);
	}
	CHECK_OK(dsm_barrier());
	if (count > 2)
		CHECK(stats().pages_evicted > evicted);
	for (int i = 0; i < PAGES; i++)
		CHECK(page(i)[0] == value(9, i, 0));
	CHECK_OK(dsm_barrier());
}

int main(void)
{
	check_join();
	self = dsm_node_id();
	count = dsm_node_count();
	pages = dsm_reserve(NULL, (size_t)PAGES * DSM_PAGE_BYTES);
	sync_area = dsm_reserve(NULL, DSM_PAGE_BYTES);
	CHECK(pages != NULL && sync_area != NULL);
	shares();
	counters();
	scans_leave_known_pages();
	done();
	return check_end();
}
