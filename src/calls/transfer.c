/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving bytes by way of private memory. A file is read and written in pieces, since nobody else
 * can tell; anything else in one call, since a datagram, a count or a line is whole or nothing.
 */
#include "calls/calls.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/* Bytes of a file moved at a time. */
#define PIECE_BYTES ((size_t)1 << 18)

/* The kernel moves no more in one call. */
#define CALL_BYTES_MAX ((size_t)0x7ffff000)

bool transfer_covered(const struct iovec *parts, int count)
{
	if (may_be_shared(parts, (size_t)count * sizeof(*parts)))
		return true;
	for (int i = 0; i < count; i++) {
		if (may_be_shared(parts[i].iov_base, parts[i].iov_len))
			return true;
	}
	return false;
}

static size_t bytes_of(const struct iovec *parts, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count && sum < CALL_BYTES_MAX; i++)
		sum += parts[i].iov_len < CALL_BYTES_MAX ? parts[i].iov_len : CALL_BYTES_MAX;
	return sum < CALL_BYTES_MAX ? sum : CALL_BYTES_MAX;
}

enum direction {
	INTO_PARTS,
	OUT_OF_PARTS,
};

/* Between `bytes` and the parts, from byte `skip` of these on. Page faults are served meanwhile. */
static void copy(const struct iovec *parts, size_t skip, unsigned char *bytes, size_t count,
		 enum direction direction)
{
	while (count > 0) {
		if (skip >= parts->iov_len) {
			skip -= (parts++)->iov_len;
			continue;
		}
		unsigned char *at = (unsigned char *)parts->iov_base + skip;
		size_t step = parts->iov_len - skip < count ? parts->iov_len - skip : count;

		if (direction == INTO_PARTS)
			memcpy(at, bytes, step);
		else
			memcpy(bytes, at, step);
		bytes += step;
		count -= step;
		skip += step;
	}
}

static bool is_file(int fd)
{
	struct stat status;
	int error = errno;
	bool file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);

	errno = error;
	return file;
}

/* What the whole call returns when `result` came after `done` bytes. */
static ssize_t outcome(size_t done, ssize_t result)
{
	return result < 0 && done > 0 ? (ssize_t)done : result < 0 ? -1 : (ssize_t)done + result;
}

ssize_t transfer_in(const struct transfer *transfer, const struct iovec *parts, int count)
{
	size_t total = bytes_of(parts, count);
	size_t piece = is_file(transfer->fd) && total > PIECE_BYTES ? PIECE_BYTES : total;
	struct bounce bounce;
	ssize_t result = 0;
	size_t done = 0;

	if (!bounce_open(&bounce, piece))
		return -1;
	do {
		size_t left = total - done < piece ? total - done : piece;
		struct iovec part = { bounce.bytes, left };

		result = transfer->attempt(transfer, &part, 1, done);
		if (result > 0)
			copy(parts, done, bounce.bytes, (size_t)result, INTO_PARTS);
		if (result < (ssize_t)left)
			break;
		done += left;
		result = 0;
	} while (done < total);
	bounce_close(&bounce);
	return outcome(done, result);
}

/* Could the kernel read there now? A call that cannot do anything else tells. */
static bool kernel_reads(const struct iovec *parts, size_t skip)
{
	while (skip >= parts->iov_len)
		skip -= (parts++)->iov_len;
	uintptr_t at = ((uintptr_t)parts->iov_base + skip) & ~(uintptr_t)7;
	long result = syscall(SYS_rt_sigprocmask, -1, at, NULL, 8);

	return result == 0 || errno != EFAULT;
}

/* Did the direct attempt end where it did because a page was missing? */
static bool page_was_missing(const struct transfer *transfer, const struct iovec *parts, int count,
			     ssize_t result)
{
	int error = errno;
	bool missing = error == EFAULT;

	if (result >= 0)
		missing = (size_t)result < bytes_of(parts, count) &&
			  (is_file(transfer->fd) || !kernel_reads(parts, (size_t)result));
	errno = error;
	return missing;
}

ssize_t transfer_out(const struct transfer *transfer, const struct iovec *parts, int count,
		     ssize_t result)
{
	struct bounce bounce;
	size_t total;
	size_t done = result < 0 ? 0 : (size_t)result;

	if (!page_was_missing(transfer, parts, count, result))
		return result;
	total = bytes_of(parts, count);
	size_t piece = total - done;

	if (piece > PIECE_BYTES && is_file(transfer->fd))
		piece = PIECE_BYTES;
	if (!bounce_open(&bounce, piece))
		return outcome(done, -1);
	do {
		size_t left = total - done < piece ? total - done : piece;
		struct iovec part = { bounce.bytes, left };

		copy(parts, done, bounce.bytes, left, OUT_OF_PARTS);
		result = transfer->attempt(transfer, &part, 1, done);
		if (result < (ssize_t)left)
			break;
		done += left;
		result = 0;
	} while (done < total);
	bounce_close(&bounce);
	return outcome(done, result);
}
