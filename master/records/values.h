/* values.h - inodes, directory entries and counters, and how the store has them. */
#ifndef CATENA_MASTER_RECORDS_VALUES_H
#define CATENA_MASTER_RECORDS_VALUES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include "master/records/keys.h"
#include "master/records/types.h"

struct inode_record {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid, rdev, pool;
	uint64_t size;
	int64_t atime, mtime, ctime;
	uint64_t file_id, version, allocated, parent;
	uint64_t trim_from, trim_to, trim_session; /* trim_to 0: no trim is pending */
	uint64_t entries;                          /* of a directory */
	uint32_t xattr_bytes;                      /* names and values */
	uint8_t flags;                             /* INODE_* */
	uint64_t truncations;                      /* sizes set; see Attr */
	int64_t truncated_at;
	/* When a request set these times to what it liked; 0: they are of a read, a write or the
	 * creation. What the mounts tell of reads and writes that were before does not count. */
	int64_t atime_set, mtime_set;
};
#define FILE_BYTES_MAX    (UINT64_C(1) << 50) /* bounds the work of removing a sparse file */
#define INODE_CROWDED     1u /* directory: some entry is not in the first slot of its hash */
#define INODE_HAS_RECORDS 2u /* has records in FAMILY_XATTRS */
#define INODE_SPARSE      4u /* regular file: it may have holes below its size */
#define INODE_VALUE_BYTES (2 + 6 * 4 + 12 * 8 + 4 + 4 * 8)

/* Of a dentry's type: reserved, refused. An entry that is about to be, while another group of
 * masters has a part in it. */
#define DENTRY_INTENT 128u

/* ino 0: a deleted entry with others behind it in its slots. */
struct dentry {
	uint64_t ino;
	uint8_t type; /* DT_* */
	uint8_t name_size;
	uint8_t name[NAME_BYTES_MAX];
};

struct counters {
	uint64_t index; /* applied */
	uint64_t next_ino, next_file_id, next_session, next_server, next_removal, map_version;
	uint32_t next_target;
	uint64_t inodes, orphans, removals, bytes;
};
#define COUNTERS_VALUE_BYTES (1 + 11 * 8 + 4)

/* Are there @count numbers for inodes and files each? */
static inline bool counters_have_ids(const struct counters *counters, uint64_t count)
{
	return id_has_room(counters->next_ino, count) && id_has_room(counters->next_file_id, count);
}

static inline bool inode_is(const struct inode_record *inode, uint32_t type)
{
	return (inode->mode & S_IFMT) == type;
}

#define DENTRY_VALUE_MAX (9 + NAME_BYTES_MAX)

/* Each decoder returns false for what no encoder made, and for numbers of other groups. */
void value_encode_inode(const struct inode_record *inode, uint8_t out[INODE_VALUE_BYTES]);
bool value_decode_inode(uint64_t ino, const uint8_t *data, size_t size, struct inode_record *inode);
size_t value_encode_dentry(const struct dentry *dentry, uint8_t out[DENTRY_VALUE_MAX]);
bool value_decode_dentry(const uint8_t *data, size_t size, struct dentry *dentry);
void value_encode_counters(const struct counters *counters, uint8_t out[COUNTERS_VALUE_BYTES]);
bool value_decode_counters(const uint8_t *data, size_t size, struct counters *counters);
#endif
