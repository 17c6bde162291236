/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synchronisation objects. Each lives at its manager, which all nodes compute from its name: node
 * 0, or the name's hash dealt over the nodes. A thread that wants something sends a request and
 * blocks until the reply; one that has to wait is a seat in the object's queue, first come first
 * served.
 *
 * Who holds a lock is a pair (node, thread). A lock is a reader-writer lock that nobody reads, but
 * for one thing: a node that was granted a lock keeps it when its thread releases it, until it is
 * recalled (kept.c). So to its manager a lock is held from the grant until the node returns it, and
 * only the node knows by which thread, or whether by any. Who gets a lock while others wait for it
 * is to return it at the release.
 *
 * Invariants
 *   - Every seat in a queue stands for one open call of its node, which gets exactly one reply.
 *   - A lock with a queue is held, or read. A semaphore with a queue has value 0.
 *   - After a loss nothing waits for what may never come: a lock that the lost node held answers
 *     -EOWNERDEAD until it is destroyed, and no condition, semaphore or barrier is waited for any
 *     more (-EHOSTDOWN), since the lost node may be the one that would have come.
 *   - Of a lock that may be kept and not held, recalled is set if and only if the queue has ever
 *     not been empty since the grant. Who asks only whether it is held waits in the queue too,
 *     until the node has said so.
 */
#include "engine/internal.h"

/* Who asks, and where the answers go. */
struct caller {
	struct node_id node;
	uint32_t thread;
	uint32_t slot;
	bool enlists;	 /* has a second slot open, for the signal */
	bool other;	 /* its node keeps the lock, for another thread */
	uint32_t signal; /* that slot */
};

/* ---- memory ---- */

