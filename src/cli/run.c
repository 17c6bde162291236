/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pergola run`: prepares this process to be a launcher (signals come through a descriptor, orphans
 * come to it), makes the job's name and secret, and hands over to launch.c.
 */
#include "cli/cli.h"
#include "cli/host.h"
#include "cli/launch.h"

#include "node/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Descriptors that the launcher has beside the ranks' pipes. */
#define OWN_DESCRIPTORS 32u

/* Memory without which a rank cannot even start: a small process and the library's tables. */
#define RANK_BYTES_LEAST (UINT64_C(4) << 20)

static const int handled[] = {
	SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT,
};

/* ---- limits -------------------------------------------------------------------------------- */

static int check_open_files(struct launch *launch)
{
	const struct run_options *options = launch->options;
	rlim_t needed = OWN_DESCRIPTORS;
	struct rlimit limit;

	if (options->label)
		needed += OUTPUT_STREAMS_PER_RANK * options->rank_count;
	if (getrlimit(RLIMIT_NOFILE, &launch->inherited.open_files) != 0)
		return 0;
	limit = launch->inherited.open_files;
	if (limit.rlim_cur >= needed)
		return 0;
	if (limit.rlim_max < needed) {
		cli_say("-n %u%s needs %llu open files and the limit is %llu: raise it (ulimit -Hn "
			"%llu; ulimit -n %llu)",
			options->rank_count, options->label ? " --label" : "",
			(unsigned long long)needed, (unsigned long long)limit.rlim_max,
			(unsigned long long)needed, (unsigned long long)needed);
		return CLI_EXIT_LAUNCHER;
	}
	limit.rlim_cur = needed;
	setrlimit(RLIMIT_NOFILE, &limit); /* the ranks get the old limit back */
	return 0;
}

static int check_memory(const struct run_options *options)
{
	uint64_t needed = options->rank_count * RANK_BYTES_LEAST;
	uint64_t available = host_memory_available();
	uint64_t group = host_cgroup_memory_left();
	const char *limit = group < available ? "the control group has left (memory.max)"
					      : "this host has available";
	uint64_t least = group < available ? group : available;
	char have[32];
	char need[32];

	if (least >= needed)
		return 0;
	cli_say("-n %u needs at least %s of memory and all that %s is %s", options->rank_count,
		host_format_bytes(needed, need, sizeof(need)), limit,
		host_format_bytes(least, have, sizeof(have)));
	return CLI_EXIT_LAUNCHER;
}

/* ---- the job's environment ----------------------------------------------------------------- */

static int random_bytes(void *out, size_t bytes)
{
	return getrandom(out, bytes, 0) == (ssize_t)bytes ? 0 : -errno;
}

static int set_variable(enum setting_id id, const char *text)
{
	return setenv(settings_info(id)->environment, text, 1) == 0 ? 0 : -errno;
}

static int set_job(uint64_t job, const uint8_t secret[SETTINGS_SECRET_BYTES], unsigned int size)
{
	char text[2 * SETTINGS_SECRET_BYTES + 1];

	for (size_t i = 0; i < SETTINGS_SECRET_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", secret[i]);
	int error = set_variable(SETTING_SECRET, text);
	snprintf(text, sizeof(text), "%016" PRIx64, job);
	if (error == 0)
		error = set_variable(SETTING_JOB, text);
	snprintf(text, sizeof(text), "@pergola-%016" PRIx64, job);
	if (error == 0)
		error = set_variable(SETTING_ROOT, text);
	snprintf(text, sizeof(text), "%u", size);
	if (error == 0)
		error = set_variable(SETTING_SIZE, text);
	return error;
}

static int make_job(unsigned int size)
{
	uint8_t secret[SETTINGS_SECRET_BYTES];
	uint64_t job = 0;
	int error = random_bytes(secret, sizeof(secret));

	while (error == 0 && job == 0) /* zero would be "no job" */
		error = random_bytes(&job, sizeof(job));
	if (error == 0)
		error = set_job(job, secret, size);
	explicit_bzero(secret, sizeof(secret));
	if (error == 0)
		return 0;
	cli_say("the job gets no name: %s", strerror(-error));
	return CLI_EXIT_LAUNCHER;
}

/* ---- this process -------------------------------------------------------------------------- */

static int take_over_signals(struct launch *launch)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, &launch->inherited.mask);
	sigaction(SIGPIPE, &ignore, &launch->inherited.pipe_action);
	launch->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (launch->signal_fd < 0) {
		cli_say("signalfd: %s", strerror(errno));
		return CLI_EXIT_LAUNCHER;
	}
	return 0;
}

/* SIGCHLD ignored by the parent would make ends of ranks invisible. */
static void restore_child_signal(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	sigaction(SIGCHLD, &action, NULL);
}

static int prepare(struct launch *launch)
{
	unsigned int count = launch->options->rank_count;
	int result = check_open_files(launch);

	if (result == 0)
		result = check_memory(launch->options);
	if (result == 0)
		result = make_job(count);
	if (result != 0)
		return result;
	launch->ranks = calloc(count, sizeof(*launch->ranks));
	if (launch->ranks != NULL &&
	    output_init(&launch->output, launch->options->label, count) == 0)
		launch->slots = calloc(output_slots(&launch->output) + 1, sizeof(*launch->slots));
	if (launch->slots == NULL) {
		cli_say("no memory for %u ranks", count);
		return CLI_EXIT_LAUNCHER;
	}
	restore_child_signal();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		cli_say("warning: processes that ranks leave behind are not ended: prctl: %s",
			strerror(errno));
	return take_over_signals(launch);
}

int cli_run(int argc, char **argv)
{
	struct run_options options;
	int result = run_options_parse(argc, argv, &options);
	struct launch launch = {
		.options = &options,
		.signal_fd = -1,
		.blamed = LAUNCH_NOBODY,
	};

	if (result == RUN_OPTIONS_HELP)
		return cli_help();
	if (result == 0)
		result = prepare(&launch);
	if (result == 0) {
		launch.exit_status = launch_start(&launch);
		if (launch.exit_status != 0)
			launch_end(&launch, LAUNCH_TERM);
		result = launch_wait(&launch);
	}
	if (launch.signal_fd >= 0)
		close(launch.signal_fd);
	output_fini(&launch.output);
	free(launch.slots);
	free(launch.ranks);
	return result;
}
