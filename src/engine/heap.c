/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared heap in units of 256 KiB, kept by node 0; and the way home for small blocks that were
 * freed far from the superblock they came from.
 *
 * A free unit is fresh (never given out, so that its home can still be chosen) or used (its home
 * stays what it was; it waits in the group of that home). A request for a placement is served by
 * used units that have it, else by fresh ones, else by any; among each, by the first run that is
 * long enough from where the last search ended.
 *
 * What a lost node had allocated stays allocated: other nodes may still use it. Units whose home is
 * lost are not given out any more.
 */
#include "engine/internal.h"

#define UNIT_NONE UINT64_MAX

/* Where a freed block goes when no node has the superblock. */
#define NOBODY UINT16_MAX

struct extent {
	uint32_t unit_count; /* of the extent that starts here; 0: none does */
	uint16_t owner;	     /* of a superblock, the node that allocates blocks from it, + 1 */
	uint16_t group;	     /* of a free, used unit */
};

/* What a search takes. A group is a home's node id, or node_count: used, but nobody touched it. */
enum taste {
	TASTE_GROUP, /* used units of one group */
	TASTE_DEALT, /* used units whose home is the one that dealing round would give */
	TASTE_FRESH,
	TASTE_ANY,
};

struct heap_state {
	uint64_t *owned; /* bit: this node allocates blocks from the unit */
	/* From here on at node 0. */
	uint64_t *fresh;
	uint64_t *used;
	struct extent *extents;	       /* a unit */
	uint64_t *group_counts;	       /* used units in each group */
	uint64_t *group_hints;	       /* where the next search of the group begins */
	uint64_t hints[TASTE_ANY + 1]; /* those of the other tastes */
	uint64_t fresh_count;
	uint64_t used_count;
	uint64_t dealt_count; /* used ones that TASTE_DEALT takes */
};

/* ---- memory ---- */

