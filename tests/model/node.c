/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node: its engine, pager, threads and reads under way. What an action does beyond the node is
 * left to state.c as effects, in order.
 */
#include "model.h"

/* ---- what can happen ---- */

static void add(struct action actions[MODEL_ACTIONS], unsigned int *count, enum action_kind kind,
		unsigned int arg, unsigned int item)
{
	ASSERT(*count < MODEL_ACTIONS);
	actions[(*count)++] = (struct action){
		.kind = (uint8_t)kind,
		.arg = (uint8_t)arg,
		.item = (uint16_t)item,
	};
}

static const struct script *script_of(const struct plan *plan, unsigned int node,
				      unsigned int thread)
{
	return &plan->scripts[node][thread];
}

static void thread_actions(const struct plan *plan, const struct node *node, unsigned int index,
			   struct action actions[MODEL_ACTIONS], unsigned int *count)
{
	const struct thread *thread = &node->local.threads[index];
	const struct script *script = script_of(plan, node->id, index);

	if (thread->state == THREAD_ACCESS)
		add(actions, count, ACT_THREAD, index, 0);
	if (thread->state != THREAD_READY || thread->done == script->length)
		return;
	if (script->ops[thread->done] != SCRIPT_ANY) {
		add(actions, count, ACT_THREAD, index, 0);
		return;
	}
	for (unsigned int i = 0; i < plan->any_count; i++)
		add(actions, count, ACT_THREAD, index, i);
}

unsigned int node_actions(const struct model *model, const struct node *node,
			  struct action actions[MODEL_ACTIONS])
{
	const struct plan *plan = &model->plan;
	const struct local *local = &node->local;
	unsigned int count = 0;

	for (unsigned int i = 0; i < plan->thread_count; i++)
		thread_actions(plan, node, i, actions, &count);
	for (unsigned int i = 0; i < 2 * plan->page_count; i++) {
		if (local->faults >> i & 1)
			add(actions, &count, ACT_FAULT, i, 0);
	}
	for (unsigned int i = 0; i < local->pager_count; i++)
		add(actions, &count, local->pager[i].applied ? ACT_REPORT : ACT_APPLY, i, 0);
	for (unsigned int i = 0; i < local->read_count; i++)
		add(actions, &count, ACT_READ, i, 0);
	for (unsigned int i = 0; i < plan->page_count; i++) {
		if (local->chains[i].active)
			add(actions, &count, ACT_CHAIN, i, 0);
		if (local->collections[i].active)
			add(actions, &count, ACT_COLLECT, i, 0);
	}
	if (engine_timer_ns(node->arena.engine) <= MODEL_NOW_US * 1000)
		add(actions, &count, ACT_TIMER, 0, 0);
	if (image_time_can_pass(plan, node->arena.engine))
		add(actions, &count, ACT_TIME, 0, 0);
	return count;
}

/* ---- effects ---- */

/* A step under way. */
struct step {
	struct model *model;
	struct node *node;
	struct action action;
	struct outcome *outcome;
};

static void effect(struct step *step, enum effect_kind kind, unsigned int page, unsigned int node,
		   unsigned int arg, uint32_t message)
{
	struct outcome *outcome = step->outcome;

	ASSERT(outcome->effect_count < MODEL_EFFECTS);
	outcome->effects[outcome->effect_count++] = (struct effect){
		.kind = (uint8_t)kind,
		.page = (uint8_t)page,
		.node = (uint8_t)node,
		.arg = (uint8_t)arg,
		.message = message,
	};
}

static void broken(struct step *step, const char *rule)
{
	if (step->outcome->broken == NULL)
		step->outcome->broken = rule;
}

static unsigned int page_index(const struct step *step, struct page_id page)
{
	uint64_t index = page.value - step->model->plan.world->first_page;

	ASSERT(index < step->model->plan.page_count);
	return (unsigned int)index;
}

static struct run run_of(const struct step *step, unsigned int first, unsigned int count)
{
	return (struct run){ plan_page(&step->model->plan, first), count };
}

/* ---- the pager ---- */

static void set_mapping(struct step *step, enum effect_kind kind, unsigned int page,
			enum page_state mapping)
{
	uint8_t *now = &step->node->local.mapping[page];

	effect(step, kind, page, step->node->id, (unsigned int)*now << 4 | mapping, 0);
	*now = (uint8_t)mapping;
}

