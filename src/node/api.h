/* SPDX-License-Identifier: Apache-2.0 */
/* What the public functions (api_*.c) share: how they are exported, and how a call reports failure.
 */
#ifndef PERGOLA_NODE_API_H
#define PERGOLA_NODE_API_H

#include "node/node.h"

#include <pergola/dsm.h>

#define DSM_API __attribute__((visibility("default")))

/* The status of a call on `addr`: 0, or the error with its sentence recorded. */
int api_status(struct node *node, const char *call, const void *addr, int status);

/* A range of an api call: both ends in one region. */
struct api_range {
	struct page_id first;
	uint64_t page_count;
};

/* False: it is not shared. `size` is not 0. */
bool api_range(const struct node *node, const void *addr, size_t size, struct api_range *range);

/* Asks for pages that will be needed. */
void api_prefetch(struct node *node, struct api_range range, bool write);

/* Sends the blocks freed for other nodes that wait to be sent together. */
void api_flush_frees(struct node *node);

#endif
