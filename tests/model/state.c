/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state of the whole: what can happen in it, what an action does to it, and the oracle: one
 * writer or many readers of each page, and every load sees the latest store.
 *
 * A writer that crashes takes its stores since it got the page with it. If its manager had its
 * confirmation the page is lost for good; if not, the value before is the latest again.
 */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>

bool model_broken(struct model *model, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(model->said, sizeof(model->said), format, args);
	va_end(args);
	return false;
}

static const struct local_info *info_of(const struct model *model, const struct state *state,
					unsigned int node)
{
	return &model->infos[state->local[node]];
}

static bool is_dead(const struct state *state, unsigned int node)
{
	return (state->dead >> node & 1) != 0;
}

/* ---- what can happen ---- */

static void add(struct choice *choices, unsigned int *count, unsigned int node,
		struct action action)
{
	ASSERT(*count < CHOICES_MAX);
	choices[(*count)++] = (struct choice){ (uint8_t)node, action };
}

/* A read may end well until its peer is lost, and also after that; badly only then. */
static void add_read(const struct model *model, const struct state *state, struct choice *choices,
		     unsigned int *count, unsigned int node, struct action action)
{
	const struct local_info *info = info_of(model, state, node);
	unsigned int page = info->read_first[action.arg];

	if ((state->mark[node][page] & MARK_FAILS) == 0)
		add(choices, count, node, action);
	action.item = 1;
	if (is_dead(state, info->fetching[page] - 1u)) /* alike for all pages of a run */
		add(choices, count, node, action);
}

/* What a chain does next, or that its peer is lost. */
static void add_chain(struct model *model, const struct state *state, struct choice *choices,
		      unsigned int *count, unsigned int node, struct action action)
{
	unsigned int page = action.arg;
	const struct chain *chain = &info_of(model, state, node)->chains[page];
	bool dead = is_dead(state, chain->peer);

	if (dead) {
		action.item = CHAIN_FAILS;
		add(choices, count, node, action);
	}
	if (chain->done == 0 && !dead) {
		action.item = CHAIN_REFUSED;
		add(choices, count, node, action);
	}
	action.item = CHAIN_GOES_ON;
	if (chain->done == 1 && !dead)
		action.item =
			(uint16_t)(CHAIN_GATE +
				   gate_intern(model,
					       info_of(model, state, chain->peer)->gates[page]));
	if (chain->done == 2 || !dead)
		add(choices, count, node, action);
}

static void add_local(struct model *model, const struct state *state, struct choice *choices,
		      unsigned int *count, unsigned int node)
{
	const struct local_info *info = info_of(model, state, node);

	for (unsigned int i = 0; i < info->action_count; i++) {
		struct action action = model->actions[info->actions + i];

		if (action.kind == ACT_COLLECT && info->fetches_sharers[action.arg])
			action.item = state->sharers[node][action.arg];
		if (action.kind == ACT_READ)
			add_read(model, state, choices, count, node, action);
		else if (action.kind == ACT_CHAIN)
			add_chain(model, state, choices, count, node, action);
		else
			add(choices, count, node, action);
	}
}

static void add_others(struct model *model, const struct state *state, struct choice *choices,
		       unsigned int *count, unsigned int node)
{
	const struct local_info *info = info_of(model, state, node);

	for (unsigned int from = 0; from < model->plan.node_count; from++) {
		struct action action = { .kind = ACT_DELIVER, .arg = (uint8_t)from };

		if (state->queued[from][node] > 0) {
			action.item = (uint16_t)state->queue[from][node][0];
			add(choices, count, node, action);
		}
		action = (struct action){ .kind = ACT_NOTICE, .arg = (uint8_t)from };
		if (is_dead(state, from) && (info->down >> from & 1) == 0)
			add(choices, count, node, action);
	}
	if (state->crashes_left > 0)
		add(choices, count, node, (struct action){ .kind = ACT_CRASH });
}

unsigned int state_choices(struct model *model, const struct state *state,
			   struct choice choices[CHOICES_MAX])
{
	unsigned int count = 0;

	for (unsigned int node = 0; node < model->plan.node_count; node++) {
		if (is_dead(state, node))
			continue;
		add_local(model, state, choices, &count, node);
		add_others(model, state, choices, &count, node);
	}
	return count;
}

/* ---- frames ---- */

enum value state_expected(const struct state *state, unsigned int page)
{
	uint8_t flags = state->flags[page];

