/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message that nodes send each other, and every limit that they must agree on.
 *
 * A message on the wire is a struct message cut off after the used part of its body: little endian,
 * naturally aligned, no implicit padding (all of it is stated below and checked by static_assert).
 * What comes from the network is checked once, by message_decode(); after that enums and counts are
 * trusted, while what a message *claims* is still checked against state by who handles it.
 */
#ifndef PERGOLA_WIRE_WIRE_H
#define PERGOLA_WIRE_WIRE_H

#include "base/id.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Changes with any change to this file that an older node would misread. */
#define WIRE_VERSION 4u

#define MESSAGE_MAX 256u

/* Pages that one message can speak of at most. */
#define RUN_MAX 64u

/* The grain of placement and of the heap: 64 pages, 256 KiB. */
#define UNIT_PAGES 64u
#define UNIT_BYTES (UNIT_PAGES * PAGE_BYTES)

/* Homes that one reply names at most. */
#define HOMES_MAX 64u

/* Bytes that a collective call carries at most. */
#define COLLECT_BYTES_MAX 128u

/* Requests that one message hands over at most, and pages that one answer speaks of. */
#define HANDED_MAX 28u
#define ABSENT_MAX 28u

/* Blocks that one message can free at most. */
#define FREES_MAX 28u

/* Pages that one message can name, if they are not adjacent. */
#define PAGES_MAX 28u

/* Pages of the largest shared space: 2^40 bytes. */
#define SPACE_PAGES_MAX (UINT64_C(1) << 28)

enum message_kind {
	/* Pages. A run is up to RUN_MAX adjacent pages, handled page by page. */
	MSG_READ_REQUEST = 1, /* requester to manager, or by others on the way to it: request */
	MSG_WRITE_REQUEST,    /* the same */
	MSG_READ_GRANT,	      /* manager to requester: grant */
	MSG_WRITE_GRANT,      /* manager to requester: grant */
	MSG_REFUSE,	      /* manager to requester: run, node = the lost one */
	MSG_NOT_NOW,	      /* manager to requester: run: the answer to a guess */
	MSG_CONFIRM,	      /* requester to manager: run: mapped */
	MSG_FETCH_FAILED,     /* requester to manager: run, node = the owner not reached */
	MSG_INVALIDATE,	      /* manager to holder: run, node = the writer, if the manager moves;
			       * flags: RUN_CLEARED */
	MSG_INVALIDATED,      /* holder to manager: run; flags: RUN_EMPTY */
	MSG_DOWNGRADE,	      /* manager to owner: run */
	MSG_DOWNGRADED,	      /* owner to manager: run */
	MSG_EVICT,   /* holder to manager: pages: not mapped any more. Is the frame needed? */
	MSG_EVICTED, /* manager to holder: pages: no */
	MSG_KEPT,    /* manager to holder: pages: yes, for now */
	MSG_TAKE,    /* manager to home: pages: ask for them, their owner wants to go */
	/* Pages whose manager moves with them. */
	MSG_QUEUE,    /* old manager to new, before the hand-over: queue */
	MSG_HANDOVER, /* old manager to new: run */
	MSG_DECLINE,  /* to manager: run: a grant came that was not waited for */
	MSG_ABSENT,   /* to a requester: absent: its request is not with the sender */
	MSG_SEEK,     /* any to any, after a loss: request: what do you know? */
	MSG_TOLD,     /* back: told */
	MSG_HEARD,    /* any to any: run, node = the lost one: the sender has heard of it */
	/* Pages under write-update. */
	MSG_UPDATE,	   /* manager to holder: grant: read the owner's frame, which is newer */
	MSG_UPDATED,	   /* holder to manager: run */
	MSG_UPDATE_FAILED, /* holder to manager: run, node = the owner not reached */
	MSG_PUBLISHED,	   /* manager to owner: run: all other holders are updated */
	/* Homes of units. Node 0 keeps them. */
	MSG_HOME_QUERY, /* any to node 0: home_query */
	MSG_HOME_REPLY, /* node 0 to any: home_reply */
	/* Calls: a request with a slot, a reply with the same slot. */
	MSG_SYNC_REQUEST, /* any to the object's manager: sync_request */
	MSG_SYNC_RECALL,  /* manager to the node that has the lock: sync_recall. No reply */
	MSG_HEAP_REQUEST, /* any to node 0: heap_request */
	MSG_HEAP_RELEASE, /* any to node 0: heap_release */
	MSG_REPLY,	  /* back: reply */
	MSG_HEAP_FREE,	  /* any to a superblock's owner, or node 0: heap_free. No reply */
	/* Collective calls. Node 0 gathers. */
	MSG_COLLECT,	  /* any to node 0: collect */
	MSG_COLLECT_DONE, /* node 0 to all: collect */
	/* Between node layers, not the engine's: keys of registered frames, and last words. */
	MSG_KEY_REQUEST,  /* any to any: run of one page */
	MSG_KEY_REPLY,	  /* back: key */
	MSG_GATE_REQUEST, /* any to a manager: run of one page: the key of its gate */
	MSG_GATE_REPLY,	  /* back: gates */
	MSG_LOST,	  /* any to all: run, node = whose loss made the sender end */
	MSG_KIND_END,
};

