/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's side: for each page this node manages, who owns it, who holds copies, and the
 * requests that wait. Invariants:
 *   - the owner's frame holds the bytes of `version`, also while nobody has the page mapped;
 *   - EXCLUSIVE: no node but the owner has the page mapped, and the owner may be writing it;
 *   - every node that has the page mapped, or has been granted it, is in the copy set;
 *   - state QUIET: no recall and no write grant is out; read grants may be;
 *   - DOWNGRADING and INVALIDATING end when all who were told have answered or are lost, whatever
 *     becomes of who asked;
 *   - the old owner keeps its frame as it is until the new owner has confirmed.
 * Requests are served first come, first served; reads next to each other in the queue run at once.
 */
#include "engine/internal.h"

/* Pages the repair after a loss looks at in one step, unless it has much to say sooner. */
#define REPAIR_PAGES 65536u

/*
 * Copies that a requester is sent to after the owner's could not be read, before it is refused. The
 * nodes it cannot reach are mostly lost, and this node is about to hear of it.
 */
#define FETCH_TRIES_MAX 32u

static struct directory_entry *entry_of(const struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return (struct directory_entry *)(engine->directory +
					  page.value * engine->directory_stride);
}

static uint64_t *holders_of(struct directory_entry *entry)
{
	return (uint64_t *)(entry + 1);
}

static struct node_id owner_of(const struct engine *engine, const struct directory_entry *entry)
{
	return entry->owner == 0 ? engine->config.self : node_id(entry->owner - 1u);
}

static bool flag(const struct directory_entry *entry, unsigned int bit)
{
	return (entry->flags & bit) != 0;
}

static void set_flag(struct directory_entry *entry, unsigned int bit, bool on)
{
	entry->flags = (uint8_t)(on ? entry->flags | bit : entry->flags & ~bit);
}

/* ---- requests ---- */

static struct request *request_at(struct engine *engine, uint32_t link)
{
	ASSERT(link != 0 && link <= engine->request_fresh);
	return &engine->requests[link - 1];
}

static uint32_t request_new(struct engine *engine)
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

static void request_release(struct engine *engine, uint32_t link)
{
	struct request *request = request_at(engine, link);

	*request = (struct request){ .next = engine->request_free };
	engine->request_free = link;
	engine->request_count--;
}

static void waiting_push(struct engine *engine, struct directory_entry *entry, uint32_t link)
{
	request_at(engine, link)->next = 0;
	if (entry->waiting_tail == 0)
		entry->waiting_head = link;
	else
		request_at(engine, entry->waiting_tail)->next = link;
	entry->waiting_tail = link;
}

static void waiting_push_front(struct engine *engine, struct directory_entry *entry, uint32_t link)
{
	request_at(engine, link)->next = entry->waiting_head;
	entry->waiting_head = link;
	if (entry->waiting_tail == 0)
		entry->waiting_tail = link;
}

static uint32_t waiting_pop(struct engine *engine, struct directory_entry *entry)
{
	uint32_t link = entry->waiting_head;

	entry->waiting_head = request_at(engine, link)->next;
	if (entry->waiting_head == 0 && !MUTANT(LOST_TAIL))
		entry->waiting_tail = 0;
	return link;
}

/* The granted request of `node`, unlinked; 0: none. */
static uint32_t granted_take(struct engine *engine, struct directory_entry *entry,
			     struct node_id node)
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

/* ---- serving ---- */

/* Hands out a request that is in no list; the bytes are in the frame of `source`. */
static void grant(struct engine *engine, struct directory_entry *entry, uint32_t link,
		  struct node_id source)
{
	struct request *request = request_at(engine, link);

	request->next = entry->granted;
	entry->granted = link;
	bitset_set(holders_of(entry), request->node.value);
	if (request->write)
		entry->state = DIRECTORY_WRITE_GRANTED;
	emit_grant(engine, request->node, request->write, request->page, source, entry->version);
}

static void grant_next(struct engine *engine, struct directory_entry *entry)
{
	grant(engine, entry, waiting_pop(engine, entry), owner_of(engine, entry));
}

/* Row "read request". True when it was granted. */
static bool serve_read(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	struct node_id reader = request_at(engine, entry->waiting_head)->node;
	struct node_id owner = owner_of(engine, entry);

	if (flag(entry, DIRECTORY_EXCLUSIVE) && !node_equal(owner, reader)) {
		entry->state = DIRECTORY_DOWNGRADING;
		emit_run(engine, owner, MSG_DOWNGRADE, page, node_id(0));
		return false;
	}
	set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	grant_next(engine, entry);
	return true;
}

