/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running cases: a process a node, forked anew for each case, watched, and ended by its pid when
 * it fails or hangs. What the processes share is one anonymous mapping.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A case is many steps; each of them has limit_ms. */
#define CASE_LIMIT_STEPS 4u
/* What nodes have left to live once one of them has failed. */
#define AFTERMATH_NS 100000000u

struct run {
	const struct fabric_ops *ops;
	const struct contract_options *options;
	const struct contract_case *test;
	struct contract_world *world;
	unsigned int node_count;
	unsigned int process_count;
	pid_t pids[CONTRACT_NODES_MAX + 1];
};

static void node_run(const struct run *run, unsigned int rank)
{
	struct contract_node *node = calloc(1, sizeof(*node));
	unsigned int flags = run->test->flags;

	node->operations = calloc(HARNESS_OPERATIONS, sizeof(*node->operations));
	node->ops = run->ops;
	node->world = run->world;
	node->rank = rank;
	node->count = run->node_count;
	node->prng = prng_init(run->world->seed + rank);
	node->tag_high = prng_next(&node->prng) * HARNESS_OPERATIONS;
	if (flags & CONTRACT_RAW) {
		run->test->run(node);
	} else {
		harness_open(node);
		harness_addresses_await(node, node->count);
		harness_connect(node);
		/* Not a barrier: that would poll, and the case has not said yet what it takes. */
		harness_connected_await(node);
		run->test->run(node);
		node->leaving = true;
		if (!(flags & CONTRACT_VICTIM))
			harness_barrier(node);
		CHECK(node->outstanding == 0);
		if (node->fabric != NULL)
			harness_close(node);
	}
	_exit(0);
}

