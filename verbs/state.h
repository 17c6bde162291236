/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The insides of the verbs fabric, shared by its files and by nobody else.
 *
 *   fabric.c    the table of operations; opening and closing
 *   device.c    which device, port and address
 *   greeting.c  what nodes say to each other in a connection's private data, and its proof
 *   connect.c   connections through rdma_cm
 *   queue.c     queue pairs: posting, and what is outstanding
 *   message.c   messages and credits
 *   region.c    registered memory and keys
 *   onesided.c  reads, writes, atomics
 *   poll.c      completions become events; sleeping
 *   loss.c      a peer is gone: what is outstanding is flushed, then said
 *   fail.c      a failed verbs or rdma_cm call becomes an error number and a sentence
 *
 * One queue pair for each peer, one completion queue for all. A work request's wr_id says what it
 * was: its kind, the peer, and a number. Send queues complete in order, so a completion with
 * sequence s also says that all before it are over; those need not ask for completions of their
 * own.
 */
#ifndef PERGOLA_VERBS_STATE_H
#define PERGOLA_VERBS_STATE_H

#include "base/id.h"
#include "port/fabric.h"

#include <infiniband/verbs.h>
#include <netinet/in.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

/* Work requests of one-sided operations and of the fabric's own, at a time and peer. */
#define OPERATIONS_PER_PEER 64u
#define CONTROLS_PER_PEER 8u

/* One-sided operations under way to all peers together. */
#define OPERATIONS_MAX 1024u

/* Receives beyond the credits: for messages that only return credits, and for the goodbye. */
#define RECEIVES_SPARE 8u

/* Completions taken at a time. */
#define COMPLETIONS_MAX 32

/* Connections tried anew after a queue pair was made for them, of all peers together. */
#define RETRIES_MAX 16u

enum wr_kind {
	WR_RECEIVE = 1,
	WR_MESSAGE,
	WR_OPERATION,
	WR_CONTROL,
};

enum peer_state {
	PEER_ABSENT = 0,
	PEER_CONNECTING,
	PEER_UP,
	PEER_DRAINING, /* the connection is gone; completions of what was outstanding are awaited */
	PEER_DOWN,
};

/* What this backend's address blob holds. */
struct verbs_address {
	uint64_t nonce;
	struct sockaddr_in6 at; /* or a sockaddr_in in its first bytes */
};

struct verbs_peer {
	struct rdma_cm_id *id; /* owns the queue pair */
	enum peer_state state;
	bool connected;	     /* established, from both sides as far as this node can see */
	bool said_goodbye;   /* the peer leaves in order */
	bool starved;	     /* a send returned -EAGAIN and no FABRIC_CREDIT has been given since */
	int status;	     /* why it is lost */
	uint32_t credits;    /* messages that may still be sent */
	uint32_t owed;	     /* receives posted again that the peer has not been told of */
	uint32_t posted;     /* send queue: sequence of the next work request ... */
	uint32_t finished;   /* ... and of the oldest that may be under way */
	uint32_t operations; /* one-sided, under way */
	uint32_t receives;   /* posted */
	uint64_t dialler;    /* the nonce of the node that connected, for the answer */
	bool probing;	     /* a keep-alive is under way, or so much that none is needed */
	uint64_t probed_ns;  /* ... since then */
	uint64_t heard_ns;   /* when something last came from it or was acknowledged by it */
	uint64_t drain_end_ns;
	uint64_t again_ns; /* when to try to connect anew */
};

/* A one-sided operation under way; links are index + 1. */
struct operation {
	uint64_t tag;
	uint32_t next_free;
	uint32_t sequence;
	uint16_t peer;
	uint8_t event; /* enum fabric_event_kind */
	bool used;
};

struct fabric_region {
	struct ibv_mr *mr;
	unsigned char *addr;
	size_t bytes;
};

