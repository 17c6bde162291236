/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of `pergola doctor`. A check is a function that adds one finding or several; the table
 * in doctor.c lists them in the order in which they are printed. A new fabric adds its rows there.
 */
#ifndef PERGOLA_CLI_DOCTOR_H
#define PERGOLA_CLI_DOCTOR_H

#include <stdbool.h>

enum finding_status {
	FINDING_OK,
	FINDING_WARN, /* works, but slower, smaller or with less */
	FINDING_FAIL, /* a job cannot run */
};

struct doctor {
	unsigned int rank_count; /* the job that is asked about */
	unsigned int warn_count;
	unsigned int fail_count;
};

/*
 * Prints one line: status, name, what was found, and the command that mends it ("" or NULL: none),
 * and counts.
 */
void doctor_find(struct doctor *doctor, enum finding_status status, const char *name,
		 const char *found, const char *remedy);

/* What can be read off: doctor_checks.c. */
void doctor_check_pager(struct doctor *doctor);
void doctor_check_cores(struct doctor *doctor);
void doctor_check_memory(struct doctor *doctor);
void doctor_check_memory_group(struct doctor *doctor);
void doctor_check_open_files(struct doctor *doctor);
void doctor_check_locked_memory(struct doctor *doctor);
void doctor_check_huge_pages(struct doctor *doctor);
void doctor_check_settings(struct doctor *doctor);

/* What has to be tried, a job of two ranks on this host: doctor_trial.c. */
void doctor_check_trial(struct doctor *doctor);

/* One rank of that job. Returns its exit status. */
int doctor_trial_rank(void);

/* The hidden subcommand that runs it. */
#define DOCTOR_TRIAL_RANK "doctor-trial-rank"

#endif
