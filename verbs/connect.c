/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections through rdma_cm. A node connects to those of lower rank and to itself, and accepts
 * the others; all at once, driven by rdma_cm's events, until the deadline. What may pass (a route
 * that is not there yet, a packet lost) is tried anew. Who connects without a proof of the secret,
 * or as a rank that is connected already, is refused and logged, and the job goes on.
 */
#include "state.h"

#include "base/error.h"
#include "base/log.h"
#include "port/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define RESOLVE_MS 2000
#define AGAIN_NS UINT64_C(100000000)
#define RETRY_COUNT 7
#define RNR_RETRY_FOREVER 7
#define READS_AT_A_TIME 16

/* Nothing came, not even a failure: a lost node, or what docs/caveats.md says of Soft-RoCE. */
#define NO_ANSWER                                                                                  \
	"nothing was heard of them; if `rdma res show qp` says that a GSI queue pair is in state " \
	"ERR, that device must be made anew (rdma link delete, rdma link add)"

/* Lines in the log about strangers; a flood of them is no news. */
#define REFUSED_LINES 16u

/* Reasons of RDMA_CM_EVENT_REJECTED (InfiniBand specification, volume 1, table 12-12). */
#define REJECTED_NO_LISTENER 8
#define REJECTED_STALE 10

/* ---- parameters ---- */

/*
 * The device repeats a packet up to seven times, each after 4.096 us * 2^t (InfiniBand
 * specification, volume 1, 9.7.6.1.3): t is chosen so that all of that takes at most half of
 * loss_ns. Where the option is not known the device's own choice stands, and the keep-alive bounds
 * the loss all the same.
 */
static void set_timeout(struct fabric *fabric, struct rdma_cm_id *id)
{
	uint8_t exponent = 8;

	while (exponent < 20 &&
	       (UINT64_C(4096) << (exponent + 1)) * (RETRY_COUNT + 1) <= fabric->loss_ns / 2)
		exponent++;
	rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &exponent,
			sizeof(exponent));
}

static uint8_t at_a_time(int limit)
{
	return (uint8_t)(limit > READS_AT_A_TIME ? READS_AT_A_TIME : limit);
}

static struct rdma_conn_param parameters(const struct fabric *fabric, uint8_t *greeting)
{
	return (struct rdma_conn_param){
		.private_data = greeting,
		.private_data_len = GREETING_BYTES,
		.responder_resources = at_a_time(fabric->limits.max_qp_rd_atom),
		.initiator_depth = at_a_time(fabric->limits.max_qp_init_rd_atom),
		.retry_count = RETRY_COUNT,
		.rnr_retry_count = RNR_RETRY_FOREVER,
	};
}

static bool is_self(const struct fabric *fabric, unsigned int peer)
{
	return peer == fabric->config.self.value;
}

/* This node is the one that connects. */
static bool dials(const struct fabric *fabric, unsigned int peer)
{
	return peer <= fabric->config.self.value;
}

/* ---- the active side ---- */

/* Where node `peer` listens, and its listener's nonce. */
static int address_of(struct fabric *fabric, unsigned int peer,
		      const struct fabric_address *address, struct sockaddr_in6 *to)
{
	struct verbs_address at;

	if (is_self(fabric, peer)) {
		memcpy(to, &fabric->address, sizeof(*to));
		fabric->nonces[peer] = fabric->nonce;
		return 0;
	}
	if (address->bytes != sizeof(at))
		return error_set(-EINVAL, "node %u has no address of an RDMA device", peer);
	memcpy(&at, address->data, sizeof(at));
	fabric->nonces[peer] = at.nonce;
	*to = at.at;
	/* The number of an interface means something on its own host only. */
	if (to->sin6_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&to->sin6_addr))
		to->sin6_scope_id = ((const struct sockaddr_in6 *)(const void *)&fabric->address)
					    ->sin6_scope_id;
	return 0;
}

