/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A struct node of which only the settings, the links and the routes are used. Invariant: between
 * two calls no read is under way, except after one that timed out; memory stays until the fabrics
 * are closed, so that a late one harms nothing.
 */
#include "node/measure.h"

#include "base/error.h"
#include "node/bootstrap.h"
#include "node/node.h"
#include "port/clock.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Processes that measure and nodes of a job must not meet by mistake. */
#define MEASURE_VERSION (UINT32_C(0x6d000000) ^ WIRE_VERSION)

#define TALKS_PER_PEER 4u
#define EVENTS_AT_A_TIME 32
#define SAMPLES_MAX 4096u
#define SAMPLES_LEAST 8u
#define LARGE_READS_LEAST 4u
#define LARGE_READS_AT_A_TIME 4u
#define SLEEP_MS_MAX 100

/* Who waits for a read polls as long, then polls and yields, then sleeps: as a node does. */
#define DRAIN_SPIN_NS UINT64_C(20000)
#define DRAIN_YIELD_NS UINT64_C(200000)

/* However soon a peer is given up, a large read over a slow network gets this long. */
#define READ_LEAST_NS UINT64_C(5000000000)
#define MS_NS UINT64_C(1000000)

/* What peers read, and behind it where this process's own reads land. */
#define OFFERED_BYTES ((size_t)MEASURE_LARGE_BYTES)
#define MEMORY_BYTES (2 * OFFERED_BYTES)

enum talk_kind {
	TALK_KEY = 1,
	TALK_DATA,
};

struct talk {
	uint32_t kind;
	uint32_t bytes;
	union {
		struct fabric_key key;
		uint8_t data[MEASURE_TALK_MAX];
	} body;
};

_Static_assert(sizeof(struct talk) <= FABRIC_MESSAGE_MAX, "a talk is one message");

struct measure_peer {
	struct fabric_key key;
	struct talk talks[TALKS_PER_PEER]; /* heard and not yet asked for */
	unsigned int talk_first;
	unsigned int talk_count;
	bool has_key;
	bool overrun;
	bool down;
	int down_status;
};

struct introduction {
	struct contact contact;
	struct measure_card card;
};

_Static_assert(sizeof(struct introduction) <= BOOTSTRAP_BLOB_MAX, "an introduction is one blob");

struct measure {
	struct node *node;
	unsigned char *memory;
	int memory_fd;
	struct fabric_region *regions[LINKS_MAX];
	struct fabric_key keys[LINKS_MAX];
	struct measure_peer *peers;
	struct measure_card *cards;
	unsigned int reads_under_way;
	int read_status; /* of the first that failed */
	uint64_t times[SAMPLES_MAX];
};

/* ---- what comes in ------------------------------------------------------------------------- */

static void take_talk(struct measure *measure, const struct fabric_event *event)
{
	struct measure_peer *peer = &measure->peers[event->peer.value];
	struct talk talk;

	if (event->bytes != sizeof(talk)) {
		peer->overrun = true;
		return;
	}
	memcpy(&talk, event->data, sizeof(talk));
	if (talk.kind == TALK_KEY) {
		peer->key = talk.body.key;
		peer->has_key = true;
	} else if (peer->talk_count < TALKS_PER_PEER && talk.bytes <= MEASURE_TALK_MAX) {
		peer->talks[(peer->talk_first + peer->talk_count++) % TALKS_PER_PEER] = talk;
	} else {
		peer->overrun = true;
	}
}

static void take(struct measure *measure, const struct fabric_event *event)
{
	switch (event->kind) {
	case FABRIC_MESSAGE:
		take_talk(measure, event);
		break;
	case FABRIC_READ_DONE:
		measure->reads_under_way--;
		if (event->status != 0 && measure->read_status == 0)
			measure->read_status = event->status;
		break;
	case FABRIC_PEER_DOWN:
		measure->peers[event->peer.value].down = true;
		measure->peers[event->peer.value].down_status = event->status;
		break;
	case FABRIC_WRITE_DONE:
	case FABRIC_ATOMIC_DONE:
	case FABRIC_CHAIN_DONE:
	case FABRIC_CREDIT:
		break;
	}
}

/* Whether anything came. */
static bool pump(struct measure *measure)
{
	bool any = false;

	for (unsigned int i = 0; i < measure->node->link_count; i++) {
		struct link *link = &measure->node->links[i];
		struct fabric_event events[EVENTS_AT_A_TIME];
		int count = link->ops->poll(link->fabric, events, EVENTS_AT_A_TIME);

		for (int e = 0; e < count; e++)
			take(measure, &events[e]);
		any = any || count > 0;
	}
	return any;
}

