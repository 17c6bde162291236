/* SPDX-License-Identifier: Apache-2.0 */
/* One-sided reads and writes. */
#include "harness.h"

#include <errno.h>
#include <string.h>

#define SPACE_BYTES (FABRIC_TRANSFER_MAX + 4 * PAGE_BYTES)
#define ACCESS_ALL (FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE | FABRIC_REMOTE_ATOMIC)
#define GUARD 0xa5

/* What a node offers, and what it works with. */
struct spaces {
	struct harness_memory offered;
	struct harness_memory work;
};

static struct spaces spaces_make(struct contract_node *node, size_t bytes, unsigned int access)
{
	struct spaces spaces = {
		.offered = harness_memory_make(bytes),
		.work = harness_memory_make(bytes),
	};

	harness_memory_register(node, &spaces.offered, access);
	harness_memory_register(node, &spaces.work, 0);
	harness_key_publish(node, 0, spaces.offered.key);
	return spaces;
}

static void spaces_free(struct contract_node *node, struct spaces *spaces)
{
	harness_barrier(node);
	node->ops->memory_deregister(node->fabric, spaces->offered.region);
	node->ops->memory_deregister(node->fabric, spaces->work.region);
	harness_memory_free(&spaces->offered);
	harness_memory_free(&spaces->work);
}

/* Sizes round every power of two, and odd ones between; the last is the largest. */
static size_t size_pick(struct prng *prng, unsigned int step)
{
	size_t power = (size_t)1 << (step % 21);

	switch (step / 21 % 4) {
	case 0:
		return power;
	case 1:
		return power > 1 ? power - 1 : 1;
	case 2:
		return power < FABRIC_TRANSFER_MAX ? power + 1 : power;
	default:
		return 1 + (size_t)prng_below(prng, power);
	}
}

#define SIZE_STEPS 84u

/* Every size to 64 at every offset to 8 on either side comes by as well. */
static void place_pick(struct contract_node *node, unsigned int step, size_t *bytes, size_t *from,
		       size_t *to)
{
	if (step < SIZE_STEPS) {
		*bytes = size_pick(&node->prng, step);
	} else {
		*bytes = 1 + (step - SIZE_STEPS) % 64;
	}
	*from = (size_t)prng_below(&node->prng, PAGE_BYTES);
	*to = GUARD + (size_t)prng_below(&node->prng, PAGE_BYTES);
}

/* All large sizes, and the small ones again and again. */
static unsigned int places(const struct contract_node *node)
{
	return SIZE_STEPS + harness_rounds(node, 640);
}

static bool guarded(const unsigned char *data, size_t bytes)
{
	for (size_t i = 0; i < 64; i++) {
		if (data[-1 - (ptrdiff_t)i] != GUARD || data[bytes + i] != GUARD)
			return false;
	}
	return true;
}

static void transfer_read(struct contract_node *node)
{
	struct spaces spaces = spaces_make(node, SPACE_BYTES, FABRIC_REMOTE_READ);
	unsigned int peer = (node->rank + 1) % node->count;
	uint64_t seed = node->world->seed;

	pattern_fill(spaces.offered.base, SPACE_BYTES, seed + node->rank * (1u << 20));
	harness_barrier(node);
	for (unsigned int step = 0; step < places(node); step++) {
		size_t bytes, from, to;

		place_pick(node, step, &bytes, &from, &to);
		unsigned char *data = spaces.work.base + to;
		memset(data - 64, GUARD, bytes + 128);
		CHECK(harness_read(node, harness_local(&spaces.work, to, bytes),
				   harness_remote(node, peer, 0, from)) == 0);
		for (size_t i = 0; i < bytes; i++)
			CHECK(data[i] == pattern_byte(seed + peer * (1u << 20), from + i));
		CHECK(guarded(data, bytes));
	}
	spaces_free(node, &spaces);
}

static void transfer_write(struct contract_node *node)
{
	struct spaces spaces =
		spaces_make(node, SPACE_BYTES, FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE);
	unsigned int peer = (node->rank + 1) % node->count;

	for (unsigned int step = 0; step < places(node); step++) {
		size_t bytes, from, to;

		place_pick(node, step, &bytes, &from, &to);
		/* All nodes pick by their own sequence: tell the peer where it was written. */
		pattern_fill(spaces.work.base + from, bytes, step);
		harness_set_word(node, 2 * peer, to);
		harness_set_word(node, 2 * peer + 1, bytes);
		harness_barrier(node);
		size_t coming_to = atomic_load(&node->world->words[2 * node->rank]);
		size_t coming = atomic_load(&node->world->words[2 * node->rank + 1]);
		memset(spaces.offered.base + coming_to - 64, GUARD, coming + 128);
		harness_barrier(node);
		CHECK(harness_write(node, harness_local(&spaces.work, from, bytes),
				    harness_remote(node, peer, 0, to)) == 0);
		harness_barrier(node);
		CHECK(pattern_equal(spaces.offered.base + coming_to, coming, step));
		CHECK(guarded(spaces.offered.base + coming_to, coming));
		harness_barrier(node);
	}
	spaces_free(node, &spaces);
}

