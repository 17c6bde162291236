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
 *   - OPEN: the state is QUIET, not EXCLUSIVE, not LOST; nodes may read the page through its gate,
 *     and those that have are in the sharer words, or in the copy set;
 *   - COLLECTING ends when the sharer words have been looked at; then those who are in them are
 *     recalled with the copy set, though some may have no copy (SHARED);
 *   - the old owner keeps its frame as it is until the new owner has confirmed;
 *   - a manager that moves is the owner, but where it has taken a lost one's place (recover.c); a
 *     new one serves nobody before the old one has handed the page over.
 * Requests are served first come, first served; reads next to each other in the queue run at once.
 */
#include "engine/directory.h"

/* Pages the repair after a loss looks at in one step, unless it has much to say sooner. */
#define REPAIR_PAGES 65536u

/*
 * Copies that a requester is sent to after the owner's could not be read, before it is refused. The
 * nodes it cannot reach are mostly lost, and this node is about to hear of it.
 */
#define FETCH_TRIES_MAX 32u

/* ... and a recall of all copies, to learn who has one, counts for so many. */
#define RECALL_TRIES 8u

/* ---- serving ---- */

/* Hands out a request that is in no list; the bytes are in the frame of `source`. */
static void grant(struct engine *engine, struct directory_entry *entry, uint32_t link,
		  struct node_id source)
{
	struct request *request = request_at(engine, link);

	request->next = entry->granted;
	request->held = bitset_test(holders_of(entry), request->node.value);
	entry->granted = link;
	bitset_set(holders_of(entry), request->node.value);
	if (request->write)
		entry->state = DIRECTORY_WRITE_GRANTED;
	emit_grant(engine, request->node, request->write ? MSG_WRITE_GRANT : MSG_READ_GRANT,
		   request->page, source, entry->version);
	if (MUTANT(FORGETFUL_OWNER) && request->write && home_moves(engine, request->page) &&
	    !node_equal(request->node, engine->config.self)) {
		queue_granted(engine, entry, request->node);
		handover_page(engine, entry, request->page, request->node);
	}
}

static void grant_next(struct engine *engine, struct directory_entry *entry)
{
	struct node_id source =
		MUTANT(WRONG_SOURCE) ? engine->config.self : owner_of(engine, entry);

	grant(engine, entry, queue_pop(engine, entry), source);
}

static void downgrade_owner(struct engine *engine, struct directory_entry *entry,
			    struct page_id page)
{
	entry->state = DIRECTORY_DOWNGRADING;
	emit_run(engine, owner_of(engine, entry), MSG_DOWNGRADE, page, node_id(0));
}

