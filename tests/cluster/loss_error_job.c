/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node is lost and the others go on (PERGOLA_ON_LOSS=error): loss_error_job VICTIM. The victim
 * kills itself while threads of the others wait in every kind of call. Then: what can a survivor
 * still do, and what does it get told about the rest?
 */
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#define LOCKS 32
#define BLOCK_BYTES CHECK_UNIT_BYTES

/* Names of objects; each on its own, so that their managers are spread over all nodes. */
struct names {
	char held[LOCKS][16]; /* locks that the victim holds */
	char free[LOCKS][16]; /* locks that nobody holds */
	char conds[LOCKS][16];
	char sems[LOCKS][16];
	char barriers[LOCKS][16];
};

static struct names *names;
static unsigned char *ours;    /* pages whose home is a survivor */
static unsigned char *theirs;  /* pages whose home is the victim */
static unsigned char *updated; /* a unit for each node, under write-update */
static int self;
static int count;
static int victim;

static unsigned char *page(unsigned char *block, int number)
{
	return block + (size_t)number * DSM_PAGE_BYTES;
}

/* ---- touching what may be lost ---- */

static sigjmp_buf jump;

static void on_bus_error(int signal)
{
	(void)signal;
	siglongjmp(jump, 1);
}

/* False: SIGBUS. */
static bool can_read(const unsigned char *byte, int *value)
{
	if (sigsetjmp(jump, 1) != 0)
		return false;
	*value = *(const volatile unsigned char *)byte;
	return true;
}

static bool can_write(unsigned char *byte, unsigned char value)
{
	if (sigsetjmp(jump, 1) != 0)
		return false;
	*(volatile unsigned char *)byte = value;
	return true;
}

/* ---- before ---- */

static void *home_block(int home)
{
	void *block = self == 1 ? dsm_malloc_at(BLOCK_BYTES, home) : NULL;

	CHECK(self != 1 || block != NULL);
	CHECK_OK(dsm_bcast(&block, sizeof(block), 1));
	CHECK_IS(dsm_home(block), home);
	return block;
}

static void make_objects(void)
{
	for (int i = 0; self == 1 && i < LOCKS; i++) {
		CHECK_OK(dsm_lock_init(names->held[i]));
		CHECK_OK(dsm_lock_init(names->free[i]));
		CHECK_OK(dsm_cond_init(names->conds[i]));
		CHECK_OK(dsm_sem_init(names->sems[i], 0));
		CHECK_OK(dsm_barrier_init(names->barriers[i], (unsigned int)count));
	}
	CHECK_OK(dsm_barrier());
	for (int i = 0; self == victim && i < LOCKS; i++)
		CHECK_OK(dsm_lock(names->held[i]));
	CHECK_OK(dsm_barrier());
}

/*
 * Page 0: written by a survivor, read by the victim. 1: written by the victim alone. 2: written by
 * the victim, then read by node 1. 3: never touched. 4: held by node 1 for writing.
 */
static void make_pages(unsigned char *block)
{
	int value = 0;

	if (self == 1)
		*page(block, 0) = *page(block, 4) = 10;
	if (self == victim)
		*page(block, 1) = *page(block, 2) = 20;
	CHECK_OK(dsm_barrier());
	if (self == victim)
		CHECK(can_read(page(block, 0), &value) && value == 10);
	if (self == 1)
		CHECK(can_read(page(block, 2), &value) && value == 20);
	CHECK_OK(dsm_barrier());
}

static unsigned char *update_unit(int unit)
{
	return updated + (size_t)unit * CHECK_UNIT_BYTES;
}

/*
 * Under write-update, page 0 of each unit: the victim stores 30, which all see, and then 31, which
 * it does not publish. Page 1: the victim stores and has published nothing. Page 2: nobody has read
 * what the victim has published.
 */
static void make_updated(void)
{
	for (int unit = 0; self == victim && unit < count; unit++)
		*page(update_unit(unit), 0) = *page(update_unit(unit), 2) = 30;
	CHECK_OK(dsm_barrier());
	for (int unit = 0; unit < count; unit++)
		CHECK_IS(*page(update_unit(unit), 0), 30);
	CHECK_OK(dsm_barrier());
	for (int unit = 0; self == victim && unit < count; unit++)
		*page(update_unit(unit), 0) = *page(update_unit(unit), 1) = 31;
}

