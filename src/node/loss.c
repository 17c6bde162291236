/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer is gone. Unless the job asked to go on (on-loss=error), the process ends here, with a line
 * that names the node; before that it tells its peers which node is the cause, so that they do not
 * name this one.
 */
#include "base/error.h"
#include "base/log.h"
#include "node/node.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void loss_fatal(const char *what)
{
	log_line(LOG_ERROR, "%s: %s; this node cannot go on", what, error_text());
	_exit(EXIT_NODE_LOST);
}

static void tell_peers(struct node *node, struct node_id lost)
{
	struct message message = { .kind = MSG_LOST };

	message.run = (struct message_run){ .page_count = 1, .node = lost.value };
	message.bytes = (uint16_t)message_bytes(&message);
	for (unsigned int peer = 0; peer < node->node_count; peer++) {
		const struct link *link = link_to(node, node_id(peer));

		if (peer != node->self.value && peer != lost.value && !node->gone[peer])
			link->ops->send(link->fabric, node_id(peer), &message, message.bytes);
	}
}

static void lose(struct node *node, struct node_id peer, const char *why)
{
	if (!node->any_lost) {
		node->any_lost = true;
		node->lost = peer;
	}
	if (settings_choice(&node->settings, SETTING_ON_LOSS) == ON_LOSS_CHOICE_ERROR) {
		log_line(LOG_WARNING, "node %u was lost: %s", peer.value, why);
		return;
	}
	log_line(LOG_ERROR,
		 "node %u was lost: %s; ending this node too (PERGOLA_ON_LOSS=error: go on)",
		 peer.value, why);
	tell_peers(node, peer);
	_exit(EXIT_NODE_LOST);
}

static void forget(struct node *node, struct node_id peer)
{
	struct event event = { .kind = EV_PEER_DOWN, .peer = peer };

	node->gone[peer.value] = true;
	outbox_drop(node, peer);
	loop_step(node, &event);
	reads_peer_down(node, peer);
}

void loss_peer_down(struct node *node, struct node_id peer, int status)
{
	if (node->gone[peer.value])
		return;
	if (status == 0 && node->leaving) {
		node->gone[peer.value] = true; /* it was told before us that all have arrived */
		outbox_drop(node, peer);
		return;
	}
	lose(node, peer,
	     status == 0 ? "it left without the other nodes"
	     : status == -ECONNRESET || status == -EHOSTDOWN
		     ? "its process ended without dsm_finish(), or was killed"
		     : strerror(-status));
	forget(node, peer);
}

void loss_peer_broken(struct node *node, struct node_id peer, const char *what)
{
	if (node->gone[peer.value])
		return;
	log_line(LOG_ERROR, "node %u broke the protocol: %s", peer.value, what);
	lose(node, peer, "it broke the protocol");
	forget(node, peer);
}

void loss_rumoured(struct node *node, struct node_id peer)
{
	if (node->gone[peer.value])
		return;
	lose(node, peer, "so say other nodes");
	forget(node, peer);
}

void loss_told(struct node *node, struct node_id lost)
{
	if (!node->gone[lost.value] && !node_equal(lost, node->self))
		lose(node, lost, "so says another node, which ended for it");
}

void loss_pages(struct node *node, struct node_id lost)
{
	if (settings_choice(&node->settings, SETTING_ON_LOSS) != ON_LOSS_CHOICE_ERROR)
		lose(node, lost, "it has the only copy of a page, and cannot be reached");
}

int loss_explain(struct node *node, const char *call, int status)
{
	if (status != -EHOSTDOWN && status != -EOWNERDEAD)
		return status;
	pthread_mutex_lock(&node->lock);
	struct node_id lost = node->lost;

	pthread_mutex_unlock(&node->lock);
	if (status == -EOWNERDEAD)
		return error_set(status, "%s: node %u, which held it, was lost", call, lost.value);
	return error_set(status, "%s: node %u was lost", call, lost.value);
}
