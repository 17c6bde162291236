/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's memory as a canonical byte string, and back. Canonical: what cannot matter is left
 * out or made the same (statistics, free lists, which slot of a table a request has, the clock), so
 * that engines that will behave alike have one string. Nodes may be renamed on the way.
 *
 * The clock stands at MODEL_NOW_US. What is to come later (the end of a page's hold time, a
 * deferral that is due) keeps its order, but not its distance: instants are renumbered 1, 2, ...
 * microseconds from now after each step, and time passes by one. So "time passes until the next
 * thing is due" is a choice of its own, whatever the real distances would be.
 *
 * That nothing is forgotten here is checked by image_differs() and by trace_walks().
 */
#include "model.h"

#include <stdlib.h>
#include <sys/mman.h>

/* ---- codec ---- */

uint64_t code(struct codec *codec, uint64_t value)
{
	const unsigned char long_value = 254;
	const unsigned char none = 255;

	ASSERT(codec->at + 9 <= codec->end);
	if (!codec->reading) {
		*codec->at++ = value < long_value      ? (unsigned char)value
			       : value == VERSION_NONE ? none
						       : long_value;
		if (codec->at[-1] == long_value) {
			memcpy(codec->at, &value, sizeof(value));
			codec->at += sizeof(value);
		}
		return value;
	}
	unsigned char first = *codec->at++;

	if (first != long_value)
		return first == none ? VERSION_NONE : first;
	memcpy(&value, codec->at, sizeof(value));
	codec->at += sizeof(value);
	return value;
}

unsigned int code_node(struct codec *codec, unsigned int node)
{
	if (codec->reading)
		return (unsigned int)code(codec, 0);
	code(codec, codec->rename[node]);
	return node;
}

/* Node id + 1, or 0. */
static unsigned int code_maybe_node(struct codec *codec, unsigned int link)
{
	if (codec->reading)
		return (unsigned int)code(codec, 0);
	code(codec, link == 0 ? 0 : codec->rename[link - 1] + 1u);
	return link;
}

uint64_t code_nodes(struct codec *codec, uint64_t bits)
{
	uint64_t renamed = 0;

	if (codec->reading)
		return code(codec, 0);
	for (unsigned int i = 0; i < MODEL_NODES; i++)
		renamed |= (bits >> i & 1) << codec->rename[i];
	code(codec, renamed);
	return bits;
}

bool image_gate_open(uint64_t gate)
{
	return gate != 0;
}

struct node_id image_gate_owner(uint64_t gate)
{
	return node_id((unsigned int)(gate >> 48 & 0x7fff));
}

uint64_t image_gate_version(uint64_t gate)
{
	ASSERT(engine_gate(image_gate_owner(gate), gate & VERSION_NONE) == gate);
	return gate & VERSION_NONE;
}

uint64_t code_gate(struct codec *codec, uint64_t gate)
{
	bool open = code(codec, image_gate_open(gate)) != 0;

	if (!open)
		return 0;
	unsigned int owner = code_node(codec, codec->reading ? 0 : image_gate_owner(gate).value);
	uint64_t version = code(codec, codec->reading ? 0 : image_gate_version(gate));

	return engine_gate(node_id(owner), version);
}

static void check(struct codec *codec, bool holds, const char *rule)
{
	if (!holds && codec->broken == NULL)
		codec->broken = rule;
}

/* ---- arenas ---- */

struct part {
	void *at;
	size_t bytes;
};

#define PARTS 8u

/* What an engine has besides lists of requests and deferrals, its loop, and pins. */
static void arena_parts(const struct arena *arena, struct part parts[PARTS])
{
	struct engine *engine = arena->engine;
	const struct engine_config *config = &engine->config;

	parts[0] = (struct part){ engine, offsetof(struct engine, pin) };
	parts[1] = (struct part){ engine->pages, config->page_limit * sizeof(*engine->pages) };
	parts[2] =
		(struct part){ engine->directory, config->page_limit * engine->directory_stride };
	parts[3] = (struct part){ engine->units, engine->unit_limit * sizeof(*engine->units) };
	parts[4] = (struct part){ engine->calls, config->calls * sizeof(*engine->calls) };
	parts[5] = (struct part){ engine->sync, sync_bytes(config) };
	parts[6] = (struct part){ engine->heap, heap_bytes(config) };
	parts[7] = (struct part){ engine->seeks, 0 };
	if (engine->seeks != NULL)
		parts[7].bytes = config->page_limit * sizeof(*engine->seeks);
}

