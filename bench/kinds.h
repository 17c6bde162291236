/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of page faults that are measured on node 0: what the nodes do before, and what then. */
#ifndef PERGOLA_BENCH_KINDS_H
#define PERGOLA_BENCH_KINDS_H

#include "job.h"

#include <pergola/dsm.h>

namespace bench
{

/* How a batch of pages is prepared, and what is timed. */
struct Kind {
	const char *name;
	int home;
	std::vector<Step> by_peer; /* what node 1 does with the batch first */
	int by_others;		   /* then so many nodes from 2 on read it */
	bool read_here;		   /* then node 0 reads it */
	bool write;		   /* timed: a store, else a load */
};

/* Those that a job of so many nodes can have. */
std::vector<Kind> kinds_for(int nodes);

/* Brings a batch into its state, a new one or `again`; on node 0, which the others obey. */
char *prepare(const Kind &kind, uint64_t page_count, char *again = nullptr);

/* One access. */
inline void touch(char *page, bool write)
{
	volatile char *byte = page;

	if (write)
		*byte = 1;
	else
		(void)*byte;
}

} // namespace bench

#endif
