/* kv_rocksdb_log.c - room ahead of the end of RocksDB's log, so that a flush of it is one write.
 *
 * A log that grows needs two writes and two barriers for each flush: its own bytes, and the file
 * system's journal, since the file got longer. So zeros are written behind its end before they are
 * needed, a piece at a time; what overwrites them changes no metadata.
 *
 * Writing: only what lies behind the file's end is ever filled, and only while RocksDB writes
 * nothing, so no byte of its can be hit. RocksDB cuts the file to what it wrote when it is done
 * with it. A file that was created since is found by inotify.
 *
 * Reading: after a power cut, a page of the log may be missing (zeros) while a later one is there,
 * because neither was flushed. RocksDB's reader passes over zeros to the next block of 32 KiB and
 * goes on, so a later record could come back without an earlier one. Therefore a log is cut at its
 * first zeros before RocksDB sees it. (A file that grows is never longer than what has been
 * written of it, so this can only happen where zeros were put in advance.)
 *
 * The format of the log is that of LevelDB (doc/log_format.md there): blocks of 32 KiB, in them
 * records of a header (checksum 4 bytes, length 2, type 1) and their bytes; a rest of less than a
 * header is not used. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/bytes.h"
#include "common/kv/kv_rocksdb.h"
#include "common/os/log.h"

#define LOG_MODULE "kv"

#define LOG_BLOCK     32768u
#define LOG_HEADER    7u
#define LOG_TYPE_LAST 4u
/* So much is filled at once, and when less than LOG_LOW of it is left. */
#define LOG_FILL (1u << 20)
#define LOG_LOW  (64u << 10)
/* A process that writes so much between two flushes gains nothing. */
#define LOG_BULK (256u << 10)

/* The number in a log's name; 0: it is no log. */
static uint64_t log_number(const char *name)
{
	char *end;
	uint64_t number = strtoull(name, &end, 10);

	return end != name && strcmp(end, ".log") == 0 ? number : 0;
}

/* ---- before RocksDB reads ---- */

/* Where the first zeros begin in place of a record; the file's size when there are none. */
static int find_zeros(int fd, off_t size, off_t *at)
{
	uint8_t header[LOG_HEADER];
	off_t offset = 0;

	while (offset < size) {
		off_t left = (off_t)LOG_BLOCK - offset % (off_t)LOG_BLOCK;
		ssize_t n;

		if (left < (off_t)LOG_HEADER) {
			offset += left;
			continue;
		}
		n = pread(fd, header, sizeof(header), offset);
		if (n < 0)
			return -errno;
		if ((size_t)n < sizeof(header))
			break;
		if (header[6] == 0 && get_le16(header + 4) == 0) {
			*at = offset;
			return 0;
		}
		if (header[6] > LOG_TYPE_LAST)
			break; /* of a format that we do not know: RocksDB judges */
		offset += (off_t)LOG_HEADER + get_le16(header + 4);
	}
	*at = size;
	return 0;
}

static int cut_one(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC), rc = 0;
	struct stat st;
	off_t at = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		rc = -errno;
	if (rc == 0)
		rc = find_zeros(fd, st.st_size, &at);
	/* Durable before anything is concluded from it, or the rest could come back. */
	if (rc == 0 && at < st.st_size && (ftruncate(fd, at) != 0 || fsync(fd) != 0))
		rc = -errno;
	close(fd);
	return rc;
}

int kv_rocksdb_lock(const char *path, int *fd)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char name[4096];

	if (snprintf(name, sizeof(name), "%s/LOCK", path) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	*fd = open(name, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fcntl(*fd, F_OFD_SETLK, &all) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return -EBUSY;
}

int kv_rocksdb_cut_logs(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (dir == NULL)
		return errno == ENOENT ? 0 : -errno;
	while (rc == 0 && (entry = readdir(dir)) != NULL)
		if (log_number(entry->d_name) != 0)
			rc = cut_one(dirfd(dir), entry->d_name);
	closedir(dir);
	return rc;
}

/* ---- while it writes ---- */

static void look_at_all(struct kv_log_ahead *ahead)
{
	DIR *dir = opendir(ahead->path);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (log_number(entry->d_name) > ahead->newest)
			ahead->newest = log_number(entry->d_name);
	closedir(dir);
}

void kv_log_ahead_open(struct kv_log_ahead *ahead, const char *path)
{
	*ahead = (struct kv_log_ahead){.path = path};
	ahead->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (ahead->watch_fd >= 0 && inotify_add_watch(ahead->watch_fd, path, IN_CREATE) < 0)
		kv_log_ahead_close(ahead);
	/* Then a flush only takes longer. */
	if (ahead->watch_fd < 0)
		log_info("no room is made ahead in the log path=%s error=\"%s\"", path,
			 strerror(errno));
	look_at_all(ahead);
}

void kv_log_ahead_close(struct kv_log_ahead *ahead)
{
	if (ahead->watch_fd >= 0)
		close(ahead->watch_fd);
	ahead->watch_fd = -1;
}

static void look_for_newer(struct kv_log_ahead *ahead)
{
	_Alignas(struct inotify_event) char events[4096];
	ssize_t n;

	while ((n = read(ahead->watch_fd, events, sizeof(events))) > 0) {
		const struct inotify_event *event;

		for (const char *at = events; at < events + n; at += sizeof(*event) + event->len) {
			event = (const void *)at;
			if (event->mask & IN_Q_OVERFLOW)
				look_at_all(ahead);
			else if (event->len > 0 && log_number(event->name) > ahead->newest)
				ahead->newest = log_number(event->name);
		}
	}
}

static void fill(struct kv_log_ahead *ahead, bool anew)
{
	static uint8_t zeros[LOG_FILL];
	char name[4096];
	struct stat st;
	ssize_t n = 0;
	int fd;

	ahead->number = ahead->newest;
	snprintf(name, sizeof(name), "%s/%06llu.log", ahead->path,
		 (unsigned long long)ahead->newest);
	fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0) {
		if (anew)
			atomic_store(&ahead->written, (uint64_t)st.st_size);
		n = pwrite(fd, zeros, sizeof(zeros), st.st_size);
		ahead->end = (uint64_t)st.st_size + (n > 0 ? (uint64_t)n : 0);
	}
	close(fd);
}

void kv_log_ahead_fill(struct kv_log_ahead *ahead)
{
	uint64_t written = atomic_load(&ahead->written), since = written - ahead->flushed;
	bool anew;

	if (ahead->watch_fd < 0)
		return;
	look_for_newer(ahead);
	anew = ahead->newest != ahead->number;
	if (since <= LOG_BULK && (anew || written + LOG_LOW > ahead->end))
		fill(ahead, anew);
	ahead->flushed = atomic_load(&ahead->written);
}