struct message_run {
	uint64_t page;
	uint16_t page_count;
	uint16_t node;	/* in the kinds that say so; else 0 */
	uint32_t flags; /* likewise: RUN_... */
};

#define RUN_CLEARED 1u /* of MSG_INVALIDATE: the receiver's sharer bits are clear now */
#define RUN_EMPTY 1u   /* of MSG_INVALIDATED: the sender had no copy */

/* The manager is asked for pages; by whom, whoever sends it. */
struct message_request {
	uint64_t page;
	uint16_t page_count;
	uint16_t node; /* the requester */
	uint32_t tag;  /* the requester's name for it; 0 where managers stand still */
	uint16_t home; /* node id + 1 of the pages' home; 0: not said */
	uint16_t hops; /* times that it has been sent on */
	uint8_t flags; /* REQUEST_... */
	uint8_t zero[3];
};

#define REQUEST_ROUND 1u   /* asked of all: who is not the manager says so */
#define REQUEST_TRAIL 2u   /* goes from each manager to the next, by what each knows for certain */
#define REQUEST_RECOVER 4u /* the manager may be lost */
#define REQUEST_GUESS 8u   /* nobody waits: only if it takes the page from no writer */
#define REQUEST_FLAGS 15u

struct message_pages {
	uint16_t page_count;
	uint16_t zero[3];
	uint64_t pages[PAGES_MAX];
};

/* Requests that wait for a page. */
struct message_queue {
	uint64_t page;
	uint16_t request_count;
	uint16_t zero[3];
	struct {
		uint64_t node : 16;
		uint64_t hops : 15;
		uint64_t write : 1;
		uint64_t tag : 32;
	} requests[HANDED_MAX];
};

/* Who is known to have been manager of a page, and at which version. */
struct message_known {
	uint64_t version : 48;
	uint64_t node : 16; /* + 1; 0: nobody is known */
};

struct message_absent {
	uint64_t page;
	uint16_t page_count;
	uint16_t zero;
	uint32_t tag; /* the request's */
	struct message_known known[ABSENT_MAX];
};

struct message_told {
	uint64_t page;
	uint32_t tag;
	uint8_t flags; /* TOLD_... */
	uint8_t zero[3];
	struct message_known known;
	uint64_t version; /* of the bytes, with TOLD_HOLDS; else 0 */
};

#define TOLD_MANAGES 1u	  /* the sender is the manager, or about to be */
#define TOLD_UNDECIDED 2u /* something is under way there: ask again */
#define TOLD_HOLDS 4u	  /* it has the page mapped */
#define TOLD_FLAGS 7u

