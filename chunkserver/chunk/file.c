/* file.c - the plain files of larger chunks: names, descriptors, reading, writing, flushing.
 *
 * All writes of a target go the same way: past the page cache, or through it where the filesystem
 * has no O_DIRECT. Small reads go through the page cache all the same: Linux drops the pages that a
 * direct write covers, and nothing reads a block while it is written (prepare.c), so what
 * is cached is never older than the file. */
#include "chunkserver/chunk/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "chunkserver/disk/health.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define BOUNCE_BYTES (256u << 10)

static struct log_rate file_rate;

/* ---- names ---- */

void file_name(const struct chunk_key *key, char out[3 + 2 * CHUNK_KEY_BYTES + 1])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t bytes[CHUNK_KEY_BYTES];
	uint8_t spread;

	chunk_key_encode(key, bytes);
	/* CRC32C is for ever the same, unlike chunk_key_hash(). */
	spread = (uint8_t)crc32c(bytes, sizeof(bytes));
	out[0] = hex[spread >> 4];
	out[1] = hex[spread & 15];
	out[2] = '/';
	for (unsigned i = 0; i < CHUNK_KEY_BYTES; i++) {
		out[3 + 2 * i] = hex[bytes[i] >> 4];
		out[4 + 2 * i] = hex[bytes[i] & 15];
	}
	out[3 + 2 * CHUNK_KEY_BYTES] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool file_name_parse(const char *name, struct chunk_key *key)
{
	uint8_t bytes[CHUNK_KEY_BYTES];

	if (strlen(name) != 2 * sizeof(bytes))
		return false;
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	chunk_key_decode(bytes, key);
	return true;
}

/* ---- descriptors ---- */

struct chunk_file *file_new(struct disk *disk, const struct chunk_key *key)
{
	struct chunk_file *file = calloc(1, sizeof(*file));

	if (file == NULL)
		return NULL;
	atomic_init(&file->refs, 1);
	atomic_init(&file->direct, -1);
	atomic_init(&file->buffered, -1);
	file->disk = disk;
	file_name(key, file->name);
	return file;
}

struct chunk_file *file_ref(struct chunk_file *file)
{
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
	return file;
}

void file_unref(struct chunk_file *file)
{
	if (file == NULL || atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (atomic_load(&file->direct) >= 0)
		close(atomic_load(&file->direct));
	if (atomic_load(&file->buffered) >= 0)
		close(atomic_load(&file->buffered));
	free(file);
}

/* Two threads may open at once: the second to finish takes the first one's. */
static int keep_fd(atomic_int *place, int fd)
{
	int expected = -1;

	if (atomic_compare_exchange_strong(place, &expected, fd))
		return fd;
	close(fd);
	return expected;
}

static int open_existing(struct chunk_file *file, int flags, int *fd)
{
	*fd = openat(file->disk->chunks_fd, file->name, flags | O_CLOEXEC | O_NOFOLLOW);
	return *fd < 0 ? -errno : 0;
}

static int open_or_create(struct chunk_file *file, int flags, bool create, int *fd)
{
	int rc = open_existing(file, flags, fd);

	if (rc != -ENOENT || !create)
		return rc;
	*fd = openat(file->disk->chunks_fd, file->name,
		     flags | O_CLOEXEC | O_NOFOLLOW | O_CREAT | O_EXCL, 0600);
	if (*fd >= 0) {
		atomic_store(&file->created, true);
		return 0;
	}
	return errno == EEXIST ? open_existing(file, flags, fd) : -errno;
}

static int file_direct(struct chunk_file *file, bool create, int *fd)
{
	struct disk *disk = file->disk;
	int rc;

	*fd = atomic_load_explicit(&file->direct, memory_order_acquire);
	if (*fd >= 0)
		return 0;
	if (!atomic_load(&disk->no_direct)) {
		rc = open_or_create(file, O_RDWR | O_DIRECT, create, fd);
		if (rc == 0)
			goto opened;
		if (rc != -EINVAL)
			return rc;
		atomic_store(&disk->no_direct, true);
		log_info("filesystem has no O_DIRECT path=%s", disk->path);
	}
	/* A failed O_DIRECT open may have made the file, of which we then know nothing. */
	rc = open_or_create(file, O_RDWR, create, fd);
	if (rc != 0)
		return rc;
	atomic_store(&file->created, true);
opened:
	*fd = keep_fd(&file->direct, *fd);
	return 0;
}

static int file_buffered(struct chunk_file *file, int *fd)
{
	int rc;

	*fd = atomic_load_explicit(&file->buffered, memory_order_acquire);
	if (*fd >= 0)
		return 0;
	rc = open_existing(file, O_RDONLY, fd);
	if (rc != 0)
		return rc;
	/* A 4 KiB read shall read 4 KiB, not 128. */
	posix_fadvise(*fd, 0, 0, POSIX_FADV_RANDOM);
	*fd = keep_fd(&file->buffered, *fd);
	return 0;
}

/* The filesystem took the flag but not the request: go through the page cache from now on. */
static int leave_direct(struct chunk_file *file, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_DIRECT) == 0)
		return -EINVAL;
	if (fcntl(fd, F_SETFL, flags & ~O_DIRECT) != 0)
		return -errno;
	if (!atomic_exchange(&file->disk->no_direct, true))
		log_warn("O_DIRECT refused, going on without path=%s", file->disk->path);
	return 0;
}

