/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster in one thread. The engines and the wire code are the real ones; network, pager, threads
 * and time are here, and every choice among what could happen next comes from one seed. What is
 * checked, and when, is in check.c.
 *
 *   world.c   a cluster from a seed; its life: work, come to rest, check, again
 *   act.c     what can happen next, and the choice
 *   net.c     channels of encoded messages, one-sided reads in pieces, crashes
 *   fast.c    gates and sharer words, chains of one-sided operations
 *   node.c    one engine: events in, commands carried out; the simulated pager
 *   thread.c  the program: loads, stores, prefetches, what a thread does next
 *   pin.c     pages held for system calls
 *   call.c    calls: homes, collective calls, synchronisation objects, units of the heap
 *   check.c   what must hold after every step, and at rest
 *   updates.c the same for pages under write-update
 *   trace.c   readable lines; failing
 *   bag.c     unordered sets
 */
#ifndef PERGOLA_TESTS_SIM_H
#define PERGOLA_TESTS_SIM_H

#include "base/prng.h"
#include "engine/engine.h"

#define SIM_NODES_MAX 130u
#define SIM_UNITS 4u
#define SIM_PAGES (SIM_UNITS * UNIT_PAGES)
#define SIM_THREADS_MAX 3u
#define SIM_HOT_MAX 128u
#define SIM_PINS_MAX 4u
#define SIM_SET_WORDS ((SIM_NODES_MAX + 63) / 64)

enum sim_mode {
	MODE_PAGES = 0, /* a few nodes, nothing breaks */
	MODE_LOSS,	/* a few nodes, some crash */
	MODE_MANY,	/* more than 64 nodes: copy sets of several words */
	MODE_PINS,	/* a few nodes pin pages; in half of the worlds some crash */
	MODE_UPDATE,	/* some units are under write-update; in some worlds nodes crash */
	MODE_END,
};

/* ---- bag.c ---- */

struct bag {
	void *items;
	size_t item_bytes;
	size_t count;
	size_t capacity;
};

void *bag_add(struct bag *bag); /* room for one more; pointers into the bag are void after it */
void *bag_at(struct bag *bag, size_t index);
void bag_remove(struct bag *bag, size_t index); /* the last one takes its place */
void bag_clear(struct bag *bag);

/* ---- what a world is made of ---- */

/* A page's bytes: every store writes both halves, every copy moves one at a time. */
struct frame {
	uint64_t half[2];
};

struct packet {
	struct packet *next;
	size_t bytes;
	unsigned char data[MESSAGE_MAX];
};

/* From one node to another: first in, first out. */
struct channel {
	struct packet *head;
	struct packet *tail;
	uint32_t count;
	uint32_t place; /* in world.busy, + 1; 0: empty */
};

/* A one-sided read under way. */
struct read_op {
	struct node_id node;
	struct node_id peer;
	struct run run;
	uint32_t halves; /* copied so far */
	bool fails;
	bool update;		      /* for threads that read meanwhile: */
	uint32_t placed;	      /* halves, after all were copied */
	struct frame bounce[RUN_MAX]; /* ... to here */
};

/* A CMD_FAST_READ under way: of the four parts, those done so far. */
struct fast_op {
	struct node_id node;
	struct node_id peer;
	struct page_id page;
	bool add;
	bool refused; /* nothing of it is ever done */
	bool fails;
	unsigned int done; /* the bit is added, the gate read, and each half of the page */
	uint64_t gate;
	struct frame landed;
};

#define FAST_PARTS 4u

/* A CMD_COLLECT under way: first all words are fetched, then cleared. */
struct sharers_op {
	struct node_id node;
	struct page_id page;
	struct node_id keep;
	unsigned int done; /* words fetched, then words cleared */
	uint64_t seen[SIM_SET_WORDS];
};

/* A CMD_INVALIDATE or CMD_DOWNGRADE whose EV_PAGER_DONE is still to come. */
struct pager_op {
	struct node_id node;
	struct run run;
	bool downgrade;
	bool applied;
};

struct fault {
	struct node_id node;
	struct page_id page;
	bool write;
};

/* A survivor that has not heard of a loss. */
struct notice {
	struct node_id dead;
	struct node_id survivor;
	bool before_reads; /* it comes while reads of the dead one's frames are still to fail */
};

