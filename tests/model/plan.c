/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worlds, and a world made ready for one manager. A script is a word of operations for each
 * thread, the threads of a node apart by '|':
 *
 *   r0 w0    load, store page 0            a  acquire the lock     b  arrive at the barrier
 *   p0 q0    prefetch it, for writing      s  ... for reading      ?  any of world.any
 *   g0 g*    guess it, or all pages
 *   e0 e*    its copies may go, or all
 *   p* q*    prefetch all pages            t  try the lock         z  release it
 */
#include "model.h"

const struct world worlds[] = {
	{
		.name = "pair",
		.why = "2 nodes, 2 pages of different homes: any 4 accesses of each node",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "????" },
		.any = "r0w0r1w1",
		.moving_limit = 1000000,
	},
	{
		.name = "pair-run",
		.why = "any 2 accesses or prefetches of both pages at once",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "??" },
		.any = "r0w0r1w1p*q*",
		.moving_limit = 300000,
	},
	{
		.name = "pair-guess",
		.why = "any 2 accesses or guesses of both pages at once",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "??" },
		.any = "r0w0r1w1g*",
		.moving_limit = 100000,
	},
	{
		.name = "trio-guess",
		.why = "3 nodes, 1 page: any 2 accesses or guesses",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0g0",
		.moving_limit = 100000,
	},
	{
		.name = "pair-evict",
		.why = "any 4 accesses of a page, or copies given up",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "????" },
		.any = "r0w0e0",
		.moving_limit = 100000,
	},
	{
		.name = "trio-evict",
		.why = "3 nodes, 1 page: any 2 accesses, or copies given up",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0e0",
		.moving_limit = 100000,
	},
	{
		.name = "pair-hold",
		.why = "any 3 accesses, pages stay for a hold time",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "???" },
		.any = "r0w0r1w1",
		.hold = true,
		.moving_limit = 300000,
	},
	{
		.name = "pair-loss",
		.why = "any 2 accesses or prefetches, either node lost at any time",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "??" },
		.any = "r0w0r1w1p*q*",
		.crashes = 1,
		.moving_limit = 400000,
	},
	{
		.name = "trio",
		.why = "3 nodes, 1 page: any 2 accesses of each node",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.moving_limit = 500000,
	},
	{
		.name = "trio-touch",
		.why = "any 2 accesses, the first to touch becomes the home",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.first_touch = true,
		.moving_limit = 300000,
	},
	{
		.name = "trio-hold",
		.why = "any 2 accesses, the page stays for a hold time",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.hold = true,
		.moving_limit = 300000,
	},
	{
		.name = "trio-loss",
		.why = "any 2 accesses, any node lost at any time",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.crashes = 1,
		.moving_limit = 500000,
	},
	{
		.name = "threads",
		.why = "2 nodes of 2 threads, 1 page: any access of each",
		.node_count = 2,
		.thread_count = 2,
		.page_count = 1,
		.scripts = { "?|?" },
		.any = "r0w0",
		.moving_limit = 300000,
	},
	{
		.name = "pair-fast",
		.why = "as pair, any 3 accesses, clean pages are read without a message",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "???" },
		.any = "r0w0r1w1",
		.fast = true,
	},
	{
		.name = "trio-fast",
		.why = "as trio, clean pages are read without a message",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.fast = true,
	},
	{
		.name = "hold-fast",
		.why = "2 nodes of 2 threads and a hold time, fast reads",
		.node_count = 2,
		.thread_count = 2,
		.page_count = 1,
		.scripts = { "?|?" },
		.any = "r0w0",
		.hold = true,
		.fast = true,
	},
	{
		.name = "loss-fast",
		.why = "3 nodes: w r, w r, r r; any node lost; fast reads",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "w0r0", "w0r0", "r0r0" },
		.crashes = 1,
		.fast = true,
	},
	{
		.name = "trio-fast-loss",
		.why = "as trio-loss, clean pages are read without a message",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.crashes = 1,
		.fast = true,
		.big = true,
	},
	{
		.name = "trio-fast3",
		.why = "as trio-fast, any 3",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "???" },
		.any = "r0w0",
		.fast = true,
		.big = true,
	},
	{
		.name = "quad",
		.why = "4 nodes, 1 page: any access of each node",
		.node_count = 4,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "?" },
		.any = "r0w0",
		.big = true,
	},
	{
		.name = "lock",
		.why = "3 nodes: load and store inside a lock, any node lost",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "a r0 w0 z" },
		.crashes = 1,
		.moving_limit = 600000,
	},
	{
		.name = "relock",
		.why = "2 nodes, 2 threads on each: a lock taken again, any node lost",
		.node_count = 2,
		.thread_count = 2,
		.page_count = 1,
		.scripts = { "a w0 z a z|a r0 z", "a w0 z a z|a z" },
		.crashes = 1,
		.moving_limit = 300000,
	},
	{
		.name = "trylock",
		.why = "as lock, two of the nodes only try, one of them again",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "a w0 z", "t r0 z", "t w0 z t z" },
		.crashes = 1,
		.moving_limit = 300000,
	},
	{
		.name = "rwlock",
		.why = "a reader, a writer and one that tries, any node lost",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "s r0 z", "a w0 z", "t w0 z" },
		.crashes = 1,
		.moving_limit = 300000,
	},
	{
		.name = "barrier",
		.why = "3 nodes: store, barrier, load, any node lost",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "w0 b r0" },
		.crashes = 1,
		.moving_limit = 300000,
	},
	{
		.name = "threads2",
		.why = "as threads, any 2 accesses and 1",
		.node_count = 2,
		.thread_count = 2,
		.page_count = 1,
		.scripts = { "??|?" },
		.any = "r0w0",
		.big = true,
	},
	{
		.name = "pair-run3",
		.why = "as pair-run, any 3",
		.node_count = 2,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "???" },
		.any = "r0w0r1w1p*q*",
		.big = true,
	},
	{
		.name = "trio-run",
		.why = "3 nodes, 1 page: any 2 accesses or prefetches",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0p0q0",
		.big = true,
	},
	{
		.name = "trio3",
		.why = "as trio, any 3",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "???" },
		.any = "r0w0",
		.big = true,
	},
	{
		.name = "trio-loss3",
		.why = "as trio-loss, any 3",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "???" },
		.any = "r0w0",
		.crashes = 1,
		.big = true,
	},
	{
		.name = "trio-losses",
		.why = "as trio-loss, two nodes lost",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 1,
		.scripts = { "??" },
		.any = "r0w0",
		.crashes = 2,
		.big = true,
	},
	{
		.name = "trio-pages",
		.why = "3 nodes, 2 pages: any 2 accesses",
		.node_count = 3,
		.thread_count = 1,
		.page_count = 2,
		.first_page = UNIT_PAGES - 1,
		.scripts = { "??" },
		.any = "r0w0r1w1",
		.big = true,
	},
};

