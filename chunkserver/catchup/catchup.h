/* catchup.h - making a member equal to its predecessor: payload formats, the predecessor's walk,
 * and the comparison at the successor.
 *
 * When the link between two members is new, the predecessor walks the partition in key order:
 *
 *   1. It sends its records in batches (CATCHUP_COMPARE). Each batch is for a range of keys that
 *      begins where the last one ended.
 *   2. The successor answers which records differ from its own. It removes chunks of the range that
 *      it alone has.
 *   3. Chunks that differ are copied: CATCHUP_DATA for each run of blocks present and for each
 *      hole, then CATCHUP_COMMIT with the record.
 *   4. CATCHUP_END closes the walk.
 *
 * Frames go over one connection in order; up to CATCHUP_WINDOW are unanswered at a time. Updates of
 * a chunk are sent once the walk is behind it: catchup_walk_place().
 *
 * A chunk whose latest updates are still pending at the predecessor need not be copied when the
 * successor lacks only those: they are sent again. "base" in the record says so. It says nothing of
 * a chunk that is unsure: an update that was broken off may have changed its bytes, and those are
 * not sent again.
 *
 * A walk fails when the store fails, when the successor refuses a frame, or when a chunk is of a
 * later epoch than the chain. A chunk that cannot be read is left alone, and the walk goes on.
 *
 * All of these frames have FORWARD set, the key's pool and partition, the epoch of the chain, and
 * the successor's target id in arg. Integers are little-endian.
 *
 * CATCHUP_COMPARE, kind 1, records of a range (32 bytes, then 48 for each record):
 *    0 u8  kind = 1
 *    1 u8  flags: 1 FIRST (a walk begins; from is 0/0), 2 LAST (to is the highest key)
 *    2 u16 count, at most CATCHUP_RECORDS_MAX
 *    4 u32 0
 *    8 u64 from: file id     16 u32 from: index
 *   20 u32 to: index         24 u64 to: file id; both ends included
 *   then by key, ascending, inside the range:
 *    0 u64 file id    8 u32 index    12 u32 length
 *   16 u64 epoch     24 u64 version  32 u64 base   40 u32 digest (store_digest())
 *   44 u32 chunk_history_digest()
 *   base <= version: all updates above base are pending at the predecessor. Epoch 2^64-1: the
 *   predecessor cannot read its record; the successor leaves its own alone.
 *   Answer: bit i%8 of byte i/8 is set when record i differs; no payload when count is 0.
 * CATCHUP_COMPARE, kind 2, chunks that have been removed (8 bytes, then 12 for each):
 *    0 u8  kind = 2   1 u8 0   2 u16 count, at most CATCHUP_GONE_MAX, not 0   4 u32 0
 *    then  u64 file id, u32 index
 *   Answer: no payload. May come at any time on a link, not only during a walk.
 * CATCHUP_COMPARE, kind 3, the blocks of one chunk that differs (24 bytes, then 4 for each block,
 * then the bitmap):
 *    0 u8  kind = 3   1 u8 0   2 u16 0   4 u32 count of blocks, at most CHUNK_BLOCKS_MAX, not 0
 *    8 u64 file id   16 u32 index   20 u32 0
 *    then for each block its u32 checksum (0 when absent), then presence, bit i%8 of byte i/8
 *   Answer: a bitmap of the blocks that differ from the successor's own. For blocks that it has
 *   behind them, the successor gets a hole.
 * CATCHUP_COMPARE, kind 4, resume (8 bytes): 0 u8 kind = 4, then zeros.
 *   Sent in place of a walk, when the predecessor knows that all members behind it have been equal
 *   to it: the successor lacks only updates that are pending at the predecessor.
 *   Answer: OK: the successor knows the same of those behind it, and updates may follow. GAP: a walk
 *   is needed.
 * CATCHUP_DATA: key, offset; payload: whole blocks with their checksums, all present. Or range and
 *   no payload: a hole. Offset, range and length are multiples of BLOCK_SIZE.
 * CATCHUP_COMMIT: key; payload (32 bytes, then 16 for each turn of its history and 24 for each
 *   operation id, both oldest first):
 *    0 u64 epoch   8 u64 version   16 u32 length   20 u32 count of ids, at most OP_IDS_KEPT
 *   24 u32 1: lost, else 0         28 u32 count of turns, at most HISTORY_TURNS
 *    then  u64 epoch, u64 version
 *    then  u64 client id, u64 op id, u64 version
 * CATCHUP_END: nothing. Answered when the successor's own successor is equal, too.
 *
 * Pure. Thread: one. */
#ifndef CATENA_CHUNKSERVER_CATCHUP_CATCHUP_H
#define CATENA_CHUNKSERVER_CATCHUP_CATCHUP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/record/chunk_info.h"
#include "common/os/buf.h"
#include "common/cluster/chunk.h"
#include "common/net/frame.h"

