/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a manager that moves may be lost (docs/protocol.md, section 8). Each node tells all others
 * of each loss it hears of. A node that has been told of all losses by all who are left knows that
 * nothing is under way any more to or from a lost node: what it had asked for and has not got may
 * have died on the way, and it asks again.
 *
 * For a page that nobody who is left manages, the first node that is left takes a census: what do
 * all others know, and who has the page mapped? If its last known manager is lost, whoever has it
 * mapped has the current bytes, and the census taker becomes the manager. If nobody has, the page
 * is lost.
 */
#include "engine/internal.h"

/* Of struct seek: a census is under way. Beside TOLD_... */
#define CENSUS_RUNS 128u

static struct seek *seek_of(struct engine *engine, struct page_id page)
{
	ASSERT(engine->seeks != NULL && page.value < engine->config.page_limit);
	return &engine->seeks[page.value];
}

/* ---- who has heard of what ---- */

static bool all_have_heard(const struct engine *engine)
{
	if (engine->rumour_count > 0)
		return false;
	for (unsigned int node = 0; node < engine->config.node_count; node++) {
		if (node != engine->config.self.value && !engine_down(engine, node_id(node)) &&
		    engine->heard[node] != engine->loss_count)
			return false;
	}
	return true;
}

static void tell(struct engine *engine, struct node_id lost)
{
	struct message message = { .kind = MSG_HEARD };

	message.run = (struct message_run){ .page_count = 1, .node = lost.value };
	message.bytes = (uint16_t)message_bytes(&message);
	for (unsigned int node = 0; node < engine->config.node_count; node++) {
		if (node != engine->config.self.value)
			emit_send(engine, node_id(node), &message);
	}
}

void recover_peer_down(struct engine *engine, struct node_id peer)
{
	if (!engine_moves(engine))
		return;
	ROW("loss heard");
	engine->loss_count++;
	if (bitset_test(engine->rumoured, peer.value)) {
		bitset_clear(engine->rumoured, peer.value);
		engine->rumour_count--;
	}
	tell(engine, peer);
	if (all_have_heard(engine))
		locate_all_again(engine);
}

int recover_heard(struct engine *engine, struct node_id from, const struct message_run *run)
{
	struct node_id lost = node_id(run->node);

	if (!engine_moves(engine) || node_equal(lost, engine->config.self))
		return -EPROTO; /* who takes this node for lost is lost to it */
	ROW("others heard");
	engine->heard[from.value]++;
	if (!engine_down(engine, lost) && !bitset_test(engine->rumoured, lost.value)) {
		ROW("rumour");
		bitset_set(engine->rumoured, lost.value);
		engine->rumour_count++;
		emit_lose(engine, lost);
	}
	if (all_have_heard(engine))
		locate_all_again(engine);
	return 0;
}

struct node_id recover_node(const struct engine *engine)
{
	unsigned int node = 0;

	while (engine_down(engine, node_id(node)))
		node++;
	return node_id(node);
}

/* ---- the census ---- */

/* What this node says of a page: flags, and the version of its copy. */
static uint8_t tell_page(struct engine *engine, struct page_id page, uint64_t *version)
{
	const struct page_entry *entry = &engine->pages[page.value];

	*version = 0;
	handover_settle(engine, page);
	if (home_here(engine, page) || home_coming(engine, page))
		return TOLD_MANAGES;
	if (entry->peer != 0 && !MUTANT(DEAF_CENSUS))
		return TOLD_UNDECIDED; /* bytes are fetched, or the pager takes the page away */
	if (entry->state == PAGE_INVALID)
		return 0;
	*version = entry->version;
	return TOLD_HOLDS;
}

static void answer(struct engine *engine, struct node_id to, const struct message_request *request,
		   struct page_id page)
{
	struct message message = { .kind = MSG_TOLD };
	uint64_t version;

