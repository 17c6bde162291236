/* SPDX-License-Identifier: Apache-2.0 */
/* Readable lines, and the end of a world that broke a rule. */
#include "engine/internal.h"
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The world under way, for the line that replays it also when an assertion ends the process. */
static const struct world *current;

const char *sim_mode_name(enum sim_mode mode)
{
	static const char *const names[] = { "pages", "loss", "many" };

	return names[mode];
}

void sim_print_replay(void)
{
	char line[128];

	if (current == NULL)
		return;
	int bytes =
		snprintf(line, sizeof(line), "replay: sim --mode %s --seed %" PRIu64 " --trace\n",
			 sim_mode_name(current->mode), current->seed);

	if (write(STDERR_FILENO, line, (size_t)bytes) < 0)
		_exit(1);
}

static void prefix(struct world *world)
{
	current = world;
	printf("%7" PRIu64 " %9" PRIu64 "ns ", world->step, world->now_ns);
}

void trace_line(struct world *world, const char *format, ...)
{
	va_list args;

	current = world;
	if (!world->trace)
		return;
	prefix(world);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* ---- messages ---- */

static void print_grant(const struct message_grant *grant)
{
	printf("p%" PRIu64 "+%u owner n%u versions", grant->page, grant->page_count, grant->owner);
	for (unsigned int i = 0; i < grant->page_count; i++)
		printf(" %" PRIu64, grant_version(grant, i));
}

static void print_message(const struct message *message)
{
	enum message_kind kind = (enum message_kind)message->kind;

	printf("%s ", message_name(kind));
	if (kind == MSG_READ_GRANT || kind == MSG_WRITE_GRANT)
		print_grant(&message->grant);
	else if (kind == MSG_REFUSE || kind == MSG_FETCH_FAILED)
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
		printf("object %" PRIu64 " op %u thread %u slot %u",
		       message->sync_request.name / 64, message->sync_request.op,
		       message->sync_request.thread, message->sync_request.slot);
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

void trace_event(struct world *world, struct node_id id, const struct event *event)
{
	current = world;
	if (!world->trace)
		return;
	prefix(world);
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
		printf("status %d from n%u ", event->status, event->peer.value);
		print_run("read done", &event->run);
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
	case EV_COLLECT:
		printf("collective call op %d\n", event->collect.op);
		return;
	case EV_SYNC:
		printf("call %" PRIu64 ": object %" PRIu64 " op %d\n", event->token.value,
		       event->sync.name / 64, event->sync.op);
		return;
	case EV_HEAP_ALLOC:
	case EV_HEAP_RELEASE:
	case EV_HEAP_FREE:
		printf("event %d\n", event->kind);
		return;
	}
}

void trace_command(struct world *world, struct node_id id, const struct command *command)
{
	static const char *const names[] = {
		[CMD_SEND] = "send",
		[CMD_READ] = "read",
		[CMD_MAP_READ] = "map for reading",
		[CMD_MAP_WRITE] = "map for writing",
		[CMD_UPGRADE] = "upgrade",
		[CMD_INVALIDATE] = "invalidate",
		[CMD_DOWNGRADE] = "downgrade",
		[CMD_FAIL] = "fail",
		[CMD_COMPLETE] = "complete",
		[CMD_FREE] = "free",
	};

	if (!world->trace)
		return;
	printf("%22sn%u -> ", "", id.value);
	if (command->kind == CMD_SEND) {
		printf("n%u ", command->peer.value);
		print_message(&command->message);
	} else if (command->kind == CMD_READ || command->kind == CMD_FAIL) {
		printf("n%u ", command->peer.value);
		print_run(names[command->kind], &command->run);
	} else if (command->kind == CMD_COMPLETE) {
		printf("call %" PRIu64 " ends with %d, value %" PRIu64 "\n",
		       command->complete.token.value, command->status, command->complete.value);
	} else if (command->kind == CMD_FREE) {
		printf("free\n");
	} else {
		print_run(names[command->kind], &command->run);
	}
}

/* ---- failing ---- */

static void print_page(struct world *world, struct page_id page)
{
	const struct model *model = &world->pages[page.value];

	fprintf(stderr, "page %" PRIu64 ": latest %" PRIu64 " before %" PRIu64 "%s%s%s\n",
		page.value, model->latest, model->before, model->undecided ? " undecided" : "",
		model->must_refuse ? " must-refuse" : "", model->lost ? " lost" : "");
	for (unsigned int i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		const struct page_entry *entry = &node->engine->pages[page.value];
		struct directory_view view;

		if (node->mapping[page.value] != PAGE_INVALID || entry->version != 0 ||
		    entry->pending != 0)
			fprintf(stderr,
				"  n%u%s: pager %d state %u pending %u version %" PRId64
				" frame %" PRIu64 "/%" PRIu64 "\n",
				i, node->alive ? "" : " (dead)", node->mapping[page.value],
				entry->state, entry->pending, (int64_t)entry->version,
				node->frames[page.value].half[0], node->frames[page.value].half[1]);
		if (engine_directory_view(node->engine, page, &view) && view.version != 0)
			fprintf(stderr,
				"  n%u manages: owner n%u version %" PRIu64
				" exclusive %d lost %d busy %d holders %" PRIx64 "\n",
				i, view.owner.value, view.version, view.exclusive, view.lost,
				view.busy, view.holders[0]);
	}
}

void sim_fail(struct world *world, const struct page_id *page, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "sim: step %" PRIu64 ": ", world->step);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (page != NULL)
		print_page(world, *page);
	current = world;
	sim_print_replay();
	exit(1);
}
