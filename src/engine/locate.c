/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a page whose manager moves with it (docs/protocol.md, section 12). A requester tries one
 * thing after another until it is granted the page:
 *   - a request along hints (dynamic): each node that is not the manager sends it on to whom it
 *     believes to be, and turns its own hint to a requester that is to write;
 *   - a round (broadcast, and where a hint has failed): all nodes are asked, the manager keeps the
 *     request, each of the others says that it is not with it, and whom it knows to have had it;
 *   - a request along that certain knowledge, which leads from each manager to a later one;
 *   - after a loss: the node that recovers pages (recover.c) is told that this one is missing.
 * Invariants:
 *   - seek.tag names the request under way; answers to an older one count for nothing;
 *   - a request is kept by the manager, by a node that is about to be it, or, along hints and while
 *     no loss is known, by a node that asks for writing; nowhere else, so that no two nodes wait
 * for each other.
 */
#include "engine/internal.h"

/* After a loss: between two tries to find a page of which nobody could say where it is. */
#define RETRY_NS UINT64_C(1000000)

/* Pages that one step looks at for another try. */
#define SEEK_PAGES 65536u

static struct seek *seek_of(struct engine *engine, struct page_id page)
{
	ASSERT(engine->seeks != NULL && page.value < engine->config.page_limit);
	return &engine->seeks[page.value];
}

static bool asked(const struct engine *engine, struct page_id page)
{
	return page_asked(engine, page, false) || page_asked(engine, page, true);
}

/* Nodes that are left, without this one. */
static uint16_t others_left(const struct engine *engine)
{
	return (uint16_t)(engine->config.node_count - 1u - engine->loss_count);
}

/* One for all that is asked in a step, so that runs form; another for one page's next request. */
uint32_t locate_tag(struct engine *engine, uint32_t other_than)
{
	if (!engine->tag_used || other_than == engine->tag) {
		engine->tag++;
		engine->tag_used = true;
	}
	return engine->tag;
}

/* ---- asking ---- */

/* The request for a page that is PENDING_*_ASKED, with a fresh tag. */
static struct message_request request_for(struct engine *engine, struct page_id page,
					  enum seek_phase phase, uint16_t answers)
{
	struct seek *seek = seek_of(engine, page);
	uint16_t home = engine_home(engine, page);

	seek->tag = locate_tag(engine, seek->tag);
	seek->phase = (uint8_t)phase;
	seek->missing = answers;
	return (struct message_request){
		.node = engine->config.self.value,
		.tag = seek->tag,
		.home = home == HOME_UNKNOWN ? 0 : (uint16_t)(home + 1u),
	};
}

static void ask_one(struct engine *engine, struct page_id page, struct node_id peer,
		    enum seek_phase phase)
{
	struct message_request request = request_for(engine, page, phase, 1);
	bool write = page_asked(engine, page, true);

	if (phase == SEEK_TRAIL)
		request.flags = REQUEST_TRAIL;
	if (phase == SEEK_RECOVER)
		request.flags = REQUEST_RECOVER;
	emit_request(engine, peer, write ? MSG_WRITE_REQUEST : MSG_READ_REQUEST, page, &request);
}

void locate_flush(struct engine *engine)
{
	struct round *round = &engine->round;
	struct message message = {
		.kind = round->write ? MSG_WRITE_REQUEST : MSG_READ_REQUEST,
		.request = {
			.page = round->page.value,
			.page_count = (uint16_t)round->page_count,
			.node = engine->config.self.value,
			.tag = round->tag,
			.home = round->home,
			.flags = REQUEST_ROUND,
		},
	};

	if (round->page_count == 0)
		return;
	message.bytes = (uint16_t)message_bytes(&message);
	for (unsigned int peer = 0; peer < engine->config.node_count; peer++) {
		if (peer != engine->config.self.value)
			emit_send(engine, node_id(peer), &message);
	}
	round->page_count = 0;
}

static bool round_joins(const struct round *round, struct page_id page, bool write,
			const struct message_request *request)
{
	return round->page_count > 0 && round->page_count < RUN_MAX &&
	       round->page.value + round->page_count == page.value && round->write == write &&
	       round->tag == request->tag && round->home == request->home;
}

