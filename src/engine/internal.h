/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's insides, shared by its files and by nobody else.
 *
 *   engine.c     memory, the event switch, messages to oneself
 *   emit.c       commands; adjacent pages join into runs
 *   page.c       the holder's side: this node's pages (states, faults, invalidations, hold time)
 *   evict.c      copies that are given up for their memory, on both sides
 *   guess.c      pages that nobody may need: asked for, and granted or not, on both sides
 *   directory.c  the manager's side: who holds what, whom to recall it from, what to grant
 *   queue.c      requests that wait at the manager
 *   handover.c   managers that move: from the old owner to the new one
 *   fast.c       fast reads: clean pages without a message
 *   locate.c     finding a manager that moves with the page: hints, rounds, trails
 *   recover.c    when such a manager may be lost: a census, and another one in its place
 *   pin.c        pages that are held for system calls and devices
 *   update.c     the holder's side of write-update: what has changed, publishing, being updated
 *   publication.c  the manager's side of write-update: a new version goes to all holders
 *   home.c       which node is home to which unit
 *   call.c       calls under way: request out, reply awaited
 *   sync.c       locks, semaphores, condition variables, barriers at their manager
 *   kept.c       locks that this node keeps, which its threads take without a step
 *   heap.c       units of the shared heap, at node 0
 *   collect.c    collective calls, gathered at node 0
 *
 * All memory starts as zeros and zero means "nothing yet", so that tables as large as the space
 * cost nothing until they are used.
 */
#ifndef PERGOLA_ENGINE_INTERNAL_H
#define PERGOLA_ENGINE_INTERNAL_H

#include "base/assert.h"
#include "base/bitset.h"
#include "base/hash.h"
#include "engine/engine.h"
#include "engine/mutants.h"
#include "engine/rows.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* ---- page.c: this node's pages ---- */

enum page_pending {
	PENDING_NONE = 0,
	PENDING_READ_HOME, /* will ask when the home is known */
	PENDING_WRITE_HOME,
	PENDING_READ_ASKED,
	PENDING_WRITE_ASKED,
	PENDING_READ_FETCH, /* granted; bytes on their way */
	PENDING_WRITE_FETCH,
	/* Fast reads. A recall that comes meanwhile is kept in page_entry.peer until they end. */
	PENDING_READ_FAST, /* gate and page are read at the manager */
	PENDING_READ_FAR,  /* the page is read at its owner */
};

/* How far this node has come with giving a copy up; see evict.c. */
enum page_leave {
	LEAVE_NONE = 0,
	LEAVE_UNMAPPING, /* the pager is at work; the recall that `peer` names, if any, waits for it
			  */
	LEAVE_SHOWN,	 /* the same, but the page is mapped again */
	LEAVE_ASKED,	 /* the manager is asked whether the frame is needed */
};

#define VERSION_NONE ((UINT64_C(1) << 48) - 1) /* the frame holds nothing of use */

struct page_entry {
	/* Of the bytes in this node's frame; fresh frames are zeros, version 0. */
	uint64_t version : 48;
	/* A page whose manager moves: node id + 1 of who has it, as far as known; 0: the home. */
	uint64_t hint : 16;
	uint32_t held_until; /* low bits of microseconds, rounded up */
	/*
	 * Node id + 1, 0: none. While bytes are fetched, who granted them; while the pager is busy
	 * with a recall, who asked for it; of a page held for writing, the old manager, whose
	 * hand-over is still to come.
	 */
	uint16_t peer;
	uint8_t state : 2;	      /* enum page_state */
	uint8_t leave : 2;	      /* enum page_leave */
	uint8_t recall_downgrade : 1; /* the recall that `peer` asked for */
	uint8_t shared : 1;	/* this node's bit in the sharer words is set, or about to be */
	uint8_t updating : 1;	/* write-update: a CMD_UPDATE is under way */
	uint8_t protecting : 1; /* write-update: a CMD_DOWNGRADE, so that it can be published */
	uint8_t pending : 4;	/* enum page_pending */
	uint8_t adding : 1;	/* this node's bit is being added by the fast read under way */
	uint8_t guess : 1;	/* nobody waited for the page when it was asked for */
	uint8_t waited : 1;	/* a thread has faulted on the page that is pending */
	uint8_t turned : 1;	/* the hint was turned to a requester since this node asked */
};

static_assert(sizeof(struct page_entry) == 16, "one page costs 16 bytes");

/* An invalidation or downgrade put off until the page's hold time is over. */
struct deferral {
	struct page_id page;
	struct node_id manager;
	bool downgrade;
	uint64_t due_ns;
};

