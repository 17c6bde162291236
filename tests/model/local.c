/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local states by number, and their transitions, each found out once by the real engine.
 *
 * Where nodes may be renamed, what a renamed node does with the renamed event must be the renamed
 * outcome. That is not taken on trust: with every transition its renamed ones are found out too and
 * compared.
 */
#include "model.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#define LOCAL_BYTES_MAX 1024u

static const uint8_t identity[MODEL_NODES] = { 0, 1, 2, 3 };

/* ---- messages ---- */

uint32_t message_intern(struct model *model, const struct message *message)
{
	bool fresh;
	uint32_t number = table_intern(&model->messages, message, message->bytes, &fresh);

	ASSERT(number < UINT16_MAX);
	if (fresh) {
		model->message_versions =
			model_grow(model->message_versions, sizeof(*model->message_versions),
				   number, &model->message_room);
		model->message_versions[number] = versions_of_message(&model->plan, message);
	}
	return number;
}

void message_restore(struct model *model, uint32_t number, struct message *message)
{
	const struct wire_limits limits = {
		.node_count = model->plan.node_count,
		.page_limit = model->scratch[0].arena.engine->config.page_limit,
	};
	size_t count;
	const unsigned char *bytes = table_get(&model->messages, number, &count);

	ASSERT(message_decode(bytes, count, &limits, message) == 0);
}

/* Node id + 1, or 0. */
static uint16_t rename_maybe(unsigned int link, const uint8_t *rename)
{
	return (uint16_t)(link == 0 ? 0 : rename[link - 1] + 1u);
}

/* The nodes that a message about managers that move names. */
static void rename_in_moving(struct message *message, const uint8_t *rename)
{
	switch ((int)message->kind) {
	case MSG_READ_REQUEST:
	case MSG_WRITE_REQUEST:
	case MSG_SEEK:
		message->request.node = rename[message->request.node];
		message->request.home = rename_maybe(message->request.home, rename);
		return;
	case MSG_QUEUE:
		for (unsigned int i = 0; i < message->queue.request_count; i++)
			message->queue.requests[i].node = rename[message->queue.requests[i].node];
		return;
	case MSG_ABSENT:
		for (unsigned int i = 0; i < message->absent.page_count; i++)
			message->absent.known[i].node =
				rename_maybe(message->absent.known[i].node, rename);
		return;
	case MSG_TOLD:
		message->told.known.node = rename_maybe(message->told.known.node, rename);
		return;
	}
}

/* The nodes that a message names. */
static void rename_in_message(struct message *message, const uint8_t *rename)
{
	switch ((int)message->kind) {
	case MSG_READ_GRANT:
	case MSG_WRITE_GRANT:
		message->grant.owner = rename[message->grant.owner];
		return;
	case MSG_REFUSE:
	case MSG_FETCH_FAILED:
	case MSG_INVALIDATE:
	case MSG_HEARD:
		message->run.node = rename[message->run.node];
		return;
	case MSG_HOME_REPLY:
		for (unsigned int i = 0; i < message->home_reply.unit_count; i++) {
			uint16_t *home = &message->home_reply.homes[i];

			*home = *home == HOME_UNKNOWN ? *home : rename[*home];
		}
		return;
	}
	rename_in_moving(message, rename);
}

/* The place for `number` in a list that grows; 0: not known yet. */
static uint32_t *renamed_slot(uint32_t **list, uint32_t *room, uint32_t number)
{
	while (number >= *room) {
		uint32_t before = *room;

		*list = model_grow(*list, sizeof(**list), *room, room);
		memset(*list + before, 0, (*room - before) * sizeof(**list));
	}
	return *list + number;
}

uint32_t message_rename(struct model *model, uint32_t number, unsigned int renaming)
{
	uint32_t *slot = renamed_slot(&model->message_renamed[renaming],
				      &model->message_renamed_room[renaming], number);
	struct message message;

	if (*slot == 0) {
		message_restore(model, number, &message);
		rename_in_message(&message, model->plan.renamings[renaming]);
		*slot = message_intern(model, &message) + 1;
	}
	return *slot - 1;
}

uint32_t gate_intern(struct model *model, uint64_t gate)
{
	bool fresh;
	uint32_t number = table_intern(&model->gates, &gate, sizeof(gate), &fresh);

	ASSERT(number < UINT16_MAX - CHAIN_GATE);
	return number;
}

uint64_t gate_restore(const struct model *model, uint32_t number)
{
	size_t count;
	uint64_t gate;

	memcpy(&gate, table_get(&model->gates, number, &count), sizeof(gate));
	return gate;
}