static size_t aligned(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static uint32_t bucket_count(const struct engine_config *config)
{
	uint32_t count = 1;

	while (count < config->sync_objects && count < UINT32_C(1) << 31)
		count *= 2;
	return count;
}

/*
 * As many as there are calls in the whole job, since one seat is one call; but no more than half of
 * what one step may say, since one broadcast wakes them all.
 */
static uint32_t waiting_limit(const struct engine_config *config)
{
	uint64_t calls = (uint64_t)config->node_count * config->calls;

	return (uint32_t)(calls < COMMANDS_MAX / 2 ? calls : COMMANDS_MAX / 2);
}

static uint32_t reading_limit(const struct engine_config *config)
{
	uint64_t limit = (uint64_t)waiting_limit(config) + config->sync_objects;

	return (uint32_t)(limit < UINT32_MAX / 2 ? limit : UINT32_MAX / 2);
}

static size_t objects_at(const struct engine_config *config)
{
	return aligned(sizeof(struct sync_state)) +
	       aligned(bucket_count(config) * sizeof(uint32_t));
}

static size_t kept_at(const struct engine_config *config)
{
	return objects_at(config) + aligned(config->sync_objects * sizeof(struct sync_object));
}

static size_t seats_at(const struct engine_config *config)
{
	return kept_at(config) + aligned(kept_bytes(config));
}

size_t sync_bytes(const struct engine_config *config)
{
	size_t seat_count = (size_t)waiting_limit(config) + reading_limit(config);

	return seats_at(config) + aligned(seat_count * sizeof(struct seat));
}

void sync_init(struct engine *engine, void *memory)
{
	const struct engine_config *config = &engine->config;
	unsigned char *base = memory;
	struct sync_state *sync = memory;

	sync->bucket_count = bucket_count(config);
	sync->buckets = (void *)(base + aligned(sizeof(struct sync_state)));
	sync->objects = (void *)(base + objects_at(config));
	sync->seats = (void *)(base + seats_at(config));
	sync->waiting_limit = waiting_limit(config);
	sync->reading_limit = reading_limit(config);
	engine->sync = sync;
	kept_init(engine, base + kept_at(config));
}

bool sync_quiet(const struct engine *engine)
{
	return engine->sync->waiting_count == 0;
}

/* ---- seats ---- */

static struct seat *seat_at(const struct sync_state *sync, uint32_t link)
{
	ASSERT(link != 0 && link <= sync->seat_fresh);
	return &sync->seats[link - 1];
}

static uint32_t seat_get(struct sync_state *sync, const struct caller *caller)
{
	uint32_t link = sync->seat_free;

	if (link != 0)
		sync->seat_free = seat_at(sync, link)->next;
	else
		link = ++sync->seat_fresh;
	*seat_at(sync, link) = (struct seat){
		.slot = caller->slot,
		.thread = caller->thread,
		.node = caller->node.value,
	};
	return link;
}

static void seat_put(struct sync_state *sync, uint32_t link)
{
	seat_at(sync, link)->next = sync->seat_free;
	sync->seat_free = link;
}

static struct caller seat_caller(const struct seat *seat)
{
	return (struct caller){
		.node = node_id(seat->node),
		.thread = seat->thread,
		.slot = seat->slot,
	};
}

/* ---- replies ---- */

static void answer(struct engine *engine, const struct caller *caller, int status)
{
	call_reply(engine, caller->node, caller->slot, status, 0);
}

/* As answer(), for a call that came to nothing: then no signal will come either. */
static void refuse(struct engine *engine, const struct caller *caller, int status)
{
	if (caller->enlists)
		call_reply(engine, caller->node, caller->signal, status, 0);
	answer(engine, caller, status);
}

/* ---- queues ---- */

/* Does it leave the queue when the lock turns out to be held? */
static bool is_hasty(const struct seat *seat)
{
	return seat->wish == WISH_TRY || seat->wish == WISH_DESTROY;
}

static void queue_append(struct sync_state *sync, struct sync_object *object, uint32_t link)
{
	object->hasty_count += is_hasty(seat_at(sync, link));
	if (object->wait_tail != 0)
		seat_at(sync, object->wait_tail)->next = link;
	else
		object->wait_head = link;
	object->wait_tail = link;
	object->wait_count++;
	sync->waiting_count++;
}

/* The caller waits in the object's queue: -ENOMEM when no seat is left. */
static int queue_join(struct engine *engine, struct sync_object *object,
		      const struct caller *caller, enum seat_wish wish)
{
	struct sync_state *sync = engine->sync;

	if (sync->waiting_count == sync->waiting_limit)
		return -ENOMEM;
	uint32_t link = seat_get(sync, caller);

	seat_at(sync, link)->wish = (uint16_t)wish;
	queue_append(sync, object, link);
	return 0;
}

static struct caller queue_leave(struct engine *engine, struct sync_object *object)
{
	struct sync_state *sync = engine->sync;
	uint32_t link = object->wait_head;
	struct seat *seat = seat_at(sync, link);
	struct caller caller = seat_caller(seat);

	ASSERT(object->wait_count > 0 && sync->waiting_count > 0);
	object->wait_head = seat->next;
	if (object->wait_head == 0)
		object->wait_tail = 0;
	object->wait_count--;
	object->hasty_count -= is_hasty(seat);
	sync->waiting_count--;
	seat_put(sync, link);
	return caller;
}

/* Everybody in the queue gets `status`. */
static void queue_dismiss(struct engine *engine, struct sync_object *object, int status)
{
	while (object->wait_head != 0) {
		struct caller caller = queue_leave(engine, object);

		answer(engine, &caller, status);
	}
}

/* Takes the seats out of the queue; the first of them. */
static uint32_t queue_take(struct sync_state *sync, struct sync_object *object)
{
	uint32_t link = object->wait_head;

	sync->waiting_count -= object->wait_count;
	object->wait_head = object->wait_tail = object->wait_count = object->hasty_count = 0;
	return link;
}

/* The waiting threads of a lost node leave; the others keep their order. */
static void queue_forget(struct engine *engine, struct sync_object *object, struct node_id peer)
{
	struct sync_state *sync = engine->sync;
	uint32_t link = queue_take(sync, object);

	while (link != 0) {
		struct seat *seat = seat_at(sync, link);
		uint32_t next = seat->next;

		seat->next = 0;
		if (seat->node == peer.value)
			seat_put(sync, link);
		else
			queue_append(sync, object, link);
		link = next;
	}
}

/* The lock is held: those who do not wait for it are told so. */
static void queue_tell_hasty(struct engine *engine, struct sync_object *object)
{
	struct sync_state *sync = engine->sync;
	uint32_t link = object->hasty_count > 0 ? queue_take(sync, object) : 0;

	while (link != 0) {
		struct seat *seat = seat_at(sync, link);
		struct caller caller = seat_caller(seat);
		uint32_t next = seat->next;

		seat->next = 0;
		if (is_hasty(seat)) {
			seat_put(sync, link);
			if (!MUTANT(FORGOTTEN_TRY))
				answer(engine, &caller, -EBUSY);
		} else {
			queue_append(sync, object, link);
		}
		link = next;
	}
}

/* ---- locks and reader-writer locks ---- */

static int object_destroy(struct engine *engine, struct sync_object *object);

static bool writes(const struct sync_object *object, const struct caller *caller)
{
	return object->held && object->holder_node == caller->node.value &&
	       object->holder_thread == caller->thread;
}

/* The link that leads to the caller's seat among the readers, or NULL: it does not read. */
static uint32_t *reader_link(struct sync_state *sync, struct sync_object *object,
			     const struct caller *caller)
{
	for (uint32_t *link = &object->readers; *link != 0; link = &seat_at(sync, *link)->next) {
		const struct seat *seat = seat_at(sync, *link);

		if (seat->node == caller->node.value && seat->thread == caller->thread)
			return link;
	}
	return NULL;
}

static void reader_remove(struct sync_state *sync, uint32_t *link)
{
	uint32_t removed = *link;

	ASSERT(sync->reading_count > 0);
	*link = seat_at(sync, removed)->next;
	seat_put(sync, removed);
	sync->reading_count--;
}

static bool lock_free(const struct sync_object *object)
{
	return !object->held && object->readers == 0;
}

static void grant(struct engine *engine, struct sync_object *object, const struct caller *caller)
{
	bool keeps = object->kind == SYNC_LOCK;
	bool recalled = !keeps || object->wait_head != 0;

	ASSERT(lock_free(object) && !object->owner_dead && object->hasty_count == 0);
	object->held = true;
	object->holder_node = caller->node.value;
	object->holder_thread = caller->thread;
	object->recalled = recalled;
	object->certain = recalled;
	call_reply(engine, caller->node, caller->slot, 0,
		   !keeps     ? GRANT_PLAIN
		   : recalled ? GRANT_RECALLED
			      : GRANT_KEEP);
}

/* Somebody waits for a lock that the holder's node may keep. */
static void lock_recall(struct engine *engine, struct sync_object *object)
{
	struct message message = { .kind = MSG_SYNC_RECALL };

	if (object->recalled)
		return;
	ROW("lock recall");
	object->recalled = true;
	message.sync_recall.name = object->name;
	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, node_id(object->holder_node), &message);
}

