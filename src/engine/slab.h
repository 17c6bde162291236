/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator of small blocks in superblocks that one node has to itself. A superblock is one
 * unit (256 KiB) cut into blocks of one size class. Pure bookkeeping, all of it outside the shared
 * pages: handing out a block touches none of them. The caller serialises the calls.
 *
 * Superblocks come in pools, by the placement that they were asked for (a pool is what the caller
 * wants it to be, say a home node). One that is empty serves any class of its pool; none is given
 * back.
 */
#ifndef PERGOLA_ENGINE_SLAB_H
#define PERGOLA_ENGINE_SLAB_H

#include <stddef.h>
#include <stdint.h>

/* The largest block: half a superblock. */
#define SLAB_BLOCK_MAX (128u * 1024u)

#define SLAB_CLASSES 43u

struct slab;

/* Bytes of memory for a space of `unit_limit` units; much of it is never touched. */
size_t slab_bytes(uint64_t unit_limit, uint32_t pool_count);

/* Makes an allocator without superblocks in `memory`: zeroed, 64-byte aligned, the caller's. */
struct slab *slab_init(void *memory, uint64_t unit_limit, uint32_t pool_count);

/* The class of blocks of `bytes` bytes, 1 .. SLAB_BLOCK_MAX. */
uint32_t slab_class(size_t bytes);

/* Bytes of a block of the class: a multiple of 16, and from 4096 on of 4096; so is its address. */
uint32_t slab_class_bytes(uint32_t size_class);

/*
 * Takes a block for `bytes` bytes, 1 .. SLAB_BLOCK_MAX, from the pool: its byte offset in the
 * shared space. -EAGAIN: the pool needs a superblock; give it one with slab_add_unit() and call
 * again.
 */
int slab_alloc(struct slab *slab, uint32_t pool, size_t bytes, uint64_t *offset);

/* Adds a superblock that is not in the slab yet. */
void slab_add_unit(struct slab *slab, uint32_t pool, uint64_t unit);

/*
 * Gives a block back. `offset` and `size_class` may be anything (they may come from a program's bug
 * or the network). -ESRCH: not in a superblock of this slab. -EINVAL: not the start of a block of
 * the class, or free already. Nothing has changed then.
 */
int slab_free(struct slab *slab, uint64_t offset, uint32_t size_class);

#endif
