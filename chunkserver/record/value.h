/* value.h - the smaller values of a target's db. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_VALUE_H
#define CATENA_CHUNKSERVER_RECORD_VALUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/record/bits.h"
#include "chunkserver/record/seen.h"
#include "common/base/block.h"
#include "common/cluster/chunk.h"
#include "common/cluster/cluster_map.h"

#define MARK_VALUE_MAX   (2 + PIECE_BLOCKS / 8 + 4)
#define INNER_HEAD       5u /* format, checksum */
#define INNER_VALUE_MAX  (INNER_HEAD + BLOCK_SIZE)
#define STATE_VALUE_MAX  128u
#define NUMBER_VALUE_MAX 16u
#define SEEN_VALUE_MAX   128u
#define BOOT_ID_BYTES    40u

/* Encoders return the bytes written. Decoders take anything: -EBADMSG. */

/* A mark: the live file blocks of a piece that may be half overwritten. */
size_t value_mark_encode(const struct chunk_key *key, uint32_t index, const struct bits *over,
			 uint8_t out[MARK_VALUE_MAX]);
int value_mark_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		      struct bits *over);
/* An inner block: its checksum, and @length bytes; the rest of the block is zeros. */
size_t value_inner_encode(uint32_t crc, const void *bytes, uint32_t length,
			  uint8_t out[INNER_VALUE_MAX]);
int value_inner_decode(const void *data, size_t size, uint32_t crc, uint8_t out[BLOCK_SIZE]);
/* The state: was the target closed, and in which boot of the machine was it used? */
size_t value_state_encode(bool clean, const char *boot_id, uint8_t out[STATE_VALUE_MAX]);
int value_state_decode(const void *data, size_t size, bool *clean, char boot_id[BOOT_ID_BYTES]);
/* A number that is not 0, under the one-letter @key: KEY_LIFE; KEY_WITNESS, the witness's mark;
 * KEY_DAMAGE, the life that noticed damage; KEY_EPOCH, the highest epoch of a partition's chain. */
size_t value_number_encode(uint8_t key, uint64_t number, uint8_t out[NUMBER_VALUE_MAX]);
int value_number_decode(uint8_t key, const void *data, size_t size, uint64_t *number);
/* What a target remembers of masters. */
size_t value_seen_encode(const struct store_seen *seen, uint8_t out[SEEN_VALUE_MAX]);
int value_seen_decode(const void *data, size_t size, struct store_seen *seen);
/* A chain as the newest map had it; @key is the db's. */
size_t value_seen_chain_encode(const void *key, size_t key_size, const struct map_chain *chain,
			       uint8_t out[SEEN_VALUE_MAX]);
int value_seen_chain_decode(const void *key, size_t key_size, const void *data, size_t size,
			    struct map_chain *chain);
#endif