static void pager_apply(struct step *step, struct pager_op *op)
{
	for (unsigned int i = 0; i < op->count && !op->applied; i++)
		set_mapping(step, EFFECT_HIDE, op->first + i,
			    op->downgrade ? PAGE_READ : PAGE_INVALID);
	op->applied = true;
}

/* Calls on one page take effect in the order of the calls. */
static void pager_settle(struct step *step, unsigned int page)
{
	struct local *local = &step->node->local;

	for (unsigned int i = 0; i < local->pager_count; i++) {
		struct pager_op *op = &local->pager[i];

		if (page >= op->first && page < op->first + op->count)
			pager_apply(step, op);
	}
}

static void pager_begin(struct step *step, unsigned int first, unsigned int count, bool downgrade)
{
	struct local *local = &step->node->local;
	unsigned int at = local->pager_count;

	if (local->pager_count == MODEL_PAGER_OPS) {
		broken(step, "the pager is told more at once than the model has room for");
		return;
	}
	/* By page, so that one state has one form; those of one page in order. */
	for (; at > 0 && local->pager[at - 1].first > first; at--)
		local->pager[at] = local->pager[at - 1];
	local->pager[at] = (struct pager_op){
		.first = (uint8_t)first,
		.count = (uint8_t)count,
		.downgrade = downgrade,
	};
	local->pager_count++;
}

static void recall(struct step *step, const struct command *command)
{
	bool downgrade = command->kind == CMD_DOWNGRADE;
	unsigned int first = page_index(step, command->run.page);
	unsigned int count = command->run.page_count;
	unsigned int piece = step->action.pieces ? 1 : count;

	step->outcome->runs |= count > 1;
	for (unsigned int i = 0; i < count; i++) {
		pager_settle(step, first + i);
		enum page_state mapping = step->node->local.mapping[first + i];

		if (mapping == PAGE_INVALID || (downgrade && mapping != PAGE_WRITE))
			broken(step, "the pager is to take away what is not there");
	}
	for (unsigned int i = 0; i < count; i += piece)
		pager_begin(step, first + i, piece, downgrade);
}

/* ---- pages that come ---- */

static void op_over(struct thread *thread)
{
	thread->state = THREAD_READY;
	thread->op = 0;
	thread->done++;
}

static void wake(struct step *step, unsigned int page, bool failed)
{
	const struct plan *plan = &step->model->plan;

	for (unsigned int i = 0; i < plan->thread_count; i++) {
		struct thread *thread = &step->node->local.threads[i];

		if (thread->state != THREAD_FAULTED || plan->ops[thread->op].page != page)
			continue;
		if (failed)
			op_over(thread);
		else
			thread->state = THREAD_ACCESS;
	}
}

static void show(struct step *step, const struct command *command)
{
	unsigned int first = page_index(step, command->run.page);

	for (unsigned int i = first; i < first + command->run.page_count; i++) {
		pager_settle(step, i);
		if (command->kind == CMD_UPGRADE && step->node->local.mapping[i] != PAGE_READ)
			broken(step, "an upgrade of a page that is not mapped for reading");
		set_mapping(step, EFFECT_SHOW, i,
			    command->kind == CMD_MAP_READ ? PAGE_READ : PAGE_WRITE);
		wake(step, i, false);
	}
}

static void fail(struct step *step, const struct command *command)
{
	unsigned int first = page_index(step, command->run.page);

	for (unsigned int i = first; i < first + command->run.page_count; i++) {
		struct directory_view view;

		/* What a manager says to itself is not sent. */
		if (engine_directory_view(step->node->arena.engine,
					  plan_page(&step->model->plan, i), &view))
			effect(step, EFFECT_REFUSE, i, step->node->id, step->node->local.mapping[i],
			       0);
		effect(step, EFFECT_FAIL, i, command->peer.value, 0, 0);
		wake(step, i, true);
	}
}

static void fetch_begin(struct step *step, unsigned int first, unsigned int count,
			unsigned int peer)
{
	struct local *local = &step->node->local;
	unsigned int at = local->read_count;

	if (at == MODEL_READS) {
		broken(step, "a node reads more at once than the model has room for");
		return;
	}
	for (; at > 0 && local->reads[at - 1].first > first; at--)
		local->reads[at] = local->reads[at - 1];
	local->reads[at] = (struct read_op){ (uint8_t)peer, (uint8_t)first, (uint8_t)count };
	local->read_count++;
	for (unsigned int i = first; i < first + count; i++)
		effect(step, EFFECT_FETCH, i, peer, 0, 0);
}

