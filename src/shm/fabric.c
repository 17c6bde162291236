/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations, and the life of a fabric: open, poll, close. */
#include "base/error.h"
#include "base/log.h"
#include "shm/connect.h"
#include "shm/doorbell.h"
#include "shm/inbox.h"
#include "shm/onesided.h"
#include "shm/peer.h"
#include "shm/region.h"
#include "shm/shm.h"
#include "shm/socket.h"
#include "shm/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

/* Sockets and doorbells are looked at by a polling node at most this often. */
#define CHECK_NS 1000000u
/* Calls of poll() between two looks at the clock; a power of two. */
#define CHECK_POLLS 64u

/* Descriptors a node needs: a socket, a doorbell and a memory file a peer, and the program's. */
#define DESCRIPTORS_PER_PEER 3u
#define DESCRIPTORS_OTHER 64u

static int config_check(const struct fabric_config *config)
{
	if (config->node_count < 1 || config->node_count > NODES_MAX)
		return error_set(-EINVAL, "%u nodes; a job has 1 to %u", config->node_count,
				 NODES_MAX);
	if (config->self.value >= config->node_count)
		return error_set(-EINVAL, "rank %u of %u nodes", (unsigned int)config->self.value,
				 config->node_count);
	if (config->job == 0)
		return error_set(-EINVAL, "a job's number must not be zero");
	if (config->credits < 1 || config->credits > SHM_CREDITS_MAX ||
	    (config->credits & (config->credits - 1)) != 0)
		return error_set(-EINVAL, "%u credits; must be a power of two up to %u",
				 config->credits, SHM_CREDITS_MAX);
	return 0;
}

/* Raises the soft limit on open files where the job is too large for it. */
static int descriptors_ensure(unsigned int node_count)
{
	rlim_t needed = node_count * DESCRIPTORS_PER_PEER + DESCRIPTORS_OTHER;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
		return 0;
	if (limit.rlim_max < needed)
		return error_set(-EMFILE,
				 "%u nodes need %llu open files, the hard limit is %llu; "
				 "raise it with ulimit -n",
				 node_count, (unsigned long long)needed,
				 (unsigned long long)limit.rlim_max);
	limit.rlim_cur = limit.rlim_max < needed * 2 ? limit.rlim_max : needed * 2;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return error_set(-errno, "cannot raise the limit on open files to %llu: %s",
				 (unsigned long long)limit.rlim_cur, strerror(errno));
	return 0;
}

static struct fabric *fabric_allocate(const struct fabric_config *config)
{
	size_t bytes = sizeof(struct fabric) + config->node_count * sizeof(struct shm_peer);
	struct fabric *fabric = calloc(1, bytes);

	if (fabric == NULL)
		return NULL;
	fabric->config = *config;
	fabric->self = config->self.value;
	fabric->node_count = config->node_count;
	fabric->credits = config->credits;
	fabric->words = bitset_words(config->node_count);
	fabric->inbox_fd = -1;
	fabric->doorbell = -1;
	fabric->epoll = -1;
	fabric->listener = -1;
	for (unsigned int rank = 0; rank < config->node_count; rank++) {
		fabric->peers[rank].socket = -1;
		fabric->peers[rank].doorbell = -1;
	}
	return fabric;
}

static int descriptors_open(struct fabric *fabric)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

	fabric->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fabric->doorbell < 0)
		return error_set(-errno, "cannot make an eventfd: %s", strerror(errno));
	fabric->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (fabric->epoll < 0 ||
	    epoll_ctl(fabric->epoll, EPOLL_CTL_ADD, fabric->doorbell, &event) != 0)
		return error_set(-errno, "cannot make an epoll descriptor: %s", strerror(errno));
	return 0;
}

static void fabric_free(struct fabric *fabric)
{
	int fds[] = { fabric->listener, fabric->doorbell, fabric->epoll };

	for (unsigned int rank = 0; rank < fabric->node_count; rank++)
		shm_peer_release(fabric, &fabric->peers[rank]);
	shm_region_fini(fabric);
	shm_inbox_destroy(fabric);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	explicit_bzero(fabric->config.secret, sizeof(fabric->config.secret));
	free(fabric);
}