#define CATCHUP_RECORDS_MAX   128u
#define CATCHUP_GONE_MAX      1024u
#define CATCHUP_WINDOW        8u
#define CATCHUP_HEAD_BYTES    32u
#define CATCHUP_RECORD_BYTES  48u
#define CATCHUP_GONE_BYTES    12u
#define CATCHUP_COMPARE_MAX   (CATCHUP_HEAD_BYTES + CATCHUP_RECORDS_MAX * CATCHUP_RECORD_BYTES)
#define CATCHUP_GONE_ALL_MAX  (8u + CATCHUP_GONE_MAX * CATCHUP_GONE_BYTES)
#define CATCHUP_BLOCKS_HEAD   24u
#define CATCHUP_BLOCKS_MAX    (CATCHUP_BLOCKS_HEAD + CHUNK_BLOCKS_MAX * 4 + CHUNK_BLOCKS_MAX / 8)
#define CATCHUP_RESUME_BYTES  8u
#define CATCHUP_COMMIT_HEAD   32u
#define CATCHUP_COMMIT_MAX    (CATCHUP_COMMIT_HEAD + HISTORY_TURNS * 16u + OP_IDS_KEPT * 24u)
#define CATCHUP_BITMAP_MAX    (CATCHUP_RECORDS_MAX / 8)
#define CATCHUP_EPOCH_DAMAGED UINT64_MAX

/* Key inside a partition. */
struct catchup_key {
	uint64_t file_id;
	uint32_t index;
};
#define CATCHUP_KEY_MAX ((struct catchup_key){UINT64_MAX, UINT32_MAX})

/* Orders keys; like memcmp(). */
int catchup_key_compare(struct catchup_key a, struct catchup_key b);
/* Returns the version that the next update follows. A copy that was not completed has none of its
 * own. When its source is gone for good and the chain has to go on with it, updates go on above all
 * that it is known to have held (see op_ids_void()). All members that have it agree on that. */
uint64_t catchup_version_of(const struct chunk_info *info);

struct catchup_record {
	struct catchup_key key;
	uint64_t epoch, version, base;
	uint32_t length, digest, history;
};

struct catchup_compare {
	bool first, last;
	struct catchup_key from, to;
	uint32_t count;
	struct catchup_record records[CATCHUP_RECORDS_MAX];
};

/* ---- payloads ---- */

enum catchup_kind {
	CATCHUP_KIND_RANGE = 1,
	CATCHUP_KIND_GONE = 2,
	CATCHUP_KIND_BLOCKS = 3,
	CATCHUP_KIND_RESUME = 4
};

/* Returns the kind of a CATCHUP_COMPARE. Errors: -EBADMSG. */
int catchup_compare_kind(const void *data, size_t size);
/* Encoders return the bytes written. Decoders return 0 where nothing else is said.
 * Errors: -EBADMSG. */
size_t catchup_compare_encode(const struct catchup_compare *compare,
			      uint8_t out[CATCHUP_COMPARE_MAX]);
int catchup_compare_decode(const void *data, size_t size, struct catchup_compare *out);
/* @count at most CATCHUP_GONE_MAX. */
size_t catchup_gone_encode(const struct catchup_key *keys, uint32_t count,
			   uint8_t out[CATCHUP_GONE_ALL_MAX]);
/* Returns the count. */
int catchup_gone_decode(const void *data, size_t size, struct catchup_key out[CATCHUP_GONE_MAX]);
/* The blocks of one chunk. */
struct catchup_blocks {
	struct catchup_key key;
	uint32_t count;
	uint32_t crcs[CHUNK_BLOCKS_MAX];
	uint8_t presence[CHUNK_BLOCKS_MAX / 8];
};
size_t catchup_blocks_encode(const struct catchup_blocks *blocks, uint8_t out[CATCHUP_BLOCKS_MAX]);
int catchup_blocks_decode(const void *data, size_t size, struct catchup_blocks *out);
void catchup_resume_encode(uint8_t out[CATCHUP_RESUME_BYTES]);
size_t catchup_commit_encode(const struct chunk_info *info, uint8_t out[CATCHUP_COMMIT_MAX]);
int catchup_commit_decode(const void *data, size_t size, struct chunk_info *out);

/* ---- the store, as both sides see it ---- */

/* Each call ends at once, with 0 (scan: a count) or -errno; -EAGAIN: the store needs time, try
 * later. */
struct catchup_store {
	int (*info)(void *ctx, const struct chunk_key *key, struct chunk_info *info);
	int (*digest)(void *ctx, const struct chunk_key *key, uint32_t *digest);
	int (*presence)(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes);
	/* Checksums and presence of the first @count blocks; absent ones have 0. */
	int (*checksums)(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
			 uint8_t *bitmap);
	int (*scan)(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
		    struct chunk_key *out, int max);
	int (*complete)(void *ctx, const struct chunk_key *key, const struct chunk_info *info);
	/* Memory for a payload; NULL: none. */
	struct buf *(*buffer)(void *ctx, uint32_t size);
};

/* ---- the successor's side of CATCHUP_COMPARE ---- */

/* Sets the bits of records that differ from the member's own. A difference that the predecessor's
 * pending updates cover is none, for a copy of @epoch; a copy of another epoch may have had other
 * updates. A copy that is equal but was unsure is sure from now on. @suspect (may be NULL) is true
 * for a chunk that is to be copied whatever its record says. Errors: -ESTALE when the member has a
 * chunk of a later epoch; else -errno: the store failed. */
