/* writeback.h - the dirty bytes of one file: what is where, what may be sent now, who waits for it.
 *
 * Pure: no I/O, locks or clocks; the owner serialises all calls. Memory is a writeback_buffer (one
 * payload buffer, counted). An extent is a range of the file, and where in a buffer its bytes are.
 *
 *   dirty       accepted, not sent. Dirty extents of a chunk never overlap: a newer write cuts the
 *               older. Small writes are copied together into buffers of our own, at most one window
 *               (1 MiB, aligned) each; large payloads stay where they are.
 *   in flight   given out by writeback_next(), never changed again, until writeback_done(). A dirty
 *               extent that overlaps one in flight waits for it, so that updates that overlap are
 *               never under way together.
 *   hole        a punch under way: dirty data under it is gone, later writes into it wait for it.
 *
 * An extent never crosses a chunk and is at most FRAME_PAYLOAD_MAX long.
 *
 * Groups answer "is everything done that was accepted before?". Each extent and hole belongs to
 * one; they stand in the order of acceptance, a wait closes the newest. Whatever replaces bytes of
 * an older group joins that group: a wait never ends while neither the bytes it is about nor newer
 * ones in their place have been answered.
 *
 * Durability is counted per chunk in versions: `answered` is the highest version answered,
 * `flushed` the highest known to be on the disks of all copies. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_H
#define CATENA_FS_WRITEBACK_WRITEBACK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/os/buf.h"
#include "fs/chains/answered.h"

#define WRITEBACK_WINDOW (1u << 20)
/* Payloads from here on are kept as they are and sent at once: below, the copy into a larger
 * update is cheaper than what an update costs on every member of the chain. */
#define WRITEBACK_KEEP_MIN (WRITEBACK_WINDOW / 4 * 3)
/* A run that has reached its window's end is sent at once when it is this long. */
#define WRITEBACK_RUN_MIN (WRITEBACK_WINDOW / 16)

struct writeback;
struct writeback_chunk;
struct writeback_group;
struct writeback_buffer;

struct writeback_extent {
	uint64_t offset; /* in the file */
	uint32_t length;
	uint32_t at;  /* first byte: mem->buf->data + at */
	bool ready;   /* worth sending without being asked */
	bool summed;  /* its payload's crcs are filled */
	bool durable; /* in flight: to be durable when answered */
	struct writeback_buffer *mem;
	struct writeback_group *group;
	struct writeback_chunk *chunk;
	void *user; /* the owner's, while in flight */
};

/* Waits for a group, and with prefix for all before it too. The owner's memory. */
struct writeback_wait {
	struct writeback_wait *next;
	bool prefix;
	int error; /* first that hit what is waited for */
};

struct writeback_hole {
	struct writeback_hole *next;
	uint64_t from, to;
	struct writeback_group *group;
};

/* Bytes that a read finds here. */
struct writeback_segment {
	uint64_t offset;
	uint32_t length;
	const uint8_t *data;
	struct writeback_buffer *mem; /* pinned: writeback_buffer_unpin() */
};

struct writeback_unflushed {
	uint32_t index;
	uint64_t version; /* a flush sent from now on covers this, */
	uint64_t epoch;   /* which was answered in this epoch of the chain; 0: whenever */
	uint64_t bytes;   /* answered since all was durable, those written twice twice */
};

/* @pool is borrowed. @in_flight_max: of one chunk. */
int writeback_create(uint32_t chunk_size, unsigned in_flight_max, struct buf_pool *pool,
		     struct writeback **out);
/* From now on the memory of each chunk is also counted where @counter says, for as long as it is
 * held; counters must outlive it. */
void writeback_count(struct writeback *wb, atomic_size_t *(*counter)(void *arg, uint32_t index),
		     void *arg);
/* Nothing may be in flight; dirty bytes are dropped. NULL is allowed. */
void writeback_destroy(struct writeback *wb);

/* Accepts a write; takes over the reference to @payload, also when it fails (-ENOMEM: nothing has
 * changed). @summed: its crcs are filled. @wait (may be NULL) fires when the bytes have been
 * answered. */
int writeback_write(struct writeback *wb, uint64_t offset, struct buf *payload, bool summed,
		    struct writeback_wait *wait);

/* The next extent to send, which is in flight from now on; NULL: none that may. @all: also those
 * not ready. Extents that lie side by side in a window are made one. @durable: the last one of each
 * chunk is marked so. */
