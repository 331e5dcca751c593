/* make.c - making a target in an empty directory. */
#include "chunkserver/disk/make.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/identity.h"
#include "common/kv/kv.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define DIRECTORIES 256

/* What may lie in a directory where disk_make() was broken off. */
static bool ours(const char *name)
{
	return strcmp(name, "lock") == 0 || strcmp(name, "db") == 0 ||
	       strcmp(name, "chunks") == 0 || strcmp(name, IDENTITY_BEGUN) == 0;
}

/* Nothing in it but what a new filesystem or a broken off disk_make() has put there. */
static int check_empty(int root_fd, const char *path, char *error, size_t error_size)
{
	bool begun = faccessat(root_fd, IDENTITY_BEGUN, F_OK, 0) == 0;
	int rc = 0, fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL)
		return identity_fail(error, error_size, -errno, path, NULL);
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    strcmp(name, "lost+found") == 0)
			continue;
		if (strcmp(name, IDENTITY) == 0)
			rc = identity_fail(error, error_size, -EEXIST, path, "is a target already");
		else if (!begun || !ours(name))
			rc = identity_fail(error, error_size, -ENOTEMPTY, path,
					   "directory is not empty");
	}
	closedir(dir);
	return rc;
}

static int make_directories(int root_fd)
{
	char name[3];
	int fd, rc = 0;

	if (mkdirat(root_fd, "chunks", 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(root_fd, "chunks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (unsigned i = 0; rc == 0 && i < DIRECTORIES; i++) {
		snprintf(name, sizeof(name), "%02x", i);
		if (mkdirat(fd, name, 0700) != 0 && errno != EEXIST)
			rc = -errno;
	}
	if (rc == 0 && fsync(fd) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* The db of a broken off disk_make() holds nothing. */
static void remove_db(int root_fd)
{
	int fd = openat(root_fd, "db", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static int make_db(int root_fd, const char *path, char *error, size_t error_size)
{
	char db[4096];
	struct kv_options options = {
		.path = db,
		.families = db_families,
		.family_count = FAMILY_COUNT,
		.create = true,
	};
	struct kv *kv;
	int rc;

	if (snprintf(db, sizeof(db), "%s/db", path) >= (int)sizeof(db))
		return identity_fail(error, error_size, -ENAMETOOLONG, path, NULL);
	remove_db(root_fd);
	rc = kv_open(&options, &kv, error, error_size);
	if (rc == 0)
		kv_close(kv);
	return rc;
}

static void flush_parent(const char *path)
{
	char copy[4096];
	int fd;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fsync(fd) != 0)
		log_warn("parent directory not flushed path=%s", path);
	close(fd);
}

/* identity comes last, so that a target with an identity is a whole one. */
static int make_target(int root_fd, const char *path, const char *cluster, char *error,
		       size_t error_size)
{
	int rc = identity_make(root_fd, cluster);

	if (rc == 0)
		rc = make_directories(root_fd);
	if (rc == 0)
		rc = make_db(root_fd, path, error, error_size);
	if (rc == 0 && fsync(root_fd) != 0)
		rc = -errno;
	if (rc == 0 && renameat(root_fd, IDENTITY_BEGUN, root_fd, IDENTITY) != 0)
		rc = -errno;
	if (rc == 0 && fsync(root_fd) != 0)
		rc = -errno;
	if (rc != 0 && error[0] == '\0')
		identity_fail(error, error_size, rc, path, NULL);
	return rc;
}

/* -EEXIST: it is a whole target of this cluster; else what is wrong with it. */
static int check_ours(int root_fd, const char *path, const char *cluster, char *error,
		      size_t error_size)
{
	char uuid[37];
	uint64_t instance;
	int rc = identity_read(root_fd, path, cluster, uuid, &instance, error, error_size);

	return rc != 0 ? rc
		       : identity_fail(error, error_size, -EEXIST, path, "is a target already");
}

int disk_make(const char *path, const char *cluster, char *error, size_t error_size)
{
	int rc, lock_fd = -1, root_fd;

	error[0] = '\0';
	if (!identity_cluster_ok(cluster))
		return identity_fail(error, error_size, -EINVAL, path,
				     "cluster id has bad characters");
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return identity_fail(error, error_size, -errno, path, NULL);
	root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return identity_fail(error, error_size, -errno, path, NULL);
	rc = check_empty(root_fd, path, error, error_size);
	if (rc == -EEXIST)
		rc = check_ours(root_fd, path, cluster, error, error_size);
	if (rc != 0)
		goto out;
	/* Marked as begun before anything else is put there. */
	rc = identity_make(root_fd, cluster);
	if (rc != 0) {
		identity_fail(error, error_size, rc, path, NULL);
		goto out;
	}
	rc = identity_lock(root_fd, path, &lock_fd, error, error_size);
	if (rc != 0)
		goto out;
	/* Two at once: the other one may have finished before we had the lock. */
	rc = check_empty(root_fd, path, error, error_size);
	if (rc == -EEXIST)
		unlinkat(root_fd, IDENTITY_BEGUN, 0);
	if (rc == 0)
		rc = make_target(root_fd, path, cluster, error, error_size);
	if (rc == 0)
		flush_parent(path);
out:
	if (lock_fd >= 0)
		close(lock_fd);
	close(root_fd);
	return rc;
}
