/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions and the shared heap. Small blocks come from superblocks that this node has to itself,
 * with nothing but this process's own bookkeeping; larger ones are whole units from node 0.
 */
#include "base/assert.h"
#include "base/error.h"
#include "node/api.h"

#include <errno.h>
#include <string.h>

static void *open_region(const char *call, void *addr, size_t size, enum region_kind kind)
{
	struct node *node = job_node(call);
	void *out = NULL;
	int status = node == NULL ? -ENOTCONN : region_open(node, addr, size, kind, &out);

	if (status == 0)
		return out;
	if (status == -EHOSTDOWN || status == -EPROTO)
		api_status(node, call, NULL, status);
	else if (node != NULL)
		error_prefix(status, "%s(%p, %zu): ", call, addr, size);
	errno = -status;
	return NULL;
}

DSM_API void *dsm_open(void *addr, size_t size)
{
	return open_region("dsm_open", addr, size, REGION_HEAP);
}

DSM_API void *dsm_reserve(void *addr, size_t size)
{
	return open_region("dsm_reserve", addr, size, REGION_PLAIN);
}

DSM_API void *dsm_reserve_as(void *addr, size_t size, int protocol)
{
	if (protocol == DSM_INVALIDATE || protocol == DSM_UPDATE)
		return open_region("dsm_reserve_as", addr, size,
				   protocol == DSM_UPDATE ? REGION_UPDATE : REGION_PLAIN);
	error_set(-EINVAL, "dsm_reserve_as: protocol %d is neither DSM_INVALIDATE nor DSM_UPDATE",
		  protocol);
	errno = EINVAL;
	return NULL;
}

/* ---- units ---- */

static int take_units(struct node *node, uint64_t unit_count, uint16_t placement, bool slab,
		      uint64_t *unit)
{
	struct event event = { .kind = EV_HEAP_ALLOC };
	struct waiter waiter;

	event.heap.unit_count = unit_count;
	event.heap.placement = placement;
	event.heap.slab = slab;
	int status = node_call(node, &event, &waiter);

	if (status == 0)
		*unit = waiter.value;
	return status;
}

static uint16_t default_placement(const struct node *node)
{
	switch ((enum placement_choice)settings_choice(&node->settings, SETTING_PLACEMENT)) {
	case PLACEMENT_CHOICE_CYCLIC:
		return PLACE_CYCLIC;
	case PLACEMENT_CHOICE_FIRST_TOUCH:
		return PLACE_FIRST_TOUCH;
	case PLACEMENT_CHOICE_LOCAL:
		break;
	}
	return node->self.value;
}

/* ---- blocks ---- */

/*
 * A small block near `home`. The heap's lock is not held while a superblock is asked for; two
 * threads may then each bring one, which does no harm.
 */
static int take_block(struct node *node, size_t size, unsigned int home, uint64_t *offset)
{
	uint64_t unit;

	for (;;) {
		pthread_mutex_lock(&node->heap_lock);
		int status = slab_alloc(node->slab, home, size, offset);

		pthread_mutex_unlock(&node->heap_lock);
		if (status != -EAGAIN)
			return status;
		status = take_units(node, 1, (uint16_t)home, true, &unit);
		if (status != 0)
			return status;
		pthread_mutex_lock(&node->heap_lock);
		slab_add_unit(node->slab, home, unit);
		pthread_mutex_unlock(&node->heap_lock);
	}
}

static int allocate(struct node *node, size_t size, uint16_t placement, uint64_t *offset)
{
	uint64_t unit = 0;

	if (size <= SLAB_BLOCK_MAX)
		return take_block(node, size,
				  placement < node->node_count ? placement : node->self.value,
				  offset);
	int status =
		take_units(node, (size + UNIT_BYTES - 1) / UNIT_BYTES, placement, false, &unit);

	*offset = unit * UNIT_BYTES;
	return status;
}

static void *allocated(struct node *node, const char *call, size_t size, uint16_t placement)
{
	uint64_t offset = 0;
	int status = -EINVAL;

	if (size == 0)
		error_set(-EINVAL, "%s: a block of 0 bytes", call);
	else if (size > node->page_limit * PAGE_BYTES)
		status = -ENOMEM;
	else
		status = allocate(node, size, placement, &offset);
	if (status == 0)
		return region_address(node, offset);
	if (status == -ENOMEM)
		error_set(status,
			  "%s(%zu): no region has that much free in one piece; open a larger one "
			  "with dsm_open()",
			  call, size);
	else
		loss_explain(node, call, status);
	errno = -status;
	return NULL;
}

DSM_API void *dsm_malloc(size_t size)
{
	struct node *node = job_node("dsm_malloc");

	if (node == NULL) {
		errno = ENOTCONN;
		return NULL;
	}
	return allocated(node, "dsm_malloc", size,
			 size <= SLAB_BLOCK_MAX ? node->self.value : default_placement(node));
}

DSM_API void *dsm_malloc_at(size_t size, int placement)
{
	struct node *node = job_node("dsm_malloc_at");
	uint16_t place = (uint16_t)placement;

	if (node == NULL) {
		errno = ENOTCONN;
		return NULL;
	}
	if (placement == DSM_PLACE_CYCLIC) {
		place = PLACE_CYCLIC;
	} else if (placement == DSM_PLACE_FIRST_TOUCH) {
		place = PLACE_FIRST_TOUCH;
	} else if (placement < 0 || (unsigned int)placement >= node->node_count) {
		error_set(-EINVAL, "dsm_malloc_at: placement %d; there are nodes 0 to %u",
			  placement, node->node_count - 1);
		errno = EINVAL;
		return NULL;
	}
	return allocated(node, "dsm_malloc_at", size, place);
}

/* ---- freeing ---- */

