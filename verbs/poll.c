/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completions become events. The completion queue is asked in poll(); what rdma_cm and the
 * keep-alives have to say is asked for once a millisecond, or when the descriptor may have become
 * readable.
 *
 * Sleeping: arm() asks for a notification and then looks at the queue once more; what it finds
 * there waits in the stash for the next poll(). So nothing that came before the request is slept
 * over.
 */
#include "state.h"

#include "base/assert.h"
#include "base/log.h"
#include "port/clock.h"

#include <errno.h>
#include <unistd.h>

#define TEND_NS UINT64_C(1000000)

void poll_ready(struct fabric *fabric, const struct fabric_event *event)
{
	ASSERT(fabric->ready_count < fabric->ready_size);
	fabric->ready[(fabric->ready_head + fabric->ready_count++) % fabric->ready_size] = *event;
}

static bool take_ready(struct fabric *fabric, struct fabric_event *event)
{
	if (fabric->ready_count == 0)
		return false;
	*event = fabric->ready[fabric->ready_head];
	fabric->ready_head = (fabric->ready_head + 1) % fabric->ready_size;
	fabric->ready_count--;
	return true;
}

/* ---- completions ---- */

/* The send queue is empty up to and with `sequence`. */
static void finished(struct fabric *fabric, unsigned int peer, uint32_t sequence)
{
	struct verbs_peer *to = &fabric->peers[peer];
	struct fabric_event credit = { .kind = FABRIC_CREDIT, .peer = node_id(peer) };

	to->finished = sequence + 1;
	message_settle(fabric, peer);
	if (to->starved && to->credits > 0 && to->state == PEER_UP) {
		to->starved = false;
		poll_ready(fabric, &credit);
	}
}

/*
 * The first failure says why; all that come after it are flushed. An access that keys allow and the
 * peer refuses means that its registrations are going: that is how a process ends.
 */
static void failed(struct fabric *fabric, unsigned int peer, const struct ibv_wc *wc)
{
	bool ending = wc->status == IBV_WC_REM_ACCESS_ERR;

	if (fabric->peers[peer].state == PEER_UP)
		log_line(ending ? LOG_INFO : LOG_WARNING, "RDMA with node %u: %s", peer,
			 ibv_wc_status_str(wc->status));
	loss_begin(fabric, peer, ending ? -ECONNRESET : verbs_status(wc->status));
}

static bool sent(struct fabric *fabric, const struct ibv_wc *wc, struct fabric_event *event)
{
	unsigned int peer = wr_peer(wc->wr_id);
	uint32_t number = wr_number(wc->wr_id);
	bool operation = wr_kind(wc->wr_id) == WR_OPERATION;
	uint32_t sequence = operation ? fabric->operations[number - 1].sequence : number;

	if (wc->status == IBV_WC_SUCCESS) {
		fabric->peers[peer].heard_ns = fabric->tended_ns;
		fabric->peers[peer].probing = false;
	} else {
		failed(fabric, peer, wc);
	}
	finished(fabric, peer, sequence);
	if (!operation)
		return false;
	onesided_done(fabric, number, verbs_status(wc->status), event);
	return true;
}

/* True: the completion is an event. */
static bool translate(struct fabric *fabric, const struct ibv_wc *wc, struct fabric_event *event)
{
	unsigned int peer = wr_peer(wc->wr_id);
	struct verbs_peer *from = &fabric->peers[peer];

	/* It was given up before the device had flushed all; or this is of an earlier attempt. */
	if (from->state == PEER_DOWN || wc->qp_num != from->id->qp->qp_num)
		return false;
	if (wr_kind(wc->wr_id) != WR_RECEIVE)
		return sent(fabric, wc, event);
	from->receives--;
	if (wc->status != IBV_WC_SUCCESS) {
		failed(fabric, peer, wc);
		return false;
	}
	from->heard_ns = fabric->tended_ns;
	return message_received(fabric, wc, event);
}

static int take_completions(struct fabric *fabric, struct ibv_wc *wcs, int count)
{
	int taken = 0;

	while (fabric->stash_next < fabric->stash_count && taken < count)
		wcs[taken++] = fabric->stash[fabric->stash_next++];
	if (taken < count) {
		int polled = ibv_poll_cq(fabric->cq, count - taken, wcs + taken);

		ASSERT(polled >= 0);
		taken += polled;
		fabric->counters.completions += (unsigned int)polled;
	}
	return taken;
}

static void return_receives(struct fabric *fabric)
{
	for (int i = 0; i < fabric->handed_out_count; i++)
		message_return(fabric, wr_peer(fabric->handed_out[i]),
			       wr_number(fabric->handed_out[i]));
	fabric->handed_out_count = 0;
}

static void drain_channel(struct fabric *fabric)
{
	struct ibv_cq *cq;
	void *context;
	uint64_t ticks;

	/* The channel does not block. */
	while (ibv_get_cq_event(fabric->channel, &cq, &context) == 0)
		ibv_ack_cq_events(cq, 1);
	if (read(fabric->timer_fd, &ticks, sizeof(ticks)) < 0)
		ASSERT(errno == EAGAIN);
}

static void tend(struct fabric *fabric)
{
	uint64_t now_ns = clock_now_ns();

	if (!fabric->armed && now_ns - fabric->tended_ns < TEND_NS)
		return;
	if (fabric->armed)
		drain_channel(fabric);
	fabric->armed = false;
	fabric->tended_ns = now_ns;
	connect_tend(fabric);
	loss_tend(fabric, now_ns);
}

int poll_events(struct fabric *fabric, struct fabric_event *events, int event_count)
{
	struct ibv_wc wcs[COMPLETIONS_MAX];
	int limit = event_count < COMPLETIONS_MAX ? event_count : COMPLETIONS_MAX;
	int count = 0;

	return_receives(fabric);
	tend(fabric);
	while (count < limit && take_ready(fabric, &events[count]))
		count++;
	int wanted = limit - count;
	int taken = take_completions(fabric, wcs, wanted);

	if (taken < wanted)
		fabric->empty_ns = fabric->tended_ns;
	for (int i = 0; i < taken; i++) {
		if (translate(fabric, &wcs[i], &events[count]))
			count++;
	}
	if (fabric->draining > 0)
		loss_report(fabric);
	return count;
}

int poll_arm(struct fabric *fabric)
{
	if (fabric->ready_count > 0 || fabric->handed_out_count > 0 ||
	    fabric->stash_next < fabric->stash_count)
		return 1;
	drain_channel(fabric);
	if (ibv_req_notify_cq(fabric->cq, 0) != 0)
		return 1;
	fabric->stash_next = 0;
	fabric->stash_count = ibv_poll_cq(fabric->cq, COMPLETIONS_MAX, fabric->stash);
	ASSERT(fabric->stash_count >= 0);
	fabric->counters.completions += (unsigned int)fabric->stash_count;
	if (fabric->stash_count > 0)
		return 1;
	fabric->armed = true;
	return 0;
}
