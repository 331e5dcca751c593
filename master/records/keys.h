/* keys.h - the families and keys of the master's store. docs/store-format.md has the formats. */
#ifndef CATENA_MASTER_RECORDS_KEYS_H
#define CATENA_MASTER_RECORDS_KEYS_H
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/namespace_rules.h"
#include "common/kv/kv.h"

/* The column families, for kv_open(). */
extern const struct kv_family records_families[];
extern const unsigned records_family_count;

/* The numbers of records_families[]; part of the format on disk only by the families' names. */
enum family {
	FAMILY_META,     /* "default": tag byte, then by tag */
	FAMILY_INODES,   /* ino be64 -> struct inode_record */
	FAMILY_DENTRIES, /* parent be64, cookie be64 -> struct dentry */
	FAMILY_XATTRS,   /* ino be64, name -> value; ino be64, 0 -> symlink's target */
	FAMILY_REPLIES,  /* session be64, request id be64 -> reply */
	FAMILY_OPENS,    /* session be64, ino be64 -> count le32 */
	FAMILY_REMOVALS, /* sequence be64 -> pool le32, file id le64, size le64 */
	FAMILY_COUNT
};

enum meta_tag {
	META_SUPER = 'S',    /* format, key of the name hash, instance, cluster id */
	META_COUNTERS = 'K', /* struct counters */
	META_SESSION = 's',  /* id be64 */
	META_LANE = 'n',     /* id be64 of a session: how far its lane is done, le64 */
	META_ORPHAN = 'o',   /* ino be64: nlink is 0, but open */
	META_POOL = 'p',     /* id be32 */
	META_CHAIN = 'c',    /* pool be32, partition be32 */
	META_SERVER = 'v',   /* id be64 */
	META_TARGET = 't',   /* id be32 */
	META_RECOVERY = 'r', /* struct state_recovery */
	META_APPEND = 'a',   /* ino be64: who may append */
	META_FENCE = 'f',    /* servers to be told first of the last change of chains */
	META_LEASE = 'l',    /* struct tree_lease */
	META_ENDED = 'e',    /* id be64: of a session that was fenced */
	META_OWED = 'w',     /* there: state_fences_owed() */
	META_LIFE = 'L',     /* number be64: struct state_life */
	META_ACCEPTED = 'A', /* the life that began with the last acceptance */
	META_LEVEL = 'V',    /* state_level() */
	META_GIVEN_UP = 'g', /* uuid: what the target had seen when the store was accepted */
};

#define META_KEY_MAX   9
#define XATTR_KEY_MAX  (8 + XATTR_NAME_BYTES_MAX)
#define NAME_KEY_BYTES 16
#define DENTRY_SLOTS   64u /* for names of one directory with one hash */

/* Returns the hash of a name: part of the format on disk, pinned by a test. */
uint64_t key_name_hash(const uint8_t key[NAME_KEY_BYTES], const uint8_t *name, size_t size);
/* Returns the first slot of a name; the others of its hash follow. @mask is all ones, but in tests
 * that want many names with one hash. */
uint64_t key_name_cookie(const uint8_t key[NAME_KEY_BYTES], uint64_t mask, const uint8_t *name,
			 size_t size);

/* Each writes one key, and returns its size where that varies. */
void key_u64(uint8_t key[8], uint64_t a);
void key_u64_u64(uint8_t key[16], uint64_t a, uint64_t b);
size_t key_meta(uint8_t key[META_KEY_MAX], enum meta_tag tag, uint64_t id);
size_t key_meta32(uint8_t key[META_KEY_MAX], enum meta_tag tag, uint32_t a, uint32_t b);
size_t key_xattr(uint8_t key[XATTR_KEY_MAX], uint64_t ino, const void *name, size_t name_size);
#endif
