/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coherence engine of one node. Pure: events in, commands out. It knows pages by number, their
 * states, versions and holders, never their bytes; it has no clock, no thread, no file, no socket
 * and allocates nothing after engine_init(). Time arrives inside events.
 *
 * The caller feeds events one at a time and carries out all commands of a step, in order, before
 * the next step. The transitions are the rows of docs/protocol.md.
 */
#ifndef PERGOLA_ENGINE_ENGINE_H
#define PERGOLA_ENGINE_ENGINE_H

#include "base/id.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum manager_kind {
	MANAGER_FIXED = 1, /* a page's home manages it */
	MANAGER_CENTRAL,   /* node 0 manages all pages */
	MANAGER_BROADCAST, /* who owns a page manages it; requests go to all nodes */
	MANAGER_DYNAMIC,   /* the same; requests follow hints (probable owners) */
};

#define MANAGER_LAST MANAGER_DYNAMIC

struct engine_config {
	struct node_id self;
	unsigned int node_count;
	uint64_t page_limit; /* pages of the shared space; a multiple of UNIT_PAGES */
	enum manager_kind manager;
	uint64_t hold_ns;	/* a page that came stays at least this long (Mirage's window) */
	uint32_t page_requests; /* pages asked for and not yet here, at most */
	uint32_t sync_objects;	/* that this node manages, at most */
	uint32_t calls;		/* threads of this node inside a call, at most */
	bool fast_read;		/* clean pages are read without a message, where managers stay */
};

enum page_state {
	PAGE_INVALID = 0,
	PAGE_READ,
	PAGE_WRITE,
};

/* ---- events ---- */

enum event_kind {
	EV_FAULT = 1,	 /* fault: a thread waits for a page */
	EV_PREFETCH,	 /* fault: a program says it will need pages */
	EV_MESSAGE,	 /* peer, message: arrived, decoded */
	EV_READ_DONE,	 /* run, status: a CMD_READ is over */
	EV_UPDATE_DONE,	 /* run, peer, status: a CMD_UPDATE is over */
	EV_FAST_DONE,	 /* fast, peer, status: a CMD_FAST_READ is over */
	EV_COLLECTED,	 /* collected: a CMD_COLLECT is over */
	EV_PAGER_DONE,	 /* run, pager: a CMD_INVALIDATE or CMD_DOWNGRADE has taken effect */
	EV_PEER_DOWN,	 /* peer: no message will come from it any more */
	EV_TIMER,	 /* the time engine_timer_ns() named has come */
	EV_REGION,	 /* region: pages came into use, on all nodes */
	EV_HOME,	 /* home, token: where is a page's home? */
	EV_PIN,		 /* pin, token: have the page here, and keep it */
	EV_PIN_CANCEL,	 /* token: of an EV_PIN that is not waited for any more */
	EV_UNPIN,	 /* pin: of a page that is pinned so */
	EV_EVICT,	 /* run: this node could use their memory for something else */
	EV_PUBLISH,	 /* token: what this node has stored under write-update is to be seen */
	EV_SYNC,	 /* sync, token */
	EV_COLLECT,	 /* collect, token */
	EV_HEAP_ALLOC,	 /* heap, token: units wanted */
	EV_HEAP_RELEASE, /* heap, token: units given back */
	EV_HEAP_FREE,	 /* frees: blocks of other nodes' superblocks */
};

struct run {
	struct page_id page;
	uint32_t page_count;
};

/* A caller's name for one of its waiting threads; the engine hands it back. Never 0. */
struct token {
	uint64_t value;
};

