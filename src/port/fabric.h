/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of the network. A fabric joins the nodes of one job, each to each, and moves bytes:
 * small ordered messages, and one-sided access to memory that a peer has registered. A backend is
 * one constant table of operations. The comments here are the obligations; tests/contract holds
 * every backend to them.
 *
 * Rules for all calls
 *   - The caller serialises the calls on one fabric, except fd(). No call runs a callback, and
 *     none but open(), connect() and close() blocks.
 *   - Completions and messages come from poll() only. Each operation that returned 0 completes
 *     exactly once, with its tag, also when its peer is lost (then with a negative status).
 *   - Errors are negative errno values. A backend logs the reason where it decides it.
 *
 * Order, per peer
 *   - Messages arrive in the order they were sent, once, whole.
 *   - A one-sided operation and a message are not ordered, nor are two one-sided operations, but:
 *     a one-sided operation posted after an earlier one of the same peer has *completed* follows
 *     it; and both reads of a chain() are executed after its addition (in any order, and a read
 *     perhaps more than once, but before the completion).
 *   - fetch_add and compare_swap are atomic against each other on one word, from every node, this
 *     one included (when it also goes through the fabric); never against the CPU's own stores.
 *   - A read may see a concurrent write torn, in units no smaller than 8 aligned bytes.
 *
 * Loss
 *   - When a peer's process dies or leaves, every other node gets one FABRIC_PEER_DOWN for it,
 *     after all its messages that did arrive and after the completions of operations posted to
 *     it. From then on operations to it return -EHOSTDOWN. A node that closed in order (close())
 *     is reported with status 0, one that was lost with a negative status.
 */
#ifndef PERGOLA_PORT_FABRIC_H
#define PERGOLA_PORT_FABRIC_H

#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of one message at most. */
#define FABRIC_MESSAGE_MAX 256u

/* Bytes of one one-sided read or write at most. */
#define FABRIC_TRANSFER_MAX (1u << 20)

#define FABRIC_ADDRESS_MAX 120u
#define FABRIC_SECRET_BYTES 32u
#define FABRIC_NAME_MAX 64u

struct fabric;
struct fabric_region;

/* Where a node can be reached. Opaque to all but the backend; the bootstrap carries it to all. */
struct fabric_address {
	uint32_t bytes;
	uint8_t data[FABRIC_ADDRESS_MAX];
};

struct fabric_config {
	struct node_id self;
	unsigned int node_count;
	uint64_t job; /* random, the same on all nodes of the job, never zero */
	uint8_t secret[FABRIC_SECRET_BYTES]; /* a peer that does not know it is refused */
	unsigned int credits; /* messages a peer may have on the way to another; a power of two */
	uint64_t connect_timeout_ns;

	/* For fabrics with a choice of devices; "" leaves it to them. */
	char device[FABRIC_NAME_MAX];  /* "mlx5_0" or "mlx5_0:1" */
	char address[FABRIC_NAME_MAX]; /* an IP address of this host */

	/* A peer whose machine is off or whose link is down is noticed after so long; not zero. */
	uint64_t loss_timeout_ns;
};

enum fabric_access {
	FABRIC_REMOTE_READ = 1 << 0,
	FABRIC_REMOTE_WRITE = 1 << 1,
	FABRIC_REMOTE_ATOMIC = 1 << 2,
};

/*
 * Memory to register: [addr, addr + bytes), page-aligned, which is [fd_offset, ...) of the memfd
 * `fd`, mapped shared. (A fabric between processes of one host maps the memfd; others ignore it.)
 * With access 0 it serves only as the local side of operations.
 */
struct fabric_memory {
	void *addr;
	size_t bytes;
	int fd;
	uint64_t fd_offset;
	unsigned int access; /* of enum fabric_access */
};

/* What a peer must know to reach registered memory. Travels in messages. */
struct fabric_key {
	uint64_t addr; /* of the first byte, in the owner's terms */
	uint64_t key;
};

/* The local side of a one-sided operation: bytes at `addr` inside `region`. */
struct fabric_local {
	struct fabric_region *region;
	void *addr;
	uint32_t bytes;
};

/* The remote side: `offset` bytes into the memory that `key` stands for. */
struct fabric_remote {
	struct node_id peer;
	struct fabric_key key;
	uint64_t offset;
};

/* An addition and two reads, all at one peer; see chain(). */
struct fabric_chain {
	struct fabric_remote word; /* 8 aligned bytes: `add` is added */
	uint64_t add;
	struct fabric_remote guard; /* 8 aligned bytes, read whole */
	struct fabric_remote source;
	struct fabric_local local; /* local.bytes bytes of source are read into this */
};

enum fabric_event_kind {
	FABRIC_MESSAGE = 1, /* peer, data, bytes */
	FABRIC_READ_DONE,   /* peer, tag, status */
	FABRIC_WRITE_DONE,  /* peer, tag, status: the bytes are in the peer's memory */
	FABRIC_ATOMIC_DONE, /* peer, tag, status, value: the word before the operation */
	FABRIC_CHAIN_DONE,  /* peer, tag, status, value, guard: the two words */
	FABRIC_CREDIT,	    /* peer: a send that returned -EAGAIN may be tried again */
	FABRIC_PEER_DOWN,   /* peer, status: 0 closed in order, else why it was lost */
};