static int lock_wait(struct engine *engine, struct sync_object *object, const struct caller *caller,
		     enum seat_wish wish)
{
	int error = queue_join(engine, object, caller, wish);

	if (error == 0 && object->held)
		lock_recall(engine, object);
	return error;
}

static void grant_read(struct engine *engine, struct sync_object *object,
		       const struct caller *caller)
{
	struct sync_state *sync = engine->sync;

	ASSERT(!object->held && !object->owner_dead);
	if (sync->reading_count == sync->reading_limit) {
		refuse(engine, caller, -ENOMEM);
		return;
	}
	uint32_t link = seat_get(sync, caller);

	seat_at(sync, link)->next = object->readers;
	object->readers = link;
	sync->reading_count++;
	answer(engine, caller, 0);
}

/* The lock may have come free: those at the head of the queue get it, readers together. */
static void lock_pass_on(struct engine *engine, struct sync_object *object)
{
	while (object->wait_head != 0 && !object->held) {
		uint16_t wish = seat_at(engine->sync, object->wait_head)->wish;

		if (wish != WISH_READ && object->readers != 0)
			return;
		struct caller caller = queue_leave(engine, object);

		if (wish == WISH_READ) {
			grant_read(engine, object, &caller);
		} else if (wish == WISH_DESTROY) {
			bool last = object->wait_head == 0;

			answer(engine, &caller, object_destroy(engine, object));
			if (last)
				return; /* the object is gone */
		} else {
			queue_tell_hasty(engine, object);
			grant(engine, object, &caller);
		}
	}
}