#define DEFERRALS_MAX 4096u

/* ---- directory.c: pages this node manages ---- */

enum directory_state {
	DIRECTORY_QUIET = 0,	 /* reads may be granted */
	DIRECTORY_DOWNGRADING,	 /* the owner is told to stop writing */
	DIRECTORY_INVALIDATING,	 /* holders are told to drop their copies */
	DIRECTORY_WRITE_GRANTED, /* a new owner is on its way; its confirmation is awaited */
	DIRECTORY_UPDATING,	 /* holders are told to read the owner's frame, which is newer */
	DIRECTORY_COLLECTING,	 /* the gate was closed; who has come through it? */
};

/*
 * One page at its manager. Followed in memory by the copy set: bit n says that node n may have the
 * page mapped, or has been granted it.
 *
 * Where managers move, an entry at another node than the manager has the requests that this node
 * keeps until it is the manager (`waiting`; those that the old manager hands over come to `granted`
 * first, last one first), and who was manager for certain at which version (`owner`, `version`).
 */
struct directory_entry {
	uint64_t version : 48;
	/* Node id + 1: it gave up its copy for the write under way, and its frame has `version`. */
	uint64_t spare : 16;
	uint32_t granted; /* requests granted and not confirmed: index + 1, linked */
	uint32_t
		waiting_head; /* requests not granted: index + 1, linked, first come first served */
	uint32_t waiting_tail;
	uint16_t owner; /* node id + 1; 0: this node (whose frame, like all, is zeros) */
	uint8_t state;	/* enum directory_state */
	uint8_t flags;
};

#define DIRECTORY_EXCLUSIVE 1u /* the owner may be writing */
#define DIRECTORY_LOST 2u      /* the only copy went down with its owner */
#define DIRECTORY_RETURNING                                                                        \
	8u		      /* the owner wants to go: the home, when it confirms, is the owner   \
			       */
#define DIRECTORY_MIXED 16u   /* grants may be out that name another frame than the owner's */
#define DIRECTORY_ORPHANED 4u /* INVALIDATING for a writer that is lost, UPDATING from one */
#define DIRECTORY_OPEN 32u    /* the gate: nodes may read the page without a message */
#define DIRECTORY_SHARED 64u  /* INVALIDATING: some of the copy set may have no copy */

/* A page request at its manager, from its arrival until it is confirmed or refused. */
struct request {
	struct page_id page;
	struct node_id node;
	bool write;
	bool held;     /* it had a copy already when it was granted */
	uint8_t tries; /* other copies it was sent to */
	uint16_t hops; /* nodes that sent it on */
	uint32_t tag;  /* the requester's name for it */
	uint32_t next; /* index + 1 */
};

/* ---- locate.c and recover.c: managers that move ---- */

/* How a page that is asked for is looked for now. */
enum seek_phase {
	SEEK_NONE = 0,
	SEEK_HINT,    /* along hints */
	SEEK_ROUND,   /* of all nodes at once */
	SEEK_TRAIL,   /* along certain knowledge */
	SEEK_RECOVER, /* of the node that is to replace a lost manager */
	SEEK_RETRY,   /* a round when the timer says so */
};

/* One page; used only where managers move. */
struct seek {
	uint32_t tag;	      /* of the request under way */
	uint16_t missing;     /* answers that say "not here", until something else is tried */
	uint8_t phase;	      /* enum seek_phase */
	uint8_t census_flags; /* TOLD_..., of all answers */
	/* A census that this node takes. Its copy set is put together in the directory entry. */
	uint32_t census_tag;
	uint16_t census_missing;
	uint16_t census_losses; /* those known when it began */
	uint64_t census_version;
};

/* Adjacent pages that are to be asked for of all nodes, when the step ends. */
struct round {
	struct page_id page;
	uint32_t page_count; /* 0: none */
	uint32_t tag;
	uint16_t home; /* as in struct message_request */
	bool write;
};

/* ---- home.c ---- */

/* What node 0 knows of a unit, besides its home ... */
#define UNIT_FIRST_TOUCH 1u
#define UNIT_CYCLIC 2u
/* ... and what all nodes know: its pages are under write-update. */
#define UNIT_UPDATE 4u

struct unit_entry {
	uint16_t home; /* node id + 1; 0: not known here (at node 0: not decided) */
	uint8_t flags;
	uint8_t queried; /* a HOME_QUERY for it is under way */
};