	return (flags & PAGE_UNDECIDED) && !(flags & PAGE_SAME) ? VALUE_BEFORE : VALUE_LATEST;
}

/* The bytes of a frame change: reads of it under way come torn. */
static void disturb(struct model *model, struct state *state, unsigned int node, unsigned int page)
{
	for (unsigned int i = 0; i < MODEL_NODES; i++) {
		if (i < model->plan.node_count && !is_dead(state, i) &&
		    info_of(model, state, i)->fetching[page] == node + 1u)
			state->mark[i][page] |= MARK_TORN;
	}
}

static void set_frame(struct model *model, struct state *state, unsigned int node,
		      unsigned int page, enum value token)
{
	disturb(model, state, node, page);
	state->frame[node][page] = (uint8_t)token;
}

static enum value zeros(const struct state *state, unsigned int page)
{
	return (enum value)(state->flags[page] >> PAGE_ZEROS & 3u);
}

static void replace_values(struct state *state, unsigned int page, enum value from, enum value to)
{
	for (unsigned int i = 0; i < MODEL_NODES; i++) {
		if (state->frame[i][page] == from)
			state->frame[i][page] = (uint8_t)to;
	}
	if (zeros(state, page) == from)
		state->flags[page] = (uint8_t)((state->flags[page] & ~(3u << PAGE_ZEROS)) |
					       (unsigned int)to << PAGE_ZEROS);
}

static void store(struct model *model, struct state *state, unsigned int node, unsigned int page)
{
	bool first = (state->flags[page] & PAGE_SAME) != 0;

	replace_values(state, page, VALUE_LATEST, first ? VALUE_BEFORE : VALUE_STALE);
	state->flags[page] &= (uint8_t)~PAGE_SAME;
	set_frame(model, state, node, page, VALUE_LATEST);
}

static bool check_frame(struct model *model, const struct state *state, unsigned int node,
			unsigned int page, const char *what)
{
	uint8_t token = state->frame[node][page];

	if (token == VALUE_TORN)
		return model_broken(model, "n%u %s page %u: torn", node, what, page);
	if (token != state_expected(state, page))
		return model_broken(model, "n%u %s page %u, and not the latest store", node, what,
				    page);
	return true;
}

/* ---- pages shown ---- */

/* The value before is the latest again. */
static void decide(struct state *state, unsigned int page)
{
	if ((state->flags[page] & PAGE_UNDECIDED) == 0)
		return;
	if ((state->flags[page] & PAGE_SAME) == 0) {
		replace_values(state, page, VALUE_LATEST, VALUE_STALE);
		replace_values(state, page, VALUE_BEFORE, VALUE_LATEST);
	}
	state->flags[page] &= (uint8_t) ~(PAGE_UNDECIDED | PAGE_SAME);
}

static bool check_mappings(struct model *model, const struct state *state, unsigned int node,
			   unsigned int page, enum page_state mapping)
{
	unsigned int writers = mapping == PAGE_WRITE;
	unsigned int readers = mapping == PAGE_READ;

	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		if (i == node || is_dead(state, i))
			continue;
		enum page_state other = (enum page_state)info_of(model, state, i)->mapping[page];

		writers += other == PAGE_WRITE;
		readers += other == PAGE_READ;
	}
	if (writers > 1 || (writers == 1 && readers > 0))
		return model_broken(model, "%u writers and %u readers of page %u", writers, readers,
				    page);
	return true;
}

static bool show(struct model *model, struct state *state, unsigned int node,
		 const struct effect *effect)
{
	unsigned int page = effect->page;
	enum page_state mapping = (enum page_state)(effect->arg & 15);
	enum page_state before = (enum page_state)(effect->arg >> 4);

	if (!check_frame(model, state, node, page, "shows"))
		return false;
	if (state->flags[page] & (PAGE_MUST_REFUSE | PAGE_GIVEN_UP))
		return model_broken(model, "n%u shows page %u, which is lost", node, page);
	decide(state, page);
	if (mapping == PAGE_WRITE && before != PAGE_WRITE) {
		replace_values(state, page, VALUE_BEFORE, VALUE_STALE);
		state->flags[page] |= PAGE_SAME;
	}
	return check_mappings(model, state, node, page, mapping);
}

static bool refuse(struct model *model, const struct state *state, unsigned int node,
		   const struct effect *effect)
{
	bool held = effect->arg != PAGE_INVALID;

	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		if (i != node && !is_dead(state, i))
			held |= info_of(model, state, i)->mapping[effect->page] != PAGE_INVALID;
	}
	if (held)
		return model_broken(model, "n%u refuses page %u, which survivors hold", node,
				    effect->page);
	return true;
}

