/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: one good sample of every kind, which must come through unchanged, and for each a table
 * of single changes that must make it refused.
 */
#include "wire/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NODES 4u
#define UNITS 8u
#define PAGES (UNITS * UNIT_PAGES)

static const struct wire_limits limits = { .node_count = NODES, .page_limit = PAGES };

#define FULL_RUN                                                                                   \
	{                                                                                          \
		.run = {.page = PAGES - RUN_MAX, .page_count = RUN_MAX }                           \
	}
#define NODE_RUN                                                                                   \
	{                                                                                          \
		.run = {.page = 3, .page_count = 2, .node = NODES - 1 }                            \
	}
#define FULL_REQUEST                                                                               \
	{                                                                                          \
		.request = {                                                                       \
			.page = PAGES - RUN_MAX,                                                   \
			.page_count = RUN_MAX,                                                     \
			.node = NODES - 1,                                                         \
			.tag = 0x11223344,                                                         \
			.home = NODES,                                                             \
			.hops = 0x5566,                                                            \
			.flags = REQUEST_FLAGS                                                     \
		}                                                                                  \
	}
#define FULL_GRANT                                                                                 \
	{                                                                                          \
		.grant = {.page = PAGES - RUN_MAX, .page_count = RUN_MAX, .owner = NODES - 1 }     \
	}
#define FULL_COLLECT                                                                               \
	{                                                                                          \
		.collect = {                                                                       \
			.sequence = 0x11223344,                                                    \
			.minimum = -7,                                                             \
			.root = NODES - 1,                                                         \
			.bytes = COLLECT_BYTES_MAX,                                                \
			.op = COLLECT_BROADCAST                                                    \
		}                                                                                  \
	}

/* The largest of each kind. sample() fills the arrays. */
static const struct message samples[MSG_KIND_END] = {
	[MSG_READ_REQUEST] = FULL_REQUEST,
	[MSG_WRITE_REQUEST] = FULL_REQUEST,
	[MSG_SEEK] = FULL_REQUEST,
	[MSG_QUEUE] = { .queue = { .page = PAGES - 1, .request_count = HANDED_MAX } },
	[MSG_EVICT] = { .pages = { .page_count = PAGES_MAX } },
	[MSG_EVICTED] = { .pages = { .page_count = PAGES_MAX } },
	[MSG_KEPT] = { .pages = { .page_count = PAGES_MAX } },
	[MSG_TAKE] = { .pages = { .page_count = PAGES_MAX } },
	[MSG_HANDOVER] = FULL_RUN,
	[MSG_DECLINE] = FULL_RUN,
	[MSG_ABSENT] = { .absent = { .page = PAGES - ABSENT_MAX,
				     .page_count = ABSENT_MAX,
				     .tag = 0x11223344 } },
	[MSG_TOLD] = { .told = { .page = PAGES - 1,
				 .tag = 0x11223344,
				 .flags = TOLD_FLAGS,
				 .known = { .version = UINT64_C(0x112233445566), .node = NODES },
				 .version = UINT64_C(0x1122334455667788) } },
	[MSG_HEARD] = NODE_RUN,
	[MSG_CONFIRM] = FULL_RUN,
	[MSG_INVALIDATE] = { .run = { .page = 3,
				      .page_count = 2,
				      .node = NODES - 1,
				      .flags = RUN_CLEARED } },
	[MSG_INVALIDATED] = { .run = { .page = PAGES - RUN_MAX,
				       .page_count = RUN_MAX,
				       .flags = RUN_EMPTY } },
	[MSG_DOWNGRADE] = FULL_RUN,
	[MSG_DOWNGRADED] = FULL_RUN,
	[MSG_UPDATE] = FULL_GRANT,
	[MSG_UPDATED] = FULL_RUN,
	[MSG_UPDATE_FAILED] = NODE_RUN,
	[MSG_PUBLISHED] = FULL_RUN,
	[MSG_REFUSE] = NODE_RUN,
	[MSG_NOT_NOW] = FULL_RUN,
	[MSG_FETCH_FAILED] = NODE_RUN,
	[MSG_LOST] = NODE_RUN,
	[MSG_KEY_REQUEST] = { .run = { .page = PAGES - 1, .page_count = 1 } },
	[MSG_READ_GRANT] = FULL_GRANT,
	[MSG_WRITE_GRANT] = FULL_GRANT,
	[MSG_HOME_QUERY] = { .home_query = { .unit = UNITS - 1, .claim = 1 } },
	[MSG_HOME_REPLY] = { .home_reply = { .unit = 1, .unit_count = UNITS - 1 } },
	[MSG_SYNC_REQUEST] = { .sync_request = { .name = PAGES * PAGE_BYTES - 1,
						 .slot = 0x11223344,
						 .thread = 0x55667788,
						 .argument = 0x99aabbcc,
						 .kind = SYNC_BARRIER,
						 .op = SYNC_ARRIVE } },
	[MSG_SYNC_RECALL] = { .sync_recall = { .name = PAGES * PAGE_BYTES - 1 } },
	[MSG_HEAP_REQUEST] = { .heap_request = { .unit_count = UNITS,
						 .slot = 0x11223344,
						 .placement = PLACE_CYCLIC } },
	[MSG_HEAP_RELEASE] = { .heap_release = { .unit = 1,
						 .unit_count = UNITS - 1,
						 .slot = 0x11223344 } },
	[MSG_REPLY] = { .reply = { .value = UINT64_C(0x1122334455667788),
				   .slot = 0x99aabbcc,
				   .status = -EINVAL } },
	[MSG_HEAP_FREE] = { .heap_free = { .block_count = FREES_MAX } },
	[MSG_COLLECT] = FULL_COLLECT,
	[MSG_COLLECT_DONE] = FULL_COLLECT,
	[MSG_KEY_REPLY] = { .key = { .page_count = PAGES,
				     .addr = UINT64_MAX,
				     .key = UINT64_MAX - 1 } },
	[MSG_GATE_REQUEST] = { .run = { .page = PAGES - 1, .page_count = 1 } },
	[MSG_GATE_REPLY] = { .gates = { .page_count = PAGES,
					.addr = UINT64_MAX,
					.key = UINT64_MAX - 1,
					.sharers = UINT32_MAX - 7 } },
};

