/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of the application view: where one is likely to be free in every process of the job,
 * and what stands where one is not. Maps nothing that stays.
 */
#ifndef PERGOLA_PAGER_ADDRESS_H
#define PERGOLA_PAGER_ADDRESS_H

#include <stddef.h>

/* Proposals start on this boundary. */
#define ADDRESS_ALIGN ((size_t)2 << 20)

/* `bytes` > 0, page-aligned. -ENOMEM, with the text set: no hole is large enough. */
int address_propose(size_t bytes, unsigned int attempt, void **addr);

/*
 * Writes which mapping of this process (from /proc/self/maps) overlaps [addr, addr + bytes):
 * "7f..-7f.. r-xp ... /usr/lib/..."; "an unknown mapping" when none can be named.
 */
void address_describe(const void *addr, size_t bytes, char *text, size_t text_bytes);

#endif
