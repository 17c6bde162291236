/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions: where pages of the shared space stand in the address space, on every node alike. A
 * region is opened by all nodes together: node 0 proposes an address, each tries it, and the first
 * that is free everywhere stays. Pages are dealt out in the order of the calls, so that all nodes
 * agree without asking; each region starts at a unit.
 */
#include "base/error.h"
#include "node/node.h"
#include "node/trap.h"

#include <errno.h>
#include <string.h>

#define ATTEMPTS_MAX 64u

/* What node 0 proposes, and the call that the others must be in too. */
struct proposal {
	uint64_t addr;
	uint64_t bytes;
	uint8_t kind;  /* enum region_kind */
	uint8_t given; /* the program chose the address */
	uint8_t zero[6];
};

static const struct region *region_at(const struct node *node, const void *addr)
{
	const unsigned char *byte = addr;
	uint32_t count = atomic_load_explicit(&node->region_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		const struct region *region = &node->regions[i];

		if (byte >= region->addr && byte < region->addr + region->page_count * PAGE_BYTES)
			return region;
	}
	return NULL;
}

bool region_offset(const struct node *node, const void *addr, uint64_t *offset)
{
	const struct region *region = region_at(node, addr);

	if (region == NULL)
		return false;
	*offset = region->first.value * PAGE_BYTES +
		  (uint64_t)((const unsigned char *)addr - region->addr);
	return true;
}

bool region_page(const struct node *node, const void *addr, struct page_id *page)
{
	uint64_t offset;

	if (!region_offset(node, addr, &offset))
		return false;
	*page = page_id(offset / PAGE_BYTES);
	return true;
}

uint32_t region_index(const struct node *node, struct page_id page)
{
	uint32_t count = atomic_load_explicit(&node->region_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		const struct region *region = &node->regions[i];

		if (page.value >= region->first.value &&
		    page.value < region->first.value + region->page_count)
			return i;
	}
	return REGIONS_MAX;
}

void *region_address(const struct node *node, uint64_t offset)
{
	uint32_t index = region_index(node, page_id(offset / PAGE_BYTES));
	const struct region *region = &node->regions[index];

	if (index == REGIONS_MAX)
		return NULL;
	return region->addr + (offset - region->first.value * PAGE_BYTES);
}

/* ---- agreeing ---- */

int node_publish(struct node *node)
{
	struct event event = { .kind = EV_PUBLISH };
	struct waiter waiter;

	if (!atomic_load_explicit(&node->updates, memory_order_relaxed))
		return 0;
	return node_call(node, &event, &waiter);
}

int node_collect(struct node *node, enum collect_op op, unsigned int root, int64_t *minimum,
		 void *data, uint16_t bytes)
{
	struct waiter waiter;
	struct event event = { .kind = EV_COLLECT };

	event.collect.op = op;
	event.collect.root = node_id(root);
	event.collect.minimum = minimum == NULL ? 0 : *minimum;
	event.collect.bytes = bytes;
	event.collect.data = node->self.value == root ? data : NULL;
	int status = node_publish(node);

	if (status != 0)
		return status;
	pthread_mutex_lock(&node->collective_lock);
	status = node_call(node, &event, &waiter);
	pthread_mutex_unlock(&node->collective_lock);
	if (status != 0)
		return status;
	if (minimum != NULL)
		*minimum = (int64_t)waiter.value;
	if (data != NULL && waiter.bytes == bytes && node->self.value != root)
		memcpy(data, waiter.data, bytes);
	return 0;
}

/*
 * Every node's `status`; the worst decides for all, and its node's text becomes everyone's. Returns
 * that status.
 */
