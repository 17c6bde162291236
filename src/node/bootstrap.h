/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first meeting of a job's nodes, before there is a fabric: every node gives a few bytes (its
 * fabric address) and gets those of all. Rank 0 listens at `root`, the others connect to it.
 *
 * A node proves that it knows the job's secret by a keyed hash over a nonce of the other side and
 * all that it says, and so does rank 0; the secret itself is never sent. Whoever cannot is refused
 * and logged, and does not hold the job up. Blobs are authentic but not hidden.
 */
#ifndef PERGOLA_NODE_BOOTSTRAP_H
#define PERGOLA_NODE_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#define BOOTSTRAP_BLOB_MAX 512u
#define BOOTSTRAP_SECRET_BYTES 32

struct bootstrap {
	const char *root; /* "@name" (this host) or "host:port"; not used when size is 1 */
	unsigned int rank;
	unsigned int size;
	uint32_t version; /* of all that follows; nodes must agree on it */
	uint64_t job;
	uint8_t secret[BOOTSTRAP_SECRET_BYTES]; /* zeros: none, allowed on "@name" only */
	uint64_t timeout_ns;
};

/*
 * Gives `mine` (1 .. BOOTSTRAP_BLOB_MAX bytes, as many on every node) and fills `all` with
 * size * bytes: the blobs in rank order. Blocks, at most twice timeout_ns and a second. Every error
 * comes with error_set():
 *   -EINVAL     rank, size, bytes or root out of range; a TCP root without a secret
 *   -ETIMEDOUT  ranks did not come (rank 0 names them), or rank 0 did not listen or answer
 *   -EACCES     refused: another secret or job; or rank 0 does not know the secret
 *   -EPROTO     nodes disagree on version, size or bytes; or what answers is no Pergola node
 *   -EEXIST     two nodes have the same rank
 *   -EHOSTDOWN  a node left while the others were still awaited
 *   -EADDRINUSE rank 0 cannot listen at root; other errors of socket(2), bind(2), connect(2)
 *   -EMFILE     the limit of open files; -ENOMEM
 */
int bootstrap_exchange(const struct bootstrap *bootstrap, const void *mine, size_t bytes,
		       void *all);

#endif