uint8_t rename_nodes(uint8_t bits, const uint8_t *rename)
{
	uint8_t renamed = 0;

	for (unsigned int i = 0; i < MODEL_NODES; i++)
		renamed |= (uint8_t)((bits >> i & 1) << rename[i]);
	return renamed;
}

/* ---- what others need to know ---- */

static bool at_rest(const struct node *node)
{
	return engine_quiet(node->arena.engine) && !engine_threads_waiting(node->arena.engine) &&
	       node->local.faults == 0 && node->local.read_count == 0 &&
	       node->local.pager_count == 0 && node_fast_at_rest(node);
}

static bool threads_waiting(const struct model *model, const struct node *node)
{
	for (unsigned int i = 0; i < model->plan.thread_count; i++) {
		const struct thread *thread = &node->local.threads[i];

		if (thread->state != THREAD_READY ||
		    thread->done != model->plan.scripts[node->id][i].length)
			return true;
	}
	return false;
}

static void fill_page(const struct model *model, struct node *node, unsigned int index,
		      struct local_info *info)
{
	struct page_id page = plan_page(&model->plan, index);
	const struct engine *engine = node->arena.engine;
	struct directory_view view;

	info->version_count[index] =
		(uint8_t)node_versions(&model->plan, node, index, info->versions[index]);
	info->mapping[index] = node->local.mapping[index];
	info->state[index] = (uint8_t)engine_page_state(engine, page);
	info->pages[index].version = engine_page_version(engine, page);
	info->hint[index] = engine_hint(engine, page);
	info->shared[index] = engine_page_shared(engine, page);
	info->gates[index] = node->local.gates[index];
	info->chains[index] = node->local.chains[index];
	if (info->chains[index].active && info->chains[index].done == 2)
		info->fetching[index] = (uint8_t)(info->chains[index].peer + 1u);
	info->fetches_sharers[index] =
		node->local.collections[index].active && !node->local.collections[index].fetched;
	info->managed[index] = engine_directory_view(engine, page, &view);
	if (!info->managed[index])
		return;
	info->pages[index].owner = view.owner;
	info->pages[index].directory_version = view.version;
	info->pages[index].exclusive = view.exclusive;
	info->pages[index].lost = view.lost;
	info->pages[index].busy = view.busy;
	info->pages[index].open = view.open;
	info->pages[index].holders = view.holders[0];
}

static void fill_tags(const struct model *model, const struct node *node, struct local_info *info)
{
	const struct engine *engine = node->arena.engine;

	for (unsigned int i = 0; i < model->plan.page_count && engine->seeks != NULL; i++) {
		const struct seek *seek = &engine->seeks[plan_page(&model->plan, i).value];

		info->tags[2 * i] = seek->tag;
		info->tags[2 * i + 1] = seek->census_tag;
	}
	info->tags[2 * MODEL_PAGES] = engine->tag;
}

static void fill_info(struct model *model, struct node *node, struct local_info *info)
{
	struct action actions[MODEL_ACTIONS];

	*info = (struct local_info){ .actions = model->action_count };
	info->action_count = (uint8_t)node_actions(model, node, actions);
	for (unsigned int i = 0; i < info->action_count; i++) {
		model->actions = model_grow(model->actions, sizeof(*model->actions),
					    model->action_count, &model->action_room);
		model->actions[model->action_count++] = actions[i];
	}
	info->at_rest = at_rest(node);
	info->waiting = threads_waiting(model, node);
	info->down = (uint8_t)node->arena.engine->down[0];
	for (unsigned int i = 0; i < node->local.read_count; i++) {
		const struct read_op *op = &node->local.reads[i];

		info->read_first[i] = op->first;
		for (unsigned int p = op->first; p < op->first + op->count; p++)
			info->fetching[p] = (uint8_t)(op->peer + 1u);
	}
	for (unsigned int i = 0; i < MODEL_THREADS; i++)
		info->inside[i] = node->local.threads[i].inside;
	for (unsigned int i = 0; i < model->plan.page_count; i++)
		fill_page(model, node, i, info);
	fill_tags(model, node, info);
}

/* ---- local states ---- */

void local_restore(struct model *model, uint32_t number, struct node *node)
{
	size_t count;
	const unsigned char *bytes = table_get(&model->locals, number, &count);
	unsigned char copy[LOCAL_BYTES_MAX];
	struct codec codec = { .reading = true, .at = copy, .end = copy + sizeof(copy) };

	ASSERT(count <= sizeof(copy) - 9);
	memcpy(copy, bytes, count);
	arena_reset(&node->arena);
	node_code(&codec, &model->plan, node);
	ASSERT(codec.at == copy + count);
}

