/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every interleaving of a small cluster. The engines are the real ones; what is around them
 * (channels, one-sided reads, the pager, threads, a crash) is here, and each of its choices is
 * tried in every state.
 *
 * A state of the whole is a few small numbers: one for each node's local state (engine, mappings,
 * pager commands, reads and threads of that node), the messages in each channel, and what the
 * oracle knows of each page. An engine is pure, so what a local state does with an event is found
 * out once, by engine_step(), and looked up from then on.
 *
 *   plan.c     the worlds: nodes, pages, manager, what the threads do
 *   table.c    byte strings by number, hash maps
 *   image.c    an engine's memory to a canonical byte string and back
 *   node.c     one node: what can happen next, an event, its commands
 *   renumber.c versions and names of requests renumbered
 *   local.c    local states and their transitions by number; nodes renamed
 *   state.c    the whole: what can happen next, its effects, the oracle, packing
 *   rest.c     what must hold when nothing more can happen
 *   explore.c  all states, breadth first
 *   graph.c    can every state reach the quiet end, and does every run end?
 *   trace.c    the way to a state, with engines that go on and are never restored
 *   main.c     worlds by name, the report
 */
#ifndef PERGOLA_TESTS_MODEL_H
#define PERGOLA_TESTS_MODEL_H

#include "engine/internal.h"

#define MODEL_NODES 4u
#define MODEL_PAGES 3u
#define MODEL_THREADS 2u
#define MODEL_OPS 16u
#define MODEL_SCRIPT 8u
#define MODEL_READS 4u
#define MODEL_PAGER_OPS 6u
#define MODEL_QUEUE 14u
#define MODEL_ACTIONS 64u
#define MODEL_EFFECTS 48u
#define MODEL_RENAMINGS 7u /* of four nodes, and one more for the search */

/* ---- plan.c ---- */

enum op_kind {
	OP_LOAD = 1,
	OP_STORE,
	OP_PREFETCH, /* for reading; of page, or of all pages */
	OP_PREFETCH_WRITE,
	OP_EVICT,   /* its copies may go; of page, or of all pages */
	OP_GUESS,   /* the same, if it takes nothing from anybody */
	OP_ACQUIRE, /* of the lock, for writing */
	OP_ACQUIRE_READ,
	OP_TRY,
	OP_RELEASE, /* nothing if the thread is not inside */
	OP_ARRIVE,  /* at the barrier */
};

struct op {
	enum op_kind kind;
	uint8_t page; /* MODEL_PAGES: all of them */
};

#define SCRIPT_ANY 0xff /* any of plan.any */

struct script {
	uint8_t length;
	uint8_t ops[MODEL_SCRIPT]; /* of plan.ops, or SCRIPT_ANY */
};

/* As written in plan.c. */
struct world {
	const char *name;
	const char *why;
	unsigned int node_count;
	unsigned int thread_count;
	unsigned int page_count;
	uint64_t first_page;
	const char *scripts[MODEL_NODES]; /* of each node; NULL: as the node before */
	const char *any;		  /* what '?' in a script stands for */
	unsigned int crashes;
	bool hold;
	bool fast; /* clean pages are read without a message; only where managers stay */
	bool first_touch;
	unsigned int lock_at;  /* the manager of lock and barrier, if not central */
	bool big;	       /* only by name */
	uint64_t moving_limit; /* states to expand under managers that move; 0: all */
};

/* A world under one manager. */
struct plan {
	const struct world *world;
	enum manager_kind manager;
	unsigned int node_count;
	unsigned int thread_count;
	unsigned int page_count;
	struct script scripts[MODEL_NODES][MODEL_THREADS];
	struct op ops[MODEL_OPS];
	unsigned int op_count;
	uint8_t any[MODEL_OPS];
	unsigned int any_count;
	uint64_t lock; /* names */
	uint64_t barrier;
	bool has_barrier;
	bool has_evict; /* version 0 may come back */
	bool reader_lock;
	/* Renamings of nodes that leave the world as it is, the identity first. */
	uint8_t renamings[MODEL_RENAMINGS][MODEL_NODES];
	unsigned int renaming_count;
};