/* True when it was granted. */
static bool serve_read(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	struct node_id reader = request_at(engine, entry->waiting_head)->node;
	struct node_id owner = owner_of(engine, entry);

	if (flag(entry, DIRECTORY_EXCLUSIVE) && !MUTANT(READ_BESIDE_WRITE) &&
	    (!node_equal(owner, reader) || engine_updates(engine, page))) {
		ROW("read of a written page");
		downgrade_owner(engine, entry, page);
		return false;
	}
	ROW("read request");
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

/* ---- the gate ---- */

static void gate_settle(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	if (!engine_fast(engine) || flag(entry, DIRECTORY_OPEN | DIRECTORY_LOST) ||
	    entry->state != DIRECTORY_QUIET || entry->waiting_head != 0 ||
	    (flag(entry, DIRECTORY_EXCLUSIVE) && !MUTANT(OPEN_WHILE_WRITING)) ||
	    engine_updates(engine, page))
		return;
	ROW("gate opened");
	set_flag(entry, DIRECTORY_OPEN, true);
	emit_gate(engine, page,
		  engine_gate(MUTANT(GATE_AT_HOME) ? engine->config.self : owner_of(engine, entry),
			      entry->version));
}

/* Those who have come through it are looked up; the bit of `keep` stays. */
static void gate_close(struct engine *engine, struct directory_entry *entry, struct page_id page,
		       struct node_id keep)
{
	ASSERT(entry->state == DIRECTORY_QUIET);
	set_flag(entry, DIRECTORY_OPEN, false);
	entry->state = DIRECTORY_COLLECTING;
	engine->collect_count++;
	engine->stats.collections++;
	if (!MUTANT(OPEN_FOR_GOOD)) {
		if (!MUTANT(LATE_CLOSE))
			emit_gate(engine, page, 0);
	}
	emit_collect(engine, page, keep);
}

/* All who have come through the gate are recalled, for no writer. */
static void gate_recall(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	set_flag(entry, DIRECTORY_ORPHANED, true);
	gate_close(engine, entry, page, engine->config.self);
}

/* All other copies go first. */
static void serve_write(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	struct node_id writer = request_at(engine, entry->waiting_head)->node;
	const uint64_t *holders = holders_of(entry);

	if (flag(entry, DIRECTORY_OPEN)) {
		ROW("write at an open gate");
		gate_close(engine, entry, page, writer);
		return;
	}

	if (!others_hold(engine, entry, writer)) {
		ROW("lone write request");
		grant_next(engine, entry);
		return;
	}
	ROW("write request");
	entry->state = DIRECTORY_INVALIDATING;
	for (size_t node = bitset_next(holders, engine->set_words, 0); node != BITSET_NONE;
	     node = bitset_next(holders, engine->set_words, node + 1)) {
		if (node != writer.value)
			emit_run(engine, node_id((unsigned int)node), MSG_INVALIDATE, page,
				 home_moves(engine, page) ? writer : node_id(0));
	}
}

/* Copies stay, but first they all become the current version. */
static void serve_update_write(struct engine *engine, struct directory_entry *entry,
			       struct page_id page)
{
	if (flag(entry, DIRECTORY_EXCLUSIVE)) {
		ROW("update write of a written page");
		downgrade_owner(engine, entry, page);
	} else {
		ROW("update write request");
		grant_next(engine, entry);
	}
}

/* INVALIDATING: has everybody answered? */
static bool all_invalidated(struct engine *engine, struct directory_entry *entry)
{
	if (flag(entry, DIRECTORY_ORPHANED))
		return bitset_empty(holders_of(entry), engine->set_words);
	return !others_hold(engine, entry, request_at(engine, entry->waiting_head)->node);
}

/* The writer gets the page, unless it is lost. */
static void invalidation_over(struct engine *engine, struct directory_entry *entry)
{
	entry->state = DIRECTORY_QUIET;
	if (flag(entry, DIRECTORY_ORPHANED)) {
		ROW("all invalidated for nobody");
	} else {
		ROW("all invalidated");
		grant_next(engine, entry);
	}
	set_flag(entry, DIRECTORY_ORPHANED, false);
	set_flag(entry, DIRECTORY_SHARED, false);
}

/* Nobody has the bytes any more. */
static void refuse_all(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	while (entry->waiting_head != 0) {
		uint32_t link = queue_pop(engine, entry);

		ROW("lost");
		emit_run(engine, request_at(engine, link)->node, MSG_REFUSE, page,
			 owner_of(engine, entry));
		queue_release(engine, link);
	}
}

/* One that moves may have left. */
static bool manages(const struct engine *engine, struct page_id page)
{
	return !home_moves(engine, page) || home_here(engine, page);
}

/*
 * Is this the request of a node that has got the page meanwhile? Only managers that move
 * can be asked twice for the same thing.
 */
static bool stale(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	const struct request *request = request_at(engine, entry->waiting_head);

	if (!home_moves(engine, page))
		return false;
	if (node_equal(request->node, engine->config.self))
		return !page_asked(engine, page, request->write);
	return !request->write && bitset_test(holders_of(entry), request->node.value);
}

static void drop_stale(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	while (entry->waiting_head != 0 && stale(engine, entry, page)) {
		ROW("stale");
		queue_release(engine, queue_pop(engine, entry));
	}
}

static void mend(struct engine *engine, struct directory_entry *entry, struct page_id page);
static void mend_elsewhere(struct engine *engine, struct directory_entry *entry,
			   struct page_id page);
static bool owner_awaited(const struct engine *engine, const struct directory_entry *entry);

void directory_pump(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	if (!manages(engine, page)) {
		if (engine->any_down)
			mend_elsewhere(engine, entry, page);
		return;
	}
	if (engine->any_down) {
		mend(engine, entry, page);
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
		drop_stale(engine, entry, page);
		if (entry->waiting_head == 0)
			return;
		if (!request_at(engine, entry->waiting_head)->write) {
			if (!serve_read(engine, entry, page))
				return;
			continue;
		}
		if (entry->granted != 0 && !MUTANT(EAGER_WRITE)) {
			ROW("write behind reads");
			return; /* readers are still fetching; their confirmations come first */
		}
		if (engine_updates(engine, page))
			serve_update_write(engine, entry, page);
		else
			serve_write(engine, entry, page);
	}
	gate_settle(engine, entry, page);
}

/* ---- messages ---- */

static void take(struct engine *engine, const struct message_request *request, struct page_id page,
		 bool write)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint32_t link = queue_new(engine);

	*request_at(engine, link) = (struct request){
		.page = page,
		.node = node_id(request->node),
		.write = write,
		.hops = request->hops,
		.tag = request->tag,
	};
	queue_push(engine, entry, link);
	directory_pump(engine, entry, page);
}

