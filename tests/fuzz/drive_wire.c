/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives fuzz_wire.c without libFuzzer, by the structure of messages: a good message of a random
 * kind, changed in none to three places, by values at the edges. Fails also when a kind was never
 * let through or never refused, for then the changes test nothing.
 *
 * drive_wire [seed [count]]: the same seed, the same inputs.
 */
#include "base/prng.h"
#include "fuzz_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct driver {
	struct prng prng;
	const struct wire_limits *limits;
	uint64_t passed[MSG_KIND_END];
	uint64_t refused[MSG_KIND_END];
};

static uint64_t below(struct driver *driver, uint64_t limit)
{
	return prng_below(&driver->prng, limit);
}

/* A run of 1 .. max within [0, limit). */
static uint64_t make_range(struct driver *driver, uint64_t max, uint64_t limit, uint64_t *first)
{
	uint64_t count = 1 + below(driver, max < limit ? max : limit);

	*first = below(driver, limit - count + 1);
	return count;
}

static uint16_t make_node(struct driver *driver)
{
	return (uint16_t)below(driver, driver->limits->node_count);
}

static void make_pages(struct driver *driver, struct message *message)
{
	uint64_t pages = driver->limits->page_limit;
	uint64_t max =
		message->kind == MSG_KEY_REQUEST || message->kind == MSG_GATE_REQUEST ? 1 : RUN_MAX;

	if (message->kind == MSG_READ_GRANT || message->kind == MSG_WRITE_GRANT) {
		message->grant.page_count =
			(uint16_t)make_range(driver, RUN_MAX, pages, &message->grant.page);
		message->grant.owner = make_node(driver);
		for (unsigned int i = 0; i < message->grant.page_count; i++)
			message->grant.deltas[i] = i == 0 ? 0 : (int16_t)prng_next(&driver->prng);
	} else if (message->kind == MSG_KEY_REPLY) {
		message->key.page_count = make_range(driver, pages, pages, &message->key.page);
		message->key.key = prng_next(&driver->prng);
	} else if (message->kind == MSG_GATE_REPLY) {
		message->gates.page_count = make_range(driver, pages, pages, &message->gates.page);
		message->gates.key = prng_next(&driver->prng);
		message->gates.sharers = (uint32_t)below(driver, 1000) * 8;
	} else {
		message->run.page_count =
			(uint16_t)make_range(driver, max, pages, &message->run.page);
		if (message->kind == MSG_REFUSE || message->kind == MSG_FETCH_FAILED ||
		    message->kind == MSG_INVALIDATE || message->kind == MSG_HEARD ||
		    message->kind == MSG_LOST)
			message->run.node = make_node(driver);
		if (message->kind == MSG_INVALIDATE || message->kind == MSG_INVALIDATED)
			message->run.flags = (uint32_t)below(driver, 2);
	}
}

static struct message_known make_known(struct driver *driver)
{
	struct message_known known = { .version = 0 };

	known.node = below(driver, driver->limits->node_count + 1u) & UINT16_MAX;
	if (known.node != 0)
		known.version = prng_next(&driver->prng) & ((UINT64_C(1) << 48) - 1);
	return known;
}

static void make_list(struct driver *driver, struct message_pages *pages)
{
	pages->page_count = (uint16_t)(1 + below(driver, PAGES_MAX));
	for (unsigned int i = 0; i < pages->page_count; i++)
		pages->pages[i] = below(driver, driver->limits->page_limit);
}

/* About managers that move. */
static void make_moving(struct driver *driver, struct message *message)
{
	uint64_t pages = driver->limits->page_limit;

	if (message->kind == MSG_QUEUE) {
		message->queue.page = below(driver, pages);
		message->queue.request_count = (uint16_t)(1 + below(driver, HANDED_MAX));
		for (unsigned int i = 0; i < message->queue.request_count; i++) {
			message->queue.requests[i].node = make_node(driver);
			message->queue.requests[i].tag = prng_next(&driver->prng) & UINT32_MAX;
		}
	} else if (message->kind == MSG_ABSENT) {
		message->absent.page_count =
			(uint16_t)make_range(driver, ABSENT_MAX, pages, &message->absent.page);
		for (unsigned int i = 0; i < message->absent.page_count; i++)
			message->absent.known[i] = make_known(driver);
	} else if (message->kind == MSG_TOLD) {
		message->told.page = below(driver, pages);
		message->told.flags = (uint8_t)below(driver, TOLD_FLAGS + 1);
		message->told.known = make_known(driver);
		if (message->told.flags & TOLD_HOLDS)
			message->told.version = prng_next(&driver->prng);
	} else {
		message->request.page_count =
			(uint16_t)make_range(driver, RUN_MAX, pages, &message->request.page);
		message->request.node = make_node(driver);
		message->request.home = make_known(driver).node;
		message->request.flags = (uint8_t)below(driver, REQUEST_FLAGS + 1);
	}
}