/* ---- reads ---- */

static void land(struct model *model, struct state *state, unsigned int node,
		 const struct effect *effect)
{
	unsigned int page = effect->page;
	bool torn = (state->mark[node][page] & MARK_TORN) != 0;

	state->mark[node][page] = 0;
	set_frame(model, state, node, page,
		  torn ? VALUE_TORN : (enum value)state->frame[effect->node][page]);
}

static void fetch(struct model *model, struct state *state, unsigned int node,
		  const struct effect *effect)
{
	/* From now on any part of the frame may change at any time. */
	set_frame(model, state, node, effect->page, VALUE_TORN);
	state->mark[node][effect->page] = is_dead(state, effect->node) ? MARK_FAILS : 0;
	if (state->frame[effect->node][effect->page] == VALUE_TORN)
		state->mark[node][effect->page] |= MARK_TORN;
}

/* ---- fast reads ---- */

static bool add_sharer(struct model *model, struct state *state, unsigned int node,
		       const struct effect *effect)
{
	uint8_t *sharers = &state->sharers[effect->node][effect->page];

	if ((*sharers >> node & 1) != 0)
		return model_broken(model, "n%u adds its bit for page %u, which is set", node,
				    effect->page);
	*sharers |= (uint8_t)(1u << node);
	return true;
}

static bool clear_sharers(struct model *model, struct state *state, unsigned int node,
			  const struct effect *effect)
{
	uint8_t *sharers = &state->sharers[node][effect->page];

	if ((effect->arg & ~*sharers) != 0)
		return model_broken(model, "n%u clears bits of page %u that are not set", node,
				    effect->page);
	*sharers &= (uint8_t)~effect->arg;
	return true;
}

static void watch(struct state *state, unsigned int node, const struct effect *effect)
{
	bool torn = state->frame[effect->node][effect->page] == VALUE_TORN;

	state->mark[node][effect->page] = torn ? MARK_TORN : 0;
}

static void read_beside(struct state *state, unsigned int node, const struct effect *effect)
{
	bool torn = (state->mark[node][effect->page] & MARK_TORN) != 0;

	state->mark[node][effect->page] = 0;
	state->landed = torn ? VALUE_TORN : state->frame[effect->node][effect->page];
}

/* ---- lock and barrier ---- */

static bool enter(struct model *model, struct state *state, unsigned int how)
{
	state->writers += how == INSIDE_WRITE;
	state->readers += how == INSIDE_READ;
	if (state->writers > 1 || (state->writers == 1 && state->readers > 0))
		return model_broken(model, "%u writers and %u readers inside the lock",
				    state->writers, state->readers);
	if ((state->inside_dead & INSIDE_WRITE) ||
	    (how == INSIDE_WRITE && (state->inside_dead & INSIDE_READ)))
		return model_broken(model, "the lock is given to another after a crash inside");
	return true;
}

static void leave(struct state *state, unsigned int how)
{
	state->writers -= how == INSIDE_WRITE;
	state->readers -= how == INSIDE_READ;
}

static bool pass(struct model *model, struct state *state, bool one)
{
	unsigned int all = model->plan.node_count * model->plan.thread_count;

	state->ones += one;
	if (state->arrived != all)
		return model_broken(model, "the barrier is passed when %u of %u are there",
				    state->arrived, all);
	if (state->ones > 1)
		return model_broken(model, "the barrier has more than one of its threads chosen");
	return true;
}

/* ---- effects ---- */

static bool send(struct model *model, struct state *state, unsigned int node,
		 const struct effect *effect)
{
	uint8_t *count = &state->queued[node][effect->node];

	if (is_dead(state, effect->node))
		return true;
	if (*count == MODEL_QUEUE)
		return model_broken(model, "more than %u messages in a channel", MODEL_QUEUE);
	state->queue[node][effect->node][(*count)++] = effect->message;
	return true;
}

static const char *const whole_rules[] = {
	[WHOLE_ROUND] = "a writer asks all nodes although hints should lead it",
	[WHOLE_HOPS] = "a writer's request is sent on by more nodes than there are others",
};