static void lock_acquire(struct engine *engine, struct sync_object *object,
			 const struct caller *caller)
{
	int error = 0;

	if (object->owner_dead)
		error = -EOWNERDEAD;
	else if (lock_free(object))
		grant(engine, object, caller);
	else if ((writes(object, caller) && !caller->other) ||
		 reader_link(engine->sync, object, caller) != NULL)
		error = -EDEADLK;
	else
		error = lock_wait(engine, object, caller, WISH_WRITE);
	if (error != 0)
		refuse(engine, caller, error);
}

/* Is it held by a thread, or read, for sure? */
static bool lock_certain(const struct sync_object *object)
{
	return object->held ? object->certain : object->readers != 0;
}

static void lock_try(struct engine *engine, struct sync_object *object, const struct caller *caller)
{
	int error = 0;

	if (object->owner_dead)
		error = -EOWNERDEAD;
	else if (lock_free(object))
		grant(engine, object, caller);
	else if (lock_certain(object))
		error = -EBUSY;
	else
		error = lock_wait(engine, object, caller, WISH_TRY);
	if (error != 0)
		refuse(engine, caller, error);
}

/*
 * A thread may read more than once. But behind a waiting writer it would wait for a writer that
 * waits for it.
 */
static void lock_acquire_read(struct engine *engine, struct sync_object *object,
			      const struct caller *caller)
{
	int error = 0;

	if (object->owner_dead)
		error = -EOWNERDEAD;
	else if (!object->held && object->wait_head == 0)
		grant_read(engine, object, caller);
	else if (writes(object, caller) || reader_link(engine->sync, object, caller) != NULL)
		error = -EDEADLK;
	else
		error = lock_wait(engine, object, caller, WISH_READ);
	if (error != 0)
		refuse(engine, caller, error);
}

static void lock_try_read(struct engine *engine, struct sync_object *object,
			  const struct caller *caller)
{
	if (object->owner_dead)
		refuse(engine, caller, -EOWNERDEAD);
	else if (!object->held && object->wait_head == 0)
		grant_read(engine, object, caller);
	else
		refuse(engine, caller, -EBUSY);
}

static void lock_release(struct engine *engine, struct sync_object *object,
			 const struct caller *caller)
{
	uint32_t *link = reader_link(engine->sync, object, caller);

	if (writes(object, caller)) {
		object->held = false;
	} else if (link != NULL) {
		reader_remove(engine->sync, link);
	} else {
		refuse(engine, caller, -EPERM);
		return;
	}
	answer(engine, caller, 0);
	if (!MUTANT(LOST_WAKEUP) || link == NULL)
		lock_pass_on(engine, object);
}

/* A lock that nobody is certain to hold may only be kept: its node has to say. */
static void lock_destroy(struct engine *engine, struct sync_object *object,
			 const struct caller *caller)
{
	int error = 0;

	if (!object->held || object->certain || object->wait_head != 0)
		answer(engine, caller, object_destroy(engine, object));
	else
		error = lock_wait(engine, object, caller, WISH_DESTROY);
	if (error != 0)
		refuse(engine, caller, error);
}

/* The node that has the lock says that it has it no more, or that it is held there. */
static int lock_told(struct engine *engine, struct sync_object *object, struct node_id from,
		     uint8_t op)
{
	if (object == NULL || object->kind != SYNC_LOCK || !object->held ||
	    object->holder_node != from.value)
		return -EPROTO;
	if (op == SYNC_RETURN) {
		ROW("lock returned");
		object->held = false;
		lock_pass_on(engine, object);
	} else {
		ROW("lock held");
		object->recalled = true;
		object->certain = true;
		queue_tell_hasty(engine, object);
	}
	return 0;
}

