/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager, with a real userfaultfd. The main thread plays the runtime; threads of the tests
 * ("actors") play the application: they touch shared memory and may sleep in a fault until the
 * main thread serves it. What a page is in the application view is read from /proc/self/pagemap,
 * so that a test need not risk a fault to know it. Every wait has a bound.
 */
#include "pager/pager.h"

#include "base/error.h"
#include "base/prng.h"
#include "pager/address.h"
#include "pager/limits.h"
#include "pager/probe.h"
#include "pager/regions.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
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
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 512u   /* of the region every test has */
#define FIRST 32u    /* its first page: not 0, so that a mix-up of offsets shows */
#define SPACE 4096u  /* pages of the shared space */
#define WAIT_MS 8000 /* for what must happen */
#define QUIET_MS 30  /* for what must not */

static const struct pager_ops *const ops = &pager_uffd_ops;

struct world {
	struct pager *pager;
	struct pager_frames frames;
	unsigned char *app;
};

/* ---- the world ---------------------------------------------------------------------------- */

static int world_open(struct world *world)
{
	struct pager_config config = { .page_limit = SPACE };
	void *addr;
	int error = ops->open(&config, &world->pager);

	if (error != 0)
		return error;
	world->frames = ops->frames(world->pager);
	error = ops->address_propose(world->pager, (size_t)PAGES * PAGE_BYTES, 0, &addr);
	if (error == 0)
		error = ops->region_add(world->pager, addr, page_id(FIRST), PAGES);
	world->app = addr;
	return error;
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	int error = world_open(world);
	if (error != 0)
		print_error("setup: %d %s\n", error, error_text());
	return error;
}

static int teardown(void **state)
{
	struct world *world = *state;

	ops->close(world->pager);
	free(world);
	return 0;
}

static unsigned char *app_page(const struct world *world, uint64_t page)
{
	return world->app + (page - FIRST) * PAGE_BYTES;
}

static unsigned char *frame(const struct world *world, uint64_t page)
{
	return world->frames.base + page * PAGE_BYTES;
}

enum shown {
	INVALID,
	READ,
	WRITE,
};

/* Bit 63: there is an entry; bit 57: it is write-protected by userfaultfd. */
static enum shown shown_at(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t offset = (off_t)((uintptr_t)addr / PAGE_BYTES * sizeof(entry));

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, sizeof(entry), offset), (int)sizeof(entry));
	close(fd);
	if ((entry >> 63) == 0)
		return INVALID;
	return (entry >> 57 & 1) != 0 ? READ : WRITE;
}

static enum shown shown(const struct world *world, uint64_t page)
{
	return shown_at(app_page(world, page));
}

/* ---- actors ------------------------------------------------------------------------------- */

enum act {
	LOAD,
	STORE,
	STORE_RUN,   /* one byte in each of `count` pages */
	PIPE_TO_APP, /* read(2) of a pipe into the page */
	APP_TO_PIPE, /* write(2) of the page into a pipe */
	FILE_TO_APP, /* pread(2) */
};

struct actor {
	pthread_t thread;
	unsigned char *addr;
	ssize_t result;
	enum act act;
	unsigned int count;
	int fd;
	unsigned char value; /* to store, or loaded */
	bool sigbus;
};

static _Thread_local sigjmp_buf bus_jump;

static void on_sigbus(int signal_number)
{
	(void)signal_number;
	siglongjmp(bus_jump, 1);
}

static void act(struct actor *actor)
{
	volatile unsigned char *addr = actor->addr;

	switch (actor->act) {
	case LOAD:
		actor->value = *addr;
		return;
	case STORE:
		*addr = actor->value;
		return;
	case STORE_RUN:
		for (unsigned int i = 0; i < actor->count; i++)
			addr[i * PAGE_BYTES] = actor->value;
		return;
	case PIPE_TO_APP:
		actor->result = read(actor->fd, actor->addr, actor->count);
		return;
	case APP_TO_PIPE:
		actor->result = write(actor->fd, actor->addr, actor->count);
		return;
	case FILE_TO_APP:
		actor->result = pread(actor->fd, actor->addr, actor->count, 0);
		return;
	}
}

static void *actor_main(void *argument)
{
	struct actor *actor = argument;

	if (sigsetjmp(bus_jump, 1) == 0)
		act(actor);
	else
		actor->sigbus = true;
	return NULL;
}

static void actor_start(struct actor *actor)
{
	assert_int_equal(pthread_create(&actor->thread, NULL, actor_main, actor), 0);
}

static bool actor_ended(struct actor *actor, int wait_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	return pthread_timedjoin_np(actor->thread, NULL, &until) == 0;
}

static void actor_finish(struct actor *actor)
{
	assert_true(actor_ended(actor, WAIT_MS));
}

static struct actor load_of(const struct world *world, uint64_t page)
{
	return (struct actor){ .act = LOAD, .addr = app_page(world, page) };
}

static struct actor store_of(const struct world *world, uint64_t page, unsigned char value)
{
	return (struct actor){ .act = STORE, .addr = app_page(world, page), .value = value };
}

static bool fault_comes(struct world *world, int wait_ms)
{
	struct pollfd wait = { .fd = ops->fd(world->pager), .events = POLLIN };

	return poll(&wait, 1, wait_ms) == 1;
}

static void expect_fault(struct world *world, uint64_t page, bool write)
{
	struct pager_fault fault;

	assert_true(fault_comes(world, WAIT_MS));
	assert_int_equal(ops->poll(world->pager, &fault, 1), 1);
	assert_int_equal(fault.page.value, page);
	assert_int_equal(fault.write, write);
}

static void expect_quiet(struct world *world)
{
	assert_false(fault_comes(world, QUIET_MS));
}

static void map(struct world *world, uint64_t page, uint64_t count, enum pager_mode mode)
{
	assert_int_equal(ops->map(world->pager, page_id(page), count, mode), 0);
}

static void invalidate(struct world *world, uint64_t page, uint64_t count)
{
	assert_int_equal(ops->invalidate(world->pager, page_id(page), count), 0);
}

/* A store that must not fault. */
static void store_freely(struct world *world, uint64_t page, unsigned char value)
{
	struct actor actor = store_of(world, page, value);

	actor_start(&actor);
	actor_finish(&actor);
}

/* ---- one page ----------------------------------------------------------------------------- */

static void first_load(void **state)
{
	struct world *world = *state;
	struct actor actor = load_of(world, 40);

	actor.value = 99;
	assert_int_equal(ops->resident(world->pager), 0);
	actor_start(&actor);
	expect_fault(world, 40, false);
	assert_false(actor_ended(&actor, QUIET_MS));
	map(world, 40, 1, PAGER_READ);
	actor_finish(&actor);
	assert_int_equal(actor.value, 0);
	assert_int_equal(shown(world, 40), READ);
	assert_int_equal(ops->resident(world->pager), 1);
	expect_quiet(world);
}

static void first_store(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, FIRST, 7);

	actor_start(&actor);
	expect_fault(world, FIRST, true);
	map(world, FIRST, 1, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(frame(world, FIRST)[0], 7);
	assert_int_equal(shown(world, FIRST), WRITE);
}

