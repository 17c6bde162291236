/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strangers at the listeners of the fabric on RDMA: one process more than the job has connects
 * through rdma_cm with private data of its own, before the last node comes and when all are there.
 * It must be refused each time, and the job must come about and go on.
 */
#include "contract_verbs.h"
#include "verbs/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What rdma_cm lets a connection request carry. */
#define PRIVATE_MAX 56

enum {
	WORD_BEFORE = 0, /* the stranger has done what it does while the nodes connect */
	WORD_CONNECTED,	 /* nodes that are connected */
	WORD_AFTER,	 /* and has done what it does afterwards */
};

static struct verbs_address address_of(const struct contract_node *node, unsigned int rank)
{
	struct verbs_address at;

	CHECK(node->world->addresses[rank].bytes == sizeof(at));
	memcpy(&at, node->world->addresses[rank].data, sizeof(at));
	return at;
}

/* Connects to `rank` with these words; returns 0 or the errno value. */
static int dial(const struct contract_node *node, unsigned int rank, const void *words,
		size_t bytes)
{
	struct verbs_address at = address_of(node, rank);
	struct rdma_conn_param wanted = {
		.private_data = words,
		.private_data_len = (uint8_t)bytes,
		.responder_resources = 1,
		.initiator_depth = 1,
		.retry_count = 7,
	};
	struct ibv_qp_init_attr queue = {
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC,
	};
	struct rdma_cm_id *id;

	CHECK(rdma_create_id(NULL, &id, NULL, RDMA_PS_TCP) == 0);
	CHECK(rdma_resolve_addr(id, NULL, (struct sockaddr *)(void *)&at.at, 2000) == 0);
	CHECK(rdma_resolve_route(id, 2000) == 0);
	CHECK(rdma_create_qp(id, NULL, &queue) == 0);
	int error = rdma_connect(id, &wanted) == 0 ? 0 : errno;

	rdma_destroy_qp(id);
	rdma_destroy_id(id);
	return error;
}

static void stranger_garbage(struct contract_node *node, unsigned int rank)
{
	static const size_t sizes[] = { 0, 1, GREETING_BYTES - 1, GREETING_BYTES, PRIVATE_MAX };
	unsigned char garbage[PRIVATE_MAX];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(garbage); j++)
			garbage[j] = (unsigned char)prng_next(&node->prng);
		CHECK(dial(node, rank, garbage, sizes[i]) == ECONNREFUSED);
	}
}

/* The very words with which node `from` greets node `to`, or those of another listener's time. */
static void overhear(const struct contract_node *node, unsigned int from, unsigned int to,
		     uint64_t age, uint8_t words[GREETING_BYTES])
{
	struct fabric speaker = { .config = harness_config(node) };
	const struct greeting_ends ends = {
		.peer = to,
		.listener = address_of(node, to).nonce ^ age,
		.dialler = address_of(node, from).nonce,
	};

	speaker.config.self = node_id(from);
	greeting_write(&speaker, &ends, words);
}

/* Each bit counts. */
static void stranger_altered(struct contract_node *node, unsigned int rank)
{
	uint8_t words[GREETING_BYTES];

	for (unsigned int i = 0; i < 10; i++) {
		size_t bit = (size_t)prng_below(&node->prng, GREETING_BYTES * 8);

		overhear(node, node->count - 1, rank, 0, words);
		words[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		CHECK(dial(node, rank, words, sizeof(words)) == ECONNREFUSED);
	}
}

static void stranger_replays(struct contract_node *node, unsigned int rank, uint64_t age)
{
	uint8_t words[GREETING_BYTES];

	overhear(node, node->count - 1, rank, age, words);
	CHECK(dial(node, rank, words, sizeof(words)) == ECONNREFUSED);
}

static void stranger(struct contract_node *node)
{
	unsigned int last = node->count - 1;

	harness_addresses_await(node, node->count);
	for (unsigned int rank = 0; rank < last; rank++) {
		stranger_garbage(node, rank);
		stranger_replays(node, rank, 1);
	}
	stranger_altered(node, 0);
	harness_set_word(node, WORD_BEFORE, 1);
	harness_await_word(node, WORD_CONNECTED, node->count);
	for (unsigned int rank = 0; rank < last; rank++)
		stranger_replays(node, rank, 0);
	stranger_garbage(node, last);
	harness_set_word(node, WORD_AFTER, 1);
}

static void byte_note(struct contract_node *node, unsigned int peer, const unsigned char *data,
		      size_t bytes)
{
	(void)node;
	CHECK(bytes == 1 && data[0] == (unsigned char)peer);
}

static void verbs_strangers(struct contract_node *node)
{
	unsigned char data = (unsigned char)node->rank;

	if (node->rank == node->count) {
		stranger(node);
		return;
	}
	harness_open(node);
	harness_addresses_await(node, node->count);
	if (node->rank == node->count - 1)
		harness_await_word(node, WORD_BEFORE, 1);
	harness_connect(node);
	atomic_fetch_add(&node->world->words[WORD_CONNECTED], 1);
	node->on_message = byte_note;
	WAIT_UNTIL(node, atomic_load(&node->world->words[WORD_AFTER]) == 1);
	for (unsigned int peer = 0; peer < node->count; peer++) {
		if (peer != node->rank)
			harness_send(node, peer, &data, 1);
	}
	for (unsigned int peer = 0; peer < node->count; peer++) {
		if (peer != node->rank)
			WAIT_UNTIL(node, node->received[peer] == 1);
	}
	node->leaving = true;
	harness_barrier(node);
	harness_close(node);
}

/* What it says of itself is what this machine has. */
static void verbs_describe(struct contract_node *node)
{
	struct fabric_description what;
	char path[128];

	node->ops->describe(node->fabric, &what);
	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/ports/%u/gids/%d", what.device,
		 what.port, what.gid_index);
	CHECK(access(path, R_OK) == 0);
	CHECK(what.mtu_bytes >= 256 && what.mtu_bytes <= 4096);
	CHECK(what.address[0] != '\0' && what.gid_type[0] != '\0');
	CHECK(strcmp(what.link_layer, "Ethernet") != 0 || strcmp(what.gid_type, "RoCE v2") == 0);
}

