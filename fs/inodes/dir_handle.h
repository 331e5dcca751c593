/* dir_handle.h - an open directory, with the last batch of entries that came.
 *
 * The kernel has a reference until releasedir, and so has every task that uses the handle. */
#ifndef CATENA_FS_INODES_DIR_HANDLE_H
#define CATENA_FS_INODES_DIR_HANDLE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "fs/inodes/fs.h"

struct dir_entry {
	uint64_t ino, cookie;
	uint32_t type, name;
	bool plus; /* its attributes came too */
};

struct dir_handle {
	atomic_uint refs;
	pthread_mutex_t lock;
	struct inode *inode;
	uint32_t errors_seen; /* of the inode's */
	bool noatime;         /* as it was opened */
	/* The batch: entries behind cookie `from`. */
	struct dir_entry *entries;
	char *names;
	uint32_t count;
	uint64_t from, generation;
	bool eof, filled;
	/* A listing from the start, without a gap, so far. */
	uint64_t token, token_generation, listed_to;
};

void dir_handle_unref(struct fs *fs, struct dir_handle *dir); /* NULL is allowed */
#endif
