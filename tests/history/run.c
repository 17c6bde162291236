/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: the nodes of a job are started by hand, stopped and continued now and then, one of them
 * killed perhaps; then what they noted becomes a history in a file, and the file is judged. Seeds
 * decide about all of it but the moments.
 */
#include "run.h"

#include "drive.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_S 25u
#define STOP_MS_MAX 12u
#define SETTING_MAX 5u
#define EXIT_SKIPPED 77

struct run {
	const struct run_options *options;
	struct drive_job *job;
	struct records *records;
	int descriptor;
	uint64_t random;
	uint64_t seed;
	char settings[SETTING_MAX][48];
	unsigned int setting_count;
	int victim;		 /* a node, or -1 */
	uint32_t victim_count;	 /* it is killed when its threads have begun so many operations */
	int stopped;		 /* a node, or -1 */
	uint64_t stop_change_ns; /* when it goes on, or when the next is stopped */
	unsigned int stop_count;
	char path[256]; /* the history's */
};

const char *run_fault_name(enum records_fault fault)
{
	switch (fault) {
	case FAULT_NONE:
		return "none";
	case FAULT_PRIVATE:
		return "private";
	case FAULT_SPLIT:
		return "split";
	case FAULT_EARLY:
		return "early";
	case FAULT_UNLOCKED:
		return "unlocked";
	}
	return NULL;
}

static uint64_t below(struct run *run, uint64_t limit)
{
	run->random ^= run->random >> 12;
	run->random ^= run->random << 25;
	run->random ^= run->random >> 27;
	return (run->random * UINT64_C(2685821657736338717) >> 11) % limit;
}

static const char *manager(void)
{
	const char *name = getenv("PERGOLA_MANAGER");

	return name != NULL ? name : "fixed";
}

/* ---- the plan ---- */

/* One of the values, unless the environment has one. */
static void choose_setting(struct run *run, const char *name, const char *const *values,
			   unsigned int count)
{
	const char *value = values[below(run, count)];

	if (getenv(name) == NULL)
		snprintf(run->settings[run->setting_count++], sizeof(run->settings[0]), "%s=%s",
			 name, value);
}

static void choose_settings(struct run *run)
{
	static const char *const holds[] = { "0", "100us", "100us", "1ms" };
	static const char *const spins[] = { "auto", "auto", "0", "30us" };
	static const char *const credits[] = { "64", "64", "4" };
	static const char *const deliveries[] = { "thread", "inline" };

	choose_setting(run, "PERGOLA_HOLD", holds, 4);
	choose_setting(run, "PERGOLA_SPIN", spins, 4);
	choose_setting(run, "PERGOLA_CREDITS", credits, 3);
	choose_setting(run, "PERGOLA_DELIVERY", deliveries, 2);
	if (run->options->kill)
		snprintf(run->settings[run->setting_count++], sizeof(run->settings[0]),
			 "PERGOLA_ON_LOSS=error");
}

static bool setting_is(const struct run *run, const char *text)
{
	for (unsigned int i = 0; i < run->setting_count; i++) {
		if (strcmp(run->settings[i], text) == 0)
			return true;
	}
	return false;
}

static void choose_victim(struct run *run)
{
	const struct run_options *options = run->options;
	/* With node 0 a central manager is lost, and with it nearly everything. */
	unsigned int first = strcmp(manager(), "central") == 0;

	run->victim = -1;
	if (!options->kill)
		return;
	run->victim = (int)(first + below(run, options->node_count - first));
	run->victim_count =
		(uint32_t)(1 + below(run, options->thread_count * options->step_count * 3 / 4));
}

static void fill_plan(struct run *run, struct records_plan *plan)
{
	const struct run_options *options = run->options;
	/* With a loss, words on one page are lost together. */
	static const uint32_t pages[] = { 2, 4, 7, RECORDS_WORDS };
	unsigned int first = options->kill ? 2 : 0;

	*plan = (struct records_plan){
		.node_count = options->node_count,
		.thread_count = options->thread_count,
		.step_count = options->step_count,
		.word_pages = pages[first + below(run, 4 - first)],
		.seed = run->seed,
		/* What a lost node had of two pages may be lost of one. */
		.spread = !options->kill && below(run, 2) == 0,
		.loses = options->kill,
		.fault = options->fault,
		.zero_ns = drive_now_ns(),
	};
}

