/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job on this host while it runs: its ranks, and how it comes to its end.
 *
 *   RUNNING  until a rank fails, the time is up, or all ranks have ended
 *   GRACE    a rank failed: the others have a second to notice and to say so themselves
 *   TERM     SIGTERM is sent
 *   KILL     SIGKILL is sent to every process below the launcher, until there is none
 *
 * From the failure to the end of the last process takes at most 2 s. With on-loss=error no failure
 * ends the job: it runs until all ranks have ended. The exit status is decided by the first rank
 * that fails. (One that ends because it lost another, EXIT_NODE_LOST, is blamed only
 * if no other turns up: the lost one's end may be noticed later than its peers'.)
 */
#ifndef PERGOLA_CLI_LAUNCH_H
#define PERGOLA_CLI_LAUNCH_H

#include "cli/output.h"
#include "cli/run_options.h"
#include "cli/spawn.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum launch_phase {
	LAUNCH_RUNNING,
	LAUNCH_GRACE,
	LAUNCH_TERM,
	LAUNCH_KILL,
};

struct launch_rank {
	pid_t pid;
	bool running;
	int status; /* of waitpid(2), when it ran and is over */
};

#define LAUNCH_NOBODY UINT32_MAX

struct launch {
	const struct run_options *options;
	struct launch_rank *ranks;
	unsigned int started;
	unsigned int running;
	bool children; /* processes are left, ranks or others */
	struct spawn_inherited inherited;
	struct output output;
	int signal_fd;
	struct pollfd *slots;
	enum launch_phase phase;
	uint64_t phase_ends_ns;
	uint64_t began_ns;
	uint64_t timeout_at_ns; /* UINT64_MAX: none */
	uint32_t blamed;	/* rank, or LAUNCH_NOBODY */
	bool blame_said;
	int forwarded; /* the last signal sent on to the ranks, or 0 */
	unsigned int end_requests;
	int exit_status;
};

/* Starts all ranks. 0, or the exit status, the reason said; ranks started are left to the caller.
 */
int launch_start(struct launch *launch);

/* Runs until no process is left. Returns the exit status. */
int launch_wait(struct launch *launch);

/* Begins the job's end at `phase`; later phases follow by time. Never goes back. */
void launch_end(struct launch *launch, enum launch_phase phase);

#endif