/* ---- while ---- */

static bool lost(int status)
{
	return status == -EHOSTDOWN || status == -EOWNERDEAD;
}

#define CHECK_LOST(call, name)                                                                     \
	do {                                                                                       \
		CHECK(lost(call));                                                                 \
		check_text(__FILE__, __LINE__, name);                                              \
		check_text(__FILE__, __LINE__, "was lost");                                        \
	} while (0)

static void *wait_for_lock(void *number)
{
	CHECK_LOST(dsm_lock(names->held[*(int *)number]), "dsm_lock");
	return NULL;
}

static void *wait_for_sem(void *number)
{
	CHECK_LOST(dsm_sem_wait(names->sems[*(int *)number]), "dsm_sem_wait");
	return NULL;
}

static void *wait_for_barrier(void *number)
{
	CHECK_LOST(dsm_barrier_wait(names->barriers[*(int *)number]), "dsm_barrier_wait");
	return NULL;
}

/* The condition's manager or the lock's may be the lost node; one lock a thread, else it waits. */
static void *wait_for_cond(void *number)
{
	void *lock = names->free[self * 8 + *(int *)number % 8];

	int locked = dsm_lock(lock);

	if (lost(locked))
		return NULL;
	CHECK_OK(locked);
	CHECK_LOST(dsm_cond_wait(names->conds[*(int *)number], lock), "dsm_cond_wait");
	int status = dsm_unlock(lock);

	CHECK(status == 0 || status == -EHOSTDOWN || status == -EPERM);
	return NULL;
}

static void *wait_for_all(void *root)
{
	char value[8] = { 0 };

	(void)root;
	CHECK_LOST(dsm_bcast(value, sizeof(value), 1), "dsm_bcast");
	return NULL;
}

/* Waits in many calls at once; all must end. */
static void wait_everywhere(void)
{
	static void *(*const bodies[])(void *) = { wait_for_lock, wait_for_sem, wait_for_barrier,
						   wait_for_cond };
	enum { KINDS = 4, EACH = 6 };
	pthread_t threads[KINDS * EACH + 1];
	int numbers[EACH];

	for (int i = 0; i < EACH; i++) {
		numbers[i] = i;
		for (int kind = 0; kind < KINDS; kind++)
			CHECK_OK(pthread_create(&threads[i * KINDS + kind], NULL, bodies[kind],
						&numbers[i]));
	}
	CHECK_OK(pthread_create(&threads[KINDS * EACH], NULL, wait_for_all, NULL));
	for (int i = 0; i <= KINDS * EACH; i++)
		CHECK_OK(pthread_join(threads[i], NULL));
}

/* ---- after ---- */

static void later_calls(void)
{
	int dead = 0;
	int alive = 0;

	CHECK_FAILS(dsm_barrier(), -EHOSTDOWN, "dsm_barrier");
	check_text(__FILE__, __LINE__, "was lost");
	CHECK_NULL(dsm_open(NULL, CHECK_UNIT_BYTES), EHOSTDOWN, "dsm_open");
	CHECK_NULL(dsm_reserve(NULL, CHECK_UNIT_BYTES), EHOSTDOWN, "dsm_reserve");
	for (int i = 0; i < LOCKS; i++) {
		int status = dsm_lock(names->held[i]);

		CHECK(lost(status));
		dead += status == -EOWNERDEAD;
	}
	for (int i = 24 + self * 2; i < 26 + self * 2; i++) {
		int status = dsm_trylock(names->free[i % LOCKS]);

		CHECK(status == 0 || status == -EHOSTDOWN || status == -EBUSY);
		if (status == 0)
			CHECK_OK(dsm_unlock(names->free[i % LOCKS]));
		alive += status == 0;
	}
	printf("node %d: %d locks answer EOWNERDEAD, %d free ones work\n", self, dead, alive);
	CHECK(dead > 0 || (victim == 0 && strcmp(dsm_option_get("manager"), "central") == 0));
}

static void small_blocks(void)
{
	char *block = dsm_malloc(100);

	if (victim == 0) {
		CHECK(block != NULL || errno == EHOSTDOWN);
		return;
	}
	CHECK(block != NULL);
	memset(block, 1, 100);
	CHECK_OK(dsm_free(block, 100));
	block = dsm_malloc(2 * CHECK_UNIT_BYTES);
	CHECK(block != NULL);
	CHECK_OK(dsm_free(block, 2 * CHECK_UNIT_BYTES));
}

