/* SPDX-License-Identifier: Apache-2.0 */
/* The helpers of harness.h. A failed check ends the node's process; run.c sees to the rest. */
#include "harness.h"

#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PUMP_EVENTS 16

/* For the text of a failure only: who this process is. */
static const struct contract_node *here;

void harness_fail(const char *file, int line, const char *what)
{
	const char *name = strrchr(file, '/');

	fprintf(stderr, "%s, node %u: %s:%d: not so: %s%s%s\n",
		here != NULL ? here->world->case_name : "?", here != NULL ? here->rank : 0,
		name != NULL ? name + 1 : file, line, what,
		error_text()[0] != '\0' ? "; last: " : "", error_text());
	_exit(1);
}

unsigned int harness_rounds(const struct contract_node *node, unsigned int rounds)
{
	unsigned int fewer = rounds / node->world->haste;

	return fewer > 0 ? fewer : 1;
}

uint64_t harness_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t harness_deadline(const struct contract_node *node)
{
	return harness_now_ns() + node->world->limit_ms * UINT64_C(1000000);
}

static void timed_out(const char *file, int line, const char *what)
{
	char text[256];

	snprintf(text, sizeof(text), "%s (waited in vain)", what);
	harness_fail(file, line, text);
}

void harness_breathe(uint64_t end_ns, const char *file, int line, const char *what)
{
	if (harness_now_ns() >= end_ns)
		timed_out(file, line, what);
	sched_yield();
}

void harness_sleep(struct contract_node *node, uint64_t end_ns, const char *file, int line,
		   const char *what)
{
	struct pollfd wait = { .fd = node->ops->fd(node->fabric), .events = POLLIN };
	int armed = node->ops->arm(node->fabric);

	CHECK(armed == 0 || armed == 1);
	if (harness_now_ns() >= end_ns)
		timed_out(file, line, what);
	if (armed == 0)
		poll(&wait, 1, (int)((end_ns - harness_now_ns()) / 1000000) + 1);
}

void harness_spin_ns(uint64_t duration_ns)
{
	uint64_t end_ns = harness_now_ns() + duration_ns;

	while (harness_now_ns() < end_ns)
		;
}

struct fabric_config harness_config(const struct contract_node *node)
{
	struct fabric_config config = {
		.self = node_id(node->rank),
		.node_count = node->count,
		.job = node->world->job,
		.credits = HARNESS_CREDITS,
		.connect_timeout_ns = node->world->limit_ms * UINT64_C(1000000),
		.loss_timeout_ns = node->world->limit_ms * UINT64_C(1000000) / 2,
	};

	pattern_fill(config.secret, sizeof(config.secret), node->world->seed);
	return config;
}

void harness_open(struct contract_node *node)
{
	struct fabric_config config = harness_config(node);

	here = node;
	CHECK(node->ops->open(&config, &node->fabric, &node->world->addresses[node->rank]) == 0);
	CHECK(node->fabric != NULL);
	CHECK(node->world->addresses[node->rank].bytes <= FABRIC_ADDRESS_MAX);
	atomic_fetch_add(&node->world->addresses_set, 1);
}

void harness_addresses_await(struct contract_node *node, unsigned int opened)
{
	uint64_t end_ns = harness_deadline(node);

	here = node;
	while (atomic_load(&node->world->addresses_set) < opened)
		harness_breathe(end_ns, __FILE__, __LINE__, "all nodes have opened");
}

void harness_connect(struct contract_node *node)
{
	CHECK(node->ops->connect(node->fabric, node->world->addresses) == 0);
	atomic_fetch_add(&node->world->connected, 1);
}

void harness_connected_await(struct contract_node *node)
{
	uint64_t end_ns = harness_deadline(node);

	while (atomic_load(&node->world->connected) < node->count)
		harness_breathe(end_ns, __FILE__, __LINE__, "all nodes are connected");
}

void harness_close(struct contract_node *node)
{
	node->ops->close(node->fabric);
	node->fabric = NULL;
}

static void message_note(struct contract_node *node, const struct fabric_event *event)
{
	unsigned int peer = event->peer.value;

	CHECK(event->data != NULL && event->bytes >= 1 && event->bytes <= FABRIC_MESSAGE_MAX);
	CHECK(node->downs[peer] == 0);
	CHECK(node->on_message != NULL);
	node->on_message(node, peer, event->data, event->bytes);
	node->received[peer]++;
}

