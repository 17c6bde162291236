/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES 65536

/* A sink with more than this waiting takes no more from the ranks. */
#define BACKLOG_BYTES (1u << 20)

/* A line longer than this is cut. */
#define LINE_BYTES_MAX (1u << 20)

/* ---- queues -------------------------------------------------------------------------------- */

static bool queue_append(struct output_queue *queue, const char *data, size_t bytes)
{
	if (queue->start > 0 && queue->start + queue->bytes + bytes > queue->capacity) {
		memmove(queue->data, queue->data + queue->start, queue->bytes);
		queue->start = 0;
	}
	if (queue->bytes + bytes > queue->capacity) {
		size_t capacity = queue->capacity * 2 + bytes;
		char *grown = realloc(queue->data, capacity);

		if (grown == NULL)
			return false;
		queue->data = grown;
		queue->capacity = capacity;
	}
	memcpy(queue->data + queue->start + queue->bytes, data, bytes);
	queue->bytes += bytes;
	return true;
}

static void queue_consume(struct output_queue *queue, size_t bytes)
{
	ASSERT(bytes <= queue->bytes);
	queue->bytes -= bytes;
	queue->start = queue->bytes == 0 ? 0 : queue->start + bytes;
}

/* ---- sinks --------------------------------------------------------------------------------- */

static void sink_put(struct output_sink *sink, const char *data, size_t bytes)
{
	if (!sink->broken && !queue_append(&sink->queue, data, bytes))
		sink->broken = true; /* no memory: better to lose output than the job */
}

/*
 * Writes at most PIPE_BUF bytes, which is what a pipe that poll(2) calls writable takes without
 * blocking. (O_NONBLOCK would change the terminal or pipe for everybody who shares it.)
 */
static void sink_write(struct output_sink *sink)
{
	size_t bytes = sink->queue.bytes < PIPE_BUF ? sink->queue.bytes : PIPE_BUF;
	ssize_t written = write(sink->fd, sink->queue.data + sink->queue.start, bytes);

	if (written >= 0)
		queue_consume(&sink->queue, (size_t)written);
	else if (errno != EINTR && errno != EAGAIN)
		sink->broken = true;
	if (sink->broken)
		queue_consume(&sink->queue, sink->queue.bytes);
}

static bool same_file(int a, int b)
{
	struct stat first;
	struct stat second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

static struct output_sink *sink_of(struct output *output, int fd)
{
	return fd == STDERR_FILENO ? &output->sinks[output->sink_count - 1] : &output->sinks[0];
}

/* ---- streams ------------------------------------------------------------------------------- */

static void stream_end_line(struct output_stream *stream)
{
	char label[16];
	int bytes = snprintf(label, sizeof(label), "[%u] ", stream->rank);

	sink_put(stream->sink, label, (size_t)bytes);
	sink_put(stream->sink, stream->line.data + stream->line.start, stream->line.bytes);
	sink_put(stream->sink, "\n", 1);
	queue_consume(&stream->line, stream->line.bytes);
}

static void stream_take(struct output_stream *stream, const char *data, size_t bytes)
{
	while (bytes > 0) {
		const char *end = memchr(data, '\n', bytes);
		size_t part = end == NULL ? bytes : (size_t)(end - data);

		if (!queue_append(&stream->line, data, part))
			queue_consume(&stream->line, stream->line.bytes);
		if (end != NULL || stream->line.bytes >= LINE_BYTES_MAX)
			stream_end_line(stream);
		if (end != NULL)
			part++;
		data += part;
		bytes -= part;
	}
}

static void stream_close(struct output_stream *stream)
{
	if (stream->line.bytes > 0)
		stream_end_line(stream);
	close(stream->fd);
	stream->fd = -1;
}

/* Reads once. False: there is nothing more now, or ever. */
static bool stream_read(struct output_stream *stream)
{
	static char bytes[READ_BYTES];
	ssize_t got = read(stream->fd, bytes, sizeof(bytes));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		stream_close(stream);
		return false;
	}
	stream_take(stream, bytes, (size_t)got);
	return true;
}

/* ---- the whole ----------------------------------------------------------------------------- */

int output_init(struct output *output, bool label, unsigned int rank_count)
{
	*output = (struct output){
		.label = label,
		.sinks = { { .fd = STDOUT_FILENO }, { .fd = STDERR_FILENO } },
		.sink_count = same_file(STDOUT_FILENO, STDERR_FILENO) ? 1 : 2,
	};
	if (!label)
		return 0;
	output->stream_count = (size_t)rank_count * OUTPUT_STREAMS_PER_RANK;
	output->streams = calloc(output->stream_count, sizeof(*output->streams));
	if (output->streams == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < output->stream_count; i++)
		output->streams[i].fd = -1;
	return 0;
}

