/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node of a job: the place where engine, pager and fabric meet. Shared by the files of src/node
 * that run the node; the public functions (api_*.c) use node_call() and the few calls below it.
 *
 *   job.c      the one handle behind the public functions; settings before there is a node
 *   node.c     joining and leaving: wire-up, fabric, engine, pager, the progress thread
 *   loop.c     progress: faults, messages, completions and timers become events; sleeping
 *   execute.c  the engine's commands are carried out
 *   outbox.c   messages that wait for a credit
 *   links.c    the fabrics of this node, and which peer is reached by which
 *   landing.c  where updates of pages land that threads read meanwhile
 *   reads.c    keys of frames, registration, one-sided reads under way
 *   gates.c    gates and sharers of the pages that this node manages
 *   fast.c     chains: clean pages that are read without a message
 *   waiter.c   threads that wait for a call to be over
 *   inline.c   threads that serve their own page faults
 *   cache.c    frames of pages that are at home elsewhere: how many, and which go
 *   ahead.c    pages that are asked for before a thread comes to them (readahead.c: which)
 *   trap.c     SIGBUS: such a fault, or the program's own affair
 *   region.c   regions: addresses and pages; opening one on all nodes
 *   loss.c     a peer is gone: what to do
 *   times.c    when faults came to which point, for benchmarks
 *   place.c    near which NUMA node memory and the progress thread stand
 *   table.c    memory for tables that are mostly never touched
 *   backends.c which fabric and which pager (the only file that names them)
 *
 * node->lock protects everything below it in struct node, and serialises all calls of engine, pager
 * and fabric. Any thread may take it and make progress. Whoever holds it never touches shared
 * memory through the application view: a fault there would wait for the lock's holder.
 */
#ifndef PERGOLA_NODE_NODE_H
#define PERGOLA_NODE_NODE_H

#include "base/id.h"
#include "engine/engine.h"
#include "engine/slab.h"
#include "node/exit.h"
#include "node/readahead.h"
#include "node/settings.h"
#include "node/wireup.h"
#include "port/fabric.h"
#include "port/pager.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define REGIONS_MAX 64u

/* Fabrics that one node may use at a time: one to the peers on its host, one to the others. */
#define LINKS_MAX 2u

/* Messages that wait for credits, to all peers together. */
#define OUTGOING_MAX (1u << 20)

/* Recalls that one step of the engine can bring about: all deferred ones fall due at once. */
#define PAGER_DONE_MAX (2u * 8192u)

/* Updates of pages, of one run each, that may be under way at a time; the bits of a word. */
#define LANDING_SLOTS 16u

/* Threads of one node that may be inside a call at a time. */
#define CALLS_MAX 4096u

struct region {
	unsigned char *addr;
	struct page_id first;
	uint64_t page_count;
};

/* A thread inside a call; on its stack. `state` is the futex word. */
struct waiter {
	_Atomic uint32_t state;
	int status;
	uint64_t value;
	uint16_t bytes;
	uint8_t data[COLLECT_BYTES_MAX];
};

/* A message that waits for a credit, in a pool; links are index + 1. */
struct outgoing {
	uint32_t next;
	struct message message;
};

struct outbox {
	uint32_t head;
	uint32_t tail;
};

/* A CMD_READ or CMD_UPDATE under way: in pieces, where its run crosses from one registered chunk to
 * the next. */
struct read {
	struct run run;
	struct node_id peer;
	int status;
	uint32_t posted_pages;	  /* of the run, from its start */
	uint32_t completed_pages; /* ... of those */
	uint32_t next;		  /* index + 1: free, or waiting to be posted */
	bool update;
	unsigned int landing; /* of an update that was posted: its slot */
};

struct peer_key {
	struct fabric_key key;
	bool known;
	bool asked;
};

/* Of a chunk of a peer's gates. */
struct gate_key {
	struct fabric_key key;
	struct page_id page; /* the chunk's first */
	uint32_t sharers;    /* from a page's gate to the words that this node adds to */
	bool known;
	bool asked;
};

/* A chunk of this node's frames; NULL: not registered yet. */
struct own_chunk {
	struct fabric_region *region;
	struct fabric_key key;
};

