/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts. Apart from app.c so that the parsers can be tested without the library. */
#include "app.h"

#include <stdarg.h>
#include <stdio.h>

int app_error_set(struct app_error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return APP_BAD_INPUT;
}
