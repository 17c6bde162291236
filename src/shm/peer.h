/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected peer's life: what comes on its socket, and how it ends. A peer goes CONNECTED -> GONE
 * (noticed) -> DOWN (the caller knows); GONE lasts until its messages and completions were
 * returned.
 */
#ifndef PERGOLA_SHM_PEER_H
#define PERGOLA_SHM_PEER_H

#include "shm/state.h"

/* Begins to watch a peer whose socket, inbox and doorbell stand. -errno with text. */
int shm_peer_watch(struct fabric *fabric, struct shm_peer *peer);

/* Asks for the socket to be watched for room too, or no longer. */
void shm_peer_watch_room(struct fabric *fabric, struct shm_peer *peer, bool room);

/* Takes what is on the peer's socket. Notices when it is hung up. */
void shm_peer_drain(struct fabric *fabric, struct shm_peer *peer);

/* Looks at the doorbell and at all sockets that have something. One system call if none has. */
void shm_peer_check(struct fabric *fabric);

/* A connected peer is lost (status < 0) or left (0). No effect on one that is gone already. */
void shm_peer_lose(struct fabric *fabric, struct shm_peer *peer, int status);

/* Returns up to `room` FABRIC_PEER_DOWN. */
int shm_peer_down_take(struct fabric *fabric, struct fabric_event *events, int room);

/* Closes and unmaps all that is held of a peer. */
void shm_peer_release(struct fabric *fabric, struct shm_peer *peer);

#endif
