/* filesystem.h - the mounted filesystem made of its parts, and what the session tells it.
 *
 * All floors come together here: struct fs is made of their parts and freed, and each event of the session goes to the parts that it concerns. */
#ifndef CATENA_FS_MOUNT_FILESYSTEM_H
#define CATENA_FS_MOUNT_FILESYSTEM_H
#include <stdbool.h>
#include <stddef.h>
#include "fs/inodes/fs.h"

struct filesystem_settings {
	struct data_options data;
	enum atime_mode atime;
	bool atime_directories;
};
/* Without a master yet: fs->meta is the caller's to set, and to close before filesystem_destroy(). Errors:
 * -errno, with a line in @error. */
int filesystem_create(const struct filesystem_settings *settings, struct fs **out, char *error,
		      size_t error_size);
void filesystem_destroy(struct fs *fs); /* NULL is allowed */
/* What the session calls; the user of all of them is the fs. */
extern const struct meta_callbacks filesystem_meta_callbacks;
#endif