static void lock_peer_down(struct engine *engine, struct sync_object *object, struct node_id peer)
{
	uint32_t *link = &object->readers;

	if (object->held && object->holder_node == peer.value) {
		object->held = false;
		object->owner_dead = !MUTANT(DEAD_HOLDER);
	}
	while (*link != 0) {
		struct seat *seat = seat_at(engine->sync, *link);

		if (seat->node == peer.value) {
			reader_remove(engine->sync, link);
			object->owner_dead = true;
		} else {
			link = &seat->next;
		}
	}
	if (object->owner_dead)
		queue_dismiss(engine, object, -EOWNERDEAD);
	else
		lock_pass_on(engine, object);
}

/* ---- the others ---- */

/* To wait for what another node does is safe only while all nodes are there. */
static int await_others(struct engine *engine, struct sync_object *object,
			const struct caller *caller)
{
	if (engine->any_down)
		return -EHOSTDOWN;
	return queue_join(engine, object, caller, WISH_WRITE);
}

static void cond_enlist(struct engine *engine, struct sync_object *object,
			const struct caller *caller)
{
	struct caller waiter = *caller;

	waiter.slot = caller->signal;
	int error = await_others(engine, object, &waiter);

	if (error != 0)
		refuse(engine, caller, error);
	else
		answer(engine, caller, 0);
}

static void cond_signal(struct engine *engine, struct sync_object *object,
			const struct caller *caller)
{
	if (object->wait_head != 0) {
		struct caller waiter = queue_leave(engine, object);

		answer(engine, &waiter, 0);
	}
	answer(engine, caller, 0);
}

static void cond_broadcast(struct engine *engine, struct sync_object *object,
			   const struct caller *caller)
{
	queue_dismiss(engine, object, 0);
	answer(engine, caller, 0);
}

static void sem_acquire(struct engine *engine, struct sync_object *object,
			const struct caller *caller)
{
	if (object->value > 0) {
		object->value--;
		answer(engine, caller, 0);
		return;
	}
	int error = await_others(engine, object, caller);

	if (error != 0)
		refuse(engine, caller, error);
}

static void sem_try(struct engine *engine, struct sync_object *object, const struct caller *caller)
{
	if (object->value == 0) {
		refuse(engine, caller, -EAGAIN);
		return;
	}
	object->value--;
	answer(engine, caller, 0);
}

static void sem_release(struct engine *engine, struct sync_object *object,
			const struct caller *caller)
{
	if (object->value == INT32_MAX) {
		refuse(engine, caller, -EOVERFLOW);
		return;
	}
	if (object->wait_head != 0) {
		struct caller waiter = queue_leave(engine, object);

		answer(engine, &waiter, 0);
	} else {
		object->value++;
	}
	answer(engine, caller, 0);
}

/* The last to arrive is the one thread that gets a 1. */
static void barrier_arrive(struct engine *engine, struct sync_object *object,
			   const struct caller *caller)
{
	if (object->wait_count + 1 + MUTANT(SHORT_BARRIER) == object->value) {
		queue_dismiss(engine, object, 0);
		call_reply(engine, caller->node, caller->slot, 0, 1);
		return;
	}
	int error = await_others(engine, object, caller);

	if (error != 0)
		refuse(engine, caller, error);
}

/* ---- the table of objects ---- */

static uint32_t *bucket_of(struct sync_state *sync, uint64_t name)
{
	/* The low bits have chosen the manager, so they are much alike here. */
	return &sync->buckets[(hash_u64(name) >> 32) & (sync->bucket_count - 1)];
}

static struct sync_object *object_find(struct sync_state *sync, uint64_t name)
{
	uint32_t link = *bucket_of(sync, name);

	while (link != 0 && sync->objects[link - 1].name != name)
		link = sync->objects[link - 1].chain;
	return link != 0 ? &sync->objects[link - 1] : NULL;
}

