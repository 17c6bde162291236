/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's own functions: the next ones of their names. Written once, then only read. */
#include "calls/calls.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct calls_real found;
static _Atomic int ready;

/* As early as may be: dlsym() is not for signal handlers. Twice at a time does no harm. */
__attribute__((constructor)) static void find_all(void)
{
	void *symbol;

#define CALLS_FIND(name)                                                                           \
	symbol = dlsym(RTLD_NEXT, #name);                                                          \
	if (symbol == NULL)                                                                        \
		abort();                                                                           \
	memcpy(&found.name, &symbol, sizeof(symbol));
	CALLS_ALL(CALLS_FIND)
#undef CALLS_FIND
	/* Release: partner of the acquire in calls_real(). */
	atomic_store_explicit(&ready, 1, memory_order_release);
}

const struct calls_real *calls_real(void)
{
	if (atomic_load_explicit(&ready, memory_order_acquire) == 0)
		find_all();
	return &found;
}
