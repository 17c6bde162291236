/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast reads: each node's gates and sharer words, and the one-sided operations on them. The parts
 * of a chain are done in their order, each at any later time, with those of others and all else
 * between them; so are the fetching and the clearing of sharer words.
 */
#include "base/bitset.h"
#include "base/hash.h"
#include "sim.h"

#include <errno.h>

/* From the seed, but not drawn: worlds without fast reads stay what they were; kept seeds are such.
 */
void fast_choose(struct world *world)
{
	static const unsigned int weights[] = { 2, 10, 30, 100 };
	uint64_t hash = hash_u64(world->seed ^ UINT64_C(4723));

	world->fast = hash % 2 == 0 && world->node_count > 1;
	world->weight[ACT_FAST] = weights[hash >> 8 & 3];
	world->weight[ACT_COLLECT] = weights[hash >> 10 & 3];
	/* Pages that are stored to all the time are never read so. */
	if (world->fast && (hash >> 12 & 1) != 0)
		world->percent_store = 2 + (unsigned int)(hash >> 16) % 20;
}

/* ---- chains ---- */

void fast_begin(struct world *world, struct node_id node, const struct command *command)
{
	struct page_id page = command->fast.page;
	struct fast_op *op = bag_add(&world->fasts);

	if (node_equal(node, command->peer))
		sim_fail(world, &page, "node %u reads its own gate", node.value);
	if (node_at(world, node)->mapping[page.value] != PAGE_INVALID)
		sim_fail(world, &page, "node %u reads a page that it has mapped", node.value);
	*op = (struct fast_op){
		.node = node,
		.peer = command->peer,
		.page = page,
		.add = command->fast.add,
		.fails = !node_at(world, command->peer)->alive,
		.refused = chance(world, 10),
	};
}

static void do_part(struct world *world, struct fast_op *op)
{
	struct node *peer = node_at(world, op->peer);
	uint64_t page = op->page.value;

	switch (op->done++) {
	case 0:
		if (op->add)
			peer->sharers[page][op->node.value / 64] += UINT64_C(1)
								    << op->node.value % 64;
		return;
	case 1:
		op->gate = peer->gates[page];
		return;
	}
	op->landed.half[op->done - 3] = peer->frames[page].half[op->done - 3];
}

static void chain_over(struct world *world, size_t index)
{
	struct fast_op op = *(struct fast_op *)bag_at(&world->fasts, index);
	struct event event = { .kind = EV_FAST_DONE, .peer = op.peer };

	bag_remove(&world->fasts, index);
	event.status = op.fails ? -EHOSTDOWN : op.refused ? -EAGAIN : 0;
	event.fast.page = op.page;
	event.fast.added = op.add && op.done > 0;
	event.fast.gate = event.status == 0 ? op.gate : 0;
	world->landed = &op;
	node_step(world, op.node, &event);
	world->landed = NULL;
}

void fast_step(struct world *world)
{
	size_t index = below(world, world->fasts.count);
	struct fast_op *op = bag_at(&world->fasts, index);

	if (op->fails || op->refused || op->done == FAST_PARTS) {
		chain_over(world, index);
		return;
	}
	for (unsigned int count = 1 + below(world, FAST_PARTS - op->done); count > 0; count--)
		do_part(world, op);
	if (op->done == FAST_PARTS && chance(world, 50))
		chain_over(world, index);
}

void fast_take(struct world *world, struct node_id node, struct run run)
{
	const struct fast_op *op = world->landed;

	if (op == NULL || !node_equal(op->node, node) || !page_equal(op->page, run.page) ||
	    run.page_count != 1 || op->done != FAST_PARTS)
		sim_fail(world, &run.page, "node %u takes what it has not read", node.value);
	if (node_at(world, node)->mapping[run.page.value] != PAGE_INVALID)
		sim_fail(world, &run.page, "node %u takes bytes for a page that it has mapped",
			 node.value);
	node_at(world, node)->frames[run.page.value] = op->landed;
}

/* ---- gates and sharers ---- */

void fast_gate(struct world *world, struct node_id node, const struct command *command)
{
	node_at(world, node)->gates[command->gate.page.value] = command->gate.word;
}

