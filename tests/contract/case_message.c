/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: content, order, credit. */
#include "harness.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static uint64_t message_seed(const struct contract_node *node, unsigned int from, unsigned int to,
			     uint64_t number)
{
	return hash_u64(node->world->seed ^ hash_u64(from * 1024 + to)) + number * 64;
}

/* ---- every size ---------------------------------------------------------------------------- */

/* Message number n from a peer has n + 1 bytes. */
static void size_check(struct contract_node *node, unsigned int peer, const unsigned char *data,
		       size_t bytes)
{
	CHECK(bytes == node->received[peer] + 1);
	CHECK(pattern_equal(data, bytes, message_seed(node, peer, node->rank, bytes)));
}

static uint64_t received_sum(const struct contract_node *node)
{
	uint64_t sum = 0;

	for (unsigned int peer = 0; peer < node->count; peer++)
		sum += node->received[peer];
	return sum;
}

static void message_sizes(struct contract_node *node)
{
	unsigned char data[FABRIC_MESSAGE_MAX];

	node->on_message = size_check;
	for (size_t bytes = 1; bytes <= FABRIC_MESSAGE_MAX; bytes++) {
		for (unsigned int peer = 0; peer < node->count; peer++) {
			if (peer == node->rank)
				continue;
			pattern_fill(data, bytes, message_seed(node, node->rank, peer, bytes));
			harness_send(node, peer, data, bytes);
			/* It was copied: what happens to the buffer now is nobody's concern. */
			memset(data, 0xee, sizeof(data));
		}
	}
	WAIT_UNTIL(node, received_sum(node) == FABRIC_MESSAGE_MAX * (uint64_t)(node->count - 1));
}

/* ---- order --------------------------------------------------------------------------------- */

struct numbered {
	uint64_t number;
	uint64_t check;
	unsigned char rest[FABRIC_MESSAGE_MAX - 16];
};

static void number_check(struct contract_node *node, unsigned int peer, const unsigned char *data,
			 size_t bytes)
{
	struct numbered message;

	CHECK(bytes >= 16);
	memcpy(&message, data, bytes);
	CHECK(message.number == node->received[peer]);
	CHECK(message.check == message_seed(node, peer, node->rank, message.number));
	CHECK(bytes == 16 || message.rest[bytes - 17] == (unsigned char)message.number);
}

static void numbered_send(struct contract_node *node, unsigned int peer, uint64_t number)
{
	struct numbered message = {
		.number = number,
		.check = message_seed(node, node->rank, peer, number),
	};
	size_t bytes = 16 + prng_below(&node->prng, sizeof(message.rest) + 1);

	memset(message.rest, (unsigned char)number, sizeof(message.rest));
	harness_send(node, peer, &message, bytes);
}

#define ORDER_MESSAGES 100000u
#define ORDER_BURST 40u

static void message_order(struct contract_node *node)
{
	uint64_t each = harness_rounds(node, ORDER_MESSAGES) / (node->count * (node->count - 1));
	uint64_t sent[CONTRACT_NODES_MAX] = { 0 };
	uint64_t left = each * (node->count - 1);

	node->on_message = number_check;
	while (left > 0) {
		unsigned int peer = (unsigned int)prng_below(&node->prng, node->count);
		uint64_t burst = 1 + prng_below(&node->prng, ORDER_BURST);

		for (; peer != node->rank && burst > 0 && sent[peer] < each; burst--) {
			numbered_send(node, peer, sent[peer]++);
			left--;
		}
		harness_pump(node);
	}
	WAIT_UNTIL(node, received_sum(node) == each * (node->count - 1));
	harness_barrier(node);
	for (unsigned int peer = 0; peer < node->count; peer++)
		CHECK(node->received[peer] == (peer == node->rank ? 0 : each));
}

/* ---- credit -------------------------------------------------------------------------------- */

#define CREDIT_ROUNDS 200u

/* Sends until there is no credit; returns how many went. */
static uint64_t fill(struct contract_node *node, unsigned int peer, uint64_t *number)
{
	for (uint64_t count = 0;; count++) {
		struct numbered message = {
			.number = *number,
			.check = message_seed(node, node->rank, peer, *number),
		};
		int error = node->ops->send(node->fabric, node_id(peer), &message, 16);

		if (error == -EAGAIN)
			return count;
		CHECK(error == 0);
		(*number)++;
	}
}

