/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inline delivery: a thread that faults serves its fault itself, inside its signal handler
 * (trap.c). It takes the node's lock, gives the engine the fault and makes progress until the page
 * is there; then it returns to the access. docs/pager.md says why all of this may be done in a
 * signal handler.
 *
 * How it knows: every page belongs to one of a few classes, and each class counts the times that a
 * page of it was shown or refused. A thread notes the count before it asks and goes back to its
 * access when it has moved; if that was another page, or not enough, it faults again, which is rare
 * and cheap. So a waiting thread is linked nowhere, and a signal handler of the program that
 * interrupts its sleep may jump out of it (one sleeper is then counted for ever: a few needless
 * wake-ups).
 */
#include "base/assert.h"
#include "node/node.h"
#include "node/relax.h"
#include "node/times.h"
#include "port/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The lock is held for microseconds: to sleep for it would cost more than all of the fault. */
#define LOCK_TRIES 2000u

/* The clock is read, and timers are looked after, at every so many looks only. */
#define CLOCK_LOOKS 16u

/* From here on a polling thread also gives way to others that could run on its core. */
#define YIELD_AFTER_NS 20000u
#define YIELD_LOOKS (8 * CLOCK_LOOKS)

static struct arrivals *arrivals_of(struct node *node, struct page_id page)
{
	return &node->arrivals[page.value % ARRIVALS_CLASSES];
}

static size_t refused_bytes(const struct node *node)
{
	return (node->page_limit + 63) / 64 * sizeof(*node->refused);
}

int inline_open(struct node *node)
{
	if (!node->inline_delivery)
		return 0;
	node->refused = table_open(refused_bytes(node));
	return node->refused == NULL ? -ENOMEM : 0;
}

void inline_close(struct node *node)
{
	table_close((void *)node->refused, refused_bytes(node));
}

/*
 * The signal of an access to a page that was refused may look like one of a page that is missing
 * (a kernel without CONFIG_MEMORY_FAILURE does not tell them apart), so it is noted here.
 */
static void note_refusal(struct node *node, struct page_id page, bool refused)
{
	_Atomic uint64_t *word = &node->refused[page.value / 64];
	uint64_t bit = UINT64_C(1) << page.value % 64;
	uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

	/* Changed under the lock only. */
	if (((old & bit) != 0) != refused)
		atomic_store_explicit(word, old ^ bit, memory_order_relaxed);
}

bool inline_refused(const struct node *node, struct page_id page)
{
	return (atomic_load_explicit(&node->refused[page.value / 64], memory_order_relaxed) >>
			page.value % 64 &
		1) != 0;
}

void inline_arrived(struct node *node, struct run run, bool refused)
{
	if (!node->inline_delivery)
		return;
	for (uint32_t i = 0; i < run.page_count; i++)
		note_refusal(node, page_add(run.page, i), refused);
	for (uint32_t i = 0; i < run.page_count && i < ARRIVALS_CLASSES; i++) {
		struct arrivals *arrivals = arrivals_of(node, page_add(run.page, i));

		/* Both sequentially consistent. Partners: the two of sleep_until_arrival(). */
		atomic_fetch_add(&arrivals->count, 1);
		if (atomic_load(&arrivals->sleepers) > 0)
			syscall(SYS_futex, &arrivals->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL,
				NULL, 0);
	}
}

static bool arrived(struct arrivals *arrivals, uint32_t before)
{
	return atomic_load_explicit(&arrivals->count, memory_order_acquire) != before;
}

static void lock_soon(struct node *node)
{
	for (unsigned int i = 0; i < LOCK_TRIES; i++) {
		if (pthread_mutex_trylock(&node->lock) == 0)
			return;
		relax();
	}
	pthread_mutex_lock(&node->lock);
}

static void leave(struct node *node)
{
	loop_settle(node);
	pthread_mutex_unlock(&node->lock);
}

/* ---- waiting ---- */

/* Waits that have been long of late will be long again: then polling is only tried for a moment. */
static uint64_t patience_ns(struct node *node)
{
	uint64_t usual_ns = atomic_load_explicit(&node->arrival_wait_ns, memory_order_relaxed);

	return usual_ns <= node->wait_spin_ns ? node->wait_spin_ns : node->wait_spin_ns / 8;
}