/* A thread of this node that asks for a unit's home. */
struct home_waiter {
	struct token token; /* 0: free */
	uint64_t unit;
};

#define HOME_WAITERS_MAX 64u

/* ---- pin.c ---- */

struct pin {
	struct page_id page;
	uint32_t readers; /* pins of each kind */
	uint32_t writers;
	uint32_t next; /* index + 1: in the bucket, or free */
	struct node_id manager;
	bool recalled; /* a recall of `manager` is put off */
	bool downgrade;
};

/* A thread that waits for its page. */
struct pin_waiter {
	struct token token;
	struct page_id page;
	bool write;
};

#define PIN_BUCKETS 1024u
#define PIN_WAITERS_MAX 256u

struct pin_state {
	uint32_t buckets[PIN_BUCKETS]; /* index + 1 of pins */
	struct pin pins[PINNED_MAX];
	uint32_t free;
	uint32_t fresh;
	uint32_t recalled_count;
	uint32_t waiter_count;
	struct pin_waiter waiters[PIN_WAITERS_MAX];
};

/* ---- update.c ---- */

/* A page that this node may have changed since it was last published. Links are page + 1. */
struct update_link {
	uint64_t ticket; /* counts up in the order of the list; 0: not in it */
	uint32_t next;
	uint32_t previous;
};

/* A thread that waits until the changed pages up to `ticket` are published. */
struct update_waiter {
	struct token token;
	uint64_t ticket;
	int status;
};

struct update_state {
	struct update_link *links; /* one a page */
	uint32_t first;
	uint32_t last;
	uint32_t cursor;	       /* the first page that was not looked at yet; 0: none */
	uint64_t ticket;	       /* the latest one given */
	uint64_t goal;		       /* pages up to this one are to be published */
	uint32_t moving;	       /* pages of the list that are not writable any more */
	uint32_t fetch_count;	       /* pages that are `updating` */
	struct update_waiter *waiters; /* a ring of config.calls, in the order of their tickets */
	uint32_t waiter_head;
	uint32_t waiter_count;
	bool unpublished; /* pages were lost that nobody waited for */
};

/* ---- call.c ---- */

/* A local call that waits for a reply from `peer`. */
struct call {
	struct token token; /* 0: free */
	struct node_id peer;
	bool superblock;     /* heap.c: blocks will be allocated from the unit */
	bool lock;	     /* sync.c: asks for a lock, which may be kept */
	uint32_t unit_count; /* heap.c: units asked for; 0: another kind of call */
	uint32_t next_free;  /* index + 1 */
	uint32_t lock_thread;
	uint64_t lock_name;
};

/* ---- collect.c ---- */

struct collect_state {
	/* On every node: the call under way. */
	struct token token;
	uint32_t sequence;
	/* At node 0. */
	uint32_t arrived_count;
	struct message_collect sum;
	bool disagree;
};

/* ---- sync.c ---- */

/* A thread that waits, or one that reads a reader-writer lock. */
struct seat {
	uint32_t next; /* index + 1, of the queue, of the readers or of the free ones */
	uint32_t slot; /* what to reply to */
	uint32_t thread;
	uint16_t node;
	uint16_t wish; /* enum seat_wish */
};

/* What a seat in a queue waits for. */
enum seat_wish {
	WISH_WRITE = 0, /* or, of others than locks, whatever there is */
	WISH_READ,
	WISH_TRY,     /* to hold the lock, or to hear that it is held */
	WISH_DESTROY, /* to destroy the lock, or to hear that it is held */
};

/* How a lock is granted: the value of the reply. */
#define GRANT_PLAIN 0u	  /* the release is asked for */
#define GRANT_KEEP 1u	  /* the node may keep it until it is recalled */
#define GRANT_RECALLED 2u /* it is to be returned at the release */

struct sync_object {
	uint64_t name;
	uint32_t chain; /* next in its bucket; of a free object, the next free one: index + 1 */
	uint32_t next;	/* all objects, for the walk at a loss: index + 1 */
	uint32_t previous;
	uint32_t wait_head; /* seats: index + 1 */
	uint32_t wait_tail;
	uint32_t wait_count;
	uint32_t hasty_count; /* of those: WISH_TRY, WISH_DESTROY */
	uint32_t readers;
	uint32_t value; /* a semaphore's count, a barrier's size */
	uint32_t holder_thread;
	uint16_t holder_node;
	uint8_t kind;
	bool held;	 /* by the holder, for writing; a lock: or its node keeps it */
	bool recalled;	 /* held: it comes back at the release, or as soon as that can be */
	bool certain;	 /* held, and recalled: by a thread */
	bool owner_dead; /* a node that held it is lost */
};

