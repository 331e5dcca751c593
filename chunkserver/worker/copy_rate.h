/* copy_rate.h - how fast a process may copy chunks to members that are being made equal: as the
 * administrator says, or as its clients leave room.
 *
 * With a rate: that many bytes a second. Without (0): as much as can be while no client has asked
 * for anything for COPY_RATE_IDLE_NS; else a quarter of what clients moved in the last second, at
 * least COPY_RATE_LEAST. Up to COPY_RATE_BURST_NS of the rate may be taken at once, because workers
 * ask by their ticks; a single piece may be larger, then others wait the longer.
 *
 * Workers tell of their clients COPY_RATE_TELL_NS apart: what all write to is not to be written
 * with every request.
 *
 * Pure: the time is passed in, by the monotonic clock. Threading: a copy_rate is one for all
 * workers of a process, any thread; a copy_rate_client one worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_COPY_RATE_H
#define CATENA_CHUNKSERVER_WORKER_COPY_RATE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"

#define COPY_RATE_IDLE_NS  NS_PER_SEC
#define COPY_RATE_TELL_NS  (10 * NS_PER_MSEC)
#define COPY_RATE_BURST_NS (100 * NS_PER_MSEC)
#define COPY_RATE_LEAST    (16u << 20) /* bytes a second */
#define COPY_RATE_SHARE    4u          /* of what clients move, one part */
#define COPY_RATE_WINDOWS  8u          /* of a second */

/* All zero is a rate nobody has set: automatic. The fields are private. */
struct copy_rate {
	_Atomic uint64_t rate;
	atomic_bool paused;
	_Atomic uint64_t spent_until_ns; /* by then the rate has covered what was taken */
	_Atomic uint64_t asked_ns;       /* when a client last wanted something; 0: never */
	_Atomic uint64_t windows[COPY_RATE_WINDOWS]; /* number of the window, bytes in it */
};

/* Of the clients of one worker. All zero is one without any. The fields are private. */
struct copy_rate_client {
	uint64_t told_ns, untold; /* bytes moved since then */
};

/* The administrator's word. What was taken at another rate counts no more. */
void copy_rate_set(struct copy_rate *rate, uint64_t bytes_per_second, bool paused);
/* A client has asked for something, or was answered; @bytes (may be 0) of chunks were moved by it.
 */
void copy_rate_count(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns,
		     uint64_t bytes);
/* Tells what was moved and not told yet: now and then, so that the last of it is not forgotten. */
void copy_rate_tell(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns);
/* May @bytes be copied now? Then they are taken. */
bool copy_rate_take(struct copy_rate *rate, uint64_t now_ns, uint32_t bytes);
#endif