static bool take_effect(struct model *model, struct state *state, unsigned int node,
			const struct effect *effect)
{
	switch ((enum effect_kind)effect->kind) {
	case EFFECT_SEND:
		return send(model, state, node, effect);
	case EFFECT_LOAD:
		return check_frame(model, state, node, effect->page, "loads");
	case EFFECT_STORE:
		store(model, state, node, effect->page);
		return true;
	case EFFECT_SHOW:
		return show(model, state, node, effect);
	case EFFECT_HIDE:
		return true;
	case EFFECT_FETCH:
		fetch(model, state, node, effect);
		return true;
	case EFFECT_LAND:
		land(model, state, node, effect);
		return true;
	case EFFECT_MISS:
		state->mark[node][effect->page] = 0;
		return true;
	case EFFECT_ADD:
		return add_sharer(model, state, node, effect);
	case EFFECT_WATCH:
		watch(state, node, effect);
		return true;
	case EFFECT_READ:
		read_beside(state, node, effect);
		return true;
	case EFFECT_TAKE:
		set_frame(model, state, node, effect->page, (enum value)state->landed);
		return true;
	case EFFECT_CLEAR:
		return clear_sharers(model, state, node, effect);
	case EFFECT_RELEASE:
		set_frame(model, state, node, effect->page, zeros(state, effect->page));
		return true;
	case EFFECT_REFUSE:
		return refuse(model, state, node, effect);
	case EFFECT_FAIL:
		if (!is_dead(state, effect->node))
			return model_broken(model, "n%u fails for the loss of n%u, which lives",
					    node, effect->node);
		return true;
	case EFFECT_LOSE:
		if (!is_dead(state, effect->node))
			return model_broken(model, "n%u takes n%u, which lives, for lost", node,
					    effect->node);
		return true;
	case EFFECT_WHOLE:
		if (state->dead == 0)
			return model_broken(model, "n%u: %s", node, whole_rules[effect->arg]);
		return true;
	case EFFECT_ENTER:
		return enter(model, state, effect->arg);
	case EFFECT_LEAVE:
		leave(state, effect->arg);
		return true;
	case EFFECT_ARRIVE:
		state->arrived++;
		return true;
	case EFFECT_PASS:
		return pass(model, state, effect->arg != 0);
	case EFFECT_ERROR:
		if (state->dead == 0)
			return model_broken(model, "a call fails though nobody is lost");
		return true;
	}
	return false;
}

/* ---- loss ---- */

static void crash(struct model *model, struct state *state, unsigned int node)
{
	const struct local_info *info = info_of(model, state, node);

	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		if (info->mapping[page] == PAGE_WRITE)
			state->flags[page] |= PAGE_UNDECIDED;
		state->mark[node][page] = 0;
		state->sharers[node][page] = 0;
	}
	for (unsigned int i = 0; i < MODEL_THREADS; i++) {
		leave(state, info->inside[i]);
		state->inside_dead |= info->inside[i];
	}
	for (unsigned int from = 0; from < model->plan.node_count; from++)
		state->queued[from][node] = 0;
	state->local[node] = LOCAL_DEAD;
	state->dead |= (uint8_t)(1u << node);
	state->crashes_left--;
}

/* What the manager knows before it hears of the loss. */
static void before_notice(struct model *model, struct state *state, unsigned int node,
			  unsigned int dead)
{
	const struct local_info *info = info_of(model, state, node);

	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		if ((state->flags[page] & PAGE_UNDECIDED) && info->managed[page] &&
		    info->pages[page].exclusive && info->pages[page].owner.value == dead)
			state->flags[page] |= PAGE_MUST_REFUSE;
	}
	/* What had not arrived by now never will. */
	state->queued[dead][node] = 0;
}

static bool given_up(struct model *model, struct state *state, unsigned int page, uint64_t version)
{
	bool avoidable = false;

	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		if (is_dead(state, i))
			continue;
		const struct local_info *info = info_of(model, state, i);

		if (info->mapping[page] != PAGE_INVALID)
			return model_broken(model, "page %u is given up, and n%u has it", page, i);
		avoidable |= info->pages[page].version == version;
	}
	/* One that takes a lost manager's place knows only copies that are mapped to be current. */
	if (avoidable && __builtin_popcount(state->dead) == 1 && !plan_moves(&model->plan))
		return model_broken(model, "page %u is given up, and a survivor has its bytes",
				    page);
	state->flags[page] |= PAGE_GIVEN_UP;
	return true;
}

static bool check_losses(struct model *model, struct state *state, unsigned int node)
{
	const struct local_info *info = info_of(model, state, node);

	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		if (info->managed[page] && info->pages[page].lost &&
		    (state->flags[page] & PAGE_GIVEN_UP) == 0 &&
		    !given_up(model, state, page, info->pages[page].directory_version))
			return false;
	}
	return true;
}