/* ---- kept.c: locks that this node keeps ---- */

#define KEPT_WAYS 7u
#define KEPT_SETS_MAX 512u

/* A cache line. Changed without the node's lock too: see kept.c. */
struct kept_set {
	_Atomic uint64_t words[KEPT_WAYS];
	_Atomic uint64_t calls; /* operations without a step of the engine */
};

static_assert(sizeof(struct kept_set) == 64, "a set is a cache line");

/* What becomes of an operation on a lock that may be kept here. */
enum kept {
	KEPT_NOT = 0, /* it is not */
	KEPT_TAKEN,   /* nobody held it; the thread holds it now */
	KEPT_MINE,    /* the thread held it already, or has left it */
	KEPT_OTHERS,  /* another thread holds it, or none, when it was to be left */
	KEPT_GONE,    /* it is not kept any more, and to be returned */
};

#define KEPT_NAME_NONE UINT64_MAX

struct sync_state {
	struct kept_set *kept;
	uint32_t kept_count;   /* a power of two */
	uint32_t *buckets;     /* objects: index + 1 */
	uint32_t bucket_count; /* a power of two */
	struct sync_object *objects;
	uint32_t object_free;
	uint32_t object_fresh;
	uint32_t object_first;
	struct seat *seats;
	uint32_t seat_free;
	uint32_t seat_fresh;
	uint32_t waiting_count;
	uint32_t waiting_limit;
	uint32_t reading_count;
	uint32_t reading_limit;
};

struct heap_state; /* heap.c */

struct engine {
	struct engine_config config;
	struct engine_stats stats;
	unsigned int set_words; /* of a copy set */
	uint64_t now_ns;
	struct commands *out; /* of the step under way */

	/* Messages to oneself: a FIFO, produced by emit_send(), consumed by the step's loop. */
	struct message *loop;
	uint32_t loop_head;
	uint32_t loop_count;

	struct page_entry *pages;
	uint32_t pending_count; /* pages with pending != PENDING_NONE */
	uint32_t waited_count;	/* of those, pages with `waited` */
	uint32_t leave_count;	/* pages with leave != LEAVE_NONE */
	struct deferral *deferrals;
	uint32_t deferral_head;
	uint32_t deferral_count;
	uint32_t pager_count;	/* CMD_INVALIDATE and CMD_DOWNGRADE pages not done */
	uint32_t collect_count; /* CMD_COLLECT not done */
	struct update_state update;

	unsigned char *directory; /* directory_entry + copy set, for every page */
	size_t directory_stride;
	uint64_t *publications; /* publication.c: two sets of nodes for every page */
	struct request *requests;
	uint32_t request_limit;
	uint32_t request_free;	/* index + 1 of released ones, linked */
	uint32_t request_fresh; /* never used from here on */
	uint32_t request_count;

	/* Managers that move. */
	struct seek *seeks;
	struct round round;
	uint32_t tag; /* the latest given to a request */
	uint32_t rumour_count;
	uint64_t seek_page;   /* next page for another try ... */
	uint64_t seek_end;    /* ... and where that stops; equal: none under way */
	uint64_t retry_first; /* pages in SEEK_RETRY lie from here ... */
	uint64_t retry_end;   /* ... to here; equal: none */
	uint64_t retry_due_ns;
	uint64_t rumoured[NODES_MAX / 64]; /* lost, others say; not heard of here */
	uint16_t heard[NODES_MAX];	   /* losses that each node says it has heard of */
	uint16_t loss_count;
	bool tag_used; /* `tag` was given in the step under way */
	bool seek_all; /* another try for all pages asked for, not only those in SEEK_RETRY */

	struct unit_entry *units;
	uint64_t unit_limit;
	struct home_waiter home_waiters[HOME_WAITERS_MAX];
	uint32_t home_waiter_count;

	struct call *calls;
	uint32_t call_free;
	uint32_t call_fresh;
	uint32_t call_count;

	struct collect_state collect;

	uint64_t down[NODES_MAX / 64]; /* nodes that are lost */
	bool any_down;
	struct node_id last_down;
	uint64_t repair_page; /* next page for the directory's repair after a loss ... */
	uint64_t repair_end;  /* ... and where it stops; equal: none under way */
	uint64_t region_end;  /* pages in use lie below */

	struct sync_state *sync;
	struct heap_state *heap;
	struct pin_state pin;
};