int catchup_differs(const struct catchup_store *store, void *ctx, uint32_t pool, uint32_t partition,
		    const struct catchup_compare *compare, uint64_t epoch,
		    bool (*suspect)(void *arg, const struct chunk_key *key), void *arg,
		    uint8_t bitmap[CATCHUP_BITMAP_MAX]);
/* Sets the bits of blocks that differ from the member's own, in (count + 7) / 8 bytes. @all: its
 * own blocks are not to be relied on, all differ. Errors: -errno: the store failed. */
int catchup_blocks_differ(const struct catchup_store *store, void *ctx, const struct chunk_key *key,
			  const struct catchup_blocks *blocks, bool all, uint8_t *bitmap);
/* Finds the member's own chunks of the range that are not among the records: copies up to @max keys
 * to @out, and returns how many. *@cursor, all zero at first, is where to go on; its done is true
 * when the range has been covered. Errors: -ESTALE when one is of a later epoch than @epoch; else
 * -errno. */
struct catchup_cursor {
	bool begun, done;
	struct chunk_key after;
};
int catchup_extra(const struct catchup_store *store, void *ctx, uint32_t pool, uint32_t partition,
		  const struct catchup_compare *compare, uint64_t epoch,
		  struct catchup_cursor *cursor, struct chunk_key *out, int max);

/* ---- the predecessor's walk ---- */

struct catchup_walk;

enum catchup_action_kind {
	CATCHUP_NONE, /* nothing to do until the next event */
	CATCHUP_SEND, /* send op, key, offset, range and payload (a reference for the callee) */
	CATCHUP_READ, /* read [offset, offset+range) of key, verified, then catchup_walk_read() */
	CATCHUP_DAMAGED, /* key cannot be read here and was not copied; told once */
	CATCHUP_DONE,    /* the successor is equal */
	CATCHUP_FAILED,  /* the walk is over: status is a frame status or a positive errno */
};

struct catchup_action {
	enum catchup_action_kind kind;
	uint8_t op;
	struct chunk_key key;
	uint32_t offset, range;
	struct buf *payload;
	uint32_t status;
};

/* What the walk asks of its owner. */
struct catchup_owner {
	/* Returns the version above which all updates of the chunk are pending: at most @version,
	 * and @version itself when none is. */
	uint64_t (*base)(void *arg, const struct chunk_key *key, uint64_t version);
	/* True when a chunk that is to be copied is at rest, and stays so until the walk is behind
	 * it. False: the walk asks again after the next event. NULL: always true. */
	bool (*quiet)(void *arg, const struct chunk_key *key);
	/* True when so many bytes may be read and sent now. NULL: always true. */
	bool (*may_copy)(void *arg, uint32_t bytes);
	/* There are other copies. Then a copy that was never completed here, whose parts may be of
	 * two members, is left alone like one that cannot be read. Else it counts from now on. */
	bool others;
	/* A chunk of a later epoch ends the walk with -ESTALE. 0: no chunk does. */
	uint64_t epoch;
	void *arg;
};

/* @store and @ctx are borrowed, @owner is copied. NULL: out of memory. */
struct catchup_walk *catchup_walk_new(const struct catchup_store *store, void *ctx, uint32_t pool,
				      uint32_t partition, const struct catchup_owner *owner);
void catchup_walk_free(struct catchup_walk *walk); /* NULL is allowed */
/* Returns the next action. To be called until that is CATCHUP_NONE, DONE or FAILED, at first and
 * after each event. */
void catchup_walk_next(struct catchup_walk *walk, struct catchup_action *action);
/* Takes the answer to a frame. @payload is borrowed, and may be NULL. */
void catchup_walk_answer(struct catchup_walk *walk, uint8_t op, uint32_t status,
			 const struct buf *payload);
/* Ends a CATCHUP_READ, and takes over @buf (NULL when @error is set). Its start is 0, its length
 * the range of the action, and its checksums are filled in. -EBADMSG: this chunk is left alone, and
 * the walk goes on. */
void catchup_walk_read(struct catchup_walk *walk, int error, struct buf *buf, uint32_t offset);
/* Where a chunk is, seen from the walk. */
enum catchup_place {
	CATCHUP_BEHIND, /* compared or copied: the successor has it, and may be sent updates of it */
	CATCHUP_NOW,    /* under way */
	CATCHUP_AHEAD   /* still to be looked at: what is changed now will be seen then */
};
enum catchup_place catchup_walk_place(const struct catchup_walk *walk, struct catchup_key key);
/* True when CATCHUP_END has been sent: the flush that it causes does not cover later updates. */
bool catchup_walk_is_ending(const struct catchup_walk *walk);
/* Returns the chunk that is being copied; NULL: none. */
const struct chunk_key *catchup_walk_open_chunk(const struct catchup_walk *walk);

/* The walk's work so far. */
struct catchup_counts {
	uint64_t compared, copied, skipped; /* chunks; skipped: damaged here */
	uint64_t bytes;                     /* copied */
};
struct catchup_counts catchup_walk_counts(const struct catchup_walk *walk);
#endif