static size_t aligned(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t bitmap_bytes(const struct engine_config *config)
{
	return aligned(8 * bitset_words(config->page_limit / UNIT_PAGES));
}

static size_t group_bytes(const struct engine_config *config)
{
	return aligned(sizeof(uint64_t) * (config->node_count + 1));
}

static size_t extent_bytes(const struct engine_config *config)
{
	return aligned(sizeof(struct extent) * (config->page_limit / UNIT_PAGES));
}

size_t heap_bytes(const struct engine_config *config)
{
	size_t bytes = aligned(sizeof(struct heap_state)) + bitmap_bytes(config);

	if (config->self.value == 0)
		bytes += 2 * bitmap_bytes(config) + 2 * group_bytes(config) + extent_bytes(config);
	return bytes;
}

void heap_init(struct engine *engine, void *memory)
{
	const struct engine_config *config = &engine->config;
	struct heap_state *heap = memory;
	unsigned char *at = (unsigned char *)memory + aligned(sizeof(*heap));

	engine->heap = heap;
	heap->owned = (void *)at;
	if (config->self.value != 0)
		return;
	heap->fresh = (void *)(at += bitmap_bytes(config));
	heap->used = (void *)(at += bitmap_bytes(config));
	heap->group_counts = (void *)(at += bitmap_bytes(config));
	heap->group_hints = (void *)(at += group_bytes(config));
	heap->extents = (void *)(at + group_bytes(config));
}

/* ---- searching ---- */

struct search {
	const struct engine *engine;
	enum taste taste;
	uint16_t group;
	bool cached; /* word `index` is `word` */
	size_t index;
	uint64_t word;
};

static uint16_t group_dealt(const struct engine *engine, uint64_t unit)
{
	return (uint16_t)(unit % engine->config.node_count);
}

static bool group_lost(const struct engine *engine, uint16_t group)
{
	return group < engine->config.node_count && engine_down(engine, node_id(group));
}

/* Is the used unit to the search's taste? */
static bool used_suits(const struct search *search, uint64_t unit)
{
	uint16_t group = search->engine->heap->extents[unit].group;

	if (search->taste == TASTE_GROUP && group != search->group)
		return false;
	if (search->taste == TASTE_DEALT && group != group_dealt(search->engine, unit))
		return false;
	return !group_lost(search->engine, group);
}

/* Of the 64 units from index * 64 on: which may be taken? */
static uint64_t search_word(struct search *search, size_t index)
{
	const struct heap_state *heap = search->engine->heap;
	uint64_t used = search->taste == TASTE_FRESH ? 0 : heap->used[index];
	uint64_t word = search->taste >= TASTE_FRESH ? heap->fresh[index] : 0;

	if (search->cached && search->index == index)
		return search->word;
	if (search->taste == TASTE_ANY && !search->engine->any_down) {
		word |= used;
		used = 0;
	}
	for (; used != 0; used &= used - 1) {
		unsigned int bit = (unsigned int)__builtin_ctzll(used);

		if (used_suits(search, index * 64 + bit))
			word |= UINT64_C(1) << bit;
	}
	search->cached = true;
	search->index = index;
	search->word = word;
	return word;
}

/* The first unit in [from, to) that may (`wanted`) or may not be taken; else `to`. */
static uint64_t search_next(struct search *search, uint64_t from, uint64_t to, bool wanted)
{
	while (from < to) {
		uint64_t word = search_word(search, from / 64);

		if (!wanted)
			word = ~word;
		word &= ~UINT64_C(0) << (from % 64);
		if (word != 0) {
			uint64_t unit = from / 64 * 64 + (uint64_t)__builtin_ctzll(word);

			return unit < to ? unit : to;
		}
		from = from / 64 * 64 + 64;
	}
	return to;
}

/* The first of `unit_count` units in a row within [from, to), or UNIT_NONE. */
static uint64_t search_run(struct search *search, uint64_t from, uint64_t to, uint64_t unit_count)
{
	for (;;) {
		uint64_t first = search_next(search, from, to, true);

		if (to - first < unit_count)
			return UNIT_NONE;
		from = search_next(search, first, first + unit_count, false);
		if (from == first + unit_count)
			return first;
	}
}

/* Units that there are of the taste, or more. */
static uint64_t search_stock(const struct search *search)
{
	const struct heap_state *heap = search->engine->heap;

	switch (search->taste) {
	case TASTE_GROUP:
		return heap->group_counts[search->group];
	case TASTE_DEALT:
		return heap->dealt_count;
	case TASTE_FRESH:
		return heap->fresh_count;
	case TASTE_ANY:
		break;
	}
	return heap->fresh_count + heap->used_count;
}

static uint64_t find(struct engine *engine, enum taste taste, uint16_t group, uint64_t unit_count)
{
	struct heap_state *heap = engine->heap;
	struct search search = { .engine = engine, .taste = taste, .group = group };
	uint64_t *hint = taste == TASTE_GROUP ? &heap->group_hints[group] : &heap->hints[taste];

	if (search_stock(&search) < unit_count)
		return UNIT_NONE;
	uint64_t first = search_run(&search, *hint, engine->unit_limit, unit_count);

	if (first == UNIT_NONE) {
		/* What begins before the hint may end after it. */
		uint64_t to = *hint + unit_count - 1;

		if (to > engine->unit_limit)
			to = engine->unit_limit;
		first = search_run(&search, 0, to, unit_count);
	}
	if (first != UNIT_NONE)
		*hint = first + unit_count;
	return first;
}

/* ---- taking and giving back ---- */

static uint64_t find_placed(struct engine *engine, uint16_t placement, uint64_t unit_count)
{
	uint16_t untouched = (uint16_t)engine->config.node_count;
	uint64_t first;

	if (placement == PLACE_CYCLIC)
		first = find(engine, TASTE_DEALT, 0, unit_count);
	else if (placement == PLACE_FIRST_TOUCH)
		first = find(engine, TASTE_GROUP, untouched, unit_count);
	else
		first = find(engine, TASTE_GROUP, placement, unit_count);
	if (first == UNIT_NONE)
		first = find(engine, TASTE_FRESH, 0, unit_count);
	if (first == UNIT_NONE)
		first = find(engine, TASTE_ANY, 0, unit_count);
	return first;
}

static void unit_take(struct engine *engine, uint64_t unit)
{
	struct heap_state *heap = engine->heap;
	uint16_t group = heap->extents[unit].group;

	if (bitset_test(heap->fresh, unit)) {
		bitset_clear(heap->fresh, unit);
		heap->fresh_count--;
		return;
	}
	ASSERT(bitset_test(heap->used, unit) && heap->group_counts[group] > 0);
	bitset_clear(heap->used, unit);
	heap->used_count--;
	heap->group_counts[group]--;
	if (group == group_dealt(engine, unit))
		heap->dealt_count--;
}

static void unit_give(struct engine *engine, uint64_t unit)
{
	struct heap_state *heap = engine->heap;
	struct node_id home = node_id(engine->config.node_count);

	ASSERT(!bitset_test(heap->fresh, unit) && !bitset_test(heap->used, unit));
	home_decided(engine, unit, &home);
	bitset_set(heap->used, unit);
	heap->used_count++;
	heap->extents[unit].group = home.value;
	heap->group_counts[home.value]++;
	if (home.value == group_dealt(engine, unit))
		heap->dealt_count++;
}

/* A home that is not decided yet is decided now, or how it will be. `asker` stands in for the lost.
 */
static void unit_place(struct engine *engine, uint64_t unit, uint16_t placement,
		       struct node_id asker)
{
	struct node_id home;

	if (home_decided(engine, unit, &home))
		return;
	if (placement == PLACE_FIRST_TOUCH)
		home_assign_later(engine, unit, UNIT_FIRST_TOUCH);
	else if (placement != PLACE_CYCLIC)
		home_assign(engine, unit, node_id(placement));
	else if (group_lost(engine, group_dealt(engine, unit)))
		home_assign(engine, unit, asker);
	else
		home_assign_later(engine, unit, UNIT_CYCLIC);
}

int heap_request(struct engine *engine, struct node_id from,
		 const struct message_heap_request *request)
{
	uint16_t placement = request->placement;

	if (engine->config.self.value != 0)
		return -EPROTO;
	if (group_lost(engine, placement))
		placement = from.value;
	uint64_t first = find_placed(engine, placement, request->unit_count);

	if (first == UNIT_NONE) {
		call_reply(engine, from, request->slot, -ENOMEM, 0);
		return 0;
	}
	for (uint64_t unit = first; unit < first + request->unit_count; unit++) {
		unit_take(engine, unit);
		unit_place(engine, unit, placement, from);
	}
	engine->heap->extents[first].unit_count = (uint32_t)request->unit_count;
	engine->heap->extents[first].owner = request->slab ? (uint16_t)(from.value + 1u) : 0;
	call_reply(engine, from, request->slot, 0, first);
	return 0;
}

/* Exactly what was given out comes back; superblocks never do. */
int heap_release(struct engine *engine, struct node_id from,
		 const struct message_heap_release *release)
{
	if (engine->config.self.value != 0)
		return -EPROTO;
	ASSERT(release->unit < engine->unit_limit);
	struct extent *extent = &engine->heap->extents[release->unit];

	if (extent->unit_count == 0 || extent->unit_count != release->unit_count ||
	    extent->owner != 0) {
		call_reply(engine, from, release->slot, -EINVAL, 0);
		return 0;
	}
	extent->unit_count = 0;
	for (uint64_t unit = release->unit; unit < release->unit + release->unit_count; unit++)
		unit_give(engine, unit);
	call_reply(engine, from, release->slot, 0, 0);
	return 0;
}

static void unit_open(struct engine *engine, uint64_t unit, bool allocatable)
{
	struct heap_state *heap = engine->heap;
	struct node_id home;

	if (!allocatable) {
		home_assign_later(engine, unit, UNIT_CYCLIC);
	} else if (home_decided(engine, unit, &home)) {
		unit_give(engine, unit);
	} else {
		bitset_set(heap->fresh, unit);
		heap->fresh_count++;
	}
}

/* Units that a heap region has only a part of are not allocated from. */
void heap_region(struct engine *engine, const struct event *event)
{
	uint64_t first = event->region.run.page.value;
	uint64_t end = first + event->region.run.page_count;

	ASSERT(end <= engine->config.page_limit);
	if (engine->config.self.value != 0)
		return;
	for (uint64_t unit = first / UNIT_PAGES; unit * UNIT_PAGES < end; unit++) {
		bool whole = unit * UNIT_PAGES >= first && (unit + 1) * UNIT_PAGES <= end;

		unit_open(engine, unit, event->region.heap && whole);
	}
}

/* ---- blocks freed far from their superblock ---- */

static void emit_free(struct engine *engine, uint64_t offset, uint32_t size_class, int status)
{
	ASSERT(engine->out->count < COMMANDS_MAX);
	struct command *command = &engine->out->list[engine->out->count++];

	command->kind = CMD_FREE;
	command->peer = engine->config.self;
	command->status = status;
	command->free.offset = offset;
	command->free.size_class = size_class;
}

/*
 * Node 0 knows every superblock's owner; another node guesses (a superblock's home is mostly its
 * owner), and a node that was guessed wrong asks node 0.
 */
static uint16_t route(const struct engine *engine, uint64_t unit, bool guess)
{
	const struct heap_state *heap = engine->heap;
	uint16_t self = engine->config.self.value;
	uint16_t home = engine->units[unit].home;

	if (bitset_test(heap->owned, unit))
		return self;
	if (self == 0)
		return heap->extents[unit].owner ? (uint16_t)(heap->extents[unit].owner - 1u)
						 : NOBODY;
	if (guess && home != 0 && home - 1u != self && !engine_down(engine, node_id(home - 1u)))
		return (uint16_t)(home - 1u);
	return 0;
}

static void frees_send(struct engine *engine, uint16_t to, const struct message_heap_free *frees,
		       const uint16_t *routes)
{
	struct message message = { .kind = MSG_HEAP_FREE };
	struct message_heap_free *part = &message.heap_free;

	for (uint32_t i = 0; i < frees->block_count; i++) {
		if (routes[i] == to)
			part->blocks[part->block_count++] = frees->blocks[i];
	}
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, node_id(to), &message);
}

