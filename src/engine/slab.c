/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Superblocks, their bitmaps, and the lists they are in. A superblock is in the list of its pool
 * and class while it has both free and taken blocks, in the pool's list of empty ones while it has
 * no taken block, and in no list while it is full.
 *
 * Two levels of bits find a free block in constant time: a bit of `summary` is set when its word of
 * `free` has any bit set, and a bit of `free` when its block is free.
 */
#include "engine/slab.h"

#include "base/assert.h"
#include "base/bitset.h"
#include "wire/wire.h"

#include <errno.h>
#include <string.h>

#define BLOCKS_MAX (UNIT_BYTES / 16u)
#define WORDS_MAX (BLOCKS_MAX / 64u)

#define STEP_MAX 64u /* up to here a class every 16 bytes, then four a doubling */
#define STEP_CLASSES 4u
#define PAGE_CLASS 27u /* that of one page; beyond, classes count in pages */

struct superblock {
	uint32_t next; /* in its list: unit + 1 */
	uint32_t previous;
	uint32_t pool;
	uint16_t free_count;
	uint16_t block_count; /* 0: not this slab's, or never used */
	uint8_t size_class;
	bool present;
	uint64_t summary[WORDS_MAX / 64];
	uint64_t free[WORDS_MAX];
};

/* Heads of lists: unit + 1. */
struct pool {
	uint32_t empty;
	uint32_t partial[SLAB_CLASSES];
};

struct slab {
	uint64_t unit_limit;
	uint32_t pool_count;
	struct pool *pools;
	struct superblock *superblocks; /* of every unit */
};

/* A quotient by `bytes` is a product with `reciprocal`, exact for multiples below UNIT_BYTES. */
struct size {
	uint32_t bytes;
	uint32_t reciprocal;
};

#define SIZE(bytes)                                                                                \
	{                                                                                          \
		(bytes), (uint32_t)((UINT64_C(1) << 32) / (bytes) + 1)                             \
	}
#define SIZES_DOUBLING(bytes)                                                                      \
	SIZE((bytes) / 4 * 5), SIZE((bytes) / 4 * 6), SIZE((bytes) / 4 * 7), SIZE((bytes)*2)

static const struct size sizes[SLAB_CLASSES] = {
	SIZE(16),
	SIZE(32),
	SIZE(48),
	SIZE(64),
	SIZES_DOUBLING(64),
	SIZES_DOUBLING(128),
	SIZES_DOUBLING(256),
	SIZES_DOUBLING(512),
	SIZES_DOUBLING(1024),
	SIZES_DOUBLING(2048),
	SIZE(2 * PAGE_BYTES),
	SIZE(3 * PAGE_BYTES),
	SIZE(4 * PAGE_BYTES),
	SIZES_DOUBLING(4 * PAGE_BYTES),
	SIZES_DOUBLING(8 * PAGE_BYTES),
	SIZES_DOUBLING(16 * PAGE_BYTES),
};

/* ---- size classes ---- */

/* Classes of four a doubling, counted from the first above 2^shift: that of n + 1 units. */
static uint32_t quarter_class(size_t n, uint32_t shift)
{
	uint32_t log = 63 - (uint32_t)__builtin_clzll(n);

	return (log - shift) * 4 + (uint32_t)(n >> (log - 2) & 3);
}

uint32_t slab_class(size_t bytes)
{
	ASSERT(bytes >= 1 && bytes <= SLAB_BLOCK_MAX);
	if (bytes <= STEP_MAX)
		return (uint32_t)(bytes - 1) / 16;
	if (bytes <= PAGE_BYTES)
		return STEP_CLASSES + quarter_class(bytes - 1, 6);
	size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;

	if (pages <= 4)
		return PAGE_CLASS + (uint32_t)pages - 1;
	return PAGE_CLASS + 4 + quarter_class(pages - 1, 2);
}

uint32_t slab_class_bytes(uint32_t size_class)
{
	ASSERT(size_class < SLAB_CLASSES);
	return sizes[size_class].bytes;
}

/* ---- memory ---- */

