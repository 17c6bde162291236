/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one fabric, private to this process and to src/shm. The caller of the fabric
 * serialises all calls, so nothing here is locked or atomic; what other processes see is in
 * layout.h.
 */
#ifndef PERGOLA_SHM_STATE_H
#define PERGOLA_SHM_STATE_H

#include "base/bitset.h"
#include "shm/layout.h"

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/* One-sided operations accepted and not yet returned by poll(), at most. */
#define SHM_OPERATIONS_MAX 256u

#define SHM_WORDS (NODES_MAX / 64)

enum shm_peer_state {
	SHM_PEER_ABSENT,    /* not connected yet; also this node itself */
	SHM_PEER_CONNECTED, /* */
	SHM_PEER_GONE,	    /* left or lost; FABRIC_PEER_DOWN is still to be returned */
	SHM_PEER_DOWN,	    /* and it has been */
};

/* A peer's region as mapped here. key 0: none. */
struct shm_view {
	uint64_t key;
	unsigned char *base;
	uint64_t bytes;
	unsigned int access;
};

/* A peer's file as received from it. id 0: none. */
struct shm_file_view {
	uint64_t id;
	int fd;
};

struct shm_peer {
	enum shm_peer_state state;
	int status; /* why it is gone */
	int socket;
	int doorbell;
	pid_t pid;
	struct shm_inbox *inbox; /* the peer's, without rings */
	struct shm_ring *out;	 /* this node's ring in the peer's inbox */
	struct shm_ring *in;	 /* the peer's ring in this node's inbox */
	uint32_t tail;		 /* of out: messages put */
	uint32_t head_seen;	 /* of out: messages known to be taken */
	uint32_t next;		 /* of in: messages returned by poll() */
	bool starved;		 /* a send found no credit and FABRIC_CREDIT is owed */
	unsigned int outstanding;
	struct shm_view *views; /* by index of the peer's table */
	unsigned int view_count;
	struct shm_file_view files[SHM_FILES_MAX];
	uint64_t epoch; /* of the peer's table, at the last sweep of views */
};

struct fabric_region {
	uint64_t key; /* 0: free */
	unsigned char *addr;
	uint64_t bytes;
	unsigned int access;
	unsigned int file; /* index of fabric.files; SHM_FILES_MAX: none */
};

/* A file that registered regions live in. */
struct shm_file {
	uint64_t id; /* 0: free */
	int fd;
	dev_t device;
	ino_t inode;
	unsigned int region_count;
	uint64_t unsent[SHM_WORDS]; /* peers that do not have the descriptor yet */
};

enum shm_operation_kind {
	SHM_READ,
	SHM_WRITE,
	SHM_FETCH_ADD,
	SHM_COMPARE_SWAP,
	SHM_CHAIN,
};

struct shm_operation {
	enum shm_operation_kind kind;
	struct fabric_remote remote;
	void *local;
	uint32_t bytes;
	uint64_t operand; /* add, or desired */
	uint64_t expected;
	struct fabric_remote guard; /* of a chain; `remote` is its word, `source` the rest */
	struct fabric_remote source;
	uint64_t tag;
};

/* Produced by operations, consumed by poll(). Together with `deferred` never more than full. */
struct shm_completions {
	struct fabric_event events[SHM_OPERATIONS_MAX];
	unsigned int first;
	unsigned int count;
};

struct fabric {
	struct fabric_config config;
	unsigned int self;
	unsigned int node_count;
	unsigned int credits;
	size_t words; /* of a set of ranks */

	int inbox_fd;
	struct shm_inbox *inbox;
	size_t inbox_bytes;
	int doorbell;
	int epoll;
	int listener;
	bool connected;

	bool armed;
	bool messages_first; /* takes turns: neither messages nor completions starve the other */
	unsigned int polls;
	unsigned int sweep_next;
	uint64_t checked_ns;
	size_t cursor; /* rank at which the next poll() begins */

	uint64_t pending[SHM_WORDS];   /* rings that may hold messages */
	uint64_t delivered[SHM_WORDS]; /* rings with slots to give back at the next poll() */
	bool delivered_any;
	uint64_t gone[SHM_WORDS];
	unsigned int gone_count;

	struct shm_completions completions;
	struct shm_operation deferred[SHM_OPERATIONS_MAX]; /* wait for a file's descriptor */
	unsigned int deferred_count;

	struct shm_file files[SHM_FILES_MAX];
	uint64_t numbers; /* of keys and file ids given out */
	uint64_t regions_used[SHM_REGIONS_MAX / 64];
	struct fabric_region regions[SHM_REGIONS_MAX];
	struct shm_peer peers[]; /* node_count; [self] is not used */
};

static inline uint64_t shm_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