static bool routed_before(const uint16_t *routes, uint32_t index)
{
	for (uint32_t i = 0; i < index; i++) {
		if (routes[i] == routes[index])
			return true;
	}
	return false;
}

/* Each block goes a step on its way; one message for all blocks that go the same way. */
static void frees_route(struct engine *engine, const struct message_heap_free *frees, bool guess)
{
	uint16_t routes[FREES_MAX];

	ASSERT(frees->block_count >= 1 && frees->block_count <= FREES_MAX);
	for (uint32_t i = 0; i < frees->block_count; i++) {
		uint64_t offset = frees->blocks[i].offset;
		uint32_t size_class = frees->blocks[i].size_class;

		routes[i] = route(engine, offset / UNIT_BYTES, guess);
		if (routes[i] == NOBODY)
			emit_free(engine, offset, size_class, -EINVAL);
		else if (routes[i] == engine->config.self.value)
			emit_free(engine, offset, size_class, 0);
	}
	for (uint32_t i = 0; i < frees->block_count; i++) {
		if (routes[i] != NOBODY && routes[i] != engine->config.self.value &&
		    !routed_before(routes, i))
			frees_send(engine, routes[i], frees, routes);
	}
}

/* Node 0 sends blocks only to their owner: it told this node so before, on the same connection. */
int heap_free(struct engine *engine, struct node_id from, const struct message_heap_free *frees)
{
	for (uint32_t i = 0; i < frees->block_count; i++) {
		uint64_t unit = frees->blocks[i].offset / UNIT_BYTES;

		if (from.value == 0 && !bitset_test(engine->heap->owned, unit))
			return -EPROTO;
	}
	frees_route(engine, frees, false);
	return 0;
}

