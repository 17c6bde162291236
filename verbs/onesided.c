/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-sided operations. Each asks for a completion; its wr_id is the place in the table of
 * operations. The result of an atomic lands in a word that belongs to that place.
 */
#include "state.h"

#include "base/assert.h"

#include <errno.h>

static uint32_t operation_new(struct fabric *fabric)
{
	uint32_t link = fabric->operation_free;

	if (link != 0)
		fabric->operation_free = fabric->operations[link - 1].next_free;
	return link;
}

static void operation_release(struct fabric *fabric, uint32_t link)
{
	fabric->operations[link - 1] = (struct operation){ .next_free = fabric->operation_free };
	fabric->operation_free = link;
}

/* Posts `wr`, complete but for its wr_id and sge, as an operation of `event`'s kind. */
static int post(struct fabric *fabric, unsigned int peer, struct ibv_send_wr *wr,
		struct ibv_sge *sge, enum fabric_event_kind event, uint64_t tag)
{
	struct verbs_peer *to = &fabric->peers[peer];

	if (to->operations >= OPERATIONS_PER_PEER || queue_room(fabric, peer) <= CONTROLS_PER_PEER)
		return -EAGAIN;
	uint32_t link = operation_new(fabric);

	if (link == 0)
		return -EAGAIN;
	if (event == FABRIC_ATOMIC_DONE) {
		sge->addr = (uint64_t)(uintptr_t)&fabric->atomic_results[link - 1];
		sge->length = sizeof(uint64_t);
		sge->lkey = fabric->buffers_mr->lkey;
	}
	wr->wr_id = wr_id(WR_OPERATION, peer, link);
	wr->sg_list = sge;
	wr->num_sge = 1;
	wr->send_flags = IBV_SEND_SIGNALED;
	fabric->operations[link - 1] = (struct operation){
		.tag = tag,
		.sequence = to->posted,
		.peer = (uint16_t)peer,
		.event = (uint8_t)event,
		.used = true,
	};
	int error = queue_post(fabric, peer, wr);

	if (error != 0) {
		operation_release(fabric, link);
		return error;
	}
	to->operations++;
	return 0;
}

static int peer_check(const struct fabric *fabric, struct node_id peer)
{
	if (peer.value >= fabric->config.node_count)
		return -EINVAL;
	return fabric->peers[peer.value].state == PEER_UP ? 0 : -EHOSTDOWN;
}

static int local_check(const struct fabric_local *local)
{
	uintptr_t start = (uintptr_t)local->region->addr;
	uintptr_t first = (uintptr_t)local->addr;

	if (local->bytes > FABRIC_TRANSFER_MAX || first < start ||
	    first - start > local->region->bytes ||
	    local->bytes > local->region->bytes - (first - start))
		return -EINVAL;
	return 0;
}

static int transfer(struct fabric *fabric, const struct fabric_local *local,
		    const struct fabric_remote *remote, enum ibv_wr_opcode opcode, uint64_t tag)
{
	bool read = opcode == IBV_WR_RDMA_READ;
	struct ibv_sge sge = {
		.addr = (uint64_t)(uintptr_t)local->addr,
		.length = local->bytes,
		.lkey = local->region->mr->lkey,
	};
	struct ibv_send_wr wr = { .opcode = opcode };

	int error = peer_check(fabric, remote->peer);

	if (error != 0)
		return error;
	error = local_check(local);
	if (error != 0)
		return error;
	error = region_check(&remote->key, remote->offset, local->bytes,
			     read ? FABRIC_REMOTE_READ : FABRIC_REMOTE_WRITE);

	if (error != 0)
		return error;
	wr.wr.rdma.remote_addr = remote->key.addr + remote->offset;
	wr.wr.rdma.rkey = region_rkey(&remote->key);
	return post(fabric, remote->peer.value, &wr, &sge,
		    read ? FABRIC_READ_DONE : FABRIC_WRITE_DONE, tag);
}

