/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slab against a naive model: a list of live blocks. Random sequences of allocations and frees,
 * right ones and wrong ones; after each, the answer must be the model's and no two blocks may
 * overlap. With the argument "time" it prints what an allocation costs instead.
 */
#include "base/bitset.h"
#include "base/prng.h"
#include "engine/slab.h"
#include "wire/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define UNITS 40u
#define POOLS 3u
#define GRAINS (UNIT_BYTES / 16)

static struct slab *slab_make(uint64_t unit_limit, uint32_t pool_count)
{
	size_t bytes = (slab_bytes(unit_limit, pool_count) + 63) / 64 * 64;
	void *memory = aligned_alloc(64, bytes);

	assert_non_null(memory);
	memset(memory, 0, bytes);
	return slab_init(memory, unit_limit, pool_count);
}

/* ---- classes ---- */

static void test_classes(void **state)
{
	uint32_t previous = 0;

	(void)state;
	for (uint32_t size_class = 0; size_class < SLAB_CLASSES; size_class++) {
		uint32_t bytes = slab_class_bytes(size_class);

		assert_true(bytes > previous);
		assert_int_equal(bytes % (bytes < PAGE_BYTES ? 16 : PAGE_BYTES), 0);
		assert_int_equal(slab_class(bytes), size_class);
		assert_int_equal(slab_class(previous + 1), size_class);
		previous = bytes;
	}
	assert_int_equal(previous, SLAB_BLOCK_MAX);
}

/* No class wastes more than a step of its doubling, or a page. */
static void test_class_of_every_size(void **state)
{
	(void)state;
	for (size_t bytes = 1; bytes <= SLAB_BLOCK_MAX; bytes++) {
		uint32_t size_class = slab_class(bytes);
		size_t block = slab_class_bytes(size_class);

		assert_true(block >= bytes);
		assert_true(size_class == 0 || slab_class_bytes(size_class - 1) < bytes);
		assert_true(block - bytes < 16 || block - bytes <= bytes / 4 ||
			    block - bytes < PAGE_BYTES);
	}
}

/* ---- the model ---- */

struct block {
	uint64_t offset;
	uint32_t bytes;
	uint32_t pool;
};

struct model {
	struct slab *slab;
	struct prng prng;
	struct block *blocks;
	size_t block_count;
	size_t block_limit;
	uint64_t units_added;
	uint32_t pool_of[UNITS];
	/* 16-byte grains that live blocks cover, in every unit. */
	uint64_t covered[UNITS][GRAINS / 64];
};

static void cover(struct model *model, const struct block *block, bool taken)
{
	uint64_t *words = model->covered[block->offset / UNIT_BYTES];
	size_t first = block->offset % UNIT_BYTES / 16;
	size_t count = slab_class_bytes(slab_class(block->bytes)) / 16;

	assert_true(first + count <= GRAINS);
	for (size_t grain = first; grain < first + count; grain++) {
		assert_int_equal(bitset_test(words, grain), !taken);
		if (taken)
			bitset_set(words, grain);
		else
			bitset_clear(words, grain);
	}
}

/* Sizes of all magnitudes. */
static uint32_t random_bytes(struct model *model)
{
	uint64_t top = UINT64_C(1) << (1 + prng_below(&model->prng, 17));

	return (uint32_t)(1 + prng_below(&model->prng, top));
}

/* Is the pool really without a free block of the class and without an empty superblock? */
static bool exhausted(const struct model *model, uint32_t pool, uint32_t size_class)
{
	for (uint64_t unit = 0; unit < model->units_added; unit++) {
		uint32_t live = 0;
		uint32_t alike = 0;

		if (model->pool_of[unit] != pool)
			continue;
		for (size_t i = 0; i < model->block_count; i++) {
			if (model->blocks[i].offset / UNIT_BYTES != unit)
				continue;
			live++;
			alike += slab_class(model->blocks[i].bytes) == size_class;
		}
		if (live == 0 || (alike > 0 && alike < UNIT_BYTES / slab_class_bytes(size_class)))
			return false;
	}
	return true;
}