struct fabric {
	struct fabric_config config;
	uint64_t loss_ns; /* a silent peer is lost after so long */
	uint64_t nonce;	  /* of this node's listener: an old greeting proves nothing */

	struct rdma_event_channel *cm;
	struct rdma_cm_id *listener;
	struct ibv_context *device;
	uint8_t port;
	struct sockaddr_storage address;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_device_attr limits;
	bool on_demand; /* the device faults pages in itself: registering pins nothing */
	uint32_t inline_max;
	uint32_t send_depth;
	uint32_t receive_depth;
	int epoll_fd;
	int timer_fd;

	struct verbs_peer *peers; /* node_count of them; one's own is the active end of the loop */
	struct rdma_cm_id *loop_end; /* ... and this is its passive end */
	uint64_t *nonces;	     /* of the peers' listeners, from their addresses */

	/* Messages: [peer][slot] of FABRIC_MESSAGE_MAX bytes. Sends go from here unless inline. */
	unsigned char *receive_buffers;
	unsigned char *send_buffers;
	size_t buffers_bytes;
	struct ibv_mr *buffers_mr;

	struct operation *operations;
	uint32_t operation_free;
	uint64_t *atomic_results; /* one for each operation; inside buffers_mr ... */
	uint64_t *guard_results;  /* ... and as many for chains */

	/* Receives whose data the caller may still look at; posted again by the next poll(). */
	uint64_t handed_out[COMPLETIONS_MAX];
	int handed_out_count;

	/* Events that did not come from the completion queue, or were found while arming. */
	struct ibv_wc stash[COMPLETIONS_MAX];
	int stash_count;
	int stash_next;
	struct fabric_event *ready; /* a ring of ready_size */
	uint32_t ready_size;
	uint32_t ready_head;
	uint32_t ready_count;

	bool armed;
	bool leaving;	       /* the goodbye is the last message */
	uint64_t tended_ns;    /* when connections were last looked after */
	uint64_t empty_ns;     /* the completion queue was seen empty after that tended_ns */
	unsigned int draining; /* peers in PEER_DRAINING */
	unsigned int retries;  /* of RETRIES_MAX */
	unsigned int refused;  /* strangers */
	struct fabric_counters counters;
	char trouble[160]; /* why a connection was tried anew, for the text when time is up */
	struct fabric_description description;
};

/* ---- fail.c ---- */

/* `error` is a positive errno value. Sets the sentence (call, reason, remedy); returns it negative.
 */
int verbs_fail(const char *call, int error);

/* The meaning of a completion's status, as a negative errno value. */
int verbs_status(enum ibv_wc_status status);

/* ---- device.c ---- */

/* Finds the address to listen at, and with it device and port; binds and listens. */
int device_open(struct fabric *fabric);

/* Writes the address, without a port. Returns `text`. */
const char *device_address_text(const struct sockaddr *address, char *text, size_t bytes);

/* ---- greeting.c ---- */

#define GREETING_BYTES 48u

/* Whose words a greeting is, and the nonces it proves something about. */
struct greeting_ends {
	unsigned int peer; /* the other node */
	uint64_t listener; /* the nonce of the node that listens */
	uint64_t dialler;  /* ... and of the one that connects */
	bool answer;	   /* from the listener */
};

/* What this node says to ends->peer. */
void greeting_write(const struct fabric *fabric, const struct greeting_ends *ends,
		    uint8_t out[GREETING_BYTES]);

/*
 * Checks a greeting against ends->listener and ends->answer and, of an answer, ends->dialler; of a
 * question fills ends->dialler. Fills ends->peer. -EACCES: it proves nothing.
 */
int greeting_read(const struct fabric *fabric, const void *data, size_t bytes,
		  struct greeting_ends *ends);

/* ---- connect.c ---- */

int connect_all(struct fabric *fabric, const struct fabric_address *addresses);

/* Takes what rdma_cm has to say outside connect_all(). */
void connect_tend(struct fabric *fabric);