int directory_request(struct engine *engine, struct node_id from,
		      const struct message_request *request, bool write)
{
	(void)from;
	if (request->page_count > engine->request_limit - engine->request_count)
		return -EPROTO; /* the peer asks for more than it agreed to */
	for (uint32_t i = 0; i < request->page_count; i++)
		take(engine, request, page_id(request->page + i), write);
	return 0;
}

/* A request that waits already has a new name from now on. */
static bool renewed(struct engine *engine, struct directory_entry *entry,
		    const struct message_request *request, bool write)
{
	uint32_t link = entry->waiting_head;

	for (; link != 0; link = request_at(engine, link)->next) {
		struct request *old = request_at(engine, link);

		if (old->node.value == request->node && old->write == write) {
			ROW("asked twice");
			old->tag = request->tag;
			return true;
		}
	}
	return false;
}

bool directory_take(struct engine *engine, const struct message_request *request,
		    struct page_id page, bool write)
{
	struct directory_entry *entry = entry_of(engine, page);
	bool twice = engine->any_down || engine->config.manager == MANAGER_BROADCAST;

	if (twice && renewed(engine, entry, request, write))
		return true;
	if (engine->request_count == engine->request_limit)
		return false;
	if (write && request->hops > engine->stats.hops_max)
		engine->stats.hops_max = request->hops;
	take(engine, request, page, write);
	return true;
}

/* ---- messages: answers to grants and recalls ---- */

static int confirmed(struct engine *engine, struct node_id from, struct page_id page)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint32_t link = manages(engine, page) ? queue_granted(engine, entry, from) : 0;

	if (link == 0)
		return -EPROTO;
	bool write = request_at(engine, link)->write;

	queue_release(engine, link);
	if (write && home_moves(engine, page) && !node_equal(from, engine->config.self)) {
		handover_page(engine, entry, page, from);
		return 0;
	}
	if (!write) {
		ROW("read confirmed");
		evict_read_confirmed(engine, entry, page, from);
	} else {
		ROW("write confirmed");
		ASSERT(entry->state == DIRECTORY_WRITE_GRANTED);
		entry->owner = (uint16_t)(from.value + 1u);
		entry->version += !MUTANT(NO_VERSION);
		entry->spare = MUTANT(OLD_SPARE) ? entry->spare : 0;
		entry->state = DIRECTORY_QUIET;
		set_flag(entry, DIRECTORY_EXCLUSIVE, true);
		set_flag(entry, DIRECTORY_RETURNING, false);
	}
	if (!MUTANT(UNSERVED_QUEUE))
		directory_pump(engine, entry, page);
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

