/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast reads, the reader's side (docs/protocol.md, section 16): a clean page is read at its manager
 * in one chain of one-sided operations, and no message is sent. Invariants:
 *   - this node's bit in the page's sharer words is set exactly if `shared` says so, but while a
 *     chain that adds it is under way, or the message that it was cleared;
 *   - a chain begins only for a page that is not mapped and not being recalled;
 *   - a recall that comes while a chain is under way is answered when the chain is over, and what
 *     the chain has read is not shown.
 * A gate is memory of another node: what makes no sense in it sends this node to the manager.
 */
#include "engine/internal.h"

/* A gate: open, the owner, the version; 0: closed. */
#define GATE_OPEN (UINT64_C(1) << 63)
#define GATE_OWNER_SHIFT 48u

static_assert(NODES_MAX <= 1u << 15, "an owner fits a gate");

uint64_t engine_gate(struct node_id owner, uint64_t version)
{
	return GATE_OPEN | (uint64_t)owner.value << GATE_OWNER_SHIFT | version;
}

static uint64_t gate_version(uint64_t gate)
{
	return gate & VERSION_NONE;
}

static struct node_id gate_owner(uint64_t gate)
{
	return node_id((unsigned int)((gate & ~GATE_OPEN) >> GATE_OWNER_SHIFT));
}

static struct page_entry *entry_of(struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return &engine->pages[page.value];
}

bool engine_page_shared(const struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return engine->pages[page.value].shared;
}

bool fast_possible(const struct engine *engine, struct page_id page, struct node_id manager)
{
	return engine_fast(engine) && !engine_updates(engine, page) &&
	       !node_equal(manager, engine->config.self) && !engine_down(engine, manager) &&
	       engine->pages[page.value].peer == 0;
}

void fast_ask(struct engine *engine, struct page_id page, struct node_id manager)
{
	struct page_entry *entry = entry_of(engine, page);
	ROW("fast read");
	bool add = !entry->shared || MUTANT(ADDED_TWICE);

	entry->shared = 1;
	entry->adding = add;
	page_set_pending(engine, page, PENDING_READ_FAST);
	emit_fast_read(engine, manager, page, add);
}

void fast_cleared(struct engine *engine, struct page_id page)
{
	struct page_entry *entry = entry_of(engine, page);

	entry->shared = 0;
	entry->adding = 0;
}

bool fast_recalled(struct engine *engine, struct page_id page, struct node_id manager)
{
	struct page_entry *entry = entry_of(engine, page);
	bool flies = entry->pending == PENDING_READ_FAST || entry->pending == PENDING_READ_FAR;

	if (entry->state != PAGE_INVALID || !engine_fast(engine))
		return false;
	if (!flies || MUTANT(HASTY_ANSWER)) {
		ROW("recall of a sharer without a copy");
		page_acknowledge(engine, manager, page, false, true);
		return true;
	}
	ROW("recall meets a fast read");
	entry->peer = (uint16_t)(manager.value + 1u);
	return true;
}

/* The recall is answered, and the page asked for. */
static void give_up(struct engine *engine, struct page_id page, bool empty)
{
	struct page_entry *entry = entry_of(engine, page);
	struct node_id manager = node_id(entry->peer - 1u);

	ROW("fast read recalled");
	entry->peer = 0;
	engine->stats.fast_misses++;
	page_acknowledge(engine, manager, page, false, empty);
	page_ask(engine, page, false, manager);
}

static void show(struct engine *engine, struct page_id page)
{
	if (MUTANT(MAPPED_LATE) && entry_of(engine, page)->peer != 0) {
		struct page_entry *entry = entry_of(engine, page);

		page_acknowledge(engine, node_id(entry->peer - 1u), page, false, false);
		entry->peer = 0;
	}
	engine->stats.fast_reads++;
	page_show(engine, page, PAGE_READ);
	pin_settle(engine, page, 0);
	pin_want(engine, page);
}

/* The gate was open: are the bytes here, or where are they? */
static void enter(struct engine *engine, struct page_id page, struct node_id manager, uint64_t gate)
{
	struct page_entry *entry = entry_of(engine, page);
	struct node_id owner = gate_owner(gate);

	if (entry->version == gate_version(gate)) {
		ROW("gate open, page current");
		engine->stats.pages_granted++;
		show(engine, page);
		return;
	}
	engine->stats.pages_fetched++;
	entry->version = gate & VERSION_NONE;
	if (node_equal(owner, manager)) {
		ROW("gate open");
		emit_page(engine, CMD_TAKE, page, engine->config.self);
		show(engine, page);
		return;
	}
	ROW("gate open, page elsewhere");
	page_set_pending(engine, page, PENDING_READ_FAR);
	emit_page(engine, CMD_READ, page, owner);
}

static bool gate_fits(const struct engine *engine, const struct page_entry *entry, uint64_t gate)
{
	struct node_id owner = gate_owner(gate);

	if ((gate & GATE_OPEN) == 0 || gate_version(gate) == VERSION_NONE ||
	    owner.value >= engine->config.node_count)
		return false;
	/* This node's own frame, or that of a lost one, is of use only as it is. */
	return entry->version == gate_version(gate) ||
	       (!node_equal(owner, engine->config.self) && !engine_down(engine, owner));
}

void fast_done(struct engine *engine, const struct event *event)
{
	struct page_id page = event->fast.page;
	struct page_entry *entry = entry_of(engine, page);

	if (entry->adding) {
		entry->adding = 0;
		entry->shared = event->fast.added;
	}
	if (entry->pending != PENDING_READ_FAST)
		return; /* given up when the manager was lost */
	bool fits = event->status == 0 && gate_fits(engine, entry, event->fast.gate);
	bool current = fits && entry->version == gate_version(event->fast.gate);

	if (entry->peer != 0 && !MUTANT(MAPPED_LATE)) {
		give_up(engine, page, !current);
	} else if (fits) {
		enter(engine, page, event->peer, event->fast.gate);
	} else {
		ROW("gate closed");
		engine->stats.fast_misses++;
		page_ask(engine, page, false, event->peer);
	}
}

void fast_far_done(struct engine *engine, struct page_id page, int status)
{
	struct page_entry *entry = entry_of(engine, page);
	struct node_id manager;

	if (status != 0)
		entry->version = VERSION_NONE;
	if (entry->peer != 0 && !MUTANT(MAPPED_LATE)) {
		give_up(engine, page, status != 0);
	} else if (status == 0) {
		ROW("page from elsewhere");
		show(engine, page);
	} else {
		ROW("page not had from elsewhere");
		ASSERT(home_known(engine, page, &manager));
		engine->stats.fast_misses++;
		page_ask(engine, page, false, manager);
	}
}