static void store_on_read_page_upgrades(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, 50, 9);

	frame(world, 50)[0] = 5;
	map(world, 50, 1, PAGER_READ);
	actor_start(&actor);
	expect_fault(world, 50, true);
	assert_int_equal(frame(world, 50)[0], 5);
	assert_int_equal(ops->upgrade(world->pager, page_id(50), 1), 0);
	actor_finish(&actor);
	assert_int_equal(frame(world, 50)[0], 9);
	store_freely(world, 50, 10);
}

static void store_on_read_page_mapped_for_writing(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, 50, 9);

	map(world, 50, 1, PAGER_READ);
	actor_start(&actor);
	expect_fault(world, 50, true);
	map(world, 50, 1, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(frame(world, 50)[0], 9);
}

/* A waiting store runs again when its page is mapped, and finds that this was not enough. */
static void store_waits_past_a_read_map(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, 51, 3);

	actor_start(&actor);
	expect_fault(world, 51, true);
	map(world, 51, 1, PAGER_READ);
	expect_fault(world, 51, true);
	map(world, 51, 1, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(frame(world, 51)[0], 3);
}

static void downgraded_page_faults_on_store(void **state)
{
	struct world *world = *state;
	struct actor load = load_of(world, 60);
	struct actor store = store_of(world, 60, 2);

	map(world, 60, 1, PAGER_WRITE);
	store_freely(world, 60, 1);
	assert_int_equal(ops->downgrade(world->pager, page_id(60), 1), 0);
	actor_start(&load);
	actor_finish(&load);
	assert_int_equal(load.value, 1);
	actor_start(&store);
	expect_fault(world, 60, true);
	assert_int_equal(frame(world, 60)[0], 1);
	map(world, 60, 1, PAGER_WRITE);
	actor_finish(&store);
	assert_int_equal(frame(world, 60)[0], 2);
}

/* Invalid again from each mode, by a load and by a store, and mapped again in each mode. */
static void invalidated_page_keeps_its_frame(void **state)
{
	struct world *world = *state;

	for (unsigned int i = 0; i < 8; i++) {
		uint64_t page = 70 + i;
		enum pager_mode before = (i & 1) != 0 ? PAGER_WRITE : PAGER_READ;
		bool write = (i & 2) != 0;
		enum pager_mode after = write || (i & 4) != 0 ? PAGER_WRITE : PAGER_READ;
		struct actor actor = write ? store_of(world, page, 200) : load_of(world, page);

		frame(world, page)[0] = (unsigned char)(100 + i);
		map(world, page, 1, before);
		invalidate(world, page, 1);
		assert_int_equal(shown(world, page), INVALID);
		assert_int_equal(frame(world, page)[0], 100 + i);
		actor_start(&actor);
		expect_fault(world, page, write);
		map(world, page, 1, after);
		actor_finish(&actor);
		assert_int_equal(actor.value, write ? 200 : 100 + i);
		assert_int_equal(frame(world, page)[0], actor.value);
		assert_int_equal(shown(world, page), after == PAGER_WRITE ? WRITE : READ);
	}
}

/* What the fabric does: bytes come into the frame while the page is invalid. */
/* The frame goes, from whatever state, and the page reads as zeros. */
static void released_page_begins_anew(void **state)
{
	struct world *world = *state;

	for (unsigned int i = 0; i < 4; i++) {
		uint64_t page = 110 + i;
		struct actor actor = load_of(world, page);

		frame(world, page)[0] = 77;
		if (i < 3)
			map(world, page, 1, i == 1 ? PAGER_WRITE : PAGER_READ);
		if (i == 2)
			invalidate(world, page, 1);
		assert_int_equal(ops->resident(world->pager), 1);
		assert_int_equal(ops->release(world->pager, page_id(page), 1), 0);
		assert_int_equal(ops->resident(world->pager), 0);
		assert_int_equal(shown(world, page), INVALID);
		assert_int_equal(ops->release(world->pager, page_id(page), 1), 0);
		actor_start(&actor);
		expect_fault(world, page, false);
		map(world, page, 1, PAGER_READ);
		actor_finish(&actor);
		assert_int_equal(actor.value, 0);
		assert_int_equal(ops->release(world->pager, page_id(page), 1), 0);
	}
}

static void bytes_of_the_runtime_view_are_seen(void **state)
{
	struct world *world = *state;

	for (unsigned int round = 0; round < 3; round++) {
		struct actor actor = load_of(world, 90);

		actor.addr += 123;
		actor_start(&actor);
		expect_fault(world, 90, false);
		memset(frame(world, 90), (int)(round + 1), PAGE_BYTES);
		map(world, 90, 1, PAGER_READ);
		actor_finish(&actor);
		assert_int_equal(actor.value, round + 1);
		invalidate(world, 90, 1);
	}
	assert_int_equal(ops->resident(world->pager), 1);
}

static void wake_only_retries(void **state)
{
	struct world *world = *state;
	struct actor actor = load_of(world, 100);

	actor_start(&actor);
	expect_fault(world, 100, false);
	assert_int_equal(ops->wake(world->pager, page_id(100), 1), 0);
	expect_fault(world, 100, false);
	assert_int_equal(shown(world, 100), INVALID);
	map(world, 100, 1, PAGER_READ);
	actor_finish(&actor);
}

/* The kernel drops entries by itself when it swaps a frame out: the page faults, map() mends it. */
static void entry_dropped_by_the_kernel(void **state)
{
	struct world *world = *state;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t page = 105 + i;
		struct actor actor = load_of(world, page);

		frame(world, page)[0] = 77;
		map(world, page, 1, i == 0 ? PAGER_READ : PAGER_WRITE);
		assert_int_equal(madvise(app_page(world, page), PAGE_BYTES, MADV_DONTNEED), 0);
		actor_start(&actor);
		expect_fault(world, page, false);
		map(world, page, 1, i == 0 ? PAGER_READ : PAGER_WRITE);
		actor_finish(&actor);
		assert_int_equal(actor.value, 77);
		assert_int_equal(shown(world, page), i == 0 ? READ : WRITE);
	}
}

static void many_threads_on_one_page(void **state)
{
	struct world *world = *state;
	struct actor actors[8];
	struct pager_fault faults[16];
	int seen = 0;

	for (unsigned int i = 0; i < 8; i++) {
		actors[i] = load_of(world, 110);
		actor_start(&actors[i]);
	}
	while (seen < 8) {
		assert_true(fault_comes(world, WAIT_MS));
		int count = ops->poll(world->pager, faults, 16);
		assert_true(count > 0);
		for (int i = 0; i < count; i++)
			assert_int_equal(faults[i].page.value, 110);
		seen += count;
	}
	assert_int_equal(seen, 8);
	frame(world, 110)[0] = 42;
	map(world, 110, 1, PAGER_READ);
	for (unsigned int i = 0; i < 8; i++) {
		actor_finish(&actors[i]);
		assert_int_equal(actors[i].value, 42);
	}
	expect_quiet(world);
}

/* More faults than the caller has room for, and than one message buffer holds, are all delivered.
 */
