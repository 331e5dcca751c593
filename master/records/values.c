/* values.c - values of the master's store. docs/store-format.md has the formats. */
#include "master/records/values.h"
#include <string.h>
#include "common/base/expects.h"
#include "common/base/bytes.h"

#define INODE_FORMAT    2 /* 1: without what counts and dates truncations and set times */
#define COUNTERS_FORMAT 1

static uint8_t *add32(uint8_t *at, uint32_t value)
{
	put_le32(at, value);
	return at + 4;
}

static uint8_t *add64(uint8_t *at, uint64_t value)
{
	put_le64(at, value);
	return at + 8;
}

void value_encode_inode(const struct inode_record *inode, uint8_t out[INODE_VALUE_BYTES])
{
	uint8_t *at = out;

	expects(inode->ino != 0);
	*at++ = INODE_FORMAT;
	*at++ = inode->flags;
	at = add32(at, inode->mode);
	at = add32(at, inode->nlink);
	at = add32(at, inode->uid);
	at = add32(at, inode->gid);
	at = add32(at, inode->rdev);
	at = add32(at, inode->pool);
	at = add64(at, inode->size);
	at = add64(at, (uint64_t)inode->atime);
	at = add64(at, (uint64_t)inode->mtime);
	at = add64(at, (uint64_t)inode->ctime);
	at = add64(at, inode->file_id);
	at = add64(at, inode->version);
	at = add64(at, inode->allocated);
	at = add64(at, inode->parent);
	at = add64(at, inode->trim_from);
	at = add64(at, inode->trim_to);
	at = add64(at, inode->trim_session);
	at = add64(at, inode->entries);
	at = add32(at, inode->xattr_bytes);
	at = add64(at, inode->truncations);
	at = add64(at, (uint64_t)inode->truncated_at);
	at = add64(at, (uint64_t)inode->atime_set);
	add64(at, (uint64_t)inode->mtime_set);
}

bool value_decode_inode(uint64_t ino, const uint8_t *data, size_t size, struct inode_record *inode)
{
	struct reader r = reader_on(data, size);
	uint8_t format = reader_u8(&r);

	if (format == 0 || format > INODE_FORMAT)
		return false;
	inode->ino = ino;
	inode->flags = reader_u8(&r);
	inode->mode = reader_le32(&r);
	inode->nlink = reader_le32(&r);
	inode->uid = reader_le32(&r);
	inode->gid = reader_le32(&r);
	inode->rdev = reader_le32(&r);
	inode->pool = reader_le32(&r);
	inode->size = reader_le64(&r);
	inode->atime = (int64_t)reader_le64(&r);
	inode->mtime = (int64_t)reader_le64(&r);
	inode->ctime = (int64_t)reader_le64(&r);
	inode->file_id = reader_le64(&r);
	inode->version = reader_le64(&r);
	inode->allocated = reader_le64(&r);
	inode->parent = reader_le64(&r);
	inode->trim_from = reader_le64(&r);
	inode->trim_to = reader_le64(&r);
	inode->trim_session = reader_le64(&r);
	inode->entries = reader_le64(&r);
	inode->xattr_bytes = reader_le32(&r);
	inode->truncations = format == 1 ? 0 : reader_le64(&r);
	inode->truncated_at = format == 1 ? 0 : (int64_t)reader_le64(&r);
	inode->atime_set = format == 1 ? 0 : (int64_t)reader_le64(&r);
	inode->mtime_set = format == 1 ? 0 : (int64_t)reader_le64(&r);
	return reader_done(&r) && id_is_ours(inode->file_id) && id_is_ours(inode->parent) &&
	       id_is_ours(inode->trim_session);
}

size_t value_encode_dentry(const struct dentry *dentry, uint8_t out[DENTRY_VALUE_MAX])
{
	expects((dentry->ino == 0) == (dentry->name_size == 0));
	expects((dentry->type & DENTRY_INTENT) == 0);
	put_le64(out, dentry->ino);
	out[8] = dentry->type;
	memcpy(out + 9, dentry->name, dentry->name_size);
	return 9 + (size_t)dentry->name_size;
}

bool value_decode_dentry(const uint8_t *data, size_t size, struct dentry *dentry)
{
	if (size < 9 || size > DENTRY_VALUE_MAX || (data[8] & DENTRY_INTENT) != 0 ||
	    !id_is_ours(get_le64(data)))
		return false;
	dentry->ino = get_le64(data);
	dentry->type = data[8];
	dentry->name_size = (uint8_t)(size - 9);
	memcpy(dentry->name, data + 9, size - 9);
	/* Only a deleted entry has no name. */
	return (dentry->ino == 0) == (dentry->name_size == 0);
}

void value_encode_counters(const struct counters *counters, uint8_t out[COUNTERS_VALUE_BYTES])
{
	uint8_t *at = out;

	*at++ = COUNTERS_FORMAT;
	at = add64(at, counters->index);
	at = add64(at, counters->next_ino);
	at = add64(at, counters->next_file_id);
	at = add64(at, counters->next_session);
	at = add64(at, counters->next_server);
	at = add64(at, counters->next_removal);
	at = add64(at, counters->map_version);
	at = add64(at, counters->inodes);
	at = add64(at, counters->orphans);
	at = add64(at, counters->removals);
	at = add64(at, counters->bytes);
	add32(at, counters->next_target);
}

bool value_decode_counters(const uint8_t *data, size_t size, struct counters *counters)
{
	struct reader r = reader_on(data, size);

	if (reader_u8(&r) != COUNTERS_FORMAT)
		return false;
	counters->index = reader_le64(&r);
	counters->next_ino = reader_le64(&r);
	counters->next_file_id = reader_le64(&r);
	counters->next_session = reader_le64(&r);
	counters->next_server = reader_le64(&r);
	counters->next_removal = reader_le64(&r);
	counters->map_version = reader_le64(&r);
	counters->inodes = reader_le64(&r);
	counters->orphans = reader_le64(&r);
	counters->removals = reader_le64(&r);
	counters->bytes = reader_le64(&r);
	counters->next_target = reader_le32(&r);
	/* Each may have come to its end. */
	return reader_done(&r) && counters->next_ino <= ID_END &&
	       counters->next_file_id <= ID_END && counters->next_session <= ID_END;
}
