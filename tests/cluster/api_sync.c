/* SPDX-License-Identifier: Apache-2.0 */
/* Locks, reader-writer locks, conditions, semaphores, barriers: what they do and what they refuse.
 */
#include "check.h"

#include <pthread.h>

#define OBJECT_BYTES 16

/* Node 0's block: objects are addresses in it, and some of it is plain data. */
struct shared {
	unsigned char objects[256][OBJECT_BYTES];
	uint64_t total;
	uint64_t parts[64]; /* far from total, so that both move */
	uint64_t pages[8][512];
};

static struct shared *shared;
static int self;
static int count;

static void *object(int number)
{
	return shared->objects[number];
}

/* Objects that only this node uses: each node has sixteen. */
static void *own_object(int number)
{
	return object(16 * (self + 1) + number);
}

static void meet(void)
{
	CHECK_OK(dsm_barrier());
}

/* ---- errors common to all kinds ---- */

struct verb {
	const char *name;
	int (*call)(void *);
};

static void refused_everywhere(const struct verb *verbs, size_t verb_count, int (*init)(void *))
{
	char local;

	for (size_t i = 0; i < verb_count; i++) {
		CHECK_FAILS(verbs[i].call(&local), -EFAULT, verbs[i].name);
		CHECK_FAILS(verbs[i].call(NULL), -EFAULT, verbs[i].name);
		CHECK_FAILS(verbs[i].call(own_object(0)), -ENOENT, verbs[i].name);
	}
	CHECK_IS(init(&local), -EFAULT);
	CHECK_OK(init(own_object(0)));
	CHECK_IS(init(own_object(0)), -EEXIST);
}

/* Another kind of object is there. */
static void refused_as_another_kind(const struct verb *verbs, size_t verb_count)
{
	for (size_t i = 0; i < verb_count; i++)
		CHECK_FAILS(verbs[i].call(own_object(0)), -EINVAL, verbs[i].name);
}

static int sem_init_1(void *addr)
{
	return dsm_sem_init(addr, 1);
}

static int barrier_init_1(void *addr)
{
	return dsm_barrier_init(addr, 1);
}

static int cond_wait_alone(void *addr)
{
	return dsm_cond_wait(addr, own_object(1));
}

static void errors(void)
{
	static const struct verb locks[] = {
		{ "dsm_lock", dsm_lock },
		{ "dsm_trylock", dsm_trylock },
		{ "dsm_unlock", dsm_unlock },
		{ "dsm_lock_destroy", dsm_lock_destroy },
	};
	static const struct verb rwlocks[] = {
		{ "dsm_rwlock_rdlock", dsm_rwlock_rdlock },
		{ "dsm_rwlock_tryrdlock", dsm_rwlock_tryrdlock },
		{ "dsm_rwlock_wrlock", dsm_rwlock_wrlock },
		{ "dsm_rwlock_trywrlock", dsm_rwlock_trywrlock },
		{ "dsm_rwlock_unlock", dsm_rwlock_unlock },
		{ "dsm_rwlock_destroy", dsm_rwlock_destroy },
	};
	static const struct verb conds[] = {
		{ "dsm_cond_signal", dsm_cond_signal },
		{ "dsm_cond_broadcast", dsm_cond_broadcast },
		{ "dsm_cond_wait", cond_wait_alone },
		{ "dsm_cond_destroy", dsm_cond_destroy },
	};
	static const struct verb sems[] = {
		{ "dsm_sem_wait", dsm_sem_wait },
		{ "dsm_sem_trywait", dsm_sem_trywait },
		{ "dsm_sem_post", dsm_sem_post },
		{ "dsm_sem_destroy", dsm_sem_destroy },
	};
	static const struct verb barriers[] = {
		{ "dsm_barrier_wait", dsm_barrier_wait },
		{ "dsm_barrier_destroy", dsm_barrier_destroy },
	};

	refused_everywhere(locks, 4, dsm_lock_init);
	refused_as_another_kind(rwlocks, 6);
	refused_as_another_kind(conds, 4);
	CHECK_OK(dsm_lock_destroy(own_object(0)));
	refused_everywhere(rwlocks, 6, dsm_rwlock_init);
	refused_as_another_kind(locks, 4);
	CHECK_OK(dsm_rwlock_destroy(own_object(0)));
	refused_everywhere(conds, 4, dsm_cond_init);
	refused_as_another_kind(sems, 4);
	CHECK_OK(dsm_cond_destroy(own_object(0)));
	refused_everywhere(sems, 4, sem_init_1);
	refused_as_another_kind(barriers, 2);
	CHECK_OK(dsm_sem_destroy(own_object(0)));
	refused_everywhere(barriers, 2, barrier_init_1);
	refused_as_another_kind(locks, 4);
	CHECK_OK(dsm_barrier_destroy(own_object(0)));
}

