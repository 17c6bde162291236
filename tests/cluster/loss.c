/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node is lost: loss LAUNCHER PROGRAM. Jobs of several sizes and occupations, in each of which a
 * random rank is killed at a random moment. Every other rank must end within two seconds and say
 * which node was lost; the launcher must return within three; nothing of the job may be left. Then
 * the ways to be lost without being killed.
 */
#include "drive.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define S_NS drive_second_ns()
#define KILLS 54 /* unless CHECK_KILLS says otherwise; each occupation and size once */
#define NODE_LOST_STATUS 98

static char *launcher;
static char *program;
static uint64_t slowest_rank_ns;
static uint64_t slowest_launcher_ns;

static uint64_t random_below(uint64_t limit)
{
	return (uint64_t)random() % limit;
}

static void start(struct drive_job *job, int size, const char *what, char *const *environment)
{
	char count[16];
	char occupation[16];
	char *command[] = { launcher, "run",   "-n",	   count, "--timeout",
			    "20",     program, occupation, NULL };

	snprintf(count, sizeof(count), "%d", size);
	snprintf(occupation, sizeof(occupation), "%s", what);
	drive_begin(job);
	drive_start_launcher(job, command, environment);
}

static uint64_t later(uint64_t ns)
{
	return drive_now_ns() + ns;
}

static void worst(uint64_t *slowest, uint64_t since)
{
	uint64_t took = drive_now_ns() - since;

	if (took > *slowest)
		*slowest = took;
}

/* Every survivor names `lost`. In "finish" some may have left in time; in "init" none has a rank.
 */
static void check_messages(struct drive_job *job, int lost, const char *what)
{
	for (int rank = 0; rank < job->rank_count; rank++) {
		if (rank == lost || strcmp(what, "finish") == 0 || strcmp(what, "init") == 0)
			continue;
		DRIVE_CHECK(job, drive_has_text(job, "pergola[%d]: error: node %d was lost", rank,
						lost));
	}
	if (strcmp(what, "init") != 0)
		DRIVE_CHECK(job, drive_has_text(job, "rank %d (pid %d) was killed", lost,
						job->ranks[lost].pid) ||
					 drive_has_text(job, "rank %d (pid %d)", lost,
							job->ranks[lost].pid));
}

static void kill_one(int size, const char *what, uint64_t delay_us)
{
	struct drive_job *job = malloc(sizeof(*job));
	int lost = (int)random_below((uint64_t)size);

	if (job == NULL)
		abort();
	start(job, size, what, NULL);
	drive_await_ranks(job, size, strcmp(what, "init") != 0, later(15 * S_NS));
	drive_sleep_us(delay_us);
	uint64_t killed_at = drive_now_ns();
	bool killed = !job->ranks[lost].over &&
		      syscall(SYS_pidfd_send_signal, job->ranks[lost].pidfd, SIGKILL, NULL, 0) == 0;

	/* Milliseconds; in "init" the launcher's grace. The rest is for a busy machine. */
	DRIVE_CHECK(job, drive_await_ends(job, killed_at + 5 * S_NS));
	worst(&slowest_rank_ns, killed_at);
	if (drive_now_ns() - killed_at > S_NS / 2)
		printf("%s, %d nodes: %.0f ms\n", what, size,
		       (double)(drive_now_ns() - killed_at) / 1e6);
	int status = drive_await_launcher(job, killed_at + 6 * S_NS);

	worst(&slowest_launcher_ns, killed_at);
	if (status != 0 && status != 128 + SIGKILL)
		printf("%s, %d nodes: the launcher says %d\n", what, size, status);
	/*
	 * In "finish" it may have been over before; in "init" the others fail by themselves, and
	 * one of them may be seen to end before the one that was killed.
	 */
	DRIVE_CHECK(job, status == 128 + SIGKILL || (status == 0 && strcmp(what, "finish") == 0) ||
				 (status == 1 && strcmp(what, "init") == 0));
	if (killed && status != 0)
		check_messages(job, lost, what);
	drive_end(job);
	free(job);
}

