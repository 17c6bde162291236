/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that are not what the file says, as memory that is not coherent would have carried them
 * out: for the tests of the tests. What they then permit should be more than the file permits.
 */
#ifndef PERGOLA_TESTS_LITMUS_ALTER_H
#define PERGOLA_TESTS_LITMUS_ALTER_H

#include "litmus.h"

/*
 * Exchanges step `number` of the thread and the next one. false: one of them is no load, store or
 * update, the second needs what the first has read, or a branch goes in between.
 */
bool alter_exchange(struct litmus_test *test, unsigned int thread, unsigned int number);

/* Exchanges the first two steps of the thread that can be. false: there are none. */
bool alter_exchange_first(struct litmus_test *test, unsigned int thread);

/*
 * Makes every update, and compare and exchange, a load and a store that others may come between.
 * false: there is none, or no room.
 */
bool alter_tear(struct litmus_test *test);

/* Makes every load find `value`, whatever is there. false: there is none, or no room. */
bool alter_invent(struct litmus_test *test, uint32_t value);

#endif