static int start(struct fabric *fabric, unsigned int peer, const struct fabric_address *address)
{
	struct verbs_peer *to = &fabric->peers[peer];
	struct sockaddr_storage from = fabric->address;
	struct sockaddr_in6 at;
	int error = address_of(fabric, peer, address, &at);

	if (error != 0)
		return error;
	((struct sockaddr_in *)(void *)&from)->sin_port = 0; /* the same place in sockaddr_in6 */
	if (rdma_create_id(fabric->cm, &to->id, fabric, RDMA_PS_TCP) != 0)
		return verbs_fail("rdma_create_id", errno);
	to->state = PEER_CONNECTING;
	if (rdma_resolve_addr(to->id, (struct sockaddr *)(void *)&from,
			      (struct sockaddr *)(void *)&at, RESOLVE_MS) != 0)
		return verbs_fail("rdma_resolve_addr", errno);
	return 0;
}

static int ready_to_use(struct fabric *fabric, unsigned int peer)
{
	struct verbs_peer *to = &fabric->peers[peer];
	int error = queue_create(fabric, to->id);

	if (error != 0)
		return error;
	to->credits = fabric->config.credits;
	to->receives = 0;
	return is_self(fabric, peer) ? 0 : queue_post_receives(fabric, peer);
}

static int resolved_route(struct fabric *fabric, unsigned int peer, struct rdma_cm_id *id)
{
	uint8_t greeting[GREETING_BYTES];
	struct rdma_conn_param wanted = parameters(fabric, greeting);
	const struct greeting_ends ends = {
		.peer = peer,
		.listener = fabric->nonces[peer],
		.dialler = fabric->nonce,
	};
	int error = ready_to_use(fabric, peer);

	if (error != 0)
		return error;
	greeting_write(fabric, &ends, greeting);
	return rdma_connect(id, &wanted) == 0 ? 0 : verbs_fail("rdma_connect", errno);
}

/* On the active side the answer's private data comes with it. */
static int established(struct fabric *fabric, unsigned int peer, const struct rdma_cm_event *event)
{
	struct verbs_peer *to = &fabric->peers[peer];
	struct greeting_ends ends = {
		.listener = fabric->nonces[peer],
		.dialler = fabric->nonce,
		.answer = true,
	};

	if (dials(fabric, peer) && (greeting_read(fabric, event->param.conn.private_data,
						  event->param.conn.private_data_len, &ends) != 0 ||
				    ends.peer != peer))
		return error_set(-EACCES, "what answers as node %u does not know the job's secret",
				 peer);
	to->connected = true;
	to->state = PEER_UP;
	to->heard_ns = clock_now_ns();
	return 0;
}

/* ---- the passive side ---- */

static int refuse(struct fabric *fabric, struct rdma_cm_id *id, const char *why)
{
	char text[FABRIC_NAME_MAX];

	if (fabric->refused++ < REFUSED_LINES)
		log_line(LOG_WARNING, "refused a connection from %s: %s%s",
			 device_address_text(rdma_get_peer_addr(id), text, sizeof(text)), why,
			 fabric->refused == REFUSED_LINES ? " (no further ones are told of)" : "");
	rdma_reject(id, NULL, 0);
	rdma_destroy_id(id);
	return 0;
}

/* Answers what `ends` says; the queue pair is there. */
static int accept_greeted(struct fabric *fabric, struct rdma_cm_id *id, struct greeting_ends *ends)
{
	uint8_t greeting[GREETING_BYTES];
	struct rdma_conn_param given = parameters(fabric, greeting);

	ends->answer = true;
	greeting_write(fabric, ends, greeting);
	return rdma_accept(id, &given) == 0 ? 0 : verbs_fail("rdma_accept", errno);
}

/* The other end of this node's connection to itself: it only answers one-sided operations. */
static int accept_loop(struct fabric *fabric, struct rdma_cm_id *id, struct greeting_ends *ends)
{
	if (fabric->loop_end != NULL)
		return refuse(fabric, id, "it names this node itself");
	fabric->loop_end = id;
	int error = queue_create(fabric, id);

	return error == 0 ? accept_greeted(fabric, id, ends) : error;
}

