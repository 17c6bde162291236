/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `pergola run`. */
#ifndef PERGOLA_CLI_RUN_OPTIONS_H
#define PERGOLA_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct run_options {
	unsigned int rank_count;
	bool label;
	bool verbose;
	bool goes_on;	     /* on-loss=error: a rank's end is no reason to end the others */
	uint64_t timeout_ns; /* 0: none */
	char **command;	     /* ends with NULL; points into argv */
};

/*
 * Fills `options` and puts the --set values into this process's environment, from where the ranks
 * have them. Returns 0; RUN_OPTIONS_HELP when help was asked for; or an exit status, the reason
 * said on standard error.
 */
#define RUN_OPTIONS_HELP (-1)
int run_options_parse(int argc, char **argv, struct run_options *options);

#endif