/* ---- locks ---- */

static void *unlock_from_a_thread(void *lock)
{
	CHECK_FAILS(dsm_unlock(lock), -EPERM, "dsm_unlock");
	CHECK_FAILS(dsm_trylock(lock), -EBUSY, "dsm_trylock");
	return NULL;
}

static void in_a_thread(void *(*body)(void *), void *argument)
{
	pthread_t thread;

	CHECK_OK(pthread_create(&thread, NULL, body, argument));
	CHECK_OK(pthread_join(thread, NULL));
}

static void lock_alone(void)
{
	void *lock = own_object(2);

	CHECK_OK(dsm_lock_init(lock));
	CHECK_FAILS(dsm_unlock(lock), -EPERM, "dsm_unlock");
	CHECK_OK(dsm_lock(lock));
	CHECK_FAILS(dsm_lock(lock), -EDEADLK, "dsm_lock");
	CHECK_FAILS(dsm_trylock(lock), -EBUSY, "dsm_trylock");
	CHECK_FAILS(dsm_lock_destroy(lock), -EBUSY, "dsm_lock_destroy");
	in_a_thread(unlock_from_a_thread, lock);
	CHECK_OK(dsm_unlock(lock));
	CHECK_OK(dsm_trylock(lock));
	CHECK_OK(dsm_unlock(lock));
	CHECK_OK(dsm_lock_destroy(lock));
	CHECK_FAILS(dsm_lock(lock), -ENOENT, "dsm_lock");
	meet();
}

/* The address's bytes stay the program's. */
static void lock_held_elsewhere(void)
{
	void *lock = object(0);

	if (self == 0) {
		memset(lock, 0x5a, OBJECT_BYTES);
		CHECK_OK(dsm_lock_init(lock));
		CHECK_OK(dsm_lock(lock));
	}
	meet();
	if (self != 0) {
		CHECK_FAILS(dsm_trylock(lock), -EBUSY, "dsm_trylock");
		CHECK_FAILS(dsm_unlock(lock), -EPERM, "dsm_unlock");
		CHECK_FAILS(dsm_lock_init(lock), -EEXIST, "dsm_lock_init");
		CHECK_FAILS(dsm_lock_destroy(lock), -EBUSY, "dsm_lock_destroy");
	}
	meet();
	if (self == 0)
		CHECK_OK(dsm_unlock(lock));
	for (int i = 0; i < 300; i++) {
		CHECK_OK(dsm_lock(lock));
		uint64_t before = shared->total;

		for (int page = 0; page < 8; page++)
			CHECK(shared->pages[page][0] == before);
		shared->total = before + 1;
		for (int page = 7; page >= 0; page--)
			shared->pages[page][0] = before + 1;
		CHECK_OK(dsm_unlock(lock));
	}
	meet();
	CHECK_IS(shared->total, 300 * count);
	for (int i = 0; i < OBJECT_BYTES; i++)
		CHECK_IS(((unsigned char *)lock)[i], 0x5a);
	meet();
	if (self == count - 1)
		CHECK_OK(dsm_lock_destroy(lock));
	meet();
}

/* ---- reader-writer locks ---- */

static void *rwlock_from_a_thread(void *lock)
{
	CHECK_FAILS(dsm_rwlock_unlock(lock), -EPERM, "dsm_rwlock_unlock");
	CHECK_FAILS(dsm_rwlock_trywrlock(lock), -EBUSY, "dsm_rwlock_trywrlock");
	CHECK_OK(dsm_rwlock_tryrdlock(lock));
	CHECK_OK(dsm_rwlock_rdlock(lock)); /* a thread may read twice */
	CHECK_OK(dsm_rwlock_unlock(lock));
	CHECK_OK(dsm_rwlock_unlock(lock));
	return NULL;
}

static void *rwlock_written_meanwhile(void *lock)
{
	CHECK_FAILS(dsm_rwlock_tryrdlock(lock), -EBUSY, "dsm_rwlock_tryrdlock");
	CHECK_FAILS(dsm_rwlock_trywrlock(lock), -EBUSY, "dsm_rwlock_trywrlock");
	return NULL;
}

