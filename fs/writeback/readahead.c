/* readahead.c - see readahead.h. A stream begins with a read that belongs to no other, and its
 * second read starts the fetching ahead. What is fetched grows with what was read, up to the
 * window. */
#include "fs/writeback/readahead.h"
#include <stdbool.h>
#include <stddef.h>
#include "common/base/block.h"

/* How far out of order a read may come, in lengths of itself; single blocks only in order, since
 * random reads are mostly these. */
#define SLACK_READS  8u
#define SLACK_MAX    (4u << 20)
#define SMALL_READ   (32u << 10)
#define READS_NEEDED 2u

static uint64_t slack_of(const struct readahead_stream *stream, uint32_t length)
{
	uint64_t slack = (uint64_t)length * SLACK_READS;

	if (length < SMALL_READ || stream->reads < READS_NEEDED)
		return stream->reads < READS_NEEDED && length >= SMALL_READ ? length : 0;
	return slack < SLACK_MAX ? slack : SLACK_MAX;
}

static struct readahead_stream *stream_of(struct readahead *ra, uint64_t offset, uint32_t length)
{
	struct readahead_stream *best = NULL;
	uint64_t best_distance = UINT64_MAX;

	for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
		struct readahead_stream *stream = &ra->streams[i];
		uint64_t distance =
			offset > stream->next ? offset - stream->next : stream->next - offset;

		if (stream->used == 0 || distance > slack_of(stream, length))
			continue;
		if (distance < best_distance) {
			best = stream;
			best_distance = distance;
		}
	}
	return best;
}

static void stream_start(struct readahead *ra, uint64_t offset, uint32_t length)
{
	struct readahead_stream *oldest = &ra->streams[0];

	for (unsigned i = 1; i < READAHEAD_STREAMS; i++)
		if (ra->streams[i].used < oldest->used)
			oldest = &ra->streams[i];
	*oldest = (struct readahead_stream){
		.start = offset,
		.next = offset + length,
		.used = ra->accesses,
		.reads = 1,
	};
}

/* Reads that came out of order at first have begun two streams; they are one when they meet. */
static void join_met(struct readahead *ra, struct readahead_stream *stream)
{
	for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
		struct readahead_stream *other = &ra->streams[i];

		if (other == stream || other->used == 0 || stream->next < other->start ||
		    stream->next > other->next || other->next - stream->next > SLACK_MAX)
			continue;
		if (other->start < stream->start)
			stream->start = other->start;
		stream->next = other->next;
		if (other->ahead > stream->ahead)
			stream->ahead = other->ahead;
		stream->reads += other->reads;
		other->used = 0;
	}
}

static uint64_t round_up(uint64_t value)
{
	return (value + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

/* Where fetching ahead should have come to. */
static uint64_t target_of(const struct readahead_stream *stream, uint64_t end, uint64_t window)
{
	uint64_t want = 2 * (stream->next - stream->start), target;

	if (want > window)
		want = window;
	target = stream->next + want;
	/* From here on whole pieces: fewer and larger requests. */
	if (want >= READAHEAD_PIECE)
		target = target / READAHEAD_PIECE * READAHEAD_PIECE;
	else
		target = round_up(target);
	end = round_up(end);
	return target < end ? target : end;
}

unsigned readahead_access(struct readahead *ra, uint64_t offset, uint32_t length, uint64_t end,
			  uint64_t window, uint64_t allowed,
			  struct readahead_range out[READAHEAD_RANGES_MAX])
{
	struct readahead_stream *stream = stream_of(ra, offset, length);
	uint64_t from, target, least;
	unsigned count = 0;

	ra->accesses++;
	if (length == 0)
		return 0;
	if (stream == NULL) {
		stream_start(ra, offset, length);
		return 0;
	}
	if (offset < stream->start)
		stream->start = offset;
	if (offset + length > stream->next)
		stream->next = offset + length;
	stream->used = ra->accesses;
	stream->reads++;
	join_met(ra, stream);

	if (window > READAHEAD_WINDOW_MAX)
		window = READAHEAD_WINDOW_MAX;
	target = target_of(stream, end, window);
	from = round_up(stream->next);
	if (stream->ahead > from)
		from = stream->ahead;
	/* Not in dribs and drabs: wait until a good part of the window has been used. */
	least = (stream->next - stream->start) / 2;
	if (least > READAHEAD_PIECE)
		least = READAHEAD_PIECE;
	if (target <= from || (target - from < least && target != round_up(end)))
		return 0;
	while (from < target && count < READAHEAD_RANGES_MAX) {
		uint64_t to = (from / READAHEAD_PIECE + 1) * READAHEAD_PIECE;

		if (to > target)
			to = target;
		if (to - from > allowed)
			break;
		allowed -= to - from;
		out[count++] = (struct readahead_range){.from = from, .to = to};
		from = to;
		stream->ahead = to;
	}
	return count;
}

void readahead_forget(struct readahead *ra)
{
	for (unsigned i = 0; i < READAHEAD_STREAMS; i++)
		ra->streams[i].ahead = 0;
}
