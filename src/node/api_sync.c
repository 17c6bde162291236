/* SPDX-License-Identifier: Apache-2.0 */
/* Synchronisation objects: each public function is one operation at the object's manager. */
#include "base/error.h"
#include "node/api.h"

#include <errno.h>

/* This thread's number on this node, from 1: the engine tells holders apart by it. */
static uint32_t thread_number(void)
{
	static _Atomic uint32_t last;
	static _Thread_local uint32_t mine;

	if (mine == 0)
		mine = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
	return mine;
}

/* Carries out `op`; a status of 0 leaves the reply's value in `waiter`. */
static int operate(struct node *node, const void *addr, enum sync_kind kind, enum sync_op op,
		   uint32_t argument, struct waiter *signal, struct waiter *waiter)
{
	struct event event = { .kind = EV_SYNC };

	event.sync.kind = kind;
	event.sync.op = op;
	event.sync.thread = thread_number();
	event.sync.argument = argument;
	if (signal != NULL) {
		waiter_init(signal);
		event.sync.signal = waiter_token(signal);
	}
	if (!region_offset(node, addr, &event.sync.name))
		return -EFAULT;
	return node_call(node, &event, waiter);
}

/* May another thread go on because of it, and then know what this one has stored? */
static bool releases(enum sync_op op)
{
	return op == SYNC_RELEASE || op == SYNC_SIGNAL || op == SYNC_BROADCAST || op == SYNC_ARRIVE;
}

/*
 * Locks that this node keeps cost no more than an atomic operation, without the node's lock. Else
 * as operate().
 */
static int lock_acquire(struct node *node, const void *addr, enum sync_op op)
{
	struct waiter waiter;
	uint64_t name;

	if (!region_offset(node, addr, &name))
		return -EFAULT;
	if (engine_lock_take(node->engine, name, thread_number()))
		return 0;
	return operate(node, addr, SYNC_LOCK, op, 0, NULL, &waiter);
}

static int lock_release(struct node *node, const void *addr)
{
	struct waiter waiter;
	uint64_t name;

	if (!region_offset(node, addr, &name))
		return -EFAULT;
	if (engine_lock_leave(node->engine, name, thread_number()))
		return 0;
	return operate(node, addr, SYNC_LOCK, SYNC_RELEASE, 0, NULL, &waiter);
}

/* As operate(), with everything else that a public function does. Returns the value of a success.
 */
static int call(const char *name, const void *addr, enum sync_kind kind, enum sync_op op,
		uint32_t argument)
{
	struct node *node = job_node(name);
	struct waiter waiter;

	if (node == NULL)
		return -ENOTCONN;
	int published = releases(op) ? node_publish(node) : 0;
	int status = operate(node, addr, kind, op, argument, NULL, &waiter);

	if (status == 0)
		status = published; /* the release was carried out all the same */
	return status == 0 ? (int)waiter.value : api_status(node, name, addr, status);
}

DSM_API int dsm_lock_init(void *addr)
{
	return call("dsm_lock_init", addr, SYNC_LOCK, SYNC_INIT, 0);
}

DSM_API int dsm_lock(void *addr)
{
	struct node *node = job_node("dsm_lock");

	if (node == NULL)
		return -ENOTCONN;
	return api_status(node, "dsm_lock", addr, lock_acquire(node, addr, SYNC_ACQUIRE));
}

DSM_API int dsm_trylock(void *addr)
{
	struct node *node = job_node("dsm_trylock");

	if (node == NULL)
		return -ENOTCONN;
	return api_status(node, "dsm_trylock", addr, lock_acquire(node, addr, SYNC_TRY));
}

/* What was stored is published before the lock can be taken, also by threads of this node. */
DSM_API int dsm_unlock(void *addr)
{
	struct node *node = job_node("dsm_unlock");

	if (node == NULL)
		return -ENOTCONN;
	int published = node_publish(node);
	int status = lock_release(node, addr);

	if (status == 0)
		status = published; /* the release was carried out all the same */
	return api_status(node, "dsm_unlock", addr, status);
}

DSM_API int dsm_lock_destroy(void *addr)
{
	return call("dsm_lock_destroy", addr, SYNC_LOCK, SYNC_DESTROY, 0);
}

DSM_API int dsm_rwlock_init(void *addr)
{
	return call("dsm_rwlock_init", addr, SYNC_RWLOCK, SYNC_INIT, 0);
}

DSM_API int dsm_rwlock_rdlock(void *addr)
{
	return call("dsm_rwlock_rdlock", addr, SYNC_RWLOCK, SYNC_ACQUIRE_READ, 0);
}

DSM_API int dsm_rwlock_tryrdlock(void *addr)
{
	return call("dsm_rwlock_tryrdlock", addr, SYNC_RWLOCK, SYNC_TRY_READ, 0);
}