const unsigned int world_count = sizeof(worlds) / sizeof(worlds[0]);

const char *plan_manager_name(enum manager_kind manager)
{
	switch (manager) {
	case MANAGER_FIXED:
		return "fixed";
	case MANAGER_CENTRAL:
		return "central";
	case MANAGER_BROADCAST:
		return "broadcast";
	case MANAGER_DYNAMIC:
		return "dynamic";
	}
	return "?";
}

/* ---- scripts ---- */

static enum op_kind op_kind(char letter)
{
	static const char letters[] = "rwpqegastzb";
	static const enum op_kind kinds[] = { OP_LOAD,	OP_STORE,   OP_PREFETCH, OP_PREFETCH_WRITE,
					      OP_EVICT, OP_GUESS,   OP_ACQUIRE,	 OP_ACQUIRE_READ,
					      OP_TRY,	OP_RELEASE, OP_ARRIVE };
	const char *found = strchr(letters, letter);

	ASSERT(letter != '\0' && found != NULL);
	return kinds[found - letters];
}

/* The operation that `text` begins with, as a number of plan.ops; `text` goes on behind it. */
static uint8_t take_op(struct plan *plan, const char **text)
{
	struct op op = { .kind = op_kind(*(*text)++) };

	if (op.kind <= OP_GUESS) {
		op.page = **text == '*' ? MODEL_PAGES : (uint8_t)(**text - '0');
		ASSERT(op.page == MODEL_PAGES || op.page < plan->page_count);
		(*text)++;
	}
	plan->has_barrier |= op.kind == OP_ARRIVE;
	plan->has_evict |= op.kind == OP_EVICT;
	plan->reader_lock |= op.kind == OP_ACQUIRE_READ;
	for (unsigned int i = 0; i < plan->op_count; i++) {
		if (plan->ops[i].kind == op.kind && plan->ops[i].page == op.page)
			return (uint8_t)i;
	}
	ASSERT(plan->op_count < MODEL_OPS);
	plan->ops[plan->op_count] = op;
	return (uint8_t)plan->op_count++;
}

