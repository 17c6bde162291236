/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a job and leaving it. Order of joining: the launcher says who this process is, settings
 * are checked, the pager proves that this machine can do it, the fabric has an address, the wire-up
 * carries all addresses to all, connections stand, the progress thread starts. Leaving is the
 * reverse.
 */
#include "node/node.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "node/place.h"
#include "node/times.h"
#include "node/trap.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What every node tells all others at the start. All must agree on all but the contact. */
struct introduction {
	struct contact contact;
	uint64_t page_limit;
	uint64_t page_requests;
	uint64_t credits;
	uint32_t wire_version;
	uint32_t page_bytes;
	uint32_t manager;
	uint32_t fabric;
	uint32_t fast_read;
	uint32_t zero;
};

static struct introduction introduce(const struct node *node)
{
	return (struct introduction){
		.page_limit = node->page_limit,
		.page_requests = settings_u64(&node->settings, SETTING_PAGE_REQUESTS),
		.credits = settings_u64(&node->settings, SETTING_CREDITS),
		.wire_version = WIRE_VERSION,
		.page_bytes = PAGE_BYTES,
		.manager = settings_choice(&node->settings, SETTING_MANAGER),
		.fabric = settings_choice(&node->settings, SETTING_FABRIC),
		.fast_read = settings_choice(&node->settings, SETTING_FAST_READ),
	};
}

static int differ(unsigned int other, const char *what)
{
	return error_set(-EPROTO,
			 "node %u was started with another %s than this node; start all with the "
			 "same",
			 other, what);
}

static int compare(const struct introduction *mine, const struct introduction *theirs,
		   unsigned int other)
{
	if (theirs->wire_version != mine->wire_version || theirs->page_bytes != mine->page_bytes)
		return differ(other, "version of Pergola");
	if (theirs->page_limit != mine->page_limit)
		return differ(other, "PERGOLA_SPACE");
	if (theirs->page_requests != mine->page_requests)
		return differ(other, "PERGOLA_PAGE_REQUESTS");
	if (theirs->credits != mine->credits)
		return differ(other, "PERGOLA_CREDITS");
	if (theirs->manager != mine->manager)
		return differ(other, "PERGOLA_MANAGER");
	if (theirs->fabric != mine->fabric)
		return differ(other, "PERGOLA_FABRIC");
	if (theirs->fast_read != mine->fast_read)
		return differ(other, "PERGOLA_FAST_READ");
	return 0;
}

/* ---- the parts, opened in order, closed in reverse ---- */

static enum manager_kind manager_kind(const struct node *node)
{
	static const enum manager_kind kinds[] = {
		[MANAGER_CHOICE_FIXED] = MANAGER_FIXED,
		[MANAGER_CHOICE_CENTRAL] = MANAGER_CENTRAL,
		[MANAGER_CHOICE_BROADCAST] = MANAGER_BROADCAST,
		[MANAGER_CHOICE_DYNAMIC] = MANAGER_DYNAMIC,
	};

	static_assert(sizeof(kinds) == MANAGER_CHOICES * sizeof(kinds[0]), "one for each choice");
	static_assert((int)MANAGER_CHOICES == (int)MANAGER_LAST, "each kind can be chosen");

	return kinds[settings_choice(&node->settings, SETTING_MANAGER)];
}

static int open_engine(struct node *node)
{
	const struct engine_config config = {
		.self = node->self,
		.node_count = node->node_count,
		.page_limit = node->page_limit,
		.manager = manager_kind(node),
		.hold_ns = settings_u64(&node->settings, SETTING_HOLD),
		.page_requests = (uint32_t)settings_u64(&node->settings, SETTING_PAGE_REQUESTS),
		.sync_objects = (uint32_t)settings_u64(&node->settings, SETTING_SYNC_OBJECTS),
		.calls = CALLS_MAX,
		.fast_read = node->fast_read,
	};

	node->engine_bytes = engine_bytes(&config);
	ASSERT(node->engine_bytes > 0); /* settings have checked the ranges */
	node->slab_bytes = slab_bytes(node->page_limit / UNIT_PAGES, node->node_count);

	/* engine_init() and slab_init() return their memory's start, so close_engine() finds it. */
	node->engine = table_open(node->engine_bytes);
	node->slab = table_open(node->slab_bytes);
	node->commands.list = table_open(COMMANDS_MAX * sizeof(*node->commands.list));
	node->outgoing = table_open(OUTGOING_MAX * sizeof(*node->outgoing));
	node->pager_done = table_open(PAGER_DONE_MAX * sizeof(*node->pager_done));
	node->pager_done_downgrade =
		table_open(PAGER_DONE_MAX * sizeof(*node->pager_done_downgrade));
	if (node->engine == NULL || node->slab == NULL || node->commands.list == NULL ||
	    node->outgoing == NULL || node->pager_done == NULL ||
	    node->pager_done_downgrade == NULL)
		return -ENOMEM;
	engine_init(node->engine, &config);
	slab_init(node->slab, node->page_limit / UNIT_PAGES, node->node_count);
	return 0;
}

