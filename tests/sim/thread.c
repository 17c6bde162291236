/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that runs on the cluster: threads that load and store hot pages, ask for pages ahead
 * and make calls (call.c). A thread whose page is not mapped faults once and sleeps until its page
 * is shown or refused.
 */
#include "sim.h"

static struct page_id any_hot_page(struct world *world)
{
	unsigned int count = chance(world, 60) ? (world->hot_count + 3) / 4 : world->hot_count;

	return world->hot[below(world, count)];
}

/* Mostly one that was not refused before: what is left of the cluster should have work. */
struct page_id thread_hot_page(struct world *world, struct node_id id)
{
	struct page_id page = any_hot_page(world);

	for (unsigned int i = 0; i < 8 && node_at(world, id)->refused[page.value]; i++)
		page = any_hot_page(world);
	return page;
}

/* ---- loads and stores ---- */

static void fault(struct world *world, struct node_id id, struct thread *thread)
{
	unsigned int count = chance(world, 5) ? 2 : 1;

	thread->state = THREAD_FAULTED;
	for (unsigned int i = 0; i < count; i++) {
		struct fault *entry = bag_add(&world->faults);

		*entry = (struct fault){ id, thread->page, thread->write };
	}
}

void thread_store(struct world *world, struct node_id id, struct page_id page)
{
	world->stores++;
	world->pages[page.value].latest = world->stores;
	node_at(world, id)->frames[page.value] = (struct frame){ { world->stores, world->stores } };
	if (updates_page(world, page))
		updates_store(world, id, page);
	trace_line(world, "n%u stores %llu to p%llu", id.value, (unsigned long long)world->stores,
		   (unsigned long long)page.value);
}

static void access_page(struct world *world, struct node_id id, struct thread *thread)
{
	struct node *node = node_at(world, id);
	uint64_t page = thread->page.value;
	enum page_state wanted = thread->write ? PAGE_WRITE : PAGE_READ;

	if (node->mapping[page] < wanted) {
		fault(world, id, thread);
		return;
	}
	thread->state = THREAD_IDLE;
	thread->published = false;
	if (!thread->write) {
		check_load(world, id, thread->page);
		return;
	}
	thread_store(world, id, thread->page);
}

void thread_access(struct world *world, struct thread *thread, struct page_id page, bool write)
{
	(void)world;
	thread->state = THREAD_ACCESS;
	thread->page = page;
	thread->write = write;
}

void thread_page_event(struct world *world, struct node_id id, struct page_id page, bool failed)
{
	struct node *node = node_at(world, id);

	for (unsigned int i = 0; i < world->thread_count; i++) {
		struct thread *thread = &node->threads[i];

		if (thread->state == THREAD_FAULTED && page_equal(thread->page, page))
			thread->state = failed ? THREAD_IDLE : THREAD_ACCESS;
	}
}

static void prefetch(struct world *world, struct node_id id)
{
	uint32_t first = below(world, world->window.page_count);
	uint32_t room = world->window.page_count - first;
	struct event event = { .kind = EV_PREFETCH };

	event.fault.run.page = page_add(world->window.page, first);
	event.fault.run.page_count = 1 + below(world, room < UNIT_PAGES ? room : UNIT_PAGES);
	event.fault.write = chance(world, world->percent_store);
	event.fault.guess = !event.fault.write && world->guesses;
	node_step(world, id, &event);
}

/* The node wants memory back. */
static void evict(struct world *world, struct node_id id)
{
	struct event event = { .kind = EV_EVICT };

	event.run.page = thread_hot_page(world, id);
	event.run.page_count = 1 + below(world, 3);
	if (event.run.page.value + event.run.page_count > SIM_PAGES)
		event.run.page_count = 1;
	node_step(world, id, &event);
}

/* ---- what next ---- */

bool thread_runnable(const struct world *world, const struct node *node,
		     const struct thread *thread)
{
	if (!node->alive)
		return false;
	if (thread->state == THREAD_ACCESS || pin_runnable(thread))
		return true;
	if (thread->state != THREAD_IDLE)
		return false;
	if (pin_under_way(thread))
		return true;
	return !world->resting || call_owed(world, node, thread);
}

void thread_step(struct world *world, struct node_id id, struct thread *thread)
{
	if (thread->state == THREAD_ACCESS) {
		access_page(world, id, thread);
		return;
	}
	if (pin_under_way(thread)) {
		pin_step(world, id, thread);
		return;
	}
	if (call_begin(world, id, thread))
		return;
	if (world->percent_pin > 0 && chance(world, world->percent_pin)) {
		pin_begin(world, id, thread);
		return;
	}
	if (world->percent_evict > 0 && chance(world, world->percent_evict)) {
		evict(world, id);
		return;
	}
	if (chance(world, world->percent_prefetch)) {
		prefetch(world, id);
		return;
	}
	thread_access(world, thread, thread_hot_page(world, id),
		      chance(world, world->percent_store));
}