/* Distinct values everywhere: what is dropped or swapped shows. */
static struct message sample(enum message_kind kind)
{
	struct message message = samples[kind];

	message.kind = (uint16_t)kind;
	if (kind == MSG_READ_GRANT || kind == MSG_WRITE_GRANT) {
		message.grant.version = UINT64_C(0x1122334455660000);
		for (unsigned int i = 0; i < RUN_MAX; i++)
			message.grant.deltas[i] = (int16_t)(i % 2 ? -(int)i * 500 : (int)i * 500);
	} else if (kind == MSG_QUEUE) {
		for (unsigned int i = 0; i < HANDED_MAX; i++) {
			message.queue.requests[i].node = (uint16_t)(i % NODES);
			message.queue.requests[i].hops = (0x7fff - i) & 0x7fff;
			message.queue.requests[i].write = i % 2;
			message.queue.requests[i].tag = UINT32_MAX - i;
		}
	} else if (kind == MSG_ABSENT) {
		for (unsigned int i = 0; i < ABSENT_MAX; i++) {
			message.absent.known[i].node = (i % (NODES + 1)) & 0xffffu;
			message.absent.known[i].version = i % (NODES + 1) == 0 ? 0 : 0xffffu - i;
		}
	} else if (kind == MSG_HOME_REPLY) {
		for (unsigned int i = 0; i < UNITS - 1; i++)
			message.home_reply.homes[i] = i % 2 ? HOME_UNKNOWN : (uint16_t)(i / 2);
	} else if (kind == MSG_HEAP_FREE) {
		for (unsigned int i = 0; i < FREES_MAX; i++) {
			message.heap_free.blocks[i].offset = PAGES * PAGE_BYTES - 1 - i;
			message.heap_free.blocks[i].size_class = (uint16_t)(UINT16_MAX - i);
		}
	} else if (kind == MSG_COLLECT || kind == MSG_COLLECT_DONE) {
		for (unsigned int i = 0; i < COLLECT_BYTES_MAX; i++)
			message.collect.data[i] = (uint8_t)(i + 1);
	}
	message.bytes = (uint16_t)message_bytes(&message);
	return message;
}

static int decode(const struct message *message, size_t bytes)
{
	struct message out;
	struct message before;

	memset(&out, 0x5a, sizeof(out));
	before = out;
	int error = message_decode(message, bytes, &limits, &out);

	if (error != 0)
		assert_memory_equal(&out, &before, sizeof(out));
	else
		assert_memory_equal(&out, message, bytes);
	return error;
}

