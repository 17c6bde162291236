/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dsm_pin(): its errors; system calls that nobody helps find pinned pages; another node waits until
 * they are unpinned, or gives up in time; many nodes pin overlapping ranges and come to an end.
 */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGES 24
#define ROUNDS 120
#define HELD_MS 150

static unsigned char *pages;
static int self;
static int count;

static unsigned char *page(int number)
{
	return pages + (size_t)number * DSM_PAGE_BYTES;
}

static void meet(void)
{
	CHECK_OK(dsm_barrier());
}

/* The time limit is for one test below; a busy machine may need more. */
static void pin_patiently(const void *addr, size_t bytes, int mode)
{
	int status = -ETIMEDOUT;

	for (int i = 0; i < 200 && status == -ETIMEDOUT; i++)
		status = dsm_pin(addr, bytes, mode);
	CHECK_OK(status);
}

static void errors(void)
{
	int private = 0;

	CHECK_FAILS(dsm_pin(&private, 1, DSM_READ), -EFAULT, "dsm_pin");
	CHECK_FAILS(dsm_unpin(&private, 1, DSM_READ), -EFAULT, "dsm_unpin");
	CHECK_FAILS(dsm_pin(page(0), 1, 2), -EINVAL, "mode 2");
	CHECK_FAILS(dsm_pin(page(PAGES - 1), 2 * DSM_PAGE_BYTES, DSM_READ), -EFAULT, "dsm_pin");
	CHECK_FAILS(dsm_unpin(page(0), 1, DSM_READ), -EINVAL, "dsm_unpin");
	CHECK_OK(dsm_pin(page(0), 0, DSM_READ));
	CHECK_OK(dsm_unpin(page(0), 0, DSM_READ));
	pin_patiently(page(self), 1, DSM_READ);
	CHECK_FAILS(dsm_unpin(page(self), 1, DSM_WRITE), -EINVAL, "dsm_unpin");
	CHECK_FAILS(dsm_unpin(page(self), DSM_PAGE_BYTES + 1, DSM_READ), -EINVAL, "dsm_unpin");
	CHECK_OK(dsm_unpin(page(self), 1, DSM_READ));
	CHECK_FAILS(dsm_unpin(page(self), 1, DSM_READ), -EINVAL, "dsm_unpin");
	meet();
}

static void limits(void)
{
	unsigned char *large = dsm_reserve(NULL, DSM_PIN_MAX + DSM_PAGE_BYTES);

	CHECK(large != NULL);
	if (self == 0) {
		CHECK_FAILS(dsm_pin(large, DSM_PIN_MAX + 1, DSM_READ), -ENOMEM, "dsm_pin");
		pin_patiently(large, DSM_PIN_MAX, DSM_READ);
		*(volatile unsigned char *)(large + DSM_PIN_MAX) = 1;
		CHECK_FAILS(dsm_pin(large + DSM_PIN_MAX, 1, DSM_READ), -ENOMEM, "dsm_pin");
		CHECK_OK(dsm_pin(large, 1, DSM_READ)); /* pinned already: counts once */
		CHECK_OK(dsm_unpin(large, DSM_PIN_MAX, DSM_READ));
		CHECK_OK(dsm_unpin(large, 1, DSM_READ));
		pin_patiently(large + DSM_PIN_MAX, 1, DSM_READ);
		CHECK_OK(dsm_unpin(large + DSM_PIN_MAX, 1, DSM_READ));
	}
	meet();
}

/* The system call itself, past whatever the library does for read(2) and write(2). */
static void plain_calls(void)
{
	size_t bytes = (size_t)PAGES * DSM_PAGE_BYTES;
	int fd = memfd_create("pin", MFD_CLOEXEC);

	CHECK(fd >= 0);
	for (int turn = 0; turn < 2 * count; turn++) {
		if (self == turn % count)
			memset(pages, turn + 1, bytes);
		meet();
		pin_patiently(pages, bytes, DSM_READ);
		CHECK_IS(syscall(SYS_pwrite64, fd, pages, bytes, 0), bytes);
		CHECK_OK(dsm_unpin(pages, bytes, DSM_READ));
		meet();
		if (self == (turn + 1) % count) {
			pin_patiently(pages, bytes, DSM_WRITE);
			CHECK_IS(syscall(SYS_pread64, fd, pages + 1, bytes - 1, 0), bytes - 1);
			CHECK_OK(dsm_unpin(pages, bytes, DSM_WRITE));
		}
		meet();
		for (size_t i = 0; i < bytes; i += 1000)
			CHECK_IS(pages[i], turn + 1);
		meet();
	}
	close(fd);
}

