/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's userfaultfd calls as functions: -errno instead of errno, partial progress and
 * -EAGAIN dealt with here. Addresses are of the application view, page-aligned; lengths in bytes.
 * No function here sets an error text: what a failure means is known to the caller.
 */
#ifndef PERGOLA_PAGER_UFFD_H
#define PERGOLA_PAGER_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UFFD_DEVICE "/dev/userfaultfd"

/* What the pager cannot do without. The includer needs pager/uffd_abi.h. */
#define UFFD_FEATURES_NEEDED                                                                       \
	((uint64_t)(UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |                        \
		    UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM))

/* Who gave the descriptor. */
enum uffd_way {
	UFFD_BY_SYSCALL = 1,
	UFFD_BY_DEVICE,
};

/*
 * Opens a descriptor that also catches faults made inside system calls: by userfaultfd(2), else
 * by the device. Close-on-exec and non-blocking. On failure both errors are in `errors` ([0] the
 * call's, [1] the device's) and the call's is returned.
 */
int uffd_open(int *fd, enum uffd_way *way, int errors[2]);

/*
 * Opens a descriptor for faults made in user mode only, which needs no permission. It serves where
 * faults are delivered as signals.
 */
int uffd_open_user_mode(int *fd);

/*
 * Every feature bit the running kernel has. Takes a descriptor of its own, as each has one
 * handshake; one for faults in user mode will do.
 */
int uffd_features(uint64_t *features);

/* The handshake: turns on `features`, all of which the kernel must have. */
int uffd_enable(int fd, uint64_t features);

/* For missing, minor and write-protect faults; -ENOSYS when the range lacks an ioctl we need. */
int uffd_register(int fd, void *addr, size_t bytes);
int uffd_unregister(int fd, void *addr, size_t bytes);

/*
 * Shows frames in a range without page-table entries and wakes who waits there. *done_bytes says
 * how far it came, also on failure: then the page at addr + *done_bytes gave the error. -EEXIST:
 * that page is mapped already; -EFAULT: it has no frame.
 */
int uffd_continue(int fd, void *addr, size_t bytes, bool write_protected, size_t *done_bytes);

/* Takes away (and never wakes), or gives back (and wakes), the right to store. */
int uffd_write_protect(int fd, void *addr, size_t bytes, bool protect);

int uffd_wake(int fd, void *addr, size_t bytes);

/* In a range without page-table entries. -EINVAL, -ENOTTY: the kernel is too old. */
int uffd_poison(int fd, void *addr, size_t bytes);

#endif
