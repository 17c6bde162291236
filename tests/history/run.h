/* SPDX-License-Identifier: Apache-2.0 */
/* Runs recorded jobs and judges their histories. */
#ifndef PERGOLA_TESTS_HISTORY_RUN_H
#define PERGOLA_TESTS_HISTORY_RUN_H

#include "records.h"

struct run_options {
	const char *command; /* this program, for messages */
	char *job;	     /* the node's program */
	unsigned int node_count;
	unsigned int thread_count;
	unsigned int step_count;
	unsigned int run_count;
	uint64_t seed;
	bool kill;
	bool calm;  /* nobody is stopped meanwhile */
	bool wrong; /* something must be found */
	enum records_fault fault;
	const char *keep; /* where the history is written in any case, or NULL */
};

/* The exit status of the program: 0, 1 or 77. */
int run_all(const struct run_options *options);

/* Judges the history in a file. The same statuses. */
int run_check(const char *path);

/* "private", ...; NULL: there is no such fault. */
const char *run_fault_name(enum records_fault fault);

#endif
