/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager when faults are delivered as signals, with a real userfaultfd: what the signal says,
 * that it comes again until the access has what it needs, that a system call gets EFAULT, and that
 * no permission is needed. The test's handler serves the faults of its own thread.
 */
#include "base/error.h"
#include "pager/pager.h"
#include "pager/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 64u
#define FIRST 16u
#define SPACE 1024u
#define THREADS 8u

static const struct pager_ops *const ops = &pager_uffd_ops;

/* One at a time; the handler finds it here. */
static struct world {
	struct pager *pager;
	unsigned char *frames;
	unsigned char *app;
	pthread_mutex_t lock; /* of pager and shown */
	enum pager_mode shown[PAGES];
	enum pager_mode first_mode; /* what an invalid page is mapped with */
	atomic_uint signals;
	void *_Atomic last_addr;
	atomic_int last_code;
	bool serves; /* else the handler jumps */
} world;

static _Thread_local sigjmp_buf jump;

static void serve(uint64_t index)
{
	struct page_id page = page_id(FIRST + index);

	pthread_mutex_lock(&world.lock);
	if (world.shown[index] == 0) {
		world.shown[index] = world.first_mode;
		if (ops->map(world.pager, page, 1, world.first_mode) != 0)
			abort();
	} else {
		world.shown[index] = PAGER_WRITE;
		if (ops->upgrade(world.pager, page, 1) != 0)
			abort();
	}
	pthread_mutex_unlock(&world.lock);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	size_t offset = (size_t)((unsigned char *)info->si_addr - world.app);

	(void)number;
	(void)context;
	atomic_fetch_add(&world.signals, 1);
	atomic_store(&world.last_addr, info->si_addr);
	atomic_store(&world.last_code, info->si_code);
	if (!world.serves || offset >= (size_t)PAGES * PAGE_BYTES)
		siglongjmp(jump, 1);
	serve(offset / PAGE_BYTES);
}

static int world_open(void)
{
	struct pager_config config = { .page_limit = SPACE, .delivery = PAGER_DELIVER_SIGNAL };
	void *addr = NULL;
	int error = ops->open(&config, &world.pager);

	if (error != 0)
		return error;
	world.frames = ops->frames(world.pager).base;
	error = ops->address_propose(world.pager, (size_t)PAGES * PAGE_BYTES, 0, &addr);
	if (error == 0)
		error = ops->region_add(world.pager, addr, page_id(FIRST), PAGES);
	world.app = addr;
	return error;
}

static int setup(void **state)
{
	(void)state;
	memset(world.shown, 0, sizeof(world.shown));
	pthread_mutex_init(&world.lock, NULL);
	world.first_mode = PAGER_READ;
	world.signals = 0;
	world.serves = true;
	int error = world_open();
	if (error != 0)
		print_error("setup: %d %s\n", error, error_text());
	return error;
}

static int teardown(void **state)
{
	(void)state;
	ops->close(world.pager);
	return 0;
}

/* cmocka sets handlers of its own before each test. */
static void take_signals(void **state)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | (int)SA_NODEFER };

	(void)state;
	action.sa_sigaction = on_sigbus;
	sigaction(SIGBUS, &action, NULL);
}

static volatile unsigned char *app(uint64_t index)
{
	return world.app + index * PAGE_BYTES;
}

static void expect_signals(unsigned int expected)
{
	struct pager_fault fault;

	assert_int_equal(atomic_exchange(&world.signals, 0), expected);
	assert_int_equal(ops->poll(world.pager, &fault, 1), 0);
}

static void a_load(void **state)
{
	take_signals(state);
	world.frames[(FIRST + 3) * PAGE_BYTES + 77] = 9;
	assert_int_equal(app(3)[77], 9);
	assert_ptr_equal(atomic_load(&world.last_addr), app(3) + 77);
	assert_int_equal(atomic_load(&world.last_code), BUS_ADRERR);
	expect_signals(1);
	assert_int_equal(app(3)[77], 9);
	expect_signals(0);
}

