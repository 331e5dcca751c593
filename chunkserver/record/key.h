/* key.h - the families and keys of a target's db. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_KEY_H
#define CATENA_CHUNKSERVER_RECORD_KEY_H
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/chunk.h"

#define FAMILY_MAIN  0u /* records, pieces, marks, the state */
#define FAMILY_INNER 1u /* inner blocks */
#define FAMILY_COUNT 2u

#define KEY_RECORD     'c'
#define KEY_PIECE      'p'
#define KEY_MARK       'm'
#define KEY_STATE      's'
#define KEY_LIFE       'l'
#define KEY_WITNESS    'y'
#define KEY_DAMAGE     'd'
#define KEY_EPOCH      'e'
#define KEY_SEEN       'w' /* struct store_seen */
#define KEY_SEEN_CHAIN 'h' /* pool be32, partition be32: a chain, as the newest map had it */
#define KEY_BYTES_MAX  (CHUNK_KEY_BYTES + 4)

/* All write the key to @out and return its size. */
size_t key_record(const struct chunk_key *key, uint8_t out[KEY_BYTES_MAX]);
size_t key_piece(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX]);
size_t key_mark(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX]);
size_t key_inner(const struct chunk_key *key, uint32_t block, uint8_t out[KEY_BYTES_MAX]);
#endif
