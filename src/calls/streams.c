/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams. The C library moves large parts straight between the descriptor and the caller's memory,
 * by calls that nobody can put himself before; so shared memory is copied through private memory
 * here. The page faults of that are served while the stream is locked, which does no harm: nothing
 * that serves a fault uses a stream.
 */
#include "calls/calls.h"

#include <stdint.h>
#include <string.h>

#undef fread_unlocked
#undef fwrite_unlocked
#undef fputs_unlocked

#define PIECE_BYTES 4096u

static size_t read_piecewise(unsigned char *to, size_t bytes, FILE *stream)
{
	unsigned char piece[PIECE_BYTES];
	size_t done = 0;
	size_t got = 1;

	while (done < bytes && got > 0) {
		size_t left = bytes - done < sizeof(piece) ? bytes - done : sizeof(piece);

		got = calls_real()->fread_unlocked(piece, 1, left, stream);
		memcpy(to + done, piece, got);
		done += got;
	}
	return done;
}

static size_t write_piecewise(const unsigned char *from, size_t bytes, FILE *stream)
{
	unsigned char piece[PIECE_BYTES];
	size_t done = 0;
	size_t left;
	size_t put;

	do {
		left = bytes - done < sizeof(piece) ? bytes - done : sizeof(piece);
		memcpy(piece, from + done, left);
		put = calls_real()->fwrite_unlocked(piece, 1, left, stream);
		done += put;
	} while (put == left && done < bytes);
	return done;
}

/* Whether the functions below have anything to do: all of it shared, and a size that is one. */
static bool covered(const void *addr, size_t size, size_t count, size_t *bytes)
{
	return !__builtin_mul_overflow(size, count, bytes) && *bytes > 0 &&
	       may_be_shared(addr, *bytes);
}

CALLS_API size_t fread_unlocked(void *restrict to, size_t size, size_t count, FILE *restrict stream)
{
	size_t bytes;

	if (!covered(to, size, count, &bytes))
		return calls_real()->fread_unlocked(to, size, count, stream);
	return read_piecewise(to, bytes, stream) / size;
}

CALLS_API size_t fread(void *restrict to, size_t size, size_t count, FILE *restrict stream)
{
	size_t bytes;

	if (!covered(to, size, count, &bytes))
		return calls_real()->fread(to, size, count, stream);
	flockfile(stream);
	size_t done = read_piecewise(to, bytes, stream);

	funlockfile(stream);
	return done / size;
}

CALLS_API size_t fwrite_unlocked(const void *restrict from, size_t size, size_t count,
				 FILE *restrict stream)
{
	size_t bytes;

	if (!covered(from, size, count, &bytes))
		return calls_real()->fwrite_unlocked(from, size, count, stream);
	return write_piecewise(from, bytes, stream) / size;
}

CALLS_API size_t fwrite(const void *restrict from, size_t size, size_t count, FILE *restrict stream)
{
	size_t bytes;

	if (!covered(from, size, count, &bytes))
		return calls_real()->fwrite(from, size, count, stream);
	flockfile(stream);
	size_t done = write_piecewise(from, bytes, stream);

	funlockfile(stream);
	return done / size;
}

/* Of a string only the start is known to be there before it has been looked at. */
static int put_text(const char *text, FILE *stream)
{
	size_t bytes = strlen(text);

	return write_piecewise((const unsigned char *)text, bytes, stream) == bytes ? 1 : EOF;
}

CALLS_API int fputs_unlocked(const char *restrict text, FILE *restrict stream)
{
	if (!may_be_shared(text, 1))
		return calls_real()->fputs_unlocked(text, stream);
	return put_text(text, stream);
}

CALLS_API int fputs(const char *restrict text, FILE *restrict stream)
{
	if (!may_be_shared(text, 1))
		return calls_real()->fputs(text, stream);
	flockfile(stream);
	int result = put_text(text, stream);

	funlockfile(stream);
	return result;
}

CALLS_API int puts(const char *text)
{
	if (!may_be_shared(text, 1))
		return calls_real()->puts(text);
	flockfile(stdout);
	int result = put_text(text, stdout);

	if (result >= 0 && putc_unlocked('\n', stdout) == EOF)
		result = EOF;
	funlockfile(stdout);
	return result;
}
