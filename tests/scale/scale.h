/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clusters of 2 to 1,024 nodes in simulated time: what a protocol costs, where tests/sim asks
 * whether it is right. The engines and the wire code are the real ones; network, processors,
 * faults and the program are here. Everything follows from one seed. docs/scale.md describes the
 * model and says what it leaves out.
 *
 *   agenda.c   what happens when: a priority queue
 *   profile.c  what things cost, on two networks
 *   jobs.c     messages, faults and the like, on their way to a node
 *   net.c      ports: a first-in first-out link out of each node, and one into it
 *   node.c     one engine behind a single server: events in, commands carried out, at a cost
 *   thread.c   the program's accesses, and the waiting for pages
 *   work.c     the patterns of sharing: which page next
 *   world.c    a cluster: its making, a measurement, its end
 *   report.c   a measurement as a line of CSV
 *
 * Time is counted in picoseconds; costs are given in nanoseconds.
 */
#ifndef PERGOLA_TESTS_SCALE_H
#define PERGOLA_TESTS_SCALE_H

#include "base/prng.h"
#include "engine/engine.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PS_PER_NS UINT64_C(1000)

/* ---- profile.c ---- */

/* Field by field: docs/scale.md, "Parameters", with sources. */
struct profile {
	const char *name;
	uint64_t wire_ns;      /* from port to port: both adapters and the switches between */
	uint64_t byte_ps;      /* a port sends, and receives, a byte in so long */
	uint64_t header_bytes; /* around each message and each read */
	uint64_t dma_ns;       /* what a read of one page takes inside the two adapters */
	uint64_t send_ns;      /* processor: post one work request */
	uint64_t receive_ns;   /* processor: take one completion, check it, post a receive */
	uint64_t step_ns;      /* processor: one engine_step() */
	uint64_t trap_ns;      /* from the access until the fault can be read */
	uint64_t wake_ns;      /* from the mapping until the access is repeated */
	uint64_t map_ns;       /* UFFDIO_CONTINUE of one page */
	uint64_t protect_ns;   /* UFFDIO_WRITEPROTECT of one page, on or off */
	uint64_t drop_ns;      /* MADV_DONTNEED of one page */
};

/* NULL: no network of that name. */
const struct profile *profile_find(const char *name);
const struct profile *profile_at(unsigned int index); /* NULL: no more */

/* "send_ns=300"; false: no such field, or not a number. */
bool profile_set(struct profile *profile, const char *assignment);
void profile_print(FILE *file, const struct profile *profile);

/* ---- agenda.c ---- */

enum happening_kind {
	HAPPEN_POST = 1, /* job: reaches its sender's port */
	HAPPEN_ARRIVE,	 /* job: its first byte reaches its receiver's port */
	HAPPEN_DELIVER,	 /* job: is all there */
	HAPPEN_FREE,	 /* node: its server can take the next job */
	HAPPEN_THREAD,	 /* node, thread: runs on */
};

struct job;

struct happening {
	uint64_t at_ps;
	uint64_t order; /* what was put in first happens first, at one time */
	struct job *job;
	uint32_t node;
	uint16_t thread;
	uint16_t kind; /* enum happening_kind */
};

struct agenda {
	struct happening *heap;
	size_t count;
	size_t capacity;
	uint64_t order;
};

void agenda_add(struct agenda *agenda, struct happening happening);
struct happening agenda_take(struct agenda *agenda); /* the earliest; there must be one */
void agenda_free(struct agenda *agenda);

/* ---- jobs.c ---- */

enum job_kind {
	JOB_MESSAGE = 1, /* data: a message as on the wire */
	JOB_READ,	 /* a one-sided read, on its way to the owner's adapter ... */
	JOB_READ_DONE,	 /* ... and back, with the page */
	JOB_FAULT,	 /* run, write: a thread has trapped */
	JOB_TIMER,	 /* engine_timer_ns() has come */
	JOB_KINDS,
};

/* Something on its way to node `to`. Owned by the agenda, then by that node's queue. */
struct job {
	struct job *next;
	enum job_kind kind;
	struct node_id from;
	struct node_id to;
	uint32_t wire_bytes;
	struct run run;
	bool write;
	bool roomy;	       /* data has room for MESSAGE_MAX bytes, else for JOB_DATA_SMALL */
	uint16_t message_kind; /* JOB_MESSAGE: enum message_kind */
	uint16_t bytes;	       /* of data */
	unsigned char data[];
};

#define JOB_DATA_SMALL 64u

struct jobs {
	struct job *spare_small;
	struct job *spare_roomy;
	uint64_t live;
};

struct job *job_new(struct jobs *jobs, enum job_kind kind, size_t data_bytes);
void job_done(struct jobs *jobs, struct job *job);
void jobs_free(struct jobs *jobs);

