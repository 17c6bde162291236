/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node around its engine: events in, commands carried out in order. The pager keeps what it
 * shows of each page; an invalidation or downgrade takes effect at once or later, and is reported
 * later still, in any order.
 */
#include "sim.h"

#include <errno.h>

void node_set_mapping(struct world *world, struct node_id id, struct page_id page,
		      enum page_state mapping)
{
	struct node *node = node_at(world, id);
	struct model *model = &world->pages[page.value];
	enum page_state old = node->mapping[page.value];

	model->writers -= old == PAGE_WRITE;
	model->readers -= old == PAGE_READ;
	model->writers += mapping == PAGE_WRITE;
	model->readers += mapping == PAGE_READ;
	node->mapping[page.value] = (uint8_t)mapping;
	pin_check(world, id, page);
	if (model->writers > 1 ||
	    (model->writers == 1 && model->readers > 0 && !updates_page(world, page)))
		sim_fail(world, &page, "%u writers and %u readers of page %llu", model->writers,
			 model->readers, (unsigned long long)page.value);
	if (mapping == PAGE_WRITE && old != PAGE_WRITE) {
		model->before = model->undecided ? model->before : model->latest;
		model->writer = (uint16_t)(id.value + 1u);
		model->seen = false;
	}
}

/* ---- the pager ---- */

static void pager_apply(struct world *world, struct pager_op *op)
{
	for (uint32_t i = 0; i < op->run.page_count && !op->applied; i++)
		node_set_mapping(world, op->node, page_add(op->run.page, i),
				 op->downgrade ? PAGE_READ : PAGE_INVALID);
	op->applied = true;
}

static bool run_has(struct run run, struct page_id page)
{
	return page.value >= run.page.value && page.value < run.page.value + run.page_count;
}

/* Calls on one page take effect in the order of the calls. */
static void pager_settle(struct world *world, struct node_id id, struct page_id page)
{
	for (size_t i = 0; i < world->pager_ops.count; i++) {
		struct pager_op *op = bag_at(&world->pager_ops, i);

		if (node_equal(op->node, id) && run_has(op->run, page))
			pager_apply(world, op);
	}
}

static void recall_page(struct world *world, struct node_id id, struct page_id page, bool downgrade)
{
	enum page_state state = node_at(world, id)->mapping[page.value];

	pager_settle(world, id, page);
	if (state == PAGE_INVALID || (downgrade && state != PAGE_WRITE))
		sim_fail(world, &page, "node %u: the pager is to %s a page in state %d", id.value,
			 downgrade ? "downgrade" : "invalidate", state);
}

/* The run is reported done as a whole or in pieces. */
static void recall(struct world *world, struct node_id id, struct run run, bool downgrade)
{
	bool slow = chance(world, world->percent_slow_pager);
	bool pieces = chance(world, 30);

	for (uint32_t i = 0; i < run.page_count; i++)
		recall_page(world, id, page_add(run.page, i), downgrade);
	for (uint32_t i = 0; i < run.page_count;) {
		uint32_t count = pieces ? 1 + below(world, run.page_count - i) : run.page_count;
		struct pager_op *op = bag_add(&world->pager_ops);

		op->node = id;
		op->run = (struct run){ page_add(run.page, i), count };
		op->downgrade = downgrade;
		if (!slow)
			pager_apply(world, op);
		i += count;
	}
}

static void show_page(struct world *world, struct node_id id, struct page_id page,
		      enum command_kind kind)
{
	struct node *node = node_at(world, id);

	pager_settle(world, id, page);
	if (kind == CMD_UPGRADE && node->mapping[page.value] != PAGE_READ)
		sim_fail(world, &page, "node %u upgrades a page in state %d", id.value,
			 node->mapping[page.value]);
	if (updates_page(world, page))
		updates_mapped(world, id, page, kind == CMD_MAP_READ ? PAGE_READ : PAGE_WRITE);
	else
		check_mapped(world, id, page);
	node_set_mapping(world, id, page, kind == CMD_MAP_READ ? PAGE_READ : PAGE_WRITE);
	thread_page_event(world, id, page, false);
}

static void fail_page(struct world *world, struct node_id id, struct page_id page,
		      struct node_id lost)
{
	world->refused++;
	node_at(world, id)->refused[page.value] = true;
	check_failed(world, id, page, lost);
	thread_page_event(world, id, page, true);
}

