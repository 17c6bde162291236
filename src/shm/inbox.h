/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: this node's inbox, which peers write, and the peers' inboxes, of which this node maps
 * the control part and its own ring. Each ring has one producer and one consumer.
 */
#ifndef PERGOLA_SHM_INBOX_H
#define PERGOLA_SHM_INBOX_H

#include "shm/state.h"

/* Makes and maps this node's inbox file. 0, -ENOMEM, -EMFILE with error text. */
int shm_inbox_create(struct fabric *fabric);
void shm_inbox_destroy(struct fabric *fabric);

/*
 * Maps what this node needs of a peer's inbox file; the descriptor stays the caller's. -EPROTO: not
 * such a file; -ENOMEM.
 */
int shm_inbox_attach(struct fabric *fabric, struct shm_peer *peer, int fd);
void shm_inbox_detach(struct fabric *fabric, struct shm_peer *peer);

/* Tells a peer that this node leaves in order. */
void shm_inbox_goodbye(struct shm_peer *peer);

/* Whether the peer did so. */
bool shm_inbox_left(const struct shm_peer *peer);

/* fabric_ops.send with a valid, connected peer. */
int shm_inbox_send(struct fabric *fabric, struct shm_peer *peer, const void *data, size_t bytes);

/* Gives back the slots of the messages that the last poll() returned. */
void shm_inbox_release(struct fabric *fabric);

/* Returns up to `room` messages and credits. */
int shm_inbox_take(struct fabric *fabric, struct fabric_event *events, int room);

#endif
