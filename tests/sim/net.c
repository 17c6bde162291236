/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated fabric, as port/fabric.h promises it and no better: messages of one pair in order,
 * each encoded and decoded; reads that take the peer's frame piece by piece at any later time; a
 * crash after which some of what was sent still arrives, and of which each survivor hears when it
 * has seen the rest.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct channel *channel_at(struct world *world, uint32_t index)
{
	return &world->channels[index];
}

static uint32_t channel_index(const struct world *world, struct node_id from, struct node_id to)
{
	return (uint32_t)from.value * world->node_count + to.value;
}

static void busy_remove(struct world *world, struct channel *channel)
{
	uint32_t place = channel->place - 1;

	channel->place = 0;
	bag_remove(&world->busy, place);
	if (place < world->busy.count)
		channel_at(world, *(uint32_t *)bag_at(&world->busy, place))->place = place + 1;
}

static void packet_put(struct world *world, struct packet *packet)
{
	packet->next = world->spare_packets;
	world->spare_packets = packet;
}

static struct packet *packet_get(struct world *world)
{
	struct packet *packet = world->spare_packets;

	if (packet != NULL)
		world->spare_packets = packet->next;
	else
		packet = malloc(sizeof(*packet));
	packet->next = NULL;
	return packet;
}

static struct packet *channel_pop(struct world *world, struct channel *channel)
{
	struct packet *packet = channel->head;

	channel->head = packet->next;
	if (--channel->count == 0) {
		channel->tail = NULL;
		busy_remove(world, channel);
	}
	return packet;
}

static void channel_cut(struct world *world, struct channel *channel, uint32_t keep)
{
	struct packet *kept = NULL;
	struct packet *rest = channel->head;

	if (channel->count <= keep)
		return;
	for (uint32_t i = 0; i < keep; i++) {
		kept = rest;
		rest = rest->next;
	}
	while (rest != NULL) {
		struct packet *next = rest->next;

		packet_put(world, rest);
		rest = next;
	}
	channel->count = keep;
	channel->tail = kept;
	if (kept != NULL) {
		kept->next = NULL;
		return;
	}
	channel->head = NULL;
	busy_remove(world, channel);
}

/* Hints lead every writer to the manager, as long as nobody is lost: it need not ask all. */
static void check_request(struct world *world, const struct message *message)
{
	struct page_id page = page_id(message->request.page);

	if (message->kind == MSG_WRITE_REQUEST && (message->request.flags & REQUEST_ROUND) != 0 &&
	    world->manager == MANAGER_DYNAMIC && world->dead_count == 0)
		sim_fail(world, &page, "node %u asks all nodes for page %llu, to write",
			 message->request.node, (unsigned long long)page.value);
}

void net_send(struct world *world, struct node_id from, struct node_id to,
	      const struct message *message)
{
	uint32_t index = channel_index(world, from, to);
	struct channel *channel = channel_at(world, index);

	if (node_equal(from, to))
		sim_fail(world, NULL, "node %u sends to itself", from.value);
	if (message->bytes != message_bytes(message))
		sim_fail(world, NULL, "%s of %u bytes, should be %zu",
			 message_name((enum message_kind)message->kind), message->bytes,
			 message_bytes(message));
	check_request(world, message);
	for (uint64_t i = 0; message->kind == MSG_REFUSE && i < message->run.page_count; i++)
		check_refusal(world, to, page_id(message->run.page + i));
	if (!node_at(world, to)->alive)
		return;
	struct packet *packet = packet_get(world);

	packet->bytes = message->bytes;
	memcpy(packet->data, message, message->bytes);
	if (channel->count++ == 0) {
		channel->head = packet;
		*(uint32_t *)bag_add(&world->busy) = index;
		channel->place = (uint32_t)world->busy.count;
	} else {
		channel->tail->next = packet;
	}
	channel->tail = packet;
}

