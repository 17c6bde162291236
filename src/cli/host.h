/* SPDX-License-Identifier: Apache-2.0 */
/* What this host has and allows, read from /proc, /sys and the process's own limits. */
#ifndef PERGOLA_CLI_HOST_H
#define PERGOLA_CLI_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_UNLIMITED UINT64_MAX

/*
 * The first line of a small file, without its end. 0, or -errno with `text` empty.
 */
int host_read_line(const char *path, char *text, size_t text_bytes);

/* Processors this process may run on. */
unsigned int host_cores(void);

/* Bytes that can still be had: free or reclaimable on the host. HOST_UNLIMITED: not known. */
uint64_t host_memory_available(void);

/* Bytes left under the memory limit of this process's control group, or HOST_UNLIMITED. */
uint64_t host_cgroup_memory_left(void);

/*
 * Bytes that this process may lock, by its limit, or HOST_UNLIMITED. `exempt`: the kernel does not
 * hold it to the limit (CAP_IPC_LOCK).
 */
uint64_t host_locked_limit(bool *exempt);

/* "12.3 GiB". Returns `text`. */
const char *host_format_bytes(uint64_t bytes, char *text, size_t text_bytes);

#endif
