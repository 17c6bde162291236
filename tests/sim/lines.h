/* SPDX-License-Identifier: Apache-2.0 */
/* Readable lines: what an engine was told and what it said, one line each. */
#ifndef PERGOLA_TESTS_LINES_H
#define PERGOLA_TESTS_LINES_H

#include "engine/engine.h"

#include <stdio.h>

/* "acquire": what stands in the lines about synchronisation objects. */
const char *line_sync_op(enum sync_op op);

/* "n1: from n0 READ_GRANT p64 owner n0 version 0" */
void line_event(FILE *out, struct node_id id, const struct event *event);

/* "n1 -> n0 CONFIRM p64" */
void line_command(FILE *out, struct node_id id, const struct command *command);

#endif
