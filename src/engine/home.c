/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The home of each unit. Node 0 decides, at the first question; a decision never changes, so what
 * another node has once been told it keeps for good, and a page's home costs one question a unit.
 */
#include "engine/internal.h"

static uint16_t decided(const struct unit_entry *unit)
{
	return unit->home == 0 ? HOME_UNKNOWN : (uint16_t)(unit->home - 1u);
}

void home_assign(struct engine *engine, uint64_t unit, struct node_id home)
{
	ASSERT(unit < engine->unit_limit && engine->units[unit].home == 0);
	engine->units[unit].home = (uint16_t)(home.value + 1u);
}

void home_assign_later(struct engine *engine, uint64_t unit, uint8_t flags)
{
	ASSERT(unit < engine->unit_limit);
	engine->units[unit].flags = (uint8_t)(flags | (engine->units[unit].flags & UNIT_UPDATE));
}

bool home_decided(const struct engine *engine, uint64_t unit, struct node_id *home)
{
	ASSERT(unit < engine->unit_limit);
	if (engine->units[unit].home == 0)
		return false;
	*home = node_id(decided(&engine->units[unit]));
	return true;
}

/* At node 0. A unit that the heap has not given out may still be touched: it is dealt round too. */
static void decide(struct engine *engine, uint64_t unit, struct node_id toucher, bool claim)
{
	struct unit_entry *entry = &engine->units[unit];
	struct node_id cyclic = node_id((unsigned int)(unit % engine->config.node_count));

	ASSERT(engine->config.self.value == 0);
	if (MUTANT(FICKLE_HOME) && claim)
		entry->home = 0;
	if (entry->home != 0)
		return;
	if (entry->flags & UNIT_FIRST_TOUCH) {
		if (claim)
			home_assign(engine, unit, toucher);
	} else if (claim || (entry->flags & UNIT_CYCLIC)) {
		home_assign(engine, unit, cyclic);
	}
}

static void ask(struct engine *engine, uint64_t unit, bool claim)
{
	struct message message = { .kind = MSG_HOME_QUERY };

	message.home_query = (struct message_home_query){ .unit = unit, .claim = claim };
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, node_id(0), &message);
}

bool home_moves(const struct engine *engine, struct page_id page)
{
	return engine_moves(engine) && !engine_updates(engine, page);
}

bool home_here(const struct engine *engine, struct page_id page)
{
	struct node_id manager;

	return home_moves(engine, page) && home_known(engine, page, &manager) &&
	       node_equal(manager, engine->config.self);
}

bool home_coming(const struct engine *engine, struct page_id page)
{
	const struct page_entry *entry = &engine->pages[page.value];

	return home_moves(engine, page) && entry->state == PAGE_WRITE && entry->peer != 0;
}

bool home_known(const struct engine *engine, struct page_id page, struct node_id *manager)
{
	const struct unit_entry *entry = &engine->units[page_unit(page)];
	uint16_t hint = engine->pages[page.value].hint;

	if (home_moves(engine, page) && hint != 0) {
		*manager = node_id(hint - 1u);
		return true;
	}
	if (engine->config.manager == MANAGER_CENTRAL) {
		*manager = node_id(0);
		return true;
	}
	if (entry->home == 0)
		return false;
	*manager = node_id(decided(entry));
	return true;
}

void home_learn(struct engine *engine, struct page_id page, uint16_t home)
{
	struct unit_entry *entry = &engine->units[page_unit(page)];

	/* What node 0 has not decided, nobody can know. */
	if (home == 0 || entry->home != 0 || engine->config.self.value == 0)
		return;
	entry->home = home;
	if (entry->queried && !MUTANT(DEAF_HOME)) {
		/* The pages that wait for node 0's answer have it now; node 0 may be lost by then.
		 */
		entry->queried = 0;
		page_home_known(engine, page_unit(page));
	}
}

bool home_adopt(struct engine *engine, struct page_id page)
{
	struct node_id manager;

	if (!home_known(engine, page, &manager))
		home_learn(engine, page, (uint16_t)(engine->config.self.value + 1u));
	return home_known(engine, page, &manager) && node_equal(manager, engine->config.self);
}

