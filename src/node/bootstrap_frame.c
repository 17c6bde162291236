/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to bytes and back. A proof is the frame's last 16 bytes. The two directions use the two
 * halves of the secret as keys, so that no side can be made to compute the other's proof.
 */
#include "node/bootstrap_frame.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const uint8_t magic[FRAME_MAGIC_BYTES] = { 'P', 'e', 'r', 'g', 'o', 'l', 'a', 0x01 };

#define HELLO_SAID_BYTES (FRAME_HELLO_BYTES - SIPHASH_TAG_BYTES)
#define ANSWER_SAID_BYTES (FRAME_ANSWER_BYTES - SIPHASH_TAG_BYTES)

static void put_le(uint8_t *out, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value |= (uint64_t)in[i] << (8 * i);
	return value;
}

static uint32_t get_le32(const uint8_t *in)
{
	return (uint32_t)get_le(in, 4);
}

bool frame_starts(const uint8_t *frame, size_t bytes)
{
	return memcmp(frame, magic, bytes < sizeof(magic) ? bytes : sizeof(magic)) == 0;
}

void frame_put_greeting(uint8_t out[FRAME_GREETING_BYTES], const struct frame_greeting *greeting)
{
	memcpy(out, magic, sizeof(magic));
	put_le(out + 8, greeting->version, 4);
	memcpy(out + 12, greeting->nonce, FRAME_NONCE_BYTES);
}

void frame_get_greeting(const uint8_t in[FRAME_GREETING_BYTES], struct frame_greeting *greeting)
{
	greeting->version = get_le32(in + 8);
	memcpy(greeting->nonce, in + 12, FRAME_NONCE_BYTES);
}

static void prove(const uint8_t *key, const struct frame_session *session, const uint8_t *said,
		  size_t said_bytes, const void *payload, size_t payload_bytes,
		  uint8_t tag[SIPHASH_TAG_BYTES])
{
	struct siphash hash;

	siphash_init(&hash, key);
	siphash_update(&hash, session->root_nonce, FRAME_NONCE_BYTES);
	siphash_update(&hash, session->node_nonce, FRAME_NONCE_BYTES);
	siphash_update(&hash, said, said_bytes);
	siphash_update(&hash, payload, payload_bytes);
	siphash_final(&hash, tag);
}

static void prove_hello(const uint8_t *said, const void *blob, size_t blob_bytes,
			const struct frame_session *session, uint8_t tag[SIPHASH_TAG_BYTES])
{
	prove(session->secret, session, said, HELLO_SAID_BYTES, blob, blob_bytes, tag);
}

static void prove_answer(const uint8_t *said, const void *payload, size_t payload_bytes,
			 const struct frame_session *session, uint8_t tag[SIPHASH_TAG_BYTES])
{
	prove(session->secret + SIPHASH_KEY_BYTES, session, said, ANSWER_SAID_BYTES, payload,
	      payload_bytes, tag);
}

void frame_put_hello(uint8_t out[FRAME_HELLO_BYTES], const struct frame_hello *hello,
		     const void *blob, const struct frame_session *session)
{
	memcpy(out, magic, sizeof(magic));
	put_le(out + 8, hello->version, 4);
	put_le(out + 12, hello->rank, 4);
	put_le(out + 16, hello->size, 4);
	put_le(out + 20, hello->blob_bytes, 4);
	put_le(out + 24, hello->job, 8);
	memcpy(out + 32, hello->nonce, FRAME_NONCE_BYTES);
	prove_hello(out, blob, hello->blob_bytes, session, out + HELLO_SAID_BYTES);
}

void frame_get_hello(const uint8_t in[FRAME_HELLO_BYTES], struct frame_hello *hello)
{
	hello->version = get_le32(in + 8);
	hello->rank = get_le32(in + 12);
	hello->size = get_le32(in + 16);
	hello->blob_bytes = get_le32(in + 20);
	hello->job = get_le(in + 24, 8);
	memcpy(hello->nonce, in + 32, FRAME_NONCE_BYTES);
}

bool frame_hello_proven(const uint8_t in[FRAME_HELLO_BYTES], const void *blob, size_t blob_bytes,
			const struct frame_session *session)
{
	uint8_t tag[SIPHASH_TAG_BYTES];

	prove_hello(in, blob, blob_bytes, session, tag);
	return siphash_equal(tag, in + HELLO_SAID_BYTES, sizeof(tag));
}

void frame_put_answer(uint8_t out[FRAME_ANSWER_BYTES], const struct frame_answer *answer,
		      const void *payload, const struct frame_session *session)
{
	memcpy(out, magic, sizeof(magic));
	put_le(out + 8, answer->kind, 4);
	put_le(out + 12, answer->payload_bytes, 4);
	put_le(out + 16, answer->error, 4);
	prove_answer(out, payload, answer->payload_bytes, session, out + ANSWER_SAID_BYTES);
}

void frame_get_answer(const uint8_t in[FRAME_ANSWER_BYTES], struct frame_answer *answer)
{
	answer->kind = get_le32(in + 8);
	answer->payload_bytes = get_le32(in + 12);
	answer->error = get_le32(in + 16);
}

bool frame_answer_proven(const uint8_t in[FRAME_ANSWER_BYTES], const void *payload,
			 size_t payload_bytes, const struct frame_session *session)
{
	uint8_t tag[SIPHASH_TAG_BYTES];

	prove_answer(in, payload, payload_bytes, session, tag);
	return siphash_equal(tag, in + ANSWER_SAID_BYTES, sizeof(tag));
}

int frame_nonce(uint8_t nonce[FRAME_NONCE_BYTES])
{
	if (getrandom(nonce, FRAME_NONCE_BYTES, 0) != FRAME_NONCE_BYTES)
		return error_set(-errno, "getrandom: %s", strerror(errno));
	return 0;
}
