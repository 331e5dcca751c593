/* copy_rate.h - how fast a process may copy chunks to members that catch up: as the administrator
 * says, or as its clients leave room.
 *
 * The administrator's rate is in bytes a second. Without one (0), copies have no limit once no
 * client has asked for anything for COPY_RATE_IDLE_NS. Until then they get a quarter of what
 * clients moved in the last second, at least COPY_RATE_LEAST. Up to COPY_RATE_BURST_NS of the rate
 * may be taken at once, because workers ask at their ticks. A single piece may be larger; the next
 * ones wait the longer.
 *
 * Workers tell of their clients COPY_RATE_TELL_NS apart, so that not every request writes to memory
 * that all of them share.
 *
 * Pure: the time is passed in, by the monotonic clock.
 * Thread: any, for a copy_rate, which all workers of a process have in common; a worker's own for
 * its copy_rate_client. */
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
	_Atomic uint64_t spent_until_ns; /* when the rate will have covered what was taken */
	_Atomic uint64_t asked_ns;       /* when a client last wanted something; 0: never */
	_Atomic uint64_t windows[COPY_RATE_WINDOWS]; /* number of the window, bytes in it */
};

/* Of the clients of one worker. All zero is one without any. The fields are private. */
struct copy_rate_client {
	uint64_t told_ns, untold; /* bytes moved since then */
};

/* Sets the administrator's rate. What was taken at another rate counts no more. */
void copy_rate_set(struct copy_rate *rate, uint64_t bytes_per_second, bool paused);
/* Counts a client's request or answer, which moved @bytes (may be 0) of chunks. */
void copy_rate_count(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns,
		     uint64_t bytes);
/* Tells the bytes that are counted and not told yet. Called at ticks, or the last ones would never
 * be told. */
void copy_rate_tell(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns);
/* Takes @bytes of the rate. False: they may not be copied now. */
bool copy_rate_take(struct copy_rate *rate, uint64_t now_ns, uint32_t bytes);
#endif