static void rwlock_alone(void)
{
	void *lock = own_object(3);

	CHECK_OK(dsm_rwlock_init(lock));
	CHECK_OK(dsm_rwlock_rdlock(lock));
	CHECK_FAILS(dsm_rwlock_wrlock(lock), -EDEADLK, "dsm_rwlock_wrlock");
	CHECK_FAILS(dsm_rwlock_destroy(lock), -EBUSY, "dsm_rwlock_destroy");
	in_a_thread(rwlock_from_a_thread, lock);
	CHECK_OK(dsm_rwlock_unlock(lock));
	CHECK_OK(dsm_rwlock_wrlock(lock));
	CHECK_FAILS(dsm_rwlock_wrlock(lock), -EDEADLK, "dsm_rwlock_wrlock");
	CHECK_FAILS(dsm_rwlock_rdlock(lock), -EDEADLK, "dsm_rwlock_rdlock");
	in_a_thread(rwlock_written_meanwhile, lock);
	CHECK_OK(dsm_rwlock_unlock(lock));
	CHECK_FAILS(dsm_rwlock_unlock(lock), -EPERM, "dsm_rwlock_unlock");
	CHECK_OK(dsm_rwlock_trywrlock(lock));
	CHECK_OK(dsm_rwlock_unlock(lock));
	CHECK_OK(dsm_rwlock_destroy(lock));
	meet();
}

/* Writers keep the parts' sum at zero; whoever reads sees just that. All readers come in at once.
 */
static void rwlock_together(void)
{
	void *lock = object(1);
	uint64_t random = check_seed((uint64_t)self + 7);

	if (self == 0) {
		CHECK_OK(dsm_rwlock_init(lock));
		memset(shared->parts, 0, sizeof(shared->parts));
	}
	meet();
	CHECK_OK(dsm_rwlock_rdlock(lock));
	meet(); /* nobody would come here if readers kept each other out */
	CHECK_OK(dsm_rwlock_unlock(lock));
	for (int i = 0; i < 150; i++) {
		bool write = check_below(&random, 3) == 0;
		uint64_t sum = 0;

		CHECK_OK(write ? dsm_rwlock_wrlock(lock) : dsm_rwlock_rdlock(lock));
		for (int part = 0; part < 64; part++)
			sum += shared->parts[part];
		CHECK_IS(sum, 0);
		uint64_t amount = check_below(&random, 1000);

		if (write) {
			shared->parts[check_below(&random, 64)] += amount;
			shared->parts[check_below(&random, 64)] -= amount;
		}
		CHECK_OK(dsm_rwlock_unlock(lock));
	}
	meet();
	if (self == 0)
		CHECK_OK(dsm_rwlock_destroy(lock));
	meet();
}

/* ---- conditions ---- */

enum { RING = 4, ITEMS = 200 };

/* Node 0 produces; the other nodes, and a thread of node 0, consume. */
struct queue {
	uint64_t items[RING];
	uint64_t head;
	uint64_t tail;
	uint64_t consumed_sum;
	uint64_t consumed_count;
};

static struct queue *queue;

static void produce(uint64_t item)
{
	CHECK_OK(dsm_lock(object(2)));
	while (queue->tail - queue->head == RING)
		CHECK_OK(dsm_cond_wait(object(4), object(2)));
	queue->items[queue->tail++ % RING] = item;
	CHECK_OK(dsm_cond_signal(object(3)));
	CHECK_OK(dsm_unlock(object(2)));
}

static void *consume(void *unused)
{
	uint64_t item = 0;

	while (item != UINT64_MAX) {
		CHECK_OK(dsm_lock(object(2)));
		while (queue->head == queue->tail)
			CHECK_OK(dsm_cond_wait(object(3), object(2)));
		item = queue->items[queue->head++ % RING];
		if (item != UINT64_MAX) {
			queue->consumed_sum += item;
			queue->consumed_count++;
		}
		CHECK_OK(dsm_cond_signal(object(4)));
		CHECK_OK(dsm_unlock(object(2)));
	}
	return unused;
}