static void step_alloc(struct model *model)
{
	uint32_t bytes = random_bytes(model);
	uint32_t pool = (uint32_t)prng_below(&model->prng, POOLS);
	uint64_t offset = UINT64_MAX;
	int error = slab_alloc(model->slab, pool, bytes, &offset);

	if (error == -EAGAIN) {
		assert_true(exhausted(model, pool, slab_class(bytes)));
		assert_true(offset == UINT64_MAX);
		if (model->units_added == UNITS)
			return;
		model->pool_of[model->units_added] = pool;
		slab_add_unit(model->slab, pool, model->units_added++);
		error = slab_alloc(model->slab, pool, bytes, &offset);
	}
	assert_int_equal(error, 0);
	assert_true(offset / UNIT_BYTES < model->units_added);
	assert_int_equal(model->pool_of[offset / UNIT_BYTES], pool);
	assert_int_equal(
		offset % (slab_class_bytes(slab_class(bytes)) < PAGE_BYTES ? 16 : PAGE_BYTES), 0);
	assert_true(model->block_count < model->block_limit);
	struct block *block = &model->blocks[model->block_count++];

	*block = (struct block){ offset, bytes, pool };
	cover(model, block, true);
}

static void step_free(struct model *model)
{
	if (model->block_count == 0)
		return;
	size_t index = prng_below(&model->prng, model->block_count);
	struct block block = model->blocks[index];

	assert_int_equal(slab_free(model->slab, block.offset, slab_class(block.bytes)), 0);
	cover(model, &block, false);
	model->blocks[index] = model->blocks[--model->block_count];
	/* Again: whoever has it freed it twice. */
	assert_int_equal(slab_free(model->slab, block.offset, slab_class(block.bytes)), -EINVAL);
}

static void step_free_wrongly(struct model *model)
{
	if (model->block_count == 0)
		return;
	size_t index = prng_below(&model->prng, model->block_count);
	struct block block = model->blocks[index];
	uint32_t size_class = slab_class(block.bytes);
	uint32_t other = (uint32_t)prng_below(&model->prng, SLAB_CLASSES);
	uint64_t inside =
		block.offset + 1 + prng_below(&model->prng, slab_class_bytes(size_class) - 1u);
	uint64_t outside = (model->units_added + prng_below(&model->prng, 100)) * UNIT_BYTES;

	if (other != size_class)
		assert_int_equal(slab_free(model->slab, block.offset, other), -EINVAL);
	assert_int_equal(slab_free(model->slab, block.offset, SLAB_CLASSES + other), -EINVAL);
	assert_int_equal(slab_free(model->slab, inside, size_class), -EINVAL);
	assert_int_equal(slab_free(model->slab, outside, size_class), -ESRCH);
	assert_int_equal(slab_free(model->slab, UINT64_MAX, size_class), -ESRCH);
}

/* Tides: the share of frees swings, so that superblocks fill up, run empty and change class. */
static void run_model(uint64_t seed, unsigned int step_count)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	model->slab = slab_make(UNITS, POOLS);
	model->prng = prng_init(seed);
	model->block_limit = step_count;
	model->blocks = calloc(step_count, sizeof(model->blocks[0]));
	assert_non_null(model->blocks);
	for (unsigned int step = 0; step < step_count; step++) {
		unsigned int tide = step / 1500 % 2 == 0 ? 30 : 70;

		if (prng_below(&model->prng, 100) >= tide)
			step_alloc(model);
		else
			step_free(model);
		if (step % 16 == 0)
			step_free_wrongly(model);
	}
	while (model->block_count > 0)
		step_free(model);
	for (uint64_t unit = 0; unit < model->units_added; unit++)
		assert_true(bitset_empty(model->covered[unit], GRAINS / 64));
	free(model->blocks);
	free(model->slab);
	free(model);
}

static void test_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		print_message("seed %lu\n", (unsigned long)seed);
		run_model(seed, 12000);
	}
}

/* ---- what the random sequences do not corner ---- */

/* Every class fills a superblock exactly: all its blocks, then -EAGAIN; freed, it serves another
 * class. */