static uint32_t object_get(struct engine *engine)
{
	struct sync_state *sync = engine->sync;
	uint32_t link = sync->object_free;

	if (link != 0)
		sync->object_free = sync->objects[link - 1].chain;
	else if (sync->object_fresh < engine->config.sync_objects)
		link = ++sync->object_fresh;
	return link;
}

static bool argument_valid(const struct message_sync_request *request)
{
	if (request->kind == SYNC_BARRIER)
		return request->argument >= 1;
	return request->kind != SYNC_SEM || request->argument <= INT32_MAX;
}

static int object_create(struct engine *engine, const struct message_sync_request *request)
{
	struct sync_state *sync = engine->sync;
	uint32_t *bucket = bucket_of(sync, request->name);

	if (!argument_valid(request))
		return -EINVAL;
	uint32_t link = object_get(engine);

	if (link == 0)
		return -ENOMEM;
	sync->objects[link - 1] = (struct sync_object){
		.name = request->name,
		.chain = *bucket,
		.next = sync->object_first,
		.value = request->argument,
		.kind = request->kind,
	};
	*bucket = link;
	if (sync->object_first != 0)
		sync->objects[sync->object_first - 1].previous = link;
	sync->object_first = link;
	return 0;
}

static int object_destroy(struct engine *engine, struct sync_object *object)
{
	struct sync_state *sync = engine->sync;
	uint32_t *chain = bucket_of(sync, object->name);
	uint32_t link = (uint32_t)(object - sync->objects) + 1;

	if (object->wait_head != 0 || !lock_free(object))
		return -EBUSY;
	while (*chain != link)
		chain = &sync->objects[*chain - 1].chain;
	*chain = object->chain;
	if (object->previous != 0)
		sync->objects[object->previous - 1].next = object->next;
	else
		sync->object_first = object->next;
	if (object->next != 0)
		sync->objects[object->next - 1].previous = object->previous;
	object->chain = sync->object_free;
	sync->object_free = link;
	return 0;
}

/* ---- at the manager ---- */

/* What each kind of object can be asked, besides to begin and to end. */
static void (*const operations[SYNC_KIND_END][SYNC_OP_END])(struct engine *, struct sync_object *,
							    const struct caller *) = {
	[SYNC_LOCK] = {
		[SYNC_ACQUIRE] = lock_acquire,
		[SYNC_TRY] = lock_try,
		[SYNC_RELEASE] = lock_release,
	},
	[SYNC_RWLOCK] = {
		[SYNC_ACQUIRE] = lock_acquire,
		[SYNC_ACQUIRE_READ] = lock_acquire_read,
		[SYNC_TRY] = lock_try,
		[SYNC_TRY_READ] = lock_try_read,
		[SYNC_RELEASE] = lock_release,
	},
	[SYNC_COND] = {
		[SYNC_ENLIST] = cond_enlist,
		[SYNC_SIGNAL] = cond_signal,
		[SYNC_BROADCAST] = cond_broadcast,
	},
	[SYNC_SEM] = {
		[SYNC_ACQUIRE] = sem_acquire,
		[SYNC_TRY] = sem_try,
		[SYNC_RELEASE] = sem_release,
	},
	[SYNC_BARRIER] = {
		[SYNC_ARRIVE] = barrier_arrive,
	},
};

static bool operation_known(unsigned int kind, unsigned int op)
{
	if (kind < SYNC_LOCK || kind >= SYNC_KIND_END || op >= SYNC_OP_END)
		return false;
	return op == SYNC_INIT || op == SYNC_DESTROY || operations[kind][op] != NULL;
}

static struct node_id manager_of(const struct engine *engine, uint64_t name)
{
	if (engine->config.manager == MANAGER_CENTRAL)
		return node_id(0);
	return node_id((unsigned int)(hash_u64(name) % engine->config.node_count));
}

