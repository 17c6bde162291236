/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that only grow, made small again, so that a cluster comes back to states that it was in.
 *
 * Versions: two nodes may steal a page from each other for ever. What an engine does depends on how
 * the versions of a page are ordered, on whether one follows another directly, and on whether one
 * is 0 (VERSION_NONE is no version). So those that there are, in order, become the least ones of
 * which the same is true. Where copies are given up, 0 counts as if it were there: it may come
 * back, and then follow 1 directly or another number not.
 *
 * Tags, the names that a node gives to its requests where managers move: only answers to a search
 * or census that is under way count, and a tag is compared with no other. So the tags of those
 * become 2, 3, ... in order, and all others 1.
 */
#include "model.h"

uint64_t renumbered(const struct renumbering *all, uint64_t number)
{
	for (unsigned int i = 0; i < all->count; i++) {
		if (all->old[i] == number)
			return all->new[i];
	}
	return all->merge != 0 && number != 0 ? 1 : number;
}

static void add(struct renumbering *all, uint64_t number)
{
	unsigned int at = 0;

	while (at < all->count && all->old[at] < number)
		at++;
	if (number == VERSION_NONE || (at < all->count && all->old[at] == number))
		return;
	ASSERT(all->count < RENUMBERED_MAX);
	memmove(&all->old[at + 1], &all->old[at], (all->count - at) * sizeof(number));
	all->old[at] = number;
	all->count++;
}

/* ---- which versions there are ---- */

static void add_channel(const struct model *model, const struct state *state, unsigned int from,
			unsigned int to, unsigned int page, struct renumbering *all)
{
	for (unsigned int i = 0; i < state->queued[from][to]; i++) {
		const struct message_versions *versions =
			&model->message_versions[state->queue[from][to][i]];

		add(all, versions->of[page][0]);
		add(all, versions->of[page][1]);
	}
}

static void find_versions(const struct model *model, const struct state *state, unsigned int page,
			  struct renumbering *all)
{
	unsigned int node_count = model->plan.node_count;

	for (unsigned int i = 0; i < node_count; i++) {
		for (unsigned int to = 0; to < node_count; to++)
			add_channel(model, state, i, to, page, all);
		if (state->local[i] == LOCAL_DEAD)
			continue;
		const struct local_info *info = &model->infos[state->local[i]];

		for (unsigned int v = 0; v < info->version_count[page]; v++)
			add(all, info->versions[page][v]);
	}
}

/* True when all keep their numbers. */
static bool choose_versions(struct renumbering *all, bool zero_returns)
{
	bool same = true;

	for (unsigned int i = 0; i < all->count; i++) {
		if (i == 0)
			all->new[i] = all->old[i] < 2 || !zero_returns ? all->old[i] != 0 : 2;
		else
			all->new[i] =
				all->new[i - 1] + (all->old[i] - all->old[i - 1] == 1 ? 1 : 2);
		same &= all->new[i] == all->old[i];
	}
	return same;
}

/* ---- which tags ---- */

static bool choose_tags(const struct local_info *info, struct renumbering *all)
{
	const unsigned int latest = 2 * MODEL_PAGES;
	bool same = true;

	for (unsigned int i = 0; i < latest; i++) {
		if (info->tags[i] != 0)
			add(all, info->tags[i]);
	}
	for (unsigned int i = 0; i < all->count; i++) {
		all->highest = all->new[i] = i + 2;
		same &= all->new[i] == all->old[i];
	}
	return same && (info->tags[latest] == all->highest || info->tags[latest] == 0);
}

/* ---- messages ---- */

static void message_versions(struct model *model, struct message *message, unsigned int index,
			     const struct renumbering *all)
{
	uint64_t page = plan_page(&model->plan, index).value;
	struct message_grant *grant = &message->grant;
	uint64_t versions[MODEL_PAGES] = { 0 };

	if (message->kind == MSG_TOLD) {
		message->told.version = renumbered(all, message->told.version);
		message->told.known.version =
			renumbered(all, message->told.known.version) & VERSION_NONE;
	} else if (message->kind == MSG_ABSENT) {
		struct message_known *known = &message->absent.known[page - message->absent.page];

		known->version = renumbered(all, known->version) & VERSION_NONE;
	} else {
		for (unsigned int i = 0; i < grant->page_count; i++) {
			versions[i] = grant_version(grant, i);
			if (grant->page + i == page)
				versions[i] = renumbered(all, versions[i]);
		}
		grant->version = versions[0];
		for (unsigned int i = 0; i < grant->page_count; i++)
			grant->deltas[i] = (int16_t)(versions[i] - versions[0]);
	}
}

static void message_tags(struct message *message, unsigned int to, unsigned int owner,
			 const struct renumbering *all)
{
	switch ((int)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
		if (message->request.node == owner)
			message->request.tag = (uint32_t)renumbered(all, message->request.tag);
		return;
	case MSG_QUEUE:
		for (unsigned int i = 0; i < message->queue.request_count; i++) {
			uint64_t tag = message->queue.requests[i].tag;

			if (message->queue.requests[i].node == owner)
				message->queue.requests[i].tag = renumbered(all, tag) & 0xffffffff;
		}
		return;
	case MSG_ABSENT:
		if (to == owner)
			message->absent.tag = (uint32_t)renumbered(all, message->absent.tag);
		return;
	case MSG_TOLD:
		if (to == owner)
			message->told.tag = (uint32_t)renumbered(all, message->told.tag);
		return;
	}
}

