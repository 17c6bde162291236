/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's side of fast reads (docs/protocol.md, section 16): gates and sharer words of the
 * pages that this node manages, in memory that its peers may read and add to.
 *
 * A page's record is its gate and, for each link, a set of sharer words, since the atomic
 * operations of two fabrics are not atomic with each other. A word has a bit for each of 63 nodes,
 * and one that says that the gate is open. The words change by the fabric's own atomic operations
 * only. The opening or collecting of a page's words is a *task*; those of one page are done one
 * after another, so the operations of two never meet.
 *
 * A record is reached with the key of its chunk, which a peer asks for once.
 */
#include "base/assert.h"
#include "base/bitset.h"
#include "base/error.h"
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Pages of a chunk, where a fabric registers memory as it is needed; a multiple of 512. */
#define CHUNK_PAGES 8192u

#define SHARER_OPEN (UINT64_C(1) << 63)
#define NODES_PER_WORD 63u
#define SHARER_WORDS_MAX ((NODES_MAX + NODES_PER_WORD - 1) / NODES_PER_WORD)

/* A tag's task, link and word; the fabric gives it back. */
#define TAG_LINK_SHIFT 16u
#define TAG_TASK_SHIFT 32u

/* Opens a page's words, or takes what is in them; links are index + 1. */
struct task {
	struct page_id page;
	struct node_id keep;
	uint32_t next;
	bool opens;
	bool begun;	 /* no other task of the page is */
	bool clears;	 /* what was fetched is taken out now */
	uint16_t posted; /* operations of this round, of all links and words in turn ... */
	uint16_t done;	 /* ... and those of them that are over */
	uint64_t fetched[LINKS_MAX][SHARER_WORDS_MAX];
};

struct gates {
	unsigned int words; /* of one link's set */
	size_t record_bytes;
	size_t bytes;
	int fd;
	unsigned char *base;
	uint64_t chunk_limit;
	struct own_chunk *own[LINKS_MAX]; /* chunk_limit of each */
	struct gate_key *peer_keys;	  /* [peer * chunk_limit + chunk] */
	uint8_t *busy;			  /* a page: a task of it is under way */
	struct task *tasks;
	uint32_t task_free;
	uint32_t task_fresh;
	uint32_t waiting_head;
	uint32_t waiting_tail;
};

static size_t keys_bytes(const struct node *node)
{
	return node->node_count * node->gates->chunk_limit * sizeof(struct gate_key);
}

static size_t tasks_bytes(const struct node *node)
{
	return node->page_limit * sizeof(struct task);
}

/* ---- opening ---- */

