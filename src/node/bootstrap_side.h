/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two sides of the bootstrap. For bootstrap.c alone, which has checked the arguments.
 */
#ifndef PERGOLA_NODE_BOOTSTRAP_SIDE_H
#define PERGOLA_NODE_BOOTSTRAP_SIDE_H

#include "node/bootstrap.h"

#include <stdbool.h>

/* Rank 0: listens, gathers, answers. `all` has mine already. */
int bootstrap_gather(const struct bootstrap *bootstrap, size_t bytes, void *all);

/* The others: connect, say, hear. */
int bootstrap_join(const struct bootstrap *bootstrap, const void *mine, size_t bytes, void *all);

bool bootstrap_has_secret(const struct bootstrap *bootstrap);

#endif