static void kills(void)
{
	static const char *const occupations[] = { "faults",   "locks",	  "barrier",
						   "malloc",   "mixture", "finish",
						   "prefetch", "init",	  "idle" };
	static const int sizes[] = { 2, 3, 4, 6, 8, 4 };
	const char *text = getenv("CHECK_KILLS");
	int count = text != NULL ? atoi(text) : KILLS;

	for (int i = 0; i < count; i++) {
		const char *what = occupations[i % 9];
		int size = sizes[i / 9 % 6];
		uint64_t delay_us = random_below(i % 2 == 0 ? 2000 : 40000);

		kill_one(size, what, delay_us);
	}
	printf("%d kills; slowest survivor %.0f ms, slowest launcher %.0f ms\n", count,
	       (double)slowest_rank_ns / 1e6, (double)slowest_launcher_ns / 1e6);
}

/* The last rank leaves by itself; `status` is what the launcher must say. */
static void leave(const char *what, int status)
{
	struct drive_job *job = malloc(sizeof(*job));
	int lost = 3;

	if (job == NULL)
		abort();
	start(job, lost + 1, what, NULL);
	drive_await_ranks(job, lost + 1, true, later(15 * S_NS));
	DRIVE_CHECK(job, drive_await_ends(job, later(3 * S_NS)));
	DRIVE_CHECK(job, drive_await_launcher(job, later(6 * S_NS)) == status);
	for (int rank = 0; rank < lost; rank++)
		DRIVE_CHECK(job, drive_has_text(job, "pergola[%d]: error: node %d was lost", rank,
						lost));
	drive_end(job);
	free(job);
	printf("%s: the launcher says %d\n", what, status);
}

/* With on-loss=error the launcher lets the others be; until it is told to end them. */
static void go_on(void)
{
	struct drive_job *job = malloc(sizeof(*job));
	char loss[] = "PERGOLA_ON_LOSS=error";
	char *environment[] = { loss, NULL };

	if (job == NULL)
		abort();
	start(job, 3, "idle", environment);
	drive_await_ranks(job, 3, true, later(15 * S_NS));
	DRIVE_CHECK(job,
		    syscall(SYS_pidfd_send_signal, job->ranks[1].pidfd, SIGKILL, NULL, 0) == 0);
	DRIVE_CHECK(job, !drive_await_ends(job, later(2 * S_NS)));
	DRIVE_CHECK(job, !job->ranks[0].over && job->ranks[1].over && !job->ranks[2].over);
	DRIVE_CHECK(job, drive_has_text(job, "pergola[0]: warning: node 1 was lost"));
	DRIVE_CHECK(job, drive_has_text(job, "pergola[2]: warning: node 1 was lost"));
	kill(job->launcher.pid, SIGTERM);
	DRIVE_CHECK(job, drive_await_ends(job, later(3 * S_NS)));
	DRIVE_CHECK(job, drive_await_launcher(job, later(6 * S_NS)) > 0);
	drive_end(job);
	free(job);
	printf("on-loss=error: the others went on\n");
}

/* Whether this machine can run a job at all. */
static void skip_if_impossible(void)
{
	struct drive_job *job = malloc(sizeof(*job));

	if (job == NULL)
		abort();
	start(job, 1, "finish", NULL);
	int status = drive_await_launcher(job, later(15 * S_NS));
	bool refused = drive_has_text(job, "userfaultfd") && status != 0;

	if (refused) {
		printf("skipped: %s", drive_text(job));
		exit(77);
	}
	DRIVE_CHECK(job, status == 0);
	job->rank_count = 0;
	drive_end(job);
	free(job);
}

int main(int argc, char **argv)
{
	const char *seed = getenv("CHECK_SEED");
	unsigned int number =
		seed != NULL ? (unsigned int)strtoul(seed, NULL, 0) : (unsigned int)drive_now_ns();

	if (argc != 3)
		return 2;
	launcher = argv[1];
	program = argv[2];
	printf("CHECK_SEED=%u\n", number);
	srandom(number);
	skip_if_impossible();
	kills();
	leave("exit-0", NODE_LOST_STATUS);
	leave("exit-3", 3);
	leave("abort", 128 + SIGABRT);
	go_on();
	return 0;
}
