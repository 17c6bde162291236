/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses to shared words as the test has them. */
#ifndef PERGOLA_TESTS_LITMUS_COHERENT_H
#define PERGOLA_TESTS_LITMUS_COHERENT_H

#include "litmus.h"

/*
 * One access, as one instruction (or what the compiler makes of an atomic operation) on the word
 * itself. Returns what it found.
 *
 * Every access is sequentially consistent, whatever the file says: volatile, relaxed, release. What
 * is tested is the shared memory, and the processor would mix in outcomes of its own: an x86 lets a
 * load pass an earlier store to another word, so that SB fails on one machine without any shared
 * memory at all. A sequentially consistent store is an exchange there, which waits until the store
 * is done; arm64 has instructions that keep to each other's order. The compiler keeps to the order
 * for the same reason. Fences in the file then have nothing left to do.
 */
uint32_t coherent_access(uint32_t *word, const struct litmus_access *access);

/* The same with plain loads and stores: the processor's own order shows. Updates stay atomic. */
uint32_t coherent_access_relaxed(uint32_t *word, const struct litmus_access *access);

#endif