/* The script of one thread; what follows its '|' or its end. */
static const char *take_script(struct plan *plan, struct script *script, const char *text)
{
	for (; *text != '\0' && *text != '|';) {
		if (*text == ' ') {
			text++;
			continue;
		}
		ASSERT(script->length < MODEL_SCRIPT);
		if (*text == '?') {
			script->ops[script->length++] = SCRIPT_ANY;
			text++;
		} else {
			script->ops[script->length++] = take_op(plan, &text);
		}
	}
	return *text == '|' ? text + 1 : text;
}

static void take_scripts(struct plan *plan)
{
	const struct world *world = plan->world;
	const char *text = world->any == NULL ? "" : world->any;

	while (*text != '\0')
		plan->any[plan->any_count++] = take_op(plan, &text);
	for (unsigned int node = 0; node < plan->node_count; node++) {
		if (world->scripts[node] != NULL)
			text = world->scripts[node];
		const char *at = text;

		for (unsigned int t = 0; t < plan->thread_count; t++)
			at = take_script(plan, &plan->scripts[node][t], at);
	}
}

/* ---- renamings ---- */

static unsigned int home_of_unit(const struct plan *plan, unsigned int page)
{
	return (unsigned int)(page_unit(plan_page(plan, page)) % plan->node_count);
}

static bool leaves_all(const struct plan *plan, const uint8_t *renaming)
{
	bool same = renaming[0] == 0 && renaming[plan->world->lock_at] == plan->world->lock_at;

	for (unsigned int i = 0; i < plan->page_count && !plan->world->first_touch; i++) {
		unsigned int home = home_of_unit(plan, i);

		same &= renaming[home] == home;
	}
	for (unsigned int i = 0; i < plan->node_count; i++) {
		/* After a loss it is the first node left that finds lost managers' pages. */
		same &= renaming[i] == i || !plan_moves(plan) || plan->world->crashes == 0;
		for (unsigned int j = i + 1; j < plan->node_count; j++)
			same &= renaming[i] != renaming[j];
		same &= memcmp(plan->scripts[i], plan->scripts[renaming[i]],
			       sizeof(plan->scripts[i])) == 0;
	}
	return same;
}

/* All ways to give each node a node, of which those stay that change nothing. */
static void find_renamings(struct plan *plan)
{
	unsigned int ways = 1;

	for (unsigned int i = 0; i < plan->node_count; i++)
		ways *= plan->node_count;
	for (unsigned int way = 0; way < ways; way++) {
		uint8_t *renaming = plan->renamings[plan->renaming_count];
		unsigned int left = way;

		for (unsigned int i = plan->node_count; i-- > 0; left /= plan->node_count)
			renaming[i] = (uint8_t)(left % plan->node_count);
		if (leaves_all(plan, renaming)) {
			plan->renaming_count++;
			ASSERT(plan->renaming_count < MODEL_RENAMINGS);
		}
	}
}

/* A name that the node asked for manages, whichever manager there is. */
static uint64_t object_name(const struct plan *plan, uint64_t from)
{
	while (hash_u64(from) % plan->node_count != plan->world->lock_at)
		from += 64;
	return from;
}

void plan_make(struct plan *plan, const struct world *world, enum manager_kind manager)
{
	*plan = (struct plan){
		.world = world,
		.manager = manager,
		.node_count = world->node_count,
		.thread_count = world->thread_count,
		.page_count = world->page_count,
	};
	ASSERT(plan->node_count <= MODEL_NODES && plan->page_count <= MODEL_PAGES &&
	       plan->thread_count <= MODEL_THREADS);
	take_scripts(plan);
	find_renamings(plan);
	plan->lock = object_name(plan, 0);
	plan->barrier = object_name(plan, plan->lock + 64);
}