static size_t aligned(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t superblocks_at(uint32_t pool_count)
{
	return aligned(sizeof(struct slab)) + aligned(pool_count * sizeof(struct pool));
}

size_t slab_bytes(uint64_t unit_limit, uint32_t pool_count)
{
	return superblocks_at(pool_count) + unit_limit * sizeof(struct superblock);
}

struct slab *slab_init(void *memory, uint64_t unit_limit, uint32_t pool_count)
{
	unsigned char *base = memory;
	struct slab *slab = memory;

	ASSERT(pool_count >= 1 && unit_limit < UINT32_MAX);
	slab->unit_limit = unit_limit;
	slab->pool_count = pool_count;
	slab->pools = (void *)(base + aligned(sizeof(*slab)));
	slab->superblocks = (void *)(base + superblocks_at(pool_count));
	return slab;
}

/* ---- lists ---- */

static void list_push(struct slab *slab, uint32_t *head, uint32_t link)
{
	struct superblock *superblock = &slab->superblocks[link - 1];

	superblock->next = *head;
	superblock->previous = 0;
	if (*head != 0)
		slab->superblocks[*head - 1].previous = link;
	*head = link;
}

static void list_remove(struct slab *slab, uint32_t *head, uint32_t link)
{
	struct superblock *superblock = &slab->superblocks[link - 1];

	if (superblock->next != 0)
		slab->superblocks[superblock->next - 1].previous = superblock->previous;
	if (superblock->previous != 0)
		slab->superblocks[superblock->previous - 1].next = superblock->next;
	else
		*head = superblock->next;
}

/* ---- superblocks ---- */

/* Cuts an empty superblock into blocks of the class; one of that class has all bits right already.
 */
static void superblock_cut(struct superblock *superblock, uint32_t size_class)
{
	uint32_t count = UNIT_BYTES / sizes[size_class].bytes;
	size_t words = count / 64;

	if (superblock->block_count != 0 && superblock->size_class == size_class)
		return;
	superblock->size_class = (uint8_t)size_class;
	superblock->block_count = (uint16_t)count;
	superblock->free_count = (uint16_t)count;
	memset(superblock->summary, 0, sizeof(superblock->summary));
	memset(superblock->free, 0xff, words * sizeof(superblock->free[0]));
	if (count % 64 != 0)
		superblock->free[words++] = (UINT64_C(1) << (count % 64)) - 1;
	for (size_t word = 0; word < words; word++)
		bitset_set(superblock->summary, word);
}

static uint32_t block_take(struct superblock *superblock)
{
	size_t part = 0;

	ASSERT(superblock->free_count > 0);
	while (superblock->summary[part] == 0)
		part++;
	size_t word = part * 64 + (size_t)__builtin_ctzll(superblock->summary[part]);
	unsigned int bit = (unsigned int)__builtin_ctzll(superblock->free[word]);

	superblock->free[word] &= superblock->free[word] - 1;
	if (superblock->free[word] == 0)
		bitset_clear(superblock->summary, word);
	superblock->free_count--;
	return (uint32_t)word * 64 + bit;
}

void slab_add_unit(struct slab *slab, uint32_t pool, uint64_t unit)
{
	ASSERT(pool < slab->pool_count && unit < slab->unit_limit);
	struct superblock *superblock = &slab->superblocks[unit];

	ASSERT(!superblock->present);
	superblock->present = true;
	superblock->pool = pool;
	list_push(slab, &slab->pools[pool].empty, (uint32_t)unit + 1);
}

int slab_alloc(struct slab *slab, uint32_t pool_index, size_t bytes, uint64_t *offset)
{
	ASSERT(pool_index < slab->pool_count);
	struct pool *pool = &slab->pools[pool_index];
	uint32_t size_class = slab_class(bytes);
	uint32_t link = pool->partial[size_class];

	if (link == 0) {
		link = pool->empty;
		if (link == 0)
			return -EAGAIN;
		list_remove(slab, &pool->empty, link);
		superblock_cut(&slab->superblocks[link - 1], size_class);
		list_push(slab, &pool->partial[size_class], link);
	}
	struct superblock *superblock = &slab->superblocks[link - 1];
	uint32_t block = block_take(superblock);

	if (superblock->free_count == 0)
		list_remove(slab, &pool->partial[size_class], link);
	*offset = (uint64_t)(link - 1) * UNIT_BYTES + block * sizes[size_class].bytes;
	return 0;
}

/* The taken block at `inner` bytes into the superblock, or UINT32_MAX. */
static uint32_t block_find(const struct superblock *superblock, uint32_t inner, uint32_t size_class)
{
	if (superblock->block_count == 0 || superblock->size_class != size_class)
		return UINT32_MAX;
	const struct size *size = &sizes[size_class];
	uint32_t block = (uint32_t)((uint64_t)inner * size->reciprocal >> 32);

	if (block * size->bytes != inner || block >= superblock->block_count ||
	    bitset_test(superblock->free, block))
		return UINT32_MAX;
	return block;
}

int slab_free(struct slab *slab, uint64_t offset, uint32_t size_class)
{
	uint64_t unit = offset / UNIT_BYTES;

	if (unit >= slab->unit_limit || !slab->superblocks[unit].present)
		return -ESRCH;
	struct superblock *superblock = &slab->superblocks[unit];
	uint32_t block = block_find(superblock, (uint32_t)(offset % UNIT_BYTES), size_class);

	if (block == UINT32_MAX)
		return -EINVAL;
	struct pool *pool = &slab->pools[superblock->pool];
	uint32_t *partial = &pool->partial[superblock->size_class];
	uint32_t link = (uint32_t)unit + 1;

	bitset_set(superblock->free, block);
	bitset_set(superblock->summary, block / 64);
	superblock->free_count++;
	if (superblock->free_count == 1)
		list_push(slab, partial, link);
	if (superblock->free_count == superblock->block_count) {
		list_remove(slab, partial, link);
		list_push(slab, &pool->empty, link);
	}
	return 0;
}
