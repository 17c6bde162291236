/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network: each node has one port with a link out and a link in, first in, first out, each with
 * the bandwidth of the profile; between ports there is the wire's latency and nothing that could
 * fill up. A job goes cut-through: its first byte arrives while its last is still to be sent.
 *
 * Of one pair of nodes jobs cannot overtake each other, as port/fabric.h promises for messages.
 */
#include "scale.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void count(struct world *world, const struct job *job)
{
	world->posted++;
	world->totals.wire_bytes += job->wire_bytes;
	if (job->kind == JOB_MESSAGE) {
		world->totals.messages[job->message_kind]++;
		world->messages[job->message_kind]++;
		node_at(world, job->from)->load.sent++;
	} else if (job->kind == JOB_READ) {
		world->totals.reads++;
	}
}

/* The processor will have posted it at `post_ps`. */
void net_send(struct world *world, struct job *job, uint64_t post_ps)
{
	job->wire_bytes += (uint32_t)world->setup.profile.header_bytes;
	agenda_add(&world->agenda,
		   (struct happening){ .at_ps = post_ps, .kind = HAPPEN_POST, .job = job });
}

void net_posted(struct world *world, struct job *job)
{
	const struct profile *profile = &world->setup.profile;
	struct node *node = node_at(world, job->from);
	uint64_t free_ps = world->setup.bug == BUG_WIDE_PORTS ? 0 : node->tx_free_ps;
	uint64_t start_ps = later(world->now_ps, free_ps);
	uint64_t bytes_ps = job->wire_bytes * profile->byte_ps;

	count(world, job);
	node->tx_free_ps = start_ps + bytes_ps;
	node->load.tx_ps += bytes_ps;
	agenda_add(&world->agenda, (struct happening){
					   .at_ps = start_ps + profile->wire_ns * PS_PER_NS,
					   .kind = HAPPEN_ARRIVE,
					   .job = job,
				   });
}

void net_arrived(struct world *world, struct job *job)
{
	struct node *node = node_at(world, job->to);
	uint64_t free_ps = world->setup.bug == BUG_WIDE_PORTS ? 0 : node->rx_free_ps;
	uint64_t start_ps = later(world->now_ps, free_ps);
	uint64_t bytes_ps = job->wire_bytes * world->setup.profile.byte_ps;

	node->rx_free_ps = start_ps + bytes_ps;
	node->load.rx_ps += bytes_ps;
	agenda_add(&world->agenda, (struct happening){
					   .at_ps = start_ps + bytes_ps,
					   .kind = HAPPEN_DELIVER,
					   .job = job,
				   });
}
