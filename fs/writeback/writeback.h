/* writeback.h - the dirty bytes of one file: where they are, which may be sent now, and the waits
 * for them.
 *
 * An extent is a range of the file, and where in a buffer its bytes are. It never crosses a chunk,
 * and is at most FRAME_PAYLOAD_MAX long. Extents and punches are in one of three states:
 *
 *   dirty       accepted, not sent. Dirty extents of a chunk never overlap: a newer write cuts the
 *               older. Small writes are copied together into buffers of our own, at most one window
 *               (1 MiB, aligned) each. Large payloads stay where they are.
 *   in flight   given out by writeback_next(), and not changed until writeback_done(). A dirty
 *               extent that overlaps one in flight waits for it. So updates that overlap are never
 *               under way together.
 *   hole        a punch under way. Dirty data under it is gone, and later writes into it wait.
 *
 * Groups answer "is everything done that was accepted before?". Each extent and hole belongs to a
 * group, and groups are in the order of acceptance. A wait closes the newest one. Whatever replaces
 * bytes of an older group joins that group. So a wait does not end before the bytes that it is
 * about, or newer ones in their place, have been answered.
 *
 * Durability is counted for each chunk, in versions. `answered` is the highest version answered,
 * `flushed` the highest that is known to be on the disks of all copies.
 *
 * Pure: no I/O, locks or clocks. Thread: the owner serialises all calls, unless a function says
 * otherwise. Offsets and lengths are bytes; errors are negative errno. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_H
#define CATENA_FS_WRITEBACK_WRITEBACK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/os/buf.h"
#include "fs/chains/answered.h"

#define WRITEBACK_WINDOW (1u << 20)
/* Payloads of at least this are kept as they are and sent at once. Smaller ones are copied into a
 * larger update, which is cheaper than an update of their own on every member of the chain. */
#define WRITEBACK_KEEP_MIN (WRITEBACK_WINDOW / 4 * 3)
/* An extent that has reached its window's end is sent at once when it is this long. */
#define WRITEBACK_RUN_MIN (WRITEBACK_WINDOW / 16)

struct writeback;
struct writeback_chunk;
struct writeback_group;
struct writeback_buffer;

/* The owner reads all of it while it is in flight, and sets user only. */
struct writeback_extent {
	uint64_t offset; /* in the file */
	uint32_t length;
	uint32_t at;  /* first byte: mem->buf->data + at */
	bool ready;   /* worth sending without being asked */
	bool summed;  /* its payload's crcs are filled */
	bool durable; /* in flight: it is to be durable when it is answered */
	struct writeback_buffer *mem;
	struct writeback_group *group;
	struct writeback_chunk *chunk;
	void *user; /* the owner's, while in flight */
};

/* A wait for a group, and with prefix for all before it too. The owner's memory. */
struct writeback_wait {
	struct writeback_wait *next;
	bool prefix;
	int error; /* the first of what is waited for; 0: none */
};

struct writeback_hole {
	struct writeback_hole *next;
	uint64_t from, to;
	struct writeback_group *group;
};

/* Bytes of the file that are here. */
struct writeback_segment {
	uint64_t offset;
	uint32_t length;
	const uint8_t *data;
	struct writeback_buffer *mem; /* pinned: writeback_buffer_unpin() */
};

/* A chunk that has answered more than is durable. */
struct writeback_unflushed {
	uint32_t index;
	uint64_t version; /* a flush that is sent from now on covers this version, */
	uint64_t epoch;   /* which was answered in this epoch of the chain; 0: in any */
	uint64_t bytes;   /* answered since all was durable; written twice, they count twice */
};

/* @in_flight_max: extents of one chunk. @pool is borrowed. Errors: -ENOMEM. */
int writeback_create(uint32_t chunk_size, unsigned in_flight_max, struct buf_pool *pool,
		     struct writeback **out);
/* Has the memory of each chunk counted at @counter's result too, from now on and for as long as it
 * is held. Counters outlive it. */
void writeback_count(struct writeback *wb, atomic_size_t *(*counter)(void *arg, uint32_t index),
		     void *arg);
/* Drops dirty bytes. Nothing is in flight. NULL is allowed. */
void writeback_destroy(struct writeback *wb);

/* Accepts a write, and takes over the reference to @payload, also when it fails. @summed: its crcs
 * are filled. @wait (may be NULL) fires when the bytes have been answered. Errors: -ENOMEM, and
 * nothing has changed. */
int writeback_write(struct writeback *wb, uint64_t offset, struct buf *payload, bool summed,
		    struct writeback_wait *wait);

/* Returns the next extent that may be sent, which is in flight from now on; NULL: there is none.
 * @all: also those that are not ready. Extents side by side in a window are made one. @durable: the
 * last one of each chunk is to be durable. */
