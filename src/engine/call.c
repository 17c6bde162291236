/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls under way: a thread of this node has sent a request and waits for the reply with the same
 * slot. Invariant: a slot is in use from call_open() until call_finish(), call_cancel() or the loss
 * of the peer, and its token is completed exactly once unless it was cancelled.
 */
#include "engine/internal.h"

uint32_t call_open(struct engine *engine, struct node_id peer, struct token token)
{
	uint32_t slot;

	ASSERT(token.value != 0);
	if (engine->call_free != 0) {
		slot = engine->call_free - 1;
		engine->call_free = engine->calls[slot].next_free;
	} else if (engine->call_fresh < engine->config.calls) {
		slot = engine->call_fresh++;
	} else {
		return UINT32_MAX;
	}
	engine->calls[slot] = (struct call){ .token = token, .peer = peer };
	engine->call_count++;
	return slot;
}

void call_cancel(struct engine *engine, uint32_t slot)
{
	ASSERT(slot < engine->call_fresh && engine->calls[slot].token.value != 0);
	engine->calls[slot].token.value = 0;
	engine->calls[slot].next_free = engine->call_free;
	engine->call_free = slot + 1;
	engine->call_count--;
}

int call_finish(struct engine *engine, struct node_id from, uint32_t slot, int status,
		uint64_t value)
{
	if (slot >= engine->call_fresh || engine->calls[slot].token.value == 0 ||
	    !node_equal(engine->calls[slot].peer, from))
		return -EPROTO;
	struct call call = engine->calls[slot];
	int error = 0;

	if (call.unit_count != 0 && status == 0)
		error = heap_granted(engine, &call, value);
	if (call.lock && status == 0)
		error = sync_granted(engine, &call, value);
	if (error != 0)
		return error;
	call_cancel(engine, slot);
	emit_complete(engine, call.token, status, call.lock ? 0 : value);
	return 0;
}

void call_peer_down(struct engine *engine, struct node_id peer)
{
	for (uint32_t slot = 0; slot < engine->call_fresh; slot++) {
		if (engine->calls[slot].token.value != 0 &&
		    node_equal(engine->calls[slot].peer, peer))
			call_finish(engine, peer, slot, -EHOSTDOWN, 0);
	}
}

void call_reply(struct engine *engine, struct node_id peer, uint32_t slot, int status,
		uint64_t value)
{
	struct message message = { .kind = MSG_REPLY };

	message.reply = (struct message_reply){ .value = value, .slot = slot, .status = status };
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, peer, &message);
}