struct message_grant {
	uint64_t page;
	uint16_t page_count;
	uint16_t owner; /* whose frames hold the bytes */
	uint32_t zero;
	uint64_t version;	 /* of the first page ... */
	int16_t deltas[RUN_MAX]; /* ... and what to add to it for each: page_count of them, from 0
				  */
};

static inline uint64_t grant_version(const struct message_grant *grant, unsigned int index)
{
	return grant->version + (uint64_t)(int64_t)grant->deltas[index];
}

struct message_home_query {
	uint64_t unit;
	uint32_t claim; /* 1: the asker touches `unit` now */
	uint32_t zero;
};

#define HOME_UNKNOWN UINT16_MAX

struct message_home_reply {
	uint64_t unit;
	uint16_t unit_count;
	uint16_t zero[3];
	uint16_t homes[HOMES_MAX]; /* unit_count of them: a node id or HOME_UNKNOWN */
};

/* Kinds of synchronisation object. */
enum sync_kind {
	SYNC_LOCK = 1,
	SYNC_RWLOCK,
	SYNC_COND,
	SYNC_SEM,
	SYNC_BARRIER,
	SYNC_KIND_END,
};

enum sync_op {
	SYNC_INIT = 1, /* argument: the count of a semaphore or barrier */
	SYNC_DESTROY,
	SYNC_ACQUIRE,	   /* lock, rwlock (exclusive), sem: wait until it is had */
	SYNC_ACQUIRE_READ, /* rwlock */
	SYNC_TRY,	   /* as ACQUIRE, but -EBUSY (sem: -EAGAIN) rather than wait */
	SYNC_TRY_READ,
	SYNC_RELEASE, /* lock, rwlock, sem (post) */
	SYNC_ENLIST,  /* cond: become a waiter; argument: the slot that the signal replies to */
	SYNC_SIGNAL,
	SYNC_BROADCAST,
	SYNC_ARRIVE, /* barrier; the reply's value is 1 for one of the threads */
	SYNC_RETURN, /* lock: the sender's node has it no more. No reply, as for ... */
	SYNC_HELD,   /* lock: a thread of the node that has it holds it, and returns it */
	SYNC_OP_END,
};

struct message_sync_request {
	uint64_t name; /* byte offset in the shared space */
	uint32_t slot;
	uint32_t thread;   /* of the requesting node */
	uint32_t argument; /* lock: 1: its node has the lock, held by another thread */
	uint8_t kind;
	uint8_t op;
	uint16_t zero;
};

struct message_sync_recall {
	uint64_t name;
};

/* Placements, in a request for units: a node id or one of these. */
#define PLACE_CYCLIC UINT16_MAX
#define PLACE_FIRST_TOUCH (UINT16_MAX - 1)

struct message_heap_request {
	uint64_t unit_count;
	uint32_t slot;
	uint16_t placement;
	uint16_t slab; /* 1: a superblock, which the asker will allocate blocks from */
};

struct message_heap_release {
	uint64_t unit;
	uint64_t unit_count;
	uint32_t slot;
	uint32_t zero;
};

struct message_reply {
	uint64_t value;
	uint32_t slot;
	int32_t status; /* 0 or a negative errno value */
};

struct message_heap_free {
	uint32_t block_count;
	uint32_t zero;
	struct {
		uint64_t offset : 48; /* byte offset in the shared space */
		uint64_t size_class : 16;
	} blocks[FREES_MAX];
};

enum collect_op {
	COLLECT_BARRIER = 1,
	COLLECT_BROADCAST, /* data: of the root */
	COLLECT_MINIMUM,   /* minimum: of all */
	COLLECT_FINISH,
	COLLECT_OP_END,
};