/* ---- queue.c ---- */

static inline uint64_t wr_id(enum wr_kind kind, unsigned int peer, uint32_t number)
{
	return (uint64_t)kind << 56 | (uint64_t)peer << 40 | number;
}

static inline enum wr_kind wr_kind(uint64_t id)
{
	return (enum wr_kind)(id >> 56);
}

static inline unsigned int wr_peer(uint64_t id)
{
	return (unsigned int)(id >> 40) & 0xffff;
}

static inline uint32_t wr_number(uint64_t id)
{
	return (uint32_t)id;
}

int queue_create(struct fabric *fabric, struct rdma_cm_id *id);
int queue_post_receives(struct fabric *fabric, unsigned int peer);
int queue_post_receive(struct fabric *fabric, unsigned int peer, uint32_t slot);

/* Free places in the peer's send queue. */
uint32_t queue_room(const struct fabric *fabric, unsigned int peer);

/*
 * Posts a list of work requests; the first takes the sequence peer->posted. -EAGAIN: no room in the
 * device; -EHOSTDOWN: it refused, and the peer is lost over it.
 */
int queue_post(struct fabric *fabric, unsigned int peer, struct ibv_send_wr *wr);

/* ---- message.c ---- */

int message_send(struct fabric *fabric, struct node_id peer, const void *data, size_t bytes);

/* A receive has completed. True: `event` has a message. */
bool message_received(struct fabric *fabric, const struct ibv_wc *wc, struct fabric_event *event);

/* Receives are posted again, and the peer told when it is due. */
void message_return(struct fabric *fabric, unsigned int peer, uint32_t slot);

/* Tells the peer of receives posted again, if it is due and there is room. */
void message_settle(struct fabric *fabric, unsigned int peer);
int message_goodbye(struct fabric *fabric, unsigned int peer);

/* ---- region.c ---- */

int region_register(struct fabric *fabric, const struct fabric_memory *memory,
		    struct fabric_region **region, struct fabric_key *key);
void region_deregister(struct fabric *fabric, struct fabric_region *region);

/* May `bytes` at `offset` be accessed so, by what the key says? 0, -EACCES, -EINVAL. */
int region_check(const struct fabric_key *key, uint64_t offset, uint64_t bytes,
		 unsigned int access);
uint32_t region_rkey(const struct fabric_key *key);

/* ---- onesided.c ---- */

int onesided_read(struct fabric *fabric, const struct fabric_local *local,
		  const struct fabric_remote *remote, uint64_t tag);
int onesided_write(struct fabric *fabric, const struct fabric_local *local,
		   const struct fabric_remote *remote, uint64_t tag);
int onesided_fetch_add(struct fabric *fabric, const struct fabric_remote *remote, uint64_t add,
		       uint64_t tag);
int onesided_chain(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag);
int onesided_compare_swap(struct fabric *fabric, const struct fabric_remote *remote,
			  uint64_t expected, uint64_t desired, uint64_t tag);

/* The operation of a completion is over; fills `event`. */
void onesided_done(struct fabric *fabric, uint32_t number, int status, struct fabric_event *event);

/* Ends, with `status`, every operation under way to a peer that will complete none of them. */
void onesided_abandon(struct fabric *fabric, unsigned int peer, int status);

/* ---- poll.c ---- */

int poll_events(struct fabric *fabric, struct fabric_event *events, int event_count);
int poll_arm(struct fabric *fabric);
void poll_ready(struct fabric *fabric, const struct fabric_event *event);

/* ---- loss.c ---- */

/* The connection is gone, or is to be given up. Twice does no harm. */
void loss_begin(struct fabric *fabric, unsigned int peer, int status);

/* Says that peers whose completions have all come are down. */
void loss_report(struct fabric *fabric);

/* Gives up peers that are silent too long; asks silent ones for a sign of life. */
void loss_tend(struct fabric *fabric, uint64_t now_ns);

#endif