static void learn(struct node *node, uint64_t waited_ns)
{
	uint64_t usual_ns = atomic_load_explicit(&node->arrival_wait_ns, memory_order_relaxed);
	uint64_t limit_ns = 4 * node->wait_spin_ns;

	if (waited_ns > limit_ns)
		waited_ns = limit_ns;
	/* Two threads at a time lose one of the two, which does no harm. */
	atomic_store_explicit(&node->arrival_wait_ns, usual_ns - usual_ns / 8 + waited_ns / 8,
			      memory_order_relaxed);
}

static void look(struct node *node, bool timers)
{
	if (pthread_mutex_trylock(&node->lock) != 0)
		return;
	if (timers)
		loop_progress(node);
	else
		loop_look(node);
	pthread_mutex_unlock(&node->lock);
}

/* Makes progress as long as its patience lasts. */
static void poll_for_arrival(struct node *node, struct arrivals *arrivals, uint32_t before)
{
	uint64_t start_ns = clock_now_ns();
	uint64_t limit_ns = patience_ns(node);
	uint64_t waited_ns = 0;

	atomic_fetch_add_explicit(&node->pollers, 1, memory_order_relaxed);
	for (unsigned int looks = 1; !arrived(arrivals, before) && waited_ns < limit_ns; looks++) {
		bool timers = looks % CLOCK_LOOKS == 0;

		look(node, timers);
		relax();
		if (timers)
			waited_ns = clock_now_ns() - start_ns;
		if (waited_ns > YIELD_AFTER_NS && looks % YIELD_LOOKS == 0)
			sched_yield();
	}
	atomic_fetch_sub_explicit(&node->pollers, 1, memory_order_relaxed);
}

/* The program's signals reach the thread while it sleeps, and not while it works. */
static void sleep_until_arrival(struct node *node, struct arrivals *arrivals, uint32_t before,
				const sigset_t *mask)
{
	sigset_t all;

	atomic_fetch_add(&node->arrival_sleepers, 1);
	atomic_fetch_add(&arrivals->sleepers, 1);
	lock_soon(node);
	loop_quiet(node);
	pthread_mutex_unlock(&node->lock);
	pthread_sigmask(SIG_SETMASK, mask, &all);
	while (atomic_load(&arrivals->count) == before)
		syscall(SYS_futex, &arrivals->count, FUTEX_WAIT_PRIVATE, before, NULL, NULL, 0);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	atomic_fetch_sub(&arrivals->sleepers, 1);
	atomic_fetch_sub(&node->arrival_sleepers, 1);
}

static void wait_for_arrival(struct node *node, struct arrivals *arrivals, uint32_t before,
			     const sigset_t *mask)
{
	uint64_t start_ns = clock_now_ns();

	if (node->wait_spin_ns > 0)
		poll_for_arrival(node, arrivals, before);
	if (arrived(arrivals, before)) {
		lock_soon(node);
		leave(node);
	} else {
		sleep_until_arrival(node, arrivals, before, mask);
	}
	learn(node, clock_now_ns() - start_ns);
}

/* ---- the fault ---- */

static bool is_store(struct node *node, struct page_id page, enum inline_access access)
{
	switch (access) {
	case INLINE_LOAD:
		return false;
	case INLINE_STORE:
		return true;
	case INLINE_UNKNOWN:
		break;
	}
	return engine_page_state(node->engine, page) == PAGE_READ;
}

void inline_fault(struct node *node, struct page_id page, enum inline_access access,
		  const sigset_t *mask)
{
	struct arrivals *arrivals = arrivals_of(node, page);
	struct event event = { .kind = EV_FAULT };

	lock_soon(node);
	uint32_t before = atomic_load_explicit(&arrivals->count, memory_order_relaxed);

	event.fault.run = (struct run){ page, 1 };
	event.fault.write = is_store(node, page, access);
	times_reach(node, TIMES_TAKEN, event.fault.run);
	int error = loop_fault(node, &event);

	ASSERT(error == 0 || error == -EAGAIN);
	if (!arrived(arrivals, before))
		loop_look(node);
	if (error == 0 && !arrived(arrivals, before)) {
		pthread_mutex_unlock(&node->lock);
		wait_for_arrival(node, arrivals, before, mask);
		return;
	}
	leave(node);
	if (error == -EAGAIN) /* too many pages are asked for: others come first */
		sched_yield();
}