static void make_homes(struct driver *driver, struct message *message)
{
	struct message_home_reply *reply = &message->home_reply;
	uint64_t units = driver->limits->page_limit / UNIT_PAGES;

	if (message->kind == MSG_HOME_QUERY) {
		message->home_query.unit = below(driver, units);
		message->home_query.claim = (uint32_t)below(driver, 2);
		return;
	}
	reply->unit_count = (uint16_t)make_range(driver, HOMES_MAX, units, &reply->unit);
	for (unsigned int i = 0; i < reply->unit_count; i++)
		reply->homes[i] = below(driver, 4) == 0 ? HOME_UNKNOWN : make_node(driver);
}

static void make_heap(struct driver *driver, struct message *message)
{
	uint64_t units = driver->limits->page_limit / UNIT_PAGES;
	uint64_t ignored;

	if (message->kind == MSG_HEAP_REQUEST) {
		message->heap_request.unit_count = make_range(driver, units, units, &ignored);
		message->heap_request.placement =
			below(driver, 2) ? make_node(driver)
					 : (uint16_t)(PLACE_FIRST_TOUCH + below(driver, 2));
		message->heap_request.slab = message->heap_request.unit_count == 1;
	} else if (message->kind == MSG_HEAP_RELEASE) {
		message->heap_release.unit_count =
			make_range(driver, units, units, &message->heap_release.unit);
	} else {
		message->heap_free.block_count = (uint32_t)(1 + below(driver, FREES_MAX));
		for (unsigned int i = 0; i < message->heap_free.block_count; i++)
			message->heap_free.blocks[i].offset =
				below(driver, driver->limits->page_limit * PAGE_BYTES) &
				((UINT64_C(1) << 48) - 1);
	}
}

static void make_call(struct driver *driver, struct message *message)
{
	struct message_sync_request *request = &message->sync_request;

	if (message->kind == MSG_SYNC_RECALL) {
		message->sync_recall.name = below(driver, driver->limits->page_limit * PAGE_BYTES);
		return;
	}
	if (message->kind == MSG_REPLY) {
		message->reply.value = prng_next(&driver->prng);
		message->reply.status = -(int32_t)below(driver, 4096);
		return;
	}
	request->name = below(driver, driver->limits->page_limit * PAGE_BYTES);
	request->slot = (uint32_t)prng_next(&driver->prng);
	request->kind = (uint8_t)(1 + below(driver, SYNC_KIND_END - 1));
	request->op = (uint8_t)(1 + below(driver, SYNC_OP_END - 1));
}

static void make_collect(struct driver *driver, struct message *message)
{
	struct message_collect *collect = &message->collect;

	collect->op = (uint8_t)(1 + below(driver, COLLECT_OP_END - 1));
	collect->root = make_node(driver);
	if (collect->op == COLLECT_BROADCAST)
		collect->bytes = (uint16_t)below(driver, COLLECT_BYTES_MAX + 1);
	if (message->kind == MSG_COLLECT_DONE)
		collect->status = -(int32_t)below(driver, 4096);
	for (unsigned int i = 0; i < collect->bytes; i++)
		collect->data[i] = (uint8_t)prng_next(&driver->prng);
}