static int shm_open_fabric(const struct fabric_config *config, struct fabric **out,
			   struct fabric_address *address)
{
	int error = config_check(config);

	if (error == 0)
		error = descriptors_ensure(config->node_count);
	if (error != 0)
		return error;
	struct fabric *fabric = fabric_allocate(config);
	if (fabric == NULL)
		return error_set(-ENOMEM, "no memory for a fabric of %u nodes", config->node_count);
	error = descriptors_open(fabric);
	if (error == 0)
		error = shm_inbox_create(fabric);
	if (error == 0)
		error = shm_socket_listen(config->job, fabric->self, address, &fabric->listener);
	if (error != 0) {
		fabric_free(fabric);
		return error;
	}
	*out = fabric;
	return 0;
}

static void shm_close_fabric(struct fabric *fabric)
{
	for (unsigned int rank = 0; rank < fabric->node_count; rank++) {
		if (fabric->peers[rank].state == SHM_PEER_CONNECTED)
			shm_inbox_goodbye(&fabric->peers[rank]);
	}
	fabric_free(fabric);
}

static int shm_send(struct fabric *fabric, struct node_id peer, const void *data, size_t bytes)
{
	if (peer.value >= fabric->node_count || peer.value == fabric->self)
		return error_set(-EINVAL, "a message to node %u", (unsigned int)peer.value);
	if (bytes < 1 || bytes > FABRIC_MESSAGE_MAX)
		return error_set(-EINVAL, "a message of %zu bytes", bytes);
	switch (fabric->peers[peer.value].state) {
	case SHM_PEER_CONNECTED:
		return shm_inbox_send(fabric, &fabric->peers[peer.value], data, bytes);
	case SHM_PEER_ABSENT:
		return error_set(-ENOTCONN, "node %u is not connected yet",
				 (unsigned int)peer.value);
	case SHM_PEER_GONE:
	case SHM_PEER_DOWN:
		break;
	}
	return error_set(-EHOSTDOWN, "node %u is gone", (unsigned int)peer.value);
}

/* Whether poll() is to look at descriptors, which costs a system call. */
static bool check_due(struct fabric *fabric)
{
	if (fabric->deferred_count > 0)
		return true;
	if ((++fabric->polls & (CHECK_POLLS - 1)) != 0)
		return false;
	uint64_t now_ns = shm_now_ns();
	if (now_ns - fabric->checked_ns < CHECK_NS)
		return false;
	fabric->checked_ns = now_ns;
	return true;
}

static void descriptors_check(struct fabric *fabric)
{
	if (fabric->armed)
		shm_doorbell_disarm(fabric);
	else if (!check_due(fabric))
		return;
	shm_peer_check(fabric);
	if (fabric->deferred_count > 0)
		shm_onesided_retry(fabric);
}

static int shm_poll(struct fabric *fabric, struct fabric_event *events, int room)
{
	int count = 0;

	if (room <= 0)
		return 0;
	shm_inbox_release(fabric);
	descriptors_check(fabric);
	shm_doorbell_collect(fabric);
	fabric->messages_first = !fabric->messages_first;
	if (fabric->messages_first)
		count += shm_inbox_take(fabric, events, room);
	count += shm_onesided_take(fabric, events + count, room - count);
	if (!fabric->messages_first)
		count += shm_inbox_take(fabric, events + count, room - count);
	if (fabric->gone_count > 0)
		count += shm_peer_down_take(fabric, events + count, room - count);
	return count;
}

static int shm_fd(struct fabric *fabric)
{
	return fabric->epoll;
}

const struct fabric_ops fabric_shm_ops = {
	.name = "shm",
	.register_unit_bytes = 0,
	.open = shm_open_fabric,
	.connect = shm_connect,
	.close = shm_close_fabric,
	.memory_register = shm_region_register,
	.memory_deregister = shm_region_deregister,
	.send = shm_send,
	.read = shm_onesided_read,
	.write = shm_onesided_write,
	.fetch_add = shm_onesided_fetch_add,
	.compare_swap = shm_onesided_compare_swap,
	.chain = shm_onesided_chain,
	.poll = shm_poll,
	.fd = shm_fd,
	.arm = shm_doorbell_arm,
};
