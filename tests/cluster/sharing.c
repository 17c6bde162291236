/* SPDX-License-Identifier: Apache-2.0 */
/*
 * False sharing: all nodes write the same page all the time, each its own byte. And true sharing:
 * all add to one word with atomic instructions. No update may be lost. The page goes round some
 * hundred times at least, or the test has not tested.
 */
#include "check.h"

#define UPDATES 1000000u /* of all nodes together */
#define RUN 250u	 /* updates between looks at the neighbours */

static unsigned char *page;
static unsigned int self;
static unsigned int count;

static uint64_t pages_come(void)
{
	struct dsm_stats stats;

	CHECK_OK(dsm_stats_get(&stats));
	return stats.pages_fetched + stats.pages_granted;
}

/* A while without the page, so that others get it before this node is done. */
static void pause_after(unsigned int update)
{
	uint64_t end = check_now_ns() + 20000 + update % 7 * 20000;

	if (update % RUN != 0)
		return;
	while (check_now_ns() < end)
		;
}

/*
 * A byte wraps, so each node counts in its own memory too, and compares at every step: a lost
 * update shows at once.
 */
static void increment_bytes(volatile unsigned char *bytes, unsigned int stride)
{
	unsigned char mine = 0;

	for (unsigned int i = 0; i < UPDATES / count; i++) {
		unsigned char seen = ++bytes[self * stride];

		CHECK_IS(seen, ++mine);
		pause_after(i);
		if (i % RUN == 0)
			(void)bytes[(self + 1) % count * stride];
	}
	CHECK_OK(dsm_barrier());
	for (unsigned int node = 0; node < count; node++)
		CHECK_IS(bytes[node * stride], (unsigned char)(UPDATES / count));
	CHECK_OK(dsm_barrier());
}

static void add_atomically(uint64_t *word)
{
	for (unsigned int i = 0; i < UPDATES / count; i++) {
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
		pause_after(i);
	}
	CHECK_OK(dsm_barrier());
	CHECK_IS(*word, UPDATES / count * count);
	CHECK_OK(dsm_barrier());
}

/* Compare and swap: a list's head, to which every node pushes without a lock. */
static void push_nodes(uint32_t *head, uint32_t *next)
{
	enum { PUSHES = 2000 };
	uint32_t first = self * PUSHES + 1;
	uint32_t length = 0;

	for (uint32_t i = first; i < first + PUSHES; i++) {
		next[i] = __atomic_load_n(head, __ATOMIC_SEQ_CST);
		while (!__atomic_compare_exchange_n(head, &next[i], i, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST))
			;
		pause_after(i);
	}
	CHECK_OK(dsm_barrier());
	for (uint32_t i = *head; i != 0; i = next[i]) {
		CHECK(i <= count * PUSHES);
		CHECK(++length <= count * PUSHES);
	}
	CHECK_IS(length, count * PUSHES);
	CHECK_OK(dsm_barrier());
}

int main(void)
{
	check_join();
	page = dsm_reserve(NULL, 64 * DSM_PAGE_BYTES);
	CHECK(page != NULL);
	self = (unsigned int)dsm_node_id();
	count = (unsigned int)dsm_node_count();
	increment_bytes(page, 1);
	increment_bytes(page + DSM_PAGE_BYTES, 64);
	add_atomically((uint64_t *)(page + 2 * DSM_PAGE_BYTES));
	push_nodes((uint32_t *)(page + 3 * DSM_PAGE_BYTES),
		   (uint32_t *)(page + 4 * DSM_PAGE_BYTES));
	printf("node %u: a page came %llu times\n", self, (unsigned long long)pages_come());
	CHECK(count == 1 || pages_come() > 40);
	return check_end();
}
