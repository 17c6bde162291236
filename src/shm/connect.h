/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining the nodes: each to each, over sockets. A node dials all lower ranks and accepts all
 * higher ones.
 */
#ifndef PERGOLA_SHM_CONNECT_H
#define PERGOLA_SHM_CONNECT_H

#include "shm/state.h"

/* fabric_ops */
int shm_connect(struct fabric *fabric, const struct fabric_address *addresses);

#endif
