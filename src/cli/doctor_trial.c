/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job of two ranks on this host, for real: this command starts itself through `pergola run`, rank
 * 1 writes pages and rank 0 reads them. Rank 0 prints the median time of its faults in nanoseconds.
 */
#include "cli/doctor.h"

#include "cli/cli.h"
#include "pergola/dsm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIAL_NAME "trial job of 2 ranks"
#define TRIAL_TIMEOUT "20s"
#define TRIAL_PAGES 64u
#define SAID_BYTES 4096

/* ---- a rank -------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int complain(const char *what)
{
	cli_say("%s: %s", what, dsm_error());
	return CLI_EXIT_FAILED;
}

static uint64_t pattern(unsigned int page)
{
	return UINT64_C(0x9e3779b97f4a7c15) * (page + 1);
}

static void write_pages(unsigned char *region)
{
	for (unsigned int page = 0; page < TRIAL_PAGES; page++)
		*(volatile uint64_t *)(void *)(region + (size_t)page * DSM_PAGE_BYTES) =
			pattern(page);
}

static int compare_times(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return first < second ? -1 : first > second;
}

/* Reads what the other wrote; prints the median fault. */
static int read_pages(const unsigned char *region)
{
	uint64_t times[TRIAL_PAGES];

	for (unsigned int page = 0; page < TRIAL_PAGES; page++) {
		uint64_t began_ns = now_ns();
		uint64_t value =
			*(const volatile uint64_t *)(const void *)(region +
								   (size_t)page * DSM_PAGE_BYTES);

		times[page] = now_ns() - began_ns;
		if (value != pattern(page)) {
			cli_say("page %u holds %#llx, the other rank wrote %#llx", page,
				(unsigned long long)value, (unsigned long long)pattern(page));
			return CLI_EXIT_FAILED;
		}
	}
	qsort(times, TRIAL_PAGES, sizeof(times[0]), compare_times);
	printf("%llu\n", (unsigned long long)times[TRIAL_PAGES / 2]);
	fflush(stdout);
	return 0;
}

int doctor_trial_rank(void)
{
	int result = 0;

	if (dsm_init(-1) != 0)
		return complain("dsm_init");
	unsigned char *region = dsm_reserve(NULL, (size_t)TRIAL_PAGES * DSM_PAGE_BYTES);
	if (region == NULL)
		return complain("dsm_reserve");
	if (dsm_node_id() == 1)
		write_pages(region);
	if (dsm_barrier() < 0)
		return complain("dsm_barrier");
	if (dsm_node_id() == 0)
		result = read_pages(region);
	if (dsm_barrier() < 0)
		return complain("dsm_barrier");
	if (dsm_finish() != 0)
		return complain("dsm_finish");
	return result;
}

/* ---- the job ------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void run_job(const char *self, int out)
{
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0)
		_exit(CLI_EXIT_LAUNCHER);
	execl(self, self, "run", "-n", "2", "--timeout", TRIAL_TIMEOUT, "--", self,
	      DOCTOR_TRIAL_RANK, (char *)NULL);
	_exit(CLI_EXIT_LAUNCHER);
}

/* What the job said, to its end; more than fits is dropped. */
static void hear(int in, char *said, size_t said_bytes)
{
	char rest[256];
	size_t have = 0;

	for (;;) {
		bool room = have + 1 < said_bytes;
		ssize_t got = read(in, room ? said + have : rest,
				   room ? said_bytes - 1 - have : sizeof(rest));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (room)
			have += (size_t)got;
	}
	said[have] = '\0';
}

/* 0 and the job's wait status, or -errno. */
static int try_job(char *said, size_t said_bytes, int *status)
{
	char self[PATH_MAX];
	int ends[2];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length < 0)
		return -errno;
	self[length] = '\0';
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	pid_t child = fork();
	if (child == 0)
		run_job(self, ends[1]);
	int error = child < 0 ? -errno : 0;
	close(ends[1]);
	if (child > 0)
		hear(ends[0], said, said_bytes);
	close(ends[0]);
	if (child > 0 && waitpid(child, status, 0) != child)
		error = -errno;
	return error;
}

static void find_failure(struct doctor *doctor, int status, char *said)
{
	char found[96];

	snprintf(found, sizeof(found), "ended with status %d; it said:",
		 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	doctor_find(doctor, FINDING_FAIL, TRIAL_NAME, found, NULL);
	for (char *line = strtok(said, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("      %s\n", line);
}

void doctor_check_trial(struct doctor *doctor)
{
	char said[SAID_BYTES] = "";
	char found[96];
	int status = 0;
	int error = try_job(said, sizeof(said), &status);

	if (error != 0) {
		doctor_find(doctor, FINDING_FAIL, TRIAL_NAME, strerror(-error), NULL);
		return;
	}
	char *end;
	unsigned long long median_ns = strtoull(said, &end, 10);
	if (status != 0 || end == said || *end != '\n') {
		find_failure(doctor, status, said);
		return;
	}
	snprintf(found, sizeof(found), "works; a read fault served by the other rank takes %.1f us",
		 (double)median_ns / 1e3);
	doctor_find(doctor, FINDING_OK, TRIAL_NAME, found, NULL);
}
