/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes below this one: children, theirs, and (this process being a child subreaper) those
 * whose parents have ended.
 */
#ifndef PERGOLA_CLI_DESCEND_H
#define PERGOLA_CLI_DESCEND_H

enum descend_reach {
	DESCEND_CHILDREN, /* children, and orphans that became children */
	DESCEND_ALL,
};

/* Sends `signal` to all that are there now. Returns to how many, or -errno (no /proc). */
int descend_signal(int signal, enum descend_reach reach);

#endif
