/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's SIGBUS while faults are delivered inline. A SIGBUS for a shared page that is not
 * here is served by inline.c; every other one goes to the handler of the program, or ends the
 * process as if this library were not there.
 *
 * The program may set its own handler before dsm_init(), or at any time after it if its calls of
 * sigaction(2) and signal(2) reach this library's (src/calls).
 */
#ifndef PERGOLA_NODE_TRAP_H
#define PERGOLA_NODE_TRAP_H

#include <signal.h>
#include <stdbool.h>

struct node;

/* Takes SIGBUS for the node, and makes it unblocked in this thread and in all signal handlers. */
int trap_open(struct node *node);

/* Gives SIGBUS back to the program. Nothing to do for a node that has not got it. */
void trap_close(struct node *node);

/* True while SIGBUS is the library's. Any thread, at any time; also in signal handlers. */
bool trap_is_open(void);

/*
 * sigaction(2) as the program sees it: while the trap is open, what it says of SIGBUS is kept for
 * what is not the library's, and no other handler's mask blocks SIGBUS. Returns 0 or -1 with errno.
 */
int trap_sigaction(int number, const struct sigaction *wanted, struct sigaction *before);

#endif