extern const struct world worlds[];
extern const unsigned int world_count;

void plan_make(struct plan *plan, const struct world *world, enum manager_kind manager);
const char *plan_manager_name(enum manager_kind manager);

static inline enum sync_kind plan_object_kind(const struct plan *plan, uint64_t name)
{
	if (name == plan->barrier)
		return SYNC_BARRIER;
	return plan->reader_lock ? SYNC_RWLOCK : SYNC_LOCK;
}

static inline bool plan_moves(const struct plan *plan)
{
	return plan->manager == MANAGER_BROADCAST || plan->manager == MANAGER_DYNAMIC;
}

static inline struct page_id plan_page(const struct plan *plan, unsigned int index)
{
	return page_id(plan->world->first_page + index);
}

/* ---- table.c ---- */

/* Byte strings, each once, numbered from 0. */
struct table {
	unsigned char *bytes;
	size_t bytes_used;
	size_t bytes_room;
	size_t *offsets; /* of string n; one more than there are strings */
	uint32_t count;
	uint32_t room;
	uint32_t *slots; /* n + 1; a power of two of them */
	uint32_t slot_count;
};

uint32_t table_intern(struct table *table, const void *bytes, size_t count, bool *fresh);
const unsigned char *table_get(const struct table *table, uint32_t number, size_t *count);
void table_free(struct table *table);

/* From 64-bit keys (never UINT64_MAX) to numbers. */
struct map {
	uint64_t *keys;
	uint32_t *values;
	uint32_t room;
	uint32_t count;
};

uint32_t *map_find(const struct map *map, uint64_t key);
void map_add(struct map *map, uint64_t key, uint32_t value);
void map_free(struct map *map);

void *model_grow(void *memory, size_t item_bytes, uint32_t count, uint32_t *room);

struct hash128 {
	uint64_t low;
	uint64_t high;
};

struct hash128 hash_bytes(const void *bytes, size_t count);

/* ---- image.c ---- */

/*
 * One walk serves both ways: writing, each function appends its value and returns it; reading, it
 * returns what the string has. Node ids are renamed on the way out.
 */
struct codec {
	bool reading;
	unsigned char *at;
	unsigned char *end;
	const uint8_t *rename;
	uint32_t requests;  /* met in lists */
	const char *broken; /* the structure breaks a rule of its own */
};

uint64_t code(struct codec *codec, uint64_t value);
uint64_t code_nodes(struct codec *codec, uint64_t bits);
uint64_t code_gate(struct codec *codec, uint64_t gate);
unsigned int code_node(struct codec *codec, unsigned int node);

/* An engine and what to put back before a string is read into it. */
struct arena {
	void *memory;
	size_t memory_bytes;
	struct engine *engine;
	unsigned char *saved;
};

void arena_open(struct arena *arena, const struct plan *plan, unsigned int node);
void arena_save(struct arena *arena);
void arena_reset(struct arena *arena);
void arena_close(struct arena *arena);

void image_code(struct codec *codec, const struct plan *plan, struct engine *engine);

/* Which part of the two engines is not the same, besides what images leave out; NULL: none. */
const char *image_differs(const struct arena *a, const struct arena *b);

/* The clock stands still; what is to come is told by rank (see image.c). */
#define MODEL_NOW_US UINT64_C(1000000)
#define MODEL_HOLD_US UINT64_C(1000)

bool image_time_can_pass(const struct plan *plan, const struct engine *engine);
void image_time_pass(const struct plan *plan, struct engine *engine);

/* New numbers for old ones, by which only their order and what is next to what is told apart. */
#define RENUMBERED_MAX 16u

struct renumbering {
	uint64_t count;
	uint64_t merge;	  /* 1: all others but 0 are 1; 0: they stay */
	uint64_t highest; /* of the new ones */
	uint64_t old[RENUMBERED_MAX];
	uint64_t new[RENUMBERED_MAX];
};

uint64_t renumbered(const struct renumbering *all, uint64_t number);

/* The versions that the engine keeps of the page. Returns how many. */
unsigned int image_versions(const struct plan *plan, struct engine *engine, unsigned int page,
			    uint64_t versions[3]);
