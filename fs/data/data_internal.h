/* data_internal.h - shared by data*.c and their tests only.
 *
 * Lock order: data.files_lock, data_file.lock, then one of data.memory_lock, .dirty_lock,
 * .cache_lock. Under a lock the chain client is only asked for the time, to wake and what is stuck,
 * and there are no callbacks.
 *
 * A file's work is found under its lock (data_file_gather()) and done after it (data_file_run()):
 * sending, and telling those who wait.
 *
 * A file lives while it has references: of users, of requests under way, and of the list of dirty
 * files. Without any it stays in the table only while it has unflushed chunks ("lingering"), so
 * that a later fsync finds them; they are flushed in the background after DATA_LINGER_NS. */
#ifndef CATENA_FS_DATA_DATA_INTERNAL_H
#define CATENA_FS_DATA_DATA_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include "common/base/duration.h"
#include "common/base/table.h"
#include "fs/chains/client.h"
#include "fs/data/data.h"
#include "fs/writeback/readahead.h"
#include "fs/writeback/writeback.h"

#define DATA_LINGER_NS  (30 * NS_PER_SEC)
#define DATA_LINGER_MAX 20000u /* files; the oldest are flushed earlier */
/* What was read ahead and not asked for so long is dropped. */
#define DATA_CACHE_NS     (10 * NS_PER_SEC)
#define DATA_EXTENTS_MAX  4096u /* small dirty extents of a file before they are sent */
#define DATA_SPACE_MARGIN (16u << 20)

struct data;
struct data_file;
struct file_fetch;
struct file_flush;
struct file_listing;
struct file_punch;
struct file_read;

/* Waits of the write-back, and what to do when they fire. */
struct data_waiter {
	struct writeback_wait wait; /* first */
	void (*fired)(struct data_waiter *waiter);
};

/* One update under way. */
struct update {
	struct chains_request request;
	struct data_file *file; /* a reference */
	struct writeback_extent *extent;
	struct buf *payload;
	struct update *next;
};

struct file_punch_op {
	struct chains_request request;
	struct file_punch *punch;
	struct writeback_chunk *chunk;
	struct file_punch_op *next;
};

struct data_work {
	struct update *updates, **updates_end;
	unsigned count;
	struct file_punch_op *ops;
	struct file_punch *punched; /* complete */
	struct writeback_wait *fired;
	bool freed; /* memory, for writes that wait */
};

struct data_file {
	struct data *data;
	uint32_t pool, partitions, chunk_size;
	uint64_t file_id;       /* written under files_lock and lock */
	struct table_node node; /* data.files */
	atomic_uint refs, users;
	_Atomic uint64_t ino; /* whose it is; 0: nobody's */

	/* Under files_lock, while lingering. */
	bool lingering;
	uint64_t linger_ns;
	struct data_file *linger_prev, *linger_next;

	/* Under dirty_lock. */
	bool in_dirty_list;
	uint64_t dirty_ns; /* to be written back then */
	struct data_file *dirty_next;

	pthread_mutex_t lock;
	struct writeback *wb;
	uint64_t session;    /* that all of it is of which is not answered yet */
	uint64_t lost;       /* bytes that were of another, and data_lose() has not told yet */
	size_t memory_seen;  /* of wb, as counted in data.write_used */
	uint64_t generation; /* of the file id */
	bool send_all;       /* until nothing is dirty */
	unsigned waiting;    /* for what is dirty: everything is sent at once */
	unsigned flushing;   /* of these: to be durable too */
	/* Flushes that have an error in hand and have not told it yet; and, in order, those to be
	 * durable that have none and must not say so before that. */
	unsigned untold;
	struct file_flush *behind, **behind_end;
	bool discarded;
	struct file_punch *punches;
	struct readahead ra;
	struct file_fetch *fetches; /* those that later reads may use */
	unsigned fetch_count;
};

struct queued_write {
	struct data_waiter waiter; /* when @through */
	struct data_file *file;    /* a reference */
	uint64_t session;          /* only within this one; 0: any */
	uint64_t offset;
	struct buf *payload;
	bool through, summed;
	uint32_t slots[2]; /* of the chains of its first and last byte */
	data_done_fn *done;
	void *user;
	struct queued_write *next;
};

/* What one chain has of the mount's memory. */
struct data_chain {
	atomic_size_t writing; /* dirty, in flight, or being accepted */
	atomic_size_t reading; /* asked for and not answered */
};

struct data {
	struct buf_pool *pool;
	struct chains_transport *transport;
	struct chains_client *chain;
	uint64_t write_limit, read_limit;
	/* As in data_options. */
	void (*ask_gone)(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer,
			 void *arg);
	void (*lost)(void *user, uint64_t ino, uint64_t file_id, uint64_t bytes);
	void (*failed)(void *user, uint64_t ino, int error);
	void *user;

	pthread_mutex_t files_lock;
	struct table files; /* struct data_file */
	struct data_file *linger_first;
	size_t linger_count;

	pthread_mutex_t memory_lock;
	_Atomic size_t write_used; /* buffers of dirty data and of data in flight */
	struct queued_write *write_queue, **write_queue_end;
	atomic_uint writes_waiting; /* in the queue */
	atomic_bool pressure;       /* one of them for memory that anybody has: none passes it */
	atomic_bool hurry;          /* one of them for memory that chains that work have */
	bool admitting, admit_again;
	struct file_read *read_queue, **read_queue_end;
	atomic_uint reads_waiting; /* in the queue */

