/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LOG_LINE_BYTES 1200

static enum log_level log_limit = LOG_WARNING;
static int log_rank = -1;

void log_setup(enum log_level level, int rank)
{
	log_limit = level;
	log_rank = rank;
}

static size_t clamp_length(int length, size_t limit)
{
	if (length < 0)
		return 0;
	return (size_t)length < limit ? (size_t)length : limit - 1;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const char *const names[] = { "error: ", "warning: ", "", "debug: " };
	char line[LOG_LINE_BYTES];
	va_list arguments;
	size_t used;

	if (level > log_limit)
		return;
	if (log_rank >= 0)
		used = clamp_length(
			snprintf(line, sizeof(line), "pergola[%d]: %s", log_rank, names[level]),
			sizeof(line));
	else
		used = clamp_length(snprintf(line, sizeof(line), "pergola: %s", names[level]),
				    sizeof(line));
	va_start(arguments, format);
	used += clamp_length(vsnprintf(line + used, sizeof(line) - used - 1, format, arguments),
			     sizeof(line) - used - 1);
	va_end(arguments);
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* nowhere left to say it */
}
