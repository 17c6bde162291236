/* SPDX-License-Identifier: Apache-2.0 */
/* Peers' registered memory as mapped into this process: lazily, on the first operation. */
#ifndef PERGOLA_SHM_VIEW_H
#define PERGOLA_SHM_VIEW_H

#include "shm/state.h"

/*
 * Where the `bytes` at `remote` of a connected peer stand here. 0 and *at; -EINVAL: out of bounds;
 * -EACCES: no such key (any more) or access not granted; -EAGAIN: the file's descriptor is still on
 * its way; -EHOSTDOWN: the peer is gone; -ENOMEM.
 */
int shm_view_find(struct fabric *fabric, struct shm_peer *peer, const struct fabric_remote *remote,
		  uint32_t bytes, unsigned int access, unsigned char **at);

/* A peer has sent a file. Takes the descriptor over. */
void shm_view_file(struct shm_peer *peer, uint64_t id, int fd);

/* Unmaps what the peer has deregistered. Cheap when there is nothing. */
void shm_view_sweep(struct shm_peer *peer);

void shm_view_drop_all(struct shm_peer *peer);

#endif
