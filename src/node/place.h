/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near which NUMA node a node's memory and its progress thread stand. A device reads and writes
 * memory of its own NUMA node without crossing the processors' interconnect, and the thread that
 * polls its queues does best there too. Only hints: where nothing is gained, nothing is done.
 */
#ifndef PERGOLA_NODE_PLACE_H
#define PERGOLA_NODE_PLACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Is it worth it? Not with one NUMA node, not for a device that is near to all (negative), and not
 * where this process may not run near it: who has put it elsewhere knows why.
 */
bool place_useful(int numa_node);

/*
 * Pages of [addr, addr + bytes), a shared mapping, are taken from that NUMA node from now on, and
 * from others when it has none left.
 */
void place_memory(int numa_node, void *addr, size_t bytes);

/* The thread runs on those of its processors that are near. */
void place_thread(int numa_node, pthread_t thread);

#endif