static void close_engine(struct node *node)
{
	table_close(node->engine, node->engine_bytes);
	table_close(node->slab, node->slab_bytes);
	table_close(node->commands.list, COMMANDS_MAX * sizeof(*node->commands.list));
	table_close(node->outgoing, OUTGOING_MAX * sizeof(*node->outgoing));
	table_close(node->pager_done, PAGER_DONE_MAX * sizeof(*node->pager_done));
	table_close(node->pager_done_downgrade,
		    PAGER_DONE_MAX * sizeof(*node->pager_done_downgrade));
}

static int open_pager(struct node *node)
{
	const struct pager_config config = {
		.page_limit = node->page_limit,
		.delivery = node->inline_delivery ? PAGER_DELIVER_SIGNAL : PAGER_DELIVER_QUEUE,
	};
	int error = node->pager_ops->open(&config, &node->pager);

	if (error == 0)
		node->frames = node->pager_ops->frames(node->pager);
	return error;
}

static int meet(struct node *node, const struct introduction *mine)
{
	struct introduction *all = calloc(node->node_count, sizeof(*all));
	struct contact *contacts = calloc(node->node_count, sizeof(*contacts));
	int error = -ENOMEM;

	if (all == NULL || contacts == NULL) {
		error_set(-ENOMEM, "no memory for the addresses of %u nodes", node->node_count);
		goto out;
	}
	error = wireup_exchange(&node->wireup, &node->settings, WIRE_VERSION, mine, sizeof(*mine),
				all);
	for (unsigned int i = 0; error == 0 && i < node->node_count; i++) {
		contacts[i] = all[i].contact;
		error = compare(mine, &all[i], i);
	}
	if (error == 0)
		error = links_connect(node, contacts);
out:
	free(contacts);
	free(all);
	return error;
}

/* The program's signals are for its own threads. */
static int start_thread(struct node *node)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&node->thread, NULL, loop_main, node);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		return error_set(-error, "cannot start the progress thread: %s (ulimit -u)",
				 strerror(error));
	pthread_setname_np(node->thread, "pergola");
	return 0;
}

/* Frames are taken as they are touched, which no thread has done yet. */
static void place(struct node *node)
{
	int numa_node = links_numa_node(node);

	if (!place_useful(numa_node))
		return;
	place_memory(numa_node, node->frames.base, node->page_limit * PAGE_BYTES);
	place_thread(numa_node, node->thread);
}

/* ---- settings ---- */

static unsigned int cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return (unsigned int)CPU_COUNT(&set);
}

/* Polling is for threads that have a core to themselves; nodes may share this host's cores. */
static void choose_spin(struct node *node)
{
	uint64_t spin_ns = settings_u64(&node->settings, SETTING_SPIN);
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int here = cores();
	bool own_cores = here > 0 && (unsigned long)online >= node->local_count;

	node->wait_spin_ns = spin_ns;
	node->loop_spin_ns = spin_ns;
	if (spin_ns != SETTINGS_AUTO)
		return;
	node->wait_spin_ns = own_cores ? UINT64_C(100000) : 0;
	node->loop_spin_ns =
		(unsigned long)online >= 2ul * node->local_count && here >= 2 ? UINT64_C(50000) : 0;
}

