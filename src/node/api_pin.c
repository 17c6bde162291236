/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinning: all pages are asked for at once, and then pinned one after the other in ascending order.
 * Whoever waits for a page holds only lower ones, so no two can wait for each other.
 */
#include "base/assert.h"
#include "base/error.h"
#include "node/api.h"
#include "port/clock.h"

#include <errno.h>

static struct event pin_event(enum event_kind kind, struct page_id page, bool write)
{
	struct event event = { .kind = kind };

	event.pin.page = page;
	event.pin.write = write;
	return event;
}

static int pin_page(struct node *node, struct page_id page, bool write, uint64_t due_ns)
{
	struct event event = pin_event(EV_PIN, page, write);
	struct waiter waiter;

	waiter_init(&waiter);
	event.token = waiter_token(&waiter);
	node_offer(node, &event);
	if (!waiter_wait_until(node, &waiter, due_ns)) {
		/* It ends now, unless it has ended meanwhile. */
		event.kind = EV_PIN_CANCEL;
		node_offer(node, &event);
		waiter_wait(node, &waiter);
	}
	return waiter.status;
}

static void unpin(struct node *node, struct api_range range, bool write)
{
	for (uint64_t i = 0; i < range.page_count; i++) {
		struct event event = pin_event(EV_UNPIN, page_add(range.first, i), write);

		node_offer(node, &event);
	}
}

/* A system call is to find the pages: none of them is left out until it is touched. */
static void reveal(struct node *node, struct api_range range)
{
	pthread_mutex_lock(&node->lock);
	ahead_reveal(node, (struct run){ range.first, (uint32_t)range.page_count });
	pthread_mutex_unlock(&node->lock);
}

static int pin(struct node *node, struct api_range range, bool write)
{
	uint64_t due_ns = clock_now_ns() + settings_u64(&node->settings, SETTING_PIN_TIMEOUT);
	int status = 0;

	api_prefetch(node, range, write);
	for (uint64_t i = 0; i < range.page_count && status == 0; i++) {
		status = pin_page(node, page_add(range.first, i), write, due_ns);
		if (status != 0)
			unpin(node, (struct api_range){ range.first, i }, write);
	}
	if (status == 0)
		reveal(node, range);
	return status;
}

static int failed(struct node *node, const void *addr, size_t size, int status)
{
	if (status == -ENOSPC)
		return error_set(-ENOMEM,
				 "dsm_pin(%p, %zu): a node has at most %zu bytes pinned at a time",
				 addr, size, DSM_PIN_MAX);
	if (status == -ETIMEDOUT)
		return error_set(status,
				 "dsm_pin(%p, %zu): a page did not come within "
				 "PERGOLA_PIN_TIMEOUT=%s: another node may have it pinned",
				 addr, size, settings_text_of(&node->settings, "pin-timeout"));
	return api_status(node, "dsm_pin", addr, status);
}

/* What both functions check. Returns 1 when there is nothing to do, 0 to go on, or an error. */
static int check(struct node *node, const char *call, const void *addr, size_t size, int mode,
		 struct api_range *range)
{
	if (mode != DSM_READ && mode != DSM_WRITE)
		return error_set(-EINVAL, "%s: mode %d is neither DSM_READ nor DSM_WRITE", call,
				 mode);
	if (size == 0)
		return 1;
	return api_range(node, addr, size, range) ? 0 : api_status(node, call, addr, -EFAULT);
}

DSM_API int dsm_pin(const void *addr, size_t size, int mode)
{
	struct node *node = job_node("dsm_pin");
	struct api_range range;

	static_assert(DSM_PIN_MAX / DSM_PAGE_BYTES == PINNED_MAX, "what the engine can pin");
	if (node == NULL)
		return -ENOTCONN;
	int status = check(node, "dsm_pin", addr, size, mode, &range);

	if (status != 0)
		return status < 0 ? status : 0;
	status = range.page_count > PINNED_MAX ? -ENOSPC : pin(node, range, mode == DSM_WRITE);
	return status == 0 ? 0 : failed(node, addr, size, status);
}

static bool all_pinned(struct node *node, struct api_range range, bool write)
{
	bool all = true;

	pthread_mutex_lock(&node->lock);
	for (uint64_t i = 0; i < range.page_count && all; i++)
		all = engine_pinned(node->engine, page_add(range.first, i), write);
	pthread_mutex_unlock(&node->lock);
	return all;
}

DSM_API int dsm_unpin(const void *addr, size_t size, int mode)
{
	struct node *node = job_node("dsm_unpin");
	struct api_range range;

	if (node == NULL)
		return -ENOTCONN;
	int status = check(node, "dsm_unpin", addr, size, mode, &range);

	if (status != 0)
		return status < 0 ? status : 0;
	if (!all_pinned(node, range, mode == DSM_WRITE))
		return error_set(-EINVAL, "dsm_unpin(%p, %zu): not all of it is pinned so", addr,
				 size);
	unpin(node, range, mode == DSM_WRITE);
	return 0;
}