static bool others_hold(struct engine *engine, struct directory_entry *entry, struct node_id node)
{
	const uint64_t *holders = holders_of(entry);
	size_t words = MUTANT(FIRST_WORD) ? 1 : engine->set_words;
	size_t first = bitset_next(holders, words, 0);

	if (first == node.value)
		first = bitset_next(holders, words, first + 1);
	if (MUTANT(SHARED_WRITE) && first != BITSET_NONE &&
	    bitset_next(holders, words, first + 1) == BITSET_NONE)
		return false;
	return first != BITSET_NONE;
}

/* Row "write request": all other copies go first. */
static void serve_write(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	struct node_id writer = request_at(engine, entry->waiting_head)->node;
	const uint64_t *holders = holders_of(entry);

	if (!others_hold(engine, entry, writer)) {
		grant_next(engine, entry);
		return;
	}
	entry->state = DIRECTORY_INVALIDATING;
	for (size_t node = bitset_next(holders, engine->set_words, 0); node != BITSET_NONE;
	     node = bitset_next(holders, engine->set_words, node + 1)) {
		if (node != writer.value)
			emit_run(engine, node_id((unsigned int)node), MSG_INVALIDATE, page,
				 node_id(0));
	}
}

/* INVALIDATING: has everybody answered? */
static bool all_invalidated(struct engine *engine, struct directory_entry *entry)
{
	if (flag(entry, DIRECTORY_ORPHANED))
		return bitset_empty(holders_of(entry), engine->set_words);
	return !others_hold(engine, entry, request_at(engine, entry->waiting_head)->node);
}

/* Row "all invalidated": the writer gets the page. */
static void invalidation_over(struct engine *engine, struct directory_entry *entry)
{
	entry->state = DIRECTORY_QUIET;
	if (!flag(entry, DIRECTORY_ORPHANED))
		grant_next(engine, entry);
	set_flag(entry, DIRECTORY_ORPHANED, false);
}

/* Row "lost": nobody has the bytes any more. */
static void refuse_all(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	while (entry->waiting_head != 0) {
		uint32_t link = waiting_pop(engine, entry);

		emit_run(engine, request_at(engine, link)->node, MSG_REFUSE, page,
			 owner_of(engine, entry));
		request_release(engine, link);
	}
}

static void mend(struct engine *engine, struct directory_entry *entry);
static bool owner_awaited(const struct engine *engine, const struct directory_entry *entry);

/* Serves what can be served now. Called after every change to the entry. */
static void pump(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	if (engine->any_down) {
		mend(engine, entry);
		if (owner_awaited(engine, entry))
			return;
	}
	if (entry->state == DIRECTORY_INVALIDATING && all_invalidated(engine, entry))
		invalidation_over(engine, entry);
	while (entry->waiting_head != 0 && entry->state == DIRECTORY_QUIET) {
		if (flag(entry, DIRECTORY_LOST)) {
			refuse_all(engine, entry, page);
			return;
		}
		if (!request_at(engine, entry->waiting_head)->write) {
			if (!serve_read(engine, entry, page))
				return;
			continue;
		}
		if (entry->granted != 0 && !MUTANT(EAGER_WRITE))
			return; /* readers are still fetching; their confirmations come first */
		serve_write(engine, entry, page);
	}
}

/* ---- messages ---- */

int directory_request(struct engine *engine, struct node_id from, const struct message_run *run,
		      bool write)
{
	uint32_t room = engine->request_limit - engine->request_count;

	if (run->page_count > room)
		return -EPROTO; /* the peer asks for more than it agreed to */
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);
		struct directory_entry *entry = entry_of(engine, page);
		uint32_t link = request_new(engine);

		*request_at(engine, link) = (struct request){
			.page = page,
			.node = from,
			.write = write,
		};
		waiting_push(engine, entry, link);
		pump(engine, entry, page);
	}
	return 0;
}

/* Row "confirm". */
static int confirmed(struct engine *engine, struct node_id from, struct page_id page)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint32_t link = granted_take(engine, entry, from);

	if (link == 0)
		return -EPROTO;
	if (request_at(engine, link)->write) {
		ASSERT(entry->state == DIRECTORY_WRITE_GRANTED);
		entry->owner = (uint16_t)(from.value + 1u);
		entry->version += !MUTANT(NO_VERSION);
		entry->spare = MUTANT(OLD_SPARE) ? entry->spare : 0;
		entry->state = DIRECTORY_QUIET;
		set_flag(entry, DIRECTORY_EXCLUSIVE, true);
	}
	request_release(engine, link);
	pump(engine, entry, page);
	return 0;
}

int directory_confirmed(struct engine *engine, struct node_id from, const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		int error = confirmed(engine, from, page_id(run->page + i));

		if (error != 0)
			return error;
	}
	return 0;
}

