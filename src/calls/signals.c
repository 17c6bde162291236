/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals. The program may set a handler of SIGBUS and block all signals as if there were no
 * library: the handler gets what is not the library's (trap.c), and SIGBUS stays unblocked. (A
 * thread that blocks a signal which it then brings upon itself is ended by the kernel, and POSIX
 * leaves open what blocking such a signal means.)
 */
#include "calls/calls.h"

CALLS_API int sigaction(int number, const struct sigaction *restrict wanted,
			struct sigaction *restrict before)
{
	return trap_sigaction(number, wanted, before);
}

CALLS_API sighandler_t signal(int number, sighandler_t handler)
{
	struct sigaction wanted = { .sa_flags = SA_RESTART };
	struct sigaction before;

	if (number != SIGBUS)
		return calls_real()->signal(number, handler);
	wanted.sa_handler = handler;
	return trap_sigaction(number, &wanted, &before) == 0 ? before.sa_handler : SIG_ERR;
}

/* A copy of the mask without SIGBUS, where it would be blocked; else the mask itself. */
static const sigset_t *without_sigbus(int how, const sigset_t *mask, sigset_t *copy)
{
	if (mask == NULL || (how != SIG_BLOCK && how != SIG_SETMASK))
		return mask;
	*copy = *mask;
	sigdelset(copy, SIGBUS);
	return copy;
}

CALLS_API int pthread_sigmask(int how, const sigset_t *restrict mask, sigset_t *restrict before)
{
	sigset_t copy;

	return calls_real()->pthread_sigmask(how, without_sigbus(how, mask, &copy), before);
}

CALLS_API int sigprocmask(int how, const sigset_t *restrict mask, sigset_t *restrict before)
{
	sigset_t copy;

	return calls_real()->sigprocmask(how, without_sigbus(how, mask, &copy), before);
}