struct message_collect {
	uint32_t sequence;
	int32_t status; /* in MSG_COLLECT_DONE */
	int64_t minimum;
	uint16_t root;
	uint16_t bytes; /* of data: the same on all nodes; 0 but in COLLECT_BROADCAST */
	uint8_t op;
	uint8_t zero[3];
	uint8_t data[COLLECT_BYTES_MAX]; /* always `bytes` of them; only the root's mean something
					  */
};

struct message_key {
	uint64_t page; /* the chunk's first */
	uint64_t page_count;
	uint64_t addr;
	uint64_t key;
};

/* Where gates and sharer words of a chunk of pages are (docs/protocol.md, section 16). */
struct message_gates {
	uint64_t page; /* the chunk's first */
	uint64_t page_count;
	uint64_t addr;
	uint64_t key;
	uint32_t sharers; /* bytes from a page's gate to the sharer words of who asked */
	uint32_t zero;
};

struct message {
	uint16_t kind;	/* enum message_kind */
	uint16_t bytes; /* of the whole message on the wire */
	uint32_t zero;
	union {
		struct message_run run;
		struct message_pages pages;
		struct message_request request;
		struct message_queue queue;
		struct message_absent absent;
		struct message_told told;
		struct message_grant grant;
		struct message_home_query home_query;
		struct message_home_reply home_reply;
		struct message_sync_request sync_request;
		struct message_sync_recall sync_recall;
		struct message_heap_request heap_request;
		struct message_heap_release heap_release;
		struct message_reply reply;
		struct message_heap_free heap_free;
		struct message_collect collect;
		struct message_key key;
		struct message_gates gates;
	};
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian");
static_assert(sizeof(struct message_run) == 16, "no implicit padding");
static_assert(sizeof(struct message_request) == 24, "no implicit padding");
static_assert(sizeof(struct message_pages) == 8 + 8 * PAGES_MAX, "no implicit padding");
static_assert(sizeof(struct message_queue) == 16 + 8 * HANDED_MAX, "no implicit padding");
static_assert(sizeof(struct message_absent) == 16 + 8 * ABSENT_MAX, "no implicit padding");
static_assert(sizeof(struct message_told) == 32, "no implicit padding");
static_assert(sizeof(struct message_grant) == 24 + 2 * RUN_MAX, "no implicit padding");
static_assert(sizeof(struct message_home_query) == 16, "no implicit padding");
static_assert(sizeof(struct message_home_reply) == 16 + 2 * HOMES_MAX, "no implicit padding");
static_assert(sizeof(struct message_sync_request) == 24, "no implicit padding");
static_assert(sizeof(struct message_sync_recall) == 8, "no implicit padding");
static_assert(sizeof(struct message_heap_request) == 16, "no implicit padding");
static_assert(sizeof(struct message_heap_release) == 24, "no implicit padding");
static_assert(sizeof(struct message_reply) == 16, "no implicit padding");
static_assert(sizeof(struct message_heap_free) == 8 + 8 * FREES_MAX, "no implicit padding");
static_assert(sizeof(struct message_collect) == 24 + COLLECT_BYTES_MAX, "no implicit padding");
static_assert(sizeof(struct message_key) == 32, "no implicit padding");
static_assert(sizeof(struct message_gates) == 40, "no implicit padding");
static_assert(sizeof(struct message) <= MESSAGE_MAX, "a message fits a slot");
static_assert(offsetof(struct message, run) == 8, "the body follows the header");

/* What a received message is checked against. */
struct wire_limits {
	unsigned int node_count;
	uint64_t page_limit;
};

/* Bytes that `message`, whose kind and counts are set, takes on the wire; 0: no such kind. */
size_t message_bytes(const struct message *message);

/*
 * Reads `bytes` bytes at `data`, in any alignment, into `message`, and checks kind, length, counts,
 * ids and unused fields. Returns 0, or -EBADMSG, and then `message` is untouched.
 */
int message_decode(const void *data, size_t bytes, const struct wire_limits *limits,
		   struct message *message);

/* "READ_REQUEST", for logs and traces. */
const char *message_name(enum message_kind kind);

#endif