/* `rule`: what is wrong with the engine's own structures, or NULL. */
static uint32_t intern(struct model *model, struct node *node, const uint8_t *rename,
		       const char **rule)
{
	unsigned char bytes[LOCAL_BYTES_MAX];
	struct codec codec = {
		.at = bytes,
		.end = bytes + sizeof(bytes),
		.rename = rename,
	};
	bool fresh;

	node_code(&codec, &model->plan, node);
	*rule = codec.broken;
	uint32_t number = table_intern(&model->locals, bytes, (size_t)(codec.at - bytes), &fresh);

	if (fresh && codec.broken == NULL) {
		struct node *restored = &model->scratch[rename[node->id]];

		model->infos =
			model_grow(model->infos, sizeof(*model->infos), number, &model->info_room);
		local_restore(model, number, restored);
		fill_info(model, restored, &model->infos[number]);
	} else if (fresh) {
		model->infos =
			model_grow(model->infos, sizeof(*model->infos), number, &model->info_room);
		model->infos[number] = (struct local_info){ .actions = 0 };
	}
	return number;
}

uint32_t local_intern(struct model *model, struct node *node, const char **rule)
{
	return intern(model, node, identity, rule);
}

uint32_t local_rename(struct model *model, uint32_t number, unsigned int renaming)
{
	uint32_t *slot = renamed_slot(&model->local_renamed[renaming],
				      &model->local_renamed_room[renaming], number);
	size_t count;

	if (*slot == 0) {
		struct node *node = &model->scratch[table_get(&model->locals, number, &count)[0]];
		const char *rule;

		local_restore(model, number, node);
		uint32_t renamed = intern(model, node, model->plan.renamings[renaming], &rule);

		ASSERT(rule == NULL);
		/* The list may have moved: other renamings are not looked up meanwhile. */
		*slot = renamed + 1;
	}
	return *slot - 1;
}

/* ---- transitions ---- */

static sigjmp_buf bug;
static volatile sig_atomic_t step_number; /* odd: a step is under way */
static volatile sig_atomic_t step_seen;

/* One that is not the engine's ends the process. */
static void on_abort(int signal)
{
	(void)signal;
	if (step_number % 2 != 0)
		siglongjmp(bug, 1);
}

/* Every second of this process: one step that is still under way has no end. */
static void on_second(int signal)
{
	(void)signal;
	if (step_number == step_seen && step_number % 2 != 0)
		siglongjmp(bug, 2);
	step_seen = step_number;
}

static void watch_steps(void)
{
	const struct itimerval second = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct sigaction action = { .sa_handler = on_second, .sa_flags = SA_RESTART };

	ASSERT(sigaction(SIGVTALRM, &action, NULL) == 0);
	action.sa_handler = on_abort;
	ASSERT(sigaction(SIGABRT, &action, NULL) == 0);
	ASSERT(setitimer(ITIMER_VIRTUAL, &second, NULL) == 0);
}

void node_take_guarded(struct model *model, struct node *node, struct action action,
		       struct outcome *outcome)
{
	int reason = sigsetjmp(bug, 1);

	if (reason == 0) {
		step_number = (step_number + 1) | 1;
		node_take(model, node, action, outcome);
	} else {
		outcome->broken = reason == 1 ? "an assertion of the engine"
					      : "a step of the engine does not end";
	}
	step_number = (step_number | 1) + 1;
}

static uint64_t memo_key(uint32_t number, struct action action)
{
	return (uint64_t)number << 32 | (uint64_t)action.item << 16 | (uint64_t)action.arg << 8 |
	       (uint64_t)action.pieces << 7 | action.kind;
}

static uint32_t add_transition(struct model *model, uint64_t key, uint32_t to,
			       const struct outcome *outcome)
{
	uint32_t index = model->transition_count++;

	model->transitions = model_grow(model->transitions, sizeof(*model->transitions), index,
					&model->transition_room);
	model->transitions[index] = (struct transition){
		.to = to,
		.effects = model->effect_count,
		.effect_count = (uint8_t)outcome->effect_count,
		.runs = outcome->runs,
		.broken = outcome->broken,
	};
	for (unsigned int i = 0; i < outcome->effect_count; i++) {
		model->effects = model_grow(model->effects, sizeof(*model->effects),
					    model->effect_count, &model->effect_room);
		model->effects[model->effect_count++] = outcome->effects[i];
	}
	map_add(&model->memo, key, index);
	return index;
}

