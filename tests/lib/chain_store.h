/* chain_store.h - the simulation's model of a target: chunks of a few blocks, each block a number.
 *
 * A change is at once what later lookups see and survives the kill of the process; it survives a
 * power cut when a flush has begun after it. A power cut keeps some first part of the changes since;
 * of large chunks (every other file), whose blocks lie beside the log, also blocks of changes that
 * are lost, and not all of those that are kept: such a chunk is marked, as store/replay.c does.
 */
#ifndef CATENA_TESTS_LIB_CHAIN_STORE_H
#define CATENA_TESTS_LIB_CHAIN_STORE_H
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/chain/chain.h"
#include "chunkserver/record/op_ids.h"
#include "chunkserver/record/seen.h"
#include "common/base/bitmap.h"
#include "common/base/crc32c.h"
#include "tests/lib/random.h"

#define MODEL_BLOCKS     8u
#define MODEL_CHUNKS     512u
#define MODEL_BYTES      (MODEL_BLOCKS * BLOCK_SIZE)
#define MODEL_PARTITIONS 8u

struct model_chunk {
	struct chunk_key key;
	bool exists, unsure;
	uint8_t halves; /* bits of blocks: of an update that was broken off half way */
	uint64_t epoch, version;
	struct chunk_history history;
	uint64_t blocks[MODEL_BLOCKS]; /* 0: a hole */
	uint32_t op_count;
	struct op_id ops[OP_IDS_KEPT]; /* last: only op_count of them are ever copied */
};

/* What a target remembers beside its chunks. */
struct model_notes {
	uint64_t epochs[MODEL_PARTITIONS]; /* highest of each partition's chain */
	struct store_seen seen;
	struct map_chain chains[MODEL_PARTITIONS]; /* epoch 0: never a member */
};

/* Zeroed it is empty; ends with model_free(). */
struct model_store {
	unsigned count;
	uint32_t ops_kept; /* as chain_ops.ops_kept */
	struct chunk_key keys[MODEL_CHUNKS];
	struct model_chunk *chunks[MODEL_CHUNKS];
	struct model_chunk *durable[MODEL_CHUNKS];
	/* Changes that are not durable yet: [log_first, log_end). */
	uint8_t *log;
	size_t log_first, log_end, log_size, log_count;
	uint64_t log_base; /* number of the first change in the log */
	struct model_notes notes, durable_notes;
	bool notes_logged; /* notes are changes of the log, too; else no power cut takes them */
};

struct model_chunk *model_new(size_t count);
void model_copy(struct model_chunk *to, const struct model_chunk *from);

/* As if it had never been written to. */
void model_clear(struct model_chunk *chunk);
unsigned model_slot_new(struct model_store *store, const struct chunk_key *key);
unsigned model_slot(struct model_store *store, const struct chunk_key *key);
void model_free(struct model_store *store);
struct model_chunk *model_chunk(struct model_store *store, const struct chunk_key *key);

/* NULL: the store has no such chunk. No slot is made for it. */
const struct model_chunk *model_find(const struct model_store *store, const struct chunk_key *key);
void model_log_empty(struct model_store *store);
void model_changed(struct model_store *store, const struct model_chunk *chunk);
void model_noted(struct model_store *store);
uint64_t model_now(const struct model_store *store);

/* All changes before number @upto are on stable storage. */
void model_flushed(struct model_store *store, uint64_t upto);

/* The first @kept changes of the log have reached the disk by themselves. */
void model_power_cut(struct model_store *store, size_t kept, uint64_t random);
uint32_t model_length(const struct model_chunk *chunk);
uint32_t model_digest(const struct model_chunk *chunk);

/* A payload of whole blocks holds one number for each. */
struct buf *model_payload(const uint64_t *numbers, uint32_t blocks);

/* 0 or -EBUSY, as store_commit(). */
int model_commit(struct model_store *store, const struct chain_work *request);

/* An update that was prepared, or begun to be, and will not be: it has gone over those of its first
 * @upto blocks that are there, in place, and they are taken as they are. Were there any? */
bool model_abort(struct model_store *store, const struct chain_work *request, uint32_t upto);

/* A prepare ends with @error now: it may have come half way. Damage is found before anything is
 * written. Not by a number of the world's chance, so that worlds without this are as they would be.
 */
bool model_broken_off(struct model_store *store, const struct chain_work *request, int error,
		      uint64_t now);
void model_remove(struct model_store *store, const struct chunk_key *key);

/* ---- lookups of the chain; ctx is the model_store ---- */

int model_info(void *ctx, const struct chunk_key *key, struct chunk_info *info);
int model_get_digest(void *ctx, const struct chunk_key *key, uint32_t *digest);
int model_presence(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes);

/* A block's number does for its checksum. */
int model_checksums(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
		    uint8_t *bitmap);
int model_scan(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
	       struct chunk_key *out, int max);
int model_complete(void *ctx, const struct chunk_key *key, const struct chunk_info *info);
struct buf *model_buffer(void *ctx, uint32_t size);
#endif
