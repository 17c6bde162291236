/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever bytes arrive: message_decode() either refuses them and leaves its output alone, or what
 * it let through keeps every promise that the rest of the code relies on, checked here once more in
 * another way. An input is one byte that chooses the limits, then the bytes of a message.
 *
 * Runs under libFuzzer (clang -fsanitize=fuzzer) and under drive_wire.c.
 */
#include "fuzz_wire.h"
#include "base/assert.h"

#include <errno.h>
#include <string.h>

const struct wire_limits fuzz_limits[FUZZ_LIMITS] = {
	{ .node_count = 1, .page_limit = UNIT_PAGES },
	{ .node_count = 4, .page_limit = 16 * UNIT_PAGES },
	{ .node_count = NODES_MAX, .page_limit = SPACE_PAGES_MAX },
};

/* Byte by byte, the unused ones too. */
static bool same(const void *a, const void *b, size_t bytes)
{
	return memcmp(a, b, bytes) == 0;
}

static void check_range(uint64_t first, uint64_t count, uint64_t max, uint64_t limit)
{
	ASSERT(count >= 1 && count <= max);
	ASSERT(first < limit && first + (count - 1) < limit);
}

/* About managers that move. */
static void check_moving(const struct message *message, const struct wire_limits *limits)
{
	switch ((int)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
		check_range(message->request.page, message->request.page_count, RUN_MAX,
			    limits->page_limit);
		ASSERT(message->request.node < limits->node_count);
		ASSERT(message->request.home <= limits->node_count);
		return;
	case MSG_QUEUE:
		check_range(message->queue.page, 1, 1, limits->page_limit);
		check_range(0, message->queue.request_count, HANDED_MAX, HANDED_MAX);
		return;
	case MSG_ABSENT:
		check_range(message->absent.page, message->absent.page_count, ABSENT_MAX,
			    limits->page_limit);
		return;
	case MSG_EVICT:
	case MSG_EVICTED:
	case MSG_KEPT:
	case MSG_TAKE:
		check_range(0, message->pages.page_count, PAGES_MAX, PAGES_MAX);
		return;
	case MSG_TOLD:
		ASSERT(message->told.page < limits->page_limit);
		ASSERT(message->told.known.node <= limits->node_count);
		return;
	case MSG_HANDOVER:
	case MSG_DECLINE:
	case MSG_HEARD:
		check_range(message->run.page, message->run.page_count, RUN_MAX,
			    limits->page_limit);
		ASSERT(message->run.node < limits->node_count);
		return;
	}
	ASSERT(false);
}

static void check_grant(const struct message_grant *grant, const struct wire_limits *limits)
{
	check_range(grant->page, grant->page_count, RUN_MAX, limits->page_limit);
	ASSERT(grant->owner < limits->node_count);
}

static void check_run(const struct message_run *run, const struct wire_limits *limits)
{
	check_range(run->page, run->page_count, RUN_MAX, limits->page_limit);
	ASSERT(run->node < limits->node_count);
}

static void check_heap(const struct message *message, const struct wire_limits *limits)
{
	uint64_t units = limits->page_limit / UNIT_PAGES;

	switch ((int)message->kind) {
	case MSG_HEAP_REQUEST:
		check_range(0, message->heap_request.unit_count, units, units);
		ASSERT(message->heap_request.placement < limits->node_count ||
		       message->heap_request.placement >= PLACE_FIRST_TOUCH);
		return;
	case MSG_HEAP_RELEASE:
		check_range(message->heap_release.unit, message->heap_release.unit_count, units,
			    units);
		return;
	case MSG_HEAP_FREE:
		check_range(0, message->heap_free.block_count, FREES_MAX, FREES_MAX);
		return;
	}
	ASSERT(false);
}

static void check_sync(const struct message *message, const struct wire_limits *limits)
{
	uint64_t end = limits->page_limit * PAGE_BYTES;

	if (message->kind == MSG_SYNC_RECALL) {
		ASSERT(message->sync_recall.name < end);
		return;
	}
	ASSERT(message->sync_request.name < end);
	ASSERT(message->sync_request.kind < SYNC_KIND_END);
	ASSERT(message->sync_request.op < SYNC_OP_END);
}

static void check_key(const struct message *message, const struct wire_limits *limits)
{
	/* Both begin with the same two fields. */
	check_range(message->key.page, message->key.page_count, limits->page_limit,
		    limits->page_limit);
	if (message->kind == MSG_GATE_REPLY)
		ASSERT(message->gates.sharers % 8 == 0);
}

static void check_call(const struct message *message, const struct wire_limits *limits)
{
	if (message->kind == MSG_REPLY) {
		ASSERT(message->reply.status <= 0);
		return;
	}
	ASSERT(message->collect.bytes <= COLLECT_BYTES_MAX);
	ASSERT(message->collect.root < limits->node_count);
}

