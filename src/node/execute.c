/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's commands, carried out in order. What the pager has done is noted and told to the
 * engine after the last command of the step, because a step's commands are carried out before the
 * next step.
 */
#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "node/times.h"

#include <errno.h>

static void must(int error, const char *what)
{
	if (error != 0)
		loss_fatal(what);
}

static void recall(struct node *node, const struct command *command)
{
	struct run run = command->run;
	bool downgrade = command->kind == CMD_DOWNGRADE;

	if (downgrade)
		must(node->pager_ops->downgrade(node->pager, run.page, run.page_count),
		     "write-protecting pages");
	else
		must(node->pager_ops->invalidate(node->pager, run.page, run.page_count),
		     "unmapping pages");
	ASSERT(node->pager_done_count < PAGER_DONE_MAX);
	node->pager_done[node->pager_done_count] = run;
	node->pager_done_downgrade[node->pager_done_count++] = downgrade;
}

/* The pages' only copies are lost; this node may not have heard of it otherwise yet. */
static void fail(struct node *node, const struct command *command)
{
	loss_pages(node, command->peer);
	int error =
		node->pager_ops->poison(node->pager, command->run.page, command->run.page_count);

	if (error == -ENOSYS) {
		error_set(error,
			  "a page of lost node %u was touched, and this kernel (before "
			  "Linux 6.6) cannot raise SIGBUS for it",
			  command->peer.value);
		loss_fatal("on-loss=error");
	}
	must(error, "poisoning pages");
}

/* For reading; but for what read-ahead wants to see touched. */
static void show(struct node *node, struct run run)
{
	while (run.page_count > 0) {
		uint32_t shown = ahead_shown(node, run);
		uint32_t step = shown == 0 ? 1 : shown;

		if (shown > 0)
			must(node->pager_ops->map(node->pager, run.page, shown, PAGER_READ),
			     "mapping pages");
		run.page = page_add(run.page, step);
		run.page_count -= step;
	}
}

static void free_block(struct node *node, const struct command *command)
{
	pthread_mutex_lock(&node->heap_lock);
	int error = command->status != 0
			    ? command->status
			    : slab_free(node->slab, command->free.offset, command->free.size_class);

	pthread_mutex_unlock(&node->heap_lock);
	if (error != 0)
		log_line(LOG_WARNING,
			 "dsm_free(%p) by another node: no live block of that size starts there",
			 region_address(node, command->free.offset));
}

static void execute(struct node *node, const struct command *command)
{
	const struct pager_ops *pager = node->pager_ops;
	struct run run = command->run;

	switch (command->kind) {
	case CMD_SEND:
		outbox_send(node, command->peer, &command->message);
		return;
	case CMD_READ:
	case CMD_UPDATE:
		cache_arrived(node, run);
		reads_start(node, command->peer, run, command->kind == CMD_UPDATE);
		return;
	case CMD_MAP_READ:
		cache_arrived(node, run);
		show(node, run);
		inline_arrived(node, run, false);
		return;
	case CMD_MAP_WRITE:
		cache_arrived(node, run);
		must(pager->map(node->pager, run.page, run.page_count, PAGER_WRITE),
		     "mapping pages");
		inline_arrived(node, run, false);
		return;
	case CMD_UPGRADE:
		must(pager->upgrade(node->pager, run.page, run.page_count),
		     "making pages writable");
		inline_arrived(node, run, false);
		return;
	case CMD_INVALIDATE:
	case CMD_DOWNGRADE:
		recall(node, command);
		return;
	case CMD_RELEASE:
		if (!node->cache.pinned)
			must(pager->release(node->pager, run.page, run.page_count),
			     "giving back memory");
		cache_left(node, run);
		return;
	case CMD_FAIL:
		fail(node, command);
		inline_arrived(node, run, true);
		return;
	case CMD_COMPLETE:
		waiter_complete(command);
		return;
	case CMD_FREE:
		free_block(node, command);
		return;
	case CMD_FAST_READ:
		fast_start(node, command->peer, command->fast.page, command->fast.add);
		return;
	case CMD_TAKE:
		fast_take(node, run.page);
		return;
	case CMD_GATE:
		gates_set(node, command->gate.page, command->gate.word);
		return;
	case CMD_COLLECT:
		gates_collect(node, command->collect.page, command->collect.keep);
		return;
	case CMD_LOSE:
		node->rumour = command->peer;
		node->rumoured = true;
		return;
	}
}

void execute_commands(struct node *node)
{
	for (uint32_t i = 0; i < node->commands.count; i++) {
		const struct command *command = &node->commands.list[i];

		times_command(node, command, false);
		execute(node, command);
		times_command(node, command, true);
	}
}
