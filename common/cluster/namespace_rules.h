/* namespace_rules.h - what the names of a directory allow, and how a new inode is filled. Pure.
 *
 * The master decides by these rules. A mount that holds the tree lease answers by the same rules
 * before the master has, so both must be this one text. Rules that need more of the tree than two
 * inodes and a name (loops of directories, free slots) are the master's alone.
 *
 * Errors: each check returns 0, or the -errno that the program gets. Thread: any. */
#ifndef CATENA_COMMON_CLUSTER_NAMESPACE_RULES_H
#define CATENA_COMMON_CLUSTER_NAMESPACE_RULES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOT_INO             1u
#define NAME_BYTES_MAX       255u
#define SYMLINK_BYTES_MAX    4095u
#define XATTR_NAME_BYTES_MAX 255u
#define XATTR_BYTES_MAX      65536u       /* one value */
#define XATTR_TOTAL_MAX      (256u << 10) /* names and values of one inode */
#define LINKS_MAX            65000u       /* names of one file */
#define DIRECTORY_BYTES      4096u        /* st_size of each directory */

/* RenameReq.flags: renameat2(2) has the same values. */
#define RENAME_FLAG_NOREPLACE 1u
#define RENAME_FLAG_EXCHANGE  2u

/* XattrReq.op */
enum { XATTR_OP_GET = 1, XATTR_OP_SET = 2, XATTR_OP_LIST = 3, XATTR_OP_REMOVE = 4 };

/* ---- names ---- */

/* Checks a name of an entry: its length, no '/', no zero byte, neither "." nor "..". */
int namespace_rules_name(const uint8_t *name, size_t size);
/* Checks the name of a new entry. -EEXIST: "." and "..", which each directory has. */
int namespace_rules_new_name(const uint8_t *name, size_t size);
/* Checks a name to be removed, by rmdir() with @directory, else by unlink(): each has its own
 * errors for "." and "..". */
int namespace_rules_removed_name(const uint8_t *name, size_t size, bool directory);
/* Checks the target of a symbolic link. */
int namespace_rules_symlink(const uint8_t *target, size_t size);

/* ---- new inodes ---- */

/* What a program asks for. */
struct namespace_rules_request {
	uint32_t mode; /* type 0: a regular file */
	uint32_t uid, gid, rdev;
	size_t symlink_bytes; /* of the target */
};

/* What the inode's place gives it. */
struct namespace_rules_place {
	uint64_t parent;
	uint32_t parent_mode, parent_gid, parent_pool;
	uint64_t file_id; /* for a regular file */
};

/* The fields that the rules decide; all others are 0, and its times are those of the command. */
struct namespace_rules_inode {
	uint32_t mode, nlink, uid, gid, rdev, pool;
	uint64_t size, file_id, parent;
};

/* Returns what @mode becomes: a type always, and only permissions beside it. 0: no such type. */
uint32_t namespace_rules_new_mode(uint32_t mode);
/* Fills a new inode. The mode of @request has a type. */
void namespace_rules_new_inode(const struct namespace_rules_request *request,
			       const struct namespace_rules_place *place,
			       struct namespace_rules_inode *out);

/* ---- entries ---- */

/* Checks that an inode may get one more name. LINKS_MAX counts only where the name is free. */
int namespace_rules_link(uint32_t mode, uint32_t nlink);
/* Checks that an entry may be removed, by rmdir() with @directory, else by unlink(). @entries: of
 * the inode, when it is a directory. */
int namespace_rules_unlink(uint32_t mode, uint64_t entries, bool directory);
/* Checks that one inode may take the place of another, which has @entries. */
int namespace_rules_replace(uint32_t moved_mode, uint32_t replaced_mode, uint64_t entries);

/* Returns @mode without what a write takes away: set-user-id, and set-group-id where the group may
 * execute. Directories keep both bits, which mean something else there. */
uint32_t namespace_rules_unprivileged(uint32_t mode);
#endif
