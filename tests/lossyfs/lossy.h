/* lossy.h - a filesystem in memory that forgets at a power cut what was not synced.
 *
 * What POSIX promises, and no more: fsync of a file keeps its data and size, fsync of a directory
 * keeps the changes of its entries; a rename happens whole or not at all; of what was not synced
 * each block of data, each size and each change of entries may be kept or lost by itself. Changes
 * of entries that touch the same name keep their order. Modes, owners and times are never lost.
 *
 * Data lies in unlinked files of a backing directory, everything else in memory: it is gone with
 * the process. Locks: none here, the caller has one for the whole. Errors are negative errnos; out
 * of memory ends the process. */
#ifndef CATENA_TESTS_LOSSYFS_LOSSY_H
#define CATENA_TESTS_LOSSYFS_LOSSY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <uthash.h>

#define LOSSY_BLOCK  4096u
#define LOSSY_SECTOR 512u

struct lossy_node;

struct lossy_entry {
	char *name;
	struct lossy_node *node; /* a reference */
	UT_hash_handle hh;
};

/* What a block was at the last sync. */
struct lossy_undo {
	uint64_t block;
	uint8_t *before; /* NULL: zeros */
	UT_hash_handle hh;
};

struct lossy_node {
	struct stat attr; /* st_size, st_blocks: see lossy_stat() */
	uint64_t refs;    /* the kernel's lookups, handles, entries, changes that wait */
	/* Directories. */
	struct lossy_entry *now, *synced;
	struct lossy_node *parent; /* no reference; stale once the directory is removed */
	/* Symbolic links. */
	char *text;
	/* Files. */
	int fd;
	off_t size, synced_size;
	struct lossy_undo *undo;
	struct lossy_node *prev, *next;
};

/* One change of one entry; an operation has one or two. */
struct lossy_change {
	struct lossy_node *dir;
	char *name;
	struct lossy_node *after; /* NULL: removed */
};

struct lossy_op {
	struct lossy_change change[2];
	unsigned count;
	bool marked;
	struct lossy_op *prev, *next;
};

struct lossy {
	int backing; /* descriptor of the directory */
	ino_t last_ino;
	struct lossy_node *root, *nodes;
	struct lossy_op *ops; /* not synced yet, oldest first */
	unsigned op_count;
	bool lies; /* syncs do nothing: for the test of a test */
	uint64_t random;
};

/* @fs: zeros, or @lies set. The data will lie in the directory @backing. */
int lossy_open(const char *backing, struct lossy *fs);

/* Names. */
struct lossy_node *lossy_find(struct lossy_node *dir, const char *name);
int lossy_make(struct lossy *fs, struct lossy_node *dir, const char *name, mode_t mode,
	       const char *text, struct lossy_node **out);
int lossy_link(struct lossy *fs, struct lossy_node *node, struct lossy_node *dir, const char *name);
int lossy_remove(struct lossy *fs, struct lossy_node *dir, const char *name, bool directory);
/* @flags as renameat2()'s; RENAME_WHITEOUT is not known. */
int lossy_rename(struct lossy *fs, struct lossy_node *from, const char *name, struct lossy_node *to,
		 const char *new_name, unsigned flags);
void lossy_sync_dir(struct lossy *fs, struct lossy_node *dir);
void lossy_unref(struct lossy *fs, struct lossy_node *node, uint64_t count);
struct stat lossy_stat(const struct lossy_node *node);

/* Data. */
ssize_t lossy_read(struct lossy_node *node, void *out, size_t size, off_t offset);
ssize_t lossy_write(struct lossy_node *node, const void *data, size_t size, off_t offset);
int lossy_truncate(struct lossy_node *node, off_t size);
int lossy_zero(struct lossy_node *node, off_t offset, off_t size);
void lossy_sync_file(struct lossy *fs, struct lossy_node *node);
/* As a write with O_DSYNC leaves it: this range only. */
void lossy_sync_range(struct lossy *fs, struct lossy_node *node, off_t offset, off_t size);
/* Decides by @random for each block, and drops what it remembered. */
void lossy_cut_file(struct lossy_node *node, uint64_t *random, unsigned percent);
void lossy_forget_undo(struct lossy_node *node);

/* The power goes and comes back. How much is lost differs from seed to seed, from nothing to all.
 */
void lossy_cut(struct lossy *fs, uint64_t seed);
#endif