void net_deliver(struct world *world)
{
	uint32_t index = *(uint32_t *)bag_at(&world->busy, below(world, world->busy.count));
	struct packet *packet = channel_pop(world, channel_at(world, index));
	struct node_id from = node_id(index / world->node_count);
	struct node_id to = node_id(index % world->node_count);
	const struct wire_limits limits = { world->node_count, SIM_PAGES };
	struct message message;

	if (message_decode(packet->data, packet->bytes, &limits, &message) != 0)
		sim_fail(world, NULL, "message from %u to %u does not decode", from.value,
			 to.value);
	packet_put(world, packet);
	struct event event = { .kind = EV_MESSAGE, .peer = from, .message = &message };

	node_step(world, to, &event);
}

/* ---- one-sided reads ---- */

/* The fabric takes a run in one piece or in several. */
void net_read(struct world *world, struct node_id node, struct node_id peer, struct run run,
	      bool update)
{
	enum page_state mapping = update ? PAGE_READ : PAGE_INVALID;
	bool pieces = chance(world, 20);

	for (uint32_t i = 0; i < run.page_count; i++) {
		struct page_id page = page_add(run.page, i);

		if (node_at(world, node)->mapping[page.value] != mapping)
			sim_fail(world, &page, "node %u fetches into a frame that it has mapped",
				 node.value);
	}
	for (uint32_t i = 0; i < run.page_count;) {
		uint32_t count = pieces ? 1 + below(world, run.page_count - i) : run.page_count;
		struct read_op *op = bag_add(&world->reads);

		*op = (struct read_op){ .node = node, .peer = peer, .update = update };
		op->run = (struct run){ page_add(run.page, i), count };
		op->fails = !node_at(world, peer)->alive ||
			    (update && chance(world, world->percent_cut));
		i += count;
	}
}

static void copy_halves(struct world *world, struct read_op *op, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++, op->halves++) {
		struct page_id page = page_add(op->run.page, op->halves / 2);
		unsigned int half = op->halves % 2;

		struct frame *to = op->update ? &op->bounce[op->halves / 2]
					      : &node_at(world, op->node)->frames[page.value];

		to->half[half] = node_at(world, op->peer)->frames[page.value].half[half];
	}
}

/* What was read in full goes to where threads read it, word by word. */
static void place_halves(struct world *world, struct read_op *op, uint32_t count)
{
	struct node *node = node_at(world, op->node);

	for (uint32_t i = 0; i < count; i++, op->placed++) {
		struct page_id page = page_add(op->run.page, op->placed / 2);
		unsigned int half = op->placed % 2;

		if (node->mapping[page.value] != PAGE_READ)
			sim_fail(world, &page, "node %u is updated and does not read the page",
				 op->node.value);
		node->frames[page.value].half[half] = op->bounce[op->placed / 2].half[half];
	}
}

static void read_over(struct world *world, size_t index)
{
	struct read_op op = *(struct read_op *)bag_at(&world->reads, index);
	struct event event = {
		.kind = op.update ? EV_UPDATE_DONE : EV_READ_DONE,
		.peer = op.peer,
		.status = op.fails ? -EHOSTDOWN : 0,
		.run = op.run,
	};

	bag_remove(&world->reads, index);
	node_step(world, op.node, &event);
}

void net_read_step(struct world *world)
{
	size_t index = below(world, world->reads.count);
	struct read_op *op = bag_at(&world->reads, index);
	uint32_t left = 2 * op->run.page_count - op->halves;
	uint32_t to_place = op->update ? 2 * op->run.page_count - op->placed : 0;

	if (op->fails || (left == 0 && to_place == 0)) {
		read_over(world, index);
		return;
	}
	if (left == 0) {
		place_halves(world, op, chance(world, 30) ? to_place : 1 + below(world, to_place));
		return;
	}
	copy_halves(world, op, chance(world, 30) ? left : 1 + below(world, left));
	if (op->halves == 2 * op->run.page_count && !op->update && chance(world, 50))
		read_over(world, index);
}

/* ---- loss ---- */

