/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one handle behind the public functions, and the settings of the time before there is a node.
 * Joining and leaving are for one thread of the program; the lock only turns a mistake into an
 * error.
 */
#include "node/job.h"
#include "base/error.h"
#include "base/log.h"
#include "node/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct {
	pthread_mutex_t lock; /* protects settings, and node while it changes */
	struct settings settings;
	bool settings_ready;
	_Atomic(struct node *) node;
} job = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct node *job_node(const char *call)
{
	struct node *node = atomic_load_explicit(&job.node, memory_order_acquire);

	if (node == NULL)
		error_set(-ENOTCONN, "%s: this process is in no job; call dsm_init() first", call);
	return node;
}

/* With the lock. */
static struct settings *settings(void)
{
	if (!job.settings_ready)
		settings_init_defaults(&job.settings);
	job.settings_ready = true;
	return &job.settings;
}

/* The environment, and over it the id that the program gives. */
static int complete_settings(struct settings *copy, int id)
{
	char text[16];
	int error = settings_read_environment(copy);

	if (error != 0 || id < 0)
		return error;
	snprintf(text, sizeof(text), "%d", id);
	return settings_set(copy, "rank", text, SOURCE_ENVIRONMENT);
}

int job_join(int id)
{
	struct node *node = NULL;
	int error = 0;

	pthread_mutex_lock(&job.lock);
	if (job.node != NULL) {
		error = error_set(-EALREADY, "this process has joined a job already");
	} else {
		struct settings copy = *settings();

		error = complete_settings(&copy, id);
		if (error == 0)
			error = node_open(&copy, &node);
		if (error == 0)
			atomic_store_explicit(&job.node, node, memory_order_release);
	}
	pthread_mutex_unlock(&job.lock);
	return error == 0 ? 0 : error_prefix(error, "dsm_init: ");
}

void job_leave(struct node *node)
{
	pthread_mutex_lock(&job.lock);
	atomic_store_explicit(&job.node, NULL, memory_order_release);
	pthread_mutex_unlock(&job.lock);
	node_close(node);
}

int job_option_set(const char *name, const char *value)
{
	int error;

	pthread_mutex_lock(&job.lock);
	if (job.node != NULL)
		error = error_set(-EALREADY, "options are set before dsm_init()");
	else
		error = settings_set(settings(), name, value, SOURCE_PROGRAM);
	pthread_mutex_unlock(&job.lock);
	return error == 0 ? 0 : error_prefix(error, "dsm_option_set: ");
}

const char *job_option_get(const char *name)
{
	struct node *node = atomic_load_explicit(&job.node, memory_order_acquire);
	const char *text;

	if (node != NULL)
		return settings_text_of(&node->settings, name);
	pthread_mutex_lock(&job.lock);
	text = settings_text_of(settings(), name);
	pthread_mutex_unlock(&job.lock);
	return text;
}
