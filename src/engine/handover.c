/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managers that move: the page, its directory entry and its queue go from the old owner to the new
 * one, and who had it last is remembered. Invariants:
 *   - there is one manager at most: the old one forgets the entry in the step that sends the
 *     hand-over, and the new one serves nobody before it comes;
 *   - what is known for certain of a page has the highest version that this node has heard of.
 */
#include "engine/directory.h"

/* ---- the old manager ---- */

static void emit_queue(struct engine *engine, struct node_id to, struct message *message)
{
	if (message->queue.request_count > 0) {
		message->bytes = (uint16_t)message_bytes(message);
		emit_send(engine, to, message);
	}
	message->queue.request_count = 0;
}

/*
 * Sends the requests that wait to the new manager, who serves them before its own. Returns the last
 * one that is to write, as the one who will be manager last; if there is none, the new manager.
 */
static struct node_id hand_queue(struct engine *engine, struct directory_entry *entry,
				 struct page_id page, struct node_id to)
{
	struct message message = { .kind = MSG_QUEUE, .queue.page = page.value };
	struct node_id last = to;

	while (entry->waiting_head != 0) {
		uint32_t link = queue_pop(engine, entry);
		struct request request = *request_at(engine, link);
		uint16_t index = message.queue.request_count;

		queue_release(engine, link);
		if (node_equal(request.node, to) || MUTANT(QUEUE_KEPT))
			continue; /* it has been served */
		if (request.write && !node_equal(request.node, engine->config.self))
			last = request.node;
		message.queue.requests[index].node = request.node.value;
		message.queue.requests[index].hops = request.hops & 0x7fffu;
		message.queue.requests[index].write = request.write;
		message.queue.requests[index].tag = request.tag;
		if (++message.queue.request_count == HANDED_MAX)
			emit_queue(engine, to, &message);
	}
	emit_queue(engine, to, &message);
	return last;
}

/* The new owner has confirmed, and becomes the manager. */
void handover_page(struct engine *engine, struct directory_entry *entry, struct page_id page,
		   struct node_id to)
{
	struct page_entry *own = &engine->pages[page.value];
	uint64_t version = entry->version + 1;

	ROW("hand over");
	struct node_id last = hand_queue(engine, entry, page, to);

	ASSERT(entry->granted == 0 && entry->waiting_head == 0);
	emit_run(engine, to, MSG_HANDOVER, page, node_id(0));
	bitset_zero(holders_of(entry), engine->set_words);
	*entry = (struct directory_entry){
		.version = version & VERSION_NONE,
		.owner = (uint16_t)(to.value + 1u),
	};
	own->hint = last.value + 1u;
	own->turned = !node_equal(last, to);
	engine->stats.handovers++;
}

/* ---- the new manager ---- */

/* This node has the page for writing, and is its manager now. */
static void become_manager(struct engine *engine, struct page_id page)
{
	struct directory_entry *entry = entry_of(engine, page);
	struct page_entry *own = &engine->pages[page.value];

	entry->version = own->version;
	entry->owner = 0;
	entry->spare = 0;
	entry->state = DIRECTORY_QUIET;
	entry->flags = DIRECTORY_EXCLUSIVE;
	bitset_zero(holders_of(entry), engine->set_words);
	bitset_set(holders_of(entry), engine->config.self.value);
	own->hint = engine->config.self.value + 1u;
	own->turned = 0;
	own->peer = 0;
	while (entry->granted != 0) { /* what was handed over comes before what came by itself */
		uint32_t link = entry->granted;

		entry->granted = request_at(engine, link)->next;
		queue_push_front(engine, entry, link);
	}
	directory_pump(engine, entry, page);
}

void handover_settle(struct engine *engine, struct page_id page)
{
	if (home_coming(engine, page) &&
	    (MUTANT(HASTY_HANDOVER) ||
	     engine_down(engine, node_id(engine->pages[page.value].peer - 1u)))) {
		ROW("inherited");
		become_manager(engine, page);
	}
}

