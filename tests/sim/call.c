/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulated program asks for besides pages: homes, collective calls, synchronisation
 * objects, units of the heap, blocks freed. Roles, so that the program itself cannot deadlock: the
 * first thread of a node makes its collective calls and wakes waiters, and never waits for a
 * signal; the second goes to the barrier; nobody does either while it holds something.
 */
#include "base/hash.h"
#include "sim.h"

#include <errno.h>
#include <string.h>

#define BLOCK_CLASS 3u

static bool is_thread(const struct node *node, const struct thread *thread, unsigned int index)
{
	return thread == &node->threads[index];
}

static void call(struct world *world, struct node_id id, struct thread *thread,
		 enum thread_call kind, struct event *event)
{
	thread->state = THREAD_CALL;
	thread->call = kind;
	thread->token = ++world->calls;
	event->token.value = thread->token;
	if (node_step(world, id, event) == -EAGAIN)
		sim_fail(world, NULL, "node %u has no room for a call", id.value);
}

/* May the call end so? Only a loss makes a call fail. */
static void check_status(struct world *world, struct node_id id, const struct thread *thread,
			 int status)
{
	bool lost = status == -EHOSTDOWN || status == -EOWNERDEAD;

	if (status != 0 && !(lost && world->dead_count > 0))
		sim_fail(world, NULL, "node %u: call %d on object %d ends with %d", id.value,
			 thread->call, thread->object, status);
}

/* ---- homes ---- */

static void ask_home(struct world *world, struct node_id id, struct thread *thread)
{
	struct event event = { .kind = EV_HOME };

	thread->page = thread_hot_page(world, id);
	event.home = thread->page;
	call(world, id, thread, CALL_HOME, &event);
}

static void home_told(struct world *world, struct node_id id, struct thread *thread,
		      const struct command *command)
{
	uint16_t *home = &world->homes[thread->page.value / UNIT_PAGES];

	if (command->status == -ENOENT)
		return;
	check_status(world, id, thread, command->status);
	if (command->status != 0)
		return;
	if (*home != HOME_UNKNOWN && *home != command->complete.value)
		sim_fail(world, &thread->page, "a home changes from %u to %llu", *home,
			 (unsigned long long)command->complete.value);
	*home = (uint16_t)command->complete.value;
}

/* ---- publishing ---- */

/* What a node does before others may hear from it: true when that has been begun only now. */
static bool publish_first(struct world *world, struct node_id id, struct thread *thread)
{
	struct event event = { .kind = EV_PUBLISH };
	bool publish = world->updates && !thread->published;

	thread->published = false;
	if (!publish)
		return false;
	updates_publish(world, id, thread);
	call(world, id, thread, CALL_PUBLISH, &event);
	return true;
}

/* ---- collective calls ---- */

static uint64_t collect_hash(const struct world *world, uint32_t sequence, uint64_t what)
{
	return hash_u64(hash_u64(world->seed + sequence) + what);
}

static enum collect_op collect_op(const struct world *world, uint32_t sequence)
{
	static const enum collect_op ops[3] = { COLLECT_BARRIER, COLLECT_BROADCAST,
						COLLECT_MINIMUM };

	return ops[collect_hash(world, sequence, 1) % 3];
}

static unsigned int collect_root(const struct world *world, uint32_t sequence)
{
	return (unsigned int)(collect_hash(world, sequence, 2) % world->node_count);
}

static int64_t collect_number(const struct world *world, uint32_t sequence, unsigned int node)
{
	return (int64_t)collect_hash(world, sequence, 1000 + node);
}

static uint16_t collect_fill(const struct world *world, uint32_t sequence,
			     uint8_t data[COLLECT_BYTES_MAX])
{
	uint64_t hash = collect_hash(world, sequence, 3);

	for (unsigned int i = 0; i < COLLECT_BYTES_MAX; i++)
		data[i] = (uint8_t)(hash >> (i % 56));
	return (uint16_t)(1 + hash % COLLECT_BYTES_MAX);
}

static void collect(struct world *world, struct node_id id, struct thread *thread)
{
	if (publish_first(world, id, thread))
		return;
	uint32_t sequence = ++node_at(world, id)->collect_entered;
	struct event event = { .kind = EV_COLLECT };
	uint8_t data[COLLECT_BYTES_MAX];

	event.collect.op = collect_op(world, sequence);
	event.collect.root = node_id(collect_root(world, sequence));
	event.collect.minimum = collect_number(world, sequence, id.value);
	if (event.collect.op == COLLECT_BROADCAST) {
		event.collect.bytes = collect_fill(world, sequence, data);
		if (node_equal(event.collect.root, id))
			event.collect.data = data;
	}
	call(world, id, thread, CALL_COLLECT, &event);
}

