/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching peers. Their sockets carry a record now and then, and their end: the kernel hangs up
 * when the process ends, however it ends. Whether it left in order is a word in the ring, written
 * before the hang-up.
 */
#include "shm/peer.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/doorbell.h"
#include "shm/inbox.h"
#include "shm/region.h"
#include "shm/socket.h"
#include "shm/view.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHECK_EVENTS_MAX 64

int shm_peer_watch(struct fabric *fabric, struct shm_peer *peer)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = peer };

	ASSERT(peer->state == SHM_PEER_ABSENT && peer->inbox != NULL);
	if (epoll_ctl(fabric->epoll, EPOLL_CTL_ADD, peer->socket, &event) != 0)
		return error_set(-errno, "cannot watch a peer's socket: %s", strerror(errno));
	peer->state = SHM_PEER_CONNECTED;
	return 0;
}

void shm_peer_watch_room(struct fabric *fabric, struct shm_peer *peer, bool room)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = peer };

	if (room)
		event.events |= EPOLLOUT;
	int error = epoll_ctl(fabric->epoll, EPOLL_CTL_MOD, peer->socket, &event);
	ASSERT(error == 0);
}

static int record_take(struct shm_peer *peer)
{
	struct shm_received received;
	int error = shm_socket_receive(peer->socket, &received);

	if (error != 0)
		return error;
	if (received.record.kind != SHM_FILE || received.fd_count != 1) {
		shm_received_close(&received);
		return -EPROTO;
	}
	shm_view_file(peer, received.record.file, received.fds[0]);
	return 0;
}

void shm_peer_drain(struct fabric *fabric, struct shm_peer *peer)
{
	int error = 0;

	if (peer->state != SHM_PEER_CONNECTED)
		return;
	while (error == 0)
		error = record_take(peer);
	if (error == -EAGAIN)
		return;
	if (error == -EPIPE)
		error = shm_inbox_left(peer) ? 0 : -EHOSTDOWN;
	else if (error == -EMFILE)
		log_line(LOG_ERROR,
			 "no file descriptor left for the memory of node %u, it is lost; "
			 "raise ulimit -n",
			 (unsigned int)(peer - fabric->peers));
	else
		log_line(LOG_ERROR, "node %u sent a record that means nothing; it is lost",
			 (unsigned int)(peer - fabric->peers));
	shm_peer_lose(fabric, peer, error);
}

static void socket_service(struct fabric *fabric, struct shm_peer *peer, uint32_t events)
{
	if (events & EPOLLOUT)
		shm_region_flush(fabric, peer);
	if (events & ~(uint32_t)EPOLLOUT)
		shm_peer_drain(fabric, peer);
}

/* One peer a time: mappings of regions that it has deregistered go away soon, at little cost. */
static void sweep_next(struct fabric *fabric)
{
	struct shm_peer *peer = &fabric->peers[fabric->sweep_next];

	fabric->sweep_next = (fabric->sweep_next + 1) % fabric->node_count;
	if (peer->state == SHM_PEER_CONNECTED)
		shm_view_sweep(peer);
}

void shm_peer_check(struct fabric *fabric)
{
	struct epoll_event events[CHECK_EVENTS_MAX];
	int count = epoll_wait(fabric->epoll, events, CHECK_EVENTS_MAX, 0);

	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == NULL)
			shm_doorbell_drain(fabric);
		else
			socket_service(fabric, events[i].data.ptr, events[i].events);
	}
	sweep_next(fabric);
}

void shm_peer_lose(struct fabric *fabric, struct shm_peer *peer, int status)
{
	size_t p = (size_t)(peer - fabric->peers);

	if (peer->state != SHM_PEER_CONNECTED)
		return;
	/* Who decides on another status has said why. */
	if (status == -EHOSTDOWN)
		log_line(LOG_WARNING, "node %zu (process %d) is lost: it hung up without leaving",
			 p, (int)peer->pid);
	/* Explicitly: a forked child of this process may hold the socket open. */
	epoll_ctl(fabric->epoll, EPOLL_CTL_DEL, peer->socket, NULL);
	close(peer->socket);
	peer->socket = -1;
	peer->state = SHM_PEER_GONE;
	peer->status = status;
	peer->starved = false;
	bitset_set(fabric->gone, p);
	fabric->gone_count++;
	/* It may have ended between filling a slot and saying so. */
	bitset_set(fabric->pending, p);
}

int shm_peer_down_take(struct fabric *fabric, struct fabric_event *events, int room)
{
	int count = 0;

	for (size_t p = bitset_next(fabric->gone, fabric->words, 0);
	     p != BITSET_NONE && count < room;
	     p = bitset_next(fabric->gone, fabric->words, p + 1)) {
		struct shm_peer *peer = &fabric->peers[p];

		if (peer->outstanding > 0 || bitset_test(fabric->pending, p))
			continue;
		events[count++] = (struct fabric_event){
			.kind = FABRIC_PEER_DOWN,
			.peer = node_id((unsigned int)p),
			.status = peer->status,
		};
		peer->state = SHM_PEER_DOWN;
		bitset_clear(fabric->gone, p);
		fabric->gone_count--;
		shm_peer_release(fabric, peer);
	}
	return count;
}

void shm_peer_release(struct fabric *fabric, struct shm_peer *peer)
{
	shm_view_drop_all(peer);
	shm_inbox_detach(fabric, peer);
	if (peer->socket >= 0)
		close(peer->socket);
	if (peer->doorbell >= 0)
		close(peer->doorbell);
	peer->socket = -1;
	peer->doorbell = -1;
}
