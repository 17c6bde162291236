/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of programs that run as the nodes of a job, on the public interface alone. A check that
 * fails prints the node, the place and dsm_error(), and ends the process with status 1: the
 * launcher then ends the others.
 */
#ifndef PERGOLA_TESTS_CHECK_H
#define PERGOLA_TESTS_CHECK_H

#include <pergola/dsm.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK_EXIT_SKIPPED 77

/* The largest heap unit, and the least that dsm_open() takes. */
#define CHECK_UNIT_BYTES ((size_t)256 << 10)

__attribute__((noreturn)) static inline void check_fail(const char *file, int line,
							const char *text, long got)
{
	fprintf(stderr, "node %d: %s:%d: %s (got %ld) errno %d; dsm_error: %s\n", dsm_node_id(),
		file, line, text, got, errno, dsm_error());
	_exit(1);
}

/* The last failing call's sentence must be there and name the call. */
static inline void check_text(const char *file, int line, const char *call)
{
	if (strstr(dsm_error(), call) == NULL)
		check_fail(file, line, call, 0);
}

#define CHECK(condition) ((condition) ? (void)0 : check_fail(__FILE__, __LINE__, #condition, 0))

/* `call` returns `expected`, a status or a count. */
#define CHECK_IS(call, expected)                                                                   \
	do {                                                                                       \
		long check_got = (long)(call);                                                     \
		if (check_got != (long)(expected))                                                 \
			check_fail(__FILE__, __LINE__, #call " is " #expected, check_got);         \
	} while (0)

#define CHECK_OK(call) CHECK_IS(call, 0)

/* `call` fails with `error` (negative), and dsm_error() says so with the function's `name` in it.
 */
#define CHECK_FAILS(call, error, name)                                                             \
	do {                                                                                       \
		CHECK_IS(call, error);                                                             \
		check_text(__FILE__, __LINE__, name);                                              \
	} while (0)

/* `call` returns NULL with errno `error` (positive), and a sentence with `name` in it. */
#define CHECK_NULL(call, error, name)                                                              \
	do {                                                                                       \
		errno = 0;                                                                         \
		CHECK((call) == NULL);                                                             \
		CHECK_IS(errno, error);                                                            \
		check_text(__FILE__, __LINE__, name);                                              \
	} while (0)

/* Joins the job, or ends the process as skipped where this machine does not permit it. */
static inline void check_join(void)
{
	int status = dsm_init(-1);

	if (status == -ENOSYS || status == -EPERM || status == -EACCES) {
		printf("skipped: %s\n", dsm_error());
		fflush(stdout);
		_exit(CHECK_EXIT_SKIPPED);
	}
	CHECK_OK(status);
}

/* Joins, and opens a heap of `bytes`. Returns its start. */
static inline unsigned char *check_start(size_t bytes)
{
	check_join();
	unsigned char *region = dsm_open(NULL, bytes);

	CHECK(region != NULL);
	return region;
}

/* Leaves. Returns the exit status of main(). */
static inline int check_end(void)
{
	CHECK_OK(dsm_barrier());
	CHECK_OK(dsm_finish());
	return 0;
}

/* A pointer that node 0 has, on all nodes. */
static inline void *check_share(void *pointer)
{
	CHECK_OK(dsm_bcast(&pointer, sizeof(pointer), 0));
	return pointer;
}

/* A block that node 0 allocates, zeroed, on all nodes. */
static inline void *check_shared_block(size_t bytes)
{
	void *block = NULL;

	if (dsm_node_id() == 0) {
		block = dsm_malloc(bytes);
		CHECK(block != NULL);
		memset(block, 0, bytes);
	}
	return check_share(block);
}

static inline uint64_t check_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void check_sleep_ms(long ms)
{
	const struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

/* A reproducible sequence (Marsaglia's xorshift64*); `state` is not 0. */
static inline uint64_t check_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static inline uint64_t check_below(uint64_t *state, uint64_t limit)
{
	return (check_random(state) >> 11) % limit;
}

/* The seed of this run: CHECK_SEED, or `seed`. Node 0 prints it. */
static inline uint64_t check_seed(uint64_t seed)
{
	const char *text = getenv("CHECK_SEED");

	if (text != NULL)
		seed = strtoull(text, NULL, 0);
	if (dsm_node_id() == 0)
		printf("CHECK_SEED=%llu\n", (unsigned long long)seed);
	return (seed * 2 + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

#endif
