/* SPDX-License-Identifier: Apache-2.0 */
/* Readable lines: what an engine was told and what it said, one line each, to standard output. */
#ifndef PERGOLA_TESTS_LINES_H
#define PERGOLA_TESTS_LINES_H

#include "engine/engine.h"

/* "n1: from n0 READ_GRANT p64+1 owner n0 versions 0" */
void line_event(struct node_id id, const struct event *event);

/* "n1 -> n0 CONFIRM p64+1" */
void line_command(struct node_id id, const struct command *command);

#endif