void image_renumber_versions(const struct plan *plan, struct engine *engine, unsigned int page,
			     const struct renumbering *all);

/* A gate's parts, of which only engine_gate() and src/engine/fast.c know. */
bool image_gate_open(uint64_t gate);
struct node_id image_gate_owner(uint64_t gate);
uint64_t image_gate_version(uint64_t gate);

/* The names that `owner` gave to requests. */
void image_renumber_tags(const struct plan *plan, struct engine *engine, unsigned int owner,
			 const struct renumbering *all);

/* ---- node.c ---- */

enum thread_state {
	THREAD_READY = 0, /* to begin its next operation */
	THREAD_ACCESS,	  /* to load or store */
	THREAD_FAULTED,
	THREAD_CALL,
};

struct thread {
	uint8_t state;
	uint8_t done; /* operations of the script */
	uint8_t op;   /* the one under way */
	uint8_t inside;
};

#define INSIDE_WRITE 1u
#define INSIDE_READ 2u

struct read_op {
	uint8_t peer;
	uint8_t first;
	uint8_t count;
};

struct pager_op {
	uint8_t first;
	uint8_t count;
	bool downgrade;
	bool applied;
};

/* A CMD_FAST_READ under way. */
struct chain {
	bool active;
	bool add;
	uint8_t peer;
	uint8_t done; /* 1: the bit is added; 2: the gate is read, the page is being read */
	uint64_t gate;
};

/* A CMD_COLLECT under way. */
struct collection {
	bool active;
	bool fetched;
	uint8_t keep;
	uint8_t seen; /* bits */
};

/* A node but for its engine. */
struct local {
	uint8_t mapping[MODEL_PAGES]; /* enum page_state */
	uint8_t faults;		      /* not told to the engine yet: bits 2 * page + write */
	struct thread threads[MODEL_THREADS];
	uint8_t read_count;
	struct read_op reads[MODEL_READS];
	uint8_t pager_count;
	struct pager_op pager[MODEL_PAGER_OPS];
	struct chain chains[MODEL_PAGES];
	struct collection collections[MODEL_PAGES];
	uint64_t gates[MODEL_PAGES]; /* of pages that it manages */
};

struct node {
	unsigned int id;
	struct arena arena;
	struct local local;
};

enum action_kind {
	ACT_DELIVER = 0, /* arg: from; item: message */
	ACT_THREAD,	 /* arg: thread; item: which of plan.any */
	ACT_FAULT,	 /* arg: bit of local.faults */
	ACT_APPLY,	 /* arg: pager command */
	ACT_REPORT,	 /* arg: pager command */
	ACT_READ,	 /* arg: read; item: 1: it fails */
	ACT_TIMER,
	ACT_TIME,    /* the next hold time ends */
	ACT_CHAIN,   /* arg: page; item: enum chain_item, or CHAIN_GATE + the gate's number */
	ACT_COLLECT, /* arg: page; item: sharers, when they are fetched */
	ACT_NOTICE,  /* arg: the lost node */
	ACT_CRASH,
};

enum chain_item {
	CHAIN_GOES_ON = 0,
	CHAIN_FAILS,
	CHAIN_REFUSED, /* nothing of it is ever done */
	CHAIN_GATE,    /* the gate is read: its number in model.gates is added */
};

/* What happens at one node. `pieces`: runs that it begins are done page by page. */
struct action {
	uint8_t kind; /* enum action_kind */
	uint8_t arg;
	uint16_t item;
	bool pieces;
};

