/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for tables as large as the shared space may become, of which most is never used: reserved
 * in address space only, and zero wherever it is first touched.
 */
#include "base/error.h"
#include "node/node.h"

#include <errno.h>
#include <sys/mman.h>

void *table_open(size_t bytes)
{
	void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (table != MAP_FAILED)
		return table;
	error_set(-ENOMEM,
		  "no %zu bytes of address space for the tables of PERGOLA_SPACE "
		  "(mend: sysctl vm.overcommit_memory=0, ulimit -v unlimited, or a smaller "
		  "PERGOLA_SPACE)",
		  bytes);
	return NULL;
}

void table_close(void *table, size_t bytes)
{
	if (table != NULL)
		munmap(table, bytes);
}
