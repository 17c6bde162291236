/* SPDX-License-Identifier: Apache-2.0 */
/* Greetings: made, checked, and turned into peers. */
#include "shm/greeting.h"

#include "base/error.h"
#include "shm/inbox.h"
#include "shm/peer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Takes the same time wherever the bytes differ. */
static bool secret_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < FABRIC_SECRET_BYTES; i++)
		difference = (uint8_t)(difference | (a[i] ^ b[i]));
	return difference == 0;
}

struct shm_record shm_greeting_make(const struct fabric *fabric, enum shm_record_kind kind)
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

int shm_greeting_check(const struct fabric *fabric, const struct shm_record *record)
{
	bool known = secret_equal(record->secret, fabric->config.secret);

	if (record->job != fabric->config.job || !known)
		return -EACCES;
	if (record->node_count != fabric->node_count || record->credits != fabric->credits ||
	    record->rank >= fabric->node_count)
		return -EINVAL;
	return 0;
}

const char *shm_refusal_text(int reason)
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

int shm_greeting_join(struct fabric *fabric, unsigned int rank, int socket, pid_t pid,
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
