/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting. The dialling side says HELLO, with the job's secret; the listening side checks it and
 * answers WELCOME, also with the secret and with its descriptors; the dialling side checks that and
 * sends its DESCRIPTORS. Before any of it each side has the kernel say whether the other is of
 * the same user. Descriptors thus go only to those who know the secret.
 *
 * Whoever connects and does not pass is refused and logged, and the job goes on: a guest holds
 * nothing but one place in a bounded table, from which the oldest must go.
 */
#include "shm/connect.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/inbox.h"
#include "shm/peer.h"
#include "shm/region.h"
#include "shm/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS 2000000u
#define GUESTS_EXTRA 16u
#define NAMES_MAX 16u	 /* missing ranks that an error text lists */
#define REFUSALS_MAX 16u /* lines about strangers; more of them are counted only */

/* The way to one lower rank. */
struct dial {
	int socket; /* -1: none at the moment */
	uint64_t retry_at_ns;
};

/* One who has connected to this node and is not a peer yet. */
struct guest {
	int socket; /* -1: free */
	pid_t pid;
	bool welcomed;
	unsigned int rank; /* once welcomed */
	uint64_t since;
};

struct attempt {
	struct fabric *fabric;
	const struct fabric_address *addresses;
	uint64_t deadline_ns;
	unsigned int missing;
	struct dial *dials;   /* self */
	struct guest *guests; /* guest_count */
	unsigned int guest_count;
	uint64_t arrivals;
	unsigned int refusals;
	struct pollfd *waits; /* listener, dials, guests */
};

/* Takes the same time wherever the bytes differ. */
static bool secret_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < FABRIC_SECRET_BYTES; i++)
		difference = (uint8_t)(difference | (a[i] ^ b[i]));
	return difference == 0;
}

static struct shm_record record_make(const struct fabric *fabric, enum shm_record_kind kind)
{
	struct shm_record record = {
		.magic = SHM_MAGIC,
		.version = SHM_VERSION,
		.kind = (uint32_t)kind,
		.job = fabric->config.job,
		.rank = fabric->self,
		.node_count = fabric->node_count,
		.credits = fabric->credits,
	};

	if (kind != SHM_REFUSED)
		memcpy(record.secret, fabric->config.secret, sizeof(record.secret));
	return record;
}

/* Whether a greeting is one of this job's: 0, or why not. */
static int greeting_check(const struct fabric *fabric, const struct shm_record *record)
{
	bool known = secret_equal(record->secret, fabric->config.secret);

	if (record->job != fabric->config.job || !known)
		return -EACCES;
	if (record->node_count != fabric->node_count || record->credits != fabric->credits ||
	    record->rank >= fabric->node_count)
		return -EINVAL;
	return 0;
}

static const char *refusal_text(int reason)
{
	switch (reason) {
	case -EACCES:
		return "it does not know the job's secret";
	case -EINVAL:
		return "it was started with another node count, rank or credits";
	case -EADDRINUSE:
		return "that rank is connected already";
	case -EPERM:
		return "it runs as another user";
	case -EMFILE:
		return "its descriptors did not arrive (see ulimit -n)";
	case -EPIPE:
		return "it hung up before it said who it is";
	default:
		return "it does not speak this protocol";
	}
}

/* Takes over socket and descriptors: inbox, doorbell. On error they are closed. */
static int peer_join(struct fabric *fabric, unsigned int rank, int socket, pid_t pid,
		     struct shm_received *received)
{
	struct shm_peer *peer = &fabric->peers[rank];
	int error = received->fd_count == 2 ? 0 : error_set(-EPROTO, "descriptors are missing");

	if (error == 0)
		error = shm_inbox_attach(fabric, peer, received->fds[0]);
	if (error != 0) {
		shm_received_close(received);
		close(socket);
		return error;
	}
	close(received->fds[0]);
	peer->doorbell = received->fds[1];
	peer->socket = socket;
	peer->pid = pid;
	error = shm_peer_watch(fabric, peer);
	if (error != 0)
		shm_peer_release(fabric, peer);
	return error;
}

static void guest_drop(struct guest *guest, int reason, const struct fabric *fabric)
{
	if (reason != -EPIPE) {
		struct shm_record refused = record_make(fabric, SHM_REFUSED);

		refused.reason = reason;
		shm_socket_send(guest->socket, &refused, NULL, 0);
	}
	close(guest->socket);
	guest->socket = -1;
}

/* Says so, but does not let strangers fill the log. */
static void refusal_log(struct attempt *attempt, const struct guest *guest, const char *why)
{
	if (attempt->refusals++ < REFUSALS_MAX)
		log_line(LOG_WARNING, "refused a connection from process %d: %s", (int)guest->pid,
			 why);
}

