/* SPDX-License-Identifier: Apache-2.0 */
/* A page's entry at its manager: what directory.c and publication.c read and write alike. */
#ifndef PERGOLA_ENGINE_DIRECTORY_H
#define PERGOLA_ENGINE_DIRECTORY_H

#include "engine/internal.h"

static inline struct directory_entry *entry_of(const struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return (struct directory_entry *)(engine->directory +
					  page.value * engine->directory_stride);
}

static inline uint64_t *holders_of(struct directory_entry *entry)
{
	return (uint64_t *)(entry + 1);
}

static inline struct node_id owner_of(const struct engine *engine,
				      const struct directory_entry *entry)
{
	return entry->owner == 0 ? engine->config.self : node_id(entry->owner - 1u);
}

static inline bool flag(const struct directory_entry *entry, unsigned int bit)
{
	return (entry->flags & bit) != 0;
}

static inline void set_flag(struct directory_entry *entry, unsigned int bit, bool on)
{
	entry->flags = (uint8_t)(on ? entry->flags | bit : entry->flags & ~bit);
}

#endif
