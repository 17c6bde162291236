/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ranks 0 and 1 of a job measure of the network between them, below the coherence. In C, as
 * the modules' headers are.
 */
#ifndef PERGOLA_BENCH_FABRIC_FLOOR_H
#define PERGOLA_BENCH_FABRIC_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `count` times each; the caller's memory. Filled on rank 0. */
struct fabric_floor {
	uint64_t *read_ns;	  /* one-sided reads of 4 KiB */
	uint64_t *spin_round_ns;  /* a message of 64 bytes there and back, both sides poll */
	uint64_t *sleep_round_ns; /* ... both sleep until something comes */
	char fabric[16];	  /* "shm", "verbs" */
};

/* Joins the other rank, measures, leaves. Returns this rank, or ends the process. */
unsigned int fabric_floor_measure(struct fabric_floor *floor, unsigned int count);

/*
 * The spinning round trip alone, `count` times, for a program that joins the job only afterwards.
 * True on rank 0 of a job of two: it has filled them; elsewhere false.
 */
bool fabric_round_trips(uint64_t *times_ns, unsigned int count);

#ifdef __cplusplus
}
#endif

#endif
