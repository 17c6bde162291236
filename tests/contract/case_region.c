/* SPDX-License-Identifier: Apache-2.0 */
/* Registering memory: many, often, told by message and used at once, gone when deregistered. */
#include "harness.h"

#include <errno.h>
#include <string.h>

/* What one node tells another about a region. */
struct told {
	struct fabric_key key;
	uint64_t seed;
	uint64_t number;
};

struct inbox {
	struct told last;
	uint64_t count;
};

static void told_note(struct contract_node *node, unsigned int peer, const unsigned char *data,
		      size_t bytes)
{
	struct inbox *inbox = node->context;

	(void)peer;
	CHECK(bytes == sizeof(struct told));
	memcpy(&inbox->last, data, bytes);
	inbox->count++;
}

static void byte_note(struct contract_node *node, unsigned int peer, const unsigned char *data,
		      size_t bytes)
{
	(void)node;
	(void)peer;
	(void)data;
	CHECK(bytes == 1);
}

static void tell(struct contract_node *node, unsigned int peer, const struct harness_memory *memory,
		 uint64_t number)
{
	struct told told = { .key = memory->key, .seed = number * 4096, .number = number };

	pattern_fill(memory->base, PAGE_BYTES, told.seed);
	harness_send(node, peer, &told, sizeof(told));
}

#define CYCLES 500u

/* Node 0 registers, tells, waits for the answer, deregisters; node 1 reads, also after the end. */
static void cycles_offer(struct contract_node *node, unsigned int rounds, bool new_file)
{
	struct harness_memory memory = harness_memory_make(PAGE_BYTES);
	node->on_message = byte_note;
	for (unsigned int round = 0; round < rounds; round++) {
		if (new_file) {
			harness_memory_free(&memory);
			memory = harness_memory_make(PAGE_BYTES);
		}
		harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
		tell(node, 1, &memory, round);
		WAIT_UNTIL(node, node->received[1] == round + 1);
		node->ops->memory_deregister(node->fabric, memory.region);
	}
	harness_memory_free(&memory);
}

static void cycles_use(struct contract_node *node, unsigned int rounds)
{
	struct harness_memory work = harness_memory_make(PAGE_BYTES);
	struct inbox inbox = { .count = 0 };
	unsigned char done = 1;

	node->on_message = told_note;
	node->context = &inbox;
	harness_memory_register(node, &work, 0);
	for (unsigned int round = 0; round < rounds; round++) {
		struct fabric_remote stale = { .peer = node_id(0), .key = inbox.last.key };

		WAIT_UNTIL(node, inbox.count == round + 1);
		struct fabric_remote remote = { .peer = node_id(0), .key = inbox.last.key };
		CHECK(harness_read(node, harness_local(&work, 0, PAGE_BYTES), remote) == 0);
		CHECK(pattern_equal(work.base, PAGE_BYTES, inbox.last.seed));
		/* A key is not used twice while someone may still hold it. */
		if (round > 0 && !node->world->fragile) {
			CHECK(harness_refused(
				node, 0, harness_read(node, harness_local(&work, 0, 64), stale)));
		}
		harness_send(node, 0, &done, 1);
	}
	node->ops->memory_deregister(node->fabric, work.region);
	harness_memory_free(&work);
	node->on_message = NULL;
	node->context = NULL;
}

static void region_cycles(struct contract_node *node)
{
	unsigned int rounds = harness_rounds(node, CYCLES);

	if (node->rank == 0)
		cycles_offer(node, rounds, false);
	else
		cycles_use(node, rounds);
}

static void region_cycles_files(struct contract_node *node)
{
	unsigned int rounds = harness_rounds(node, CYCLES);

	if (node->rank == 0)
		cycles_offer(node, rounds, true);
	else
		cycles_use(node, rounds);
}

#define UNSEEN_FILES 2000u

static void unseen_offer(struct contract_node *node)
{
	for (unsigned int i = 0; i < UNSEEN_FILES; i++) {
		struct harness_memory memory = harness_memory_make(PAGE_BYTES);

		harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
		node->ops->memory_deregister(node->fabric, memory.region);
		harness_memory_free(&memory);
	}
	struct harness_memory last = harness_memory_make(PAGE_BYTES);
	harness_memory_register(node, &last, FABRIC_REMOTE_READ);
	tell(node, 1, &last, UNSEEN_FILES);
	harness_set_word(node, 0, 1);
}

static void unseen_use(struct contract_node *node)
{
	struct harness_memory work = harness_memory_make(PAGE_BYTES);
	struct inbox inbox = { .count = 0 };

	harness_await_word(node, 0, 1);
	node->on_message = told_note;
	node->context = &inbox;
	harness_memory_register(node, &work, 0);
	WAIT_UNTIL(node, inbox.count == 1);
	struct fabric_remote remote = { .peer = node_id(0), .key = inbox.last.key };
	CHECK(harness_read(node, harness_local(&work, 0, PAGE_BYTES), remote) == 0);
	CHECK(pattern_equal(work.base, PAGE_BYTES, inbox.last.seed));
	node->ops->memory_deregister(node->fabric, work.region);
	node->on_message = NULL;
	node->context = NULL;
}

