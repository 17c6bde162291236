/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold. At every change of a mapping: one writer or many readers (node.c). Whenever a
 * page is shown or loaded: its frame holds the value of the latest store, whole. When a page is
 * refused or given up: the node named is lost, and no survivor had the page. At rest: directory,
 * holders, versions and frames agree, and nothing is left over in the engines' tables.
 *
 * A writer that crashes takes its stores since it got the page with it. If its manager had its
 * confirmation the page is lost for good; if not, the value before is the latest again.
 */
#include "engine/internal.h"
#include "sim.h"

static uint64_t expected(const struct model *model)
{
	return model->undecided ? model->before : model->latest;
}

/* One that moves: there is one at most, always. */
static bool find_manager(struct world *world, struct page_id page, struct node_id *manager)
{
	struct directory_view view;
	unsigned int count = 0;

	for (unsigned int i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];

		if (!node->alive || !engine_directory_view(node->engine, page, &view))
			continue;
		*manager = node_id(i);
		count++;
	}
	if (count > 1)
		sim_fail(world, &page, "page %llu has %u managers", (unsigned long long)page.value,
			 count);
	return count == 1;
}

bool check_manager(struct world *world, struct page_id page, struct node_id *manager)
{
	uint16_t home = engine_home(world->nodes[0].engine, page);

	if (world->manager >= MANAGER_BROADCAST)
		return find_manager(world, page, manager);
	if (world->manager == MANAGER_CENTRAL)
		home = 0;
	if (home == HOME_UNKNOWN)
		return false;
	*manager = node_id(home);
	return true;
}

static void check_frame(struct world *world, struct node_id id, struct page_id page,
			const char *what)
{
	const struct model *model = &world->pages[page.value];
	const struct frame *frame = &node_at(world, id)->frames[page.value];

	if (frame->half[0] != frame->half[1])
		sim_fail(world, &page, "node %u %s page %llu: torn, %llu and %llu", id.value, what,
			 (unsigned long long)page.value, (unsigned long long)frame->half[0],
			 (unsigned long long)frame->half[1]);
	if (frame->half[0] != expected(model))
		sim_fail(world, &page, "node %u %s page %llu: %llu, the latest store is %llu",
			 id.value, what, (unsigned long long)page.value,
			 (unsigned long long)frame->half[0], (unsigned long long)expected(model));
}

void check_load(struct world *world, struct node_id id, struct page_id page)
{
	world->loads_checked++;
	if (updates_page(world, page))
		updates_load(world, id, page);
	else
		check_frame(world, id, page, "loads");
}

/* It may have unmapped the page already, and its confirmation be lost with it. */
bool check_unseen(struct world *world, struct node_id dead, struct page_id page)
{
	const struct node *node = node_at(world, dead);
	const struct model *model = &world->pages[page.value];

	if (updates_page(world, page))
		return false;
	return node->mapping[page.value] == PAGE_WRITE ||
	       (node->engine->pages[page.value].leave != LEAVE_NONE &&
		model->writer == dead.value + 1u && !model->seen);
}

void check_mapped(struct world *world, struct node_id id, struct page_id page)
{
	struct model *model = &world->pages[page.value];

	check_frame(world, id, page, "shows");
	if (model->writer != id.value + 1u)
		model->seen = true;
	if (model->must_refuse || model->lost)
		sim_fail(world, &page, "node %u shows page %llu, which is lost", id.value,
			 (unsigned long long)page.value);
	if (model->undecided) {
		model->undecided = false;
		model->latest = model->before;
	}
}

/* ---- loss ---- */

/* When a manager says so: a page is refused only while no survivor has it. */
void check_refusal(struct world *world, struct node_id to, struct page_id page)
{
	const struct model *model = &world->pages[page.value];

	if (model->writers + model->readers > 0)
		sim_fail(world, &page, "node %u is refused page %llu, which survivors hold",
			 to.value, (unsigned long long)page.value);
}

/* When a node hears it: the one named is lost. */
void check_failed(struct world *world, struct node_id id, struct page_id page, struct node_id lost)
{
	struct node_id manager;

	if (node_at(world, lost)->alive)
		sim_fail(world, &page, "node %u refuses page %llu for the loss of %u, which lives",
			 id.value, (unsigned long long)page.value, lost.value);
	/* What a manager says to itself is not sent. */
	if (check_manager(world, page, &manager) && node_equal(manager, id))
		check_refusal(world, id, page);
}