static int64_t collect_minimum(struct world *world, struct node_id id, uint32_t sequence)
{
	int64_t minimum = INT64_MAX;

	for (unsigned int i = 0; i < world->node_count; i++) {
		int64_t number = collect_number(world, sequence, i);

		minimum = number < minimum ? number : minimum;
		if (world->nodes[i].collect_entered < sequence)
			sim_fail(world, NULL, "node %u leaves collective call %u before %u enters",
				 id.value, sequence, i);
	}
	return minimum;
}

static void collected(struct world *world, struct node_id id, struct thread *thread,
		      const struct command *command)
{
	uint32_t sequence = node_at(world, id)->collect_entered;
	enum collect_op op = collect_op(world, sequence);
	uint8_t data[COLLECT_BYTES_MAX];

	check_status(world, id, thread, command->status);
	if (command->status != 0)
		return;
	int64_t minimum = collect_minimum(world, id, sequence);

	if (op == COLLECT_MINIMUM && (int64_t)command->complete.value != minimum)
		sim_fail(world, NULL, "node %u: a wrong minimum", id.value);
	if (op == COLLECT_BROADCAST &&
	    (command->complete.bytes != collect_fill(world, sequence, data) ||
	     memcmp(data, command->complete.data, command->complete.bytes) != 0))
		sim_fail(world, NULL, "node %u: wrong bytes broadcast", id.value);
}

/* ---- synchronisation objects ---- */

static enum sync_kind object_kind(enum object_name object)
{
	static const enum sync_kind kinds[OBJECT_COUNT] = {
		[OBJECT_LOCK] = SYNC_LOCK,     [OBJECT_OTHER_LOCK] = SYNC_LOCK,
		[OBJECT_RWLOCK] = SYNC_RWLOCK, [OBJECT_SEM] = SYNC_SEM,
		[OBJECT_COND] = SYNC_COND,     [OBJECT_BARRIER] = SYNC_BARRIER,
	};

	return kinds[object];
}

static void acquired(struct world *world, struct node_id id, struct thread *thread, int status);

/* Half of the operations on locks that the node keeps are done without a step, as threads do. */
static bool kept_op(struct world *world, struct node_id id, struct thread *thread,
		    const struct event *event)
{
	const struct engine *engine = node_at(world, id)->engine;
	uint64_t name = event->sync.name;
	uint32_t number = event->sync.thread;

	if (event->sync.kind != SYNC_LOCK || (hash_u64(world->step) & 1) == 0)
		return false;
	if (event->sync.op == SYNC_RELEASE)
		return engine_lock_leave(engine, name, number);
	if ((event->sync.op != SYNC_ACQUIRE && event->sync.op != SYNC_TRY) ||
	    !engine_lock_take(engine, name, number))
		return false;
	acquired(world, id, thread, 0);
	return true;
}

static void sync_call(struct world *world, struct node_id id, struct thread *thread,
		      enum thread_call kind, enum sync_op op, uint32_t argument)
{
	struct event event = { .kind = EV_SYNC };

	event.sync.name = (uint64_t)thread->object * 64;
	event.sync.kind = object_kind(thread->object);
	event.sync.op = op;
	event.sync.thread = (uint32_t)(thread - node_at(world, id)->threads);
	event.sync.argument = argument;
	event.sync.signal.value = kind == CALL_ENLIST ? thread->signal : 0;
	if (kept_op(world, id, thread, &event))
		return;
	call(world, id, thread, kind, &event);
}

void call_objects_init(struct world *world)
{
	for (unsigned int i = 0; i < OBJECT_COUNT; i++) {
		struct node_id id = node_id(below(world, world->node_count));
		struct thread *thread = &node_at(world, id)->threads[0];
		uint32_t argument = i == OBJECT_SEM	  ? world->sem_value
				    : i == OBJECT_BARRIER ? world->node_count
							  : 0;

		thread->object = (enum object_name)i;
		world->resting = true;
		sync_call(world, id, thread, CALL_NOTIFY, SYNC_INIT, argument);
		while (act(world))
			;
		world->resting = false;
	}
}

