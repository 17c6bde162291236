/* SPDX-License-Identifier: Apache-2.0 */
/* The userfaultfd calls. No state. */
#include "pager/uffd.h"

#include "base/assert.h"
#include "pager/uffd_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * -EAGAIN without progress means that the address space is just changing; the next try or the one
 * after it succeeds. A bound all the same, so that a kernel's bug cannot hang a node silently.
 */
#define RETRIES_MAX 1000000u

#define DESCRIPTOR_FLAGS (O_CLOEXEC | O_NONBLOCK)

static int by_syscall(int flags)
{
	long fd = syscall(SYS_userfaultfd, flags);

	return fd < 0 ? -errno : (int)fd;
}

static int by_device(void)
{
	int device = open(UFFD_DEVICE, O_RDWR | O_CLOEXEC);

	if (device < 0)
		return -errno;
	int fd = ioctl(device, USERFAULTFD_IOC_NEW, DESCRIPTOR_FLAGS);
	int result = fd < 0 ? -errno : fd;
	close(device);
	return result;
}

int uffd_open(int *fd, enum uffd_way *way, int errors[2])
{
	int result = by_syscall(DESCRIPTOR_FLAGS);

	if (result >= 0) {
		*way = UFFD_BY_SYSCALL;
		*fd = result;
		return 0;
	}
	errors[0] = result;
	result = by_device();
	if (result >= 0) {
		*way = UFFD_BY_DEVICE;
		*fd = result;
		return 0;
	}
	errors[1] = result;
	return errors[0];
}

int uffd_open_user_mode(int *fd)
{
	int result = by_syscall(DESCRIPTOR_FLAGS | UFFD_USER_MODE_ONLY);

	if (result < 0)
		return result;
	*fd = result;
	return 0;
}

static int handshake(int fd, uint64_t wanted, uint64_t *offered)
{
	struct uffdio_api api = { .api = UFFD_API, .features = wanted };

	if (ioctl(fd, UFFDIO_API, &api) != 0)
		return -errno;
	*offered = api.features;
	return 0;
}

int uffd_features(uint64_t *features)
{
	enum uffd_way way;
	int errors[2];
	int fd;

	if (uffd_open(&fd, &way, errors) != 0) {
		fd = by_syscall(DESCRIPTOR_FLAGS | UFFD_USER_MODE_ONLY);
		if (fd < 0)
			return fd;
	}
	int error = handshake(fd, 0, features);
	close(fd);
	return error;
}

int uffd_enable(int fd, uint64_t features)
{
	uint64_t offered = 0;
	int error = handshake(fd, features, &offered);

	if (error == 0 && (offered & features) != features)
		return -ENOSYS;
	return error;
}

static struct uffdio_range range_of(void *addr, size_t bytes)
{
	return (struct uffdio_range){ .start = (uintptr_t)addr, .len = bytes };
}

int uffd_register(int fd, void *addr, size_t bytes)
{
	const uint64_t needed = UINT64_C(1) << _UFFDIO_CONTINUE |
				UINT64_C(1) << _UFFDIO_WRITEPROTECT | UINT64_C(1) << _UFFDIO_WAKE;
	struct uffdio_register request = {
		.range = range_of(addr, bytes),
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR |
			UFFDIO_REGISTER_MODE_WP,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &request) != 0)
		return -errno;
	return (request.ioctls & needed) == needed ? 0 : -ENOSYS;
}

int uffd_unregister(int fd, void *addr, size_t bytes)
{
	struct uffdio_range range = range_of(addr, bytes);

	return ioctl(fd, UFFDIO_UNREGISTER, &range) != 0 ? -errno : 0;
}

/*
 * Counts an ioctl that stopped after `moved` bytes (negative or zero: none) with `error` into
 * *done_bytes. Returns 0 to go on, else the error to give up with.
 */
static int progress(int error, int64_t moved, size_t *done_bytes, unsigned int *retries)
{
	if (moved > 0) {
		*done_bytes += (size_t)moved;
		*retries = 0;
		return 0;
	}
	if (error != -EAGAIN || ++*retries > RETRIES_MAX)
		return error;
	sched_yield();
	return 0;
}

int uffd_continue(int fd, void *addr, size_t bytes, bool write_protected, size_t *done_bytes)
{
	unsigned int retries = 0;
	int error = 0;

	*done_bytes = 0;
	while (*done_bytes < bytes && error == 0) {
		struct uffdio_continue request = {
			.range = range_of((char *)addr + *done_bytes, bytes - *done_bytes),
			.mode = write_protected ? UFFDIO_CONTINUE_MODE_WP : 0,
		};
		int failure = ioctl(fd, UFFDIO_CONTINUE, &request) != 0 ? -errno : 0;

		ASSERT(failure != 0 || (size_t)request.mapped == request.range.len);
		error = progress(failure, request.mapped, done_bytes, &retries);
	}
	return error;
}

int uffd_poison(int fd, void *addr, size_t bytes)
{
	unsigned int retries = 0;
	size_t done_bytes = 0;
	int error = 0;

	while (done_bytes < bytes && error == 0) {
		struct uffdio_poison request = {
			.range = range_of((char *)addr + done_bytes, bytes - done_bytes),
		};
		int failure = ioctl(fd, UFFDIO_POISON, &request) != 0 ? -errno : 0;

		ASSERT(failure != 0 || (size_t)request.updated == request.range.len);
		error = progress(failure, request.updated, &done_bytes, &retries);
	}
	return error;
}

int uffd_write_protect(int fd, void *addr, size_t bytes, bool protect)
{
	struct uffdio_writeprotect request = {
		.range = range_of(addr, bytes),
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};
	unsigned int retries = 0;

	/* The kernel does not say how far it came; to do a part of the range again is harmless. */
	while (ioctl(fd, UFFDIO_WRITEPROTECT, &request) != 0) {
		size_t none = 0;
		int error = progress(-errno, 0, &none, &retries);
		if (error != 0)
			return error;
	}
	return 0;
}

int uffd_wake(int fd, void *addr, size_t bytes)
{
	struct uffdio_range range = range_of(addr, bytes);

	return ioctl(fd, UFFDIO_WAKE, &range) != 0 ? -errno : 0;
}