static bool fetching(const struct local *local, unsigned int page)
{
	for (unsigned int i = 0; i < local->read_count; i++) {
		const struct read_op *op = &local->reads[i];

		if (page >= op->first && page < op->first + op->count)
			return true;
	}
	return false;
}

static void fetch(struct step *step, const struct command *command)
{
	unsigned int first = page_index(step, command->run.page);
	unsigned int count = command->run.page_count;
	unsigned int piece = step->action.pieces ? 1 : count;

	step->outcome->runs |= count > 1;
	for (unsigned int i = first; i < first + count; i++) {
		if (step->node->local.mapping[i] != PAGE_INVALID)
			broken(step, "a fetch into a frame that is mapped");
		if (fetching(&step->node->local, i))
			broken(step, "two fetches into one frame");
	}
	for (unsigned int i = 0; i < count; i += piece)
		fetch_begin(step, first + i, piece, command->peer.value);
}

/* ---- fast reads ---- */

static void chain_begin(struct step *step, const struct command *command)
{
	unsigned int page = page_index(step, command->fast.page);
	struct chain *chain = &step->node->local.chains[page];

	if (step->node->local.mapping[page] != PAGE_INVALID)
		broken(step, "a fast read of a page that is mapped");
	if (chain->active || fetching(&step->node->local, page))
		broken(step, "a fast read beside another");
	*chain = (struct chain){
		.active = true,
		.add = command->fast.add,
		.peer = (uint8_t)command->peer.value,
	};
}

static void take(struct step *step, const struct command *command)
{
	unsigned int page = page_index(step, command->run.page);

	if (step->action.kind != ACT_CHAIN || step->action.arg != page ||
	    command->run.page_count != 1)
		broken(step, "bytes are taken that were not read");
	if (step->node->local.mapping[page] != PAGE_INVALID)
		broken(step, "bytes are taken for a page that is mapped");
	effect(step, EFFECT_TAKE, page, 0, 0, 0);
}

static void set_gate(struct step *step, const struct command *command)
{
	step->node->local.gates[page_index(step, command->gate.page)] = command->gate.word;
}

static void collect_begin(struct step *step, const struct command *command)
{
	struct collection *collection =
		&step->node->local.collections[page_index(step, command->collect.page)];

	if (collection->active)
		broken(step, "sharers are collected twice at once");
	*collection = (struct collection){
		.active = true,
		.keep = (uint8_t)command->collect.keep.value,
	};
}

static void release(struct step *step, const struct command *command)
{
	unsigned int first = page_index(step, command->run.page);

	for (unsigned int i = first; i < first + command->run.page_count; i++) {
		pager_settle(step, i);
		if (step->node->local.mapping[i] != PAGE_INVALID || fetching(&step->node->local, i))
			broken(step, "the frame of a page goes that is in use");
		effect(step, EFFECT_RELEASE, i, 0, 0, 0);
	}
}

/* ---- calls ---- */

static bool failed_by_loss(int status)
{
	return status == -EHOSTDOWN || status == -EOWNERDEAD;
}

static void acquired(struct step *step, struct thread *thread, enum op_kind kind, int status)
{
	if (kind == OP_TRY && status == -EBUSY)
		return;
	if (status != 0) {
		broken(step, "a lock cannot be had");
		return;
	}
	thread->inside = kind == OP_ACQUIRE_READ ? INSIDE_READ : INSIDE_WRITE;
	effect(step, EFFECT_ENTER, 0, 0, thread->inside, 0);
}

static void complete(struct step *step, const struct command *command)
{
	uint64_t index = command->complete.token.value - 1;
	struct thread *thread = &step->node->local.threads[index];

	if (index >= step->model->plan.thread_count || thread->state != THREAD_CALL) {
		broken(step, "a call completes that nobody made");
		return;
	}
	enum op_kind kind = step->model->plan.ops[thread->op].kind;

	if (failed_by_loss(command->status))
		effect(step, EFFECT_ERROR, 0, 0, 0, 0);
	else if (kind != OP_RELEASE && kind != OP_ARRIVE)
		acquired(step, thread, kind, command->status);
	else if (command->status != 0)
		broken(step, "a call fails");
	else if (kind == OP_ARRIVE)
		effect(step, EFFECT_PASS, 0, 0, command->complete.value == 1, 0);
	op_over(thread);
}

