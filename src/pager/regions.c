/* SPDX-License-Identifier: Apache-2.0 */
/* The table of regions: sorted arrays, binary search. */
#include "pager/regions.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

static uintptr_t addr_end(const struct region *region)
{
	return region->addr + region->page_count * PAGE_BYTES;
}

/* The place of the first region that ends after `page`. */
static unsigned int page_place(const struct regions *regions, uint64_t page)
{
	unsigned int low = 0;
	unsigned int high = regions->count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct region *region = &regions->by_page[middle];

		if (region->first + region->page_count <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The place of the first region that ends after `addr`. */
static unsigned int addr_place(const struct regions *regions, uintptr_t addr)
{
	unsigned int low = 0;
	unsigned int high = regions->count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (addr_end(&regions->by_addr[middle]) <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void array_insert(struct region *array, unsigned int count, unsigned int place,
			 struct region region)
{
	memmove(&array[place + 1], &array[place], (count - place) * sizeof(*array));
	array[place] = region;
}

static void array_delete(struct region *array, unsigned int count, unsigned int place)
{
	memmove(&array[place], &array[place + 1], (count - place - 1) * sizeof(*array));
}

int regions_add(struct regions *regions, struct region region)
{
	ASSERT(region.page_count > 0);
	if (regions->count == PAGER_REGIONS_MAX)
		return -ENOSPC;
	unsigned int page = page_place(regions, region.first);
	unsigned int addr = addr_place(regions, region.addr);

	if (page < regions->count &&
	    regions->by_page[page].first < region.first + region.page_count)
		return -EINVAL;
	if (addr < regions->count && regions->by_addr[addr].addr < addr_end(&region))
		return -EINVAL;
	array_insert(regions->by_page, regions->count, page, region);
	array_insert(regions->by_addr, regions->count, addr, region);
	regions->count++;
	return 0;
}

bool regions_take(struct regions *regions, struct page_id first, struct region *out)
{
	unsigned int page = page_place(regions, first.value);

	if (page == regions->count || regions->by_page[page].first != first.value)
		return false;
	struct region region = regions->by_page[page];
	unsigned int addr = addr_place(regions, region.addr);

	ASSERT(addr < regions->count && regions->by_addr[addr].addr == region.addr);
	array_delete(regions->by_page, regions->count, page);
	array_delete(regions->by_addr, regions->count, addr);
	regions->count--;
	*out = region;
	return true;
}

bool regions_page_at(const struct regions *regions, uintptr_t addr, struct page_id *page)
{
	unsigned int place = addr_place(regions, addr);

	if (place == regions->count || addr < regions->by_addr[place].addr)
		return false;
	const struct region *region = &regions->by_addr[place];

	*page = page_id(region->first + (addr - region->addr) / PAGE_BYTES);
	return true;
}

bool regions_slice(const struct regions *regions, struct page_id page, uint64_t page_count,
		   struct region *slice, uint64_t *skipped)
{
	unsigned int place = page_place(regions, page.value);
	uint64_t end = page.value + page_count;

	if (place == regions->count || regions->by_page[place].first >= end)
		return false;
	const struct region *region = &regions->by_page[place];
	uint64_t region_end = region->first + region->page_count;
	uint64_t first = page.value > region->first ? page.value : region->first;

	*skipped = first - page.value;
	*slice = (struct region){
		.addr = region->addr + (first - region->first) * PAGE_BYTES,
		.first = first,
		.page_count = (end < region_end ? end : region_end) - first,
	};
	return true;
}
