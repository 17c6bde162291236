/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dials: the ways to lower ranks. One that is not listening, or is busy, is dialled again until the
 * attempt's deadline.
 */
#include "base/error.h"
#include "shm/attempt.h"
#include "shm/greeting.h"
#include "shm/socket.h"

#include <errno.h>
#include <unistd.h>

#define RETRY_NS 2000000u

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
	struct shm_record hello = shm_greeting_make(attempt->fabric, SHM_HELLO);
	pid_t pid;
	int error = shm_socket_dial(&attempt->addresses[rank], &dial->socket);

	if (error == -EAGAIN) {
		dial_again(dial);
		return 0;
	}
	if (error != 0)
		return error;
	if (!shm_socket_trusted(dial->socket, &pid))
		return error_set(-EACCES, "node %u: %s", rank, shm_refusal_text(-EPERM));
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
				 shm_refusal_text(reason));
	}
	int error = record->kind == SHM_WELCOME ? shm_greeting_check(fabric, record) : -EPROTO;
	if (error == 0 && record->rank != rank)
		error = -EINVAL;
	if (error != 0)
		return error_set(error, "refused node %u: %s", rank, shm_refusal_text(error));
	return 0;
}

int shm_dial_service(struct attempt *attempt, unsigned int rank)
{
	struct fabric *fabric = attempt->fabric;
	struct dial *dial = &attempt->dials[rank];
	struct shm_record descriptors = shm_greeting_make(fabric, SHM_DESCRIPTORS);
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
		return error_set(error, "node %u: %s", rank, shm_refusal_text(error));
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
	error = shm_greeting_join(fabric, rank, socket, pid, &received);
	if (error == 0)
		attempt->missing--;
	return error;
}

int shm_dials_begin(struct attempt *attempt)
{
	uint64_t now_ns = shm_now_ns();

	for (unsigned int rank = 0; rank < attempt->fabric->self; rank++) {
		struct dial *dial = &attempt->dials[rank];

		if (!shm_peer_wanted(attempt, rank) ||
		    attempt->fabric->peers[rank].state != SHM_PEER_ABSENT || dial->socket >= 0 ||
		    dial->retry_at_ns > now_ns)
			continue;
		int error = dial_begin(attempt, rank);
		if (error != 0)
			return error;
	}
	return 0;
}
