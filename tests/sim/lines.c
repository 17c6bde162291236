/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the wording of traces: the simulator's, the model's and the golden ones. */
#include "lines.h"

#include <inttypes.h>
#include <stdio.h>

/* "p5", or "p5+3" for three of them. */
static void print_pages(FILE *out, uint64_t page, uint32_t page_count)
{
	fprintf(out, "p%" PRIu64, page);
	if (page_count != 1)
		fprintf(out, "+%u", page_count);
}

const char *line_sync_op(enum sync_op op)
{
	static const char *const names[] = {
		[SYNC_INIT] = "init",	    [SYNC_DESTROY] = "destroy",
		[SYNC_ACQUIRE] = "acquire", [SYNC_ACQUIRE_READ] = "acquire for reading",
		[SYNC_TRY] = "try",	    [SYNC_TRY_READ] = "try for reading",
		[SYNC_RELEASE] = "release", [SYNC_ENLIST] = "enlist",
		[SYNC_SIGNAL] = "signal",   [SYNC_BROADCAST] = "broadcast",
		[SYNC_ARRIVE] = "arrive",   [SYNC_RETURN] = "return",
		[SYNC_HELD] = "held",
	};

	static_assert(sizeof(names) == SYNC_OP_END * sizeof(names[0]), "a name for each");
	return names[op];
}

/* ---- messages ---- */

static void print_grant(FILE *out, const struct message_grant *grant)
{
	print_pages(out, grant->page, grant->page_count);
	fprintf(out, " owner n%u version%s", grant->owner, grant->page_count == 1 ? "" : "s");
	for (unsigned int i = 0; i < grant->page_count; i++)
		fprintf(out, " %" PRIu64, grant_version(grant, i));
}

static void print_request(FILE *out, const struct message_request *request)
{
	print_pages(out, request->page, request->page_count);
	fprintf(out, " by n%u", request->node);
	if (request->tag != 0)
		fprintf(out, " tag %u", request->tag);
	if (request->hops != 0)
		fprintf(out, " hops %u", request->hops);
	fprintf(out, "%s%s%s%s", request->flags & REQUEST_ROUND ? " round" : "",
		request->flags & REQUEST_TRAIL ? " trail" : "",
		request->flags & REQUEST_RECOVER ? " recover" : "",
		request->flags & REQUEST_GUESS ? " guess" : "");
}

static void print_known(FILE *out, const struct message_known *known)
{
	if (known->node == 0)
		fprintf(out, " nobody");
	else
		fprintf(out, " n%u at %" PRIu64, known->node - 1u, (uint64_t)known->version);
}

static void print_queued(FILE *out, unsigned int node, bool write, unsigned int hops)
{
	fprintf(out, " n%u%s", node, write ? " writes" : "");
	if (hops != 0)
		fprintf(out, " hops %u", hops);
}

/* About managers that move. */
static void print_moving(FILE *out, const struct message *message)
{
	const struct message_told *told = &message->told;

	switch ((int)message->kind) {
	case MSG_QUEUE:
		fprintf(out, "p%" PRIu64 ":", message->queue.page);
		for (unsigned int i = 0; i < message->queue.request_count; i++)
			print_queued(out, message->queue.requests[i].node,
				     message->queue.requests[i].write,
				     message->queue.requests[i].hops);
		return;
	case MSG_ABSENT:
		print_pages(out, message->absent.page, message->absent.page_count);
		fprintf(out, " tag %u:", message->absent.tag);
		for (unsigned int i = 0; i < message->absent.page_count; i++)
			print_known(out, &message->absent.known[i]);
		return;
	case MSG_TOLD:
		fprintf(out, "p%" PRIu64 " tag %u%s%s%s version %" PRIu64, told->page, told->tag,
			told->flags & TOLD_MANAGES ? " manages" : "",
			told->flags & TOLD_UNDECIDED ? " undecided" : "",
			told->flags & TOLD_HOLDS ? " holds" : "", told->version);
		print_known(out, &told->known);
		return;
	}
}

static void print_sync(FILE *out, const struct message_sync_request *request)
{
	fprintf(out, "object %" PRIu64 " %s thread %u slot %u", request->name,
		line_sync_op((enum sync_op)request->op), request->thread, request->slot);
}

