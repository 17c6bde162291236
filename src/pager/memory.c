/* SPDX-License-Identifier: Apache-2.0 */
/* mmap, madvise and memfd. No state. */
#include "pager/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_DONTNEED_LOCKED /* Linux 5.18 */
#define MADV_DONTNEED_LOCKED 24
#endif

int memory_file(uint64_t bytes)
{
	int fd = memfd_create("pergola", MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("pergola", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/*
 * A mapping without access cannot be populated, whatever mlockall(2) asked for; after munlock()
 * giving it access populates nothing either.
 */
static int prepare(void *addr, size_t bytes)
{
	munlock(addr, bytes);
	if (madvise(addr, bytes, MADV_DONTFORK) != 0 || madvise(addr, bytes, MADV_DONTDUMP) != 0)
		return -errno;
	/* -EINVAL: a kernel without huge pages. */
	if (madvise(addr, bytes, MADV_NOHUGEPAGE) != 0 && errno != EINVAL)
		return -errno;
	return 0;
}

int memory_reserve(int fd, uint64_t offset, size_t bytes, void **addr)
{
	int fixed = *addr != NULL ? MAP_FIXED_NOREPLACE : 0;
	void *got = mmap(*addr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | fixed, fd,
			 (off_t)offset);

	if (got == MAP_FAILED)
		return -errno;
	int error = *addr != NULL && got != *addr ? -EEXIST : prepare(got, bytes);
	if (error != 0) {
		munmap(got, bytes);
		return error;
	}
	*addr = got;
	return 0;
}

int memory_open(void *addr, size_t bytes)
{
	return mprotect(addr, bytes, PROT_READ | PROT_WRITE) != 0 ? -errno : 0;
}

int memory_zap(void *addr, size_t bytes)
{
	if (madvise(addr, bytes, MADV_DONTNEED) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	return madvise(addr, bytes, MADV_DONTNEED_LOCKED) != 0 ? -errno : 0;
}

int memory_punch(int fd, uint64_t offset, uint64_t bytes)
{
	int result;

	do
		result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
				   (off_t)bytes);
	while (result != 0 && errno == EINTR);
	return result != 0 ? -errno : 0;
}

int memory_populate(void *addr, size_t bytes)
{
	int result;

	do
		result = madvise(addr, bytes, MADV_POPULATE_WRITE);
	while (result != 0 && (errno == EINTR || errno == EAGAIN));
	return result != 0 ? -errno : 0;
}
