/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the cluster of a trace. Messages wait in the cluster's queue, reads and the pager's work
 * here; each ends when the script says so. Every step prints what happened, the rows that it took
 * and the commands that came of it, in their order.
 */
#include "golden.h"

#include "base/assert.h"
#include "sim/lines.h"
#include "sim/taken.h"
#include "unit/engine_cluster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX 256u
#define ROWS_MAX 1024u
#define SETTLE_MAX 10000u

/* A read, or the pager's work, that has not ended. */
struct op {
	unsigned int node;
	struct command command;
	bool looked; /* a fast read: its bit is added, the gate was ... */
	uint64_t gate;
};

struct play {
	struct cluster *cluster;
	FILE *out; /* where the lines go: one of these */
	FILE *shown;
	FILE *hidden;
	uint64_t now_ns;
	bool delayed[CLUSTER_NODES][CLUSTER_NODES]; /* messages from, to */
	bool slow[CLUSTER_NODES];		    /* reads and the pager of a node */
	struct op ops[OPS_MAX];			    /* oldest first */
	size_t op_count;
	uint64_t gates[CLUSTER_NODES][PLAY_UNITS * UNIT_PAGES];
	uint64_t sharers[CLUSTER_NODES][PLAY_UNITS * UNIT_PAGES];
	struct {
		const char *name;
		uint32_t before; /* commands that came before it */
	} rows[ROWS_MAX];	 /* of the step under way */
	size_t row_count;
};

/* The play whose engine is at work, for the hook. */
static struct play *playing;

static void on_row(const char *name)
{
	struct play *play = playing;

	if (play == NULL)
		return;
	ASSERT(play->row_count < ROWS_MAX);
	play->rows[play->row_count].name = name;
	play->rows[play->row_count++].before = play->cluster->commands.count;
}

/* ---- steps ---- */

static bool ends_later(enum command_kind kind)
{
	return kind == CMD_READ || kind == CMD_UPDATE || kind == CMD_INVALIDATE ||
	       kind == CMD_DOWNGRADE || kind == CMD_FAST_READ || kind == CMD_COLLECT;
}

static void op_add(struct play *play, unsigned int node, const struct command *command)
{
	if (command->kind == CMD_GATE)
		play->gates[node][command->gate.page.value] = command->gate.word;
	if (!ends_later(command->kind))
		return;
	ASSERT(play->op_count < OPS_MAX);
	play->ops[play->op_count++] = (struct op){ .node = node, .command = *command };
}

static void print_step(struct play *play, unsigned int node)
{
	const struct commands *commands = &play->cluster->commands;
	size_t row = 0;

	for (uint32_t i = 0; i <= commands->count; i++) {
		for (; row < play->row_count && play->rows[row].before <= i; row++)
			fprintf(play->out, "    \"%s\"\n", play->rows[row].name);
		if (i == commands->count)
			break;
		fprintf(play->out, "    ");
		line_command(play->out, node_id(node), &commands->list[i]);
		op_add(play, node, &commands->list[i]);
	}
}

static const char *step(struct play *play, unsigned int node, struct event *event)
{
	if (node >= play->cluster->config.node_count)
		return "there is no such node";
	if (play->cluster->lost[node])
		return "the node is lost";
	event->now_ns = play->now_ns;
	fprintf(play->out, "  ");
	line_event(play->out, node_id(node), event);
	play->row_count = 0;
	playing = play;
	int error = cluster_step(play->cluster, node, event);

	playing = NULL;
	print_step(play, node);
	if (error != 0)
		fprintf(play->out, "    n%u -> %s\n", node,
			error == -EAGAIN ? "-EAGAIN" : "-EPROTO");
	return NULL;
}

/* ---- opening ---- */

/* Not to be seen in the trace. */
static void prepare(struct play *play, unsigned int node, struct event *event)
{
	ASSERT(cluster_step(play->cluster, node, event) == 0);
	cluster_run(play->cluster);
}

