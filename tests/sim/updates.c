/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of pages under write-update. Each half of a page is a word of its own:
 *   - no node sees a word go back;
 *   - after a node's publishing is over, every load anywhere returns what it had stored, or later;
 *   - who gets the page gets all that was stored to it, and a page that is touched with a lock only
 *     always holds what was stored last;
 *   - a writer that crashes takes with it what it has not published; a page whose writer crashed
 *     amid that holds the one or the other, and the same for all, from the next grant on.
 */
#include "engine/internal.h"
#include "sim.h"

#include <string.h>

bool updates_page(const struct world *world, struct page_id page)
{
	return world->update_units[page.value / UNIT_PAGES];
}

bool updates_guarded(const struct world *world, struct page_id page)
{
	return world->updates && page_equal(page, world->guarded);
}

void updates_choose(struct world *world)
{
	uint64_t unit = world->hot[0].value / UNIT_PAGES;

	for (unsigned int i = 0; i < SIM_UNITS; i++)
		world->update_units[i] = i == unit || chance(world, 60);
	world->updates = true;
	world->percent_pin = chance(world, 30) ? 5 + below(world, 40) : 0;
	world->percent_cut = chance(world, 20) ? 1 + below(world, 20) : 0;
	do {
		world->guarded = page_id(below(world, SIM_PAGES));
	} while (!updates_page(world, world->guarded) ||
		 (world->guarded.value >= world->window.page.value &&
		  world->guarded.value < world->window.page.value + world->window.page_count) ||
		 page_equal(world->guarded, world->hot[world->hot_count - 1]));
}

/* ---- loads and stores ---- */

static bool manager_lives(struct world *world, struct page_id page)
{
	struct node_id manager;

	return check_manager(world, page, &manager) && node_at(world, manager)->alive;
}

/*
 * All of the page has the value of the latest store, or of the one before that while it is open
 * which of them is left of a crash. Then it is decided.
 */
static void check_latest(struct world *world, struct node_id id, struct page_id page,
			 const char *what)
{
	const struct frame *frame = &node_at(world, id)->frames[page.value];
	struct model *model = &world->pages[page.value];

	if (model->undecided && frame->half[0] == model->before)
		model->latest = model->before;
	if (frame->half[0] != frame->half[1] || frame->half[0] != model->latest)
		sim_fail(world, &page, "node %u %s page %llu: %llu and %llu, the latest is %llu",
			 id.value, what, (unsigned long long)page.value,
			 (unsigned long long)frame->half[0], (unsigned long long)frame->half[1],
			 (unsigned long long)model->latest);
	model->undecided = false;
}

void updates_load(struct world *world, struct node_id id, struct page_id page)
{
	struct node *node = node_at(world, id);
	const struct frame *frame = &node->frames[page.value];
	uint64_t floor = world->pages[page.value].floor;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t seen = node->seen[page.value].half[i];

		if (frame->half[i] < seen || frame->half[i] < floor)
			sim_fail(world, &page,
				 "node %u loads %llu of page %llu: has seen %llu, published %llu",
				 id.value, (unsigned long long)frame->half[i],
				 (unsigned long long)page.value, (unsigned long long)seen,
				 (unsigned long long)floor);
		node->seen[page.value].half[i] = frame->half[i];
	}
	if (updates_guarded(world, page) && manager_lives(world, page))
		check_latest(world, id, page, "loads, with the lock,");
}

void updates_store(struct world *world, struct node_id id, struct page_id page)
{
	struct node *node = node_at(world, id);

	node->stored[page.value] = world->stores;
	node->seen[page.value] = node->frames[page.value];
}

/* A page that is only shown again may be older, and the next load sees to it. */
void updates_mapped(struct world *world, struct node_id id, struct page_id page,
		    enum page_state mapping)
{
	if (world->pages[page.value].lost)
		sim_fail(world, &page, "node %u shows page %llu, which is lost", id.value,
			 (unsigned long long)page.value);
	if (node_at(world, id)->mapping[page.value] < mapping)
		check_latest(world, id, page, "gets");
	if (mapping == PAGE_WRITE)
		world->pages[page.value].must_return = false;
}

/* ---- publishing ---- */

void updates_publish(struct world *world, struct node_id id, struct thread *thread)
{
	memcpy(thread->publishing, node_at(world, id)->stored, sizeof(thread->publishing));
}

/* What was stored to pages of a lost manager will not be seen: one thread is told, for its node. */
static void unpublished(struct world *world, struct node *node)
{
	for (uint64_t i = 0; i < SIM_PAGES; i++) {
		if (manager_lives(world, page_id(i)))
			continue;
		node->stored[i] = 0;
		for (unsigned int t = 0; t < world->thread_count; t++)
			node->threads[t].publishing[i] = 0;
	}
}

void updates_published(struct world *world, struct node_id id, const struct thread *thread,
		       int status)
{
	if (status != 0)
		unpublished(world, node_at(world, id));
	for (uint64_t i = 0; i < SIM_PAGES && status == 0; i++) {
		if (thread->publishing[i] > world->pages[i].floor)
			world->pages[i].floor = thread->publishing[i];
	}
}

/* ---- loss ---- */

void updates_crash(struct world *world, struct node_id dead)
{
	const struct node *node = node_at(world, dead);

	for (uint64_t i = 0; i < SIM_PAGES; i++) {
		struct model *model = &world->pages[i];

		if (!updates_page(world, page_id(i)) || model->writer != dead.value + 1u)
			continue;
		if (node->mapping[i] == PAGE_WRITE)
			model->latest = model->before;
		if (node->mapping[i] == PAGE_WRITE && node->engine->pages[i].version == 1)
			model->must_return = true;
		if (node->mapping[i] != PAGE_WRITE && node->engine->update.links[i].ticket != 0)
			model->undecided = true;
	}
}

/* ---- at rest ---- */

void updates_check_holder(struct world *world, unsigned int index, struct page_id page,
			  const struct directory_view *view)
{
	const struct node *node = &world->nodes[index];
	const struct model *model = &world->pages[page.value];
	uint64_t version = engine_page_version(node->engine, page);

	if (node->mapping[page.value] != PAGE_READ)
		return;
	if (!view->exclusive) {
		if (version != view->version)
			sim_fail(world, &page, "node %u reads version %llu, %llu is published",
				 index, (unsigned long long)version,
				 (unsigned long long)view->version);
		check_latest(world, node_id(index), page, "reads");
		return;
	}
	if (version + 1 != view->version || node->frames[page.value].half[0] != model->before ||
	    node->frames[page.value].half[1] != model->before)
		sim_fail(world, &page, "node %u reads version %llu beside the writer of %llu",
			 index, (unsigned long long)version, (unsigned long long)view->version);
}

void updates_check_owner(struct world *world, struct page_id page,
			 const struct directory_view *view)
{
	check_latest(world, view->owner, page, "owns");
}