/* ---- commands ---- */

/* Hints lead every writer to the manager, as long as nobody is lost. */
static void check_request(struct step *step, const struct message_request *request)
{
	if (request->flags & REQUEST_ROUND)
		effect(step, EFFECT_WHOLE, 0, 0, WHOLE_ROUND, 0);
	if (request->hops > 0 && request->hops + 1u >= step->model->plan.node_count)
		effect(step, EFFECT_WHOLE, 0, 0, WHOLE_HOPS, 0);
}

static void send(struct step *step, const struct command *command)
{
	const struct message *message = &command->message;

	if (command->peer.value == step->node->id)
		broken(step, "a message to oneself is sent");
	if (message->bytes != message_bytes(message))
		broken(step, "a message of a wrong size");
	if (message->kind == MSG_REFUSE) {
		unsigned int first = page_index(step, page_id(message->run.page));

		for (unsigned int i = first; i < first + message->run.page_count; i++)
			effect(step, EFFECT_REFUSE, i, step->node->id, step->node->local.mapping[i],
			       0);
	}
	if (message->kind == MSG_WRITE_REQUEST && step->model->plan.manager == MANAGER_DYNAMIC)
		check_request(step, &message->request);
	effect(step, EFFECT_SEND, 0, command->peer.value, 0, message_intern(step->model, message));
}

static void carry_out(struct step *step, const struct command *command)
{
	trace_command(step->model, step->node, command);
	switch (command->kind) {
	case CMD_SEND:
		send(step, command);
		return;
	case CMD_READ:
		fetch(step, command);
		return;
	case CMD_FAST_READ:
		chain_begin(step, command);
		return;
	case CMD_TAKE:
		take(step, command);
		return;
	case CMD_GATE:
		set_gate(step, command);
		return;
	case CMD_COLLECT:
		collect_begin(step, command);
		return;
	case CMD_MAP_READ:
	case CMD_MAP_WRITE:
	case CMD_UPGRADE:
		show(step, command);
		return;
	case CMD_FAIL:
		fail(step, command);
		return;
	case CMD_INVALIDATE:
	case CMD_DOWNGRADE:
		recall(step, command);
		return;
	case CMD_COMPLETE:
		complete(step, command);
		return;
	case CMD_LOSE:
		effect(step, EFFECT_LOSE, 0, command->peer.value, 0, 0);
		return;
	case CMD_UPDATE:
		broken(step, "an update of a page that is not under write-update");
		return;
	case CMD_RELEASE:
		release(step, command);
		return;
	case CMD_FREE:
		broken(step, "a block is freed that nobody had");
		return;
	}
}

static void engine(struct step *step, struct event *event)
{
	struct commands *commands = &step->model->commands;

	commands->count = 0;
	event->now_ns = MODEL_NOW_US * 1000;
	trace_event(step->model, step->node, event);
	int error = engine_step(step->node->arena.engine, event, commands);

	if (error == -EPROTO)
		broken(step, "a message breaks the protocol (-EPROTO)");
	else if (error != 0)
		broken(step, "engine_step() refuses an event");
	for (uint32_t i = 0; i < commands->count; i++)
		carry_out(step, &commands->list[i]);
}

/* ---- threads ---- */

static void access_page(struct step *step, struct thread *thread)
{
	struct local *local = &step->node->local;
	const struct op *op = &step->model->plan.ops[thread->op];
	bool write = op->kind == OP_STORE;

	if (local->mapping[op->page] < (write ? PAGE_WRITE : PAGE_READ)) {
		trace_thread(step->model, step->node, thread, "faults at");
		thread->state = THREAD_FAULTED;
		local->faults |= (uint8_t)(1u << (2 * op->page + write));
		return;
	}
	trace_thread(step->model, step->node, thread, write ? "stores to" : "loads");
	effect(step, write ? EFFECT_STORE : EFFECT_LOAD, op->page, 0, 0, 0);
	op_over(thread);
}

static void evict(struct step *step, struct thread *thread)
{
	const struct op *op = &step->model->plan.ops[thread->op];
	struct event event = { .kind = EV_EVICT };

	event.run = op->page == MODEL_PAGES ? run_of(step, 0, step->model->plan.page_count)
					    : run_of(step, op->page, 1);
	op_over(thread);
	engine(step, &event);
}