static bool reads_under_way(struct world *world, struct node_id node, struct node_id peer)
{
	if (fast_under_way(world, node, peer))
		return true;
	for (size_t i = 0; i < world->reads.count; i++) {
		struct read_op *op = bag_at(&world->reads, i);

		if (node_equal(op->node, node) && node_equal(op->peer, peer))
			return true;
	}
	return false;
}

bool net_notice_ready(struct world *world, size_t index)
{
	struct notice *notice = bag_at(&world->notices, index);
	uint32_t channel = channel_index(world, notice->dead, notice->survivor);

	return channel_at(world, channel)->count == 0 &&
	       (notice->before_reads || !reads_under_way(world, notice->survivor, notice->dead));
}

void net_notice(struct world *world, size_t index)
{
	struct notice notice = *(struct notice *)bag_at(&world->notices, index);
	struct event event = { .kind = EV_PEER_DOWN, .peer = notice.dead };

	bag_remove(&world->notices, index);
	check_before_notice(world, notice.survivor, notice.dead);
	node_step(world, notice.survivor, &event);
	if (chance(world, 5))
		node_step(world, notice.survivor, &event);
}

static void forget_ops_of(struct world *world, struct node_id dead)
{
	fast_node_lost(world, dead);
	for (size_t i = world->reads.count; i-- > 0;) {
		struct read_op *op = bag_at(&world->reads, i);

		if (node_equal(op->node, dead))
			bag_remove(&world->reads, i);
		else if (node_equal(op->peer, dead) && op->placed == 0 &&
			 (op->halves < 2 * op->run.page_count || chance(world, 50)))
			op->fails = true;
	}
	for (size_t i = world->pager_ops.count; i-- > 0;) {
		if (node_equal(((struct pager_op *)bag_at(&world->pager_ops, i))->node, dead))
			bag_remove(&world->pager_ops, i);
	}
	for (size_t i = world->faults.count; i-- > 0;) {
		if (node_equal(((struct fault *)bag_at(&world->faults, i))->node, dead))
			bag_remove(&world->faults, i);
	}
	for (size_t i = world->notices.count; i-- > 0;) {
		if (node_equal(((struct notice *)bag_at(&world->notices, i))->survivor, dead))
			bag_remove(&world->notices, i);
	}
}

static void cut_channels(struct world *world, struct node_id dead)
{
	for (unsigned int i = 0; i < world->node_count; i++) {
		struct channel *out = channel_at(world, channel_index(world, dead, node_id(i)));
		struct channel *in = channel_at(world, channel_index(world, node_id(i), dead));

		channel_cut(world, out, chance(world, 30) ? 0 : below(world, out->count + 1u));
		channel_cut(world, in, 0);
	}
}

void net_crash(struct world *world)
{
	struct node_id dead;
	struct node *node;

	do {
		dead = node_id(below(world, world->node_count));
		node = node_at(world, dead);
	} while (!node->alive);
	world->crashes_left--;
	world->dead_count++;
	trace_line(world, "n%u crashes", dead.value);
	pin_node_lost(node);
	updates_crash(world, dead);
	for (uint64_t i = 0; i < SIM_PAGES; i++) {
		if (check_unseen(world, dead, page_id(i)))
			world->pages[i].undecided = true;
		node_set_mapping(world, dead, page_id(i), PAGE_INVALID);
	}
	node->alive = false;
	call_node_lost(world, node);
	forget_ops_of(world, dead);
	cut_channels(world, dead);
	for (unsigned int i = 0; i < world->node_count; i++) {
		if (!world->nodes[i].alive)
			continue;
		struct notice *notice = bag_add(&world->notices);

		*notice = (struct notice){ .dead = dead, .survivor = node_id(i) };
		notice->before_reads = chance(world, 30);
	}
}

void net_clear(struct world *world)
{
	while (world->busy.count > 0)
		channel_cut(world, channel_at(world, *(uint32_t *)bag_at(&world->busy, 0)), 0);
}