enum effect_kind {
	EFFECT_SEND = 0, /* node, message */
	EFFECT_LOAD,	 /* page */
	EFFECT_STORE,	 /* page */
	EFFECT_SHOW,	 /* page, arg: the mapping */
	EFFECT_HIDE,	 /* page, arg: the mapping */
	EFFECT_FETCH,	 /* page, node: a read is posted */
	EFFECT_LAND,	 /* page, node: its bytes are here */
	EFFECT_MISS,	 /* page, node: it failed */
	EFFECT_ADD,	 /* page, node: this node's bit is added to the sharers there */
	EFFECT_WATCH,	 /* page, node: from now on a chain reads the page there */
	EFFECT_READ,	 /* page, node: what it has read is here, beside the frame */
	EFFECT_TAKE,	 /* page, node: ... and in the frame */
	EFFECT_CLEAR,	 /* page, arg: sharers' bits */
	EFFECT_RELEASE,	 /* page: the frame holds zeros */
	EFFECT_REFUSE,	 /* page: a manager refuses it */
	EFFECT_FAIL,	 /* page, node: it cannot be had for the loss of node */
	EFFECT_LOSE,	 /* node: is to be taken for lost */
	EFFECT_ENTER,	 /* arg: INSIDE_* */
	EFFECT_LEAVE,	 /* arg */
	EFFECT_ARRIVE,
	EFFECT_PASS,  /* arg: the one */
	EFFECT_WHOLE, /* arg: what may be only after a loss; enum whole */
	EFFECT_ERROR, /* a call failed as it may after a loss */
};

/* Rules while nobody is lost. */
enum whole {
	WHOLE_ROUND = 0, /* under a dynamic manager nobody asks all nodes, to write */
	WHOLE_HOPS,	 /* nor is a request to write sent on by more nodes than there are others */
};

/* What a transition does beyond its node, in order. */
struct effect {
	uint8_t kind;
	uint8_t page;
	uint8_t node;
	uint8_t arg;
	uint32_t message;
};

struct outcome {
	const char *broken; /* the rule, or NULL */
	bool runs;	    /* it began runs of several pages: try it in pieces too */
	unsigned int effect_count;
	struct effect effects[MODEL_EFFECTS];
};

struct model;

/* What can happen at the node, but for messages, losses and crashes. Returns how many. */
unsigned int node_actions(const struct model *model, const struct node *node,
			  struct action actions[MODEL_ACTIONS]);
void node_take(struct model *model, struct node *node, struct action action,
	       struct outcome *outcome);

/* As node_take(); a failed assertion is a broken rule, and so is a step without an end. */
void node_take_guarded(struct model *model, struct node *node, struct action action,
		       struct outcome *outcome);
void node_code(struct codec *codec, const struct plan *plan, struct node *node);
bool node_fast_at_rest(const struct node *node);

/* As image_versions() and image_renumber_versions(), with gates. */
#define NODE_VERSIONS 5u

unsigned int node_versions(const struct plan *plan, struct node *node, unsigned int page,
			   uint64_t versions[NODE_VERSIONS]);
void node_renumber_versions(const struct plan *plan, struct node *node, unsigned int page,
			    const struct renumbering *all);

/* ---- local.c ---- */

/* What others need to know of a local state. */
struct local_info {
	uint32_t actions; /* in model.actions */
	uint8_t action_count;
	bool at_rest; /* nothing under way but what messages may bring */
	bool waiting; /* a thread has not ended its script */
	uint8_t down; /* bit n: it knows that node n is lost */
	uint8_t mapping[MODEL_PAGES];
	uint8_t fetching[MODEL_PAGES]; /* node id + 1; a chain too, once it reads the page */
	struct chain chains[MODEL_PAGES];
	bool fetches_sharers[MODEL_PAGES];
	bool shared[MODEL_PAGES];
	uint64_t gates[MODEL_PAGES];
	uint8_t read_first[MODEL_READS]; /* first page of each read */
	uint8_t inside[MODEL_THREADS];
	uint8_t state[MODEL_PAGES];
	uint8_t managed[MODEL_PAGES]; /* view is of its manager */
	struct {
		uint64_t version;
		uint64_t directory_version;
		uint64_t holders;
		struct node_id owner;
		bool exclusive;
		bool lost;
		bool busy;
		bool open;
	} pages[MODEL_PAGES];
	uint16_t hint[MODEL_PAGES]; /* HOME_UNKNOWN: none */
	uint64_t versions[MODEL_PAGES][NODE_VERSIONS];
	uint8_t version_count[MODEL_PAGES];
	uint32_t tags[2 * MODEL_PAGES + 1]; /* those whose answers count, 0s between; the latest */
};

struct transition {
	uint32_t to;
	uint32_t effects; /* in model.effects */
	uint8_t effect_count;
	bool runs;
	const char *broken;
};

