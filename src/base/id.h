/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two kinds of name that the whole code passes about. One-field structs, so that the compiler
 * rejects a swap. A page id counts 4 KiB pages from the start of the job's shared space; it is the
 * same on every node and says nothing of an address.
 */
#ifndef PERGOLA_BASE_ID_H
#define PERGOLA_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES 4096u
#define PAGE_SHIFT 12
#define NODES_MAX 1024u

struct node_id {
	uint16_t value;
};

struct page_id {
	uint64_t value;
};

static inline struct node_id node_id(unsigned int value)
{
	return (struct node_id){ (uint16_t)value };
}

static inline bool node_equal(struct node_id a, struct node_id b)
{
	return a.value == b.value;
}

static inline struct page_id page_id(uint64_t value)
{
	return (struct page_id){ value };
}

static inline struct page_id page_add(struct page_id page, uint64_t page_count)
{
	return (struct page_id){ page.value + page_count };
}

static inline bool page_equal(struct page_id a, struct page_id b)
{
	return a.value == b.value;
}

#endif
