/* SPDX-License-Identifier: Apache-2.0 */
/* What a polling loop does between two looks: the processor's other thread gets the core's units.
 */
#ifndef PERGOLA_NODE_RELAX_H
#define PERGOLA_NODE_RELAX_H

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
