/* kv.h - the embedded ordered store: RocksDB, or its in-memory twin for simulation.
 *
 * Durability: a batch is atomic. It survives the process (SIGKILL), and a power cut once a later
 * kv_flush() or a durable write has returned 0.
 *
 * Failure: after a failed write or flush the store is "down": every call but kv_recover() and
 * kv_close() returns -EIO (-ENOSPC when that was the cause), because RocksDB may stay latched on
 * its error although the cause is gone. kv_recover() closes and opens it again; what had been
 * acknowledged is there. RocksDB's own info log goes to our log (level FATAL kept off the data
 * disk: it aborts the process on a full one). A read that meets damage (-EUCLEAN) takes the store
 * down for good, unless it was opened to bear that: kv_recover() fails with -EUCLEAN, too.
 *
 * Thread: any; kv_recover() and kv_close() wait for readers. Iterators hold a snapshot and must be
 * freed soon. */
#ifndef CATENA_COMMON_KV_KV_H
#define CATENA_COMMON_KV_KV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv;
struct kv_batch;
struct kv_iter;

struct kv_family {
	const char *name;
	bool large_values; /* RocksDB: blob files, so that compaction does not rewrite values */
};

struct kv_options {
	const char *path;
	const struct kv_family *families; /* family i is number i; families[0].name is "default" */
	unsigned family_count;
	uint64_t cache_bytes;    /* block cache; 0: 64 MiB */
	uint64_t memtable_bytes; /* of all families, also bounds the log; 0: by the size of the disk
				  */
	bool bears_damage;       /* a read that meets damage fails alone, with -EUCLEAN */
	bool create;             /* make it when absent; else -ENOENT */
	bool read_only;          /* nobody else opens it meanwhile; calls that write give -EROFS */
};

/* -ENOENT, -EBUSY (locked by another process), -EUCLEAN (damaged), -EIO, -ENOSPC; one line in
 * @error. */
int kv_open(const struct kv_options *options, struct kv **out, char *error, size_t error_size);
int kv_open_memory(const struct kv_family *families, unsigned family_count, struct kv **out);
void kv_close(struct kv *kv); /* NULL is allowed */
int kv_recover(struct kv *kv);
bool kv_is_down(const struct kv *kv);
/* True when the disk has less free than the store may need to go on, beside its reserve. Refuse then
 * what makes it grow. Once it is down for lack of space, kv_recover() gives up the reserve, which is
 * for deleting until room comes back. Cheap enough for each request. */
bool kv_space_low(struct kv *kv);
/* Gives the space of deleted and overwritten values back now; otherwise it comes back by and by. It
 * reads and writes much of the family, so it takes long. Thread: any but a loop's. */
int kv_compact(struct kv *kv, unsigned family);
/* Ends kv_compact() for good: the one under way returns soon, and later ones at once. */
void kv_compact_stop(struct kv *kv);

/* Reads one value; *value is malloc()ed. Errors: -ENOENT. */
int kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
	   size_t *value_size);

struct kv_batch *kv_batch_new(void);
void kv_batch_free(struct kv_batch *batch);
void kv_batch_clear(struct kv_batch *batch);
size_t kv_batch_count(const struct kv_batch *batch);
void kv_batch_put(struct kv_batch *batch, unsigned family, const void *key, size_t key_size,
		  const void *value, size_t value_size);
void kv_batch_delete(struct kv_batch *batch, unsigned family, const void *key, size_t key_size);
/* Deletes the keys in [start, end). */
void kv_batch_delete_range(struct kv_batch *batch, unsigned family, const void *start,
			   size_t start_size, const void *end, size_t end_size);
/* Returns the records in order as bytes, borrowed until the batch changes. Of each: kind << 24 |
 * family, the size of the key, that of the value (4 bytes each, little-endian), key and value. Kind 1
 * is a put, 2 deletes a key, 3 deletes a range, whose end is the value. */
const uint8_t *kv_batch_bytes(const struct kv_batch *batch, size_t *size);
/* Writes the batch, all of it or nothing. It is left as it is, to be cleared or freed. */
int kv_write(struct kv *kv, const struct kv_batch *batch, bool durable);
/* Makes everything written before durable. Calls from several threads share one flush. */
int kv_flush(struct kv *kv);

/* Opens an iterator over the keys in [start, end), in order; end NULL: to the last one. */
int kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
		 const void *end, size_t end_size, struct kv_iter **out);
/* Returns 1 with *key and *value, borrowed until the next call; 0 at the end; -errno. Either pair
 * may be NULL. */
int kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size, const uint8_t **value,
		 size_t *value_size);
void kv_iter_free(struct kv_iter *iter);

/* Makes a consistent copy by hard links, for kv_open(). @path must not exist. Nothing of the store is
 * rewritten for it, and writes go on meanwhile: the copy has all batches up to one that was written
 * before this returns, and at least those from before the call. What was not flushed of these is in
 * the copy, too, but may be lost from it by a power cut until the store is flushed. */
int kv_checkpoint(struct kv *kv, const char *path);

/* ---- the twin in memory only ---- */

/* Forgets everything not flushed, as a power cut would. */
void kv_memory_crash(struct kv *kv);
/* Makes another store with what readers see of this one now, all of it flushed. Errors: -ENOMEM. */
int kv_memory_copy(struct kv *kv, struct kv **out);
/* Makes the nth coming write fail with @error. */
void kv_memory_fail_write(struct kv *kv, int nth, int error);
/* Makes kv_get() of this key (at most 64 bytes), and of no other any more, fail with -EUCLEAN. */
void kv_memory_damage(struct kv *kv, unsigned family, const void *key, size_t key_size);
#endif
