/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that start jobs, watch them and do things to them. A driver is no node. A job is
 * what it has started: the launcher, or ranks by hand; all that they print is in one text. Every
 * wait has an end; a check that fails prints what the job has printed, kills what the driver has
 * started, and ends the driver with status 1.
 */
#ifndef PERGOLA_TESTS_DRIVE_H
#define PERGOLA_TESTS_DRIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DRIVE_RANKS_MAX 16
#define DRIVE_TEXT_BYTES 65536

struct drive_process {
	pid_t pid;
	int pidfd; /* readable when it has ended */
	bool mine; /* a child of the driver, to be waited for */
	bool over;
	int status; /* of waitpid(2), if mine and over */
};

struct drive_job {
	int output; /* a memfd */
	char text[DRIVE_TEXT_BYTES];
	struct drive_process launcher;
	struct drive_process ranks[DRIVE_RANKS_MAX];
	int rank_count;
	char id[17]; /* PERGOLA_JOB */
};

#define DRIVE_CHECK(job, condition)                                                                \
	((condition) ? (void)0 : drive_fail(job, __FILE__, __LINE__, #condition))

__attribute__((noreturn)) void drive_fail(struct drive_job *job, const char *file, int line,
					  const char *what);

uint64_t drive_now_ns(void);

/* A second, for waits that are to fail; CHECK_SLOW of them on a machine that is so much slower. */
uint64_t drive_second_ns(void);
void drive_sleep_us(uint64_t us);

/* Makes an empty job; `job` may be used again for the next one after drive_end(). */
void drive_begin(struct drive_job *job);

/* `environment` ("NAME=VALUE", NULL at the end, or NULL) is added to the driver's own. */
void drive_start_launcher(struct drive_job *job, char *const *command, char *const *environment);

/* Starts rank `rank` of `size` of a job that has no launcher. */
void drive_start_rank(struct drive_job *job, int rank, int size, char *const *command,
		      char *const *environment);

/* Waits until every rank has printed "rank R pid P job J" and, if asked, "ready R". */
void drive_await_ranks(struct drive_job *job, int size, bool ready, uint64_t deadline_ns);

/* Waits until all ranks have ended, or `deadline_ns`: false. */
bool drive_await_ends(struct drive_job *job, uint64_t deadline_ns);

/* Waits for the launcher's end. Returns its exit status; -1: not over by then. */
int drive_await_launcher(struct drive_job *job, uint64_t deadline_ns);

/* The job's text so far. */
const char *drive_text(struct drive_job *job);
bool drive_has_text(struct drive_job *job, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* No process, socket or shared object of the job is left; then forgets it. */
void drive_end(struct drive_job *job);

#endif
