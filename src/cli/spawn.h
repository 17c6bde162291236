/* SPDX-License-Identifier: Apache-2.0 */
/* Starting one rank: a child process with its own environment, input and output. */
#ifndef PERGOLA_CLI_SPAWN_H
#define PERGOLA_CLI_SPAWN_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* What a rank gets back of what the launcher changed for itself. */
struct spawn_inherited {
	sigset_t mask;
	struct sigaction pipe_action;
	struct rlimit open_files;
};

struct spawn {
	unsigned int rank;
	char **command;
	const int
		*outputs; /* two descriptors for standard output and error; NULL: the launcher's */
	const struct spawn_inherited *inherited;
};

enum spawn_step {
	SPAWN_FORK, /* no child */
	SPAWN_INPUT,
	SPAWN_EXEC,
};

/*
 * Returns 0 with *pid set when the program runs. Otherwise -errno, with the step that failed; there
 * is no child then.
 */
int spawn_rank(const struct spawn *spawn, pid_t *pid, enum spawn_step *step);

#endif
