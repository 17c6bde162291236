/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lengths, checks and names of messages. What is accepted here has a known kind, exactly the length
 * that its kind and counts ask for, counts within their arrays, node ids, pages and units that
 * exist, and zeros where nothing is meant.
 */
#include "wire/wire.h"

#include <errno.h>
#include <string.h>

#define HEADER_BYTES offsetof(struct message, run)

/* The largest errno value that Linux has room for. */
#define STATUS_MAX 4095

static size_t key_bytes(const struct message *message)
{
	return message->kind == MSG_KEY_REPLY ? sizeof(message->key) : sizeof(message->gates);
}

static size_t body_bytes(const struct message *message)
{
	switch ((enum message_kind)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
		return sizeof(message->request);
	case MSG_REFUSE:
	case MSG_NOT_NOW:
	case MSG_CONFIRM:
	case MSG_FETCH_FAILED:
	case MSG_INVALIDATE:
	case MSG_INVALIDATED:
	case MSG_DOWNGRADE:
	case MSG_DOWNGRADED:
	case MSG_HANDOVER:
	case MSG_DECLINE:
	case MSG_HEARD:
	case MSG_UPDATED:
	case MSG_UPDATE_FAILED:
	case MSG_PUBLISHED:
	case MSG_KEY_REQUEST:
	case MSG_GATE_REQUEST:
	case MSG_LOST:
		return sizeof(message->run);
	case MSG_EVICT:
	case MSG_EVICTED:
	case MSG_KEPT:
	case MSG_TAKE:
		return offsetof(struct message_pages, pages) +
		       sizeof(message->pages.pages[0]) * message->pages.page_count;
	case MSG_QUEUE:
		return offsetof(struct message_queue, requests) +
		       sizeof(message->queue.requests[0]) * message->queue.request_count;
	case MSG_ABSENT:
		return offsetof(struct message_absent, known) +
		       sizeof(message->absent.known[0]) * message->absent.page_count;
	case MSG_TOLD:
		return sizeof(message->told);
	case MSG_READ_GRANT:
	case MSG_WRITE_GRANT:
	case MSG_UPDATE:
		return offsetof(struct message_grant, deltas) +
		       sizeof(message->grant.deltas[0]) * message->grant.page_count;
	case MSG_HOME_QUERY:
		return sizeof(message->home_query);
	case MSG_HOME_REPLY:
		return offsetof(struct message_home_reply, homes) +
		       sizeof(message->home_reply.homes[0]) * message->home_reply.unit_count;
	case MSG_SYNC_REQUEST:
		return sizeof(message->sync_request);
	case MSG_SYNC_RECALL:
		return sizeof(message->sync_recall);
	case MSG_HEAP_REQUEST:
		return sizeof(message->heap_request);
	case MSG_HEAP_RELEASE:
		return sizeof(message->heap_release);
	case MSG_REPLY:
		return sizeof(message->reply);
	case MSG_HEAP_FREE:
		return offsetof(struct message_heap_free, blocks) +
		       sizeof(message->heap_free.blocks[0]) * message->heap_free.block_count;
	case MSG_COLLECT:
	case MSG_COLLECT_DONE:
		return offsetof(struct message_collect, data) + message->collect.bytes;
	case MSG_KEY_REPLY:
	case MSG_GATE_REPLY:
		return key_bytes(message);
	case MSG_KIND_END:
		break;
	}
	return 0;
}

size_t message_bytes(const struct message *message)
{
	size_t bytes = body_bytes(message);

	return bytes != 0 ? HEADER_BYTES + bytes : 0;
}

/* Is [first, first + count) not empty and inside [0, limit)? Without overflow. */
static bool range_valid(uint64_t first, uint64_t count, uint64_t limit)
{
	return count >= 1 && count <= limit && first <= limit - count;
}

static bool node_valid(uint16_t node, const struct wire_limits *limits)
{
	return node < limits->node_count;
}

static uint64_t unit_limit(const struct wire_limits *limits)
{
	return limits->page_limit / UNIT_PAGES;
}

static bool offset_valid(uint64_t offset, const struct wire_limits *limits)
{
	return offset / PAGE_BYTES < limits->page_limit;
}

static bool status_valid(int32_t status)
{
	return status <= 0 && status >= -STATUS_MAX;
}