static void guest_refuse(struct attempt *attempt, struct guest *guest, int reason)
{
	refusal_log(attempt, guest, refusal_text(reason));
	guest_drop(guest, reason, attempt->fabric);
}

/* A free place, or that of the guest who has waited longest. */
static struct guest *guest_place(struct attempt *attempt)
{
	struct guest *oldest = &attempt->guests[0];

	for (unsigned int i = 0; i < attempt->guest_count; i++) {
		struct guest *guest = &attempt->guests[i];

		if (guest->socket < 0)
			return guest;
		if (guest->since < oldest->since)
			oldest = guest;
	}
	refusal_log(attempt, oldest, "it said nothing, and others came");
	guest_drop(oldest, -EPIPE, attempt->fabric);
	return oldest;
}

static int guests_accept(struct attempt *attempt)
{
	struct fabric *fabric = attempt->fabric;
	int socket;

	/* Bounded, so that a flood of strangers cannot keep the others waiting. */
	for (unsigned int i = 0; i < attempt->guest_count; i++) {
		int error = shm_socket_accept(fabric->listener, &socket);

		if (error == -EAGAIN)
			return 0;
		if (error != 0)
			return error;
		struct guest *guest = guest_place(attempt);
		*guest = (struct guest){ .socket = socket, .since = ++attempt->arrivals };
		if (!shm_socket_trusted(socket, &guest->pid))
			guest_refuse(attempt, guest, -EPERM);
	}
	return 0;
}

static int hello_check(const struct fabric *fabric, const struct shm_record *hello)
{
	int error = hello->kind == SHM_HELLO ? greeting_check(fabric, hello) : -EPROTO;

	if (error != 0)
		return error;
	if (hello->rank <= fabric->self)
		return -EINVAL;
	return fabric->peers[hello->rank].state == SHM_PEER_ABSENT ? 0 : -EADDRINUSE;
}

static void guest_welcome(struct attempt *attempt, struct guest *guest,
			  const struct shm_received *received)
{
	struct fabric *fabric = attempt->fabric;
	struct shm_record welcome = record_make(fabric, SHM_WELCOME);
	int fds[2] = { fabric->inbox_fd, fabric->doorbell };
	int error = hello_check(fabric, &received->record);

	if (error == 0 && received->fd_count > 0)
		error = -EPROTO;
	if (error != 0) {
		guest_refuse(attempt, guest, error);
		return;
	}
	guest->rank = received->record.rank;
	guest->welcomed = true;
	/* No room for it now: the other side sees the hang-up and dials again. */
	if (shm_socket_send(guest->socket, &welcome, fds, 2) != 0)
		guest_drop(guest, -EPIPE, fabric);
}

static int guest_join(struct attempt *attempt, struct guest *guest, struct shm_received *received)
{
	struct fabric *fabric = attempt->fabric;
	bool again = fabric->peers[guest->rank].state != SHM_PEER_ABSENT;

	if (received->record.kind != SHM_DESCRIPTORS || again) {
		guest_refuse(attempt, guest, again ? -EADDRINUSE : -EPROTO);
		shm_received_close(received);
		return 0;
	}
	int socket = guest->socket;
	guest->socket = -1;
	int error = peer_join(fabric, guest->rank, socket, guest->pid, received);
	if (error == 0)
		attempt->missing--;
	return error;
}

/* A guest has said something. Errors are this node's own troubles only. */
static int guest_service(struct attempt *attempt, struct guest *guest)
{
	struct shm_received received;
	int error = shm_socket_receive(guest->socket, &received);

	if (error == -EAGAIN)
		return 0;
	if (error == -EPIPE && guest->welcomed) {
		/* A node that had no room for its descriptors: it comes again. */
		guest_drop(guest, -EPIPE, attempt->fabric);
		return 0;
	}
	if (error != 0) {
		guest_refuse(attempt, guest, error);
		return 0;
	}
	if (guest->welcomed)
		return guest_join(attempt, guest, &received);
	guest_welcome(attempt, guest, &received);
	shm_received_close(&received);
	return 0;
}

static void dial_again(struct dial *dial)
{
	if (dial->socket >= 0)
		close(dial->socket);
	dial->socket = -1;
	dial->retry_at_ns = shm_now_ns() + RETRY_NS;
}