static void completion_note(struct contract_node *node, const struct fabric_event *event)
{
	unsigned int index = (unsigned int)(event->tag % HARNESS_OPERATIONS);
	struct harness_operation *operation = &node->operations[index];

	CHECK(event->tag - index == node->tag_high);
	CHECK(operation->outstanding); /* once, and only what was posted */
	CHECK(operation->kind == event->kind);
	CHECK(operation->peer == event->peer.value);
	CHECK(event->status <= 0);
	CHECK(node->downs[operation->peer] == 0);
	operation->outstanding = false;
	operation->done = true;
	operation->status = event->status;
	operation->value = event->value;
	operation->guard = event->guard;
	node->outstanding--;
	node->completed++;
}

static void down_note(struct contract_node *node, const struct fabric_event *event)
{
	unsigned int peer = event->peer.value;

	CHECK(event->status <= 0);
	CHECK(++node->downs[peer] == 1);
	CHECK(node->down_allowed[peer] || node->leaving);
	for (unsigned int i = 0; i < HARNESS_OPERATIONS; i++)
		CHECK(!node->operations[i].outstanding || node->operations[i].peer != peer);
	node->down_status[peer] = event->status;
}

static void event_note(struct contract_node *node, const struct fabric_event *event)
{
	CHECK(event->peer.value < node->count);
	switch (event->kind) {
	case FABRIC_MESSAGE:
		CHECK(event->peer.value != node->rank);
		message_note(node, event);
		return;
	case FABRIC_READ_DONE:
	case FABRIC_WRITE_DONE:
	case FABRIC_ATOMIC_DONE:
	case FABRIC_CHAIN_DONE:
		completion_note(node, event);
		return;
	case FABRIC_CREDIT:
		CHECK(node->downs[event->peer.value] == 0);
		node->credits[event->peer.value]++;
		return;
	case FABRIC_PEER_DOWN:
		down_note(node, event);
		return;
	}
	harness_fail(__FILE__, __LINE__, "an event of no kind");
}

int harness_pump(struct contract_node *node)
{
	struct fabric_event events[PUMP_EVENTS];
	int room = 1 + (int)prng_below(&node->prng, PUMP_EVENTS);
	int count = node->ops->poll(node->fabric, events, room);

	CHECK(count >= 0 && count <= room);
	for (int i = 0; i < count; i++)
		event_note(node, &events[i]);
	return count;
}

void harness_barrier(struct contract_node *node)
{
	struct contract_world *world = node->world;
	unsigned int round = atomic_load(&world->barrier_round);

	if (atomic_fetch_add(&world->barrier_count, 1) + 1 == node->count) {
		atomic_store(&world->barrier_count, 0);
		atomic_fetch_add(&world->barrier_round, 1);
		return;
	}
	WAIT_UNTIL(node, atomic_load(&world->barrier_round) != round);
}

void harness_await_word(struct contract_node *node, unsigned int word, uint64_t value)
{
	uint64_t end_ns = harness_deadline(node);

	while (atomic_load(&node->world->words[word]) < value)
		harness_breathe(end_ns, __FILE__, __LINE__, "another node came so far");
}

void harness_set_word(struct contract_node *node, unsigned int word, uint64_t value)
{
	atomic_store(&node->world->words[word], value);
}

void harness_send(struct contract_node *node, unsigned int peer, const void *data, size_t bytes)
{
	int error = -EAGAIN;

	WAIT_UNTIL(node,
		   (error = node->ops->send(node->fabric, node_id(peer), data, bytes)) != -EAGAIN);
	CHECK(error == 0);
}

void pattern_fill(unsigned char *data, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = pattern_byte(seed, i);
}

bool pattern_equal(const unsigned char *data, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++) {
		if (data[i] != pattern_byte(seed, i))
			return false;
	}
	return true;
}

struct harness_memory harness_memory_make(size_t bytes)
{
	struct harness_memory memory = { .bytes = bytes };

	memory.fd = memfd_create("contract", MFD_CLOEXEC);
	CHECK(memory.fd >= 0);
	CHECK(ftruncate(memory.fd, (off_t)bytes) == 0);
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
	CHECK(base != MAP_FAILED);
	memory.base = base;
	return memory;
}

void harness_memory_register(struct contract_node *node, struct harness_memory *memory,
			     unsigned int access)
{
	struct fabric_memory registered = {
		.addr = memory->base,
		.bytes = memory->bytes,
		.fd = memory->fd,
		.access = access,
	};

	CHECK(node->ops->memory_register(node->fabric, &registered, &memory->region,
					 &memory->key) == 0);
	CHECK(memory->region != NULL);
}

void harness_memory_free(struct harness_memory *memory)
{
	munmap(memory->base, memory->bytes);
	close(memory->fd);
}