/* Word 0: rounds in which the sender is stuck; word 1: rounds read out. */
static void credit_send(struct contract_node *node, bool asleep)
{
	uint64_t rounds = harness_rounds(node, CREDIT_ROUNDS);
	uint64_t number = 0;

	for (uint64_t round = 1; round <= rounds; round++) {
		uint64_t credits = node->credits[1];

		/* Nobody takes them meanwhile. */
		uint64_t count = fill(node, 1, &number);
		CHECK(count <= HARNESS_CREDITS && (count > 0 || round > 1));
		harness_set_word(node, 0, round);
		if (asleep)
			SLEEP_UNTIL(node, node->credits[1] > credits);
		else
			WAIT_UNTIL(node, node->credits[1] > credits);
		numbered_send(node, 1, number++);
		harness_set_word(node, 2, number);
		harness_await_word(node, 1, round);
	}
}

static void credit_receive(struct contract_node *node)
{
	uint64_t rounds = harness_rounds(node, CREDIT_ROUNDS);

	node->on_message = number_check;
	for (uint64_t round = 1; round <= rounds; round++) {
		harness_await_word(node, 0, round);
		/* Now and then long enough for the sender to be asleep. */
		if (prng_below(&node->prng, 4) == 0)
			usleep(200);
		WAIT_UNTIL(node, atomic_load(&node->world->words[2]) > 0 &&
					 node->received[0] == atomic_load(&node->world->words[2]));
		/* An idle node polls till there is nothing: then all credit has gone back. */
		CHECK(harness_pump(node) == 0);
		harness_set_word(node, 2, 0);
		harness_set_word(node, 1, round);
	}
}

static void message_credit(struct contract_node *node)
{
	if (node->rank == 0)
		credit_send(node, false);
	else if (node->rank == 1)
		credit_receive(node);
}

static void message_credit_asleep(struct contract_node *node)
{
	if (node->rank == 0)
		credit_send(node, true);
	else if (node->rank == 1)
		credit_receive(node);
}

#define FLOOD_MESSAGES 20000u

/* Both ways at once, and both sleep whenever there is nothing to take or no credit. */
static void message_flood_asleep(struct contract_node *node)
{
	unsigned int peer = 1 - node->rank;
	uint64_t number = 0;

	node->on_message = number_check;
	while (number < harness_rounds(node, FLOOD_MESSAGES)) {
		uint64_t credits = node->credits[peer];

		fill(node, peer, &number);
		SLEEP_UNTIL(node, node->credits[peer] > credits);
	}
	harness_set_word(node, node->rank, number);
	harness_set_word(node, 2 + node->rank, 1);
	WAIT_UNTIL(node, atomic_load(&node->world->words[2 + peer]) == 1 &&
				 node->received[peer] == atomic_load(&node->world->words[peer]));
}

/* A peer that does not poll has no bearing on the way to the others. */
static void message_one_stuck(struct contract_node *node)
{
	uint64_t number = 0;

	node->on_message = number_check;
	if (node->rank == 0) {
		fill(node, 1, &number);
		for (uint64_t i = 0; i < 1000; i++)
			numbered_send(node, 2, i);
		harness_set_word(node, 0, 1);
	} else if (node->rank == 1) {
		harness_await_word(node, 0, 1);
	} else {
		WAIT_UNTIL(node, node->received[0] == 1000);
	}
}

static void message_arguments(struct contract_node *node)
{
	unsigned char data[FABRIC_MESSAGE_MAX + 1] = { 0 };
	unsigned int peer = (node->rank + 1) % node->count;
	struct fabric *fabric = node->fabric;

	CHECK(node->ops->send(fabric, node_id(peer), data, 0) == -EINVAL);
	CHECK(node->ops->send(fabric, node_id(peer), data, sizeof(data)) == -EINVAL);
	CHECK(node->ops->send(fabric, node_id(node->rank), data, 1) == -EINVAL);
	CHECK(node->ops->send(fabric, node_id(node->count), data, 1) == -EINVAL);
	harness_barrier(node);
	for (int i = 0; i < 100; i++)
		CHECK(harness_pump(node) == 0);
}

static const struct contract_case cases[] = {
	{ .name = "message_sizes", .run = message_sizes },
	{ .name = "message_order", .run = message_order },
	{ .name = "message_credit", .run = message_credit, .node_count = 2 },
	{ .name = "message_credit_asleep", .run = message_credit_asleep, .node_count = 2 },
	{ .name = "message_flood_asleep", .run = message_flood_asleep, .node_count = 2 },
	{ .name = "message_one_stuck", .run = message_one_stuck, .node_count = 3 },
	{ .name = "message_arguments", .run = message_arguments },
};

const struct contract_table contract_message_cases = CONTRACT_TABLE(cases);
