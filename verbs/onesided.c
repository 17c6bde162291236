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

static int transfer(struct fabric *fabric, const struct fabric_local *local,
		    const struct fabric_remote *remote, enum ibv_wr_opcode opcode, uint64_t tag)
{
	bool read = opcode == IBV_WR_RDMA_READ;
	uintptr_t start = (uintptr_t)local->region->addr;
	uintptr_t first = (uintptr_t)local->addr;
	struct ibv_sge sge = {
		.addr = first,
		.length = local->bytes,
		.lkey = local->region->mr->lkey,
	};
	struct ibv_send_wr wr = { .opcode = opcode };

	int error = peer_check(fabric, remote->peer);

	if (error != 0)
		return error;
	if (local->bytes > FABRIC_TRANSFER_MAX || first < start ||
	    first - start > local->region->bytes ||
	    local->bytes > local->region->bytes - (first - start))
		return -EINVAL;
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