static void test_round_trip(void **state)
{
	(void)state;
	for (unsigned int kind = 1; kind < MSG_KIND_END; kind++) {
		struct message message = sample((enum message_kind)kind);
		unsigned char bytes[MESSAGE_MAX + 1];
		struct message out;

		print_message("%s: %u bytes\n", message_name((enum message_kind)kind),
			      message.bytes);
		assert_in_range(message.bytes, 16, MESSAGE_MAX);
		assert_int_equal(decode(&message, message.bytes), 0);
		/* From an odd address, as a byte stream may have it. */
		memcpy(bytes + 1, &message, message.bytes);
		assert_int_equal(message_decode(bytes + 1, message.bytes, &limits, &out), 0);
		assert_memory_equal(&out, &message, sizeof(out));
	}
}

/* Every length but the right one; every kind but the known ones; the header's own fields. */
static void test_lengths(void **state)
{
	(void)state;
	for (unsigned int kind = 1; kind < MSG_KIND_END; kind++) {
		unsigned char data[2 * MESSAGE_MAX] = { 0 };
		struct message message = sample((enum message_kind)kind);
		struct message out;

		for (size_t bytes = 0; bytes <= sizeof(data); bytes++) {
			struct message changed = message;

			if (bytes == message.bytes)
				continue;
			/* The length that arrived is wrong; the length it names as well. */
			memcpy(data, &changed, sizeof(changed));
			assert_int_equal(message_decode(data, bytes, &limits, &out), -EBADMSG);
			changed.bytes = (uint16_t)bytes;
			memcpy(data, &changed, sizeof(changed));
			assert_int_equal(message_decode(data, bytes, &limits, &out), -EBADMSG);
			assert_int_equal(message_decode(data, message.bytes, &limits, &out),
					 -EBADMSG);
		}
		message.zero = 1;
		assert_int_equal(decode(&message, message.bytes), -EBADMSG);
	}
}

static void test_kinds(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind <= UINT16_MAX; kind++) {
		struct message message = { .kind = (uint16_t)kind, .bytes = 24 };
		bool known = kind >= 1 && kind < MSG_KIND_END;

		if (known) {
			assert_true(message_bytes(&message) >= 16);
			assert_string_not_equal(message_name((enum message_kind)kind), "?");
			continue;
		}
		assert_int_equal(message_bytes(&message), 0);
		assert_string_equal(message_name((enum message_kind)kind), "?");
		assert_int_equal(decode(&message, 24), -EBADMSG);
	}
}

/* ---- single changes ---- */

#define FIELD(member) offsetof(struct message, member), sizeof(((struct message *)NULL)->member)

struct change {
	const char *what;
	enum message_kind kind;
	size_t offset;
	size_t bytes;
	uint64_t value;
	int error;
};