static void open_units(struct play *play, const struct play_head *head)
{
	for (unsigned int unit = 0; unit < PLAY_UNITS; unit++) {
		struct event region = {
			.kind = EV_REGION,
			.region.run = { page_id(unit * UNIT_PAGES), UNIT_PAGES },
			.region.update = head->update_units[unit],
		};

		for (unsigned int node = 0; node < head->node_count; node++)
			prepare(play, node, &region);
	}
	for (unsigned int node = 1; node < head->node_count && !head->homes_unknown; node++) {
		struct event home = {
			.kind = EV_HOME,
			.home = page_id(0),
			/* Calls of the trace are counted from 1. */
			.token = { CLUSTER_TOKENS - 1u - node },
		};

		prepare(play, node, &home);
	}
}

struct play *play_open(const struct play_head *head, FILE *out)
{
	struct play *play = calloc(1, sizeof(*play));
	struct engine_config config = cluster_config();

	ASSERT(play != NULL);
	config.node_count = head->node_count;
	config.manager = head->manager;
	config.hold_ns = head->hold_ns;
	config.fast_read = head->fast_read;
	config.page_limit = PLAY_UNITS * (uint64_t)UNIT_PAGES;
	play->cluster = cluster_open(&config);
	play->shown = out;
	play->hidden = fopen("/dev/null", "w");
	ASSERT(play->hidden != NULL);
	play_show(play, true);
	taken_listen(on_row);
	open_units(play, head);
	return play;
}

void play_show(struct play *play, bool shown)
{
	play->out = shown ? play->shown : play->hidden;
}

void play_close(struct play *play)
{
	fclose(play->hidden);
	cluster_close(play->cluster);
	free(play);
}

/* ---- what a node's program does ---- */

const char *play_fault(struct play *play, unsigned int node, uint64_t page, bool write)
{
	struct event event = {
		.kind = EV_FAULT,
		.fault = { .run = { page_id(page), 1 }, .write = write },
	};

	return step(play, node, &event);
}

const char *play_prefetch(struct play *play, unsigned int node, struct run run, bool write,
			  bool guess)
{
	struct event event = {
		.kind = EV_PREFETCH,
		.fault = { .run = run, .write = write, .guess = guess },
	};

	return step(play, node, &event);
}

const char *play_evict(struct play *play, unsigned int node, struct run run)
{
	struct event event = { .kind = EV_EVICT, .run = run };

	return step(play, node, &event);
}

const char *play_pin(struct play *play, unsigned int node, uint64_t page, bool write)
{
	struct event event = {
		.kind = EV_PIN,
		.token = cluster_token(play->cluster),
		.pin = { .page = page_id(page), .write = write },
	};

	return step(play, node, &event);
}

const char *play_unpin(struct play *play, unsigned int node, uint64_t page, bool write)
{
	struct event event = {
		.kind = EV_UNPIN,
		.pin = { .page = page_id(page), .write = write },
	};

	if (node >= play->cluster->config.node_count ||
	    !engine_pinned(play->cluster->engines[node], page_id(page), write))
		return "the page is not pinned so";
	return step(play, node, &event);
}

const char *play_cancel(struct play *play, unsigned int node, uint64_t call)
{
	struct event event = { .kind = EV_PIN_CANCEL, .token = { call } };

	return step(play, node, &event);
}

const char *play_lock(struct play *play, unsigned int node, enum sync_op op, uint64_t lock,
		      uint32_t thread)
{
	struct event event = {
		.kind = EV_SYNC,
		.token = cluster_token(play->cluster),
		.sync = { .name = lock, .kind = SYNC_LOCK, .op = op, .thread = thread },
	};

	return step(play, node, &event);
}

const char *play_publish(struct play *play, unsigned int node)
{
	struct event event = { .kind = EV_PUBLISH, .token = cluster_token(play->cluster) };

	return step(play, node, &event);
}

/* ---- what was under way ends ---- */

static const char *message_end(struct play *play, size_t index)
{
	struct cluster_message sent;
	struct message message;
	struct event event = { .kind = EV_MESSAGE, .message = &message };

	cluster_take(play->cluster, index, &sent);
	cluster_decode(play->cluster, &sent, &message);
	event.peer = sent.from;
	return step(play, sent.to.value, &event);
}