/* The grant was for a request that is served already. */
static int declined(struct engine *engine, struct node_id from, struct page_id page)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint32_t link = manages(engine, page) ? queue_granted(engine, entry, from) : 0;

	if (link == 0)
		return -EPROTO;
	ROW("decline");
	if (!request_at(engine, link)->held)
		bitset_clear(holders_of(entry), from.value);
	if (request_at(engine, link)->write)
		entry->state = DIRECTORY_QUIET;
	queue_release(engine, link);
	directory_pump(engine, entry, page);
	return 0;
}

int directory_declined(struct engine *engine, struct node_id from, const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		int error = declined(engine, from, page_id(run->page + i));

		if (error != 0)
			return error;
	}
	return 0;
}

bool directory_is_granted(struct engine *engine, const struct directory_entry *entry, size_t node)
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

	while (node != BITSET_NONE && directory_is_granted(engine, entry, node) &&
	       !MUTANT(HASTY_HEIR))
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
		ROW("another copy");
		request->tries++;
		set_flag(entry, DIRECTORY_MIXED, true);
		grant(engine, entry, link, node_id((unsigned int)source));
	} else if (entry->granted != 0) {
		ROW("another copy later");
		queue_push_front(engine, entry, link);
	} else if (flag(entry, DIRECTORY_OPEN) && request->tries < FETCH_TRIES_MAX) {
		ROW("another copy wanted");
		/* Others may have copies that this node does not know of. */
		request->tries += RECALL_TRIES;
		queue_push_front(engine, entry, link);
		gate_recall(engine, entry, page);
	} else {
		ROW("no other copy");
		emit_run(engine, request->node, MSG_REFUSE, page, failed);
		queue_release(engine, link);
		directory_pump(engine, entry, page);
	}
}

/* The requester could not read the frame that it was told to. */
static int fetch_failed(struct engine *engine, struct node_id from, struct page_id page,
			struct node_id failed)
{
	struct directory_entry *entry = entry_of(engine, page);
	uint32_t link = manages(engine, page) ? queue_granted(engine, entry, from) : 0;

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
	ROW("fetch failed");
	queue_push_front(engine, entry, link);
	directory_pump(engine, entry, page);
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

/* A writer may stop by itself; only publication.c invalidates. */
static int stopped_under_update(struct engine *engine, struct node_id from, struct page_id page,
				bool downgrade)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (!downgrade)
		return publication_dropped(engine, from, page);
	if (!flag(entry, DIRECTORY_EXCLUSIVE) || !node_equal(from, owner_of(engine, entry)))
		return -EPROTO;
	publication_begin(engine, entry, page);
	directory_pump(engine, entry, page);
	return 0;
}

/* `empty`: there was no copy to give up. */
static int recalled(struct engine *engine, struct node_id from, struct page_id page, bool downgrade,
		    bool empty)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (engine_updates(engine, page))
		return stopped_under_update(engine, from, page, downgrade);
	if (downgrade) {
		if (entry->state != DIRECTORY_DOWNGRADING ||
		    !node_equal(from, owner_of(engine, entry)))
			return -EPROTO;
		ROW("downgraded");
		entry->state = DIRECTORY_QUIET;
		set_flag(entry, DIRECTORY_EXCLUSIVE, MUTANT(ENDLESS_DOWNGRADE));
	} else {
		if (entry->state != DIRECTORY_INVALIDATING ||
		    !bitset_test(holders_of(entry), from.value))
			return -EPROTO;
		ROW("invalidated");
		bitset_clear(holders_of(entry), from.value);
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
		if (!node_equal(from, owner_of(engine, entry)) && (!empty || MUTANT(EMPTY_HEIR)))
			entry->spare = (uint16_t)(from.value + 1u);
	}
	directory_pump(engine, entry, page);
	return 0;
}

int directory_recalled(struct engine *engine, struct node_id from, const struct message_run *run,
		       bool downgrade)
{
	bool empty = !downgrade && (run->flags & RUN_EMPTY) != 0;

	for (uint32_t i = 0; i < run->page_count; i++) {
		int error = recalled(engine, from, page_id(run->page + i), downgrade, empty);

		if (error != 0)
			return error;
	}
	return 0;
}