/* A memfd: the fabric between processes of one host needs one. */
static int open_memory(struct gates *gates)
{
	gates->fd = memfd_create("pergola-gates", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (gates->fd < 0)
		return error_set(-errno, "no memory file for gates: %s", strerror(errno));
	if (ftruncate(gates->fd, (off_t)gates->bytes) != 0 ||
	    fcntl(gates->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
		return error_set(-errno, "no %zu bytes for gates: %s", gates->bytes,
				 strerror(errno));
	void *base = mmap(NULL, gates->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			  gates->fd, 0);

	if (base == MAP_FAILED)
		return error_set(-errno, "no %zu bytes of address space for gates: %s",
				 gates->bytes, strerror(errno));
	gates->base = base;
	/* A child has no part in the job; without this its copy would keep pinned pages apart. */
	madvise(base, gates->bytes, MADV_DONTFORK);
	return 0;
}

static int open_tables(struct node *node)
{
	struct gates *gates = node->gates;

	gates->peer_keys = table_open(keys_bytes(node));
	gates->busy = table_open(node->page_limit);
	gates->tasks = table_open(tasks_bytes(node));
	if (gates->peer_keys == NULL || gates->busy == NULL || gates->tasks == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < node->link_count; i++) {
		gates->own[i] = table_open(gates->chunk_limit * sizeof(struct own_chunk));
		if (gates->own[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

int gates_open(struct node *node)
{
	if (!node->fast_read)
		return 0;
	struct gates *gates = table_open(sizeof(*gates));

	if (gates == NULL)
		return -ENOMEM;
	node->gates = gates;
	gates->fd = -1;
	gates->words = (node->node_count + NODES_PER_WORD - 1) / NODES_PER_WORD;
	gates->record_bytes = (1 + (size_t)LINKS_MAX * gates->words) * sizeof(uint64_t);
	gates->chunk_limit = (node->page_limit + CHUNK_PAGES - 1) / CHUNK_PAGES;
	gates->bytes = gates->chunk_limit * CHUNK_PAGES * gates->record_bytes;
	int error = open_memory(gates);

	return error == 0 ? open_tables(node) : error;
}

void gates_close(struct node *node)
{
	struct gates *gates = node->gates;

	if (gates == NULL)
		return;
	if (gates->base != NULL)
		munmap(gates->base, gates->bytes);
	if (gates->fd >= 0)
		close(gates->fd);
	table_close(gates->peer_keys, keys_bytes(node));
	table_close(gates->busy, node->page_limit);
	table_close(gates->tasks, tasks_bytes(node));
	for (unsigned int i = 0; i < LINKS_MAX; i++)
		table_close(gates->own[i], gates->chunk_limit * sizeof(struct own_chunk));
	node->gates = NULL;
	table_close(gates, sizeof(*gates));
}

/* ---- chunks and keys ---- */

/* Where memory is registered all at once, the first chunk is everything. */
static uint64_t chunk_of(const struct link *link, struct page_id page)
{
	return link->ops->register_unit_bytes == 0 ? 0 : page.value / CHUNK_PAGES;
}

static struct own_chunk *own_chunk(struct node *node, unsigned int index, uint64_t chunk)
{
	struct gates *gates = node->gates;
	struct link *link = &node->links[index];
	struct own_chunk *own = &gates->own[index][chunk];
	size_t chunk_bytes = CHUNK_PAGES * gates->record_bytes;
	size_t bytes = link->ops->register_unit_bytes == 0 ? gates->bytes : chunk_bytes;
	const struct fabric_memory memory = {
		.addr = gates->base + chunk * chunk_bytes,
		.bytes = bytes,
		.fd = gates->fd,
		.fd_offset = chunk * chunk_bytes,
		.access = FABRIC_REMOTE_READ | FABRIC_REMOTE_ATOMIC,
	};

	if (own->region == NULL &&
	    link->ops->memory_register(link->fabric, &memory, &own->region, &own->key) != 0)
		loss_fatal("registering gates");
	return own;
}

static uint32_t sharers_offset(const struct gates *gates, unsigned int link)
{
	return (uint32_t)((1 + (size_t)link * gates->words) * sizeof(uint64_t));
}

void gates_key_request(struct node *node, struct node_id peer, const struct message *message)
{
	unsigned int link = node->routes[peer.value];
	struct page_id page = page_id(message->run.page);
	struct message reply = { .kind = MSG_GATE_REPLY };

	if (node->gates == NULL || region_index(node, page) == REGIONS_MAX) {
		loss_peer_broken(node, peer, "asked for the gate of memory that has none");
		return;
	}
	uint64_t chunk = chunk_of(&node->links[link], page);
	const struct own_chunk *own = own_chunk(node, link, chunk);
	uint64_t left = node->page_limit - chunk * CHUNK_PAGES;
	bool whole = node->links[link].ops->register_unit_bytes == 0 || left < CHUNK_PAGES;

	reply.gates = (struct message_gates){
		.page = chunk * CHUNK_PAGES,
		.page_count = whole ? left : CHUNK_PAGES,
		.addr = own->key.addr,
		.key = own->key.key,
		.sharers = sharers_offset(node->gates, link),
	};
	reply.bytes = (uint16_t)message_bytes(&reply);
	outbox_send(node, peer, &reply);
}

static struct gate_key *peer_key(struct node *node, struct node_id peer, struct page_id page)
{
	uint64_t chunk = chunk_of(link_to(node, peer), page);

	return &node->gates->peer_keys[peer.value * node->gates->chunk_limit + chunk];
}

void gates_key_reply(struct node *node, struct node_id peer, const struct message *message)
{
	struct page_id page = page_id(message->gates.page);

	if (node->gates == NULL || message->gates.sharers >= node->gates->record_bytes) {
		loss_peer_broken(node, peer, "sent the key of gates that it has not");
		return;
	}
	*peer_key(node, peer, page) = (struct gate_key){
		.key = { .addr = message->gates.addr, .key = message->gates.key },
		.page = page,
		.sharers = message->gates.sharers,
		.known = true,
	};
}

static void ask_key(struct node *node, struct node_id peer, struct page_id page)
{
	struct message message = { .kind = MSG_GATE_REQUEST };

	message.run = (struct message_run){ .page = page.value, .page_count = 1 };
	message.bytes = (uint16_t)message_bytes(&message);
	outbox_send(node, peer, &message);
}

bool gates_find(struct node *node, struct node_id peer, struct page_id page,
		struct fabric_chain *chain)
{
	struct gate_key *key = peer_key(node, peer, page);
	unsigned int self = node->self.value;

	if (!key->known) {
		if (!key->asked)
			ask_key(node, peer, page);
		key->asked = true;
		return false;
	}
	uint64_t record = (page.value - key->page.value) * node->gates->record_bytes;

	chain->guard = (struct fabric_remote){ peer, key->key, record };
	chain->word = (struct fabric_remote){
		peer, key->key, record + key->sharers + self / NODES_PER_WORD * sizeof(uint64_t)
	};
	return true;
}

uint64_t gates_bit(const struct node *node)
{
	return UINT64_C(1) << node->self.value % NODES_PER_WORD;
}

bool gates_were_open(uint64_t word)
{
	return (word & SHARER_OPEN) != 0;
}

/* ---- tasks ---- */

static void task_append(struct gates *gates, uint32_t link)
{
	gates->tasks[link - 1].next = 0;
	if (gates->waiting_head == 0)
		gates->waiting_head = link;
	else
		gates->tasks[gates->waiting_tail - 1].next = link;
	gates->waiting_tail = link;
}

static void task_add(struct node *node, struct page_id page, struct node_id keep, bool opens)
{
	struct gates *gates = node->gates;
	uint32_t link = gates->task_free;

	if (link != 0) {
		gates->task_free = gates->tasks[link - 1].next;
	} else {
		ASSERT(gates->task_fresh < node->page_limit);
		link = ++gates->task_fresh;
	}
	gates->tasks[link - 1] = (struct task){ .page = page, .keep = keep, .opens = opens };
	task_append(gates, link);
}

/* Of node `keep`, in the set of the link that leads to it; 0: it is in another word. */
static uint64_t kept_bit(const struct node *node, const struct task *task, unsigned int link,
			 unsigned int word)
{
	unsigned int keep = task->keep.value;

	if (keep == node->self.value || node->routes[keep] != link || keep / NODES_PER_WORD != word)
		return 0;
	return UINT64_C(1) << keep % NODES_PER_WORD;
}

/* Opening adds the open bit. Collecting adds it once more, which takes it out and fetches all bits,
 * and then takes out those that were set. */
static uint64_t addend(const struct node *node, const struct task *task, unsigned int link,
		       unsigned int word)
{
	uint64_t bits = task->fetched[link][word] & ~SHARER_OPEN;

	if (!task->clears)
		return SHARER_OPEN;
	return -(bits & ~kept_bit(node, task, link, word));
}

/* 0, or -EAGAIN: not now. */
static int post_one(struct node *node, uint32_t number)
{
	struct gates *gates = node->gates;
	struct task *task = &gates->tasks[number - 1];
	unsigned int index = task->posted / gates->words;
	unsigned int word = task->posted % gates->words;
	struct link *link = &node->links[index];
	uint64_t add = addend(node, task, index, word);
	uint64_t chunk = chunk_of(link, task->page);
	struct page_id first = page_id(chunk * CHUNK_PAGES);
	const struct fabric_remote remote = {
		.peer = node->self,
		.key = own_chunk(node, index, chunk)->key,
		.offset = (task->page.value - first.value) * gates->record_bytes +
			  sharers_offset(gates, index) + word * sizeof(uint64_t),
	};
	uint64_t tag = (uint64_t)number << TAG_TASK_SHIFT | index << TAG_LINK_SHIFT | word;

	task->posted++;
	if (add == 0) { /* nobody to take out */
		task->done++;
		return 0;
	}
	int error = link->ops->fetch_add(link->fabric, &remote, add, tag);

	if (error == -EAGAIN)
		task->posted--;
	else if (error != 0)
		loss_fatal("changing sharer words");
	return error;
}

static bool post_round(struct node *node, uint32_t number)
{
	struct task *task = &node->gates->tasks[number - 1];

	while (task->posted < node->link_count * node->gates->words) {
		if (post_one(node, number) != 0)
			return false;
	}
	return true;
}

/* Bits of nodes, as the engine has them. */
static void sum_up(const struct node *node, const struct task *task, uint64_t *sharers)
{
	for (unsigned int n = 0; n < node->node_count; n++) {
		unsigned int word = n / NODES_PER_WORD;
		uint64_t bit = UINT64_C(1) << n % NODES_PER_WORD;

		for (unsigned int link = 0; link < node->link_count; link++) {
			if ((task->fetched[link][word] & bit) != 0)
				bitset_set(sharers, n);
		}
	}
}

static void task_over(struct node *node, uint32_t number)
{
	struct gates *gates = node->gates;
	struct task task = gates->tasks[number - 1];
	uint64_t sharers[NODES_MAX / 64] = { 0 };
	struct event event = { .kind = EV_COLLECTED };

	gates->busy[task.page.value] = 0;
	gates->tasks[number - 1] = (struct task){ .next = gates->task_free };
	gates->task_free = number;
	if (task.opens)
		return;
	sum_up(node, &task, sharers);
	event.collected.page = task.page;
	event.collected.keep = task.keep;
	event.collected.sharers = sharers;
	loop_step(node, &event);
}

/* True: the task needs no place in the waiting list. */
static bool advance(struct node *node, uint32_t number)
{
	struct gates *gates = node->gates;
	struct task *task = &gates->tasks[number - 1];
	unsigned int all = node->link_count * gates->words;

	if (!task->begun) {
		if (gates->busy[task->page.value])
			return false;
		gates->busy[task->page.value] = 1;
		task->begun = true;
	}
	while (post_round(node, number)) {
		if (task->done < all)
			return true;
		if (task->opens || task->clears) {
			task_over(node, number);
			return true;
		}
		task->clears = true;
		task->posted = 0;
		task->done = 0;
	}
	return false;
}

bool gates_retry(struct node *node)
{
	struct gates *gates = node->gates;

	if (gates == NULL || gates->waiting_head == 0)
		return false;
	uint32_t link = gates->waiting_head;

	/* A detached list: a task that is over may bring others about. */
	gates->waiting_head = 0;
	gates->waiting_tail = 0;
	while (link != 0) {
		uint32_t next = gates->tasks[link - 1].next;

		if (!advance(node, link))
			task_append(gates, link);
		link = next;
	}
	return true;
}

void gates_completed(struct node *node, const struct fabric_event *done)
{
	struct gates *gates = node->gates;
	uint32_t number = (uint32_t)(done->tag >> TAG_TASK_SHIFT);

	ASSERT(gates != NULL && number != 0 && number <= gates->task_fresh);
	struct task *task = &gates->tasks[number - 1];
	unsigned int link = (unsigned int)(done->tag >> TAG_LINK_SHIFT) & 0xffff;
	unsigned int word = (unsigned int)done->tag & 0xffff;

	if (done->status != 0) {
		error_set(done->status, "%s", strerror(-done->status));
		loss_fatal("changing sharer words");
	}
	if (!task->clears)
		task->fetched[link][word] = done->value;
	if (++task->done < task->posted || task->posted < node->link_count * gates->words)
		return;
	if (!advance(node, number))
		task_append(gates, number);
}

/* ---- commands ---- */

static _Atomic uint64_t *gate_at(struct node *node, struct page_id page)
{
	return (_Atomic uint64_t *)(void *)(node->gates->base +
					    page.value * node->gates->record_bytes);
}

void gates_set(struct node *node, struct page_id page, uint64_t gate)
{
	_Atomic uint64_t *word = gate_at(node, page);
	bool was_open = atomic_load_explicit(word, memory_order_relaxed) != 0;

	/* Release: who reads an open gate finds what the frames hold. */
	atomic_store_explicit(word, gate, memory_order_release);
	if (gate != 0 && !was_open)
		task_add(node, page, node->self, true);
}

void gates_collect(struct node *node, struct page_id page, struct node_id keep)
{
	task_add(node, page, keep, false);
}
