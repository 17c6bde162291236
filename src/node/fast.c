/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's side of fast reads: chains of one-sided operations under way. A chain reads the page
 * into a place of its own; CMD_TAKE copies it from there into the frame. When the peer's keys are
 * not known yet nothing is posted, and the engine hears that: it asks the manager by a message.
 *
 * A chain is in the waiting list from fast_start() until it is posted, or over.
 */
#include "base/assert.h"
#include "node/node.h"

#include <errno.h>
#include <string.h>

/* Chains posted at a time; the bits of a word. */
#define PLACES 64u

struct chain {
	struct page_id page;
	struct node_id peer;
	uint32_t next; /* index + 1: free, or waiting */
	uint8_t place; /* from 1; 0: none yet */
	bool add;
};

struct chains {
	struct chain *list; /* as many as pages may be asked for */
	uint32_t limit;
	uint32_t free;
	uint32_t fresh;
	uint32_t waiting_head;
	uint32_t waiting_tail;
	uint64_t places_used;
	unsigned char *places;			  /* PLACES pages */
	struct fabric_region *regions[LINKS_MAX]; /* of them; NULL: not registered yet */
	const unsigned char *read;		  /* what EV_FAST_DONE, being handled, has read */
};

static size_t list_bytes(const struct node *node)
{
	return settings_u64(&node->settings, SETTING_PAGE_REQUESTS) * sizeof(struct chain);
}

int fast_open(struct node *node)
{
	if (!node->fast_read)
		return 0;
	struct chains *chains = table_open(sizeof(*chains));

	if (chains == NULL)
		return -ENOMEM;
	node->chains = chains;
	chains->limit = (uint32_t)settings_u64(&node->settings, SETTING_PAGE_REQUESTS);
	chains->list = table_open(list_bytes(node));
	chains->places = table_open(PLACES * PAGE_BYTES);
	return chains->list == NULL || chains->places == NULL ? -ENOMEM : 0;
}

void fast_close(struct node *node)
{
	struct chains *chains = node->chains;

	if (chains == NULL)
		return;
	table_close(chains->list, list_bytes(node));
	table_close(chains->places, PLACES * PAGE_BYTES);
	table_close(chains, sizeof(*chains));
	node->chains = NULL;
}

static unsigned char *place_at(const struct chains *chains, unsigned int place)
{
	ASSERT(place >= 1 && place <= PLACES);
	return chains->places + (size_t)(place - 1) * PAGE_BYTES;
}

static unsigned int place_get(struct chains *chains)
{
	if (chains->places_used == UINT64_MAX)
		return 0;
	unsigned int place = (unsigned int)__builtin_ctzll(~chains->places_used);

	chains->places_used |= UINT64_C(1) << place;
	return place + 1;
}

static struct fabric_region *region_of(struct node *node, unsigned int index)
{
	struct chains *chains = node->chains;
	struct link *link = &node->links[index];
	const struct fabric_memory memory = {
		.addr = chains->places,
		.bytes = PLACES * PAGE_BYTES,
		.fd = -1,
	};
	struct fabric_key key;

	if (chains->regions[index] == NULL &&
	    link->ops->memory_register(link->fabric, &memory, &chains->regions[index], &key) != 0)
		loss_fatal("registering the buffer of fast reads");
	return chains->regions[index];
}

/* ---- one chain ---- */

static void finish(struct node *node, uint32_t number, int status, const struct fabric_event *done)
{
	struct chains *chains = node->chains;
	struct chain chain = chains->list[number - 1];
	struct event event = { .kind = EV_FAST_DONE, .peer = chain.peer, .status = status };

	chains->list[number - 1] = (struct chain){ .next = chains->free };
	chains->free = number;
	event.fast.page = chain.page;
	event.fast.added = chain.add && done != NULL && status == 0;
	if (status == 0 && gates_were_open(done->value))
		event.fast.gate = done->guard;
	chains->read = chain.place != 0 ? place_at(chains, chain.place) : NULL;
	loop_step(node, &event);
	chains->read = NULL;
	if (chain.place != 0)
		chains->places_used &= ~(UINT64_C(1) << (chain.place - 1));
}

/* 0: posted. -EAGAIN: not now. Else it will not be. */
static int post(struct node *node, uint32_t number)
{
	struct chains *chains = node->chains;
	struct chain *chain = &chains->list[number - 1];
	unsigned int index = node->routes[chain->peer.value];
	struct link *link = &node->links[index];
	struct fabric_chain operation;

	if (node->gone[chain->peer.value])
		return -EHOSTDOWN;
	bool gate = gates_find(node, chain->peer, chain->page, &operation);
	bool frame = reads_find(node, chain->peer, chain->page, &operation.source);

	if (!gate || !frame)
		return -ENOKEY;
	if (chain->place == 0)
		chain->place = (uint8_t)place_get(chains);
	if (chain->place == 0)
		return -EAGAIN;
	operation.add = chain->add ? gates_bit(node) : 0;
	operation.local = (struct fabric_local){
		.region = region_of(node, index),
		.addr = place_at(chains, chain->place),
		.bytes = PAGE_BYTES,
	};
	return link->ops->chain(link->fabric, &operation, number);
}

static void wait(struct chains *chains, uint32_t number)
{
	chains->list[number - 1].next = 0;
	if (chains->waiting_head == 0)
		chains->waiting_head = number;
	else
		chains->list[chains->waiting_tail - 1].next = number;
	chains->waiting_tail = number;
}

/* Not posted here: one that fails at once would make an event amid a step's commands. */
void fast_start(struct node *node, struct node_id peer, struct page_id page, bool add)
{
	struct chains *chains = node->chains;
	uint32_t number = chains->free;

	if (number != 0) {
		chains->free = chains->list[number - 1].next;
	} else {
		ASSERT(chains->fresh < chains->limit);
		number = ++chains->fresh;
	}
	chains->list[number - 1] = (struct chain){ .page = page, .peer = peer, .add = add };
	wait(chains, number);
}

bool fast_retry(struct node *node)
{
	struct chains *chains = node->chains;

	if (chains == NULL || chains->waiting_head == 0)
		return false;
	uint32_t number = chains->waiting_head;

	/* A detached list: one that ends may bring others about. */
	chains->waiting_head = 0;
	chains->waiting_tail = 0;
	while (number != 0) {
		uint32_t next = chains->list[number - 1].next;
		int error = post(node, number);

		if (error == -EAGAIN)
			wait(chains, number);
		else if (error != 0)
			finish(node, number, error, NULL);
		number = next;
	}
	return true;
}

void fast_completed(struct node *node, const struct fabric_event *done)
{
	uint32_t number = (uint32_t)done->tag;

	ASSERT(node->chains != NULL && number != 0 && number <= node->chains->fresh);
	finish(node, number, done->status, done);
}

void fast_take(struct node *node, struct page_id page)
{
	ASSERT(node->chains->read != NULL);
	memcpy(node->frames.base + page.value * PAGE_BYTES, node->chains->read, PAGE_BYTES);
	node->counters.bytes_fetched += PAGE_BYTES;
}
