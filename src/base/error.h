/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text beside an error number. Whoever decides that a call fails says why, once, with
 * error_set(); whoever reports the failure to a person (dsm_error(), the command, the end of the
 * process) reads it with error_text(). One text a thread; a later one replaces it.
 */
#ifndef PERGOLA_BASE_ERROR_H
#define PERGOLA_BASE_ERROR_H

/*
 * Records the sentence and returns `error` (a negative errno value), so that the place that decides
 * reads: return error_set(-ENOSPC, "...", ...).
 */
__attribute__((format(printf, 2, 3))) int error_set(int error, const char *format, ...);

/* Puts words before the text recorded already ("dsm_open: " ...). Returns `error`. */
__attribute__((format(printf, 2, 3))) int error_prefix(int error, const char *format, ...);

/* This thread's text; "" when there is none. */
const char *error_text(void);

void error_clear(void);

#ifdef __clang_analyzer__
/* The analyser follows paths on which errno is 0 after a call that failed: there are none. */
static inline int error_negative(int error)
{
	if (error >= 0)
		__builtin_unreachable();
	return error;
}
#define error_set(error, ...) error_negative(error_set(error, __VA_ARGS__))
#endif

#endif