static bool flagged_run_valid(const struct message_run *run, uint32_t flags,
			      const struct wire_limits *limits)
{
	return run->page_count <= RUN_MAX &&
	       range_valid(run->page, run->page_count, limits->page_limit) &&
	       (run->flags & ~flags) == 0;
}

static bool run_valid(const struct message_run *run, uint64_t count_max,
		      const struct wire_limits *limits)
{
	return run->page_count <= count_max && flagged_run_valid(run, 0, limits);
}

static bool request_valid(const struct message_request *request, const struct wire_limits *limits)
{
	return request->page_count <= RUN_MAX &&
	       range_valid(request->page, request->page_count, limits->page_limit) &&
	       node_valid(request->node, limits) && request->home <= limits->node_count &&
	       (request->flags & ~REQUEST_FLAGS) == 0 &&
	       (request->zero[0] | request->zero[1] | request->zero[2]) == 0;
}

static bool pages_valid(const struct message_pages *pages, const struct wire_limits *limits)
{
	if (pages->page_count < 1 || pages->page_count > PAGES_MAX ||
	    (pages->zero[0] | pages->zero[1] | pages->zero[2]) != 0)
		return false;
	for (unsigned int i = 0; i < pages->page_count; i++) {
		if (pages->pages[i] >= limits->page_limit)
			return false;
	}
	return true;
}

static bool queue_valid(const struct message_queue *queue, const struct wire_limits *limits)
{
	if (queue->request_count < 1 || queue->request_count > HANDED_MAX ||
	    queue->page >= limits->page_limit ||
	    (queue->zero[0] | queue->zero[1] | queue->zero[2]) != 0)
		return false;
	for (unsigned int i = 0; i < queue->request_count; i++) {
		if (!node_valid(queue->requests[i].node, limits))
			return false;
	}
	return true;
}

static bool known_valid(const struct message_known *known, const struct wire_limits *limits)
{
	return known->node <= limits->node_count && (known->node != 0 || known->version == 0);
}

static bool absent_valid(const struct message_absent *absent, const struct wire_limits *limits)
{
	if (absent->page_count > ABSENT_MAX ||
	    !range_valid(absent->page, absent->page_count, limits->page_limit) || absent->zero != 0)
		return false;
	for (unsigned int i = 0; i < absent->page_count; i++) {
		if (!known_valid(&absent->known[i], limits))
			return false;
	}
	return true;
}

static bool told_valid(const struct message_told *told, const struct wire_limits *limits)
{
	bool holds = (told->flags & TOLD_HOLDS) != 0;

	return told->page < limits->page_limit && (told->flags & ~TOLD_FLAGS) == 0 &&
	       (told->zero[0] | told->zero[1] | told->zero[2]) == 0 &&
	       known_valid(&told->known, limits) && (holds || told->version == 0);
}

static bool grant_valid(const struct message_grant *grant, const struct wire_limits *limits)
{
	return grant->page_count <= RUN_MAX &&
	       range_valid(grant->page, grant->page_count, limits->page_limit) &&
	       node_valid(grant->owner, limits) && grant->zero == 0 && grant->deltas[0] == 0;
}

static bool home_query_valid(const struct message_home_query *query,
			     const struct wire_limits *limits)
{
	return query->unit < unit_limit(limits) && query->claim <= 1 && query->zero == 0;
}

static bool home_reply_valid(const struct message_home_reply *reply,
			     const struct wire_limits *limits)
{
	if (reply->unit_count > HOMES_MAX ||
	    !range_valid(reply->unit, reply->unit_count, unit_limit(limits)) ||
	    (reply->zero[0] | reply->zero[1] | reply->zero[2]) != 0)
		return false;
	for (unsigned int i = 0; i < reply->unit_count; i++) {
		if (reply->homes[i] != HOME_UNKNOWN && !node_valid(reply->homes[i], limits))
			return false;
	}
	return true;
}

static bool sync_request_valid(const struct message_sync_request *request,
			       const struct wire_limits *limits)
{
	return offset_valid(request->name, limits) && request->kind >= SYNC_LOCK &&
	       request->kind < SYNC_KIND_END && request->op >= SYNC_INIT &&
	       request->op < SYNC_OP_END && request->zero == 0;
}

