/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say to each other before they are peers, and the judgement of it. */
#ifndef PERGOLA_SHM_GREETING_H
#define PERGOLA_SHM_GREETING_H

#include "shm/socket.h"
#include "shm/state.h"

/* A record in this node's name; with the secret, unless it refuses somebody. */
struct shm_record shm_greeting_make(const struct fabric *fabric, enum shm_record_kind kind);

/* Whether a greeting is one of this job's: 0, -EACCES or -EINVAL. */
int shm_greeting_check(const struct fabric *fabric, const struct shm_record *record);

/* A clause for a person. Errors of shm_greeting_check(), and -EADDRINUSE, -EPERM, -EMFILE, -EPIPE.
 */
const char *shm_refusal_text(int reason);

/*
 * Makes a peer of the one at the other end, from its inbox and doorbell. Takes over socket and
 * descriptors, also on failure. -errno with text.
 */
int shm_greeting_join(struct fabric *fabric, unsigned int rank, int socket, pid_t pid,
		      struct shm_received *received);

#endif
