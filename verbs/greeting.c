/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes say to each other in a connection's private data: who they are, and a proof that they
 * know the job's secret. The proof covers the nonces of both: the listener's, which came with its
 * address through the bootstrap, and the connecting node's, which it sends along and finds in the
 * answer. So one overheard at an earlier fabric proves nothing; a question overheard at this one
 * names a rank that is connected already, and is refused for that.
 */
#include "state.h"

#include "base/siphash.h"

#include <errno.h>
#include <string.h>

#define GREETING_MAGIC UINT64_C(0x31616c6f67726570) /* "pergola1" */

struct greeting {
	uint64_t magic;
	uint64_t job;
	uint64_t dialler;
	uint16_t from;
	uint16_t to;
	uint16_t credits;
	uint16_t answer;
	uint8_t proof[SIPHASH_TAG_BYTES];
};

_Static_assert(sizeof(struct greeting) == GREETING_BYTES, "no implicit padding");

/* Two hashes with the two halves of the secret: all of its 256 bits count. */
static void prove(const struct fabric *fabric, const struct greeting *greeting, uint64_t listener,
		  uint8_t proof[SIPHASH_TAG_BYTES])
{
	uint8_t inner[SIPHASH_TAG_BYTES];
	struct siphash hash;

	siphash_init(&hash, fabric->config.secret);
	siphash_update(&hash, &listener, sizeof(listener));
	siphash_update(&hash, greeting, offsetof(struct greeting, proof));
	siphash_final(&hash, inner);
	siphash_init(&hash, fabric->config.secret + SIPHASH_KEY_BYTES);
	siphash_update(&hash, inner, sizeof(inner));
	siphash_final(&hash, proof);
}

void greeting_write(const struct fabric *fabric, const struct greeting_ends *ends,
		    uint8_t out[GREETING_BYTES])
{
	struct greeting greeting = {
		.magic = GREETING_MAGIC,
		.job = fabric->config.job,
		.dialler = ends->dialler,
		.from = fabric->config.self.value,
		.to = (uint16_t)ends->peer,
		.credits = (uint16_t)fabric->config.credits,
		.answer = ends->answer,
	};

	prove(fabric, &greeting, ends->listener, greeting.proof);
	memcpy(out, &greeting, sizeof(greeting));
}

int greeting_read(const struct fabric *fabric, const void *data, size_t bytes,
		  struct greeting_ends *ends)
{
	struct greeting greeting;
	uint8_t proof[SIPHASH_TAG_BYTES];

	/* rdma_cm may hand over more than was sent, padded. */
	if (data == NULL || bytes < sizeof(greeting))
		return -EACCES;
	memcpy(&greeting, data, sizeof(greeting));
	prove(fabric, &greeting, ends->listener, proof);
	if (!siphash_equal(proof, greeting.proof, sizeof(proof)) ||
	    greeting.magic != GREETING_MAGIC || greeting.job != fabric->config.job ||
	    greeting.to != fabric->config.self.value ||
	    greeting.from >= fabric->config.node_count ||
	    greeting.credits != fabric->config.credits || greeting.answer != ends->answer ||
	    (ends->answer && greeting.dialler != ends->dialler))
		return -EACCES;
	ends->peer = greeting.from;
	ends->dialler = greeting.dialler;
	return 0;
}
