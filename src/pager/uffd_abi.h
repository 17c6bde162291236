/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's userfaultfd interface has and an older distribution's header lacks. Each part
 * is defined only where <linux/userfaultfd.h> stops short of it; the numbers are the kernel's ABI.
 * That a name is defined here says nothing of the running kernel: probe.c asks it.
 */
#ifndef PERGOLA_PAGER_UFFD_ABI_H
#define PERGOLA_PAGER_UFFD_ABI_H

#include <linux/userfaultfd.h>

#ifndef USERFAULTFD_IOC_NEW /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#ifndef UFFD_USER_MODE_ONLY /* Linux 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif

#ifndef UFFDIO_CONTINUE_MODE_WP /* Linux 6.4 */
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

#ifndef UFFD_FEATURE_POISON /* Linux 6.6 */
#define UFFD_FEATURE_POISON (1 << 14)
#endif

#ifndef UFFDIO_POISON /* Linux 6.6 */
#define _UFFDIO_POISON (0x08)
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, _UFFDIO_POISON, struct uffdio_poison)
#endif

#endif