static void child_start(const struct run *run, unsigned int rank, pid_t parent)
{
	/* Nobody is left behind, whatever becomes of the program that runs the cases. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (run->options->quiet) {
		int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(nowhere, STDERR_FILENO);
	}
	node_run(run, rank);
}

static int processes_start(struct run *run)
{
	pid_t parent = getpid();

	for (unsigned int rank = 0; rank < run->process_count; rank++) {
		pid_t pid = fork();

		if (pid < 0) {
			fprintf(stderr, "fork: %s\n", strerror(errno));
			return -errno;
		}
		if (pid == 0)
			child_start(run, rank, parent);
		run->pids[rank] = pid;
		atomic_store(&run->world->pids[rank], pid);
	}
	return 0;
}

/* Whether the process ended as the case wants it. */
static bool ended_well(const struct run *run, unsigned int rank, int status)
{
	bool victim = (run->test->flags & CONTRACT_VICTIM) && rank == run->node_count - 1;

	if (victim)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (WIFSIGNALED(status) && !run->options->quiet)
		fprintf(stderr, "%s, node %u: ended by signal %d\n", run->test->name, rank,
			WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void processes_kill(struct run *run, bool hung)
{
	for (unsigned int rank = 0; rank < run->process_count; rank++) {
		if (run->pids[rank] == 0)
			continue;
		if (hung && !run->options->quiet)
			fprintf(stderr, "%s, node %u: hung\n", run->test->name, rank);
		kill(run->pids[rank], SIGKILL);
		waitpid(run->pids[rank], NULL, 0);
		run->pids[rank] = 0;
	}
}

/* Waits for all; a failure or the deadline ends those that are left. */
static bool processes_watch(struct run *run)
{
	uint64_t end_ns =
		harness_now_ns() + CASE_LIMIT_STEPS * run->world->limit_ms * UINT64_C(1000000);
	unsigned int left = run->process_count;
	bool good = true;

	while (left > 0 && harness_now_ns() < end_ns) {
		bool any = false;

		for (unsigned int rank = 0; rank < run->process_count; rank++) {
			int status;

			if (run->pids[rank] == 0 || waitpid(run->pids[rank], &status, WNOHANG) <= 0)
				continue;
			any = true;
			run->pids[rank] = 0;
			left--;
			if (good && !ended_well(run, rank, status)) {
				good = false;
				end_ns = harness_now_ns() + AFTERMATH_NS;
			}
		}
		if (!any)
			nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
	}
	processes_kill(run, good);
	return good && left == 0;
}

static uint64_t seed_make(void)
{
	const char *given = getenv("CONTRACT_SEED");

	return given != NULL ? strtoull(given, NULL, 0) : hash_u64(harness_now_ns());
}

static int case_run(struct run *run)
{
	const struct contract_options *options = run->options;
	size_t bytes = sizeof(struct contract_world);
	uint64_t start_ns = harness_now_ns();

	run->node_count = run->test->node_count;
	if (run->node_count == 0)
		run->node_count = options->node_count != 0 ? options->node_count : CONTRACT_NODES;
	run->process_count = run->node_count + ((run->test->flags & CONTRACT_OUTSIDER) ? 1 : 0);
	run->world = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->world == MAP_FAILED)
		return -ENOMEM;
	run->world->case_name = run->test->name;
	run->world->limit_ms = options->limit_ms != 0 ? options->limit_ms : 5000;
	run->world->haste = options->haste != 0 ? options->haste : 1;
	run->world->fragile = options->fragile;
	run->world->seed = seed_make();
	run->world->job = hash_u64(run->world->seed) | 1;
	int error = processes_start(run);
	bool good = processes_watch(run) && error == 0;
	uint64_t seed = run->world->seed;
	munmap(run->world, bytes);
	if (!options->quiet) {
		printf("%-6s %s: %-28s %6.0f ms", good ? "ok" : "FAILED", run->ops->name,
		       run->test->name, (double)(harness_now_ns() - start_ns) / 1e6);
		if (!good)
			printf("; again: CONTRACT_SEED=0x%llx", (unsigned long long)seed);
		printf("\n");
		fflush(stdout);
	}
	return good ? 0 : 1;
}

static int table_run(struct run *run, const struct contract_case *cases, unsigned int count,
		     unsigned int *run_count)
{
	const char *only = run->options->only;
	int failed = 0;

	for (unsigned int i = 0; i < count; i++) {
		if (only != NULL && strncmp(cases[i].name, only, strlen(only)) != 0)
			continue;
		run->test = &cases[i];
		int result = case_run(run);
		if (result < 0)
			return result;
		failed += result;
		(*run_count)++;
	}
	return failed;
}

int contract_run(const struct fabric_ops *ops, const struct contract_options *options)
{
	const struct contract_table own = { options->extra, options->extra_count };
	const struct contract_table *tables[] = {
		&contract_message_cases, &contract_sleep_cases, &contract_transfer_cases,
		&contract_atomic_cases,	 &contract_chain_cases, &contract_region_cases,
		&contract_connect_cases, &contract_loss_cases,	&own,
	};
	struct run run = { .ops = ops, .options = options };
	unsigned int run_count = 0;
	int failed = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		int result = table_run(&run, tables[i]->cases, tables[i]->count, &run_count);

		if (result < 0)
			return result;
		failed += result;
	}
	return run_count > 0 ? failed : -ENOENT;
}

int contract_main(const struct fabric_ops *ops, const struct contract_case *extra,
		  unsigned int extra_count, int argc, char **argv)
{
	struct contract_options options = { .extra = extra, .extra_count = extra_count };
	int option;

	while ((option = getopt(argc, argv, "fh:n:t:")) != -1) {
		unsigned long value = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;

		if (option == 'f') {
			options.fragile = true;
		} else if (option == 'h' && value >= 1 && value <= 1000) {
			options.haste = (unsigned int)value;
		} else if (option == 'n' && value >= 2 && value <= CONTRACT_NODES_MAX) {
			options.node_count = (unsigned int)value;
		} else if (option == 't' && value >= 1 && value <= 600000) {
			options.limit_ms = (unsigned int)value;
		} else {
			fprintf(stderr,
				"usage: %s [-f] [-h haste] [-n nodes] [-t limit-ms] [case]\n",
				argv[0]);
			return 2;
		}
	}
	if (optind < argc)
		options.only = argv[optind];
	int failed = contract_run(ops, &options);
	if (failed < 0)
		fprintf(stderr, "%s: %s\n", argv[0],
			failed == -ENOENT ? "no such case" : strerror(-failed));
	else if (failed > 0)
		fprintf(stderr, "%s: %d cases failed\n", argv[0], failed);
	return failed == 0 ? 0 : 1;
}