static void object_request(struct engine *engine, struct sync_object *object,
			   const struct message_sync_request *request, const struct caller *caller)
{
	if (object == NULL)
		refuse(engine, caller, -ENOENT);
	else if (object->kind != request->kind)
		refuse(engine, caller, -EINVAL);
	else if (request->op == SYNC_DESTROY)
		lock_destroy(engine, object, caller);
	else
		operations[request->kind][request->op](engine, object, caller);
}

int sync_request(struct engine *engine, struct node_id from,
		 const struct message_sync_request *request)
{
	struct caller caller = {
		.node = from,
		.thread = request->thread,
		.slot = request->slot,
		.enlists = request->op == SYNC_ENLIST,
		.other = request->kind == SYNC_LOCK && request->argument != 0,
		.signal = request->argument,
	};

	if (!node_equal(manager_of(engine, request->name), engine->config.self))
		return -EPROTO;
	struct sync_object *object = object_find(engine->sync, request->name);

	if (request->op == SYNC_RETURN || request->op == SYNC_HELD)
		return lock_told(engine, object, from, request->op);
	if (!operation_known(request->kind, request->op))
		return -EPROTO;
	if (request->op != SYNC_INIT)
		object_request(engine, object, request, &caller);
	else if (object != NULL)
		answer(engine, &caller, -EEXIST);
	else
		answer(engine, &caller, object_create(engine, request));
	return 0;
}

static void object_peer_down(struct engine *engine, struct sync_object *object, struct node_id peer)
{
	queue_forget(engine, object, peer);
	switch ((enum sync_kind)object->kind) {
	case SYNC_LOCK:
	case SYNC_RWLOCK:
		lock_peer_down(engine, object, peer);
		return;
	case SYNC_COND:
	case SYNC_SEM:
	case SYNC_BARRIER:
		queue_dismiss(engine, object, -EHOSTDOWN);
		return;
	case SYNC_KIND_END:
		break;
	}
	ASSERT(false);
}

static bool managed_by_lost(const struct engine *engine, uint64_t name)
{
	return engine_down(engine, manager_of(engine, name));
}

void sync_peer_down(struct engine *engine, struct node_id peer)
{
	struct sync_state *sync = engine->sync;

	kept_forget(engine, managed_by_lost);
	for (uint32_t link = sync->object_first; link != 0; link = sync->objects[link - 1].next)
		object_peer_down(engine, &sync->objects[link - 1], peer);
}

/* ---- at the node that asks ---- */

static void sync_send(struct engine *engine, const struct message_sync_request *request)
{
	struct message message = { .kind = MSG_SYNC_REQUEST, .sync_request = *request };

	message.bytes = (uint16_t)message_bytes(&message);
	emit_send(engine, manager_of(engine, request->name), &message);
}

/* Tells the lock's manager that it is not kept any more, or that a thread holds it. No reply. */
static void sync_tell(struct engine *engine, uint64_t name, enum sync_op op)
{
	sync_send(engine, &(struct message_sync_request){
				  .name = name,
				  .kind = SYNC_LOCK,
				  .op = (uint8_t)op,
			  });
}

int sync_granted(struct engine *engine, const struct call *call, uint64_t how)
{
	uint64_t gone = KEPT_NAME_NONE;

	if (how > GRANT_RECALLED || (how != GRANT_PLAIN && kept_known(engine, call->lock_name)))
		return -EPROTO;
	if (how == GRANT_PLAIN)
		return 0;
	if (kept_add(engine, call->lock_name, call->lock_thread, how == GRANT_RECALLED, &gone)) {
		ROW("lock granted");
	} else {
		ROW("lock without a word");
		if (how == GRANT_KEEP)
			sync_tell(engine, call->lock_name, SYNC_HELD);
	}
	if (gone != KEPT_NAME_NONE) {
		ROW("lock makes room");
		sync_tell(engine, gone, SYNC_RETURN);
	}
	return 0;
}