/* Tells all of the copy set, but for a writer that lives, to give up their copies. */
static void recall_all(struct engine *engine, struct directory_entry *entry,
		       const struct event *event)
{
	const uint64_t *holders = holders_of(entry);
	bool orphaned = flag(entry, DIRECTORY_ORPHANED);
	size_t writer =
		orphaned ? BITSET_NONE : request_at(engine, entry->waiting_head)->node.value;

	for (size_t node = bitset_next(holders, engine->set_words, 0); node != BITSET_NONE;
	     node = bitset_next(holders, engine->set_words, node + 1)) {
		bool cleared = bitset_test(event->collected.sharers, node) &&
			       node != event->collected.keep.value && !MUTANT(SILENT_CLEAR);

		if (node != writer)
			emit_flagged_run(engine, node_id((unsigned int)node), MSG_INVALIDATE,
					 event->collected.page, node_id(0),
					 cleared ? RUN_CLEARED : 0);
	}
}

/* The bits of a word that stand for nodes: what others have written is not trusted. */
static uint64_t nodes_of(const struct engine *engine, size_t word)
{
	unsigned int in_last = engine->config.node_count % 64;

	if (word + 1 < engine->set_words || in_last == 0)
		return UINT64_MAX;
	return (UINT64_C(1) << in_last) - 1;
}

void directory_collected(struct engine *engine, const struct event *event)
{
	struct page_id page = event->collected.page;
	struct directory_entry *entry = entry_of(engine, page);
	uint64_t *holders = holders_of(entry);

	ASSERT(entry->state == DIRECTORY_COLLECTING && engine->collect_count > 0);
	ROW("collected");
	engine->collect_count--;
	if (MUTANT(LATE_CLOSE))
		emit_gate(engine, page, 0);
	for (size_t i = 0; i < engine->set_words; i++)
		holders[i] |= event->collected.sharers[i] & ~engine->down[i] & nodes_of(engine, i);
	if (owner_awaited(engine, entry))
		set_flag(entry, DIRECTORY_ORPHANED, true);
	set_flag(entry, DIRECTORY_SHARED, true);
	entry->state = DIRECTORY_INVALIDATING;
	recall_all(engine, entry, event);
	directory_pump(engine, entry, page);
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
			ROW("requester lost");
			*list = request->next;
			queue_release(engine, link);
			head_dropped |= head;
			continue;
		}
		head = false;
		list = &request->next;
	}
	return head_dropped;
}

/* Another node takes its place, if one has the bytes. */
static void replace_owner(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	size_t heir = confirmed_holder(engine, entry, 0);

	/* A page is this node's own until another has written it, or is found to have it. */
	ASSERT(entry->owner != 0);
	if (heir != BITSET_NONE) {
		ROW("owner lost");
		entry->owner = (uint16_t)(heir + 1);
	} else if (entry->spare != 0) {
		ROW("owner lost beside a spare");
		entry->owner = entry->spare;
		entry->spare = 0;
	} else if (entry->granted == 0 && flag(entry, DIRECTORY_OPEN) &&
		   !MUTANT(FORGOTTEN_SHARERS)) {
		ROW("owner lost behind an open gate");
		gate_recall(engine, entry, page);
		return;
	} else if (entry->granted == 0) {
		ROW("page lost");
		if (MUTANT(FORGOTTEN_SHARERS) && flag(entry, DIRECTORY_OPEN)) {
			set_flag(entry, DIRECTORY_OPEN, false);
			emit_gate(engine, page, 0);
		}
		set_flag(entry, DIRECTORY_LOST, true);
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
		set_flag(entry, DIRECTORY_ORPHANED, false);
		entry->state = DIRECTORY_QUIET;
	} else {
		/* A grant is out whose fetch may have been in time; its answer decides. */
		ROW("owner awaited");
	}
	if (flag(entry, DIRECTORY_OPEN) && !owner_awaited(engine, entry) && !MUTANT(OLD_GATE))
		emit_gate(engine, page, engine_gate(owner_of(engine, entry), entry->version));
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
	if (entry->state == DIRECTORY_WRITE_GRANTED && entry->granted == 0 &&
	    !MUTANT(VOID_STANDS)) {
		ROW("void grant");
		entry->state = DIRECTORY_QUIET; /* the old owner still has the bytes */
		set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	}
	bool recalls =
		entry->state == DIRECTORY_INVALIDATING || entry->state == DIRECTORY_COLLECTING;

	if (drop_requests(engine, &entry->waiting_head) && recalls) {
		ROW("writer of an invalidation lost");
		set_flag(entry, DIRECTORY_ORPHANED, true);
		if (MUTANT(DROPPED_WRITER))
			entry->state = DIRECTORY_QUIET;
	}
	queue_find_tail(engine, entry);
}