static void many_faults_few_at_a_time(void **state)
{
	enum { COUNT = 80 };
	struct world *world = *state;
	struct actor actors[COUNT];
	struct pager_fault faults[COUNT];
	bool seen[COUNT] = { false };
	int total = 0;

	for (unsigned int i = 0; i < COUNT; i++) {
		actors[i] = load_of(world, FIRST + i);
		actor_start(&actors[i]);
	}
	for (int room = 1; total < COUNT; room = room == 1 ? 3 : COUNT) {
		assert_true(fault_comes(world, WAIT_MS));
		int count = ops->poll(world->pager, faults, room);
		assert_in_range(count, 1, room);
		for (int i = 0; i < count; i++) {
			uint64_t index = faults[i].page.value - FIRST;
			assert_in_range(index, 0, COUNT - 1);
			assert_false(seen[index]);
			seen[index] = true;
		}
		total += count;
	}
	assert_int_equal(ops->poll(world->pager, faults, COUNT), 0);
	map(world, FIRST, COUNT, PAGER_READ);
	for (unsigned int i = 0; i < COUNT; i++)
		actor_finish(&actors[i]);
}

/* One call takes more than one message buffer holds, when that many threads wait. */
static void many_faults_at_once(void **state)
{
	enum { COUNT = 80, TRIES = 100 };
	struct world *world = *state;
	struct actor actors[COUNT];
	struct pager_fault faults[COUNT];
	int most = 0;

	for (unsigned int i = 0; i < COUNT; i++) {
		actors[i] = load_of(world, FIRST + i);
		actor_start(&actors[i]);
	}
	for (unsigned int i = 0; i < TRIES && most < COUNT; i++) {
		usleep(5000);
		int count = ops->poll(world->pager, faults, COUNT);
		most = count > most ? count : most;
		assert_int_equal(ops->wake(world->pager, page_id(FIRST), COUNT), 0);
	}
	assert_int_equal(most, COUNT);
	map(world, FIRST, COUNT, PAGER_READ);
	for (unsigned int i = 0; i < COUNT; i++)
		actor_finish(&actors[i]);
}

/* ---- runs --------------------------------------------------------------------------------- */

static void run_of_holes(void **state)
{
	struct world *world = *state;
	struct actor actor = { .act = STORE_RUN, .addr = world->app, .count = PAGES, .value = 3 };

	map(world, FIRST, PAGES, PAGER_WRITE);
	assert_int_equal(ops->resident(world->pager), PAGES);
	actor_start(&actor);
	actor_finish(&actor);
	expect_quiet(world);
	for (uint64_t page = FIRST; page < FIRST + PAGES; page++)
		assert_int_equal(frame(world, page)[0], 3);
	assert_int_equal(ops->downgrade(world->pager, page_id(FIRST), PAGES), 0);
	for (uint64_t page = FIRST; page < FIRST + PAGES; page++)
		assert_int_equal(shown(world, page), READ);
	invalidate(world, FIRST, PAGES);
	for (uint64_t page = FIRST; page < FIRST + PAGES; page++) {
		assert_int_equal(shown(world, page), INVALID);
		assert_int_equal(frame(world, page)[0], 3);
	}
	assert_int_equal(ops->resident(world->pager), PAGES);
}

/* Page i of a run starts in one of six ways: with a frame or not, invalid after each mode, ... */
static void mix(struct world *world, uint64_t page, uint64_t kind)
{
	switch (kind) {
	case 0: /* a hole */
		return;
	case 1:
		frame(world, page)[1] = 1;
		return;
	case 2:
		map(world, page, 1, PAGER_READ);
		return;
	case 3:
		map(world, page, 1, PAGER_WRITE);
		return;
	case 4: /* leaves a marker */
		map(world, page, 1, PAGER_READ);
		invalidate(world, page, 1);
		return;
	default:
		map(world, page, 1, PAGER_WRITE);
		invalidate(world, page, 1);
		return;
	}
}

static void mixed_runs(void **state)
{
	struct world *world = *state;
	struct prng prng = prng_init(17);

	for (unsigned int round = 0; round < 40; round++) {
		uint64_t first = FIRST + round * 12;
		uint64_t count = 1 + prng_below(&prng, 12);
		enum pager_mode mode = (round & 1) != 0 ? PAGER_WRITE : PAGER_READ;

		for (uint64_t page = first; page < first + 12; page++)
			mix(world, page, prng_below(&prng, 6));
		enum shown beyond = shown(world, first + count - 1 + (count < 12));
		map(world, first, count, mode);
		for (uint64_t page = first; page < first + count; page++)
			assert_int_equal(shown(world, page), mode == PAGER_WRITE ? WRITE : READ);
		if (count < 12)
			assert_int_equal(shown(world, first + count), beyond);
	}
	expect_quiet(world);
}

static void map_again_changes_nothing(void **state)
{
	struct world *world = *state;

	for (unsigned int i = 0; i < 3; i++) {
		map(world, 200, 20, PAGER_READ);
		assert_int_equal(shown(world, 219), READ);
	}
	for (unsigned int i = 0; i < 3; i++) {
		map(world, 200, 20, PAGER_WRITE);
		assert_int_equal(shown(world, 200), WRITE);
	}
	map(world, 200, 20, PAGER_READ);
	assert_int_equal(shown(world, 200), READ);
	invalidate(world, 200, 20);
	invalidate(world, 200, 20);
	assert_int_equal(shown(world, 200), INVALID);
}

/* Upgrade and downgrade of pages that are not mapped map nothing. */
static void rights_of_invalid_pages(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, 300, 4);

	frame(world, 300)[0] = 1;
	assert_int_equal(ops->downgrade(world->pager, page_id(300), 4), 0);
	assert_int_equal(shown(world, 300), INVALID);
	assert_int_equal(ops->upgrade(world->pager, page_id(300), 4), 0);
	assert_int_equal(shown(world, 300), INVALID);
	actor_start(&actor);
	expect_fault(world, 300, true);
	assert_int_equal(ops->downgrade(world->pager, page_id(300), 4), 0);
	map(world, 300, 1, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(frame(world, 300)[0], 4);
}

/* Waiters on pages that are mapped already when the run is mapped must run, too. */
static void map_wakes_waiters_of_mapped_pages(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, 310, 4);

	map(world, 309, 3, PAGER_READ);
	actor_start(&actor);
	expect_fault(world, 310, true);
	map(world, 308, 6, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(frame(world, 310)[0], 4);
	assert_int_equal(shown(world, 308), WRITE);
	assert_int_equal(shown(world, 313), WRITE);
}

/* Those that are given too little run as well, and fault again. */
static void map_wakes_who_gets_too_little(void **state)
{
	struct world *world = *state;
	struct actor actor = store_of(world, 321, 4);

	map(world, 320, 3, PAGER_READ);
	actor_start(&actor);
	expect_fault(world, 321, true);
	expect_quiet(world);
	map(world, 320, 3, PAGER_READ);
	expect_fault(world, 321, true);
	map(world, 321, 1, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(shown(world, 320), READ);
}

/* ---- faults inside system calls ----------------------------------------------------------- */

static void read_from_a_pipe(void **state)
{
	struct world *world = *state;
	int ends[2];
	struct actor actor = { .act = PIPE_TO_APP,
			       .addr = app_page(world, 400) + PAGE_BYTES - 3,
			       .count = 6 };

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abcdef", 6), 6);
	actor.fd = ends[0];
	actor_start(&actor);
	expect_fault(world, 400, true);
	map(world, 400, 1, PAGER_WRITE);
	expect_fault(world, 401, true);
	map(world, 401, 1, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(actor.result, 6);
	assert_memory_equal(frame(world, 401) - 3, "abcdef", 6);
	close(ends[0]);
	close(ends[1]);
}

static void read_into_a_read_page(void **state)
{
	struct world *world = *state;
	int ends[2];
	struct actor actor = { .act = PIPE_TO_APP, .addr = app_page(world, 403), .count = 4 };

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "wxyz", 4), 4);
	actor.fd = ends[0];
	map(world, 403, 1, PAGER_READ);
	actor_start(&actor);
	expect_fault(world, 403, true);
	assert_int_equal(ops->upgrade(world->pager, page_id(403), 1), 0);
	actor_finish(&actor);
	assert_int_equal(actor.result, 4);
	assert_memory_equal(frame(world, 403), "wxyz", 4);
	close(ends[0]);
	close(ends[1]);
}

