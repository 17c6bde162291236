/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the latest faults of this node came to which point, as node/times.h notes it. In C, as the
 * modules' headers are.
 */
#ifndef PERGOLA_BENCH_FAULT_PARTS_H
#define PERGOLA_BENCH_FAULT_PARTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Nanoseconds on the clock of bench::now_ns(). 0: the fault was not there. */
struct fault_points {
	const char *page;
	uint64_t taken;	  /* the fault is given to the engine */
	uint64_t asked;	  /* its request is on its way */
	uint64_t granted; /* a grant says where the bytes are */
	uint64_t fetched; /* they are here */
	uint64_t mapping; /* the page is about to be shown */
	uint64_t mapped;
};

/* After dsm_init(): notes the latest `capacity` faults from now on. Ends the process on failure. */
void fault_points_begin(uint32_t capacity);

/* Takes out those noted, up to `limit`, the oldest first; returns how many. */
uint32_t fault_points_take(struct fault_points *out, uint32_t limit);

#ifdef __cplusplus
}
#endif

#endif
