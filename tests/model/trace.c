/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways through a world in readable lines. The engines here go on from step to step as they would in
 * a real node, and are never restored from a string; beside them goes the state that is looked up,
 * and the two must agree at every step.
 */
#include "model.h"

#include "../sim/lines.h"
#include "base/prng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- lines ---- */

void trace_event(const struct model *model, const struct node *node, const struct event *event)
{
	if (model->trace)
		line_event(stdout, node_id(node->id), event);
}

void trace_command(const struct model *model, const struct node *node,
		   const struct command *command)
{
	if (!model->trace)
		return;
	printf("%10s", "");
	line_command(stdout, node_id(node->id), command);
}

void trace_thread(const struct model *model, const struct node *node, const struct thread *thread,
		  const char *does)
{
	uint8_t page = model->plan.ops[thread->op].page;

	if (model->trace)
		printf("n%u: thread %u %s p%" PRIu64 "\n", node->id,
		       (unsigned int)(thread - node->local.threads), does,
		       plan_page(&model->plan, page).value);
}

void trace_pager(const struct model *model, const struct node *node, const struct pager_op *op)
{
	if (model->trace)
		printf("n%u: the pager %s p%" PRIu64 "+%u\n", node->id,
		       op->downgrade ? "write-protects" : "takes away",
		       plan_page(&model->plan, op->first).value, op->count);
}

void trace_part(const struct model *model, const struct node *node, unsigned int page,
		const char *does)
{
	if (model->trace)
		printf("n%u: a one-sided operation %s p%" PRIu64 "\n", node->id, does,
		       plan_page(&model->plan, page).value);
}

void trace_time(const struct model *model, const struct node *node)
{
	if (model->trace)
		printf("n%u: a hold time ends\n", node->id);
}

/* ---- walking ---- */

struct walk {
	struct model *model;
	struct node nodes[MODEL_NODES]; /* their engines go on */
	struct state state;
};

static void walk_begin(struct walk *walk, struct model *model)
{
	walk->model = model;
	nodes_open(model, walk->nodes);
	state_first(model, &walk->state);
}

/* One choice, by both. False when it breaks a rule. */
static bool walk_step(struct walk *walk, struct choice choice)
{
	struct model *model = walk->model;
	struct node *node = &walk->nodes[choice.node];
	struct outcome outcome;
	const char *rule = NULL;
	bool runs;

	if (choice.action.kind == ACT_CRASH) {
		if (model->trace)
			printf("n%u crashes\n", choice.node);
		return state_step(model, &walk->state, choice, &runs);
	}
	node_take_guarded(model, node, choice.action, &outcome);
	bool trace = model->trace;

	model->trace = false;
	bool holds = state_step(model, &walk->state, choice, &runs);

	model->trace = trace;
	if (!holds || outcome.broken != NULL)
		return holds ? model_broken(model, "n%u: %s", choice.node, outcome.broken) : false;
	uint32_t number = local_intern(model, node, &rule);

	if (rule != NULL)
		return model_broken(model, "n%u: %s", choice.node, rule);
	if (number != walk->state.local[choice.node])
		return model_broken(model,
				    "n%u goes on otherwise than its restored twin: the "
				    "model leaves something out",
				    choice.node);
	return true;
}

/* Does the string of the local state have all that the engine has? */
static bool walk_compare(struct walk *walk, unsigned int id)
{
	struct model *model = walk->model;
	const char *part;

	local_restore(model, walk->state.local[id], &model->scratch[id]);
	part = image_differs(&walk->nodes[id].arena, &model->scratch[id].arena);
	if (part != NULL)
		return model_broken(model, "n%u: the model leaves out something of its %s", id,
				    part);
	return true;
}

/* What all choices lead to, in any order; in pieces too, as explore.c does. */
static uint64_t successors_sum(struct model *model, const struct state *state)
{
	struct choice choices[CHOICES_MAX];
	unsigned int count = state_choices(model, state, choices);
	uint64_t sum = count;

	for (unsigned int i = 0; i < count; i++) {
		unsigned char bytes[STATE_BYTES_MAX];
		struct state next = *state;
		bool runs;

		if (state_step(model, &next, choices[i], &runs))
			sum += hash_bytes(bytes, state_pack(model, &next, bytes)).low;
	}
	return sum;
}

/* Does the packed state, with its nodes renamed and versions renumbered, behave alike? */
static bool walk_compare_packed(struct walk *walk)
{
	unsigned char bytes[STATE_BYTES_MAX];
	struct state packed;

	state_pack(walk->model, &walk->state, bytes);
	state_unpack(walk->model, bytes, &packed);
	if (successors_sum(walk->model, &walk->state) != successors_sum(walk->model, &packed))
		return model_broken(walk->model, "a packed state behaves otherwise");
	return true;
}

/* ---- random ---- */

static bool walk_random(struct walk *walk, struct prng *prng)
{
	struct choice choices[CHOICES_MAX];
	unsigned int count;

	while ((count = state_choices(walk->model, &walk->state, choices)) > 0) {
		struct choice choice = choices[prng_below(prng, count)];

		choice.action.pieces = prng_below(prng, 2) & 1;
		if (choice.action.kind == ACT_CRASH && prng_below(prng, 8) != 0)
			continue;
		if (!walk_compare_packed(walk) || !walk_step(walk, choice))
			return false;
		if (choice.action.kind != ACT_CRASH && !walk_compare(walk, choice.node))
			return false;
	}
	return true;
}