int onesided_read(struct fabric *fabric, const struct fabric_local *local,
		  const struct fabric_remote *remote, uint64_t tag)
{
	return transfer(fabric, local, remote, IBV_WR_RDMA_READ, tag);
}

int onesided_write(struct fabric *fabric, const struct fabric_local *local,
		   const struct fabric_remote *remote, uint64_t tag)
{
	return transfer(fabric, local, remote, IBV_WR_RDMA_WRITE, tag);
}

static int atomic(struct fabric *fabric, const struct fabric_remote *remote, struct ibv_send_wr *wr,
		  uint64_t tag)
{
	struct ibv_sge sge;
	int error = peer_check(fabric, remote->peer);

	if (error != 0)
		return error;
	if (remote->offset % sizeof(uint64_t) != 0)
		return -EINVAL;
	error = region_check(&remote->key, remote->offset, sizeof(uint64_t), FABRIC_REMOTE_ATOMIC);

	if (error != 0)
		return error;
	wr->wr.atomic.remote_addr = remote->key.addr + remote->offset;
	wr->wr.atomic.rkey = region_rkey(&remote->key);
	return post(fabric, remote->peer.value, wr, &sge, FABRIC_ATOMIC_DONE, tag);
}

int onesided_fetch_add(struct fabric *fabric, const struct fabric_remote *remote, uint64_t add,
		       uint64_t tag)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_ATOMIC_FETCH_AND_ADD };

	wr.wr.atomic.compare_add = add;
	return atomic(fabric, remote, &wr, tag);
}

int onesided_compare_swap(struct fabric *fabric, const struct fabric_remote *remote,
			  uint64_t expected, uint64_t desired, uint64_t tag)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_ATOMIC_CMP_AND_SWP };

	wr.wr.atomic.compare_add = expected;
	wr.wr.atomic.swap = desired;
	return atomic(fabric, remote, &wr, tag);
}

/* Where chain->guard lands: a word that belongs to the operation, as that of its addition does. */
static void guard_request(struct fabric *fabric, uint32_t link, const struct fabric_chain *chain,
			  struct ibv_sge *sge, struct ibv_send_wr *wr)
{
	*sge = (struct ibv_sge){
		.addr = (uint64_t)(uintptr_t)&fabric->guard_results[link - 1],
		.length = sizeof(uint64_t),
		.lkey = fabric->buffers_mr->lkey,
	};
	wr->opcode = IBV_WR_RDMA_READ;
	wr->wr.rdma.remote_addr = chain->guard.key.addr + chain->guard.offset;
	wr->wr.rdma.rkey = region_rkey(&chain->guard.key);
}

static void word_request(struct fabric *fabric, uint32_t link, const struct fabric_chain *chain,
			 struct ibv_sge *sge, struct ibv_send_wr *wr)
{
	*sge = (struct ibv_sge){
		.addr = (uint64_t)(uintptr_t)&fabric->atomic_results[link - 1],
		.length = sizeof(uint64_t),
		.lkey = fabric->buffers_mr->lkey,
	};
	wr->opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
	wr->wr.atomic.remote_addr = chain->word.key.addr + chain->word.offset;
	wr->wr.atomic.rkey = region_rkey(&chain->word.key);
	wr->wr.atomic.compare_add = chain->add;
}

static void source_request(const struct fabric_chain *chain, struct ibv_sge *sge,
			   struct ibv_send_wr *wr)
{
	*sge = (struct ibv_sge){
		.addr = (uint64_t)(uintptr_t)chain->local.addr,
		.length = chain->local.bytes,
		.lkey = chain->local.region->mr->lkey,
	};
	wr->opcode = IBV_WR_RDMA_READ;
	wr->wr.rdma.remote_addr = chain->source.key.addr + chain->source.offset;
	wr->wr.rdma.rkey = region_rkey(&chain->source.key);
}

#define CHAIN_LENGTH 3u

/*
 * One list of requests, rung in once, of which the last asks for a completion. A responder executes
 * reads that follow an atomic operation after it (InfiniBand Architecture Specification, volume 1,
 * 9.5 and 10.8.3.3). One that fails completes whether it asked for that or not; its wr_id is that
 * of a request of the fabric's own, and the operation ends with those that are flushed after it.
 */
