/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words for a failed allocation of frames: which limit it most likely met. Frames are shared
 * memory; they count against the cgroup, against the commit limit under strict overcommit, and
 * against the machine.
 */
#ifndef PERGOLA_PAGER_LIMITS_H
#define PERGOLA_PAGER_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* One sentence or several, with the figures found and what mends it. */
void limits_describe(char *text, size_t text_bytes);

/* /proc/sys/vm/overcommit_memory: 0, 1, 2, or -1 when it cannot be read. */
int limits_overcommit(void);

/*
 * Frames that can never be had: page_limit pages past RLIMIT_FSIZE (the kernel would kill the
 * process with SIGXFSZ). -EFBIG with the text set, or 0.
 */
int limits_file_size(uint64_t bytes);

#endif