static void write_to_a_pipe(void **state)
{
	struct world *world = *state;
	int ends[2];
	char got[8] = "";
	struct actor actor = { .act = APP_TO_PIPE, .addr = app_page(world, 410), .count = 5 };

	assert_int_equal(pipe(ends), 0);
	actor.fd = ends[1];
	actor_start(&actor);
	expect_fault(world, 410, false);
	memcpy(frame(world, 410), "hello", 5);
	map(world, 410, 1, PAGER_READ);
	actor_finish(&actor);
	assert_int_equal(actor.result, 5);
	assert_int_equal(read(ends[0], got, sizeof(got)), 5);
	assert_string_equal(got, "hello");
	close(ends[0]);
	close(ends[1]);
}

static void pread_from_a_file(void **state)
{
	struct world *world = *state;
	struct actor actor = { .act = FILE_TO_APP, .addr = app_page(world, 420), .count = 8192 };
	char bytes[8192];

	memset(bytes, 'q', sizeof(bytes));
	actor.fd = memfd_create("source", MFD_CLOEXEC);
	assert_int_equal(write(actor.fd, bytes, sizeof(bytes)), (int)sizeof(bytes));
	actor_start(&actor);
	expect_fault(world, 420, true);
	map(world, 420, 2, PAGER_WRITE);
	actor_finish(&actor);
	assert_int_equal(actor.result, 8192);
	assert_memory_equal(frame(world, 420), bytes, sizeof(bytes));
	close(actor.fd);
}

/* Who waits in a system call when the region goes must come back, with or without its bytes. */
static void wait_ends_with_the_region(void **state)
{
	struct world *world = *state;
	int ends[2];
	struct actor actor = { .act = PIPE_TO_APP, .addr = app_page(world, 430), .count = 4 };

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abcd", 4), 4);
	actor.fd = ends[0];
	actor_start(&actor);
	expect_fault(world, 430, true);
	ops->region_remove(world->pager, page_id(FIRST));
	actor_finish(&actor);
	assert_true(actor.result == 4 || actor.result == -1);
	close(ends[0]);
	close(ends[1]);
}

/* ---- poison ------------------------------------------------------------------------------- */

/* The harness has a handler of its own for SIGBUS, set before each test. */
static int poison(struct world *world, uint64_t page, uint64_t count)
{
	struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	sigaction(SIGBUS, &action, NULL);
	int error = ops->poison(world->pager, page_id(page), count);

	if (error == -ENOSYS) {
		print_message("skipped: %s\n", error_text());
		skip();
	}
	return error;
}

static void poison_raises_sigbus(void **state)
{
	struct world *world = *state;

	for (uint64_t page = 440; page < 446; page++) {
		mix(world, page, page - 440);
		struct actor load = load_of(world, page);
		struct actor store = store_of(world, page, 1);
		assert_int_equal(poison(world, page, 1), 0);
		actor_start(&load);
		actor_finish(&load);
		assert_true(load.sigbus);
		actor_start(&store);
		actor_finish(&store);
		assert_true(store.sigbus);
	}
	expect_quiet(world);
}

static void poison_ends_a_wait(void **state)
{
	struct world *world = *state;
	struct actor actor = load_of(world, 450);
	struct actor unharmed = load_of(world, 452);

	map(world, 452, 1, PAGER_READ);
	actor_start(&actor);
	expect_fault(world, 450, false);
	assert_int_equal(poison(world, 449, 3), 0);
	actor_finish(&actor);
	assert_true(actor.sigbus);
	assert_int_equal(poison(world, 449, 3), 0);
	actor_start(&unharmed);
	actor_finish(&unharmed);
	assert_false(unharmed.sigbus);
}

/* ---- regions and addresses ---------------------------------------------------------------- */

static void collision_is_named(void **state)
{
	struct world *world = *state;
	void *taken = mmap(NULL, 3 * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(taken, MAP_FAILED);
	void *below = (char *)taken - PAGE_BYTES;
	error_clear();
	assert_int_equal(ops->region_add(world->pager, taken, page_id(2000), 2), -EEXIST);
	assert_non_null(strstr(error_text(), "mapped there"));
	assert_non_null(strstr(error_text(), "r--p"));
	/* Partly over it is no better, nor is the pager's own region, which must stay whole. */
	assert_int_equal(ops->region_add(world->pager, below, page_id(2000), 3), -EEXIST);
	assert_int_equal(ops->region_add(world->pager, world->app + PAGE_BYTES, page_id(2000), 1),
			 -EEXIST);
	assert_non_null(strstr(error_text(), "pergola"));
	map(world, FIRST, 3, PAGER_WRITE);
	store_freely(world, FIRST + 1, 1);
	munmap(taken, 3 * PAGE_BYTES);
}

static void bad_arguments(void **state)
{
	struct world *world = *state;
	void *addr;
	struct pager *none;

	assert_int_equal(ops->address_propose(world->pager, 64 * PAGE_BYTES, 3, &addr), 0);
	assert_int_equal(ops->region_add(world->pager, (char *)addr + 1, page_id(2000), 1),
			 -EINVAL);
	assert_int_equal(ops->region_add(world->pager, NULL, page_id(2000), 1), -EINVAL);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(2000), 0), -EINVAL);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(SPACE - 1), 2), -EINVAL);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(SPACE - 1), UINT64_MAX),
			 -EINVAL);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(FIRST + PAGES - 1), 2),
			 -EINVAL);
	assert_int_equal(ops->map(world->pager, page_id(FIRST - 1), 2, PAGER_READ), -EINVAL);
	assert_int_equal(ops->map(world->pager, page_id(FIRST + PAGES - 1), 2, PAGER_READ),
			 -EINVAL);
	assert_int_equal(shown(world, FIRST), INVALID);
	assert_int_equal(ops->invalidate(world->pager, page_id(FIRST - 1), 2), 0);
	assert_int_equal(ops->address_propose(world->pager, 100, 0, &addr), -EINVAL);
	assert_int_equal(ops->open(&(struct pager_config){ .page_limit = 0 }, &none), -EINVAL);
	assert_int_equal(ops->open(&(struct pager_config){ .page_limit = UINT64_MAX }, &none),
			 -EINVAL);
	/* A refused region leaves nothing mapped behind. */
	assert_int_equal(ops->region_add(world->pager, addr, page_id(2000), 64), 0);
}

