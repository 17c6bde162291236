/* SPDX-License-Identifier: Apache-2.0 */
/* `pergola doctor`: the table of checks, and how a finding is printed. */
#include "cli/doctor.h"

#include "base/id.h"
#include "cli/cli.h"
#include "node/measure.h"
#include "node/settings.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

typedef void doctor_check_fn(struct doctor *doctor);

static doctor_check_fn *const checks[] = {
	doctor_check_pager,	   doctor_check_cores,	    doctor_check_memory,
	doctor_check_memory_group, doctor_check_huge_pages, doctor_check_open_files,
	doctor_check_settings,	   doctor_check_rdma_ports, doctor_check_rdma_software,
	doctor_check_rdma_modules, doctor_check_rdma_files, doctor_check_locked_memory,
	doctor_check_verbs,	   doctor_check_pmix,
};

struct doctor_options {
	const char *hosts;
	const char *rsh;
	bool peers;
	bool join;
};

void doctor_find(struct doctor *doctor, enum finding_status status, const char *name,
		 const char *found, const char *remedy)
{
	static const char *const words[] = { "ok", "warn", "FAIL" };

	if (status == FINDING_WARN)
		doctor->warn_count++;
	if (status == FINDING_FAIL)
		doctor->fail_count++;
	if (status == FINDING_OK && doctor->terse)
		return;
	printf("%s%-4s  %s: %s", doctor->prefix, words[status], name, found);
	if (status != FINDING_OK && remedy != NULL && *remedy != '\0')
		printf(" \u2014 %s", remedy);
	printf("\n");
	fflush(stdout); /* the trial job writes to the same place */
}

void doctor_check_host(struct doctor *doctor)
{
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](doctor);
}

/* ---- the command line ---------------------------------------------------------------------- */

static int parse_ranks(const char *text, struct doctor *doctor)
{
	char *end;

	errno = 0;
	unsigned long count = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || count < 1 ||
	    count > NODES_MAX)
		return cli_usage_error("doctor: -n \"%.64s\" is not a number of ranks from 1 to %u",
				       text, NODES_MAX);
	doctor->rank_count = (unsigned int)count;
	return 0;
}

static int parse_one(int option, const char *word, struct doctor_options *options,
		     struct doctor *doctor)
{
	switch (option) {
	case 'n':
		return parse_ranks(optarg, doctor);
	case 'H':
		options->hosts = optarg;
		return 0;
	case 'R':
		options->rsh = optarg;
		return 0;
	case 'p':
		options->peers = true;
		return 0;
	case 'j':
		options->join = true;
		return 0;
	case ':':
		return cli_usage_error("doctor: %.64s needs a value", word);
	default:
		return cli_usage_error("doctor has no option \"%.64s\"", word);
	}
}

static int parse(int argc, char **argv, struct doctor_options *options, struct doctor *doctor)
{
	static const struct option long_options[] = {
		{ "ranks", required_argument, NULL, 'n' },
		{ "hosts", required_argument, NULL, 'H' },
		{ "rsh", required_argument, NULL, 'R' },
		{ "peers", no_argument, NULL, 'p' },
		{ DOCTOR_JOIN, no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int result = 0;

	opterr = 0;
	while (result == 0) {
		const char *word = optind < argc ? argv[optind] : "";
		int option = getopt_long(argc, argv, "+:n:", long_options, NULL);

		if (option == -1)
			break;
		result = parse_one(option, word, options, doctor);
	}
	if (result == 0 && optind < argc)
		return cli_usage_error("doctor takes options only; it got \"%.64s\"", argv[optind]);
	if (result == 0 && options->rsh != NULL && options->hosts == NULL)
		return cli_usage_error("doctor: --rsh is for --hosts");
	return result;
}

/* ---- the command --------------------------------------------------------------------------- */

static int report(const struct doctor *doctor)
{
	if (doctor->fail_count > 0)
		printf("\n%u of what is needed is missing: see FAIL above.\n", doctor->fail_count);
	else if (doctor->warn_count > 0)
		printf("\nAll that is needed is there; %u can be better: see warn above.\n",
		       doctor->warn_count);
	else
		printf("\nAll is well.\n");
	return doctor->fail_count > 0 ? CLI_EXIT_FAILED : 0;
}

/* Wrong settings are a finding: doctor_check_settings(). */
static void read_settings(struct doctor *doctor, struct settings *settings)
{
	settings_init_defaults(settings);
	settings_read_environment(settings);
	doctor->rdma_needed = settings_choice(settings, SETTING_FABRIC) == FABRIC_CHOICE_VERBS;
	doctor->space_bytes = settings_u64(settings, SETTING_SPACE);
}

int cli_doctor(int argc, char **argv)
{
	static const char default_rsh[] = "ssh -o BatchMode=yes -o ConnectTimeout=10";
	struct doctor_options options = { .rsh = NULL };
	struct doctor doctor = { .rank_count = 2, .root = "", .prefix = "" };
	struct settings settings;
	struct utsname kernel;
	int result = parse(argc, argv, &options, &doctor);

	if (result == 0 && options.hosts != NULL)
		return doctor_hosts(options.hosts, options.rsh == NULL ? default_rsh : options.rsh);
	if (result == 0 && options.join)
		result = doctor_take_environment();
	if (result != 0)
		return result;
	doctor.release = uname(&kernel) == 0 ? kernel.release : "unknown";
	read_settings(&doctor, &settings);
	if (options.peers || options.join || measure_is_job(&settings))
		return doctor_peers(&doctor, !options.peers);
	doctor_check_host(&doctor);
	doctor_check_trial(&doctor);
	return report(&doctor);
}