static bool is_granted(struct engine *engine, const struct directory_entry *entry, size_t node)
{
	for (uint32_t link = entry->granted; link != 0; link = request_at(engine, link)->next) {
		if (request_at(engine, link)->node.value == node)
			return true;
	}
	return false;
}

/*
 * The first node from `from` on that has the current bytes for certain: it holds the page and its
 * grant is confirmed. BITSET_NONE: none has.
 */
static size_t confirmed_holder(struct engine *engine, struct directory_entry *entry, size_t from)
{
	const uint64_t *holders = holders_of(entry);
	size_t node = bitset_next(holders, engine->set_words, from);

	while (node != BITSET_NONE && is_granted(engine, entry, node))
		node = bitset_next(holders, engine->set_words, node + 1);
	return node;
}

/* Another node than `failed` whose frame has the bytes for certain: the next holder, or the spare.
 */
static size_t other_source(struct engine *engine, struct directory_entry *entry,
			   struct node_id failed)
{
	size_t node = confirmed_holder(engine, entry, failed.value + 1u);

	if (node == BITSET_NONE)
		node = confirmed_holder(engine, entry, 0);
	if (node != BITSET_NONE && node != failed.value)
		return node;
	if (entry->spare != 0 && entry->spare - 1u != failed.value)
		return entry->spare - 1u;
	return BITSET_NONE;
}

/*
 * The requester has no way to `failed`, which is not known here to be lost (yet, or only that one
 * connection is broken): it reads another copy. If there is none now, but some may be confirmed
 * soon, it waits for those; else it is refused.
 */
static void fetch_elsewhere(struct engine *engine, struct directory_entry *entry, uint32_t link,
			    struct node_id failed)
{
	struct request *request = request_at(engine, link);
	struct page_id page = request->page;
	size_t source = other_source(engine, entry, failed);

	if (source != BITSET_NONE && request->tries < FETCH_TRIES_MAX && !MUTANT(HASTY_REFUSAL)) {
		request->tries++;
		grant(engine, entry, link, node_id((unsigned int)source));
	} else if (entry->granted != 0) {
		waiting_push_front(engine, entry, link);
	} else {
		emit_run(engine, request->node, MSG_REFUSE, page, failed);
		request_release(engine, link);
		pump(engine, entry, page);
	}
}

/* Row "fetch failed": the requester could not read the frame that it was told to. */
static int fetch_failed(struct engine *engine, struct node_id from, struct page_id page,
			struct node_id failed)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint32_t link = granted_take(engine, entry, from);

	if (link == 0)
		return -EPROTO;
	bitset_clear(holders_of(entry), from.value);
	if (entry->state == DIRECTORY_WRITE_GRANTED)
		entry->state = DIRECTORY_QUIET;
	set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	if (!engine_down(engine, failed)) {
		fetch_elsewhere(engine, entry, link, failed);
		return 0;
	}
	waiting_push_front(engine, entry, link);
	pump(engine, entry, page);
	return 0;
}

int directory_fetch_failed(struct engine *engine, struct node_id from,
			   const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		int error = fetch_failed(engine, from, page_id(run->page + i), node_id(run->node));

		if (error != 0)
			return error;
	}
	return 0;
}

/* Rows "invalidated" and "downgraded". */
static int recalled(struct engine *engine, struct node_id from, struct page_id page, bool downgrade)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (downgrade) {
		if (entry->state != DIRECTORY_DOWNGRADING ||
		    !node_equal(from, owner_of(engine, entry)))
			return -EPROTO;
		entry->state = DIRECTORY_QUIET;
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	} else {
		if (entry->state != DIRECTORY_INVALIDATING ||
		    !bitset_test(holders_of(entry), from.value))
			return -EPROTO;
		bitset_clear(holders_of(entry), from.value);
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
		if (!node_equal(from, owner_of(engine, entry)))
			entry->spare = (uint16_t)(from.value + 1u);
	}
	pump(engine, entry, page);
	return 0;
}

int directory_recalled(struct engine *engine, struct node_id from, const struct message_run *run,
		       bool downgrade)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		int error = recalled(engine, from, page_id(run->page + i), downgrade);

		if (error != 0)
			return error;
	}
	return 0;
}

/* ---- loss ---- */

/* Frees the requests of lost nodes in one list; true when its head was one of them. */
static bool drop_requests(struct engine *engine, uint32_t *list)
{
	bool head = true;
	bool head_dropped = false;

	while (*list != 0) {
		struct request *request = request_at(engine, *list);
		uint32_t link = *list;

		if (engine_down(engine, request->node)) {
			*list = request->next;
			request_release(engine, link);
			head_dropped |= head;
			continue;
		}
		head = false;
		list = &request->next;
	}
	return head_dropped;
}

