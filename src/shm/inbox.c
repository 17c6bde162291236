/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings. A sender numbers its messages; message n goes to slot n modulo credits and is
 * published by storing n + 1 as the slot's sequence. The receiver hands out slots in place, and
 * gives them back, by moving `head`, at the next poll().
 *
 * Nothing read from shared memory is used as an index or a length before it is checked: a peer that
 * crashed may have left anything there. What does not add up loses that peer with -EPROTO.
 */
#include "shm/inbox.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/doorbell.h"
#include "shm/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Messages taken from one peer before the next one's turn. */
#define BURST_MAX 32

int shm_inbox_create(struct fabric *fabric)
{
	fabric->inbox_bytes = shm_inbox_bytes(fabric->credits, fabric->node_count);
	fabric->inbox_fd = memfd_create("pergola-inbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fabric->inbox_fd < 0)
		return error_set(-errno, "cannot make a memory file for messages: %s",
				 strerror(errno));
	/* Sealed, so that peers need not fear that it shrinks under their feet. */
	if (ftruncate(fabric->inbox_fd, (off_t)fabric->inbox_bytes) != 0 ||
	    fcntl(fabric->inbox_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return error_set(-errno, "cannot size a memory file to %zu bytes: %s",
				 fabric->inbox_bytes, strerror(errno));
	void *base = mmap(NULL, fabric->inbox_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			  fabric->inbox_fd, 0);
	if (base == MAP_FAILED)
		return error_set(
			-errno, "cannot map %zu bytes for messages (%u nodes, %u credits): %s",
			fabric->inbox_bytes, fabric->node_count, fabric->credits, strerror(errno));
	fabric->inbox = base;
	for (unsigned int rank = 0; rank < fabric->node_count; rank++)
		fabric->peers[rank].in =
			(void *)((char *)base + shm_ring_offset(fabric->credits, rank));
	return 0;
}

void shm_inbox_destroy(struct fabric *fabric)
{
	if (fabric->inbox != NULL)
		munmap(fabric->inbox, fabric->inbox_bytes);
	if (fabric->inbox_fd >= 0)
		close(fabric->inbox_fd);
}

static int inbox_check(const struct fabric *fabric, int fd)
{
	struct stat file;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return error_set(-EPROTO, "a peer's inbox is not a sealed memory file");
	if (fstat(fd, &file) != 0)
		return error_set(-errno, "fstat of a peer's inbox: %s", strerror(errno));
	if ((uint64_t)file.st_size != shm_inbox_bytes(fabric->credits, fabric->node_count))
		return error_set(-EPROTO, "a peer's inbox has %lld bytes", (long long)file.st_size);
	return 0;
}

int shm_inbox_attach(struct fabric *fabric, struct shm_peer *peer, int fd)
{
	int error = inbox_check(fabric, fd);
	if (error != 0)
		return error;
	void *control = mmap(NULL, shm_control_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		goto fail;
	void *ring = mmap(NULL, shm_ring_bytes(fabric->credits), PROT_READ | PROT_WRITE, MAP_SHARED,
			  fd, (off_t)shm_ring_offset(fabric->credits, fabric->self));
	if (ring == MAP_FAILED)
		goto undo_control;
	peer->inbox = control;
	peer->out = ring;
	return 0;

undo_control:
	munmap(control, shm_control_bytes());
fail:
	return error_set(-ENOMEM, "cannot map a peer's inbox (see vm.max_map_count): %s",
			 strerror(errno));
}

void shm_inbox_detach(struct fabric *fabric, struct shm_peer *peer)
{
	if (peer->inbox == NULL)
		return;
	munmap(peer->inbox, shm_control_bytes());
	munmap(peer->out, shm_ring_bytes(fabric->credits));
	peer->inbox = NULL;
	peer->out = NULL;
}

void shm_inbox_goodbye(struct shm_peer *peer)
{
	/* Partner: shm_inbox_left(), which reads it after the socket was hung up. */
	atomic_store_explicit(&peer->out->closed, 1, memory_order_release);
}

bool shm_inbox_left(const struct shm_peer *peer)
{
	return atomic_load_explicit(&peer->in->closed, memory_order_acquire) == 1;
}

/* Whether the ring to the peer has a free slot, by the peer's latest word. -EPROTO: nonsense. */
static int room_look(const struct fabric *fabric, struct shm_peer *peer)
{
	/* Acquire: what the receiver read of a slot, it read before this. Partner: release. */
	uint32_t head = atomic_load_explicit(&peer->out->head, memory_order_acquire);

	if (peer->tail - head > fabric->credits)
		return -EPROTO;
	peer->head_seen = head;
	return peer->tail - head < fabric->credits;
}

/* As room_look(); if there is none, a ring of this node's doorbell follows once there is. */
static int room_demand(const struct fabric *fabric, struct shm_peer *peer)
{
	int room = room_look(fabric, peer);

	if (room != 0)
		return room;
	atomic_store_explicit(&peer->out->starved, 1, memory_order_seq_cst);
	/* Partner: the fence in shm_inbox_release(). */
	atomic_thread_fence(memory_order_seq_cst);
	return room_look(fabric, peer);
}

static int ring_corrupt(struct fabric *fabric, struct shm_peer *peer)
{
	log_line(LOG_ERROR, "node %u (process %d) left nonsense in a message ring; it is lost",
		 (unsigned int)(peer - fabric->peers), (int)peer->pid);
	shm_peer_lose(fabric, peer, -EPROTO);
	return -EHOSTDOWN;
}

int shm_inbox_send(struct fabric *fabric, struct shm_peer *peer, const void *data, size_t bytes)
{
	ASSERT(peer->tail - peer->head_seen <= fabric->credits);
	if (peer->tail - peer->head_seen == fabric->credits) {
		int room = room_demand(fabric, peer);

		if (room < 0)
			return ring_corrupt(fabric, peer);
		if (room == 0) {
			peer->starved = true;
			return -EAGAIN;
		}
	}
	struct shm_slot *slot = &peer->out->slots[peer->tail & (fabric->credits - 1)];
	slot->bytes = (uint32_t)bytes;
	memcpy(slot->data, data, bytes);
	peer->tail++;
	/* Release: length and data come first. Partner: slot_check(). */
	atomic_store_explicit(&slot->sequence, peer->tail, memory_order_release);
	shm_doorbell_ring(fabric, peer);
	return 0;
}

void shm_inbox_release(struct fabric *fabric)
{
	size_t words = fabric->words;

	if (!fabric->delivered_any)
		return;
	for (size_t p = bitset_next(fabric->delivered, words, 0); p != BITSET_NONE;
	     p = bitset_next(fabric->delivered, words, p + 1)) {
		struct shm_peer *peer = &fabric->peers[p];

		/* Release: the slots were read before. Partner: room_look(). */
		atomic_store_explicit(&peer->in->head, peer->next, memory_order_release);
	}
	/* Partner: the fence in room_demand(). */
	atomic_thread_fence(memory_order_seq_cst);
	for (size_t p = bitset_next(fabric->delivered, words, 0); p != BITSET_NONE;
	     p = bitset_next(fabric->delivered, words, p + 1)) {
		struct shm_peer *peer = &fabric->peers[p];

		if (peer->state != SHM_PEER_CONNECTED ||
		    atomic_load_explicit(&peer->in->starved, memory_order_relaxed) == 0)
			continue;
		/* Cleared before ringing: a sender that is rung and finds no room sets it anew. */
		atomic_store_explicit(&peer->in->starved, 0, memory_order_seq_cst);
		shm_doorbell_ring(fabric, peer);
	}
	bitset_zero(fabric->delivered, words);
	fabric->delivered_any = false;
}

/* 1: `slot` holds message number `next`; 0: not yet; -EPROTO: it holds nonsense. */
static int slot_check(const struct fabric *fabric, const struct shm_slot *slot, uint32_t next,
		      uint32_t *bytes)
{
	uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);

	if (sequence != next + 1) {
		bool stale = sequence == next + 1 - fabric->credits;
		bool fresh = sequence == 0 && next < fabric->credits;

		return stale || fresh ? 0 : -EPROTO;
	}
	*bytes = slot->bytes;
	return *bytes >= 1 && *bytes <= FABRIC_MESSAGE_MAX ? 1 : -EPROTO;
}

/* Returns FABRIC_CREDIT where it is owed and there is room: 1, else 0. */
static int credit_take(struct fabric *fabric, struct shm_peer *peer, struct fabric_event *event)
{
	if (!peer->starved || peer->state != SHM_PEER_CONNECTED)
		return 0;
	int room = room_demand(fabric, peer);

	if (room < 0)
		ring_corrupt(fabric, peer);
	if (room <= 0)
		return 0;
	peer->starved = false;
	*event = (struct fabric_event){
		.kind = FABRIC_CREDIT,
		.peer = node_id((unsigned int)(peer - fabric->peers)),
	};
	return 1;
}

static int messages_take(struct fabric *fabric, size_t p, struct fabric_event *events, int room)
{
	struct shm_peer *peer = &fabric->peers[p];
	int count = 0;

	while (count < room) {
		struct shm_slot *slot = &peer->in->slots[peer->next & (fabric->credits - 1)];
		uint32_t bytes;
		int full = slot_check(fabric, slot, peer->next, &bytes);

		if (full <= 0) {
			bitset_clear(fabric->pending, p);
			if (full < 0)
				ring_corrupt(fabric, peer);
			break;
		}
		events[count++] = (struct fabric_event){
			.kind = FABRIC_MESSAGE,
			.peer = node_id((unsigned int)p),
			.data = slot->data,
			.bytes = bytes,
		};
		peer->next++;
	}
	if (count > 0) {
		bitset_set(fabric->delivered, p);
		fabric->delivered_any = true;
	}
	return count;
}

static int ring_take(struct fabric *fabric, size_t p, struct fabric_event *events, int room)
{
	struct shm_peer *peer = &fabric->peers[p];

	if (peer->state == SHM_PEER_DOWN || peer->status == -EPROTO) {
		bitset_clear(fabric->pending, p);
		return 0;
	}
	int count = credit_take(fabric, peer, events);

	room = room < BURST_MAX ? room : BURST_MAX;
	return count + messages_take(fabric, p, events + count, room - count);
}

int shm_inbox_take(struct fabric *fabric, struct fabric_event *events, int room)
{
	size_t start = fabric->cursor;
	size_t p = bitset_next(fabric->pending, fabric->words, start);
	bool wrapped = false;
	int count = 0;

	while (count < room) {
		if (p == BITSET_NONE && !wrapped) {
			wrapped = true;
			p = bitset_next(fabric->pending, fabric->words, 0);
		}
		if (p == BITSET_NONE || (wrapped && p >= start))
			break;
		count += ring_take(fabric, p, events + count, room - count);
		p = bitset_next(fabric->pending, fabric->words, p + 1);
	}
	fabric->cursor = p == BITSET_NONE ? 0 : p;
	return count;
}