struct event {
	enum event_kind kind;
	struct node_id peer;
	int status;
	uint64_t now_ns;
	struct token token;
	union {
		struct {
			struct run run;
			bool write;
			/* EV_PREFETCH for reading: nobody may ever need the pages. They are
			 * not taken from a writer. */
			bool guess;
		} fault;
		struct run run; /* EV_READ_DONE, EV_UPDATE_DONE, EV_EVICT */
		struct {
			struct page_id page;
			bool added;    /* the bit that was to be added is set */
			uint64_t gate; /* with status 0 */
		} fast;
		struct {
			struct page_id page;
			struct node_id keep; /* as in the command */
			/* node_count bits: those that were set, all cleared now but keep's */
			const uint64_t *sharers;
		} collected;
		struct {
			struct run run;
			bool downgrade; /* else invalidate */
		} pager;
		struct {
			struct run run;
			bool heap;   /* the heap may use it */
			bool update; /* its pages are under write-update */
		} region;
		struct page_id home;
		struct {
			struct page_id page;
			bool write;
		} pin;
		struct {
			uint64_t name;
			enum sync_kind kind;
			enum sync_op op;
			uint32_t thread;
			uint32_t argument;
			/* SYNC_ENLIST: completed by the signal, or when `token` fails */
			struct token signal;
		} sync;
		struct {
			enum collect_op op;
			struct node_id root;
			int64_t minimum;
			uint16_t bytes;
			const uint8_t *data; /* on the root */
		} collect;
		struct {
			uint64_t unit;
			uint64_t unit_count;
			uint16_t placement;
			bool slab;
		} heap;
		const struct message_heap_free *frees;
		const struct message *message;
	};
};

/* ---- commands ---- */

enum command_kind {
	CMD_SEND = 1, /* peer, message */
	CMD_READ,     /* peer, run: read the run from peer's frames into one's own */
	/*
	 * peer, run: put what peer's frames hold into one's own, which threads read meanwhile: each
	 * aligned 8-byte word whole, and nothing at all unless all of it could be read.
	 */
	CMD_UPDATE,
	/*
	 * fast, peer: in this order: if `add`, add one's own bit to the page's sharer words at peer
	 * (by an atomic operation of the fabric); read the page's gate there; read the page from
	 * peer's frames, to beside one's own frame. EV_FAST_DONE when all is over.
	 */
	CMD_FAST_READ,
	CMD_TAKE, /* run: in the step of EV_FAST_DONE: what it has read goes into the frame */
	CMD_GATE, /* gate: the page's gate is `word` from now on, for whoever reads it */
	/*
	 * collect: fetch the page's sharer words, after all gates of earlier commands can be seen,
	 * and clear what was set, but for keep's bit (by atomic operations of the fabric).
	 * EV_COLLECTED when all is over.
	 */
	CMD_COLLECT,
	CMD_MAP_READ,	/* run: show for reading */
	CMD_MAP_WRITE,	/* run: show for writing */
	CMD_UPGRADE,	/* run: from reading to writing */
	CMD_INVALIDATE, /* run: take away; EV_PAGER_DONE when done */
	CMD_DOWNGRADE,	/* run: from writing to reading; EV_PAGER_DONE when done */
	CMD_FAIL,	/* run, peer: cannot be had, because peer is lost */
	CMD_COMPLETE,	/* token, status, value, data: a call is over */
	CMD_LOSE,	/* peer: others have lost it; to be treated as lost here too */
	CMD_RELEASE,	/* run: frames hold zeros from now on; not mapped, and nobody reads them */
	CMD_FREE, /* offset, size_class: a block of this node's superblocks was freed elsewhere */
};

struct command {
	enum command_kind kind;
	struct node_id peer;
	int status;
	union {
		struct run run;
		struct message message;
		struct {
			struct page_id page;
			bool add;
		} fast;
		struct {
			struct page_id page;
			uint64_t word;
		} gate;
		struct {
			struct page_id page;
			struct node_id keep; /* this node: nobody's */
		} collect;
		struct {
			struct token token;
			uint64_t
				value; /* home, first unit, minimum, 1 for a barrier's one thread */
			uint16_t bytes;
			uint8_t data[COLLECT_BYTES_MAX];
		} complete;
		struct {
			uint64_t offset;
			uint32_t size_class;
		} free;
	};
};

/* Pages of one node that may be pinned at a time. */
#define PINNED_MAX 4096u

/* Commands of one step at most: a run of writes, each to a page that every node reads. */
#define COMMANDS_MAX (RUN_MAX * NODES_MAX * 4u)

/* The caller's; emptied by it before each step. */
struct commands {
	uint32_t count;
	struct command *list; /* COMMANDS_MAX of them */
};

