/* SPDX-License-Identifier: Apache-2.0 */
/* chain(): its words and bytes; that the reads follow the addition; what is refused does nothing.
 */
#include "harness.h"

#include <string.h>

#define ACCESS_ALL (FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE | FABRIC_REMOTE_ATOMIC)

/* Of each node's memory: a word, a guard, a source, and room for what is read. */
#define WORD_AT 64u
#define GUARD_AT 1024u
#define SOURCE_AT PAGE_BYTES
#define LANDING_AT (2 * PAGE_BYTES)
#define BYTES (3 * PAGE_BYTES)

static struct harness_memory memory_offer(struct contract_node *node)
{
	struct harness_memory memory = harness_memory_make(BYTES + PAGE_BYTES);

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

static struct fabric_chain chain_at(const struct contract_node *node, unsigned int peer,
				    const struct harness_memory *memory)
{
	return (struct fabric_chain){
		.word = harness_remote(node, peer, 0, WORD_AT),
		.guard = harness_remote(node, peer, 0, GUARD_AT),
		.source = harness_remote(node, peer, 0, SOURCE_AT),
		.local = harness_local(memory, LANDING_AT, PAGE_BYTES),
	};
}

static void values_check(struct contract_node *node, const struct harness_memory *memory,
			 unsigned int peer)
{
	unsigned int rounds = harness_rounds(node, 1000);
	uint64_t model = 0, words[2];

	for (unsigned int i = 0; i < rounds; i++) {
		struct fabric_chain chain = chain_at(node, peer, memory);
		uint32_t bytes = 8 * (1 + (uint32_t)prng_below(&node->prng, PAGE_BYTES / 8));

		chain.add = i % 3 == 0 ? 0 : prng_next(&node->prng);
		chain.local.bytes = bytes;
		memset(memory->base + LANDING_AT, 0xee, PAGE_BYTES);
		CHECK(harness_chain(node, &chain, words) == 0);
		CHECK(words[0] == model && words[1] == 1000u + peer);
		CHECK(pattern_equal(memory->base + LANDING_AT, bytes, peer));
		for (uint32_t at = bytes; at < PAGE_BYTES; at++)
			CHECK(memory->base[LANDING_AT + at] == 0xee);
		model += chain.add;
	}
}

static void chain_values(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);
	uint64_t guard = 1000u + node->rank;

	memcpy(memory.base + GUARD_AT, &guard, sizeof(guard));
	pattern_fill(memory.base + SOURCE_AT, PAGE_BYTES, node->rank);
	harness_barrier(node);
	values_check(node, &memory, (node->rank + 1) % node->count);
	memory_drop(node, &memory);
}

static void chain_self(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);
	uint64_t guard = 1000u + node->rank;

	memcpy(memory.base + GUARD_AT, &guard, sizeof(guard));
	pattern_fill(memory.base + SOURCE_AT, PAGE_BYTES, node->rank);
	harness_barrier(node);
	values_check(node, &memory, node->rank);
	memory_drop(node, &memory);
}

/* ---- as fast reads use it ---- */

#define OPEN (UINT64_C(1) << 63)
#define PERIODS 40u

/* Words of the world: one for each node that is told its bit was cleared; the manager's end. */
#define WORD_END 20u
#define WORD_READ 21u

static void source_fill(struct harness_memory *memory, uint64_t value)
{
	uint64_t *source = (void *)(memory->base + SOURCE_AT);

	for (unsigned int i = 0; i < PAGE_BYTES / 8; i++)
		__atomic_store_n(&source[i], value, __ATOMIC_RELAXED);
}

static void guard_set(struct harness_memory *memory, uint64_t value)
{
	__atomic_store_n((uint64_t *)(void *)(memory->base + GUARD_AT), value, __ATOMIC_RELEASE);
}

/* Closes the gate, and returns when all who have come through it have answered. */
static void gate_close(struct contract_node *node, struct harness_memory *memory)
{
	struct fabric_remote word = harness_remote(node, 0, 0, WORD_AT);
	uint64_t sharers;
	uint64_t old;

	guard_set(memory, 0);
	CHECK(harness_fetch_add(node, word, OPEN, &sharers) == 0);
	CHECK((sharers & OPEN) != 0);
	sharers &= ~OPEN;
	CHECK(harness_fetch_add(node, word, -sharers, &old) == 0);
	CHECK((old & sharers) == sharers && (old & OPEN) == 0);
	for (unsigned int i = 1; i < node->count; i++) {
		if ((sharers >> i & 1) == 0)
			continue;
		harness_set_word(node, i, 1); /* cleared; the node sets it back */
		WAIT_UNTIL(node, atomic_load(&node->world->words[i]) == 0);
	}
}