enum thread_state {
	THREAD_IDLE = 0,
	THREAD_ACCESS, /* about to load or store */
	THREAD_FAULTED,
	THREAD_CALL,
};

enum thread_call {
	CALL_HOME = 1,
	CALL_COLLECT,
	CALL_ACQUIRE, /* of thread.object */
	CALL_RELEASE,
	CALL_ENLIST,
	CALL_SIGNAL, /* waits to be signalled */
	CALL_NOTIFY,
	CALL_BARRIER,
	CALL_PUBLISH,
	CALL_ALLOC,
	CALL_UNITS_FREE,
	CALL_PIN,
};

/* Synchronisation objects of every world. */
enum object_name {
	OBJECT_LOCK = 0,
	OBJECT_OTHER_LOCK,
	OBJECT_RWLOCK,
	OBJECT_SEM,
	OBJECT_COND,
	OBJECT_BARRIER,
	OBJECT_COUNT,
};

/* Who is inside, from the completion of the acquisition to the beginning of the release. */
struct object {
	unsigned int writers; /* or holders of a semaphore */
	unsigned int readers;
	bool writer_dead; /* crashed inside */
	bool reader_dead;
};

/* A passing of the barrier. */
struct passing {
	uint32_t left;
	uint32_t ones;
};

#define PASSINGS_MAX 64u

struct unit {
	bool allocated;
	uint16_t superblock_of; /* node id + 1 */
	uint32_t first_count;	/* of an allocation that starts here; 0: none does */
	uint64_t frees_sent;	/* sums of block offsets */
	uint64_t frees_seen;
};

struct thread {
	enum thread_state state;
	enum thread_call call;
	struct page_id page;
	bool write;
	uint64_t token;
	uint64_t signal; /* token of the signal waited for, 0: none */
	bool inside;	 /* of `object` */
	bool inside_read;
	enum object_name object;
	unsigned int accesses_left; /* inside, or of pinned pages */
	struct page_id pins[SIM_PINS_MAX];
	unsigned int pins_wanted; /* 0: it does not pin */
	unsigned int pins_held;	  /* of those, from the first */
	bool pin_write;
	bool impatient;			/* it will give up the pin it waits for */
	bool published;			/* what comes next may be seen by others */
	uint64_t publishing[SIM_PAGES]; /* what is to be seen when CALL_PUBLISH is over */
};

struct node {
	struct engine *engine;
	void *memory;
	size_t memory_bytes;
	bool alive;
	uint32_t collect_entered;
	uint32_t barrier_entered;
	uint8_t mapping[SIM_PAGES]; /* enum page_state: what the pager shows */
	bool refused[SIM_PAGES];
	uint8_t read_pins[SIM_PAGES];
	uint8_t write_pins[SIM_PAGES];
	struct frame frames[SIM_PAGES];
	uint64_t gates[SIM_PAGES];
	uint64_t sharers[SIM_PAGES][SIM_SET_WORDS];
	/* Of pages under write-update: */
	struct frame seen[SIM_PAGES]; /* the newest of each half that was loaded here */
	uint64_t stored[SIM_PAGES];   /* the latest store of this node */
	struct thread threads[SIM_THREADS_MAX];
};

/* What must be true of a page, whoever holds it. */
struct model {
	uint64_t latest;  /* the value of the latest store */
	uint64_t before;  /* the value when the latest writer got the page */
	bool undecided;	  /* that writer crashed: `before`, or the page is lost */
	bool must_refuse; /* ... and its manager knew that it was writing: lost */
	bool lost;	  /* its manager has given it up */
	bool seen;	  /* another node has had the page since its latest writer got it */
	uint32_t writers;
	uint32_t readers;
	uint16_t writer;  /* the latest one's node id + 1 */
	uint64_t floor;	  /* write-update: published: everybody sees this or something newer */
	bool must_return; /* write-update: the only writer so far crashed: version 0 is left */
};

enum action {
	ACT_DELIVER = 0,
	ACT_READ,
	ACT_PAGER,
	ACT_FAULT,
	ACT_THREAD,
	ACT_TIMER,
	ACT_NOTICE,
	ACT_NOISE,
	ACT_FAST,
	ACT_COLLECT,
	ACT_END,
};

struct world {
	uint64_t seed;
	enum sim_mode mode;
	enum manager_kind forced; /* instead of the seed's; 0: none */
	bool trace;
	struct prng prng;