static uint32_t find_out(struct model *model, unsigned int id, uint32_t number,
			 struct action action)
{
	struct node *node = &model->scratch[id];
	struct outcome outcome;
	uint32_t to = number;
	const char *rule = NULL;

	local_restore(model, number, node);
	node_take_guarded(model, node, action, &outcome);
	if (outcome.broken == NULL)
		to = local_intern(model, node, &rule);
	if (rule != NULL)
		outcome.broken = rule;
	return add_transition(model, memo_key(number, action), to, &outcome);
}

/* ---- are renamed transitions the transitions of the renamed? ---- */

static uint16_t rename_gate(struct model *model, uint16_t item, const uint8_t *rename)
{
	uint64_t gate = gate_restore(model, item - (unsigned int)CHAIN_GATE);

	if (image_gate_open(gate))
		gate = engine_gate(node_id(rename[image_gate_owner(gate).value]),
				   image_gate_version(gate));
	return (uint16_t)(CHAIN_GATE + gate_intern(model, gate));
}

static struct action rename_action(struct model *model, struct action action, unsigned int renaming)
{
	const uint8_t *rename = model->plan.renamings[renaming];

	if (action.kind == ACT_DELIVER) {
		action.arg = rename[action.arg];
		action.item = (uint16_t)message_rename(model, action.item, renaming);
	} else if (action.kind == ACT_NOTICE) {
		action.arg = rename[action.arg];
	} else if (action.kind == ACT_CHAIN && action.item >= CHAIN_GATE) {
		action.item = rename_gate(model, action.item, rename);
	} else if (action.kind == ACT_COLLECT) {
		action.item = rename_nodes((uint8_t)action.item, rename);
	}
	return action;
}

static struct effect rename_effect(struct model *model, struct effect effect, unsigned int renaming)
{
	const uint8_t *rename = model->plan.renamings[renaming];

	effect.node = rename[effect.node];
	if (effect.kind == EFFECT_CLEAR)
		effect.arg = rename_nodes(effect.arg, rename);
	if (effect.kind == EFFECT_SEND)
		effect.message = message_rename(model, effect.message, renaming);
	return effect;
}

/* The next effect from `from` on that is (not) a message to `to`; effect_count: none. */
static unsigned int next_effect(const struct model *model, const struct transition *transition,
				unsigned int from, bool message, unsigned int to)
{
	for (; from < transition->effect_count; from++) {
		const struct effect *effect = &model->effects[transition->effects + from];

		if ((effect->kind == EFFECT_SEND && effect->node == to) ||
		    (effect->kind != EFFECT_SEND && !message))
			break;
	}
	return from;
}

/* Messages to one node keep their order, and so do other effects; nothing depends on more. */
static bool same_effects(struct model *model, const struct transition *ours,
			 const struct transition *theirs, unsigned int renaming, bool message,
			 unsigned int to)
{
	unsigned int renamed_to = message ? model->plan.renamings[renaming][to] : MODEL_NODES;
	unsigned int i = next_effect(model, ours, 0, message, message ? to : MODEL_NODES);
	unsigned int j = next_effect(model, theirs, 0, message, renamed_to);

	while (i < ours->effect_count && j < theirs->effect_count) {
		struct effect effect =
			rename_effect(model, model->effects[ours->effects + i], renaming);

		if (memcmp(&effect, &model->effects[theirs->effects + j], sizeof(effect)) != 0)
			return false;
		i = next_effect(model, ours, i + 1, message, message ? to : MODEL_NODES);
		j = next_effect(model, theirs, j + 1, message, renamed_to);
	}
	return i == ours->effect_count && j == theirs->effect_count;
}

static bool renames(struct model *model, uint32_t index, unsigned int id, uint32_t number,
		    struct action action, unsigned int renaming)
{
	unsigned int renamed_id = model->plan.renamings[renaming][id];
	uint32_t renamed = local_rename(model, number, renaming);
	struct action renamed_action = rename_action(model, action, renaming);
	uint64_t key = memo_key(renamed, renamed_action);
	uint32_t *known = map_find(&model->memo, key);
	uint32_t other =
		known != NULL ? *known : find_out(model, renamed_id, renamed, renamed_action);
	struct transition ours = model->transitions[index];
	struct transition theirs = model->transitions[other];