static void cond_queue(void)
{
	pthread_t thread;

	queue = check_shared_block(sizeof(*queue));
	if (self == 0) {
		CHECK_OK(dsm_lock_init(object(2)));
		CHECK_OK(dsm_cond_init(object(3)));
		CHECK_OK(dsm_cond_init(object(4)));
	}
	meet();
	CHECK_OK(pthread_create(&thread, NULL, consume, NULL));
	for (uint64_t i = 1; self == 0 && i <= ITEMS; i++)
		produce(i);
	for (int i = 0; self == 0 && i < count; i++)
		produce(UINT64_MAX);
	CHECK_OK(pthread_join(thread, NULL));
	meet();
	CHECK_IS(queue->consumed_count, ITEMS);
	CHECK_IS(queue->consumed_sum, ITEMS * (ITEMS + 1) / 2);
	meet();
	if (self == 0) {
		CHECK_OK(dsm_cond_destroy(object(3)));
		CHECK_OK(dsm_cond_destroy(object(4)));
		CHECK_OK(dsm_lock_destroy(object(2)));
	}
	meet();
}

/* One broadcast lets all go. */
static void cond_broadcast(void)
{
	void *lock = object(5);
	void *cond = object(6);

	if (self == 0) {
		shared->total = 0;
		CHECK_OK(dsm_lock_init(lock));
		CHECK_OK(dsm_cond_init(cond));
	}
	meet();
	CHECK_OK(dsm_lock(lock));
	if (++shared->total == (uint64_t)count)
		CHECK_OK(dsm_cond_broadcast(cond));
	while (shared->total != (uint64_t)count)
		CHECK_OK(dsm_cond_wait(cond, lock));
	CHECK_OK(dsm_unlock(lock));
	meet();
	/* The lock is not held, or is none: no wait, and no waiter left behind. */
	CHECK_FAILS(dsm_cond_wait(cond, lock), -EPERM, "dsm_cond_wait");
	CHECK_FAILS(dsm_cond_wait(cond, own_object(9)), -ENOENT, "dsm_cond_wait");
	CHECK_FAILS(dsm_cond_wait(cond, &lock), -EFAULT, "dsm_cond_wait");
	CHECK_OK(dsm_cond_signal(cond)); /* nobody waits: forgotten */
	meet();
	if (self == 0) {
		CHECK_OK(dsm_cond_destroy(cond));
		CHECK_OK(dsm_lock_destroy(lock));
	}
	meet();
}

static volatile bool about_to_wait; /* under the lock */

static void *wait_for_signal(void *unused)
{
	CHECK_OK(dsm_lock(own_object(4)));
	about_to_wait = true;
	CHECK_OK(dsm_cond_wait(own_object(5), own_object(4)));
	CHECK_OK(dsm_unlock(own_object(4)));
	return unused;
}

/* Takes the lock, when it is the waiting thread that has given it up. */
static void lock_behind_waiter(void)
{
	for (;;) {
		CHECK_OK(dsm_lock(own_object(4)));
		if (about_to_wait)
			return;
		CHECK_OK(dsm_unlock(own_object(4)));
		check_sleep_ms(1);
	}
}

/* Who has the lock finds the waiter enlisted: the condition is in use, and a signal is not missed.
 */
static void cond_busy(void)
{
	pthread_t thread;

	CHECK_OK(dsm_lock_init(own_object(4)));
	CHECK_OK(dsm_cond_init(own_object(5)));
	CHECK_OK(pthread_create(&thread, NULL, wait_for_signal, NULL));
	lock_behind_waiter();
	CHECK_FAILS(dsm_cond_destroy(own_object(5)), -EBUSY, "dsm_cond_destroy");
	CHECK_OK(dsm_cond_signal(own_object(5)));
	CHECK_OK(dsm_unlock(own_object(4)));
	CHECK_OK(pthread_join(thread, NULL));
	CHECK_OK(dsm_cond_destroy(own_object(5)));
	CHECK_OK(dsm_lock_destroy(own_object(4)));
	meet();
}

/* ---- semaphores ---- */

static void sem_alone(void)
{
	void *sem = own_object(6);

	CHECK_FAILS(dsm_sem_init(sem, (unsigned int)INT32_MAX + 1), -EINVAL, "dsm_sem_init");
	CHECK_OK(dsm_sem_init(sem, INT32_MAX));
	CHECK_FAILS(dsm_sem_post(sem), -EOVERFLOW, "dsm_sem_post");
	CHECK_OK(dsm_sem_wait(sem));
	CHECK_OK(dsm_sem_post(sem));
	CHECK_OK(dsm_sem_destroy(sem));
	CHECK_OK(dsm_sem_init(sem, 2));
	CHECK_OK(dsm_sem_trywait(sem));
	CHECK_OK(dsm_sem_wait(sem));
	CHECK_FAILS(dsm_sem_trywait(sem), -EAGAIN, "dsm_sem_trywait");
	CHECK_OK(dsm_sem_post(sem));
	CHECK_OK(dsm_sem_trywait(sem));
	CHECK_OK(dsm_sem_destroy(sem));
	meet();
}