	/* From the seed. */
	unsigned int node_count;
	unsigned int thread_count; /* of each node */
	enum manager_kind manager;
	uint64_t hold_ns;
	uint32_t page_requests;
	unsigned int rounds;
	unsigned int steps_per_round;
	unsigned int crashes_left;
	unsigned int weight[ACT_END];
	unsigned int percent_store;
	unsigned int percent_prefetch;
	unsigned int percent_slow_pager;
	unsigned int percent_sync;
	unsigned int percent_heap;
	unsigned int percent_pin;
	unsigned int percent_evict;
	unsigned int sem_value;
	bool heap;
	struct page_id hot[SIM_HOT_MAX];
	unsigned int hot_count;
	struct run window; /* adjacent pages that prefetches ask for */
	bool guesses;	   /* ... for reading only if it costs others nothing */
	bool fast;	   /* clean pages are read without a message */
	bool updates;	   /* some units are under write-update */
	bool update_units[SIM_UNITS];
	struct page_id guarded;	  /* under write-update, and touched with OBJECT_LOCK only */
	unsigned int percent_cut; /* updates that fail although their source lives */

	/* The state. */
	struct node *nodes;
	struct channel *channels; /* [from * node_count + to] */
	struct bag busy;	  /* of uint32_t: channels with packets */
	struct bag reads;
	struct bag fasts;
	struct bag collects;
	const struct fast_op *landed; /* of the EV_FAST_DONE that is being handled */
	struct bag pager_ops;
	struct bag faults;
	struct bag notices;
	struct packet *spare_packets;
	struct model pages[SIM_PAGES];
	uint16_t homes[SIM_UNITS]; /* as first told to anybody; HOME_UNKNOWN before */
	struct commands commands;
	uint64_t now_ns;
	uint64_t step;
	uint64_t stores;
	uint64_t calls;
	uint32_t collect_goal;
	uint32_t barrier_goal;
	uint32_t waiting_count; /* threads that wait for a signal, or are about to */
	struct passing passings[PASSINGS_MAX];
	struct object objects[OBJECT_COUNT];
	struct unit units[SIM_UNITS];
	unsigned int dead_count;
	bool resting; /* no new work */

	/* For the report. */
	uint64_t loads_checked;
	uint64_t fast_reads;
	uint64_t refused;
	uint64_t avoidable_losses;
};

static inline struct node *node_at(struct world *world, struct node_id id)
{
	return &world->nodes[id.value];
}

static inline bool chance(struct world *world, unsigned int percent)
{
	return prng_below(&world->prng, 100) < percent;
}

static inline unsigned int below(struct world *world, size_t limit)
{
	return (unsigned int)prng_below(&world->prng, limit);
}

/* ---- world.c ---- */

/* Lives one seed from beginning to end; a failure ends the process. `world` keeps its memory. */
void world_run(struct world *world, enum sim_mode mode, uint64_t seed, bool trace);
void world_free(struct world *world);

/* ---- act.c ---- */

/* Lets one thing happen. False when nothing can: the world is at rest. */
bool act(struct world *world);

/* ---- net.c ---- */

void net_send(struct world *world, struct node_id from, struct node_id to,
	      const struct message *message);
void net_deliver(struct world *world);
void net_read(struct world *world, struct node_id node, struct node_id peer, struct run run,
	      bool update);
void net_read_step(struct world *world);
bool net_notice_ready(struct world *world, size_t index);
void net_notice(struct world *world, size_t index);
void net_crash(struct world *world);
void net_clear(struct world *world);

/* ---- fast.c ---- */

void fast_choose(struct world *world);
void fast_begin(struct world *world, struct node_id node, const struct command *command);
void fast_take(struct world *world, struct node_id node, struct run run);
void fast_step(struct world *world);
void fast_gate(struct world *world, struct node_id node, const struct command *command);
void fast_collect(struct world *world, struct node_id node, const struct command *command);
void fast_collect_step(struct world *world);
bool fast_under_way(struct world *world, struct node_id node, struct node_id peer);
void fast_node_lost(struct world *world, struct node_id dead);
void fast_check_holder(struct world *world, struct node_id manager, unsigned int index,
		       struct page_id page, const struct directory_view *view);
void fast_check_gate(struct world *world, struct node_id manager, struct page_id page,
		     const struct directory_view *view);

/* ---- node.c ---- */

