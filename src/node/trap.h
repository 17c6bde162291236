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
#include <stddef.h>
#include <stdint.h>

struct node;

/* Takes SIGBUS for the node, and makes it unblocked in this thread and in all signal handlers. */
int trap_open(struct node *node);

/* Gives SIGBUS back to the program. Nothing to do for a node that has not got it. */
void trap_close(struct node *node);

/* A region stands at [addr, addr + bytes): of a node that has the trap, else nothing is done. */
void trap_cover(const struct node *node, const void *addr, size_t bytes);

/*
 * Might the kernel find a page of [start, start + bytes) missing, where the program would not? True
 * only while the trap is open; then sometimes also for addresses between regions. Any thread, at
 * any time; costs two loads.
 */
bool trap_covers(uintptr_t start, size_t bytes);

/*
 * sigaction(2) as the program sees it: while the trap is open, what it says of SIGBUS is kept for
 * what is not the library's, and no other handler's mask blocks SIGBUS. Returns 0 or -1 with errno.
 */
int trap_sigaction(int number, const struct sigaction *wanted, struct sigaction *before);

#endif
