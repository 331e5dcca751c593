/* remount.c - see remount.h. */
#include "fs/mount/remount.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "fs/mount/mountpoint.h"
#include "fs/ops/ioctl.h"

static const struct {
	const char *name;
	unsigned long set, clear;
} names[] = {
	{"ro", MS_RDONLY, 0},         {"rw", 0, MS_RDONLY},       {"nosuid", MS_NOSUID, 0},
	{"suid", 0, MS_NOSUID},       {"nodev", MS_NODEV, 0},     {"dev", 0, MS_NODEV},
	{"noexec", MS_NOEXEC, 0},     {"exec", 0, MS_NOEXEC},     {"sync", MS_SYNCHRONOUS, 0},
	{"async", 0, MS_SYNCHRONOUS}, {"dirsync", MS_DIRSYNC, 0},
};

unsigned long remount_flags(const char *list)
{
	unsigned long flags = 0;

	while (*list != '\0') {
		size_t size = strcspn(list, ",");

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (strlen(names[i].name) != size ||
			    strncmp(names[i].name, list, size) != 0)
				continue;
			flags &= ~names[i].clear;
			flags |= names[i].set;
		}
		list += size + (list[size] == ',');
	}
	return flags;
}

static int write_back(int fd, const char *path, char *error, size_t error_size)
{
	int rc;

	if (ioctl(fd, IOCTL_WRITE_BACK) == 0)
		return 0;
	rc = -errno;
	if (rc == -EHOSTDOWN)
		snprintf(
			error, error_size,
			"%s: the master is away and does not say whether everything is on its disk",
			path);
	else
		snprintf(error, error_size, "%s: what was written could not be saved: %s", path,
			 rc == -ENOTTY ? "the mount is of an older version; mount it again"
				       : strerror(-rc));
	return rc;
}

static int change(int fd, const char *path, unsigned long flags, char *error, size_t error_size)
{
	int rc = 0;

	/* First while nothing has been changed: when servers are away, nothing is. */
	if (flags & MS_RDONLY)
		rc = write_back(fd, path, error, error_size);
	if (rc != 0)
		return rc;
	if (mount("catena", path, NULL, MS_REMOUNT | flags, NULL) != 0) {
		rc = -errno;
		snprintf(error, error_size, "%s: %s", path,
			 rc == -EBUSY ? "busy: files are open for writing" : strerror(-rc));
		return rc;
	}
	/* What came in between, and the kernel's pages; nothing comes after it. */
	return (flags & MS_RDONLY) ? write_back(fd, path, error, error_size) : 0;
}

int remount(const struct mount_options *options, char *error, size_t error_size)
{
	char path[PATH_MAX];
	int fd, rc;

	if (realpath(options->mountpoint, path) == NULL) {
		rc = -errno;
		snprintf(error, error_size, "%s: %s", options->mountpoint, strerror(-rc));
		return rc;
	}
	if (!mountpoint_is_mounted(path)) {
		snprintf(error, error_size, "%s: no Catena filesystem is mounted there", path);
		return -EINVAL;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		snprintf(error, error_size, "%s: %s", path, strerror(-rc));
		return rc;
	}
	rc = change(fd, path, remount_flags(options->kernel), error, error_size);
	close(fd);
	return rc;
}