/* VERSION_NONE where the message says nothing of the page. */
struct message_versions {
	uint64_t of[MODEL_PAGES][2];
};

/* All that is known of a world. */
struct model {
	struct plan plan;
	struct node scratch[MODEL_NODES]; /* strings are read into these */
	uint32_t first[MODEL_NODES];	  /* the local states of the beginning */
	struct commands commands;
	bool trace;

	struct table gates; /* that chains have read */
	struct table messages;
	struct message_versions *message_versions; /* of message n */
	uint32_t message_room;
	struct table locals;
	struct local_info *infos; /* of local n */
	uint32_t info_room;
	struct action *actions;
	uint32_t action_count;
	uint32_t action_room;
	struct map memo; /* local and action to transition */
	struct transition *transitions;
	uint32_t transition_count;
	uint32_t transition_room;
	struct effect *effects;
	uint32_t effect_count;
	uint32_t effect_room;
	uint32_t *local_renamed[MODEL_RENAMINGS]; /* number + 1 */
	uint32_t local_renamed_room[MODEL_RENAMINGS];
	uint32_t *message_renamed[MODEL_RENAMINGS];
	uint32_t message_renamed_room[MODEL_RENAMINGS];

	struct table renumberings;
	struct map renumbered_locals;
	struct map renumbered_messages;

	char said[256]; /* the rule that was broken */
};

void model_open(struct model *model, const struct world *world, enum manager_kind manager);
void model_close(struct model *model);

/* Engines of the first state, made and put to rest again, with objects; `nodes` are the caller's.
 */
void nodes_open(struct model *model, struct node nodes[MODEL_NODES]);
void nodes_close(struct model *model, struct node nodes[MODEL_NODES]);

/* `rule`: what is wrong with the engine's own structures, or NULL. */
uint32_t local_intern(struct model *model, struct node *node, const char **rule);
void local_restore(struct model *model, uint32_t number, struct node *node);
uint32_t message_intern(struct model *model, const struct message *message);
uint32_t gate_intern(struct model *model, uint64_t gate);
uint64_t gate_restore(const struct model *model, uint32_t number);
uint8_t rename_nodes(uint8_t bits, const uint8_t *rename);
void message_restore(struct model *model, uint32_t number, struct message *message);

const struct transition *local_step(struct model *model, unsigned int node, uint32_t number,
				    struct action action);
uint32_t local_rename(struct model *model, uint32_t number, unsigned int renaming);
uint32_t message_rename(struct model *model, uint32_t number, unsigned int renaming);

/* ---- state.c ---- */

/* Whose bytes a frame has. Others than the latest two stores' can never be right again. */
enum value {
	VALUE_LATEST = 0,
	VALUE_BEFORE, /* as when the present writer got the page */
	VALUE_STALE,
	VALUE_TORN,
};

/* Of a read under way. */
#define MARK_TORN 1u  /* the bytes that it reads have changed */
#define MARK_FAILS 2u /* it was posted to a node that is lost */

#define PAGE_SAME 1u	  /* the present writer has stored nothing: the latest is the one before */
#define PAGE_UNDECIDED 2u /* that writer crashed: the one before, or the page is lost */
#define PAGE_MUST_REFUSE 4u /* ... and its manager knew that it was writing: lost */
#define PAGE_GIVEN_UP 8u
#define PAGE_ZEROS 4u /* from here on two bits: enum value of zeros, which a fresh frame has */

#define LOCAL_DEAD UINT32_MAX

struct state {
	uint32_t local[MODEL_NODES];
	uint8_t dead; /* bits */
	uint8_t crashes_left;
	uint8_t frame[MODEL_NODES][MODEL_PAGES]; /* enum value */
	uint8_t mark[MODEL_NODES][MODEL_PAGES];
	uint8_t flags[MODEL_PAGES];
	uint8_t sharers[MODEL_NODES][MODEL_PAGES]; /* at each manager: bits */
	uint8_t landed;	      /* enum value: what the chain that ends in this step has read */
	unsigned int writers; /* inside the lock */
	unsigned int readers;
	uint8_t inside_dead; /* INSIDE_*: crashed inside */
	uint8_t arrived;
	uint8_t ones;
	uint8_t queued[MODEL_NODES][MODEL_NODES]; /* from, to */
	uint32_t queue[MODEL_NODES][MODEL_NODES][MODEL_QUEUE];
};