/* A run of pages, and the node that it is about, if its kind names one. */
static void print_about(FILE *out, enum message_kind kind, const struct message_run *run)
{
	bool named = kind == MSG_REFUSE || kind == MSG_FETCH_FAILED || kind == MSG_HEARD ||
		     kind == MSG_UPDATE_FAILED || (kind == MSG_INVALIDATE && run->node != 0);

	if (kind != MSG_HEARD)
		print_pages(out, run->page, run->page_count);
	if (named)
		fprintf(out, "%sn%u", kind == MSG_HEARD ? "" : " about ", run->node);
	if (run->flags != 0)
		fprintf(out, kind == MSG_INVALIDATE ? " cleared" : " empty");
}

static void print_list(FILE *out, const struct message_pages *pages)
{
	for (unsigned int i = 0; i < pages->page_count; i++)
		fprintf(out, "%sp%" PRIu64, i == 0 ? "" : " ", pages->pages[i]);
}

static bool lists(enum message_kind kind)
{
	return kind == MSG_EVICT || kind == MSG_EVICTED || kind == MSG_KEPT || kind == MSG_TAKE;
}

static void print_message(FILE *out, const struct message *message)
{
	enum message_kind kind = (enum message_kind)message->kind;

	fprintf(out, "%s ", message_name(kind));
	if (kind == MSG_READ_GRANT || kind == MSG_WRITE_GRANT || kind == MSG_UPDATE)
		print_grant(out, &message->grant);
	else if (kind == MSG_READ_REQUEST || kind == MSG_WRITE_REQUEST || kind == MSG_SEEK)
		print_request(out, &message->request);
	else if (kind == MSG_QUEUE || kind == MSG_ABSENT || kind == MSG_TOLD)
		print_moving(out, message);
	else if (lists(kind))
		print_list(out, &message->pages);
	else if (kind < MSG_HOME_QUERY)
		print_about(out, kind, &message->run);
	else if (kind == MSG_HOME_QUERY)
		fprintf(out, "unit %" PRIu64 " claim %u", message->home_query.unit,
			message->home_query.claim);
	else if (kind == MSG_HOME_REPLY)
		fprintf(out, "unit %" PRIu64 "+%u first n%u", message->home_reply.unit,
			message->home_reply.unit_count, message->home_reply.homes[0]);
	else if (kind == MSG_SYNC_RECALL)
		fprintf(out, "object %" PRIu64, message->sync_recall.name);
	else if (kind == MSG_SYNC_REQUEST)
		print_sync(out, &message->sync_request);
	else if (kind == MSG_REPLY)
		fprintf(out, "slot %u status %d", message->reply.slot, message->reply.status);
	else if (kind == MSG_COLLECT || kind == MSG_COLLECT_DONE)
		fprintf(out, "%u op %u", message->collect.sequence, message->collect.op);
	fputc('\n', out);
}

/* ---- events and commands ---- */

static void print_run(FILE *out, const char *name, const struct run *run)
{
	fprintf(out, "%s ", name);
	print_pages(out, run->page.value, run->page_count);
	fputc('\n', out);
}

static void print_fast(FILE *out, const struct event *event)
{
	if (event->kind == EV_FAST_DONE)
		fprintf(out, "status %d from n%u fast read done p%" PRIu64 "%s gate %" PRIx64 "\n",
			event->status, event->peer.value, event->fast.page.value,
			event->fast.added ? " added" : "", event->fast.gate);
	else
		fprintf(out, "collected p%" PRIu64 " first sharers %" PRIx64 " keeps n%u\n",
			event->collected.page.value, event->collected.sharers[0],
			event->collected.keep.value);
}

static void print_pin(FILE *out, const char *what, const struct event *event)
{
	fprintf(out, "%s p%" PRIu64 " for %s\n", what, event->pin.page.value,
		event->pin.write ? "writing" : "reading");
}