/* One fabric, and what this node and its peers have registered with it. */
struct link {
	const struct fabric_ops *ops;
	struct fabric *fabric;
	uint64_t chunk_pages; /* 0: a chunk is a region */
	uint64_t chunk_limit;
	uint32_t piece_pages; /* a one-sided read is of so many at most */
	struct own_chunk *own_chunks;
	struct fabric_region *landing; /* NULL: not registered yet */
	struct peer_key *peer_keys;    /* [peer * chunk_limit + chunk] */
};

/* Moved when a page of its class was shown or refused; see inline.c. */
struct arrivals {
	_Atomic uint32_t count; /* a futex word */
	_Atomic uint32_t sleepers;
};

#define ARRIVALS_CLASSES 64u

/* What a program has said about the pages of a unit. */
enum advice {
	ADVICE_NORMAL = 0,
	ADVICE_SEQUENTIAL, /* they are read in order */
	ADVICE_RANDOM,	   /* ... in none */
};

/* Read-ahead. Under the node's lock. */
struct ahead {
	struct readahead streams;
	uint8_t *advice;    /* enum advice, a byte a unit */
	uint64_t *withheld; /* a bit a page: it is held, and shown only when it is touched */
	uint64_t faulted;   /* the page whose fault is being taken; UINT64_MAX: none */
	bool coming;	    /* it is here, or was asked for before */
};

/* Where a page that is at home elsewhere stands; see cache.c. */
enum cache_list {
	CACHE_NONE = 0,
	CACHE_FRESH,
	CACHE_KNOWN,
	CACHE_GHOST,
	CACHE_LISTS,
};

/* Links are page + 1. */
struct cache_link {
	uint32_t next;
	uint32_t previous;
	uint32_t list; /* enum cache_list */
};

struct cache_queue {
	uint32_t first;
	uint32_t last;
	uint64_t count;
};

struct cache {
	uint64_t budget;	  /* pages; 0: no limit */
	struct cache_link *links; /* one a page; NULL: off */
	struct cache_queue queues[CACHE_LISTS];
	/* When none could go: it is tried again after so long, at this time. 0: no need. */
	uint64_t retry_after_ns;
	uint64_t retry_ns;
	bool pinned; /* a device knows frames: none can be given back */
};

struct node_counters {
	uint64_t messages_sent;
	uint64_t messages_received;
	uint64_t bytes_fetched;
};

struct node {
	struct node_id self;
	bool inline_delivery; /* faults are served by the threads that make them */
	bool fast_read;	      /* clean pages are read without a message */
	unsigned int node_count;
	unsigned int local_count; /* nodes on this host, this one included */
	struct settings settings;
	struct wireup wireup; /* while joining */
	const struct pager_ops *pager_ops;
	uint64_t wait_spin_ns; /* a waiting thread polls this long before it sleeps */
	uint64_t loop_spin_ns; /* so does the progress thread after the last event */

	/* Appended to under `lock`, read without it: entries below region_count never change. */
	struct region regions[REGIONS_MAX];
	_Atomic uint32_t region_count;

	_Atomic uint32_t pollers; /* threads in calls and faults that poll while they wait */

	/* Of inline delivery. `count` moves under `lock`; all are read without it. */
	_Atomic uint32_t arrival_sleepers; /* in all classes */
	_Atomic uint64_t arrival_wait_ns;  /* how long a page is waited for, of late */
	struct arrivals arrivals[ARRIVALS_CLASSES];
	_Atomic uint64_t *refused; /* one bit a page: an access is to end in SIGBUS */

	uint64_t page_limit; /* from here on only at the start, and under `collective_lock` */
	uint64_t pages_used;

	/* Serialises collective calls of this node's threads; taken before `lock`. */
	pthread_mutex_t collective_lock;

	pthread_mutex_t lock;
	struct engine *engine;
	size_t engine_bytes;
	struct link links[LINKS_MAX];
	unsigned int link_count;
	uint8_t routes[NODES_MAX]; /* which link leads to the peer */
	struct pager *pager;
	struct pager_frames frames;
	struct commands commands;
	uint64_t steps;		/* of the engine, ever */
	struct run *pager_done; /* invalidations and downgrades done, not yet told to the engine */
	bool *pager_done_downgrade;
	uint32_t pager_done_count;
	uint32_t landing_used;	       /* of landing: a bit a slot */
	struct pager_fault faults[64]; /* taken from the pager, not yet by the engine */
	int fault_count;
	int fault_next;