/* ---- one step ---- */

static bool written(const struct model *model, const struct state *state, unsigned int page)
{
	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		if (!is_dead(state, i) && info_of(model, state, i)->mapping[page] == PAGE_WRITE)
			return true;
	}
	return (state->flags[page] & PAGE_UNDECIDED) != 0;
}

static bool read_by_survivor(const struct model *model, const struct state *state,
			     unsigned int node, unsigned int page)
{
	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		if (!is_dead(state, i) && info_of(model, state, i)->fetching[page] == node + 1u &&
		    (state->mark[i][page] & MARK_FAILS) == 0)
			return true;
	}
	return false;
}

/* What can never matter again is made the same. */
static void forget(struct model *model, struct state *state)
{
	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		if (!model->plan.has_evict)
			state->flags[page] &= (uint8_t) ~(3u << PAGE_ZEROS);
		if (!written(model, state, page)) {
			replace_values(state, page, VALUE_BEFORE, VALUE_STALE);
			state->flags[page] &= (uint8_t)~PAGE_SAME;
		}
		for (unsigned int node = 0; node < model->plan.node_count; node++) {
			if (is_dead(state, node) && !read_by_survivor(model, state, node, page))
				state->frame[node][page] = VALUE_STALE;
		}
	}
}

/* A page has one manager at most. */
static bool check_managers(struct model *model, const struct state *state, unsigned int node)
{
	const struct local_info *info = info_of(model, state, node);

	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		for (unsigned int i = 0; i < model->plan.node_count && info->managed[page]; i++) {
			if (i != node && !is_dead(state, i) &&
			    info_of(model, state, i)->managed[page])
				return model_broken(model, "n%u and n%u both manage page %u", node,
						    i, page);
		}
	}
	return true;
}

static bool take_transition(struct model *model, struct state *state, unsigned int node,
			    const struct transition *transition)
{
	if (transition->broken != NULL)
		return model_broken(model, "n%u: %s", node, transition->broken);
	for (unsigned int i = 0; i < transition->effect_count; i++) {
		if (!take_effect(model, state, node, &model->effects[transition->effects + i]))
			return false;
	}
	state->local[node] = transition->to;
	state->landed = 0;
	if (!check_managers(model, state, node))
		return false;
	return state->dead == 0 || check_losses(model, state, node);
}

bool state_step(struct model *model, struct state *state, struct choice choice, bool *runs)
{
	unsigned int node = choice.node;
	struct action action = choice.action;

	*runs = false;
	if (action.kind == ACT_CRASH) {
		crash(model, state, node);
		forget(model, state);
		return true;
	}
	if (action.kind == ACT_DELIVER) {
		uint32_t *queue = state->queue[action.arg][node];
		uint8_t *count = &state->queued[action.arg][node];

		(*count)--;
		memmove(queue, queue + 1, *count * sizeof(*queue));
	}
	if (action.kind == ACT_NOTICE)
		before_notice(model, state, node, action.arg);
	struct transition transition = *local_step(model, node, state->local[node], action);

	*runs = transition.runs && !action.pieces;
	if (!take_transition(model, state, node, &transition))
		return false;
	forget(model, state);
	return true;
}

void state_first(struct model *model, struct state *state)
{
	memset(state, 0, sizeof(*state));
	state->crashes_left = (uint8_t)model->plan.world->crashes;
	memcpy(state->local, model->first, sizeof(state->local));
}

/* ---- as a string ---- */

static unsigned char *put(unsigned char *at, const void *bytes, size_t count)
{
	memcpy(at, bytes, count);
	return at + count;
}

static const uint8_t *inverse(const uint8_t *renaming, unsigned int count, uint8_t *room)
{
	for (unsigned int i = 0; i < count; i++)
		room[renaming[i]] = (uint8_t)i;
	return room;
}

static unsigned char *pack_node(struct model *model, const struct state *state, unsigned int node,
				unsigned int renaming, unsigned char *at)
{
	uint32_t local = state->local[node];

	if (renaming != 0 && local != LOCAL_DEAD)
		local = local_rename(model, local, renaming);
	at = put(at, &local, sizeof(local));
	for (unsigned int page = 0; page < model->plan.page_count; page++)
		*at++ = (uint8_t)(state->frame[node][page] | state->mark[node][page] << 4);
	if (!model->plan.world->fast)
		return at;
	for (unsigned int page = 0; page < model->plan.page_count; page++)
		*at++ = renaming == 0 ? state->sharers[node][page]
				      : rename_nodes(state->sharers[node][page],
						     model->plan.renamings[renaming]);
	return at;
}

