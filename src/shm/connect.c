/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting. The dialling side says HELLO, with the job's secret; the listening side checks it and
 * answers WELCOME, also with the secret and with its descriptors; the dialling side checks that and
 * sends its DESCRIPTORS. Before any of it each side has the kernel say whether the other is of
 * the same user. Descriptors thus go only to those who know the secret.
 */
#include "shm/connect.h"

#include "base/error.h"
#include "shm/attempt.h"
#include "shm/region.h"
#include "shm/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GUESTS_EXTRA 16u
#define NAMES_MAX 16u /* missing ranks that an error text lists */

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

		if (shm_peer_wanted(attempt, i) &&
		    attempt->fabric->peers[i].state == SHM_PEER_ABSENT && dial->socket < 0 &&
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
			error = shm_guest_service(attempt, &attempt->guests[i]);
	}
	for (unsigned int i = 0; i < self && error == 0; i++) {
		if (attempt->waits[1 + i].revents != 0)
			error = shm_dial_service(attempt, i);
	}
	if (error == 0 && attempt->waits[0].revents != 0)
		error = shm_guests_accept(attempt);
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
		if (!shm_peer_wanted(attempt, rank) || fabric->peers[rank].state != SHM_PEER_ABSENT)
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
		int error = shm_dials_begin(attempt);

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
		.guest_count = fabric->node_count + GUESTS_EXTRA,
	};
	for (unsigned int rank = 0; rank < fabric->node_count; rank++)
		attempt->missing += shm_peer_wanted(attempt, rank);
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
	if (attempt->guests != NULL)
		shm_guests_dismiss(attempt);
	free(attempt->dials);
	free(attempt->guests);
	free(attempt->waits);
}

static int addresses_check(const struct fabric *fabric, const struct fabric_address *addresses)
{
	for (unsigned int rank = 0; rank < fabric->node_count; rank++) {
		if (rank != fabric->self && addresses[rank].bytes > 0 &&
		    !shm_address_valid(&addresses[rank]))
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
