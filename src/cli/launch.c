/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a running job: signals, output, ends of processes, time. */
#include "cli/launch.h"

#include "base/assert.h"
#include "cli/cli.h"
#include "cli/descend.h"
#include "node/endpoint.h"
#include "node/exit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)
#define GRACE_NS (1000 * NS_PER_MS)
#define TERM_NS (500 * NS_PER_MS)

/* Between two rounds of SIGKILL: who was born meanwhile gets the next one. */
#define KILL_ROUND_NS (20 * NS_PER_MS)

/* A process that SIGKILL does not end in this time (in a hung device) is left behind, and named. */
#define KILL_LIMIT_NS (5000 * NS_PER_MS)

#define OUTPUT_LIMIT_MS 2000

/* ---- who failed ---------------------------------------------------------------------------- */

static bool failed(int status)
{
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static bool lost_another(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NODE_LOST;
}

static int exit_status_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void describe(int status, char *text, size_t text_bytes)
{
	if (WIFSIGNALED(status))
		snprintf(text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, text_bytes, "exited with status %d", WEXITSTATUS(status));
}

static void say_blame(struct launch *launch)
{
	const struct launch_rank *rank = &launch->ranks[launch->blamed];
	char how[96];

	launch->blame_said = true;
	/* What the user asked for by a signal is no news. */
	if (WIFSIGNALED(rank->status) && WTERMSIG(rank->status) == launch->forwarded)
		return;
	describe(rank->status, how, sizeof(how));
	output_say(&launch->output, "rank %u (pid %d) %s%s", launch->blamed, rank->pid, how,
		   launch->running == 0	      ? ""
		   : launch->options->goes_on ? "; the others go on (on-loss=error)"
					      : "; ending the job");
}

static void blame(struct launch *launch, unsigned int index)
{
	int status = launch->ranks[index].status;
	bool first = launch->blamed == LAUNCH_NOBODY;

	if (launch->exit_status == CLI_EXIT_TIMEOUT || launch->phase > LAUNCH_GRACE)
		return;
	if (!first && (launch->blame_said || lost_another(status)))
		return;
	launch->blamed = index;
	launch->exit_status = exit_status_of(status);
	if (!lost_another(status))
		say_blame(launch);
	if (!launch->options->goes_on)
		launch_end(launch, LAUNCH_GRACE);
}

/* ---- ends of processes --------------------------------------------------------------------- */

static void note_end(struct launch *launch, pid_t pid, int status)
{
	for (unsigned int i = 0; i < launch->started; i++) {
		struct launch_rank *rank = &launch->ranks[i];
		char how[96];

		if (rank->pid != pid || !rank->running)
			continue;
		rank->running = false;
		rank->status = status;
		launch->running--;
		describe(status, how, sizeof(how));
		if (launch->options->verbose)
			output_say(&launch->output, "rank %u (pid %d) %s after %.3f s", i, pid, how,
				   (double)(endpoint_now_ns() - launch->began_ns) / 1e9);
		if (failed(status))
			blame(launch, i);
		return;
	}
	/* Not a rank: a process that a rank left behind. Its status says nothing of the job. */
}

static void reap(struct launch *launch)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		note_end(launch, pid, status);
	launch->children = pid == 0;
	if (launch->running == 0 && launch->blamed != LAUNCH_NOBODY && !launch->blame_said)
		say_blame(launch);
	/* The ranks are over; what they left behind need not be waited for. */
	if (launch->running == 0 && launch->children)
		launch_end(launch, LAUNCH_TERM);
}

/* ---- the end, by time ---------------------------------------------------------------------- */

static void enter(struct launch *launch, enum launch_phase phase)
{
	uint64_t now = endpoint_now_ns();

	launch->phase = phase;
	switch (phase) {
	case LAUNCH_RUNNING:
		break;
	case LAUNCH_GRACE:
		launch->phase_ends_ns = now + GRACE_NS;
		break;
	case LAUNCH_TERM:
		launch->phase_ends_ns = now + TERM_NS;
		descend_signal(SIGTERM, DESCEND_CHILDREN);
		/* A stopped process would not take it. */
		descend_signal(SIGCONT, DESCEND_CHILDREN);
		break;
	case LAUNCH_KILL:
		launch->phase_ends_ns = now + KILL_LIMIT_NS;
		break;
	}
}

void launch_end(struct launch *launch, enum launch_phase phase)
{
	if (phase > launch->phase)
		enter(launch, phase);
}

static void give_up(struct launch *launch)
{
	int left = descend_signal(SIGKILL, DESCEND_ALL);

	output_say(&launch->output, "%d processes do not end by SIGKILL and are left behind", left);
	launch->children = false;
	if (launch->exit_status == 0)
		launch->exit_status = CLI_EXIT_LAUNCHER;
}

static void check_time(struct launch *launch)
{
	uint64_t now = endpoint_now_ns();

	if (now >= launch->timeout_at_ns && launch->phase == LAUNCH_RUNNING) {
		output_say(&launch->output, "the job has run for %.6g s (--timeout); ending it",
			   (double)launch->options->timeout_ns / 1e9);
		launch->exit_status = CLI_EXIT_TIMEOUT;
		launch_end(launch, LAUNCH_TERM);
	}
	if (launch->phase == LAUNCH_KILL)
		descend_signal(SIGKILL, DESCEND_ALL);
	if (launch->phase == LAUNCH_RUNNING || now < launch->phase_ends_ns)
		return;
	if (launch->blamed != LAUNCH_NOBODY && !launch->blame_said)
		say_blame(launch);
	if (launch->phase == LAUNCH_KILL)
		give_up(launch);
	else
		launch_end(launch, launch->phase + 1);
}