/*
 * The owner is lost: once the sharers of a page are known, their answers tell which of them has the
 * bytes; the writer is one of those asked. True until all have answered.
 */
static bool sharers_awaited(struct engine *engine, struct directory_entry *entry,
			    struct page_id page)
{
	if (entry->state == DIRECTORY_COLLECTING)
		return true;
	if (entry->state != DIRECTORY_INVALIDATING || !flag(entry, DIRECTORY_SHARED))
		return false;
	if (!flag(entry, DIRECTORY_ORPHANED)) {
		struct node_id writer = request_at(engine, entry->waiting_head)->node;

		ROW("owner lost after a collection");
		set_flag(entry, DIRECTORY_ORPHANED, true);
		if (bitset_test(holders_of(entry), writer.value))
			emit_run(engine, writer, MSG_INVALIDATE, page, node_id(0));
	}
	if (!bitset_empty(holders_of(entry), engine->set_words))
		return true;
	invalidation_over(engine, entry);
	return false;
}

/* The lost leave the copy set. */
static void mend_holders(struct engine *engine, struct directory_entry *entry)
{
	uint64_t *holders = holders_of(entry);

	for (size_t i = 0; i < engine->set_words; i++) {
		if ((holders[i] & engine->down[i]) == 0 || MUTANT(LOST_HOLDER))
			continue;
		ROW("holder lost");
		holders[i] &= ~engine->down[i];
	}
}

/* Makes one entry right for the nodes that are left. Idempotent. */
static void mend(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	mend_holders(engine, entry);
	if (entry->spare != 0 && engine_down(engine, node_id(entry->spare - 1u)))
		entry->spare = 0;
	mend_requests(engine, entry);
	if (engine_updates(engine, page))
		publication_mend(engine, entry, page);
	if (!owner_awaited(engine, entry) || entry->state == DIRECTORY_UPDATING)
		return;
	if (sharers_awaited(engine, entry, page))
		return;
	if (entry->state == DIRECTORY_DOWNGRADING)
		entry->state = DIRECTORY_QUIET;
	if (entry->state != DIRECTORY_WRITE_GRANTED)
		replace_owner(engine, entry, page);
}

/* The same where this node is not the manager (yet): only requests can wait here. */
static void mend_elsewhere(struct engine *engine, struct directory_entry *entry,
			   struct page_id page)
{
	mend_requests(engine, entry);
	handover_send_back(engine, page);
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

		handover_settle(engine, page);
		if (entry->owner != 0 || entry->granted != 0 || entry->waiting_head != 0 ||
		    !bitset_empty(holders_of(entry), engine->set_words))
			directory_pump(engine, entry, page);
		if (engine->out->count > COMMANDS_MAX / 2 || engine->loop_count > RUN_MAX)
			return;
	}
}

bool engine_directory_view(const struct engine *engine, struct page_id page,
			   struct directory_view *view)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (engine_hint(engine, page) != engine->config.self.value)
		return false;
	*view = (struct directory_view){
		.owner = owner_of(engine, entry),
		.version = entry->version,
		.exclusive = flag(entry, DIRECTORY_EXCLUSIVE),
		.lost = flag(entry, DIRECTORY_LOST),
		.busy = entry->state != DIRECTORY_QUIET || entry->granted != 0 ||
			entry->waiting_head != 0,
		.open = flag(entry, DIRECTORY_OPEN),
		.holders = holders_of(entry),
	};
	return true;
}