/* Operations on this node itself go the same way. */
static void transfer_self(struct contract_node *node)
{
	struct spaces spaces = spaces_make(node, 4 * PAGE_BYTES, ACCESS_ALL);
	unsigned int self = node->rank;
	uint64_t old = 1;

	pattern_fill(spaces.work.base, 1000, 7);
	CHECK(harness_write(node, harness_local(&spaces.work, 0, 1000),
			    harness_remote(node, self, 0, 24)) == 0);
	CHECK(pattern_equal(spaces.offered.base + 24, 1000, 7));
	CHECK(harness_read(node, harness_local(&spaces.work, 5000, 1000),
			   harness_remote(node, self, 0, 24)) == 0);
	CHECK(pattern_equal(spaces.work.base + 5000, 1000, 7));
	CHECK(harness_fetch_add(node, harness_remote(node, self, 0, 8192), 5, &old) == 0);
	CHECK(old == 0);
	CHECK(harness_compare_swap(node, harness_remote(node, self, 0, 8192), 5, 9, &old) == 0);
	CHECK(old == 5);
	CHECK(harness_fetch_add(node, harness_remote(node, self, 0, 8192), 0, &old) == 0);
	CHECK(old == 9);
	spaces_free(node, &spaces);
}

/* What a completed write has put there, a later read brings, from whichever node. */
static void transfer_read_after_write(struct contract_node *node)
{
	struct spaces spaces =
		spaces_make(node, 16 * PAGE_BYTES, FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE);
	unsigned int next = (node->rank + 1) % node->count;
	size_t at = node->rank * PAGE_BYTES;

	harness_barrier(node);
	for (unsigned int round = 0; round < harness_rounds(node, 300); round++) {
		pattern_fill(spaces.work.base, PAGE_BYTES, round);
		CHECK(harness_write(node, harness_local(&spaces.work, 0, PAGE_BYTES),
				    harness_remote(node, 0, 0, at)) == 0);
		memset(spaces.work.base, 0, PAGE_BYTES);
		CHECK(harness_read(node, harness_local(&spaces.work, 0, PAGE_BYTES),
				   harness_remote(node, 0, 0, at)) == 0);
		CHECK(pattern_equal(spaces.work.base, PAGE_BYTES, round));
		if (round % 50 != 0)
			continue;
		harness_barrier(node);
		CHECK(harness_read(node, harness_local(&spaces.work, 0, PAGE_BYTES),
				   harness_remote(node, 0, 0, next * PAGE_BYTES)) == 0);
		CHECK(pattern_equal(spaces.work.base, PAGE_BYTES, round));
		harness_barrier(node);
	}
	spaces_free(node, &spaces);
}

#define TORN_BYTES PAGE_BYTES
#define TORN_ROUNDS 20000u

static uint64_t torn_word(uint64_t round)
{
	return (round & 0xffffffff) * UINT64_C(0x100000001);
}

/* A read beside the owner's stores may mix words old and new, but never tears a word. */
static void transfer_torn(struct contract_node *node)
{
	struct spaces spaces = spaces_make(node, TORN_BYTES, FABRIC_REMOTE_READ);
	uint64_t *mine = (void *)spaces.offered.base;
	const uint64_t *got = (const void *)spaces.work.base;
	unsigned int rounds = harness_rounds(node, TORN_ROUNDS);

	harness_barrier(node);
	if (node->rank == 0) {
		for (uint64_t round = 1; atomic_load(&node->world->words[0]) < node->count - 1;
		     round++) {
			for (size_t i = 0; i < TORN_BYTES / 8; i++)
				__atomic_store_n(&mine[i], torn_word(round), __ATOMIC_RELAXED);
			harness_pump(node);
		}
	} else {
		for (unsigned int round = 0; round < rounds; round++) {
			CHECK(harness_read(node, harness_local(&spaces.work, 0, TORN_BYTES),
					   harness_remote(node, 0, 0, 0)) == 0);
			for (size_t i = 0; i < TORN_BYTES / 8; i++)
				CHECK(got[i] == torn_word(got[i]));
		}
		atomic_fetch_add(&node->world->words[0], 1);
	}
	spaces_free(node, &spaces);
}

#define OUTSTANDING_ROUNDS 50u

