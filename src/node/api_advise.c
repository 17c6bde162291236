/* SPDX-License-Identifier: Apache-2.0 */
/* dsm_advise(): what a program says about its use of pages. */
#include "base/error.h"
#include "node/api.h"

#include <errno.h>

static void advise(struct node *node, struct api_range range, enum advice advice)
{
	pthread_mutex_lock(&node->lock);
	ahead_advise(node, (struct run){ range.first, (uint32_t)range.page_count }, advice);
	pthread_mutex_unlock(&node->lock);
}

/* In runs that one step of the engine takes; the lock is free in between. */
static void offer(struct node *node, struct api_range range, enum event_kind kind)
{
	while (range.page_count > 0) {
		struct event event = { .kind = kind };
		uint32_t run =
			range.page_count < UNIT_PAGES ? (uint32_t)range.page_count : UNIT_PAGES;

		if (kind == EV_EVICT) {
			event.run = (struct run){ range.first, run };
		} else {
			event.fault.run = (struct run){ range.first, run };
			event.fault.guess = true;
		}
		node_offer(node, &event);
		range.first = page_add(range.first, run);
		range.page_count -= run;
	}
}

DSM_API int dsm_advise(const void *addr, size_t size, int advice)
{
	struct node *node = job_node("dsm_advise");
	struct api_range range;

	if (node == NULL)
		return -ENOTCONN;
	if (advice < DSM_ADVICE_NORMAL || advice > DSM_ADVICE_DONE)
		return error_set(-EINVAL, "dsm_advise: there is no advice %d", advice);
	if (size == 0)
		return 0;
	if (!api_range(node, addr, size, &range))
		return api_status(node, "dsm_advise", addr, -EFAULT);
	switch (advice) {
	case DSM_ADVICE_NORMAL:
		advise(node, range, ADVICE_NORMAL);
		break;
	case DSM_ADVICE_SEQUENTIAL:
		advise(node, range, ADVICE_SEQUENTIAL);
		break;
	case DSM_ADVICE_RANDOM:
		advise(node, range, ADVICE_RANDOM);
		break;
	case DSM_ADVICE_WILLNEED:
		offer(node, range, EV_PREFETCH);
		break;
	case DSM_ADVICE_DONE:
		if (!node->cache.pinned)
			offer(node, range, EV_EVICT);
		break;
	}
	return 0;
}
