/* SPDX-License-Identifier: Apache-2.0 */
#include "calls/calls.h"

#include <errno.h>
#include <sys/mman.h>

bool bounce_open(struct bounce *bounce, size_t size)
{
	bounce->bytes = bounce->local;
	bounce->size = size;
	if (size <= sizeof(bounce->local))
		return true;
	void *got = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	bounce->bytes = got;
	return got != MAP_FAILED;
}

void bounce_close(struct bounce *bounce)
{
	int error = errno;

	if (bounce->bytes != bounce->local)
		munmap(bounce->bytes, bounce->size);
	errno = error;
}
