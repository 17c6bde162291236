/* SPDX-License-Identifier: Apache-2.0 */
/* Joining, leaving and options, for the public functions of the same meaning (pergola/dsm.h). */
#ifndef PERGOLA_NODE_JOB_H
#define PERGOLA_NODE_JOB_H

struct node;

int job_join(int id);
void job_leave(struct node *node);
int job_option_set(const char *name, const char *value);
const char *job_option_get(const char *name);

#endif