static unsigned int writers_allowed(const struct world *world, enum object_name object)
{
	return object == OBJECT_SEM ? world->sem_value : 1;
}

static void check_inside(struct world *world, enum object_name name)
{
	const struct object *object = &world->objects[name];

	if (object->writers > writers_allowed(world, name) ||
	    (object->writers > 0 && object->readers > 0))
		sim_fail(world, NULL, "object %d: %u writers and %u readers inside", name,
			 object->writers, object->readers);
}

static void acquire(struct world *world, struct node_id id, struct thread *thread)
{
	bool try = chance(world, 20);
	enum sync_op op = try ? SYNC_TRY : SYNC_ACQUIRE;

	thread->object = (enum object_name)below(world, OBJECT_COND);
	thread->inside_read = thread->object == OBJECT_RWLOCK && chance(world, 60);
	if (thread->inside_read)
		op = try ? SYNC_TRY_READ : SYNC_ACQUIRE_READ;
	sync_call(world, id, thread, CALL_ACQUIRE, op, 0);
}

static void acquired(struct world *world, struct node_id id, struct thread *thread, int status)
{
	struct object *object = &world->objects[thread->object];

	if (status == -EBUSY || status == -EAGAIN)
		return;
	check_status(world, id, thread, status);
	if (status != 0)
		return;
	if (thread->object != OBJECT_SEM &&
	    (object->writer_dead || (object->reader_dead && !thread->inside_read)))
		sim_fail(world, NULL, "node %u gets object %d, whose holder crashed", id.value,
			 thread->object);
	object->readers += thread->inside_read;
	object->writers += !thread->inside_read;
	check_inside(world, thread->object);
	thread->inside = true;
	thread->accesses_left = below(world, 4);
}

static void leave(struct world *world, struct thread *thread)
{
	struct object *object = &world->objects[thread->object];

	object->readers -= thread->inside_read;
	object->writers -= !thread->inside_read;
	thread->inside = false;
}

static void release(struct world *world, struct node_id id, struct thread *thread)
{
	if (publish_first(world, id, thread))
		return;
	leave(world, thread);
	sync_call(world, id, thread, CALL_RELEASE, SYNC_RELEASE, 0);
}

static struct page_id page_inside(struct world *world, struct node_id id, struct thread *thread)
{
	if (world->updates && thread->object == OBJECT_LOCK && chance(world, 70))
		return world->guarded;
	return thread_hot_page(world, id);
}

/* What is done with a lock held: some accesses, perhaps becoming a waiter, the release. */
static void go_on_inside(struct world *world, struct node_id id, struct thread *thread)
{
	bool first = is_thread(node_at(world, id), thread, 0);

	if (thread->accesses_left > 0) {
		thread->accesses_left--;
		thread_access(world, thread, page_inside(world, id, thread), chance(world, 50));
		return;
	}
	if (thread->object == OBJECT_LOCK && !first && thread->signal == 0 && chance(world, 30)) {
		thread->signal = ++world->calls;
		world->waiting_count++;
		thread->object = OBJECT_COND;
		sync_call(world, id, thread, CALL_ENLIST, SYNC_ENLIST, 0);
		thread->object = OBJECT_LOCK;
		return;
	}
	release(world, id, thread);
}

static void notify(struct world *world, struct node_id id, struct thread *thread)
{
	if (publish_first(world, id, thread))
		return;
	bool one = !world->resting && chance(world, 50);

	thread->object = OBJECT_COND;
	sync_call(world, id, thread, CALL_NOTIFY, one ? SYNC_SIGNAL : SYNC_BROADCAST, 0);
}

static void barrier(struct world *world, struct node_id id, struct thread *thread)
{
	if (publish_first(world, id, thread))
		return;
	uint32_t passing = ++node_at(world, id)->barrier_entered;

	/* The first to come: nobody can be in the passing that had this place before. */
	if (passing == world->barrier_goal && world->passings[passing % PASSINGS_MAX].left == 0)
		world->passings[passing % PASSINGS_MAX].ones = 0;
	thread->object = OBJECT_BARRIER;
	sync_call(world, id, thread, CALL_BARRIER, SYNC_ARRIVE, 0);
}