/* Did the survivor hand the page over to the dead node, which was writing it? */
static bool was_handed_over(struct world *world, struct node_id survivor, struct node_id dead,
			    struct page_id page)
{
	struct message_known known = handover_known(node_at(world, survivor)->engine, page);
	const struct engine *writer = node_at(world, dead)->engine;
	struct directory_view view;

	return home_moves(writer, page) && known.node == dead.value + 1u &&
	       engine_page_state(writer, page) == PAGE_WRITE &&
	       known.version == engine_page_version(writer, page) &&
	       !engine_directory_view(node_at(world, survivor)->engine, page, &view);
}

void check_before_notice(struct world *world, struct node_id survivor, struct node_id dead)
{
	for (uint64_t i = 0; i < SIM_PAGES; i++) {
		struct directory_view view;

		if (world->pages[i].undecided && was_handed_over(world, survivor, dead, page_id(i)))
			world->pages[i].must_refuse = true;
		if (world->pages[i].undecided && !updates_page(world, page_id(i)) &&
		    engine_directory_view(node_at(world, survivor)->engine, page_id(i), &view) &&
		    view.exclusive && node_equal(view.owner, dead))
			world->pages[i].must_refuse = true;
	}
}

static void page_given_up(struct world *world, struct page_id page, uint64_t version)
{
	bool avoidable = false;

	for (unsigned int i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];

		if (!node->alive)
			continue;
		if (node->mapping[page.value] != PAGE_INVALID)
			sim_fail(world, &page, "page %llu is given up, and node %u has it",
				 (unsigned long long)page.value, i);
		/* A copy that is going may be forgotten already. */
		avoidable |= engine_page_version(node->engine, page) == version &&
			     node->engine->pages[page.value].leave == LEAVE_NONE;
	}
	if (world->pages[page.value].must_return)
		sim_fail(world, &page, "page %llu is given up, and was nowhere published",
			 (unsigned long long)page.value);
	/* One that takes a lost manager's place knows only copies that are mapped to be current. */
	if (avoidable && world->dead_count == 1 && world->manager < MANAGER_BROADCAST)
		sim_fail(world, &page, "page %llu is given up, and a survivor has its bytes",
			 (unsigned long long)page.value);
	world->avoidable_losses += avoidable;
	world->pages[page.value].lost = true;
}

/* Between steps too: nowhere two nodes that manage the same page. */
void check_managers(struct world *world)
{
	struct node_id manager;

	for (unsigned int i = 0; i < world->hot_count; i++)
		check_manager(world, world->hot[i], &manager);
}

void check_losses(struct world *world, struct node_id manager)
{
	for (unsigned int i = 0; i < world->hot_count; i++) {
		struct page_id page = world->hot[i];
		struct directory_view view;

		if (!world->pages[page.value].lost &&
		    engine_directory_view(node_at(world, manager)->engine, page, &view) &&
		    view.lost)
			page_given_up(world, page, view.version);
	}
}

/* ---- at rest ---- */

static void check_engine_at_rest(struct world *world, unsigned int index)
{
	const struct node *node = &world->nodes[index];
	const struct engine *engine = node->engine;
	uint32_t free_count = 0;

	for (unsigned int i = 0; i < world->thread_count; i++) {
		if (node->threads[i].state != THREAD_IDLE)
			sim_fail(world, &node->threads[i].page,
				 "node %u: thread %u waits for ever (state %d, call %d, page %llu)",
				 index, i, node->threads[i].state, node->threads[i].call,
				 (unsigned long long)node->threads[i].page.value);
	}
	if (engine_threads_waiting(engine))
		sim_fail(world, NULL, "node %u believes that a thread waits", index);
	if (!engine_quiet(engine))
		sim_fail(world, NULL,
			 "node %u is not quiet: pending %u deferrals %u pager %u requests %u "
			 "calls %u home waiters %u",
			 index, engine->pending_count, engine->deferral_count, engine->pager_count,
			 engine->request_count, engine->call_count, engine->home_waiter_count);
	for (uint32_t link = engine->request_free; link != 0;
	     link = engine->requests[link - 1].next)
		free_count++;
	if (free_count != engine->request_fresh)
		sim_fail(world, NULL, "node %u: %u requests of %u are free", index, free_count,
			 engine->request_fresh);
}

static void check_holder(struct world *world, struct node_id manager, unsigned int index,
			 struct page_id page, const struct directory_view *view)
{
	struct node *node = &world->nodes[index];
	enum page_state state = engine_page_state(node->engine, page);
	bool holds = bitset_test(view->holders, index);

