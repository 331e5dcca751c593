/* data_internal.h - the structs that data*.c and their tests share. What each of these files offers
 * to the others is in the header of its name.
 *
 * Lock order: data.files_lock, data_file.lock, then one of data.memory_lock, .dirty_lock,
 * .cache_lock. Under a lock the chain client is asked for three things only: the time, a wake-up,
 * and what is stuck. No callback is made under a lock.
 *
 * A file's work is found under its lock (data_file_gather()) and done after it (data_file_run()):
 * sending, and telling those who wait.
 *
 * A file lives while it has references: of users, of requests under way, and of the list of dirty
 * files. Without any it stays in the table only while it has unflushed chunks ("lingering"), so
 * that a later fsync finds them. Some time later they are flushed in the background. */
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

struct data_update;
struct file_fetch;
struct file_flush;
struct file_listing;
struct file_punch;
struct file_punch_op;
struct file_read;
struct queued_write;

/* A wait for the write-back, and what to do when it fires. */
struct data_waiter {
	struct writeback_wait wait; /* first */
	void (*fired)(struct data_waiter *waiter);
};

/* What was found to be done for a file: see data_file_gather(). */
struct data_work {
	struct data_update *updates, **updates_end;
	unsigned count;
	struct file_punch_op *ops;
	struct file_punch *punched; /* complete */
	struct writeback_wait *fired;
	bool freed; /* memory, for writes that wait */
};

/* A file that has data here. Without a lock named, a field never changes or is atomic. */
struct data_file {
	struct data *data;
	uint32_t pool, partitions, chunk_size;
	uint64_t file_id;       /* written under files_lock and lock */
	struct table_node node; /* data.files */
	atomic_uint refs;       /* of any kind */
	atomic_uint users;      /* of these, data_file_get() and _ref() */
	_Atomic uint64_t ino;   /* the inode whose data it is; 0: not known */

	/* Under files_lock, while lingering. */
	bool lingering;
	uint64_t linger_ns;
	struct data_file *linger_prev, *linger_next;

	/* Under dirty_lock. */
	bool in_dirty_list;
	uint64_t dirty_ns; /* when it is to be written back */
	struct data_file *dirty_next;

	/* The rest is under this. */
	pthread_mutex_t lock;
	struct writeback *wb;
	uint64_t session;    /* all that is not answered yet belongs to it */
	uint64_t lost;       /* bytes that another had, and data_lose() has not told yet */
	size_t memory_seen;  /* of wb, as counted in data.write_used */
	uint64_t generation; /* grows when the file's bytes become another file's, or nobody's */
	bool send_all;       /* send everything, until nothing is dirty */
	unsigned waiting;    /* flushes and writes that wait for what is dirty: all is sent now */
	unsigned flushing;   /* of these, those that want it durable */
	/* Flushes that have an error in hand and have not told it yet. */
	unsigned untold;
	/* Durable flushes without an error, in order. They must not say so before the untold. */
	struct file_flush *behind, **behind_end;
	struct file_punch *punches;
	struct readahead ra;
	struct file_fetch *fetches; /* those that later reads may use */
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
	uint64_t write_limit, read_limit; /* bytes */
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
	/* One of them waits until anybody gives memory back: no later one may pass it. */
	atomic_bool pressure;
	/* One of them waits for memory that working chains have: everything is sent now. */
	atomic_bool hurry;
	bool admitting, admit_again; /* see data_writes_admit() */
	struct file_read *read_queue, **read_queue_end;
	atomic_uint reads_waiting; /* in the queue */

	struct data_chain chains[CHAINS_SLOTS];
	/* What stuck chains have together, as counted at stuck_ns. */
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

/* Like data_open(), on a transport (taken over, also when it fails) and a pool (borrowed). */
int data_open_on(const struct data_options *options, struct chains_transport *transport,
		 struct buf_pool *pool, struct data **out);
#endif
