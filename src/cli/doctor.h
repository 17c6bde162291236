/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of `pergola doctor`. A check is a function that adds one finding or several; the table
 * in doctor.c lists them in the order in which they are printed. A new fabric adds its rows there.
 */
#ifndef PERGOLA_CLI_DOCTOR_H
#define PERGOLA_CLI_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

enum finding_status {
	FINDING_OK,
	FINDING_WARN, /* works, but slower, smaller or with less */
	FINDING_FAIL, /* a job cannot run */
};

struct doctor {
	unsigned int rank_count; /* the job that is asked about, on this host */
	bool rdma_needed;	 /* fabric=verbs was asked for */
	uint64_t space_bytes;	 /* PERGOLA_SPACE */
	const char *root;	 /* of the tree that checks of RDMA read; "": this host's */
	const char *release;	 /* of the kernel */
	const char *prefix;	 /* before each line; "" */
	bool terse;		 /* leave out what is well */
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
void doctor_check_huge_pages(struct doctor *doctor);
void doctor_check_settings(struct doctor *doctor);

/*
 * RDMA, without asking its libraries: doctor_rdma.c. What is missing is a warning, as processes of
 * one host need none of it, unless fabric=verbs was asked for.
 */
void doctor_check_rdma_modules(struct doctor *doctor);
void doctor_check_rdma_software(struct doctor *doctor);
void doctor_check_rdma_ports(struct doctor *doctor);
void doctor_check_rdma_files(struct doctor *doctor);
void doctor_check_locked_memory(struct doctor *doctor);

/* A limit of locked memory of `bytes`; `exempt`: not held to it. For doctor_check_locked_memory().
 */
void doctor_judge_locked_memory(struct doctor *doctor, uint64_t bytes, bool exempt,
				uint64_t needed_bytes);

/* What this build has, and whether it works here: doctor_build.c. */
void doctor_check_verbs(struct doctor *doctor);
void doctor_check_pmix(struct doctor *doctor);

/* All but the last. */
void doctor_check_host(struct doctor *doctor);

/* What has to be tried, a job of two ranks on this host: doctor_trial.c. */
void doctor_check_trial(struct doctor *doctor);

/* One rank of that job. Returns its exit status. */
int doctor_trial_rank(void);

/* The hidden subcommand that runs it. */
#define DOCTOR_TRIAL_RANK "doctor-trial-rank"

/*
 * This process is one of several, started by a launcher: all meet, and rank 0 prints what each
 * reads from each other, after it has had each host checked if `checks`. Returns the exit status.
 * doctor_peers.c.
 */
int doctor_peers(struct doctor *doctor, bool checks);

/*
 * The same with a process started on each of `hosts`, separated by commas, by the words of `rsh`.
 * Returns the exit status. doctor_hosts.c.
 */
int doctor_hosts(const char *hosts, const char *rsh);

/* The hidden subcommand that starts one of them, and the option with which it is started. */
#define DOCTOR_REACH "doctor-reach"
#define DOCTOR_JOIN "join"
int doctor_reach(int argc, char **argv);

/* Takes the variables that doctor_reach() hands on from standard input. 0, or the exit status. */
int doctor_take_environment(void);

#endif