/* Connects to a lower rank and says hello. */
static int dial_begin(struct attempt *attempt, unsigned int rank)
{
	struct dial *dial = &attempt->dials[rank];
	struct shm_record hello = record_make(attempt->fabric, SHM_HELLO);
	pid_t pid;
	int error = shm_socket_dial(&attempt->addresses[rank], &dial->socket);

	if (error == -EAGAIN) {
		dial_again(dial);
		return 0;
	}
	if (error != 0)
		return error;
	if (!shm_socket_trusted(dial->socket, &pid))
		return error_set(-EACCES, "node %u: %s", rank, refusal_text(-EPERM));
	if (shm_socket_send(dial->socket, &hello, NULL, 0) != 0)
		dial_again(dial);
	return 0;
}

/* What a lower rank answered: 0, or why the job cannot be. */
static int welcome_check(const struct fabric *fabric, unsigned int rank,
			 const struct shm_record *record)
{
	if (record->kind == SHM_REFUSED) {
		int reason = record->reason < 0 ? record->reason : -EPROTO;

		/* -EPERM is the other side's word for what is -EACCES in the contract. */
		return error_set(reason == -EPERM ? -EACCES : reason,
				 "node %u refused this node (rank %u): %s", rank, fabric->self,
				 refusal_text(reason));
	}
	int error = record->kind == SHM_WELCOME ? greeting_check(fabric, record) : -EPROTO;
	if (error == 0 && record->rank != rank)
		error = -EINVAL;
	if (error != 0)
		return error_set(error, "refused node %u: %s", rank, refusal_text(error));
	return 0;
}

static int dial_service(struct attempt *attempt, unsigned int rank)
{
	struct fabric *fabric = attempt->fabric;
	struct dial *dial = &attempt->dials[rank];
	struct shm_record descriptors = record_make(fabric, SHM_DESCRIPTORS);
	int fds[2] = { fabric->inbox_fd, fabric->doorbell };
	struct shm_received received;
	pid_t pid = 0;
	int error = shm_socket_receive(dial->socket, &received);

	if (error == -EAGAIN)
		return 0;
	if (error == -EPIPE) {
		dial_again(dial);
		return 0;
	}
	if (error != 0)
		return error_set(error, "node %u: %s", rank, refusal_text(error));
	error = welcome_check(fabric, rank, &received.record);
	if (error != 0) {
		shm_received_close(&received);
		return error;
	}
	if (shm_socket_send(dial->socket, &descriptors, fds, 2) != 0) {
		shm_received_close(&received);
		dial_again(dial);
		return 0;
	}
	shm_socket_trusted(dial->socket, &pid);
	int socket = dial->socket;
	dial->socket = -1;
	error = peer_join(fabric, rank, socket, pid, &received);
	if (error == 0)
		attempt->missing--;
	return error;
}

static int dials_begin(struct attempt *attempt)
{
	uint64_t now_ns = shm_now_ns();

	for (unsigned int rank = 0; rank < attempt->fabric->self; rank++) {
		struct dial *dial = &attempt->dials[rank];

		if (attempt->fabric->peers[rank].state != SHM_PEER_ABSENT || dial->socket >= 0 ||
		    dial->retry_at_ns > now_ns)
			continue;
		int error = dial_begin(attempt, rank);
		if (error != 0)
			return error;
	}
	return 0;
}

/* Waits until a socket has something, a dial is to be tried again, or the deadline is there. */
static void sockets_wait(struct attempt *attempt)
{
	unsigned int self = attempt->fabric->self;
	uint64_t now_ns = shm_now_ns();
	uint64_t until_ns = attempt->deadline_ns;
	nfds_t count = 0;

	attempt->waits[count++] = (struct pollfd){ attempt->fabric->listener, POLLIN, 0 };
	for (unsigned int i = 0; i < self; i++) {
		const struct dial *dial = &attempt->dials[i];

		if (attempt->fabric->peers[i].state == SHM_PEER_ABSENT && dial->socket < 0 &&
		    dial->retry_at_ns < until_ns)
			until_ns = dial->retry_at_ns;
		attempt->waits[count++] = (struct pollfd){ dial->socket, POLLIN, 0 };
	}
	for (unsigned int i = 0; i < attempt->guest_count; i++)
		attempt->waits[count++] = (struct pollfd){ attempt->guests[i].socket, POLLIN, 0 };
	uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	uint64_t left_ms = (left_ns + 999999) / 1000000;
	poll(attempt->waits, count, left_ms < 1000 ? (int)left_ms : 1000);
}

static int sockets_service(struct attempt *attempt)
{
	unsigned int self = attempt->fabric->self;
	int error = 0;

	/* Guests before the listener, which may give their places to others. */
	for (unsigned int i = 0; i < attempt->guest_count && error == 0; i++) {
		if (attempt->waits[1 + self + i].revents != 0)
			error = guest_service(attempt, &attempt->guests[i]);
	}
	for (unsigned int i = 0; i < self && error == 0; i++) {
		if (attempt->waits[1 + i].revents != 0)
			error = dial_service(attempt, i);
	}
	if (error == 0 && attempt->waits[0].revents != 0)
		error = guests_accept(attempt);
	return error;
}