static void check_body(const struct message *message, const struct wire_limits *limits)
{
	uint64_t units = limits->page_limit / UNIT_PAGES;

	switch ((enum message_kind)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
	case MSG_QUEUE:
	case MSG_ABSENT:
	case MSG_TOLD:
	case MSG_HANDOVER:
	case MSG_DECLINE:
	case MSG_HEARD:
	case MSG_EVICT:
	case MSG_EVICTED:
	case MSG_KEPT:
	case MSG_TAKE:
		check_moving(message, limits);
		return;
	case MSG_REFUSE:
	case MSG_NOT_NOW:
	case MSG_CONFIRM:
	case MSG_FETCH_FAILED:
	case MSG_INVALIDATE:
	case MSG_INVALIDATED:
	case MSG_DOWNGRADE:
	case MSG_DOWNGRADED:
	case MSG_UPDATED:
	case MSG_UPDATE_FAILED:
	case MSG_PUBLISHED:
	case MSG_KEY_REQUEST:
	case MSG_GATE_REQUEST:
	case MSG_LOST:
		check_run(&message->run, limits);
		return;
	case MSG_READ_GRANT:
	case MSG_WRITE_GRANT:
	case MSG_UPDATE:
		check_grant(&message->grant, limits);
		return;
	case MSG_HOME_QUERY:
		ASSERT(message->home_query.unit < units);
		return;
	case MSG_HOME_REPLY:
		check_range(message->home_reply.unit, message->home_reply.unit_count, HOMES_MAX,
			    units);
		return;
	case MSG_SYNC_REQUEST:
	case MSG_SYNC_RECALL:
		check_sync(message, limits);
		return;
	case MSG_HEAP_REQUEST:
	case MSG_HEAP_RELEASE:
	case MSG_HEAP_FREE:
		check_heap(message, limits);
		return;
	case MSG_REPLY:
	case MSG_COLLECT:
	case MSG_COLLECT_DONE:
		check_call(message, limits);
		return;
	case MSG_KEY_REPLY:
	case MSG_GATE_REPLY:
		check_key(message, limits);
		return;
	case MSG_KIND_END:
		break;
	}
	ASSERT(false);
}

static void check_elements(const struct message *message, const struct wire_limits *limits)
{
	if (message->kind == MSG_HOME_REPLY) {
		for (unsigned int i = 0; i < message->home_reply.unit_count; i++)
			ASSERT(message->home_reply.homes[i] == HOME_UNKNOWN ||
			       message->home_reply.homes[i] < limits->node_count);
	}
	if (message->kind >= MSG_EVICT && message->kind <= MSG_TAKE) {
		for (unsigned int i = 0; i < message->pages.page_count; i++)
			ASSERT(message->pages.pages[i] < limits->page_limit);
	}
	if (message->kind == MSG_QUEUE) {
		for (unsigned int i = 0; i < message->queue.request_count; i++)
			ASSERT(message->queue.requests[i].node < limits->node_count);
	}
	if (message->kind == MSG_ABSENT) {
		for (unsigned int i = 0; i < message->absent.page_count; i++)
			ASSERT(message->absent.known[i].node <= limits->node_count);
	}
	if (message->kind == MSG_HEAP_FREE) {
		for (unsigned int i = 0; i < message->heap_free.block_count; i++)
			ASSERT(message->heap_free.blocks[i].offset <
			       limits->page_limit * PAGE_BYTES);
	}
}

/* What was let through, sent on, is let through again and is the same. */
static void check_again(const struct message *message, const struct wire_limits *limits)
{
	struct message again;

	memset(&again, 0xa5, sizeof(again));
	ASSERT(message_decode(message, message->bytes, limits, &again) == 0);
	ASSERT(same(&again, message, sizeof(again)));
	ASSERT(strcmp(message_name((enum message_kind)message->kind), "?") != 0);
}

bool fuzz_wire_check(const struct wire_limits *limits, const uint8_t *data, size_t bytes)
{
	struct message message;
	struct message before;

	memset(&message, 0x5a, sizeof(message));
	before = message;
	int error = message_decode(data, bytes, limits, &message);

	if (error != 0) {
		ASSERT(error == -EBADMSG);
		ASSERT(same(&message, &before, sizeof(message)));
		return false;
	}
	ASSERT(bytes <= MESSAGE_MAX && message.bytes == bytes);
	ASSERT(message_bytes(&message) == bytes);
	ASSERT(same(&message, data, bytes));
	check_body(&message, limits);
	check_elements(&message, limits);
	check_again(&message, limits);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (bytes >= 1)
		fuzz_wire_check(&fuzz_limits[data[0] % FUZZ_LIMITS], data + 1, bytes - 1);
	return 0;
}
