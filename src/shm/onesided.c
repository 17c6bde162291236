/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-sided operations. `completions` is a ring, produced here and consumed by shm_onesided_take();
 * its places are reserved when an operation is accepted, so that none is ever without one.
 */
#include "shm/onesided.h"

#include "base/assert.h"
#include "base/error.h"
#include "shm/copy.h"
#include "shm/doorbell.h"
#include "shm/region.h"
#include "shm/view.h"

#include <errno.h>

static int peer_find(struct fabric *fabric, const struct fabric_remote *remote, uint32_t bytes,
		     unsigned int access, unsigned char **at)
{
	unsigned int p = remote->peer.value;

	if (p >= fabric->node_count)
		return error_set(-EINVAL, "node %u of %u", p, fabric->node_count);
	if (p == fabric->self)
		return shm_region_find(fabric, remote, bytes, access, at);
	struct shm_peer *peer = &fabric->peers[p];
	switch (peer->state) {
	case SHM_PEER_ABSENT:
		return error_set(-ENOTCONN, "node %u is not connected yet", p);
	case SHM_PEER_GONE:
	case SHM_PEER_DOWN:
		return error_set(-EHOSTDOWN, "node %u is gone", p);
	case SHM_PEER_CONNECTED:
		return shm_view_find(fabric, peer, remote, bytes, access, at);
	}
	return -EINVAL;
}

static int word_find(struct fabric *fabric, const struct fabric_remote *remote, unsigned int access,
		     uint64_t **word)
{
	unsigned char *at = NULL;

	if (remote->offset % 8 != 0)
		return error_set(-EINVAL, "an operation on a word that is not aligned");
	int error = peer_find(fabric, remote, 8, access, &at);
	if (error == 0)
		*word = (uint64_t *)(void *)at;
	return error;
}