static int requested(struct fabric *fabric, const struct rdma_cm_event *event)
{
	struct rdma_cm_id *id = event->id;
	struct greeting_ends ends = { .listener = fabric->nonce };

	id->context = fabric;
	if (greeting_read(fabric, event->param.conn.private_data,
			  event->param.conn.private_data_len, &ends) != 0)
		return refuse(fabric, id, "it does not know the job's secret");
	if (is_self(fabric, ends.peer))
		return accept_loop(fabric, id, &ends);
	struct verbs_peer *peer = &fabric->peers[ends.peer];

	if (dials(fabric, ends.peer) || peer->state != PEER_ABSENT)
		return refuse(fabric, id, "it names a node that is connected already");
	peer->id = id;
	peer->state = PEER_CONNECTING;
	set_timeout(fabric, id);
	int error = ready_to_use(fabric, ends.peer);

	return error == 0 ? accept_greeted(fabric, id, &ends) : error;
}

/* ---- what goes wrong ---- */

/* Gives the attempt up; whoever connects tries anew, whoever listens waits for that. */
static int again(struct fabric *fabric, unsigned int peer, const struct rdma_cm_event *event)
{
	struct verbs_peer *to = &fabric->peers[peer];

	snprintf(fabric->trouble, sizeof(fabric->trouble),
		 "node %u: %s, %s; see `rdma link` and "
		 "`ip route` there and here",
		 peer, rdma_event_str(event->event),
		 event->event == RDMA_CM_EVENT_REJECTED ? "stale" : strerror(-event->status));
	if (to->id->qp != NULL) {
		/* What it leaves in the completion queue is bounded so. */
		if (++fabric->retries > RETRIES_MAX)
			return error_set(-EHOSTUNREACH, "%s", fabric->trouble);
		rdma_destroy_qp(to->id);
	}
	rdma_destroy_id(to->id);
	to->id = NULL;
	to->state = PEER_ABSENT;
	to->again_ns = clock_now_ns() + AGAIN_NS;
	return 0;
}

static int rejected(struct fabric *fabric, unsigned int peer, const struct rdma_cm_event *event)
{
	if (event->status == REJECTED_STALE || !dials(fabric, peer))
		return again(fabric, peer, event);
	if (event->status == REJECTED_NO_LISTENER)
		return error_set(-ECONNREFUSED, "node %u does not listen (has it ended?)", peer);
	return error_set(-EACCES,
			 "node %u refused the connection (reason %d): another job, another secret, "
			 "or a node of this rank is there already",
			 peer, event->status);
}

/* ---- events ---- */

static int take_failure(struct fabric *fabric, unsigned int peer, const struct rdma_cm_event *event)
{
	if (fabric->peers[peer].state != PEER_CONNECTING)
		return 0;
	if (event->event == RDMA_CM_EVENT_REJECTED)
		return rejected(fabric, peer, event);
	return again(fabric, peer, event);
}

static int resolved_address(struct fabric *fabric, struct rdma_cm_id *id)
{
	set_timeout(fabric, id);
	return rdma_resolve_route(id, RESOLVE_MS) == 0 ? 0
						       : verbs_fail("rdma_resolve_route", errno);
}

static int take_peer_event(struct fabric *fabric, unsigned int peer,
			   const struct rdma_cm_event *event)
{
	switch (event->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		return resolved_address(fabric, event->id);
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		return resolved_route(fabric, peer, event->id);
	case RDMA_CM_EVENT_ESTABLISHED:
		return established(fabric, peer, event);
	case RDMA_CM_EVENT_DISCONNECTED:
		loss_begin(fabric, peer, -ECONNRESET);
		return 0;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		loss_begin(fabric, peer, -ENODEV);
		return 0;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_REJECTED:
		return take_failure(fabric, peer, event);
	case RDMA_CM_EVENT_CONNECT_REQUEST:
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
	case RDMA_CM_EVENT_MULTICAST_JOIN:
	case RDMA_CM_EVENT_MULTICAST_ERROR:
	case RDMA_CM_EVENT_ADDR_CHANGE:
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
		return 0;
	}
	return 0;
}