/* ---- emit.c ---- */

/* Messages to oneself that wait at one time, at most. */
#define LOOP_MAX (RUN_MAX * 1024u)

/*
 * The pointer is good until the next emit. Messages to this node itself are put in the loop and
 * handled within the same step, after the handler that emitted them returns.
 */
void emit_send(struct engine *engine, struct node_id peer, const struct message *message);
void emit_run(struct engine *engine, struct node_id peer, enum message_kind kind,
	      struct page_id page, struct node_id about);
void emit_request(struct engine *engine, struct node_id peer, enum message_kind kind,
		  struct page_id page, const struct message_request *like);
void emit_absent(struct engine *engine, struct node_id peer, struct page_id page, uint32_t tag,
		 struct message_known known);
void emit_flagged_run(struct engine *engine, struct node_id peer, enum message_kind kind,
		      struct page_id page, struct node_id about, uint32_t flags);
void emit_fast_read(struct engine *engine, struct node_id peer, struct page_id page, bool add);
void emit_gate(struct engine *engine, struct page_id page, uint64_t word);
void emit_collect(struct engine *engine, struct page_id page, struct node_id keep);
/* A grant, or an update, which says the same: whose frame has which version. */
void emit_grant(struct engine *engine, struct node_id peer, enum message_kind kind,
		struct page_id page, struct node_id owner, uint64_t version);
/* Joins pages of any numbers. */
void emit_pages(struct engine *engine, struct node_id peer, enum message_kind kind,
		struct page_id page);
void emit_page(struct engine *engine, enum command_kind kind, struct page_id page,
	       struct node_id peer);
void emit_lose(struct engine *engine, struct node_id peer);
void emit_complete(struct engine *engine, struct token token, int status, uint64_t value);
void emit_complete_data(struct engine *engine, struct token token, int status, uint64_t value,
			const uint8_t *data, uint16_t bytes);

/* ---- call.c ---- */

/* Opens a call to `peer`; returns its slot, or UINT32_MAX when all are taken. */
uint32_t call_open(struct engine *engine, struct node_id peer, struct token token);

/* The reply has come, or never will: forgets the call and completes its token. -EPROTO: no such. */
int call_finish(struct engine *engine, struct node_id from, uint32_t slot, int status,
		uint64_t value);

/* Forgets a call without completing it. */
void call_cancel(struct engine *engine, uint32_t slot);

/* Completes every call to a lost peer with -EHOSTDOWN. */
void call_peer_down(struct engine *engine, struct node_id peer);

/* Answers a call of `peer` (which may be this node). */
void call_reply(struct engine *engine, struct node_id peer, uint32_t slot, int status,
		uint64_t value);

/* ---- page.c ---- */

int page_fault(struct engine *engine, const struct event *event);
int page_prefetch(struct engine *engine, const struct event *event);
void page_home_known(struct engine *engine, uint64_t unit);
int page_granted(struct engine *engine, struct node_id from, const struct message *message);
int page_refused(struct engine *engine, struct node_id from, const struct message_run *run);
int page_recalled(struct engine *engine, struct node_id from, const struct message_run *run,
		  bool downgrade);
void page_read_done(struct engine *engine, const struct event *event);
void page_pager_done(struct engine *engine, const struct event *event);
void page_timer(struct engine *engine);
void page_peer_down(struct engine *engine, struct node_id peer);
uint64_t page_timer_ns(const struct engine *engine);

/* Can the page be asked for, or has it been? Else as many are asked for as may be. */
bool page_room(struct engine *engine, struct page_id page);
/* Asks for a page that is not asked for already. With room. */
void page_want(struct engine *engine, struct page_id page, bool write);
/* Carries out a recall now; unless the page is pinned. */
void page_recall(struct engine *engine, struct page_id page, struct node_id manager,
		 bool downgrade);

/* Has the page been asked for, for writing or reading as `write` says, and not been granted? */
bool page_asked(const struct engine *engine, struct page_id page, bool write);

/* Asks for a page for reading, without which this node can do; or not. With room. */
void page_guess(struct engine *engine, struct page_id page);
/* A thread has waited for the page, which is not asked for: it is, for reading. */
void page_want_waited(struct engine *engine, struct page_id page);
/* The page is not asked for any more. True: a thread waits for it. */
bool page_forget(struct engine *engine, struct page_id page);

/* Answers a recall. */
/* Has it come so lately that it is to stay for a moment? */
bool page_fresh(const struct engine *engine, struct page_id page);

/* ---- evict.c ---- */