static void a_store(void **state)
{
	take_signals(state);
	world.first_mode = PAGER_WRITE;
	app(5)[1] = 4;
	expect_signals(1);
	assert_int_equal(world.frames[(FIRST + 5) * PAGE_BYTES + 1], 4);
	/* Given too little first. */
	world.first_mode = PAGER_READ;
	app(6)[1] = 5;
	expect_signals(2);
	assert_int_equal(world.frames[(FIRST + 6) * PAGE_BYTES + 1], 5);
}

static void taken_away(void **state)
{
	take_signals(state);
	app(1)[0] = 1;
	expect_signals(2);
	assert_int_equal(ops->downgrade(world.pager, page_id(FIRST + 1), 1), 0);
	assert_int_equal(app(1)[0], 1);
	expect_signals(0);
	app(1)[0] = 2;
	expect_signals(1);
	assert_int_equal(ops->invalidate(world.pager, page_id(FIRST + 1), 1), 0);
	world.shown[1] = 0;
	assert_int_equal(app(1)[0], 2);
	expect_signals(1);
}

static void system_calls(void **state)
{
	int fd = memfd_create("signal", MFD_CLOEXEC);

	take_signals(state);
	assert_int_equal(ftruncate(fd, PAGE_BYTES), 0);
	errno = 0;
	assert_int_equal(pread(fd, (void *)app(7), 100, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(pwrite(fd, (void *)app(7), 100, 0), -1);
	assert_int_equal(errno, EFAULT);
	expect_signals(0);
	assert_int_equal(app(7)[0], 0);
	assert_int_equal(pwrite(fd, (void *)app(7), 100, 0), 100);
	assert_int_equal(pread(fd, (void *)app(7), 100, 0), -1);
	assert_int_equal(errno, EFAULT);
	app(7)[0] = 1;
	assert_int_equal(pread(fd, (void *)app(7), 100, 0), 100);
	expect_signals(2);
	close(fd);
}

static bool survives_a_load(uint64_t index)
{
	if (sigsetjmp(jump, 1) != 0)
		return false;
	(void)*app(index);
	return true;
}

static void poisoned(void **state)
{
	take_signals(state);
	assert_true(survives_a_load(9));
	if (ops->poison(world.pager, page_id(FIRST + 9), 1) == -ENOSYS)
		skip();
	world.serves = false;
	assert_false(survives_a_load(9));
	assert_false(survives_a_load(9));
	assert_int_equal(ops->invalidate(world.pager, page_id(FIRST + 9), 1), 0);
	world.shown[9] = 0;
	world.serves = true;
	assert_true(survives_a_load(8));
}

static void *count_up(void *argument)
{
	size_t lane = (size_t)argument;

	for (unsigned int round = 0; round < 3; round++) {
		for (uint64_t index = 0; index < PAGES; index++)
			app(index)[lane]++;
	}
	return NULL;
}

static void many_threads(void **state)
{
	pthread_t threads[THREADS];

	take_signals(state);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, (void *)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (uint64_t index = 0; index < PAGES; index++) {
		for (size_t i = 0; i < THREADS; i++)
			assert_int_equal(app(index)[i], 3);
	}
}

/* A descriptor for faults in user mode is all it takes, which everybody may have. */
static int as_nobody(void)
{
	struct pager_check checks[PAGER_CHECKS];

	if (geteuid() == 0 &&
	    (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
		return 77;
	pager_probe(PAGER_DELIVER_SIGNAL, checks);
	if (pager_probe_failed(checks) != NULL || world_open() != 0)
		return 1;
	app(2)[5] = 6;
	return world.frames[(FIRST + 2) * PAGE_BYTES + 5] == 6 ? 0 : 2;
}

static void without_permission(void **state)
{
	int status = 0;
	pid_t child = fork();

	take_signals(state);
	if (child == 0)
		_exit(as_nobody());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(a_load),	TEST(a_store),	    TEST(taken_away),	      TEST(system_calls),
	TEST(poisoned), TEST(many_threads), TEST(without_permission),
};

int main(void)
{
	struct pager_check checks[PAGER_CHECKS];

	pager_probe(PAGER_DELIVER_SIGNAL, checks);
	const struct pager_check *failed = pager_probe_failed(checks);
	if (failed != NULL) {
		printf("skipped: %s %s\n", failed->text, failed->remedy);
		return 77;
	}
	alarm(55);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