static void chosen(struct contract_node *node, const char *device, const char *address, int wanted)
{
	struct fabric_config config = harness_config(node);
	struct fabric_address at;
	struct fabric *fabric = NULL;

	snprintf(config.device, sizeof(config.device), "%s", device);
	snprintf(config.address, sizeof(config.address), "%s", address);
	CHECK(node->ops->open(&config, &fabric, &at) == wanted);
	if (fabric != NULL)
		node->ops->close(fabric);
}

/* Device and address can be chosen, and what is not there is not replaced by something else. */
static void verbs_choice(struct contract_node *node)
{
	struct fabric_description what;
	char with_port[FABRIC_NAME_MAX + 16];

	node->ops->describe(node->fabric, &what);
	snprintf(with_port, sizeof(with_port), "%s:%u", what.device, what.port);
	chosen(node, what.device, "", 0);
	chosen(node, with_port, what.address, 0);
	snprintf(with_port, sizeof(with_port), "%s:%u", what.device, what.port + 1);
	chosen(node, with_port, "", -ENODEV);
	chosen(node, "nowhere", "", -ENODEV);
	chosen(node, "", "127.0.0.1", -ENODEV);
	chosen(node, "", "not an address", -ENODEV);
}

/* All nodes at one kind of address: IPv6 works as IPv4 does. */
static void verbs_address6(struct contract_node *node)
{
	struct fabric_config config = harness_config(node);
	const char *given = getenv("SOFTROCE_ADDRS6");
	unsigned char data = (unsigned char)node->rank;

	if (given == NULL || given[0] == '\0')
		return;
	snprintf(config.address, sizeof(config.address), "%.*s", (int)strcspn(given, " "), given);
	CHECK(node->ops->open(&config, &node->fabric, &node->world->addresses[node->rank]) == 0);
	atomic_fetch_add(&node->world->addresses_set, 1);
	harness_addresses_await(node, node->count);
	harness_connect(node);
	harness_connected_await(node);
	node->on_message = byte_note;
	harness_send(node, 1 - node->rank, &data, 1);
	WAIT_UNTIL(node, node->received[1 - node->rank] == 1);
	node->leaving = true;
	harness_barrier(node);
	harness_close(node);
}

/* Who leaves with messages unread does not wait for anybody, though it owes credit for them. */
static void verbs_close_unread(struct contract_node *node)
{
	unsigned char data = (unsigned char)node->rank;

	harness_open(node);
	harness_addresses_await(node, node->count);
	harness_connect(node);
	if (node->rank == 1) {
		for (unsigned int i = 0; i < HARNESS_CREDITS; i++)
			harness_send(node, 0, &data, 1);
		harness_set_word(node, 0, 1);
		node->leaving = true;
		WAIT_UNTIL(node, node->downs[0] == 1);
		CHECK(node->down_status[0] == 0);
		harness_close(node);
		return;
	}
	harness_await_word(node, 0, 1);
	usleep(50000);
	uint64_t start_ns = harness_now_ns();
	harness_close(node);
	/* A lost peer would be waited for twice as long. */
	CHECK(harness_now_ns() - start_ns < node->world->limit_ms * UINT64_C(1000000) / 4);
}

static const struct contract_case cases[] = {
	{ .name = "verbs_strangers",
	  .run = verbs_strangers,
	  .flags = CONTRACT_RAW | CONTRACT_OUTSIDER },
	{ .name = "verbs_close_unread",
	  .run = verbs_close_unread,
	  .node_count = 2,
	  .flags = CONTRACT_RAW },
	{ .name = "verbs_describe", .run = verbs_describe, .node_count = 1 },
	{ .name = "verbs_choice", .run = verbs_choice, .node_count = 1 },
	{ .name = "verbs_address6", .run = verbs_address6, .node_count = 2, .flags = CONTRACT_RAW },
};

const struct contract_table contract_verbs_cases = CONTRACT_TABLE(cases);