/* A token goes round the nodes: each may write only when it has it. */
static void sem_ring(void)
{
	enum { ROUNDS = 100 };
	int next = (self + 1) % count;

	CHECK_OK(dsm_sem_init(object(240 + self % 8), self == 0 ? 1 : 0));
	if (self == 0)
		shared->total = 0;
	meet();
	for (uint64_t i = 0; i < ROUNDS; i++) {
		CHECK_OK(dsm_sem_wait(object(240 + self % 8)));
		CHECK_IS(shared->total, i * (uint64_t)count + (uint64_t)self);
		shared->total++;
		CHECK_OK(dsm_sem_post(object(240 + next % 8)));
	}
	meet();
	CHECK_OK(dsm_sem_destroy(object(240 + self % 8)));
	meet();
}

/* ---- barriers ---- */

enum { BARRIER_ROUNDS = 50, THREADS = 2 };

static uint64_t firsts[THREADS];

static void *cross_barrier(void *argument)
{
	int thread = *(int *)argument;
	int place = self * THREADS + thread;

	for (uint64_t round = 1; round <= BARRIER_ROUNDS; round++) {
		shared->parts[place] = round;
		int one = dsm_barrier_wait(object(7));

		CHECK(one == 0 || one == 1);
		firsts[thread] += (uint64_t)one;
		for (int i = 0; i < count * THREADS; i++)
			CHECK_IS(shared->parts[i], round);
		CHECK(dsm_barrier_wait(object(8)) >= 0);
	}
	return NULL;
}

static void barriers(void)
{
	pthread_t threads[THREADS];
	int numbers[THREADS] = { 0, 1 };

	CHECK_FAILS(dsm_barrier_init(own_object(7), 0), -EINVAL, "dsm_barrier_init");
	if (self == 0) {
		shared->total = 0;
		CHECK_OK(dsm_barrier_init(object(7), (unsigned int)count * THREADS));
		CHECK_OK(dsm_barrier_init(object(8), (unsigned int)count * THREADS));
	}
	meet();
	for (int i = 0; i < THREADS; i++)
		CHECK_OK(pthread_create(&threads[i], NULL, cross_barrier, &numbers[i]));
	for (int i = 0; i < THREADS; i++) {
		CHECK_OK(pthread_join(threads[i], NULL));
		__atomic_fetch_add(&shared->total, firsts[i], __ATOMIC_SEQ_CST);
	}
	meet();
	/* Of each round's threads, one was told 1. */
	CHECK_IS(shared->total, BARRIER_ROUNDS);
	meet();
	if (self == 0) {
		CHECK_OK(dsm_barrier_destroy(object(7)));
		CHECK_OK(dsm_barrier_destroy(object(8)));
	}
	meet();
}

/* Option "sync-objects" is 256 here: as many objects, then no more, until one goes. */
static void exhaust(unsigned char *region)
{
	int made = 0;

	for (int i = 0; self == 0 && i < 256 * (count + 1) * 4; i++) {
		int status = dsm_lock_init(region + 16 * i);

		if (status == -ENOMEM) {
			check_text(__FILE__, __LINE__, "PERGOLA_SYNC_OBJECTS");
			break;
		}
		CHECK_OK(status);
		made++;
	}
	CHECK(self != 0 || (made > 200 && made < 256 * (count + 1) * 2));
	for (int i = 0; i < made; i++)
		CHECK_OK(dsm_lock_destroy(region + 16 * i));
	if (made > 0)
		CHECK_OK(dsm_lock_init(region));
	meet();
}

int main(void)
{
	CHECK_OK(dsm_option_set("sync-objects", "256"));
	unsigned char *region = check_start(1 << 20);

	self = dsm_node_id();
	count = dsm_node_count();
	shared = check_shared_block(sizeof(*shared));
	errors();
	meet();
	lock_alone();
	lock_held_elsewhere();
	rwlock_alone();
	rwlock_together();
	cond_queue();
	cond_broadcast();
	cond_busy();
	sem_alone();
	sem_ring();
	barriers();
	exhaust(region + (512 << 10));
	return check_end();
}