static void make_records(struct run *run)
{
	struct records_plan plan;

	fill_plan(run, &plan);
	run->descriptor = memfd_create("records", 0); /* inherited by the nodes */
	DRIVE_CHECK(run->job, run->descriptor >= 0 &&
				      ftruncate(run->descriptor, (off_t)records_bytes(&plan)) == 0);
	run->records = mmap(NULL, records_bytes(&plan), PROT_READ | PROT_WRITE, MAP_SHARED,
			    run->descriptor, 0);
	DRIVE_CHECK(run->job, run->records != MAP_FAILED);
	run->records->plan = plan;
}

static void drop_records(struct run *run)
{
	munmap(run->records, records_bytes(&run->records->plan));
	close(run->descriptor);
}

/* ---- while it runs ---- */

static void start_nodes(struct run *run)
{
	char descriptor[16];
	char *command[] = { run->options->job, descriptor, NULL };
	char *environment[SETTING_MAX + 1];

	snprintf(descriptor, sizeof(descriptor), "%d", run->descriptor);
	for (unsigned int i = 0; i < run->setting_count; i++)
		environment[i] = run->settings[i];
	environment[run->setting_count] = NULL;
	for (unsigned int node = 0; node < run->options->node_count; node++)
		drive_start_rank(run->job, (int)node, (int)run->options->node_count, command,
				 environment);
}

static uint32_t begun(struct run *run, unsigned int node)
{
	uint32_t count = 0;

	for (unsigned int i = 0; i < run->options->thread_count; i++)
		count += __atomic_load_n(&records_thread(run->records, node, i)->count,
					 __ATOMIC_ACQUIRE);
	return count;
}

/* To a node that has not been waited for: its number is nobody else's. */
static void signal_node(struct run *run, int node, int number)
{
	if (!run->job->ranks[node].over)
		kill(run->job->ranks[node].pid, number);
}

/* Stops some node for some milliseconds, or lets it go on, when it is time. */
static void change_stop(struct run *run)
{
	uint64_t now = drive_now_ns();

	if (now < run->stop_change_ns || run->options->calm)
		return;
	if (run->stopped >= 0) {
		signal_node(run, run->stopped, SIGCONT);
		run->stopped = -1;
		run->stop_change_ns = now + below(run, 4 * STOP_MS_MAX) * 1000000;
		return;
	}
	run->stopped = (int)below(run, run->options->node_count);
	run->stop_change_ns = now + below(run, STOP_MS_MAX) * 1000000;
	run->stop_count++;
	signal_node(run, run->stopped, SIGSTOP);
}

static bool survivors_over(struct run *run)
{
	for (unsigned int node = 0; node < run->options->node_count; node++) {
		if ((int)node != run->victim &&
		    __atomic_load_n(&run->records->over[node], __ATOMIC_SEQ_CST) == 0)
			return false;
	}
	return true;
}

/* A node ended that should not have: the others may wait for it for ever. */
static bool ended_early(struct run *run)
{
	for (int node = 0; node < run->job->rank_count; node++) {
		siginfo_t info = { .si_pid = 0 };
		pid_t pid = run->job->ranks[node].pid;

		if (node != run->victim && !run->job->ranks[node].over &&
		    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == pid && (info.si_code != CLD_EXITED || info.si_status != 0))
			return true;
	}
	return false;
}

static void show_last_ops(struct run *run)
{
	char text[HISTORY_OP_TEXT_MAX];

	for (unsigned int node = 0; node < run->options->node_count; node++) {
		for (unsigned int i = 0; i < run->options->thread_count; i++) {
			uint32_t count = records_thread(run->records, node, i)->count;

			if (count > 0)
				fprintf(stderr, "last: %s\n",
					history_op_text(
						&records_ops(run->records, node, i)[count - 1],
						text));
		}
	}
}

