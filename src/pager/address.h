/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of the application view: where one is likely to be free in every process of the job,
 * and what stands where one is not. Maps nothing that stays.
 */
#ifndef PERGOLA_PAGER_ADDRESS_H
#define PERGOLA_PAGER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Proposals start on this boundary. */
#define ADDRESS_ALIGN ((size_t)2 << 20)

/* `bytes` > 0, page-aligned. -ENOMEM, with the text set: no hole is large enough. */
int address_propose(size_t bytes, unsigned int attempt, void **addr);

/*
 * The arithmetic of it: candidate `n` in an address space in which the kernel gave the hole that
 * starts at `hole`; 0 when none fits. With near_top (ThreadSanitizer) not far below the hole.
 */
uintptr_t address_candidate(uintptr_t hole, size_t bytes, unsigned int n, bool near_top);

/*
 * Writes which mapping of this process (from /proc/self/maps) overlaps [addr, addr + bytes):
 * "7f..-7f.. r-xp ... /usr/lib/..."; "an unknown mapping" when none can be named.
 */
void address_describe(const void *addr, size_t bytes, char *text, size_t text_bytes);

#endif
