/* SPDX-License-Identifier: Apache-2.0 */
/* Regions, the shared heap, homes and prefetching. */
#include "check.h"

#include <sys/mman.h>

#define HEAP_BYTES ((size_t)128 << 20)

static int self;
static int count;

/* ---- regions ---- */

/* Addresses that are free on every node: a gigabyte each, below where a region was found a place.
 */
static unsigned char *next_address;

static unsigned char *free_address(void)
{
	next_address -= (size_t)1 << 30;
	return next_address;
}

/* Everybody writes its own bytes, and sees those of all. */
static void use(unsigned char *region, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += DSM_PAGE_BYTES)
		CHECK_IS(region[i + (size_t)self], 0);
	CHECK_OK(dsm_barrier());
	for (size_t i = 0; i < bytes; i += DSM_PAGE_BYTES)
		region[i + (size_t)self] = (unsigned char)(self + 1);
	CHECK_OK(dsm_barrier());
	for (size_t i = 0; i < bytes; i += DSM_PAGE_BYTES)
		CHECK_IS(region[i + (size_t)((self + 1) % count)], (self + 1) % count + 1);
	CHECK_OK(dsm_barrier());
}

static void open_negotiated(void)
{
	unsigned char *first = dsm_open(NULL, CHECK_UNIT_BYTES);
	unsigned char *second = dsm_reserve(NULL, 1);
	unsigned char *third = dsm_open(NULL, CHECK_UNIT_BYTES + 1);

	CHECK(first != NULL && second != NULL && third != NULL);
	CHECK((uintptr_t)first % DSM_PAGE_BYTES == 0 && (uintptr_t)second % DSM_PAGE_BYTES == 0);
	CHECK(check_share(first) == first);
	CHECK(check_share(second) == second);
	CHECK(check_share(third) == third);
	use(first, CHECK_UNIT_BYTES);
	use(second, DSM_PAGE_BYTES);
	use(third, CHECK_UNIT_BYTES + DSM_PAGE_BYTES);
	next_address = first;
	CHECK_FAILS(dsm_home(second + DSM_PAGE_BYTES), -EFAULT, "dsm_home");
	CHECK(dsm_home(second) >= 0 && dsm_home(second) < count);
}

static void open_given(void)
{
	unsigned char *addr = free_address();

	CHECK(dsm_open(addr, CHECK_UNIT_BYTES) == addr);
	use(addr, CHECK_UNIT_BYTES);
	CHECK_NULL(dsm_open(addr, CHECK_UNIT_BYTES), EEXIST, "dsm_open");
	addr += 4 * CHECK_UNIT_BYTES;
	CHECK(dsm_reserve(addr, 3 * DSM_PAGE_BYTES) == addr);
	use(addr, 3 * DSM_PAGE_BYTES);
}

/* One node has something there: no node gets the region, and all are told which node and what. */
static void open_collides(int node)
{
	unsigned char *addr = free_address();
	char name[32];

	if (self == node) {
		void *there = mmap(addr + DSM_PAGE_BYTES, DSM_PAGE_BYTES, PROT_READ,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		CHECK(there == addr + DSM_PAGE_BYTES);
	}
	snprintf(name, sizeof(name), "node %d", node);
	CHECK_NULL(dsm_open(addr, CHECK_UNIT_BYTES), EEXIST, "dsm_open");
	check_text(__FILE__, __LINE__, name);
	CHECK_NULL(dsm_reserve(addr, CHECK_UNIT_BYTES), EEXIST, "dsm_reserve");
	check_text(__FILE__, __LINE__, name);
	if (self == node)
		CHECK_OK(munmap(addr + DSM_PAGE_BYTES, DSM_PAGE_BYTES));
	CHECK(dsm_open(addr, CHECK_UNIT_BYTES) == addr);
	use(addr, CHECK_UNIT_BYTES);
}

static void open_wrongly(void)
{
	bool odd = self == count - 1;

	CHECK_NULL(dsm_open(NULL, 0), EINVAL, "dsm_open");
	CHECK_NULL(dsm_open(NULL, CHECK_UNIT_BYTES - 1), EINVAL, "dsm_open");
	CHECK_NULL(dsm_reserve(NULL, 0), EINVAL, "dsm_reserve");
	CHECK_NULL(dsm_open((void *)0x7000000001, CHECK_UNIT_BYTES), EINVAL, "dsm_open");
	CHECK_NULL(dsm_open(NULL, SIZE_MAX), EINVAL, "dsm_open");
	CHECK_NULL(dsm_open(NULL, SIZE_MAX / 2), EINVAL, "dsm_open");
	if (count == 1)
		return;
	CHECK_NULL(dsm_open(NULL, odd ? CHECK_UNIT_BYTES : 2 * CHECK_UNIT_BYTES), EINVAL,
		   "dsm_open");
	CHECK_NULL(dsm_reserve(odd ? (void *)0x700000000000 : NULL, CHECK_UNIT_BYTES), EINVAL,
		   "dsm_reserve");
	CHECK_IS(odd ? dsm_open(NULL, CHECK_UNIT_BYTES) == NULL
		     : dsm_reserve(NULL, CHECK_UNIT_BYTES) == NULL,
		 1);
	CHECK_IS(errno, EINVAL);
	/* One node's argument is bad in itself. */
	CHECK_NULL(dsm_open(NULL, odd ? 1 : CHECK_UNIT_BYTES), EINVAL, "dsm_open");
	CHECK_OK(dsm_barrier());
}

/* ---- blocks ---- */

static unsigned char pattern(const unsigned char *block, size_t at)
{
	return (unsigned char)(((uintptr_t)block >> 4) + at * 7);
}

static void fill(unsigned char *block, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += i < 64 ? 1 : 61)
		block[i] = pattern(block, i);
	block[bytes - 1] = pattern(block, bytes - 1);
}