const char *play_deliver(struct play *play, unsigned int from, unsigned int to)
{
	const struct cluster_message *queue = &play->cluster->queue[play->cluster->queue_head];

	for (size_t i = 0; i < play->cluster->queue_count; i++) {
		if (queue[i].from.value == from && queue[i].to.value == to)
			return message_end(play, i);
	}
	return "no message is under way between them";
}

const char *play_delay(struct play *play, unsigned int from, unsigned int to, bool delayed)
{
	unsigned int node_count = play->cluster->config.node_count;

	if (from >= node_count || to >= node_count)
		return "there is no such node";
	if (from == to)
		play->slow[from] = delayed;
	else
		play->delayed[from][to] = delayed;
	return NULL;
}

/* The oldest message that is not delayed; the count: none. */
static size_t message_due(const struct play *play)
{
	const struct cluster_message *queue = &play->cluster->queue[play->cluster->queue_head];
	size_t i = 0;

	while (i < play->cluster->queue_count &&
	       play->delayed[queue[i].from.value][queue[i].to.value])
		i++;
	return i;
}

static void look(struct play *play, struct op *op)
{
	uint64_t page = op->command.fast.page.value;
	unsigned int peer = op->command.peer.value;

	op->looked = true;
	play->sharers[peer][page] += (uint64_t)op->command.fast.add << op->node;
	op->gate = play->gates[peer][page];
}

const char *play_look(struct play *play, unsigned int node)
{
	for (size_t i = 0; i < play->op_count; i++) {
		struct op *op = &play->ops[i];

		if (op->node != node || op->command.kind != CMD_FAST_READ || op->looked)
			continue;
		look(play, op);
		return NULL;
	}
	return "the node has no fast read under way that has not looked yet";
}

static const char *fast_read_end(struct play *play, struct op *op, bool fail)
{
	struct event event = { .kind = EV_FAST_DONE, .peer = op->command.peer };

	if (!fail && !op->looked)
		look(play, op);
	event.status = fail ? -EIO : 0;
	event.fast.page = op->command.fast.page;
	event.fast.added = op->looked && op->command.fast.add;
	event.fast.gate = fail ? 0 : op->gate;
	return step(play, op->node, &event);
}

static const char *collect_end(struct play *play, const struct op *op)
{
	struct event event = { .kind = EV_COLLECTED };
	struct page_id page = op->command.collect.page;
	uint64_t sharers = play->sharers[op->node][page.value];

	play->sharers[op->node][page.value] &= UINT64_C(1) << op->command.collect.keep.value;
	event.collected.page = page;
	event.collected.keep = op->command.collect.keep;
	event.collected.sharers = &sharers;
	return step(play, op->node, &event);
}

static const char *op_end(struct play *play, size_t index, bool fail)
{
	struct op op = play->ops[index];
	struct event event = { .peer = op.command.peer, .status = fail ? -EIO : 0 };

	memmove(&play->ops[index], &play->ops[index + 1],
		(--play->op_count - index) * sizeof(play->ops[0]));
	if (op.command.kind == CMD_FAST_READ)
		return fast_read_end(play, &op, fail);
	if (op.command.kind == CMD_COLLECT)
		return collect_end(play, &op);
	if (op.command.kind == CMD_READ || op.command.kind == CMD_UPDATE) {
		event.kind = op.command.kind == CMD_READ ? EV_READ_DONE : EV_UPDATE_DONE;
		event.run = op.command.run;
	} else {
		event.kind = EV_PAGER_DONE;
		event.pager.run = op.command.run;
		event.pager.downgrade = op.command.kind == CMD_DOWNGRADE;
	}
	return step(play, op.node, &event);
}

static bool is_read(const struct op *op)
{
	return op->command.kind == CMD_READ || op->command.kind == CMD_UPDATE ||
	       op->command.kind == CMD_FAST_READ;
}

const char *play_collected(struct play *play, unsigned int node)
{
	for (size_t i = 0; i < play->op_count; i++) {
		if (play->ops[i].node == node && play->ops[i].command.kind == CMD_COLLECT)
			return op_end(play, i, false);
	}
	return "the node collects nothing";
}