	ROW("seek");
	home_learn(engine, page, request->home);
	message.told = (struct message_told){
		.page = page.value,
		.tag = request->tag,
		.flags = tell_page(engine, page, &version),
		.known = handover_known(engine, page),
	};
	message.told.version = version;
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, to, &message);
}

int recover_seek(struct engine *engine, struct node_id from, const struct message_request *request)
{
	for (uint32_t i = 0; i < request->page_count; i++) {
		struct page_id page = page_id(request->page + i);

		if (!home_moves(engine, page))
			return -EPROTO;
		answer(engine, from, request, page);
	}
	return 0;
}

static void take_answer(struct engine *engine, struct page_id page, struct node_id from,
			uint8_t flags, uint64_t version)
{
	struct seek *seek = seek_of(engine, page);

	seek->census_flags |= flags;
	if ((flags & TOLD_HOLDS) == 0)
		return;
	handover_census_holder(engine, page, from);
	seek->census_version = version;
}

/*
 * Nobody manages the page. Its manager is lost if the latest that anybody knows of is
 * lost: one that had it after that would be known to the one it was handed over by, or to itself.
 */
static void conclude(struct engine *engine, struct page_id page)
{
	struct seek *seek = seek_of(engine, page);
	struct message_known known = handover_known(engine, page);
	uint8_t flags = seek->census_flags;

	seek->census_flags = 0;
	if (home_here(engine, page) || home_coming(engine, page))
		return;
	if ((flags & (TOLD_MANAGES | TOLD_UNDECIDED)) != 0 || known.node == 0 ||
	    !engine_down(engine, node_id(known.node - 1u))) {
		ROW("census in vain");
		handover_census(engine, page);
		return; /* it is on its way somewhere; who asks for it asks again */
	}
	ROW("census");
	handover_recover(engine, page, seek->census_version, node_id(known.node - 1u));
}

static void ask_others(struct engine *engine, struct page_id page)
{
	struct seek *seek = seek_of(engine, page);
	uint16_t home = engine_home(engine, page);
	const struct message_request request = {
		.node = engine->config.self.value,
		.tag = seek->census_tag,
		.home = home == HOME_UNKNOWN ? 0 : (uint16_t)(home + 1u),
	};

	for (unsigned int node = 0; node < engine->config.node_count; node++) {
		if (node == engine->config.self.value || engine_down(engine, node_id(node)))
			continue;
		emit_request(engine, node_id(node), MSG_SEEK, page, &request);
		seek->census_missing++;
	}
}

void recover_census(struct engine *engine, struct page_id page)
{
	struct seek *seek = seek_of(engine, page);
	bool runs = (seek->census_flags & CENSUS_RUNS) != 0 &&
		    seek->census_losses == engine->loss_count;
	uint64_t version;

	if (runs || engine->loss_count == 0 || !all_have_heard(engine) ||
	    !node_equal(recover_node(engine), engine->config.self))
		return;
	ROW("take a census");
	seek->census_tag = locate_tag(engine, seek->census_tag);
	seek->census_losses = engine->loss_count;
	seek->census_flags = CENSUS_RUNS;
	seek->census_missing = 0;
	handover_census(engine, page);
	uint8_t flags = tell_page(engine, page, &version);

	take_answer(engine, page, engine->config.self, flags, version);
	ask_others(engine, page);
	if (seek->census_missing == 0)
		conclude(engine, page);
}

int recover_told(struct engine *engine, struct node_id from, const struct message_told *told)
{
	struct page_id page = page_id(told->page);

	if (!home_moves(engine, page))
		return -EPROTO;
	struct seek *seek = seek_of(engine, page);

	handover_note(engine, page, told->known);
	if (seek->census_tag != told->tag || seek->census_missing == 0 ||
	    seek->census_losses != engine->loss_count)
		return 0; /* of a census that was given up */
	ROW("told");
	take_answer(engine, page, from, told->flags, told->version);
	if (--seek->census_missing == 0)
		conclude(engine, page);
	return 0;
}