bool home_manager(struct engine *engine, struct page_id page, struct node_id *manager)
{
	uint64_t unit = page_unit(page);
	struct unit_entry *entry = &engine->units[unit];

	if (engine->config.manager != MANAGER_CENTRAL && engine->config.self.value == 0)
		decide(engine, unit, engine->config.self, true);
	if (home_known(engine, page, manager))
		return true;
	if (!entry->queried) {
		entry->queried = 1;
		ask(engine, unit, true);
	}
	return false;
}

void home_touched(struct engine *engine, struct page_id page, struct node_id toucher)
{
	if (engine->config.manager == MANAGER_CENTRAL)
		decide(engine, page_unit(page), toucher, true);
}

void home_query(struct engine *engine, struct node_id from, const struct message_home_query *query)
{
	struct message message = { .kind = MSG_HOME_REPLY };
	struct message_home_reply *reply = &message.home_reply;

	reply->unit = query->unit;
	for (uint64_t unit = query->unit;
	     unit < engine->unit_limit && reply->unit_count < HOMES_MAX; unit++) {
		decide(engine, unit, from, query->claim && unit == query->unit);
		reply->homes[reply->unit_count++] = decided(&engine->units[unit]);
	}
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, from, &message);
}

/* ---- dsm_home(): threads that ask ---- */

static void answer(struct engine *engine, struct home_waiter *waiter)
{
	uint16_t home = decided(&engine->units[waiter->unit]);
	struct token token = waiter->token;

	waiter->token.value = 0;
	engine->home_waiter_count--;
	if (home == HOME_UNKNOWN)
		emit_complete(engine, token, -ENOENT, 0);
	else
		emit_complete(engine, token, 0, home);
}

int home_event(struct engine *engine, const struct event *event)
{
	uint64_t unit = page_unit(event->home);
	struct home_waiter waiter = { .token = event->token, .unit = unit };

	if (engine->units[unit].home == 0 && engine->config.self.value == 0)
		decide(engine, unit, engine->config.self, false);
	if (engine->units[unit].home != 0 || engine->config.self.value == 0) {
		engine->home_waiter_count++;
		answer(engine, &waiter);
		return 0;
	}
	if (engine_down(engine, node_id(0))) {
		emit_complete(engine, event->token, -EHOSTDOWN, 0);
		return 0;
	}
	for (uint32_t i = 0; i < HOME_WAITERS_MAX; i++) {
		if (engine->home_waiters[i].token.value != 0)
			continue;
		engine->home_waiters[i] = waiter;
		engine->home_waiter_count++;
		ask(engine, unit, false);
		return 0;
	}
	return -EAGAIN;
}

void home_peer_down(struct engine *engine, struct node_id peer)
{
	if (peer.value != 0)
		return;
	for (uint32_t i = 0; i < HOME_WAITERS_MAX; i++) {
		struct token token = engine->home_waiters[i].token;

		if (token.value == 0)
			continue;
		engine->home_waiters[i].token.value = 0;
		engine->home_waiter_count--;
		emit_complete(engine, token, -EHOSTDOWN, 0);
	}
}

int home_reply(struct engine *engine, struct node_id from, const struct message_home_reply *reply)
{
	if (from.value != 0)
		return -EPROTO;
	for (uint32_t i = 0; i < reply->unit_count; i++) {
		struct unit_entry *entry = &engine->units[reply->unit + i];

		if (reply->homes[i] != HOME_UNKNOWN && entry->home == 0)
			entry->home = (uint16_t)(reply->homes[i] + 1u);
		if (entry->home != 0 && entry->queried) {
			entry->queried = 0;
			page_home_known(engine, reply->unit + i);
		}
	}
	for (uint32_t i = 0; i < HOME_WAITERS_MAX && engine->home_waiter_count > 0; i++) {
		struct home_waiter *waiter = &engine->home_waiters[i];

		if (waiter->token.value != 0 && waiter->unit == reply->unit)
			answer(engine, waiter);
	}
	return 0;
}

uint16_t engine_hint(const struct engine *engine, struct page_id page)
{
	struct node_id manager;

	return home_known(engine, page, &manager) ? manager.value : HOME_UNKNOWN;
}

uint16_t engine_home(const struct engine *engine, struct page_id page)
{
	return decided(&engine->units[page_unit(page)]);
}
