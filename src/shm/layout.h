/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processes of one job see of each other: the inbox file that each node makes and all peers
 * map, and the records that travel on the sockets between them. Both sides run the same build (the
 * version is compared when they connect), so nothing here is packed or byte-swapped.
 *
 * An inbox file is one struct shm_inbox, then, page by page, one ring for every rank.
 */
#ifndef PERGOLA_SHM_LAYOUT_H
#define PERGOLA_SHM_LAYOUT_H

#include "port/fabric.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_MAGIC UINT64_C(0x706572676f6c6173)
#define SHM_VERSION 1u
#define SHM_LINE_BYTES 64

#define SHM_CREDITS_MAX 4096u
/* Regions and distinct files that one node may have registered at a time. */
#define SHM_REGIONS_MAX 4096u
#define SHM_FILES_MAX 64u

/*
 * One message. `sequence` is the message's number in its ring plus one once the slot is filled, so
 * that a receiver finds number, length and the first bytes in one cache line.
 */
struct shm_slot {
	alignas(SHM_LINE_BYTES) _Atomic uint32_t sequence;
	uint32_t bytes;
	uint8_t data[FABRIC_MESSAGE_MAX];
};

/* From one sender to the inbox's owner. The slots are `credits` many. */
struct shm_ring {
	/* Written by the sender; the receiver clears `starved`. */
	alignas(SHM_LINE_BYTES) _Atomic uint32_t starved;
	_Atomic uint32_t closed; /* the sender left in order */
	/* Written by the receiver: messages whose slots are free again. */
	alignas(SHM_LINE_BYTES) _Atomic uint32_t head;
	struct shm_slot slots[];
};

/* A registered region, written by the owner. `key` 0: none; it is stored last and cleared first. */
struct shm_region_entry {
	alignas(SHM_LINE_BYTES) _Atomic uint64_t key;
	_Atomic uint64_t file; /* an id as in shm_inbox.files */
	_Atomic uint64_t offset;
	_Atomic uint64_t bytes;
	_Atomic uint32_t access;
};

struct shm_inbox {
	/* Written by the owner: peers that set a ready bit must write the doorbell. */
	alignas(SHM_LINE_BYTES) _Atomic uint32_t sleeping;
	/* Bit r, set by rank r, cleared by the owner: r has put a message, or has made room. */
	alignas(SHM_LINE_BYTES) _Atomic uint64_t ready[NODES_MAX / 64];
	/* Written by the owner: goes up when a region or a file is gone. */
	alignas(SHM_LINE_BYTES) _Atomic uint64_t epoch;
	/* Ids of the files that regions live in; the low bits are the index. 0: none. */
	_Atomic uint64_t files[SHM_FILES_MAX];
	struct shm_region_entry regions[SHM_REGIONS_MAX];
};

static inline size_t shm_page_round(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

static inline size_t shm_control_bytes(void)
{
	return shm_page_round(sizeof(struct shm_inbox));
}

static inline size_t shm_ring_bytes(unsigned int credits)
{
	return shm_page_round(sizeof(struct shm_ring) + credits * sizeof(struct shm_slot));
}

static inline size_t shm_ring_offset(unsigned int credits, unsigned int rank)
{
	return shm_control_bytes() + rank * shm_ring_bytes(credits);
}

static inline size_t shm_inbox_bytes(unsigned int credits, unsigned int node_count)
{
	return shm_ring_offset(credits, node_count);
}

/* A region's key: its index in the low bits, above them a number that is never used again. */
static inline unsigned int shm_key_index(uint64_t key)
{
	return (unsigned int)(key % SHM_REGIONS_MAX);
}

static inline uint64_t shm_key_make(uint64_t number, unsigned int index)
{
	return number * SHM_REGIONS_MAX + index;
}

/* Likewise for files. */
static inline unsigned int shm_file_index(uint64_t file)
{
	return (unsigned int)(file % SHM_FILES_MAX);
}

static inline uint64_t shm_file_make(uint64_t number, unsigned int index)
{
	return number * SHM_FILES_MAX + index;
}

/* What a struct fabric_address holds. */
struct shm_address {
	uint32_t pid; /* for messages to a person only */
	uint32_t name_bytes;
	char name[100]; /* in the abstract name space; the leading zero byte is not stored */
};

_Static_assert(sizeof(struct shm_address) <= FABRIC_ADDRESS_MAX, "an address must fit");

enum shm_record_kind {
	SHM_HELLO = 1,	 /* the connecting side says who it is */
	SHM_WELCOME,	 /* the accepting side likewise; with its inbox and doorbell */
	SHM_DESCRIPTORS, /* the connecting side's inbox and doorbell */
	SHM_REFUSED,	 /* `reason`; the sender hangs up */
	SHM_FILE,	 /* `file`; with its descriptor */
};

/* One record of a SOCK_SEQPACKET socket. Fields that a kind does not name are zero. */
struct shm_record {
	uint64_t magic;
	uint32_t version;
	uint32_t kind;
	uint64_t job;
	uint32_t rank;
	uint32_t node_count;
	uint32_t credits;
	int32_t reason; /* a negative errno value */
	uint64_t file;
	uint8_t secret[FABRIC_SECRET_BYTES];
};

#endif
