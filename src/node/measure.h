/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fabrics between the processes of a job can do, measured below the coherence: the
 * processes meet and connect as the nodes of a job do, each offers a piece of memory, and any can
 * read any other's by one-sided reads. There is no engine, no pager and no thread; all calls are
 * for one thread, and each of them ends within a time that is stated.
 */
#ifndef PERGOLA_NODE_MEASURE_H
#define PERGOLA_NODE_MEASURE_H

#include "node/settings.h"
#include "port/fabric.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_HOST_BYTES 48
#define MEASURE_TALK_MAX 64u

/* The sizes that are read for latency and for bandwidth. */
#define MEASURE_SMALL_BYTES 4096u
#define MEASURE_LARGE_BYTES (1u << 20)

/* What each process tells all others of itself. */
struct measure_card {
	char host[MEASURE_HOST_BYTES];
	uint64_t memory_bytes; /* that it may still take; UINT64_MAX: no limit known */
	uint64_t locked_bytes; /* that it may lock; likewise */
	/* Filled in by measure_open(), "" and 0 without RDMA: */
	char device[FABRIC_NAME_MAX];
	char address[FABRIC_NAME_MAX];
	uint32_t port;
	int32_t gid_index;
	uint32_t mtu_bytes;
};

struct measure_result {
	uint64_t latency_ns; /* median of reads of MEASURE_SMALL_BYTES, one at a time */
	double bytes_per_s;  /* reads of MEASURE_LARGE_BYTES, several at a time */
};

struct measure;

/* Did a launcher start this process, by its environment? */
bool measure_is_job(const struct settings *settings);

/*
 * Joins the others. Takes at most a few times the connect timeout. Errors as for dsm_init(), with
 * error_set(). `settings` and `mine` are copied.
 */
int measure_open(const struct settings *settings, const struct measure_card *mine,
		 struct measure **out);

/* Leaves in order. */
void measure_close(struct measure *measure);

unsigned int measure_rank(const struct measure *measure);
unsigned int measure_size(const struct measure *measure);
const struct measure_card *measure_card(const struct measure *measure, unsigned int rank);

/* "shm", "verbs": what leads to that peer. */
const char *measure_fabric(const struct measure *measure, unsigned int peer);

/*
 * A message to a peer, and the next one from a peer, exactly `bytes` of 1 .. MEASURE_TALK_MAX,
 * which may be waited for. At most 4 that have not been heard may be on the way from one to
 * another. -ETIMEDOUT, -EHOSTDOWN, -EPROTO (another size, or too many), with error_set().
 */
int measure_tell(struct measure *measure, unsigned int peer, const void *data, size_t bytes);
int measure_hear(struct measure *measure, unsigned int peer, void *data, size_t bytes,
		 uint64_t timeout_ns);

/*
 * Reads a peer's memory for about `budget_ns`, at least a few times. -ETIMEDOUT (a read was not
 * over in the loss timeout), -EHOSTDOWN and what the fabric says, with error_set().
 */
int measure_read(struct measure *measure, unsigned int peer, uint64_t budget_ns,
		 struct measure_result *out);

/*
 * `count` reads of MEASURE_SMALL_BYTES from a peer, one at a time: what each took. Errors as for
 * measure_read().
 */
int measure_read_each(struct measure *measure, unsigned int peer, uint64_t *times_ns,
		      unsigned int count);

/* How one waits for the other's message in measure_bounce(). */
enum measure_patience {
	MEASURE_SPIN,  /* polls */
	MEASURE_SLEEP, /* arms the fabric and sleeps on its descriptor whenever nothing is there */
};

/*
 * `count` messages of MEASURE_TALK_MAX bytes go to a peer, one at a time, and come back; the peer
 * calls this at the same time, and one of the two `serves`: it has no times (times_ns is NULL).
 * Errors as for measure_tell() and measure_hear().
 */
int measure_bounce(struct measure *measure, unsigned int peer, enum measure_patience patience,
		   bool serves, uint64_t *times_ns, unsigned int count);

/*
 * Opens the fabric between hosts alone, says what it runs on and closes it: what a job would get
 * here. -ENOSYS: not in this build. Otherwise as fabric_ops.open().
 */
int measure_device(const struct settings *settings, struct fabric_description *out);

#endif
