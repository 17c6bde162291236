/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef error_set /* the analyser's */

#define ERROR_TEXT_BYTES 1024

static _Thread_local char text[ERROR_TEXT_BYTES];

int error_set(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error;
}

int error_prefix(int error, const char *format, ...)
{
	char old[ERROR_TEXT_BYTES];
	va_list arguments;

	memcpy(old, text, sizeof(old));
	va_start(arguments, format);
	int used = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (used >= 0 && (size_t)used < sizeof(text))
		snprintf(text + used, sizeof(text) - (size_t)used, "%s", old);
	return error;
}

const char *error_text(void)
{
	return text;
}

void error_clear(void)
{
	text[0] = '\0';
}
