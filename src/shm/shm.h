/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fabric between processes of one host: messages through shared rings, one-sided access by
 * mapping the peer's memory file. Needs no hardware and no privilege; the nodes must share one
 * network namespace and one effective user.
 */
#ifndef PERGOLA_SHM_SHM_H
#define PERGOLA_SHM_SHM_H

#include "port/fabric.h"

extern const struct fabric_ops fabric_shm_ops;

#endif
