/* SPDX-License-Identifier: Apache-2.0 */
/* Unordered sets of small things, in memory that grows. */
#include "base/assert.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

void *bag_add(struct bag *bag)
{
	if (bag->count == bag->capacity) {
		bag->capacity = bag->capacity == 0 ? 64 : 2 * bag->capacity;
		bag->items = realloc(bag->items, bag->capacity * bag->item_bytes);
		ASSERT(bag->items != NULL);
	}
	void *item = bag_at(bag, bag->count++);

	memset(item, 0, bag->item_bytes);
	return item;
}

void *bag_at(struct bag *bag, size_t index)
{
	return (unsigned char *)bag->items + index * bag->item_bytes;
}

void bag_remove(struct bag *bag, size_t index)
{
	ASSERT(index < bag->count);
	bag->count--;
	if (index != bag->count)
		memcpy(bag_at(bag, index), bag_at(bag, bag->count), bag->item_bytes);
}

void bag_clear(struct bag *bag)
{
	bag->count = 0;
}
