/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold when nothing more can happen: all threads have come to their end, nothing is left
 * over, and each page's manager, holders and frames agree.
 */
#include "model.h"

static bool is_dead(const struct state *state, unsigned int node)
{
	return (state->dead >> node & 1) != 0;
}

static bool check_node(struct model *model, const struct state *state, unsigned int node)
{
	const struct local_info *info = &model->infos[state->local[node]];

	if (info->waiting)
		return model_broken(model, "n%u: a thread waits for ever", node);
	if (!info->at_rest)
		return model_broken(model, "n%u: its engine is not quiet at rest", node);
	for (unsigned int page = 0; page < model->plan.page_count; page++) {
		if (info->state[page] != info->mapping[page])
			return model_broken(model, "n%u: page %u: engine state %u, mapping %u",
					    node, page, info->state[page], info->mapping[page]);
		if (info->mapping[page] != PAGE_INVALID &&
		    state->frame[node][page] != state_expected(state, page))
			return model_broken(model, "n%u holds page %u, not the latest store", node,
					    page);
	}
	return true;
}

/* Who has a page is in the copy set or has come through the gate, and knows its bit. */
static bool check_sharer(struct model *model, const struct state *state, unsigned int node,
			 unsigned int page, unsigned int manager_id)
{
	const struct local_info *info = &model->infos[state->local[node]];
	const struct local_info *manager = &model->infos[state->local[manager_id]];
	bool granted = (manager->pages[page].holders >> node & 1) != 0;
	bool bit = (state->sharers[manager_id][page] >> node & 1) != 0;
	bool holds = info->state[page] != PAGE_INVALID;

	if (granted ? !holds : (holds && !(bit && manager->pages[page].open)))
		return model_broken(model,
				    "n%u: page %u: state %u, in the copy set: %d, sharer: %d", node,
				    page, info->state[page], granted, bit);
	if (bit != info->shared[page])
		return model_broken(model, "n%u: page %u: its bit is %d, and it believes %d", node,
				    page, bit, !bit);
	return true;
}

static bool check_gate(struct model *model, unsigned int page, const struct local_info *manager)
{
	uint64_t right = !manager->pages[page].open
				 ? 0
				 : engine_gate(manager->pages[page].owner,
					       manager->pages[page].directory_version);

	if (manager->pages[page].open &&
	    (manager->pages[page].exclusive || manager->pages[page].lost))
		return model_broken(model, "the gate of page %u is open, exclusive %d, lost %d",
				    page, manager->pages[page].exclusive,
				    manager->pages[page].lost);
	if (manager->gates[page] != right)
		return model_broken(model, "the gate of page %u is not what it should be", page);
	return true;
}

static bool check_holder(struct model *model, const struct state *state, unsigned int node,
			 unsigned int page, const struct local_info *manager)
{
	const struct local_info *info = &model->infos[state->local[node]];
	bool writes = manager->pages[page].exclusive && manager->pages[page].owner.value == node;

	if (writes != (info->state[page] == PAGE_WRITE))
		return model_broken(model, "n%u: page %u: state %u, exclusive owner: %d", node,
				    page, info->state[page], writes);
	if (!manager->pages[page].lost &&
	    info->pages[page].version == manager->pages[page].directory_version &&
	    state->frame[node][page] != state_expected(state, page))
		return model_broken(model, "n%u: page %u has the current version, not the bytes",
				    node, page);
	return true;
}

static bool check_owner(struct model *model, const struct state *state, unsigned int page,
			const struct local_info *manager)
{
	unsigned int owner = manager->pages[page].owner.value;

	if (manager->pages[page].lost)
		return true;
	if (is_dead(state, owner))
		return model_broken(model, "page %u is owned by n%u, which is lost", page, owner);
	if (model->infos[state->local[owner]].pages[page].version !=
	    manager->pages[page].directory_version)
		return model_broken(model, "the owner n%u of page %u has another version", owner,
				    page);
	return true;
}

static bool check_managed(struct model *model, const struct state *state, unsigned int node,
			  unsigned int page)
{
	const struct local_info *manager = &model->infos[state->local[node]];

	if (manager->pages[page].busy)
		return model_broken(model, "page %u is busy at rest", page);
	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		if (!is_dead(state, i) && (!check_sharer(model, state, i, page, node) ||
					   !check_holder(model, state, i, page, manager)))
			return false;
		if (is_dead(state, i) && (manager->pages[page].holders >> i & 1) != 0)
			return model_broken(model, "n%u is lost and in the copy set of page %u", i,
					    page);
	}
	return check_gate(model, page, manager) && check_owner(model, state, page, manager);
}

/* While nobody is lost: who holds a page has it from a manager, and hints lead to that. */
static bool check_whole(struct model *model, const struct state *state, unsigned int page)
{
	unsigned int managers = 0;
	bool held = false;

	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		const struct local_info *info = &model->infos[state->local[i]];

		managers += info->managed[page];
		held |= info->mapping[page] != PAGE_INVALID;
	}
	if (held && managers == 0)
		return model_broken(model, "page %u is held and has no manager", page);
	for (unsigned int i = 0; i < model->plan.node_count; i++) {
		unsigned int at = i;

		for (unsigned int hops = 0; at != HOME_UNKNOWN; hops++) {
			uint16_t hint = model->infos[state->local[at]].hint[page];

			if (hint == at || hint == HOME_UNKNOWN)
				break;
			if (hops == model->plan.node_count)
				return model_broken(model, "hints of page %u lead in a circle",
						    page);
			at = hint;
		}
	}
	return true;
}

bool rest_check(struct model *model, const struct state *state)
{
	for (unsigned int page = 0; page < model->plan.page_count && state->dead == 0; page++) {
		if (!check_whole(model, state, page))
			return false;
	}
	for (unsigned int node = 0; node < model->plan.node_count; node++) {
		if (is_dead(state, node))
			continue;
		if (!check_node(model, state, node))
			return false;
		for (unsigned int page = 0; page < model->plan.page_count; page++) {
			if (model->infos[state->local[node]].managed[page] &&
			    !check_managed(model, state, node, page))
				return false;
		}
	}
	return true;
}
