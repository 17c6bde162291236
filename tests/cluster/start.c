/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How jobs come about, and how they do not: start PROGRAM. Ranks are started by hand, each with an
 * environment of its own. Whatever they disagree on, each must end soon and say why.
 */
#include "drive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define S_NS drive_second_ns()
#define RANKS_MAX 3
#define SECRET_A "PERGOLA_SECRET=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define SECRET_B "PERGOLA_SECRET=ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* Ranks 0 .. rank_count - 1 are started, of a job of `size`; the last one has `odd` as well. */
struct scene {
	const char *name;
	int size;
	int rank_count;
	const char *all;
	const char *odd;
	const char *said_by_all; /* every rank prints this, and fails; NULL: every rank joins */
	const char *said;	 /* at least one rank prints this */
};

static const struct scene scenes[] = {
	{ "alone", 1, 1, NULL, NULL, NULL, NULL },
	{ "alike", 3, 3, SECRET_A, NULL, NULL, NULL },
	/* What may differ. */
	{ "other hold", 3, 3, SECRET_A, "PERGOLA_HOLD=5ms", NULL, NULL },
	{ "other spin", 3, 3, SECRET_A, "PERGOLA_SPIN=0", NULL, NULL },
	{ "other loss", 3, 3, SECRET_A, "PERGOLA_ON_LOSS=error", NULL, NULL },
	{ "other placement", 3, 3, SECRET_A, "PERGOLA_PLACEMENT=local", NULL, NULL },
	{ "other log", 3, 3, SECRET_A, "PERGOLA_LOG=error", NULL, NULL },
	{ "other sync-objects", 3, 3, SECRET_A, "PERGOLA_SYNC_OBJECTS=64", NULL, NULL },
	/* What may not. */
	{ "other space", 3, 3, SECRET_A, "PERGOLA_SPACE=1G", "dsm_init: ", "PERGOLA_SPACE" },
	{ "other manager", 3, 3, SECRET_A, "PERGOLA_MANAGER=central",
	  "dsm_init: ", "PERGOLA_MANAGER" },
	{ "other credits", 3, 3, SECRET_A, "PERGOLA_CREDITS=8", "dsm_init: ", "PERGOLA_CREDITS" },
	{ "other page-requests", 3, 3, SECRET_A, "PERGOLA_PAGE_REQUESTS=64",
	  "dsm_init: ", "PERGOLA_PAGE_REQUESTS" },
	{ "other secret", 3, 3, SECRET_A, SECRET_B, "dsm_init: ", "secret" },
	{ "no secret", 3, 3, SECRET_A, "PERGOLA_SECRET=", "dsm_init: ", "secret" },
	{ "other size", 3, 3, SECRET_A, "PERGOLA_SIZE=4", "dsm_init: ", "PERGOLA_SIZE" },
	{ "other job", 3, 3, SECRET_A, "PERGOLA_JOB=1234567", "dsm_init: ", "job" },
	{ "same rank", 3, 3, SECRET_A, "PERGOLA_RANK=1", "dsm_init: ", "rank 1" },
	{ "rank too large", 3, 3, SECRET_A, "PERGOLA_RANK=7", "dsm_init: ", "PERGOLA_RANK" },
	{ "one missing", 3, 2, SECRET_A, NULL, "dsm_init: ", "2" },
	{ "no root", 2, 2, "PERGOLA_ROOT=", NULL, "dsm_init: ", "PERGOLA_ROOT" },
	{ "bad value", 3, 3, SECRET_A, "PERGOLA_HOLD=soon", "dsm_init: ", "hold" },
	{ "bad credits", 1, 1, "PERGOLA_CREDITS=2", NULL, "dsm_init: ", "credits" },
	{ "bad page-requests", 1, 1, "PERGOLA_PAGE_REQUESTS=1", NULL,
	  "dsm_init: ", "page-requests" },
	{ "small page-requests", 2, 2, "PERGOLA_PAGE_REQUESTS=64", NULL, NULL, NULL },
	{ "unknown variable", 2, 2, "PERGOLA_SPCAE=1G", NULL, NULL, "PERGOLA_SPACE" },
};

static void start(struct drive_job *job, const struct scene *scene, char *program)
{
	char *command[] = { program, NULL };
	char patience[64];

	snprintf(patience, sizeof(patience), "PERGOLA_CONNECT_TIMEOUT=%lluus",
		 (unsigned long long)(3 * S_NS / 2000));
	for (int rank = 0; rank < scene->rank_count; rank++) {
		char all[128] = "CHECK=0";
		char odd[128] = "CHECK=1";
		char *environment[] = { patience, all, odd, NULL };

		if (scene->all != NULL)
			snprintf(all, sizeof(all), "%s", scene->all);
		if (scene->odd != NULL && rank == scene->rank_count - 1)
			snprintf(odd, sizeof(odd), "%s", scene->odd);
		drive_start_rank(job, rank, scene->size, command, environment);
	}
}

static int times_said(struct drive_job *job, const char *text)
{
	int times = 0;

	for (const char *at = drive_text(job); (at = strstr(at, text)) != NULL; at += strlen(text))
		times++;
	return times;
}

static void check(struct drive_job *job, const struct scene *scene)
{
	for (int rank = 0; rank < scene->rank_count; rank++) {
		int status = job->ranks[rank].status;

		DRIVE_CHECK(job, WIFEXITED(status));
		if (WEXITSTATUS(status) == 77) {
			printf("skipped: %s", drive_text(job));
			exit(77);
		}
		DRIVE_CHECK(job, WEXITSTATUS(status) == (scene->said_by_all != NULL ? 1 : 0));
	}
	if (scene->said_by_all != NULL)
		DRIVE_CHECK(job, times_said(job, scene->said_by_all) == scene->rank_count);
	else
		DRIVE_CHECK(job, times_said(job, ": joined\n") == scene->rank_count);
	DRIVE_CHECK(job, scene->said == NULL || times_said(job, scene->said) > 0);
}

static void play(const struct scene *scene, char *program)
{
	struct drive_job *job = malloc(sizeof(*job));
	uint64_t began_ns = drive_now_ns();

	if (job == NULL)
		abort();
	drive_begin(job);
	start(job, scene, program);
	printf("---- %s\n", scene->name);
	fflush(stdout);
	DRIVE_CHECK(job, drive_await_ends(job, began_ns + 8 * S_NS));
	printf("%s%.0f ms\n", drive_text(job), (double)(drive_now_ns() - began_ns) / 1e6);
	check(job, scene);
	drive_end(job);
	free(job);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		play(&scenes[i], argv[1]);
	return 0;
}