static void ask_all(struct engine *engine, struct page_id page)
{
	struct message_request request = request_for(engine, page, SEEK_ROUND, others_left(engine));
	bool write = page_asked(engine, page, true);
	struct round *round = &engine->round;

	ROW("round");
	engine->stats.rounds++;
	if (round_joins(round, page, write, &request)) {
		round->page_count++;
		return;
	}
	locate_flush(engine);
	*round = (struct round){ page, 1, request.tag, request.home, write };
}

static void retry_later(struct engine *engine, struct page_id page)
{
	ROW("try later");
	seek_of(engine, page)->phase = SEEK_RETRY;
	if (engine->retry_first == engine->retry_end) {
		engine->retry_due_ns = engine->now_ns + RETRY_NS;
		engine->retry_first = page.value;
		engine->retry_end = page.value + 1;
	}
	if (page.value < engine->retry_first)
		engine->retry_first = page.value;
	if (page.value >= engine->retry_end)
		engine->retry_end = page.value + 1;
}

/* The node that recovers pages hears of it. */
static void ask_recovery(struct engine *engine, struct page_id page)
{
	struct node_id recoverer = recover_node(engine);

	ROW("missing");
	if (!node_equal(recoverer, engine->config.self)) {
		ask_one(engine, page, recoverer, SEEK_RECOVER);
		return;
	}
	recover_census(engine, page);
	if (home_here(engine, page))
		ask_one(engine, page, engine->config.self, SEEK_HINT);
	else
		retry_later(engine, page);
}

/* All who were asked have said that the request is not with them. */
static void ask_next(struct engine *engine, struct page_id page)
{
	struct seek *seek = seek_of(engine, page);
	struct message_known known = handover_known(engine, page);
	bool named = known.node != 0 && known.node - 1u != engine->config.self.value &&
		     !engine_down(engine, node_id(known.node - 1u));

	switch ((enum seek_phase)seek->phase) {
	case SEEK_HINT:
	case SEEK_TRAIL:
		ROW("nowhere");
		locate_again(engine, page);
		return;
	case SEEK_ROUND:
		if (!named) {
			ask_recovery(engine, page);
			return;
		}
		ROW("nowhere in a round");
		ask_one(engine, page, node_id(known.node - 1u), SEEK_TRAIL);
		return;
	case SEEK_RECOVER:
		retry_later(engine, page);
		return;
	case SEEK_NONE:
	case SEEK_RETRY:
		return;
	}
}

void locate_again(struct engine *engine, struct page_id page)
{
	handover_settle(engine, page);
	if (home_here(engine, page)) {
		ask_one(engine, page, engine->config.self, SEEK_HINT);
		return;
	}
	if (others_left(engine) > 0) {
		ask_all(engine, page);
		return;
	}
	seek_of(engine, page)->phase = SEEK_ROUND;
	ask_next(engine, page);
}

void locate_ask(struct engine *engine, struct page_id page)
{
	struct node_id manager;
	bool dynamic = engine->config.manager == MANAGER_DYNAMIC;

	if (dynamic && home_known(engine, page, &manager) && !engine_down(engine, manager) &&
	    !node_equal(manager, engine->config.self))
		ask_one(engine, page, manager, SEEK_HINT);
	else
		locate_again(engine, page);
}

void locate_end(struct engine *engine, struct page_id page)
{
	struct seek *seek = seek_of(engine, page);

	seek->phase = SEEK_NONE;
	seek->missing = 0;
}

int locate_absent(struct engine *engine, struct node_id from, const struct message_absent *absent)
{
	(void)from;
	for (uint32_t i = 0; i < absent->page_count; i++) {
		struct page_id page = page_id(absent->page + i);

		if (!home_moves(engine, page))
			return -EPROTO;
		struct seek *seek = seek_of(engine, page);

		handover_note(engine, page, absent->known[i]);
		if (!asked(engine, page) || seek->tag != absent->tag || seek->missing == 0)
			continue; /* it is about an older request */
		ROW("absent");
		if (--seek->missing == 0)
			ask_next(engine, page);
	}
	return 0;
}

/* ---- asked ---- */

static bool writing(const struct engine *engine, struct page_id page)
{
	enum page_pending pending = engine->pages[page.value].pending;

	return pending == PENDING_WRITE_ASKED || pending == PENDING_WRITE_FETCH;
}

/* Along certain knowledge: to whom the page is known to have gone. */
static bool trail(const struct engine *engine, struct page_id page, struct node_id *to)
{
	struct message_known known = handover_known(engine, page);

	*to = node_id(known.node == 0 ? 0 : known.node - 1u);
	return known.node != 0;
}