/* What a survivor has mapped can be had by all; what the victim alone had is lost. */
static void pages_left(unsigned char *block)
{
	int value = 0;

	CHECK(can_read(page(block, 0), &value) && value == 10);
	CHECK(!can_read(page(block, 1), &value));
	CHECK(!can_read(page(block, 1) + 100, &value));
	CHECK(!can_write(page(block, 1), 1));
	CHECK(can_read(page(block, 2), &value) && value == 20);
	CHECK(can_read(page(block, 4), &value) && value == 10);
	for (int i = 0; i < 50; i++)
		CHECK(can_write(page(block, 2) + 8 + self, (unsigned char)self));
}

/* The manager is there: only the page that the victim alone had is lost. */
static void pages_with_manager(unsigned char *block)
{
	uint64_t *word = (uint64_t *)page(block, 3);

	pages_left(block);
	for (int i = 0; i < 50; i++)
		__atomic_fetch_add(&word[self], 1, __ATOMIC_SEQ_CST);
}

/* The victim was home, but the manager has moved with the page, if it was written. */
static void pages_without_home(unsigned char *block)
{
	pages_left(block);
	CHECK(!can_write(page(block, 3), 1));
}

/* The manager is gone: what this node holds it may use as it holds it; the rest raises SIGBUS. */
static void pages_without_manager(unsigned char *block)
{
	int value = 0;

	CHECK(!can_read(page(block, 1), &value));
	CHECK(!can_write(page(block, 3), 1));
	if (self == 1) {
		CHECK(can_read(page(block, 4), &value) && value == 10);
		CHECK(can_write(page(block, 4), 11));
		CHECK(can_read(page(block, 2), &value) && value == 20);
		CHECK(!can_write(page(block, 2), 1));
	} else {
		CHECK(!can_read(page(block, 4), &value));
	}
}

/* What the victim has published is there, what it has not is gone. */
static void updated_pages(bool central)
{
	for (int unit = 0; unit < count; unit++) {
		int home = dsm_home(update_unit(unit));
		int value = 0;

		CHECK(can_read(page(update_unit(unit), 0), &value) && value == 30);
		if ((central ? 0 : home) == victim) {
			CHECK(!can_write(page(update_unit(unit), 0), 1));
			continue;
		}
		CHECK(can_read(page(update_unit(unit), 1), &value) && value == 0);
		CHECK(!can_read(page(update_unit(unit), 2), &value));
		CHECK(can_write(page(update_unit(unit), 0) + 8 + self, (unsigned char)self));
	}
	CHECK_OK(dsm_publish());
}

/* In all threads, before there is a second one. */
static void block_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Whoever leaves takes its pages with it, so nobody leaves before all are done: the driver knows.
 */
static void wait_for_driver(void)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	printf("node %d: done\n", self);
	fflush(stdout);
	CHECK_OK(sigwait(&set, &signal));
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_bus_error };

	CHECK(argc == 2);
	victim = atoi(argv[1]);
	block_signal();
	sigaction(SIGBUS, &action, NULL);
	check_start(64 << 20);
	self = dsm_node_id();
	count = dsm_node_count();
	bool central = strcmp(dsm_option_get("manager"), "central") == 0;
	bool fixed = strcmp(dsm_option_get("manager"), "fixed") == 0;

	updated = dsm_reserve_as(NULL, (size_t)count * CHECK_UNIT_BYTES, DSM_UPDATE);
	CHECK(updated != NULL);
	ours = home_block(1);
	theirs = home_block(victim);
	names = (struct names *)page(ours, 8);
	make_objects();
	make_pages(ours);
	make_pages(theirs);
	make_updated();
	if (self == victim) {
		check_sleep_ms(200);
		raise(SIGKILL);
	}
	wait_everywhere();
	later_calls();
	updated_pages(central);
	small_blocks();
	if (!central || victim != 0) {
		pages_with_manager(ours);
		if (central)
			pages_with_manager(theirs);
		else if (fixed)
			pages_without_manager(theirs);
		else
			pages_without_home(theirs);
	} else {
		pages_without_manager(ours);
	}
	wait_for_driver();
	CHECK_FAILS(dsm_finish(), -EHOSTDOWN, "dsm_finish");
	return 0;
}