/* Until all nodes have ended. False: they do not. */
static bool watch(struct run *run)
{
	uint64_t deadline_ns = drive_now_ns() + LIMIT_S * drive_second_ns();
	bool killed = run->victim < 0;

	while (!drive_await_ends(run->job, drive_now_ns())) {
		if (drive_now_ns() > deadline_ns || ended_early(run))
			return false;
		change_stop(run);
		if (!killed && begun(run, (unsigned int)run->victim) >= run->victim_count) {
			signal_node(run, run->victim, SIGKILL);
			killed = true;
		}
		if (killed && run->victim >= 0 && survivors_over(run))
			__atomic_store_n(&run->records->leave, 1, __ATOMIC_SEQ_CST);
		drive_sleep_us(500);
	}
	return true;
}

/* ---- what came of it ---- */

static void gather(struct run *run, struct history *history)
{
	const struct records_plan *plan = &run->records->plan;

	history_init(history);
	for (unsigned int i = 0; i < RECORDS_MUTEXES; i++)
		history->parameters['m' - 'a'][i] = RECORDS_QUEUE;
	for (unsigned int i = 0; i < RECORDS_SEMAPHORES; i++)
		history->parameters['s' - 'a'][i] = i + 1;
	history->parameters['b' - 'a'][0] = plan->node_count * plan->thread_count;
	if (run->victim >= 0)
		history->lost[run->victim] = true;
	/* In shared memory, what was sent arrives; with enough credits, nothing waits to be sent.
	 */
	const char *fabric = getenv("PERGOLA_FABRIC");

	history->settled = (fabric == NULL || strcmp(fabric, "verbs") != 0) &&
			   setting_is(run, "PERGOLA_CREDITS=64");
	for (unsigned int node = 0; node < plan->node_count; node++) {
		for (unsigned int i = 0; i < plan->thread_count; i++) {
			uint32_t count = records_thread(run->records, node, i)->count;

			for (uint32_t k = 0; k < count; k++)
				history_add(history, &records_ops(run->records, node, i)[k]);
		}
	}
}

/* Here, or where anybody may write. */
static void name_file(struct run *run)
{
	if (run->options->keep != NULL)
		snprintf(run->path, sizeof(run->path), "%s", run->options->keep);
	else
		snprintf(run->path, sizeof(run->path), "%shistory-%s-%u-%" PRIu64 "-%d.txt",
			 access(".", W_OK) == 0 ? "" : "/tmp/", manager(), run->options->node_count,
			 run->seed, (int)getpid());
}

static void write_file(struct run *run, const struct history *history)
{
	name_file(run);
	FILE *file = fopen(run->path, "we");

	DRIVE_CHECK(run->job, file != NULL);
	history_write(history, file);
	DRIVE_CHECK(run->job, fclose(file) == 0);
}

static void say_command(const struct run *run)
{
	const struct run_options *options = run->options;

	printf("the history: %s; to judge it again: %s check %s\n", run->path, options->command,
	       run->path);
	printf("to run it again: PERGOLA_MANAGER=%s", manager());
	for (unsigned int i = 0; i < run->setting_count; i++)
		printf(" %s", run->settings[i]);
	printf(" %s run %s --nodes %u --threads %u --steps %u --seed %" PRIu64 "%s%s%s%s\n",
	       options->command, options->job, options->node_count, options->thread_count,
	       options->step_count, run->seed, options->kill ? " --kill" : "",
	       options->calm ? " --calm" : "", options->fault != FAULT_NONE ? " --fault " : "",
	       options->fault != FAULT_NONE ? run_fault_name(options->fault) : "");
}

static void say_run(const struct run *run, const struct verdict *verdict)
{
	printf("%s manager, %u nodes of %u threads, seed %" PRIu64 ",", manager(),
	       run->options->node_count, run->options->thread_count, run->seed);
	for (unsigned int i = 0; i < run->setting_count; i++)
		printf(" %s", run->settings[i] + strlen("PERGOLA_"));
	printf(", words on %u pages: %zu operations on words, %zu under locks, %zu edges, "
	       "%u stops",
	       run->records->plan.word_pages, verdict->word_op_count, verdict->section_op_count,
	       verdict->edge_count, run->stop_count);
	if (run->victim >= 0)
		printf("; node %d killed at its operation %u, %zu operations failed, %zu unseen",
		       run->victim, run->victim_count, verdict->failed_count,
		       verdict->unseen_count);
	printf(": %s\n", verdict->wrong ? "WRONG" : "ok");
}