static unsigned int set_words(const struct world *world)
{
	return (world->node_count + 63) / 64;
}

static void collect_part(struct world *world, struct sharers_op *op)
{
	uint64_t *words = node_at(world, op->node)->sharers[op->page.value];
	unsigned int word = op->done % set_words(world);
	uint64_t kept = op->keep.value / 64 == word ? UINT64_C(1) << op->keep.value % 64 : 0;

	if (op->done++ < set_words(world))
		op->seen[word] = words[word];
	else
		words[word] -= op->seen[word] & ~kept;
}

void fast_collect(struct world *world, struct node_id node, const struct command *command)
{
	struct sharers_op *op = bag_add(&world->collects);

	*op = (struct sharers_op){
		.node = node,
		.page = command->collect.page,
		.keep = command->collect.keep,
	};
	if (chance(world, 50))
		collect_part(world, op);
}

void fast_collect_step(struct world *world)
{
	size_t index = below(world, world->collects.count);
	struct sharers_op *op = bag_at(&world->collects, index);

	if (op->done < 2 * set_words(world)) {
		collect_part(world, op);
		return;
	}
	struct sharers_op over = *op;
	struct event event = { .kind = EV_COLLECTED };

	event.collected.page = over.page;
	event.collected.keep = over.keep;
	event.collected.sharers = over.seen;
	bag_remove(&world->collects, index);
	node_step(world, over.node, &event);
}

/* ---- loss ---- */

bool fast_under_way(struct world *world, struct node_id node, struct node_id peer)
{
	for (size_t i = 0; i < world->fasts.count; i++) {
		struct fast_op *op = bag_at(&world->fasts, i);

		if (node_equal(op->node, node) && node_equal(op->peer, peer))
			return true;
	}
	return false;
}

void fast_node_lost(struct world *world, struct node_id dead)
{
	for (size_t i = world->fasts.count; i-- > 0;) {
		struct fast_op *op = bag_at(&world->fasts, i);

		if (node_equal(op->node, dead))
			bag_remove(&world->fasts, i);
		else if (node_equal(op->peer, dead) && (op->done < FAST_PARTS || chance(world, 50)))
			op->fails = true;
	}
	for (size_t i = world->collects.count; i-- > 0;) {
		if (node_equal(((struct sharers_op *)bag_at(&world->collects, i))->node, dead))
			bag_remove(&world->collects, i);
	}
}

/* ---- at rest ---- */

/* Who has a page is in the copy set or has come through the gate, and each node knows its bit. */
void fast_check_holder(struct world *world, struct node_id manager, unsigned int index,
		       struct page_id page, const struct directory_view *view)
{
	const struct engine *engine = world->nodes[index].engine;
	const uint64_t *sharers = node_at(world, manager)->sharers[page.value];
	bool holds = engine_page_state(engine, page) != PAGE_INVALID;
	bool granted = bitset_test(view->holders, index);
	bool bit = bitset_test(sharers, index);

	if (granted ? !holds : (holds && !(bit && view->open)))
		sim_fail(world, &page,
			 "node %u: state %d, in the copy set: %d, sharer: %d, gate %s", index,
			 engine_page_state(engine, page), granted, bit,
			 view->open ? "open" : "closed");
	if (bit != engine_page_shared(engine, page))
		sim_fail(world, &page, "node %u: its bit is %d, and it believes %d", index, bit,
			 !bit);
}

void fast_check_gate(struct world *world, struct node_id manager, struct page_id page,
		     const struct directory_view *view)
{
	uint64_t gate = node_at(world, manager)->gates[page.value];
	uint64_t right = view->open ? engine_gate(view->owner, view->version) : 0;

	if (view->open && (view->exclusive || view->lost))
		sim_fail(world, &page, "the gate of page %llu is open, exclusive %d, lost %d",
			 (unsigned long long)page.value, view->exclusive, view->lost);
	if (gate != right)
		sim_fail(world, &page, "the gate of page %llu is %llx, should be %llx",
			 (unsigned long long)page.value, (unsigned long long)gate,
			 (unsigned long long)right);
}