/* Node 1 wants what node 0 has pinned: it waits, and a pin of its own gives up. */
static void others_wait(void)
{
	uint64_t start;

	for (int mode = DSM_READ; mode <= DSM_WRITE && count > 1; mode++) {
		if (self == 0)
			pin_patiently(page(3), 1, mode);
		meet();
		start = check_now_ns();
		if (self == 1) {
			CHECK_FAILS(dsm_pin(page(2), 2 * DSM_PAGE_BYTES, DSM_WRITE), -ETIMEDOUT,
				    "PERGOLA_PIN_TIMEOUT=50ms");
			CHECK(check_now_ns() - start >= 50 * 1000000u);
			CHECK_FAILS(dsm_unpin(page(2), 1, DSM_WRITE), -EINVAL, "dsm_unpin");
		}
		meet();
		start = check_now_ns();
		if (self == 0) {
			check_sleep_ms(HELD_MS);
			CHECK_IS(*page(3), 7 * mode);
			CHECK_OK(dsm_unpin(page(3), 1, mode));
		}
		if (self == 1) {
			*page(3) = (unsigned char)(7 * (mode + 1));
			CHECK(check_now_ns() - start >= (HELD_MS - 20) * UINT64_C(1000000));
		}
		meet();
		CHECK_IS(*page(3), 7 * (mode + 1));
		meet();
	}
}

/*
 * Everybody pins ranges that overlap, for writing, and adds one to each page of them without ever
 * faulting. Two threads of a node share its pins, and add by turns.
 */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static uint64_t added[2];

static void *add_in_ranges(void *argument)
{
	uint64_t *mine = argument;
	uint64_t random = check_seed(77) ^ (uint64_t)(self * 2 + (mine - added) + 1);

	for (int round = 0; round < ROUNDS; round++) {
		int first = (int)check_below(&random, PAGES);
		int last = first + (int)check_below(&random, (uint64_t)(PAGES - first));
		size_t bytes = (size_t)(last - first + 1) * DSM_PAGE_BYTES;
		int status = dsm_pin(page(first), bytes, DSM_WRITE);

		if (status == -ETIMEDOUT)
			continue;
		CHECK_OK(status);
		pthread_mutex_lock(&turn);
		for (int i = first; i <= last; i++)
			++*(uint64_t *)page(i);
		pthread_mutex_unlock(&turn);
		*mine += (uint64_t)(last - first + 1);
		CHECK_OK(dsm_unpin(page(first), bytes, DSM_WRITE));
	}
	return NULL;
}

static void overlapping(void)
{
	uint64_t *sum = check_shared_block(8);
	pthread_t thread;
	uint64_t seen = 0;

	if (self == 0) {
		memset(pages, 0, (size_t)PAGES * DSM_PAGE_BYTES);
		*sum = 0;
	}
	meet();
	CHECK_OK(pthread_create(&thread, NULL, add_in_ranges, &added[1]));
	add_in_ranges(&added[0]);
	CHECK_OK(pthread_join(thread, NULL));
	__atomic_fetch_add(sum, added[0] + added[1], __ATOMIC_SEQ_CST);
	meet();
	for (int i = 0; i < PAGES; i++)
		seen += *(uint64_t *)page(i);
	CHECK_IS(seen, *sum);
	CHECK(seen > 0);
	meet();
}

int main(void)
{
	CHECK_OK(dsm_option_set("pin-timeout", "50ms"));
	check_start(8 << 20);
	self = dsm_node_id();
	count = dsm_node_count();
	pages = dsm_reserve(NULL, (size_t)PAGES * DSM_PAGE_BYTES);
	CHECK(pages != NULL);
	errors();
	limits();
	others_wait();
	plain_calls();
	overlapping();
	return check_end();
}