static int agree(struct node *node, int status)
{
	int64_t worst = status == 0 ? 0 : (int64_t)status * 4096 - node->self.value;
	char text[COLLECT_BYTES_MAX];
	int error = node_collect(node, COLLECT_MINIMUM, 0, &worst, NULL, 0);

	if (error != 0 || worst == 0)
		return error;
	unsigned int culprit = (unsigned int)(-worst % 4096);

	strncpy(text, error_text(), sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error = node_collect(node, COLLECT_BROADCAST, culprit, NULL, text, sizeof(text));
	if (error != 0)
		return error;
	text[sizeof(text) - 1] = '\0';
	if (culprit != node->self.value)
		error_set(-EIO, "%s", text);
	return error_prefix((int)(-(-worst / 4096)), "on node %u: ", culprit);
}

/* ---- opening ---- */

static int check(struct node *node, void *addr, size_t bytes, enum region_kind kind)
{
	size_t least = kind == REGION_HEAP ? UNIT_BYTES : 1;
	uint64_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;

	if (bytes < least || bytes > node->page_limit * PAGE_BYTES)
		return error_set(-EINVAL,
				 "%zu bytes: a region has from %zu bytes to PERGOLA_SPACE=%s",
				 bytes, least, settings_text(&node->settings, SETTING_SPACE));
	if ((uintptr_t)addr % PAGE_BYTES != 0)
		return error_set(-EINVAL, "address %p is not a multiple of %u", addr, PAGE_BYTES);
	if (node->region_count == REGIONS_MAX)
		return error_set(-ENOMEM, "there are %u regions already, the most there can be",
				 REGIONS_MAX);
	if (pages > node->page_limit - node->pages_used)
		return error_set(
			-ENOMEM, "%zu bytes: the shared space of PERGOLA_SPACE=%s has %llu left",
			bytes, settings_text(&node->settings, SETTING_SPACE),
			(unsigned long long)(node->page_limit - node->pages_used) * PAGE_BYTES);
	return 0;
}

static int propose(struct node *node, unsigned int attempt, struct proposal *proposal)
{
	void *addr = (void *)(uintptr_t)settings_u64(&node->settings, SETTING_ADDRESS);

	if (node->self.value != 0 || proposal->given)
		return 0;
	if (addr == NULL || attempt > 0 || node->region_count > 0) {
		int error = node->pager_ops->address_propose(node->pager, proposal->bytes, attempt,
							     &addr);
		if (error != 0)
			return error;
	}
	proposal->addr = (uint64_t)(uintptr_t)addr;
	return 0;
}

static int try_address(struct node *node, const struct proposal *mine,
		       const struct proposal *theirs, int status)
{
	if (status != 0)
		return status;
	if (theirs->bytes != mine->bytes || theirs->kind != mine->kind ||
	    theirs->given != mine->given || (mine->given && theirs->addr != mine->addr))
		return error_set(-EINVAL, "called with other arguments than on node 0");
	pthread_mutex_lock(&node->lock);
	status = node->pager_ops->region_add(node->pager, (void *)(uintptr_t)theirs->addr,
					     page_id(node->pages_used), theirs->bytes / PAGE_BYTES);
	pthread_mutex_unlock(&node->lock);
	return status;
}

static void adopt(struct node *node, const struct proposal *proposal)
{
	uint64_t pages = proposal->bytes / PAGE_BYTES;
	struct event event = { .kind = EV_REGION };
	uint32_t index = node->region_count;

	node->regions[index] = (struct region){
		.addr = (unsigned char *)(uintptr_t)proposal->addr,
		.first = page_id(node->pages_used),
		.page_count = pages,
	};
	event.region.run = (struct run){ page_id(node->pages_used), (uint32_t)pages };
	event.region.heap = proposal->kind == REGION_HEAP;
	event.region.update = proposal->kind == REGION_UPDATE;
	/* The next region starts at a unit: what is left of this one's last unit is never used. */
	node->pages_used += (pages + UNIT_PAGES - 1) / UNIT_PAGES * UNIT_PAGES;
	atomic_store_explicit(&node->region_count, index + 1, memory_order_release);
	trap_cover(node, node->regions[index].addr, pages * PAGE_BYTES);
	node_offer(node, &event);
	/* Relaxed: a thread that stores there learned of the region from who opened it. */
	if (event.region.update)
		atomic_store_explicit(&node->updates, true, memory_order_relaxed);
}

/* One round: node 0's proposal to all, tried, and the outcome agreed. */
static int round_of_opening(struct node *node, unsigned int attempt, int status,
			    const struct proposal *mine, struct proposal *chosen)
{
	*chosen = *mine;
	if (status == 0)
		status = propose(node, attempt, chosen);
	int error = node_collect(node, COLLECT_BROADCAST, 0, NULL, chosen, sizeof(*chosen));

	if (error != 0)
		return error;
	int tried = try_address(node, mine, chosen, status);

	status = agree(node, tried);
	if (status != 0 && tried == 0) {
		pthread_mutex_lock(&node->lock);
		node->pager_ops->region_remove(node->pager, page_id(node->pages_used));
		pthread_mutex_unlock(&node->lock);
	}
	return status;
}

int region_open(struct node *node, void *addr, size_t bytes, enum region_kind kind, void **out)
{
	int status = check(node, addr, bytes, kind);
	struct proposal mine = {
		.addr = (uint64_t)(uintptr_t)addr,
		.bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES,
		.kind = (uint8_t)kind,
		.given = addr != NULL,
	};
	struct proposal chosen;
	unsigned int attempt = 0;

	do {
		int error = round_of_opening(node, attempt, status, &mine, &chosen);

		if (error == 0) {
			adopt(node, &chosen);
			*out = (void *)(uintptr_t)chosen.addr;
			/* Nobody asks node 0 for memory of a region that it does not know yet. */
			return node_collect(node, COLLECT_BARRIER, 0, NULL, NULL, 0);
		}
		if (error != -EEXIST || mine.given)
			return error;
	} while (++attempt < ATTEMPTS_MAX);
	return error_prefix(-EEXIST, "no address is free on all nodes after %u proposals; ",
			    ATTEMPTS_MAX);
}