#define STATE_BYTES_MAX 512u

struct choice {
	uint8_t node;
	struct action action;
};

#define CHOICES_MAX 96u

void state_first(struct model *model, struct state *state);
unsigned int state_choices(struct model *model, const struct state *state,
			   struct choice choices[CHOICES_MAX]);

/* The value that a load must see. */
enum value state_expected(const struct state *state, unsigned int page);

/* False when a rule was broken: model.said tells which. `runs`: try the choice in pieces too. */
bool state_step(struct model *model, struct state *state, struct choice choice, bool *runs);

/* The smallest string among those of all renamings, with versions renumbered. */
size_t state_pack(struct model *model, const struct state *state,
		  unsigned char bytes[STATE_BYTES_MAX]);
void state_unpack(struct model *model, const unsigned char *bytes, struct state *state);

/* Says why the state breaks a rule; always false. */
__attribute__((format(printf, 2, 3))) bool model_broken(struct model *model, const char *format,
							...);

/* ---- renumber.c ---- */

struct message_versions versions_of_message(const struct plan *plan, const struct message *message);
void state_renumber(struct model *model, struct state *state);

/* ---- rest.c ---- */

/* Nothing can happen in the state but a crash: is that the quiet end? */
bool rest_check(struct model *model, const struct state *state);

/* ---- explore.c ---- */

#define NUMBER_NONE UINT32_MAX

struct explored {
	uint32_t state_count;
	uint64_t transition_count;
	uint32_t quiet_count; /* states in which nothing more can happen but a crash */
	uint32_t depth;
	double seconds;
	bool complete;
	bool broken;	    /* model.said tells the rule: ... */
	uint32_t broken_in; /* in this state, ... */
	bool by;	    /* by one more choice */

	/* The graph: of state n, successors edges[first_edge[n]] up to those of n + 1. */
	uint32_t expanded;
	uint32_t *first_edge;
	uint32_t first_room;
	uint32_t *edges; /* but for crashes */
	uint32_t edge_count;
	uint32_t edge_room;
	struct visited *visited;
	uint32_t visited_room;
};

/* What ends a search before its end. */
struct limits {
	uint64_t states; /* 0: nothing */
	double seconds;
};

void explore(struct model *model, const struct limits *limits, struct explored *explored);
void explored_free(struct explored *explored);

/* The hashes of the states on the way to `number`, without the first state; the caller's to free.
 */
struct hash128 *explored_path(const struct explored *explored, uint32_t number, uint32_t *length);

/* ---- graph.c ---- */

/* The first state from which the quiet end cannot be reached; NUMBER_NONE: there is none. */
uint32_t graph_stuck(const struct explored *explored);

/* States on or behind a cycle: 0 means that every run ends. */
uint64_t graph_endless(const struct explored *explored);

/* ---- trace.c ---- */

/* Lines of what nodes do, when model.trace is set. */
void trace_event(const struct model *model, const struct node *node, const struct event *event);
void trace_command(const struct model *model, const struct node *node,
		   const struct command *command);
void trace_thread(const struct model *model, const struct node *node, const struct thread *thread,
		  const char *does);
void trace_pager(const struct model *model, const struct node *node, const struct pager_op *op);
void trace_time(const struct model *model, const struct node *node);
void trace_part(const struct model *model, const struct node *node, unsigned int page,
		const char *does);

/* Prints the shortest way to the state, what broke a rule there, and how to replay it. */
void trace_print(struct model *model, const struct explored *explored);

/* As the numbers of `path` choose ("3.0.12"): the replay. False when a rule is broken on the way.
 */
bool trace_replay(struct model *model, const char *path);

/*
 * Random walks with engines that are never restored beside the looked-up ones: is a local state all
 * that matters of a node? False when not: model.said tells.
 */
bool trace_walks(struct model *model, unsigned int walk_count, uint64_t seed);

#endif