struct writeback_extent *writeback_next(struct writeback *wb, bool all, bool durable);
/* For chains_request.known, as long as something of the chunk is under way. */
const struct chains_answered *writeback_known(const struct writeback_chunk *chunk);
/* The payload of an extent in flight, start and length set, checksums only when summed; a new
 * reference. NULL: out of memory. */
struct buf *writeback_payload(struct writeback *wb, struct writeback_extent *extent);
/* Answered, in @epoch of the chain: with @error (-errno) its bytes are lost and the error is kept;
 * else @version is the update's, and with @flushed everything of the chunk up to it is durable.
 * Frees
 * @extent. */
void writeback_done(struct writeback *wb, struct writeback_extent *extent, int error,
		    uint64_t version, uint64_t epoch, bool flushed);
/* The copies have not all that was answered of the chunk, of which something is still under way:
 * the error is kept, and from now on the versions that they have count, of which nothing is known
 * to be durable. Returns how many bytes that may be. */
uint64_t writeback_lost(struct writeback *wb, struct writeback_chunk *chunk);
void writeback_each_in_flight(struct writeback *wb,
			      void (*each)(void *arg, struct writeback_extent *extent), void *arg);

/* Fires when everything accepted so far has been answered. -ENOMEM. */
int writeback_wait(struct writeback *wb, struct writeback_wait *wait);
/* The waits that have fired since the last call, for the owner to report without its lock. */
struct writeback_wait *writeback_fired(struct writeback *wb);
/* The first error since the last call; 0: none. Errors of writes with a wait of their own go there
 * instead. */
int writeback_take_error(struct writeback *wb);

/* [from, to) is going to become a hole. -ENOMEM: nothing has changed. */
int writeback_hole_begin(struct writeback *wb, struct writeback_hole *hole, uint64_t from,
			 uint64_t to);
/* 0: chunk @index may be punched now, *out is its until writeback_hole_answered(). -EAGAIN:
 * something that overlaps in [from, to) is under way. -ENOMEM. */
int writeback_hole_chunk(struct writeback *wb, struct writeback_hole *hole, uint32_t index,
			 uint64_t from, uint64_t to, struct writeback_chunk **out);
void writeback_hole_answered(struct writeback *wb, struct writeback_chunk *chunk, int error,
			     uint64_t version, uint64_t epoch, bool flushed);
void writeback_hole_end(struct writeback *wb, struct writeback_hole *hole);

/* The file's bytes are someone else's now: dirty ones are dropped, chunks forgotten. What is in
 * flight still has to be done. */
void writeback_drop(struct writeback *wb);

/* Dirty bytes are lost with @error, as if they had been sent; what is in flight still has to be
 * done, and what was answered stays as durable as it is. */
void writeback_lose(struct writeback *wb, int error);
/* Bytes dirty or in flight. */
uint64_t writeback_bytes(const struct writeback *wb);

/* The pieces of [offset, offset+length) that are here, in order, newest bytes; the rest is the
 * chain's. *segs is malloc()ed (NULL when *count is 0). -ENOMEM. */
int writeback_lookup(struct writeback *wb, uint64_t offset, uint32_t length,
		     struct writeback_segment **segs, size_t *count);
void writeback_buffer_unpin(struct writeback_buffer *mem); /* any thread */
/* Whether anything dirty, in flight or being punched overlaps. */
bool writeback_overlaps(const struct writeback *wb, uint64_t from, uint64_t to);

bool writeback_has_dirty(const struct writeback *wb);
/* Dirty, in flight or a hole under way. */
bool writeback_busy(const struct writeback *wb);
size_t writeback_extents(const struct writeback *wb); /* dirty ones */
size_t writeback_memory(const struct writeback *wb);  /* bytes of buffers held */

bool writeback_has_unflushed(const struct writeback *wb);
/* Chunks that have answered more than is flushed. *out is malloc()ed. -ENOMEM. */
int writeback_unflushed(struct writeback *wb, struct writeback_unflushed **out, size_t *count);
void writeback_flushed(struct writeback *wb, uint32_t index, uint64_t version);
/* Notes that the copies have lost what a flush was to cover, so that nothing of it is unflushed any
 * more. The versions that they give from then on count, though they are lower; what was answered in
 * a later epoch stays as it is. The caller tells the error. */
void writeback_flush_lost(struct writeback *wb, const struct writeback_unflushed *covers);
/* Whoever wrote is gone and nothing more will be asked: no chunk counts as unflushed. */
void writeback_forget_unflushed(struct writeback *wb);
#endif
