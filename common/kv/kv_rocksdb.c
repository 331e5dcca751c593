/* kv_rocksdb.c - the store on RocksDB: reads, batches, group commit, recovery. */
#include "common/kv/kv_rocksdb.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "kv"

#define COMPACT_FORCE  2   /* BottommostLevelCompaction::kForce */
#define MEMTABLE_SHARE 96u /* of the disk: the reserve may be ten times as much */
#define SPACE_CHECK_NS (50 * NS_PER_MSEC)
/* What a record of the log has around its batch, and a little for the ends of blocks. */
#define LOG_RECORD_EXTRA 16u
/* A checkpoint takes the log along, of any size. To flush memtables for it would make writers wait. */
#define NO_FLUSH UINT64_MAX

static struct log_rate error_rate;

struct rocksdb_iter {
	struct kv_iter iter;
	struct kv_rocksdb *store;
	rocksdb_iterator_t *at;
	rocksdb_readoptions_t *options;
	bool started;
	size_t end_size;
	char end[]; /* borrowed by options */
};

static struct kv_rocksdb *of(const struct kv *kv)
{
	return (struct kv_rocksdb *)kv;
}

/* ---- the state of the store ---- */

/* RocksDB counts for each thread what it does, down to each comparison of two keys, and unless it
 * is told otherwise a tenth of the time of a write goes into counters that are never read. */
static void count_nothing(void)
{
	static _Thread_local bool told;

	if (told)
		return;
	rocksdb_set_perf_level(rocksdb_disable);
	told = true;
}

/* Shared use of db, to be ended with leave(). */
static int enter(struct kv_rocksdb *store)
{
	int rc = atomic_load_explicit(&store->down, memory_order_acquire);

	count_nothing();
	if (rc != 0)
		return rc;
	pthread_rwlock_rdlock(&store->lock);
	rc = atomic_load_explicit(&store->down, memory_order_relaxed);
	if (rc != 0)
		pthread_rwlock_unlock(&store->lock);
	return rc;
}

static int enter_to_write(struct kv_rocksdb *store)
{
	return store->read_only ? -EROFS : enter(store);
}

static void leave(struct kv_rocksdb *store)
{
	pthread_rwlock_unlock(&store->lock);
}

/* Called inside enter() .. leave(), so that a late failure of the old db cannot take down its
 * successor. */
static int failed(struct kv_rocksdb *store, const char *what, char *text)
{
	char error[256];
	int rc = kv_rocksdb_error(text, error, sizeof(error));
	int expected = 0;

	/* Whatever it was, all calls say I/O error or no space, as the contract has it. */
	if (rc != -ENOSPC)
		rc = -EIO;
	if (atomic_compare_exchange_strong(&store->down, &expected, rc))
		log_error("store is down path=%s op=%s error=\"%s\"", store->path, what, error);
	return rc;
}

/* A read met what is damaged. Opening again does not mend that, and may not even see it. */
static void read_failed(struct kv_rocksdb *store, int rc, const char *what, const char *error)
{
	int expected = 0;

	if (log_rate_ok(&error_rate, 5))
		log_error("%s failed path=%s error=\"%s\"", what, store->path, error);
	if (rc != -EUCLEAN || store->bears_damage)
		return;
	atomic_store(&store->damaged, true);
	if (atomic_compare_exchange_strong(&store->down, &expected, -EIO))
		log_error("store is down for good: it is damaged path=%s", store->path);
}

static bool rocks_is_down(const struct kv *kv)
{
	return atomic_load(&of(kv)->down) != 0;
}

static bool rocks_space_low(struct kv *kv)
{
	struct kv_rocksdb *store = of(kv);
	uint64_t now = clock_monotonic_ns();
	uint64_t last = atomic_load_explicit(&store->space_checked_ns, memory_order_relaxed);
	bool low;
	int rc;

	if (store->read_only)
		return false;
	if (now - last < SPACE_CHECK_NS)
		return atomic_load_explicit(&store->space_is_low, memory_order_relaxed);
	if (!atomic_compare_exchange_strong(&store->space_checked_ns, &last, now))
		return atomic_load_explicit(&store->space_is_low, memory_order_relaxed);
	rc = enter(store);
	if (rc == 0) {
		low = !kv_rocksdb_reserve_make(store);
		if (!low && atomic_load(&store->reserve_is_used))
			kv_rocksdb_relax(store);
		leave(store);
	} else {
		low = rc == -ENOSPC || atomic_load(&store->space_is_low);
	}
	if (low != atomic_exchange(&store->space_is_low, low))
		log_warn("space is %s path=%s free=%llu", low ? "low" : "enough again", store->path,
			 (unsigned long long)kv_rocksdb_disk_free(store));
	return low;
}

