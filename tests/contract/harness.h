/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a case is written with: one node, its process, and the ground it shares with the others.
 * Every helper checks the contract on the way: messages only from those who are up, completions
 * once, with a known tag and the right kind, at most one FABRIC_PEER_DOWN a peer.
 */
#ifndef PERGOLA_CONTRACT_HARNESS_H
#define PERGOLA_CONTRACT_HARNESS_H

#include "base/prng.h"
#include "contract.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>

#define HARNESS_OPERATIONS 65536u
#define HARNESS_WORDS 4096u
#define HARNESS_KEYS 64u
#define HARNESS_CREDITS 16u

/* Shared by the processes of one case; zeros at its start. */
struct contract_world {
	const char *case_name;
	unsigned int limit_ms;
	unsigned int haste;
	bool fragile;
	uint64_t job;
	uint64_t seed;
	_Atomic unsigned int barrier_count;
	_Atomic unsigned int barrier_round;
	_Atomic unsigned int addresses_set;
	_Atomic unsigned int connected;
	struct fabric_address addresses[CONTRACT_NODES_MAX + 1];
	struct fabric_key keys[CONTRACT_NODES_MAX][HARNESS_KEYS];
	_Atomic int pids[CONTRACT_NODES_MAX + 1];
	_Atomic uint64_t words[HARNESS_WORDS]; /* for the case's use */
};

struct harness_operation {
	bool outstanding;
	bool done;
	enum fabric_event_kind kind;
	unsigned int peer;
	int status;
	uint64_t value;
	uint64_t guard;
};

struct harness_memory {
	unsigned char *base;
	size_t bytes;
	int fd;
	struct fabric_region *region;
	struct fabric_key key;
};

struct contract_node {
	const struct fabric_ops *ops;
	struct contract_world *world;
	struct fabric *fabric;
	unsigned int rank;
	unsigned int count;
	struct prng prng;

	/* The case's; NULL: a message is an error. */
	void (*on_message)(struct contract_node *node, unsigned int peer, const unsigned char *data,
			   size_t bytes);
	void *context;
	bool leaving; /* peers may go now */

	uint64_t received[CONTRACT_NODES_MAX];
	uint64_t credits[CONTRACT_NODES_MAX];
	unsigned int downs[CONTRACT_NODES_MAX];
	int down_status[CONTRACT_NODES_MAX];
	bool down_allowed[CONTRACT_NODES_MAX];

	uint64_t tag_high; /* a tag is this and an index of operations */
	unsigned int tag_next;
	unsigned int outstanding;
	uint64_t completed;
	struct harness_operation *operations;
};

/* ---- failing ------------------------------------------------------------------------------ */

__attribute__((noreturn)) void harness_fail(const char *file, int line, const char *what);

#define CHECK(condition) ((condition) ? (void)0 : harness_fail(__FILE__, __LINE__, #condition))

