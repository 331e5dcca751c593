/* open.c - opening a target's disk, its coming back, and closing it. */
#include "chunkserver/disk/open.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/identity.h"
#include "chunkserver/disk/life.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/disk/seen.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/disk/witness.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

/* ---- opening ---- */

static int prepare_disk(struct disk *disk, const char *path)
{
	memset(disk, 0, sizeof(*disk));
	disk->root_fd = disk->chunks_fd = disk->lock_fd = disk->witness.fd = -1;
	disk->path = strdup(path);
	if (disk->path == NULL)
		return -ENOMEM;
	pthread_mutex_init(&disk->log_flush.mutex, NULL);
	pthread_cond_init(&disk->log_flush.cond, NULL);
	disk->log_flush.tail = &disk->log_flush.head;
	pthread_mutex_init(&disk->witness.mutex, NULL);
	return 0;
}

static void release_disk(struct disk *disk)
{
	if (!disk->kv_borrowed)
		kv_close(disk->kv);
	if (disk->witness.fd >= 0)
		close(disk->witness.fd);
	if (disk->lock_fd >= 0)
		close(disk->lock_fd);
	if (disk->chunks_fd >= 0)
		close(disk->chunks_fd);
	if (disk->root_fd >= 0)
		close(disk->root_fd);
	pthread_mutex_destroy(&disk->log_flush.mutex);
	pthread_cond_destroy(&disk->log_flush.cond);
	pthread_mutex_destroy(&disk->witness.mutex);
	seen_close(disk);
	free(disk->path);
}

static int open_place(struct disk *disk, const char *cluster, char *error, size_t error_size)
{
	int rc;

	disk->root_fd = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (disk->root_fd < 0) {
		rc = -errno;
		snprintf(error, error_size, "%s: %s", disk->path, strerror(-rc));
		return rc;
	}
	rc = identity_read(disk->root_fd, disk->path, cluster, disk->uuid, &disk->instance, error,
			   error_size);
	if (rc != 0)
		return rc;
	snprintf(disk->cluster, sizeof(disk->cluster), "%s", cluster);
	rc = identity_lock(disk->root_fd, disk->path, &disk->lock_fd, error, error_size);
	if (rc != 0)
		return rc;
	disk->chunks_fd = openat(disk->root_fd, "chunks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (disk->chunks_fd < 0) {
		rc = -errno;
		snprintf(error, error_size, "%s/chunks: %s", disk->path, strerror(-rc));
		return rc == -ENOENT ? -EUCLEAN : rc;
	}
	return 0;
}

static int open_db(struct disk *disk, struct kv *kv, char *error, size_t error_size)
{
	int rc = 0;

	disk->kv = kv;
	disk->kv_borrowed = kv != NULL;
	if (kv == NULL)
		rc = db_open(disk, error, error_size);
	return rc == -ENOENT ? -EUCLEAN : rc; /* an identity without a db */
}

static int begin_life(struct disk *disk, char *error, size_t error_size)
{
	int rc;

	space_start(disk);
	rc = life_state_read(disk);
	if (rc == 0)
		rc = witness_open(disk);
	if (rc == 0)
		rc = seen_open(disk);
	if (rc == 0)
		rc = life_begin(disk, error, error_size);
	return rc == 0 ? life_state_write(disk, false) : rc;
}

int disk_open(struct disk *disk, const char *path, const char *cluster, struct kv *kv, char *error,
	      size_t error_size)
{
	int rc = prepare_disk(disk, path);

	error[0] = '\0';
	if (rc != 0)
		return rc;
	rc = open_place(disk, cluster, error, error_size);
	if (rc == 0)
		rc = open_db(disk, kv, error, error_size);
	if (rc == 0)
		rc = begin_life(disk, error, error_size);
	if (rc != 0)
		disk_abandon(disk);
	return rc;
}

int disk_start(struct disk *disk)
{
	int rc = log_flush_start(disk);

	return rc == 0 ? witness_start(disk) : rc;
}

/* ---- closing ---- */

void disk_abandon(struct disk *disk)
{
	log_flush_stop(disk);
	release_disk(disk);
}

void disk_close(struct disk *disk)
{
	witness_stop(disk);
	log_flush_stop(disk);
	if (health_check(disk) == 0) {
		int rc = kv_flush(disk->kv);

		if (rc == 0)
			rc = life_state_write(disk, !atomic_load(&disk->leftovers));
		if (rc != 0)
			log_error("target not flushed at close path=%s error=\"%s\"", disk->path,
				  strerror(-rc));
	}
	release_disk(disk);
}

/* ---- coming back ---- */

/* Can a file be written and flushed? */
static int probe(struct disk *disk)
{
	static const char name[] = "probe";
	int fd = openat(disk->root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (pwrite(fd, name, sizeof(name), 0) != (ssize_t)sizeof(name) || fdatasync(fd) != 0)
		rc = -errno;
	close(fd);
	unlinkat(disk->root_fd, name, 0);
	return rc;
}

int disk_recover(struct disk *disk)
{
	int rc;

	if (atomic_load(&disk->poisoned))
		return -EIO;
	if (kv_is_down(disk->kv)) {
		/* Down until it is certain that all is there. */
		health_set_down(disk, -EIO, "kv_recover");
		rc = kv_recover(disk->kv);
		if (rc != 0)
			return rc;
		/* The log was read again. Whatever is missing now would count as never written
		 * if this life went on. */
		if (!witness_is_whole(disk)) {
			health_poison(disk, "kv_recover", -EUCLEAN);
			return -EIO;
		}
	}
	rc = probe(disk);
	if (rc != 0)
		return rc;
	/* A batch whose write failed may be in the log all the same: views look again. */
	atomic_fetch_add(&disk->generation, 1);
	if (atomic_exchange(&disk->down, 0) != 0)
		log_info("target is up again path=%s", disk->path);
	space_refresh(disk, true);
	return 0;
}

int disk_adopt(struct disk *disk, uint64_t instance)
{
	int rc;

	if (disk->instance == instance)
		return 0;
	if (disk->instance != 0 || instance == 0)
		return -EXDEV;
	rc = identity_adopt(disk->root_fd, disk->cluster, disk->uuid, instance);
	if (rc != 0) {
		log_error("target's identity not written path=%s error=\"%s\"", disk->path,
			  strerror(-rc));
		return rc;
	}
	disk->instance = instance;
	log_info("target belongs to the cluster from now on path=%s uuid=%s instance=%016" PRIx64,
		 disk->path, disk->uuid, instance);
	return 0;
}
