/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that this node keeps: the manager has given them to it and has not been given them back,
 * whether a thread of this node holds them or none does. Its threads take and leave such a lock by
 * one atomic operation on one word, without a step of the engine; only the engine, one step at a
 * time, adds words and takes them away.
 *
 * A word is the lock's name, who holds it, and two flags, so that no thread can mistake one lock
 * for another that has its place meanwhile:
 *
 *	63 .. 24  name    23 .. 2  the holder's number + 1, 0: nobody    1  recalled    0  in use
 *
 * Invariants
 *   - A lock is kept by at most one node, and then its manager says that this node holds it.
 *   - A word that is recalled has a holder; when that one leaves, the word goes.
 */
#include "engine/internal.h"

#define IN_USE UINT64_C(1)
#define RECALLED UINT64_C(2)
#define HOLDER_SHIFT 2
#define HOLDER_MASK ((UINT64_C(1) << 22) - 1)
#define NAME_SHIFT 24

static_assert(SPACE_PAGES_MAX * PAGE_BYTES == UINT64_C(1) << (64 - NAME_SHIFT), "a name fits");

static uint64_t word_of(uint64_t name)
{
	return name << NAME_SHIFT | IN_USE;
}

static uint64_t holder_of(uint64_t word)
{
	return word >> HOLDER_SHIFT & HOLDER_MASK;
}

/* What stands in the holder's place for the thread; 0: its number is too large to stand there. */
static uint64_t holder_word(uint32_t thread)
{
	return thread < HOLDER_MASK ? (uint64_t)(thread + 1) << HOLDER_SHIFT : 0;
}

size_t kept_bytes(const struct engine_config *config)
{
	size_t sets = 1;

	while (sets < KEPT_SETS_MAX && sets * 4 <= config->sync_objects)
		sets *= 2;
	return sets * sizeof(struct kept_set);
}

void kept_init(struct engine *engine, void *memory)
{
	engine->sync->kept = memory;
	engine->sync->kept_count =
		(uint32_t)(kept_bytes(&engine->config) / sizeof(struct kept_set));
}

static struct kept_set *set_of(const struct engine *engine, uint64_t name)
{
	/* The low bits have chosen the manager, the next ones its table's bucket. */
	return &engine->sync->kept[(hash_u64(name) >> 48) & (engine->sync->kept_count - 1)];
}

/* The lock's word, or NULL. What is read here may be old, and is not relied on. */
static _Atomic uint64_t *find(struct kept_set *set, uint64_t name)
{
	for (unsigned int i = 0; i < KEPT_WAYS; i++) {
		uint64_t word = atomic_load_explicit(&set->words[i], memory_order_relaxed);

		if ((word & IN_USE) != 0 && word >> NAME_SHIFT == name)
			return &set->words[i];
	}
	return NULL;
}

/* ---- by any thread ---- */

/* Acquire: what the last holder stored is seen. Partner: leave(). */
static bool take(_Atomic uint64_t *at, uint64_t name, uint32_t thread)
{
	uint64_t word = word_of(name);

	return atomic_compare_exchange_strong_explicit(at, &word, word | holder_word(thread),
						       memory_order_acquire, memory_order_relaxed);
}

/* Release: partner of take(). */
static bool leave(_Atomic uint64_t *at, uint64_t name, uint32_t thread)
{
	uint64_t word = word_of(name) | holder_word(thread);

	return atomic_compare_exchange_strong_explicit(at, &word, word_of(name),
						       memory_order_release, memory_order_relaxed);
}

static bool counted(struct kept_set *set, bool done)
{
	if (done)
		atomic_fetch_add_explicit(&set->calls, 1, memory_order_relaxed);
	return done;
}

bool engine_lock_take(const struct engine *engine, uint64_t name, uint32_t thread)
{
	struct kept_set *set = set_of(engine, name);
	_Atomic uint64_t *at = find(set, name);

	return at != NULL && holder_word(thread) != 0 && counted(set, take(at, name, thread));
}

bool engine_lock_leave(const struct engine *engine, uint64_t name, uint32_t thread)
{
	struct kept_set *set = set_of(engine, name);
	_Atomic uint64_t *at = find(set, name);

	return at != NULL && holder_word(thread) != 0 && counted(set, leave(at, name, thread));
}

uint64_t engine_lock_calls(const struct engine *engine)
{
	uint64_t calls = 0;

	for (uint32_t i = 0; i < engine->sync->kept_count; i++)
		calls += atomic_load_explicit(&engine->sync->kept[i].calls, memory_order_relaxed);
	return calls;
}

