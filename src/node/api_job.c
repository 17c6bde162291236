/* SPDX-License-Identifier: Apache-2.0 */
/* dsm_init() to dsm_finish(), and what a program may ask of its job. */
#include "base/error.h"
#include "node/api.h"
#include "node/job.h"

#include <errno.h>
#include <string.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

DSM_API int dsm_init(int id)
{
	return job_join(id);
}

DSM_API int dsm_finish(void)
{
	struct node *node = job_node("dsm_finish");

	if (node == NULL)
		return -ENOTCONN;
	api_flush_frees(node);
	pthread_mutex_lock(&node->lock);
	node->leaving = true;
	pthread_mutex_unlock(&node->lock);
	int status = node_collect(node, COLLECT_FINISH, 0, NULL, NULL, 0);

	status = api_status(node, "dsm_finish", NULL, status);
	job_leave(node);
	return status;
}

DSM_API int dsm_node_id(void)
{
	const struct node *node = job_node("dsm_node_id");

	return node == NULL ? -ENOTCONN : node->self.value;
}

DSM_API int dsm_node_count(void)
{
	const struct node *node = job_node("dsm_node_count");

	return node == NULL ? -ENOTCONN : (int)node->node_count;
}

DSM_API int dsm_option_set(const char *name, const char *value)
{
	if (name == NULL || value == NULL)
		return error_set(-EINVAL, "dsm_option_set: name or value is NULL");
	return job_option_set(name, value);
}

DSM_API const char *dsm_option_get(const char *name)
{
	return name == NULL ? NULL : job_option_get(name);
}

DSM_API int dsm_stats_get(struct dsm_stats *out)
{
	struct node *node = job_node("dsm_stats_get");

	if (node == NULL)
		return -ENOTCONN;
	if (out == NULL)
		return error_set(-EINVAL, "dsm_stats_get: out is NULL");
	pthread_mutex_lock(&node->lock);
	const struct engine_stats *stats = engine_stats(node->engine);
	const struct fabric_counters fabric = links_counters(node);

	*out = (struct dsm_stats){
		.read_faults = stats->read_faults,
		.write_faults = stats->write_faults,
		.upgrades = stats->upgrades,
		.pages_fetched = stats->pages_fetched,
		.pages_granted = stats->pages_granted,
		.prefetches = stats->prefetches,
		.invalidations = stats->invalidations,
		.downgrades = stats->downgrades,
		.pages_published = stats->pages_published,
		.pages_updated = stats->pages_updated,
		.pages_evicted = stats->pages_evicted,
		.pages_cached = cache_pages(node),
		.pages_ahead = stats->guesses,
		.pages_ahead_had = stats->guesses_met,
		.messages_sent = node->counters.messages_sent,
		.messages_received = node->counters.messages_received,
		.bytes_fetched = node->counters.bytes_fetched,
		.sync_calls = stats->sync_calls + engine_lock_calls(node->engine),
		.heap_units = stats->heap_units,
		.pages_resident = node->pager_ops->resident(node->pager),
		.work_requests = fabric.work_requests,
		.completions = fabric.completions,
	};
	pthread_mutex_unlock(&node->lock);
	return 0;
}

DSM_API const char *dsm_strerror(int error)
{
	switch (error) {
	case 0:
		return "no error";
	case -ENOTCONN:
		return "this process is in no job";
	case -EHOSTDOWN:
		return "a node that is needed was lost";
	case -EOWNERDEAD:
		return "the node that held the lock was lost";
	case -EFAULT:
		return "the address is not shared memory";
	case -ENOENT:
		return "nothing of that kind is there";
	case -EEXIST:
		return "something is there already";
	}
	return strerrordesc_np(error < 0 ? -error : error) != NULL
		       ? strerrordesc_np(error < 0 ? -error : error)
		       : "unknown error";
}

DSM_API const char *dsm_error(void)
{
	return error_text();
}

DSM_API const char *dsm_version(void)
{
	return TEXT(DSM_VERSION_MAJOR) "." TEXT(DSM_VERSION_MINOR) "." TEXT(DSM_VERSION_PATCH);
}

/* ---- shared by the api files ---- */

static const char *meaning(int status)
{
	switch (status) {
	case -ENOENT:
		return "no such object there; initialise it first";
	case -EEXIST:
		return "an object is there already; destroy it first";
	case -EINVAL:
		return "a bad count, or another kind of object is there";
	case -EBUSY:
		return "in use";
	case -EPERM:
		return "this thread does not hold it";
	case -EDEADLK:
		return "this thread holds it already";
	case -EAGAIN:
		return "the count is zero";
	case -EOVERFLOW:
		return "the count would pass 2147483647";
	case -ENOMEM:
		return "too many objects for one node; raise PERGOLA_SYNC_OBJECTS";
	case -EPROTO:
		return "the nodes are in different collective calls, or call with different "
		       "arguments";
	}
	return dsm_strerror(status);
}

int api_status(struct node *node, const char *call, const void *addr, int status)
{
	if (status == 0)
		return 0;
	if (status == -EHOSTDOWN || status == -EOWNERDEAD)
		return loss_explain(node, call, status);
	if (addr == NULL)
		return error_set(status, "%s: %s", call, meaning(status));
	return error_set(status, "%s(%p): %s", call, addr, meaning(status));
}
