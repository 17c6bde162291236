/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages and credits. A node may have as many messages on their way as its peer has receives
 * posted for them; every message carries, as its immediate data, how many receives its sender has
 * posted again. When there is nothing to send and half of the credits are owed, an empty message
 * carries them. Empty messages take a receive too, but no credit: of them there are at most two
 * under way (each answers credits / 2 messages, of which at most `credits` are unanswered), plus
 * the goodbye; RECEIVES_SPARE covers those.
 */
#include "state.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define GOODBYE UINT32_MAX

/* Every so many messages one asks for a completion, so that the queue is known to empty. */
static bool wants_completion(const struct fabric *fabric, const struct verbs_peer *peer)
{
	return peer->posted % (fabric->send_depth / 4) == 0;
}

static int post_message(struct fabric *fabric, unsigned int peer, const void *data, size_t bytes,
			uint32_t immediate, bool signal)
{
	struct verbs_peer *to = &fabric->peers[peer];
	size_t index = (size_t)peer * fabric->send_depth + to->posted % fabric->send_depth;
	unsigned char *buffer = fabric->send_buffers + index * FABRIC_MESSAGE_MAX;
	bool in_line = bytes <= fabric->inline_max;
	struct ibv_sge sge = { .length = (uint32_t)bytes, .lkey = fabric->buffers_mr->lkey };
	struct ibv_send_wr wr = {
		.wr_id = wr_id(signal ? WR_CONTROL : WR_MESSAGE, peer, to->posted),
		.sg_list = &sge,
		.num_sge = bytes > 0,
		.opcode = IBV_WR_SEND_WITH_IMM,
		.imm_data = htonl(immediate),
		.send_flags =
			(in_line && bytes > 0 ? (unsigned int)IBV_SEND_INLINE : 0u) |
			(signal || wants_completion(fabric, to) ? (unsigned int)IBV_SEND_SIGNALED
								: 0u),
	};

	if (bytes > 0 && !in_line)
		memcpy(buffer, data, bytes);
	sge.addr = in_line ? (uint64_t)(uintptr_t)data : (uint64_t)(uintptr_t)buffer;
	return queue_post(fabric, peer, &wr);
}

int message_send(struct fabric *fabric, struct node_id peer, const void *data, size_t bytes)
{
	if (bytes < 1 || bytes > FABRIC_MESSAGE_MAX || peer.value >= fabric->config.node_count ||
	    node_equal(peer, fabric->config.self))
		return -EINVAL;
	struct verbs_peer *to = &fabric->peers[peer.value];

	if (to->state != PEER_UP)
		return -EHOSTDOWN;
	int error = -EAGAIN;

	if (to->credits > 0 && queue_room(fabric, peer.value) > CONTROLS_PER_PEER)
		error = post_message(fabric, peer.value, data, bytes, to->owed, false);
	if (error == 0) {
		to->owed = 0;
		to->credits--;
	}
	if (error == -EAGAIN)
		to->starved = true;
	return error;
}

int message_goodbye(struct fabric *fabric, unsigned int peer)
{
	return post_message(fabric, peer, NULL, 0, GOODBYE, true);
}

void message_settle(struct fabric *fabric, unsigned int peer)
{
	struct verbs_peer *to = &fabric->peers[peer];

	if (fabric->leaving || to->state != PEER_UP || to->owed < fabric->config.credits / 2 + 1 ||
	    queue_room(fabric, peer) < 2)
		return;
	if (post_message(fabric, peer, NULL, 0, to->owed, false) == 0)
		to->owed = 0;
}

void message_return(struct fabric *fabric, unsigned int peer, uint32_t slot)
{
	struct verbs_peer *to = &fabric->peers[peer];

	if (to->state != PEER_UP || queue_post_receive(fabric, peer, slot) != 0)
		return;
	to->owed++;
	message_settle(fabric, peer);
}

static void take_credits(struct fabric *fabric, unsigned int peer, uint32_t immediate)
{
	struct verbs_peer *from = &fabric->peers[peer];
	struct fabric_event credit = { .kind = FABRIC_CREDIT, .peer = node_id(peer) };

	if (immediate > fabric->config.credits - from->credits) {
		loss_begin(fabric, peer, -EPROTO);
		return;
	}
	from->credits += immediate;
	if (from->starved && from->credits > 0) {
		from->starved = false;
		poll_ready(fabric, &credit);
	}
}

bool message_received(struct fabric *fabric, const struct ibv_wc *wc, struct fabric_event *event)
{
	unsigned int peer = wr_peer(wc->wr_id);
	uint32_t slot = wr_number(wc->wr_id);
	struct verbs_peer *from = &fabric->peers[peer];
	uint32_t immediate = ntohl(wc->imm_data);

	if (!(wc->wc_flags & IBV_WC_WITH_IMM) || wc->byte_len > FABRIC_MESSAGE_MAX) {
		loss_begin(fabric, peer, -EPROTO);
		return false;
	}
	if (immediate == GOODBYE) {
		from->said_goodbye = true;
	} else {
		take_credits(fabric, peer, immediate);
	}
	if (wc->byte_len == 0) {
		if (from->state == PEER_UP && !from->said_goodbye)
			queue_post_receive(fabric, peer, slot);
		return false;
	}
	size_t index = (size_t)peer * fabric->receive_depth + slot;

	*event = (struct fabric_event){
		.kind = FABRIC_MESSAGE,
		.peer = node_id(peer),
		.data = fabric->receive_buffers + index * FABRIC_MESSAGE_MAX,
		.bytes = wc->byte_len,
	};
	ASSERT(fabric->handed_out_count < COMPLETIONS_MAX);
	fabric->handed_out[fabric->handed_out_count++] = wc->wr_id;
	return true;
}
