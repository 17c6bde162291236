/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands and messages out of the engine. Neighbouring pages that go the same way join into one
 * run: a message joins the latest one to the same peer, so that the order in which a peer sees
 * messages is the order in which they were emitted; a pager command joins the latest pager command,
 * if that is of its kind, so that what happens to one page happens in the order of emission; a read
 * joins the latest read.
 */
#include "engine/internal.h"

/* How far back to look for a run to join. Enough for a write that goes to a few readers. */
#define JOIN_DISTANCE 16u

static struct command *append(struct engine *engine, enum command_kind kind, struct node_id peer)
{
	ASSERT(engine->out->count < COMMANDS_MAX);
	struct command *command = &engine->out->list[engine->out->count++];

	command->kind = kind;
	command->peer = peer;
	command->status = 0;
	return command;
}

static struct message *loop_append(struct engine *engine)
{
	if (engine->loop_count == 0)
		engine->loop_head = 0;
	ASSERT(engine->loop_head + engine->loop_count < LOOP_MAX);
	return &engine->loop[engine->loop_head + engine->loop_count++];
}

/* Where a new message to `peer` goes; NULL when the peer is lost and nothing should be sent. */
static struct message *place(struct engine *engine, struct node_id peer)
{
	if (node_equal(peer, engine->config.self))
		return loop_append(engine);
	if (engine_down(engine, peer))
		return NULL;
	return &append(engine, CMD_SEND, peer)->message;
}

/* The latest message to `peer` in this step, if it is near; NULL otherwise. */
static struct message *latest(struct engine *engine, struct node_id peer)
{
	if (node_equal(peer, engine->config.self))
		return engine->loop_count == 0
			       ? NULL
			       : &engine->loop[engine->loop_head + engine->loop_count - 1];
	for (uint32_t back = 1; back <= JOIN_DISTANCE && back <= engine->out->count; back++) {
		struct command *command = &engine->out->list[engine->out->count - back];

		if (command->kind == CMD_SEND && node_equal(command->peer, peer))
			return &command->message;
	}
	return NULL;
}

void emit_send(struct engine *engine, struct node_id peer, const struct message *message)
{
	struct message *copy = place(engine, peer);

	if (copy == NULL)
		return;
	memcpy(copy, message, message->bytes);
}

/* Does a run of pages that ends before `page` go on? Not from one protocol to the other. */
static bool goes_on(const struct engine *engine, uint64_t end, struct page_id page)
{
	return end == page.value &&
	       (page.value % UNIT_PAGES != 0 ||
		engine_updates(engine, page) == engine_updates(engine, page_id(page.value - 1)));
}

static bool run_joins(const struct engine *engine, const struct message *message,
		      enum message_kind kind, struct page_id page, struct node_id about,
		      uint32_t flags)
{
	return message != NULL && message->kind == kind && message->run.page_count < RUN_MAX &&
	       goes_on(engine, message->run.page + message->run.page_count, page) &&
	       message->run.node == about.value && message->run.flags == flags;
}

void emit_flagged_run(struct engine *engine, struct node_id peer, enum message_kind kind,
		      struct page_id page, struct node_id about, uint32_t flags)
{
	struct message *message = latest(engine, peer);

	if (run_joins(engine, message, kind, page, about, flags)) {
		message->run.page_count++;
		return;
	}
	message = place(engine, peer);
	if (message == NULL)
		return;
	*message = (struct message){ .kind = (uint16_t)kind };
	message->run = (struct message_run){
		.page = page.value,
		.page_count = 1,
		.node = about.value,
		.flags = flags,
	};
	message->bytes = (uint16_t)message_bytes(message);
}

void emit_run(struct engine *engine, struct node_id peer, enum message_kind kind,
	      struct page_id page, struct node_id about)
{
	emit_flagged_run(engine, peer, kind, page, about, 0);
}

static bool request_joins(const struct engine *engine, const struct message *message,
			  enum message_kind kind, struct page_id page,
			  const struct message_request *like)
{
	if (message == NULL || message->kind != kind || message->request.page_count == RUN_MAX)
		return false;
	const struct message_request *last = &message->request;

	return goes_on(engine, last->page + last->page_count, page) && last->node == like->node &&
	       last->tag == like->tag && last->home == like->home && last->hops == like->hops &&
	       last->flags == like->flags;
}

/* A request for `page`, in all else like `like`. */
void emit_request(struct engine *engine, struct node_id peer, enum message_kind kind,
		  struct page_id page, const struct message_request *like)
{
	struct message *message = latest(engine, peer);

	if (request_joins(engine, message, kind, page, like)) {
		message->request.page_count++;
		return;
	}
	message = place(engine, peer);
	if (message == NULL)
		return;
	*message = (struct message){ .kind = (uint16_t)kind, .request = *like };
	message->request.page = page.value;
	message->request.page_count = 1;
	message->bytes = (uint16_t)message_bytes(message);
}

void emit_absent(struct engine *engine, struct node_id peer, struct page_id page, uint32_t tag,
		 struct message_known known)
{
	struct message *message = latest(engine, peer);

