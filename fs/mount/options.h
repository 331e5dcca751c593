/* options.h - the command line of mount.catena, as people and mount(8) write it. */
#ifndef CATENA_FS_MOUNT_OPTIONS_H
#define CATENA_FS_MOUNT_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/os/log.h"
#include "fs/inodes/inode.h"

#define OPTIONS_CONF_DEFAULT "/etc/catena/client.conf"

struct mount_options {
	char *master, *mountpoint;
	bool foreground;
	bool remount; /* only to be changed: see remount.h */
	int ready_fd; /* -1: none */

	/* From -o and the configuration file; strings are "" when not given. */
	char *ca, *cert, *key;
	char *log;
	char *host, *rack, *zone;
	enum log_level log_level;
	uint64_t cache_bytes;
	bool soft;
	uint64_t timeout_ns; /* 0: the default */
	enum atime_mode atime;
	bool atime_directories;
	char *kernel; /* mount options for the kernel, by commas; "" */
};

/* What to do after parsing: 0 mount, 1 show the usage and end well. -EINVAL: @error has a line for
 * people. The options are to be freed in any case. */
int options_parse(int argc, char **argv, struct mount_options *options, char *error,
		  size_t error_size);
void options_free(struct mount_options *options);
extern const char options_usage[];
#endif