/* ---- what is measured ---- */

/* What a miss needed: the access, and what the node had. */
enum miss_kind {
	MISS_READ = 0,
	MISS_WRITE,   /* had nothing */
	MISS_UPGRADE, /* had the page for reading */
	MISS_KINDS,
};

#define HOPS_MAX 2047u

struct miss {
	uint32_t latency_ns;
	enum miss_kind kind;
};

/* Of one node, in the window. */
struct load {
	uint64_t busy_ps; /* its server */
	uint64_t tx_ps;	  /* its port, out */
	uint64_t rx_ps;	  /* and in */
	uint64_t sent;
	uint64_t received;
	uint64_t jobs[JOB_KINDS]; /* begun by its server */
	uint64_t posts;		  /* messages and reads */
	uint64_t steps;
	uint64_t pager_ps; /* the part of busy_ps that the pager took */
};

/* Of all nodes, in the window. */
struct totals {
	uint64_t start_ps;
	uint64_t end_ps;
	uint64_t messages[MSG_KIND_END];
	uint64_t wire_bytes; /* messages, reads and pages, with headers */
	uint64_t reads;
	uint64_t accesses;
	uint64_t faults;     /* traps; one miss may need several */
	uint64_t miss_ps;    /* summed over misses that ended in the window */
	uint64_t waiting_ps; /* threads that wait, integrated over the window's time */
	uint64_t thought_ps; /* thinking that ended in the window */
	uint64_t miss_count;
	struct miss *misses; /* setup.misses of them at most */
	/* Misses of each kind whose request was sent so many times, by one node after another. */
	uint64_t hops[MISS_KINDS][HOPS_MAX + 1];
};

/* ---- the cluster ---- */

enum pattern {
	PATTERN_MIGRATORY = 0, /* load and store a page that anybody may have had last */
	PATTERN_READ_MOSTLY,   /* mostly loads of pages that everybody reads */
	PATTERN_STORES,	       /* the same without the load */
	PATTERN_PRODUCER,      /* one node of a group writes a block, the others read it */
	PATTERN_NONE,	       /* no program; for single accesses, one at a time */
	PATTERN_END,
};

/* Planted bugs of the model, for the test of its tests. */
enum bug {
	BUG_NONE = 0,
	BUG_FREE_SENDS,	  /* posting costs the processor nothing */
	BUG_MANY_SERVERS, /* a node takes up a job while it is busy with another */
	BUG_LAST_FIRST,	  /* the latest job is taken first */
	BUG_WIDE_PORTS,	  /* a port sends any number of messages at a time */
	BUG_LATE_READS,	  /* a read takes its time inside the adapters twice */
	BUG_LOST_WAKE,	  /* some threads are not told that their page has come */
	BUG_EARLY_WAKE,	  /* a thread runs on before its page is mapped */
	BUG_FEWER_MISSES, /* some misses are not counted */
	BUG_UNSEEN_READS, /* finished reads cost the processor nothing */
	BUG_END,
};

struct setup {
	struct profile profile;
	enum bug bug;
	enum manager_kind manager;
	enum pattern pattern;
	unsigned int node_count;
	unsigned int thread_count;    /* of each node */
	unsigned int page_count;      /* shared pages that the patterns use, but for PRODUCER's */
	unsigned int block_pages;     /* PRODUCER: pages of a block, at most UNIT_PAGES */
	unsigned int consumers;	      /* PRODUCER: readers of a block, at most */
	unsigned int writes_permille; /* READ_MOSTLY */
	uint64_t think_ns;	      /* mean; exponentially distributed */
	uint64_t hold_ns;
	uint64_t seed;
	uint64_t warm;	 /* misses before the window ... */
	uint64_t misses; /* ... and in it */
};

enum thread_state {
	THREAD_THINKING = 0,
	THREAD_FAULTED, /* its page is on the way */
	THREAD_WAKING,
	THREAD_BLOCKED, /* until others of its group have done their part */
	THREAD_STOPPED,
};

struct thread {
	enum thread_state state;
	struct node_id node;
	uint16_t index;
	struct page_id page;
	bool write;
	bool missing; /* since `since_ps` */
	enum miss_kind miss;
	uint64_t since_ps;
	uint32_t hops;
	uint32_t progress; /* work.c: accesses done of the present piece of work */
	uint64_t think_ps;
};

struct node {
	struct engine *engine;
	void *memory;
	size_t memory_bytes;
	struct thread *threads;
	struct job *head;
	struct job *tail;
	bool busy;
	uint64_t tx_free_ps;
	uint64_t rx_free_ps;
	uint64_t timer_ps; /* a JOB_TIMER comes then; UINT64_MAX: none */
	struct load load;
};