	struct outbox outboxes[NODES_MAX];
	struct outgoing *outgoing;
	uint32_t outgoing_free;
	uint32_t outgoing_fresh;

	struct read *reads;
	uint32_t read_free;
	uint32_t read_fresh;
	uint32_t read_waiting_head;
	uint32_t read_waiting_tail;
	unsigned char *landing;
	struct gates *gates;   /* of gates.c; NULL: no fast reads */
	struct chains *chains; /* of fast.c; NULL: no fast reads */

	struct ahead ahead;
	struct cache cache;

	struct node_counters counters;
	struct times *times;  /* NULL: off; see times.h */
	_Atomic bool updates; /* there is a region under write-update; read without the lock */
	bool leaving;	      /* this node's dsm_finish() is under way: peers may go */
	bool gone[NODES_MAX]; /* peers that closed in order, or were lost */
	bool any_lost;
	bool rumoured;
	struct node_id lost;   /* the first lost node; valid if any_lost */
	struct node_id rumour; /* lost, as other nodes say; if rumoured */

	pthread_t thread;
	int kick_fd;
	bool asleep;	 /* the progress thread sleeps, or is about to ... */
	bool kicked;	 /* ... and has been woken */
	bool armed;	 /* the fabric will make its descriptor readable */
	bool dozing;	 /* asleep for a short time, and not armed */
	uint32_t visits; /* of other threads, which have polled or stepped; it may wrap */
	uint32_t visits_seen;
	bool stop;
	uint64_t sleep_until_ns;

	/* Protects the block allocator and the batch. Taken after `lock`, never before. */
	pthread_mutex_t heap_lock;
	struct slab *slab;
	size_t slab_bytes;
	struct message_heap_free
		frees; /* blocks of other nodes' superblocks, to be sent together */
};

/* ---- job.c ---- */

/* The node of this process, or NULL with -ENOTCONN recorded for dsm_error(). */
struct node *job_node(const char *call);

/* ---- node.c ---- */

int node_open(const struct settings *settings, struct node **out);
void node_close(struct node *node);

/* ---- loop.c ---- */

void *loop_main(void *node);

/* Polls the fabric and runs timers. With the lock. True when anything happened. */
bool loop_progress(struct node *node);

/* As loop_progress(), without the timers. */
bool loop_look(struct node *node);

/* Posts what waits to be posted; true when that may be over at once. */
bool loop_post(struct node *node);

/* Before a thread other than the progress thread gives up the lock after it has polled or stepped.
 */
void loop_settle(struct node *node);

/* As loop_settle(), before the thread sleeps until the progress thread wakes it. */
void loop_quiet(struct node *node);

/* Wakes the progress thread. With the lock. */
void loop_kick(struct node *node);

/* One event through the engine, and all that follows from it. With the lock. */
int loop_step(struct node *node, struct event *event);

/* The same for a thread's fault. */
int loop_fault(struct node *node, struct event *event);

/* ---- execute.c ---- */

void execute_commands(struct node *node);

/* ---- outbox.c ---- */

void outbox_send(struct node *node, struct node_id peer, const struct message *message);
void outbox_flush(struct node *node, struct node_id peer);
void outbox_drop(struct node *node, struct node_id peer);
bool outbox_empty(const struct node *node);

/* ---- links.c ---- */

/* What a node tells the others of how to reach it. An address of 0 bytes: not by that fabric. */
struct contact {
	uint64_t host; /* the same for all processes that can share memory */
	struct fabric_address addresses[LINKS_MAX];
};

/* The contact's `host` of this process. */
uint64_t links_host(void);

/* Opens the fabrics that the settings allow; says in `contact` how this node can be reached. */
int links_open(struct node *node, struct contact *contact);

/* Chooses a fabric for each peer and connects. contacts[i] is node i's. */
int links_connect(struct node *node, const struct contact *contacts);
void links_close(struct node *node);

/* The NUMA node that this node's device is near to; negative: any. */
int links_numa_node(const struct node *node);