void arena_open(struct arena *arena, const struct plan *plan, unsigned int node)
{
	uint64_t end = plan->world->first_page + plan->page_count;
	const struct engine_config config = {
		.self = node_id(node),
		.node_count = plan->node_count,
		.page_limit = (end + UNIT_PAGES - 1) / UNIT_PAGES * UNIT_PAGES,
		.manager = plan->manager,
		.hold_ns = plan->world->hold ? MODEL_HOLD_US * 1000 : 0,
		.page_requests = UNIT_PAGES,
		.sync_objects = 2,
		.calls = 2,
		.fast_read = plan->world->fast,
	};

	arena->memory_bytes = engine_bytes(&config);
	ASSERT(arena->memory_bytes > 0);
	arena->memory = mmap(NULL, arena->memory_bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT(arena->memory != MAP_FAILED);
	arena->engine = engine_init(arena->memory, &config);
	arena->saved = NULL;
}

void arena_save(struct arena *arena)
{
	struct part parts[PARTS];
	size_t bytes = 0;

	arena_parts(arena, parts);
	for (unsigned int i = 0; i < PARTS; i++)
		bytes += parts[i].bytes;
	arena->saved = malloc(bytes);
	ASSERT(arena->saved != NULL);
	unsigned char *at = arena->saved;

	for (unsigned int i = 0; i < PARTS; i++) {
		if (parts[i].bytes > 0)
			memcpy(at, parts[i].at, parts[i].bytes);
		at += parts[i].bytes;
	}
}

void arena_reset(struct arena *arena)
{
	const unsigned char *at = arena->saved;
	struct part parts[PARTS];

	arena_parts(arena, parts);
	for (unsigned int i = 0; i < PARTS; i++) {
		if (parts[i].bytes > 0)
			memcpy(parts[i].at, at, parts[i].bytes);
		at += parts[i].bytes;
	}
}

void arena_close(struct arena *arena)
{
	munmap(arena->memory, arena->memory_bytes);
	free(arena->saved);
}

/* ---- time ---- */

static uint64_t rank_of(uint64_t instant_us)
{
	return instant_us > MODEL_NOW_US ? instant_us - MODEL_NOW_US : 0;
}

/* Pages whose hold time is over say so in one way. */
static void forget_past(const struct plan *plan, struct engine *engine)
{
	for (unsigned int i = 0; i < plan->page_count; i++) {
		struct page_entry *entry = &engine->pages[plan_page(plan, i).value];

		if (engine->config.hold_ns == 0 || rank_of(entry->held_until) == 0)
			entry->held_until = 0;
	}
	for (uint32_t i = 0; i < engine->deferral_count; i++) {
		struct deferral *deferral =
			&engine->deferrals[(engine->deferral_head + i) % DEFERRALS_MAX];

		if (deferral->due_ns < MODEL_NOW_US * 1000)
			deferral->due_ns = MODEL_NOW_US * 1000;
	}
	if (engine->retry_first == engine->retry_end)
		engine->retry_first = engine->retry_end = engine->retry_due_ns = 0;
	else if (engine->retry_due_ns < MODEL_NOW_US * 1000)
		engine->retry_due_ns = MODEL_NOW_US * 1000;
}

/* What managers that move keep of a search or census that is over. */
static void forget_searches(const struct plan *plan, struct engine *engine)
{
	for (unsigned int i = 0; i < plan->page_count && engine->seeks != NULL; i++) {
		struct page_id page = plan_page(plan, i);
		struct seek *seek = &engine->seeks[page.value];

		if (!page_asked(engine, page, false) && !page_asked(engine, page, true))
			seek->tag = 0;
		if (seek->census_missing == 0) {
			seek->census_tag = 0;
			seek->census_version = 0;
		}
	}
	if (engine->seek_page >= engine->seek_end)
		engine->seek_page = engine->seek_end = 0;
	if (engine->repair_page >= engine->repair_end)
		engine->repair_page = engine->repair_end = 0;
	engine->tag_used = false;
}

/* The earliest instant after `after`; UINT64_MAX: none. */
static uint64_t instant_after(const struct plan *plan, const struct engine *engine, uint64_t after)
{
	uint64_t next = UINT64_MAX;

	for (unsigned int i = 0; i < plan->page_count; i++) {
		uint64_t until = engine->pages[plan_page(plan, i).value].held_until;

		if (until > after && until < next)
			next = until;
	}
	for (uint32_t i = 0; i < engine->deferral_count; i++) {
		uint64_t due =
			engine->deferrals[(engine->deferral_head + i) % DEFERRALS_MAX].due_ns /
			1000;

		if (due > after && due < next)
			next = due;
	}
	uint64_t retry = engine->retry_due_ns / 1000;

	return retry > after && retry < next ? retry : next;
}

/* Whatever is at the instant `from` is at `to`. */
static void instant_move(const struct plan *plan, struct engine *engine, uint64_t from, uint64_t to)
{
	for (unsigned int i = 0; i < plan->page_count; i++) {
		struct page_entry *entry = &engine->pages[plan_page(plan, i).value];

		if (entry->held_until == from)
			entry->held_until = (uint32_t)to;
	}
	for (uint32_t i = 0; i < engine->deferral_count; i++) {
		struct deferral *deferral =
			&engine->deferrals[(engine->deferral_head + i) % DEFERRALS_MAX];

		if (deferral->due_ns == from * 1000)
			deferral->due_ns = to * 1000;
	}
	if (engine->retry_due_ns == from * 1000)
		engine->retry_due_ns = to * 1000;
}

static void renumber_instants(const struct plan *plan, struct engine *engine)
{
	uint64_t to = MODEL_NOW_US;

	forget_past(plan, engine);
	for (uint64_t at = instant_after(plan, engine, to); at != UINT64_MAX;
	     at = instant_after(plan, engine, at))
		instant_move(plan, engine, at, ++to);
	ASSERT(to - MODEL_NOW_US < MODEL_HOLD_US);
}

bool image_time_can_pass(const struct plan *plan, const struct engine *engine)
{
	return instant_after(plan, engine, MODEL_NOW_US) != UINT64_MAX;
}

void image_time_pass(const struct plan *plan, struct engine *engine)
{
	uint64_t at = MODEL_NOW_US;

	while ((at = instant_after(plan, engine, at)) != UINT64_MAX)
		instant_move(plan, engine, at, at - 1);
}

/* ---- requests ---- */

static struct request *request_at(struct engine *engine, uint32_t link)
{
	return &engine->requests[link - 1];
}

static uint32_t request_add(struct engine *engine)
{
	return ++engine->request_fresh;
}

/* One request; `link` of what was there, or of the new one. */
static uint32_t code_request(struct codec *codec, struct engine *engine, struct page_id page,
			     uint32_t link)
{
	if (codec->reading) {
		link = request_add(engine);
		*request_at(engine, link) = (struct request){ .page = page };
	}
	struct request *request = request_at(engine, link);

	codec->requests++;
	request->node = node_id(code_node(codec, request->node.value));
	request->write = code(codec, request->write) != 0;
	request->tries = (uint8_t)code(codec, request->tries);
	request->held = code(codec, request->held) != 0;
	request->tag = (uint32_t)code(codec, request->tag);
	/* More hops than there are nodes are too many, however many more. */
	if (request->hops > engine->config.node_count)
		request->hops = (uint16_t)engine->config.node_count;
	request->hops = (uint16_t)code(codec, request->hops);
	check(codec, page_equal(request->page, page), "a request is in another page's list");
	return link;
}

static unsigned int list_length(struct codec *codec, struct engine *engine, uint32_t head)
{
	unsigned int length = 0;

	for (uint32_t link = head; link != 0 && length <= engine->request_fresh; length++) {
		check(codec, link <= engine->request_fresh, "a list leads out of its table");
		link = link <= engine->request_fresh ? request_at(engine, link)->next : 0;
	}
	check(codec, length <= engine->request_fresh, "a list of requests is a ring");
	return codec->broken != NULL ? 0 : length;
}

/* The order of the granted ones does not matter: by node, as renamed. */
static void sort_links(struct codec *codec, struct engine *engine, uint32_t *links,
		       unsigned int count)
{
	for (unsigned int i = 1; i < count; i++) {
		for (unsigned int j = i; j > 0; j--) {
			uint8_t a = codec->rename[request_at(engine, links[j - 1])->node.value];
			uint8_t b = codec->rename[request_at(engine, links[j])->node.value];

			if (a <= b)
				break;
			uint32_t link = links[j];

			links[j] = links[j - 1];
			links[j - 1] = link;
		}
	}
}

#define LIST_MAX 16u

/* Returns the head; sets `tail` when reading. */
static uint32_t code_list(struct codec *codec, struct engine *engine, struct page_id page,
			  uint32_t head, bool sorted, uint32_t *tail)
{
	uint32_t links[LIST_MAX];
	unsigned int count = codec->reading ? 0 : list_length(codec, engine, head);
	uint32_t last = 0;

	count = (unsigned int)code(codec, count);
	ASSERT(count <= LIST_MAX);
	for (unsigned int i = 0; i < count && !codec->reading; i++) {
		links[i] = i == 0 ? head : request_at(engine, links[i - 1])->next;
		last = links[i];
	}
	if (sorted && !codec->reading)
		sort_links(codec, engine, links, count);
	for (unsigned int i = 0; i < count; i++) {
		uint32_t link = code_request(codec, engine, page, codec->reading ? 0 : links[i]);

		if (!codec->reading)
			continue;
		if (last == 0)
			head = link;
		else
			request_at(engine, last)->next = link;
		last = link;
	}
	*tail = last;
	return head;
}

/* ---- pages ---- */

static void code_page(struct codec *codec, struct page_entry *entry)
{
	uint64_t rank = code(codec, rank_of(entry->held_until));

	entry->held_until = rank == 0 ? 0 : (uint32_t)(MODEL_NOW_US + rank);
	entry->version = code(codec, entry->version) & VERSION_NONE;
	entry->hint = code_maybe_node(codec, entry->hint) & 0xffffu;
	entry->peer = (uint16_t)code_maybe_node(codec, entry->peer);
	entry->state = code(codec, entry->state) & 3u;
	entry->pending = code(codec, entry->pending) & 15u;
	entry->guess = code(codec, entry->guess) & 1u;
	entry->leave = code(codec, entry->leave) & 3u;
	entry->recall_downgrade = code(codec, entry->recall_downgrade) & 1u;
	entry->shared = code(codec, entry->shared) & 1u;
	entry->adding = code(codec, entry->adding) & 1u;
	entry->waited = code(codec, entry->waited) & 1u;
	entry->turned = code(codec, entry->turned) & 1u;
}

static void code_seek(struct codec *codec, struct seek *seek)
{
	seek->tag = (uint32_t)code(codec, seek->tag);
	seek->missing = (uint16_t)code(codec, seek->missing);
	seek->phase = (uint8_t)code(codec, seek->phase);
	seek->census_flags = (uint8_t)code(codec, seek->census_flags);
	seek->census_tag = (uint32_t)code(codec, seek->census_tag);
	seek->census_missing = (uint16_t)code(codec, seek->census_missing);
	seek->census_losses = (uint16_t)code(codec, seek->census_losses);
	seek->census_version = code(codec, seek->census_version);
}

static void code_directory(struct codec *codec, struct engine *engine, struct page_id page)
{
	struct directory_entry *entry =
		(struct directory_entry *)(engine->directory +
					   page.value * engine->directory_stride);
	uint64_t *holders = (uint64_t *)(entry + 1);
	uint32_t tail;

	entry->version = code(codec, entry->version) & 0xffffffffffff;
	entry->spare = (uint16_t)code_maybe_node(codec, entry->spare);
	entry->owner = (uint16_t)code_maybe_node(codec, entry->owner);
	entry->state = (uint8_t)code(codec, entry->state);
	entry->flags = (uint8_t)code(codec, entry->flags);
	*holders = code_nodes(codec, *holders);
	/* At a manager to be, what was handed over: its order matters. */
	bool grants = engine_hint(engine, page) == engine->config.self.value;

	entry->granted = code_list(codec, engine, page, entry->granted, grants, &tail);
	entry->waiting_head = code_list(codec, engine, page, entry->waiting_head, false, &tail);
	check(codec, codec->reading || entry->waiting_tail == tail,
	      "the tail of a queue is not its last request");
	entry->waiting_tail = tail;
}

static void code_deferrals(struct codec *codec, struct engine *engine)
{
	engine->deferral_count = (uint32_t)code(codec, engine->deferral_count);
	for (uint32_t i = 0; i < engine->deferral_count; i++) {
		uint32_t slot = (engine->deferral_head + i) % DEFERRALS_MAX;
		struct deferral *deferral = &engine->deferrals[slot];

		deferral->page = page_id(code(codec, deferral->page.value));
		deferral->manager = node_id(code_node(codec, deferral->manager.value));
		deferral->downgrade = code(codec, deferral->downgrade) != 0;
		uint64_t rank = code(codec, rank_of(deferral->due_ns / 1000));

		deferral->due_ns = (MODEL_NOW_US + rank) * 1000;
	}
}

/* All requests are in lists or free. */
static void check_requests(struct codec *codec, struct engine *engine)
{
	unsigned int free_count = list_length(codec, engine, engine->request_free);

	check(codec, codec->requests == engine->request_count, "a request is in no list");
	check(codec, engine->request_count + free_count == engine->request_fresh,
	      "a request is neither in use nor free");
}

static void code_pages(struct codec *codec, const struct plan *plan, struct engine *engine)
{
	for (unsigned int i = 0; i < plan->page_count; i++) {
		struct page_id page = plan_page(plan, i);

		code_page(codec, &engine->pages[page.value]);
		code_directory(codec, engine, page);
		if (engine->seeks != NULL)
			code_seek(codec, &engine->seeks[page.value]);
	}
	engine->pending_count = (uint32_t)code(codec, engine->pending_count);
	engine->waited_count = (uint32_t)code(codec, engine->waited_count);
	engine->pager_count = (uint32_t)code(codec, engine->pager_count);
	engine->collect_count = (uint32_t)code(codec, engine->collect_count);
	engine->leave_count = (uint32_t)code(codec, engine->leave_count);
	if (!codec->reading)
		check_requests(codec, engine);
	engine->request_count = (uint32_t)code(codec, engine->request_count);
	code_deferrals(codec, engine);
}

static void code_homes(struct codec *codec, struct engine *engine)
{
	for (uint64_t i = 0; i < engine->unit_limit; i++) {
		struct unit_entry *unit = &engine->units[i];

		unit->home = (uint16_t)code_maybe_node(codec, unit->home);
		unit->queried = (uint8_t)code(codec, unit->queried);
	}
	check(codec, engine->home_waiter_count == 0, "the model asks for no home");
}

/* ---- calls and objects ---- */

static void code_calls(struct codec *codec, const struct plan *plan, struct engine *engine)
{
	engine->call_fresh = (uint32_t)code(codec, engine->call_fresh);
	engine->call_free = (uint32_t)code(codec, engine->call_free);
	engine->call_count = (uint32_t)code(codec, engine->call_count);
	for (uint32_t i = 0; i < engine->call_fresh; i++) {
		struct call *call = &engine->calls[i];

		call->token.value = code(codec, call->token.value);
		if (call->token.value != 0)
			call->peer = node_id(code_node(codec, call->peer.value));
		else if (codec->reading)
			call->peer = node_id(0);
		call->next_free = (uint32_t)code(codec, call->next_free);
		call->lock = code(codec, call->lock) != 0;
		call->lock_thread = (uint32_t)code(codec, call->lock_thread);
		if (codec->reading && call->lock)
			call->lock_name = plan->lock;
	}
}

static struct seat *seat_at(struct sync_state *sync, uint32_t link)
{
	return &sync->seats[link - 1];
}

static uint32_t code_seat(struct codec *codec, struct sync_state *sync, uint32_t link)
{
	if (codec->reading) {
		link = ++sync->seat_fresh;
		*seat_at(sync, link) = (struct seat){ .next = 0 };
	}
	struct seat *seat = seat_at(sync, link);

	seat->slot = (uint32_t)code(codec, seat->slot);
	seat->thread = (uint32_t)code(codec, seat->thread);
	seat->node = (uint16_t)code_node(codec, seat->node);
	seat->wish = (uint16_t)code(codec, seat->wish);
	return link;
}

/* Seats are few; those of a queue or of the readers, in their order. Returns the head. */
static uint32_t code_seats(struct codec *codec, struct sync_state *sync, uint32_t head,
			   uint32_t *tail)
{
	uint32_t link = head;
	uint32_t last = 0;

	for (;;) {
		bool more = code(codec, link != 0) != 0;

		if (!more)
			break;
		link = code_seat(codec, sync, link);
		if (codec->reading && last == 0)
			head = link;
		else if (codec->reading)
			seat_at(sync, last)->next = link;
		last = link;
		link = seat_at(sync, link)->next;
	}
	*tail = last;
	return head;
}

static void code_object(struct codec *codec, struct sync_state *sync, struct sync_object *object)
{
	uint32_t tail;

	object->wait_head = code_seats(codec, sync, object->wait_head, &tail);
	check(codec, codec->reading || object->wait_tail == tail,
	      "the tail of a queue is not its last seat");
	object->wait_tail = tail;
	object->wait_count = (uint32_t)code(codec, object->wait_count);
	object->hasty_count = (uint32_t)code(codec, object->hasty_count);
	object->readers = code_seats(codec, sync, object->readers, &tail);
	object->value = (uint32_t)code(codec, object->value);
	object->owner_dead = code(codec, object->owner_dead) != 0;
	object->held = code(codec, object->held) != 0;
	object->recalled = object->held && code(codec, object->recalled) != 0;
	object->certain = object->held && code(codec, object->certain) != 0;
	object->holder_thread = object->held ? (uint32_t)code(codec, object->holder_thread) : 0;
	object->holder_node = object->held ? (uint16_t)code_node(codec, object->holder_node) : 0;
}

/* The objects themselves were made before the first state and stay. */
static void code_sync(struct codec *codec, struct engine *engine)
{
	struct sync_state *sync = engine->sync;

	if (codec->reading) {
		sync->seat_free = 0;
		sync->seat_fresh = 0;
	}
	for (uint32_t i = 0; i < sync->object_fresh; i++)
		code_object(codec, sync, &sync->objects[i]);
	sync->waiting_count = (uint32_t)code(codec, sync->waiting_count);
	sync->reading_count = (uint32_t)code(codec, sync->reading_count);
}

/* There is one lock, whose name is the same in all states. */
static void code_kept(struct codec *codec, const struct plan *plan, struct engine *engine)
{
	const uint64_t flags = (UINT64_C(1) << 24) - 1;
	_Atomic uint64_t *words = engine->sync->kept[0].words;
	uint64_t word = code(codec, words[0] & flags);

	check(codec, engine->sync->kept_count == 1 && words[1] == 0, "one lock is kept once");
	check(codec, codec->reading || word == 0 || words[0] >> 24 == plan->lock,
	      "a word names the lock");
	words[0] = word == 0 ? 0 : plan->lock << 24 | word;
}

/* ---- the whole ---- */

static void code_losses(struct codec *codec, struct engine *engine)
{
	engine->down[0] = code_nodes(codec, engine->down[0]);
	engine->any_down = code(codec, engine->any_down) != 0;
	if (engine->any_down)
		engine->last_down = node_id(code_node(codec, engine->last_down.value));
	engine->repair_page = code(codec, engine->repair_page);
	engine->repair_end = code(codec, engine->repair_end);
}

/* As a list by node, in the order of the new names. */
static void code_heard(struct codec *codec, struct engine *engine)
{
	for (unsigned int i = 0; i < engine->config.node_count; i++) {
		unsigned int node = i;

		for (unsigned int j = 0; j < engine->config.node_count && !codec->reading; j++)
			node = codec->rename[j] == i ? j : node;
		engine->heard[node] = (uint16_t)code(codec, engine->heard[node]);
	}
}

static void code_searches(struct codec *codec, struct engine *engine)
{
	uint64_t rank = code(codec, rank_of(engine->retry_due_ns / 1000));

	engine->tag = (uint32_t)code(codec, engine->tag);
	engine->rumour_count = (uint32_t)code(codec, engine->rumour_count);
	engine->seek_page = code(codec, engine->seek_page);
	engine->seek_end = code(codec, engine->seek_end);
	engine->retry_first = code(codec, engine->retry_first);
	engine->retry_end = code(codec, engine->retry_end);
	engine->retry_due_ns =
		engine->retry_first == engine->retry_end ? 0 : (MODEL_NOW_US + rank) * 1000;
	engine->rumoured[0] = code_nodes(codec, engine->rumoured[0]);
	engine->loss_count = (uint16_t)code(codec, engine->loss_count);
	engine->seek_all = code(codec, engine->seek_all) != 0;
	code_heard(codec, engine);
}

void image_code(struct codec *codec, const struct plan *plan, struct engine *engine)
{
	if (codec->reading) {
		engine->request_fresh = 0;
		engine->request_free = 0;
		engine->deferral_head = 0;
	} else {
		renumber_instants(plan, engine);
		forget_searches(plan, engine);
	}
	code_pages(codec, plan, engine);
	code_homes(codec, engine);
	code_calls(codec, plan, engine);
	code_sync(codec, engine);
	code_kept(codec, plan, engine);
	code_losses(codec, engine);
	if (engine->seeks != NULL)
		code_searches(codec, engine);
	check(codec, engine->pin.fresh == 0 && engine->pin.waiter_count == 0,
	      "the model pins nothing");
	check(codec, engine->update.ticket == 0 && engine->update.waiter_count == 0,
	      "the model has nothing under write-update");
}

static struct directory_entry *directory_at(struct engine *engine, struct page_id page)
{
	return (struct directory_entry *)(engine->directory +
					  page.value * engine->directory_stride);
}

/* Versions of a page. The directory's means something at the manager, and as certain knowledge. */
unsigned int image_versions(const struct plan *plan, struct engine *engine, unsigned int page,
			    uint64_t versions[3])
{
	struct page_id id = plan_page(plan, page);
	const struct directory_entry *entry = directory_at(engine, id);
	struct directory_view view;
	unsigned int count = 0;

	versions[count++] = engine->pages[id.value].version;
	if (engine_directory_view(engine, id, &view) || entry->owner != 0)
		versions[count++] = entry->version;
	if (engine->seeks != NULL && engine->seeks[id.value].census_missing > 0)
		versions[count++] = engine->seeks[id.value].census_version;
	return count;
}

void image_renumber_versions(const struct plan *plan, struct engine *engine, unsigned int page,
			     const struct renumbering *all)
{
	struct page_id id = plan_page(plan, page);
	struct directory_entry *entry = directory_at(engine, id);
	uint64_t versions[3];
	unsigned int count = image_versions(plan, engine, page, versions);
	struct page_entry *own = &engine->pages[id.value];

	own->version = renumbered(all, own->version) & VERSION_NONE;
	if (count > 1)
		entry->version = renumbered(all, entry->version) & VERSION_NONE;
	if (engine->seeks != NULL)
		engine->seeks[id.value].census_version =
			renumbered(all, engine->seeks[id.value].census_version);
}

static void renumber_list(struct engine *engine, uint32_t link, unsigned int owner,
			  const struct renumbering *all)
{
	for (; link != 0; link = request_at(engine, link)->next) {
		struct request *request = request_at(engine, link);

		if (request->node.value == owner)
			request->tag = (uint32_t)renumbered(all, request->tag);
	}
}

void image_renumber_tags(const struct plan *plan, struct engine *engine, unsigned int owner,
			 const struct renumbering *all)
{
	for (unsigned int i = 0; i < plan->page_count; i++) {
		struct page_id page = plan_page(plan, i);
		const struct directory_entry *entry = directory_at(engine, page);
		struct seek *seek = &engine->seeks[page.value];

		renumber_list(engine, entry->granted, owner, all);
		renumber_list(engine, entry->waiting_head, owner, all);
		if (engine->config.self.value == owner) {
			seek->tag = (uint32_t)renumbered(all, seek->tag);
			seek->census_tag = (uint32_t)renumbered(all, seek->census_tag);
		}
	}
	if (engine->config.self.value == owner)
		engine->tag = (uint32_t)all->highest;
}

/* ---- is anything left out? ---- */

/* What images leave out on purpose is made the same in copies of the parts of two engines. */
static void blank_engine(struct engine *engine)
{
	memset(&engine->config, 0, sizeof(engine->config)); /* never changes, and has gaps */
	memset(&engine->stats, 0, sizeof(engine->stats));
	engine->now_ns = 0;
	engine->out = NULL;
	engine->loop_head = 0;
	engine->deferral_head = 0;
	engine->request_free = 0;
	engine->request_fresh = 0;
	memset(&engine->round, 0, sizeof(engine->round)); /* of one step */
}

static void blank_directory(const struct engine *engine, unsigned char *directory)
{
	for (uint64_t i = 0; i < engine->config.page_limit; i++) {
		struct directory_entry *entry = (void *)(directory + i * engine->directory_stride);

		entry->granted = entry->granted != 0;
		entry->waiting_head = entry->waiting_head != 0;
		entry->waiting_tail = entry->waiting_tail != 0;
	}
}

static void blank_calls(const struct engine *engine, struct call *calls)
{
	for (uint32_t i = 0; i < engine->config.calls; i++) {
		if (calls[i].token.value == 0)
			calls[i] = (struct call){ .next_free = calls[i].next_free };
	}
}

/* Seats are compared by the strings alone. */
static void blank_sync(const struct engine *engine, unsigned char *copy)
{
	const unsigned char *real = (const unsigned char *)engine->sync;
	struct sync_state *sync = (void *)copy;
	size_t objects_at = (size_t)((unsigned char *)sync->objects - real);
	size_t seats_at = (size_t)((unsigned char *)sync->seats - real);

	for (uint32_t i = 0; i < sync->object_fresh; i++) {
		struct sync_object *object = (struct sync_object *)(copy + objects_at) + i;

		object->wait_head = object->wait_head != 0;
		object->wait_tail = object->wait_tail != 0;
		object->readers = object->readers != 0;
	}
	sync->seat_free = 0;
	sync->seat_fresh = 0;
	memset(copy + seats_at, 0, sync_bytes(&engine->config) - seats_at);
}

static unsigned char *part_copy(const struct arena *arena, unsigned int index, size_t *bytes)
{
	struct part parts[PARTS];

	arena_parts(arena, parts);
	unsigned char *copy = malloc(parts[index].bytes + 1);

	ASSERT(copy != NULL);
	if (parts[index].bytes > 0)
		memcpy(copy, parts[index].at, parts[index].bytes);
	*bytes = parts[index].bytes;
	if (index == 0)
		blank_engine((struct engine *)(void *)copy);
	else if (index == 2)
		blank_directory(arena->engine, copy);
	else if (index == 4)
		blank_calls(arena->engine, (struct call *)(void *)copy);
	else if (index == 5)
		blank_sync(arena->engine, copy);
	return copy;
}

/* The same word, or a pointer to the same place of its own arena. */
static bool same_word(const struct arena *a, const struct arena *b, uint64_t ours, uint64_t theirs)
{
	uint64_t our_place = ours - (uint64_t)(uintptr_t)a->memory;
	uint64_t their_place = theirs - (uint64_t)(uintptr_t)b->memory;

	return ours == theirs || (our_place == their_place && our_place < a->memory_bytes);
}

static bool same_part(const struct arena *a, const struct arena *b, unsigned int index)
{
	size_t bytes;
	unsigned char *ours = part_copy(a, index, &bytes);
	unsigned char *theirs = part_copy(b, index, &bytes);
	bool same = true;

	for (size_t i = 0; i < bytes; i += 8) {
		size_t count = bytes - i < 8 ? bytes - i : 8;
		uint64_t words[2] = { 0, 0 };

		memcpy(&words[0], ours + i, count);
		memcpy(&words[1], theirs + i, count);
		same &= same_word(a, b, words[0], words[1]);
	}
	free(ours);
	free(theirs);
	return same;
}

const char *image_differs(const struct arena *a, const struct arena *b)
{
	static const char *const names[PARTS] = { "engine", "pages", "directory", "units",
						  "calls",  "sync",  "heap",	  "seeks" };

	for (unsigned int i = 0; i < PARTS; i++) {
		if (!same_part(a, b, i))
			return names[i];
	}
	return NULL;
}