/* Names who did not come, with their processes. */
static int missing_error(const struct attempt *attempt)
{
	const struct fabric *fabric = attempt->fabric;
	char names[NAMES_MAX * 32] = "";
	unsigned int listed = 0;
	size_t at = 0;

	for (unsigned int rank = 0; rank < fabric->node_count && listed < NAMES_MAX; rank++) {
		if (rank == fabric->self || fabric->peers[rank].state != SHM_PEER_ABSENT)
			continue;
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%u (process %d)",
				       listed > 0 ? ", " : "", rank,
				       (int)shm_address_pid(&attempt->addresses[rank]));
		listed++;
	}
	return error_set(-ETIMEDOUT, "%u of %u nodes did not connect in %llu ms: node %s%s",
			 attempt->missing, fabric->node_count,
			 (unsigned long long)(fabric->config.connect_timeout_ns / 1000000), names,
			 attempt->missing > listed ? ", ..." : "");
}

static int attempt_run(struct attempt *attempt)
{
	while (attempt->missing > 0) {
		int error = dials_begin(attempt);

		if (error != 0)
			return error;
		if (shm_now_ns() >= attempt->deadline_ns)
			return missing_error(attempt);
		sockets_wait(attempt);
		error = sockets_service(attempt);
		if (error != 0)
			return error;
	}
	return 0;
}

static int attempt_init(struct attempt *attempt, struct fabric *fabric,
			const struct fabric_address *addresses)
{
	*attempt = (struct attempt){
		.fabric = fabric,
		.addresses = addresses,
		.deadline_ns = shm_now_ns() + fabric->config.connect_timeout_ns,
		.missing = fabric->node_count - 1,
		.guest_count = fabric->node_count + GUESTS_EXTRA,
	};
	attempt->dials = calloc(fabric->self + 1, sizeof(*attempt->dials));
	attempt->guests = calloc(attempt->guest_count, sizeof(*attempt->guests));
	attempt->waits = calloc(1 + fabric->self + attempt->guest_count, sizeof(*attempt->waits));
	if (attempt->dials == NULL || attempt->guests == NULL || attempt->waits == NULL)
		return error_set(-ENOMEM, "no memory to connect %u nodes", fabric->node_count);
	for (unsigned int i = 0; i < fabric->self; i++)
		attempt->dials[i].socket = -1;
	for (unsigned int i = 0; i < attempt->guest_count; i++)
		attempt->guests[i].socket = -1;
	return 0;
}

static void attempt_fini(struct attempt *attempt)
{
	unsigned int self = attempt->fabric->self;

	for (unsigned int i = 0; attempt->dials != NULL && i < self; i++) {
		if (attempt->dials[i].socket >= 0)
			close(attempt->dials[i].socket);
	}
	for (unsigned int i = 0; attempt->guests != NULL && i < attempt->guest_count; i++) {
		struct guest *guest = &attempt->guests[i];

		if (guest->socket < 0)
			continue;
		refusal_log(attempt, guest, "it did not join");
		close(guest->socket);
	}
	if (attempt->refusals > REFUSALS_MAX)
		log_line(LOG_WARNING, "refused %u more connections",
			 attempt->refusals - REFUSALS_MAX);
	free(attempt->dials);
	free(attempt->guests);
	free(attempt->waits);
}

static int addresses_check(const struct fabric *fabric, const struct fabric_address *addresses)
{
	for (unsigned int rank = 0; rank < fabric->node_count; rank++) {
		if (rank != fabric->self && !shm_address_valid(&addresses[rank]))
			return error_set(-EINVAL, "the address of node %u is none of this fabric's",
					 rank);
	}
	return 0;
}

int shm_connect(struct fabric *fabric, const struct fabric_address *addresses)
{
	struct attempt attempt;
	int error = addresses_check(fabric, addresses);

	if (error != 0)
		return error;
	if (fabric->connected)
		return error_set(-EALREADY, "connected already");
	error = attempt_init(&attempt, fabric, addresses);
	/* The guest who is dropped or refused at the end was not a node: all nodes are here. */
	if (error == 0)
		error = attempt_run(&attempt);
	attempt_fini(&attempt);
	if (error != 0)
		return error;
	close(fabric->listener);
	fabric->listener = -1;
	fabric->connected = true;
	for (unsigned int rank = 0; rank < fabric->node_count; rank++) {
		if (rank != fabric->self)
			shm_region_introduce(fabric, &fabric->peers[rank]);
	}
	return 0;
}
