/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where updates land. Threads read a page while its new bytes come, so these go into a buffer of
 * the node's own first, and from there into the frame, by this processor and word by word: no
 * thread sees half of an aligned 8-byte word, whatever the fabric does, and an update that fails
 * half-way has changed nothing.
 *
 * A slot has room for one run; it belongs to one read from landing_get() to landing_put().
 */
#include "base/assert.h"
#include "base/word_copy.h"
#include "node/node.h"

#include <errno.h>

#define SLOT_BYTES (RUN_MAX * PAGE_BYTES)
#define LANDING_BYTES (LANDING_SLOTS * SLOT_BYTES)

int landing_open(struct node *node)
{
	node->landing = table_open(LANDING_BYTES);
	return node->landing == NULL ? -ENOMEM : 0;
}

void landing_close(struct node *node)
{
	table_close(node->landing, LANDING_BYTES);
}

unsigned int landing_get(struct node *node)
{
	for (unsigned int slot = 0; slot < LANDING_SLOTS; slot++) {
		if ((node->landing_used >> slot & 1) != 0)
			continue;
		node->landing_used |= 1u << slot;
		return slot + 1;
	}
	return 0;
}

void landing_put(struct node *node, unsigned int slot)
{
	ASSERT(slot != 0 && (node->landing_used >> (slot - 1) & 1) != 0);
	node->landing_used &= ~(1u << (slot - 1));
}

static unsigned char *slot_at(struct node *node, unsigned int slot)
{
	ASSERT(slot != 0 && slot <= LANDING_SLOTS);
	return node->landing + (size_t)(slot - 1) * SLOT_BYTES;
}

struct fabric_local landing_local(struct node *node, struct link *link, unsigned int slot,
				  uint32_t first_page, uint32_t page_count)
{
	const struct fabric_memory memory = {
		.addr = node->landing,
		.bytes = LANDING_BYTES,
		.fd = -1,
		.access = 0,
	};
	struct fabric_key key;

	if (link->landing == NULL &&
	    link->ops->memory_register(link->fabric, &memory, &link->landing, &key) != 0)
		loss_fatal("registering the buffer of updates");
	return (struct fabric_local){
		.region = link->landing,
		.addr = slot_at(node, slot) + (size_t)first_page * PAGE_BYTES,
		.bytes = page_count * PAGE_BYTES,
	};
}

void landing_place(struct node *node, unsigned int slot, struct run run)
{
	word_copy(node->frames.base + run.page.value * PAGE_BYTES, slot_at(node, slot),
		  (size_t)run.page_count * PAGE_BYTES / 8);
}
