/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one node makes another look at it: a ready bit, and a write to the other's eventfd when the
 * other sleeps.
 */
#ifndef PERGOLA_SHM_DOORBELL_H
#define PERGOLA_SHM_DOORBELL_H

#include "shm/state.h"

/* Call after publishing what the peer is to see. */
void shm_doorbell_ring(struct fabric *fabric, struct shm_peer *peer);

/* Call after an operation of this node's own is over: if the node sleeps, it is to see that too. */
void shm_doorbell_ring_self(struct fabric *fabric);

/* Moves the ready bits of this node's inbox to `pending`. */
void shm_doorbell_collect(struct fabric *fabric);

/* fabric_ops */
int shm_doorbell_arm(struct fabric *fabric);
void shm_doorbell_disarm(struct fabric *fabric);

/* Empties the eventfd. */
void shm_doorbell_drain(struct fabric *fabric);

#endif