static const struct change changes[] = {
	{ "no page", MSG_READ_REQUEST, FIELD(request.page_count), 0, -EBADMSG },
	{ "too many pages", MSG_READ_REQUEST, FIELD(request.page_count), RUN_MAX + 1, -EBADMSG },
	{ "past the end", MSG_READ_REQUEST, FIELD(request.page), PAGES - RUN_MAX + 1, -EBADMSG },
	{ "page wraps round", MSG_READ_REQUEST, FIELD(request.page), UINT64_MAX - 3, -EBADMSG },
	{ "no such node", MSG_READ_REQUEST, FIELD(request.node), NODES, -EBADMSG },
	{ "no such home", MSG_READ_REQUEST, FIELD(request.home), NODES + 1, -EBADMSG },
	{ "home not said", MSG_READ_REQUEST, FIELD(request.home), 0, 0 },
	{ "no such flag", MSG_READ_REQUEST, FIELD(request.flags), REQUEST_FLAGS + 1, -EBADMSG },
	{ "not zero", MSG_READ_REQUEST, FIELD(request.zero[0]), 1, -EBADMSG },
	{ "not zero", MSG_READ_REQUEST, FIELD(request.zero[2]), 1, -EBADMSG },
	{ "fewer pages", MSG_READ_REQUEST, FIELD(request.page_count), 1, 0 },
	{ "no such node", MSG_WRITE_REQUEST, FIELD(request.node), NODES, -EBADMSG },
	{ "no page", MSG_WRITE_REQUEST, FIELD(request.page_count), 0, -EBADMSG },
	{ "no such node", MSG_SEEK, FIELD(request.node), NODES, -EBADMSG },
	{ "no page", MSG_SEEK, FIELD(request.page_count), 0, -EBADMSG },
	{ "past the end", MSG_QUEUE, FIELD(queue.page), PAGES, -EBADMSG },
	{ "no request", MSG_QUEUE, FIELD(queue.request_count), 0, -EBADMSG },
	{ "too many", MSG_QUEUE, FIELD(queue.request_count), HANDED_MAX + 1, -EBADMSG },
	{ "another length", MSG_QUEUE, FIELD(queue.request_count), 1, -EBADMSG },
	{ "no such node", MSG_QUEUE, FIELD(queue.requests[27]), NODES, -EBADMSG },
	{ "not zero", MSG_QUEUE, FIELD(queue.zero[1]), 1, -EBADMSG },
	{ "no page", MSG_HANDOVER, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_HANDOVER, FIELD(run.node), 1, -EBADMSG },
	{ "not zero", MSG_HANDOVER, FIELD(run.flags), 1, -EBADMSG },
	{ "no page", MSG_EVICT, FIELD(pages.page_count), 0, -EBADMSG },
	{ "too many", MSG_KEPT, FIELD(pages.page_count), PAGES_MAX + 1, -EBADMSG },
	{ "unused bits", MSG_TAKE, FIELD(pages.zero[1]), 1, -EBADMSG },
	{ "a page that is none", MSG_EVICTED, FIELD(pages.pages[PAGES_MAX - 1]), PAGES, -EBADMSG },
	{ "no page", MSG_NOT_NOW, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_NOT_NOW, FIELD(run.node), 1, -EBADMSG },
	{ "no page", MSG_DECLINE, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_DECLINE, FIELD(run.node), 1, -EBADMSG },
	{ "past the end", MSG_ABSENT, FIELD(absent.page), PAGES - ABSENT_MAX + 1, -EBADMSG },
	{ "too many pages", MSG_ABSENT, FIELD(absent.page_count), ABSENT_MAX + 1, -EBADMSG },
	{ "another length", MSG_ABSENT, FIELD(absent.page_count), 1, -EBADMSG },
	{ "no such node", MSG_ABSENT, FIELD(absent.known[27]), UINT64_C(5) << 48, -EBADMSG },
	{ "nobody's version", MSG_ABSENT, FIELD(absent.known[27]), 1, -EBADMSG },
	{ "nobody", MSG_ABSENT, FIELD(absent.known[27]), 0, 0 },
	{ "not zero", MSG_ABSENT, FIELD(absent.zero), 1, -EBADMSG },
	{ "past the end", MSG_TOLD, FIELD(told.page), PAGES, -EBADMSG },
	{ "no such flag", MSG_TOLD, FIELD(told.flags), TOLD_FLAGS + 1, -EBADMSG },
	{ "a version unasked", MSG_TOLD, FIELD(told.flags), TOLD_UNDECIDED, -EBADMSG },
	{ "holds", MSG_TOLD, FIELD(told.flags), TOLD_HOLDS, 0 },
	{ "no such node", MSG_TOLD, FIELD(told.known), UINT64_C(5) << 48, -EBADMSG },
	{ "not zero", MSG_TOLD, FIELD(told.zero[1]), 1, -EBADMSG },
	{ "no such node", MSG_HEARD, FIELD(run.node), NODES, -EBADMSG },
	{ "no page", MSG_CONFIRM, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_CONFIRM, FIELD(run.node), 1, -EBADMSG },
	{ "no page", MSG_INVALIDATE, FIELD(run.page_count), 0, -EBADMSG },
	{ "no such node", MSG_INVALIDATE, FIELD(run.node), NODES, -EBADMSG },
	{ "not cleared", MSG_INVALIDATE, FIELD(run.flags), 0, 0 },
	{ "no such flag", MSG_INVALIDATE, FIELD(run.flags), 2, -EBADMSG },
	{ "not empty", MSG_INVALIDATED, FIELD(run.flags), 0, 0 },
	{ "no such flag", MSG_INVALIDATED, FIELD(run.flags), 3, -EBADMSG },
	{ "not zero", MSG_DOWNGRADED, FIELD(run.flags), 1, -EBADMSG },
	{ "no page", MSG_INVALIDATED, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_INVALIDATED, FIELD(run.node), 1, -EBADMSG },
	{ "no page", MSG_DOWNGRADE, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_DOWNGRADE, FIELD(run.node), 1, -EBADMSG },
	{ "no page", MSG_DOWNGRADED, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_DOWNGRADED, FIELD(run.node), 1, -EBADMSG },
	{ "no such node", MSG_REFUSE, FIELD(run.node), NODES, -EBADMSG },
	{ "no page", MSG_REFUSE, FIELD(run.page_count), 0, -EBADMSG },
	{ "no such node", MSG_FETCH_FAILED, FIELD(run.node), NODES, -EBADMSG },
	{ "past the end", MSG_FETCH_FAILED, FIELD(run.page), PAGES - 1, -EBADMSG },
	{ "no such node", MSG_LOST, FIELD(run.node), NODES, -EBADMSG },
	{ "no such node", MSG_UPDATE, FIELD(grant.owner), NODES, -EBADMSG },
	{ "another length", MSG_UPDATE, FIELD(grant.page_count), 1, -EBADMSG },
	{ "no page", MSG_UPDATED, FIELD(run.page_count), 0, -EBADMSG },
	{ "a node unasked", MSG_UPDATED, FIELD(run.node), 1, -EBADMSG },
	{ "no page", MSG_UPDATE_FAILED, FIELD(run.page_count), 0, -EBADMSG },
	{ "no such node", MSG_UPDATE_FAILED, FIELD(run.node), NODES, -EBADMSG },
	{ "past the end", MSG_PUBLISHED, FIELD(run.page), PAGES - 1, -EBADMSG },
	{ "a node unasked", MSG_PUBLISHED, FIELD(run.node), 1, -EBADMSG },
	{ "two pages", MSG_KEY_REQUEST, FIELD(run.page_count), 2, -EBADMSG },
	{ "past the end", MSG_KEY_REQUEST, FIELD(run.page), PAGES, -EBADMSG },
	{ "a node unasked", MSG_KEY_REQUEST, FIELD(run.node), 1, -EBADMSG },

	{ "past the end", MSG_READ_GRANT, FIELD(grant.page), PAGES - RUN_MAX + 1, -EBADMSG },
	{ "no such node", MSG_READ_GRANT, FIELD(grant.owner), NODES, -EBADMSG },
	{ "not zero", MSG_READ_GRANT, FIELD(grant.zero), 1, -EBADMSG },
	{ "another length", MSG_READ_GRANT, FIELD(grant.page_count), 1, -EBADMSG },
	{ "no such node", MSG_WRITE_GRANT, FIELD(grant.owner), NODES, -EBADMSG },
	{ "too many pages", MSG_WRITE_GRANT, FIELD(grant.page_count), RUN_MAX + 1, -EBADMSG },

	{ "no such unit", MSG_HOME_QUERY, FIELD(home_query.unit), UNITS, -EBADMSG },
	{ "claim of two", MSG_HOME_QUERY, FIELD(home_query.claim), 2, -EBADMSG },
	{ "not zero", MSG_HOME_QUERY, FIELD(home_query.zero), 1, -EBADMSG },
	{ "past the end", MSG_HOME_REPLY, FIELD(home_reply.unit), 2, -EBADMSG },
	{ "no such home", MSG_HOME_REPLY, FIELD(home_reply.homes[6]), NODES, -EBADMSG },
	{ "home unknown", MSG_HOME_REPLY, FIELD(home_reply.homes[6]), HOME_UNKNOWN, 0 },
	{ "not zero", MSG_HOME_REPLY, FIELD(home_reply.zero[0]), 1, -EBADMSG },
	{ "not zero", MSG_HOME_REPLY, FIELD(home_reply.zero[1]), 1, -EBADMSG },
	{ "not zero", MSG_HOME_REPLY, FIELD(home_reply.zero[2]), 1, -EBADMSG },
	{ "another length", MSG_HOME_REPLY, FIELD(home_reply.unit_count), 6, -EBADMSG },

	{ "past the end", MSG_SYNC_REQUEST, FIELD(sync_request.name), PAGES *PAGE_BYTES, -EBADMSG },
	{ "kind 0", MSG_SYNC_REQUEST, FIELD(sync_request.kind), 0, -EBADMSG },
	{ "no such kind", MSG_SYNC_REQUEST, FIELD(sync_request.kind), SYNC_KIND_END, -EBADMSG },
	{ "op 0", MSG_SYNC_REQUEST, FIELD(sync_request.op), 0, -EBADMSG },
	{ "no such op", MSG_SYNC_REQUEST, FIELD(sync_request.op), SYNC_OP_END, -EBADMSG },
	{ "not zero", MSG_SYNC_REQUEST, FIELD(sync_request.zero), 1, -EBADMSG },

	{ "past the end", MSG_SYNC_RECALL, FIELD(sync_recall.name), PAGES *PAGE_BYTES, -EBADMSG },

	{ "no unit", MSG_HEAP_REQUEST, FIELD(heap_request.unit_count), 0, -EBADMSG },
	{ "too many", MSG_HEAP_REQUEST, FIELD(heap_request.unit_count), UNITS + 1, -EBADMSG },
	{ "no such node", MSG_HEAP_REQUEST, FIELD(heap_request.placement), NODES, -EBADMSG },
	{ "a node", MSG_HEAP_REQUEST, FIELD(heap_request.placement), NODES - 1, 0 },
	{ "first touch", MSG_HEAP_REQUEST, FIELD(heap_request.placement), PLACE_FIRST_TOUCH, 0 },
	{ "large superblock", MSG_HEAP_REQUEST, FIELD(heap_request.slab), 1, -EBADMSG },
	{ "slab of two", MSG_HEAP_REQUEST, FIELD(heap_request.slab), 2, -EBADMSG },
	{ "past the end", MSG_HEAP_RELEASE, FIELD(heap_release.unit), 2, -EBADMSG },
	{ "no unit", MSG_HEAP_RELEASE, FIELD(heap_release.unit_count), 0, -EBADMSG },
	{ "wraps round", MSG_HEAP_RELEASE, FIELD(heap_release.unit_count), UINT64_MAX, -EBADMSG },
	{ "not zero", MSG_HEAP_RELEASE, FIELD(heap_release.zero), 1, -EBADMSG },

	{ "status above 0", MSG_REPLY, FIELD(reply.status), 1, -EBADMSG },
	{ "no errno", MSG_REPLY, FIELD(reply.status), (uint32_t)-4096, -EBADMSG },
	{ "the last errno", MSG_REPLY, FIELD(reply.status), (uint32_t)-4095, 0 },

	{ "no block", MSG_HEAP_FREE, FIELD(heap_free.block_count), 0, -EBADMSG },
	{ "another length", MSG_HEAP_FREE, FIELD(heap_free.block_count), 1, -EBADMSG },
	{ "count wraps", MSG_HEAP_FREE, FIELD(heap_free.block_count), UINT32_MAX, -EBADMSG },
	{ "past the end", MSG_HEAP_FREE, FIELD(heap_free.blocks[27]), PAGES *PAGE_BYTES, -EBADMSG },
	{ "not zero", MSG_HEAP_FREE, FIELD(heap_free.zero), 1, -EBADMSG },

	{ "op 0", MSG_COLLECT, FIELD(collect.op), 0, -EBADMSG },
	{ "no such op", MSG_COLLECT, FIELD(collect.op), COLLECT_OP_END, -EBADMSG },
	{ "data in a barrier", MSG_COLLECT, FIELD(collect.op), COLLECT_BARRIER, -EBADMSG },
	{ "no such node", MSG_COLLECT, FIELD(collect.root), NODES, -EBADMSG },
	{ "a status", MSG_COLLECT, FIELD(collect.status), (uint32_t)-1, -EBADMSG },
	{ "another length", MSG_COLLECT, FIELD(collect.bytes), 0, -EBADMSG },
	{ "too long", MSG_COLLECT, FIELD(collect.bytes), COLLECT_BYTES_MAX + 1, -EBADMSG },
	{ "not zero", MSG_COLLECT, FIELD(collect.zero[0]), 1, -EBADMSG },
	{ "not zero", MSG_COLLECT, FIELD(collect.zero[1]), 1, -EBADMSG },
	{ "not zero", MSG_COLLECT, FIELD(collect.zero[2]), 1, -EBADMSG },
	{ "an error", MSG_COLLECT_DONE, FIELD(collect.status), (uint32_t)-EPROTO, 0 },
	{ "status above 0", MSG_COLLECT_DONE, FIELD(collect.status), 1, -EBADMSG },
	{ "no such node", MSG_COLLECT_DONE, FIELD(collect.root), NODES, -EBADMSG },

	{ "no page", MSG_KEY_REPLY, FIELD(key.page_count), 0, -EBADMSG },
	{ "past the end", MSG_KEY_REPLY, FIELD(key.page), 1, -EBADMSG },
	{ "two pages", MSG_GATE_REQUEST, FIELD(run.page_count), 2, -EBADMSG },
	{ "a node unasked", MSG_GATE_REQUEST, FIELD(run.node), 1, -EBADMSG },
	{ "no page", MSG_GATE_REPLY, FIELD(gates.page_count), 0, -EBADMSG },
	{ "past the end", MSG_GATE_REPLY, FIELD(gates.page), 1, -EBADMSG },
	{ "not aligned", MSG_GATE_REPLY, FIELD(gates.sharers), 12, -EBADMSG },
	{ "not zero", MSG_GATE_REPLY, FIELD(gates.zero), 1, -EBADMSG },
};