/* Sleeps until something comes, for a while at most. */
static void idle(struct measure *measure)
{
	struct pollfd slots[LINKS_MAX];
	unsigned int count = measure->node->link_count;

	if (links_arm(measure->node) != 0)
		return;
	for (unsigned int i = 0; i < count; i++) {
		struct link *link = &measure->node->links[i];

		slots[i] = (struct pollfd){ .fd = link->ops->fd(link->fabric), .events = POLLIN };
	}
	poll(slots, count, SLEEP_MS_MAX);
}

static int lost(const struct measure *measure, unsigned int peer)
{
	int status = measure->peers[peer].down_status;

	return error_set(-EHOSTDOWN, "rank %u on %s is gone: %s", peer, measure->cards[peer].host,
			 status == 0 ? "it has left" : strerror(-status));
}

/* ---- talking ------------------------------------------------------------------------------- */

static uint64_t patience_ns(const struct measure *measure)
{
	return settings_u64(&measure->node->settings, SETTING_CONNECT_TIMEOUT);
}

static int say(struct measure *measure, unsigned int peer, const struct talk *talk)
{
	struct link *link = link_to(measure->node, node_id(peer));
	uint64_t end_ns = clock_now_ns() + patience_ns(measure);
	int error;

	while ((error = link->ops->send(link->fabric, node_id(peer), talk, sizeof(*talk))) ==
	       -EAGAIN) {
		if (clock_now_ns() > end_ns)
			return error_set(-ETIMEDOUT, "rank %u on %s takes no messages", peer,
					 measure->cards[peer].host);
		if (!pump(measure))
			idle(measure);
	}
	if (error == -EHOSTDOWN)
		return lost(measure, peer);
	return error == 0 ? 0
			  : error_set(error, "a message to rank %u: %s", peer, strerror(-error));
}

int measure_tell(struct measure *measure, unsigned int peer, const void *data, size_t bytes)
{
	struct talk talk = { .kind = TALK_DATA, .bytes = (uint32_t)bytes };

	memcpy(talk.body.data, data, bytes);
	return say(measure, peer, &talk);
}

static int unpack(struct measure_peer *from, unsigned int rank, void *data, size_t bytes)
{
	const struct talk *talk = &from->talks[from->talk_first];

	if (talk->bytes != bytes)
		return error_set(-EPROTO, "rank %u says %u bytes where %zu are expected", rank,
				 talk->bytes, bytes);
	memcpy(data, talk->body.data, bytes);
	from->talk_first = (from->talk_first + 1) % TALKS_PER_PEER;
	from->talk_count--;
	return 0;
}

static int hear(struct measure *measure, unsigned int peer, void *data, size_t bytes,
		uint64_t timeout_ns, enum measure_patience patience)
{
	struct measure_peer *from = &measure->peers[peer];
	uint64_t end_ns = clock_now_ns() + timeout_ns;

	while (from->talk_count == 0) {
		if (from->overrun)
			return error_set(-EPROTO, "rank %u says what makes no sense", peer);
		if (from->down)
			return lost(measure, peer);
		if (clock_now_ns() > end_ns)
			return error_set(-ETIMEDOUT, "rank %u on %s said nothing for %llu ms", peer,
					 measure->cards[peer].host,
					 (unsigned long long)(timeout_ns / MS_NS));
		if (!pump(measure) && patience == MEASURE_SLEEP)
			idle(measure);
	}
	return unpack(from, peer, data, bytes);
}

int measure_hear(struct measure *measure, unsigned int peer, void *data, size_t bytes,
		 uint64_t timeout_ns)
{
	return hear(measure, peer, data, bytes, timeout_ns, MEASURE_SLEEP);
}

int measure_bounce(struct measure *measure, unsigned int peer, enum measure_patience patience,
		   bool serves, uint64_t *times_ns, unsigned int count)
{
	uint8_t ball[MEASURE_TALK_MAX] = { 0 };
	uint64_t limit_ns = patience_ns(measure);
	int error = 0;

	for (unsigned int i = 0; error == 0 && i < count; i++) {
		uint64_t began_ns = clock_now_ns();

		if (!serves)
			error = measure_tell(measure, peer, ball, sizeof(ball));
		if (error == 0)
			error = hear(measure, peer, ball, sizeof(ball), limit_ns, patience);
		if (error == 0 && serves)
			error = measure_tell(measure, peer, ball, sizeof(ball));
		if (!serves)
			times_ns[i] = clock_now_ns() - began_ns;
	}
	return error;
}

/* ---- reading ------------------------------------------------------------------------------- */