static int rocks_compact(struct kv *kv, unsigned family)
{
	struct kv_rocksdb *store = of(kv);
	rocksdb_compactoptions_t *options;
	int rc = enter_to_write(store);

	if (rc != 0)
		return rc;
	options = rocksdb_compactoptions_create();
	/* The last level too: values are collected only where a compaction passes. */
	rocksdb_compactoptions_set_bottommost_level_compaction(options, COMPACT_FORCE);
	rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
	rocksdb_compact_range_cf_opt(store->db, store->handles[family], options, NULL, 0, NULL, 0);
	rocksdb_compactoptions_destroy(options);
	leave(store);
	return 0;
}

static void rocks_compact_stop(struct kv *kv)
{
	struct kv_rocksdb *store = of(kv);

	if (enter(store) != 0)
		return;
	rocksdb_disable_manual_compaction(store->db);
	leave(store);
}

/* ---- reads ---- */

static int rocks_get(struct kv *kv, unsigned family, const void *key, size_t key_size,
		     uint8_t **value, size_t *value_size)
{
	struct kv_rocksdb *store = of(kv);
	rocksdb_pinnableslice_t *slice;
	const char *bytes;
	char *text = NULL;
	uint8_t *copy;
	size_t size;
	int rc = enter(store);

	if (rc != 0)
		return rc;
	slice = rocksdb_get_pinned_cf(store->db, store->read_options, store->handles[family], key,
				      key_size, &text);
	if (text != NULL) {
		char error[256];

		rc = kv_rocksdb_error(text, error, sizeof(error));
		read_failed(store, rc, "read", error);
		goto out;
	}
	if (slice == NULL) {
		rc = -ENOENT;
		goto out;
	}
	bytes = rocksdb_pinnableslice_value(slice, &size);
	copy = malloc(size == 0 ? 1 : size);
	if (copy == NULL) {
		rc = -ENOMEM;
	} else {
		if (size > 0)
			memcpy(copy, bytes, size);
		*value = copy;
		*value_size = size;
	}
	rocksdb_pinnableslice_destroy(slice);
out:
	leave(store);
	return rc;
}

static void rocks_iter_free(struct kv_iter *iter)
{
	struct rocksdb_iter *it = (struct rocksdb_iter *)iter;
	struct kv_rocksdb *store = it->store;

	rocksdb_iter_destroy(it->at);
	rocksdb_readoptions_destroy(it->options);
	free(it);
	pthread_mutex_lock(&store->iter_lock);
	expects(store->iters > 0);
	if (--store->iters == 0)
		pthread_cond_broadcast(&store->iter_gone);
	pthread_mutex_unlock(&store->iter_lock);
}

static int rocks_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			   const uint8_t **value, size_t *value_size)
{
	struct rocksdb_iter *it = (struct rocksdb_iter *)iter;
	char error[256], *text = NULL;
	int rc;

	if (it->started)
		rocksdb_iter_next(it->at);
	it->started = true;
	if (rocksdb_iter_valid(it->at)) {
		if (key != NULL)
			*key = (const uint8_t *)rocksdb_iter_key(it->at, key_size);
		if (value != NULL)
			*value = (const uint8_t *)rocksdb_iter_value(it->at, value_size);
		return 1;
	}
	/* Not valid is the end only if there was no error. */
	rocksdb_iter_get_error(it->at, &text);
	rc = kv_rocksdb_error(text, error, sizeof(error));
	if (rc != 0)
		read_failed(it->store, rc, "scan", error);
	it->started = false; /* moving on from an invalid position is undefined */
	return rc;
}

static const struct kv_iter_ops rocks_iter_ops = {
	.next = rocks_iter_next,
	.free = rocks_iter_free,
};

