/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-sided reads of other nodes' frames. A frame is reached with the key of its chunk: a run of
 * frames that is registered as one, on first need. A peer's key is asked for once and kept. A run
 * that crosses chunks is read in pieces; the engine hears when all of it is there. What updates a
 * page that threads read meanwhile goes by way of landing.c.
 *
 * Invariant: a struct read is in use from reads_start() until EV_READ_DONE; posted_pages counts
 * what has been given to the fabric, completed_pages what came back. It is in the waiting list
 * exactly while not all of it is posted and it has not failed.
 */
#include "base/assert.h"
#include "node/times.h"

#include <errno.h>

static size_t own_chunks_bytes(const struct link *link)
{
	return link->chunk_limit * sizeof(*link->own_chunks);
}

static size_t peer_keys_bytes(const struct node *node, const struct link *link)
{
	return node->node_count * link->chunk_limit * sizeof(*link->peer_keys);
}

/* Each is of at least one page asked for, which are bounded, or one page that is updated. */
static uint64_t reads_max(const struct node *node)
{
	return settings_u64(&node->settings, SETTING_PAGE_REQUESTS) + node->page_limit;
}

static size_t reads_bytes(const struct node *node)
{
	return reads_max(node) * sizeof(*node->reads);
}

static uint32_t piece_pages(const struct link *link)
{
	struct fabric_description description = { .read_bytes = 0 };

	if (link->ops->describe != NULL)
		link->ops->describe(link->fabric, &description);
	if (description.read_bytes == 0)
		return UINT32_MAX;
	return description.read_bytes < PAGE_BYTES
		       ? 1
		       : (uint32_t)(description.read_bytes / PAGE_BYTES);
}

static int open_chunks(struct node *node, struct link *link)
{
	uint64_t unit_pages = link->ops->register_unit_bytes / PAGE_BYTES;

	link->piece_pages = piece_pages(link);
	link->chunk_pages = unit_pages;
	link->chunk_limit =
		unit_pages == 0 ? REGIONS_MAX : (node->page_limit + unit_pages - 1) / unit_pages;
	link->own_chunks = table_open(own_chunks_bytes(link));
	link->peer_keys = table_open(peer_keys_bytes(node, link));
	return link->own_chunks == NULL || link->peer_keys == NULL ? -ENOMEM : 0;
}

int reads_open(struct node *node)
{
	node->reads = table_open(reads_bytes(node));
	if (node->reads == NULL || landing_open(node) != 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < node->link_count; i++) {
		int error = open_chunks(node, &node->links[i]);

		if (error != 0)
			return error;
	}
	return 0;
}

void reads_close(struct node *node)
{
	table_close(node->reads, reads_bytes(node));
	landing_close(node);
	for (unsigned int i = 0; i < node->link_count; i++) {
		struct link *link = &node->links[i];

		table_close(link->own_chunks, own_chunks_bytes(link));
		table_close(link->peer_keys, peer_keys_bytes(node, link));
	}
}

/* ---- chunks ---- */

static uint64_t chunk_of(const struct node *node, const struct link *link, struct page_id page)
{
	return link->chunk_pages == 0 ? region_index(node, page) : page.value / link->chunk_pages;
}

/* A chunk lies within the space's frames, whatever regions stand there. */
static struct run chunk_run(const struct node *node, const struct link *link, uint64_t chunk)
{
	uint64_t left;

	if (link->chunk_pages == 0)
		return (struct run){ node->regions[chunk].first,
				     (uint32_t)node->regions[chunk].page_count };
	left = node->page_limit - chunk * link->chunk_pages;
	return (struct run){ page_id(chunk * link->chunk_pages),
			     (uint32_t)(left < link->chunk_pages ? left : link->chunk_pages) };
}

/* This node's own chunk, registered now if it was not. */
static struct own_chunk *own_chunk(struct node *node, struct link *link, uint64_t chunk)
{
	struct own_chunk *own = &link->own_chunks[chunk];
	struct run run = chunk_run(node, link, chunk);
	const struct fabric_memory memory = {
		.addr = node->frames.base + run.page.value * PAGE_BYTES,
		.bytes = (size_t)run.page_count * PAGE_BYTES,
		.fd = node->frames.fd,
		.fd_offset = run.page.value * PAGE_BYTES,
		.access = FABRIC_REMOTE_READ,
	};

