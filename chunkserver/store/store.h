/* store.h - the chunks in one target's data directory, and their durability.
 *
 * On disk (docs/store-format.md has the format):
 *   identity          text: format version, cluster id, target uuid, written once by store_init()
 *   db/               RocksDB: chunk records, block checksums and presence in 1 MiB pieces,
 *                     and inner blocks (below)
 *   chunks/xx/...     one plain sparse file for each larger chunk, chunk data at offset 0
 *   synced            the witness: up to where the db is known to be flushed, and the life
 *   lock              held while open
 *
 * Words. A block is 4 KiB. A piece is 256 blocks, the unit of checksum values and marks. An inner
 * block is kept in the db. A live file block is present and not inner, so its bytes are the file's.
 *
 * Where bytes live. Each present block is either in the chunk's file or an inner block; the db
 * wins. An absent block reads as zeros whatever the file holds there. Small writes become inner
 * blocks: one write of the log makes data, checksum and record durable together. Large writes go to
 * the file directly, by O_DIRECT where the filesystem has it. A chunk of up to CHUNK_INNER_MAX
 * bytes stays inside for good. Inner blocks of a larger one are moved to the file in the
 * background: the file is written and flushed before they are deleted.
 *
 * Crash safety. Fresh blocks are written to the file before the record that makes them present, so
 * a crash leaves garbage that is absent. Live file blocks are overwritten in place under a durable
 * mark on their piece, put there before the first overwrite since the last flush. After a crash, a
 * block of a marked piece may not match its checksum: it holds an unanswered or unflushed
 * overwrite. It is taken as it is, with a new checksum, and the record becomes unsure, so that the
 * chain compares the chunk. In a piece without mark a mismatch is corruption and is never served
 * (-EBADMSG).
 *
 * Updates take two steps, so that data of several may be under way at once:
 *   store_prepare()  writes the bytes, in any order. The caller keeps overlapping updates apart:
 *                    one after another. done comes later or at once.
 *   store_commit()   makes the update the chunk's state. The caller keeps the order of versions.
 *                    Cheap, synchronous, survives SIGKILL; durable after store_flush().
 *
 * Errors: -ENOSPC from prepare or commit: the chunk is as before. -EBUSY from commit: likewise, and
 * the ids of updates that may come again fill its list. -EIO: the target is down, and says so until
 * store_recover(). A failed fdatasync, of a file or of the log, poisons the target: -EIO until the
 * process opens it again.
 *
 * Space. A reserve is kept (SPACE_RESERVE_*). When free space minus what is promised falls below
 * it, store_is_full() is true and WRITE fails with -ENOSPC. PUNCH, TRUNCATE, removal, flush and
 * catch-up data go on.
 *
 * Thread: views of one store belong to loops, each for partitions that are its own alone. Functions
 * with a view are called on its loop's thread, and their callbacks come there. No function blocks
 * on data I/O; calls of RocksDB that do not flush are made inline. */
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

struct kv;
struct store;
struct store_view;

struct store_options {
	const char *path;
	const char *cluster;   /* identity must match: -EXDEV */
	struct buf_pool *pool; /* borrowed */
	uint64_t cache_bytes;  /* chunk records and checksums in memory, per view; 0: 32 MiB */
};

/* Makes an empty target in @path (created if absent, must be empty): identity, db, lock. The uuid
 * is new. Errors: -EEXIST: it is one already; -ENOTEMPTY. */
int store_init(const char *path, const char *cluster, char *error, size_t error_size);
/* Opens a target and recovers it (store.c has the story). See store_damaged(). Errors: -ENOENT: not
 * a target; -EXDEV: of another cluster; -EBUSY: in use; -EUCLEAN: damaged. */
int store_open(const struct store_options *options, struct store **out, char *error,
	       size_t error_size);
/* The same on a db of the caller's, for tests: power cuts on the twin in memory. */
int store_open_on(const struct store_options *options, struct kv *kv, struct store **out,
		  char *error, size_t error_size);
/* Flushes and closes; all views must be closed before. NULL is allowed. */
void store_close(struct store *store);
const char *store_uuid(const struct store *store);
/* The instance of the target's cluster; 0: it is new, or of a time without instances. */
uint64_t store_instance(const struct store *store);
/* Makes a target of no cluster belong to @instance: durable when it returns 0, which may take as
 * long as a flush. Errors: -EXDEV: it belongs to another one; or the file cannot be written. */
int store_adopt(struct store *store, uint64_t instance);
void store_seen(const struct store *store, struct store_seen *out);
/* Sets what the target remembers of masters; seen.h says what for. Errors: -EIO, -ENOSPC: the
 * target is down, and remembers what it did before. Thread: one, for all functions of what was
 * seen. */