static bool heap_request_valid(const struct message_heap_request *request,
			       const struct wire_limits *limits)
{
	bool placed = request->placement == PLACE_CYCLIC ||
		      request->placement == PLACE_FIRST_TOUCH ||
		      node_valid(request->placement, limits);

	/* A superblock is one unit. */
	return range_valid(0, request->unit_count, unit_limit(limits)) && placed &&
	       request->slab <= 1 && (request->slab == 0 || request->unit_count == 1);
}

static bool heap_free_valid(const struct message_heap_free *frees, const struct wire_limits *limits)
{
	if (frees->block_count < 1 || frees->block_count > FREES_MAX || frees->zero != 0)
		return false;
	for (uint32_t i = 0; i < frees->block_count; i++) {
		if (!offset_valid(frees->blocks[i].offset, limits))
			return false;
	}
	return true;
}

static bool collect_valid(const struct message_collect *collect, bool done,
			  const struct wire_limits *limits)
{
	bool sized = collect->op == COLLECT_BROADCAST ? collect->bytes <= COLLECT_BYTES_MAX
						      : collect->bytes == 0;

	return collect->op >= COLLECT_BARRIER && collect->op < COLLECT_OP_END && sized &&
	       node_valid(collect->root, limits) &&
	       (done ? status_valid(collect->status) : collect->status == 0) &&
	       (collect->zero[0] | collect->zero[1] | collect->zero[2]) == 0;
}

static bool heap_release_valid(const struct message_heap_release *release,
			       const struct wire_limits *limits)
{
	return range_valid(release->unit, release->unit_count, unit_limit(limits)) &&
	       release->zero == 0;
}

/* Of frames, or of gates, which begin with the same two fields. */
static bool key_valid(const struct message *message, const struct wire_limits *limits)
{
	bool gates = message->kind == MSG_GATE_REPLY;

	return range_valid(message->key.page, message->key.page_count, limits->page_limit) &&
	       (!gates || (message->gates.sharers % 8 == 0 && message->gates.zero == 0));
}

static bool invalidation_valid(const struct message *message, const struct wire_limits *limits)
{
	if (message->kind == MSG_INVALIDATE)
		return flagged_run_valid(&message->run, RUN_CLEARED, limits) &&
		       node_valid(message->run.node, limits);
	return flagged_run_valid(&message->run, RUN_EMPTY, limits) && message->run.node == 0;
}

static bool body_valid(const struct message *message, const struct wire_limits *limits)
{
	switch ((enum message_kind)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
		return request_valid(&message->request, limits);
	case MSG_EVICT:
	case MSG_EVICTED:
	case MSG_KEPT:
	case MSG_TAKE:
		return pages_valid(&message->pages, limits);
	case MSG_QUEUE:
		return queue_valid(&message->queue, limits);
	case MSG_ABSENT:
		return absent_valid(&message->absent, limits);
	case MSG_TOLD:
		return told_valid(&message->told, limits);
	case MSG_NOT_NOW:
	case MSG_CONFIRM:
	case MSG_DOWNGRADE:
	case MSG_DOWNGRADED:
	case MSG_HANDOVER:
	case MSG_DECLINE:
	case MSG_UPDATED:
	case MSG_PUBLISHED:
		return run_valid(&message->run, RUN_MAX, limits) && message->run.node == 0;
	case MSG_INVALIDATED:
	case MSG_INVALIDATE:
		return invalidation_valid(message, limits);
	case MSG_REFUSE:
	case MSG_FETCH_FAILED:
	case MSG_HEARD:
	case MSG_UPDATE_FAILED:
	case MSG_LOST:
		return run_valid(&message->run, RUN_MAX, limits) &&
		       node_valid(message->run.node, limits);
	case MSG_KEY_REQUEST:
	case MSG_GATE_REQUEST:
		return run_valid(&message->run, 1, limits) && message->run.node == 0;
	case MSG_READ_GRANT:
	case MSG_WRITE_GRANT:
	case MSG_UPDATE:
		return grant_valid(&message->grant, limits);
	case MSG_HOME_QUERY:
		return home_query_valid(&message->home_query, limits);
	case MSG_HOME_REPLY:
		return home_reply_valid(&message->home_reply, limits);
	case MSG_SYNC_REQUEST:
		return sync_request_valid(&message->sync_request, limits);
	case MSG_SYNC_RECALL:
		return offset_valid(message->sync_recall.name, limits);
	case MSG_HEAP_REQUEST:
		return heap_request_valid(&message->heap_request, limits);
	case MSG_HEAP_RELEASE:
		return heap_release_valid(&message->heap_release, limits);
	case MSG_REPLY:
		return status_valid(message->reply.status);
	case MSG_HEAP_FREE:
		return heap_free_valid(&message->heap_free, limits);
	case MSG_COLLECT:
	case MSG_COLLECT_DONE:
		return collect_valid(&message->collect, message->kind == MSG_COLLECT_DONE, limits);
	case MSG_KEY_REPLY:
	case MSG_GATE_REPLY:
		return key_valid(message, limits);
	case MSG_KIND_END:
		break;
	}
	return false;
}