struct engine_stats {
	uint64_t read_faults;
	uint64_t write_faults;
	uint64_t upgrades;
	uint64_t spurious_faults;
	uint64_t pages_fetched;
	uint64_t pages_granted;
	uint64_t prefetches;
	uint64_t guesses;	/* pages asked for that nobody may need ... */
	uint64_t guesses_met;	/* ... and that came */
	uint64_t evictions;	/* copies that were to go ... */
	uint64_t pages_evicted; /* ... and that went */
	uint64_t invalidations;
	uint64_t downgrades;
	uint64_t pages_published;
	uint64_t pages_updated;
	uint64_t sync_calls;
	uint64_t heap_units;
	/* Fast reads. */
	uint64_t fast_reads;  /* pages that came without a message */
	uint64_t fast_misses; /* pages that had to be asked for after all */
	uint64_t collections; /* times that sharers of a page were looked up */
	/* Managers that move. */
	uint64_t requests_passed; /* of others, sent on */
	uint64_t hops_max;	  /* of a request for writing that this node has served */
	uint64_t rounds;	  /* pages asked for of all nodes */
	uint64_t handovers;	  /* pages whose manager this node was */
	uint64_t declines;	  /* grants that were not waited for */
};

struct engine;

/* Bytes of memory that engine_init() needs for `config`; 0 when config is out of range. */
size_t engine_bytes(const struct engine_config *config);

/* Makes an engine in `memory`, which is zeroed, 64-byte aligned, and stays the caller's. */
struct engine *engine_init(void *memory, const struct engine_config *config);

/*
 * Takes one event; appends commands. Returns 0; -EAGAIN: a local request (EV_FAULT, EV_PREFETCH and
 * calls) found a table full: offer it again after other events; -EPROTO: the peer broke the
 * protocol (treat it as lost). Nothing has changed after -EAGAIN; after -EPROTO a part of a run may
 * have been taken, and the commands are to be carried out all the same.
 */
int engine_step(struct engine *engine, const struct event *event, struct commands *commands);

/* When EV_TIMER is due next, in the clock of events; UINT64_MAX: not until something else happens.
 */
uint64_t engine_timer_ns(const struct engine *engine);

/* True while a thread of this node waits for a page that has been asked for. */
bool engine_threads_waiting(const struct engine *engine);

/*
 * Takes and leaves a lock that this node keeps and no thread holds, or that `thread` holds and
 * nobody waits for. False: nothing has changed; an EV_SYNC decides. Unlike all other calls these
 * may be made by any thread at any time, beside any call: each is one atomic operation.
 */
bool engine_lock_take(const struct engine *engine, uint64_t name, uint32_t thread);
bool engine_lock_leave(const struct engine *engine, uint64_t name, uint32_t thread);

/* How many of those two were carried out. Likewise. */
uint64_t engine_lock_calls(const struct engine *engine);

/* True when all has come to rest: no request, transaction or call is under way here. */
bool engine_quiet(const struct engine *engine);

const struct engine_stats *engine_stats(const struct engine *engine);

/* Is the page pinned for writing, or for reading, as `write` says? */
bool engine_pinned(struct engine *engine, struct page_id page, bool write);

/* ---- for checks: what the engine believes ---- */

enum page_state engine_page_state(const struct engine *engine, struct page_id page);
/* May the page's frame ever go: is it at home elsewhere, as far as is known? */
bool engine_evictable(const struct engine *engine, struct page_id page);

/* Pages that were to be evicted, and are not yet, nor kept for certain. */
uint32_t engine_leaving(const struct engine *engine);

/* Is the page neither here nor asked for? */
bool engine_page_missing(const struct engine *engine, struct page_id page);

uint64_t engine_page_version(const struct engine *engine, struct page_id page);

struct directory_view {
	struct node_id owner;
	uint64_t version;
	bool exclusive;
	bool lost;
	bool busy;
	bool open;		 /* the gate: nodes may read the page without a message */
	const uint64_t *holders; /* node_count bits */
};

/* Does this node know that its bit in the page's sharer words is set? */
bool engine_page_shared(const struct engine *engine, struct page_id page);

/* The gate that lets nodes read `version` from the frame of `owner`; 0 lets nobody. */
uint64_t engine_gate(struct node_id owner, uint64_t version);

/* False when this node does not manage the page. */
bool engine_directory_view(const struct engine *engine, struct page_id page,
			   struct directory_view *view);

/* Who manages the page as far as this node knows; HOME_UNKNOWN otherwise. */
uint16_t engine_hint(const struct engine *engine, struct page_id page);

/* The home of the page as far as this node knows; HOME_UNKNOWN otherwise. */
uint16_t engine_home(const struct engine *engine, struct page_id page);

#endif