/* Of all fabrics together. */
struct fabric_counters links_counters(const struct node *node);

static inline struct link *link_to(struct node *node, struct node_id peer)
{
	return &node->links[node->routes[peer.value]];
}

/* 1: something is there already. As fabric_ops.arm(), for all of them. */
int links_arm(struct node *node);

/* ---- reads.c ---- */

int reads_open(struct node *node);
void reads_close(struct node *node);
void reads_start(struct node *node, struct node_id peer, struct run run, bool update);
void reads_completed(struct node *node, const struct fabric_event *done);
void reads_retry(struct node *node);
void reads_peer_down(struct node *node, struct node_id peer);
void reads_key_request(struct node *node, struct node_id peer, const struct message *message);
void reads_key_reply(struct node *node, struct node_id peer, const struct message *message);

/* Where the page is in the peer's frames; false: not known yet, and asked for. */
bool reads_find(struct node *node, struct node_id peer, struct page_id page,
		struct fabric_remote *remote);

/* ---- gates.c ---- */

int gates_open(struct node *node);
void gates_close(struct node *node);
void gates_set(struct node *node, struct page_id page, uint64_t gate);
void gates_collect(struct node *node, struct page_id page, struct node_id keep);
void gates_completed(struct node *node, const struct fabric_event *done);
/* True when there was something to post. */
bool gates_retry(struct node *node);
void gates_key_request(struct node *node, struct node_id peer, const struct message *message);
void gates_key_reply(struct node *node, struct node_id peer, const struct message *message);

/* The peer's gate of the page, and this node's sharer word; false: not known yet, and asked for. */
bool gates_find(struct node *node, struct node_id peer, struct page_id page,
		struct fabric_chain *chain);
/* This node's bit in that word. */
uint64_t gates_bit(const struct node *node);
/* Does the word say that the gate is open? */
bool gates_were_open(uint64_t word);

/* ---- fast.c ---- */

int fast_open(struct node *node);
void fast_close(struct node *node);
void fast_start(struct node *node, struct node_id peer, struct page_id page, bool add);
/* What the chain that has just ended has read is the page's frame now. */
void fast_take(struct node *node, struct page_id page);
void fast_completed(struct node *node, const struct fabric_event *done);
/* True when there was something to post. */
bool fast_retry(struct node *node);

/* ---- landing.c ---- */

int landing_open(struct node *node);
void landing_close(struct node *node);

/* A slot, from 1; 0: all are taken. */
unsigned int landing_get(struct node *node);
void landing_put(struct node *node, unsigned int slot);

/* Pages of the slot, as the local side of a read. */
struct fabric_local landing_local(struct node *node, struct link *link, unsigned int slot,
				  uint32_t first_page, uint32_t page_count);

/* From the slot into the frames of `run`. */
void landing_place(struct node *node, unsigned int slot, struct run run);

/* ---- waiter.c ---- */

void waiter_init(struct waiter *waiter);
struct token waiter_token(struct waiter *waiter);

/* Called with the lock, by whoever carries out CMD_COMPLETE. */
void waiter_complete(const struct command *command);

/* Until the waiter is completed: polls for a while, then sleeps. Without the lock. */
void waiter_wait(struct node *node, struct waiter *waiter);

/* As waiter_wait(), until clock_now_ns() says `due_ns`. False: it is not completed. */
bool waiter_wait_until(struct node *node, struct waiter *waiter, uint64_t due_ns);

/* Takes a local request to the engine, waits until it is over and returns its status. */
int node_call(struct node *node, struct event *event, struct waiter *waiter);

/* Offers an event until the engine has room for it. */
void node_offer(struct node *node, struct event *event);

/* ---- inline.c ---- */

int inline_open(struct node *node);
void inline_close(struct node *node);

/* Pages were shown, or will never come (`refused`): who waits for them tries again. With the lock.
 */
void inline_arrived(struct node *node, struct run run, bool refused);

/* Was the page refused: is an access to end in SIGBUS? Without the lock. */
bool inline_refused(const struct node *node, struct page_id page);

/* What a fault says of the access. */
enum inline_access {
	INLINE_LOAD = 1,
	INLINE_STORE,
	INLINE_UNKNOWN, /* a load; if that was not enough, a store */
};