static void barrier_passed(struct world *world, struct node_id id, struct thread *thread,
			   const struct command *command)
{
	uint32_t number = node_at(world, id)->barrier_entered;
	struct passing *passing = &world->passings[number % PASSINGS_MAX];

	check_status(world, id, thread, command->status);
	if (command->status != 0)
		return;
	for (unsigned int i = 0; i < world->node_count; i++) {
		if (world->nodes[i].barrier_entered < number)
			sim_fail(world, NULL, "node %u passes barrier %u before %u comes", id.value,
				 number, i);
	}
	passing->ones += command->complete.value == 1;
	passing->left++;
	if (passing->ones > 1 || (passing->left == world->node_count && passing->ones != 1))
		sim_fail(world, NULL, "barrier %u: %u threads of %u are the one", number,
			 passing->ones, passing->left);
	if (passing->left == world->node_count)
		passing->left = 0;
}

/* ---- the heap ---- */

static void units_alloc(struct world *world, struct node_id id, struct thread *thread)
{
	static const uint16_t dealt[] = { PLACE_CYCLIC, PLACE_FIRST_TOUCH };
	struct event event = { .kind = EV_HEAP_ALLOC };

	event.heap.slab = chance(world, 30);
	event.heap.unit_count = event.heap.slab ? 1 : 1 + below(world, 2);
	event.heap.placement = chance(world, 50) ? dealt[below(world, 2)]
						 : (uint16_t)below(world, world->node_count);
	thread->page = page_id(event.heap.unit_count); /* kept for the answer */
	thread->write = event.heap.slab;
	call(world, id, thread, CALL_ALLOC, &event);
}

static void units_had(struct world *world, struct node_id id, struct thread *thread,
		      const struct command *command)
{
	uint64_t first = command->complete.value;
	uint64_t count = thread->page.value;

	if (command->status == -ENOMEM)
		return;
	check_status(world, id, thread, command->status);
	if (command->status != 0)
		return;
	for (uint64_t unit = first; unit < first + count; unit++) {
		if (unit >= SIM_UNITS || !world->heap)
			sim_fail(world, NULL, "node %u gets unit %llu, which does not exist",
				 id.value, (unsigned long long)unit);
		if (world->units[unit].allocated)
			sim_fail(world, NULL, "node %u gets unit %llu, which another has", id.value,
				 (unsigned long long)unit);
		world->units[unit] = (struct unit){ .allocated = true };
	}
	if (thread->write)
		world->units[first].superblock_of = (uint16_t)(id.value + 1u);
	else
		world->units[first].first_count = (uint32_t)count;
}

static bool units_free(struct world *world, struct node_id id, struct thread *thread)
{
	struct event event = { .kind = EV_HEAP_RELEASE };
	uint64_t first = below(world, SIM_UNITS);
	uint32_t count = world->units[first].first_count;

	if (count == 0)
		return false;
	event.heap.unit = first;
	event.heap.unit_count = count;
	for (uint64_t unit = first; unit < first + count; unit++)
		world->units[unit] = (struct unit){ .allocated = false };
	call(world, id, thread, CALL_UNITS_FREE, &event);
	return true;
}

/* Blocks of superblocks, freed by whoever: each must come home. */
static bool blocks_free(struct world *world, struct node_id id)
{
	struct message_heap_free frees = { .block_count = 0 };
	struct event event = { .kind = EV_HEAP_FREE, .frees = &frees };

	for (uint64_t unit = 0; unit < SIM_UNITS; unit++) {
		uint64_t offset = unit * UNIT_BYTES + 16 * (uint64_t)below(world, 1000);

		if (world->units[unit].superblock_of == 0)
			continue;
		frees.blocks[frees.block_count].offset = offset & 0xffffffffffff;
		frees.blocks[frees.block_count++].size_class = BLOCK_CLASS;
		world->units[unit].frees_sent += offset;
	}
	if (frees.block_count == 0)
		return false;
	node_step(world, id, &event);
	return true;
}

void call_block_freed(struct world *world, struct node_id id, const struct command *command)
{
	uint64_t unit = command->free.offset / UNIT_BYTES;

	if (command->status != 0 || unit >= SIM_UNITS || command->free.size_class != BLOCK_CLASS ||
	    world->units[unit].superblock_of != id.value + 1u)
		sim_fail(world, NULL, "node %u gets a freed block of unit %llu, status %d",
			 id.value, (unsigned long long)unit, command->status);
	world->units[unit].frees_seen += command->free.offset;
}

static bool heap_begin(struct world *world, struct node_id id, struct thread *thread)
{
	switch (below(world, 3)) {
	case 0:
		units_alloc(world, id, thread);
		return true;
	case 1:
		return units_free(world, id, thread);
	}
	return blocks_free(world, id);
}

