/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the wording of traces: the simulator's, the model's and the golden ones. */
#include "lines.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- messages ---- */

static void print_grant(const struct message_grant *grant)
{
	printf("p%" PRIu64 "+%u owner n%u versions", grant->page, grant->page_count, grant->owner);
	for (unsigned int i = 0; i < grant->page_count; i++)
		printf(" %" PRIu64, grant_version(grant, i));
}

static void print_request(const struct message_request *request)
{
	printf("p%" PRIu64 "+%u by n%u tag %u hops %u%s%s%s", request->page, request->page_count,
	       request->node, request->tag, request->hops,
	       request->flags & REQUEST_ROUND ? " round" : "",
	       request->flags & REQUEST_TRAIL ? " trail" : "",
	       request->flags & REQUEST_RECOVER ? " recover" : "");
}

static void print_known(const struct message_known *known)
{
	if (known->node == 0)
		printf(" nobody");
	else
		printf(" n%u at %" PRIu64, known->node - 1u, (uint64_t)known->version);
}

/* About managers that move. */
static void print_moving(const struct message *message)
{
	const struct message_told *told = &message->told;

	switch ((int)message->kind) {
	case MSG_QUEUE:
		printf("p%" PRIu64 ":", message->queue.page);
		for (unsigned int i = 0; i < message->queue.request_count; i++)
			printf(" n%u%s hops %u", (unsigned int)message->queue.requests[i].node,
			       message->queue.requests[i].write ? " writes" : "",
			       (unsigned int)message->queue.requests[i].hops);
		return;
	case MSG_ABSENT:
		printf("p%" PRIu64 "+%u tag %u:", message->absent.page, message->absent.page_count,
		       message->absent.tag);
		for (unsigned int i = 0; i < message->absent.page_count; i++)
			print_known(&message->absent.known[i]);
		return;
	case MSG_TOLD:
		printf("p%" PRIu64 " tag %u%s%s%s version %" PRIu64, told->page, told->tag,
		       told->flags & TOLD_MANAGES ? " manages" : "",
		       told->flags & TOLD_UNDECIDED ? " undecided" : "",
		       told->flags & TOLD_HOLDS ? " holds" : "", told->version);
		print_known(&told->known);
		return;
	}
}

static void print_message(const struct message *message)
{
	enum message_kind kind = (enum message_kind)message->kind;

	printf("%s ", message_name(kind));
	if (kind == MSG_READ_GRANT || kind == MSG_WRITE_GRANT || kind == MSG_UPDATE)
		print_grant(&message->grant);
	else if (kind == MSG_READ_REQUEST || kind == MSG_WRITE_REQUEST || kind == MSG_SEEK)
		print_request(&message->request);
	else if (kind == MSG_QUEUE || kind == MSG_ABSENT || kind == MSG_TOLD)
		print_moving(message);
	else if (kind == MSG_REFUSE || kind == MSG_FETCH_FAILED || kind == MSG_INVALIDATE ||
		 kind == MSG_HEARD || kind == MSG_UPDATE_FAILED)
		printf("p%" PRIu64 "+%u about n%u", message->run.page, message->run.page_count,
		       message->run.node);
	else if (kind < MSG_HOME_QUERY)
		printf("p%" PRIu64 "+%u", message->run.page, message->run.page_count);
	else if (kind == MSG_HOME_QUERY)
		printf("unit %" PRIu64 " claim %u", message->home_query.unit,
		       message->home_query.claim);
	else if (kind == MSG_HOME_REPLY)
		printf("unit %" PRIu64 "+%u first n%u", message->home_reply.unit,
		       message->home_reply.unit_count, message->home_reply.homes[0]);
	else if (kind == MSG_SYNC_REQUEST)
		printf("object %" PRIu64 " op %u thread %u slot %u", message->sync_request.name,
		       message->sync_request.op, message->sync_request.thread,
		       message->sync_request.slot);
	else if (kind == MSG_REPLY)
		printf("slot %u status %d", message->reply.slot, message->reply.status);
	else if (kind == MSG_COLLECT || kind == MSG_COLLECT_DONE)
		printf("%u op %u", message->collect.sequence, message->collect.op);
	putchar('\n');
}