static bool awaits_handover(const struct engine *engine, struct page_id page, struct node_id from)
{
	return home_coming(engine, page) && engine->pages[page.value].peer == from.value + 1u;
}

int handover_queue(struct engine *engine, struct node_id from, const struct message_queue *queue)
{
	struct page_id page = page_id(queue->page);
	struct directory_entry *entry = entry_of(engine, page);

	if (!awaits_handover(engine, page, from) && !MUTANT(HASTY_HANDOVER))
		return -EPROTO;
	for (uint32_t i = 0; i < queue->request_count; i++) {
		struct node_id node = node_id(queue->requests[i].node);
		uint32_t tag = (uint32_t)queue->requests[i].tag;

		if (engine_down(engine, node))
			continue;
		if (engine->request_count == engine->request_limit || MUTANT(HASTY_HANDOVER)) {
			emit_absent(engine, node, page, tag, handover_known(engine, page));
			continue;
		}
		if (queue->requests[i].write && queue->requests[i].hops > engine->stats.hops_max)
			engine->stats.hops_max = queue->requests[i].hops;
		uint32_t link = queue_new(engine);

		ROW("queue");
		*request_at(engine, link) = (struct request){
			.page = page,
			.node = node,
			.write = queue->requests[i].write,
			.hops = queue->requests[i].hops,
			.tag = tag,
			.next = entry->granted,
		};
		entry->granted = link;
	}
	return 0;
}

int handover_run(struct engine *engine, struct node_id from, const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);

		if (MUTANT(HASTY_HANDOVER))
			continue;
		if (!awaits_handover(engine, page, from))
			return -EPROTO;
		ROW("handed over");
		become_manager(engine, page);
	}
	return 0;
}

void handover_send_back(struct engine *engine, struct page_id page)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (home_here(engine, page) || home_coming(engine, page))
		return;
	while (entry->waiting_head != 0) {
		uint32_t link = queue_pop(engine, entry);
		struct request request = *request_at(engine, link);

		ROW("sent back");
		queue_release(engine, link);
		emit_absent(engine, request.node, page, request.tag, handover_known(engine, page));
	}
}

/* ---- who was it last ---- */

void handover_note(struct engine *engine, struct page_id page, struct message_known known)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (known.node == 0 || known.node - 1u == engine->config.self.value ||
	    home_here(engine, page) || home_coming(engine, page))
		return;
	if (entry->owner != 0 && known.version <= entry->version)
		return;
	entry->owner = (uint16_t)known.node;
	entry->version = known.version;
}

struct message_known handover_known(const struct engine *engine, struct page_id page)
{
	const struct directory_entry *entry = entry_of(engine, page);
	uint16_t home = engine_home(engine, page);

	if (entry->owner != 0)
		return (struct message_known){ .version = entry->version, .node = entry->owner };
	return (struct message_known){ .node = home == HOME_UNKNOWN ? 0 : home + 1u };
}

void handover_census(struct engine *engine, struct page_id page)
{
	if (!home_here(engine, page) && !home_coming(engine, page))
		bitset_zero(holders_of(entry_of(engine, page)), engine->set_words);
}

void handover_census_holder(struct engine *engine, struct page_id page, struct node_id holder)
{
	if (!home_here(engine, page) && !home_coming(engine, page))
		bitset_set(holders_of(entry_of(engine, page)), holder.value);
}

void handover_recover(struct engine *engine, struct page_id page, uint64_t version,
		      struct node_id lost)
{
	struct directory_entry *entry = entry_of(engine, page);
	size_t holder = bitset_next(holders_of(entry), engine->set_words, 0);

	entry->owner = (uint16_t)(lost.value + 1u);
	if (holder == BITSET_NONE) {
		entry->flags = DIRECTORY_LOST;
	} else {
		entry->owner = (uint16_t)(holder + 1u);
		entry->version = version & VERSION_NONE;
	}
	engine->pages[page.value].hint = engine->config.self.value + 1u;
	directory_pump(engine, entry, page);
}