int store_set_seen(struct store *store, const struct store_seen *seen);
/* Sets the index alone, if it has grown. It waits for the next flush of the db, because nothing is
 * done by it. */
int store_set_seen_index(struct store *store, uint64_t index);
/* Sets the version and the chains of @map that the target is a member of, or was. */
int store_set_seen_map(struct store *store, const struct cluster_map *map);
/* Walks the chains that the target remembers, in order of pool and partition. @each returns 0, or
 * what ends the walk. */
typedef int store_seen_each(void *user, uint32_t pool, uint32_t partition,
			    const struct map_chain *chain);
int store_seen_chains(struct store *store, store_seen_each *each, void *user);
/* The target's life: another one with every store_open(), durable before that returns. Its lower 32
 * bits grow by one, from 1 on; the upper ones are chance. Two processes may begin from the same
 * state of the disk, one from a copy put back: their counts are equal, their lives are not. */
uint64_t store_life(const struct store *store);
/* Something flushed was missing when the target was opened, now or earlier. Present records are
 * valid, absent ones may have been lost: never copy from this target until it has caught up. Its
 * life is above all before; files without a record are kept. */
bool store_damaged(const struct store *store);
/* Ends store_damaged(): the master has put this life's target behind the others in all its chains.
 * Durable when it returns 0. Thread: any; may take as long as a flush. */
int store_damage_settled(struct store *store);
/* Tells the space; *free_bytes is what WRITE may still take: free, less the reserve and promises.
 * */
void store_space(struct store *store, uint64_t *capacity, uint64_t *used, uint64_t *free_bytes);
bool store_is_full(struct store *store);
/* So little is left that other targets should take over before anything has to be refused. @was:
 * the last answer, so that it does not go to and fro. */
bool store_is_low(struct store *store, bool was);
bool store_is_down(struct store *store);
/* Tries to come back after -EIO or -ENOSPC of RocksDB. */
int store_recover(struct store *store);

int store_view_open(struct store *store, uv_loop_t *loop, struct store_view **out);
/* Closes the view; none of its operations may be under way. */
void store_view_close(struct store_view *view);

/* Tells what is known of the chunk, from memory or the db; 0 also when it does not exist. Errors:
 * -EIO, -EBADMSG. */
int store_info(struct store_view *view, const struct chunk_key *key, struct chunk_info *info);
/* Tells the CRC32C over length, presence and all block checksums: equal on equal copies. Errors:
 * -EAGAIN: an overwrite was broken off, and its blocks are being looked at. */
int store_digest(struct store_view *view, const struct chunk_key *key, uint32_t *digest);
/* Tells the presence bitmap (bit i%8 of byte i/8) up to the chunk's length. *bytes: room in, used
 * out. */
int store_presence(struct store_view *view, const struct chunk_key *key, uint8_t *bitmap,
		   uint32_t *bytes);

/* Puts checksums of the first @count blocks into @crcs (0 where absent), and which of them
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

/* A flush of a chunk: all its committed updates are on stable storage when done says 0. Flushes of
 * all views share those of the log. */
struct store_flush {
	struct chunk_key key;
	void (*done)(struct store_flush *flush, int error);
	void *user;
	void *store_private;
};
void store_flush(struct store_view *view, struct store_flush *flush);

/* Flushes a partition: everything committed in it, by whichever process, is on stable storage when
 * done says 0. */
void store_flush_partition(struct store_view *view, uint32_t pool, uint32_t partition,
			   void (*done)(void *user, int error), void *user);

/* Tells the highest epoch of the partition's chain that this target knows of; *epoch 0: none.
 * Errors: -EIO, -EBADMSG. */
int store_epoch(struct store_view *view, uint32_t pool, uint32_t partition, uint64_t *epoch);
/* Notes that @epoch (not 0) is the highest. No later change is durable before it. Errors: -EIO: the
 * target is down; -ENOMEM. */
int store_set_epoch(struct store_view *view, uint32_t pool, uint32_t partition, uint64_t epoch);

/* Deletes whole chunks, durably when done. Absent ones are no error. @keys is copied. */
void store_remove(struct store_view *view, const struct chunk_key *keys, size_t count,
		  void (*done)(void *user, int error), void *user);

/* Lists existing chunks of one partition in key order, beginning after @after (NULL: the first); at
 * most @max. Returns how many, or -errno. */
int store_scan(struct store_view *view, uint32_t pool, uint32_t partition,
	       const struct chunk_key *after, struct chunk_key *out, int max);

/* Offline listing for tools and tests: calls @each for every chunk in key order, with a CRC32C over
 * its logical bytes read back and verified (error: -EBADMSG for a bad one). */
int store_list(const char *path,
	       int (*each)(void *user, const struct chunk_key *key, const struct chunk_info *info,
			   uint32_t content_crc, int error),
	       void *user, char *error, size_t error_size);
#endif
