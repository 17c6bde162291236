/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perftest's ib_read_lat, as a yardstick for what the fabric does: one process serves, another
 * reads 4 KiB from it again and again. Both end with the process that started them.
 */
#ifndef PERGOLA_CLI_PERFTEST_H
#define PERGOLA_CLI_PERFTEST_H

#include "node/measure.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

bool perftest_installed(void);

/* Starts a server on the card's own device. Returns 0 and its pid, or -errno. */
int perftest_serve(const struct measure_card *own, unsigned int port, pid_t *server);

/* Ends a server, whether it is over or not. */
void perftest_end(pid_t server);

/*
 * The typical time of a read from the server at `address`. Takes `limit_ns` at most. -ETIMEDOUT;
 * -ENOENT: not installed; -EIO: it failed, and what it said last is recorded with error_set().
 */
int perftest_read(const struct measure_card *own, const char *address, unsigned int port,
		  uint64_t limit_ns, uint64_t *latency_ns);

#endif
