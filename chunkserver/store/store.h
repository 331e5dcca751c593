/* store.h - one target: the chunks in one data directory, and their durability.
 *
 * On disk (docs/store-format.md has the format):
 *   identity          text: format version, cluster id, target uuid, written once by store_init()
 *   db/               RocksDB: chunk records, block checksums and presence in 1 MiB pieces,
 *                     and blocks kept inside (below)
 *   chunks/xx/...     one plain sparse file for each larger chunk, chunk data at offset 0
 *   flushed            up to where the db is known to have been flushed, and the life
 *   lock              held while open
 *
 * Where bytes live. Each present block of a chunk is either in the chunk's file or, as a 4 KiB
 * value, in RocksDB ("inner block"); RocksDB wins. Small writes become inner blocks: one log
 * write makes data, checksum and record durable together. A chunk of up to CHUNK_INNER_MAX bytes
 * stays inside for good; a larger one has its inner blocks moved to the file in the background
 * (file written and fdatasync()ed before they are deleted). Large writes go to the file directly,
 * by O_DIRECT where the filesystem has it. A block that is absent reads as zeros whatever the file
 * holds there.
 *
 * Crash safety. Fresh blocks: file first, then the record that makes them present, so a crash
 * leaves garbage that is absent. Overwritten file blocks: before the first one since the last flush
 * a durable "dirty" mark is put on the 1 MiB piece; after a crash, blocks of a dirty piece whose
 * checksum does not match hold an unacknowledged or unflushed overwrite: they are taken as they are
 * (checksum computed anew) and the chunk's record is marked unsure, so that the chain compares it.
 * In a piece without mark, a mismatch is corruption and is never served (-EBADMSG).
 *
 * Updates are applied in two steps so that data of several may be under way at once:
 *   store_prepare()  writes the bytes; any order; overlapping ones one after another (the caller's
 *                    duty), done comes later or at once
 *   store_commit()   makes it the chunk's state, in version order (the caller's duty); cheap,
 *                    synchronous, survives SIGKILL; durable after store_flush()
 *
 * Failure. -ENOSPC from prepare or commit: the chunk is as before. -EBUSY from commit: so
 * it is, and the ids of updates that may come again fill its list. -EIO: target is down; it says
 * so from then on until store_recover(). A failed fdatasync poisons the target: -EIO until the
 * process opens it again.
 *
 * Space. A reserve is kept (SPACE_RESERVE_*): when free space minus what is promised falls below
 * it, store_is_full() is true and WRITE fails with -ENOSPC, while PUNCH, TRUNCATE, remove, flush and
 * catch-up data go on.
 *
 * Threading: a store is shared; each loop works through its own view, for partitions that are its
 * own alone. Functions taking a view are called on its loop's thread, and their callbacks come
 * there. No function blocks on data I/O; RocksDB calls without sync are made inline. */
#ifndef CATENA_CHUNKSERVER_STORE_STORE_H
#define CATENA_CHUNKSERVER_STORE_STORE_H
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "chunkserver/record/chunk_info.h"
#include "chunkserver/record/seen.h"
#include "common/os/buf.h"
#include "common/cluster/chunk.h"
#include "common/cluster/cluster_map.h"

#define STORE_SMALL_WRITE 32768u /* updates up to this size become inner blocks */

struct store;
struct store_view;

struct store_options {
	const char *path;
	const char *cluster;   /* identity must match: -EXDEV */
	struct buf_pool *pool; /* borrowed */
	uint64_t cache_bytes;  /* chunk records and checksums in memory, per view; 0: 32 MiB */
};

/* Makes an empty target in @path (created if absent, must be empty): identity, db, lock. The uuid
 * is new. -EEXIST: is one already; -ENOTEMPTY. */
int store_init(const char *path, const char *cluster, char *error, size_t error_size);
/* -ENOENT: not a target; -EXDEV: of another cluster; -EBUSY: in use; -EUCLEAN. Replays dirty
 * pieces before it returns. See store_damaged(). */
