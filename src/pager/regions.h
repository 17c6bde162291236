/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small table that turns page ids into addresses of the application view and back. It holds
 * each region twice, once sorted by page and once by address. Regions overlap in neither. Pure:
 * it maps nothing. Caller's memory, all-zero is the empty table.
 */
#ifndef PERGOLA_PAGER_REGIONS_H
#define PERGOLA_PAGER_REGIONS_H

#include "base/id.h"
#include "pager/pager.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region {
	uintptr_t addr;
	uint64_t first; /* page id */
	uint64_t page_count;
};

struct regions {
	unsigned int count;
	struct region by_page[PAGER_REGIONS_MAX];
	struct region by_addr[PAGER_REGIONS_MAX];
};

/* -ENOSPC: the table is full. -EINVAL: pages or addresses overlap a region that is there. */
int regions_add(struct regions *regions, struct region region);

/* Takes out the region whose first page is `first`; false: there is none. */
bool regions_take(struct regions *regions, struct page_id first, struct region *out);

/* The page at `addr`; false: it is in no region. */
bool regions_page_at(const struct regions *regions, uintptr_t addr, struct page_id *page);

/*
 * The first part of pages [page, page + page_count) that stands in one region: where it stands and
 * how many pages it has. *skipped is the number of pages before it that are in no region. False:
 * none of the pages is in a region.
 */
bool regions_slice(const struct regions *regions, struct page_id page, uint64_t page_count,
		   struct region *slice, uint64_t *skipped);

#endif
