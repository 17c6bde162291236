/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer is gone: its process ended (rdma_cm says so), its machine or the link to it is dead (a
 * send or a keep-alive runs out of retries or of time), or it said goodbye. Its queue pair is moved
 * to the error state, so that the device completes all that is outstanding ("flushed"); messages
 * that had arrived before stand before those completions. When all have come the peer is reported
 * down, once.
 *
 * Keep-alive: a peer that was silent for an eighth of loss_ns is sent a write of no bytes, which
 * its device acknowledges without its processor. If half of loss_ns passes after that without any
 * sign of life the peer is given up, whether or not the device has used up its retries. A node that
 * did not poll for long judges nobody by what it has not looked at: time counts only up to the last
 * poll() that saw the completion queue empty.
 */
#include "state.h"

#include "port/clock.h"

#include <errno.h>
#include <string.h>

/* A device that does not flush in this time never will; what is left is ended here. */
#define DRAIN_NS UINT64_C(1000000000)

void loss_begin(struct fabric *fabric, unsigned int peer, int status)
{
	struct verbs_peer *lost = &fabric->peers[peer];
	struct ibv_qp_attr error_state = { .qp_state = IBV_QPS_ERR };

	if (lost->state != PEER_UP && lost->state != PEER_CONNECTING)
		return;
	lost->state = PEER_DRAINING;
	lost->status = status;
	lost->drain_end_ns = clock_now_ns() + DRAIN_NS;
	fabric->draining++;
	if (lost->id == NULL || lost->id->qp == NULL)
		return;
	/* The peer may be alive and only the connection broken: it is told. */
	if (lost->connected && rdma_disconnect(lost->id) == 0)
		return;
	ibv_modify_qp(lost->id->qp, &error_state, IBV_QP_STATE);
}

/* Unsignalled sends that were done before the end leave no trace: only what is counted is awaited.
 */
static bool drained(const struct fabric *fabric, const struct verbs_peer *peer)
{
	if (fabric->tended_ns >= peer->drain_end_ns)
		return true;
	return peer->receives == 0 && peer->operations == 0;
}

static void report(struct fabric *fabric, unsigned int peer)
{
	struct verbs_peer *lost = &fabric->peers[peer];
	struct fabric_event down = { .kind = FABRIC_PEER_DOWN, .peer = node_id(peer) };

	onesided_abandon(fabric, peer, -ECONNRESET);
	lost->state = PEER_DOWN;
	fabric->draining--;
	if (!lost->said_goodbye)
		down.status = lost->status != 0 ? lost->status : -ECONNRESET;
	if (peer != fabric->config.self.value)
		poll_ready(fabric, &down);
}

void loss_report(struct fabric *fabric)
{
	for (unsigned int i = 0; i < fabric->config.node_count && fabric->draining > 0; i++) {
		if (fabric->peers[i].state == PEER_DRAINING && drained(fabric, &fabric->peers[i]))
			report(fabric, i);
	}
}

/* ---- signs of life ---- */

static void probe(struct fabric *fabric, unsigned int peer, uint64_t now_ns)
{
	struct verbs_peer *to = &fabric->peers[peer];
	struct ibv_send_wr wr = {
		.wr_id = wr_id(WR_CONTROL, peer, to->posted),
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
	};

	to->probing = true;
	to->probed_ns = now_ns;
	/* A full queue is as good: its completions tell as much. */
	if (queue_room(fabric, peer) > 0)
		queue_post(fabric, peer, &wr);
}

static void tend_peer(struct fabric *fabric, unsigned int peer, uint64_t now_ns)
{
	const struct verbs_peer *at = &fabric->peers[peer];

	if (at->said_goodbye && now_ns - at->heard_ns > fabric->loss_ns / 8)
		loss_begin(fabric, peer, 0);
	else if (at->probing && fabric->empty_ns > at->probed_ns &&
		 fabric->empty_ns - at->probed_ns > fabric->loss_ns / 2)
		loss_begin(fabric, peer, -ETIMEDOUT);
	else if (!at->probing && now_ns - at->heard_ns > fabric->loss_ns / 8)
		probe(fabric, peer, now_ns);
}

void loss_tend(struct fabric *fabric, uint64_t now_ns)
{
	for (unsigned int i = 0; i < fabric->config.node_count; i++) {
		if (fabric->peers[i].state == PEER_UP && i != fabric->config.self.value)
			tend_peer(fabric, i, now_ns);
	}
	loss_report(fabric);
}