struct fabric_event {
	enum fabric_event_kind kind;
	struct node_id peer;
	int status;
	uint64_t tag;
	uint64_t value;
	uint64_t guard;
	const void *data; /* valid until the next poll() */
	size_t bytes;
};

/* What a fabric runs on, for people. "" and 0 where there is no such thing. */
struct fabric_description {
	char device[FABRIC_NAME_MAX];
	unsigned int port;
	char link_layer[16]; /* "Ethernet", "InfiniBand" */
	char address[FABRIC_NAME_MAX];
	int gid_index;		/* negative: none */
	char gid_type[16];	/* "RoCE v2", "RoCE v1", "IB" */
	unsigned int mtu_bytes; /* of the port, active */
	int numa_node;		/* that the device is near to; negative: any */
	bool on_demand;		/* the device faults pages in itself: registering pins nothing */
	size_t read_bytes; /* longer reads are to be cut into reads of so many; 0: any will do */
};

/* What a device has been given and has told, since open(). */
struct fabric_counters {
	uint64_t work_requests; /* posted to send and receive queues */
	uint64_t completions;	/* taken from completion queues */
};

struct fabric_ops {
	const char *name; /* "shm", "verbs" */

	/*
	 * Bytes to register at a time: memory is best registered in chunks of this size as it is
	 * first needed; 0: all at once, cost does not grow with size.
	 */
	size_t register_unit_bytes;

	/*
	 * Makes a fabric and the address at which peers can connect to it from now on. -EINVAL,
	 * -ENOMEM, -EADDRINUSE, -EMFILE, -ENODEV.
	 */
	int (*open)(const struct fabric_config *config, struct fabric **out,
		    struct fabric_address *address);

	/* Any time after open(). NULL: this fabric has no device. */
	void (*describe)(struct fabric *fabric, struct fabric_description *out);

	/* Likewise. */
	void (*counters)(const struct fabric *fabric, struct fabric_counters *out);

	/*
	 * Connects to the peers that have an address here: addresses[i] is node i's, and one of 0
	 * bytes says that node i is not reached by this fabric (this node's own is not used).
	 * Returns 0 when every connection stands; -ETIMEDOUT, -EACCES (a peer did not know the
	 * secret), ...
	 */
	int (*connect)(struct fabric *fabric, const struct fabric_address *addresses);

	/*
	 * Leaves in order and frees everything. Messages accepted by send() before are delivered.
	 * Regions are gone with it. Works at any time after open().
	 */
	void (*close)(struct fabric *fabric);

	/*
	 * Registers memory: -EINVAL, -ENOMEM (names the limit), -ENOSPC (too many regions). The key
	 * may be told to peers as soon as it returns.
	 */
	int (*memory_register)(struct fabric *fabric, const struct fabric_memory *memory,
			       struct fabric_region **region, struct fabric_key *key);

	/* No operation may be under way on it. Peers' later accesses fail with -EACCES or worse. */
	void (*memory_deregister)(struct fabric *fabric, struct fabric_region *region);

	/*
	 * Sends 1 .. FABRIC_MESSAGE_MAX bytes, copied before it returns. To a peer, never to
	 * oneself. -EAGAIN: no credit now; a FABRIC_CREDIT event follows. -EHOSTDOWN; -EINVAL: not
	 * such a size or peer. Credit comes back when the receiver calls poll() again after the one
	 * that returned the messages.
	 */
	int (*send)(struct fabric *fabric, struct node_id peer, const void *data, size_t bytes);

	/*
	 * One-sided read and write of local.bytes (1 .. FABRIC_TRANSFER_MAX) bytes. A peer may be
	 * this node itself. -EAGAIN: too many under way, try again after a poll() that returned a
	 * completion. -EACCES, -EINVAL: refused at once (a backend may find out only later and
	 * say it in the completion's status, and then may lose the peer over it). -EHOSTDOWN.
	 */
	int (*read)(struct fabric *fabric, const struct fabric_local *local,
		    const struct fabric_remote *remote, uint64_t tag);
	int (*write)(struct fabric *fabric, const struct fabric_local *local,
		     const struct fabric_remote *remote, uint64_t tag);

	/* On the 8 aligned bytes at `remote`. Errors as for read(). */
	int (*fetch_add)(struct fabric *fabric, const struct fabric_remote *remote, uint64_t add,
			 uint64_t tag);
	int (*compare_swap)(struct fabric *fabric, const struct fabric_remote *remote,
			    uint64_t expected, uint64_t desired, uint64_t tag);

	/*
	 * As fetch_add() on chain->word, then a read of chain->guard and one of chain->source, with
	 * one completion for all. Refused at once it has done nothing; with a negative status in
	 * its completion, any part of it.
	 */
	int (*chain)(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag);

	/* Takes up to `event_count` events; returns how many. Never blocks. */
	int (*poll)(struct fabric *fabric, struct fabric_event *events, int event_count);

	/* A file descriptor that is readable after arm() when poll() has something. One for life.
	 */
	int (*fd)(struct fabric *fabric);

	/*
	 * Asks for the descriptor to become readable at the next event. Returns 1 if events are
	 * there already, or the last poll() returned some (not armed: poll first), 0 if armed.
	 * poll() disarms. The descriptor may also be readable for no event: then poll, arm again.
	 */
	int (*arm)(struct fabric *fabric);
};

#endif