void output_fini(struct output *output)
{
	for (size_t i = 0; i < output->stream_count; i++) {
		if (output->streams[i].fd >= 0)
			close(output->streams[i].fd);
		free(output->streams[i].line.data);
	}
	free(output->streams);
	for (int i = 0; i < 2; i++)
		free(output->sinks[i].queue.data);
}

static int open_stream(struct output *output, unsigned int rank, int target, int *write_end)
{
	struct output_stream *stream =
		&output->streams[rank * OUTPUT_STREAMS_PER_RANK + (target == STDERR_FILENO)];
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
		int error = -errno;

		close(ends[0]);
		close(ends[1]);
		return error;
	}
	*stream = (struct output_stream){
		.fd = ends[0],
		.rank = rank,
		.sink = sink_of(output, target),
	};
	*write_end = ends[1];
	return 0;
}

int output_open_rank(struct output *output, unsigned int rank,
		     int write_ends[OUTPUT_STREAMS_PER_RANK])
{
	int error = open_stream(output, rank, STDOUT_FILENO, &write_ends[0]);

	if (error != 0)
		return error;
	error = open_stream(output, rank, STDERR_FILENO, &write_ends[1]);
	if (error != 0)
		close(write_ends[0]);
	return error;
}

size_t output_slots(const struct output *output)
{
	return output->stream_count + (size_t)output->sink_count;
}

size_t output_prepare(struct output *output, struct pollfd *slots)
{
	size_t count = 0;

	for (int i = 0; i < output->sink_count; i++) {
		bool waiting = output->sinks[i].queue.bytes > 0;

		slots[count++] = (struct pollfd){
			.fd = waiting ? output->sinks[i].fd : -1,
			.events = POLLOUT,
		};
	}
	for (size_t i = 0; i < output->stream_count; i++) {
		const struct output_stream *stream = &output->streams[i];
		bool room = stream->fd < 0 || stream->sink->queue.bytes < BACKLOG_BYTES;

		slots[count++] = (struct pollfd){
			.fd = room ? stream->fd : -1,
			.events = POLLIN,
		};
	}
	return count;
}

void output_handle(struct output *output, const struct pollfd *slots)
{
	for (int i = 0; i < output->sink_count; i++) {
		if (slots[i].revents != 0)
			sink_write(&output->sinks[i]);
	}
	slots += output->sink_count;
	for (size_t i = 0; i < output->stream_count; i++) {
		struct output_stream *stream = &output->streams[i];

		if (slots[i].revents == 0)
			continue;
		if (stream->sink->broken)
			stream_close(stream); /* the rank learns it as it would have: SIGPIPE */
		else
			stream_read(stream);
	}
}

void output_say(struct output *output, const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int used = snprintf(line, sizeof(line), "pergola: ");

	va_start(arguments, format);
	int more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, arguments);
	va_end(arguments);
	size_t bytes = strnlen(line, sizeof(line) - 2);
	ASSERT(more >= 0);
	line[bytes++] = '\n';
	struct output_sink *sink = sink_of(output, STDERR_FILENO);
	if (output->label)
		sink_put(sink, line, bytes);
	else if (write(STDERR_FILENO, line, bytes) < 0)
		sink->broken = true;
}

static void flush_sink(struct output_sink *sink, int limit_ms)
{
	while (sink->queue.bytes > 0) {
		struct pollfd slot = { .fd = sink->fd, .events = POLLOUT };
		int ready = poll(&slot, 1, limit_ms);

		if (ready == 0 || (ready < 0 && errno != EINTR))
			return;
		if (ready > 0)
			sink_write(sink);
	}
}

void output_finish(struct output *output, int limit_ms)
{
	for (size_t i = 0; i < output->stream_count; i++) {
		struct output_stream *stream = &output->streams[i];

		/* At most what a pipe holds: a writer that is still there cannot keep us. */
		for (int reads = 0; stream->fd >= 0 && reads < 16 && stream_read(stream); reads++)
			;
		if (stream->fd >= 0)
			stream_close(stream);
	}
	for (int i = 0; i < output->sink_count; i++)
		flush_sink(&output->sinks[i], limit_ms);
}
