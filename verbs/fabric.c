/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the fabric on verbs, and its table of operations. */
#include "state.h"
#include "verbs.h"

#include "base/error.h"
#include "port/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define REGISTER_UNIT_BYTES (2u << 20)
#define PEERS_MAX 1024u
#define CREDITS_MAX 4096u

_Static_assert(sizeof(struct verbs_address) <= FABRIC_ADDRESS_MAX, "an address fits the blob");

static int nonblocking(int fd)
{
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0
		       ? 0
		       : verbs_fail("fcntl", errno);
}

/* ---- memory ---- */

static size_t align(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static int open_buffers(struct fabric *fabric)
{
	size_t nodes = fabric->config.node_count;
	size_t receive = align(nodes * fabric->receive_depth * FABRIC_MESSAGE_MAX);
	size_t send = align(nodes * fabric->send_depth * FABRIC_MESSAGE_MAX);
	size_t results = align(2 * OPERATIONS_MAX * sizeof(uint64_t));

	fabric->buffers_bytes = receive + send + results;
	void *buffers = mmap(NULL, fabric->buffers_bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (buffers == MAP_FAILED)
		return error_set(-ENOMEM,
				 "no %zu bytes for message buffers; fewer "
				 "PERGOLA_CREDITS need less",
				 fabric->buffers_bytes);
	fabric->receive_buffers = buffers;
	fabric->send_buffers = fabric->receive_buffers + receive;
	fabric->atomic_results = (uint64_t *)(void *)(fabric->send_buffers + send);
	fabric->guard_results = fabric->atomic_results + OPERATIONS_MAX;
	fabric->buffers_mr =
		ibv_reg_mr(fabric->pd, buffers, fabric->buffers_bytes, IBV_ACCESS_LOCAL_WRITE);
	return fabric->buffers_mr != NULL ? 0 : verbs_fail("ibv_reg_mr (message buffers)", errno);
}

static int open_tables(struct fabric *fabric)
{
	size_t nodes = fabric->config.node_count;

	fabric->ready_size = OPERATIONS_MAX + 4 * (uint32_t)nodes;
	fabric->peers = calloc(nodes, sizeof(*fabric->peers));
	fabric->nonces = calloc(nodes, sizeof(*fabric->nonces));
	fabric->operations = calloc(OPERATIONS_MAX, sizeof(*fabric->operations));
	fabric->ready = calloc(fabric->ready_size, sizeof(*fabric->ready));
	if (fabric->peers == NULL || fabric->nonces == NULL || fabric->operations == NULL ||
	    fabric->ready == NULL)
		return error_set(-ENOMEM, "no memory for %zu peers", nodes);
	for (uint32_t number = OPERATIONS_MAX; number > 0; number--) {
		fabric->operations[number - 1].next_free = fabric->operation_free;
		fabric->operation_free = number;
	}
	return 0;
}

/* ---- queues and descriptors ---- */

static int open_queues(struct fabric *fabric)
{
	unsigned int entries;

	fabric->inline_max = FABRIC_MESSAGE_MAX;
	fabric->send_depth = fabric->config.credits + OPERATIONS_PER_PEER + CONTROLS_PER_PEER;
	fabric->receive_depth = fabric->config.credits + RECEIVES_SPARE;
	entries = (fabric->config.node_count + 1) * (fabric->send_depth + fabric->receive_depth) +
		  RETRIES_MAX * fabric->receive_depth;
	if (entries > (unsigned int)fabric->limits.max_cqe)
		return error_set(-EINVAL,
				 "%u nodes with PERGOLA_CREDITS=%u need %u completion entries; the "
				 "device has %d. Fewer credits need fewer",
				 fabric->config.node_count, fabric->config.credits, entries,
				 fabric->limits.max_cqe);
	fabric->pd = ibv_alloc_pd(fabric->device);
	if (fabric->pd == NULL)
		return verbs_fail("ibv_alloc_pd", errno);
	fabric->channel = ibv_create_comp_channel(fabric->device);
	if (fabric->channel == NULL)
		return verbs_fail("ibv_create_comp_channel", errno);
	fabric->cq = ibv_create_cq(fabric->device, (int)entries, NULL, fabric->channel, 0);
	if (fabric->cq == NULL)
		return verbs_fail("ibv_create_cq", errno);
	return nonblocking(fabric->channel->fd);
}

static int watch(struct fabric *fabric, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(fabric->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0
		       ? 0
		       : verbs_fail("epoll_ctl", errno);
}

/*
 * An idle node wakes to ask whether its peers are alive, and so often that what loss_tend() adds
 * up, five eighths of loss_ns, is not much longer for being seen late twice.
 */
static int open_descriptors(struct fabric *fabric)
{
	uint64_t tick_ns = fabric->loss_ns / 16;
	struct itimerspec tick = {
		.it_interval = { (time_t)(tick_ns / 1000000000), (long)(tick_ns % 1000000000) },
		.it_value = { (time_t)(tick_ns / 1000000000), (long)(tick_ns % 1000000000) },
	};

	fabric->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fabric->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fabric->epoll_fd < 0 || fabric->timer_fd < 0 ||
	    timerfd_settime(fabric->timer_fd, 0, &tick, NULL) != 0)
		return verbs_fail("epoll_create1, timerfd_create", errno);
	int error = watch(fabric, fabric->channel->fd);

	if (error == 0)
		error = watch(fabric, fabric->cm->fd);
	return error == 0 ? watch(fabric, fabric->timer_fd) : error;
}

/* ---- the operations ---- */

static void free_ids(struct fabric *fabric)
{
	for (unsigned int i = 0; fabric->peers != NULL && i < fabric->config.node_count; i++) {
		if (fabric->peers[i].id == NULL)
			continue;
		if (fabric->peers[i].id->qp != NULL)
			rdma_destroy_qp(fabric->peers[i].id);
		rdma_destroy_id(fabric->peers[i].id);
	}
	if (fabric->loop_end != NULL) {
		if (fabric->loop_end->qp != NULL)
			rdma_destroy_qp(fabric->loop_end);
		rdma_destroy_id(fabric->loop_end);
	}
	if (fabric->listener != NULL)
		rdma_destroy_id(fabric->listener);
}

static void free_all(struct fabric *fabric)
{
	free_ids(fabric);
	if (fabric->buffers_mr != NULL)
		ibv_dereg_mr(fabric->buffers_mr);
	if (fabric->receive_buffers != NULL)
		munmap(fabric->receive_buffers, fabric->buffers_bytes);
	if (fabric->cq != NULL)
		ibv_destroy_cq(fabric->cq);
	if (fabric->channel != NULL)
		ibv_destroy_comp_channel(fabric->channel);
	if (fabric->pd != NULL)
		ibv_dealloc_pd(fabric->pd);
	if (fabric->cm != NULL)
		rdma_destroy_event_channel(fabric->cm);
	if (fabric->epoll_fd >= 0)
		close(fabric->epoll_fd);
	if (fabric->timer_fd >= 0)
		close(fabric->timer_fd);
	free(fabric->peers);
	free(fabric->nonces);
	free(fabric->operations);
	free(fabric->ready);
	free(fabric);
}

static int open_parts(struct fabric *fabric)
{
	fabric->cm = rdma_create_event_channel();
	if (fabric->cm == NULL)
		return verbs_fail("rdma_create_event_channel (/dev/infiniband/rdma_cm)", errno);
	int error = nonblocking(fabric->cm->fd);

	if (error == 0)
		error = device_open(fabric);
	if (error == 0)
		error = open_queues(fabric);
	if (error == 0)
		error = open_buffers(fabric);
	if (error == 0)
		error = open_tables(fabric);
	return error == 0 ? open_descriptors(fabric) : error;
}

static int config_check(const struct fabric_config *config)
{
	unsigned int credits = config->credits;

	if (config->node_count == 0 || config->node_count > PEERS_MAX ||
	    config->self.value >= config->node_count || config->job == 0 ||
	    config->loss_timeout_ns == 0)
		return error_set(-EINVAL, "verbs: no such node %u of %u, or no job number",
				 config->self.value, config->node_count);
	if (credits == 0 || credits > CREDITS_MAX || (credits & (credits - 1)) != 0)
		return error_set(-EINVAL, "verbs: credits are a power of two up to %u, not %u",
				 CREDITS_MAX, credits);
	return 0;
}

static int verbs_open(const struct fabric_config *config, struct fabric **out,
		      struct fabric_address *address)
{
	struct verbs_address at = { 0 };
	int error = config_check(config);

	if (error != 0)
		return error;
	struct fabric *fabric = calloc(1, sizeof(*fabric));

	if (fabric == NULL)
		return error_set(-ENOMEM, "no memory for a fabric");
	fabric->config = *config;
	fabric->loss_ns = config->loss_timeout_ns;
	fabric->epoll_fd = -1;
	fabric->timer_fd = -1;
	error = getrandom(&fabric->nonce, sizeof(fabric->nonce), 0) ==
				(ssize_t)sizeof(fabric->nonce)
			? open_parts(fabric)
			: verbs_fail("getrandom", errno);

	if (error != 0) {
		free_all(fabric);
		return error;
	}
	at.nonce = fabric->nonce;
	memcpy(&at.at, &fabric->address, sizeof(at.at));
	address->bytes = sizeof(at);
	memcpy(address->data, &at, sizeof(at));
	*out = fabric;
	return 0;
}

static void say_goodbyes(struct fabric *fabric, bool *said)
{
	for (unsigned int i = 0; i < fabric->config.node_count; i++) {
		if (!said[i] && i != fabric->config.self.value &&
		    fabric->peers[i].state == PEER_UP && queue_room(fabric, i) > 0)
			said[i] = message_goodbye(fabric, i) == 0;
	}
}

/* Has every peer's device acknowledged the goodbye, and with it all messages before it? */
static bool all_acknowledged(const struct fabric *fabric, const bool *said)
{
	for (unsigned int i = 0; i < fabric->config.node_count; i++) {
		const struct verbs_peer *peer = &fabric->peers[i];

		if (i != fabric->config.self.value && peer->state == PEER_UP &&
		    (!said[i] || peer->finished != peer->posted))
			return false;
	}
	return true;
}

/* A peer that acknowledges nothing is lost within loss_ns, and then not waited for. */
static void take_leave(struct fabric *fabric)
{
	struct fabric_event events[COMPLETIONS_MAX];
	bool *said = calloc(fabric->config.node_count, sizeof(*said));
	uint64_t end_ns = clock_now_ns() + fabric->loss_ns;

	fabric->leaving = true;

	while (said != NULL && clock_now_ns() < end_ns) {
		say_goodbyes(fabric, said);
		if (all_acknowledged(fabric, said))
			break;
		if (poll_events(fabric, events, COMPLETIONS_MAX) == 0)
			sched_yield();
	}
	free(said);
	for (unsigned int i = 0; i < fabric->config.node_count; i++) {
		if (fabric->peers[i].state == PEER_UP)
			rdma_disconnect(fabric->peers[i].id);
	}
}

static void verbs_close(struct fabric *fabric)
{
	take_leave(fabric);
	free_all(fabric);
}

static void verbs_describe(struct fabric *fabric, struct fabric_description *out)
{
	*out = fabric->description;
}

static void verbs_counters(const struct fabric *fabric, struct fabric_counters *out)
{
	*out = fabric->counters;
}

static int verbs_fd(struct fabric *fabric)
{
	return fabric->epoll_fd;
}

const struct fabric_ops fabric_verbs_ops = {
	.name = "verbs",
	.register_unit_bytes = REGISTER_UNIT_BYTES,
	.open = verbs_open,
	.describe = verbs_describe,
	.counters = verbs_counters,
	.connect = connect_all,
	.close = verbs_close,
	.memory_register = region_register,
	.memory_deregister = region_deregister,
	.send = message_send,
	.read = onesided_read,
	.write = onesided_write,
	.fetch_add = onesided_fetch_add,
	.compare_swap = onesided_compare_swap,
	.chain = onesided_chain,
	.poll = poll_events,
	.fd = verbs_fd,
	.arm = poll_arm,
};