static void proposals_are_free_and_differ(void **state)
{
	enum { ATTEMPTS = 24 };
	struct world *world = *state;
	size_t bytes = (size_t)16 << 30;
	void *proposals[ATTEMPTS];

	for (unsigned int i = 0; i < ATTEMPTS; i++) {
		assert_int_equal(ops->address_propose(world->pager, bytes, i, &proposals[i]), 0);
		assert_int_equal((uintptr_t)proposals[i] % ADDRESS_ALIGN, 0);
		for (unsigned int j = 0; j < i; j++)
			assert_ptr_not_equal(proposals[i], proposals[j]);
		void *got = mmap(proposals[i], bytes, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
				 -1, 0);
		assert_ptr_equal(got, proposals[i]);
		munmap(got, bytes);
	}
	/* Not free any more: the same attempt must give another. */
	void *got = mmap(proposals[0], bytes, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	void *other;
	assert_ptr_equal(got, proposals[0]);
	assert_int_equal(ops->address_propose(world->pager, bytes, 0, &other), 0);
	assert_ptr_not_equal(other, proposals[0]);
	munmap(got, bytes);
	assert_int_equal(ops->address_propose(world->pager, SIZE_MAX / 4096 * 4096, 0, &other),
			 -ENOMEM);
	assert_true(strlen(error_text()) > 0);
}

static void two_regions(void **state)
{
	struct world *world = *state;
	void *addr;
	struct actor low = load_of(world, FIRST + PAGES - 1);
	struct actor high = { .act = STORE, .value = 5 };

	assert_int_equal(ops->address_propose(world->pager, 8 * PAGE_BYTES, 1, &addr), 0);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(FIRST + PAGES), 8), 0);
	high.addr = (unsigned char *)addr + 2 * PAGE_BYTES;
	actor_start(&high);
	expect_fault(world, FIRST + PAGES + 2, true);
	/* One run over both. */
	map(world, FIRST + PAGES - 4, 12, PAGER_WRITE);
	actor_finish(&high);
	actor_start(&low);
	actor_finish(&low);
	assert_int_equal(frame(world, FIRST + PAGES + 2)[0], 5);
	ops->region_remove(world->pager, page_id(FIRST + PAGES));
	assert_int_equal(msync(addr, PAGE_BYTES, MS_ASYNC), -1);
	assert_int_equal(errno, ENOMEM);
	/* Shown again elsewhere, it has its bytes. */
	assert_int_equal(ops->address_propose(world->pager, 8 * PAGE_BYTES, 2, &addr), 0);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(FIRST + PAGES), 8), 0);
	assert_int_equal(shown_at((char *)addr + 2 * PAGE_BYTES), INVALID);
	map(world, FIRST + PAGES + 2, 1, PAGER_READ);
	assert_int_equal(((volatile unsigned char *)addr)[2 * PAGE_BYTES], 5);
	assert_int_equal(shown(world, FIRST + PAGES - 1), WRITE);
}

/* A run that goes from one region over a gap into another takes hold of both. */
static void run_over_a_gap(void **state)
{
	struct world *world = *state;
	uint64_t second = FIRST + PAGES + 100;
	unsigned char *addr;

	assert_int_equal(ops->address_propose(world->pager, 8 * PAGE_BYTES, 1, (void **)&addr), 0);
	assert_int_equal(ops->region_add(world->pager, addr, page_id(second), 8), 0);
	map(world, FIRST + PAGES - 2, 2, PAGER_WRITE);
	map(world, second, 8, PAGER_WRITE);
	assert_int_equal(ops->map(world->pager, page_id(second - 1), 2, PAGER_READ), -EINVAL);
	assert_int_equal(ops->downgrade(world->pager, page_id(FIRST + PAGES - 1), 106), 0);
	assert_int_equal(shown(world, FIRST + PAGES - 2), WRITE);
	assert_int_equal(shown(world, FIRST + PAGES - 1), READ);
	assert_int_equal(shown_at(addr + 4 * PAGE_BYTES), READ);
	assert_int_equal(shown_at(addr + 5 * PAGE_BYTES), WRITE);
	invalidate(world, FIRST + PAGES - 2, 105);
	assert_int_equal(shown(world, FIRST + PAGES - 2), INVALID);
	assert_int_equal(shown_at(addr), INVALID);
	assert_int_equal(shown_at(addr + 2 * PAGE_BYTES), INVALID);
	assert_int_equal(shown_at(addr + 3 * PAGE_BYTES), READ);
}

/* Address spaces of 39, 42, 47, 48 bits: proposals fit, differ, and keep below what is random. */
static void proposals_in_any_address_space(void **state)
{
	static const unsigned int widths[] = { 39, 42, 47, 48 };

	(void)state;
	for (unsigned int w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
		uintptr_t top = (uintptr_t)1 << widths[w];
		uintptr_t hole = top - top / 500;
		size_t bytes = top / 64;
		uintptr_t seen[32];

		for (unsigned int n = 0; n < 32; n++) {
			seen[n] = address_candidate(hole, bytes, n, false);
			assert_int_equal(seen[n] % ADDRESS_ALIGN, 0);
			assert_true(seen[n] >= top / 16);
			assert_true(seen[n] + bytes <= hole - top / 8);
			for (unsigned int i = 0; i < n; i++)
				assert_true(seen[i] != seen[n]);
		}
		assert_int_equal(address_candidate(hole, top, 0, false), 0);
	}
	/* ThreadSanitizer's upper range on x86-64 begins at 0x7e8000000000. */
	for (unsigned int n = 0; n < 32; n++)
		assert_true(address_candidate(0x7f0000000000, (size_t)1 << 34, n, true) >
			    0x7e8000000000);
}

static void region_limit(void **state)
{
	struct world *world = *state;
	unsigned char *addr;

	assert_int_equal(ops->address_propose(world->pager, 2 * 64 * PAGE_BYTES, 1, (void **)&addr),
			 0);
	for (unsigned int i = 0; i < PAGER_REGIONS_MAX; i++) {
		int error = ops->region_add(world->pager, addr + (size_t)2 * i * PAGE_BYTES,
					    page_id(3000 - 2 * i), 1);
		assert_int_equal(error, i < PAGER_REGIONS_MAX - 1 ? 0 : -ENOSPC);
	}
	assert_non_null(strstr(error_text(), "64"));
	struct actor actor = { .act = LOAD, .addr = addr + 2 * 30 * PAGE_BYTES };
	actor_start(&actor);
	expect_fault(world, 3000 - 2 * 30, false);
	map(world, 3000 - 2 * 30, 1, PAGER_READ);
	actor_finish(&actor);
	ops->region_remove(world->pager, page_id(3000 - 2 * 30));
	assert_int_equal(ops->region_add(world->pager, addr + 2 * 30 * PAGE_BYTES,
					 page_id(3000 - 2 * 30), 1),
			 0);
}

/* The table against a naive one: a list in the order of coming. */
struct naive {
	struct region region[PAGER_REGIONS_MAX];
	unsigned int count;
};

static bool naive_overlaps(const struct naive *naive, struct region r)
{
	for (unsigned int i = 0; i < naive->count; i++) {
		const struct region *o = &naive->region[i];
		if (r.first < o->first + o->page_count && o->first < r.first + r.page_count)
			return true;
		if (r.addr < o->addr + o->page_count * PAGE_BYTES &&
		    o->addr < r.addr + r.page_count * PAGE_BYTES)
			return true;
	}
	return false;
}