/*
 * The copy is made first and checked after, so that a sender that still changes the bytes (they may
 * be in memory that it shares) cannot get past the checks.
 */
int message_decode(const void *data, size_t bytes, const struct wire_limits *limits,
		   struct message *message)
{
	struct message copy;

	if (bytes < HEADER_BYTES || bytes > sizeof(copy))
		return -EBADMSG;
	memcpy(&copy, data, bytes);
	memset((unsigned char *)&copy + bytes, 0, sizeof(copy) - bytes);
	if (copy.bytes != bytes || copy.zero != 0 || message_bytes(&copy) != bytes)
		return -EBADMSG;
	if (!body_valid(&copy, limits))
		return -EBADMSG;
	memcpy(message, &copy, sizeof(copy));
	return 0;
}

const char *message_name(enum message_kind kind)
{
	static const char *const names[MSG_KIND_END] = {
		[MSG_READ_REQUEST] = "READ_REQUEST",
		[MSG_WRITE_REQUEST] = "WRITE_REQUEST",
		[MSG_READ_GRANT] = "READ_GRANT",
		[MSG_WRITE_GRANT] = "WRITE_GRANT",
		[MSG_REFUSE] = "REFUSE",
		[MSG_NOT_NOW] = "NOT_NOW",
		[MSG_CONFIRM] = "CONFIRM",
		[MSG_FETCH_FAILED] = "FETCH_FAILED",
		[MSG_INVALIDATE] = "INVALIDATE",
		[MSG_INVALIDATED] = "INVALIDATED",
		[MSG_DOWNGRADE] = "DOWNGRADE",
		[MSG_DOWNGRADED] = "DOWNGRADED",
		[MSG_EVICT] = "EVICT",
		[MSG_EVICTED] = "EVICTED",
		[MSG_KEPT] = "KEPT",
		[MSG_TAKE] = "TAKE",
		[MSG_QUEUE] = "QUEUE",
		[MSG_HANDOVER] = "HANDOVER",
		[MSG_DECLINE] = "DECLINE",
		[MSG_ABSENT] = "ABSENT",
		[MSG_SEEK] = "SEEK",
		[MSG_TOLD] = "TOLD",
		[MSG_HEARD] = "HEARD",
		[MSG_UPDATE] = "UPDATE",
		[MSG_UPDATED] = "UPDATED",
		[MSG_UPDATE_FAILED] = "UPDATE_FAILED",
		[MSG_PUBLISHED] = "PUBLISHED",
		[MSG_HOME_QUERY] = "HOME_QUERY",
		[MSG_HOME_REPLY] = "HOME_REPLY",
		[MSG_SYNC_REQUEST] = "SYNC_REQUEST",
		[MSG_SYNC_RECALL] = "SYNC_RECALL",
		[MSG_HEAP_REQUEST] = "HEAP_REQUEST",
		[MSG_HEAP_RELEASE] = "HEAP_RELEASE",
		[MSG_REPLY] = "REPLY",
		[MSG_HEAP_FREE] = "HEAP_FREE",
		[MSG_COLLECT] = "COLLECT",
		[MSG_COLLECT_DONE] = "COLLECT_DONE",
		[MSG_KEY_REQUEST] = "KEY_REQUEST",
		[MSG_KEY_REPLY] = "KEY_REPLY",
		[MSG_GATE_REQUEST] = "GATE_REQUEST",
		[MSG_GATE_REPLY] = "GATE_REPLY",
		[MSG_LOST] = "LOST",
	};

	if ((unsigned int)kind >= MSG_KIND_END || names[kind] == NULL)
		return "?";
	return names[kind];
}
