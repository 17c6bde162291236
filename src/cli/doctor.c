/* SPDX-License-Identifier: Apache-2.0 */
/* `pergola doctor`: the table of checks, and how a finding is printed. */
#include "cli/doctor.h"

#include "base/id.h"
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void doctor_check_fn(struct doctor *doctor);

static doctor_check_fn *const checks[] = {
	doctor_check_pager,	    doctor_check_cores,	     doctor_check_memory,
	doctor_check_memory_group,  doctor_check_huge_pages, doctor_check_open_files,
	doctor_check_locked_memory, doctor_check_settings,   doctor_check_trial,
};

void doctor_find(struct doctor *doctor, enum finding_status status, const char *name,
		 const char *found, const char *remedy)
{
	static const char *const words[] = { "ok", "warn", "FAIL" };

	if (status == FINDING_WARN)
		doctor->warn_count++;
	if (status == FINDING_FAIL)
		doctor->fail_count++;
	printf("%-4s  %s: %s", words[status], name, found);
	if (status != FINDING_OK && remedy != NULL && *remedy != '\0')
		printf(" \u2014 %s", remedy);
	printf("\n");
	fflush(stdout); /* the trial job writes to the same place */
}

static int parse(int argc, char **argv, struct doctor *doctor)
{
	char *end;

	if (argc == 1)
		return 0;
	if (argc != 3 || strcmp(argv[1], "-n") != 0)
		return cli_usage_error("doctor takes -n N, the number of ranks to check for");
	errno = 0;
	unsigned long count = strtoul(argv[2], &end, 10);
	if (!isdigit((unsigned char)*argv[2]) || *end != '\0' || errno != 0 || count < 1 ||
	    count > NODES_MAX)
		return cli_usage_error("doctor: -n \"%.64s\" is not a number of ranks from 1 to %u",
				       argv[2], NODES_MAX);
	doctor->rank_count = (unsigned int)count;
	return 0;
}

int cli_doctor(int argc, char **argv)
{
	struct doctor doctor = { .rank_count = 2 };
	int result = parse(argc, argv, &doctor);

	if (result != 0)
		return result;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](&doctor);
	if (doctor.fail_count > 0)
		printf("\n%u of what is needed is missing: see FAIL above.\n", doctor.fail_count);
	else if (doctor.warn_count > 0)
		printf("\nAll that is needed is there; %u can be better: see warn above.\n",
		       doctor.warn_count);
	else
		printf("\nAll is well.\n");
	return doctor.fail_count > 0 ? CLI_EXIT_FAILED : 0;
}
