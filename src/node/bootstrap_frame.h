/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the bootstrap: three frames, little-endian, and the proofs in them.
 *
 *   rank 0 -> node   greeting  magic, version, nonce
 *   node -> rank 0   hello     magic, version, rank, size, blob length, job, nonce, proof; the blob
 *   rank 0 -> node   answer    magic, kind, length, error, proof; all blobs, or why it is refused
 *
 * The layout is the same in all versions, so that nodes of two versions can tell each other.
 */
#ifndef PERGOLA_NODE_BOOTSTRAP_FRAME_H
#define PERGOLA_NODE_BOOTSTRAP_FRAME_H

#include "base/siphash.h"
#include "node/bootstrap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC_BYTES 8
#define FRAME_NONCE_BYTES 16
#define FRAME_GREETING_BYTES 28
#define FRAME_HELLO_BYTES 64
#define FRAME_ANSWER_BYTES 36

/* Longest reason in a refusal. */
#define FRAME_REASON_MAX 400

struct frame_greeting {
	uint32_t version;
	uint8_t nonce[FRAME_NONCE_BYTES];
};

struct frame_hello {
	uint32_t version;
	uint32_t rank;
	uint32_t size;
	uint32_t blob_bytes;
	uint64_t job;
	uint8_t nonce[FRAME_NONCE_BYTES];
};

enum frame_answer_kind {
	FRAME_WELCOME = 1, /* all blobs follow */
	FRAME_REFUSED,	   /* a text follows */
};

struct frame_answer {
	uint32_t kind;
	uint32_t payload_bytes;
	uint32_t error; /* FRAME_REFUSED: an errno value */
};

/* What both sides' proofs cover beside the frame. */
struct frame_session {
	const uint8_t *secret; /* BOOTSTRAP_SECRET_BYTES */
	uint8_t root_nonce[FRAME_NONCE_BYTES];
	uint8_t node_nonce[FRAME_NONCE_BYTES];
};

/* Whether `bytes` (any number) can be the start of a frame. */
bool frame_starts(const uint8_t *frame, size_t bytes);

void frame_put_greeting(uint8_t out[FRAME_GREETING_BYTES], const struct frame_greeting *greeting);
void frame_get_greeting(const uint8_t in[FRAME_GREETING_BYTES], struct frame_greeting *greeting);

/* With the proof over session, hello and blob. */
void frame_put_hello(uint8_t out[FRAME_HELLO_BYTES], const struct frame_hello *hello,
		     const void *blob, const struct frame_session *session);
void frame_get_hello(const uint8_t in[FRAME_HELLO_BYTES], struct frame_hello *hello);
bool frame_hello_proven(const uint8_t in[FRAME_HELLO_BYTES], const void *blob, size_t blob_bytes,
			const struct frame_session *session);

/* With the proof over session, answer and payload. */
void frame_put_answer(uint8_t out[FRAME_ANSWER_BYTES], const struct frame_answer *answer,
		      const void *payload, const struct frame_session *session);
void frame_get_answer(const uint8_t in[FRAME_ANSWER_BYTES], struct frame_answer *answer);
bool frame_answer_proven(const uint8_t in[FRAME_ANSWER_BYTES], const void *payload,
			 size_t payload_bytes, const struct frame_session *session);

/* Fills `nonce` from the kernel. 0 or -errno. */
int frame_nonce(uint8_t nonce[FRAME_NONCE_BYTES]);

#endif