int store_open(const struct store_options *options, struct store **out, char *error,
	       size_t error_size);
/* All views must be closed. Syncs. NULL is allowed. */
void store_close(struct store *store);
const char *store_uuid(const struct store *store);
/* Of the cluster that the target belongs to; 0: it is new, or of a time without instances. */
uint64_t store_instance(const struct store *store);
/* A target that belongs to none belongs to @instance from now on: durable when it returns 0, which
 * may take as long as a flush. -EXDEV: it belongs to another one; or the file cannot be written. */
int store_adopt(struct store *store, uint64_t instance);
void store_seen(const struct store *store, struct store_seen *out);
/* -EIO, -ENOSPC: the target is down, and remembers what it did before; try again. */
int store_set_seen(struct store *store, const struct store_seen *seen);
/* The same for the index alone, if it has grown. It waits for the next flush of the db, because
 * nothing is done by it. */
int store_set_seen_index(struct store *store, uint64_t index);
/* The same for the version and the chains of @map that it is a member of, or was. */
int store_set_seen_map(struct store *store, const struct cluster_map *map);
/* The chains that it remembers, in order of pool and partition. @each returns 0, or ends it. */
typedef int store_seen_each(void *user, uint32_t pool, uint32_t partition,
			    const struct map_chain *chain);
int store_seen_chains(struct store *store, store_seen_each *each, void *user);
/* Another one with every store_open(), durably before that returns. Its lower 32 bits grow by one,
 * from 1 on; the upper are chance: two processes that began from the same state of the disk (one
 * from a copy of it, put back) have the same count, and are not the same. */
uint64_t store_life(const struct store *store);
/* Something that had been flushed was missing when it was opened, now or earlier: what is there is
 * right, but it does not show that what is not there never was. So it may be nobody's source until
 * it has been made equal to others. Its life is above all before; files without a record are kept.
 */
bool store_damaged(const struct store *store);
/* The master has put this life's target behind the others in all its chains: from here on it counts
 * like any other. Durable when it returns 0; from any thread, may take as long as a flush. */
int store_damage_settled(struct store *store);
/* *free_bytes is what WRITE may still take: free, less the reserve and what is promised. */
void store_space(struct store *store, uint64_t *capacity, uint64_t *used, uint64_t *free_bytes);
bool store_is_full(struct store *store);
/* So little is left that others should take over before anything has to be refused. @was: what was
 * said last, so that it does not go to and fro. */
bool store_is_low(struct store *store, bool was);
bool store_is_down(struct store *store);
int store_recover(struct store *store); /* try to come back after -EIO / -ENOSPC of RocksDB */

int store_view_open(struct store *store, uv_loop_t *loop, struct store_view **out);
/* No operation of the view may be under way. */
void store_view_close(struct store_view *view);

/* From memory or RocksDB. 0 also when the chunk does not exist; -EIO, -EBADMSG. */
int store_info(struct store_view *view, const struct chunk_key *key, struct chunk_info *info);
/* CRC32C over length, presence and all block checksums: equal on equal copies. -EAGAIN: an
 * overwrite was broken off, and its blocks are being looked at: soon. */
int store_digest(struct store_view *view, const struct chunk_key *key, uint32_t *digest);
/* Presence bitmap (bit i%8 of byte i/8) up to the chunk's length. *bytes: room in, used out. */
int store_presence(struct store_view *view, const struct chunk_key *key, uint8_t *bitmap,
		   uint32_t *bytes);

/* Checksums of the first @count blocks of the chunk into @crcs (0 where absent), and which of them
 * are present into @bitmap (bit i%8 of byte i/8, (count + 7) / 8 bytes). -EBADMSG, -EIO; -EAGAIN as
 * store_digest(). */
int store_checksums(struct store_view *view, const struct chunk_key *key, uint32_t count,
		    uint32_t *crcs, uint8_t *bitmap);