DSM_API int dsm_rwlock_wrlock(void *addr)
{
	return call("dsm_rwlock_wrlock", addr, SYNC_RWLOCK, SYNC_ACQUIRE, 0);
}

DSM_API int dsm_rwlock_trywrlock(void *addr)
{
	return call("dsm_rwlock_trywrlock", addr, SYNC_RWLOCK, SYNC_TRY, 0);
}

DSM_API int dsm_rwlock_unlock(void *addr)
{
	return call("dsm_rwlock_unlock", addr, SYNC_RWLOCK, SYNC_RELEASE, 0);
}

DSM_API int dsm_rwlock_destroy(void *addr)
{
	return call("dsm_rwlock_destroy", addr, SYNC_RWLOCK, SYNC_DESTROY, 0);
}

DSM_API int dsm_cond_init(void *addr)
{
	return call("dsm_cond_init", addr, SYNC_COND, SYNC_INIT, 0);
}

DSM_API int dsm_cond_signal(void *addr)
{
	return call("dsm_cond_signal", addr, SYNC_COND, SYNC_SIGNAL, 0);
}

DSM_API int dsm_cond_broadcast(void *addr)
{
	return call("dsm_cond_broadcast", addr, SYNC_COND, SYNC_BROADCAST, 0);
}

DSM_API int dsm_cond_destroy(void *addr)
{
	return call("dsm_cond_destroy", addr, SYNC_COND, SYNC_DESTROY, 0);
}

/*
 * First this thread becomes a waiter, then it releases the lock: a signal sent under the lock after
 * that finds it. When the lock turns out not to be this thread's, the waiter has to be got rid of:
 * all waiters are woken, which they must expect anyway.
 */
DSM_API int dsm_cond_wait(void *addr, void *lock)
{
	struct node *node = job_node("dsm_cond_wait");
	struct waiter signal;
	struct waiter waiter;

	if (node == NULL)
		return -ENOTCONN;
	int status = node_publish(node);

	if (status != 0)
		return api_status(node, "dsm_cond_wait", addr, status);
	status = operate(node, addr, SYNC_COND, SYNC_ENLIST, 0, &signal, &waiter);
	if (status == -EFAULT)
		return api_status(node, "dsm_cond_wait", addr, status); /* it never set out */
	if (status != 0) {
		waiter_wait(node, &signal);
		return api_status(node, "dsm_cond_wait", addr, status);
	}
	status = lock_release(node, lock);
	if (status != 0) {
		operate(node, addr, SYNC_COND, SYNC_BROADCAST, 0, NULL, &waiter);
		waiter_wait(node, &signal);
		return api_status(node, "dsm_cond_wait", lock, status);
	}
	waiter_wait(node, &signal);
	status = lock_acquire(node, lock, SYNC_ACQUIRE);
	if (status != 0)
		return api_status(node, "dsm_cond_wait", lock, status);
	return api_status(node, "dsm_cond_wait", addr, signal.status);
}

DSM_API int dsm_sem_init(void *addr, unsigned int value)
{
	return call("dsm_sem_init", addr, SYNC_SEM, SYNC_INIT, value);
}

DSM_API int dsm_sem_wait(void *addr)
{
	return call("dsm_sem_wait", addr, SYNC_SEM, SYNC_ACQUIRE, 0);
}

DSM_API int dsm_sem_trywait(void *addr)
{
	return call("dsm_sem_trywait", addr, SYNC_SEM, SYNC_TRY, 0);
}

DSM_API int dsm_sem_post(void *addr)
{
	return call("dsm_sem_post", addr, SYNC_SEM, SYNC_RELEASE, 0);
}

DSM_API int dsm_sem_destroy(void *addr)
{
	return call("dsm_sem_destroy", addr, SYNC_SEM, SYNC_DESTROY, 0);
}

DSM_API int dsm_barrier_init(void *addr, unsigned int count)
{
	return call("dsm_barrier_init", addr, SYNC_BARRIER, SYNC_INIT, count);
}

DSM_API int dsm_barrier_wait(void *addr)
{
	return call("dsm_barrier_wait", addr, SYNC_BARRIER, SYNC_ARRIVE, 0);
}

DSM_API int dsm_barrier_destroy(void *addr)
{
	return call("dsm_barrier_destroy", addr, SYNC_BARRIER, SYNC_DESTROY, 0);
}

DSM_API int dsm_barrier(void)
{
	struct node *node = job_node("dsm_barrier");

	if (node == NULL)
		return -ENOTCONN;
	api_flush_frees(node);
	return api_status(node, "dsm_barrier", NULL,
			  node_collect(node, COLLECT_BARRIER, 0, NULL, NULL, 0));
}

DSM_API int dsm_publish(void)
{
	struct node *node = job_node("dsm_publish");

	if (node == NULL)
		return -ENOTCONN;
	return api_status(node, "dsm_publish", NULL, node_publish(node));
}
