/* SPDX-License-Identifier: Apache-2.0 */
#include "node/readahead.h"

#include <stddef.h>

/* Faults so far apart may be of one stream. */
#define NEAR_PAGES 64

/* Pages apart, each is a message of its own: not too many at a time. */
#define STRIDED_MAX 32u

#define CREDIT_MAX 16u
#define CREDIT_START 6u
#define CREDIT_LOST 2u /* by a stream that ended before its trigger was reached */

void readahead_init(struct readahead *ahead, uint32_t window_max)
{
	*ahead = (struct readahead){ .window_max = window_max, .credit = CREDIT_START };
	for (unsigned int i = 0; i < READAHEAD_STREAMS; i++)
		ahead->streams[i].trigger = -1;
}

static int64_t distance(int64_t a, int64_t b)
{
	return a > b ? a - b : b - a;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool adjacent(const struct readahead_stream *stream)
{
	return stream->stride == 1 || stream->stride == -1;
}

static uint32_t window_limit(const struct readahead *ahead, const struct readahead_stream *stream)
{
	return adjacent(stream) ? ahead->window_max : least(ahead->window_max, STRIDED_MAX);
}

/* ---- which stream ---- */

/* Is the page between the last one and the front, where this stream would come by? */
static bool inside(const struct readahead_stream *stream, int64_t page)
{
	if (stream->window == 0 || (page - stream->last) % stream->stride != 0)
		return false;
	int64_t steps = (page - stream->last) / stream->stride;

	return steps > 0 && steps <= (stream->front - stream->last) / stream->stride;
}

static struct readahead_stream *find(struct readahead *ahead, int64_t page)
{
	struct readahead_stream *nearest = NULL;

	for (unsigned int i = 0; i < READAHEAD_STREAMS; i++) {
		struct readahead_stream *stream = &ahead->streams[i];

		if (stream->used == 0)
			continue;
		if (inside(stream, page))
			return stream;
		if (distance(page, stream->last) > NEAR_PAGES)
			continue;
		if (nearest == NULL || distance(page, stream->last) < distance(page, nearest->last))
			nearest = stream;
	}
	return nearest;
}

/* The stream is none any more, and its last window was perhaps for nothing. */
static void end(struct readahead *ahead, struct readahead_stream *stream)
{
	if (stream->window != 0)
		ahead->credit -= least(ahead->credit, CREDIT_LOST);
	stream->window = 0;
	stream->trigger = -1;
}

/* The place of the stream that was used longest ago. */
static struct readahead_stream *replace(struct readahead *ahead)
{
	struct readahead_stream *oldest = &ahead->streams[0];

	for (unsigned int i = 1; i < READAHEAD_STREAMS; i++) {
		if (ahead->streams[i].used < oldest->used)
			oldest = &ahead->streams[i];
	}
	end(ahead, oldest);
	return oldest;
}

/* ---- how far ---- */

/* The next window, as far as the bounds allow; its first page is the trigger. */
static struct readahead_plan advance(struct readahead_stream *stream,
				     const struct readahead_bounds *bounds)
{
	struct readahead_plan plan = {
		.stream = stream,
		.first = stream->front,
		.stride = stream->stride,
	};

	while (plan.count < stream->window && stream->front >= bounds->first &&
	       stream->front < bounds->end) {
		stream->front += stream->stride;
		plan.count++;
	}
	stream->trigger = plan.count == 0 ? -1 : plan.first;
	return plan;
}

static struct readahead_plan begin(const struct readahead *ahead, struct readahead_stream *stream,
				   const struct readahead_bounds *bounds)
{
	uint32_t window = bounds->sequential ? ahead->window_max : 2 + 2 * ahead->credit;

	stream->window = least(window, window_limit(ahead, stream));
	stream->front = stream->last + stream->stride;
	return advance(stream, bounds);
}

static struct readahead_plan trigger_reached(struct readahead *ahead,
					     struct readahead_stream *stream,
					     const struct readahead_bounds *bounds)
{
	ahead->credit = least(ahead->credit + 1, CREDIT_MAX);
	stream->window = least(2 * stream->window, window_limit(ahead, stream));
	return advance(stream, bounds);
}

/* The program is as fast as pages come: two windows are under way then, not one. */
static struct readahead_plan waited_for(struct readahead_stream *stream,
					const struct readahead_bounds *bounds)
{
	int64_t steps = (stream->front - stream->last) / stream->stride;

	if (steps > (int64_t)stream->window)
		return (struct readahead_plan){ .count = 0 };
	return advance(stream, bounds);
}

/* A page that was to be asked for, or is the next to be, is missing all the same. */
static struct readahead_plan stumbled(struct readahead_stream *stream,
				      const struct readahead_bounds *bounds, int64_t page)
{
	if (page != stream->front) {
		stream->window = stream->window > 2 ? stream->window / 2 : 1;
		return (struct readahead_plan){ .count = 0 };
	}
	stream->front += stream->stride;
	return advance(stream, bounds);
}

/* A stream that is only watched: is it one? */
static bool confirmed(const struct readahead *ahead, struct readahead_stream *stream, int64_t step,
		      const struct readahead_bounds *bounds)
{
	uint32_t wanted = ahead->credit == 0 ? 4 : 2;

	if (step == 0)
		return false;
	stream->streak = step == stream->stride ? stream->streak + 1 : 1;
	stream->stride = step;
	return stream->streak >= wanted || (bounds->sequential && step == 1);
}

static struct readahead_plan found(struct readahead *ahead, struct readahead_stream *stream,
				   int64_t page, bool coming, const struct readahead_bounds *bounds)
{
	bool within = inside(stream, page);
	int64_t step = page - stream->last;

	stream->used = ahead->faults;
	if (within) {
		stream->last = page;
		if (page == stream->trigger)
			return trigger_reached(ahead, stream, bounds);
		return coming ? waited_for(stream, bounds) : stumbled(stream, bounds, page);
	}
	/* Behind the last fault, or off the line: a thread that looks back does not end it. */
	if (stream->window != 0 && step * stream->stride <= 0)
		return (struct readahead_plan){ .count = 0 };
	end(ahead, stream);
	stream->last = page;
	if (!confirmed(ahead, stream, step, bounds))
		return (struct readahead_plan){ .count = 0 };
	return begin(ahead, stream, bounds);
}

struct readahead_plan readahead_fault(struct readahead *ahead, int64_t page, bool coming,
				      const struct readahead_bounds *bounds)
{
	struct readahead_stream *stream;

	ahead->faults++;
	stream = find(ahead, page);
	if (stream != NULL)
		return found(ahead, stream, page, coming, bounds);
	stream = replace(ahead);
	*stream = (struct readahead_stream){
		.last = page,
		.stride = 1,
		.trigger = -1,
		.used = ahead->faults,
	};
	if (!bounds->sequential)
		return (struct readahead_plan){ .count = 0 };
	return begin(ahead, stream, bounds);
}

int64_t readahead_trigger(const struct readahead *ahead, int64_t first, int64_t end)
{
	int64_t least = -1;

	for (unsigned int i = 0; i < READAHEAD_STREAMS; i++) {
		int64_t trigger = ahead->streams[i].trigger;

		if (trigger >= first && trigger < end && (least < 0 || trigger < least))
			least = trigger;
	}
	return least;
}

void readahead_forget(struct readahead *ahead, int64_t page)
{
	for (unsigned int i = 0; i < READAHEAD_STREAMS; i++) {
		if (ahead->streams[i].trigger == page)
			ahead->streams[i].trigger = -1;
	}
}