	struct data_chain chains[CHAINS_SLOTS];
	/* Of chains that are stuck, as last counted. */
	_Atomic size_t stuck_writing, stuck_reading;
	_Atomic uint64_t stuck_ns;

	pthread_mutex_t listings_lock; /* before that of a listing */
	struct file_listing *listings; /* those with a deadline */

	pthread_mutex_t dirty_lock;
	struct data_file *dirty_first, **dirty_end;

	pthread_mutex_t cache_lock;
	struct file_fetch *cache_oldest;
	_Atomic size_t read_used; /* fetched, or being fetched */

	_Atomic uint64_t stat_writes, stat_write_bytes, stat_updates, stat_update_bytes;
	_Atomic uint64_t stat_reads, stat_read_bytes, stat_fetches, stat_fetch_bytes,
		stat_ahead_bytes;
	_Atomic uint64_t stat_flushes, stat_flush_frames, stat_waits, stat_lost;
};

/* data.c */
/* Like data_open(), on a transport (taken over, also when it fails) and a pool (borrowed). */
int data_open_on(const struct data_options *options, struct chains_transport *transport,
		 struct buf_pool *pool, struct data **out);

/* data_file.c */
void data_file_hold(struct data_file *file);
void data_file_drop(struct data_file *file);
/* Tells the owner that answered data of the file is lost. Locks: none. */
void data_tell_lost(struct data_file *file, uint64_t file_id, uint64_t bytes);
/* Lists all files, with a reference to each. -ENOMEM. */
int data_files_collect(struct data *data, struct data_file ***out, size_t *count);
struct chunk_key data_file_key(const struct data_file *file, uint32_t index);
/* Finds what is to be sent and told now. Locks: the file's. */
void data_file_gather(struct data_file *file, struct data_work *work);
/* Sends and tells it. Locks: none. */
void data_file_run(struct data_file *file, struct data_work *work);
/* Makes the file's work belong to the present session; unanswered work of another is lost. True:
 * @session is the present one (0: any). Gather and run must follow. Locks: the file's. */
bool data_file_enter_session(struct data_file *file, uint64_t session);
/* Sends everything dirty, now and until nothing is. */
void data_file_send_all(struct data_file *file);
void data_linger_tick(struct data *data, uint64_t now);
/* Frees whatever is left, after the chains' client has stopped. */
void data_files_destroy(struct data *data);

/* data_room.c: memory for those that work, also while some chains are stuck */
enum data_room {
	DATA_ROOM,  /* there is some */
	DATA_HELD,  /* its chain, which is stuck, has its part: others may go on */
	DATA_FULL,  /* its chain, which works, has its part: others may go on */
	DATA_SHORT, /* no chain gets any */
};
/* Says whether @length bytes may be accepted for the chain of @slot. */
enum data_room data_write_room(struct data *data, uint32_t slot, uint32_t length);
/* Says whether @length bytes may be read. A read of a stuck chain takes no memory before it is
 * answered, and must not stand in the way of others. */
bool data_read_room(struct data *data, uint32_t slot, uint32_t length);
/* Bytes of the reads' memory that chains that work have, or nobody. */
size_t data_read_used(struct data *data);
/* Looks again at writes and reads that wait: time alone makes a chain stuck. */
void data_room_tick(struct data *data, uint64_t now);

/* data_write.c */
void data_writes_admit(struct data *data);
/* Puts the file into the list of dirty files, unless it is there. Locks: the file's. */
void data_dirty_join(struct data_file *file);
void data_dirty_tick(struct data *data, uint64_t now);

/* data_list.c */
/* Ends the asking of listings whose patience is over. */
void data_lists_tick(struct data *data, uint64_t now);

/* data_punch.c */
/* Gives every punch under way @error, unless it has one. Locks: the file's. */
void data_punch_lose(struct data_file *file, int error);
void data_punch_gather(struct data_file *file, struct data_work *work);
void data_punch_run(struct data *data, struct data_work *work);

/* data_fetch.c: what is being read, or was read ahead */
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

struct file_fetch *data_fetch_new(struct data_file *file, uint64_t from, uint64_t to, bool bulk);
void data_fetch_unref(struct data *data, struct file_fetch *fetch);
/* Sends fetches that are linked by send_next. Locks: none. */
void data_fetch_send(struct data *data, struct file_fetch *list);
/* Put a fetch into the file's list, and take it or a range's out. Locks: the file's. */
void data_fetch_list(struct data_file *file, struct file_fetch *fetch);
void data_fetch_unlist(struct data_file *file, struct file_fetch *fetch);
void data_fetch_unlist_range(struct data_file *file, uint64_t from, uint64_t to);
/* Returns the listed fetch that holds @at, or else the one that begins next behind it. */
struct file_fetch *data_fetch_at(const struct data_file *file, uint64_t at);
void data_cache_tick(struct data *data, uint64_t now);
/* Makes room for @need bytes. True: something was dropped. */
bool data_cache_shrink(struct data *data, uint32_t need);

/* data_read.c */
void data_reads_admit(struct data *data);
/* parts of reads whose fetch has come */
void data_read_parts_done(struct data *data, struct file_fetch_part *parts);
#endif
