/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collective calls: every node arrives at node 0, which tells all when the last one has. One call
 * at a time, numbered, so that a node that is in another call than the rest is found out.
 */
#include "engine/internal.h"

static void fill(struct message *message, enum message_kind kind,
		 const struct message_collect *collect)
{
	*message = (struct message){ .kind = (uint16_t)kind };
	message->collect = *collect;
	message->bytes = (uint16_t)message_bytes(message);
}

int collect_event(struct engine *engine, const struct event *event)
{
	struct collect_state *state = &engine->collect;
	struct message_collect collect = {
		.minimum = event->collect.minimum,
		.root = event->collect.root.value,
		.bytes = event->collect.bytes,
		.op = (uint8_t)event->collect.op,
	};
	struct message message;

	ASSERT(event->collect.bytes <= COLLECT_BYTES_MAX);
	if (state->token.value != 0)
		return -EAGAIN;
	if (engine->any_down) {
		emit_complete(engine, event->token, -EHOSTDOWN, 0);
		return 0;
	}
	state->token = event->token;
	collect.sequence = ++state->sequence;
	if (event->collect.data != NULL)
		memcpy(collect.data, event->collect.data, collect.bytes);
	fill(&message, MSG_COLLECT, &collect);
	emit_send(engine, node_id(0), &message);
	return 0;
}

/* Node 0, when all are there. */
static void tell_all(struct engine *engine)
{
	struct collect_state *state = &engine->collect;
	struct message message;

	state->sum.status = state->disagree ? -EPROTO : 0;
	fill(&message, MSG_COLLECT_DONE, &state->sum);
	state->arrived_count = 0;
	state->disagree = false;
	for (unsigned int node = 0; node < engine->config.node_count; node++)
		emit_send(engine, node_id(node), &message);
}

int collect_arrived(struct engine *engine, struct node_id from,
		    const struct message_collect *collect)
{
	struct collect_state *state = &engine->collect;

	if (engine->config.self.value != 0)
		return -EPROTO;
	if (engine->any_down)
		return 0; /* its sender fails too, when it learns of the loss */
	if (state->arrived_count == 0) {
		state->sum = *collect;
	} else {
		if (collect->sequence != state->sum.sequence)
			return -EPROTO;
		if (collect->op != state->sum.op || collect->root != state->sum.root ||
		    collect->bytes != state->sum.bytes)
			state->disagree = true;
		if (collect->minimum < state->sum.minimum)
			state->sum.minimum = collect->minimum;
	}
	if (from.value == collect->root)
		memcpy(state->sum.data, collect->data, sizeof(state->sum.data));
	if (++state->arrived_count == engine->config.node_count)
		tell_all(engine);
	return 0;
}

int collect_done(struct engine *engine, struct node_id from, const struct message_collect *collect)
{
	struct collect_state *state = &engine->collect;
	struct token token = state->token;

	if (from.value != 0)
		return -EPROTO;
	if (token.value == 0 && engine->any_down && !MUTANT(LATE_COLLECT))
		return 0; /* the call failed here when a node was lost; the others were faster */
	if (token.value == 0 || collect->sequence != state->sequence)
		return -EPROTO;
	state->token.value = 0;
	emit_complete_data(engine, token, collect->status, (uint64_t)collect->minimum,
			   collect->data, collect->bytes);
	return 0;
}

void collect_peer_down(struct engine *engine, struct node_id peer)
{
	struct collect_state *state = &engine->collect;
	struct token token = state->token;

	(void)peer; /* whoever is lost, the call can never be whole */
	state->arrived_count = 0;
	if (token.value == 0)
		return;
	state->token.value = 0;
	emit_complete(engine, token, -EHOSTDOWN, 0);
}