static int peer_of(const struct fabric *fabric, const struct rdma_cm_id *id)
{
	for (unsigned int i = 0; i < fabric->config.node_count; i++) {
		if (fabric->peers[i].id == id)
			return (int)i;
	}
	return -1;
}

static int take_event(struct fabric *fabric, const struct rdma_cm_event *event)
{
	int peer = peer_of(fabric, event->id);

	if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		return requested(fabric, event);
	return peer < 0 ? 0 : take_peer_event(fabric, (unsigned int)peer, event);
}

static int take_events(struct fabric *fabric)
{
	struct rdma_cm_event *event;

	while (rdma_get_cm_event(fabric->cm, &event) == 0) {
		/* An id cannot be destroyed before its event is acknowledged: a copy, then. */
		struct rdma_cm_event copy = *event;
		uint8_t data[256] = { 0 };
		uint8_t bytes = event->param.conn.private_data_len;

		if (event->param.conn.private_data != NULL)
			memcpy(data, event->param.conn.private_data, bytes);
		copy.param.conn.private_data = data;
		rdma_ack_cm_event(event);
		int error = take_event(fabric, &copy);

		if (error != 0)
			return error;
	}
	return 0;
}

void connect_tend(struct fabric *fabric)
{
	if (take_events(fabric) != 0)
		log_line(LOG_WARNING, "rdma_cm: %s", error_text());
}

/* ---- all of them ---- */

/* Every fabric leads to its own node. */
static bool wanted(const struct fabric *fabric, const struct fabric_address *addresses,
		   unsigned int peer)
{
	return is_self(fabric, peer) || addresses[peer].bytes > 0;
}

static bool is_missing(const struct fabric *fabric, const struct fabric_address *addresses,
		       unsigned int peer)
{
	enum peer_state state = fabric->peers[peer].state;

	return wanted(fabric, addresses, peer) &&
	       (state == PEER_ABSENT || state == PEER_CONNECTING);
}

static bool all_connected(const struct fabric *fabric, const struct fabric_address *addresses)
{
	for (unsigned int i = 0; i < fabric->config.node_count; i++) {
		if (is_missing(fabric, addresses, i))
			return false;
	}
	return true;
}

static int missing(const struct fabric *fabric, const struct fabric_address *addresses)
{
	char text[200] = "";
	size_t used = 0;
	unsigned int count = 0;

	for (unsigned int i = 0; i < fabric->config.node_count && used + 8 < sizeof(text); i++) {
		if (!is_missing(fabric, addresses, i))
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %u", i);
		count++;
	}
	return error_set(-ETIMEDOUT,
			 "no connection over RDMA with node%s%s in %llu ms "
			 "(PERGOLA_CONNECT_TIMEOUT); %s",
			 count > 1 ? "s" : "", text,
			 (unsigned long long)(fabric->config.connect_timeout_ns / 1000000),
			 fabric->trouble[0] != '\0' ? fabric->trouble : NO_ANSWER);
}

static int start_due(struct fabric *fabric, const struct fabric_address *addresses)
{
	uint64_t now_ns = clock_now_ns();
	int error = 0;

	for (unsigned int i = 0; i <= fabric->config.self.value && error == 0; i++) {
		if (wanted(fabric, addresses, i) && fabric->peers[i].state == PEER_ABSENT &&
		    now_ns >= fabric->peers[i].again_ns)
			error = start(fabric, i, &addresses[i]);
	}
	return error;
}

int connect_all(struct fabric *fabric, const struct fabric_address *addresses)
{
	uint64_t end_ns = clock_now_ns() + fabric->config.connect_timeout_ns;
	struct pollfd fd = { .fd = fabric->cm->fd, .events = POLLIN };

	while (!all_connected(fabric, addresses)) {
		int error = start_due(fabric, addresses);

		if (error == 0)
			error = take_events(fabric);
		if (error != 0)
			return error;
		if (all_connected(fabric, addresses))
			break;
		if (clock_now_ns() > end_ns)
			return missing(fabric, addresses);
		poll(&fd, 1, 20);
	}
	return 0;
}
