/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on their way out. A peer's queue is empty as long as the fabric has credits for it; when
 * it has none, messages wait here in order and go when the fabric says so.
 */
#include "base/assert.h"
#include "base/error.h"
#include "node/node.h"

#include <errno.h>

static uint32_t outgoing_new(struct node *node)
{
	uint32_t link = node->outgoing_free;

	if (link != 0) {
		node->outgoing_free = node->outgoing[link - 1].next;
		return link;
	}
	if (node->outgoing_fresh == OUTGOING_MAX) {
		error_set(-ENOBUFS, "%u messages wait for peers that do not take them",
			  OUTGOING_MAX);
		loss_fatal("outbox full");
	}
	return ++node->outgoing_fresh;
}

/* Hands one message to the fabric. False: no credit now. */
static bool hand_over(struct node *node, struct node_id peer, const struct message *message)
{
	const struct link *link = link_to(node, peer);
	int error = link->ops->send(link->fabric, peer, message, message->bytes);

	if (error == -EAGAIN)
		return false;
	if (error == 0)
		node->counters.messages_sent++;
	return true; /* -EHOSTDOWN: a peer-down event is on its way */
}

void outbox_send(struct node *node, struct node_id peer, const struct message *message)
{
	struct outbox *box = &node->outboxes[peer.value];

	ASSERT(!node_equal(peer, node->self) && message->bytes <= sizeof(*message));
	if (node->gone[peer.value])
		return;
	if (box->head == 0 && hand_over(node, peer, message))
		return;
	uint32_t link = outgoing_new(node);

	node->outgoing[link - 1] = (struct outgoing){ .message = *message };
	if (box->head == 0)
		box->head = link;
	else
		node->outgoing[box->tail - 1].next = link;
	box->tail = link;
}

static void drop_head(struct node *node, struct outbox *box)
{
	uint32_t link = box->head;
	struct outgoing *outgoing = &node->outgoing[link - 1];

	box->head = outgoing->next;
	outgoing->next = node->outgoing_free;
	node->outgoing_free = link;
}

void outbox_flush(struct node *node, struct node_id peer)
{
	struct outbox *box = &node->outboxes[peer.value];

	while (box->head != 0 && hand_over(node, peer, &node->outgoing[box->head - 1].message))
		drop_head(node, box);
}

void outbox_drop(struct node *node, struct node_id peer)
{
	struct outbox *box = &node->outboxes[peer.value];

	while (box->head != 0)
		drop_head(node, box);
}

bool outbox_empty(const struct node *node)
{
	for (unsigned int peer = 0; peer < node->node_count; peer++) {
		if (node->outboxes[peer].head != 0)
			return false;
	}
	return true;
}
