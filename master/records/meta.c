/* meta.c - the single records of the master's store; see meta.h. */
#include "master/records/meta.h"
#include <string.h>
#include "common/base/bytes.h"

/* The first format has no instance. */
#define SUPER_FORMAT_1 1
#define SUPER_FORMAT   2
#define SUPER_HEAD_1   (1 + NAME_KEY_BYTES) /* before the cluster id */
#define SUPER_HEAD     (1 + NAME_KEY_BYTES + 8)

#define LIFE_FORMAT_1 1 /* without the index */
#define LIFE_FORMAT   2
#define LIFE_BYTES_1  (1 + 2 * 8)

#define FORMAT 1 /* of all others */

size_t meta_encode_super(const struct meta_super *super, uint8_t out[META_SUPER_BYTES_MAX])
{
	size_t size = strnlen(super->cluster_id, CLUSTER_ID_MAX - 1);

	out[0] = SUPER_FORMAT;
	memcpy(out + 1, super->name_key, NAME_KEY_BYTES);
	put_le64(out + 1 + NAME_KEY_BYTES, super->instance);
	memcpy(out + SUPER_HEAD, super->cluster_id, size);
	return SUPER_HEAD + size;
}

bool meta_decode_super(const uint8_t *data, size_t size, struct meta_super *super)
{
	size_t head = size > 0 && data[0] == SUPER_FORMAT_1 ? SUPER_HEAD_1 : SUPER_HEAD;

	if (size <= head || size - head >= CLUSTER_ID_MAX ||
	    (data[0] != SUPER_FORMAT_1 && data[0] != SUPER_FORMAT))
		return false;
	memcpy(super->name_key, data + 1, NAME_KEY_BYTES);
	super->instance = head == SUPER_HEAD ? get_le64(data + 1 + NAME_KEY_BYTES) : 0;
	memcpy(super->cluster_id, data + head, size - head);
	super->cluster_id[size - head] = '\0';
	return true;
}

void meta_encode_level(uint32_t level, uint8_t out[META_LEVEL_BYTES])
{
	out[0] = FORMAT;
	put_le32(out + 1, level);
}

bool meta_decode_level(const uint8_t *data, size_t size, uint32_t *level)
{
	if (size != META_LEVEL_BYTES || data[0] != FORMAT)
		return false;
	*level = get_le32(data + 1);
	return true;
}

void meta_encode_lease(const struct tree_lease *lease, uint8_t out[META_LEASE_BYTES])
{
	out[0] = FORMAT;
	put_le64(out + 1, lease->generation);
	put_le64(out + 9, lease->session);
}

bool meta_decode_lease(const uint8_t *data, size_t size, struct tree_lease *lease)
{
	if (size != META_LEASE_BYTES || data[0] != FORMAT)
		return false;
	lease->generation = get_le64(data + 1);
	lease->session = get_le64(data + 9);
	return true;
}

void meta_encode_flag(uint8_t out[META_FLAG_BYTES])
{
	out[0] = FORMAT;
}

bool meta_decode_flag(const uint8_t *data, size_t size)
{
	return size == META_FLAG_BYTES && data[0] == FORMAT;
}

void meta_encode_append(uint64_t session, uint8_t out[META_APPEND_BYTES])
{
	out[0] = FORMAT;
	put_le64(out + 1, session);
}

bool meta_decode_append(const uint8_t *data, size_t size, uint64_t *session)
{
	if (size != META_APPEND_BYTES || data[0] != FORMAT)
		return false;
	*session = get_le64(data + 1);
	return true;
}

void meta_encode_lane(uint64_t done, uint8_t out[META_LANE_BYTES])
{
	put_le64(out, done);
}

bool meta_decode_lane(const uint8_t *data, size_t size, uint64_t *done)
{
	if (size != META_LANE_BYTES)
		return false;
	*done = get_le64(data);
	return true;
}

void meta_encode_life(const struct state_life *life, uint8_t out[META_LIFE_BYTES])
{
	out[0] = LIFE_FORMAT;
	put_le64(out + 1, life->chance);
	put_le64(out + 9, life->first_version);
	put_le64(out + 17, life->first_index);
}

bool meta_decode_life(uint64_t number, const uint8_t *data, size_t size, struct state_life *life)
{
	if (size == 0 ||
	    !(data[0] == LIFE_FORMAT ? size == META_LIFE_BYTES
				     : data[0] == LIFE_FORMAT_1 && size == LIFE_BYTES_1))
		return false;
	*life = (struct state_life){.number = number,
				    .chance = get_le64(data + 1),
				    .first_version = get_le64(data + 9)};
	if (size == META_LIFE_BYTES)
		life->first_index = get_le64(data + 17);
	return true;
}

void meta_encode_accepted(const struct meta_accepted *accepted, uint8_t out[META_ACCEPTED_BYTES])
{
	out[0] = FORMAT;
	put_le64(out + 1, accepted->life);
	put_le64(out + 9, accepted->chance);
}

bool meta_decode_accepted(const uint8_t *data, size_t size, struct meta_accepted *accepted)
{
	if (size != META_ACCEPTED_BYTES || data[0] != FORMAT)
		return false;
	accepted->life = get_le64(data + 1);
	accepted->chance = get_le64(data + 9);
	return true;
}

size_t meta_key_given_up(uint8_t key[META_GIVEN_UP_KEY_BYTES], const char *uuid)
{
	memset(key, 0, META_GIVEN_UP_KEY_BYTES);
	key[0] = META_GIVEN_UP;
	memcpy(key + 1, uuid, strnlen(uuid, META_GIVEN_UP_KEY_BYTES - 1));
	return META_GIVEN_UP_KEY_BYTES;
}

void meta_encode_seen(const struct state_seen *seen, uint8_t out[META_GIVEN_UP_BYTES])
{
	out[0] = FORMAT;
	put_le64(out + 1, seen->life);
	put_le64(out + 9, seen->chance);
	put_le64(out + 17, seen->version);
	put_le64(out + 25, seen->index);
}

bool meta_decode_seen(const uint8_t *data, size_t size, struct state_seen *seen)
{
	if (size != META_GIVEN_UP_BYTES || data[0] != FORMAT)
		return false;
	*seen = (struct state_seen){.life = get_le64(data + 1),
				    .chance = get_le64(data + 9),
				    .version = get_le64(data + 17),
				    .index = get_le64(data + 25)};
	return true;
}

void meta_encode_removal(const struct state_removal *removal, uint8_t out[META_REMOVAL_BYTES])
{
	put_le32(out, removal->pool);
	put_le64(out + 4, removal->file_id);
	put_le64(out + 12, removal->size);
}

bool meta_decode_removal(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
			 struct state_removal *removal)
{
	if (key_size != 8 || size != META_REMOVAL_BYTES)
		return false;
	removal->sequence = get_be64(key);
	removal->pool = get_le32(data);
	removal->file_id = get_le64(data + 4);
	removal->size = get_le64(data + 12);
	return id_is_ours(removal->file_id);
}