struct writeback_extent *writeback_next(struct writeback *wb, bool all, bool durable);
/* Returns what belongs into chains_request.known. It stays while something of the chunk is under
 * way. */
const struct chains_answered *writeback_known(const struct writeback_chunk *chunk);
/* Returns a new reference to the payload of an extent in flight, with start and length set, and
 * with checksums when it is summed. NULL: out of memory. */
struct buf *writeback_payload(struct writeback *wb, struct writeback_extent *extent);
/* Takes the answer to an extent, given in @epoch of the chain, and frees it. With @error its bytes
 * are lost, and the error is kept. Else @version is the update's; with @flushed, everything of the
 * chunk up to it is durable. */
void writeback_done(struct writeback *wb, struct writeback_extent *extent, int error,
		    uint64_t version, uint64_t epoch, bool flushed);
/* Notes that the copies have lost some of what was answered of the chunk; something of it is still
 * under way. The error is kept. From now on the versions that the copies have count, and none is
 * known to be durable. Returns how many bytes may be lost. */
uint64_t writeback_lost(struct writeback *wb, struct writeback_chunk *chunk);
void writeback_each_in_flight(struct writeback *wb,
			      void (*each)(void *arg, struct writeback_extent *extent), void *arg);

/* Has @wait fire when everything accepted so far has been answered. Errors: -ENOMEM. */
int writeback_wait(struct writeback *wb, struct writeback_wait *wait);
/* Returns the waits that have fired since the last call, for the owner to report without its
 * lock. */
struct writeback_wait *writeback_fired(struct writeback *wb);
/* Returns the first error that was kept since the last call; 0: none. An error of a write that has
 * its own wait is in that wait instead. */
int writeback_take_error(struct writeback *wb);

/* Begins to make [from, to) a hole. Errors: -ENOMEM, and nothing has changed. */
int writeback_hole_begin(struct writeback *wb, struct writeback_hole *hole, uint64_t from,
			 uint64_t to);
/* Says that chunk @index may be punched now. Its answer goes to writeback_hole_answered(), with
 * *out. Errors: -EAGAIN when something that overlaps [from, to) is under way; -ENOMEM. */
int writeback_hole_chunk(struct writeback *wb, struct writeback_hole *hole, uint32_t index,
			 uint64_t from, uint64_t to, struct writeback_chunk **out);
void writeback_hole_answered(struct writeback *wb, struct writeback_chunk *chunk, int error,
			     uint64_t version, uint64_t epoch, bool flushed);
void writeback_hole_end(struct writeback *wb, struct writeback_hole *hole);

/* Drops dirty bytes and forgets all chunks, because the file has new bytes or none. What is in
 * flight still has to be done. */
void writeback_drop(struct writeback *wb);

/* Gives up dirty bytes with @error, as if they had been sent. What is in flight still has to be
 * done, and what was answered stays as durable as it is. */
void writeback_lose(struct writeback *wb, int error);
/* Returns how many bytes are dirty or in flight. */
uint64_t writeback_bytes(const struct writeback *wb);

/* Finds the pieces of [offset, offset+length) that are here, in order, with their newest bytes. The
 * chain has the rest. *segs is malloc()ed; NULL when *count is 0. Errors: -ENOMEM. */
int writeback_lookup(struct writeback *wb, uint64_t offset, uint32_t length,
		     struct writeback_segment **segs, size_t *count);
/* Lets go of the memory of a segment. Thread: any. */
void writeback_buffer_unpin(struct writeback_buffer *mem);
/* Says whether anything dirty, in flight or being punched overlaps. */
bool writeback_overlaps(const struct writeback *wb, uint64_t from, uint64_t to);

bool writeback_has_dirty(const struct writeback *wb);
/* Says whether something is dirty, in flight or being punched. */
bool writeback_busy(const struct writeback *wb);
size_t writeback_extents(const struct writeback *wb); /* dirty ones */
size_t writeback_memory(const struct writeback *wb);  /* bytes of buffers held */

bool writeback_has_unflushed(const struct writeback *wb);
/* Lists the chunks that have answered more than is durable. *out is malloc()ed. Errors: -ENOMEM. */
int writeback_unflushed(struct writeback *wb, struct writeback_unflushed **out, size_t *count);
/* Notes that the chunk is durable up to @version. */
void writeback_flushed(struct writeback *wb, uint32_t index, uint64_t version);
/* Notes that the copies have lost what a flush was to cover, so that nothing of it is unflushed any
 * more. From then on the versions that they give count, though these are lower. What was answered
 * in a later epoch stays as it is. The caller tells the error. */
void writeback_flush_lost(struct writeback *wb, const struct writeback_unflushed *covers);
/* Has no chunk count as unflushed: a flush has failed for good, and the file has no users. */
void writeback_forget_unflushed(struct writeback *wb);
#endif
