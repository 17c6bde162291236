/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dsm_advise() and read-ahead: the errors; a scan of clean pages faults far less often than once a
 * page, the next one never; pages that are being written stay with their writer; what was read
 * ahead is right while others write; a page that came ahead can be pinned.
 */
#include "check.h"

#include <sys/syscall.h>

#define PAGES 1024
#define WRITTEN 64 /* of these, every so many belong to a writer */

static unsigned char *pages;
static int self;
static int count;

static unsigned char *page(int number)
{
	return pages + (size_t)number * DSM_PAGE_BYTES;
}

static struct dsm_stats stats(void)
{
	struct dsm_stats out;

	CHECK_OK(dsm_stats_get(&out));
	return out;
}

static uint64_t faults(void)
{
	struct dsm_stats now = stats();

	return now.read_faults + now.write_faults + now.upgrades;
}

/* Does the setting, or the manager, leave read-ahead anything to do? */
static bool reads_ahead(int advice)
{
	const char *manager = dsm_option_get("manager");

	if (strcmp(dsm_option_get("read-ahead"), "0") == 0 || advice == DSM_ADVICE_RANDOM)
		return false;
	/* Where managers move nothing is guessed, but what is advised is asked for. */
	return advice == DSM_ADVICE_SEQUENTIAL ||
	       (strcmp(manager, "fixed") == 0 || strcmp(manager, "central") == 0);
}

static void write_all(uint64_t round)
{
	for (int i = 0; i < PAGES; i++) {
		uint64_t *words = (uint64_t *)page(i);

		words[0] = round << 32 | (uint64_t)i;
		words[DSM_PAGE_BYTES / 8 - 1] = words[0];
	}
}

static void check_page(int i, uint64_t round)
{
	const volatile uint64_t *words = (const volatile uint64_t *)page(i);

	CHECK_IS(words[0] & 0xffffffff, i);
	CHECK(words[0] >> 32 >= round);
	CHECK(words[DSM_PAGE_BYTES / 8 - 1] >> 32 >= round);
}

static void scan(int first, int last, int step, uint64_t round)
{
	for (int i = first; step > 0 ? i < last : i > last; i += step)
		check_page(i, round);
}

static void errors(void)
{
	int private = 0;

	CHECK_FAILS(dsm_advise(&private, 1, DSM_ADVICE_NORMAL), -EFAULT, "dsm_advise");
	CHECK_FAILS(dsm_advise(page(0), 1, 5), -EINVAL, "no advice 5");
	CHECK_FAILS(dsm_advise(page(0), 1, -1), -EINVAL, "no advice -1");
	CHECK_OK(dsm_advise(page(0), 0, DSM_ADVICE_SEQUENTIAL));
}

/* Node 1 has written all, the last node reads all: then they are clean. */
static void clean(uint64_t round)
{
	CHECK_OK(dsm_barrier());
	if (self == 1)
		write_all(round);
	CHECK_OK(dsm_barrier());
	if (self == count - 1)
		scan(0, PAGES, 1, round);
	CHECK_OK(dsm_barrier());
}

static void scan_counted(const char *what, int advice, int first, int last, int step,
			 uint64_t round)
{
	CHECK_OK(dsm_advise(page(0), (size_t)PAGES * DSM_PAGE_BYTES, advice));
	uint64_t before = faults();

	scan(first, last, step, round);
	uint64_t first_time = faults() - before;

	scan(first, last, step, round);
	printf("%s: %llu faults\n", what, (unsigned long long)first_time);
	CHECK_IS(faults() - before - first_time, 0);
	if (reads_ahead(advice))
		CHECK(first_time < PAGES / 8);
	else
		CHECK(first_time >= PAGES / 2);
}

static void scans(void)
{
	clean(1);
	if (self == 0)
		scan_counted("in order", DSM_ADVICE_NORMAL, 0, PAGES, 1, 1);
	clean(2);
	if (self == 0)
		scan_counted("downward", DSM_ADVICE_NORMAL, PAGES - 1, -1, -1, 2);
	clean(3);
	if (self == 0)
		scan_counted("advised", DSM_ADVICE_SEQUENTIAL, 0, PAGES, 1, 3);
	clean(4);
	if (self == 0)
		scan_counted("not advised", DSM_ADVICE_RANDOM, 0, PAGES, 1, 4);
	CHECK_OK(dsm_barrier());
	CHECK_OK(dsm_advise(page(0), (size_t)PAGES * DSM_PAGE_BYTES, DSM_ADVICE_NORMAL));
}