static void make_good(struct driver *driver, struct message *message)
{
	memset(message, 0, sizeof(*message));
	message->kind = (uint16_t)(1 + below(driver, MSG_KIND_END - 1));
	switch ((int)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
	case MSG_QUEUE:
	case MSG_ABSENT:
	case MSG_TOLD:
		make_moving(driver, message);
		break;
	case MSG_EVICT:
	case MSG_EVICTED:
	case MSG_KEPT:
	case MSG_TAKE:
		make_list(driver, &message->pages);
		break;
	case MSG_HOME_QUERY:
	case MSG_HOME_REPLY:
		make_homes(driver, message);
		break;
	case MSG_HEAP_REQUEST:
	case MSG_HEAP_RELEASE:
	case MSG_HEAP_FREE:
		make_heap(driver, message);
		break;
	case MSG_SYNC_REQUEST:
	case MSG_SYNC_RECALL:
	case MSG_REPLY:
		make_call(driver, message);
		break;
	case MSG_COLLECT:
	case MSG_COLLECT_DONE:
		make_collect(driver, message);
		break;
	default:
		make_pages(driver, message);
		break;
	}
	message->bytes = (uint16_t)message_bytes(message);
}

/* Overwrites 1, 2, 4 or 8 aligned bytes by a value at an edge. */
static void change_word(struct driver *driver, uint8_t *data, size_t bytes)
{
	const uint64_t edges[] = {
		0,
		1,
		UINT8_MAX,
		UINT16_MAX,
		UINT32_MAX,
		UINT64_MAX,
		driver->limits->node_count,
		driver->limits->page_limit,
		driver->limits->page_limit / UNIT_PAGES,
		driver->limits->page_limit * PAGE_BYTES,
		RUN_MAX + 1,
		HOMES_MAX + 1,
		FREES_MAX + 1,
		COLLECT_BYTES_MAX + 1,
		UINT64_C(1) << 63,
		prng_next(&driver->prng),
	};
	size_t width = (size_t)1 << below(driver, 4);
	uint64_t value = edges[below(driver, sizeof(edges) / sizeof(edges[0]))];

	if (bytes < width)
		return;
	value += below(driver, 3) - 1;
	memcpy(data + below(driver, bytes / width) * width, &value, width);
}

static size_t change(struct driver *driver, uint8_t *data, size_t bytes)
{
	switch (below(driver, 4)) {
	case 0: /* a bit */
		data[below(driver, bytes)] ^= (uint8_t)(1u << below(driver, 8));
		return bytes;
	case 1: /* another length, named or not */
		bytes = 1 + below(driver, MESSAGE_MAX);
		if (bytes >= 4 && below(driver, 2))
			memcpy(data + 2, &(uint16_t){ (uint16_t)bytes }, 2);
		return bytes;
	case 2: /* the length that kind and counts now ask for */
		bytes = message_bytes((const struct message *)(void *)data);
		if (bytes < 8 || bytes > MESSAGE_MAX)
			bytes = 8;
		memcpy(data + 2, &(uint16_t){ (uint16_t)bytes }, 2);
		return bytes;
	}
	change_word(driver, data, bytes);
	return bytes;
}

static void drive(struct driver *driver)
{
	_Alignas(8) uint8_t data[MESSAGE_MAX];
	struct message message;
	unsigned int change_count = (unsigned int)below(driver, 4);

	driver->limits = &fuzz_limits[below(driver, FUZZ_LIMITS)];
	make_good(driver, &message);
	size_t bytes = message.bytes;

	memset(data, 0, sizeof(data));
	memcpy(data, &message, sizeof(message));
	for (unsigned int i = 0; i < change_count; i++)
		bytes = change(driver, data, bytes);
	if (fuzz_wire_check(driver->limits, data, bytes)) {
		memcpy(&message.kind, data, sizeof(message.kind));
		driver->passed[message.kind]++;
	} else if (change_count > 0) {
		driver->refused[message.kind]++;
	} else {
		fprintf(stderr, "a good %s was refused\n",
			message_name((enum message_kind)message.kind));
		abort();
	}
}

static int report(const struct driver *driver)
{
	int status = 0;

	for (unsigned int kind = 1; kind < MSG_KIND_END; kind++) {
		printf("%-15s let through %8lu, refused %8lu\n",
		       message_name((enum message_kind)kind), (unsigned long)driver->passed[kind],
		       (unsigned long)driver->refused[kind]);
		if (driver->passed[kind] == 0 || driver->refused[kind] == 0)
			status = 1;
	}
	if (status != 0)
		printf("a kind was never let through or never refused\n");
	return status;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000;
	struct driver driver = { .prng = prng_init(seed) };

	printf("to repeat: %s %lu %lu\n", argv[0], (unsigned long)seed, (unsigned long)count);
	fflush(stdout);
	for (uint64_t i = 0; i < count; i++)
		drive(&driver);
	return report(&driver);
}
