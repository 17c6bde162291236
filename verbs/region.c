/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory. A key carries, besides the device's own rkey, how long the memory is and what
 * may be done to it: an access that would be refused by the peer's device is refused here instead,
 * because a refusal on the wire costs the connection (InfiniBand specification, volume 1, section
 * 9.9: a responder that sends a NAK for a remote access error moves to the error state).
 */
#include "state.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>

#define ACCESS_SHIFT 32
#define PAGES_SHIFT 35

static unsigned int access_flags(unsigned int access)
{
	unsigned int flags = IBV_ACCESS_LOCAL_WRITE;

	if (access & FABRIC_REMOTE_READ)
		flags |= IBV_ACCESS_REMOTE_READ;
	if (access & FABRIC_REMOTE_WRITE)
		flags |= IBV_ACCESS_REMOTE_WRITE;
	if (access & FABRIC_REMOTE_ATOMIC)
		flags |= IBV_ACCESS_REMOTE_ATOMIC;
	return flags;
}

/* On demand where the device can; where it then cannot after all, pinned as everywhere else. */
static struct ibv_mr *memory_region(struct fabric *fabric, const struct fabric_memory *memory)
{
	unsigned int flags = access_flags(memory->access);
	struct ibv_mr *made = NULL;

	if (fabric->on_demand)
		made = ibv_reg_mr(fabric->pd, memory->addr, memory->bytes,
				  flags | IBV_ACCESS_ON_DEMAND);
	if (made == NULL)
		made = ibv_reg_mr(fabric->pd, memory->addr, memory->bytes, flags);
	return made;
}

int region_register(struct fabric *fabric, const struct fabric_memory *memory,
		    struct fabric_region **region, struct fabric_key *key)
{
	struct fabric_region *made = NULL;
	uint64_t pages = memory->bytes / PAGE_BYTES;

	if (memory->addr == NULL || memory->bytes == 0 || memory->bytes % PAGE_BYTES != 0 ||
	    (uintptr_t)memory->addr % PAGE_BYTES != 0 || pages >> (64 - PAGES_SHIFT) != 0 ||
	    memory->access & ~7u)
		return error_set(-EINVAL, "memory of %zu bytes at %p cannot be registered",
				 memory->bytes, memory->addr);
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return error_set(-ENOMEM, "no memory for a region");
	made->mr = memory_region(fabric, memory);
	if (made->mr == NULL) {
		int error = errno;

		free(made);
		return verbs_fail("ibv_reg_mr", error);
	}
	made->addr = memory->addr;
	made->bytes = memory->bytes;
	*region = made;
	*key = (struct fabric_key){
		.addr = (uint64_t)(uintptr_t)memory->addr,
		.key = pages << PAGES_SHIFT | (uint64_t)memory->access << ACCESS_SHIFT |
		       made->mr->rkey,
	};
	return 0;
}

void region_deregister(struct fabric *fabric, struct fabric_region *region)
{
	(void)fabric;
	ibv_dereg_mr(region->mr);
	free(region);
}

int region_check(const struct fabric_key *key, uint64_t offset, uint64_t bytes, unsigned int access)
{
	uint64_t length = (key->key >> PAGES_SHIFT) * PAGE_BYTES;

	if (bytes == 0 || offset > length || bytes > length - offset)
		return -EINVAL;
	return (key->key >> ACCESS_SHIFT & access) == access ? 0 : -EACCES;
}

uint32_t region_rkey(const struct fabric_key *key)
{
	return (uint32_t)key->key;
}
