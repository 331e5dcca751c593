/* log_hash.h - one number for all that a state machine has done: two that have the same one after an
 * entry have come to the same results and the same records, by the same changes.
 *
 * The hash of an entry is SHA-256 of: the hash of the entry before; the entry's size (8 bytes) and
 * bytes; its changes of the store, in order and as the command made them, before a turn makes less of
 * them (kv_batch_bytes()); their size (8 bytes); the result (4 bytes), the session that was opened,
 * the generation that was given, and up to where the lane is done (8 bytes each; 0: none), the reply. Numbers are little-endian.
 * The hash before the first entry is all zeros.
 *
 * A hash takes about as long as all else that is done for the entry, so it is for those who compare.
 *
 * Thread: one at a time. */
#ifndef CATENA_MASTER_LOG_LOG_HASH_H
#define CATENA_MASTER_LOG_LOG_HASH_H
#include <stdbool.h>
#include <stdint.h>
#include "common/kv/kv.h"
#include "master/log/command.h"

#define LOG_HASH_BYTES 32u

/* What came of an entry. The checksums tell which part differs when the hash does. */
struct log_trace {
	int32_t result;
	uint32_t answer_crc;  /* CRC32C of session, generation, lane and reply */
	uint32_t changes_crc; /* CRC32C of the changes */
	uint8_t hash[LOG_HASH_BYTES];
};

struct log_hash;

/* Begins behind no entry. Errors: -ENOMEM. */
int log_hash_new(struct log_hash **out);
void log_hash_free(struct log_hash *hash); /* NULL is allowed */
/* Goes on behind an entry with this hash. An entry that has not ended is forgotten. */
void log_hash_continue(struct log_hash *hash, const uint8_t last[LOG_HASH_BYTES]);
/* Writes the hash of the last entry to @out. */
void log_hash_last(const struct log_hash *hash, uint8_t out[LOG_HASH_BYTES]);

/* Begins an entry, before it is applied. */
void log_hash_begin(struct log_hash *hash, const uint8_t *entry, size_t size);
/* Adds changes: for state_listen(). Outside of an entry it does nothing. */
void log_hash_changes(void *user, const struct kv_batch *batch);
/* The same with changes that were copied (kv_batch_bytes()). */
void log_hash_copied(struct log_hash *hash, const uint8_t *changes, size_t size);
/* Ends the entry. Errors: -ENOMEM, the entry does not count. */
int log_hash_end(struct log_hash *hash, int result, const struct command_result *given,
		 struct log_trace *out);

/* Makes SHA-256 of all records of the first @families families of the store, each family in the order
 * of its keys: for each record its family, the sizes of key and value (4 bytes each), key and value.
 * Reads all of the store. Errors: -ENOMEM, the store's. */
int log_hash_store(struct kv *kv, unsigned families, uint8_t out[LOG_HASH_BYTES]);
#endif