bool trace_walks(struct model *model, unsigned int walk_count, uint64_t seed)
{
	struct prng prng = prng_init(seed);
	bool holds = true;

	for (unsigned int i = 0; i < walk_count && holds; i++) {
		struct walk walk;

		walk_begin(&walk, model);
		holds = walk_random(&walk, &prng);
		nodes_close(model, walk.nodes);
	}
	return holds;
}

/* ---- the way to a state ---- */

struct path {
	char text[4096];
	size_t used;
};

static void path_add(struct path *path, unsigned int choice, bool pieces)
{
	int count = snprintf(path->text + path->used, sizeof(path->text) - path->used, "%s%u%s",
			     path->used == 0 ? "" : ".", choice, pieces ? "p" : "");

	ASSERT(count > 0 && path->used + (size_t)count < sizeof(path->text));
	path->used += (size_t)count;
}

static bool leads_to(struct model *model, const struct state *state, struct choice choice,
		     const struct hash128 *hash)
{
	unsigned char bytes[STATE_BYTES_MAX];
	struct state next = *state;
	bool runs;

	if (!state_step(model, &next, choice, &runs))
		return hash == NULL;
	if (hash == NULL)
		return false;
	struct hash128 found = hash_bytes(bytes, state_pack(model, &next, bytes));

	return found.low == hash->low && found.high == hash->high;
}

/* The choice that leads to the state with the hash, or with NULL one that breaks a rule. */
static struct choice find_choice(struct model *model, const struct state *state,
				 const struct hash128 *hash, struct path *path)
{
	struct choice choices[CHOICES_MAX];
	unsigned int count = state_choices(model, state, choices);

	for (unsigned int i = 0; i < 2 * count; i++) {
		struct choice choice = choices[i / 2];

		choice.action.pieces = i % 2;
		if (!leads_to(model, state, choice, hash))
			continue;
		path_add(path, i / 2, i % 2);
		return choice;
	}
	ASSERT(false);
	return choices[0];
}

static void print_node(const struct model *model, const struct state *state, unsigned int node)
{
	static const char *const tokens[] = { "latest", "before", "stale", "torn" };
	const struct local_info *info = &model->infos[state->local[node]];

	printf("  n%u:", node);
	for (unsigned int page = 0; page < model->plan.page_count; page++)
		printf(" page %u: mapping %u state %u version %" PRId64 " frame %s;", page,
		       info->mapping[page], info->state[page], (int64_t)info->pages[page].version,
		       tokens[state->frame[node][page]]);
	printf("%s%s\n", info->waiting ? " threads wait" : "",
	       info->at_rest ? "" : " something is under way");
}

static void print_state(const struct model *model, const struct state *state)
{
	for (unsigned int node = 0; node < model->plan.node_count; node++) {
		if (state->local[node] == LOCAL_DEAD)
			printf("  n%u: lost\n", node);
		else
			print_node(model, state, node);
	}
}

static void print_replay(const struct model *model, const char *path)
{
	printf("replay: model --manager %s --path %s %s\n", plan_manager_name(model->plan.manager),
	       path[0] == '\0' ? "-" : path, model->plan.world->name);
}

void trace_print(struct model *model, const struct explored *explored)
{
	struct path path = { .used = 0 };
	struct walk walk;
	uint32_t length;
	struct hash128 *hashes = explored_path(explored, explored->broken_in, &length);
	char said[sizeof(model->said)];

	memcpy(said, model->said, sizeof(said));
	walk_begin(&walk, model);
	model->trace = true;
	for (uint32_t i = 0; i < length + explored->by; i++) {
		model->trace = false;
		struct choice choice =
			find_choice(model, &walk.state, i < length ? &hashes[i] : NULL, &path);

		model->trace = true;
		printf("%4u ", i + 1);
		if (!walk_step(&walk, choice))
			break;
	}
	model->trace = false;
	print_state(model, &walk.state);
	memcpy(model->said, said, sizeof(said));
	print_replay(model, path.text);
	nodes_close(model, walk.nodes);
	free(hashes);
}

bool trace_replay(struct model *model, const char *path)
{
	struct walk walk;
	bool holds = true;
	unsigned int step = 0;

	walk_begin(&walk, model);
	while (*path >= '0' && *path <= '9' && holds) {
		struct choice choices[CHOICES_MAX];
		unsigned int count = state_choices(model, &walk.state, choices);
		char *end;
		unsigned long index = strtoul(path, &end, 10);

		if (index >= count)
			return model_broken(model, "the path does not fit the world");
		choices[index].action.pieces = *end == 'p';
		path = end + (*end == 'p');
		path += *path == '.';
		printf("%4u ", ++step);
		model->trace = true;
		holds = walk_step(&walk, choices[index]);
		model->trace = false;
	}
	print_state(model, &walk.state);
	struct choice choices[CHOICES_MAX];

	if (holds && state_choices(model, &walk.state, choices) == 0)
		holds = rest_check(model, &walk.state);
	nodes_close(model, walk.nodes);
	return holds;
}