/* Polls until the condition holds; past the limit the case has failed. */
#define WAIT_UNTIL(node, condition)                                                                \
	do {                                                                                       \
		uint64_t wait_end_ns = harness_deadline(node);                                     \
		while (!(condition)) {                                                             \
			if (harness_pump(node) == 0)                                               \
				harness_breathe(wait_end_ns, __FILE__, __LINE__, #condition);      \
		}                                                                                  \
	} while (0)

/* The same, but sleeps in poll(2) on the descriptor, armed, whenever there is nothing. */
#define SLEEP_UNTIL(node, condition)                                                               \
	do {                                                                                       \
		uint64_t wait_end_ns = harness_deadline(node);                                     \
		while (!(condition)) {                                                             \
			if (harness_pump(node) == 0)                                               \
				harness_sleep(node, wait_end_ns, __FILE__, __LINE__, #condition);  \
		}                                                                                  \
	} while (0)

/* So many rounds, or fewer where each takes long. */
unsigned int harness_rounds(const struct contract_node *node, unsigned int rounds);

uint64_t harness_now_ns(void);
uint64_t harness_deadline(const struct contract_node *node);
void harness_breathe(uint64_t end_ns, const char *file, int line, const char *what);
void harness_sleep(struct contract_node *node, uint64_t end_ns, const char *file, int line,
		   const char *what);
void harness_spin_ns(uint64_t duration_ns);

/* ---- nodes -------------------------------------------------------------------------------- */

struct fabric_config harness_config(const struct contract_node *node);

/* Opens, tells the others the address; connects, once all `opened` have told theirs. */
void harness_open(struct contract_node *node);
void harness_addresses_await(struct contract_node *node, unsigned int opened);
void harness_connect(struct contract_node *node);
void harness_connected_await(struct contract_node *node);
void harness_close(struct contract_node *node);

/* One poll() of a few events, each checked and noted. Returns how many. */
int harness_pump(struct contract_node *node);

/* Meets the other nodes of the case, polling meanwhile. */
void harness_barrier(struct contract_node *node);

/* Waits for a word of the world to be at least `value`, polling when connected. */
void harness_await_word(struct contract_node *node, unsigned int word, uint64_t value);
void harness_set_word(struct contract_node *node, unsigned int word, uint64_t value);

/* ---- messages ----------------------------------------------------------------------------- */

/* Sends, polling while there is no credit. */
void harness_send(struct contract_node *node, unsigned int peer, const void *data, size_t bytes);

/* The byte at `index` of a test pattern. */
static inline unsigned char pattern_byte(uint64_t seed, size_t index)
{
	return (unsigned char)(hash_u64(seed + index / 8) >> (index % 8 * 8));
}

void pattern_fill(unsigned char *data, size_t bytes, uint64_t seed);
bool pattern_equal(const unsigned char *data, size_t bytes, uint64_t seed);

/* ---- memory and one-sided operations ------------------------------------------------------ */

struct harness_memory harness_memory_make(size_t bytes);
void harness_memory_register(struct contract_node *node, struct harness_memory *memory,
			     unsigned int access);
void harness_memory_free(struct harness_memory *memory);

/* Tells the others a key as number `slot` of this node's. Barrier before use. */
void harness_key_publish(struct contract_node *node, unsigned int slot, struct fabric_key key);
struct fabric_remote harness_remote(const struct contract_node *node, unsigned int peer,
				    unsigned int slot, uint64_t offset);
struct fabric_local harness_local(const struct harness_memory *memory, size_t offset, size_t bytes);

/* Notes an operation that is about to be posted; `forget` when it was not accepted. */
uint64_t harness_tag(struct contract_node *node, enum fabric_event_kind kind, unsigned int peer);
void harness_tag_forget(struct contract_node *node, uint64_t tag);
const struct harness_operation *harness_operation(const struct contract_node *node, uint64_t tag);

/* Post, wait for completion, and return its status, or the error of the call. */
int harness_read(struct contract_node *node, struct fabric_local local,
		 struct fabric_remote remote);
int harness_write(struct contract_node *node, struct fabric_local local,
		  struct fabric_remote remote);
int harness_fetch_add(struct contract_node *node, struct fabric_remote remote, uint64_t add,
		      uint64_t *old);
int harness_compare_swap(struct contract_node *node, struct fabric_remote remote, uint64_t expected,
			 uint64_t desired, uint64_t *old);

/* `words`: that before the addition, and the guard. */
int harness_chain(struct contract_node *node, const struct fabric_chain *chain, uint64_t words[2]);

/* Whether the status is that of an operation refused; see contract_options.fragile. */
void harness_refusals_begin(struct contract_node *node);
bool harness_refused(const struct contract_node *node, unsigned int peer, int status);

/* ---- the cases' tables -------------------------------------------------------------------- */

struct contract_table {
	const struct contract_case *cases;
	unsigned int count;
};

extern const struct contract_table contract_message_cases;
extern const struct contract_table contract_sleep_cases;
extern const struct contract_table contract_transfer_cases;
extern const struct contract_table contract_atomic_cases;
extern const struct contract_table contract_chain_cases;
extern const struct contract_table contract_region_cases;
extern const struct contract_table contract_connect_cases;
extern const struct contract_table contract_loss_cases;

#define CONTRACT_TABLE(array)                                                                      \
	{                                                                                          \
		.cases = array, .count = sizeof(array) / sizeof((array)[0])                        \
	}

#endif