static void prefetch(struct step *step, struct thread *thread)
{
	const struct op *op = &step->model->plan.ops[thread->op];
	struct event event = { .kind = EV_PREFETCH };

	event.fault.run = op->page == MODEL_PAGES ? run_of(step, 0, step->model->plan.page_count)
						  : run_of(step, op->page, 1);
	event.fault.write = op->kind == OP_PREFETCH_WRITE;
	event.fault.guess = op->kind == OP_GUESS;
	op_over(thread);
	engine(step, &event);
}

static enum sync_op sync_op(enum op_kind kind)
{
	switch (kind) {
	case OP_ACQUIRE:
		return SYNC_ACQUIRE;
	case OP_ACQUIRE_READ:
		return SYNC_ACQUIRE_READ;
	case OP_TRY:
		return SYNC_TRY;
	case OP_RELEASE:
		return SYNC_RELEASE;
	case OP_ARRIVE:
		return SYNC_ARRIVE;
	case OP_LOAD:
	case OP_STORE:
	case OP_PREFETCH:
	case OP_PREFETCH_WRITE:
	case OP_GUESS:
	case OP_EVICT:
		break;
	}
	return SYNC_OP_END;
}

static void call(struct step *step, struct thread *thread, unsigned int index)
{
	const struct plan *plan = &step->model->plan;
	enum op_kind kind = plan->ops[thread->op].kind;
	struct event event = { .kind = EV_SYNC, .token.value = index + 1 };

	if (kind == OP_RELEASE && thread->inside == 0) {
		trace_thread(step->model, step->node, thread, "has no lock to release");
		op_over(thread);
		return;
	}
	if (kind == OP_RELEASE)
		effect(step, EFFECT_LEAVE, 0, 0, thread->inside, 0);
	if (kind == OP_ARRIVE)
		effect(step, EFFECT_ARRIVE, 0, 0, 0, 0);
	thread->inside = 0;
	thread->state = THREAD_CALL;
	event.sync.name = kind == OP_ARRIVE ? plan->barrier : plan->lock;
	event.sync.kind = plan_object_kind(plan, event.sync.name);
	event.sync.op = sync_op(kind);
	event.sync.thread = index;
	engine(step, &event);
}

static void thread_step(struct step *step)
{
	const struct plan *plan = &step->model->plan;
	unsigned int index = step->action.arg;
	struct thread *thread = &step->node->local.threads[index];

	if (thread->state == THREAD_READY) {
		uint8_t op = script_of(plan, step->node->id, index)->ops[thread->done];

		thread->op = op == SCRIPT_ANY ? plan->any[step->action.item] : op;
	}
	switch (plan->ops[thread->op].kind) {
	case OP_LOAD:
	case OP_STORE:
		access_page(step, thread);
		return;
	case OP_PREFETCH:
	case OP_PREFETCH_WRITE:
	case OP_GUESS:
		prefetch(step, thread);
		return;
	case OP_EVICT:
		evict(step, thread);
		return;
	case OP_ACQUIRE:
	case OP_ACQUIRE_READ:
	case OP_TRY:
	case OP_RELEASE:
	case OP_ARRIVE:
		call(step, thread, index);
		return;
	}
}

/* ---- what happens ---- */

static void deliver(struct step *step)
{
	struct message message;
	struct event event = { .kind = EV_MESSAGE, .message = &message };

	event.peer = node_id(step->action.arg);
	message_restore(step->model, step->action.item, &message);
	engine(step, &event);
}

static void fault(struct step *step)
{
	unsigned int bit = step->action.arg;
	struct event event = { .kind = EV_FAULT };

	event.fault.run = run_of(step, bit / 2, 1);
	event.fault.write = bit % 2;
	step->node->local.faults &= (uint8_t) ~(1u << bit);
	engine(step, &event);
}

static void apply(struct step *step)
{
	struct pager_op *op = &step->node->local.pager[step->action.arg];

	trace_pager(step->model, step->node, op);
	pager_apply(step, op);
}

static void report(struct step *step)
{
	struct local *local = &step->node->local;
	unsigned int index = step->action.arg;
	struct pager_op op = local->pager[index];
	struct event event = { .kind = EV_PAGER_DONE };

	local->pager_count--;
	memmove(&local->pager[index], &local->pager[index + 1],
		(local->pager_count - index) * sizeof(op));
	local->pager[local->pager_count] = (struct pager_op){ .first = 0 };
	event.pager.run = run_of(step, op.first, op.count);
	event.pager.downgrade = op.downgrade;
	engine(step, &event);
}

