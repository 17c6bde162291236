/* SPDX-License-Identifier: Apache-2.0 */
/* Queue pairs: making them, posting to them, and counting what is outstanding. */
#include "state.h"

#include "base/assert.h"

#include <errno.h>

int queue_create(struct fabric *fabric, struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr wanted = {
		.send_cq = fabric->cq,
		.recv_cq = fabric->cq,
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = fabric->send_depth,
			.max_recv_wr = fabric->receive_depth,
			.max_send_sge = 1,
			.max_recv_sge = 1,
			.max_inline_data = fabric->inline_max,
		},
	};

	/* Devices differ in what they send inline, and say so only by refusing. */
	while (rdma_create_qp(id, fabric->pd, &wanted) != 0) {
		if (errno != EINVAL || wanted.cap.max_inline_data == 0)
			return verbs_fail("rdma_create_qp", errno);
		fabric->inline_max /= 2;
		wanted.cap.max_inline_data = fabric->inline_max;
	}
	return 0;
}

int queue_post_receive(struct fabric *fabric, unsigned int peer, uint32_t slot)
{
	size_t index = (size_t)peer * fabric->receive_depth + slot;
	struct ibv_sge sge = {
		.addr = (uint64_t)(uintptr_t)(fabric->receive_buffers + index * FABRIC_MESSAGE_MAX),
		.length = FABRIC_MESSAGE_MAX,
		.lkey = fabric->buffers_mr->lkey,
	};
	struct ibv_recv_wr wr = {
		.wr_id = wr_id(WR_RECEIVE, peer, slot),
		.sg_list = &sge,
		.num_sge = 1,
	};
	struct ibv_recv_wr *bad;
	int error = ibv_post_recv(fabric->peers[peer].id->qp, &wr, &bad);

	if (error != 0) {
		loss_begin(fabric, peer, -error);
		return verbs_fail("ibv_post_recv", error);
	}
	fabric->peers[peer].receives++;
	fabric->counters.work_requests++;
	return 0;
}

int queue_post_receives(struct fabric *fabric, unsigned int peer)
{
	for (uint32_t slot = 0; slot < fabric->receive_depth; slot++) {
		int error = queue_post_receive(fabric, peer, slot);

		if (error != 0)
			return error;
	}
	return 0;
}

uint32_t queue_room(const struct fabric *fabric, unsigned int peer)
{
	return fabric->send_depth - (fabric->peers[peer].posted - fabric->peers[peer].finished);
}

int queue_post(struct fabric *fabric, unsigned int peer, struct ibv_send_wr *wr)
{
	struct verbs_peer *to = &fabric->peers[peer];
	struct ibv_send_wr *bad = wr;
	uint32_t count = 0;

	for (const struct ibv_send_wr *each = wr; each != NULL; each = each->next)
		count++;
	ASSERT(queue_room(fabric, peer) >= count);
	int error = ibv_post_send(to->id->qp, wr, &bad);

	/* Of several, some may have been posted: then they are not to be tried again. */
	if (error == ENOMEM && bad == wr)
		return -EAGAIN; /* the device's idea of a full queue; completions make room */
	if (error != 0) {
		verbs_fail("ibv_post_send", error);
		loss_begin(fabric, peer, -error);
		return -EHOSTDOWN;
	}
	to->posted += count;
	fabric->counters.work_requests += count;
	return 0;
}
