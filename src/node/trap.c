/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGBUS. The state here belongs to the process, as a signal's handler does, and not to a node: it
 * is the library's second global beside the handle in job.c.
 *
 * The handler runs with all signals blocked that are sent and not raised by the thread itself, so
 * that no handler of the program runs while this thread has the node's lock. It uses the stack
 * that the thread was on, and calls a handler of the program on the same, whatever that asked for.
 */
#include "node/trap.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "node/node.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

/* Actions that a handler on another thread may still be reading, before their place is used again.
 */
#define ACTIONS_KEPT 16u

typedef int (*sigaction_call)(int, const struct sigaction *, struct sigaction *);

static struct {
	_Atomic(struct node *) node; /* NULL: the trap is closed */

	/* What the program wants done: actions[current]. Changed without a lock, as sigaction(2)
	 * may be called in any signal handler: each change takes the next place. */
	struct sigaction actions[ACTIONS_KEPT];
	_Atomic unsigned int newest;
	_Atomic unsigned int current;

	/* All regions lie in [low, high). */
	_Atomic uintptr_t low;
	_Atomic uintptr_t high;
} trap;

/* Signals that a thread brings upon itself: to block them would be to die of them. */
static const int raised_by_itself[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS };

/* The C library's, not the one that src/calls puts before it. */
static int real_sigaction(int number, const struct sigaction *wanted, struct sigaction *before)
{
	static _Atomic(sigaction_call) call;
	sigaction_call real = atomic_load_explicit(&call, memory_order_relaxed);

	if (real == NULL) {
		void *symbol = dlsym(RTLD_NEXT, "sigaction");

		memcpy(&real, &symbol, sizeof(real));
		atomic_store_explicit(&call, real, memory_order_relaxed);
	}
	return real(number, wanted, before);
}

void trap_cover(const struct node *node, const void *addr, size_t bytes)
{
	uintptr_t start = (uintptr_t)addr;

	if (atomic_load(&trap.node) != node)
		return;
	if (trap.high == 0 || start < trap.low)
		atomic_store(&trap.low, start);
	if (start + bytes > trap.high)
		atomic_store(&trap.high, start + bytes);
}

bool trap_covers(uintptr_t start, size_t bytes)
{
	return start < atomic_load_explicit(&trap.high, memory_order_relaxed) &&
	       start + bytes > atomic_load_explicit(&trap.low, memory_order_relaxed);
}

/* ---- what the program wants ---- */

static void action_set(const struct sigaction *action)
{
	unsigned int next = (atomic_fetch_add(&trap.newest, 1) + 1) % ACTIONS_KEPT;

	trap.actions[next] = *action;
	atomic_store(&trap.current, next);
}

static struct sigaction action_get(void)
{
	return trap.actions[atomic_load(&trap.current)];
}

static bool has_handler(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) != 0 ||
	       (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/* ---- passing on ---- */

static void explain(const siginfo_t *info)
{
	struct node *node = atomic_load(&trap.node);
	struct page_id page;

	if (info->si_code <= 0)
		return; /* sent by somebody, who knows why */
	if (node != NULL && region_page(node, info->si_addr, &page))
		log_line(LOG_ERROR,
			 "SIGBUS at %p: the page was lost with node %u, which had the only copy",
			 info->si_addr, node->lost.value);
	else
		log_line(LOG_ERROR,
			 "SIGBUS at %p, which is not shared memory: beyond the end of a mapped "
			 "file, or no memory left",
			 info->si_addr);
}

/* The default action, which is to end the process: with the access that was at fault. */
static void end_process(const siginfo_t *info)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };

	explain(info);
	real_sigaction(SIGBUS, &standard, NULL);
	if (info->si_code <= 0)
		raise(SIGBUS);
}

/* As the kernel would have called it; but SIGBUS stays open to faults on shared memory. */
static void call_program(struct sigaction *action, siginfo_t *info, ucontext_t *context)
{
	sigset_t mask;

	sigorset(&mask, &context->uc_sigmask, &action->sa_mask);
	sigdelset(&mask, SIGBUS);
	if (((unsigned int)action->sa_flags & SA_RESETHAND) != 0) {
		const struct sigaction standard = { .sa_handler = SIG_DFL };

		action_set(&standard);
	}
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if ((action->sa_flags & SA_SIGINFO) != 0)
		action->sa_sigaction(SIGBUS, info, context);
	else
		action->sa_handler(SIGBUS);
}

static void pass_on(siginfo_t *info, ucontext_t *context)
{
	struct sigaction action = action_get();

	if (has_handler(&action))
		call_program(&action, info, context);
	else if (info->si_code > 0 || action.sa_handler == SIG_DFL)
		end_process(info); /* a fault cannot be ignored */
}