static int read_settings(struct node *node)
{
	unsigned int rank = (unsigned int)settings_u64(&node->settings, SETTING_RANK);
	unsigned int size = (unsigned int)settings_u64(&node->settings, SETTING_SIZE);

	if (rank >= size)
		return error_set(-EINVAL,
				 "node id %u of %u: ids are 0 to %u (PERGOLA_RANK, PERGOLA_SIZE; "
				 "`pergola run -n N` sets them)",
				 rank, size, size - 1);
	if (sysconf(_SC_PAGESIZE) != PAGE_BYTES)
		return error_set(-ENOSYS, "this kernel's pages have %ld bytes; Pergola needs %u",
				 sysconf(_SC_PAGESIZE), PAGE_BYTES);
	node->self = node_id(rank);
	node->node_count = size;
	node->page_limit = settings_u64(&node->settings, SETTING_SPACE) / PAGE_BYTES;
	node->page_limit -= node->page_limit % UNIT_PAGES;
	node->pager_ops = backend_pager();
	node->inline_delivery =
		settings_choice(&node->settings, SETTING_DELIVERY) == DELIVERY_CHOICE_INLINE;
	/* Managers that move have no gates. */
	node->fast_read =
		settings_choice(&node->settings, SETTING_FAST_READ) == FAST_READ_CHOICE_ON &&
		settings_choice(&node->settings, SETTING_MANAGER) <= MANAGER_CHOICE_CENTRAL &&
		size > 1;
	log_setup((enum log_level)settings_choice(&node->settings, SETTING_LOG),
		  size > 1 ? (int)rank : -1);
	return 0;
}

/* ---- joining and leaving ---- */

static void init_locks(struct node *node)
{
	pthread_mutex_init(&node->lock, NULL);
	pthread_mutex_init(&node->heap_lock, NULL);
	pthread_mutex_init(&node->collective_lock, NULL);
}

static void close_parts(struct node *node)
{
	if (node->inline_delivery)
		trap_close(node);
	if (node->pager != NULL)
		node->pager_ops->close(node->pager);
	links_close(node);
	reads_close(node);
	fast_close(node);
	gates_close(node);
	inline_close(node);
	ahead_close(node);
	cache_close(node);
	times_close(node);
	close_engine(node);
	if (node->kick_fd >= 0)
		close(node->kick_fd);
	free(node);
}

static int open_parts(struct node *node)
{
	struct introduction mine = introduce(node);
	int error = open_pager(node);

	if (error == 0)
		error = open_engine(node);
	if (error == 0)
		error = inline_open(node);
	if (error == 0)
		error = ahead_open(node);
	if (error == 0)
		error = links_open(node, &mine.contact);
	if (error != 0)
		return error;
	node->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (node->kick_fd < 0)
		return error_set(-errno, "eventfd: %s (ulimit -n)", strerror(errno));
	error = meet(node, &mine);
	if (error == 0)
		error = reads_open(node);
	if (error == 0)
		error = cache_open(node);
	if (error == 0)
		error = fast_open(node);
	if (error == 0)
		error = gates_open(node);
	if (error != 0)
		return error;
	choose_spin(node);
	error = start_thread(node);
	if (error == 0)
		place(node);
	if (error == 0 && node->inline_delivery)
		error = trap_open(node);
	return error;
}

int node_open(const struct settings *settings, struct node **out)
{
	struct node *node = calloc(1, sizeof(*node));

	if (node == NULL)
		return error_set(-ENOMEM, "no memory for a node");
	node->settings = *settings;
	node->kick_fd = -1;
	init_locks(node);
	int error = wireup_identify(&node->wireup, &node->settings, links_host());

	if (error == 0)
		error = read_settings(node);
	if (error == 0)
		error = open_parts(node);
	wireup_end(&node->wireup);
	if (error != 0) {
		close_parts(node);
		return error;
	}
	*out = node;
	return 0;
}

/* What this node has said last must still leave it: others wait for it. */
static void drain(struct node *node)
{
	pthread_mutex_lock(&node->lock);
	while (!outbox_empty(node)) {
		loop_progress(node);
		pthread_mutex_unlock(&node->lock);
		sched_yield();
		pthread_mutex_lock(&node->lock);
	}
	node->stop = true;
	loop_kick(node);
	pthread_mutex_unlock(&node->lock);
	pthread_join(node->thread, NULL);
}

void node_close(struct node *node)
{
	drain(node);
	close_parts(node);
}
