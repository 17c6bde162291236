/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, connecting, closing; and those who do not belong. */
#include "harness.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void byte_note(struct contract_node *node, unsigned int peer, const unsigned char *data,
		      size_t bytes)
{
	(void)node;
	CHECK(bytes == 1 && data[0] == (unsigned char)peer);
}

/* One message from each to each. */
static void greet_all(struct contract_node *node)
{
	unsigned char data = (unsigned char)node->rank;

	node->on_message = byte_note;
	for (unsigned int peer = 0; peer < node->count; peer++) {
		if (peer != node->rank)
			harness_send(node, peer, &data, 1);
	}
	for (unsigned int peer = 0; peer < node->count; peer++) {
		if (peer != node->rank)
			WAIT_UNTIL(node, node->received[peer] == 1);
	}
}

static void leave(struct contract_node *node)
{
	node->leaving = true;
	harness_barrier(node);
	harness_close(node);
}

static void connect_all(struct contract_node *node)
{
	greet_all(node);
}

/* They come at different times, and use what they have at once. */
static void connect_staggered(struct contract_node *node)
{
	node->on_message = byte_note;
	usleep((useconds_t)prng_below(&node->prng, 20000));
	harness_open(node);
	harness_addresses_await(node, node->count);
	usleep((useconds_t)prng_below(&node->prng, 50000));
	harness_connect(node);
	greet_all(node);
	leave(node);
}

static void connect_alone(struct contract_node *node)
{
	struct harness_memory memory = harness_memory_make(2 * PAGE_BYTES);

	harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
	harness_key_publish(node, 0, memory.key);
	pattern_fill(memory.base, PAGE_BYTES, 1);
	CHECK(harness_read(node, harness_local(&memory, PAGE_BYTES, PAGE_BYTES),
			   harness_remote(node, 0, 0, 0)) == 0);
	CHECK(pattern_equal(memory.base + PAGE_BYTES, PAGE_BYTES, 1));
	CHECK(harness_pump(node) == 0);
}

#define PATIENCE_MS 300u

/* The last rank opens and never connects; the others say so. */
static void connect_missing(struct contract_node *node)
{
	struct fabric_config config = harness_config(node);
	unsigned int absent = node->count - 1;
	char rank[16];

	config.connect_timeout_ns = PATIENCE_MS * UINT64_C(1000000);
	CHECK(node->ops->open(&config, &node->fabric, &node->world->addresses[node->rank]) == 0);
	atomic_fetch_add(&node->world->addresses_set, 1);
	harness_addresses_await(node, node->count);
	uint64_t start_ns = harness_now_ns();
	if (node->rank == absent) {
		usleep((PATIENCE_MS + 100) * 1000);
	} else {
		error_clear();
		CHECK(node->ops->connect(node->fabric, node->world->addresses) == -ETIMEDOUT);
		uint64_t took_ms = (harness_now_ns() - start_ns) / 1000000;
		CHECK(took_ms >= PATIENCE_MS - 1 && took_ms < PATIENCE_MS + 1000);
		snprintf(rank, sizeof(rank), "%u", absent);
		CHECK(strstr(error_text(), rank) != NULL);
	}
	harness_close(node);
}

/* One process more claims the last rank, and has another secret; it comes before the real one. */
static void outsider_connect(struct contract_node *node)
{
	struct fabric_config config = harness_config(node);
	struct fabric_address own;

	config.self = node_id(node->count - 1);
	config.secret[FABRIC_SECRET_BYTES - 1] ^= 1;
	config.connect_timeout_ns = PATIENCE_MS * UINT64_C(1000000);
	CHECK(node->ops->open(&config, &node->fabric, &own) == 0);
	int error = node->ops->connect(node->fabric, node->world->addresses);
	CHECK(error == -EACCES || error == -ECONNREFUSED || error == -ETIMEDOUT);
	harness_set_word(node, 0, 1);
	harness_close(node);
}

static void connect_wrong_secret(struct contract_node *node)
{
	if (node->rank == node->count) {
		harness_addresses_await(node, node->count);
		outsider_connect(node);
		return;
	}
	harness_open(node);
	harness_addresses_await(node, node->count);
	if (node->rank == node->count - 1)
		harness_await_word(node, 0, 1);
	harness_connect(node);
	greet_all(node);
	leave(node);
}

/* A node of another job, with the right secret: it has no business here either. */
static void connect_wrong_job(struct contract_node *node)
{
	if (node->rank < node->count) {
		connect_wrong_secret(node);
		return;
	}
	harness_addresses_await(node, node->count);
	struct fabric_config config = harness_config(node);
	struct fabric_address own;
	config.self = node_id(node->count - 1);
	config.job ^= 2;
	config.connect_timeout_ns = PATIENCE_MS * UINT64_C(1000000);
	CHECK(node->ops->open(&config, &node->fabric, &own) == 0);
	CHECK(node->ops->connect(node->fabric, node->world->addresses) < 0);
	harness_set_word(node, 0, 1);
	harness_close(node);
}

static void open_arguments(struct contract_node *node)
{
	const struct fabric_config good = harness_config(node);
	struct fabric_config bad[5] = { good, good, good, good, good };
	struct fabric_address address;
	struct fabric *fabric = NULL;

	bad[0].node_count = 0;
	bad[1].self = node_id(node->count);
	bad[2].job = 0;
	bad[3].credits = 0;
	bad[4].credits = 3;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(node->ops->open(&bad[i], &fabric, &address) == -EINVAL);
		CHECK(fabric == NULL);
	}
}

static int descriptors_open(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* close() at any time after open(); and everything is given back. */
static void close_any_time(struct contract_node *node)
{
	int before = -1, after = -1;

	open_arguments(node);
	for (unsigned int round = 0; round < 30; round++) {
		struct harness_memory memory = harness_memory_make(PAGE_BYTES);

		harness_open(node);
		if (round % 2 == 0)
			harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
		if (round % 3 == 0) {
			CHECK(harness_pump(node) == 0);
			CHECK(node->ops->arm(node->fabric) == 0);
		}
		harness_close(node);
		harness_memory_free(&memory);
		after = descriptors_open();
		if (round == 0)
			before = after;
	}
	CHECK(before == after);
}

static const struct contract_case cases[] = {
	{ .name = "connect_all", .run = connect_all, .node_count = CONTRACT_NODES_MAX },
	{ .name = "connect_staggered", .run = connect_staggered, .flags = CONTRACT_RAW },
	{ .name = "connect_alone", .run = connect_alone, .node_count = 1 },
	{ .name = "connect_missing", .run = connect_missing, .flags = CONTRACT_RAW },
	{ .name = "connect_wrong_secret",
	  .run = connect_wrong_secret,
	  .flags = CONTRACT_RAW | CONTRACT_OUTSIDER },
	{ .name = "connect_wrong_job",
	  .run = connect_wrong_job,
	  .flags = CONTRACT_RAW | CONTRACT_OUTSIDER },
	{ .name = "close_any_time", .run = close_any_time, .node_count = 2, .flags = CONTRACT_RAW },
};

const struct contract_table contract_connect_cases = CONTRACT_TABLE(cases);
