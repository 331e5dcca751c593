/* data_fetch.h - ranges of files that are being read from the chains, or were read ahead.
 *
 * A fetch has a reference of its request until the answer, one of its file's list while later reads
 * may use it, and one of each read that waits for it or shows its bytes.
 *
 * Thread: any. Locks: none, unless a function says otherwise. */
#ifndef CATENA_FS_DATA_DATA_FETCH_H
#define CATENA_FS_DATA_DATA_FETCH_H
#include "fs/data/data_internal.h"

/* What was read ahead and not asked for so long is dropped. */
#define DATA_CACHE_NS (10 * NS_PER_SEC)

/* A read's share in a fetch. */
struct file_fetch_part {
	struct file_read *read;
	struct file_fetch *fetch;
	struct file_fetch_part *next; /* of those that wait for the fetch */
};

struct file_fetch {
	struct chains_request request;
	struct data_file *file; /* a reference, while under way */
	uint64_t from, to;
	struct buf *bytes; /* of the answer; what is missing is zeros */
	int error;
	bool done, listed;
	atomic_uint refs;
	uint64_t used; /* bytes given to readers, while listed */
	uint64_t done_ns;
	struct file_fetch_part *waiting;
	struct file_fetch *next, *prev;             /* the file's list */
	struct file_fetch *cache_next, *cache_prev; /* in order of completion */
	struct file_fetch *send_next;
};

/* Makes a fetch of [from, to), which is within one chunk, with the reference of its request.
 * data_fetch_send() must follow. @bulk: one of many in a row. NULL: out of memory. */
struct file_fetch *data_fetch_new(struct data_file *file, uint64_t from, uint64_t to, bool bulk);
void data_fetch_unref(struct data *data, struct file_fetch *fetch);
/* Sends fetches that are linked by send_next. */
void data_fetch_send(struct data *data, struct file_fetch *list);

/* Put a fetch into the file's list, and take it or a range's out. Locks: the file's. */
void data_fetch_list(struct data_file *file, struct file_fetch *fetch);
void data_fetch_unlist(struct data_file *file, struct file_fetch *fetch);
void data_fetch_unlist_range(struct data_file *file, uint64_t from, uint64_t to);
/* Returns the listed fetch that holds @at, or else the one that begins next behind it; NULL: there
 * is none. Locks: the file's. */
struct file_fetch *data_fetch_at(const struct data_file *file, uint64_t at);

/* Drops what was done longer ago than DATA_CACHE_NS. */
void data_cache_tick(struct data *data, uint64_t now);
/* Makes room for @need bytes. True: something was dropped. */
bool data_cache_shrink(struct data *data, uint32_t need);
#endif