static void verify(const unsigned char *block, size_t bytes)
{
	for (size_t i = 0; i < bytes - 1; i += i < 64 ? 1 : 61)
		CHECK(block[i] == pattern(block, i));
	CHECK(block[bytes - 1] == pattern(block, bytes - 1));
}

static const size_t sizes[] = {
	1,	2,	7,	8,	15,	16,	17,	24,	32,	33,
	48,	64,	100,	128,	255,	256,	1000,	1024,	2047,	2048,
	2049,	4095,	4096,	4097,	8192,	10000,	16384,	20000,	32768,	65536,
	100000, 131071, 131072, 131073, 200000, 262144, 262145, 524288, 600000,
};

#define SIZE_COUNT (sizeof(sizes) / sizeof(sizes[0]))

/* Every node allocates every size; its right neighbour checks and frees. */
static void all_sizes(unsigned char **board)
{
	unsigned char **mine = board + (size_t)self * SIZE_COUNT;
	unsigned char **theirs = board + (size_t)((self + 1) % count) * SIZE_COUNT;

	for (size_t i = 0; i < SIZE_COUNT; i++) {
		unsigned char *block = dsm_malloc(sizes[i]);

		CHECK(block != NULL);
		CHECK((uintptr_t)block % (sizes[i] >= DSM_PAGE_BYTES ? DSM_PAGE_BYTES : 16) == 0);
		fill(block, sizes[i]);
		mine[i] = block;
	}
	CHECK_OK(dsm_barrier());
	for (size_t i = 0; i < SIZE_COUNT; i++) {
		verify(theirs[i], sizes[i]);
		CHECK_OK(dsm_free(theirs[i], sizes[i]));
	}
	CHECK_OK(dsm_barrier());
}

/* What another node has freed is used again: the heap does not grow. */
static void freed_elsewhere(unsigned char **board)
{
	enum { BLOCKS = 500, ROUNDS = 12 };
	const char *text = getenv("CHECK_ROUNDS");
	int rounds = text != NULL ? atoi(text) : ROUNDS;
	struct dsm_stats first = { 0 };
	struct dsm_stats last = { 0 };

	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; self == 0 && i < BLOCKS; i++) {
			board[i] = dsm_malloc(3000);
			CHECK(board[i] != NULL);
			fill(board[i], 3000);
		}
		CHECK_OK(dsm_stats_get(round == 0 ? &first : &last));
		CHECK_OK(dsm_barrier());
		for (size_t i = 0; self == count - 1 && i < BLOCKS; i++) {
			verify(board[i], 3000);
			CHECK_OK(dsm_free(board[i], 3000));
		}
		CHECK_OK(dsm_barrier());
		/* What was sent before a barrier has been heard after the next. */
		CHECK_OK(dsm_barrier());
	}
	CHECK(last.heap_units <= first.heap_units + 1);
}

