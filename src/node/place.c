/* SPDX-License-Identifier: Apache-2.0 */
/* libnuma, where the build has it. No state. */
#include "node/place.h"

#include "base/log.h"

#include <sched.h>

#ifdef PERGOLA_NUMA
#include <numa.h>

/* Of the processors of `from`, those near the NUMA node; returns how many. */
static int near_cpus(int numa_node, const cpu_set_t *from, cpu_set_t *out)
{
	struct bitmask *cpus = numa_allocate_cpumask();

	CPU_ZERO(out);
	if (numa_node_to_cpus(numa_node, cpus) == 0) {
		for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (CPU_ISSET(cpu, from) && numa_bitmask_isbitset(cpus, cpu))
				CPU_SET(cpu, out);
		}
	}
	numa_free_cpumask(cpus);
	return CPU_COUNT(out);
}

bool place_useful(int numa_node)
{
	cpu_set_t own;
	cpu_set_t near;

	return numa_node >= 0 && numa_available() >= 0 && numa_num_configured_nodes() > 1 &&
	       sched_getaffinity(0, sizeof(own), &own) == 0 &&
	       near_cpus(numa_node, &own, &near) > 0;
}

void place_memory(int numa_node, void *addr, size_t bytes)
{
	numa_tonode_memory(addr, bytes, numa_node);
}

void place_thread(int numa_node, pthread_t thread)
{
	cpu_set_t own;
	cpu_set_t near;

	if (pthread_getaffinity_np(thread, sizeof(own), &own) != 0 ||
	    near_cpus(numa_node, &own, &near) == 0)
		return;
	if (pthread_setaffinity_np(thread, sizeof(near), &near) == 0)
		log_line(LOG_INFO, "the progress thread runs near the device, on NUMA node %d",
			 numa_node);
}

#else

bool place_useful(int numa_node)
{
	if (numa_node >= 0)
		log_line(LOG_INFO,
			 "the device is near NUMA node %d; this build has no libnuma and "
			 "leaves memory where it is",
			 numa_node);
	return false;
}

void place_memory(int numa_node, void *addr, size_t bytes)
{
	(void)numa_node;
	(void)addr;
	(void)bytes;
}

void place_thread(int numa_node, pthread_t thread)
{
	(void)numa_node;
	(void)thread;
}

#endif