static void naive_compare(const struct naive *naive, const struct regions *table)
{
	for (uint64_t probe = 0; probe < 400; probe++) {
		struct page_id page;
		uint64_t by_addr = UINT64_MAX;
		uint64_t by_page = 0;
		struct region slice;
		uint64_t skipped;

		for (unsigned int i = 0; i < naive->count; i++) {
			const struct region *r = &naive->region[i];
			uint64_t at = probe * PAGE_BYTES + 17;
			if (at >= r->addr && at < r->addr + r->page_count * PAGE_BYTES)
				by_addr = r->first + (at - r->addr) / PAGE_BYTES;
			if (probe >= r->first && probe < r->first + r->page_count)
				by_page = r->addr + (probe - r->first) * PAGE_BYTES;
		}
		bool found = regions_page_at(table, probe * PAGE_BYTES + 17, &page);
		assert_int_equal(found ? page.value : UINT64_MAX, by_addr);
		found = regions_slice(table, page_id(probe), 1, &slice, &skipped);
		assert_int_equal(found ? slice.addr : 0, by_page);
		assert_true(!found || (skipped == 0 && slice.page_count == 1));
	}
}

static void regions_against_a_list(void **state)
{
	struct regions table = { .count = 0 };
	struct naive naive = { .count = 0 };
	struct prng prng = prng_init(5);

	(void)state;
	for (unsigned int step = 0; step < 400; step++) {
		struct region region = {
			.addr = (1 + prng_below(&prng, 380)) * PAGE_BYTES,
			.first = 1 + prng_below(&prng, 380),
			.page_count = 1 + prng_below(&prng, 9),
		};
		if (prng_below(&prng, 3) != 0) {
			int expected = naive_overlaps(&naive, region) ? -EINVAL : 0;
			assert_int_equal(regions_add(&table, region), expected);
			if (expected == 0)
				naive.region[naive.count++] = region;
		} else if (naive.count > 0) {
			uint64_t victim = prng_below(&prng, naive.count);
			struct page_id first = page_id(naive.region[victim].first);
			assert_true(regions_take(&table, first, &region));
			assert_int_equal(region.addr, naive.region[victim].addr);
			assert_false(regions_take(&table, first, &region));
			naive.region[victim] = naive.region[--naive.count];
		}
		naive_compare(&naive, &table);
	}
}

static void slices_of_a_run(void **state)
{
	struct regions table = { .count = 0 };
	struct region slice;
	uint64_t skipped;

	(void)state;
	assert_int_equal(regions_add(&table, (struct region){ 0x100000, 10, 5 }), 0);
	assert_int_equal(regions_add(&table, (struct region){ 0x900000, 20, 5 }), 0);
	assert_true(regions_slice(&table, page_id(5), 100, &slice, &skipped));
	assert_int_equal(skipped, 5);
	assert_int_equal(slice.first, 10);
	assert_int_equal(slice.page_count, 5);
	assert_true(regions_slice(&table, page_id(15), 7, &slice, &skipped));
	assert_int_equal(skipped, 5);
	assert_int_equal(slice.page_count, 2);
	assert_int_equal(slice.addr, 0x900000);
	assert_false(regions_slice(&table, page_id(15), 5, &slice, &skipped));
	assert_false(regions_slice(&table, page_id(25), 5, &slice, &skipped));
}

/* ---- other processes ---------------------------------------------------------------------- */

/* Runs `body` in a child; it returns 0, or 1 having said what failed. 77: it cannot be tried. */
static void in_child(int (*body)(struct world *world), struct world *world)
{
	int status = -1;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		alarm(20);
		_exit(body(world));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* For use in a child, whose verdict is its exit status. */
#define CHILD_CHECK(condition)                                                                     \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_error("child, line %d: %s (%s)\n", __LINE__, #condition,             \
				    error_text());                                                 \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int has_no_views(struct world *world)
{
	CHILD_CHECK(msync(world->app, PAGE_BYTES, MS_ASYNC) == -1 && errno == ENOMEM);
	CHILD_CHECK(msync(world->frames.base, PAGE_BYTES, MS_ASYNC) == -1 && errno == ENOMEM);
	return 0;
}

static void child_has_no_views(void **state)
{
	struct world *world = *state;

	map(world, FIRST, 4, PAGER_WRITE);
	in_child(has_no_views, world);
	assert_int_equal(shown(world, FIRST), WRITE);
}

/* A whole fault in a fresh pager. */
static int one_fault(void)
{
	struct world world;
	struct actor actor;
	struct pager_fault fault;

	CHILD_CHECK(world_open(&world) == 0);
	CHILD_CHECK(ops->resident(world.pager) == 0);
	actor = store_of(&world, 44, 6);
	actor_start(&actor);
	CHILD_CHECK(fault_comes(&world, WAIT_MS));
	CHILD_CHECK(ops->poll(world.pager, &fault, 1) == 1 && fault.page.value == 44);
	CHILD_CHECK(ops->map(world.pager, page_id(44), 1, PAGER_WRITE) == 0);
	CHILD_CHECK(actor_ended(&actor, WAIT_MS));
	CHILD_CHECK(ops->invalidate(world.pager, page_id(44), 1) == 0);
	CHILD_CHECK(shown(&world, 44) == INVALID);
	CHILD_CHECK(frame(&world, 44)[0] == 6);
	ops->close(world.pager);
	return 0;
}

static uint64_t locked_bytes(void)
{
	char line[128];
	unsigned long kib = 0;
	FILE *status = fopen("/proc/self/status", "re");

	while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
		if (sscanf(line, "VmLck: %lu", &kib) == 1)
			break;
	}
	if (status != NULL)
		fclose(status);
	return (uint64_t)kib * 1024;
}

static int with_locked_memory(struct world *unused)
{
	(void)unused;
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		return 77;
	uint64_t before = locked_bytes();
	struct world world;

	CHILD_CHECK(world_open(&world) == 0);
	CHILD_CHECK(locked_bytes() - before < SPACE * PAGE_BYTES / 4);
	ops->close(world.pager);
	return one_fault();
}

/* mlockall(2) populates every new mapping; ours must stay empty all the same. */
static void locked_memory(void **state)
{
	in_child(with_locked_memory, *state);
}