static void free_wrongly(void)
{
	unsigned char *small = dsm_malloc(100);
	unsigned char *large = dsm_malloc(2 * CHECK_UNIT_BYTES);
	char local = 0;

	CHECK(small != NULL && large != NULL);
	CHECK_FAILS(dsm_free(&local, 1), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(NULL, 1), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(small, 0), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(small, 1000), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(small + 16, 100), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(small + 1, 100), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(large, CHECK_UNIT_BYTES), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(large, 3 * CHECK_UNIT_BYTES), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(large + DSM_PAGE_BYTES, 2 * CHECK_UNIT_BYTES), -EINVAL, "dsm_free");
	CHECK_FAILS(dsm_free(large + CHECK_UNIT_BYTES, CHECK_UNIT_BYTES), -EINVAL, "dsm_free");
	CHECK_OK(dsm_free(small, 100));
	CHECK_FAILS(dsm_free(small, 100), -EINVAL, "dsm_free");
	CHECK_OK(dsm_free(large, 2 * CHECK_UNIT_BYTES));
	CHECK_FAILS(dsm_free(large, 2 * CHECK_UNIT_BYTES), -EINVAL, "dsm_free");
	CHECK_NULL(dsm_malloc(0), EINVAL, "dsm_malloc");
	CHECK_NULL(dsm_malloc_at(0, 0), EINVAL, "dsm_malloc_at");
	CHECK_NULL(dsm_malloc_at(10, count), EINVAL, "dsm_malloc_at");
	CHECK_NULL(dsm_malloc_at(10, -3), EINVAL, "dsm_malloc_at");
	CHECK_NULL(dsm_malloc(SIZE_MAX), ENOMEM, "dsm_malloc");
	CHECK_NULL(dsm_malloc(HEAP_BYTES * 4), ENOMEM, "dsm_malloc");
	CHECK_OK(dsm_barrier());
}

/* One node takes all there is, gives it back, and takes as much again. */
static void exhaust(size_t bytes, void **blocks, size_t limit)
{
	size_t taken[2] = { 0, 0 };

	for (int round = 0; self == 0 && round < 2; round++) {
		size_t *number = &taken[round];

		while (*number < limit && (blocks[*number] = dsm_malloc(bytes)) != NULL)
			++*number;
		CHECK(*number > 0 && *number < limit);
		CHECK_IS(errno, ENOMEM);
		check_text(__FILE__, __LINE__, "dsm_open");
		for (size_t i = 0; i < *number; i++)
			CHECK_OK(dsm_free(blocks[i], bytes));
	}
	CHECK_IS(taken[0], taken[1]);
	CHECK_OK(dsm_barrier());
}

/* ---- placement ---- */

static void homes_given(void)
{
	for (int home = 0; home < count; home++) {
		unsigned char *large = dsm_malloc_at(2 * CHECK_UNIT_BYTES, home);
		unsigned char *small = dsm_malloc_at(100, home);

		CHECK(large != NULL && small != NULL);
		CHECK_IS(dsm_home(large), home);
		CHECK_IS(dsm_home(large + 2 * CHECK_UNIT_BYTES - 1), home);
		CHECK_IS(dsm_home(small), home);
		fill(large, 2 * CHECK_UNIT_BYTES);
		verify(large, 2 * CHECK_UNIT_BYTES);
		CHECK_OK(dsm_free(large, 2 * CHECK_UNIT_BYTES));
		CHECK_OK(dsm_free(small, 100));
	}
	unsigned char *near = dsm_malloc(100);

	CHECK_IS(dsm_home(near), self);
	CHECK_OK(dsm_free(near, 100));
	CHECK_OK(dsm_barrier());
}

static void homes_dealt(void)
{
	size_t units = (size_t)count * 2;
	unsigned char *block =
		self == 0 ? dsm_malloc_at(units * CHECK_UNIT_BYTES, DSM_PLACE_CYCLIC) : NULL;

	CHECK(self != 0 || block != NULL);
	block = check_share(block);
	int first = dsm_home(block);

	for (size_t i = 0; i < units; i++)
		CHECK_IS(dsm_home(block + i * CHECK_UNIT_BYTES), (first + (int)i) % count);
	CHECK_OK(dsm_barrier());
	if (self == 0)
		CHECK_OK(dsm_free(block, units * CHECK_UNIT_BYTES));
	CHECK_OK(dsm_barrier());
}

