/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory order of each built-in stands in its call: gcc takes one that it cannot see for
 * sequentially consistent.
 */
#include "coherent.h"

#include <stdlib.h>

static uint32_t update(uint32_t *word, const struct litmus_access *access)
{
	switch (access->op) {
	case LITMUS_ADD:
		return __atomic_fetch_add(word, access->operand, __ATOMIC_SEQ_CST);
	case LITMUS_SUBTRACT:
		return __atomic_fetch_sub(word, access->operand, __ATOMIC_SEQ_CST);
	case LITMUS_AND:
		return __atomic_fetch_and(word, access->operand, __ATOMIC_SEQ_CST);
	case LITMUS_OR:
		return __atomic_fetch_or(word, access->operand, __ATOMIC_SEQ_CST);
	case LITMUS_XOR:
		return __atomic_fetch_xor(word, access->operand, __ATOMIC_SEQ_CST);
	case LITMUS_SECOND:
		return __atomic_exchange_n(word, access->operand, __ATOMIC_SEQ_CST);
	case LITMUS_MULTIPLY:
	case LITMUS_EQUAL:
	case LITMUS_NOT_EQUAL:
	case LITMUS_LESS:
	case LITMUS_GREATER:
	case LITMUS_LESS_EQUAL:
	case LITMUS_GREATER_EQUAL:
		break;
	}
	abort(); /* the parser makes no such update */
}

uint32_t coherent_access(uint32_t *word, const struct litmus_access *access)
{
	uint32_t seen = access->expected;

	switch (access->kind) {
	case LITMUS_LOAD:
		return __atomic_load_n(word, __ATOMIC_SEQ_CST);
	case LITMUS_STORE:
		__atomic_store_n(word, access->operand, __ATOMIC_SEQ_CST);
		return 0;
	case LITMUS_UPDATE:
		return update(word, access);
	case LITMUS_COMPARE:
		__atomic_compare_exchange_n(word, &seen, access->operand, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
		return seen;
	case LITMUS_SET:
	case LITMUS_UNLESS:
	case LITMUS_JUMP:
		break;
	}
	abort(); /* no access */
}

uint32_t coherent_access_relaxed(uint32_t *word, const struct litmus_access *access)
{
	if (access->kind == LITMUS_LOAD)
		return __atomic_load_n(word, __ATOMIC_RELAXED);
	if (access->kind != LITMUS_STORE)
		return coherent_access(word, access);
	__atomic_store_n(word, access->operand, __ATOMIC_RELAXED);
	return 0;
}