void line_event(FILE *out, struct node_id id, const struct event *event)
{
	fprintf(out, "n%u: ", id.value);
	switch (event->kind) {
	case EV_FAULT:
	case EV_PREFETCH:
		fprintf(out, "%s ",
			event->fault.write   ? "store"
			: event->fault.guess ? "guess"
					     : "load");
		print_run(out, event->kind == EV_FAULT ? "fault" : "prefetch", &event->fault.run);
		return;
	case EV_MESSAGE:
		fprintf(out, "from n%u ", event->peer.value);
		print_message(out, event->message);
		return;
	case EV_READ_DONE:
	case EV_UPDATE_DONE:
		fprintf(out, "status %d from n%u ", event->status, event->peer.value);
		print_run(out, event->kind == EV_READ_DONE ? "read done" : "update done",
			  &event->run);
		return;
	case EV_FAST_DONE:
	case EV_COLLECTED:
		print_fast(out, event);
		return;
	case EV_PAGER_DONE:
		print_run(out, event->pager.downgrade ? "downgrade done" : "invalidate done",
			  &event->pager.run);
		return;
	case EV_PEER_DOWN:
		fprintf(out, "hears that n%u is down\n", event->peer.value);
		return;
	case EV_TIMER:
		fprintf(out, "timer\n");
		return;
	case EV_REGION:
		print_run(out, "region", &event->region.run);
		return;
	case EV_HOME:
		fprintf(out, "home of p%" PRIu64 "?\n", event->home.value);
		return;
	case EV_PIN:
		fprintf(out, "call %" PRIu64 ": ", event->token.value);
		print_pin(out, "pin", event);
		return;
	case EV_PIN_CANCEL:
		fprintf(out, "call %" PRIu64 " is given up\n", event->token.value);
		return;
	case EV_UNPIN:
		print_pin(out, "unpin", event);
		return;
	case EV_EVICT:
		print_run(out, "evict", &event->run);
		return;
	case EV_PUBLISH:
		fprintf(out, "call %" PRIu64 ": publish\n", event->token.value);
		return;
	case EV_COLLECT:
		fprintf(out, "collective call op %d\n", event->collect.op);
		return;
	case EV_SYNC:
		fprintf(out, "call %" PRIu64 ": object %" PRIu64 " %s thread %u\n",
			event->token.value, event->sync.name, line_sync_op(event->sync.op),
			event->sync.thread);
		return;
	case EV_HEAP_ALLOC:
	case EV_HEAP_RELEASE:
	case EV_HEAP_FREE:
		fprintf(out, "event %d\n", event->kind);
		return;
	}
}

void line_command(FILE *out, struct node_id id, const struct command *command)
{
	static const char *const names[] = {
		[CMD_SEND] = "send",
		[CMD_READ] = "read",
		[CMD_UPDATE] = "update",
		[CMD_TAKE] = "take",
		[CMD_MAP_READ] = "map for reading",
		[CMD_MAP_WRITE] = "map for writing",
		[CMD_UPGRADE] = "upgrade",
		[CMD_INVALIDATE] = "invalidate",
		[CMD_DOWNGRADE] = "downgrade",
		[CMD_FAIL] = "fail",
		[CMD_COMPLETE] = "complete",
		[CMD_LOSE] = "lose",
		[CMD_FREE] = "free",
		[CMD_RELEASE] = "release",
	};

	fprintf(out, "n%u -> ", id.value);
	if (command->kind == CMD_SEND) {
		fprintf(out, "n%u ", command->peer.value);
		print_message(out, &command->message);
	} else if (command->kind == CMD_READ || command->kind == CMD_UPDATE ||
		   command->kind == CMD_FAIL) {
		fprintf(out, "n%u ", command->peer.value);
		print_run(out, names[command->kind], &command->run);
	} else if (command->kind == CMD_COMPLETE) {
		fprintf(out, "call %" PRIu64 " ends with %d, value %" PRIu64 "\n",
			command->complete.token.value, command->status, command->complete.value);
	} else if (command->kind == CMD_FREE) {
		fprintf(out, "free\n");
	} else if (command->kind == CMD_LOSE) {
		fprintf(out, "lose n%u\n", command->peer.value);
	} else if (command->kind == CMD_FAST_READ) {
		fprintf(out, "n%u fast read p%" PRIu64 "%s\n", command->peer.value,
			command->fast.page.value, command->fast.add ? " add" : "");
	} else if (command->kind == CMD_GATE) {
		fprintf(out, "gate p%" PRIu64 " %" PRIx64 "\n", command->gate.page.value,
			command->gate.word);
	} else if (command->kind == CMD_COLLECT) {
		fprintf(out, "collect p%" PRIu64 " keep n%u\n", command->collect.page.value,
			command->collect.keep.value);
	} else {
		print_run(out, names[command->kind], &command->run);
	}
}