	if (own->region == NULL &&
	    link->ops->memory_register(link->fabric, &memory, &own->region, &own->key) != 0)
		loss_fatal("registering frames");
	return own;
}

static struct peer_key *peer_key(struct link *link, struct node_id peer, uint64_t chunk)
{
	return &link->peer_keys[peer.value * link->chunk_limit + chunk];
}

static void ask_key(struct node *node, struct node_id peer, struct page_id page)
{
	struct message message = { .kind = MSG_KEY_REQUEST };

	message.run = (struct message_run){ .page = page.value, .page_count = 1 };
	message.bytes = (uint16_t)message_bytes(&message);
	outbox_send(node, peer, &message);
}

void reads_key_request(struct node *node, struct node_id peer, const struct message *message)
{
	struct link *link = link_to(node, peer);
	struct page_id page = page_id(message->run.page);
	struct message reply = { .kind = MSG_KEY_REPLY };

	if (region_index(node, page) == REGIONS_MAX) {
		loss_peer_broken(node, peer, "asked for the key of memory that is not shared");
		return;
	}
	uint64_t chunk = chunk_of(node, link, page);
	const struct own_chunk *own = own_chunk(node, link, chunk);
	struct run run = chunk_run(node, link, chunk);

	reply.key = (struct message_key){
		.page = run.page.value,
		.page_count = run.page_count,
		.addr = own->key.addr,
		.key = own->key.key,
	};
	reply.bytes = (uint16_t)message_bytes(&reply);
	outbox_send(node, peer, &reply);
}

void reads_key_reply(struct node *node, struct node_id peer, const struct message *message)
{
	struct link *link = link_to(node, peer);
	struct page_id page = page_id(message->key.page);

	if (region_index(node, page) == REGIONS_MAX) {
		loss_peer_broken(node, peer, "sent the key of memory that is not shared");
		return;
	}
	struct peer_key *key = peer_key(link, peer, chunk_of(node, link, page));

	key->key = (struct fabric_key){ .addr = message->key.addr, .key = message->key.key };
	key->known = true;
	reads_retry(node);
}

bool reads_find(struct node *node, struct node_id peer, struct page_id page,
		struct fabric_remote *remote)
{
	struct link *link = link_to(node, peer);
	uint64_t chunk = chunk_of(node, link, page);
	struct peer_key *key = peer_key(link, peer, chunk);

	if (!key->known) {
		if (!key->asked)
			ask_key(node, peer, page);
		key->asked = true;
		return false;
	}
	*remote = (struct fabric_remote){
		.peer = peer,
		.key = key->key,
		.offset = (page.value - chunk_run(node, link, chunk).page.value) * PAGE_BYTES,
	};
	return true;
}

/* ---- reads ---- */

static uint32_t read_new(struct node *node)
{
	uint32_t link = node->read_free;

	if (link != 0) {
		node->read_free = node->reads[link - 1].next;
		return link;
	}
	ASSERT(node->read_fresh < reads_max(node));
	return ++node->read_fresh;
}

static void finish(struct node *node, uint32_t link)
{
	struct read read = node->reads[link - 1];
	struct event event = {
		.kind = read.update ? EV_UPDATE_DONE : EV_READ_DONE,
		.peer = read.peer,
		.status = read.status,
		.run = read.run,
	};

	if (read.landing != 0) {
		if (read.status == 0)
			landing_place(node, read.landing, read.run);
		landing_put(node, read.landing);
	}
	node->reads[link - 1] = (struct read){ .next = node->read_free };
	node->read_free = link;
	if (read.status == 0)
		node->counters.bytes_fetched += (uint64_t)read.run.page_count * PAGE_BYTES;
	times_reach(node, TIMES_FETCHED, read.run);
	loop_step(node, &event);
}

/* Where the pages of the read go; false: there is no room for an update now. */
static bool local_side(struct node *node, struct read *read, struct page_id page, uint32_t pages,
		       struct fabric_local *local)
{
	struct link *link = link_to(node, read->peer);

