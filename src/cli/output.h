/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranks' output with --label: each rank writes into pipes, whole lines come out of here behind
 * "[rank] ", never mixed. Without --label the ranks have the launcher's own output and nothing
 * passes here but the launcher's messages.
 *
 * Nothing here blocks until output_finish(): a pipe or terminal that takes no more (poll(2) says
 * when it does) fills a bounded queue, and when that is full the ranks are no longer read and wait
 * in their own write(2), as they would without --label.
 */
#ifndef PERGOLA_CLI_OUTPUT_H
#define PERGOLA_CLI_OUTPUT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_STREAMS_PER_RANK 2

/* Bytes with a place to read from. */
struct output_queue {
	char *data;
	size_t start;
	size_t bytes;
	size_t capacity;
};

/* Where lines go: standard output, standard error, or both in one when they are the same. */
struct output_sink {
	int fd;
	bool broken; /* nobody reads it any more: what is for it is dropped */
	struct output_queue queue;
};

/* Where they come from. */
struct output_stream {
	int fd; /* -1: closed */
	unsigned int rank;
	struct output_sink *sink;
	struct output_queue line; /* begun and not ended */
};

struct output {
	bool label;
	struct output_sink sinks[2];
	int sink_count;
	struct output_stream *streams;
	size_t stream_count;
};

/* -ENOMEM. */
int output_init(struct output *output, bool label, unsigned int rank_count);
void output_fini(struct output *output);

/* Makes the pipes of a rank; write_ends are the caller's to hand on and close. -errno. */
int output_open_rank(struct output *output, unsigned int rank,
		     int write_ends[OUTPUT_STREAMS_PER_RANK]);

/* How many slots output_prepare() fills at most. */
size_t output_slots(const struct output *output);

/* Fills slots for poll(2), and takes them back after it. */
size_t output_prepare(struct output *output, struct pollfd *slots);
void output_handle(struct output *output, const struct pollfd *slots);

/* A line of the launcher's own: "pergola: ...". In order with the ranks' lines. */
__attribute__((format(printf, 2, 3))) void output_say(struct output *output, const char *format,
						      ...);

/*
 * When all ranks have ended: takes what is left in the pipes, ends begun lines, writes everything.
 * Waits for a reader of the launcher's output at most `limit_ms` without progress.
 */
void output_finish(struct output *output, int limit_ms);

#endif
