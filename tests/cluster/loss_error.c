/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks started by hand with PERGOLA_ON_LOSS=error: loss_error PROGRAM. The program's victim kills
 * itself, and every other rank must come to its own end, in order.
 */
#include "drive.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define NODES 4
#define S_NS drive_second_ns()

static bool skipped(struct drive_job *job)
{
	for (int rank = 0; rank < NODES; rank++) {
		if (WIFEXITED(job->ranks[rank].status) &&
		    WEXITSTATUS(job->ranks[rank].status) == 77)
			return true;
	}
	return false;
}

/* Whether the child has ended; its status stays to be asked for. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == pid;
}

static bool any_over(struct drive_job *job, int victim)
{
	for (int rank = 0; rank < NODES; rank++) {
		if (rank != victim && has_ended(job->ranks[rank].pid))
			return true;
	}
	return false;
}

/* When all survivors are done (or one has failed), they may go. */
static void release(struct drive_job *job, int victim)
{
	uint64_t deadline_ns = drive_now_ns() + 20 * S_NS;

	for (int rank = 0; rank < NODES;) {
		if (rank == victim || drive_has_text(job, "node %d: done\n", rank)) {
			rank++;
			continue;
		}
		if (any_over(job, victim))
			return;
		DRIVE_CHECK(job, drive_now_ns() < deadline_ns);
		drive_sleep_us(1000);
	}
	for (int rank = 0; rank < NODES; rank++) {
		if (rank != victim)
			kill(job->ranks[rank].pid, SIGUSR1);
	}
}

static void lose(char *program, int victim, char *manager)
{
	struct drive_job *job = malloc(sizeof(*job));
	char number[8];
	char *command[] = { program, number, NULL };
	char loss[] = "PERGOLA_ON_LOSS=error";
	char *environment[] = { loss, manager, NULL };

	if (job == NULL)
		abort();
	snprintf(number, sizeof(number), "%d", victim);
	drive_begin(job);
	for (int rank = 0; rank < NODES; rank++)
		drive_start_rank(job, rank, NODES, command, environment);
	release(job, victim);
	DRIVE_CHECK(job, drive_await_ends(job, drive_now_ns() + 5 * S_NS));
	if (skipped(job)) {
		printf("%s", drive_text(job));
		exit(77);
	}
	for (int rank = 0; rank < NODES; rank++) {
		int status = job->ranks[rank].status;

		if (rank == victim)
			DRIVE_CHECK(job, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		else
			DRIVE_CHECK(job, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	printf("node %d lost, %s:\n%s", victim, manager, drive_text(job));
	drive_end(job);
	free(job);
}

int main(int argc, char **argv)
{
	char managers[][32] = { "PERGOLA_MANAGER=fixed", "PERGOLA_MANAGER=central",
				"PERGOLA_MANAGER=broadcast", "PERGOLA_MANAGER=dynamic" };

	if (argc != 2)
		return 2;
	for (int i = 0; i < 4; i++) {
		lose(argv[1], 3, managers[i]);
		lose(argv[1], 0, managers[i]);
	}
	return 0;
}