static void send_frees(struct node *node, const struct message_heap_free *frees)
{
	struct event event = { .kind = EV_HEAP_FREE, .frees = frees };

	node_offer(node, &event);
}

void api_flush_frees(struct node *node)
{
	struct message_heap_free batch;

	pthread_mutex_lock(&node->heap_lock);
	batch = node->frees;
	node->frees.block_count = 0;
	pthread_mutex_unlock(&node->heap_lock);
	if (batch.block_count > 0)
		send_frees(node, &batch);
}

/* Another node's block: kept until there are enough to be worth a message. With the heap's lock. */
static bool put_aside(struct node *node, uint64_t offset, uint32_t size_class)
{
	struct message_heap_free *frees = &node->frees;

	frees->blocks[frees->block_count].offset = offset & ((UINT64_C(1) << 48) - 1);
	frees->blocks[frees->block_count].size_class = size_class & UINT16_MAX;
	return ++frees->block_count == FREES_MAX;
}

static int free_block(struct node *node, uint64_t offset, size_t size)
{
	uint32_t size_class = slab_class(size);
	bool full = false;

	pthread_mutex_lock(&node->heap_lock);
	int status = slab_free(node->slab, offset, size_class);

	if (status == -ESRCH) {
		full = put_aside(node, offset, size_class);
		status = 0;
	}
	pthread_mutex_unlock(&node->heap_lock);
	if (full)
		api_flush_frees(node);
	return status;
}

static int free_units(struct node *node, uint64_t offset, size_t size)
{
	struct event event = { .kind = EV_HEAP_RELEASE };
	struct waiter waiter;

	if (offset % UNIT_BYTES != 0)
		return -EINVAL;
	event.heap.unit = offset / UNIT_BYTES;
	event.heap.unit_count = (size + UNIT_BYTES - 1) / UNIT_BYTES;
	return node_call(node, &event, &waiter);
}

DSM_API int dsm_free(void *addr, size_t size)
{
	struct node *node = job_node("dsm_free");
	uint64_t offset;
	int status = -EINVAL;

	if (node == NULL)
		return -ENOTCONN;
	if (size > 0 && region_offset(node, addr, &offset))
		status = size <= SLAB_BLOCK_MAX ? free_block(node, offset, size)
						: free_units(node, offset, size);
	if (status == -EINVAL)
		return error_set(status,
				 "dsm_free(%p, %zu): no live block of that size starts there", addr,
				 size);
	return loss_explain(node, "dsm_free", status);
}

/* ---- placement ---- */

DSM_API int dsm_home(const void *addr)
{
	struct node *node = job_node("dsm_home");
	struct event event = { .kind = EV_HOME };
	struct waiter waiter;

	if (node == NULL)
		return -ENOTCONN;
	if (!region_page(node, addr, &event.home))
		return api_status(node, "dsm_home", addr, -EFAULT);
	int status = node_call(node, &event, &waiter);

	if (status == -ENOENT)
		return error_set(status, "dsm_home(%p): nobody has touched it yet", addr);
	return status == 0 ? (int)waiter.value : api_status(node, "dsm_home", addr, status);
}

/* One event a unit's worth: the engine takes no longer runs. */
void api_prefetch(struct node *node, struct api_range range, bool write)
{
	while (range.page_count > 0) {
		struct event event = { .kind = EV_PREFETCH };
		uint32_t run =
			range.page_count < UNIT_PAGES ? (uint32_t)range.page_count : UNIT_PAGES;

		event.fault.run = (struct run){ range.first, run };
		event.fault.write = write;
		node_offer(node, &event);
		range.first = page_add(range.first, run);
		range.page_count -= run;
	}
}

bool api_range(const struct node *node, const void *addr, size_t size, struct api_range *range)
{
	const unsigned char *first = addr;
	struct page_id last;

	if (!region_page(node, first, &range->first) ||
	    !region_page(node, first + size - 1, &last) ||
	    region_index(node, range->first) != region_index(node, last))
		return false;
	range->page_count = last.value - range->first.value + 1;
	return true;
}

DSM_API int dsm_prefetch(const void *addr, size_t size, int mode)
{
	struct node *node = job_node("dsm_prefetch");
	struct api_range range;

	if (node == NULL)
		return -ENOTCONN;
	if (mode != DSM_READ && mode != DSM_WRITE)
		return error_set(-EINVAL, "dsm_prefetch: mode %d is neither DSM_READ nor DSM_WRITE",
				 mode);
	if (size == 0)
		return 0;
	if (!api_range(node, addr, size, &range))
		return api_status(node, "dsm_prefetch", addr, -EFAULT);
	api_prefetch(node, range, mode == DSM_WRITE);
	return 0;
}

DSM_API int dsm_bcast(void *value, size_t bytes, int root)
{
	struct node *node = job_node("dsm_bcast");
	unsigned char copy[DSM_BCAST_MAX];

	if (node == NULL)
		return -ENOTCONN;
	if (value == NULL || bytes == 0 || bytes > DSM_BCAST_MAX || root < 0 ||
	    (unsigned int)root >= node->node_count)
		return error_set(-EINVAL,
				 "dsm_bcast: %zu bytes from node %d: 1 to %d bytes, nodes "
				 "0 to %u",
				 bytes, root, DSM_BCAST_MAX, node->node_count - 1);
	/* The value may lie in shared memory, which nobody touches with the node's lock. */
	memcpy(copy, value, bytes);
	int status = node_collect(node, COLLECT_BROADCAST, (unsigned int)root, NULL, copy,
				  (uint16_t)bytes);

	if (status == 0 && node->self.value != (unsigned int)root)
		memcpy(value, copy, bytes);
	return api_status(node, "dsm_bcast", NULL, status);
}
