/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *condition, const char *file, int line, const char *function)
{
	fprintf(stderr, "pergola: bug: %s:%d: %s: \"%s\" does not hold\n", file, line, function,
		condition);
	abort();
}