/* The next moment at which check_time() has something to do. */
static uint64_t next_ns(const struct launch *launch)
{
	switch (launch->phase) {
	case LAUNCH_RUNNING:
		return launch->timeout_at_ns;
	case LAUNCH_GRACE:
	case LAUNCH_TERM:
		return launch->phase_ends_ns;
	case LAUNCH_KILL:
		return endpoint_now_ns() + KILL_ROUND_NS;
	}
	return launch->phase_ends_ns;
}

/* ---- signals ------------------------------------------------------------------------------- */

static void forward(struct launch *launch, int signal)
{
	for (unsigned int i = 0; i < launch->started; i++) {
		/* Not reaped yet, so the pid is still this rank's. */
		if (launch->ranks[i].running)
			kill(launch->ranks[i].pid, signal);
	}
}

static void take_signal(struct launch *launch, const struct signalfd_siginfo *info)
{
	int signal = (int)info->ssi_signo;
	/* From the terminal: the kernel has sent it to the ranks too, they are in its group. */
	bool everybody_has_it = info->ssi_code == SI_KERNEL;

	if (signal == SIGCHLD)
		return; /* reap() follows every wake-up */
	if (!everybody_has_it)
		forward(launch, signal);
	if (signal == SIGTSTP)
		raise(SIGSTOP); /* until SIGCONT, which is read and sent on next */
	if (signal != SIGINT && signal != SIGTERM && signal != SIGHUP && signal != SIGQUIT)
		return;
	launch->forwarded = signal;
	/* What it means is the ranks' to decide, unless it is said twice. */
	if (++launch->end_requests == 1)
		return;
	if (launch->exit_status == 0)
		launch->exit_status = 128 + signal;
	launch_end(launch, launch->end_requests > 2 ? LAUNCH_KILL : LAUNCH_TERM);
}

static void take_signals(struct launch *launch)
{
	struct signalfd_siginfo info;

	while (read(launch->signal_fd, &info, sizeof(info)) == sizeof(info))
		take_signal(launch, &info);
}

/* ---- the loop ------------------------------------------------------------------------------ */

static int poll_timeout_ms(uint64_t until_ns)
{
	return until_ns == UINT64_MAX ? -1 : endpoint_left_ms(until_ns);
}

static void wait_once(struct launch *launch)
{
	launch->slots[0] = (struct pollfd){ .fd = launch->signal_fd, .events = POLLIN };
	size_t count = 1 + output_prepare(&launch->output, launch->slots + 1);
	int ready = poll(launch->slots, count, poll_timeout_ms(next_ns(launch)));

	if (ready <= 0)
		return; /* time is up, or EINTR: seen by the caller's checks */
	if (launch->slots[0].revents != 0)
		take_signals(launch);
	output_handle(&launch->output, launch->slots + 1);
}

int launch_wait(struct launch *launch)
{
	reap(launch);
	while (launch->children) {
		wait_once(launch);
		reap(launch);
		check_time(launch);
	}
	output_finish(&launch->output, OUTPUT_LIMIT_MS);
	return launch->exit_status;
}

/* ---- the start ----------------------------------------------------------------------------- */

static int start_error(const struct launch *launch, int error, enum spawn_step step)
{
	const char *program = launch->options->command[0];

	switch (step) {
	case SPAWN_FORK:
		if (error == -EAGAIN)
			cli_say("rank %u of %u cannot be started: the limit of processes is "
				"reached (ulimit -u, or pids.max of the control group)",
				launch->started, launch->options->rank_count);
		else
			cli_say("rank %u of %u cannot be started: %s", launch->started,
				launch->options->rank_count, strerror(-error));
		return CLI_EXIT_LAUNCHER;
	case SPAWN_INPUT:
		cli_say("rank %u gets no input or output: %s", launch->started, strerror(-error));
		return CLI_EXIT_LAUNCHER;
	case SPAWN_EXEC:
		break;
	}
	if (error == -ENOENT || error == -ENOTDIR) {
		cli_say("%s: there is no such program%s", program,
			strchr(program, '/') == NULL ? " in PATH" : "");
		return CLI_EXIT_NOT_FOUND;
	}
	cli_say("%s cannot be executed: %s", program, strerror(-error));
	return CLI_EXIT_NOT_EXECUTABLE;
}

static int start_one(struct launch *launch)
{
	int outputs[OUTPUT_STREAMS_PER_RANK] = { -1, -1 };
	struct launch_rank *rank = &launch->ranks[launch->started];
	struct spawn spawn = {
		.rank = launch->started,
		.command = launch->options->command,
		.outputs = launch->options->label ? outputs : NULL,
		.inherited = &launch->inherited,
	};
	enum spawn_step step = SPAWN_INPUT;
	int error = 0;

	if (launch->options->label)
		error = output_open_rank(&launch->output, launch->started, outputs);
	if (error != 0)
		return start_error(launch, error, step);
	error = spawn_rank(&spawn, &rank->pid, &step);
	if (launch->options->label) {
		close(outputs[0]);
		close(outputs[1]);
	}
	if (error != 0)
		return start_error(launch, error, step);
	rank->running = true;
	launch->started++;
	launch->running++;
	if (launch->options->verbose)
		output_say(&launch->output, "rank %u is pid %d", spawn.rank, rank->pid);
	return 0;
}

int launch_start(struct launch *launch)
{
	int error = 0;

	launch->began_ns = endpoint_now_ns();
	launch->timeout_at_ns = launch->options->timeout_ns == 0
					? UINT64_MAX
					: launch->began_ns + launch->options->timeout_ns;
	while (error == 0 && launch->started < launch->options->rank_count)
		error = start_one(launch);
	launch->children = launch->started > 0;
	return error;
}
