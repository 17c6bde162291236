/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads inside a call. A waiter lives on its thread's stack; the engine gets its address as the
 * token and hands it back exactly once. A waiting thread first makes progress itself (nothing else
 * could use its core better), then sleeps on the waiter's futex.
 */
#include "base/assert.h"
#include "node/node.h"
#include "node/relax.h"
#include "port/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The clock is read, and timers are looked after, at every so many looks only. */
#define CLOCK_LOOKS 32u

/* From here on a polling thread also gives way to others that could run on its core. */
#define YIELD_AFTER_NS 20000u
#define YIELD_LOOKS (8 * CLOCK_LOOKS)

enum waiter_state {
	WAITER_WAITING = 0,
	WAITER_DONE,
	WAITER_ASLEEP,
};

void waiter_init(struct waiter *waiter)
{
	atomic_init(&waiter->state, WAITER_WAITING);
	waiter->status = 0;
	waiter->value = 0;
	waiter->bytes = 0;
}

struct token waiter_token(struct waiter *waiter)
{
	return (struct token){ (uint64_t)(uintptr_t)waiter };
}

void waiter_complete(const struct command *command)
{
	struct waiter *waiter = (struct waiter *)(uintptr_t)command->complete.token.value;

	ASSERT(waiter != NULL);
	waiter->status = command->status;
	waiter->value = command->complete.value;
	waiter->bytes = command->complete.bytes;
	memcpy(waiter->data, command->complete.data, command->complete.bytes);
	/* Release: pairs with the acquire in is_done(); the waiter is gone after a DONE is seen. */
	if (atomic_exchange_explicit(&waiter->state, WAITER_DONE, memory_order_acq_rel) ==
	    WAITER_ASLEEP)
		syscall(SYS_futex, &waiter->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static bool is_done(struct waiter *waiter)
{
	return atomic_load_explicit(&waiter->state, memory_order_acquire) == WAITER_DONE;
}

/* One look, if nobody else makes progress now. True: the waiter was completed, and all is settled.
 */
static bool look(struct node *node, struct waiter *waiter, bool timers)
{
	if (pthread_mutex_trylock(&node->lock) != 0)
		return false;
	if (timers)
		loop_progress(node);
	else
		loop_look(node);
	bool done = is_done(waiter);

	if (done)
		loop_settle(node);
	pthread_mutex_unlock(&node->lock);
	return done;
}

/* True: the waiter was completed, and all is settled. */
static bool poll_for(struct node *node, struct waiter *waiter)
{
	uint64_t start_ns = 0;

	for (unsigned int looks = 1; !is_done(waiter); looks++) {
		bool timers = looks % CLOCK_LOOKS == 0;

		if (look(node, waiter, timers))
			return true;
		relax();
		if (!timers)
			continue;
		uint64_t now_ns = clock_now_ns();

		if (start_ns == 0)
			start_ns = now_ns;
		if (now_ns - start_ns > node->wait_spin_ns)
			return false;
		if (now_ns - start_ns > YIELD_AFTER_NS && looks % YIELD_LOOKS == 0)
			sched_yield();
	}
	return false;
}

static void spin(struct node *node, struct waiter *waiter)
{
	atomic_fetch_add_explicit(&node->pollers, 1, memory_order_relaxed);
	bool settled = poll_for(node, waiter);

	atomic_fetch_sub_explicit(&node->pollers, 1, memory_order_relaxed);
	if (settled)
		return;
	pthread_mutex_lock(&node->lock);
	if (is_done(waiter))
		loop_settle(node);
	else
		loop_quiet(node);
	pthread_mutex_unlock(&node->lock);
}

/* Until it is completed, `due_ns` has come, or for no reason. */
static void sleep_until(struct waiter *waiter, uint64_t due_ns)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
	const struct timespec left = {
		.tv_sec = (time_t)(left_ns / UINT64_C(1000000000)),
		.tv_nsec = (long)(left_ns % UINT64_C(1000000000)),
	};

	syscall(SYS_futex, &waiter->state, FUTEX_WAIT_PRIVATE, WAITER_ASLEEP,
		due_ns == UINT64_MAX ? NULL : &left, NULL, 0);
}

bool waiter_wait_until(struct node *node, struct waiter *waiter, uint64_t due_ns)
{
	uint32_t waiting = WAITER_WAITING;

	if (!is_done(waiter) && node->wait_spin_ns > 0)
		spin(node, waiter);
	/* Done, or asleep; asleep it stays after a time out too, which costs a needless wake-up. */
	atomic_compare_exchange_strong_explicit(&waiter->state, &waiting, WAITER_ASLEEP,
						memory_order_acq_rel, memory_order_acquire);
	while (!is_done(waiter) && clock_now_ns() < due_ns)
		sleep_until(waiter, due_ns);
	return is_done(waiter);
}

void waiter_wait(struct node *node, struct waiter *waiter)
{
	waiter_wait_until(node, waiter, UINT64_MAX);
}

void node_offer(struct node *node, struct event *event)
{
	for (;;) {
		pthread_mutex_lock(&node->lock);
		int error = loop_step(node, event);

		if (error == -EAGAIN)
			loop_progress(node);
		loop_post(node);
		loop_settle(node);
		pthread_mutex_unlock(&node->lock);
		if (error == 0)
			return;
		ASSERT(error == -EAGAIN);
		sched_yield();
	}
}

int node_call(struct node *node, struct event *event, struct waiter *waiter)
{
	waiter_init(waiter);
	event->token = waiter_token(waiter);
	node_offer(node, event);
	waiter_wait(node, waiter);
	return waiter->status;
}