static void waiting_find_tail(struct engine *engine, struct directory_entry *entry)
{
	uint32_t link = entry->waiting_head;

	entry->waiting_tail = 0;
	for (; link != 0; link = request_at(engine, link)->next)
		entry->waiting_tail = link;
}

/* Row "owner lost": another node takes its place, if one has the bytes. */
static void replace_owner(struct engine *engine, struct directory_entry *entry)
{
	size_t heir = confirmed_holder(engine, entry, 0);

	/* Until somebody has written it a page is this node's own. */
	ASSERT(entry->owner != 0 && entry->version != 0);
	if (heir != BITSET_NONE) {
		entry->owner = (uint16_t)(heir + 1);
	} else if (entry->spare != 0) {
		entry->owner = entry->spare;
		entry->spare = 0;
	} else if (entry->granted == 0) {
		set_flag(entry, DIRECTORY_LOST, true);
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
		set_flag(entry, DIRECTORY_ORPHANED, false);
		entry->state = DIRECTORY_QUIET;
	}
	/* else: a grant is out whose fetch may have been in time; its answer decides */
}

/* Is it open who has the page now that its owner is lost? Nothing is served until it is known. */
static bool owner_awaited(const struct engine *engine, const struct directory_entry *entry)
{
	return !flag(entry, DIRECTORY_LOST) && engine_down(engine, owner_of(engine, entry));
}

/* The requests of lost nodes go. */
static void mend_requests(struct engine *engine, struct directory_entry *entry)
{
	drop_requests(engine, &entry->granted);
	if (entry->state == DIRECTORY_WRITE_GRANTED && entry->granted == 0) {
		entry->state = DIRECTORY_QUIET; /* the old owner still has the bytes */
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	}
	if (drop_requests(engine, &entry->waiting_head) && entry->state == DIRECTORY_INVALIDATING) {
		set_flag(entry, DIRECTORY_ORPHANED, true);
		if (MUTANT(DROPPED_WRITER))
			entry->state = DIRECTORY_QUIET;
	}
	waiting_find_tail(engine, entry);
}

/* Row "peer down": makes one entry right for the nodes that are left. Idempotent. */
static void mend(struct engine *engine, struct directory_entry *entry)
{
	uint64_t *holders = holders_of(entry);

	for (size_t i = 0; i < engine->set_words; i++)
		holders[i] &= ~engine->down[i];
	if (entry->spare != 0 && engine_down(engine, node_id(entry->spare - 1u)))
		entry->spare = 0;
	mend_requests(engine, entry);
	if (!owner_awaited(engine, entry))
		return;
	if (entry->state == DIRECTORY_DOWNGRADING)
		entry->state = DIRECTORY_QUIET;
	if (entry->state != DIRECTORY_WRITE_GRANTED)
		replace_owner(engine, entry);
}

void directory_peer_down(struct engine *engine, struct node_id peer)
{
	(void)peer; /* engine->down has it, and may have others */
	engine->repair_page = 0;
	engine->repair_end = engine->region_end;
}

bool directory_repairing(const struct engine *engine)
{
	return engine->repair_page < engine->repair_end;
}

/* One slice of the walk over all pages; the rest waits for the next EV_TIMER. */
void directory_repair(struct engine *engine)
{
	for (uint32_t i = 0; i < REPAIR_PAGES && directory_repairing(engine); i++) {
		struct page_id page = page_id(engine->repair_page++);
		struct directory_entry *entry = entry_of(engine, page);

		if (entry->owner != 0 || entry->granted != 0 || entry->waiting_head != 0 ||
		    !bitset_empty(holders_of(entry), engine->set_words))
			pump(engine, entry, page);
		if (engine->out->count > COMMANDS_MAX / 2 || engine->loop_count > RUN_MAX)
			return;
	}
}

bool engine_directory_view(const struct engine *engine, struct page_id page,
			   struct directory_view *view)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint16_t manager =
		engine->config.manager == MANAGER_CENTRAL ? 0 : engine_home(engine, page);

	if (manager != engine->config.self.value)
		return false;
	*view = (struct directory_view){
		.owner = owner_of(engine, entry),
		.version = entry->version,
		.exclusive = flag(entry, DIRECTORY_EXCLUSIVE),
		.lost = flag(entry, DIRECTORY_LOST),
		.busy = entry->state != DIRECTORY_QUIET || entry->granted != 0 ||
			entry->waiting_head != 0,
		.holders = holders_of(entry),
	};
	return true;
}