static void manage(struct contract_node *node, struct harness_memory *memory)
{
	struct fabric_remote word = harness_remote(node, 0, 0, WORD_AT);
	unsigned int periods = harness_rounds(node, PERIODS);
	uint64_t old;

	for (uint64_t period = 1; period <= periods; period++) {
		source_fill(memory, UINT64_MAX - period); /* nobody may see this */
		harness_spin_ns(prng_below(&node->prng, 3000));
		source_fill(memory, period);
		guard_set(memory, period);
		CHECK(harness_fetch_add(node, word, OPEN, &old) == 0);
		CHECK((old & OPEN) == 0);
		harness_spin_ns(prng_below(&node->prng, 20000));
		if (period == 1) /* where all is slow, somebody is to come through */
			WAIT_UNTIL(node, atomic_load(&node->world->words[WORD_READ]) > 0);
		gate_close(node, memory);
	}
	harness_set_word(node, WORD_END, 1);
	for (unsigned int i = 1; i < node->count; i++)
		harness_set_word(node, i, 1);
}

static void check_source(const struct harness_memory *memory, uint64_t value)
{
	const uint64_t *landed = (const void *)(memory->base + LANDING_AT);

	for (unsigned int i = 0; i < PAGE_BYTES / 8; i++)
		CHECK(landed[i] == value);
}

/* What was read through an open gate is right, unless a recall came before the end of it. */
static void share(struct contract_node *node, struct harness_memory *memory)
{
	_Atomic uint64_t *told = &node->world->words[node->rank];
	bool added = false;
	uint64_t words[2];

	while (atomic_load(&node->world->words[WORD_END]) == 0) {
		struct fabric_chain chain = chain_at(node, 0, memory);

		chain.add = added ? 0 : UINT64_C(1) << node->rank;
		CHECK(harness_chain(node, &chain, words) == 0);
		bool was_set = (words[0] >> node->rank & 1) != 0;

		/* It was taken out, and the node is about to be told: so the gate was closed. */
		CHECK(added || !was_set);
		CHECK(!added || was_set || (words[0] & OPEN) == 0);
		added = true;
		if ((words[0] & OPEN) != 0 && words[1] != 0) {
			check_source(memory, words[1]);
			atomic_fetch_add(&node->world->words[WORD_READ], 1);
		}
		if (atomic_load(told) != 0) {
			added = false;
			atomic_store(told, 0);
		}
	}
	atomic_store(told, 0);
}

static void chain_sharers(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);

	harness_barrier(node);
	if (node->rank == 0)
		manage(node, &memory);
	else
		share(node, &memory);
	harness_barrier(node);
	CHECK(atomic_load(&node->world->words[WORD_READ]) > 0);
	memory_drop(node, &memory);
}

/* ---- refused ---- */

static void refuse(struct contract_node *node, struct fabric_chain *chain, uint64_t *offset,
		   uint64_t wrong)
{
	uint64_t right = *offset;
	uint64_t words[2];

	*offset = wrong;
	CHECK(harness_refused(node, chain->word.peer.value, harness_chain(node, chain, words)));
	*offset = right;
}

/* Each part out of bounds in turn: nothing is added, nothing is read. */
static void chain_refused(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);
	unsigned int peer = (node->rank + 1) % node->count;
	struct fabric_chain chain = chain_at(node, peer, &memory);
	uint64_t end = BYTES + PAGE_BYTES;

	harness_barrier(node);
	harness_refusals_begin(node);
	memset(memory.base + LANDING_AT, 0xee, PAGE_BYTES);
	chain.add = 1;
	refuse(node, &chain, &chain.word.offset, end);
	refuse(node, &chain, &chain.word.offset, WORD_AT + 4);
	refuse(node, &chain, &chain.guard.offset, end);
	refuse(node, &chain, &chain.guard.offset, UINT64_MAX - 7);
	refuse(node, &chain, &chain.source.offset, end - PAGE_BYTES + 8);
	for (unsigned int at = 0; at < PAGE_BYTES; at++)
		CHECK(memory.base[LANDING_AT + at] == 0xee);
	harness_barrier(node);
	CHECK(__atomic_load_n((uint64_t *)(void *)(memory.base + WORD_AT), __ATOMIC_RELAXED) == 0);
	memory_drop(node, &memory);
}

static const struct contract_case cases[] = {
	{ .name = "chain_values", .run = chain_values },
	{ .name = "chain_self", .run = chain_self },
	{ .name = "chain_sharers", .run = chain_sharers },
	{ .name = "chain_refused", .run = chain_refused },
};

const struct contract_table contract_chain_cases = CONTRACT_TABLE(cases);
