/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pager needs of this machine, asked of the running kernel and not of a header: each thing
 * is tried on a test page. `pergola doctor` prints the table; opening a pager fails with its first
 * failed line.
 */
#ifndef PERGOLA_PAGER_PROBE_H
#define PERGOLA_PAGER_PROBE_H

#include "port/pager.h"

#include <stddef.h>

#define PAGER_CHECKS 13

enum pager_check_status {
	PAGER_CHECK_OK = 1,
	PAGER_CHECK_FAILED,	      /* no pager without it */
	PAGER_CHECK_OPTIONAL_MISSING, /* a pager without what it gives */
};

struct pager_check {
	const char *name;
	enum pager_check_status status;
	int error;	  /* negative errno value where failed, else 0 */
	char text[240];	  /* one sentence: what was found */
	char remedy[560]; /* the command that mends it; "" where there is nothing to mend */
};

/*
 * Fills all of `checks`, in the order in which they depend on each other, for a pager that delivers
 * faults in this way. Any thread, at any time; takes about a tenth of a millisecond and leaves
 * nothing behind.
 */
void pager_probe(enum pager_delivery delivery, struct pager_check checks[PAGER_CHECKS]);

/* The first failed check, or NULL. */
const struct pager_check *pager_probe_failed(const struct pager_check checks[PAGER_CHECKS]);

/*
 * Compares the numbers at the start of `release` ("6.1.0-18-amd64") with major.minor: negative
 * older, 0 that one, positive newer. Text that is no version is older than any.
 */
int pager_release_compare(const char *release, unsigned int major, unsigned int minor);

#endif
