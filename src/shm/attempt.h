/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one call of connect(): who is still missing, the ways to lower ranks (dials), and
 * those who have come to this node and are not peers yet (guests). Gone when the call returns.
 */
#ifndef PERGOLA_SHM_ATTEMPT_H
#define PERGOLA_SHM_ATTEMPT_H

#include "shm/state.h"

#include <poll.h>

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

/* Is this node to be connected with `rank`? A peer without an address is reached in another way. */
static inline bool shm_peer_wanted(const struct attempt *attempt, unsigned int rank)
{
	return rank != attempt->fabric->self && attempt->addresses[rank].bytes > 0;
}

/* Accepts who waits at the listener. Errors are this node's own troubles. */
int shm_guests_accept(struct attempt *attempt);

/* A guest has said something, or hung up. Errors as above; a bad guest is none. */
int shm_guest_service(struct attempt *attempt, struct guest *guest);

/* Hangs up on all that are left. */
void shm_guests_dismiss(struct attempt *attempt);

/* Dials each lower rank that is missing and not dialled. Errors end the attempt. */
int shm_dials_begin(struct attempt *attempt);

/* A dialled rank has answered, or hung up. */
int shm_dial_service(struct attempt *attempt, unsigned int rank);

#endif