static int post(struct measure *measure, unsigned int peer, uint32_t bytes)
{
	struct link *link = link_to(measure->node, node_id(peer));
	const struct fabric_local local = {
		.region = measure->regions[measure->node->routes[peer]],
		.addr = measure->memory + OFFERED_BYTES,
		.bytes = bytes,
	};
	const struct fabric_remote remote = {
		.peer = node_id(peer),
		.key = measure->peers[peer].key,
	};
	int error = link->ops->read(link->fabric, &local, &remote, 0);

	if (error == 0)
		measure->reads_under_way++;
	return error;
}

/* Polls until at most `most` reads are under way. */
static int drain(struct measure *measure, unsigned int peer, unsigned int most)
{
	uint64_t loss_ns = settings_u64(&measure->node->settings, SETTING_LOSS_TIMEOUT);
	uint64_t limit_ns = loss_ns < READ_LEAST_NS ? READ_LEAST_NS : loss_ns;
	uint64_t began_ns = clock_now_ns();

	while (measure->reads_under_way > most && measure->read_status == 0) {
		if (pump(measure))
			continue;
		uint64_t now_ns = clock_now_ns();

		/* A device of software may need this core to go on. */
		if (now_ns - began_ns > DRAIN_YIELD_NS)
			idle(measure);
		else if (now_ns - began_ns > DRAIN_SPIN_NS)
			sched_yield();
		if (now_ns - began_ns > limit_ns)
			return error_set(-ETIMEDOUT, "a read from rank %u on %s took over %llu ms",
					 peer, measure->cards[peer].host,
					 (unsigned long long)(limit_ns / MS_NS));
	}
	return measure->read_status;
}

static int compare_times(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return first < second ? -1 : first > second;
}

static int read_one(struct measure *measure, unsigned int peer, uint64_t *time_ns)
{
	uint64_t began_ns = clock_now_ns();
	int error = post(measure, peer, MEASURE_SMALL_BYTES);

	if (error == 0)
		error = drain(measure, peer, 0);
	*time_ns = clock_now_ns() - began_ns;
	return error;
}

static int read_small(struct measure *measure, unsigned int peer, uint64_t budget_ns,
		      uint64_t *latency_ns)
{
	uint64_t *times = measure->times;
	uint64_t end_ns = clock_now_ns() + budget_ns;
	unsigned int count = 0;

	/* The first opens the way and does not count. */
	int error = read_one(measure, peer, &times[0]);

	while (error == 0 && count < SAMPLES_MAX &&
	       (count < SAMPLES_LEAST || clock_now_ns() < end_ns))
		error = read_one(measure, peer, &times[count++]);
	if (error != 0)
		return error;
	qsort(times, count, sizeof(times[0]), compare_times);
	*latency_ns = times[count / 2];
	return 0;
}

static int read_large(struct measure *measure, unsigned int peer, uint64_t budget_ns,
		      double *bytes_per_s)
{
	uint64_t began_ns = clock_now_ns();
	unsigned int count = 0;
	int error = 0;

	while (error == 0 && (count < LARGE_READS_LEAST || clock_now_ns() - began_ns < budget_ns)) {
		error = post(measure, peer, MEASURE_LARGE_BYTES);
		if (error == 0)
			count++;
		unsigned int under_way = measure->reads_under_way;

		if (error == 0)
			error = drain(measure, peer, LARGE_READS_AT_A_TIME - 1);
		else if (error == -EAGAIN && under_way > 0)
			error = drain(measure, peer, under_way - 1);
	}
	if (error == 0)
		error = drain(measure, peer, 0);
	if (error != 0)
		return error;
	*bytes_per_s =
		(double)count * MEASURE_LARGE_BYTES * 1e9 / (double)(clock_now_ns() - began_ns);
	return 0;
}

static int begin_reads(struct measure *measure, unsigned int peer)
{
	if (measure->peers[peer].down)
		return lost(measure, peer);
	if (measure->reads_under_way > 0)
		return error_set(-ETIMEDOUT, "an earlier read is not over yet");
	error_clear();
	return 0;
}

/* Says what `error` means, if nobody has yet. */
static int end_reads(struct measure *measure, unsigned int peer, int error)
{
	measure->read_status = 0;
	if (error != 0 && measure->peers[peer].down)
		return lost(measure, peer);
	if (error != 0 && error_text()[0] == '\0')
		return error_set(error, "reading from rank %u on %s: %s", peer,
				 measure->cards[peer].host, strerror(-error));
	return error;
}

