/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_cluster.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 65536u

struct engine_config cluster_config(void)
{
	return (struct engine_config){
		.node_count = CLUSTER_NODES,
		.page_limit = 64 * UNIT_PAGES,
		.manager = MANAGER_FIXED,
		.page_requests = UNIT_PAGES,
		.sync_objects = 16,
		.calls = 8,
	};
}

/* Most of an engine's memory is never touched: calloc() gets it as zeros, and unused. */
static void *zeroed(size_t bytes)
{
	void *memory = calloc(1, bytes);

	ASSERT(memory != NULL);
	return memory;
}

static struct engine *engine_open(const struct engine_config *config, void **memory)
{
	size_t bytes = engine_bytes(config);

	ASSERT(bytes != 0);
	*memory = zeroed(bytes + 64);
	return engine_init((void *)(((uintptr_t)*memory + 63) & ~(uintptr_t)63), config);
}

struct cluster *cluster_open(const struct engine_config *config)
{
	struct cluster *cluster = zeroed(sizeof(*cluster));

	ASSERT(config->node_count <= CLUSTER_NODES);
	cluster->config = *config;
	cluster->commands.list = malloc(COMMANDS_MAX * sizeof(struct command));
	cluster->queue = malloc(QUEUE_MAX * sizeof(struct cluster_message));
	ASSERT(cluster->commands.list != NULL && cluster->queue != NULL);
	for (unsigned int node = 0; node < config->node_count; node++) {
		struct engine_config own = *config;

		own.self = node_id(node);
		cluster->engines[node] = engine_open(&own, &cluster->memory[node]);
	}
	return cluster;
}

void cluster_close(struct cluster *cluster)
{
	for (unsigned int node = 0; node < cluster->config.node_count; node++)
		free(cluster->memory[node]);
	free(cluster->commands.list);
	free(cluster->queue);
	free(cluster);
}

struct token cluster_token(struct cluster *cluster)
{
	ASSERT(cluster->token_next + 1 < CLUSTER_TOKENS);
	return (struct token){ ++cluster->token_next };
}

/* ---- commands ---- */

static void take_send(struct cluster *cluster, unsigned int node, const struct command *command)
{
	if (cluster->lost[command->peer.value])
		return;
	ASSERT(cluster->queue_head + cluster->queue_count < QUEUE_MAX);
	cluster->queue[cluster->queue_head + cluster->queue_count++] = (struct cluster_message){
		.from = node_id(node),
		.to = command->peer,
		.message = command->message,
	};
}

static void take_complete(struct cluster *cluster, unsigned int node, const struct command *command)
{
	ASSERT(command->complete.token.value < CLUSTER_TOKENS);
	struct cluster_result *result = &cluster->results[command->complete.token.value];

	ASSERT(result->count == 0);
	*result = (struct cluster_result){
		.count = 1,
		.node = node_id(node),
		.status = command->status,
		.value = command->complete.value,
	};
}

static void take_free(struct cluster *cluster, unsigned int node, const struct command *command)
{
	ASSERT(cluster->free_count < sizeof(cluster->frees) / sizeof(cluster->frees[0]));
	cluster->frees[cluster->free_count++] = (struct cluster_free){
		.node = node_id(node),
		.status = command->status,
		.offset = command->free.offset,
		.size_class = command->free.size_class,
	};
}

static void take_command(struct cluster *cluster, unsigned int node, const struct command *command)
{
	switch (command->kind) {
	case CMD_SEND:
		take_send(cluster, node, command);
		return;
	case CMD_COMPLETE:
		take_complete(cluster, node, command);
		return;
	case CMD_FREE:
		take_free(cluster, node, command);
		return;
	case CMD_READ:
	case CMD_UPDATE:
	case CMD_FAST_READ:
	case CMD_TAKE:
	case CMD_GATE:
	case CMD_COLLECT:
	case CMD_MAP_READ:
	case CMD_MAP_WRITE:
	case CMD_UPGRADE:
	case CMD_INVALIDATE:
	case CMD_DOWNGRADE:
	case CMD_FAIL:
	case CMD_LOSE:
	case CMD_RELEASE:
		return;
	}
	ASSERT(false);
}

int cluster_step(struct cluster *cluster, unsigned int node, const struct event *event)
{
	cluster->commands.count = 0;
	int error = engine_step(cluster->engines[node], event, &cluster->commands);

	for (uint32_t i = 0; i < cluster->commands.count; i++)
		take_command(cluster, node, &cluster->commands.list[i]);
	return error;
}

void cluster_decode(const struct cluster *cluster, const struct cluster_message *sent,
		    struct message *message)
{
	const struct wire_limits limits = {
		.node_count = cluster->config.node_count,
		.page_limit = cluster->config.page_limit,
	};

	ASSERT(sent->message.bytes == message_bytes(&sent->message));
	ASSERT(message_decode(&sent->message, sent->message.bytes, &limits, message) == 0);
}

static void deliver(struct cluster *cluster, const struct cluster_message *sent)
{
	struct message message;
	struct event event = { .kind = EV_MESSAGE, .peer = sent->from, .message = &message };

	cluster_decode(cluster, sent, &message);
	ASSERT(cluster_step(cluster, sent->to.value, &event) == 0);
	cluster->message_count++;
}

void cluster_take(struct cluster *cluster, size_t index, struct cluster_message *taken)
{
	struct cluster_message *first = &cluster->queue[cluster->queue_head];

	ASSERT(index < cluster->queue_count);
	*taken = first[index];
	memmove(&first[1], &first[0], index * sizeof(*first));
	cluster->queue_head++;
	cluster->queue_count--;
}

void cluster_run(struct cluster *cluster)
{
	struct cluster_message sent;

	while (cluster->queue_count > 0) {
		cluster_take(cluster, 0, &sent);
		if (!cluster->lost[sent.from.value] && !cluster->lost[sent.to.value])
			deliver(cluster, &sent);
	}
	cluster->queue_head = 0;
}

void cluster_lose(struct cluster *cluster, unsigned int node)
{
	struct event event = { .kind = EV_PEER_DOWN, .peer = node_id(node) };
	struct event timer = { .kind = EV_TIMER };

	cluster->lost[node] = true;
	for (unsigned int other = 0; other < cluster->config.node_count; other++) {
		if (cluster->lost[other])
			continue;
		ASSERT(cluster_step(cluster, other, &event) == 0);
		/* The directory is repaired in steps, each due at once. */
		while (engine_timer_ns(cluster->engines[other]) == 0)
			ASSERT(cluster_step(cluster, other, &timer) == 0);
	}
}

int cluster_status(const struct cluster *cluster, struct token token)
{
	const struct cluster_result *result = &cluster->results[token.value];

	ASSERT(token.value != 0 && token.value < CLUSTER_TOKENS);
	return result->count == 0 ? CLUSTER_PENDING : result->status;
}

bool cluster_quiet(const struct cluster *cluster)
{
	for (unsigned int node = 0; node < cluster->config.node_count; node++) {
		if (!cluster->lost[node] && !engine_quiet(cluster->engines[node]))
			return false;
	}
	return cluster->queue_count == 0;
}
