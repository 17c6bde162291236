/* SPDX-License-Identifier: Apache-2.0 */
/* read(2), write(2) and their kin. */
#include "calls/calls.h"

#include <limits.h>

/* ---- at the descriptor's own place ---- */

static ssize_t attempt_read(const struct transfer *transfer, const struct iovec *parts, int count,
			    size_t done)
{
	(void)count;
	(void)done;
	return calls_real()->read(transfer->fd, parts->iov_base, parts->iov_len);
}

static ssize_t attempt_write(const struct transfer *transfer, const struct iovec *parts, int count,
			     size_t done)
{
	(void)count;
	(void)done;
	return calls_real()->write(transfer->fd, parts->iov_base, parts->iov_len);
}

CALLS_API ssize_t read(int fd, void *buffer, size_t bytes)
{
	const struct transfer transfer = { .attempt = attempt_read, .fd = fd };
	const struct iovec part = { buffer, bytes };

	if (!may_be_shared(buffer, bytes))
		return calls_real()->read(fd, buffer, bytes);
	return transfer_in(&transfer, &part, 1);
}

CALLS_API ssize_t readv(int fd, const struct iovec *parts, int count)
{
	const struct transfer transfer = { .attempt = attempt_read, .fd = fd };

	if (count < 1 || count > IOV_MAX || !transfer_covered(parts, count))
		return calls_real()->readv(fd, parts, count);
	return transfer_in(&transfer, parts, count);
}

CALLS_API ssize_t write(int fd, const void *buffer, size_t bytes)
{
	const struct transfer transfer = { .attempt = attempt_write, .fd = fd };
	const struct iovec part = { (void *)buffer, bytes };
	ssize_t result = calls_real()->write(fd, buffer, bytes);

	if (result == (ssize_t)bytes || !may_be_shared(buffer, bytes))
		return result;
	return transfer_out(&transfer, &part, 1, result);
}

CALLS_API ssize_t writev(int fd, const struct iovec *parts, int count)
{
	const struct transfer transfer = { .attempt = attempt_write, .fd = fd };
	ssize_t result = calls_real()->writev(fd, parts, count);

	if (count < 1 || count > IOV_MAX || !transfer_covered(parts, count))
		return result;
	return transfer_out(&transfer, parts, count, result);
}

/* ---- at a place that is given: transfer->call points to it ---- */

static ssize_t attempt_pread(const struct transfer *transfer, const struct iovec *parts, int count,
			     size_t done)
{
	const off_t *offset = transfer->call;

	(void)count;
	return calls_real()->pread(transfer->fd, parts->iov_base, parts->iov_len,
				   *offset + (off_t)done);
}

static ssize_t attempt_pwrite(const struct transfer *transfer, const struct iovec *parts, int count,
			      size_t done)
{
	const off_t *offset = transfer->call;

	(void)count;
	return calls_real()->pwrite(transfer->fd, parts->iov_base, parts->iov_len,
				    *offset + (off_t)done);
}

CALLS_API ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
	const struct transfer transfer = { attempt_pread, &offset, fd };
	const struct iovec part = { buffer, bytes };

	if (!may_be_shared(buffer, bytes))
		return calls_real()->pread(fd, buffer, bytes, offset);
	return transfer_in(&transfer, &part, 1);
}

CALLS_API ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
	const struct transfer transfer = { attempt_pread, &offset, fd };

	if (count < 1 || count > IOV_MAX || !transfer_covered(parts, count))
		return calls_real()->preadv(fd, parts, count, offset);
	return transfer_in(&transfer, parts, count);
}

CALLS_API ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
	const struct transfer transfer = { attempt_pwrite, &offset, fd };
	const struct iovec part = { (void *)buffer, bytes };
	ssize_t result = calls_real()->pwrite(fd, buffer, bytes, offset);

	if (result == (ssize_t)bytes || !may_be_shared(buffer, bytes))
		return result;
	return transfer_out(&transfer, &part, 1, result);
}

CALLS_API ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	const struct transfer transfer = { attempt_pwrite, &offset, fd };
	ssize_t result = calls_real()->pwritev(fd, parts, count, offset);

	if (count < 1 || count > IOV_MAX || !transfer_covered(parts, count))
		return result;
	return transfer_out(&transfer, parts, count, result);
}

/* The names of programs that are built with _FILE_OFFSET_BITS=64: the same on a 64-bit machine. */
#define SAME_AS(name) __attribute__((visibility("default"), alias(#name)))

SAME_AS(pread) ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t offset);
SAME_AS(pwrite) ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off64_t offset);
SAME_AS(preadv) ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset);
SAME_AS(pwritev) ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset);

/* ---- */

static ssize_t attempt_random(const struct transfer *transfer, const struct iovec *parts, int count,
			      size_t done)
{
	const unsigned int *flags = transfer->call;

	(void)count;
	(void)done;
	return calls_real()->getrandom(parts->iov_base, parts->iov_len, *flags);
}

CALLS_API ssize_t getrandom(void *buffer, size_t bytes, unsigned int flags)
{
	const struct transfer transfer = { attempt_random, &flags, -1 };
	const struct iovec part = { buffer, bytes };

	if (!may_be_shared(buffer, bytes))
		return calls_real()->getrandom(buffer, bytes, flags);
	return transfer_in(&transfer, &part, 1);
}
