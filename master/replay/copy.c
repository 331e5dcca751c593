/* copy.c - see copy.h. */
#include "master/replay/copy.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE  ((size_t)1 << 20)
#define PIECES ((size_t)1 << 30)

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int copy_bytes(int from, int to)
{
	char *piece;
	ssize_t n;
	int rc = 0;

	/* On some file systems this takes no room. */
	while ((n = copy_file_range(from, NULL, to, NULL, PIECES, 0)) > 0)
		;
	if (n == 0)
		return 0;
	piece = malloc(PIECE);
	if (piece == NULL)
		return -ENOMEM;
	while (rc == 0 && (n = read(from, piece, PIECE)) > 0)
		rc = write_all(to, piece, (size_t)n);
	free(piece);
	return rc == 0 && n < 0 ? -errno : rc;
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
	int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), to, rc;
	struct stat st;

	if (from < 0)
		return -errno;
	if (fstat(from, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(from);
		return 0;
	}
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = to < 0 ? -errno : copy_bytes(from, to);
	if (to >= 0 && close(to) != 0 && rc == 0)
		rc = -errno;
	close(from);
	return rc;
}

int copy_directory(int dir_fd, const char *name, const char *to)
{
	int from_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_fd;
	DIR *dir = from_fd < 0 ? NULL : fdopendir(from_fd);
	struct dirent *entry;
	int rc = 0;

	if (dir == NULL) {
		rc = -errno;
		if (from_fd >= 0)
			close(from_fd);
		return rc;
	}
	if (mkdir(to, 0700) != 0)
		rc = -errno;
	to_fd = rc == 0 ? open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (rc == 0 && to_fd < 0)
		rc = -errno;
	while (rc == 0 && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			rc = copy_file(from_fd, to_fd, entry->d_name);
	if (to_fd >= 0)
		close(to_fd);
	closedir(dir);
	return rc;
}

void copy_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	(void)rmdir(path);
}