static unsigned char *pack_channel(struct model *model, const struct state *state,
				   unsigned int from, unsigned int to, unsigned int renaming,
				   unsigned char *at)
{
	uint8_t count = state->queued[from][to];

	*at++ = count;
	for (unsigned int i = 0; i < count; i++) {
		uint32_t message = state->queue[from][to][i];
		uint16_t number = (uint16_t)message;

		if (renaming != 0)
			number = (uint16_t)message_rename(model, message, renaming);
		at = put(at, &number, sizeof(number));
	}
	return at;
}

static size_t pack(struct model *model, const struct state *state, unsigned int renaming,
		   unsigned char *bytes)
{
	const uint8_t *rename = model->plan.renamings[renaming];
	unsigned int node_count = model->plan.node_count;
	unsigned char *at = bytes;
	uint8_t room[MODEL_NODES];
	const uint8_t *was = inverse(rename, node_count, room);

	for (unsigned int i = 0; i < node_count; i++)
		at = pack_node(model, state, was[i], renaming, at);
	*at++ = renaming == 0 ? state->dead : rename_nodes(state->dead, rename);
	*at++ = (uint8_t)(state->crashes_left | state->inside_dead << 4);
	*at++ = (uint8_t)(state->writers | state->readers << 4);
	*at++ = (uint8_t)(state->arrived | state->ones << 4);
	at = put(at, state->flags, model->plan.page_count);
	for (unsigned int i = 0; i < node_count; i++) {
		for (unsigned int j = 0; j < node_count; j++) {
			if (i != j)
				at = pack_channel(model, state, was[i], was[j], renaming, at);
		}
	}
	ASSERT(at <= bytes + STATE_BYTES_MAX);
	return (size_t)(at - bytes);
}

size_t state_pack(struct model *model, const struct state *state,
		  unsigned char bytes[STATE_BYTES_MAX])
{
	unsigned char other[STATE_BYTES_MAX];
	struct state small = *state;

	state_renumber(model, &small);
	state = &small;
	size_t count = pack(model, state, 0, bytes);

	for (unsigned int i = 1; i < model->plan.renaming_count; i++) {
		size_t other_count = pack(model, state, i, other);
		size_t less = count < other_count ? count : other_count;
		int order = memcmp(other, bytes, less);

		if (order < 0 || (order == 0 && other_count < count)) {
			memcpy(bytes, other, other_count);
			count = other_count;
		}
	}
	return count;
}

static const unsigned char *get(const unsigned char *at, void *bytes, size_t count)
{
	memcpy(bytes, at, count);
	return at + count;
}

static const unsigned char *unpack_channel(const unsigned char *at, struct state *state,
					   unsigned int from, unsigned int to)
{
	uint8_t count = *at++;

	state->queued[from][to] = count;
	for (unsigned int i = 0; i < count; i++) {
		uint16_t number;

		at = get(at, &number, sizeof(number));
		state->queue[from][to][i] = number;
	}
	return at;
}

void state_unpack(struct model *model, const unsigned char *at, struct state *state)
{
	unsigned int node_count = model->plan.node_count;

	memset(state, 0, sizeof(*state));
	for (unsigned int i = 0; i < node_count; i++) {
		at = get(at, &state->local[i], sizeof(state->local[i]));
		for (unsigned int page = 0; page < model->plan.page_count; page++, at++) {
			state->frame[i][page] = *at & 15;
			state->mark[i][page] = *at >> 4;
		}
		for (unsigned int page = 0;
		     page < model->plan.page_count && model->plan.world->fast; page++)
			state->sharers[i][page] = *at++;
	}
	state->dead = *at++;
	state->crashes_left = *at & 15;
	state->inside_dead = *at++ >> 4;
	state->writers = *at & 15u;
	state->readers = (unsigned int)*at++ >> 4;
	state->arrived = *at & 15;
	state->ones = *at++ >> 4;
	at = get(at, state->flags, model->plan.page_count);
	for (unsigned int i = 0; i < node_count; i++) {
		for (unsigned int j = 0; j < node_count; j++) {
			if (i != j)
				at = unpack_channel(at, state, i, j);
		}
	}
}