/* One engine_step(), and its commands. Returns 0 or -EAGAIN. */
int node_step(struct world *world, struct node_id id, struct event *event);
void node_pager_step(struct world *world);
void node_fault_step(struct world *world);
void node_set_mapping(struct world *world, struct node_id id, struct page_id page,
		      enum page_state mapping);

/* ---- thread.c ---- */

bool thread_runnable(const struct world *world, const struct node *node,
		     const struct thread *thread);
void thread_step(struct world *world, struct node_id id, struct thread *thread);
void thread_access(struct world *world, struct thread *thread, struct page_id page, bool write);
void thread_store(struct world *world, struct node_id id, struct page_id page);
void thread_page_event(struct world *world, struct node_id id, struct page_id page, bool failed);
struct page_id thread_hot_page(struct world *world, struct node_id id);

/* ---- pin.c ---- */

/* Has the thread begun to pin, and not unpinned all yet? */
bool pin_under_way(const struct thread *thread);
/* It waits for a page, and is to give up. */
bool pin_runnable(const struct thread *thread);
void pin_begin(struct world *world, struct node_id id, struct thread *thread);
void pin_step(struct world *world, struct node_id id, struct thread *thread);
void pin_ended(struct world *world, struct node_id id, struct thread *thread, int status);
void pin_check(struct world *world, struct node_id id, struct page_id page);
void pin_node_lost(struct node *node);

/* ---- call.c ---- */

/* Initialises the synchronisation objects; the world then has to come to rest. */
void call_objects_init(struct world *world);

/* Does an idle thread owe the others something, also when there is no new work? */
bool call_owed(const struct world *world, const struct node *node, const struct thread *thread);

/* Lets an idle thread begin a call, if it owes one or is to begin one now. */
bool call_begin(struct world *world, struct node_id id, struct thread *thread);

void call_completed(struct world *world, struct node_id id, const struct command *command);
void call_block_freed(struct world *world, struct node_id id, const struct command *command);
void call_node_lost(struct world *world, struct node *node);
void call_check_rest(struct world *world);

/* ---- check.c ---- */

/* Has the node that crashes stored what nobody else may ever see? */
bool check_unseen(struct world *world, struct node_id dead, struct page_id page);
void check_mapped(struct world *world, struct node_id id, struct page_id page);
void check_load(struct world *world, struct node_id id, struct page_id page);
void check_refusal(struct world *world, struct node_id to, struct page_id page);
void check_failed(struct world *world, struct node_id id, struct page_id page, struct node_id lost);
void check_before_notice(struct world *world, struct node_id survivor, struct node_id dead);
void check_losses(struct world *world, struct node_id manager);
void check_managers(struct world *world);
void check_rest(struct world *world);

/* The node that manages the page, whether alive or not, if anybody knows it. */
bool check_manager(struct world *world, struct page_id page, struct node_id *manager);

/* ---- update.c ---- */

bool updates_page(const struct world *world, struct page_id page);
bool updates_guarded(const struct world *world, struct page_id page);
void updates_choose(struct world *world);
void updates_load(struct world *world, struct node_id id, struct page_id page);
void updates_store(struct world *world, struct node_id id, struct page_id page);
void updates_mapped(struct world *world, struct node_id id, struct page_id page,
		    enum page_state mapping);
void updates_publish(struct world *world, struct node_id id, struct thread *thread);
void updates_published(struct world *world, struct node_id id, const struct thread *thread,
		       int status);
void updates_crash(struct world *world, struct node_id dead);
void updates_check_holder(struct world *world, unsigned int index, struct page_id page,
			  const struct directory_view *view);
void updates_check_owner(struct world *world, struct page_id page,
			 const struct directory_view *view);

/* ---- trace.c ---- */

__attribute__((format(printf, 2, 3))) void trace_line(struct world *world, const char *format, ...);
void trace_event(struct world *world, struct node_id id, const struct event *event);
void trace_command(struct world *world, struct node_id id, const struct command *command);

/* Prints why, what is known of `page` (NULL: of nothing in particular) and how to replay; ends. */
__attribute__((noreturn, format(printf, 3, 4))) void
sim_fail(struct world *world, const struct page_id *page, const char *format, ...);

/* The one command that replays the world under way. Async-signal-safe enough for SIGABRT. */
void sim_print_replay(void);
const char *sim_mode_name(enum sim_mode mode);
const char *sim_manager_name(enum manager_kind manager);

#endif
