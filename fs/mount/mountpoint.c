/* mountpoint.c - see mountpoint.h. */
#define LOG_MODULE "mount"
#include "fs/mount/mountpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/os/log.h"

#define FSTYPE "fuse.catena"

extern char **environ;

/* ---- /proc/self/mountinfo ---- */

struct mountinfo {
	unsigned major, minor;
	char path[PATH_MAX];
	char type[64];
	char super[256]; /* the filesystem's options; not those of this mount of it */
};

/* Spaces and the like stand there as \ooo. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0';) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out++ = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
			in += 4;
		} else {
			*out++ = *in++;
		}
	}
	*out = '\0';
}

/* "36 35 98:0 /root /mount/point opts [tags] - type source opts" */
static bool parse_mountinfo(const char *line, struct mountinfo *info)
{
	const char *dash = strstr(line, " - ");

	if (dash == NULL || sscanf(dash, " - %63s %*s %255s", info->type, info->super) != 2)
		return false;
	/* The kernel's own numbers: NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &info->major, &info->minor, info->path) != 3)
		return false;
	unescape(info->path);
	return true;
}

/* The uppermost mount at @path. */
static bool find_mount(const char *path, struct mountinfo *found)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	struct mountinfo info;
	size_t size = 0;
	char *line = NULL;
	bool any = false;

	if (file == NULL)
		return false;
	while (getline(&line, &size, file) > 0) {
		if (parse_mountinfo(line, &info) && strcmp(info.path, path) == 0) {
			*found = info;
			any = true;
		}
	}
	free(line);
	fclose(file);
	return any;
}

bool mountpoint_is_mounted(const char *resolved)
{
	struct mountinfo info;

	return find_mount(resolved, &info) && strcmp(info.type, FSTYPE) == 0;
}

bool mountpoint_read_only(const char *resolved)
{
	struct mountinfo info;

	return find_mount(resolved, &info) && strcmp(info.type, FSTYPE) == 0 &&
	       (strcmp(info.super, "ro") == 0 || strncmp(info.super, "ro,", 3) == 0);
}

/* ---- before ---- */

static int explain(const char *path, int rc, char *error, size_t error_size)
{
	if (rc == -ENOTCONN || rc == -ECONNABORTED)
		snprintf(error, error_size,
			 "%s: a dead mount is still there (%s); remove it with: umount -l %s", path,
			 strerror(-rc), path);
	else if (rc == -EBUSY)
		snprintf(error, error_size, "%s: a Catena filesystem is already mounted there",
			 path);
	else
		snprintf(error, error_size, "%s: cannot be mounted on: %s", path, strerror(-rc));
	return rc;
}

int mountpoint_check(const char *path, char **resolved, char *error, size_t error_size)
{
	struct stat st;
	char *real;
	int rc;

	if (stat(path, &st) != 0)
		return explain(path, -errno, error, error_size);
	if (!S_ISDIR(st.st_mode))
		return explain(path, -ENOTDIR, error, error_size);
	real = realpath(path, NULL);
	if (real == NULL)
		return explain(path, -errno, error, error_size);
	if (mountpoint_is_mounted(real)) {
		rc = explain(real, -EBUSY, error, error_size);
		free(real);
		return rc;
	}
	if (access("/dev/fuse", R_OK | W_OK) != 0) {
		rc = -errno;
		snprintf(error, error_size,
			 "/dev/fuse: %s; is the kernel module loaded? (modprobe fuse)",
			 strerror(-rc));
		free(real);
		return rc;
	}
	*resolved = real;
	return 0;
}

/* ---- while ---- */

void mountpoint_set_read_ahead(const char *resolved, unsigned kib)
{
	struct mountinfo info;
	char path[128];
	int fd;

	if (!find_mount(resolved, &info))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", info.major, info.minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%u\n", kib) < 0)
		log_debug("the kernel's read-ahead stays small path=%s", path);
	if (fd >= 0)
		close(fd);
}

/* ---- after ---- */

static bool run_fusermount(const char *resolved, const char *how)
{
	char *const argv[] = {(char *)"fusermount3", (char *)how, (char *)"--", (char *)resolved,
			      NULL};
	posix_spawn_file_actions_t actions;
	int status, rc;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return rc == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

enum unmounted mountpoint_unmount(const char *resolved)
{
	if (!mountpoint_is_mounted(resolved))
		return UNMOUNTED;
	if (umount2(resolved, UMOUNT_NOFOLLOW) == 0)
		return UNMOUNTED;
	if (errno == EPERM) { /* not root: the helper may */
		if (run_fusermount(resolved, "-u"))
			return UNMOUNTED;
		return run_fusermount(resolved, "-uz") ? UNMOUNTED_BUSY : UNMOUNTED_NOT;
	}
	if (errno == EBUSY && umount2(resolved, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return UNMOUNTED_BUSY;
	log_error("cannot unmount path=%s error=\"%s\"", resolved, strerror(errno));
	return UNMOUNTED_NOT;
}