static void read_over(struct step *step)
{
	struct local *local = &step->node->local;
	unsigned int index = step->action.arg;
	struct read_op op = local->reads[index];
	bool fails = step->action.item != 0;
	struct event event = {
		.kind = EV_READ_DONE,
		.peer = node_id(op.peer),
		.status = fails ? -EHOSTDOWN : 0,
		.run = run_of(step, op.first, op.count),
	};

	local->read_count--;
	memmove(&local->reads[index], &local->reads[index + 1],
		(local->read_count - index) * sizeof(op));
	local->reads[local->read_count] = (struct read_op){ .first = 0 };
	for (unsigned int i = op.first; i < op.first + op.count; i++)
		effect(step, fails ? EFFECT_MISS : EFFECT_LAND, i, op.peer, 0, 0);
	engine(step, &event);
}

static void chain_over(struct step *step, int status)
{
	unsigned int page = step->action.arg;
	struct chain chain = step->node->local.chains[page];
	struct event event = { .kind = EV_FAST_DONE, .peer = node_id(chain.peer) };

	step->node->local.chains[page] = (struct chain){ .active = false };
	event.status = status;
	event.fast.page = plan_page(&step->model->plan, page);
	event.fast.added = chain.add && chain.done > 0;
	event.fast.gate = status == 0 ? chain.gate : 0;
	engine(step, &event);
}

static void chain_step(struct step *step)
{
	unsigned int page = step->action.arg;
	struct chain *chain = &step->node->local.chains[page];

	if (step->action.item == CHAIN_FAILS || step->action.item == CHAIN_REFUSED) {
		effect(step, EFFECT_MISS, page, chain->peer, 0, 0);
		chain_over(step, step->action.item == CHAIN_FAILS ? -EHOSTDOWN : -EAGAIN);
	} else if (chain->done == 0) {
		trace_part(step->model, step->node, page, "adds its bit for");
		if (chain->add)
			effect(step, EFFECT_ADD, page, chain->peer, 0, 0);
		chain->done = 1;
	} else if (chain->done == 1) {
		trace_part(step->model, step->node, page, "reads the gate of");
		chain->gate =
			gate_restore(step->model, step->action.item - (unsigned int)CHAIN_GATE);
		effect(step, EFFECT_WATCH, page, chain->peer, 0, 0);
		chain->done = 2;
	} else {
		effect(step, EFFECT_READ, page, chain->peer, 0, 0);
		chain_over(step, 0);
	}
}

static void collect_step(struct step *step)
{
	unsigned int page = step->action.arg;
	struct collection *collection = &step->node->local.collections[page];
	struct collection over = *collection;
	struct event event = { .kind = EV_COLLECTED };
	uint64_t sharers = over.seen;

	if (!over.fetched) {
		trace_part(step->model, step->node, page, "fetches the sharers of");
		collection->fetched = true;
		collection->seen = (uint8_t)step->action.item;
		return;
	}
	*collection = (struct collection){ .active = false };
	effect(step, EFFECT_CLEAR, page, 0, over.seen & ~(1u << over.keep), 0);
	event.collected.page = plan_page(&step->model->plan, page);
	event.collected.keep = node_id(over.keep);
	event.collected.sharers = &sharers;
	engine(step, &event);
}

static void timer(struct step *step)
{
	struct event event = { .kind = EV_TIMER };

	engine(step, &event);
}

static void notice(struct step *step)
{
	struct event event = { .kind = EV_PEER_DOWN, .peer = node_id(step->action.arg) };

	engine(step, &event);
}

void node_take(struct model *model, struct node *node, struct action action,
	       struct outcome *outcome)
{
	struct step step = { model, node, action, outcome };

	outcome->broken = NULL;
	outcome->runs = false;
	outcome->effect_count = 0;
	switch ((enum action_kind)action.kind) {
	case ACT_DELIVER:
		deliver(&step);
		return;
	case ACT_THREAD:
		thread_step(&step);
		return;
	case ACT_FAULT:
		fault(&step);
		return;
	case ACT_APPLY:
		apply(&step);
		return;
	case ACT_REPORT:
		report(&step);
		return;
	case ACT_READ:
		read_over(&step);
		return;
	case ACT_CHAIN:
		chain_step(&step);
		return;
	case ACT_COLLECT:
		collect_step(&step);
		return;
	case ACT_TIMER:
		timer(&step);
		return;
	case ACT_TIME:
		trace_time(model, node);
		image_time_pass(&model->plan, node->arena.engine);
		return;
	case ACT_NOTICE:
		notice(&step);
		return;
	case ACT_CRASH:
		break;
	}
	ASSERT(false);
}

