/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child reports a failed step through a pipe that closes by itself when the program starts, so
 * that the launcher knows of every rank whether it runs.
 */
#include "cli/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct failure {
	int error;
	enum spawn_step step;
};

__attribute__((noreturn)) static void child_fail(int report, enum spawn_step step)
{
	struct failure failure = { .error = -errno, .step = step };
	ssize_t written = write(report, &failure, sizeof(failure));

	_exit(written == sizeof(failure) ? 127 : 126);
}

/* Rank 0 has the launcher's standard input, the others have none. */
static int child_input(unsigned int rank)
{
	if (rank == 0)
		return 0;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd < 0 || dup2(fd, STDIN_FILENO) < 0 ? -1 : 0;
}

static int child_output(const int *outputs)
{
	if (outputs == NULL)
		return 0;
	return dup2(outputs[0], STDOUT_FILENO) < 0 || dup2(outputs[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static void child_restore(const struct spawn_inherited *inherited)
{
	setrlimit(RLIMIT_NOFILE, &inherited->open_files);
	sigaction(SIGPIPE, &inherited->pipe_action, NULL);
	sigprocmask(SIG_SETMASK, &inherited->mask, NULL);
}

__attribute__((noreturn)) static void child_run(const struct spawn *spawn, pid_t launcher,
						int report)
{
	char rank[16];

	/* A launcher that ended before the first line took effect left this process an orphan. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != launcher)
		_exit(125);
	snprintf(rank, sizeof(rank), "%u", spawn->rank);
	if (setenv("PERGOLA_RANK", rank, 1) != 0 || child_input(spawn->rank) != 0 ||
	    child_output(spawn->outputs) != 0)
		child_fail(report, SPAWN_INPUT);
	child_restore(spawn->inherited);
	execvp(spawn->command[0], spawn->command);
	child_fail(report, SPAWN_EXEC);
}

/* Waits until the child's pipe closes (0: the program runs) or tells of a failure. */
static int hear(int report, enum spawn_step *step)
{
	struct failure failure;
	ssize_t got;

	do
		got = read(report, &failure, sizeof(failure));
	while (got < 0 && errno == EINTR);
	if (got != sizeof(failure))
		return 0;
	*step = failure.step;
	return failure.error;
}

int spawn_rank(const struct spawn *spawn, pid_t *pid, enum spawn_step *step)
{
	pid_t launcher = getpid();
	int ends[2];

	*step = SPAWN_FORK;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	pid_t child = fork();
	if (child == 0)
		child_run(spawn, launcher, ends[1]);
	int error = child < 0 ? -errno : 0;
	close(ends[1]);
	if (child > 0)
		error = hear(ends[0], step);
	close(ends[0]);
	if (child > 0 && error != 0)
		waitpid(child, NULL, 0);
	else if (error == 0)
		*pid = child;
	return error;
}
