/* data.h - the data of files: write-back, read-ahead, and the chains behind them.
 *
 * Names, attributes and FUSE are not known here. The size of a file is the caller's business: it
 * clamps the ranges of reads. Absent chunks are zeros.
 *
 * A write is accepted as soon as it is in memory, and a later read sees it. Small writes gather in
 * windows of 1 MiB. A window is sent when it is full or its writer has left it, when
 * DATA_WRITEBACK_DELAY_MS has passed, or when memory is short. At most DATA_UPDATES_PER_CHUNK
 * updates of one chunk are in flight, and never two that overlap. An error that comes after the
 * acceptance is kept. The next data_flush() of the file tells it, once.
 *
 * Every request waits for its chain until the soft timeout, or for ever. It is tried again with the
 * newest map and the same operation id.
 *
 * Offsets and lengths are bytes. Errors are negative errno.
 *
 * Thread: any; callbacks come on the data loops' threads, or in the call. Locks: none is held
 * during callbacks. */
#ifndef CATENA_FS_DATA_DATA_H
#define CATENA_FS_DATA_DATA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "common/os/buf.h"
#include "common/cluster/cluster_map.h"
#include "common/net/tls.h"

/* What is dirty is sent at the latest after this. */
#define DATA_WRITEBACK_DELAY_MS 500
#define DATA_UPDATES_PER_CHUNK  16

struct data;
struct data_file;

/* The answer to what data_options.ask_gone was asked; @arg as it was given. */
typedef void data_gone_fn(void *arg, bool gone);

struct data_options {
	struct tls_files tls;
	unsigned loops;           /* threads; 0: 1 per 2 cores, at least 1, at most 4 */
	uint64_t memory_limit;    /* of write-back and read-ahead together */
	uint64_t soft_timeout_ns; /* 0: hard */
	/* Where this mount is, to prefer near copies; may be NULL. */
	const char *host, *rack, *zone;
	/* Asks whether inode @ino is gone, or has another file than @file_id by now. If so, data
	 * that the copies do not have was removed on purpose. Calls @answer once, from any thread.
	 * NULL: such data is taken for lost. */
	void (*ask_gone)(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer,
			 void *arg);
	/* Tells that at most @bytes of the file were answered and are not there any more. (A
	 * data_flush() gets -EIO for it.) From any thread. NULL: the log says it, without a path. */
	void (*lost)(void *user, uint64_t ino, uint64_t file_id, uint64_t bytes);
	/* Tells that a file without users could not be flushed in the background, and is given up.
	 * From any thread; may be NULL. */
	void (*failed)(void *user, uint64_t ino, int error);
	void *user;
};

/* Starts the data loops. Errors: negative errno, with one line in @error. */
int data_open(const struct data_options *options, struct data **out, char *error,
	      size_t error_size);
/* Ends the data loops. Every file has been put. Waits at most @timeout_ns for what is in flight. */
void data_close(struct data *data, uint64_t timeout_ns);
/* Has new requests, and those that wait, go by this map. A reference is taken. */
void data_set_map(struct data *data, struct cluster_map *map);
/* Accepts the next map whatever its version: see chains_client_other_master(). */
void data_other_master(struct data *data);
/* Sets the session. Writes and punches belong to the one that they were accepted in: in another,
 * they are not sent any more, and end with -EIO unless they were answered before. The caller then
 * calls data_lose() for each file that it knows, and data_lose_all(). */
void data_set_session(struct data *data, uint64_t session_id);
/* Has the file go on in the present session. Returns how many bytes were lost since the last call;
 * a lost punch counts as one. */
uint64_t data_lose(struct data_file *file);
/* Does the same for every file of the mount. */
uint64_t data_lose_all(struct data *data);
struct buf_pool *data_pool(struct data *data);
/* Returns how many bytes the fullest chain can still take, by its last answers; UINT64_MAX: plenty,
 * or not known. */
uint64_t data_space_left(const struct data *data);

/* Returns a reference to the file, which is made when it is not there. The caller keeps one
 * file for each inode. Errors: -ENOMEM; -EIO: the pool is not in the map. */