static void test_fill_and_recut(void **state)
{
	struct slab *slab = slab_make(2, 1);
	uint64_t offset;

	(void)state;
	slab_add_unit(slab, 0, 1);
	for (uint32_t size_class = 0; size_class < SLAB_CLASSES; size_class++) {
		uint32_t bytes = slab_class_bytes(size_class);
		uint32_t count = UNIT_BYTES / bytes;

		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(slab_alloc(slab, 0, bytes, &offset), 0);
			assert_int_equal(offset, UNIT_BYTES + (uint64_t)i * bytes);
		}
		assert_int_equal(slab_alloc(slab, 0, bytes, &offset), -EAGAIN);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(
				slab_free(slab, UNIT_BYTES + (uint64_t)i * bytes, size_class), 0);
		/* The rest behind the last block is no block. */
		assert_int_equal(slab_free(slab, UNIT_BYTES + (uint64_t)count * bytes, size_class),
				 count * bytes == UNIT_BYTES ? -ESRCH : -EINVAL);
	}
	free(slab);
}

static void test_unit_never_used(void **state)
{
	struct slab *slab = slab_make(2, 1);

	(void)state;
	assert_int_equal(slab_free(slab, 0, 0), -ESRCH);
	slab_add_unit(slab, 0, 0);
	assert_int_equal(slab_free(slab, 0, 0), -EINVAL);
	free(slab);
}

/* A pool's empty superblock serves no other pool. */
static void test_pools_are_apart(void **state)
{
	struct slab *slab = slab_make(2, 2);
	uint64_t offset;

	(void)state;
	slab_add_unit(slab, 0, 0);
	assert_int_equal(slab_alloc(slab, 1, 64, &offset), -EAGAIN);
	slab_add_unit(slab, 1, 1);
	assert_int_equal(slab_alloc(slab, 1, 64, &offset), 0);
	assert_int_equal(offset, UNIT_BYTES);
	assert_int_equal(slab_alloc(slab, 0, 64, &offset), 0);
	assert_int_equal(offset, 0);
	free(slab);
}

/* ---- time ---- */

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static double time_pairs(struct slab *slab, unsigned int count)
{
	uint32_t size_class = slab_class(64);
	double start = now_ns();
	uint64_t offset;

	for (unsigned int i = 0; i < count; i++) {
		if (slab_alloc(slab, 0, 64, &offset) != 0 ||
		    slab_free(slab, offset, size_class) != 0)
			abort();
	}
	return (now_ns() - start) / count;
}

/* Blocks live: a window of `live`, freed in another order than they were taken. */
static double time_window(struct slab *slab, unsigned int live, unsigned int count)
{
	uint64_t *offsets = calloc(live, sizeof(offsets[0]));
	uint32_t size_class = slab_class(64);
	struct prng prng = prng_init(1);

	if (offsets == NULL)
		abort();
	for (unsigned int i = 0; i < live; i++) {
		if (slab_alloc(slab, 0, 64, &offsets[i]) != 0)
			abort();
	}
	double start = now_ns();

	for (unsigned int i = 0; i < count; i++) {
		uint64_t *offset = &offsets[prng_below(&prng, live)];

		if (slab_free(slab, *offset, size_class) != 0 ||
		    slab_alloc(slab, 0, 64, offset) != 0)
			abort();
	}
	double spent = now_ns() - start;

	free(offsets);
	return spent / count;
}

static struct slab *slab_make_full(void)
{
	struct slab *slab = slab_make(256, 1);

	for (uint64_t unit = 0; unit < 256; unit++)
		slab_add_unit(slab, 0, unit);
	return slab;
}

static int time_all(void)
{
	struct slab *slab = slab_make_full();

	printf("alloc + free of 64 bytes, the same block: %.1f ns\n", time_pairs(slab, 20000000));
	free(slab);
	for (unsigned int live = 1000; live <= 1000000; live *= 10) {
		slab = slab_make_full();
		printf("free + alloc of 64 bytes, random ones of %u live: %.1f ns\n", live,
		       time_window(slab, live, 5000000));
		free(slab);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),		cmocka_unit_test(test_class_of_every_size),
		cmocka_unit_test(test_model),		cmocka_unit_test(test_fill_and_recut),
		cmocka_unit_test(test_unit_never_used), cmocka_unit_test(test_pools_are_apart),
	};

	if (argc == 2 && strcmp(argv[1], "time") == 0)
		return time_all();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