/* No page leaves its writer because of a guess. */
static void writers_keep_their_pages(void)
{
	static struct dsm_stats before;

	clean(5);
	for (int i = 0; self == 1 && i < PAGES; i += WRITTEN)
		*(uint64_t *)page(i) = UINT64_C(6) << 32 | (uint64_t)i;
	before = stats();
	CHECK_OK(dsm_barrier());
	if (self == 0 && reads_ahead(DSM_ADVICE_NORMAL)) {
		uint64_t asked = stats().pages_ahead;

		/* The homes must be known, or nothing is guessed. */
		for (int i = 1; i < PAGES; i += 64)
			check_page(i, 5);
		CHECK_OK(dsm_advise(page(0), (size_t)PAGES * DSM_PAGE_BYTES, DSM_ADVICE_WILLNEED));
		for (int i = 0;
		     i < 5000 && stats().pages_ahead_had + PAGES / WRITTEN < stats().pages_ahead;
		     i++)
			check_sleep_ms(1);
		CHECK(stats().pages_ahead > asked);
		CHECK(stats().pages_ahead_had <= stats().pages_ahead);
	}
	CHECK_OK(dsm_barrier());
	if (self == 1 && reads_ahead(DSM_ADVICE_NORMAL))
		CHECK_IS(stats().downgrades, before.downgrades);
	CHECK_OK(dsm_barrier());
	for (int i = 0; i < PAGES; i += WRITTEN)
		check_page(i, 5);
	CHECK_OK(dsm_barrier());
}

/* One writes on and on, the others scan: each sees what was there at the barrier, or newer. */
static void scans_beside_a_writer(void)
{
	for (uint64_t round = 10; round < 16; round++) {
		CHECK_OK(dsm_barrier());
		if (self == (int)(round % (uint64_t)count))
			write_all(round);
		else
			scan(0, PAGES, round % 2 == 0 ? 1 : 3, round == 10 ? 5 : round - 1);
		CHECK_OK(dsm_barrier());
		if (self != (int)(round % (uint64_t)count))
			scan(0, PAGES, 1, round);
	}
	CHECK_OK(dsm_barrier());
}

/* A system call that nobody helps finds every page that is pinned, whether it came ahead or not. */
static void pins(void)
{
	size_t bytes = 64 * DSM_PAGE_BYTES;
	static unsigned char copy[64 * DSM_PAGE_BYTES];
	int ends[2];

	CHECK(pipe(ends) == 0);
	clean(20);
	for (int i = 0; self == 0 && i < PAGES; i += 64) {
		check_page(i, 20);
		check_page(i + 1, 20);
		check_page(i + 2, 20);
		check_page(i + 3, 20);
		CHECK_OK(dsm_pin(page(i), bytes, DSM_READ));
		for (size_t at = 0; at < bytes; at += DSM_PAGE_BYTES) {
			CHECK_IS(syscall(SYS_write, ends[1], page(i) + at, DSM_PAGE_BYTES),
				 DSM_PAGE_BYTES);
			CHECK_IS(read(ends[0], copy + at, DSM_PAGE_BYTES), DSM_PAGE_BYTES);
		}
		CHECK(memcmp(copy, page(i), bytes) == 0);
		CHECK_OK(dsm_unpin(page(i), bytes, DSM_READ));
	}
	close(ends[0]);
	close(ends[1]);
	CHECK_OK(dsm_barrier());
}

int main(void)
{
	check_join();
	self = dsm_node_id();
	count = dsm_node_count();
	CHECK(count >= 3);
	pages = dsm_reserve(NULL, (size_t)PAGES * DSM_PAGE_BYTES);
	CHECK(pages != NULL);
	errors();
	scans();
	writers_keep_their_pages();
	scans_beside_a_writer();
	pins();
	return check_end();
}
