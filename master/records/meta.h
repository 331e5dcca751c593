/* meta.h - the single records of FAMILY_META that are no session and not of the cluster, and the
 * removal queue's: what the store has of each. docs/store-format.md has the formats.
 *
 * Each decoder returns false for what no encoder made. Keys are not looked at, but where said. */
#ifndef CATENA_MASTER_RECORDS_META_H
#define CATENA_MASTER_RECORDS_META_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "master/records/keys.h"
#include "master/records/types.h"

#define CLUSTER_ID_MAX 64u /* with its end */

struct meta_super {
	uint8_t name_key[NAME_KEY_BYTES];
	uint64_t instance; /* 0: none yet */
	char cluster_id[CLUSTER_ID_MAX];
};

struct tree_lease {
	uint64_t generation; /* of the last one granted */
	uint64_t session;    /* its holder; 0: none */
};

/* The life that began with the last acceptance. */
struct meta_accepted {
	uint64_t life, chance;
};

#define META_SUPER_BYTES_MAX (1 + NAME_KEY_BYTES + 8 + CLUSTER_ID_MAX)
/* Returns the size. */
size_t meta_encode_super(const struct meta_super *super, uint8_t out[META_SUPER_BYTES_MAX]);
bool meta_decode_super(const uint8_t *data, size_t size, struct meta_super *super);

#define META_LEVEL_BYTES (1 + 4)
void meta_encode_level(uint32_t level, uint8_t out[META_LEVEL_BYTES]);
bool meta_decode_level(const uint8_t *data, size_t size, uint32_t *level);

#define META_LEASE_BYTES (1 + 2 * 8)
void meta_encode_lease(const struct tree_lease *lease, uint8_t out[META_LEASE_BYTES]);
bool meta_decode_lease(const uint8_t *data, size_t size, struct tree_lease *lease);

/* Of META_ENDED and META_OWED, which say nothing but that they are there. */
#define META_FLAG_BYTES 1
void meta_encode_flag(uint8_t out[META_FLAG_BYTES]);
bool meta_decode_flag(const uint8_t *data, size_t size);

#define META_APPEND_BYTES (1 + 8)
void meta_encode_append(uint64_t session, uint8_t out[META_APPEND_BYTES]);
bool meta_decode_append(const uint8_t *data, size_t size, uint64_t *session);

#define META_LANE_BYTES 8
void meta_encode_lane(uint64_t done, uint8_t out[META_LANE_BYTES]);
bool meta_decode_lane(const uint8_t *data, size_t size, uint64_t *done);

#define META_LIFE_BYTES (1 + 3 * 8)
void meta_encode_life(const struct state_life *life, uint8_t out[META_LIFE_BYTES]);
/* @number: of its key. */
bool meta_decode_life(uint64_t number, const uint8_t *data, size_t size, struct state_life *life);

#define META_ACCEPTED_BYTES (1 + 2 * 8)
void meta_encode_accepted(const struct meta_accepted *accepted, uint8_t out[META_ACCEPTED_BYTES]);
bool meta_decode_accepted(const uint8_t *data, size_t size, struct meta_accepted *accepted);

#define META_GIVEN_UP_KEY_BYTES (1 + 36)
#define META_GIVEN_UP_BYTES     (1 + 4 * 8)
size_t meta_key_given_up(uint8_t key[META_GIVEN_UP_KEY_BYTES], const char *uuid);
void meta_encode_seen(const struct state_seen *seen, uint8_t out[META_GIVEN_UP_BYTES]);
bool meta_decode_seen(const uint8_t *data, size_t size, struct state_seen *seen);

#define META_REMOVAL_BYTES (4 + 8 + 8)
void meta_encode_removal(const struct state_removal *removal, uint8_t out[META_REMOVAL_BYTES]);
/* Reads the sequence from @key. */
bool meta_decode_removal(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
			 struct state_removal *removal);
#endif