enum store_op { STORE_WRITE, STORE_PUNCH, STORE_TRUNCATE };
struct store_update {
	enum store_op op;
	struct chunk_key key;
	uint32_t offset, length; /* WRITE: payload; PUNCH: range; TRUNCATE: ends at offset */
	struct buf *payload;     /* WRITE: borrowed until done; crcs verified by the caller */
	uint64_t epoch, version;
	uint64_t client_id, op_id, answered; /* op ids of client_id up to answered are forgotten */
	bool closing; /* changes nothing but what is known of ids, and its own is not kept: nothing
		       * at all of a chunk that does not exist */
	/* Which are over: at the commit, borrowed. NULL: not known. */
	const struct cluster_map *sessions;
	bool catching_up; /* copy of a chunk at rest: version stays 0 (incomplete) until
		       * store_complete(); op_ids_void(); allowed into the reserve */
	bool touched; /* with an error: blocks that are there may have been gone over in the file */
	void (*done)(struct store_update *update, int error);
	void *user;
	void *store_private; /* of the store between prepare and commit/abort */
};
void store_prepare(struct store_view *view, struct store_update *update);
int store_commit(struct store_view *view, struct store_update *update);
/* Instead of commit, for a prepared update that will not be. */
void store_abort(struct store_view *view, struct store_update *update);
/* Ends the copy of a chunk: sets what a catching_up one has become. */
int store_complete(struct store_view *view, const struct chunk_key *key,
		   const struct chunk_info *info);

/* Reads [offset, offset+length), block-aligned, into @into (start 0, crcs filled). done's @length
 * is what was within the chunk's length, rounded up to a block. Absent blocks are zeros with the
 * zero block's checksum. Checksums are not compared unless @verify; -EBADMSG then names a bad block
 * in the log. */
struct store_read {
	struct chunk_key key;
	uint32_t offset, length;
	struct buf *into; /* borrowed until done */
	bool verify;
	void (*done)(struct store_read *read, int error, uint32_t length, uint64_t version);
	void *user;
	void *store_private;
};
void store_read(struct store_view *view, struct store_read *read);

/* All committed updates of the chunk are on stable storage when done says 0. Requests of all views
 * share flushes of the log. */
struct store_flush {
	struct chunk_key key;
	void (*done)(struct store_flush *flush, int error);
	void *user;
	void *store_private;
};
void store_flush(struct store_view *view, struct store_flush *flush);

/* Everything committed in this partition, by whichever process, is on stable storage when done says
 * 0. Comes on the view's loop. */
void store_flush_partition(struct store_view *view, uint32_t pool, uint32_t partition,
			   void (*done)(void *user, int error), void *user);

/* The highest epoch of the partition's chain that this target knows of; *epoch 0: none. -EIO,
 * -EBADMSG. */
int store_epoch(struct store_view *view, uint32_t pool, uint32_t partition, uint64_t *epoch);
/* @epoch (not 0) is. What is changed afterwards is not durable before that. -EIO: the target is
 * down; -ENOMEM. */
int store_set_epoch(struct store_view *view, uint32_t pool, uint32_t partition, uint64_t epoch);

/* Deletes whole chunks, durably when done. Absent ones are no error. @keys is copied. */
void store_remove(struct store_view *view, const struct chunk_key *keys, size_t count,
		  void (*done)(void *user, int error), void *user);

/* Existing chunks of one partition in key order, beginning after @after (NULL: the first); at most
 * @max. Returns how many, or -errno. */
int store_scan(struct store_view *view, uint32_t pool, uint32_t partition,
	       const struct chunk_key *after, struct chunk_key *out, int max);

/* Offline listing for tools and tests: calls @each for every chunk in key order, with a CRC32C over
 * its logical bytes read back and verified (error: -EBADMSG for a bad one). */
int store_list(const char *path,
	       int (*each)(void *user, const struct chunk_key *key, const struct chunk_info *info,
			   uint32_t content_crc, int error),
	       void *user, char *error, size_t error_size);
#endif