static void homes_by_touch(void)
{
	unsigned char *block =
		self == 0 ? dsm_malloc_at((size_t)count * CHECK_UNIT_BYTES, DSM_PLACE_FIRST_TOUCH)
			  : NULL;

	CHECK(self != 0 || block != NULL);
	block = check_share(block);
	for (int i = 0; i < count; i++)
		CHECK_FAILS(dsm_home(block + (size_t)i * CHECK_UNIT_BYTES), -ENOENT, "dsm_home");
	CHECK_OK(dsm_barrier());
	int mine = (self + 1) % count;

	block[(size_t)mine * CHECK_UNIT_BYTES + 5000] = 1;
	CHECK_IS(dsm_home(block + (size_t)mine * CHECK_UNIT_BYTES), self);
	CHECK_OK(dsm_barrier());
	for (int i = 0; i < count; i++)
		CHECK_IS(dsm_home(block + (size_t)i * CHECK_UNIT_BYTES), (i + count - 1) % count);
	CHECK_FAILS(dsm_home(&mine), -EFAULT, "dsm_home");
	CHECK_OK(dsm_barrier());
}

/* ---- prefetching ---- */

static uint64_t read_faults(void)
{
	struct dsm_stats stats;

	CHECK_OK(dsm_stats_get(&stats));
	return stats.read_faults + stats.write_faults + stats.upgrades;
}

/* The last node writes; the others prefetch, and find the pages there without a fault. */
static void prefetch(unsigned char *region)
{
	enum { PAGES = 300 };
	size_t bytes = PAGES * DSM_PAGE_BYTES;
	bool writer = self == count - 1;
	char local = 0;

	CHECK_FAILS(dsm_prefetch(&local, 1, DSM_READ), -EFAULT, "dsm_prefetch");
	CHECK_FAILS(dsm_prefetch(region, 1, 2), -EINVAL, "dsm_prefetch");
	CHECK_FAILS(dsm_prefetch(region + HEAP_BYTES - 1, 2, DSM_READ), -EFAULT, "dsm_prefetch");
	CHECK_OK(dsm_prefetch(region, 0, DSM_READ));
	for (size_t i = 0; writer && i < PAGES; i++)
		region[i * DSM_PAGE_BYTES] = (unsigned char)(i % 251 + 1);
	CHECK_OK(dsm_barrier());
	uint64_t before = read_faults();

	CHECK_OK(dsm_prefetch(region + 100, bytes - 200, DSM_READ));
	for (int i = 0; i < 200 && !writer; i++) {
		struct dsm_stats stats;

		CHECK_OK(dsm_stats_get(&stats));
		if (stats.pages_fetched >= PAGES)
			break;
		check_sleep_ms(5);
	}
	for (size_t i = 0; i < PAGES; i++)
		CHECK_IS(region[i * DSM_PAGE_BYTES], i % 251 + 1);
	if (!writer)
		CHECK(read_faults() - before < PAGES / 10);
	CHECK_OK(dsm_barrier());
	if (self == 0) {
		CHECK_OK(dsm_prefetch(region, bytes, DSM_WRITE));
		for (size_t i = 0; i < PAGES; i++)
			region[i * DSM_PAGE_BYTES]++;
	}
	CHECK_OK(dsm_barrier());
	for (size_t i = 0; i < PAGES; i++)
		CHECK_IS(region[i * DSM_PAGE_BYTES], i % 251 + 2);
	CHECK_OK(dsm_barrier());
}

int main(void)
{
	check_join();
	self = dsm_node_id();
	count = dsm_node_count();
	CHECK_NULL(dsm_malloc(16), ENOMEM, "dsm_malloc");
	CHECK_OK(dsm_barrier());
	open_negotiated();
	open_given();
	open_collides(count - 1);
	open_collides(0);
	open_wrongly();
	unsigned char *heap = dsm_open(NULL, HEAP_BYTES);
	unsigned char *plain = dsm_reserve(NULL, HEAP_BYTES);

	CHECK(heap != NULL && plain != NULL);
	prefetch(plain);
	void *board = plain + HEAP_BYTES / 2;

	all_sizes(board);
	homes_dealt();
	homes_given();
	homes_by_touch();
	freed_elsewhere(board);
	free_wrongly();
	exhaust(CHECK_UNIT_BYTES, board, 100000);
	exhaust(50000, board, 100000);
	return check_end();
}