static int rocks_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			   const void *end, size_t end_size, struct kv_iter **out)
{
	struct kv_rocksdb *store = of(kv);
	struct rocksdb_iter *it = calloc(1, sizeof(*it) + (end == NULL ? 0 : end_size));
	int rc;

	if (it == NULL)
		return -ENOMEM;
	rc = enter(store);
	if (rc != 0) {
		free(it);
		return rc;
	}
	it->iter.ops = &rocks_iter_ops;
	it->store = store;
	it->options = rocksdb_readoptions_create();
	if (end != NULL) {
		it->end_size = end_size;
		memcpy(it->end, end, end_size);
		rocksdb_readoptions_set_iterate_upper_bound(it->options, it->end, end_size);
	}
	it->at = rocksdb_create_iterator_cf(store->db, it->options, store->handles[family]);
	if (start_size > 0)
		rocksdb_iter_seek(it->at, start, start_size);
	else
		rocksdb_iter_seek_to_first(it->at);
	pthread_mutex_lock(&store->iter_lock);
	store->iters++;
	pthread_mutex_unlock(&store->iter_lock);
	leave(store);
	*out = &it->iter;
	return 0;
}

/* ---- writes ---- */

static void free_native(void *native)
{
	rocksdb_writebatch_destroy(native);
}

static bool range_is_empty(const struct kv_record *range)
{
	size_t common = range->key_size < range->value_size ? range->key_size : range->value_size;
	int order = common == 0 ? 0 : memcmp(range->key, range->value, common);

	return order > 0 || (order == 0 && range->key_size >= range->value_size);
}

/* The batch in RocksDB's own form. It is kept with ours, since its memory is worth keeping. */
static rocksdb_writebatch_t *native_batch(struct kv_rocksdb *store, const struct kv_batch *batch)
{
	rocksdb_writebatch_t *native = *batch->native;
	struct kv_record record;
	size_t position = 0;

	if (native == NULL) {
		native = rocksdb_writebatch_create();
		*batch->native = native;
	}
	rocksdb_writebatch_clear(native);
	while (kv_batch_next(batch, &position, &record)) {
		rocksdb_column_family_handle_t *handle = store->handles[record.family];
		const char *key = (const char *)record.key, *value = (const char *)record.value;

		switch (record.kind) {
		case KV_RECORD_PUT:
			rocksdb_writebatch_put_cf(native, handle, key, record.key_size, value,
						  record.value_size);
			break;
		case KV_RECORD_DELETE:
			rocksdb_writebatch_delete_cf(native, handle, key, record.key_size);
			break;
		case KV_RECORD_DELETE_RANGE:
			/* RocksDB fails the whole batch for an inverted range. */
			if (range_is_empty(&record))
				break;
			rocksdb_writebatch_delete_range_cf(native, handle, key, record.key_size,
							   value, record.value_size);
			break;
		}
	}
	return native;
}

static int rocks_flush(struct kv *kv);

static int rocks_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	struct kv_rocksdb *store = of(kv);
	rocksdb_writebatch_t *native;
	char *text = NULL;
	size_t size;
	int rc = enter_to_write(store);

	if (rc != 0)
		return rc;
	((struct kv_batch *)batch)->native_free = free_native;
	native = native_batch(store, batch);
	rocksdb_writebatch_data(native, &size);
	pthread_rwlock_rdlock(&store->log_lock);
	atomic_fetch_add_explicit(&store->ahead.written, size + LOG_RECORD_EXTRA,
				  memory_order_relaxed);
	rocksdb_write(store->db, store->write_options, native, &text);
	pthread_rwlock_unlock(&store->log_lock);
	if (text != NULL)
		rc = failed(store, "write", text);
	leave(store);
	return rc == 0 && durable ? rocks_flush(kv) : rc;
}

static int flush_log(struct kv_rocksdb *store)
{
	char *text = NULL;
	int rc = enter_to_write(store);

	if (rc != 0)
		return rc;
	if (!atomic_load_explicit(&store->space_is_low, memory_order_relaxed) &&
	    pthread_rwlock_trywrlock(&store->log_lock) == 0) {
		kv_log_ahead_fill(&store->ahead);
		pthread_rwlock_unlock(&store->log_lock);
	}
	rocksdb_flush_wal(store->db, 1, &text);
	/* After a failed flush the kernel may hold the lost pages for clean: never try again,
	 * recovery writes all of the log anew. */
	if (text != NULL)
		rc = failed(store, "flush", text);
	leave(store);
	return rc;
}

