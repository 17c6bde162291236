/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of the C library that this library puts its own before. With inline delivery the kernel
 * finds shared pages missing that the program would only have to touch: read(2) into shared memory
 * fails with EFAULT. Each function here makes the call on private memory then, and copies.
 *
 * Rules
 *   - A call that has nothing to do with shared memory goes on to the C library, unchanged, for the
 *     price of a comparison; so does every call without inline delivery.
 *   - What is taken in (read, recv, ...) never goes to shared memory directly: a call that fails
 *     half-way may have taken a datagram or an event's count that nobody gets any more.
 *   - What is given out (write, send, ...) is first tried directly, which costs no copy where the
 *     pages are here. A call that fails with EFAULT has given out nothing.
 *   - The names stand in src/calls/names. They have no version, so that other libraries' calls
 *     come here too.
 */
#ifndef PERGOLA_CALLS_CALLS_H
#define PERGOLA_CALLS_CALLS_H

#include "node/trap.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALLS_API __attribute__((visibility("default")))

/* Each name, as real.c looks it up. */
#define CALLS_ALL(X)                                                                               \
	X(read)                                                                                    \
	X(pread)                                                                                   \
	X(readv)                                                                                   \
	X(preadv)                                                                                  \
	X(write)                                                                                   \
	X(pwrite)                                                                                  \
	X(writev)                                                                                  \
	X(pwritev)                                                                                 \
	X(recvfrom)                                                                                \
	X(recvmsg)                                                                                 \
	X(sendto)                                                                                  \
	X(sendmsg)                                                                                 \
	X(getrandom)                                                                               \
	X(fread_unlocked)                                                                          \
	X(fwrite_unlocked)                                                                         \
	X(fread)                                                                                   \
	X(fwrite)                                                                                  \
	X(fputs)                                                                                   \
	X(fputs_unlocked)                                                                          \
	X(puts)                                                                                    \
	X(signal)                                                                                  \
	X(pthread_sigmask)                                                                         \
	X(sigprocmask)

/* The C library's functions. */
struct calls_real {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a member's name cannot stand in any. */
#define CALLS_FIELD(name) __typeof__(&(name)) name;
	CALLS_ALL(CALLS_FIELD)
#undef CALLS_FIELD
};

/* Found at the first use. */
const struct calls_real *calls_real(void);

/* As trap_covers(). */
static inline bool may_be_shared(const void *addr, size_t bytes)
{
	return trap_covers((uintptr_t)addr, bytes);
}

/* ---- bounce.c: private memory that stands in for shared memory ---- */

#define BOUNCE_LOCAL 4096u

struct bounce {
	unsigned char *bytes;
	size_t size;
	unsigned char local[BOUNCE_LOCAL];
};

/* False with errno ENOMEM. The memory is taken as it is touched. */
bool bounce_open(struct bounce *bounce, size_t size);
void bounce_close(struct bounce *bounce); /* keeps errno */

/* ---- transfer.c ---- */

/*
 * A call that moves bytes between a descriptor and memory that is given in parts. `attempt` makes
 * it with other parts; `done` bytes have been moved before.
 */
struct transfer {
	ssize_t (*attempt)(const struct transfer *transfer, const struct iovec *parts, int count,
			   size_t done);
	const void *call; /* for attempt() */
	int fd;
};

/* Whether any of the parts, or the array itself, may be shared. */
bool transfer_covered(const struct iovec *parts, int count);

/* Takes bytes in, and puts them into the parts. */
ssize_t transfer_in(const struct transfer *transfer, const struct iovec *parts, int count);

/*
 * Gives the parts' bytes out, after a direct attempt returned `result` (with errno). Returns what
 * the call is to return.
 */
ssize_t transfer_out(const struct transfer *transfer, const struct iovec *parts, int count,
		     ssize_t result);

#endif
