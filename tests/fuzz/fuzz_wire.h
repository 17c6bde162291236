/* SPDX-License-Identifier: Apache-2.0 */
/* What the drivers of the message fuzzer share. */
#ifndef PERGOLA_TESTS_FUZZ_WIRE_H
#define PERGOLA_TESTS_FUZZ_WIRE_H

#include "wire/wire.h"

#define FUZZ_LIMITS 3u

extern const struct wire_limits fuzz_limits[FUZZ_LIMITS];

/* Decodes and checks every promise; a broken one ends the process. True: the message was let
 * through. */
bool fuzz_wire_check(const struct wire_limits *limits, const uint8_t *data, size_t bytes);

#endif