/* ---- events and commands ---- */

static void print_run(const char *name, const struct run *run)
{
	printf("%s p%" PRIu64 "+%u\n", name, run->page.value, run->page_count);
}

void line_event(struct node_id id, const struct event *event)
{
	printf("n%u: ", id.value);
	switch (event->kind) {
	case EV_FAULT:
	case EV_PREFETCH:
		printf("%s ", event->fault.write ? "store" : "load");
		print_run(event->kind == EV_FAULT ? "fault" : "prefetch", &event->fault.run);
		return;
	case EV_MESSAGE:
		printf("from n%u ", event->peer.value);
		print_message(event->message);
		return;
	case EV_READ_DONE:
	case EV_UPDATE_DONE:
		printf("status %d from n%u ", event->status, event->peer.value);
		print_run(event->kind == EV_READ_DONE ? "read done" : "update done", &event->run);
		return;
	case EV_PAGER_DONE:
		print_run(event->pager.downgrade ? "downgrade done" : "invalidate done",
			  &event->pager.run);
		return;
	case EV_PEER_DOWN:
		printf("hears that n%u is down\n", event->peer.value);
		return;
	case EV_TIMER:
		printf("timer\n");
		return;
	case EV_REGION:
		print_run("region", &event->region.run);
		return;
	case EV_HOME:
		printf("home of p%" PRIu64 "?\n", event->home.value);
		return;
	case EV_PIN:
		printf("call %" PRIu64 ": pin p%" PRIu64 " for %s\n", event->token.value,
		       event->pin.page.value, event->pin.write ? "writing" : "reading");
		return;
	case EV_PIN_CANCEL:
		printf("call %" PRIu64 " is given up\n", event->token.value);
		return;
	case EV_UNPIN:
		printf("unpin p%" PRIu64 " for %s\n", event->pin.page.value,
		       event->pin.write ? "writing" : "reading");
		return;
	case EV_PUBLISH:
		printf("call %" PRIu64 ": publish\n", event->token.value);
		return;
	case EV_COLLECT:
		printf("collective call op %d\n", event->collect.op);
		return;
	case EV_SYNC:
		printf("call %" PRIu64 ": object %" PRIu64 " op %d\n", event->token.value,
		       event->sync.name, event->sync.op);
		return;
	case EV_HEAP_ALLOC:
	case EV_HEAP_RELEASE:
	case EV_HEAP_FREE:
		printf("event %d\n", event->kind);
		return;
	}
}

void line_command(struct node_id id, const struct command *command)
{
	static const char *const names[] = {
		[CMD_SEND] = "send",
		[CMD_READ] = "read",
		[CMD_UPDATE] = "update",
		[CMD_MAP_READ] = "map for reading",
		[CMD_MAP_WRITE] = "map for writing",
		[CMD_UPGRADE] = "upgrade",
		[CMD_INVALIDATE] = "invalidate",
		[CMD_DOWNGRADE] = "downgrade",
		[CMD_FAIL] = "fail",
		[CMD_COMPLETE] = "complete",
		[CMD_LOSE] = "lose",
		[CMD_FREE] = "free",
	};

	printf("n%u -> ", id.value);
	if (command->kind == CMD_SEND) {
		printf("n%u ", command->peer.value);
		print_message(&command->message);
	} else if (command->kind == CMD_READ || command->kind == CMD_UPDATE ||
		   command->kind == CMD_FAIL) {
		printf("n%u ", command->peer.value);
		print_run(names[command->kind], &command->run);
	} else if (command->kind == CMD_COMPLETE) {
		printf("call %" PRIu64 " ends with %d, value %" PRIu64 "\n",
		       command->complete.token.value, command->status, command->complete.value);
	} else if (command->kind == CMD_FREE) {
		printf("free\n");
	} else if (command->kind == CMD_LOSE) {
		printf("lose n%u\n", command->peer.value);
	} else {
		print_run(names[command->kind], &command->run);
	}
}
