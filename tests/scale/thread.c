/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's threads. An access to a page that the node may not use so traps, waits until the
 * page is shown, and is tried again; it may miss again if the page has gone in between. A miss
 * lasts from its first trap to the access that succeeds. A hit takes no time.
 */
#include "base/assert.h"
#include "scale.h"

#include <math.h>

/* ---- counting ---- */

void thread_count_waiting(struct world *world)
{
	uint64_t since_ps = world->waiting_since_ps;

	world->totals.waiting_ps += world->waiting * (world->now_ps - since_ps);
	world->waiting_since_ps = world->now_ps;
}

static void miss_begin(struct world *world, struct thread *thread, enum page_state has)
{
	thread_count_waiting(world);
	world->waiting++;
	world->begun++;
	thread->missing = true;
	thread->since_ps = world->now_ps;
	thread->hops = 0;
	thread->miss = MISS_READ;
	if (thread->write)
		thread->miss = has == PAGE_READ ? MISS_UPGRADE : MISS_WRITE;
}

static void miss_end(struct world *world, struct thread *thread)
{
	struct totals *totals = &world->totals;
	uint64_t latency_ps = world->now_ps - thread->since_ps;
	uint32_t hops = thread->hops < HOPS_MAX ? thread->hops : HOPS_MAX;

	thread_count_waiting(world);
	ASSERT(world->waiting > 0);
	world->waiting--;
	world->finished++;
	thread->missing = false;
	if (world->setup.bug != BUG_FEWER_MISSES || world->finished % 10 != 0)
		totals->miss_ps += latency_ps;
	totals->hops[thread->miss][hops]++;
	world->searches[thread->page.value].misses++;
	if (totals->miss_count < world->setup.misses)
		totals->misses[totals->miss_count] =
			(struct miss){ (uint32_t)(latency_ps / PS_PER_NS), thread->miss };
	totals->miss_count++;
}

void thread_note_hops(struct world *world, struct node_id id, struct page_id page, uint32_t hops)
{
	const struct node *node = node_at(world, id);

	for (unsigned int i = 0; i < world->setup.thread_count; i++) {
		struct thread *thread = &node->threads[i];

		if (thread->missing && page_equal(thread->page, page) && hops > thread->hops)
			thread->hops = hops;
	}
}

/* ---- accesses ---- */

static void fault(struct world *world, struct thread *thread)
{
	struct job *job = job_new(&world->jobs, JOB_FAULT, 0);

	job->from = thread->node;
	job->to = thread->node;
	job->run = (struct run){ thread->page, 1 };
	job->write = thread->write;
	thread->state = THREAD_FAULTED;
	world->totals.faults++;
	agenda_add(&world->agenda,
		   (struct happening){
			   .at_ps = world->now_ps + world->setup.profile.trap_ns * PS_PER_NS,
			   .kind = HAPPEN_DELIVER,
			   .job = job,
		   });
}

/* True when the access has been made. */
static bool try_access(struct world *world, struct thread *thread)
{
	const struct engine *engine = node_at(world, thread->node)->engine;
	enum page_state has = engine_page_state(engine, thread->page);

	if (has >= (thread->write ? PAGE_WRITE : PAGE_READ)) {
		world->accessed++;
		world->totals.accesses++;
		if (thread->missing)
			miss_end(world, thread);
		return true;
	}
	if (!thread->missing)
		miss_begin(world, thread, has);
	fault(world, thread);
	return false;
}

void thread_think(struct world *world, struct thread *thread)
{
	double mean_ps = (double)world->setup.think_ns * (double)PS_PER_NS;

	thread->state = THREAD_THINKING;
	thread->think_ps = (uint64_t)(-log1p(-prng_unit(&world->prng)) * mean_ps);
	agenda_add(&world->agenda, (struct happening){
					   .at_ps = world->now_ps + thread->think_ps,
					   .kind = HAPPEN_THREAD,
					   .node = thread->node.value,
					   .thread = thread->index,
				   });
}

void thread_run(struct world *world, struct thread *thread)
{
	if (thread->state == THREAD_THINKING) {
		world->totals.thought_ps += thread->think_ps;
		thread->state = world->stopping ? THREAD_STOPPED : THREAD_BLOCKED;
		if (world->stopping || !work_choose(world, thread))
			return;
	}
	while (try_access(world, thread)) {
		if (world->stopping) {
			thread->state = THREAD_STOPPED;
			return;
		}
		if (!work_next(world, thread)) {
			thread_think(world, thread);
			return;
		}
	}
}

void thread_wake(struct world *world, struct node_id id, struct page_id page, uint64_t at_ps)
{
	const struct node *node = node_at(world, id);

	for (unsigned int i = 0; i < world->setup.thread_count; i++) {
		struct thread *thread = &node->threads[i];

		if (thread->state != THREAD_FAULTED || !page_equal(thread->page, page))
			continue;
		if (world->setup.bug == BUG_LOST_WAKE && world->begun % 100 == 99)
			continue;
		thread->state = THREAD_WAKING;
		agenda_add(&world->agenda, (struct happening){
						   .at_ps = at_ps,
						   .kind = HAPPEN_THREAD,
						   .node = id.value,
						   .thread = thread->index,
					   });
	}
}
