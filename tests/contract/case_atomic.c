/* SPDX-License-Identifier: Apache-2.0 */
/* fetch_add and compare_swap: values, atomicity from every node, the word's owner included. */
#include "harness.h"

#include <errno.h>

#define ACCESS_ALL (FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE | FABRIC_REMOTE_ATOMIC)

static struct harness_memory memory_offer(struct contract_node *node, size_t bytes)
{
	struct harness_memory memory = harness_memory_make(bytes);

	harness_memory_register(node, &memory, ACCESS_ALL);
	harness_key_publish(node, 0, memory.key);
	return memory;
}

static void memory_drop(struct contract_node *node, struct harness_memory *memory)
{
	harness_barrier(node);
	node->ops->memory_deregister(node->fabric, memory->region);
	harness_memory_free(memory);
}

/* Reads a word of node 0 through the fabric. */
static uint64_t word_read(struct contract_node *node, uint64_t offset)
{
	uint64_t value;

	CHECK(harness_fetch_add(node, harness_remote(node, 0, 0, offset), 0, &value) == 0);
	return value;
}

#define VALUES 2000u

static void atomic_values(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node, PAGE_BYTES);
	unsigned int peer = (node->rank + 1) % node->count;
	unsigned int rounds = harness_rounds(node, VALUES);
	uint64_t model = 0, old;

	harness_barrier(node);
	for (unsigned int i = 0; i < rounds; i++) {
		struct fabric_remote remote = harness_remote(node, peer, 0, 4088);
		uint64_t value = prng_next(&node->prng);
		bool hit = prng_below(&node->prng, 2) == 0;

		if (i % 2 == 0) {
			CHECK(harness_fetch_add(node, remote, value, &old) == 0);
			CHECK(old == model);
			model += value;
			continue;
		}
		uint64_t expected = hit ? model : model ^ (UINT64_C(1) << (value % 64));
		CHECK(harness_compare_swap(node, remote, expected, value, &old) == 0);
		CHECK(old == model);
		model = hit ? value : model;
	}
	memory_drop(node, &memory);
}

#define ADD_EACH 1000u
#define ADD_DEPTH 8u

/* Each value before an addition of one is seen by exactly one node, exactly once. */
static void previous_note(struct contract_node *node, uint64_t old)
{
	uint64_t bit = UINT64_C(1) << (old % 64);

	CHECK(old < ADD_EACH * node->count);
	CHECK((atomic_fetch_or(&node->world->words[old / 64], bit) & bit) == 0);
}

static void adds_post(struct contract_node *node, uint64_t *tags)
{
	struct fabric_remote remote = harness_remote(node, 0, 0, 64);

	for (unsigned int i = 0; i < ADD_DEPTH; i++) {
		tags[i] = harness_tag(node, FABRIC_ATOMIC_DONE, 0);
		int error;
		WAIT_UNTIL(node, (error = node->ops->fetch_add(node->fabric, &remote, 1,
							       tags[i])) != -EAGAIN);
		CHECK(error == 0);
	}
}

static void atomic_sum(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node, PAGE_BYTES);
	uint64_t tags[ADD_DEPTH];

	harness_barrier(node);
	for (unsigned int i = 0; i < ADD_EACH; i += ADD_DEPTH) {
		adds_post(node, tags);
		WAIT_UNTIL(node, node->outstanding == 0);
		for (unsigned int j = 0; j < ADD_DEPTH; j++) {
			const struct harness_operation *add = harness_operation(node, tags[j]);

			CHECK(add->status == 0);
			previous_note(node, add->value);
		}
	}
	harness_barrier(node);
	CHECK(word_read(node, 64) == (uint64_t)ADD_EACH * node->count);
	memory_drop(node, &memory);
}

#define LOCK_EACH 150u

static void lock_take(struct contract_node *node, uint64_t name)
{
	struct fabric_remote lock = harness_remote(node, 0, 0, 0);
	uint64_t end_ns = harness_deadline(node);
	uint64_t old;

	for (;;) {
		CHECK(harness_compare_swap(node, lock, 0, name, &old) == 0);
		if (old == 0)
			return;
		CHECK(old <= node->count && old != name);
		harness_breathe(end_ns, __FILE__, __LINE__, "the lock is free");
	}
}

/* The counter is read and written, not added to: only the lock keeps it right. */
static void atomic_lock(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node, PAGE_BYTES);
	struct fabric_local local = harness_local(&memory, 2048, 8);
	uint64_t *counter = (void *)(memory.base + 2048);
	unsigned int rounds = harness_rounds(node, LOCK_EACH);
	uint64_t name = node->rank + 1;
	uint64_t old;

	harness_barrier(node);
	for (unsigned int i = 0; i < rounds; i++) {
		lock_take(node, name);
		CHECK(harness_read(node, local, harness_remote(node, 0, 0, 512)) == 0);
		(*counter)++;
		CHECK(harness_write(node, local, harness_remote(node, 0, 0, 512)) == 0);
		CHECK(harness_compare_swap(node, harness_remote(node, 0, 0, 0), name, 0, &old) ==
		      0);
		CHECK(old == name);
	}
	harness_barrier(node);
	CHECK(word_read(node, 512) == (uint64_t)rounds * node->count);
	memory_drop(node, &memory);
}

/* Bits set by addition, as the sharer words are: no carry is lost between neighbours. */
static void atomic_bits(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node, PAGE_BYTES);
	uint64_t bit = UINT64_C(1) << (node->rank * 5 + 3);
	uint64_t old;

	harness_barrier(node);
	struct fabric_remote remote = harness_remote(node, 0, 0, 256);
	for (unsigned int i = 0; i < 500; i++) {
		CHECK(harness_fetch_add(node, remote, bit, &old) == 0);
		CHECK((old & bit) == 0);
		CHECK(harness_fetch_add(node, remote, -bit, &old) == 0);
		CHECK((old & bit) == bit);
	}
	harness_barrier(node);
	CHECK(word_read(node, 256) == 0);
	memory_drop(node, &memory);
}

static const struct contract_case cases[] = {
	{ .name = "atomic_values", .run = atomic_values },
	{ .name = "atomic_sum", .run = atomic_sum },
	{ .name = "atomic_lock", .run = atomic_lock },
	{ .name = "atomic_bits", .run = atomic_bits },
};

const struct contract_table contract_atomic_cases = CONTRACT_TABLE(cases);
