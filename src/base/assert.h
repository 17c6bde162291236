/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assertions: on in every build. For bugs only, never for what comes from a user, a file or the
 * network. A failed one prints the place and ends the process.
 */
#ifndef PERGOLA_BASE_ASSERT_H
#define PERGOLA_BASE_ASSERT_H

#define ASSERT(condition)                                                                          \
	((condition) ? (void)0 : assert_fail(#condition, __FILE__, __LINE__, __func__))

__attribute__((noreturn, cold)) void assert_fail(const char *condition, const char *file, int line,
						 const char *function);

#endif
