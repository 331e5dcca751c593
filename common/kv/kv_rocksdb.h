/* kv_rocksdb.h - the RocksDB form of the store: what its files share.
 *
 * kv_rocksdb_open.c decides how a database is opened, kv_rocksdb.c does everything with an open
 * one, kv_rocksdb_log.c prepares its log. */
#ifndef CATENA_COMMON_KV_KV_ROCKSDB_H
#define CATENA_COMMON_KV_KV_ROCKSDB_H
#include <pthread.h>
#include <stdatomic.h>
#include <rocksdb/c.h>
#include "common/kv/kv_internal.h"

/* Without a size of the disk to go by. */
#define KV_MEMTABLE_MIN  (1u << 20)
#define KV_MEMTABLE_MAX  (64u << 20)
#define KV_CACHE_DEFAULT (64u << 20)

/* Room ahead of the log's end (kv_rocksdb_log.c). */
struct kv_log_ahead {
	const char *path;         /* borrowed */
	int watch_fd;             /* -1: it is not done */
	uint64_t number, newest;  /* of the log that was filled last, of the one that is written */
	uint64_t end;             /* of that file */
	uint64_t flushed;         /* written at the last flush */
	_Atomic uint64_t written; /* of the log: a little more rather than less */
};

struct kv_rocksdb {
	struct kv kv;
	char *path;
	char **names;
	bool *large;
	uint64_t memtable_bytes;
	bool bears_damage;
	bool read_only;
	int lock_fd; /* of RocksDB's lock, which it does not take when it only reads; -1 */
	rocksdb_cache_t *cache;
	rocksdb_writeoptions_t *write_options;
	rocksdb_readoptions_t *read_options;

	/* Held shared to use db and handles, and exclusively to replace them. */
	pthread_rwlock_t lock;
	rocksdb_t *db; /* NULL: could not be opened again */
	rocksdb_column_family_handle_t **handles;

	atomic_int down;     /* 0, or the -errno that all calls get until kv_recover() */
	atomic_bool damaged; /* a read has met what is damaged: down until it is opened anew */

	/* Group commit. done <= requested; a caller's own ticket is its value of requested. */
	pthread_mutex_t flush_lock;
	pthread_cond_t flush_done;
	uint64_t flush_requested, flush_finished;
	bool flush_running;
	uint64_t generation; /* of db; also under flush_lock */

	/* Held shared to write, and exclusively to make room ahead of the log; that is only tried,
	 * and left out while a write is under way. Lock order: lock, then log_lock. */
	pthread_rwlock_t log_lock;
	struct kv_log_ahead ahead;

	/* Open iterators keep db alive: replacing it waits for them. */
	pthread_mutex_t iter_lock;
	pthread_cond_t iter_gone;
	unsigned iters;

	atomic_uint_fast64_t space_checked_ns;
	atomic_bool space_is_low;
	atomic_bool
		reserve_is_used; /* the disk was full, and there is no room for the reserve yet */
};

/* Opens db and handles, which must be NULL. The reserve is given up when there is no other way. */
int kv_rocksdb_open_db(struct kv_rocksdb *store, bool create, char *error, size_t error_size);
void kv_rocksdb_close_db(struct kv_rocksdb *store);
/* RocksDB's error text as -errno; 0 for NULL. Copies it into @error (may be NULL), frees it. */
int kv_rocksdb_error(char *text, char *error, size_t error_size);

/* Takes RocksDB's own lock, as it does at opening: its holder may be writing a log. *fd is to be
 * closed; -1: there is no store yet. Errors: -EBUSY when another process has it; -errno. */
int kv_rocksdb_lock(const char *path, int *fd);
/* Cuts the logs below @path at their first zeros. Comes before the store is opened, with the lock.
 * Errors: -errno. */
int kv_rocksdb_cut_logs(const char *path);
/* Begins to keep room ahead, after the store was opened. After a failure there is none. */
void kv_log_ahead_open(struct kv_log_ahead *ahead, const char *path);
void kv_log_ahead_close(struct kv_log_ahead *ahead);
/* Makes room if it is due. Comes before a flush. Locks: log_lock exclusively. */
void kv_log_ahead_fill(struct kv_log_ahead *ahead);

/* The reserve: a file that keeps room on the disk for opening, deleting and compacting when
 * everything else is full. It grows with the store.
 *
 * Makes it as large as it is to be, unless that would leave too little. Returns false when too little
 * is free. Locks: lock. */
bool kv_rocksdb_reserve_make(struct kv_rocksdb *store);
/* Gives the reserve up on a full disk, before the store is opened. Level 0 is kept short from then
 * on, even if there was no reserve. Errors: -ENOENT when there was none. */
int kv_rocksdb_reserve_drop(struct kv_rocksdb *store);
/* Lets level 0 grow again, once the reserve is there again. Locks: lock. */
void kv_rocksdb_relax(struct kv_rocksdb *store);
/* Free bytes of the disk for us; UINT64_MAX when it cannot be told. */
uint64_t kv_rocksdb_disk_free(const struct kv_rocksdb *store);
#endif