const char *play_bytes(struct play *play, unsigned int node, bool fail)
{
	for (size_t i = 0; i < play->op_count; i++) {
		if (play->ops[i].node == node && is_read(&play->ops[i]))
			return op_end(play, i, fail);
	}
	return "the node reads nothing";
}

const char *play_pager(struct play *play, unsigned int node)
{
	for (size_t i = 0; i < play->op_count; i++) {
		if (play->ops[i].node == node && !is_read(&play->ops[i]) &&
		    play->ops[i].command.kind != CMD_COLLECT)
			return op_end(play, i, false);
	}
	return "the node's pager has nothing to do";
}

/* The oldest that is of no slow node; the count: none. */
static size_t op_due(const struct play *play)
{
	size_t i = 0;

	while (i < play->op_count && play->slow[play->ops[i].node])
		i++;
	return i;
}

/* ---- time ---- */

const char *play_timer(struct play *play, unsigned int node)
{
	struct event event = { .kind = EV_TIMER };

	if (node < play->cluster->config.node_count &&
	    engine_timer_ns(play->cluster->engines[node]) > play->now_ns)
		return "the node's timer is not due";
	return step(play, node, &event);
}

/* The first live node whose timer is due; node_count: none. */
static unsigned int timer_due(const struct play *play)
{
	unsigned int node = 0;

	while (node < play->cluster->config.node_count &&
	       (play->cluster->lost[node] ||
		engine_timer_ns(play->cluster->engines[node]) > play->now_ns))
		node++;
	return node;
}

const char *play_time(struct play *play, uint64_t ns)
{
	play->now_ns += ns;
	return NULL;
}

static bool peer_lost(const struct play *play, const struct op *op)
{
	return is_read(op) && play->cluster->lost[op->command.peer.value];
}

const char *play_settle(struct play *play)
{
	for (unsigned int i = 0; i < SETTLE_MAX; i++) {
		unsigned int timer = timer_due(play);
		size_t message = message_due(play);
		size_t op = op_due(play);

		if (op < play->op_count)
			op_end(play, op, peer_lost(play, &play->ops[op]));
		else if (message < play->cluster->queue_count)
			message_end(play, message);
		else if (timer < play->cluster->config.node_count)
			play_timer(play, timer);
		else
			return NULL;
	}
	return "this does not come to rest";
}

/* ---- loss ---- */

/* Forgets messages; ANY stands for every node. */
#define ANY UINT32_MAX

static void messages_drop(struct play *play, unsigned int from, unsigned int to)
{
	struct cluster_message dropped;

	for (size_t i = 0; i < play->cluster->queue_count;) {
		const struct cluster_message *sent =
			&play->cluster->queue[play->cluster->queue_head + i];

		if ((from == ANY || sent->from.value == from) && sent->to.value == to)
			cluster_take(play->cluster, i, &dropped);
		else
			i++;
	}
}

const char *play_lose(struct play *play, unsigned int node)
{
	size_t kept = 0;

	if (node >= play->cluster->config.node_count || play->cluster->lost[node])
		return "there is no such node to be lost";
	play->cluster->lost[node] = true;
	messages_drop(play, ANY, node);
	for (size_t i = 0; i < play->op_count; i++) {
		if (play->ops[i].node != node)
			play->ops[kept++] = play->ops[i];
	}
	play->op_count = kept;
	return NULL;
}

const char *play_told(struct play *play, unsigned int node, unsigned int lost)
{
	struct event event = { .kind = EV_PEER_DOWN, .peer = node_id(lost) };

	if (lost >= play->cluster->config.node_count || !play->cluster->lost[lost])
		return "that node is not lost";
	messages_drop(play, lost, node);
	return step(play, node, &event);
}

const char *play_rest(struct play *play)
{
	if (play->op_count > 0)
		return "a read, or the pager, is still at work";
	if (play->cluster->queue_count > 0)
		return "a message is still under way";
	if (timer_due(play) < play->cluster->config.node_count)
		return "a timer is due";
	return cluster_quiet(play->cluster) ? NULL : "a request or a call is still under way";
}
