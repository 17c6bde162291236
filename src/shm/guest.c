/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests: whoever has connected to this node. One that knows the secret is welcomed and, once its
 * descriptors are here, a peer; any other is refused and logged, and the job goes on. A guest holds
 * nothing but one place in a bounded table, from which the oldest must go.
 */
#include "base/log.h"
#include "shm/attempt.h"
#include "shm/greeting.h"
#include "shm/socket.h"

#include <errno.h>
#include <unistd.h>

#define REFUSALS_MAX 16u /* lines about strangers; more of them are counted only */

static void guest_drop(struct guest *guest, int reason, const struct fabric *fabric)
{
	if (reason != -EPIPE) {
		struct shm_record refused = shm_greeting_make(fabric, SHM_REFUSED);

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
	refusal_log(attempt, guest, shm_refusal_text(reason));
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

int shm_guests_accept(struct attempt *attempt)
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
	int error = hello->kind == SHM_HELLO ? shm_greeting_check(fabric, hello) : -EPROTO;

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
	struct shm_record welcome = shm_greeting_make(fabric, SHM_WELCOME);
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
	int error = shm_greeting_join(fabric, guest->rank, socket, guest->pid, received);
	if (error == 0)
		attempt->missing--;
	return error;
}

int shm_guest_service(struct attempt *attempt, struct guest *guest)
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

void shm_guests_dismiss(struct attempt *attempt)
{
	for (unsigned int i = 0; i < attempt->guest_count; i++) {
		struct guest *guest = &attempt->guests[i];

		if (guest->socket < 0)
			continue;
		refusal_log(attempt, guest, "it did not join");
		close(guest->socket);
	}
	if (attempt->refusals > REFUSALS_MAX)
		log_line(LOG_WARNING, "refused %u more connections",
			 attempt->refusals - REFUSALS_MAX);
}