	if (message == NULL || message->kind != MSG_ABSENT || message->absent.tag != tag ||
	    message->absent.page_count == ABSENT_MAX ||
	    message->absent.page + message->absent.page_count != page.value) {
		message = place(engine, peer);
		if (message == NULL)
			return;
		*message = (struct message){ .kind = MSG_ABSENT };
		message->absent.page = page.value;
		message->absent.tag = tag;
	}
	message->absent.known[message->absent.page_count++] = known;
	message->bytes = (uint16_t)message_bytes(message);
}

void emit_pages(struct engine *engine, struct node_id peer, enum message_kind kind,
		struct page_id page)
{
	struct message *message = latest(engine, peer);

	if (message == NULL || message->kind != kind || message->pages.page_count == PAGES_MAX) {
		message = place(engine, peer);
		if (message == NULL)
			return;
		*message = (struct message){ .kind = (uint16_t)kind };
	}
	message->pages.pages[message->pages.page_count++] = page.value;
	message->bytes = (uint16_t)message_bytes(message);
}

static bool delta_fits(uint64_t base, uint64_t version)
{
	int64_t delta = (int64_t)(version - base);

	return delta >= INT16_MIN && delta <= INT16_MAX;
}

void emit_grant(struct engine *engine, struct node_id peer, enum message_kind kind,
		struct page_id page, struct node_id owner, uint64_t version)
{
	struct message *message = latest(engine, peer);

	if (message != NULL && message->kind == kind && message->grant.page_count < RUN_MAX &&
	    delta_fits(message->grant.version, version) &&
	    goes_on(engine, message->grant.page + message->grant.page_count, page) &&
	    message->grant.owner == owner.value) {
		message->grant.deltas[message->grant.page_count++] =
			(int16_t)(version - message->grant.version);
		message->bytes = (uint16_t)message_bytes(message);
		return;
	}
	message = place(engine, peer);
	if (message == NULL)
		return;
	*message = (struct message){ .kind = (uint16_t)kind };
	message->grant.page = page.value;
	message->grant.page_count = 1;
	message->grant.owner = owner.value;
	message->grant.version = version;
	message->bytes = (uint16_t)message_bytes(message);
}

static bool reads(enum command_kind kind)
{
	return kind == CMD_READ || kind == CMD_UPDATE;
}

/* Not about what threads see of pages, nor a read into a frame. */
static bool aside(enum command_kind kind)
{
	return kind == CMD_SEND || kind == CMD_COMPLETE || kind == CMD_FREE || kind == CMD_LOSE ||
	       kind == CMD_FAST_READ || kind == CMD_GATE || kind == CMD_COLLECT;
}

/* The latest command about pages that `kind` must not overtake, if it is near; NULL otherwise. */
static struct command *latest_page(struct engine *engine, enum command_kind kind)
{
	for (uint32_t back = 1; back <= JOIN_DISTANCE && back <= engine->out->count; back++) {
		struct command *command = &engine->out->list[engine->out->count - back];
		if (MUTANT(OVERTAKING)
			    ? command->kind == kind
			    : !aside(command->kind) && reads(command->kind) == reads(kind))
			return command;
	}
	return NULL;
}

void emit_page(struct engine *engine, enum command_kind kind, struct page_id page,
	       struct node_id peer)
{
	struct command *command = latest_page(engine, kind);

	if (command != NULL && command->kind == kind && node_equal(command->peer, peer) &&
	    command->run.page_count < RUN_MAX &&
	    command->run.page.value + command->run.page_count == page.value) {
		command->run.page_count++;
		return;
	}
	command = append(engine, kind, peer);

	command->run = (struct run){ page, 1 };
}

void emit_fast_read(struct engine *engine, struct node_id peer, struct page_id page, bool add)
{
	struct command *command = append(engine, CMD_FAST_READ, peer);

	command->fast.page = page;
	command->fast.add = add;
}

void emit_gate(struct engine *engine, struct page_id page, uint64_t word)
{
	struct command *command = append(engine, CMD_GATE, engine->config.self);

	command->gate.page = page;
	command->gate.word = word;
}

void emit_collect(struct engine *engine, struct page_id page, struct node_id keep)
{
	struct command *command = append(engine, CMD_COLLECT, engine->config.self);

	command->collect.page = page;
	command->collect.keep = keep;
}

void emit_lose(struct engine *engine, struct node_id peer)
{
	append(engine, CMD_LOSE, peer);
}

void emit_complete(struct engine *engine, struct token token, int status, uint64_t value)
{
	emit_complete_data(engine, token, status, value, NULL, 0);
}

void emit_complete_data(struct engine *engine, struct token token, int status, uint64_t value,
			const uint8_t *data, uint16_t bytes)
{
	struct command *command = append(engine, CMD_COMPLETE, engine->config.self);

	ASSERT(token.value != 0 && bytes <= COLLECT_BYTES_MAX);
	command->status = status;
	command->complete.token = token;
	command->complete.value = value;
	command->complete.bytes = bytes;
	if (bytes > 0)
		memcpy(command->complete.data, data, bytes);
}