int data_file_get(struct data *data, uint32_t pool, uint64_t file_id, struct data_file **out);
struct data_file *data_file_ref(struct data_file *file);
/* Says which inode the file belongs to, for data_options. 0, as at first: not known. */
void data_file_set_ino(struct data_file *file, uint64_t ino);
/* Gives a reference back. After the last one, what is still dirty is written back in the
 * background. */
void data_file_put(struct data_file *file);
/* Gives the file another id, because it was truncated to 0. Data of the old id is dropped. */
void data_file_replace(struct data_file *file, uint64_t file_id);
/* Drops the file's data: its inode is removed and closed, so nothing need be written. */
void data_file_discard(struct data_file *file);

typedef void data_done_fn(void *user, int error);

/* Writes the bytes of @payload (its start and length), and takes over the reference; the memory may
 * have any alignment. @done is called when the write is accepted; with @through, when all copies
 * have it. Errors: -ENOSPC, -EIO, -ENOMEM. */
void data_write(struct data_file *file, uint64_t offset, struct buf *payload, bool through,
		data_done_fn *done, void *user);

/* Does the same, but only while @session is the session; else the error is -EIO. It is for a write
 * that was decided on (where it goes, that it may be made at all) in that session. 0: any. */
void data_write_within(struct data_file *file, uint64_t session, uint64_t offset,
		       struct buf *payload, bool through, data_done_fn *done, void *user);

/* Reads exactly @length bytes. @done gets them as vectors, valid until it returns, or an error and
 * none. Sequential reading is noticed, and more is read ahead, up to @readahead_end. */
typedef void data_read_fn(void *user, int error, const struct iovec *iov, int count);
void data_read(struct data_file *file, uint64_t offset, uint32_t length, uint64_t readahead_end,
	       data_read_fn *done, void *user);

/* Calls @done when all writes accepted before are with every copy; with @durable, when they are on
 * their disks. The error is the first one since the last flush. */
void data_flush(struct data_file *file, bool durable, data_done_fn *done, void *user);
/* Says whether something accepted has not been answered by its chain yet. */
bool data_dirty(const struct data_file *file);
/* Says whether that is so of any file of the mount; true also when memory is short. */
bool data_any_dirty(struct data *data);
/* Flushes every file of the mount. */
void data_flush_all(struct data *data, bool durable, data_done_fn *done, void *user);
/* Forgets what was read ahead, because other mounts may have written. Dirty data stays. */
void data_invalidate(struct data_file *file);

/* Makes bytes [from, to) a hole: drops what is dirty there, and truncates or punches the chunks. It
 * is for a truncation from size @to down to @from, and for holes within a file. */
void data_punch(struct data_file *file, uint64_t from, uint64_t to, data_done_fn *done, void *user);
/* Does the same within @session, see data_write_within(). */
void data_punch_within(struct data_file *file, uint64_t session, uint64_t from, uint64_t to,
		       data_done_fn *done, void *user);
/* Returns how many chunks a file of @size has. */
uint64_t data_chunks(const struct data_file *file, uint64_t size);
/* Returns the bytes of memory that hold what the chains have not answered yet. */
size_t data_memory(struct data_file *file);

/* A chunk that the chains hold, and how many blocks of it. */
struct data_listed {
	uint32_t index, blocks;
};
/* Lists the chunks [from, to) of the file that the chains hold: ascending, valid until @done
 * returns. Dirty data does not count. Errors: -ETIMEDOUT when the chains have not answered within
 * about @patience_ns (0: it waits as long as it takes). */
typedef void data_list_fn(void *user, int error, const struct data_listed *chunks, size_t count);
void data_list(struct data_file *file, uint32_t from, uint32_t to, uint64_t patience_ns,
	       data_list_fn *done, void *user);
/* Finds the next data, or with @hole the next hole, at or after @offset. The result is @size when
 * there is none below that. Dirty data counts. */
typedef void data_seek_fn(void *user, int error, uint64_t result);
void data_seek(struct data_file *file, uint64_t offset, uint64_t size, bool hole,
	       data_seek_fn *done, void *user);
/* Lists at most @max servers, online by the map, that a request here wants and cannot reach. */
size_t data_unreachable(struct data *data, uint64_t *servers, size_t max);
/* Writes counters for tests and the log: name value pairs in one line. */
void data_stats(struct data *data, char *out, size_t size);
#endif