/* Sends the request on. False: there is nobody to send it to. */
static bool pass(struct engine *engine, const struct message_request *request, struct page_id page,
		 bool write)
{
	bool hint = (request->flags & REQUEST_TRAIL) == 0;
	struct message_request passed = *request;
	struct node_id to;

	if (hint ? !home_known(engine, page, &to) : !trail(engine, page, &to))
		return false;
	if (to.value == request->node || node_equal(to, engine->config.self) ||
	    engine_down(engine, to) || request->hops + 1u >= engine->config.node_count)
		return false;
	if (hint)
		ROW("pass");
	else
		ROW("trail");
	passed.hops++;
	engine->stats.requests_passed++;
	emit_request(engine, to, write ? MSG_WRITE_REQUEST : MSG_READ_REQUEST, page, &passed);
	if (hint && (write || MUTANT(TURNED_TO_READER))) {
		engine->pages[page.value].hint = request->node + 1u;
		engine->pages[page.value].turned = 1;
	}
	return true;
}

/* Does this node keep the request? The manager does, and who is to be it. */
static bool keeps(struct engine *engine, const struct message_request *request, struct page_id page)
{
	if (home_here(engine, page) || home_coming(engine, page))
		return true;
	return request->flags == 0 && !engine->any_down && writing(engine, page);
}

static void request_arrived(struct engine *engine, const struct message_request *request,
			    struct page_id page, bool write)
{
	struct node_id requester = node_id(request->node);

	if (engine_down(engine, requester))
		return;
	home_learn(engine, page, request->home);
	handover_settle(engine, page);
	if (keeps(engine, request, page)) {
		if (!home_here(engine, page))
			ROW("kept");
		if (directory_take(engine, request, page, write))
			return;
	} else if (request->flags & REQUEST_RECOVER) {
		recover_census(engine, page);
	} else if ((request->flags & REQUEST_ROUND) == 0) {
		if (pass(engine, request, page, write) || MUTANT(DEAD_END))
			return;
	}
	ROW("not here");
	emit_absent(engine, requester, page, request->tag, handover_known(engine, page));
}

int locate_request(struct engine *engine, struct node_id from, const struct message *message)
{
	const struct message_request *request = &message->request;

	(void)from;
	for (uint32_t i = 0; i < request->page_count; i++) {
		struct page_id page = page_id(request->page + i);

		if (!home_moves(engine, page))
			return -EPROTO;
		request_arrived(engine, request, page, message->kind == MSG_WRITE_REQUEST);
	}
	return 0;
}

/* ---- once more ---- */

void locate_all_again(struct engine *engine)
{
	if (MUTANT(NOT_ASKED_AGAIN))
		return;
	engine->seek_page = 0;
	engine->seek_end = engine->region_end;
	engine->seek_all = true;
}

static void retry_due(struct engine *engine)
{
	bool walking = engine->seek_page < engine->seek_end;

	if (engine->retry_first == engine->retry_end || engine->now_ns < engine->retry_due_ns)
		return;
	if (!walking || engine->retry_first < engine->seek_page)
		engine->seek_page = engine->retry_first;
	if (!walking || engine->retry_end > engine->seek_end)
		engine->seek_end = engine->retry_end;
	engine->retry_end = engine->retry_first;
}

static bool due(struct engine *engine, struct page_id page)
{
	if (!home_moves(engine, page) || !asked(engine, page))
		return false;
	return engine->seek_all || seek_of(engine, page)->phase == SEEK_RETRY;
}

/* One slice of the walk; the rest waits for the next EV_TIMER. */
void locate_timer(struct engine *engine)
{
	if (!engine_moves(engine))
		return;
	retry_due(engine);
	for (uint32_t i = 0; i < SEEK_PAGES && engine->seek_page < engine->seek_end; i++) {
		struct page_id page = page_id(engine->seek_page++);

		if (engine->pending_count == 0) {
			engine->seek_page = engine->seek_end;
		} else if (due(engine, page)) {
			ROW("again");
			locate_again(engine, page);
		}
		if (engine->out->count > COMMANDS_MAX / 2)
			break;
	}
	if (engine->seek_page >= engine->seek_end)
		engine->seek_all = false;
}

uint64_t locate_timer_ns(const struct engine *engine)
{
	if (engine->seek_page < engine->seek_end)
		return 0;
	return engine->retry_first == engine->retry_end ? UINT64_MAX : engine->retry_due_ns;
}
