/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few engines in one process, joined by one queue of messages that delivers in order: for unit
 * tests of the engine's calls (synchronisation, heap), and for golden traces. Every message passes
 * message_decode() on its way. There is no memory: page commands are taken and forgotten.
 */
#ifndef PERGOLA_TESTS_ENGINE_CLUSTER_H
#define PERGOLA_TESTS_ENGINE_CLUSTER_H

#include "engine/engine.h"

#define CLUSTER_NODES 4u
#define CLUSTER_TOKENS 20000u

struct cluster_message {
	struct node_id from;
	struct node_id to;
	struct message message;
};

/* What became of a token. */
struct cluster_result {
	unsigned int count; /* completions: 0 or 1 */
	struct node_id node;
	int status;
	uint64_t value;
};

struct cluster_free {
	struct node_id node;
	int status;
	uint64_t offset;
	uint32_t size_class;
};

struct cluster {
	struct engine_config config;
	struct engine *engines[CLUSTER_NODES];
	void *memory[CLUSTER_NODES]; /* that they are in */
	bool lost[CLUSTER_NODES];
	struct commands commands;
	struct cluster_message *queue;
	size_t queue_head;
	size_t queue_count;
	uint64_t token_next;
	struct cluster_result results[CLUSTER_TOKENS];
	struct cluster_free frees[1024];
	size_t free_count;
	uint64_t message_count; /* delivered */
};

/* Four nodes, 64 units, fixed distributed managers, 16 objects, 8 calls: a test changes what it
 * likes. */
struct engine_config cluster_config(void);

/* Ends the process when memory is short. */
struct cluster *cluster_open(const struct engine_config *config);
void cluster_close(struct cluster *cluster);

struct token cluster_token(struct cluster *cluster);

/* One event at one node; its messages are queued. Returns what engine_step() does. */
int cluster_step(struct cluster *cluster, unsigned int node, const struct event *event);

/*
 * For who delivers itself: takes a queued message out (0: the oldest), and decodes it as it is when
 * it arrives. Commands about pages are in cluster->commands until the next step.
 */
void cluster_take(struct cluster *cluster, size_t index, struct cluster_message *taken);
void cluster_decode(const struct cluster *cluster, const struct cluster_message *sent,
		    struct message *message);

/* Delivers until no message is left; each must be accepted. */
void cluster_run(struct cluster *cluster);

/* The node and all it has sent are gone; the others learn of it. */
void cluster_lose(struct cluster *cluster, unsigned int node);

#define CLUSTER_PENDING 1

/* CLUSTER_PENDING, or the status that the token was completed with. */
int cluster_status(const struct cluster *cluster, struct token token);

/* All live nodes are at rest. */
bool cluster_quiet(const struct cluster *cluster);

#endif