void evict_event(struct engine *engine, const struct event *event);
/* True: the page is being unmapped; the recall is answered when it is. */
bool evict_recalled(struct engine *engine, struct page_id page, struct node_id manager,
		    bool downgrade);
/* The pager is done. True: with unmapping the page for that. */
bool evict_unmapped(struct engine *engine, struct page_id page);
/* The page was granted to this node. */
void evict_granted(struct engine *engine, struct page_id page);
int evict_asked(struct engine *engine, struct node_id from, const struct message_pages *pages);
int evict_answered(struct engine *engine, struct node_id from, const struct message_pages *pages,
		   bool gone);
int evict_take(struct engine *engine, struct node_id from, const struct message_pages *pages);
/* At the manager: `from` has the page now for reading. */
void evict_read_confirmed(struct engine *engine, struct directory_entry *entry, struct page_id page,
			  struct node_id from);
void evict_peer_down(struct engine *engine, struct node_id peer);

/* ---- guess.c ---- */

int guess_ask(struct engine *engine, struct run run);
int guess_declined(struct engine *engine, struct node_id from, const struct message_run *run);
int guess_request(struct engine *engine, const struct message_request *request);

/* For fast.c and guess.c. */
void page_set_pending(struct engine *engine, struct page_id page, enum page_pending pending);
/* Asks a manager that stays where it is, or fails if it is lost. */
void page_ask(struct engine *engine, struct page_id page, bool write, struct node_id manager);
/* The page is here, and shown. */
void page_show(struct engine *engine, struct page_id page, enum page_state state);
/* Answers a recall. `empty`: there was no copy. */
void page_acknowledge(struct engine *engine, struct node_id manager, struct page_id page,
		      bool downgrade, bool empty);

/* ---- fast.c ---- */

bool fast_possible(const struct engine *engine, struct page_id page, struct node_id manager);
/* Reads the page at its manager. */
void fast_ask(struct engine *engine, struct page_id page, struct node_id manager);
void fast_done(struct engine *engine, const struct event *event);
/* The read of PENDING_READ_FAR is over. */
void fast_far_done(struct engine *engine, struct page_id page, int status);
/* This node's bit was cleared by the manager. */
void fast_cleared(struct engine *engine, struct page_id page);
/*
 * A recall of a page that this node does not have: it is answered when the fast read under way is
 * over, or at once. False: it has the page.
 */
bool fast_recalled(struct engine *engine, struct page_id page, struct node_id manager);

/* ---- directory.c ---- */

int directory_request(struct engine *engine, struct node_id from,
		      const struct message_request *request, bool write);
/* Has the request wait for the page here. False: the table of requests is full. */
bool directory_take(struct engine *engine, const struct message_request *request,
		    struct page_id page, bool write);
int directory_declined(struct engine *engine, struct node_id from, const struct message_run *run);
int directory_confirmed(struct engine *engine, struct node_id from, const struct message_run *run);
int directory_fetch_failed(struct engine *engine, struct node_id from,
			   const struct message_run *run);
int directory_recalled(struct engine *engine, struct node_id from, const struct message_run *run,
		       bool downgrade);
void directory_collected(struct engine *engine, const struct event *event);
void directory_peer_down(struct engine *engine, struct node_id peer);
/* Serves what can be served now. Called after every change to the entry. */
void directory_pump(struct engine *engine, struct directory_entry *entry, struct page_id page);
bool directory_repairing(const struct engine *engine);
void directory_repair(struct engine *engine);

/* ---- handover.c ---- */

/* This node waits for a hand-over from a manager that is lost: it has the page now. */
void handover_settle(struct engine *engine, struct page_id page);
/* Sends the requests that wait at this node back to who made them. */
void handover_send_back(struct engine *engine, struct page_id page);
int handover_queue(struct engine *engine, struct node_id from, const struct message_queue *queue);
int handover_run(struct engine *engine, struct node_id from, const struct message_run *run);
/* `node` was manager of the page when its version was `version`. */
void handover_note(struct engine *engine, struct page_id page, struct message_known known);
/* The latest that is known of that here. */
struct message_known handover_known(const struct engine *engine, struct page_id page);
/* For a census: forgets and adds holders of a page that is managed elsewhere. */
void handover_census(struct engine *engine, struct page_id page);
void handover_census_holder(struct engine *engine, struct page_id page, struct node_id holder);
/* The census is over: this node takes the lost manager's place. */
void handover_recover(struct engine *engine, struct page_id page, uint64_t version,
		      struct node_id lost);

