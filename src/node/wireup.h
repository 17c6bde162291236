/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the processes of a job find each other, whoever started them. Two questions are answered:
 * who is this process (its rank, the job's size, number and secret), and what do all the others
 * say. The answers come from
 *
 *   the environment   `pergola run`, or a person, sets PERGOLA_SIZE and the rest; the processes
 *                     meet at PERGOLA_ROOT (bootstrap.h)
 *   PMIx              mpirun, prterun and `srun --mpi=pmix` say rank and size, and carry what the
 *                     processes tell each other; a PERGOLA_* variable stands against what they say
 *   nobody            a job of one process
 *
 * One thread at a time.
 */
#ifndef PERGOLA_NODE_WIREUP_H
#define PERGOLA_NODE_WIREUP_H

#include "node/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wireup_pmix;

/* In the caller's memory, from wireup_identify() to wireup_end(). */
struct wireup {
	struct wireup_pmix *pmix; /* NULL: not started through PMIx, or not needed */
	bool one_host;		  /* all processes are known to be on this host */
};

/*
 * Completes `settings` (rank, size, job, secret; source SOURCE_LAUNCHER). `host` is a number that
 * is the same for two processes if they can share memory. Under PMIx it waits for the others, at
 * most twice the connect timeout. Call wireup_end() whatever it returns. With error_set():
 *   -EINVAL        the process is one of several and has no way to meet the others
 *   -EHOSTUNREACH  the launcher's PMIx server does not answer
 *   -ETIMEDOUT     ... or other processes have not called dsm_init()
 *   -EHOSTDOWN     ... or it has ended
 *   -EPROTO        nodes have different versions; -EIO another failure of PMIx; -ENOMEM
 */
int wireup_identify(struct wireup *wireup, struct settings *settings, uint64_t host);

/*
 * Gives `mine` and fills `all`, in rank order, as bootstrap_exchange(), whose limits and errors it
 * has; and those of wireup_identify(). `settings` are those that wireup_identify() completed. To be
 * called once.
 */
int wireup_exchange(const struct wireup *wireup, const struct settings *settings, uint32_t version,
		    const void *mine, size_t bytes, void *all);

/* Leaves PMIx, and forgets it. */
void wireup_end(struct wireup *wireup);

/* The version of the PMIx library, or NULL: built without. In static memory. */
const char *wireup_pmix_version(void);

#endif