/* ---- the handler ---- */

#if defined(__x86_64__)

/* Bit 1 of the page fault's error code: the access was a store. */
static enum inline_access access_of(const ucontext_t *context)
{
	return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0 ? INLINE_STORE : INLINE_LOAD;
}

#elif defined(__aarch64__)

#define ESR_RECORD 0x45535201u
#define ESR_WRITE (UINT64_C(1) << 6)		 /* WnR of a data abort */
#define ESR_CACHE_MAINTENANCE (UINT64_C(1) << 8) /* says WnR and stores nothing */

/* A record in the signal frame has the syndrome; an old or foreign kernel may leave it out. */
static enum inline_access access_of(const ucontext_t *context)
{
	const unsigned char *at = (const unsigned char *)context->uc_mcontext.__reserved;
	const unsigned char *end = at + sizeof(context->uc_mcontext.__reserved);
	uint32_t head[2]; /* magic, bytes */
	uint64_t syndrome;

	while ((size_t)(end - at) >= sizeof(head) + sizeof(syndrome)) {
		memcpy(head, at, sizeof(head));
		if (head[0] == 0 || head[1] < sizeof(head) || head[1] > (size_t)(end - at))
			break;
		if (head[0] == ESR_RECORD) {
			memcpy(&syndrome, at + sizeof(head), sizeof(syndrome));
			return (syndrome & (ESR_WRITE | ESR_CACHE_MAINTENANCE)) == ESR_WRITE
				       ? INLINE_STORE
				       : INLINE_LOAD;
		}
		at += head[1];
	}
	return INLINE_UNKNOWN;
}

#else

static enum inline_access access_of(const ucontext_t *context)
{
	(void)context;
	return INLINE_UNKNOWN;
}

#endif

static void on_sigbus(int number, siginfo_t *info, void *frame)
{
	struct node *node = atomic_load_explicit(&trap.node, memory_order_acquire);
	ucontext_t *context = frame;
	int error = errno;
	struct page_id page;
	int cancel;

	(void)number;
	if (node != NULL && info->si_code == BUS_ADRERR &&
	    region_page(node, info->si_addr, &page) && !inline_refused(node, page)) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
		inline_fault(node, page, access_of(context), &context->uc_sigmask);
		pthread_setcancelstate(cancel, NULL);
	} else {
		pass_on(info, context);
	}
	errno = error;
}

/* ---- opening and closing ---- */

static void unblock_in_handlers(void)
{
	struct sigaction action;

	for (int number = 1; number < NSIG; number++) {
		if (real_sigaction(number, NULL, &action) != 0 || !has_handler(&action) ||
		    sigismember(&action.sa_mask, SIGBUS) != 1)
			continue;
		sigdelset(&action.sa_mask, SIGBUS);
		real_sigaction(number, &action, NULL);
	}
}

int trap_open(struct node *node)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | (int)SA_NODEFER | SA_RESTART };
	struct sigaction before;
	sigset_t bus;

	action.sa_sigaction = on_sigbus;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(raised_by_itself) / sizeof(raised_by_itself[0]); i++)
		sigdelset(&action.sa_mask, raised_by_itself[i]);
	ASSERT(atomic_load(&trap.node) == NULL);
	unblock_in_handlers();
	if (real_sigaction(SIGBUS, NULL, &before) == 0)
		action_set(&before);
	atomic_store_explicit(&trap.node, node, memory_order_release);
	if (real_sigaction(SIGBUS, &action, NULL) != 0) {
		atomic_store(&trap.node, NULL);
		return error_set(-errno, "a handler of SIGBUS: %s", strerror(errno));
	}
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	return 0;
}

void trap_close(struct node *node)
{
	struct sigaction action = action_get();

	if (atomic_load(&trap.node) != node)
		return;
	real_sigaction(SIGBUS, &action, NULL);
	atomic_store(&trap.node, NULL);
	atomic_store(&trap.high, 0);
	atomic_store(&trap.low, 0);
}

int trap_sigaction(int number, const struct sigaction *wanted, struct sigaction *before)
{
	struct sigaction copy;

	if (atomic_load(&trap.node) == NULL)
		return real_sigaction(number, wanted, before);
	if (wanted != NULL) {
		copy = *wanted;
		sigdelset(&copy.sa_mask, SIGBUS);
	}
	if (number != SIGBUS)
		return real_sigaction(number, wanted != NULL ? &copy : NULL, before);
	copy = action_get();
	if (wanted != NULL)
		action_set(wanted);
	if (before != NULL)
		*before = copy;
	return 0;
}