/* A peer that does not poll for long must not keep anyone from registering, nor lose a key. */
static void region_unseen(struct contract_node *node)
{
	if (node->rank == 0)
		unseen_offer(node);
	else
		unseen_use(node);
}

#define MANY_REGIONS 48u

static struct fabric_memory part_of(const struct harness_memory *whole, unsigned int part)
{
	return (struct fabric_memory){
		.addr = whole->base + part * 2 * PAGE_BYTES,
		.bytes = PAGE_BYTES,
		.fd = whole->fd,
		.fd_offset = part * 2 * PAGE_BYTES,
		.access = FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE,
	};
}

/* Many regions of one file, with gaps between: each leads to its own bytes and nowhere else. */
static void region_many(struct contract_node *node)
{
	struct harness_memory whole = harness_memory_make(MANY_REGIONS * 2 * PAGE_BYTES);
	struct fabric_region *regions[MANY_REGIONS];
	struct harness_memory work = harness_memory_make(PAGE_BYTES);
	unsigned int peer = (node->rank + 1) % node->count;

	harness_memory_register(node, &work, 0);
	pattern_fill(whole.base, whole.bytes, node->rank * 100000);
	for (unsigned int i = 0; i < MANY_REGIONS; i++) {
		struct fabric_memory part = part_of(&whole, i);
		struct fabric_key key;

		CHECK(node->ops->memory_register(node->fabric, &part, &regions[i], &key) == 0);
		harness_key_publish(node, i, key);
	}
	harness_barrier(node);
	for (unsigned int i = 0; i < MANY_REGIONS * 4; i++) {
		unsigned int slot = (unsigned int)prng_below(&node->prng, MANY_REGIONS);
		size_t at = slot * 2 * PAGE_BYTES;

		CHECK(harness_read(node, harness_local(&work, 0, PAGE_BYTES),
				   harness_remote(node, peer, slot, 0)) == 0);
		for (size_t j = 0; j < PAGE_BYTES; j++)
			CHECK(work.base[j] == pattern_byte(peer * 100000, at + j));
		if (!node->world->fragile)
			CHECK(harness_refused(
				node, peer,
				harness_read(node, harness_local(&work, 0, 64),
					     harness_remote(node, peer, slot, PAGE_BYTES - 8))));
	}
	harness_barrier(node);
	for (unsigned int i = 0; i < MANY_REGIONS; i++)
		node->ops->memory_deregister(node->fabric, regions[i]);
	node->ops->memory_deregister(node->fabric, work.region);
}

/* Registered before there was anybody to tell. */
static void region_before_connect(struct contract_node *node)
{
	struct harness_memory memory = harness_memory_make(2 * PAGE_BYTES);

	harness_open(node);
	harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
	pattern_fill(memory.base, PAGE_BYTES, node->rank);
	harness_key_publish(node, 0, memory.key);
	harness_addresses_await(node, node->count);
	harness_connect(node);
	harness_barrier(node);
	for (unsigned int peer = 0; peer < node->count; peer++) {
		CHECK(harness_read(node, harness_local(&memory, PAGE_BYTES, PAGE_BYTES),
				   harness_remote(node, peer, 0, 0)) == 0);
		CHECK(pattern_equal(memory.base + PAGE_BYTES, PAGE_BYTES, peer));
	}
	node->leaving = true;
	harness_barrier(node);
	harness_close(node);
}

static void region_arguments(struct contract_node *node)
{
	struct harness_memory memory = harness_memory_make(4 * PAGE_BYTES);
	const struct fabric_memory good = {
		.addr = memory.base,
		.bytes = memory.bytes,
		.fd = memory.fd,
		.access = FABRIC_REMOTE_READ,
	};
	struct fabric_memory bad[4] = { good, good, good, good };
	struct fabric_region *region = NULL;
	struct fabric_key key;

	bad[0].bytes = 0;
	bad[1].addr = memory.base + 8;
	bad[2].addr = NULL;
	bad[3].access = 1u << 20;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(node->ops->memory_register(node->fabric, &bad[i], &region, &key) == -EINVAL);
		CHECK(region == NULL);
	}
	CHECK(node->ops->memory_register(node->fabric, &good, &region, &key) == 0);
	node->ops->memory_deregister(node->fabric, region);
}

static const struct contract_case cases[] = {
	{ .name = "region_cycles", .run = region_cycles, .node_count = 2 },
	{ .name = "region_cycles_files", .run = region_cycles_files, .node_count = 2 },
	{ .name = "region_unseen", .run = region_unseen, .node_count = 2 },
	{ .name = "region_many", .run = region_many },
	{ .name = "region_before_connect", .run = region_before_connect, .flags = CONTRACT_RAW },
	{ .name = "region_arguments", .run = region_arguments, .node_count = 2 },
};

const struct contract_table contract_region_cases = CONTRACT_TABLE(cases);