/* ---- at the node that asks ---- */

int heap_granted(struct engine *engine, const struct call *call, uint64_t unit)
{
	if (unit >= engine->unit_limit || call->unit_count > engine->unit_limit - unit)
		return -EPROTO;
	engine->stats.heap_units += call->unit_count;
	if (call->superblock)
		bitset_set(engine->heap->owned, unit);
	return 0;
}

static bool placement_valid(const struct engine *engine, const struct event *event)
{
	uint16_t placement = event->heap.placement;

	return placement < engine->config.node_count || placement == PLACE_CYCLIC ||
	       placement == PLACE_FIRST_TOUCH;
}

/* What node 0 need not be asked: 0, or the error that the call ends with. */
static int units_check(const struct engine *engine, const struct event *event)
{
	bool release = event->kind == EV_HEAP_RELEASE;
	uint64_t first = release ? event->heap.unit : 0;

	if (event->heap.unit_count == 0 || (!release && !placement_valid(engine, event)))
		return -EINVAL;
	if (first >= engine->unit_limit || event->heap.unit_count > engine->unit_limit - first)
		return release ? -EINVAL : -ENOMEM;
	return engine_down(engine, node_id(0)) ? -EHOSTDOWN : 0;
}

static void alloc_send(struct engine *engine, const struct event *event, uint32_t slot)
{
	struct message message = { .kind = MSG_HEAP_REQUEST };

	ASSERT(!event->heap.slab || event->heap.unit_count == 1);
	engine->calls[slot].unit_count = (uint32_t)event->heap.unit_count;
	engine->calls[slot].superblock = event->heap.slab;
	message.heap_request = (struct message_heap_request){
		.unit_count = event->heap.unit_count,
		.slot = slot,
		.placement = event->heap.placement,
		.slab = event->heap.slab,
	};
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, node_id(0), &message);
}

static void release_send(struct engine *engine, const struct event *event, uint32_t slot)
{
	struct message message = { .kind = MSG_HEAP_RELEASE };

	message.heap_release = (struct message_heap_release){
		.unit = event->heap.unit,
		.unit_count = event->heap.unit_count,
		.slot = slot,
	};
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, node_id(0), &message);
}

int heap_event(struct engine *engine, const struct event *event)
{
	if (event->kind == EV_HEAP_FREE) {
		frees_route(engine, event->frees, true);
		return 0;
	}
	int error = units_check(engine, event);

	if (error != 0) {
		emit_complete(engine, event->token, error, 0);
		return 0;
	}
	uint32_t slot = call_open(engine, node_id(0), event->token);

	if (slot == UINT32_MAX)
		return -EAGAIN;
	if (event->kind == EV_HEAP_ALLOC)
		alloc_send(engine, event, slot);
	else
		release_send(engine, event, slot);
	return 0;
}
