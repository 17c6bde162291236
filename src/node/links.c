/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fabrics of this node. Peers on the same host are reached through shared memory, peers
 * elsewhere through the network; a fabric that leads to nobody is closed again. Above this file
 * nobody asks which is which: link_to() says it.
 */
#include "node/node.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Places in node->links while joining; what is left afterwards moves up. */
enum {
	LINK_LOCAL = 0,
	LINK_REMOTE = 1,
};

/*
 * Processes can share memory when they run under one kernel and see the same abstract sockets: the
 * kernel's boot id and the network namespace tell.
 */
uint64_t links_host(void)
{
	char boot[64] = "";
	struct stat namespace;
	uint64_t identity = 1;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, boot, sizeof(boot) - 1) < 0)
			boot[0] = '\0';
		close(fd);
	}
	for (const char *c = boot; *c != '\0'; c++)
		identity = hash_u64(identity ^ (unsigned char)*c);
	if (stat("/proc/self/ns/net", &namespace) == 0)
		identity = hash_u64(identity ^ namespace.st_ino);
	return identity;
}

/* Nodes started by hand need not name their job: they meet at the same root. */
static uint64_t job_number(const struct node *node)
{
	uint64_t job = settings_u64(&node->settings, SETTING_JOB);

	if (job != 0)
		return job;
	if (node->node_count == 1)
		return (uint64_t)getpid();
	for (const char *c = settings_text(&node->settings, SETTING_ROOT); *c != '\0'; c++)
		job = hash_u64(job + 1 + (unsigned char)*c);
	return job | 1;
}

static int open_one(struct node *node, unsigned int place, const struct fabric_ops *ops,
		    struct fabric_address *address)
{
	struct link *link = &node->links[place];
	struct fabric_config config = {
		.self = node->self,
		.node_count = node->node_count,
		.job = job_number(node),
		.credits = (unsigned int)settings_u64(&node->settings, SETTING_CREDITS),
		.connect_timeout_ns = settings_u64(&node->settings, SETTING_CONNECT_TIMEOUT),
		.loss_timeout_ns = settings_u64(&node->settings, SETTING_LOSS_TIMEOUT),
	};

	settings_secret(&node->settings, config.secret);
	snprintf(config.device, sizeof(config.device), "%s",
		 settings_text(&node->settings, SETTING_DEVICE));
	snprintf(config.address, sizeof(config.address), "%s",
		 settings_text(&node->settings, SETTING_INTERFACE));
	int error = ops->open(&config, &link->fabric, address);

	if (error == 0)
		link->ops = ops;
	return error;
}

int links_open(struct node *node, struct contact *contact)
{
	unsigned int choice = settings_choice(&node->settings, SETTING_FABRIC);
	int error = 0;

	*contact = (struct contact){ .host = links_host() };
	if (choice != FABRIC_CHOICE_VERBS)
		error = open_one(node, LINK_LOCAL, backend_local(),
				 &contact->addresses[LINK_LOCAL]);
	if (error != 0 || choice == FABRIC_CHOICE_SHM ||
	    (choice == FABRIC_CHOICE_AUTO && node->wireup.one_host))
		return error;
	if (backend_remote() == NULL && choice == FABRIC_CHOICE_VERBS)
		return error_set(-ENOSYS, "this library was built without the verbs fabric "
					  "(cmake -DPERGOLA_VERBS=ON, with rdma-core)");
	if (backend_remote() == NULL)
		return 0;
	error = open_one(node, LINK_REMOTE, backend_remote(), &contact->addresses[LINK_REMOTE]);
	if (error == 0 || choice == FABRIC_CHOICE_VERBS)
		return error;
	log_line(LOG_INFO, "no RDMA: %s", error_text());
	return 0;
}

/* ---- routes ---- */