	if (ours.broken != NULL || theirs.broken != NULL)
		return (ours.broken != NULL) == (theirs.broken != NULL);
	bool same = local_rename(model, ours.to, renaming) == theirs.to &&
		    same_effects(model, &ours, &theirs, renaming, false, 0);

	for (unsigned int to = 0; to < model->plan.node_count; to++)
		same &= same_effects(model, &ours, &theirs, renaming, true, to);
	return same;
}

const struct transition *local_step(struct model *model, unsigned int node, uint32_t number,
				    struct action action)
{
	uint32_t *known = map_find(&model->memo, memo_key(number, action));

	if (known != NULL)
		return &model->transitions[*known];
	uint32_t index = find_out(model, node, number, action);

	for (unsigned int i = 1; i < model->plan.renaming_count; i++) {
		if (!renames(model, index, node, number, action, i))
			model->transitions[index].broken =
				"renamed nodes behave otherwise: the world is not symmetric";
	}
	return &model->transitions[index];
}

/* ---- the beginning ---- */

/* One event, and all messages that follow from it. */
static void settle(struct model *model, struct node *nodes, unsigned int to, struct event *event)
{
	struct commands *commands = &model->commands;

	commands->count = 0;
	event->now_ns = MODEL_NOW_US * 1000;
	ASSERT(engine_step(nodes[to].arena.engine, event, commands) == 0);
	uint32_t count = commands->count;
	struct command *list = malloc((count + 1) * sizeof(*list));

	ASSERT(list != NULL);
	memcpy(list, commands->list, count * sizeof(*list));
	for (uint32_t i = 0; i < count; i++) {
		if (list[i].kind != CMD_SEND)
			continue;
		struct event next = { .kind = EV_MESSAGE, .message = &list[i].message };

		next.peer = node_id(to);
		settle(model, nodes, list[i].peer.value, &next);
	}
	free(list);
}

static void make_object(struct model *model, struct node *nodes, uint64_t name)
{
	struct event event = { .kind = EV_SYNC, .token.value = 1 };

	event.sync.name = name;
	event.sync.kind = plan_object_kind(&model->plan, name);
	event.sync.op = SYNC_INIT;
	event.sync.argument = model->plan.node_count * model->plan.thread_count;
	settle(model, nodes, 0, &event);
}

void nodes_open(struct model *model, struct node nodes[MODEL_NODES])
{
	const struct plan *plan = &model->plan;
	struct event event = { .kind = EV_REGION };

	for (unsigned int i = 0; i < plan->node_count; i++) {
		nodes[i] = (struct node){ .id = i };
		arena_open(&nodes[i].arena, plan, i);
	}
	event.region.run.page_count = (uint32_t)nodes[0].arena.engine->config.page_limit;
	for (unsigned int i = 0; i < plan->node_count; i++)
		settle(model, nodes, i, &event);
	for (unsigned int i = 0; i < plan->page_count && plan->world->first_touch; i++)
		home_assign_later(nodes[0].arena.engine, page_unit(plan_page(plan, i)),
				  UNIT_FIRST_TOUCH);
	make_object(model, nodes, plan->lock);
	make_object(model, nodes, plan->barrier);
	for (unsigned int i = 0; i < plan->node_count; i++)
		arena_save(&nodes[i].arena);
}

void nodes_close(struct model *model, struct node nodes[MODEL_NODES])
{
	for (unsigned int i = 0; i < model->plan.node_count; i++)
		arena_close(&nodes[i].arena);
}

void model_open(struct model *model, const struct world *world, enum manager_kind manager)
{
	*model = (struct model){ .trace = false };
	watch_steps();
	plan_make(&model->plan, world, manager);
	model->commands.list = malloc(COMMANDS_MAX * sizeof(*model->commands.list));
	ASSERT(model->commands.list != NULL);
	nodes_open(model, model->scratch);
	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		const char *rule;

		model->first[i] = local_intern(model, &model->scratch[i], &rule);
		ASSERT(rule == NULL);
	}
}

void model_close(struct model *model)
{
	nodes_close(model, model->scratch);
	free(model->commands.list);
	table_free(&model->gates);
	table_free(&model->messages);
	table_free(&model->locals);
	map_free(&model->memo);
	table_free(&model->renumberings);
	map_free(&model->renumbered_locals);
	map_free(&model->renumbered_messages);
	free(model->message_versions);
	free(model->infos);
	free(model->actions);
	free(model->transitions);
	free(model->effects);
	for (unsigned int i = 0; i < MODEL_RENAMINGS; i++) {
		free(model->local_renamed[i]);
		free(model->message_renamed[i]);
	}
}
