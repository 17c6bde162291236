/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under a page fault on this machine: userfaultfd alone, one process, no protocol and no
 * network. A handler thread sleeps in poll(2), reads the fault and answers it with one ioctl; or
 * the faulting thread does, in its handler of SIGBUS.
 */
#ifndef PERGOLA_BENCH_FLOOR_H
#define PERGOLA_BENCH_FLOOR_H

#include <cstddef>
#include <string>
#include <vector>

namespace bench
{

struct FloorSamples {
	std::vector<double> read_us;	/* minor fault by a load, answered by CONTINUE */
	std::vector<double> upgrade_us; /* store to a write-protected page, WRITEPROTECT */
	std::vector<double> copy_us;	/* 4 KiB from one buffer to another, both warm */
	std::string error;		/* not empty: this machine does not allow it */
};

/* Frames in a memfd, and a view of them in which each page first faults (minor faults). */
struct Area {
	int uffd = -1;
	int memfd = -1;
	size_t bytes = 0;
	char *view = nullptr;
};

/*
 * Returns "" or what this machine does not allow; close it in both cases. `signals`: a fault raises
 * SIGBUS in its thread, else the descriptor tells of it.
 */
std::string open_area(Area &area, size_t page_count, bool signals = false);
void close_area(Area &area);

/* `one_core`: the handler runs on the core of the faulting thread, else where it is put. */
FloorSamples measure_floor(size_t page_count, bool one_core);

/* The faulting thread answers for itself. */
FloorSamples measure_inline_floor(size_t page_count);

} // namespace bench

#endif
