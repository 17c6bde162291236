/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead. Faults for reading that come at equal distances are a stream; once one is seen, its
 * next pages are asked for before the program comes to them (EV_PREFETCH with `guess`: nobody stops
 * writing for it). Pure arithmetic on page numbers, in the caller's memory; ahead.c in front of it
 * knows the node.
 *
 * Pages that came ahead are mapped and fault no more, so something must tell how far the program
 * has come: the first page of each window is fetched but not shown, until its fault (the trigger)
 * asks for the next window. So a window is under way while the one before it is read.
 *
 * A window doubles each time that its trigger is reached, up to a limit. It is halved when a page
 * in it is missing all the same (it was being written, or was taken again). How large a stream
 * begins, and how many equal steps make one, depends on how those before have ended: `credit`.
 */
#ifndef PERGOLA_NODE_READAHEAD_H
#define PERGOLA_NODE_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 16u

/* Page numbers fit, and differences do. */
struct readahead_stream {
	int64_t last;	 /* the latest fault that belongs to it */
	int64_t stride;	 /* pages from one fault to the next */
	int64_t front;	 /* the first page that was not asked for; with a window */
	int64_t trigger; /* -1: none */
	uint32_t window; /* pages asked for at a time; 0: only watched */
	uint32_t streak; /* equal steps in a row */
	uint64_t used;	 /* when it was last matched, in faults; 0: free */
};

/*
 * What to ask for: `count` pages, `stride` apart, from `first` on. The first is the stream's
 * trigger; who knows that a thread waits for it, or that it is here, chooses another one.
 */
struct readahead_plan {
	struct readahead_stream *stream;
	int64_t first;
	int64_t stride;
	uint32_t count;
};

struct readahead {
	uint32_t window_max; /* pages; 0: off */
	uint32_t credit;
	uint64_t faults;
	struct readahead_stream streams[READAHEAD_STREAMS];
};

/* Where a stream may go: pages [first, end) are of the same region. */
struct readahead_bounds {
	int64_t first;
	int64_t end;
	bool sequential; /* the program has said that it reads here in order */
};

void readahead_init(struct readahead *ahead, uint32_t window_max);

/*
 * A thread has faulted on `page` for reading; `coming`: it was asked for before, or is here. What
 * is to be asked for now; count 0: nothing.
 */
struct readahead_plan readahead_fault(struct readahead *ahead, int64_t page, bool coming,
				      const struct readahead_bounds *bounds);

/* The first trigger in [first, end); -1: there is none. */
int64_t readahead_trigger(const struct readahead *ahead, int64_t first, int64_t end);

/* The page is a trigger no more. */
void readahead_forget(struct readahead *ahead, int64_t page);

#endif
