/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fabric on libibverbs and librdmacm: reliable connections between the nodes of a job, each to
 * each, on InfiniBand, RoCE or Soft-RoCE. Obligations: port/fabric.h; how it works: docs/fabric.md.
 */
#ifndef PERGOLA_VERBS_VERBS_H
#define PERGOLA_VERBS_VERBS_H

#include "port/fabric.h"

extern const struct fabric_ops fabric_verbs_ops;

#endif
