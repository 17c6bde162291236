/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's memory, and the two switches: by event, and by message. A message to this node
 * itself waits in the loop and is handled before the step ends, as if it had come over the network.
 */
#include "engine/internal.h"

static size_t aligned(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t directory_stride(const struct engine_config *config)
{
	return sizeof(struct directory_entry) + 8 * bitset_words(config->node_count);
}

static bool config_valid(const struct engine_config *config)
{
	return config->node_count >= 1 && config->node_count <= NODES_MAX &&
	       config->self.value < config->node_count && config->page_limit >= UNIT_PAGES &&
	       config->page_limit <= SPACE_PAGES_MAX && config->page_limit % UNIT_PAGES == 0 &&
	       config->manager >= MANAGER_FIXED && config->manager <= MANAGER_LAST &&
	       config->page_requests >= UNIT_PAGES && config->calls >= 2 &&
	       config->calls <= LOOP_MAX / 2 && config->hold_ns <= UINT64_C(1000000000);
}

#define TABLES 12u

static bool moves(const struct engine_config *config)
{
	return config->manager == MANAGER_BROADCAST || config->manager == MANAGER_DYNAMIC;
}

/*
 * Every node's requests could wait at one node. A manager that moves may be asked for a page more
 * than once: what has no room then is sent back.
 */
static uint32_t request_limit(const struct engine_config *config)
{
	return config->node_count * config->page_requests * (moves(config) ? 2u : 1u);
}

/*
 * Lays the tables out one after another. With base NULL it only adds up; each table is 64-byte
 * aligned, and none is touched, so that fresh memory from the kernel stays unused until needed.
 */
static size_t lay_out(struct engine *engine, unsigned char *base,
		      const struct engine_config *config)
{
	size_t used = aligned(sizeof(struct engine));
	size_t units = config->page_limit / UNIT_PAGES;
	size_t at[TABLES];
	const size_t bytes[TABLES] = {
		LOOP_MAX * sizeof(struct message),
		config->page_limit * sizeof(struct page_entry),
		DEFERRALS_MAX * sizeof(struct deferral),
		config->page_limit * directory_stride(config),
		request_limit(config) * sizeof(struct request),
		units * sizeof(struct unit_entry),
		config->calls * sizeof(struct call),
		config->page_limit * sizeof(struct update_link),
		config->calls * sizeof(struct update_waiter),
		config->page_limit * 2 * 8 * bitset_words(config->node_count),
		moves(config) ? config->page_limit * sizeof(struct seek) : 0,
		sync_bytes(config),
	};

	for (unsigned int i = 0; i < TABLES; i++) {
		at[i] = used;
		used += aligned(bytes[i]);
	}
	if (base != NULL) {
		engine->loop = (void *)(base + at[0]);
		engine->pages = (void *)(base + at[1]);
		engine->deferrals = (void *)(base + at[2]);
		engine->directory = base + at[3];
		engine->requests = (void *)(base + at[4]);
		engine->units = (void *)(base + at[5]);
		engine->calls = (void *)(base + at[6]);
		engine->update.links = (void *)(base + at[7]);
		engine->update.waiters = (void *)(base + at[8]);
		engine->publications = (void *)(base + at[9]);
		engine->seeks = moves(config) ? (void *)(base + at[10]) : NULL;
		sync_init(engine, base + at[11]);
		heap_init(engine, base + used);
	}
	return used + aligned(heap_bytes(config));
}

size_t engine_bytes(const struct engine_config *config)
{
	return config_valid(config) ? lay_out(NULL, NULL, config) : 0;
}

struct engine *engine_init(void *memory, const struct engine_config *config)
{
	struct engine *engine = memory;

	ASSERT(config_valid(config) && (uintptr_t)memory % 64 == 0);
	engine->config = *config;
	engine->set_words = (unsigned int)bitset_words(config->node_count);
	engine->directory_stride = directory_stride(config);
	engine->request_limit = request_limit(config);
	engine->unit_limit = config->page_limit / UNIT_PAGES;
	lay_out(engine, memory, config);
	return engine;
}

/* ---- messages ---- */

/* Where managers move, each handler looks for itself who may say what. */
static bool run_moves(const struct engine *engine, const struct message *message)
{
	return home_moves(engine, page_id(message->run.page));
}

/* Are all pages of a run, of any kind, under one protocol? */
static bool run_alike(const struct engine *engine, const struct message_run *run)
{
	return engine_updates(engine, page_id(run->page)) ==
	       engine_updates(engine, page_id(run->page + run->page_count - 1u));
}

/* A run spans two units at most, so its ends speak for all of it. */
static bool run_managed(struct engine *engine, const struct message_run *run)
{
	return home_adopt(engine, page_id(run->page)) &&
	       home_adopt(engine, page_id(run->page + run->page_count - 1u));
}

static int take_request(struct engine *engine, struct node_id from, const struct message *message)
{
	const struct message_request *request = &message->request;

	/* It begins with the same two fields as a run. */
	if (!run_alike(engine, &message->run))
		return -EPROTO;
	if (run_moves(engine, message))
		return locate_request(engine, from, message);
	if (!run_managed(engine, &message->run) || request->node != from.value)
		return -EPROTO;
	if (request->flags & REQUEST_GUESS)
		return message->kind == MSG_READ_REQUEST ? guess_request(engine, request) : -EPROTO;
	home_touched(engine, page_id(request->page), from);
	home_touched(engine, page_id(request->page + request->page_count - 1u), from);
	return directory_request(engine, from, request, message->kind == MSG_WRITE_REQUEST);
}

static int take_manager_message(struct engine *engine, struct node_id from,
				const struct message *message)
{
	if (!run_alike(engine, &message->run) ||
	    (!run_moves(engine, message) && !run_managed(engine, &message->run)))
		return -EPROTO;
	switch ((int)message->kind) {
	case MSG_CONFIRM:
		return directory_confirmed(engine, from, &message->run);
	case MSG_FETCH_FAILED:
		return directory_fetch_failed(engine, from, &message->run);
	case MSG_INVALIDATED:
		return directory_recalled(engine, from, &message->run, false);
	case MSG_DOWNGRADED:
		return directory_recalled(engine, from, &message->run, true);
	case MSG_UPDATED:
		return publication_updated(engine, from, &message->run);
	case MSG_UPDATE_FAILED:
		return publication_failed(engine, from, &message->run);
	}
	return -EPROTO;
}

static bool run_manager_is(const struct engine *engine, uint64_t page, uint32_t page_count,
			   struct node_id from)
{
	struct node_id first;
	struct node_id last;

	return home_known(engine, page_id(page), &first) && node_equal(first, from) &&
	       home_known(engine, page_id(page + page_count - 1), &last) && node_equal(last, from);
}

static int take_holder_message(struct engine *engine, struct node_id from,
			       const struct message *message)
{
	/* A grant begins with the same two fields as a run. */
	if (!run_alike(engine, &message->run))
		return -EPROTO;
	if (!run_moves(engine, message) &&
	    !run_manager_is(engine, message->run.page, message->run.page_count, from))
		return -EPROTO;
	switch ((int)message->kind) {
	case MSG_READ_GRANT:
	case MSG_WRITE_GRANT:
		return page_granted(engine, from, message);
	case MSG_REFUSE:
		return page_refused(engine, from, &message->run);
	case MSG_NOT_NOW:
		return guess_declined(engine, from, &message->run);
	case MSG_INVALIDATE:
		return page_recalled(engine, from, &message->run, false);
	case MSG_DOWNGRADE:
		return page_recalled(engine, from, &message->run, true);
	case MSG_UPDATE:
		return update_arrived(engine, from, &message->grant);
	case MSG_PUBLISHED:
		return update_published(engine, from, &message->run);
	}
	return -EPROTO;
}

/* About managers that move. */
static int take_moving_message(struct engine *engine, struct node_id from,
			       const struct message *message)
{
	/* All but HEARD begin with a page. */
	if (!engine_moves(engine) || (message->kind != MSG_HEARD && !run_moves(engine, message)))
		return -EPROTO;
	switch ((int)message->kind) {
	case MSG_QUEUE:
		return handover_queue(engine, from, &message->queue);
	case MSG_HANDOVER:
		return handover_run(engine, from, &message->run);
	case MSG_DECLINE:
		return directory_declined(engine, from, &message->run);
	case MSG_ABSENT:
		return locate_absent(engine, from, &message->absent);
	case MSG_SEEK:
		return recover_seek(engine, from, &message->request);
	case MSG_TOLD:
		return recover_told(engine, from, &message->told);
	case MSG_HEARD:
		return recover_heard(engine, from, &message->run);
	}
	return -EPROTO;
}

static int take_message(struct engine *engine, struct node_id from, const struct message *message)
{
	switch ((enum message_kind)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
		return take_request(engine, from, message);
	case MSG_QUEUE:
	case MSG_HANDOVER:
	case MSG_DECLINE:
	case MSG_ABSENT:
	case MSG_SEEK:
	case MSG_TOLD:
	case MSG_HEARD:
		return take_moving_message(engine, from, message);
	case MSG_CONFIRM:
	case MSG_FETCH_FAILED:
	case MSG_INVALIDATED:
	case MSG_DOWNGRADED:
	case MSG_UPDATED:
	case MSG_UPDATE_FAILED:
		return take_manager_message(engine, from, message);
	case MSG_READ_GRANT:
	case MSG_WRITE_GRANT:
	case MSG_REFUSE:
	case MSG_NOT_NOW:
	case MSG_INVALIDATE:
	case MSG_DOWNGRADE:
	case MSG_UPDATE:
	case MSG_PUBLISHED:
		return take_holder_message(engine, from, message);
	case MSG_EVICT:
		return evict_asked(engine, from, &message->pages);
	case MSG_EVICTED:
	case MSG_KEPT:
		return evict_answered(engine, from, &message->pages, message->kind == MSG_EVICTED);
	case MSG_TAKE:
		return evict_take(engine, from, &message->pages);
	case MSG_HOME_QUERY:
		if (engine->config.self.value != 0)
			return -EPROTO;
		home_query(engine, from, &message->home_query);
		return 0;
	case MSG_HOME_REPLY:
		return home_reply(engine, from, &message->home_reply);
	case MSG_SYNC_REQUEST:
		return sync_request(engine, from, &message->sync_request);
	case MSG_SYNC_RECALL:
		return sync_recalled(engine, from, message->sync_recall.name);
	case MSG_HEAP_REQUEST:
		return heap_request(engine, from, &message->heap_request);
	case MSG_HEAP_RELEASE:
		return heap_release(engine, from, &message->heap_release);
	case MSG_HEAP_FREE:
		return heap_free(engine, from, &message->heap_free);
	case MSG_REPLY:
		return call_finish(engine, from, message->reply.slot, message->reply.status,
				   message->reply.value);
	case MSG_COLLECT:
		return collect_arrived(engine, from, &message->collect);
	case MSG_COLLECT_DONE:
		return collect_done(engine, from, &message->collect);
	case MSG_KEY_REQUEST:
	case MSG_KEY_REPLY:
	case MSG_GATE_REQUEST:
	case MSG_GATE_REPLY:
	case MSG_LOST:
	case MSG_KIND_END:
		break;
	}
	return -EPROTO;
}

/* What a handler said to this node itself is handled now; a broken rule there is a bug of ours. */
static void drain_loop(struct engine *engine)
{
	while (engine->loop_count > 0) {
		/* A copy: the handler may append, and a run may not grow while it is handled. */
		struct message message = engine->loop[engine->loop_head];

		engine->loop_head++;
		engine->loop_count--;
		ASSERT(take_message(engine, engine->config.self, &message) == 0);
	}
}

/* ---- events ---- */

static void peer_down(struct engine *engine, struct node_id peer)
{
	if (engine_down(engine, peer))
		return;
	bitset_set(engine->down, peer.value);
	engine->any_down = true;
	engine->last_down = peer;
	collect_peer_down(engine, peer);
	home_peer_down(engine, peer);
	call_peer_down(engine, peer);
	sync_peer_down(engine, peer);
	page_peer_down(engine, peer);
	evict_peer_down(engine, peer);
	update_peer_down(engine, peer);
	directory_peer_down(engine, peer);
	recover_peer_down(engine, peer);
}

/* A region begins at a unit, and shares its last one with no other. */
static void mark_update(struct engine *engine, const struct run *run)
{
	uint64_t end = run->page.value + run->page_count;

	for (uint64_t page = run->page.value; page < end; page += UNIT_PAGES)
		engine->units[page_unit(page_id(page))].flags |= UNIT_UPDATE;
}

static void region_opened(struct engine *engine, const struct event *event)
{
	uint64_t end = event->region.run.page.value + event->region.run.page_count;

	if (end > engine->region_end)
		engine->region_end = end;
	heap_region(engine, event);
	if (event->region.update)
		mark_update(engine, &event->region.run);
}

static int take_event(struct engine *engine, const struct event *event)
{
	switch (event->kind) {
	case EV_FAULT:
		return page_fault(engine, event);
	case EV_PREFETCH:
		return page_prefetch(engine, event);
	case EV_MESSAGE:
		if (engine_down(engine, event->peer))
			return 0;
		return take_message(engine, event->peer, event->message);
	case EV_READ_DONE:
		page_read_done(engine, event);
		return 0;
	case EV_UPDATE_DONE:
		update_done(engine, event);
		return 0;
	case EV_FAST_DONE:
		fast_done(engine, event);
		return 0;
	case EV_COLLECTED:
		directory_collected(engine, event);
		return 0;
	case EV_PAGER_DONE:
		page_pager_done(engine, event);
		return 0;
	case EV_PEER_DOWN:
		peer_down(engine, event->peer);
		return 0;
	case EV_TIMER:
		page_timer(engine);
		directory_repair(engine);
		locate_timer(engine);
		return 0;
	case EV_REGION:
		region_opened(engine, event);
		return 0;
	case EV_HOME:
		return home_event(engine, event);
	case EV_PIN:
		return pin_event(engine, event);
	case EV_PIN_CANCEL:
		pin_cancel(engine, event);
		return 0;
	case EV_UNPIN:
		pin_release(engine, event);
		return 0;
	case EV_EVICT:
		evict_event(engine, event);
		return 0;
	case EV_PUBLISH:
		return update_publish(engine, event);
	case EV_SYNC:
		return sync_event(engine, event);
	case EV_COLLECT:
		return collect_event(engine, event);
	case EV_HEAP_ALLOC:
	case EV_HEAP_RELEASE:
	case EV_HEAP_FREE:
		return heap_event(engine, event);
	}
	return -EINVAL;
}

int engine_step(struct engine *engine, const struct event *event, struct commands *commands)
{
	engine->now_ns = event->now_ns;
	engine->out = commands;
	engine->tag_used = false;
	int error = take_event(engine, event);

	drain_loop(engine);
	locate_flush(engine);
	engine->out = NULL;
	return error;
}

/* ---- reading out ---- */

uint64_t engine_timer_ns(const struct engine *engine)
{
	if (directory_repairing(engine))
		return 0;
	uint64_t page_ns = page_timer_ns(engine);
	uint64_t locate_ns = locate_timer_ns(engine);

	return page_ns < locate_ns ? page_ns : locate_ns;
}

bool engine_quiet(const struct engine *engine)
{
	return engine->pending_count == 0 && engine->deferral_count == 0 &&
	       engine->pager_count == 0 && engine->leave_count == 0 && engine->request_count == 0 &&
	       engine->call_count == 0 && engine->collect_count == 0 &&
	       engine->home_waiter_count == 0 && engine->collect.token.value == 0 &&
	       !directory_repairing(engine) && sync_quiet(engine) && pin_quiet(engine) &&
	       update_quiet(engine);
}

bool engine_threads_waiting(const struct engine *engine)
{
	return engine->waited_count > 0;
}

const struct engine_stats *engine_stats(const struct engine *engine)
{
	return &engine->stats;
}

enum page_state engine_page_state(const struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return (enum page_state)engine->pages[page.value].state;
}

uint32_t engine_leaving(const struct engine *engine)
{
	return engine->leave_count;
}

bool engine_page_missing(const struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return engine->pages[page.value].state == PAGE_INVALID &&
	       engine->pages[page.value].pending == PENDING_NONE;
}

uint64_t engine_page_version(const struct engine *engine, struct page_id page)
{
	ASSERT(page.value < engine->config.page_limit);
	return engine->pages[page.value].version;
}
