/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of requests at managers, and each page's two lists of them: those that wait, first come
 * first served, and those that are granted and not confirmed. Invariant: a request is free, or in
 * one list, or in the hands of who has just taken it out of one.
 */
#include "engine/directory.h"

uint32_t queue_new(struct engine *engine)
{
	uint32_t link;

	if (engine->request_free != 0) {
		link = engine->request_free;
		engine->request_free = request_at(engine, link)->next;
	} else {
		ASSERT(engine->request_fresh < engine->request_limit);
		link = ++engine->request_fresh;
	}
	engine->request_count++;
	return link;
}

void queue_release(struct engine *engine, uint32_t link)
{
	struct request *request = request_at(engine, link);

	*request = (struct request){ .next = engine->request_free };
	engine->request_free = link;
	engine->request_count--;
}

void queue_push(struct engine *engine, struct directory_entry *entry, uint32_t link)
{
	request_at(engine, link)->next = 0;
	if (entry->waiting_tail == 0)
		entry->waiting_head = link;
	else
		request_at(engine, entry->waiting_tail)->next = link;
	entry->waiting_tail = link;
}

void queue_push_front(struct engine *engine, struct directory_entry *entry, uint32_t link)
{
	request_at(engine, link)->next = entry->waiting_head;
	entry->waiting_head = link;
	if (entry->waiting_tail == 0)
		entry->waiting_tail = link;
}

uint32_t queue_pop(struct engine *engine, struct directory_entry *entry)
{
	uint32_t link = entry->waiting_head;

	entry->waiting_head = request_at(engine, link)->next;
	if (entry->waiting_head == 0 && !MUTANT(LOST_TAIL))
		entry->waiting_tail = 0;
	return link;
}

uint32_t queue_granted(struct engine *engine, struct directory_entry *entry, struct node_id node)
{
	uint32_t *link = &entry->granted;

	while (*link != 0) {
		struct request *request = request_at(engine, *link);
		uint32_t found = *link;

		if (node_equal(request->node, node)) {
			*link = request->next;
			request->next = 0;
			return found;
		}
		link = &request->next;
	}
	return 0;
}

void queue_find_tail(struct engine *engine, struct directory_entry *entry)
{
	uint32_t link = entry->waiting_head;

	entry->waiting_tail = 0;
	for (; link != 0; link = request_at(engine, link)->next)
		entry->waiting_tail = link;
}