static int rocks_flush(struct kv *kv)
{
	struct kv_rocksdb *store = of(kv);
	uint64_t ticket, generation, target;
	int rc = 0;

	pthread_mutex_lock(&store->flush_lock);
	generation = store->generation;
	ticket = ++store->flush_requested;
	while (rc == 0 && store->flush_finished < ticket) {
		rc = atomic_load(&store->down);
		if (rc != 0)
			break;
		if (store->flush_running) {
			pthread_cond_wait(&store->flush_done, &store->flush_lock);
		} else {
			store->flush_running = true;
			/* All who hold a ticket by now wrote before this flush begins. */
			target = store->flush_requested;
			pthread_mutex_unlock(&store->flush_lock);
			rc = flush_log(store);
			pthread_mutex_lock(&store->flush_lock);
			store->flush_running = false;
			expects(store->flush_finished <= target);
			if (rc == 0 && store->generation == generation)
				store->flush_finished = target;
			pthread_cond_broadcast(&store->flush_done);
		}
		/* What was written to a db that has been replaced since is not vouched for. */
		if (rc == 0 && store->generation != generation)
			rc = -EIO;
	}
	pthread_mutex_unlock(&store->flush_lock);
	return rc;
}

static int rocks_checkpoint(struct kv *kv, const char *path)
{
	struct kv_rocksdb *store = of(kv);
	rocksdb_checkpoint_t *checkpoint;
	char error[256], *text = NULL;
	int rc = enter_to_write(store);

	if (rc != 0)
		return rc;
	if (access(path, F_OK) == 0) {
		rc = -EEXIST;
		goto out;
	}
	checkpoint = rocksdb_checkpoint_object_create(store->db, &text);
	if (text == NULL) {
		rocksdb_checkpoint_create(checkpoint, path, NO_FLUSH, &text);
		rocksdb_checkpoint_object_destroy(checkpoint);
	}
	rc = kv_rocksdb_error(text, error, sizeof(error));
	if (rc != 0)
		log_error("checkpoint failed path=%s to=%s error=\"%s\"", store->path, path, error);
out:
	leave(store);
	return rc;
}

/* ---- opening and closing ---- */

/* Waits until no thread uses db: down refuses new uses, and the iterators have gone. */
static void close_and_lock(struct kv_rocksdb *store)
{
	int expected = 0;

	atomic_compare_exchange_strong(&store->down, &expected, -EIO);
	pthread_rwlock_wrlock(&store->lock);
	pthread_mutex_lock(&store->iter_lock);
	while (store->iters > 0)
		pthread_cond_wait(&store->iter_gone, &store->iter_lock);
	pthread_mutex_unlock(&store->iter_lock);
	kv_rocksdb_close_db(store);
}

static int rocks_recover(struct kv *kv)
{
	struct kv_rocksdb *store = of(kv);
	char error[256] = "";
	int rc;

	if (atomic_load(&store->damaged))
		return -EUCLEAN;
	close_and_lock(store);
	pthread_mutex_lock(&store->flush_lock);
	store->generation++;
	pthread_cond_broadcast(&store->flush_done);
	pthread_mutex_unlock(&store->flush_lock);
	/* Even if it can be opened in what is free: the next write would find no more than this one. */
	if (atomic_load(&store->down) == -ENOSPC)
		kv_rocksdb_reserve_drop(store);
	rc = kv_rocksdb_open_db(store, false, error, sizeof(error));
	if (rc == 0) {
		atomic_store(&store->down, 0);
		log_info("store is up again path=%s", store->path);
	} else if (log_rate_ok(&error_rate, 5)) {
		log_error("store stays down path=%s error=\"%s\"", store->path, error);
	}
	pthread_rwlock_unlock(&store->lock);
	return rc;
}

static void store_free(struct kv_rocksdb *store)
{
	if (store->names != NULL)
		for (unsigned i = 0; i < store->kv.family_count; i++)
			free(store->names[i]);
	free(store->names);
	free(store->large);
	free(store->handles);
	free(store->path);
	if (store->cache != NULL)
		rocksdb_cache_destroy(store->cache);
	if (store->write_options != NULL)
		rocksdb_writeoptions_destroy(store->write_options);
	if (store->read_options != NULL)
		rocksdb_readoptions_destroy(store->read_options);
	pthread_rwlock_destroy(&store->lock);
	pthread_rwlock_destroy(&store->log_lock);
	pthread_mutex_destroy(&store->flush_lock);
	pthread_cond_destroy(&store->flush_done);
	pthread_mutex_destroy(&store->iter_lock);
	pthread_cond_destroy(&store->iter_gone);
	free(store);
}

static void rocks_close(struct kv *kv)
{
	struct kv_rocksdb *store = of(kv);

	close_and_lock(store);
	pthread_rwlock_unlock(&store->lock);
	store_free(store);
}

