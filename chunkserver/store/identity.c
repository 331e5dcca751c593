/* identity.c - making a target, its identity file, and its lock. */
#include "chunkserver/store/internal.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODULE "store"

#define IDENTITY       "identity"
#define IDENTITY_BEGUN "identity.begun" /* until all the rest is there */
#define IDENTITY_NEW   "identity.new"   /* the next one, on its way */
#define IDENTITY_MAX   512
#define CLUSTER_MAX    64
#define DIRECTORIES    256

static int fail(char *error, size_t error_size, int rc, const char *path, const char *what)
{
	snprintf(error, error_size, "%s: %s", path, what == NULL ? strerror(-rc) : what);
	return rc;
}

/* ---- the identity file ----
 *
 * catena-target 2
 * cluster <id>
 * uuid <uuid>
 * instance <of the cluster, 16 hex digits; zeros: of none yet>
 * check <CRC32C of the lines above, hex>
 *
 * Format 1 has no instance. */

static bool cluster_ok(const char *cluster)
{
	size_t n = strlen(cluster);

	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)cluster[i]))
			return false;
	return n > 0 && n < CLUSTER_MAX;
}

struct identity {
	char cluster[CLUSTER_MAX], uuid[37];
	uint64_t instance;
};

/* What follows the first lines of format 2. */
static bool instance_parse(const char *text, uint64_t *instance)
{
	int end = 0;

	/* 16 digits fit: NOLINTNEXTLINE(cert-err34-c) */
	return sscanf(text, "instance %16" SCNx64 "\n%n", instance, &end) == 1 &&
	       end == (int)strlen("instance \n") + 16 && text[end] == '\0';
}

static int identity_parse(char *text, struct identity *out)
{
	unsigned format = 0;

	char *check = strstr(text, "check ");
	unsigned crc;
	int end = 0;

	if (check == NULL)
		return -EUCLEAN;
	/* At most 8 digits: NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(check, "check %8x", &crc) != 1 || crc32c(text, (size_t)(check - text)) != crc)
		return -EUCLEAN;
	*check = '\0';
	/* One digit: NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(text, "catena-target %1u\ncluster %63s\nuuid %36s\n%n", &format, out->cluster,
		   out->uuid, &end) != 3 ||
	    end == 0 || strlen(out->uuid) != 36)
		return -EUCLEAN;
	out->instance = 0;
	if (format == 1 ? text[end] != '\0'
			: format != 2 || !instance_parse(text + end, &out->instance))
		return -EUCLEAN;
	return 0;
}

int store_identity_read(int root_fd, const char *path, const char *cluster, char uuid[37],
			uint64_t *instance, char *error, size_t error_size)
{
	char text[IDENTITY_MAX];
	struct identity found;
	int fd = openat(root_fd, IDENTITY, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail(error, error_size, -errno, path,
			    errno == ENOENT
				    ? "not a target (no identity file): make one with --init"
				    : NULL);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return fail(error, error_size, -EIO, path, "identity cannot be read");
	text[n] = '\0';
	if (identity_parse(text, &found) != 0)
		return fail(error, error_size, -EUCLEAN, path, "identity is damaged");
	memcpy(uuid, found.uuid, sizeof(found.uuid));
	*instance = found.instance;
	if (cluster != NULL && strcmp(cluster, found.cluster) != 0) {
		snprintf(error, error_size, "%s: belongs to another cluster (%s); this one is %s",
			 path, found.cluster, cluster);
		return -EXDEV;
	}
	return 0;
}

static void uuid_make(char out[37])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		abort(); /* 16 bytes are never short and never fail once the system is up */
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
}

/* Durably, but for the name. */
static int identity_write(int root_fd, const char *name, const struct identity *identity)
{
	char text[IDENTITY_MAX];
	int n, fd, rc = 0;

	n = snprintf(text, sizeof(text),
		     "catena-target 2\ncluster %s\nuuid %s\ninstance %016" PRIx64 "\n",
		     identity->cluster, identity->uuid, identity->instance);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "check %08x\n", crc32c(text, (size_t)n));
	fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)n) != n || fsync(fd) != 0)
		rc = errno == 0 ? -EIO : -errno;
	close(fd);
	return rc;
}

static int identity_make(int root_fd, const char *cluster)
{
	struct identity identity = {.instance = 0};

	uuid_make(identity.uuid);
	snprintf(identity.cluster, sizeof(identity.cluster), "%s", cluster);
	return identity_write(root_fd, IDENTITY_BEGUN, &identity);
}

