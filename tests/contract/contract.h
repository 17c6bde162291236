/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conformance suite of the fabric contract (port/fabric.h). It knows nothing of any backend:
 * each case starts real processes, one a node, and looks only at what the contract promises. A
 * backend's own program is a few lines: a table of operations, and cases of its own if it has any.
 */
#ifndef PERGOLA_CONTRACT_H
#define PERGOLA_CONTRACT_H

#include "port/fabric.h"

#include <stdbool.h>

#define CONTRACT_NODES_MAX 16u
#define CONTRACT_NODES 4u

struct contract_node;

/* How the processes of a case begin and end. */
enum contract_flag {
	CONTRACT_RAW = 1 << 0,	    /* the case opens and connects itself */
	CONTRACT_OUTSIDER = 1 << 1, /* one process more, of rank node_count: not of the job */
	CONTRACT_VICTIM = 1 << 2,   /* the last rank is killed in the course of it */
};

struct contract_case {
	const char *name;
	void (*run)(struct contract_node *node);
	unsigned int node_count; /* 0: as the options say */
	unsigned int flags;	 /* of enum contract_flag */
};

struct contract_options {
	unsigned int node_count; /* 2 .. CONTRACT_NODES_MAX; 0: CONTRACT_NODES */
	unsigned int limit_ms;	 /* a step that waits longer has failed; 0: 5000 */
	unsigned int haste; /* rounds that only repeat are divided by this; 0, 1: all of them */
	bool fragile;	  /* an access that is refused by the peer may cost the connection to it */
	const char *only; /* cases whose name begins so; NULL: all */
	const struct contract_case *extra; /* the backend's own cases */
	unsigned int extra_count;
	bool quiet; /* failures are expected: say nothing */
};

/* Runs the cases; returns how many failed, or a negative errno value. */
int contract_run(const struct fabric_ops *ops, const struct contract_options *options);

/* As a program: [-f(ragile)] [-h haste] [-n nodes] [-t limit-ms] [case]. Returns the exit status.
 */
int contract_main(const struct fabric_ops *ops, const struct contract_case *extra,
		  unsigned int extra_count, int argc, char **argv);

#endif
