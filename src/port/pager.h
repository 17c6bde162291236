/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of memory protection. A pager owns this node's frames, one per page of the shared
 * space, allocated on first use, and two views of them: the application view, at the shared
 * addresses, in which a page is invalid, read-only or writable and in which faults are caught; and
 * the runtime view, always accessible, in which the fabric reads and writes frames. Nobody but
 * application threads touches the application view.
 *
 * Rules
 *   - The caller serialises all calls but fd(). Calls on one page take effect in call order.
 *   - When a call returns, no thread of this process can still use the page in the old way
 *     (translations are gone on every CPU). After map, upgrade, poison and wake, threads that
 *     waited on these pages run again; those that were given too little fault again.
 *   - Pages that are in no region: map, upgrade and poison return -EINVAL and do nothing; for
 *     downgrade, invalidate and wake there is nothing to do, and they return 0.
 *   - Errors are negative errno values, with the reason and the remedy in base/error.h.
 */
#ifndef PERGOLA_PORT_PAGER_H
#define PERGOLA_PORT_PAGER_H

#include "base/id.h"

#include <stddef.h>
#include <stdint.h>

struct pager;

enum pager_delivery {
	/* poll() has the fault. Its thread waits for the page, also inside a system call. */
	PAGER_DELIVER_QUEUE = 0,

	/*
	 * The faulting thread gets SIGBUS with si_code BUS_ADRERR and the address; its handler has
	 * the page mapped and returns, and the access is made again. poll() never has anything. A
	 * system call that needs the page fails with EFAULT.
	 */
	PAGER_DELIVER_SIGNAL,
};

struct pager_config {
	uint64_t page_limit; /* pages of the whole shared space; frames are sparse */
	enum pager_delivery delivery;
};

enum pager_mode {
	PAGER_READ = 1,
	PAGER_WRITE = 2,
};

struct pager_fault {
	struct page_id page;
	bool write; /* by a store (also: one to a page mapped for reading) */
};

/* The runtime view: page p stands at base + p * PAGE_BYTES and in `fd` at the same offset. */
struct pager_frames {
	unsigned char *base;
	int fd;
	uint64_t page_count;
};

struct pager_ops {
	const char *name;

	/*
	 * -ENOSYS, -EPERM, -EACCES: a kernel feature, sysctl, device or seccomp rule is missing
	 * (the log names it and what mends it). -ENOMEM.
	 */
	int (*open)(const struct pager_config *config, struct pager **out);

	/* Unmaps every region. No thread may touch shared memory any more. */
	void (*close)(struct pager *pager);

	struct pager_frames (*frames)(struct pager *pager);

	/*
	 * Finds `bytes` of free addresses in this process, page-aligned; attempt 0, 1, 2, ... gives
	 * other proposals. Maps nothing. -ENOMEM when there is none.
	 */
	int (*address_propose)(struct pager *pager, size_t bytes, unsigned int attempt,
			       void **addr);

	/*
	 * Shows pages [first, first + page_count) at `addr`, all invalid. Never replaces a mapping:
	 * -EEXIST when anything stands there (the error text says what). -EINVAL, -ENOMEM;
	 * -ENOSPC: a backend's limit of regions, at least 64.
	 */
	int (*region_add)(struct pager *pager, void *addr, struct page_id first,
			  uint64_t page_count);
	void (*region_remove)(struct pager *pager, struct page_id first);

	/*
	 * Makes pages visible with what is in their frames. Also right for a page that is
	 * already visible (its mode becomes `mode`). -ENOMEM: no memory for a frame.
	 */
	int (*map)(struct pager *pager, struct page_id page, uint64_t page_count,
		   enum pager_mode mode);

	/* Read-only pages become writable; writable pages become read-only. */
	int (*upgrade)(struct pager *pager, struct page_id page, uint64_t page_count);
	int (*downgrade)(struct pager *pager, struct page_id page, uint64_t page_count);

	/* Pages become invalid; frames keep their bytes. */
	int (*invalidate)(struct pager *pager, struct page_id page, uint64_t page_count);

	/*
	 * Pages become invalid, and their frames are given back: they read as zeros when they are
	 * next used. Nobody may be using them, by whatever way. -ENOMEM, -EPERM.
	 */
	int (*release)(struct pager *pager, struct page_id page, uint64_t page_count);

	/* Lets threads that wait on these pages try again, and changes nothing. */
	int (*wake)(struct pager *pager, struct page_id page, uint64_t page_count);

	/*
	 * Accesses to these pages raise SIGBUS from now on, whatever they were before. -ENOSYS:
	 * this kernel cannot (the pages are invalid then). A later map or invalidate may lift it.
	 * (What the signal says of itself is not always more than for a page that is missing.)
	 */
	int (*poison)(struct pager *pager, struct page_id page, uint64_t page_count);

	/*
	 * Takes up to `fault_count` faults; returns how many, or a negative errno value. Never
	 * blocks. The faulting threads wait until their page is mapped, poisoned or woken. A fault
	 * may be stale (its page has been mapped since), and a page that was mapped may fault
	 * anew although nobody invalidated it (the kernel had its frame swapped out). Both are
	 * answered by map() with the mode the page is held in, not by wake(): the second would
	 * only fault again.
	 */
	int (*poll)(struct pager *pager, struct pager_fault *faults, int fault_count);

	/* Readable when poll() has something. */
	int (*fd)(struct pager *pager);

	/* Frames allocated so far, in pages. */
	uint64_t (*resident)(struct pager *pager);
};

#endif
