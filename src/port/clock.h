/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of time: nanoseconds on a monotonic clock that all threads of one process share.
 * Differences mean something, values do not, and other nodes' values mean nothing here.
 */
#ifndef PERGOLA_PORT_CLOCK_H
#define PERGOLA_PORT_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);

#endif
