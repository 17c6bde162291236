/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that go: killed, or in order. The victim is always the last rank; the survivors meet
 * through the world's words, as a barrier of all would wait for the dead.
 */
#include "harness.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ACCESS_ALL (FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE | FABRIC_REMOTE_ATOMIC)

enum loss_word {
	WORD_READY,	 /* nodes that are set up */
	WORD_LEFT,	 /* the victim is about to go, or has closed */
	WORD_SURVIVED,	 /* survivors that have seen it */
	WORD_FAREWELLS,	 /* and that are done with each other */
	WORD_SENT = 16,	 /* by rank: messages from the victim, accepted */
	WORD_ARMED = 48, /* by rank */
};

static unsigned int victim_of(const struct contract_node *node)
{
	return node->count - 1;
}

static void number_check(struct contract_node *node, unsigned int peer, const unsigned char *data,
			 size_t bytes)
{
	uint64_t number;

	CHECK(bytes == sizeof(number));
	memcpy(&number, data, bytes);
	CHECK(number == node->received[peer]);
}

static void word_meet(struct contract_node *node, enum loss_word word, unsigned int count)
{
	atomic_fetch_add(&node->world->words[word], 1);
	WAIT_UNTIL(node, atomic_load(&node->world->words[word]) >= count);
}

static void victim_kill(struct contract_node *node)
{
	kill(atomic_load(&node->world->pids[victim_of(node)]), SIGKILL);
}

/* To the lost peer nothing goes any more; the event came once and stays the last of it. */
static void lost_check(struct contract_node *node, struct harness_memory *memory)
{
	unsigned int victim = victim_of(node);
	struct fabric_remote remote = harness_remote(node, victim, 0, 0);
	struct fabric_local local = harness_local(memory, 0, 64);
	uint64_t number = 0;

	for (unsigned int i = 0; i < 3; i++) {
		CHECK(node->ops->send(node->fabric, node_id(victim), &number, 8) == -EHOSTDOWN);
		CHECK(node->ops->read(node->fabric, &local, &remote, 1) == -EHOSTDOWN);
		CHECK(node->ops->write(node->fabric, &local, &remote, 1) == -EHOSTDOWN);
		CHECK(node->ops->fetch_add(node->fabric, &remote, 1, 1) == -EHOSTDOWN);
		CHECK(node->ops->compare_swap(node->fabric, &remote, 1, 2, 1) == -EHOSTDOWN);
		for (unsigned int j = 0; j < 200; j++)
			harness_pump(node);
	}
	CHECK(node->downs[victim] == 1);
}

/* The survivors still have each other. */
static void survivors_talk(struct contract_node *node, struct harness_memory *memory)
{
	unsigned int victim = victim_of(node);
	unsigned int peer = (node->rank + 1) % victim;

	word_meet(node, WORD_SURVIVED, victim);
	if (peer != node->rank) {
		CHECK(harness_read(node, harness_local(memory, 64, 64),
				   harness_remote(node, peer, 0, 0)) == 0);
		CHECK(harness_write(node, harness_local(memory, 64, 64),
				    harness_remote(node, peer, 0, 128)) == 0);
	}
	WAIT_UNTIL(node, node->outstanding == 0);
	node->leaving = true;
	word_meet(node, WORD_FAREWELLS, victim);
}

static struct harness_memory memory_offer(struct contract_node *node)
{
	struct harness_memory memory = harness_memory_make(PAGE_BYTES);

	harness_memory_register(node, &memory, ACCESS_ALL);
	harness_key_publish(node, 0, memory.key);
	node->down_allowed[victim_of(node)] = true;
	node->on_message = number_check;
	return memory;
}

/* ---- killed in full traffic ----------------------------------------------------------------- */

static void traffic_send(struct contract_node *node, unsigned int peer, uint64_t *sent)
{
	int error;

	if (node->downs[peer] > 0)
		return;
	error = node->ops->send(node->fabric, node_id(peer), &sent[peer], sizeof(sent[peer]));
	CHECK(error == 0 || error == -EAGAIN || (error == -EHOSTDOWN && peer == victim_of(node)));
	if (error == 0)
		sent[peer]++;
}

static void traffic_post(struct contract_node *node, unsigned int peer,
			 struct harness_memory *memory)
{
	struct fabric_remote remote = harness_remote(node, peer, 0, 512);
	struct fabric_local local = harness_local(memory, 1024, 256);
	bool atomic = prng_below(&node->prng, 2) == 0;
	int error;

	if (node->outstanding > 64)
		return;
	uint64_t tag = harness_tag(node, atomic ? FABRIC_ATOMIC_DONE : FABRIC_READ_DONE, peer);
	error = atomic ? node->ops->fetch_add(node->fabric, &remote, 1, tag)
		       : node->ops->read(node->fabric, &local, &remote, tag);
	CHECK(error == 0 || error == -EAGAIN || (error == -EHOSTDOWN && peer == victim_of(node)));
	if (error != 0)
		harness_tag_forget(node, tag);
}

#define TRAFFIC_TURNS 2000u

static void loss_killed(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);
	unsigned int victim = victim_of(node);
	uint64_t sent[CONTRACT_NODES_MAX] = { 0 };
	uint64_t end_ns = harness_deadline(node);

	harness_barrier(node);
	for (unsigned int turn = 0; node->downs[victim] == 0; turn++) {
		unsigned int peer = (unsigned int)prng_below(&node->prng, node->count);

		if (node->rank == 0 && turn == TRAFFIC_TURNS)
			victim_kill(node);
		if (peer != node->rank) {
			traffic_send(node, peer, sent);
			traffic_post(node, peer, &memory);
		}
		if (harness_pump(node) == 0)
			harness_breathe(end_ns, __FILE__, __LINE__, "the loss is noticed");
	}
	CHECK(node->down_status[victim] < 0);
	lost_check(node, &memory);
	survivors_talk(node, &memory);
}