static void test_single_changes(void **state)
{
	bool refused[MSG_KIND_END] = { false };

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const struct change *change = &changes[i];
		struct message message = sample(change->kind);
		uint16_t bytes = message.bytes;

		print_message("%s: %s\n", message_name(change->kind), change->what);
		memcpy((unsigned char *)&message + change->offset, &change->value, change->bytes);
		/* Where the change alters the length, that has to be right to test the rest. */
		if (change->error == 0 || message_bytes(&message) <= sizeof(message))
			message.bytes = (uint16_t)message_bytes(&message);
		if (strcmp(change->what, "another length") == 0)
			message.bytes = bytes;
		assert_int_equal(decode(&message, message.bytes), change->error);
		refused[change->kind] |= change->error != 0;
	}
	/* Each kind is checked for something. */
	for (unsigned int kind = 1; kind < MSG_KIND_END; kind++) {
		if (!refused[kind])
			fail_msg("no change to %s is refused",
				 message_name((enum message_kind)kind));
	}
}

static int decode_counted(struct message *message, const struct wire_limits *large)
{
	struct message out;

	message->bytes = (uint16_t)message_bytes(message);
	return message_decode(message, message->bytes, large, &out);
}

/* One more than an array or a run may have, in a space that has room for it. */
static void test_counts(void **state)
{
	const struct wire_limits large = { .node_count = 1, .page_limit = SPACE_PAGES_MAX };
	struct message run = { .kind = MSG_CONFIRM };
	struct message request = { .kind = MSG_READ_REQUEST };
	struct message absent = { .kind = MSG_ABSENT };
	struct message grant = { .kind = MSG_READ_GRANT };
	struct message homes = { .kind = MSG_HOME_REPLY };

	(void)state;
	for (uint16_t count = 0; count <= 100; count++) {
		int error = count >= 1 && count <= RUN_MAX ? 0 : -EBADMSG;

		run.run.page_count = count;
		assert_int_equal(decode_counted(&run, &large), error);
		request.request.page_count = count;
		assert_int_equal(decode_counted(&request, &large), error);
		absent.absent.page_count = count;
		assert_int_equal(decode_counted(&absent, &large),
				 count >= 1 && count <= ABSENT_MAX ? 0 : -EBADMSG);
		grant.grant.page_count = count;
		assert_int_equal(decode_counted(&grant, &large), error);
		homes.home_reply.unit_count = count;
		assert_int_equal(decode_counted(&homes, &large),
				 count >= 1 && count <= HOMES_MAX ? 0 : -EBADMSG);
	}
}

/* The fields that go together. */
static void test_pairs(void **state)
{
	struct message message = sample(MSG_HEAP_REQUEST);

	(void)state;
	message.heap_request.unit_count = 1;
	message.heap_request.slab = 1;
	assert_int_equal(decode(&message, message.bytes), 0);
	message.heap_request.slab = 2;
	assert_int_equal(decode(&message, message.bytes), -EBADMSG);
	message = sample(MSG_COLLECT);
	message.collect = (struct message_collect){ .op = COLLECT_BARRIER };
	message.bytes = (uint16_t)message_bytes(&message);
	assert_int_equal(message.bytes, 32);
	assert_int_equal(decode(&message, message.bytes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_kinds),	   cmocka_unit_test(test_single_changes),
		cmocka_unit_test(test_counts),	   cmocka_unit_test(test_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
