/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping on the descriptor: no lost wake-up, no needless one. */
#include "harness.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void message_any(struct contract_node *node, unsigned int peer, const unsigned char *data,
			size_t bytes)
{
	(void)node;
	(void)peer;
	(void)data;
	(void)bytes;
}

#define PING_ROUNDS 3000u

static void sleep_ping_pong(struct contract_node *node)
{
	unsigned int peer = node->rank ^ 1;
	uint64_t rounds = harness_rounds(node, PING_ROUNDS);
	uint64_t round = 0;
	int fd = node->ops->fd(node->fabric);

	node->on_message = message_any;
	CHECK(fd >= 0);
	for (; peer < node->count && round < rounds; round++) {
		if (node->rank < peer)
			harness_send(node, peer, &round, sizeof(round));
		SLEEP_UNTIL(node, node->received[peer] == round + 1);
		if (node->rank > peer)
			harness_send(node, peer, &round, sizeof(round));
	}
	CHECK(node->ops->fd(node->fabric) == fd);
}

#define RACE_ROUNDS 4000u
#define RACE_NS 2000u

/* Falls asleep slowly, so that events come between the last poll() and arm(). */
static void drowse_until(struct contract_node *node, unsigned int peer, uint64_t received)
{
	uint64_t end_ns = harness_deadline(node);

	while (node->received[peer] < received) {
		if (harness_pump(node) > 0)
			continue;
		/* On another processor, or, where there is but one, instead. */
		if (prng_below(&node->prng, 4) == 0)
			sched_yield();
		else
			harness_spin_ns(prng_below(&node->prng, RACE_NS));
		harness_sleep(node, end_ns, __FILE__, __LINE__, "a sleeper is woken");
	}
}

/* The sender's moment wanders across that of the sleeper's falling asleep. */
static void sleep_race(struct contract_node *node)
{
	uint64_t rounds = harness_rounds(node, RACE_ROUNDS);
	unsigned int peer = node->rank ^ 1;

	node->on_message = message_any;
	for (uint64_t round = 0; round < rounds; round++) {
		if (node->rank == 0) {
			harness_spin_ns(prng_below(&node->prng, 2 * RACE_NS));
			harness_send(node, peer, &round, sizeof(round));
			WAIT_UNTIL(node, node->received[peer] == round + 1);
		} else {
			drowse_until(node, peer, round + 1);
			harness_send(node, peer, &round, sizeof(round));
		}
	}
}

#define MANY_MESSAGES 1500u

/* Many wake one sleeper, and each other's wake-ups are not taken for one's own. */
static void sleep_many_to_one(struct contract_node *node)
{
	uint64_t count = harness_rounds(node, MANY_MESSAGES);

	if (node->rank == 0) {
		node->on_message = message_any;
		for (unsigned int peer = 1; peer < node->count; peer++)
			SLEEP_UNTIL(node, node->received[peer] == count);
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		if (prng_below(&node->prng, 8) == 0)
			usleep((useconds_t)prng_below(&node->prng, 100));
		harness_send(node, 0, &i, sizeof(i));
	}
}

static uint64_t cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

#define IDLE_NS 200000000u
#define IDLE_CPU_PERCENT 10u
#define IDLE_WAKES 20u

/* Of processor time; an emulated processor, for which limits are longer, may take more. */
static uint64_t idle_cpu_ns(const struct contract_node *node)
{
	uint64_t percent = (uint64_t)IDLE_CPU_PERCENT * node->world->limit_ms / 5000;

	return (uint64_t)IDLE_NS / 100 * (percent < 50 ? percent : 50);
}

/* A node that has nothing to do and is armed costs no processor time. */
static void sleep_idle(struct contract_node *node)
{
	uint64_t end_ns = harness_now_ns() + IDLE_NS;
	uint64_t before_ns = cpu_ns();
	unsigned int wakes = 0;

	while (harness_now_ns() < end_ns) {
		struct pollfd wait = { .fd = node->ops->fd(node->fabric), .events = POLLIN };
		int left_ms = (int)((end_ns - harness_now_ns()) / 1000000) + 1;

		if (node->ops->arm(node->fabric) == 0)
			poll(&wait, 1, left_ms);
		harness_pump(node);
		wakes++;
	}
	CHECK(wakes <= IDLE_WAKES);
	CHECK(cpu_ns() - before_ns < idle_cpu_ns(node));
}

/* An event that is there already is not slept on. */
static void sleep_not_with_work(struct contract_node *node)
{
	uint64_t data = 1;

	node->on_message = message_any;
	if (node->rank == 1) {
		harness_send(node, 0, &data, sizeof(data));
		harness_set_word(node, 0, 1);
		return;
	}
	harness_await_word(node, 0, 1);
	struct pollfd wait = { .fd = node->ops->fd(node->fabric), .events = POLLIN };
	if (node->ops->arm(node->fabric) == 0)
		CHECK(poll(&wait, 1, 1000) == 1);
	WAIT_UNTIL(node, node->received[1] == 1);
	/* A completion is an event too: whether it is there yet or still to come. */
	struct harness_memory memory = harness_memory_make(PAGE_BYTES);
	harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
	harness_key_publish(node, 0, memory.key);
	struct fabric_local local = harness_local(&memory, 0, 64);
	struct fabric_remote remote = harness_remote(node, 0, 0, 64);
	uint64_t tag = harness_tag(node, FABRIC_READ_DONE, 0);
	CHECK(node->ops->read(node->fabric, &local, &remote, tag) == 0);
	SLEEP_UNTIL(node, harness_operation(node, tag)->done);
	node->ops->memory_deregister(node->fabric, memory.region);
}

#define OWN_ROUNDS 16u

/* An operation that is posted while the descriptor is armed: another thread may be asleep on it. */
static void sleep_own_operation(struct contract_node *node)
{
	struct harness_memory memory = harness_memory_make(PAGE_BYTES);
	struct pollfd wait = { .fd = node->ops->fd(node->fabric), .events = POLLIN };

	harness_memory_register(node, &memory, FABRIC_REMOTE_READ);
	harness_key_publish(node, 0, memory.key);
	for (unsigned int round = 0; round < OWN_ROUNDS; round++) {
		struct fabric_local local = harness_local(&memory, 0, 64);
		struct fabric_remote remote = harness_remote(node, node->rank, 0, 64);
		uint64_t tag = harness_tag(node, FABRIC_READ_DONE, node->rank);

		while (node->ops->arm(node->fabric) != 0)
			harness_pump(node);
		CHECK(node->ops->read(node->fabric, &local, &remote, tag) == 0);
		CHECK(poll(&wait, 1, (int)node->world->limit_ms) == 1);
		SLEEP_UNTIL(node, harness_operation(node, tag)->done);
	}
	node->ops->memory_deregister(node->fabric, memory.region);
}

static const struct contract_case cases[] = {
	{ .name = "sleep_ping_pong", .run = sleep_ping_pong, .node_count = 2 },
	{ .name = "sleep_race", .run = sleep_race, .node_count = 2 },
	{ .name = "sleep_many_to_one", .run = sleep_many_to_one },
	{ .name = "sleep_idle", .run = sleep_idle },
	{ .name = "sleep_not_with_work", .run = sleep_not_with_work, .node_count = 2 },
	{ .name = "sleep_own_operation", .run = sleep_own_operation, .node_count = 2 },
};

const struct contract_table contract_sleep_cases = CONTRACT_TABLE(cases);
