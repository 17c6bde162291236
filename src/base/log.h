/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for a person, on standard error, for what happens outside any call of theirs (a stranger
 * refused, a node lost). A failing call uses base/error.h instead. Each line is one write(2).
 * The level and the prefix are the process's one setting here, set once before threads start.
 */
#ifndef PERGOLA_BASE_LOG_H
#define PERGOLA_BASE_LOG_H

enum log_level {
	LOG_ERROR = 0,
	LOG_WARNING,
	LOG_INFO,
	LOG_DEBUG,
};

/* `rank` < 0: no rank in the prefix. */
void log_setup(enum log_level level, int rank);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#endif