int sync_recalled(struct engine *engine, struct node_id from, uint64_t name)
{
	if (!node_equal(manager_of(engine, name), from))
		return -EPROTO;
	switch (kept_recall(engine, name)) {
	case KEPT_GONE:
		ROW("lock recalled, idle");
		sync_tell(engine, name, SYNC_RETURN);
		break;
	case KEPT_OTHERS:
		ROW("lock recalled, held");
		sync_tell(engine, name, SYNC_HELD);
		break;
	case KEPT_NOT:
		ROW("lock recalled, gone");
		break;
	case KEPT_TAKEN:
	case KEPT_MINE:
		break;
	}
	return 0;
}

/* What this node can say by itself of a lock that it keeps: true, and the status. */
static bool kept_answer(struct engine *engine, const struct event *event, enum kept kept,
			int *status)
{
	bool release = event->sync.op == SYNC_RELEASE;

	switch (kept) {
	case KEPT_TAKEN:
		ROW("lock taken");
		*status = 0;
		return true;
	case KEPT_MINE:
		if (release)
			ROW("lock left");
		*status = release ? 0 : event->sync.op == SYNC_TRY ? -EBUSY : -EDEADLK;
		return true;
	case KEPT_OTHERS:
		*status = release ? -EPERM : -EBUSY;
		return release || event->sync.op == SYNC_TRY;
	case KEPT_GONE:
		ROW("lock left at last");
		*status = 0;
		sync_tell(engine, event->sync.name, SYNC_RETURN);
		return release;
	case KEPT_NOT:
		break;
	}
	return false;
}

static enum kept kept_try(struct engine *engine, const struct event *event)
{
	if (event->sync.kind != SYNC_LOCK)
		return KEPT_NOT;
	if (event->sync.op == SYNC_ACQUIRE || event->sync.op == SYNC_TRY)
		return kept_take(engine, event->sync.name, event->sync.thread);
	if (event->sync.op == SYNC_RELEASE)
		return kept_leave(engine, event->sync.name, event->sync.thread);
	return KEPT_NOT;
}

static void lock_call(struct call *call, const struct event *event)
{
	if (event->sync.op != SYNC_ACQUIRE && event->sync.op != SYNC_TRY)
		return;
	call->lock = true;
	call->lock_name = event->sync.name;
	call->lock_thread = event->sync.thread;
}

/* Opens the call, and for a condition's waiter the call that the signal will end: both or none. */
static int sync_open(struct engine *engine, struct node_id manager, const struct event *event,
		     bool other)
{
	uint32_t argument = event->sync.argument;
	uint32_t slot = call_open(engine, manager, event->token);

	if (slot == UINT32_MAX)
		return -EAGAIN;
	if (event->sync.kind == SYNC_LOCK && event->sync.op != SYNC_INIT) {
		argument = other;
		lock_call(&engine->calls[slot], event);
	}
	if (event->sync.op == SYNC_ENLIST) {
		argument = call_open(engine, manager, event->sync.signal);
		if (argument == UINT32_MAX) {
			call_cancel(engine, slot);
			return -EAGAIN;
		}
	}
	sync_send(engine, &(struct message_sync_request){
				  .name = event->sync.name,
				  .slot = slot,
				  .thread = event->sync.thread,
				  .argument = argument,
				  .kind = (uint8_t)event->sync.kind,
				  .op = (uint8_t)event->sync.op,
			  });
	return 0;
}

int sync_event(struct engine *engine, const struct event *event)
{
	struct node_id manager = manager_of(engine, event->sync.name);
	bool down = engine_down(engine, manager);
	int status = -EHOSTDOWN;

	ASSERT(operation_known(event->sync.kind, event->sync.op));
	enum kept kept = kept_try(engine, event);

	if (kept_answer(engine, event, kept, &status) || down) {
		if (event->sync.op == SYNC_ENLIST)
			emit_complete(engine, event->sync.signal, -EHOSTDOWN, 0);
		emit_complete(engine, event->token, down ? -EHOSTDOWN : status, 0);
	} else {
		int error = sync_open(engine, manager, event, kept == KEPT_OTHERS);

		if (error != 0)
			return error;
	}
	engine->stats.sync_calls++;
	return 0;
}