void harness_key_publish(struct contract_node *node, unsigned int slot, struct fabric_key key)
{
	CHECK(slot < HARNESS_KEYS);
	node->world->keys[node->rank][slot] = key;
}

struct fabric_remote harness_remote(const struct contract_node *node, unsigned int peer,
				    unsigned int slot, uint64_t offset)
{
	return (struct fabric_remote){
		.peer = node_id(peer),
		.key = node->world->keys[peer][slot],
		.offset = offset,
	};
}

struct fabric_local harness_local(const struct harness_memory *memory, size_t offset, size_t bytes)
{
	return (struct fabric_local){
		.region = memory->region,
		.addr = memory->base + offset,
		.bytes = (uint32_t)bytes,
	};
}

uint64_t harness_tag(struct contract_node *node, enum fabric_event_kind kind, unsigned int peer)
{
	struct harness_operation *operation;

	CHECK(node->outstanding < HARNESS_OPERATIONS);
	do {
		node->tag_next = (node->tag_next + 1) % HARNESS_OPERATIONS;
		operation = &node->operations[node->tag_next];
	} while (operation->outstanding);
	*operation = (struct harness_operation){
		.outstanding = true,
		.kind = kind,
		.peer = peer,
	};
	node->outstanding++;
	return node->tag_high + node->tag_next;
}

void harness_tag_forget(struct contract_node *node, uint64_t tag)
{
	node->operations[tag % HARNESS_OPERATIONS].outstanding = false;
	node->outstanding--;
}

const struct harness_operation *harness_operation(const struct contract_node *node, uint64_t tag)
{
	return &node->operations[tag % HARNESS_OPERATIONS];
}

/* Waits for what `error` says was accepted, and tells how it ended. */
static int finish(struct contract_node *node, uint64_t tag, int error, uint64_t *old)
{
	const struct harness_operation *operation = harness_operation(node, tag);

	if (error != 0) {
		harness_tag_forget(node, tag);
		return error;
	}
	WAIT_UNTIL(node, operation->done);
	if (old != NULL)
		*old = operation->value;
	return operation->status;
}

int harness_read(struct contract_node *node, struct fabric_local local, struct fabric_remote remote)
{
	uint64_t tag = harness_tag(node, FABRIC_READ_DONE, remote.peer.value);
	int error;

	WAIT_UNTIL(node, (error = node->ops->read(node->fabric, &local, &remote, tag)) != -EAGAIN);
	return finish(node, tag, error, NULL);
}

int harness_write(struct contract_node *node, struct fabric_local local,
		  struct fabric_remote remote)
{
	uint64_t tag = harness_tag(node, FABRIC_WRITE_DONE, remote.peer.value);
	int error;

	WAIT_UNTIL(node, (error = node->ops->write(node->fabric, &local, &remote, tag)) != -EAGAIN);
	return finish(node, tag, error, NULL);
}

int harness_fetch_add(struct contract_node *node, struct fabric_remote remote, uint64_t add,
		      uint64_t *old)
{
	uint64_t tag = harness_tag(node, FABRIC_ATOMIC_DONE, remote.peer.value);
	int error;

	WAIT_UNTIL(node,
		   (error = node->ops->fetch_add(node->fabric, &remote, add, tag)) != -EAGAIN);
	return finish(node, tag, error, old);
}

int harness_compare_swap(struct contract_node *node, struct fabric_remote remote, uint64_t expected,
			 uint64_t desired, uint64_t *old)
{
	uint64_t tag = harness_tag(node, FABRIC_ATOMIC_DONE, remote.peer.value);
	int error;

	WAIT_UNTIL(node, (error = node->ops->compare_swap(node->fabric, &remote, expected, desired,
							  tag)) != -EAGAIN);
	return finish(node, tag, error, old);
}

int harness_chain(struct contract_node *node, const struct fabric_chain *chain, uint64_t words[2])
{
	uint64_t tag = harness_tag(node, FABRIC_CHAIN_DONE, chain->word.peer.value);
	int error;

	WAIT_UNTIL(node, (error = node->ops->chain(node->fabric, chain, tag)) != -EAGAIN);
	error = finish(node, tag, error, &words[0]);
	words[1] = harness_operation(node, tag)->guard;
	return error;
}

void harness_refusals_begin(struct contract_node *node)
{
	for (unsigned int peer = 0; peer < node->count; peer++)
		node->down_allowed[peer] = node->world->fragile;
}

bool harness_refused(const struct contract_node *node, unsigned int peer, int status)
{
	if (status == -EHOSTDOWN)
		return node->world->fragile && peer != node->rank;
	return status < 0 && status != -EAGAIN;
}
