/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinning, in mode "pins": a thread pins a few pages in ascending order, one after the other, then
 * the kernel or a device uses them without ever faulting, then it unpins them. It gives up now and
 * then. Meanwhile nothing may be taken from the node that it pinned; and since everybody asks in
 * ascending order, everybody comes to an end.
 */
#include "sim.h"

#include <errno.h>
#include <string.h>

bool pin_under_way(const struct thread *thread)
{
	return thread->pins_wanted > 0;
}

bool pin_runnable(const struct thread *thread)
{
	return thread->state == THREAD_CALL && thread->call == CALL_PIN && thread->impatient;
}

/* The pages that are wanted: a hot one, and others above it. */
void pin_begin(struct world *world, struct node_id id, struct thread *thread)
{
	struct page_id page = thread_hot_page(world, id);

	thread->pins_held = 0;
	thread->pins_wanted = 0;
	thread->pin_write = chance(world, world->percent_store);
	thread->accesses_left = below(world, 4);
	do {
		thread->pins[thread->pins_wanted++] = page;
		page = page_add(page, 1 + below(world, 3));
	} while (thread->pins_wanted < SIM_PINS_MAX && page.value < SIM_PAGES &&
		 !updates_guarded(world, page) && chance(world, 50));
}

static struct event event_of(const struct thread *thread, enum event_kind kind, unsigned int index)
{
	struct event event = { .kind = kind };

	event.token.value = thread->token;
	event.pin.page = thread->pins[index];
	event.pin.write = thread->pin_write;
	return event;
}

static void pin_next(struct world *world, struct node_id id, struct thread *thread)
{
	thread->state = THREAD_CALL;
	thread->call = CALL_PIN;
	thread->token = ++world->calls;
	thread->impatient = chance(world, 5);
	struct event event = event_of(thread, EV_PIN, thread->pins_held);

	if (node_step(world, id, &event) == -EAGAIN)
		thread->state = THREAD_IDLE;
}

static void unpin_all(struct world *world, struct node_id id, struct thread *thread)
{
	struct node *node = node_at(world, id);

	while (thread->pins_held > 0) {
		struct event event = event_of(thread, EV_UNPIN, --thread->pins_held);
		uint8_t *pins = thread->pin_write ? node->write_pins : node->read_pins;

		pins[event.pin.page.value]--;
		node_step(world, id, &event);
	}
	thread->pins_wanted = 0;
}

/* Without a fault, as a device would. */
static void use(struct world *world, struct node_id id, struct thread *thread)
{
	struct page_id page = thread->pins[below(world, thread->pins_held)];

	pin_check(world, id, page);
	if (thread->pin_write)
		thread_store(world, id, page);
	else
		check_load(world, id, page);
}

/* One step of a thread that has begun. */
void pin_step(struct world *world, struct node_id id, struct thread *thread)
{
	if (pin_runnable(thread)) {
		struct event event = { .kind = EV_PIN_CANCEL, .token = { thread->token } };

		thread->impatient = false;
		node_step(world, id, &event);
	} else if (thread->pins_held < thread->pins_wanted) {
		pin_next(world, id, thread);
	} else if (thread->accesses_left > 0) {
		thread->accesses_left--;
		use(world, id, thread);
	} else {
		unpin_all(world, id, thread);
	}
}

void pin_ended(struct world *world, struct node_id id, struct thread *thread, int status)
{
	struct node *node = node_at(world, id);
	uint64_t page = thread->pins[thread->pins_held].value;

	if (status == 0) {
		thread->pins_held++;
		(thread->pin_write ? node->write_pins : node->read_pins)[page]++;
		pin_check(world, id, page_id(page));
		return;
	}
	if (status != -ETIMEDOUT && (status != -EHOSTDOWN || world->dead_count == 0))
		sim_fail(world, &thread->pins[thread->pins_held], "node %u: a pin ends with %d",
			 id.value, status);
	thread->pins_wanted = thread->pins_held; /* what is held will be unpinned */
	thread->accesses_left = 0;
	if (thread->pins_held == 0)
		thread->pins_wanted = 0;
}

/* What is pinned is shown. */
void pin_check(struct world *world, struct node_id id, struct page_id page)
{
	const struct node *node = node_at(world, id);
	enum page_state mapping = (enum page_state)node->mapping[page.value];

	if ((node->write_pins[page.value] > 0 && mapping != PAGE_WRITE) ||
	    (node->read_pins[page.value] > 0 && mapping == PAGE_INVALID))
		sim_fail(world, &page, "node %u: page %llu is pinned, and in state %d", id.value,
			 (unsigned long long)page.value, mapping);
}

void pin_node_lost(struct node *node)
{
	memset(node->read_pins, 0, sizeof(node->read_pins));
	memset(node->write_pins, 0, sizeof(node->write_pins));
}