/* ---- bytes ---- */

static bool is_aligned(const void *p)
{
	return ((uintptr_t)p & (BLOCK_SIZE - 1)) == 0;
}

static int write_all(struct chunk_file *file, int fd, const uint8_t *data, uint32_t bytes,
		     uint64_t offset)
{
	while (bytes > 0) {
		ssize_t n = pwrite(fd, data, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && leave_direct(file, fd) == 0)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		/* A short direct write may end inside a block: that block again. */
		if ((uint32_t)n < bytes && n >= BLOCK_SIZE)
			n &= ~(ssize_t)(BLOCK_SIZE - 1);
		data += n;
		bytes -= (uint32_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_bounced(struct chunk_file *file, int fd, const uint8_t *data, uint32_t bytes,
			 uint64_t offset)
{
	uint8_t *bounce = aligned_alloc(BLOCK_SIZE, BOUNCE_BYTES);
	int rc = bounce == NULL ? -ENOMEM : 0;

	while (rc == 0 && bytes > 0) {
		uint32_t n = bytes < BOUNCE_BYTES ? bytes : BOUNCE_BYTES;

		memcpy(bounce, data, n);
		rc = write_all(file, fd, bounce, n, offset);
		data += n;
		bytes -= n;
		offset += n;
	}
	free(bounce);
	return rc;
}

int file_write(struct chunk_file *file, const uint8_t *data, uint32_t bytes, uint64_t offset)
{
	int fd, rc = file_direct(file, true, &fd);

	if (rc != 0)
		return rc;
	if (is_aligned(data) || atomic_load_explicit(&file->disk->no_direct, memory_order_relaxed))
		return write_all(file, fd, data, bytes, offset);
	return write_bounced(file, fd, data, bytes, offset);
}

int file_read(struct chunk_file *file, uint8_t *data, uint32_t bytes, uint64_t offset, bool direct,
	      uint32_t *got)
{
	int fd, rc;

	*got = 0;
	direct = direct && is_aligned(data);
	rc = direct ? file_direct(file, false, &fd) : file_buffered(file, &fd);
	if (rc != 0)
		return rc;
	while (*got < bytes) {
		ssize_t n = pread(fd, data + *got, bytes - *got, (off_t)(offset + *got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && direct && leave_direct(file, fd) == 0)
			continue;
		/* Bytes that the disk cannot give back are damaged like changed ones. */
		if (n < 0)
			return errno == EIO ? -EBADMSG : -errno;
		if (n == 0)
			break;
		*got += (uint32_t)n;
		/* Direct reads end inside a block only at the end of the file. */
		if (direct && (*got & (BLOCK_SIZE - 1)) != 0)
			break;
	}
	return 0;
}

int file_read_cached(struct chunk_file *file, uint8_t *data, uint32_t bytes, uint64_t offset)
{
	int fd = atomic_load_explicit(&file->buffered, memory_order_acquire);
	struct iovec iov = {.iov_base = data, .iov_len = bytes};

	if (fd < 0)
		return -EAGAIN;
	return preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT) == (ssize_t)bytes ? 0 : -EAGAIN;
}

/* ---- durability and space ---- */

static int flush_directory(struct chunk_file *file)
{
	char directory[3] = {file->name[0], file->name[1], '\0'};
	int fd = openat(file->disk->chunks_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) != 0 ? -errno : 0;
	close(fd);
	return rc;
}

int file_flush(struct chunk_file *file)
{
	int fd, rc = file_direct(file, false, &fd);

	/* Not to be had (no descriptors left): nothing was lost, only not flushed. */
	if (rc != 0)
		return rc;
	if (fdatasync(fd) != 0)
		rc = -errno;
	if (rc == 0 && atomic_load(&file->created)) {
		rc = flush_directory(file);
		if (rc == 0)
			atomic_store(&file->created, false);
	}
	if (rc != 0)
		health_poison(file->disk, "fdatasync", rc);
	return rc == 0 ? 0 : -EIO;
}

void file_punch(struct chunk_file *file, uint64_t offset, uint64_t bytes)
{
	int fd;

	if (file_direct(file, false, &fd) != 0)
		return;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)bytes) != 0 &&
	    errno != EOPNOTSUPP && log_rate_ok(&file_rate, 1))
		log_warn("no hole punched file=%s error=\"%s\"", file->name, strerror(errno));
}

int file_unlink(struct disk *disk, const struct chunk_key *key)
{
	char name[3 + 2 * CHUNK_KEY_BYTES + 1];

	file_name(key, name);
	if (unlinkat(disk->chunks_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (log_rate_ok(&file_rate, 5))
		log_error("file not removed file=%s error=\"%s\"", name, strerror(errno));
	return -errno;
}
