/* SPDX-License-Identifier: Apache-2.0 */
/* Processes are named by pidfd as soon as their pid is known, so that none is taken for another. */
#include "drive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP_US 200

uint64_t drive_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t drive_second_ns(void)
{
	const char *slow = getenv("CHECK_SLOW");

	return UINT64_C(1000000000) * (slow != NULL ? strtoul(slow, NULL, 10) : 1);
}

void drive_sleep_us(uint64_t us)
{
	const struct timespec time = { (time_t)(us / 1000000), (long)(us % 1000000 * 1000) };

	nanosleep(&time, NULL);
}

static void kill_process(const struct drive_process *process)
{
	if (process->pid > 0 && !process->over)
		syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
}

void drive_fail(struct drive_job *job, const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n---- the job's output:\n%s----\n", file, line, what,
		drive_text(job));
	for (int i = 0; i < job->rank_count; i++) {
		const struct drive_process *rank = &job->ranks[i];

		fprintf(stderr, "rank %d pid %d %s status %x\n", i, rank->pid,
			rank->over ? "over" : "running", (unsigned int)rank->status);
		kill_process(rank);
	}
	kill_process(&job->launcher);
	_exit(1);
}

/* ---- starting ---- */

void drive_begin(struct drive_job *job)
{
	*job = (struct drive_job){ .rank_count = 0 };
	job->output = memfd_create("output", MFD_CLOEXEC);
	/* Appending: otherwise two processes' writes may take the same place. */
	DRIVE_CHECK(job, job->output >= 0 && fcntl(job->output, F_SETFL, O_APPEND) == 0);
}

static void note_process(struct drive_job *job, struct drive_process *process, pid_t pid, bool mine)
{
	process->pid = pid;
	process->mine = mine;
	process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* One that is no child may be over and gone already. */
	DRIVE_CHECK(job, process->pidfd >= 0 || (!mine && errno == ESRCH));
	process->over = process->pidfd < 0;
}

static void start(struct drive_job *job, struct drive_process *process, char *const *command,
		  char *const *environment)
{
	pid_t pid = fork();

	DRIVE_CHECK(job, pid >= 0);
	if (pid == 0) {
		dup2(job->output, STDOUT_FILENO);
		dup2(job->output, STDERR_FILENO);
		for (; environment != NULL && *environment != NULL; environment++)
			putenv(*environment);
		execv(command[0], command);
		_exit(127);
	}
	note_process(job, process, pid, true);
}

void drive_start_launcher(struct drive_job *job, char *const *command, char *const *environment)
{
	start(job, &job->launcher, command, environment);
}

void drive_start_rank(struct drive_job *job, int rank, int size, char *const *command,
		      char *const *environment)
{
	static uint64_t last;
	char text[64];

	DRIVE_CHECK(job, rank < DRIVE_RANKS_MAX);
	if (job->id[0] == '\0')
		snprintf(job->id, sizeof(job->id), "%016llx",
			 (unsigned long long)((uint64_t)getpid() << 32 | ++last));
	snprintf(text, sizeof(text), "%d", rank);
	setenv("PERGOLA_RANK", text, 1);
	snprintf(text, sizeof(text), "%d", size);
	setenv("PERGOLA_SIZE", text, 1);
	setenv("PERGOLA_JOB", job->id, 1);
	snprintf(text, sizeof(text), "@pergola-%s", job->id);
	setenv("PERGOLA_ROOT", text, 1);
	start(job, &job->ranks[rank], command, environment);
	if (rank >= job->rank_count)
		job->rank_count = rank + 1;
}

/* ---- what it prints ---- */

const char *drive_text(struct drive_job *job)
{
	ssize_t got = pread(job->output, job->text, sizeof(job->text) - 1, 0);

	job->text[got > 0 ? got : 0] = '\0';
	return job->text;
}

bool drive_has_text(struct drive_job *job, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return strstr(drive_text(job), text) != NULL;
}

static void find_rank(struct drive_job *job, int rank)
{
	char start_of_line[32];
	int pid;

	if (job->ranks[rank].pid != 0)
		return;
	snprintf(start_of_line, sizeof(start_of_line), "rank %d pid ", rank);
	const char *line = strstr(drive_text(job), start_of_line);

	if (line == NULL || strchr(line, '\n') == NULL)
		return;
	line += strlen(start_of_line);
	if (sscanf(line, "%d job %16[0-9a-f]", &pid, job->id) == 2)
		note_process(job, &job->ranks[rank], pid, false);
}

void drive_await_ranks(struct drive_job *job, int size, bool ready, uint64_t deadline_ns)
{
	job->rank_count = size;
	for (int rank = 0; rank < size;) {
		find_rank(job, rank);
		if (job->ranks[rank].pid != 0 &&
		    (!ready || drive_has_text(job, "ready %d\n", rank))) {
			rank++;
			continue;
		}
		DRIVE_CHECK(job, drive_now_ns() < deadline_ns);
		drive_sleep_us(STEP_US);
	}
}

/* ---- how it ends ---- */

/* Whether it has ended by then. A child is waited for. */
static bool await(struct drive_process *process, uint64_t deadline_ns)
{
	struct pollfd fd = { .fd = process->pidfd, .events = POLLIN };

	while (!process->over) {
		uint64_t now = drive_now_ns();
		int ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000) : 0;

		if (poll(&fd, 1, ms) == 1) {
			process->over = true;
			if (process->mine)
				waitpid(process->pid, &process->status, 0);
			close(process->pidfd);
		} else if (drive_now_ns() >= deadline_ns || ms == 0) {
			return false;
		}
	}
	return true;
}

bool drive_await_ends(struct drive_job *job, uint64_t deadline_ns)
{
	bool all = true;

	for (int rank = 0; rank < job->rank_count; rank++)
		all = await(&job->ranks[rank], deadline_ns) && all;
	return all;
}

int drive_await_launcher(struct drive_job *job, uint64_t deadline_ns)
{
	if (!await(&job->launcher, deadline_ns))
		return -1;
	return WIFEXITED(job->launcher.status) ? WEXITSTATUS(job->launcher.status)
					       : 128 + WTERMSIG(job->launcher.status);
}

/* Sockets in the abstract name space, by the job's id, which is part of every name. */
static bool socket_left(const char *id)
{
	FILE *file = fopen("/proc/net/unix", "re");
	char line[512];
	bool found = false;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		found = found || strstr(line, id) != NULL;
	if (file != NULL)
		fclose(file);
	return found;
}

static bool object_left(const char *id)
{
	DIR *directory = opendir("/dev/shm");
	struct dirent *entry;
	bool found = false;

	while (directory != NULL && (entry = readdir(directory)) != NULL)
		found = found || strstr(entry->d_name, id) != NULL ||
			strstr(entry->d_name, "pergola") != NULL;
	if (directory != NULL)
		closedir(directory);
	return found;
}

void drive_end(struct drive_job *job)
{
	DRIVE_CHECK(job, job->launcher.pid == 0 || job->launcher.over);
	for (int rank = 0; rank < job->rank_count; rank++)
		DRIVE_CHECK(job, job->ranks[rank].over);
	/* A socket's last reference may go a moment after its process. */
	for (int i = 0; i < 100 && job->id[0] != '\0' && socket_left(job->id); i++)
		drive_sleep_us(1000);
	DRIVE_CHECK(job, job->id[0] == '\0' || !socket_left(job->id));
	DRIVE_CHECK(job, job->id[0] == '\0' || !object_left(job->id));
	close(job->output);
}