/* ---- as a string ---- */

static void code_threads(struct codec *codec, struct local *local)
{
	for (unsigned int i = 0; i < MODEL_THREADS; i++) {
		struct thread *thread = &local->threads[i];

		thread->state = (uint8_t)code(codec, thread->state);
		thread->done = (uint8_t)code(codec, thread->done);
		thread->op = (uint8_t)code(codec, thread->op);
		thread->inside = (uint8_t)code(codec, thread->inside);
	}
}

static void code_ops(struct codec *codec, struct local *local)
{
	local->read_count = (uint8_t)code(codec, local->read_count);
	for (unsigned int i = 0; i < local->read_count; i++) {
		struct read_op *op = &local->reads[i];

		op->peer = (uint8_t)code_node(codec, op->peer);
		op->first = (uint8_t)code(codec, op->first);
		op->count = (uint8_t)code(codec, op->count);
	}
	local->pager_count = (uint8_t)code(codec, local->pager_count);
	for (unsigned int i = 0; i < local->pager_count; i++) {
		struct pager_op *op = &local->pager[i];

		op->first = (uint8_t)code(codec, op->first);
		op->count = (uint8_t)code(codec, op->count);
		op->downgrade = code(codec, op->downgrade) != 0;
		op->applied = code(codec, op->applied) != 0;
	}
}

static void code_fast(struct codec *codec, struct local *local, unsigned int page)
{
	struct chain *chain = &local->chains[page];
	struct collection *collection = &local->collections[page];

	local->gates[page] = code_gate(codec, local->gates[page]);
	chain->active = code(codec, chain->active) != 0;
	if (chain->active) {
		chain->add = code(codec, chain->add) != 0;
		chain->peer = (uint8_t)code_node(codec, chain->peer);
		chain->done = (uint8_t)code(codec, chain->done);
		chain->gate = code_gate(codec, chain->gate);
	}
	collection->active = code(codec, collection->active) != 0;
	if (collection->active) {
		collection->fetched = code(codec, collection->fetched) != 0;
		collection->keep = (uint8_t)code_node(codec, collection->keep);
		collection->seen = (uint8_t)code_nodes(codec, collection->seen);
	}
}

bool node_fast_at_rest(const struct node *node)
{
	for (unsigned int i = 0; i < MODEL_PAGES; i++) {
		if (node->local.chains[i].active || node->local.collections[i].active)
			return false;
	}
	return true;
}

unsigned int node_versions(const struct plan *plan, struct node *node, unsigned int page,
			   uint64_t versions[NODE_VERSIONS])
{
	unsigned int count = image_versions(plan, node->arena.engine, page, versions);

	if (image_gate_open(node->local.gates[page]))
		versions[count++] = image_gate_version(node->local.gates[page]);
	if (image_gate_open(node->local.chains[page].gate))
		versions[count++] = image_gate_version(node->local.chains[page].gate);
	return count;
}

static uint64_t renumber_gate(uint64_t gate, const struct renumbering *all)
{
	if (!image_gate_open(gate))
		return gate;
	return engine_gate(image_gate_owner(gate), renumbered(all, image_gate_version(gate)));
}

void node_renumber_versions(const struct plan *plan, struct node *node, unsigned int page,
			    const struct renumbering *all)
{
	struct local *local = &node->local;

	image_renumber_versions(plan, node->arena.engine, page, all);
	local->gates[page] = renumber_gate(local->gates[page], all);
	local->chains[page].gate = renumber_gate(local->chains[page].gate, all);
}

void node_code(struct codec *codec, const struct plan *plan, struct node *node)
{
	struct local *local = &node->local;

	if (codec->reading)
		*local = (struct local){ .faults = 0 };
	node->id = code_node(codec, node->id);
	for (unsigned int i = 0; i < MODEL_PAGES; i++)
		local->mapping[i] = (uint8_t)code(codec, local->mapping[i]);
	local->faults = (uint8_t)code(codec, local->faults);
	code_threads(codec, local);
	code_ops(codec, local);
	for (unsigned int i = 0; i < plan->page_count && plan->world->fast; i++)
		code_fast(codec, local, i);
	image_code(codec, plan, node->arena.engine);
}