static int chain_post(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag)
{
	unsigned int peer = chain->word.peer.value;
	struct verbs_peer *to = &fabric->peers[peer];
	struct ibv_send_wr wrs[CHAIN_LENGTH] = { { .num_sge = 1 },
						 { .num_sge = 1 },
						 { .num_sge = 1 } };
	struct ibv_sge sges[CHAIN_LENGTH];
	uint32_t link;

	if (to->operations >= OPERATIONS_PER_PEER ||
	    queue_room(fabric, peer) < CONTROLS_PER_PEER + CHAIN_LENGTH)
		return -EAGAIN;
	link = operation_new(fabric);
	if (link == 0)
		return -EAGAIN;
	word_request(fabric, link, chain, &sges[0], &wrs[0]);
	guard_request(fabric, link, chain, &sges[1], &wrs[1]);
	source_request(chain, &sges[2], &wrs[2]);
	for (unsigned int i = 0; i < CHAIN_LENGTH; i++) {
		wrs[i].sg_list = &sges[i];
		wrs[i].wr_id = wr_id(WR_CONTROL, peer, to->posted + i);
		wrs[i].next = i + 1 < CHAIN_LENGTH ? &wrs[i + 1] : NULL;
	}
	wrs[CHAIN_LENGTH - 1].wr_id = wr_id(WR_OPERATION, peer, link);
	wrs[CHAIN_LENGTH - 1].send_flags = IBV_SEND_SIGNALED;
	fabric->operations[link - 1] = (struct operation){
		.tag = tag,
		.sequence = to->posted + CHAIN_LENGTH - 1,
		.peer = (uint16_t)peer,
		.event = FABRIC_CHAIN_DONE,
		.used = true,
	};
	int error = queue_post(fabric, peer, &wrs[0]);

	if (error != 0) {
		operation_release(fabric, link);
		return error;
	}
	to->operations++;
	return 0;
}

int onesided_chain(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag)
{
	int error = peer_check(fabric, chain->word.peer);

	if (error != 0)
		return error;
	if (chain->word.offset % 8 != 0 || chain->guard.offset % 8 != 0 ||
	    !node_equal(chain->word.peer, chain->guard.peer) ||
	    !node_equal(chain->word.peer, chain->source.peer))
		return -EINVAL;
	error = local_check(&chain->local);
	if (error == 0)
		error = region_check(&chain->word.key, chain->word.offset, 8, FABRIC_REMOTE_ATOMIC);
	if (error == 0)
		error = region_check(&chain->guard.key, chain->guard.offset, 8, FABRIC_REMOTE_READ);
	if (error == 0)
		error = region_check(&chain->source.key, chain->source.offset, chain->local.bytes,
				     FABRIC_REMOTE_READ);
	return error == 0 ? chain_post(fabric, chain, tag) : error;
}

void onesided_done(struct fabric *fabric, uint32_t number, int status, struct fabric_event *event)
{
	ASSERT(number >= 1 && number <= OPERATIONS_MAX);
	const struct operation *operation = &fabric->operations[number - 1];

	ASSERT(operation->used);
	*event = (struct fabric_event){
		.kind = (enum fabric_event_kind)operation->event,
		.peer = node_id(operation->peer),
		.status = status,
		.tag = operation->tag,
		.value = fabric->atomic_results[number - 1],
		.guard = operation->event == FABRIC_CHAIN_DONE ? fabric->guard_results[number - 1]
							       : 0,
	};
	fabric->peers[operation->peer].operations--;
	operation_release(fabric, number);
}

void onesided_abandon(struct fabric *fabric, unsigned int peer, int status)
{
	struct fabric_event event;

	for (uint32_t number = 1; number <= OPERATIONS_MAX; number++) {
		struct operation *operation = &fabric->operations[number - 1];

		if (!operation->used || operation->peer != peer)
			continue;
		onesided_done(fabric, number, status, &event);
		poll_ready(fabric, &event);
	}
}