/*
 * A fault of this thread, in its signal handler: returns when the access is worth another try.
 * While the thread sleeps it has the signal mask `mask`. Without the lock.
 */
void inline_fault(struct node *node, struct page_id page, enum inline_access access,
		  const sigset_t *mask);

/* ---- ahead.c: with the lock ---- */

int ahead_open(struct node *node);
void ahead_close(struct node *node);

/* Around the engine's step with a fault: ahead_fault() when the engine has taken it. */
void ahead_begin(struct node *node, struct page_id page);
void ahead_end(struct node *node);
void ahead_fault(struct node *node, struct page_id page, bool write);

/* How many pages of the run, from its first on, are to be shown now. 0: the first is not. */
uint32_t ahead_shown(struct node *node, struct run run);

/* Shows what was withheld of the run. */
void ahead_reveal(struct node *node, struct run run);

void ahead_advise(struct node *node, struct run run, enum advice advice);

/* ---- cache.c: with the lock ---- */

int cache_open(struct node *node);
void cache_close(struct node *node);

/* Pages have frames from now on, or none any more. */
void cache_arrived(struct node *node, struct run run);
void cache_left(struct node *node, struct run run);

/* Has copies given up if there are more than the budget allows. */
void cache_trim(struct node *node);

/* When cache_trim() is due though nothing comes or goes; UINT64_MAX: it is not. */
uint64_t cache_due_ns(const struct node *node);

/* Copies of pages that are at home elsewhere; 0 without a budget. */
uint64_t cache_pages(const struct node *node);

/* ---- region.c ---- */

/* Which page of the shared space `addr` lies in; false: it is not shared. */
bool region_page(const struct node *node, const void *addr, struct page_id *page);
bool region_offset(const struct node *node, const void *addr, uint64_t *offset);
void *region_address(const struct node *node, uint64_t offset);

/* The region of a page in use, by its index. */
uint32_t region_index(const struct node *node, struct page_id page);

enum region_kind {
	REGION_HEAP = 1, /* the heap allocates from it */
	REGION_PLAIN,
	REGION_UPDATE, /* as REGION_PLAIN, under write-update */
};

/* Collective. Returns 0 and the address, or a negative errno value with its text. */
int region_open(struct node *node, void *addr, size_t bytes, enum region_kind kind, void **out);

/*
 * Before this node says anything by which another may know what it has stored: all nodes see what
 * it has stored under write-update. -EHOSTDOWN: not all of it, pages are lost.
 */
int node_publish(struct node *node);

/* A collective call of all nodes, one at a time; `data` goes out on the root and in on the others.
 */
int node_collect(struct node *node, enum collect_op op, unsigned int root, int64_t *minimum,
		 void *data, uint16_t bytes);

/* ---- loss.c ---- */

/* A peer is gone: `status` 0 in order. May end the process. With the lock. */
void loss_peer_down(struct node *node, struct node_id peer, int status);

/* A peer broke the protocol. */
void loss_peer_broken(struct node *node, struct node_id peer, const char *what);

/* A peer says why it ends: another node was lost. */
void loss_told(struct node *node, struct node_id lost);

/* Pages cannot be had because a peer is lost: ends the process unless the job goes on at a loss. */
void loss_pages(struct node *node, struct node_id lost);

/* Other nodes have lost a peer that this one has not: it is lost for all. */
void loss_rumoured(struct node *node, struct node_id peer);

/* The process cannot go on; error_text() says why. */
__attribute__((noreturn)) void loss_fatal(const char *what);

/* Records what -EHOSTDOWN means now, and returns `status`. */
int loss_explain(struct node *node, const char *call, int status);

/* ---- table.c ---- */

/* Zeroed memory that costs nothing until it is touched; NULL with the reason for dsm_error(). */
void *table_open(size_t bytes);

/* NULL is allowed. */
void table_close(void *table, size_t bytes);

/* ---- backends.c ---- */

/* The fabric between processes of one host, and the one between hosts (NULL: not built in). */
const struct fabric_ops *backend_local(void);
const struct fabric_ops *backend_remote(void);
const struct pager_ops *backend_pager(void);

#endif