/* ---- beginning and ending ---- */

bool call_owed(const struct world *world, const struct node *node, const struct thread *thread)
{
	if (thread->inside || thread->signal != 0)
		return true;
	if (is_thread(node, thread, 0))
		return node->collect_entered < world->collect_goal || world->waiting_count > 0;
	return is_thread(node, thread, 1) && node->barrier_entered < world->barrier_goal;
}

/* What the thread owes, which it does sooner or later, and at rest at once. */
static bool begin_owed(struct world *world, struct node_id id, struct thread *thread)
{
	struct node *node = node_at(world, id);

	if (thread->inside) {
		go_on_inside(world, id, thread);
		return true;
	}
	if (thread->signal != 0) {
		thread->state = THREAD_CALL;
		thread->call = CALL_SIGNAL;
		return true;
	}
	if (!world->resting && !chance(world, 20))
		return false;
	if (is_thread(node, thread, 0) && node->collect_entered < world->collect_goal)
		collect(world, id, thread);
	else if (is_thread(node, thread, 0) && world->waiting_count > 0)
		notify(world, id, thread);
	else if (is_thread(node, thread, 1) && node->barrier_entered < world->barrier_goal)
		barrier(world, id, thread);
	else
		return false;
	return true;
}

bool call_begin(struct world *world, struct node_id id, struct thread *thread)
{
	if (begin_owed(world, id, thread))
		return true;
	if (world->resting)
		return false;
	if (chance(world, world->percent_sync)) {
		acquire(world, id, thread);
		return true;
	}
	if (chance(world, world->percent_heap))
		return heap_begin(world, id, thread);
	if (world->updates && chance(world, 5)) {
		publish_first(world, id, thread);
		return true;
	}
	if (!chance(world, 2))
		return false;
	ask_home(world, id, thread);
	return true;
}

static void completed(struct world *world, struct node_id id, struct thread *thread,
		      const struct command *command)
{
	thread->state = THREAD_IDLE;
	switch (thread->call) {
	case CALL_HOME:
		home_told(world, id, thread, command);
		break;
	case CALL_COLLECT:
		collected(world, id, thread, command);
		break;
	case CALL_ACQUIRE:
		acquired(world, id, thread, command->status);
		break;
	case CALL_BARRIER:
		barrier_passed(world, id, thread, command);
		break;
	case CALL_ALLOC:
		units_had(world, id, thread, command);
		break;
	case CALL_PIN:
		pin_ended(world, id, thread, command->status);
		break;
	case CALL_PUBLISH:
		check_status(world, id, thread, command->status);
		thread->published = true;
		updates_published(world, id, thread, command->status);
		break;
	case CALL_RELEASE:
	case CALL_ENLIST:
	case CALL_SIGNAL:
	case CALL_NOTIFY:
	case CALL_UNITS_FREE:
		check_status(world, id, thread, command->status);
		break;
	}
}

void call_completed(struct world *world, struct node_id id, const struct command *command)
{
	struct node *node = node_at(world, id);
	uint64_t token = command->complete.token.value;

	for (unsigned int i = 0; i < world->thread_count; i++) {
		struct thread *thread = &node->threads[i];

		if (thread->signal == token) {
			thread->signal = 0;
			world->waiting_count--;
			if (thread->state == THREAD_CALL && thread->call == CALL_SIGNAL)
				completed(world, id, thread, command);
			return;
		}
		if (thread->state == THREAD_CALL && thread->call != CALL_SIGNAL &&
		    thread->token == token) {
			completed(world, id, thread, command);
			return;
		}
	}
	sim_fail(world, NULL, "node %u: a call completes that nobody made", id.value);
}

/* ---- loss and rest ---- */

void call_node_lost(struct world *world, struct node *node)
{
	for (unsigned int i = 0; i < world->thread_count; i++) {
		struct thread *thread = &node->threads[i];

		world->waiting_count -= thread->signal != 0;
		if (!thread->inside)
			continue;
		struct object *object = &world->objects[thread->object];

		object->writer_dead |= !thread->inside_read;
		object->reader_dead |= thread->inside_read;
		leave(world, thread);
	}
}

void call_check_rest(struct world *world)
{
	for (unsigned int i = 0; i < SIM_UNITS && world->dead_count == 0; i++) {
		if (world->units[i].frees_sent != world->units[i].frees_seen)
			sim_fail(world, NULL, "a block of unit %u was freed and did not come home",
				 i);
	}
}