/* ---- locate.c ---- */

/* Asks for a page that is PENDING_*_ASKED now. */
void locate_ask(struct engine *engine, struct page_id page);
/* The page was granted or refused: what it was asked for with is forgotten. */
void locate_end(struct engine *engine, struct page_id page);
/* Another try: a round, or this node itself if it manages the page now. */
void locate_again(struct engine *engine, struct page_id page);
int locate_request(struct engine *engine, struct node_id from, const struct message *message);
int locate_absent(struct engine *engine, struct node_id from, const struct message_absent *absent);
/* Sends the round that the step has put together. */
void locate_flush(struct engine *engine);
/* All nodes have heard of all losses: whatever was asked for is asked for once more. */
void locate_all_again(struct engine *engine);
void locate_timer(struct engine *engine);
uint64_t locate_timer_ns(const struct engine *engine);
uint32_t locate_tag(struct engine *engine, uint32_t other_than);

/* ---- recover.c ---- */

void recover_peer_down(struct engine *engine, struct node_id peer);
int recover_heard(struct engine *engine, struct node_id from, const struct message_run *run);
/* Who is to replace lost managers: the first node that is left. */
struct node_id recover_node(const struct engine *engine);
/* Takes a census of the page, unless it is too early, or one is under way. */
void recover_census(struct engine *engine, struct page_id page);
int recover_seek(struct engine *engine, struct node_id from, const struct message_request *request);
int recover_told(struct engine *engine, struct node_id from, const struct message_told *told);

/* ---- pin.c ---- */

int pin_event(struct engine *engine, const struct event *event);
void pin_cancel(struct engine *engine, const struct event *event);
void pin_release(struct engine *engine, const struct event *event);
/* True: the page is pinned; the recall will be carried out when it is not. */
bool pin_puts_off(struct engine *engine, struct page_id page, struct node_id manager,
		  bool downgrade);
/* The page was shown (0), or refused: who waits for it has it pinned, or fails with `status`. */
void pin_settle(struct engine *engine, struct page_id page, int status);
/* The page is not asked for: those who still wait for it have that done. */
void pin_want(struct engine *engine, struct page_id page);
/* Is it pinned, or a recall of it put off? */
bool pin_holds(struct engine *engine, struct page_id page);
bool pin_quiet(const struct engine *engine);

/* ---- update.c ---- */

/* The page, which is under write-update, has become writable; the manager wants that to end. */
void update_writable(struct engine *engine, struct page_id page);
void update_recalled(struct engine *engine, struct page_id page);
int update_publish(struct engine *engine, const struct event *event);
int update_published(struct engine *engine, struct node_id from, const struct message_run *run);
int update_arrived(struct engine *engine, struct node_id from, const struct message_grant *update);
void update_done(struct engine *engine, const struct event *event);
/* The pager has made the page read-only. */
void update_protected(struct engine *engine, struct page_id page, struct node_id manager);
/* Goes on with what is to be published. */
void update_advance(struct engine *engine);
void update_peer_down(struct engine *engine, struct node_id peer);
bool update_quiet(const struct engine *engine);

/* ---- publication.c ---- */

void publication_begin(struct engine *engine, struct directory_entry *entry, struct page_id page);
int publication_updated(struct engine *engine, struct node_id from, const struct message_run *run);
int publication_failed(struct engine *engine, struct node_id from, const struct message_run *run);
int publication_dropped(struct engine *engine, struct node_id from, struct page_id page);
void publication_mend(struct engine *engine, struct directory_entry *entry, struct page_id page);

/* ---- home.c ---- */

/* Does the page's manager move with it? Else it is its home, or node 0. */
bool home_moves(const struct engine *engine, struct page_id page);

/* Is this node the manager of the page, which moves? */
bool home_here(const struct engine *engine, struct page_id page);

/* Is this node to be the manager of the page, which moves, as soon as it is handed over? */
bool home_coming(const struct engine *engine, struct page_id page);

/* A request says that `home` (node id + 1) is the page's home. */
void home_learn(struct engine *engine, struct page_id page, uint16_t home);

/* The page's manager, if its home is known here. One that moves: as far as this node knows. */
bool home_known(const struct engine *engine, struct page_id page, struct node_id *manager);

/* As home_known(); if it is not known it is asked for, as of the node that touches the page. */
bool home_manager(struct engine *engine, struct page_id page, struct node_id *manager);

/*
 * Does this node manage the page that a peer asks it for? The peer knows it from node 0, this node
 * may hear it here first.
 */