/* PRODUCER: one block of pages and those who share it. */
struct group {
	unsigned int first; /* node: the producer; its consumers follow it */
	unsigned int node_count;
	struct page_id block;
	bool reading;
	unsigned int left; /* threads that have not done their part */
};

/* What it took to find a page, ever. */
struct search {
	uint64_t misses;
	uint64_t sends; /* requests: a node's own, and those passed on */
};

struct world {
	struct setup setup;
	struct prng prng;
	struct agenda agenda;
	struct jobs jobs;
	uint64_t now_ps;
	struct node *nodes;
	struct thread *threads;
	struct group *groups;
	unsigned int group_count;
	struct commands commands;
	bool stopping;	/* no new accesses */
	bool measuring; /* misses are kept */
	/* Ever, whatever the window. */
	uint64_t begun; /* misses */
	uint64_t finished;
	uint64_t posted; /* messages, reads, pages that came back */
	uint64_t taken;
	uint64_t accessed;
	uint64_t messages[MSG_KIND_END]; /* sent */
	struct search *searches;	 /* for each page */
	uint64_t waiting;		 /* threads that wait for a page now ... */
	uint64_t waiting_since_ps;	 /* ... since so long */
	struct totals totals;
	bool trace;
	double engine_seconds; /* real time inside engine_step(), if it is timed */
	uint64_t engine_steps;
	bool timed;
};

/* ---- world.c ---- */

/* Makes the cluster and lets every node learn the homes. Ends the process if memory is short. */
void world_open(struct world *world, const struct setup *setup);
void world_close(struct world *world);

/*
 * Runs the pattern: warm-up, window, and on until nothing is under way, and everything must have
 * come to rest. The counts are then those of the window.
 */
void world_measure(struct world *world);

/* One access of a node's first thread, alone, from rest to rest. Returns how long it took. */
uint64_t world_access_ps(struct world *world, unsigned int node, struct page_id page, bool write);

/* Empties the counts, which begin anew now. */
void world_reset_counts(struct world *world);

/* Goes on until nothing is left that will happen. */
void world_settle(struct world *world);

/* The page of the patterns' number; they are spread over all homes. */
struct page_id world_page(const struct world *world, uint64_t number);

static inline struct node *node_at(struct world *world, struct node_id id)
{
	return &world->nodes[id.value];
}

/* ---- net.c ---- */

void net_send(struct world *world, struct job *job, uint64_t post_ps);
void net_posted(struct world *world, struct job *job);
void net_arrived(struct world *world, struct job *job);

/* ---- node.c ---- */

void node_take(struct world *world, struct job *job);
void node_freed(struct world *world, struct node_id id);

/* An event that no job brings: what it sends leaves now, and costs nothing. */
void node_step_free(struct world *world, struct node_id id, struct event *event);

/* ---- thread.c ---- */

void thread_run(struct world *world, struct thread *thread);
void thread_think(struct world *world, struct thread *thread);
void thread_wake(struct world *world, struct node_id id, struct page_id page, uint64_t at_ps);
void thread_note_hops(struct world *world, struct node_id id, struct page_id page, uint32_t hops);
/* Brings totals.waiting_ps up to now. */
void thread_count_waiting(struct world *world);

/* ---- work.c ---- */

void work_open(struct world *world);
void work_close(struct world *world);

/* Chooses the idle thread's next access; false: it is to wait for others. */
bool work_choose(struct world *world, struct thread *thread);

/* After an access: true when another follows at once, false when the thread thinks first. */
bool work_next(struct world *world, struct thread *thread);

const char *pattern_name(enum pattern pattern);

/* ---- report.c ---- */

struct summary {
	double seconds;
	double misses_per_s;
	double mean_us;
	double median_us;
	double p99_us;
	double max_us;
	double kind_median_us[MISS_KINDS]; /* 0: there was none */
	double messages_per_miss;
	double bytes_per_miss;
	double reads_per_miss;
	unsigned int busiest;
	double busiest_utilisation;
	double busiest_messages_per_s; /* sent and received */
	double mean_utilisation;
	double busiest_port; /* the higher of its two directions */
	double hops_mean;
	double read_hops_mean;
	double write_hops_mean;
	unsigned int hops_p99;
	unsigned int hops_max;
};

void report_summarise(struct world *world, struct summary *summary);
void report_header(FILE *file);
void report_line(FILE *file, const struct world *world, const struct summary *summary);
void report_hops(FILE *file, const struct world *world);
const char *manager_name(enum manager_kind manager);
bool manager_find(const char *name, enum manager_kind *manager);
enum manager_kind manager_at(unsigned int index); /* 0: no more */

#endif