static void set_version(const struct plan *plan, struct message_versions *versions, uint64_t page,
			unsigned int which, uint64_t version)
{
	ASSERT(page - plan->world->first_page < plan->page_count);
	versions->of[page - plan->world->first_page][which] = version;
}

struct message_versions versions_of_message(const struct plan *plan, const struct message *message)
{
	struct message_versions versions;

	memset(&versions, 0, sizeof(versions));
	for (unsigned int i = 0; i < MODEL_PAGES; i++)
		versions.of[i][0] = versions.of[i][1] = VERSION_NONE;
	if (message->kind == MSG_TOLD) {
		const struct message_told *told = &message->told;

		if (told->known.node != 0)
			set_version(plan, &versions, told->page, 0, told->known.version);
		if (told->flags & TOLD_HOLDS)
			set_version(plan, &versions, told->page, 1, told->version);
	} else if (message->kind == MSG_ABSENT) {
		for (unsigned int i = 0; i < message->absent.page_count; i++) {
			if (message->absent.known[i].node != 0)
				set_version(plan, &versions, message->absent.page + i, 0,
					    message->absent.known[i].version);
		}
	} else if (message->kind == MSG_READ_GRANT || message->kind == MSG_WRITE_GRANT) {
		for (unsigned int i = 0; i < message->grant.page_count; i++)
			set_version(plan, &versions, message->grant.page + i, 0,
				    grant_version(&message->grant, i));
	}
	return versions;
}

/* ---- all that has numbers ---- */

/* Of what the numbers are: versions of page `index`, or tags of node `index` - FIRST_TAGS. */
#define FIRST_TAGS 16u

static uint64_t memo_key(uint32_t number, uint32_t way, unsigned int index, unsigned int to)
{
	ASSERT(way < 1u << 20 && index < 64 && to < 64);
	return (uint64_t)number << 32 | (uint64_t)way << 12 | index << 6 | to;
}

static uint32_t local_renumber(struct model *model, uint32_t number, unsigned int index,
			       const struct renumbering *all, uint32_t way)
{
	uint64_t key = memo_key(number, way, index, 0);
	uint32_t *known = map_find(&model->renumbered_locals, key);
	const char *rule;
	size_t count;

	if (known != NULL)
		return *known;
	struct node *node = &model->scratch[table_get(&model->locals, number, &count)[0]];

	local_restore(model, number, node);
	if (index < FIRST_TAGS)
		node_renumber_versions(&model->plan, node, index, all);
	else
		image_renumber_tags(&model->plan, node->arena.engine, index - FIRST_TAGS, all);
	uint32_t other = local_intern(model, node, &rule);

	ASSERT(rule == NULL);
	map_add(&model->renumbered_locals, key, other);
	return other;
}

static uint32_t message_renumber(struct model *model, uint32_t number, unsigned int to,
				 unsigned int index, const struct renumbering *all, uint32_t way)
{
	uint64_t key = memo_key(number, way, index, to);
	uint32_t *known = map_find(&model->renumbered_messages, key);
	struct message message;

	if (known != NULL)
		return *known;
	const struct message_versions *versions = &model->message_versions[number];

	message_restore(model, number, &message);
	if (index >= FIRST_TAGS)
		message_tags(&message, to, index - FIRST_TAGS, all);
	else if (versions->of[index][0] != VERSION_NONE || versions->of[index][1] != VERSION_NONE)
		message_versions(model, &message, index, all);
	uint32_t other = message_intern(model, &message);

	map_add(&model->renumbered_messages, key, other);
	return other;
}

static void renumber_all(struct model *model, struct state *state, unsigned int index,
			 const struct renumbering *all)
{
	unsigned int node_count = model->plan.node_count;
	bool fresh;
	uint32_t way = table_intern(&model->renumberings, all, sizeof(*all), &fresh);

	for (unsigned int i = 0; i < node_count; i++) {
		if (state->local[i] != LOCAL_DEAD)
			state->local[i] = local_renumber(model, state->local[i], index, all, way);
		for (unsigned int to = 0; to < node_count; to++) {
			for (unsigned int m = 0; m < state->queued[i][to]; m++)
				state->queue[i][to][m] = message_renumber(
					model, state->queue[i][to][m], to, index, all, way);
		}
	}
}

static void renumber_tags(struct model *model, struct state *state)
{
	for (unsigned int node = 0; node < model->plan.node_count; node++) {
		struct renumbering all = { .merge = 1, .highest = 1 };

		/* What a lost node asked for is as old as can be. */
		if (state->local[node] == LOCAL_DEAD ||
		    !choose_tags(&model->infos[state->local[node]], &all))
			renumber_all(model, state, FIRST_TAGS + node, &all);
	}
}

void state_renumber(struct model *model, struct state *state)
{
	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		struct renumbering all = { .count = 0 };

		find_versions(model, state, page, &all);
		if (!choose_versions(&all, model->plan.has_evict))
			renumber_all(model, state, page, &all);
	}
	if (plan_moves(&model->plan))
		renumber_tags(model, state);
}
