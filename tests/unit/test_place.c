/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement near a NUMA node. With one NUMA node there is nothing to place, and that is all that
 * can be seen; with more, memory and threads must come to stand where they are told.
 */
#include "node/place.h"

#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define BYTES ((size_t)64 * 4096)

static int last_node(void)
{
	return numa_available() < 0 ? 0 : numa_max_node();
}

static void test_not_useful(void **state)
{
	(void)state;
	assert_false(place_useful(-1));
	assert_false(place_useful(last_node() + 1));
	if (last_node() == 0)
		assert_false(place_useful(0));
}

/* A shared mapping has a policy of its own, whichever view of it is touched. */
static void test_memory(void **state)
{
	(void)state;
	if (!place_useful(last_node()))
		skip();
	for (int node = 0; node <= last_node(); node++) {
		int fd = memfd_create("place", MFD_CLOEXEC);

		assert_int_equal(ftruncate(fd, BYTES), 0);
		unsigned char *runtime =
			mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		unsigned char *other = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		assert_true(runtime != MAP_FAILED && other != MAP_FAILED);
		place_memory(node, runtime, BYTES);
		memset(other, 1, BYTES);
		for (size_t at = 0; at < BYTES; at += 4096) {
			int stands = -1;

			assert_int_equal(get_mempolicy(&stands, NULL, 0, other + at,
						       MPOL_F_NODE | MPOL_F_ADDR),
					 0);
			assert_int_equal(stands, node);
		}
		munmap(runtime, BYTES);
		munmap(other, BYTES);
		close(fd);
	}
}

static void *wait_for_end(void *fd)
{
	char byte;

	(void)!read(*(int *)fd, &byte, 1);
	return NULL;
}

static void test_thread(void **state)
{
	int ends[2];
	pthread_t thread;
	cpu_set_t set;

	(void)state;
	if (!place_useful(last_node()))
		skip();
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &ends[0]), 0);
	place_thread(last_node(), thread);
	assert_int_equal(pthread_getaffinity_np(thread, sizeof(set), &set), 0);
	assert_true(CPU_COUNT(&set) > 0);
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set))
			assert_int_equal(numa_node_of_cpu((int)cpu), last_node());
	}
	/* It may not run near another: it stays. */
	place_thread(0, thread);
	cpu_set_t after;
	assert_int_equal(pthread_getaffinity_np(thread, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&set, &after));
	close(ends[1]);
	pthread_join(thread, NULL);
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_useful),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