static int choose_route(struct node *node, const struct contact *contacts, unsigned int peer)
{
	const struct contact *mine = &contacts[node->self.value];
	const struct contact *theirs = &contacts[peer];

	if (mine->host == theirs->host && mine->addresses[LINK_LOCAL].bytes > 0 &&
	    theirs->addresses[LINK_LOCAL].bytes > 0) {
		node->routes[peer] = LINK_LOCAL;
		return 0;
	}
	if (mine->addresses[LINK_REMOTE].bytes > 0 && theirs->addresses[LINK_REMOTE].bytes > 0) {
		node->routes[peer] = LINK_REMOTE;
		return 0;
	}
	return error_set(-EHOSTUNREACH,
			 "nodes %u and %u are on different hosts, and node %u has no usable RDMA "
			 "device (run `pergola doctor` there)",
			 node->self.value, peer,
			 mine->addresses[LINK_REMOTE].bytes > 0 ? peer : node->self.value);
}

static int connect_one(struct node *node, const struct contact *contacts, unsigned int place)
{
	struct link *link = &node->links[place];
	struct fabric_address *addresses = calloc(node->node_count, sizeof(*addresses));

	if (addresses == NULL)
		return error_set(-ENOMEM, "no memory for the addresses of %u nodes",
				 node->node_count);
	for (unsigned int peer = 0; peer < node->node_count; peer++) {
		if (peer != node->self.value && node->routes[peer] == place)
			addresses[peer] = contacts[peer].addresses[place];
	}
	int error = link->ops->connect(link->fabric, addresses);

	free(addresses);
	return error;
}

static bool leads_to_somebody(const struct node *node, unsigned int place)
{
	for (unsigned int peer = 0; peer < node->node_count; peer++) {
		if (peer != node->self.value && node->routes[peer] == place)
			return true;
	}
	return false;
}

/* Closes what leads to nobody (of a job of one node, all but one) and moves the rest together. */
static void prune(struct node *node)
{
	unsigned int kept = 0;

	for (unsigned int place = 0; place < LINKS_MAX; place++) {
		struct link link = node->links[place];

		if (link.fabric == NULL)
			continue;
		if (!leads_to_somebody(node, place) && (node->node_count > 1 || kept > 0)) {
			link.ops->close(link.fabric);
			node->links[place] = (struct link){ 0 };
			continue;
		}
		for (unsigned int peer = 0; peer < node->node_count; peer++) {
			if (node->routes[peer] == place)
				node->routes[peer] = (uint8_t)kept;
		}
		node->links[place] = (struct link){ 0 };
		node->links[kept++] = link;
	}
	node->link_count = kept;
}

int links_connect(struct node *node, const struct contact *contacts)
{
	int error = 0;

	for (unsigned int peer = 0; peer < node->node_count && error == 0; peer++) {
		node->local_count += contacts[peer].host == contacts[node->self.value].host;
		if (peer != node->self.value)
			error = choose_route(node, contacts, peer);
	}
	for (unsigned int place = 0; place < LINKS_MAX && error == 0; place++) {
		if (node->links[place].fabric != NULL && leads_to_somebody(node, place))
			error = connect_one(node, contacts, place);
	}
	if (error == 0)
		prune(node);
	return error;
}

void links_close(struct node *node)
{
	for (unsigned int place = 0; place < LINKS_MAX; place++) {
		struct link *link = &node->links[place];

		if (link->fabric != NULL)
			link->ops->close(link->fabric);
		link->fabric = NULL;
	}
}

struct fabric_counters links_counters(const struct node *node)
{
	struct fabric_counters sum = { 0 };

	for (unsigned int i = 0; i < node->link_count; i++) {
		const struct link *link = &node->links[i];
		struct fabric_counters counters;

		if (link->ops->counters == NULL)
			continue;
		link->ops->counters(link->fabric, &counters);
		sum.work_requests += counters.work_requests;
		sum.completions += counters.completions;
	}
	return sum;
}

int links_arm(struct node *node)
{
	for (unsigned int i = 0; i < node->link_count; i++) {
		if (node->links[i].ops->arm(node->links[i].fabric) != 0)
			return 1;
	}
	return 0;
}

int links_numa_node(const struct node *node)
{
	int found = -1;

	for (unsigned int i = 0; i < node->link_count && found < 0; i++) {
		const struct link *link = &node->links[i];
		struct fabric_description what;

		if (link->ops->describe == NULL)
			continue;
		link->ops->describe(link->fabric, &what);
		found = what.numa_node;
	}
	return found;
}