/* Posts reads until it is told to stop; their data is checked when all are back. */
static void transfer_outstanding(struct contract_node *node)
{
	struct spaces spaces = spaces_make(node, 64 * PAGE_BYTES, FABRIC_REMOTE_READ);
	uint64_t before = node->completed;
	uint64_t posted = 0;

	pattern_fill(spaces.offered.base, spaces.offered.bytes, node->rank);
	harness_barrier(node);
	for (unsigned int round = 0; round < OUTSTANDING_ROUNDS; round++) {
		unsigned int peer = (node->rank + round) % node->count;
		unsigned int accepted = 0;
		int error = 0;

		while (error == 0) {
			struct fabric_remote remote =
				harness_remote(node, peer, 0, accepted % 512 * 512);
			struct fabric_local local =
				harness_local(&spaces.work, accepted % 512 * 512, 512);
			uint64_t tag = harness_tag(node, FABRIC_READ_DONE, peer);

			error = node->ops->read(node->fabric, &local, &remote, tag);
			if (error != 0)
				harness_tag_forget(node, tag);
			else
				accepted++;
			CHECK(accepted < HARNESS_OPERATIONS - 1); /* some bound there must be */
		}
		CHECK(error == -EAGAIN && accepted > 0);
		posted += accepted;
		WAIT_UNTIL(node, node->outstanding == 0);
		CHECK(node->completed - before == posted);
		size_t covered = accepted < 512 ? accepted * 512 : spaces.work.bytes;
		CHECK(pattern_equal(spaces.work.base, covered, peer));
	}
	for (int i = 0; i < 1000; i++)
		harness_pump(node);
	CHECK(node->completed - before == posted);
	spaces_free(node, &spaces);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void refused_bounds(struct contract_node *node, struct spaces *spaces, unsigned int peer)
{
	size_t end = spaces->offered.bytes;
	const struct {
		uint64_t offset;
		size_t bytes;
	} places[] = {
		{ end, 1 },	      { end - 7, 8 },
		{ end - 8, 9 },	      { end + PAGE_BYTES, 64 },
		{ UINT64_MAX, 1 },    { UINT64_MAX - 63, 64 },
		{ UINT64_MAX, 4096 }, { (uint64_t)1 << 63, 64 },
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct fabric_remote remote = harness_remote(node, peer, 0, places[i].offset);
		struct fabric_local local = harness_local(&spaces->work, 0, places[i].bytes);

		CHECK(harness_refused(node, peer, harness_read(node, local, remote)));
		CHECK(harness_refused(node, peer, harness_write(node, local, remote)));
		/* A word is eight bytes, and does fit there. */
		if (remote.offset == end - 8)
			continue;
		CHECK(harness_refused(node, peer, harness_fetch_add(node, remote, 1, NULL)));
		CHECK(harness_refused(node, peer, harness_compare_swap(node, remote, 0, 1, NULL)));
	}
}

/* Tries what the region was registered for, or all that it was not. */
static void access_try(struct contract_node *node, struct spaces *spaces, unsigned int peer,
		       unsigned int slot, unsigned int access, bool granted)
{
	struct fabric_remote remote = harness_remote(node, peer, slot, 128);
	struct fabric_local local = harness_local(&spaces->work, 0, 64);
	bool atomic = (access & FABRIC_REMOTE_ATOMIC) != 0;
	const bool grants[4] = {
		(access & FABRIC_REMOTE_READ) != 0,
		(access & FABRIC_REMOTE_WRITE) != 0,
		atomic,
		atomic,
	};

	for (unsigned int i = 0; i < 4; i++) {
		int status;

		if (grants[i] != granted)
			continue;
		if (i == 0)
			status = harness_read(node, local, remote);
		else if (i == 1)
			status = harness_write(node, local, remote);
		else if (i == 2)
			status = harness_fetch_add(node, remote, 0, NULL);
		else
			status = harness_compare_swap(node, remote, 1, 2, NULL);
		CHECK(granted ? status == 0 : harness_refused(node, peer, status));
	}
}

/* The local side: its own region's bounds, and the sizes of the contract. */
static void refused_local(struct contract_node *node, struct spaces *spaces, unsigned int peer)
{
	struct fabric_remote remote = harness_remote(node, peer, 0, 0);
	struct fabric_local locals[] = {
		harness_local(&spaces->work, 0, 0),
		harness_local(&spaces->work, 0, FABRIC_TRANSFER_MAX + 1),
		harness_local(&spaces->work, spaces->work.bytes - 8, 9),
		harness_local(&spaces->work, spaces->work.bytes, 8),
	};

	for (size_t i = 0; i < sizeof(locals) / sizeof(locals[0]); i++) {
		CHECK(harness_refused(node, peer, harness_read(node, locals[i], remote)));
		CHECK(harness_refused(node, peer, harness_write(node, locals[i], remote)));
	}
}

static void refused_words(struct contract_node *node, unsigned int peer)
{
	for (uint64_t offset = 1; offset < 8; offset++) {
		struct fabric_remote remote = harness_remote(node, peer, 0, offset);

		CHECK(harness_refused(node, peer, harness_fetch_add(node, remote, 1, NULL)));
		CHECK(harness_refused(node, peer, harness_compare_swap(node, remote, 0, 1, NULL)));
	}
}

/* A refusal may come at once or with the completion; nothing may have been changed by it. */
static void transfer_refused(struct contract_node *node)
{
	struct spaces spaces = spaces_make(node, FABRIC_TRANSFER_MAX, ACCESS_ALL);
	unsigned int peer = (node->rank + 1) % node->count;

	harness_barrier(node);
	harness_refusals_begin(node);
	refused_bounds(node, &spaces, peer);
	refused_bounds(node, &spaces, node->rank);
	refused_local(node, &spaces, peer);
	refused_words(node, peer);
	harness_barrier(node);
	for (size_t i = 0; i < spaces.offered.bytes; i++)
		CHECK(spaces.offered.base[i] == 0);
	spaces_free(node, &spaces);
}

static void transfer_access(struct contract_node *node)
{
	static const unsigned int kinds[] = {
		FABRIC_REMOTE_READ,
		FABRIC_REMOTE_WRITE,
		FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE,
		FABRIC_REMOTE_ATOMIC,
		FABRIC_REMOTE_READ | FABRIC_REMOTE_ATOMIC,
		ACCESS_ALL,
	};
	unsigned int peer = (node->rank + 1) % node->count;
	const unsigned int kind_count = sizeof(kinds) / sizeof(kinds[0]);
	struct harness_memory memories[sizeof(kinds) / sizeof(kinds[0])];
	struct spaces spaces = spaces_make(node, PAGE_BYTES, ACCESS_ALL);

	for (unsigned int i = 0; i < kind_count; i++) {
		memories[i] = harness_memory_make(PAGE_BYTES);
		harness_memory_register(node, &memories[i], kinds[i]);
		harness_key_publish(node, 1 + i, memories[i].key);
	}
	harness_barrier(node);
	for (unsigned int i = 0; i < kind_count; i++) {
		access_try(node, &spaces, peer, 1 + i, kinds[i], true);
		access_try(node, &spaces, node->rank, 1 + i, kinds[i], true);
	}
	harness_barrier(node);
	harness_refusals_begin(node);
	for (unsigned int i = 0; i < kind_count; i++) {
		access_try(node, &spaces, peer, 1 + i, kinds[i], false);
		access_try(node, &spaces, node->rank, 1 + i, kinds[i], false);
	}
	harness_barrier(node);
	for (unsigned int i = 0; i < kind_count; i++) {
		node->ops->memory_deregister(node->fabric, memories[i].region);
		harness_memory_free(&memories[i]);
	}
	spaces_free(node, &spaces);
}

/* A key nobody has given out. */
static void transfer_key_unknown(struct contract_node *node)
{
	struct spaces spaces = spaces_make(node, PAGE_BYTES, ACCESS_ALL);
	unsigned int peer = (node->rank + 1) % node->count;
	struct fabric_local local = harness_local(&spaces.work, 0, 64);

	harness_barrier(node);
	harness_refusals_begin(node);
	for (unsigned int i = 0; i < 20; i++) {
		struct fabric_remote remote = harness_remote(node, peer, 0, 0);

		remote.key.key = i == 0 ? 0 : hash_u64(node->world->seed + i);
		CHECK(harness_refused(node, peer, harness_read(node, local, remote)));
		CHECK(harness_refused(node, peer, harness_write(node, local, remote)));
		CHECK(harness_refused(node, peer, harness_fetch_add(node, remote, 1, NULL)));
	}
	spaces_free(node, &spaces);
}

static const struct contract_case cases[] = {
	{ .name = "transfer_read", .run = transfer_read },
	{ .name = "transfer_write", .run = transfer_write, .node_count = 2 },
	{ .name = "transfer_self", .run = transfer_self },
	{ .name = "transfer_read_after_write", .run = transfer_read_after_write },
	{ .name = "transfer_torn", .run = transfer_torn, .node_count = 2 },
	{ .name = "transfer_outstanding", .run = transfer_outstanding },
	{ .name = "transfer_refused", .run = transfer_refused, .node_count = 2 },
	{ .name = "transfer_access", .run = transfer_access, .node_count = 2 },
	{ .name = "transfer_key_unknown", .run = transfer_key_unknown, .node_count = 2 },
};

const struct contract_table contract_transfer_cases = CONTRACT_TABLE(cases);
