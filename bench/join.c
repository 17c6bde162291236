/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins, shows that the job works, leaves, and says how long the slowest node's dsm_init() took.
 * Each node writes a word of a page of its own and reads every other's; bench/setup makes a table
 * of it for many numbers of nodes.
 */
#include <pergola/dsm.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "node %d: %s: %s\n", dsm_node_id(), what, dsm_error());
	_Exit(1);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Every node tells every other something, through a page each. */
static void smoke(int self, int count)
{
	char *pages = dsm_reserve(NULL, (size_t)count * DSM_PAGE_BYTES);

	if (pages == NULL)
		fail("dsm_reserve");
	*(int *)(void *)(pages + (size_t)self * DSM_PAGE_BYTES) = self + 1;
	if (dsm_barrier() != 0)
		fail("dsm_barrier");
	for (int i = 0; i < count; i++) {
		int node = (self + i) % count;

		if (*(int *)(void *)(pages + (size_t)node * DSM_PAGE_BYTES) != node + 1)
			fail("another's page");
	}
}

/* The largest of all nodes' values, on node 0. */
static double slowest(double mine, int count)
{
	double worst = 0;

	for (int node = 0; node < count; node++) {
		double value = mine;

		if (dsm_bcast(&value, sizeof(value), node) != 0)
			fail("dsm_bcast");
		worst = value > worst ? value : worst;
	}
	return worst;
}

int main(void)
{
	double begun = now_ms();

	if (dsm_init(-1) != 0)
		fail("dsm_init");
	double took = now_ms() - begun;
	int self = dsm_node_id();
	int count = dsm_node_count();

	smoke(self, count);
	took = slowest(took, count);
	if (self == 0)
		printf("joined: %d nodes, %.1f ms\n", count, took);
	if (dsm_barrier() != 0 || dsm_finish() != 0)
		fail("leaving");
	return 0;
}