	if (!read->update) {
		*local = (struct fabric_local){
			.region = own_chunk(node, link, chunk_of(node, link, page))->region,
			.addr = node->frames.base + page.value * PAGE_BYTES,
			.bytes = pages * PAGE_BYTES,
		};
		return true;
	}
	if (read->landing == 0)
		read->landing = landing_get(node);
	if (read->landing == 0)
		return false;
	*local = landing_local(node, link, read->landing, read->posted_pages, pages);
	return true;
}

/* Posts the next piece: 0 posted, -EAGAIN not now, else the read has failed. */
static int post_piece(struct node *node, uint32_t number)
{
	struct read *read = &node->reads[number - 1];
	struct link *link = link_to(node, read->peer);
	struct page_id page = page_add(read->run.page, read->posted_pages);
	uint64_t chunk = chunk_of(node, link, page);
	struct run whole = chunk_run(node, link, chunk);
	struct peer_key *key = peer_key(link, read->peer, chunk);
	uint64_t left_in_chunk = whole.page.value + whole.page_count - page.value;
	uint32_t left_in_run = read->run.page_count - read->posted_pages;
	uint32_t pages = left_in_chunk < left_in_run ? (uint32_t)left_in_chunk : left_in_run;

	if (pages > link->piece_pages)
		pages = link->piece_pages;
	if (node->gone[read->peer.value])
		return -EHOSTDOWN;
	if (!key->known) {
		if (!key->asked)
			ask_key(node, read->peer, page);
		key->asked = true;
		return -EAGAIN;
	}
	struct fabric_local local;

	if (!local_side(node, read, page, pages, &local))
		return -EAGAIN;
	const struct fabric_remote remote = {
		.peer = read->peer,
		.key = key->key,
		.offset = (page.value - whole.page.value) * PAGE_BYTES,
	};
	int error = link->ops->read(link->fabric, &local, &remote, (uint64_t)number << 32 | pages);

	if (error == 0)
		read->posted_pages += pages;
	return error;
}

/* Posts what can be posted. True when the read needs no place in the waiting list. */
static bool post(struct node *node, uint32_t link)
{
	struct read *read = &node->reads[link - 1];

	while (read->status == 0 && read->posted_pages < read->run.page_count) {
		int error = post_piece(node, link);

		if (error == -EAGAIN)
			return false;
		if (error != 0)
			read->status = error;
	}
	if (read->status != 0 && read->completed_pages == read->posted_pages)
		finish(node, link); /* nothing is under way: nobody else would end it */
	return true;
}

void reads_start(struct node *node, struct node_id peer, struct run run, bool update)
{
	uint32_t link = read_new(node);

	/* Not posted here: a read that fails at once would make an event amid a step's commands. */
	node->reads[link - 1] = (struct read){
		.run = run,
		.peer = peer,
		.update = update,
	};
	if (node->read_waiting_head == 0)
		node->read_waiting_head = link;
	else
		node->reads[node->read_waiting_tail - 1].next = link;
	node->read_waiting_tail = link;
}

void reads_retry(struct node *node)
{
	uint32_t link = node->read_waiting_head;

	/* A detached list: finishing a read may start others, which are appended to a new one. */
	node->read_waiting_head = 0;
	node->read_waiting_tail = 0;
	while (link != 0) {
		uint32_t next = node->reads[link - 1].next;

		node->reads[link - 1].next = 0;
		if (!post(node, link)) {
			if (node->read_waiting_head == 0)
				node->read_waiting_head = link;
			else
				node->reads[node->read_waiting_tail - 1].next = link;
			node->read_waiting_tail = link;
		}
		link = next;
	}
}

void reads_completed(struct node *node, const struct fabric_event *done)
{
	uint32_t link = (uint32_t)(done->tag >> 32);
	struct read *read = &node->reads[link - 1];

	ASSERT(link != 0 && link <= node->read_fresh);
	read->completed_pages += (uint32_t)done->tag;
	if (done->status != 0)
		read->status = done->status;
	if (read->completed_pages < read->posted_pages)
		return;
	/* A failed read that still waits to be posted is ended from the waiting list. */
	if (read->posted_pages == read->run.page_count)
		finish(node, link);
}

void reads_peer_down(struct node *node, struct node_id peer)
{
	(void)peer; /* node->gone says it */
	reads_retry(node);
}
