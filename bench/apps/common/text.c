/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts and numbers. Apart from app.c: the parsers are tested without the library. */
#include "app.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int app_error_set(struct app_error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return APP_BAD_INPUT;
}

bool app_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end = NULL;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || value < min || value > max)
		return false;
	*out = value;
	return true;
}

bool app_parse_double(const char *text, double *out)
{
	char *end = NULL;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(value))
		return false;
	*out = value;
	return true;
}
