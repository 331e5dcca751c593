/* data.h - the data of files: write-back, read-ahead, and the chains behind them.
 *
 * Knows nothing of names, attributes or FUSE. The size of a file is its caller's business: reads
 * are of ranges that the caller has clamped; absent chunks are zeros.
 *
 * Write-back: a write is accepted as soon as it is in memory; full blocks of up to 1 MiB are sent
 * at once, smaller pieces when they have grown, when DATA_WRITEBACK_DELAY_MS has passed, or when
 * memory runs short. At most DATA_UPDATES_PER_CHUNK updates of one chunk are in flight, overlapping
 * ones one after another. A later read sees the write, from memory if need be. An error that comes
 * after the acceptance is kept and given to the next data_flush() of the file, once.
 *
 * Everything waits for its chain as long as it takes (or the soft timeout), retrying by itself with
 * the newest map and the same operation id.
 *
 * Threading: any thread; callbacks on the data loops' threads, or in the call. No lock is held
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
	/* Asks whether inode @ino has another file than @file_id by now, or is gone: then data that
	 * the copies do not have is not lost, but was removed on purpose. @answer is called once,
	 * from any thread. NULL: it is lost. */
	void (*ask_gone)(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer,
			 void *arg);
	/* So many bytes of the file, at most, were answered and are not there any more, which a
	 * data_flush() is told as -EIO. From any thread. NULL: the log has it without a path. */
	void (*lost)(void *user, uint64_t ino, uint64_t file_id, uint64_t bytes);
	/* A file that nobody uses could not be flushed in the background, and is not any more. Any
	 * thread; may be NULL. */
	void (*failed)(void *user, uint64_t ino, int error);
	void *user;
};

int data_open(const struct data_options *options, struct data **out, char *error,
	      size_t error_size);
/* Every file must have been put. Waits for what is in flight at most @timeout_ns. */
void data_close(struct data *data, uint64_t timeout_ns);
/* New requests, and those waiting, go by it. */
void data_set_map(struct data *data, struct cluster_map *map);
/* See chains_client_other_master(). */
void data_other_master(struct data *data);
/* Writes and punches belong to the session that they were accepted in. With another session, what
 * of the one before has not been answered is lost: it ends with -EIO and is not sent any more. Who
 * sets another calls data_lose() for each file it knows, then data_lose_all(). */
void data_set_session(struct data *data, uint64_t session_id);
/* The file goes on in the present session. What it has lost since the last call, in bytes (more
 * than 0 also when it was a punch). */
uint64_t data_lose(struct data_file *file);
uint64_t data_lose_all(struct data *data);
struct buf_pool *data_pool(struct data *data);
/* Bytes that the fullest chain can still take, by the last answers; UINT64_MAX: plenty or unknown.
 */
uint64_t data_space_left(const struct data *data);

/* One per inode (the caller keeps it so); reference counted. */
int data_file_get(struct data *data, uint32_t pool, uint64_t file_id, struct data_file **out);
struct data_file *data_file_ref(struct data_file *file);
/* Which inode's it is: see ask_gone. 0, as at first: nobody's. */
void data_file_set_ino(struct data_file *file, uint64_t ino);
/* The last reference: what is still dirty is written back first, in the background. NULL is
 * allowed. */
void data_file_put(struct data_file *file);
/* Truncation to 0 gave the inode a new file id: dirty data of the old is dropped. */
void data_file_replace(struct data_file *file, uint64_t file_id);
/* Unlinked and closed: dirty data need not be written, what is prefetched is dropped. */
void data_file_discard(struct data_file *file);

typedef void data_done_fn(void *user, int error);

/* Takes over a reference to @payload (start and length say what; it may be buf_wrap()ped memory of
 * any alignment). @done when accepted; with @through, when all copies have it. -ENOSPC, -EIO. */
void data_write(struct data_file *file, uint64_t offset, struct buf *payload, bool through,
		data_done_fn *done, void *user);

/* The same, but only while @session is the session; else -EIO. For who has decided something about
 * the write (where it goes, that it may be made at all) while that session lasted. 0: any. */
void data_write_within(struct data_file *file, uint64_t session, uint64_t offset,
		       struct buf *payload, bool through, data_done_fn *done, void *user);

/* @done gets the bytes as vectors, valid until it returns; error -errno and none. Exactly @length
 * bytes on success. Sequential reading is noticed and read ahead, up to @readahead_end. */
typedef void data_read_fn(void *user, int error, const struct iovec *iov, int count);
void data_read(struct data_file *file, uint64_t offset, uint32_t length, uint64_t readahead_end,
	       data_read_fn *done, void *user);

/* All writes accepted before are with every copy; with @durable also on their disks. The first
 * error since the last flush is given. */
void data_flush(struct data_file *file, bool durable, data_done_fn *done, void *user);
/* True when something accepted has not been answered by its chain yet. */
bool data_dirty(const struct data_file *file);
/* True when data_dirty() is true of any file of the mount, or when that is not known. */
bool data_any_dirty(struct data *data);
/* Every file of the mount. */
void data_flush_all(struct data *data, bool durable, data_done_fn *done, void *user);
/* Forget what was read ahead (someone else may have written). Dirty data stays. */
void data_invalidate(struct data_file *file);

/* Bytes [from, to) become holes: dirty data there is dropped, then the chunks' tail is truncated or
 * punched. For truncation of a file from size @to down to @from, and for PUNCH_HOLE/ZERO_RANGE. */
void data_punch(struct data_file *file, uint64_t from, uint64_t to, data_done_fn *done, void *user);
/* As data_write_within(). */
void data_punch_within(struct data_file *file, uint64_t session, uint64_t from, uint64_t to,
		       data_done_fn *done, void *user);
/* How many chunks a file of @size has. */
uint64_t data_chunks(const struct data_file *file, uint64_t size);
/* Bytes of memory that hold what the chains have not answered yet. */
size_t data_memory(struct data_file *file);
/* Which chunks [from, to) of the file the chains hold, with the blocks (of BLOCK_SIZE) in each:
 * ascending, valid until @done returns. What is dirty here is not among them. With @patience_ns
 * -ETIMEDOUT when the chains have not answered in about that time; 0: as long as it takes. */
struct data_listed {
	uint32_t index, blocks;
};
typedef void data_list_fn(void *user, int error, const struct data_listed *chunks, size_t count);
void data_list(struct data_file *file, uint32_t from, uint32_t to, uint64_t patience_ns,
	       data_list_fn *done, void *user);
/* Next data (hole: next hole) at or after @offset and below @size; *@result = @size when there is
 * none. Dirty data counts. */
typedef void data_seek_fn(void *user, int error, uint64_t result);
void data_seek(struct data_file *file, uint64_t offset, uint64_t size, bool hole,
	       data_seek_fn *done, void *user);
/* Servers, online by the map, that are wanted here and cannot be reached; at most @max. */
size_t data_unreachable(struct data *data, uint64_t *servers, size_t max);
/* Counters for tests and the log: name value pairs in one line. */
void data_stats(struct data *data, char *out, size_t size);
#endif