/* From now on system call `number` (with `argument` as its third, if not 0) fails with `error`. */
static bool forbid(long number, unsigned int argument, unsigned int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JA, argument == 0 ? 0 : 1, 0, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int with_device_only(struct world *unused)
{
	(void)unused;
	if (access("/dev/userfaultfd", R_OK | W_OK) != 0 || !forbid(SYS_userfaultfd, 0, EPERM))
		return 77;
	return one_fault();
}

static void opened_by_the_device(void **state)
{
	in_child(with_device_only, *state);
}

static int without_frames(struct world *unused)
{
	struct world world;

	(void)unused;
	CHILD_CHECK(world_open(&world) == 0);
	if (!forbid(SYS_madvise, MADV_POPULATE_WRITE, ENOMEM))
		return 77;
	error_clear();
	CHILD_CHECK(ops->map(world.pager, page_id(44), 1, PAGER_READ) == -ENOMEM);
	CHILD_CHECK(strstr(error_text(), "page 44") != NULL);
	CHILD_CHECK(strstr(error_text(), "MemAvailable") != NULL);
	CHILD_CHECK(shown(&world, 44) == INVALID);
	/* One that has a frame needs none. */
	frame(&world, 45)[0] = 1;
	CHILD_CHECK(ops->map(world.pager, page_id(45), 1, PAGER_READ) == 0);
	return 0;
}

static void no_memory_for_a_frame(void **state)
{
	in_child(without_frames, *state);
}

/* An error a person can act on: each of the ways out is named. */
static int refused(const char *const *words, size_t word_count)
{
	struct pager_config config = { .page_limit = 16 };
	struct pager *pager;

	error_clear();
	CHILD_CHECK(ops->open(&config, &pager) == -EPERM);
	for (size_t i = 0; i < word_count; i++) {
		if (strstr(error_text(), words[i]) == NULL) {
			print_error("no \"%s\" in: %s\n", words[i], error_text());
			return 1;
		}
	}
	CHILD_CHECK(strlen(error_text()) < 1000); /* nothing was cut off */
	return 0;
}

static int as_nobody(struct world *unused)
{
	static const char *const words[] = { "vm.unprivileged_userfaultfd=1",
					     "/dev/userfaultfd",
					     "chmod",
					     "udev",
					     "CAP_SYS_PTRACE",
					     "seccomp",
					     "pergola doctor" };

	(void)unused;
	if (geteuid() != 0 || setresgid(65534, 65534, 65534) != 0 ||
	    setresuid(65534, 65534, 65534) != 0)
		return 77;
	if (syscall(SYS_userfaultfd, O_CLOEXEC) >= 0 ||
	    access("/dev/userfaultfd", R_OK | W_OK) == 0)
		return 77;
	return refused(words, sizeof(words) / sizeof(words[0]));
}

static int as_nobody_in_a_container(struct world *unused)
{
	static const char *const words[] = { "seccomp", "docker run --device /dev/userfaultfd",
					     "--security-opt" };

	(void)unused;
	if (geteuid() != 0 || !forbid(SYS_userfaultfd, 0, EPERM) ||
	    setresuid(65534, 65534, 65534) != 0 || access("/dev/userfaultfd", R_OK | W_OK) == 0)
		return 77;
	return refused(words, sizeof(words) / sizeof(words[0]));
}

static void refusal_names_the_remedy(void **state)
{
	in_child(as_nobody, *state);
}

static void seccomp_is_told_apart(void **state)
{
	in_child(as_nobody_in_a_container, *state);
}

/* ---- the probe ---------------------------------------------------------------------------- */

static void probe_table(void **state)
{
	struct pager_check checks[PAGER_CHECKS];

	(void)state;
	pager_probe(PAGER_DELIVER_QUEUE, checks);
	assert_null(pager_probe_failed(checks));
	for (unsigned int i = 0; i < PAGER_CHECKS; i++) {
		assert_true(strlen(checks[i].name) > 0);
		assert_true(strlen(checks[i].text) > 0);
		assert_true(checks[i].status == PAGER_CHECK_OK || strlen(checks[i].remedy) > 0);
		assert_true(checks[i].status == PAGER_CHECK_FAILED || checks[i].error == 0);
		if (checks[i].status == PAGER_CHECK_OK)
			assert_string_equal(checks[i].remedy, "");
	}
}

static void probe_leaves_nothing(void **state)
{
	struct pager_check checks[PAGER_CHECKS];
	int before = dup(0);

	(void)state;
	close(before);
	for (unsigned int i = 0; i < 20; i++)
		pager_probe(PAGER_DELIVER_QUEUE, checks);
	int after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void releases(void **state)
{
	static const struct {
		const char *release;
		int sign;
	} rows[] = {
		{ "6.1.0-18-amd64", -1 },
		{ "5.19.17", -1 },
		{ "6.3.13", -1 },
		{ "6.4.0", 0 },
		{ "6.4-rc1", 0 },
		{ "6.12.9+deb13-arm64", 1 },
		{ "7.0", 1 },
		{ "10.1.2-custom", 1 },
		{ "unknown", -1 },
		{ "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int got = pager_release_compare(rows[i].release, 6, 4);
		assert_int_equal((got > 0) - (got < 0), rows[i].sign);
	}
}

static void limits_are_described(void **state)
{
	char text[768];
	char small[32];

	(void)state;
	limits_describe(text, sizeof(text));
	assert_non_null(strstr(text, "MemAvailable is "));
	assert_null(strstr(text, "MemAvailable is 0 MiB"));
	limits_describe(small, sizeof(small));
	assert_true(strlen(small) < sizeof(small));
	assert_in_range(limits_overcommit(), 0, 2);
}

/* ---- races -------------------------------------------------------------------------------- */

struct writer {
	_Atomic uint64_t *word;
	atomic_bool stop;
};

static void *writer_main(void *argument)
{
	struct writer *writer = argument;

	for (uint64_t value = 1; !atomic_load_explicit(&writer->stop, memory_order_relaxed);
	     value++)
		atomic_store_explicit(writer->word, value, memory_order_relaxed);
	return NULL;
}

static uint64_t frame_word(const struct world *world, uint64_t page)
{
	return atomic_load((_Atomic uint64_t *)(void *)frame(world, page));
}

/* After invalidate() or downgrade() returned no store can reach the frame, from any CPU. */
static void stores_stop(struct world *world, bool by_downgrade)
{
	struct writer writer = { .word = (_Atomic uint64_t *)(void *)app_page(world, 500) };
	pthread_t thread;
	uint64_t last = 0;

	map(world, 500, 1, PAGER_WRITE);
	assert_int_equal(pthread_create(&thread, NULL, writer_main, &writer), 0);
	for (unsigned int round = 0; round < 200; round++) {
		while (frame_word(world, 500) == last)
			sched_yield();
		assert_int_equal(by_downgrade ? ops->downgrade(world->pager, page_id(500), 1)
					      : ops->invalidate(world->pager, page_id(500), 1),
				 0);
		uint64_t once = frame_word(world, 500);
		usleep(round % 4 == 0 ? 500 : 0);
		uint64_t twice = frame_word(world, 500);
		assert_int_equal(once, twice);
		assert_true(twice > last);
		last = twice;
		expect_fault(world, 500, true);
		assert_int_equal(frame_word(world, 500), last);
		if (round == 199)
			atomic_store(&writer.stop, true);
		map(world, 500, 1, PAGER_WRITE);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void invalidate_stops_stores(void **state)
{
	stores_stop(*state, false);
}

static void downgrade_stops_stores(void **state)
{
	stores_stop(*state, true);
}

/*
 * Threads add to their own words of random pages and check that they find what they left there,
 * while the main thread serves their faults and takes pages from them at random. Its model of each
 * page's state decides how a fault is served.
 */
#define STRESS_THREADS 4u
#define STRESS_PAGES 24u
#define STRESS_STEPS 6000u

struct stress {
	struct world *world;
	uint64_t lane;
	uint64_t model[STRESS_PAGES];
	atomic_uint *running;
	uint64_t wrong;
};

static _Atomic uint64_t *stress_word(unsigned char *base, uint64_t page, uint64_t lane)
{
	return (_Atomic uint64_t *)(void *)(base + page * PAGE_BYTES) + lane * 64;
}

static void *stress_main(void *argument)
{
	struct stress *stress = argument;
	struct prng prng = prng_init(stress->lane);

	for (unsigned int step = 0; step < STRESS_STEPS; step++) {
		uint64_t page = prng_below(&prng, STRESS_PAGES);
		_Atomic uint64_t *word = stress_word(stress->world->app, page, stress->lane);

		if (atomic_load_explicit(word, memory_order_relaxed) != stress->model[page])
			stress->wrong++;
		if (prng_below(&prng, 2) == 0)
			atomic_store_explicit(word, ++stress->model[page], memory_order_relaxed);
	}
	atomic_fetch_sub(stress->running, 1);
	return NULL;
}

static void serve(struct world *world, enum shown *states, struct pager_fault fault)
{
	enum shown *page = &states[fault.page.value - FIRST];
	int error = 0;

	if (*page == WRITE || (*page == READ && !fault.write)) {
		error = ops->map(world->pager, fault.page, 1,
				 *page == WRITE ? PAGER_WRITE : PAGER_READ);
	} else if (*page == READ) {
		error = ops->upgrade(world->pager, fault.page, 1);
		*page = WRITE;
	} else {
		error = ops->map(world->pager, fault.page, 1,
				 fault.write ? PAGER_WRITE : PAGER_READ);
		*page = fault.write ? WRITE : READ;
	}
	assert_int_equal(error, 0);
}

/* Takes or gives a random run behind the threads' backs. */
static void disturb(struct world *world, enum shown *states, struct prng *prng)
{
	uint64_t first = prng_below(prng, STRESS_PAGES);
	uint64_t count = 1 + prng_below(prng, STRESS_PAGES - first < 6 ? STRESS_PAGES - first : 6);
	uint64_t kind = prng_below(prng, 9);
	enum shown after = kind < 4 ? INVALID : kind == 4 ? WRITE : READ;
	struct page_id page = page_id(FIRST + first);

	if (kind == 8) { /* as the kernel does when it swaps: nobody is told */
		assert_int_equal(
			madvise(app_page(world, page.value), count * PAGE_BYTES, MADV_DONTNEED), 0);
		return;
	}
	if (kind < 4)
		assert_int_equal(ops->invalidate(world->pager, page, count), 0);
	else if (kind < 6)
		map(world, page.value, count, kind == 4 ? PAGER_WRITE : PAGER_READ);
	else
		assert_int_equal(ops->downgrade(world->pager, page, count), 0);
	for (uint64_t i = first; i < first + count; i++) {
		if (kind < 6 || states[i] == WRITE)
			states[i] = after;
		enum shown now = shown(world, FIRST + i);
		assert_true(now == states[i] || (kind >= 6 && now == INVALID));
	}
}

static void stress_run(struct world *world, atomic_uint *running)
{
	enum shown states[STRESS_PAGES] = { INVALID };
	struct prng prng = prng_init(99);
	time_t end = time(NULL) + 40;

	while (atomic_load(running) > 0) {
		struct pager_fault faults[8];
		int count = ops->poll(world->pager, faults, 8);

		assert_true(time(NULL) < end);
		for (int i = 0; i < count; i++)
			serve(world, states, faults[i]);
		if (prng_below(&prng, 4) == 0)
			disturb(world, states, &prng);
		else if (count == 0)
			sched_yield();
	}
}

static void stress_of_random_faults(void **state)
{
	struct world *world = *state;
	pthread_t threads[STRESS_THREADS];
	struct stress lanes[STRESS_THREADS];
	atomic_uint running = STRESS_THREADS;

	for (unsigned int i = 0; i < STRESS_THREADS; i++) {
		lanes[i] = (struct stress){ .world = world, .lane = i, .running = &running };
		assert_int_equal(pthread_create(&threads[i], NULL, stress_main, &lanes[i]), 0);
	}
	stress_run(world, &running);
	for (unsigned int i = 0; i < STRESS_THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(lanes[i].wrong, 0);
		for (uint64_t page = 0; page < STRESS_PAGES; page++)
			assert_int_equal(atomic_load(stress_word(frame(world, FIRST), page, i)),
					 lanes[i].model[page]);
	}
}

/* A space much larger than the machine costs nothing until it is used. */
static void sparse_space(void **state)
{
	struct pager_config config = { .page_limit = UINT64_C(1) << 24 };
	struct pager *pager;
	void *addr;

	(void)state;
	assert_int_equal(ops->open(&config, &pager), 0);
	assert_int_equal(ops->address_propose(pager, (size_t)32 << 30, 0, &addr), 0);
	assert_int_equal(
		ops->region_add(pager, addr, page_id(UINT64_C(1) << 23), UINT64_C(1) << 23), 0);
	assert_int_equal(ops->resident(pager), 0);
	assert_int_equal(ops->map(pager, page_id((UINT64_C(1) << 24) - 1), 1, PAGER_WRITE), 0);
	((volatile unsigned char *)addr)[((size_t)32 << 30) - 1] = 1;
	assert_int_equal(ops->frames(pager).base[((size_t)64 << 30) - 1], 1);
	assert_int_equal(ops->resident(pager), 1);
	ops->close(pager);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(first_load),
	TEST(first_store),
	TEST(store_on_read_page_upgrades),
	TEST(store_on_read_page_mapped_for_writing),
	TEST(store_waits_past_a_read_map),
	TEST(downgraded_page_faults_on_store),
	TEST(invalidated_page_keeps_its_frame),
	TEST(released_page_begins_anew),
	TEST(bytes_of_the_runtime_view_are_seen),
	TEST(wake_only_retries),
	TEST(entry_dropped_by_the_kernel),
	TEST(many_threads_on_one_page),
	TEST(many_faults_few_at_a_time),
	TEST(many_faults_at_once),
	TEST(run_of_holes),
	TEST(mixed_runs),
	TEST(map_again_changes_nothing),
	TEST(rights_of_invalid_pages),
	TEST(map_wakes_waiters_of_mapped_pages),
	TEST(map_wakes_who_gets_too_little),
	TEST(read_from_a_pipe),
	TEST(read_into_a_read_page),
	TEST(write_to_a_pipe),
	TEST(pread_from_a_file),
	TEST(wait_ends_with_the_region),
	TEST(poison_raises_sigbus),
	TEST(poison_ends_a_wait),
	TEST(collision_is_named),
	TEST(bad_arguments),
	TEST(proposals_are_free_and_differ),
	TEST(two_regions),
	TEST(run_over_a_gap),
	TEST(region_limit),
	TEST(child_has_no_views),
	TEST(invalidate_stops_stores),
	TEST(downgrade_stops_stores),
	TEST(stress_of_random_faults),
	cmocka_unit_test(locked_memory),
	cmocka_unit_test(opened_by_the_device),
	cmocka_unit_test(no_memory_for_a_frame),
	cmocka_unit_test(refusal_names_the_remedy),
	cmocka_unit_test(seccomp_is_told_apart),
	cmocka_unit_test(regions_against_a_list),
	cmocka_unit_test(slices_of_a_run),
	cmocka_unit_test(proposals_in_any_address_space),
	cmocka_unit_test(probe_table),
	cmocka_unit_test(probe_leaves_nothing),
	cmocka_unit_test(releases),
	cmocka_unit_test(limits_are_described),
	cmocka_unit_test(sparse_space),
};

int main(void)
{
	struct pager_check checks[PAGER_CHECKS];

	pager_probe(PAGER_DELIVER_QUEUE, checks);
	const struct pager_check *failed = pager_probe_failed(checks);
	if (failed != NULL) {
		printf("skipped: %s %s\n", failed->text, failed->remedy);
		return 77;
	}
	alarm(55);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