	if (!node->alive) {
		if (holds)
			sim_fail(world, &page, "node %u is dead and in the copy set", index);
		return;
	}
	fast_check_holder(world, manager, index, page, view);
	if ((state == PAGE_WRITE) != (view->exclusive && view->owner.value == index))
		sim_fail(world, &page, "node %u: state %d, exclusive %d, owner %u", index, state,
			 view->exclusive, view->owner.value);
	if (updates_page(world, page))
		updates_check_holder(world, index, page, view);
	else if (!view->lost && engine_page_version(node->engine, page) == view->version)
		check_frame(world, node_id(index), page, "keeps as current");
}

static void check_directory(struct world *world, struct node_id manager, struct page_id page)
{
	struct directory_view view;

	if (!engine_directory_view(node_at(world, manager)->engine, page, &view))
		sim_fail(world, &page, "node %u does not know that it manages page %llu",
			 manager.value, (unsigned long long)page.value);
	if (view.busy)
		sim_fail(world, &page, "page %llu is busy at rest", (unsigned long long)page.value);
	for (unsigned int i = 0; i < world->node_count; i++)
		check_holder(world, manager, i, page, &view);
	fast_check_gate(world, manager, page, &view);
	if (view.lost)
		return;
	if (!node_at(world, view.owner)->alive)
		sim_fail(world, &page, "page %llu is owned by %u, which is dead",
			 (unsigned long long)page.value, view.owner.value);
	if (engine_page_version(node_at(world, view.owner)->engine, page) != view.version)
		sim_fail(world, &page, "owner %u has not the current version of page %llu",
			 view.owner.value, (unsigned long long)page.value);
	if (updates_page(world, page))
		updates_check_owner(world, page, &view);
	else
		check_frame(world, view.owner, page, "owns");
}

/* Hints lead to the manager, in fewer steps than there are nodes. */
static void check_hints(struct world *world, struct page_id page)
{
	if (world->manager != MANAGER_DYNAMIC || world->dead_count > 0)
		return;
	for (unsigned int i = 0; i < world->node_count; i++) {
		unsigned int at = i;
		unsigned int hops = 0;

		while (engine_hint(world->nodes[at].engine, page) != at) {
			uint16_t next = engine_hint(world->nodes[at].engine, page);

			if (next == HOME_UNKNOWN)
				break; /* nobody has asked this node, or it anybody */
			if (++hops == world->node_count)
				sim_fail(world, &page, "hints from node %u lead in a circle", i);
			at = next;
		}
	}
}

/* A request for writing is sent on by each node at most once. */
static void check_hops(struct world *world, unsigned int index)
{
	const struct engine_stats *stats = engine_stats(world->nodes[index].engine);

	if (world->manager == MANAGER_DYNAMIC && world->dead_count == 0 &&
	    stats->hops_max + 1 >= world->node_count && stats->hops_max > 0)
		sim_fail(world, NULL, "node %u: a request came over %llu others", index,
			 (unsigned long long)stats->hops_max);
}

static void check_page_at_rest(struct world *world, struct page_id page)
{
	struct node_id manager;
	bool known = check_manager(world, page, &manager);

	check_hints(world, page);

	for (unsigned int i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];

		if (!node->alive)
			continue;
		if (engine_page_state(node->engine, page) != node->mapping[page.value])
			sim_fail(world, &page, "node %u: engine state %d, pager state %d", i,
				 engine_page_state(node->engine, page), node->mapping[page.value]);
		if (node->mapping[page.value] != PAGE_INVALID && !updates_page(world, page))
			check_frame(world, node_id(i), page, "holds");
		if (node->mapping[page.value] != PAGE_INVALID && !known &&
		    (world->dead_count == 0 || world->manager < MANAGER_BROADCAST))
			sim_fail(world, &page, "node %u holds a page without a manager", i);
	}
	/* A home that was decided and never asked for anything need not know of it. */
	if (known && node_at(world, manager)->alive &&
	    (world->manager != MANAGER_FIXED ||
	     engine_home(node_at(world, manager)->engine, page) != HOME_UNKNOWN))
		check_directory(world, manager, page);
}

void check_rest(struct world *world)
{
	if (world->notices.count > 0)
		sim_fail(world, NULL, "a loss that was never told: the simulator is wrong");
	for (unsigned int i = 0; i < world->node_count; i++) {
		if (world->nodes[i].alive)
			check_engine_at_rest(world, i);
		check_hops(world, i);
	}
	for (uint64_t i = 0; i < SIM_PAGES; i++)
		check_page_at_rest(world, page_id(i));
	call_check_rest(world);
}