/* All is found before anything is done, so that what is refused, or put off, has done nothing. */
static int chain_run(struct fabric *fabric, const struct shm_operation *operation, uint64_t *value,
		     uint64_t *guard)
{
	uint64_t *word = NULL;
	uint64_t *guard_word = NULL;
	unsigned char *at = NULL;
	int error = word_find(fabric, &operation->remote, FABRIC_REMOTE_ATOMIC, &word);

	if (error == 0)
		error = word_find(fabric, &operation->guard, FABRIC_REMOTE_READ, &guard_word);
	if (error == 0)
		error = peer_find(fabric, &operation->source, operation->bytes, FABRIC_REMOTE_READ,
				  &at);
	if (error != 0)
		return error;
	*value = __atomic_fetch_add(word, operation->operand, __ATOMIC_SEQ_CST);
	/* Both reads follow the addition, also where the processor may let loads pass it. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*guard = __atomic_load_n(guard_word, __ATOMIC_ACQUIRE);
	shm_copy_from(operation->local, at, operation->bytes);
	return 0;
}

/* Does it. 0 and *value, the word before an atomic operation; -EAGAIN: not yet; or refused. */
static int operation_run(struct fabric *fabric, const struct shm_operation *operation,
			 uint64_t *value, uint64_t *guard)
{
	const struct fabric_remote *remote = &operation->remote;
	unsigned char *at = NULL;
	uint64_t *word = NULL;
	int error = 0;

	*value = 0;
	*guard = 0;
	switch (operation->kind) {
	case SHM_READ:
		error = peer_find(fabric, remote, operation->bytes, FABRIC_REMOTE_READ, &at);
		if (error == 0)
			shm_copy_from(operation->local, at, operation->bytes);
		break;
	case SHM_WRITE:
		error = peer_find(fabric, remote, operation->bytes, FABRIC_REMOTE_WRITE, &at);
		if (error == 0)
			shm_copy_to(at, operation->local, operation->bytes);
		break;
	case SHM_FETCH_ADD:
		error = word_find(fabric, remote, FABRIC_REMOTE_ATOMIC, &word);
		if (error == 0)
			*value = __atomic_fetch_add(word, operation->operand, __ATOMIC_SEQ_CST);
		break;
	case SHM_COMPARE_SWAP:
		error = word_find(fabric, remote, FABRIC_REMOTE_ATOMIC, &word);
		if (error != 0)
			break;
		*value = operation->expected;
		__atomic_compare_exchange_n(word, value, operation->operand, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		break;
	case SHM_CHAIN:
		error = chain_run(fabric, operation, value, guard);
		break;
	}
	/* Between nodes the order is by messages and completions: both publish with release. */
	return error;
}

static enum fabric_event_kind completion_kind(enum shm_operation_kind kind)
{
	switch (kind) {
	case SHM_READ:
		return FABRIC_READ_DONE;
	case SHM_WRITE:
		return FABRIC_WRITE_DONE;
	case SHM_FETCH_ADD:
	case SHM_COMPARE_SWAP:
		break;
	case SHM_CHAIN:
		return FABRIC_CHAIN_DONE;
	}
	return FABRIC_ATOMIC_DONE;
}

static void complete(struct fabric *fabric, const struct shm_operation *operation, int status,
		     uint64_t value, uint64_t guard)
{
	struct shm_completions *ring = &fabric->completions;

	ASSERT(ring->count < SHM_OPERATIONS_MAX);
	ring->events[(ring->first + ring->count++) % SHM_OPERATIONS_MAX] = (struct fabric_event){
		.kind = completion_kind(operation->kind),
		.peer = operation->remote.peer,
		.status = status,
		.tag = operation->tag,
		.value = value,
		.guard = guard,
	};
	shm_doorbell_ring_self(fabric);
}

static int operation_post(struct fabric *fabric, const struct shm_operation *operation)
{
	uint64_t value;
	uint64_t guard;

	if (fabric->completions.count + fabric->deferred_count >= SHM_OPERATIONS_MAX)
		return -EAGAIN;
	int error = operation_run(fabric, operation, &value, &guard);
	if (error == -EAGAIN)
		fabric->deferred[fabric->deferred_count++] = *operation;
	else if (error == 0)
		complete(fabric, operation, 0, value, guard);
	else
		return error;
	fabric->peers[operation->remote.peer.value].outstanding++;
	return 0;
}

static int local_check(const struct fabric_local *local)
{
	const struct fabric_region *region = local->region;
	uintptr_t addr = (uintptr_t)local->addr;

	if (local->bytes == 0 || local->bytes > FABRIC_TRANSFER_MAX)
		return error_set(-EINVAL, "a transfer of %u bytes", local->bytes);
	if (region == NULL || region->key == 0 || addr < (uintptr_t)region->addr ||
	    addr - (uintptr_t)region->addr > region->bytes ||
	    local->bytes > region->bytes - (addr - (uintptr_t)region->addr))
		return error_set(-EINVAL, "local memory is not inside its region");
	return 0;
}

static int transfer_post(struct fabric *fabric, enum shm_operation_kind kind,
			 const struct fabric_local *local, const struct fabric_remote *remote,
			 uint64_t tag)
{
	int error = local_check(local);

	if (error != 0)
		return error;
	return operation_post(fabric, &(struct shm_operation){
					      .kind = kind,
					      .remote = *remote,
					      .local = local->addr,
					      .bytes = local->bytes,
					      .tag = tag,
				      });
}

int shm_onesided_read(struct fabric *fabric, const struct fabric_local *local,
		      const struct fabric_remote *remote, uint64_t tag)
{
	return transfer_post(fabric, SHM_READ, local, remote, tag);
}

int shm_onesided_write(struct fabric *fabric, const struct fabric_local *local,
		       const struct fabric_remote *remote, uint64_t tag)
{
	return transfer_post(fabric, SHM_WRITE, local, remote, tag);
}

int shm_onesided_fetch_add(struct fabric *fabric, const struct fabric_remote *remote, uint64_t add,
			   uint64_t tag)
{
	return operation_post(fabric, &(struct shm_operation){
					      .kind = SHM_FETCH_ADD,
					      .remote = *remote,
					      .operand = add,
					      .tag = tag,
				      });
}

int shm_onesided_compare_swap(struct fabric *fabric, const struct fabric_remote *remote,
			      uint64_t expected, uint64_t desired, uint64_t tag)
{
	return operation_post(fabric, &(struct shm_operation){
					      .kind = SHM_COMPARE_SWAP,
					      .remote = *remote,
					      .operand = desired,
					      .expected = expected,
					      .tag = tag,
				      });
}

int shm_onesided_chain(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag)
{
	int error = local_check(&chain->local);

	if (error == 0 && (!node_equal(chain->word.peer, chain->guard.peer) ||
			   !node_equal(chain->word.peer, chain->source.peer)))
		error = error_set(-EINVAL, "a chain at more than one node");
	if (error != 0)
		return error;
	return operation_post(fabric, &(struct shm_operation){
					      .kind = SHM_CHAIN,
					      .remote = chain->word,
					      .operand = chain->add,
					      .guard = chain->guard,
					      .source = chain->source,
					      .local = chain->local.addr,
					      .bytes = chain->local.bytes,
					      .tag = tag,
				      });
}

void shm_onesided_retry(struct fabric *fabric)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < fabric->deferred_count; i++) {
		struct shm_operation operation = fabric->deferred[i];
		uint64_t value;
		uint64_t guard;
		int error = operation_run(fabric, &operation, &value, &guard);

		if (error == -EAGAIN)
			fabric->deferred[kept++] = operation;
		else
			complete(fabric, &operation, error, value, guard);
	}
	fabric->deferred_count = kept;
}

int shm_onesided_take(struct fabric *fabric, struct fabric_event *events, int room)
{
	struct shm_completions *ring = &fabric->completions;
	int count = 0;

	while (count < room && ring->count > 0) {
		events[count] = ring->events[ring->first];
		fabric->peers[events[count].peer.value].outstanding--;
		ring->first = (ring->first + 1) % SHM_OPERATIONS_MAX;
		ring->count--;
		count++;
	}
	return count;
}