void node_pager_step(struct world *world)
{
	size_t index = below(world, world->pager_ops.count);
	struct pager_op *op = bag_at(&world->pager_ops, index);

	if (!op->applied) {
		pager_apply(world, op);
		if (chance(world, 50))
			return;
	}
	struct pager_op done = *op;
	struct event event = { .kind = EV_PAGER_DONE };

	event.pager.run = done.run;
	event.pager.downgrade = done.downgrade;
	bag_remove(&world->pager_ops, index);
	node_step(world, done.node, &event);
}

void node_fault_step(struct world *world)
{
	size_t index = below(world, world->faults.count);
	struct fault fault = *(struct fault *)bag_at(&world->faults, index);
	struct event event = { .kind = EV_FAULT };

	event.fault.run = (struct run){ fault.page, 1 };
	event.fault.write = fault.write;
	bag_remove(&world->faults, index);
	if (node_step(world, fault.node, &event) == -EAGAIN)
		*(struct fault *)bag_add(&world->faults) = fault;
}

static void release_page(struct world *world, struct node_id id, struct page_id page)
{
	pager_settle(world, id, page);
	if (node_at(world, id)->mapping[page.value] != PAGE_INVALID)
		sim_fail(world, &page, "node %u gives back the frame of a page that is mapped",
			 id.value);
	for (size_t i = 0; i < world->reads.count; i++) {
		const struct read_op *op = bag_at(&world->reads, i);

		if (run_has(op->run, page) &&
		    (node_equal(op->node, id) || node_equal(op->peer, id)) && !op->fails)
			sim_fail(world, &page, "node %u gives back a frame that is being read",
				 id.value);
	}
	node_at(world, id)->frames[page.value] = (struct frame){ { 0, 0 } };
}

/* ---- commands ---- */

static void release_run(struct world *world, struct node_id id, struct run run)
{
	for (uint32_t i = 0; i < run.page_count; i++)
		release_page(world, id, page_add(run.page, i));
}

static void show_run(struct world *world, struct node_id id, const struct command *command)
{
	for (uint32_t i = 0; i < command->run.page_count; i++) {
		struct page_id page = page_add(command->run.page, i);

		if (command->kind == CMD_FAIL)
			fail_page(world, id, page, command->peer);
		else
			show_page(world, id, page, command->kind);
	}
}

static void carry_out(struct world *world, struct node_id id, const struct command *command)
{
	trace_command(world, id, command);
	switch (command->kind) {
	case CMD_SEND:
		net_send(world, id, command->peer, &command->message);
		break;
	case CMD_READ:
	case CMD_UPDATE:
		net_read(world, id, command->peer, command->run, command->kind == CMD_UPDATE);
		break;
	case CMD_FAST_READ:
		fast_begin(world, id, command);
		break;
	case CMD_TAKE:
		fast_take(world, id, command->run);
		break;
	case CMD_GATE:
		fast_gate(world, id, command);
		break;
	case CMD_COLLECT:
		fast_collect(world, id, command);
		break;
	case CMD_MAP_READ:
	case CMD_MAP_WRITE:
	case CMD_UPGRADE:
	case CMD_FAIL:
		show_run(world, id, command);
		break;
	case CMD_INVALIDATE:
	case CMD_DOWNGRADE:
		recall(world, id, command->run, command->kind == CMD_DOWNGRADE);
		break;
	case CMD_COMPLETE:
		call_completed(world, id, command);
		break;
	case CMD_RELEASE:
		release_run(world, id, command->run);
		break;
	case CMD_FREE:
		call_block_freed(world, id, command);
		break;
	case CMD_LOSE:
		if (node_at(world, command->peer)->alive)
			sim_fail(world, NULL, "node %u takes %u, which lives, for lost", id.value,
				 command->peer.value);
		break;
	}
}

int node_step(struct world *world, struct node_id id, struct event *event)
{
	struct commands *commands = &world->commands;

	event->now_ns = world->now_ns;
	commands->count = 0;
	trace_event(world, id, event);
	int error = engine_step(node_at(world, id)->engine, event, commands);

	if (error != 0 && error != -EAGAIN)
		sim_fail(world, NULL, "node %u: engine_step() returns %d", id.value, error);
	if (error == -EAGAIN && commands->count != 0)
		sim_fail(world, NULL, "node %u: -EAGAIN with %u commands", id.value,
			 commands->count);
	for (uint32_t i = 0; i < commands->count; i++)
		carry_out(world, id, &commands->list[i]);
	if (world->dead_count > 0)
		check_losses(world, id);
	if (world->step % 32 == 0 && world->mode != MODE_MANY)
		check_managers(world);
	return error;
}
