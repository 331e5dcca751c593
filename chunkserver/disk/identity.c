/* identity.c - the identity file of a target, and its lock. */
#include "chunkserver/disk/identity.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>
#include "common/base/crc32c.h"

#define IDENTITY_NEW "identity.new" /* the next one, on its way */
#define IDENTITY_MAX 512
#define CLUSTER_MAX  64

int identity_fail(char *error, size_t error_size, int rc, const char *path, const char *what)
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

bool identity_cluster_ok(const char *cluster)
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

int identity_read(int root_fd, const char *path, const char *cluster, char uuid[37],
		  uint64_t *instance, char *error, size_t error_size)
{
	char text[IDENTITY_MAX];
	struct identity found;
	int fd = openat(root_fd, IDENTITY, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return identity_fail(
			error, error_size, -errno, path,
			errno == ENOENT ? "not a target (no identity file): make one with --init"
					: NULL);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return identity_fail(error, error_size, -EIO, path, "identity cannot be read");
	text[n] = '\0';
	if (identity_parse(text, &found) != 0)
		return identity_fail(error, error_size, -EUCLEAN, path, "identity is damaged");
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

int identity_make(int root_fd, const char *cluster)
{
	struct identity identity = {.instance = 0};

	uuid_make(identity.uuid);
	snprintf(identity.cluster, sizeof(identity.cluster), "%s", cluster);
	return identity_write(root_fd, IDENTITY_BEGUN, &identity);
}

int identity_adopt(int root_fd, const char *cluster, const char *uuid, uint64_t instance)
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

int identity_lock(int root_fd, const char *path, int *lock_fd, char *error, size_t error_size)
{
	int fd = openat(root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return identity_fail(error, error_size, -errno, path, NULL);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return identity_fail(error, error_size, rc, path,
				     rc == -EBUSY ? "in use by another process" : NULL);
	}
	*lock_fd = fd;
	return 0;
}