int store_identity_adopt(int root_fd, const char *cluster, const char *uuid, uint64_t instance)
{
	struct identity identity = {.instance = instance};
	int rc;

	snprintf(identity.uuid, sizeof(identity.uuid), "%s", uuid);
	snprintf(identity.cluster, sizeof(identity.cluster), "%s", cluster);
	rc = identity_write(root_fd, IDENTITY_NEW, &identity);
	if (rc == 0 && renameat(root_fd, IDENTITY_NEW, root_fd, IDENTITY) != 0)
		rc = -errno;
	if (rc == 0 && fsync(root_fd) != 0)
		rc = -errno;
	return rc;
}

/* ---- the lock ---- */

int store_lock(int root_fd, const char *path, int *lock_fd, char *error, size_t error_size)
{
	int fd = openat(root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return fail(error, error_size, -errno, path, NULL);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return fail(error, error_size, rc, path,
			    rc == -EBUSY ? "in use by another process" : NULL);
	}
	*lock_fd = fd;
	return 0;
}

/* ---- making a target ---- */

/* What may lie in a directory where store_init() was broken off. */
static bool ours(const char *name)
{
	return strcmp(name, "lock") == 0 || strcmp(name, "db") == 0 ||
	       strcmp(name, "chunks") == 0 || strcmp(name, IDENTITY_BEGUN) == 0;
}

/* Nothing in it but what a new filesystem or a broken off store_init() has put there. */
static int check_empty(int root_fd, const char *path, char *error, size_t error_size)
{
	bool begun = faccessat(root_fd, IDENTITY_BEGUN, F_OK, 0) == 0;
	int rc = 0, fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL)
		return fail(error, error_size, -errno, path, NULL);
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    strcmp(name, "lost+found") == 0)
			continue;
		if (strcmp(name, IDENTITY) == 0)
			rc = fail(error, error_size, -EEXIST, path, "is a target already");
		else if (!begun || !ours(name))
			rc = fail(error, error_size, -ENOTEMPTY, path, "directory is not empty");
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

/* The db of a broken off store_init() holds nothing. */
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
		.families = store_families,
		.family_count = FAMILY_COUNT,
		.create = true,
	};
	struct kv *kv;
	int rc;

	if (snprintf(db, sizeof(db), "%s/db", path) >= (int)sizeof(db))
		return fail(error, error_size, -ENAMETOOLONG, path, NULL);
	remove_db(root_fd);
	rc = kv_open(&options, &kv, error, error_size);
	if (rc == 0)
		kv_close(kv);
	return rc;
}

static void sync_parent(const char *path)
{
	char copy[4096];
	int fd;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fsync(fd) != 0)
		log_warn("parent directory not synced path=%s", path);
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
		fail(error, error_size, rc, path, NULL);
	return rc;
}

/* -EEXIST: it is a whole target of this cluster; else what is wrong with it. */
static int check_ours(int root_fd, const char *path, const char *cluster, char *error,
		      size_t error_size)
{
	char uuid[37];
	uint64_t instance;
	int rc = store_identity_read(root_fd, path, cluster, uuid, &instance, error, error_size);

	return rc != 0 ? rc : fail(error, error_size, -EEXIST, path, "is a target already");
}

int store_init(const char *path, const char *cluster, char *error, size_t error_size)
{
	int rc, lock_fd = -1, root_fd;

	error[0] = '\0';
	if (!cluster_ok(cluster))
		return fail(error, error_size, -EINVAL, path, "cluster id has bad characters");
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return fail(error, error_size, -errno, path, NULL);
	root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return fail(error, error_size, -errno, path, NULL);
	rc = check_empty(root_fd, path, error, error_size);
	if (rc == -EEXIST)
		rc = check_ours(root_fd, path, cluster, error, error_size);
	if (rc != 0)
		goto out;
	/* Marked as begun before anything else is put there. */
	rc = identity_make(root_fd, cluster);
	if (rc != 0) {
		fail(error, error_size, rc, path, NULL);
		goto out;
	}
	rc = store_lock(root_fd, path, &lock_fd, error, error_size);
	if (rc != 0)
		goto out;
	/* Two at once: the other one may have finished before we had the lock. */
	rc = check_empty(root_fd, path, error, error_size);
	if (rc == -EEXIST)
		unlinkat(root_fd, IDENTITY_BEGUN, 0);
	if (rc == 0)
		rc = make_target(root_fd, path, cluster, error, error_size);
	if (rc == 0)
		sync_parent(path);
out:
	if (lock_fd >= 0)
		close(lock_fd);
	close(root_fd);
	return rc;
}