bool home_adopt(struct engine *engine, struct page_id page);
/* A node has asked this node, its manager, for a page: under a central manager the unit's home is
 * decided now (a fixed one was found out by asking for the home). */
void home_touched(struct engine *engine, struct page_id page, struct node_id toucher);

int home_event(struct engine *engine, const struct event *event);
void home_query(struct engine *engine, struct node_id from, const struct message_home_query *query);
int home_reply(struct engine *engine, struct node_id from, const struct message_home_reply *reply);
void home_peer_down(struct engine *engine, struct node_id peer);

/* At node 0: gives a fresh unit its home, or says how it is to get one. Homes never change. */
void home_assign(struct engine *engine, uint64_t unit, struct node_id home);
void home_assign_later(struct engine *engine, uint64_t unit, uint8_t flags);
/* At node 0: is the home of `unit` decided (then `home` is set), or its way of being decided? */
bool home_decided(const struct engine *engine, uint64_t unit, struct node_id *home);

/* ---- sync.c ---- */

size_t sync_bytes(const struct engine_config *config);
void sync_init(struct engine *engine, void *memory);
int sync_event(struct engine *engine, const struct event *event);
int sync_request(struct engine *engine, struct node_id from,
		 const struct message_sync_request *request);
/* A lock that this node asked for is granted, GRANT_...: -EPROTO if that cannot be. */
int sync_granted(struct engine *engine, const struct call *call, uint64_t how);
int sync_recalled(struct engine *engine, struct node_id from, uint64_t name);
void sync_peer_down(struct engine *engine, struct node_id peer);
bool sync_quiet(const struct engine *engine);

/* ---- kept.c ---- */

size_t kept_bytes(const struct engine_config *config);
void kept_init(struct engine *engine, void *memory);
enum kept kept_take(struct engine *engine, uint64_t name, uint32_t thread);
enum kept kept_leave(struct engine *engine, uint64_t name, uint32_t thread);
bool kept_known(const struct engine *engine, uint64_t name);
/*
 * The lock is kept from now on, held by the thread. False: there is no room for it. `gone` is
 * another lock that had to make room and is to be returned, or KEPT_NAME_NONE.
 */
bool kept_add(struct engine *engine, uint64_t name, uint32_t thread, bool recalled, uint64_t *gone);
/* KEPT_GONE now, or when its thread leaves it: KEPT_OTHERS. */
enum kept kept_recall(struct engine *engine, uint64_t name);
/* As if all those locks were recalled; nobody is told. */
void kept_forget(struct engine *engine, bool (*about)(const struct engine *, uint64_t name));

/* ---- heap.c ---- */

size_t heap_bytes(const struct engine_config *config);
void heap_init(struct engine *engine, void *memory);
int heap_event(struct engine *engine, const struct event *event);
void heap_region(struct engine *engine, const struct event *event);
int heap_request(struct engine *engine, struct node_id from,
		 const struct message_heap_request *request);
int heap_release(struct engine *engine, struct node_id from,
		 const struct message_heap_release *release);
int heap_free(struct engine *engine, struct node_id from, const struct message_heap_free *frees);
/* The units that `call` asked for are had, from `unit` on. -EPROTO: there are no such units. */
int heap_granted(struct engine *engine, const struct call *call, uint64_t unit);

/* ---- collect.c ---- */

int collect_event(struct engine *engine, const struct event *event);
int collect_arrived(struct engine *engine, struct node_id from,
		    const struct message_collect *collect);
int collect_done(struct engine *engine, struct node_id from, const struct message_collect *collect);
void collect_peer_down(struct engine *engine, struct node_id peer);

static inline bool engine_down(const struct engine *engine, struct node_id node)
{
	return bitset_test(engine->down, node.value);
}

/* Does any page have a manager that moves? */
static inline bool engine_moves(const struct engine *engine)
{
	return engine->config.manager == MANAGER_BROADCAST ||
	       engine->config.manager == MANAGER_DYNAMIC;
}

/* Are clean pages read without a message? Under write-update, and where managers move, never. */
static inline bool engine_fast(const struct engine *engine)
{
	return engine->config.fast_read && !engine_moves(engine) && engine->config.node_count > 1;
}

static inline uint64_t page_unit(struct page_id page)
{
	return page.value / UNIT_PAGES;
}

/* Is the page under write-update? Else under write-invalidate. */
static inline bool engine_updates(const struct engine *engine, struct page_id page)
{
	return (engine->units[page_unit(page)].flags & UNIT_UPDATE) != 0;
}

#endif