static bool load(const char *path, struct history *history)
{
	const char *reason = strerror(errno);
	size_t line = 0;
	FILE *file = fopen(path, "re");

	history_init(history);
	if (file != NULL && history_read(history, file, &reason, &line)) {
		fclose(file);
		return true;
	}
	fprintf(stderr, "%s:%zu: %s\n", path, line, file == NULL ? strerror(errno) : reason);
	if (file != NULL)
		fclose(file);
	return false;
}

int run_check(const char *path)
{
	struct history history;
	struct verdict *verdict = malloc(sizeof(*verdict));

	if (verdict == NULL || !load(path, &history)) {
		free(verdict);
		return 2;
	}
	history_check(&history, verdict);
	bool wrong = verdict->wrong;

	printf("%s: %s\n%s", path, wrong ? "WRONG" : "ok", verdict->text);
	history_fini(&history);
	free(verdict);
	return wrong;
}

/* True: the history is wrong. */
static bool judge(struct run *run, bool complete)
{
	struct history history;
	struct verdict verdict;

	gather(run, &history);
	write_file(run, &history);
	history_fini(&history);
	DRIVE_CHECK(run->job, load(run->path, &history));
	history_check(&history, &verdict);
	history_fini(&history);
	say_run(run, &verdict);
	if (verdict.wrong)
		printf("%s", verdict.text);
	if ((verdict.wrong || !complete) && !run->options->wrong)
		say_command(run);
	else if (run->options->keep == NULL)
		unlink(run->path);
	fflush(stdout);
	return verdict.wrong;
}

/* ---- one run, and all ---- */

static bool skipped(const struct run *run)
{
	for (int node = 0; node < run->job->rank_count; node++) {
		int status = run->job->ranks[node].status;

		if (run->job->ranks[node].over && WIFEXITED(status) &&
		    WEXITSTATUS(status) == EXIT_SKIPPED)
			return true;
	}
	return false;
}

static void check_statuses(struct run *run)
{
	for (int node = 0; node < run->job->rank_count; node++) {
		int status = run->job->ranks[node].status;

		if (node == run->victim)
			DRIVE_CHECK(run->job, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		else
			DRIVE_CHECK(run->job, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

/* A job that does something wrong on purpose need not come to a good end. */
static void end_job(struct run *run)
{
	for (int node = 0; node < run->job->rank_count; node++) {
		signal_node(run, node, SIGKILL);
		signal_node(run, node, SIGCONT);
	}
	drive_await_ends(run->job, drive_now_ns() + drive_second_ns());
	drop_records(run);
	drive_end(run->job);
}

/* The nodes that wait for one that has ended are not waited for. True: the history is wrong. */
static bool give_up(struct run *run)
{
	if (run->stopped >= 0)
		signal_node(run, run->stopped, SIGCONT);
	drive_await_ends(run->job, drive_now_ns() + drive_second_ns());
	if (skipped(run)) {
		printf("%s", drive_text(run->job));
		exit(EXIT_SKIPPED);
	}
	show_last_ops(run);
	bool wrong = judge(run, false);

	if (!run->options->wrong)
		drive_fail(run->job, __FILE__, __LINE__, "every node comes to its end in time");
	end_job(run);
	return wrong;
}

/* True: the history is wrong. */
static bool run_once(const struct run_options *options, uint64_t seed, struct drive_job *job)
{
	struct run run = {
		.options = options,
		.job = job,
		.seed = seed,
		.random = (seed * 2 + 1) * UINT64_C(0xbf58476d1ce4e5b9),
		.stopped = -1,
	};

	drive_begin(job);
	choose_settings(&run);
	choose_victim(&run);
	make_records(&run);
	start_nodes(&run);
	if (!watch(&run))
		return give_up(&run);
	bool wrong = judge(&run, true);

	if (!options->wrong)
		check_statuses(&run);
	end_job(&run);
	return wrong;
}

int run_all(const struct run_options *options)
{
	struct drive_job *job = malloc(sizeof(*job));
	bool wrong = false;

	if (job == NULL)
		abort();
	for (unsigned int i = 0; i < options->run_count && !wrong; i++)
		wrong = run_once(options, options->seed + i, job);
	free(job);
	if (options->wrong)
		printf("what is wrong on purpose was %sfound\n", wrong ? "" : "NOT ");
	return wrong != options->wrong;
}
