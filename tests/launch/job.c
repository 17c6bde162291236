/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that every launcher starts, the same binary: launch_job SIZE [ID [KILLED]]. It joins,
 * checks its place in a job of SIZE nodes, and that memory is shared: a counter under a lock, a
 * slot for each node, a heap. ID is what dsm_init() gets: "-1" (when left out), a number, or
 * "reverse": the last of the launcher's ranks is node 0. Node KILLED then kills itself. Prints "ok
 * NODE of SIZE" and where it ran. Exit status 1: it could not join, and says why; 77: this machine
 * does not permit it.
 */
#include <pergola/dsm.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 50

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

struct shared {
	uint64_t counter;
	uint64_t lock;
	uint32_t seen[DSM_NODES_MAX]; /* each node adds 1 to its own */
};

__attribute__((noreturn)) static void fail(int line, const char *what)
{
	fprintf(stderr, "launch_job: node %d: line %d: %s; dsm_error: %s\n", dsm_node_id(), line,
		what, dsm_error());
	exit(1);
}

static const char *launcher_rank(void)
{
	const char *rank = getenv("PERGOLA_RANK");

	if (rank == NULL)
		rank = getenv("PMIX_RANK");
	return rank == NULL ? "0" : rank;
}

static int wanted_id(const char *text, int size)
{
	return strcmp(text, "reverse") == 0 ? size - 1 - atoi(launcher_rank()) : atoi(text);
}

static void join(int id)
{
	int status = dsm_init(id);

	if (status == 0)
		return;
	fprintf(stderr, "launch_job: %d: %s\n", status, dsm_error());
	exit(status == -ENOSYS || status == -EPERM ? 77 : 1);
}

static void count(struct shared *shared, int size)
{
	if (dsm_node_id() == 0)
		CHECK(dsm_lock_init(&shared->lock) == 0);
	CHECK(dsm_barrier() == 0);
	shared->seen[dsm_node_id()]++;
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(dsm_lock(&shared->lock) == 0);
		shared->counter++;
		CHECK(dsm_unlock(&shared->lock) == 0);
	}
	CHECK(dsm_barrier() == 0);
	CHECK(shared->counter == (uint64_t)size * ROUNDS);
	for (int node = 0; node < DSM_NODES_MAX; node++)
		CHECK(shared->seen[node] == (node < size ? 1 : 0));
}

/* A block that node 0 allocates; the last node writes it and all read it. */
static void use_heap(int size)
{
	uint64_t *block = NULL;

	CHECK(dsm_open(NULL, (size_t)4 << 20) != NULL);
	if (dsm_node_id() == 0)
		block = dsm_malloc(sizeof(*block));
	CHECK(dsm_bcast(&block, sizeof(block), 0) == 0);
	CHECK(block != NULL);
	if (dsm_node_id() == size - 1)
		*block = UINT64_C(0x9e3779b97f4a7c15);
	CHECK(dsm_barrier() == 0);
	CHECK(*block == UINT64_C(0x9e3779b97f4a7c15));
}

int main(int argc, char **argv)
{
	int size = argc > 1 ? atoi(argv[1]) : 1;
	int id = wanted_id(argc > 2 ? argv[2] : "-1", size);
	const char *host = getenv("SLURMD_NODENAME");

	join(id);
	CHECK(dsm_node_count() == size);
	CHECK(dsm_node_id() == (id < 0 ? atoi(launcher_rank()) : id));
	struct shared *shared = dsm_reserve(NULL, sizeof(*shared));
	CHECK(shared != NULL);
	count(shared, size);
	use_heap(size);
	printf("ok %d of %d on %s\n", dsm_node_id(), size, host == NULL ? "this host" : host);
	fflush(stdout);
	if (argc > 3 && atoi(argv[3]) == dsm_node_id())
		raise(SIGKILL);
	CHECK(dsm_barrier() == 0);
	CHECK(dsm_finish() == 0);
	return 0;
}
