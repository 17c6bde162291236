/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page is read from its owner without the owner: node 0 manages (central manager), node 1 owns
 * pages that are clean, node 2 reads one. On node 1 nothing may happen meanwhile: no message, no
 * fault, no work request, no completion; every count of dsm_stats_get() stays as it was. Where
 * there is a node 3 the page is clean because that node has read it, and the same holds for node 3:
 * then whoever gave the bytes, its processor had no part in it.
 *
 * With the argument "fast", where fast reads are on, the owner is the manager too, and the reader
 * sends and receives no message either.
 *
 * With the argument "dirty" the owner writes the pages again, and its part in the reads must show.
 *
 * The nodes tell each other when to begin and end through a page of ordinary shared memory: a
 * barrier would be messages.
 */
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PAGES 16u
#define WORDS (DSM_PAGE_BYTES / sizeof(uint64_t))

enum {
	MANAGER = 0,
	OTHER = 1,
	READER = 2,
};

/* Of ordinary memory, shared by the processes of this host. */
struct board {
	_Atomic unsigned int watching; /* nodes that have taken their first count */
	_Atomic unsigned int done;     /* the reader has read */
	_Atomic unsigned int watched;  /* nodes that have taken their second count */
};

static struct board *board;
static unsigned int self;
static unsigned int count;
static unsigned int owner = OTHER;
static bool dirty;
static bool fast;

/* The launcher's process id is the same for all and nobody else's. */
static void board_open(void)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/pergola-onesided-%d", (int)getppid());
	fd = shm_open(name, O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0);
	CHECK_OK(ftruncate(fd, sizeof(*board)));
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(board != MAP_FAILED);
	close(fd);
	CHECK_OK(dsm_barrier());
	if (self == 0)
		CHECK_OK(shm_unlink(name));
	CHECK_OK(dsm_barrier());
}

static struct dsm_stats stats(void)
{
	struct dsm_stats now;

	CHECK_OK(dsm_stats_get(&now));
	return now;
}

static void wait_for(_Atomic unsigned int *word, unsigned int value)
{
	uint64_t end_ns = check_now_ns() + UINT64_C(60000000000);

	while (atomic_load(word) < value) {
		CHECK(check_now_ns() < end_ns);
		usleep(1000);
	}
}

/* What has been begun comes to its end: confirmations, credits, a node's last thoughts. */
static struct dsm_stats quiet(void)
{
	struct dsm_stats before = stats();

	for (;;) {
		usleep(200000);
		struct dsm_stats now = stats();
		if (memcmp(&before, &now, sizeof(now)) == 0)
			return now;
		before = now;
	}
}

static void show_change(const struct dsm_stats *before, const struct dsm_stats *after)
{
	const uint64_t *a = (const void *)before;
	const uint64_t *b = (const void *)after;

	for (size_t i = 0; i < sizeof(*before) / sizeof(*a); i++) {
		if (a[i] != b[i])
			fprintf(stderr,
				"node %u: count %zu of struct dsm_stats went from %lu to %lu\n",
				self, i, (unsigned long)a[i], (unsigned long)b[i]);
	}
}

static unsigned int watchers(void)
{
	return fast ? count - 1 : count - 2;
}

static void watch(void)
{
	struct dsm_stats before = quiet();

	atomic_fetch_add(&board->watching, 1);
	wait_for(&board->done, 1);
	struct dsm_stats after = stats();
	/* Who goes on says so to node 0. */
	atomic_fetch_add(&board->watched, 1);
	wait_for(&board->watched, watchers());
	bool same = memcmp(&before, &after, sizeof(after)) == 0;
	if (!dirty)
		show_change(&before, &after);
	CHECK(same || dirty);
	CHECK(!same || !dirty || self != owner);
}

/* The first page brings the key of the owner's memory, which is asked for by message, once. */
static void read_pages(const volatile uint64_t *pages)
{
	struct dsm_stats before = quiet();

	wait_for(&board->watching, watchers());
	for (size_t page = 1; page < PAGES; page++)
		CHECK_IS(pages[page * WORDS], (long)(page * 1000 + owner));
	struct dsm_stats after = stats();
	if (fast) {
		show_change(&before, &after);
		CHECK_IS(after.messages_sent - before.messages_sent, 0);
		CHECK_IS(after.messages_received - before.messages_received, 0);
	}
	usleep(200000);
	atomic_store(&board->done, 1);
	wait_for(&board->watched, watchers());
	CHECK_IS(after.read_faults - before.read_faults, PAGES - 1);
	CHECK_IS(after.pages_fetched - before.pages_fetched, PAGES - 1);
	CHECK_IS(after.bytes_fetched - before.bytes_fetched, (PAGES - 1) * DSM_PAGE_BYTES);
	if (dirty)
		return;
	printf("%u pages: %lu messages sent, %lu received, %lu work requests, %lu completions at "
	       "the "
	       "reader; none of these at node%s\n",
	       PAGES - 1, (unsigned long)(after.messages_sent - before.messages_sent),
	       (unsigned long)(after.messages_received - before.messages_received),
	       (unsigned long)(after.work_requests - before.work_requests),
	       (unsigned long)(after.completions - before.completions),
	       fast	   ? "s 0, 1"
	       : count > 3 ? "s 1, 3"
			   : " 1");
}

static void write_pages(uint64_t *pages)
{
	for (size_t page = 0; page < PAGES; page++)
		pages[page * WORDS] = page * 1000 + owner;
}

/* The owner has written, another has read: the owner's pages are clean. */
static void prepare(uint64_t *pages)
{
	/* Read-ahead asks by messages. */
	if (fast)
		CHECK_OK(dsm_advise(pages, CHECK_UNIT_BYTES, DSM_ADVICE_RANDOM));
	const unsigned int cleaner = count > 3 ? 3 : fast ? OTHER : MANAGER;

	if (self == owner)
		write_pages(pages);
	CHECK_OK(dsm_barrier());
	for (size_t page = 0; self == cleaner && page < PAGES; page++)
		CHECK_IS(pages[page * WORDS], (long)(page * 1000 + owner));
	CHECK_OK(dsm_barrier());
	if (self == READER)
		CHECK_IS(pages[0], owner);
	CHECK_OK(dsm_barrier());
	if (self == owner && dirty)
		write_pages(pages);
	CHECK_OK(dsm_barrier());
}

int main(int argc, char **argv)
{
	dirty = argc > 1 && strcmp(argv[1], "dirty") == 0;
	fast = argc > 1 && strcmp(argv[1], "fast") == 0;
	if (fast)
		owner = MANAGER;
	check_join();
	self = (unsigned int)dsm_node_id();
	count = (unsigned int)dsm_node_count();
	CHECK(count == 3 || count == 4);
	board_open();
	uint64_t *pages = dsm_open(NULL, CHECK_UNIT_BYTES);

	CHECK(pages != NULL);
	prepare(pages);
	if (self == READER)
		read_pages(pages);
	else if (self != MANAGER || fast)
		watch();
	return check_end();
}