int measure_read_each(struct measure *measure, unsigned int peer, uint64_t *times_ns,
		      unsigned int count)
{
	int error = begin_reads(measure, peer);

	for (unsigned int i = 0; error == 0 && i < count; i++)
		error = read_one(measure, peer, &times_ns[i]);
	return end_reads(measure, peer, error);
}

int measure_read(struct measure *measure, unsigned int peer, uint64_t budget_ns,
		 struct measure_result *out)
{
	struct measure_result result = { 0 };
	int error = begin_reads(measure, peer);

	if (error != 0)
		return error;
	error = read_small(measure, peer, budget_ns / 2, &result.latency_ns);

	if (error == 0)
		error = read_large(measure, peer, budget_ns / 2, &result.bytes_per_s);
	if (error == 0)
		*out = result;
	return end_reads(measure, peer, error);
}

/* ---- joining ------------------------------------------------------------------------------- */

bool measure_is_job(const struct settings *settings)
{
	if (settings_source(settings, SETTING_SIZE) == SOURCE_ENVIRONMENT)
		return settings_u64(settings, SETTING_SIZE) > 1;
	return getenv("PMIX_NAMESPACE") != NULL && getenv("PMIX_RANK") != NULL;
}

static int open_memory(struct measure *measure)
{
	measure->memory_fd = memfd_create("pergola-measure", MFD_CLOEXEC);
	if (measure->memory_fd < 0 || ftruncate(measure->memory_fd, MEMORY_BYTES) != 0)
		return error_set(-errno, "no memory to measure with: %s", strerror(errno));
	measure->memory =
		mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, measure->memory_fd, 0);
	if (measure->memory == MAP_FAILED)
		return error_set(-errno, "no memory to measure with: %s", strerror(errno));
	memset(measure->memory, 0x5a, MEMORY_BYTES);
	return 0;
}

static int register_memory(struct measure *measure)
{
	const struct fabric_memory memory = {
		.addr = measure->memory,
		.bytes = MEMORY_BYTES,
		.fd = measure->memory_fd,
		.access = FABRIC_REMOTE_READ,
	};
	int error = 0;

	for (unsigned int i = 0; i < measure->node->link_count && error == 0; i++) {
		struct link *link = &measure->node->links[i];

		error = link->ops->memory_register(link->fabric, &memory, &measure->regions[i],
						   &measure->keys[i]);
	}
	return error;
}

static int await_key(struct measure *measure, unsigned int peer, uint64_t end_ns)
{
	while (!measure->peers[peer].has_key) {
		if (measure->peers[peer].down)
			return lost(measure, peer);
		if (clock_now_ns() > end_ns)
			return error_set(-ETIMEDOUT, "rank %u on %s does not offer its memory",
					 peer, measure->cards[peer].host);
		if (!pump(measure))
			idle(measure);
	}
	return 0;
}

static int exchange_keys(struct measure *measure)
{
	struct talk talk = { .kind = TALK_KEY };
	const struct node *node = measure->node;
	int error = 0;

	for (unsigned int peer = 0; peer < node->node_count && error == 0; peer++) {
		if (peer == node->self.value)
			continue;
		talk.body.key = measure->keys[node->routes[peer]];
		error = say(measure, peer, &talk);
	}
	uint64_t end_ns = clock_now_ns() + patience_ns(measure);

	for (unsigned int peer = 0; peer < node->node_count && error == 0; peer++) {
		if (peer != node->self.value)
			error = await_key(measure, peer, end_ns);
	}
	return error;
}

/* All say who they are; then connections are made. */
static int meet(struct measure *measure, struct introduction *mine)
{
	struct node *node = measure->node;
	struct introduction *all = calloc(node->node_count, sizeof(*all));
	struct contact *contacts = calloc(node->node_count, sizeof(*contacts));
	int error = error_set(-ENOMEM, "no memory for %u ranks", node->node_count);

	if (all != NULL && contacts != NULL)
		error = wireup_exchange(&node->wireup, &node->settings, MEASURE_VERSION, mine,
					sizeof(*mine), all);
	for (unsigned int i = 0; error == 0 && i < node->node_count; i++) {
		contacts[i] = all[i].contact;
		measure->cards[i] = all[i].card;
		measure->cards[i].host[MEASURE_HOST_BYTES - 1] = '\0';
		measure->cards[i].device[FABRIC_NAME_MAX - 1] = '\0';
		measure->cards[i].address[FABRIC_NAME_MAX - 1] = '\0';
	}
	if (error == 0)
		error = links_connect(node, contacts);
	free(contacts);
	free(all);
	return error;
}

