/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This node's registered memory. A region is a line of a table in the inbox, which peers read
 * themselves; only the descriptor of each file that regions live in is sent, once per peer.
 */
#ifndef PERGOLA_SHM_REGION_H
#define PERGOLA_SHM_REGION_H

#include "base/error.h"
#include "shm/state.h"

#include <errno.h>

/* fabric_ops */
int shm_region_register(struct fabric *fabric, const struct fabric_memory *memory,
			struct fabric_region **region, struct fabric_key *key);
void shm_region_deregister(struct fabric *fabric, struct fabric_region *region);

/* Sends a peer the descriptors it does not have yet, as far as its socket has room. */
void shm_region_flush(struct fabric *fabric, struct shm_peer *peer);

/* Sends a newly connected peer all descriptors. */
void shm_region_introduce(struct fabric *fabric, struct shm_peer *peer);

/* Drops all files. */
void shm_region_fini(struct fabric *fabric);

/* Memory of this node itself, as shm_view_find() does for a peer's. */
int shm_region_find(struct fabric *fabric, const struct fabric_remote *remote, uint32_t bytes,
		    unsigned int access, unsigned char **at);

/* Whether `bytes` at `offset` lie in a region and may be accessed so: 0, -EINVAL, -EACCES. */
static inline int shm_span_check(uint64_t region_bytes, unsigned int region_access, uint64_t offset,
				 uint32_t bytes, unsigned int access)
{
	if (offset > region_bytes || bytes > region_bytes - offset)
		return error_set(-EINVAL, "%u bytes at %llu are outside a region of %llu bytes",
				 bytes, (unsigned long long)offset,
				 (unsigned long long)region_bytes);
	if ((access & ~region_access) != 0)
		return error_set(-EACCES, "the region was not registered for this access");
	return 0;
}

#endif
