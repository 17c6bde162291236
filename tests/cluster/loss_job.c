/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job that loses a node: loss_job WHAT. Each node does what it is told, for ever or until it
 * is killed; the driver (loss.c) reads the lines it prints.
 */
#include "check.h"

#define PAGES 64

static unsigned char *pages;
static unsigned char *locks;
static uint64_t random_state;
static int self;
static int count;

__attribute__((noreturn)) static void give_up(const char *call)
{
	fprintf(stderr, "node %d: %s: %s\n", self, call, dsm_error());
	_exit(1);
}

static void faults(void)
{
	size_t page = check_below(&random_state, PAGES);

	if (check_below(&random_state, 2) == 0)
		pages[page * DSM_PAGE_BYTES + (size_t)self]++;
	else
		(void)*(volatile unsigned char *)&pages[page * DSM_PAGE_BYTES];
}

static void lock_and_unlock(void)
{
	void *lock = locks + 16 * check_below(&random_state, 4);

	if (dsm_lock(lock) != 0)
		give_up("dsm_lock");
	faults();
	if (dsm_unlock(lock) != 0)
		give_up("dsm_unlock");
}

static void cross_barrier(void)
{
	faults();
	if (dsm_barrier() != 0)
		give_up("dsm_barrier");
}

static void allocate(void)
{
	size_t bytes = 1 + check_below(&random_state, 400000);
	unsigned char *block =
		dsm_malloc_at(bytes, (int)check_below(&random_state, (uint64_t)count));

	if (block == NULL)
		give_up("dsm_malloc_at");
	block[bytes / 2] = 1;
	if (dsm_free(block, bytes) != 0)
		give_up("dsm_free");
}

static void prefetch(void)
{
	if (dsm_prefetch(pages, PAGES * DSM_PAGE_BYTES, (int)check_below(&random_state, 2)) != 0)
		give_up("dsm_prefetch");
	faults();
}

static void mixture(void)
{
	static void (*const parts[])(void) = { faults, lock_and_unlock, allocate, prefetch };

	parts[check_below(&random_state, 4)]();
}

/* Nodes leave at different times; the driver kills one about then. */
static void finish(void)
{
	for (int i = 0; i < 20; i++)
		faults();
	check_sleep_ms((long)check_below(&random_state, 30));
	_exit(dsm_finish() == 0 ? 0 : 1);
}

/* Computes and touches nothing: it must be told all the same. */
static void idle(void)
{
	check_sleep_ms(1000);
}

static void exit_0(void)
{
	faults();
	check_sleep_ms(20);
	if (self == count - 1)
		exit(0);
	idle();
}

static void exit_3(void)
{
	faults();
	check_sleep_ms(20);
	if (self == count - 1)
		exit(3);
	cross_barrier();
}

static void aborts(void)
{
	faults();
	check_sleep_ms(20);
	if (self == count - 1)
		abort();
	cross_barrier();
}

static void (*find(const char *name))(void)
{
	static const struct {
		const char *name;
		void (*body)(void);
	} all[] = {
		{ "init", idle },
		{ "faults", faults },
		{ "locks", lock_and_unlock },
		{ "barrier", cross_barrier },
		{ "malloc", allocate },
		{ "prefetch", prefetch },
		{ "mixture", mixture },
		{ "finish", finish },
		{ "idle", idle },
		{ "exit-0", exit_0 },
		{ "exit-3", exit_3 },
		{ "abort", aborts },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].name, name) == 0)
			return all[i].body;
	}
	exit(2);
}

static void say(const char *text)
{
	CHECK(write(STDOUT_FILENO, text, strlen(text)) > 0);
}

static void prepare(void)
{
	if (dsm_open(NULL, 64 << 20) == NULL)
		give_up("dsm_open");
	pages = dsm_reserve(NULL, PAGES * DSM_PAGE_BYTES);
	locks = dsm_reserve(NULL, 64);
	if (pages == NULL || locks == NULL)
		give_up("dsm_reserve");
	for (int i = 0; self == 0 && i < 4; i++) {
		if (dsm_lock_init(locks + 16 * i) != 0)
			give_up("dsm_lock_init");
	}
	if (dsm_barrier() != 0)
		give_up("dsm_barrier");
}

int main(int argc, char **argv)
{
	char line[128];
	void (*body)(void) = find(argc > 1 ? argv[1] : "");

	self = atoi(getenv("PERGOLA_RANK"));
	snprintf(line, sizeof(line), "rank %d pid %d job %s\n", self, getpid(),
		 getenv("PERGOLA_JOB"));
	say(line);
	if (dsm_init(-1) != 0)
		give_up("dsm_init");
	count = dsm_node_count();
	random_state = check_now_ns() | 1;
	prepare();
	snprintf(line, sizeof(line), "ready %d\n", self);
	say(line);
	for (;;)
		body();
}