static void describe(const struct node *node, struct measure_card *card)
{
	for (unsigned int i = 0; i < LINKS_MAX; i++) {
		const struct link *link = &node->links[i];
		struct fabric_description text = { 0 };

		if (link->fabric == NULL || link->ops->describe == NULL)
			continue;
		link->ops->describe(link->fabric, &text);
		snprintf(card->device, sizeof(card->device), "%s", text.device);
		snprintf(card->address, sizeof(card->address), "%s", text.address);
		card->port = text.port;
		card->gid_index = text.gid_index;
		card->mtu_bytes = text.mtu_bytes;
	}
}

/* After wireup_identify(). */
static int open_tables(struct measure *measure)
{
	struct node *node = measure->node;
	unsigned int rank = (unsigned int)settings_u64(&node->settings, SETTING_RANK);
	unsigned int size = (unsigned int)settings_u64(&node->settings, SETTING_SIZE);

	if (rank >= size)
		return error_set(-EINVAL, "rank %u of %u: ranks are 0 to %u", rank, size, size - 1);
	node->self = node_id(rank);
	node->node_count = size;
	measure->peers = calloc(size, sizeof(*measure->peers));
	measure->cards = calloc(size, sizeof(*measure->cards));
	if (measure->peers == NULL || measure->cards == NULL)
		return error_set(-ENOMEM, "no memory for %u ranks", size);
	return open_memory(measure);
}

static int join(struct measure *measure, const struct measure_card *mine)
{
	struct introduction introduction = { .card = *mine };
	struct node *node = measure->node;
	int error = wireup_identify(&node->wireup, &node->settings, links_host());

	if (error == 0)
		error = open_tables(measure);
	if (error == 0)
		error = links_open(node, &introduction.contact);
	if (error == 0) {
		describe(node, &introduction.card);
		error = meet(measure, &introduction);
	}
	wireup_end(&node->wireup);
	if (error == 0)
		error = register_memory(measure);
	return error == 0 ? exchange_keys(measure) : error;
}

int measure_open(const struct settings *settings, const struct measure_card *mine,
		 struct measure **out)
{
	struct measure *measure = calloc(1, sizeof(*measure));

	if (measure == NULL)
		return error_set(-ENOMEM, "no memory to measure with");
	measure->memory_fd = -1;
	measure->node = calloc(1, sizeof(*measure->node));
	int error = measure->node == NULL ? error_set(-ENOMEM, "no memory for a node") : 0;

	if (error == 0) {
		measure->node->settings = *settings;
		error = join(measure, mine);
	}

	if (error != 0)
		measure_close(measure);
	else
		*out = measure;
	return error;
}

void measure_close(struct measure *measure)
{
	if (measure->node != NULL)
		links_close(measure->node);
	free(measure->node);
	if (measure->memory != NULL && measure->memory != MAP_FAILED)
		munmap(measure->memory, MEMORY_BYTES);
	if (measure->memory_fd >= 0)
		close(measure->memory_fd);
	free(measure->peers);
	free(measure->cards);
	free(measure);
}

unsigned int measure_rank(const struct measure *measure)
{
	return measure->node->self.value;
}

unsigned int measure_size(const struct measure *measure)
{
	return measure->node->node_count;
}

const struct measure_card *measure_card(const struct measure *measure, unsigned int rank)
{
	return &measure->cards[rank];
}

const char *measure_fabric(const struct measure *measure, unsigned int peer)
{
	return measure->node->links[measure->node->routes[peer]].ops->name;
}

/* ---- the device alone ---------------------------------------------------------------------- */

int measure_device(const struct settings *settings, struct fabric_description *out)
{
	const struct fabric_ops *ops = backend_remote();
	struct fabric_config config = {
		.node_count = 1,
		.job = 1,
		.credits = (unsigned int)settings_u64(settings, SETTING_CREDITS),
		.connect_timeout_ns = settings_u64(settings, SETTING_CONNECT_TIMEOUT),
		.loss_timeout_ns = settings_u64(settings, SETTING_LOSS_TIMEOUT),
	};
	struct fabric_address address = { 0 };
	struct fabric_description description = { 0 };
	struct fabric *fabric;

	if (ops == NULL)
		return error_set(-ENOSYS, "not in this build");
	snprintf(config.device, sizeof(config.device), "%s",
		 settings_text(settings, SETTING_DEVICE));
	snprintf(config.address, sizeof(config.address), "%s",
		 settings_text(settings, SETTING_INTERFACE));
	int error = ops->open(&config, &fabric, &address);

	if (error != 0)
		return error;
	if (ops->describe != NULL)
		ops->describe(fabric, &description);
	ops->close(fabric);
	*out = description;
	return 0;
}
