/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings a pager is made of, each with the same care: nothing is populated (not even under
 * mlockall(MCL_FUTURE)), no huge pages, not in a child, not in a core file.
 */
#ifndef PERGOLA_PAGER_MEMORY_H
#define PERGOLA_PAGER_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* A sparse memory file of `bytes`, whose size nobody can change any more. Or -errno. */
int memory_file(uint64_t bytes);

/*
 * Maps [offset, offset + bytes) of `fd`, not accessible yet: at `*addr` where that is not NULL and
 * free (-EEXIST when it is not), else anywhere, which is put into *addr.
 */
int memory_reserve(int fd, uint64_t offset, size_t bytes, void **addr);

/* Makes a reserved mapping readable and writable. */
int memory_open(void *addr, size_t bytes);

/* Takes the pages of a mapping out of the page tables, also of one locked by mlock(2). */
int memory_zap(void *addr, size_t bytes);

/* Gives the frames of a part of the file back; it reads as zeros. */
int memory_punch(int fd, uint64_t offset, uint64_t bytes);

/* Allocates the frames behind a mapping. -ENOMEM and others. */
int memory_populate(void *addr, size_t bytes);

#endif
