/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ready bits, the sleeping flag and the doorbell. Two races are decided here, both by a store, a
 * full fence and a load on either side, so that at least one side sees the other:
 *
 *   bit      a peer publishes, then looks whether its bit is set already;
 *            the owner clears the bit, then looks at what is published.
 *   sleep    a peer sets its bit, then looks whether the owner sleeps;
 *            the owner says that it sleeps, then looks at the bits.
 *
 * A rank's bit is set by that rank alone, so whoever finds its bit set has rung already, and nobody
 * relies on another process to ring on its behalf.
 */
#include "shm/doorbell.h"

#include "shm/onesided.h"

#include <unistd.h>

static void descriptor_raise(int doorbell)
{
	uint64_t one = 1;
	ssize_t written = write(doorbell, &one, sizeof(one));

	/* It fails only when the counter is full, and then the descriptor is readable. */
	(void)written;
}

void shm_doorbell_ring(struct fabric *fabric, struct shm_peer *peer)
{
	_Atomic uint64_t *word = &peer->inbox->ready[fabric->self / 64];
	uint64_t bit = UINT64_C(1) << (fabric->self % 64);

	/* Partner: the exchange in shm_doorbell_collect(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(word, memory_order_relaxed) & bit)
		return;
	/* Partner: the fence in shm_doorbell_arm(). */
	atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
	if (atomic_load_explicit(&peer->inbox->sleeping, memory_order_seq_cst) == 0)
		return;
	descriptor_raise(peer->doorbell);
}

/* The bits of a ready word that stand for ranks of this job. */
static uint64_t ranks_of(const struct fabric *fabric, size_t word)
{
	unsigned int in_last = fabric->node_count % 64;

	if (word + 1 < fabric->words || in_last == 0)
		return ~UINT64_C(0);
	return (UINT64_C(1) << in_last) - 1;
}

void shm_doorbell_collect(struct fabric *fabric)
{
	for (size_t i = 0; i < fabric->words; i++) {
		_Atomic uint64_t *word = &fabric->inbox->ready[i];

		if (atomic_load_explicit(word, memory_order_relaxed) == 0)
			continue;
		/* Partner: the fence in shm_doorbell_ring(). */
		uint64_t bits = atomic_exchange_explicit(word, 0, memory_order_seq_cst);
		fabric->pending[i] |= bits & ranks_of(fabric, i);
	}
}

static bool events_waiting(const struct fabric *fabric)
{
	/* Slots not given back count: a peer may be waiting for them, and only poll() may do it. */
	if (fabric->completions.count > 0 || fabric->delivered_any || fabric->gone_count > 0 ||
	    !bitset_empty(fabric->pending, fabric->words))
		return true;
	for (size_t i = 0; i < fabric->words; i++) {
		if (atomic_load_explicit(&fabric->inbox->ready[i], memory_order_seq_cst) != 0)
			return true;
	}
	return false;
}

int shm_doorbell_arm(struct fabric *fabric)
{
	fabric->armed = true;
	atomic_store_explicit(&fabric->inbox->sleeping, 1, memory_order_seq_cst);
	/* Partner: the fetch_or in shm_doorbell_ring(). */
	atomic_thread_fence(memory_order_seq_cst);
	/* What they wait for may have been taken from a socket since the last poll(). */
	if (fabric->deferred_count > 0)
		shm_onesided_retry(fabric);
	if (!events_waiting(fabric))
		return 0;
	shm_doorbell_disarm(fabric);
	return 1;
}

void shm_doorbell_ring_self(struct fabric *fabric)
{
	if (fabric->armed)
		descriptor_raise(fabric->doorbell);
}

void shm_doorbell_disarm(struct fabric *fabric)
{
	fabric->armed = false;
	/* Relaxed: a peer that still sees it set rings once more than it had to. */
	atomic_store_explicit(&fabric->inbox->sleeping, 0, memory_order_relaxed);
}

void shm_doorbell_drain(struct fabric *fabric)
{
	uint64_t count;
	ssize_t got = read(fabric->doorbell, &count, sizeof(count));

	/* It is not blocking: nothing to read is as good. */
	(void)got;
}
