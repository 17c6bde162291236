/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads of each node: faults on one page at a time, and every call from all of them. */
#include "check.h"

#include <pthread.h>

#define THREADS 4
#define PAGES 24
#define CALL_ROUNDS 60

struct thread {
	pthread_t handle;
	int number; /* 0 .. THREADS * nodes - 1 */
};

struct counter {
	uint64_t value;
	uint64_t copy; /* on another page */
};

static unsigned char *pages;
static unsigned char *meeting; /* a barrier of all threads of all nodes */
static uint64_t *words;	       /* word 0 under a lock of that name, word 600 with it */
static int self;
static int count;

static int all_threads(void)
{
	return THREADS * count;
}

static void meet(void)
{
	CHECK(dsm_barrier_wait(meeting) >= 0);
}

/*
 * All threads of a node touch the same page at once, first for reading, then for writing, each its
 * own bytes. Nobody's bytes may be lost, and each sees what it wrote last.
 */
static void touch_together(struct thread *thread)
{
	for (int page = 0; page < PAGES; page++) {
		unsigned char *mine = pages + page * DSM_PAGE_BYTES + thread->number;
		int sum = 0;

		meet();
		if (page % 2 == 0) {
			for (int i = 0; i < all_threads(); i++)
				sum += __atomic_load_n(&pages[page * DSM_PAGE_BYTES + i],
						       __ATOMIC_RELAXED);
			CHECK(sum <= all_threads());
		}
		CHECK_IS(__atomic_fetch_add(mine, 1, __ATOMIC_RELAXED), 0);
		CHECK_IS(__atomic_load_n(mine, __ATOMIC_RELAXED), 1);
		meet();
		for (int i = 0; i < all_threads(); i++)
			CHECK_IS(pages[page * DSM_PAGE_BYTES + i], 1);
	}
}

static void add_under_lock(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		CHECK_OK(dsm_lock(words));
		uint64_t value = words[0];

		CHECK(words[600] == value);
		words[0] = value + 1;
		words[600] = value + 1;
		CHECK_OK(dsm_unlock(words));
	}
}

static void allocate_and_free(uint64_t *random)
{
	unsigned char *blocks[8];
	size_t bytes[8];

	for (int i = 0; i < 8; i++) {
		bytes[i] = 1 + check_below(random, i == 0 ? 300000 : 5000);
		blocks[i] = i % 2 == 0 ? dsm_malloc(bytes[i])
				       : dsm_malloc_at(bytes[i],
						       (int)check_below(random, (uint64_t)count));
		CHECK(blocks[i] != NULL);
		memset(blocks[i], i + 1, bytes[i]);
	}
	for (int i = 7; i >= 0; i--) {
		CHECK_IS(blocks[i][0], i + 1);
		CHECK_IS(blocks[i][bytes[i] - 1], i + 1);
		CHECK(dsm_home(blocks[i]) >= 0);
		CHECK_OK(dsm_free(blocks[i], bytes[i]));
	}
}

/* Each thread on its own way through all calls; the sum at the end is known. */
static void call_everything(struct thread *thread)
{
	uint64_t random = check_seed(11) ^ (uint64_t)(thread->number + 1);
	struct dsm_stats stats;

	for (int i = 0; i < CALL_ROUNDS; i++) {
		switch (check_below(&random, 6)) {
		case 0:
			allocate_and_free(&random);
			break;
		case 1:
			CHECK_OK(dsm_prefetch(pages, PAGES * DSM_PAGE_BYTES,
					      (int)check_below(&random, 2)));
			break;
		case 2:
			CHECK_OK(dsm_sem_wait(words + 8));
			CHECK_OK(dsm_sem_post(words + 8));
			break;
		case 3:
			CHECK_OK(dsm_rwlock_rdlock(words + 16));
			CHECK_OK(dsm_rwlock_unlock(words + 16));
			break;
		case 4:
			CHECK_OK(dsm_stats_get(&stats));
			CHECK_FAILS(dsm_unlock(words), -EPERM, "dsm_unlock");
			break;
		default:
			CHECK_OK(dsm_rwlock_wrlock(words + 16));
			words[1000]++;
			CHECK_OK(dsm_rwlock_unlock(words + 16));
			__atomic_fetch_add(&words[1001], 1, __ATOMIC_SEQ_CST);
		}
		add_under_lock(1);
	}
}

static void *body(void *argument)
{
	struct thread *thread = argument;

	touch_together(thread);
	call_everything(thread);
	meet();
	CHECK_IS(words[0], CALL_ROUNDS * all_threads());
	CHECK_IS(words[600], CALL_ROUNDS * all_threads());
	CHECK_IS(words[1000], words[1001]);
	CHECK(words[1000] > 0);
	return NULL;
}

int main(void)
{
	struct thread threads[THREADS];

	check_start(64 << 20);
	self = dsm_node_id();
	count = dsm_node_count();
	pages = dsm_reserve(NULL, PAGES * DSM_PAGE_BYTES);
	CHECK(pages != NULL);
	meeting = check_shared_block(16);
	words = check_shared_block(2 * DSM_PAGE_BYTES);
	if (self == 0) {
		CHECK_OK(dsm_barrier_init(meeting, (unsigned int)all_threads()));
		CHECK_OK(dsm_lock_init(words));
		CHECK_OK(dsm_sem_init(words + 8, 2));
		CHECK_OK(dsm_rwlock_init(words + 16));
	}
	CHECK_OK(dsm_barrier());
	for (int i = 0; i < THREADS; i++) {
		threads[i].number = self * THREADS + i;
		CHECK_OK(pthread_create(&threads[i].handle, NULL, body, &threads[i]));
	}
	/* A collective call of this thread beside the others' calls. */
	for (int i = 0; i < 20; i++)
		CHECK_OK(dsm_barrier());
	for (int i = 0; i < THREADS; i++)
		CHECK_OK(pthread_join(threads[i].handle, NULL));
	return check_end();
}