static const struct kv_ops rocksdb_ops = {
	.close = rocks_close,
	.recover = rocks_recover,
	.is_down = rocks_is_down,
	.space_low = rocks_space_low,
	.compact = rocks_compact,
	.compact_stop = rocks_compact_stop,
	.get = rocks_get,
	.write = rocks_write,
	.flush = rocks_flush,
	.iter_open = rocks_iter_open,
	.checkpoint = rocks_checkpoint,
};

/* Makes the directory and its name durable. */
static int make_directory(const char *path, char *error, size_t error_size)
{
	char *copy;
	int fd, rc = 0;

	if (mkdir(path, 0700) != 0) {
		if (errno == EEXIST)
			return 0;
		rc = -errno;
		snprintf(error, error_size, "%s: %s", path, strerror(-rc));
		return rc;
	}
	copy = strdup(path);
	if (copy == NULL)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0) {
		rc = -errno;
		snprintf(error, error_size, "%s: %s", copy, strerror(-rc));
	}
	if (fd >= 0)
		close(fd);
	free(copy);
	return rc;
}

static uint64_t memtable_bytes(const char *path, uint64_t asked)
{
	struct statvfs fs;
	uint64_t bytes = asked;

	if (bytes == 0) {
		bytes = KV_MEMTABLE_MIN;
		if (statvfs(path, &fs) == 0)
			bytes = (uint64_t)fs.f_blocks * fs.f_frsize / MEMTABLE_SHARE;
		if (bytes > KV_MEMTABLE_MAX)
			bytes = KV_MEMTABLE_MAX;
	}
	return bytes < KV_MEMTABLE_MIN ? KV_MEMTABLE_MIN : bytes;
}

static int store_new(const struct kv_options *options, struct kv_rocksdb **out)
{
	struct kv_rocksdb *store = calloc(1, sizeof(*store));
	unsigned count = options->family_count;
	uint64_t cache = options->cache_bytes != 0 ? options->cache_bytes : KV_CACHE_DEFAULT;

	if (store == NULL)
		return -ENOMEM;
	store->kv.ops = &rocksdb_ops;
	store->kv.family_count = count;
	pthread_rwlock_init(&store->lock, NULL);
	pthread_rwlock_init(&store->log_lock, NULL);
	pthread_mutex_init(&store->flush_lock, NULL);
	pthread_cond_init(&store->flush_done, NULL);
	pthread_mutex_init(&store->iter_lock, NULL);
	pthread_cond_init(&store->iter_gone, NULL);
	store->path = strdup(options->path);
	store->names = calloc(count, sizeof(*store->names));
	store->large = calloc(count, sizeof(*store->large));
	store->handles = calloc(count, sizeof(*store->handles));
	if (store->path == NULL || store->names == NULL || store->large == NULL ||
	    store->handles == NULL)
		goto err;
	for (unsigned i = 0; i < count; i++) {
		store->names[i] = strdup(options->families[i].name);
		if (store->names[i] == NULL)
			goto err;
		store->large[i] = options->families[i].large_values;
	}
	store->cache = rocksdb_cache_create_lru((size_t)cache);
	store->write_options = rocksdb_writeoptions_create();
	store->read_options = rocksdb_readoptions_create();
	*out = store;
	return 0;
err:
	store_free(store);
	return -ENOMEM;
}

int kv_open(const struct kv_options *options, struct kv **out, char *error, size_t error_size)
{
	struct kv_rocksdb *store = NULL;
	char unused[256];
	int rc;

	if (error == NULL || error_size == 0) {
		error = unused;
		error_size = sizeof(unused);
	}
	error[0] = '\0';
	if (options->family_count == 0 || strcmp(options->families[0].name, "default") != 0) {
		snprintf(error, error_size, "the first family must be default");
		return -EINVAL;
	}
	if (options->create) {
		rc = make_directory(options->path, error, error_size);
		if (rc != 0)
			return rc;
	}
	rc = store_new(options, &store);
	if (rc != 0) {
		snprintf(error, error_size, "out of memory");
		return rc;
	}
	store->memtable_bytes = memtable_bytes(options->path, options->memtable_bytes);
	store->bears_damage = options->bears_damage;
	store->read_only = options->read_only;
	store->lock_fd = store->ahead.watch_fd = -1;
	rc = kv_rocksdb_open_db(store, options->create, error, error_size);
	if (rc != 0) {
		store_free(store);
		return rc;
	}
	*out = &store->kv;
	return 0;
}
