/* SPDX-License-Identifier: Apache-2.0 */
/* A page's entry at its manager: what the files of the manager's side read and write alike. */
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

static inline struct request *request_at(struct engine *engine, uint32_t link)
{
	ASSERT(link != 0 && link <= engine->request_fresh);
	return &engine->requests[link - 1];
}

/* ---- queue.c ---- */

/* A fresh request's index + 1; there must be room. */
/* Is a grant to `node` not confirmed? */
bool directory_is_granted(struct engine *engine, const struct directory_entry *entry, size_t node);

uint32_t queue_new(struct engine *engine);
void queue_release(struct engine *engine, uint32_t link);
void queue_push(struct engine *engine, struct directory_entry *entry, uint32_t link);
void queue_push_front(struct engine *engine, struct directory_entry *entry, uint32_t link);
uint32_t queue_pop(struct engine *engine, struct directory_entry *entry);
/* The granted request of `node`, unlinked; 0: none. */
uint32_t queue_granted(struct engine *engine, struct directory_entry *entry, struct node_id node);
/* Some of those that wait were taken out. */
void queue_find_tail(struct engine *engine, struct directory_entry *entry);

/* ---- handover.c ---- */

/* `to` has confirmed, and becomes the manager. */
void handover_page(struct engine *engine, struct directory_entry *entry, struct page_id page,
		   struct node_id to);

#endif
