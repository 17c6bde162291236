/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads, writes and atomics. They are done at once, by this processor, in the mapped memory of the
 * peer; only their completions wait for poll(). The one exception: an operation on a file whose
 * descriptor is still on its way is kept and done later.
 */
#ifndef PERGOLA_SHM_ONESIDED_H
#define PERGOLA_SHM_ONESIDED_H

#include "shm/state.h"

/* fabric_ops */
int shm_onesided_read(struct fabric *fabric, const struct fabric_local *local,
		      const struct fabric_remote *remote, uint64_t tag);
int shm_onesided_write(struct fabric *fabric, const struct fabric_local *local,
		       const struct fabric_remote *remote, uint64_t tag);
int shm_onesided_fetch_add(struct fabric *fabric, const struct fabric_remote *remote, uint64_t add,
			   uint64_t tag);
int shm_onesided_compare_swap(struct fabric *fabric, const struct fabric_remote *remote,
			      uint64_t expected, uint64_t desired, uint64_t tag);

int shm_onesided_chain(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag);

/* Tries again what was kept. */
void shm_onesided_retry(struct fabric *fabric);

/* Returns up to `room` completions. */
int shm_onesided_take(struct fabric *fabric, struct fabric_event *events, int room);

#endif