/* ---- what was sent before ------------------------------------------------------------------- */

/* Sends some to each, within the credit of those who do not poll; tells how many; then goes. */
static void last_words(struct contract_node *node)
{
	for (unsigned int peer = 0; peer < victim_of(node); peer++) {
		uint64_t count = 1 + prng_below(&node->prng, HARNESS_CREDITS);

		for (uint64_t number = 0; number < count; number++)
			harness_send(node, peer, &number, sizeof(number));
		harness_set_word(node, WORD_SENT + peer, count);
	}
}

static void last_words_hear(struct contract_node *node, struct harness_memory *memory, bool lost)
{
	unsigned int victim = victim_of(node);

	/* Who leaves in order may have begun to speak while this node came here. */
	CHECK(!lost || node->received[victim] == 0);
	WAIT_UNTIL(node, node->downs[victim] == 1);
	CHECK(lost ? node->down_status[victim] < 0 : node->down_status[victim] == 0);
	CHECK(node->received[victim] == atomic_load(&node->world->words[WORD_SENT + node->rank]));
	lost_check(node, memory);
	survivors_talk(node, memory);
}

/* Messages that arrived come before the news of the loss, though nobody polled till then. */
static void loss_last_words(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);

	harness_barrier(node);
	if (node->rank == victim_of(node)) {
		for (unsigned int peer = 0; peer < victim_of(node); peer++)
			harness_await_word(node, WORD_ARMED + peer, 1);
		last_words(node);
		usleep(50000); /* for a network to bring them */
		harness_set_word(node, WORD_LEFT, 1);
		for (;;)
			pause();
	}
	/* Armed nodes look at everything in their first poll(), the loss included. */
	CHECK(node->ops->arm(node->fabric) == 0);
	harness_set_word(node, WORD_ARMED + node->rank, 1);
	harness_await_word(node, WORD_LEFT, 1);
	if (node->rank == 0) {
		victim_kill(node);
		usleep(20000);
		harness_set_word(node, WORD_LEFT, 2);
	}
	harness_await_word(node, WORD_LEFT, 2);
	last_words_hear(node, &memory, true);
}

/* close() loses nothing that was accepted. */
static void loss_in_order(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);

	harness_barrier(node);
	if (node->rank == victim_of(node)) {
		last_words(node);
		harness_close(node);
		harness_set_word(node, WORD_LEFT, 1);
		return;
	}
	/* Half of them hear it while it happens, half of them later. */
	if (node->rank % 2 == 0)
		harness_await_word(node, WORD_LEFT, 1);
	last_words_hear(node, &memory, false);
}

/* ---- asleep --------------------------------------------------------------------------------- */

/* Those who sleep are woken, also who waits for credit of the dead. */
static void loss_asleep(struct contract_node *node)
{
	struct harness_memory memory = memory_offer(node);
	unsigned int victim = victim_of(node);
	uint64_t number = 0;

	harness_barrier(node);
	if (node->rank == victim) {
		harness_set_word(node, WORD_READY, 1);
		for (;;)
			pause();
	}
	harness_await_word(node, WORD_READY, 1);
	while (node->rank % 2 == 0 &&
	       node->ops->send(node->fabric, node_id(victim), &number, 8) == 0)
		number++;
	CHECK(number <= HARNESS_CREDITS);
	if (node->rank == 0) {
		usleep(50000);
		victim_kill(node);
	}
	SLEEP_UNTIL(node, node->downs[victim] == 1);
	CHECK(node->down_status[victim] < 0);
	lost_check(node, &memory);
	survivors_talk(node, &memory);
}

/* One after the other leaves; each is reported in order to those who are left. */
static void loss_one_by_one(struct contract_node *node)
{
	node->on_message = number_check;
	node->leaving = true;
	for (unsigned int peer = node->count - 1; peer > node->rank; peer--) {
		SLEEP_UNTIL(node, node->downs[peer] == 1);
		CHECK(node->down_status[peer] == 0);
	}
	harness_close(node);
}

static void loss_one_by_one_raw(struct contract_node *node)
{
	harness_open(node);
	harness_addresses_await(node, node->count);
	harness_connect(node);
	loss_one_by_one(node);
}

/* As loss_in_order, with the ends left to the case. */
static void loss_in_order_raw(struct contract_node *node)
{
	harness_open(node);
	harness_addresses_await(node, node->count);
	harness_connect(node);
	loss_in_order(node);
	if (node->rank != victim_of(node))
		harness_close(node);
}

static const struct contract_case cases[] = {
	{ .name = "loss_killed", .run = loss_killed, .flags = CONTRACT_VICTIM },
	{ .name = "loss_last_words", .run = loss_last_words, .flags = CONTRACT_VICTIM },
	{ .name = "loss_asleep", .run = loss_asleep, .flags = CONTRACT_VICTIM },
	{ .name = "loss_in_order", .run = loss_in_order_raw, .flags = CONTRACT_RAW },
	{ .name = "loss_one_by_one", .run = loss_one_by_one_raw, .flags = CONTRACT_RAW },
};

const struct contract_table contract_loss_cases = CONTRACT_TABLE(cases);