/* ---- in a step ---- */

enum kept kept_take(struct engine *engine, uint64_t name, uint32_t thread)
{
	_Atomic uint64_t *at = find(set_of(engine, name), name);

	if (at == NULL)
		return KEPT_NOT;
	for (;;) {
		uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
		uint64_t holder = holder_of(word);

		if (holder != 0)
			return holder == (uint64_t)thread + 1 ? KEPT_MINE : KEPT_OTHERS;
		if (holder_word(thread) != 0 && take(at, name, thread))
			return KEPT_TAKEN;
		/* Acquire, as in take(): the next node is told by what this one sends. */
		if (holder_word(thread) == 0 &&
		    atomic_compare_exchange_strong_explicit(at, &word, 0, memory_order_acquire,
							    memory_order_relaxed))
			return KEPT_GONE;
	}
}

enum kept kept_leave(struct engine *engine, uint64_t name, uint32_t thread)
{
	_Atomic uint64_t *at = find(set_of(engine, name), name);

	if (at == NULL)
		return KEPT_NOT;
	if (holder_of(atomic_load_explicit(at, memory_order_relaxed)) != (uint64_t)thread + 1)
		return KEPT_OTHERS;
	if (leave(at, name, thread))
		return KEPT_MINE;
	/* It is recalled, and nobody else may change it. */
	atomic_store_explicit(at, 0, memory_order_relaxed);
	return KEPT_GONE;
}

/* A place for another word: an empty one, or one whose lock nobody holds, which goes. */
static _Atomic uint64_t *make_room(struct kept_set *set, uint64_t *gone)
{
	*gone = KEPT_NAME_NONE;
	for (unsigned int i = 0; i < KEPT_WAYS; i++) {
		if (atomic_load_explicit(&set->words[i], memory_order_relaxed) == 0)
			return &set->words[i];
	}
	for (unsigned int i = 0; i < KEPT_WAYS; i++) {
		uint64_t word = atomic_load_explicit(&set->words[i], memory_order_relaxed);

		if (holder_of(word) == 0 &&
		    atomic_compare_exchange_strong_explicit(
			    &set->words[i], &word, 0, memory_order_acquire, memory_order_relaxed)) {
			*gone = word >> NAME_SHIFT;
			return &set->words[i];
		}
	}
	return NULL;
}

bool kept_known(const struct engine *engine, uint64_t name)
{
	return find(set_of(engine, name), name) != NULL;
}

bool kept_add(struct engine *engine, uint64_t name, uint32_t thread, bool recalled, uint64_t *gone)
{
	struct kept_set *set = set_of(engine, name);

	ASSERT(find(set, name) == NULL);
	*gone = KEPT_NAME_NONE;
	if (holder_word(thread) == 0)
		return false;
	_Atomic uint64_t *at = make_room(set, gone);

	if (at == NULL)
		return false;
	atomic_store_explicit(at, word_of(name) | holder_word(thread) | (recalled ? RECALLED : 0),
			      memory_order_relaxed);
	return true;
}

static enum kept recall(_Atomic uint64_t *at)
{
	/* Acquire: what the last holder stored comes before what this node says now. */
	uint64_t word = atomic_fetch_or_explicit(at, RECALLED, memory_order_acquire);

	if (holder_of(word) != 0 && !MUTANT(LOOSE_LOCK))
		return KEPT_OTHERS;
	atomic_store_explicit(at, 0, memory_order_relaxed);
	return KEPT_GONE;
}

enum kept kept_recall(struct engine *engine, uint64_t name)
{
	_Atomic uint64_t *at = find(set_of(engine, name), name);

	if (at == NULL)
		return KEPT_NOT;
	if (MUTANT(DEAF_HOLDER) && holder_of(atomic_load(at)) != 0)
		return KEPT_OTHERS;
	return recall(at);
}

void kept_forget(struct engine *engine, bool (*about)(const struct engine *, uint64_t name))
{
	for (uint32_t i = 0; i < engine->sync->kept_count * KEPT_WAYS; i++) {
		_Atomic uint64_t *at = &engine->sync->kept[i / KEPT_WAYS].words[i % KEPT_WAYS];
		uint64_t word = atomic_load_explicit(at, memory_order_relaxed);

		if ((word & IN_USE) != 0 && about(engine, word >> NAME_SHIFT))
			recall(at);
	}
}
