/* kv_rocksdb_open.c - opening RocksDB: options, error texts, the space reserve.
 *
 * RocksDB's info log is switched off by a level above all others. RocksDB aborts the process when
 * it cannot append to its own log on a full disk; a file that is never appended to cannot fail.
 * RocksDB has no name for that level, so it gives up on its OPTIONS file, which only people read,
 * and leaves the begun one behind: sweep_options() removes it. */
#include "common/kv/kv_rocksdb.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/os/log.h"

#define LOG_MODULE "kv"

#define INFO_LOG_NOTHING  6 /* above every level that RocksDB logs at, also its headers */
#define WAL_POINT_IN_TIME 2
#define BLOOM_BITS        10
#define BLOCK_BYTES       (8u << 10)
#define FILTER_PART_BYTES (4u << 10)
#define BLOB_MIN_BYTES    1024u
#define BLOB_FILE_BYTES   (64u << 20)
/* Of the oldest blob files every live value is written anew whenever a compaction meets it, however
 * little garbage lies beside it: a larger share doubles what is written, and needs the room. */
#define BLOB_GC_AGE        0.05
#define BLOB_GC_FORCE      0.5
#define OPEN_FILES_MAX     1024
#define MANIFEST_PREALLOC  (64u << 10)
#define MANIFEST_BYTES_MAX (16u << 20)
#define RESERVE_NAME       "RESERVE"
#define RESERVE_EXTRA      (2u << 20)
#define RESERVE_SETS       2u
#define RESERVE_MERGED     8u /* sets, too, but no more than there is */
#define RESERVE_SHARE      8u /* of the disk, at most */
/* Space is low when less is free beside the reserve: a set is flushed, and others are merged. */
#define LOW_SETS 4u
/* In memtable_bytes: the size of the base level, and the most that one compaction reads of the
 * levels from there on. */
#define LEVEL_BASE_SETS 4u
#define COMPACTION_SETS 6u
/* Files in level 0 at which writers wait: usually, and while the reserve is used. */
#define L0_SLOW       32
#define L0_STOP       64
#define L0_SLOW_TIGHT 6
#define L0_STOP_TIGHT 8

/* ---- error texts ---- */

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int error_number(const char *text)
{
	/* The C API gives only texts; these are of RocksDB 7.8, pinned by kv_test. */
	if (strstr(text, "No space left on device") != NULL ||
	    strstr(text, "Disk quota exceeded") != NULL)
		return -ENOSPC;
	if (strstr(text, "While lock file") != NULL || strstr(text, "lock hold by") != NULL)
		return strstr(text, "Permission denied") != NULL ? -EACCES : -EBUSY;
	if (starts_with(text, "Corruption"))
		return -EUCLEAN;
	if (strstr(text, "create_if_missing is false") != NULL)
		return -ENOENT;
	if (strstr(text, "Column families not opened") != NULL)
		return -EUCLEAN;
	if (strstr(text, "Permission denied") != NULL)
		return -EACCES;
	return -EIO;
}

int kv_rocksdb_error(char *text, char *error, size_t error_size)
{
	int rc;

	if (text == NULL)
		return 0;
	rc = error_number(text);
	if (error != NULL && error_size > 0) {
		snprintf(error, error_size, "%s", text);
		error[strcspn(error, "\n")] = '\0';
	}
	rocksdb_free(text);
	return rc;
}

/* ---- options ---- */

static rocksdb_block_based_table_options_t *table_options(struct kv_rocksdb *store)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

	rocksdb_block_based_options_set_block_cache(table, store->cache);
	rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
	/* The filter policy belongs to the table options from here on. */
	rocksdb_block_based_options_set_filter_policy(
		table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
	/* Index and filters in the cache: then its size bounds the memory of a store of any size.
	 * And in small parts: a whole filter may not even fit into a shard of a small cache, and
	 * reading it again for each look-up costs more than all the rest. */
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
	rocksdb_block_based_options_set_index_type(
		table, rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_block_based_options_set_partition_filters(table, 1);
	rocksdb_block_based_options_set_metadata_block_size(table, FILTER_PART_BYTES);
	rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
	rocksdb_block_based_options_set_data_block_index_type(
		table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
	rocksdb_block_based_options_set_format_version(table, 5);
	return table;
}

static void set_family_options(struct kv_rocksdb *store, rocksdb_options_t *options, bool large)
{
	rocksdb_block_based_table_options_t *table = table_options(store);
	size_t memtable = (size_t)(store->memtable_bytes / 2);
	size_t arena = memtable / 8 / store->kv.family_count;

	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_block_based_options_destroy(table);
	rocksdb_options_set_write_buffer_size(options, memtable);
	rocksdb_options_set_max_write_buffer_number(options, 4);
	/* Empty memtables of many families must not use up the limit that all share. */
	arena = arena < 4096 ? 4096 : arena > (1u << 20) ? 1u << 20 : arena & ~(size_t)4095;
	rocksdb_options_set_arena_block_size(options, arena);
	rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, 0.05);
	rocksdb_options_set_memtable_whole_key_filtering(options, 1);
	rocksdb_options_set_compression(options, rocksdb_no_compression);
	rocksdb_options_set_target_file_size_base(options, memtable);
	rocksdb_options_set_max_bytes_for_level_base(options,
						     LEVEL_BASE_SETS * store->memtable_bytes);
	rocksdb_options_set_max_compaction_bytes(options, COMPACTION_SETS * store->memtable_bytes);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
	rocksdb_options_set_level0_file_num_compaction_trigger(options, 4);
	rocksdb_options_set_level0_slowdown_writes_trigger(options, L0_SLOW);
	rocksdb_options_set_level0_stop_writes_trigger(options, L0_STOP);
	if (large) {
		rocksdb_options_set_enable_blob_files(options, 1);
		rocksdb_options_set_min_blob_size(options, BLOB_MIN_BYTES);
		rocksdb_options_set_blob_file_size(options, store->memtable_bytes < BLOB_FILE_BYTES
								    ? store->memtable_bytes
								    : BLOB_FILE_BYTES);
		rocksdb_options_set_blob_compression_type(options, rocksdb_no_compression);
		rocksdb_options_set_enable_blob_gc(options, 1);
		rocksdb_options_set_blob_gc_age_cutoff(options, BLOB_GC_AGE);
		rocksdb_options_set_blob_gc_force_threshold(options, BLOB_GC_FORCE);
	}
}

static void set_db_options(struct kv_rocksdb *store, rocksdb_options_t *options, bool create)
{
	rocksdb_options_set_create_if_missing(options, create);
	rocksdb_options_set_create_missing_column_families(options, 1);
	rocksdb_options_set_paranoid_checks(options, 1);
	rocksdb_options_set_wal_recovery_mode(options, WAL_POINT_IN_TIME);
	rocksdb_options_set_info_log_level(options, INFO_LOG_NOTHING);
	rocksdb_options_set_keep_log_file_num(options, 1);
	rocksdb_options_set_stats_dump_period_sec(options, 0);
	rocksdb_options_set_stats_persist_period_sec(options, 0);
	rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
	rocksdb_options_set_max_background_jobs(options, 2);
	rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
	rocksdb_options_set_manifest_preallocation_size(options, MANIFEST_PREALLOC);
	rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
	rocksdb_options_set_db_write_buffer_size(options, (size_t)store->memtable_bytes);
	rocksdb_options_set_max_total_wal_size(options, store->memtable_bytes);
	/* Background writeback in small steps, so that a flush of the log finds the disk idle. */
	rocksdb_options_set_bytes_per_sync(options, 1u << 20);
}

/* ---- what is there already ---- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n >= s && strcmp(name + n - s, suffix) == 0;
}

/* Does the directory hold data files of a database? Opening with "create" would delete them when
 * CURRENT has been lost. */
static int has_data_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int found = 0;

	if (dir == NULL)
		return errno == ENOENT ? 0 : -errno;
	while (found == 0 && (entry = readdir(dir)) != NULL)
		found = has_suffix(entry->d_name, ".sst") || has_suffix(entry->d_name, ".blob");
	closedir(dir);
	return found;
}

static int check_place(struct kv_rocksdb *store, bool create, char *error, size_t error_size)
{
	char current[4096];
	int rc;

	if (snprintf(current, sizeof(current), "%s/CURRENT", store->path) >= (int)sizeof(current)) {
		snprintf(error, error_size, "path too long");
		return -ENAMETOOLONG;
	}
	if (access(current, F_OK) == 0)
		return 0;
	rc = has_data_files(store->path);
	if (rc > 0) {
		snprintf(error, error_size, "%s: data files without CURRENT", store->path);
		return -EUCLEAN;
	}
	if (rc == 0 && !create) {
		snprintf(error, error_size, "%s: no store here", store->path);
		return -ENOENT;
	}
	if (rc < 0)
		snprintf(error, error_size, "%s: %s", store->path, strerror(-rc));
	return rc;
}

/* Only while the database is open by us: then no other process is about to rename one of these. */
static void sweep_options(const struct kv_rocksdb *store)
{
	DIR *dir = opendir(store->path);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (starts_with(entry->d_name, "OPTIONS-") && has_suffix(entry->d_name, ".dbtmp"))
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

/* ---- the reserve ---- */

static int reserve_path(const struct kv_rocksdb *store, char *out, size_t size)
{
	return snprintf(out, size, "%s/" RESERVE_NAME, store->path) < (int)size ? 0 : -ENAMETOOLONG;
}

static uint64_t tables_bytes(const struct kv_rocksdb *store)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < store->kv.family_count; i++) {
		uint64_t bytes = 0;

		if (rocksdb_property_int_cf(store->db, store->handles[i],
					    "rocksdb.total-sst-files-size", &bytes) == 0)
			sum += bytes;
	}
	return sum;
}

/* What deleting takes at worst before it gives anything back, in sets of memtables (memtable_bytes):
 *
 * - 8 for a compaction, which has its inputs and outputs at once: of level 0, where writers wait at
 *   L0_STOP_TIGHT files of half a set, with the base level of LEVEL_BASE_SETS. One between lower
 *   levels takes less, COMPACTION_SETS and a file. There is one compaction at a time.
 * - 1 for a set that is flushed; opening flushes the logs, which are no longer than that, before it
 *   deletes them.
 * - 1 for the log of the set that is written meanwhile.
 *
 * A compaction does not take more than there is: a small store has a small reserve, which grows with it.
 * And 2 MiB for room that is taken ahead in the log, in the manifest and in tables.
 *
 * Not covered: a level 0 that was already longer when the disk got full, since writers had outrun
 * compactions; and values in blob files that are collected. Such a compaction may fail, and begins
 * anew with each recovery; deletions go on for as long as their own records find room.
 *
 * memtable_bytes follows the disk's size so that this is about a tenth of a small one, and less than
 * 1 GiB of any. Where it does not follow (the disk is tiny, or it was given), the share is bounded. */
static uint64_t reserve_bytes(const struct kv_rocksdb *store)
{
	uint64_t merged = tables_bytes(store), merged_most = RESERVE_MERGED * store->memtable_bytes;
	uint64_t bytes = RESERVE_EXTRA + RESERVE_SETS * store->memtable_bytes +
			 (merged < merged_most ? merged : merged_most);
	struct statvfs fs;
	uint64_t most;

	if (statvfs(store->path, &fs) != 0)
		return bytes;
	most = (uint64_t)fs.f_blocks * fs.f_frsize / RESERVE_SHARE;
	return bytes < most ? bytes : most;
}

uint64_t kv_rocksdb_disk_free(const struct kv_rocksdb *store)
{
	struct statvfs fs;

	if (statvfs(store->path, &fs) != 0)
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

bool kv_rocksdb_reserve_make(struct kv_rocksdb *store)
{
	uint64_t bytes = reserve_bytes(store), needed = LOW_SETS * store->memtable_bytes;
	char path[4096];
	struct stat st;
	int fd;

	if (reserve_path(store, path, sizeof(path)) != 0)
		return true;
	if (stat(path, &st) != 0)
		st.st_size = 0;
	if ((uint64_t)st.st_size < bytes)
		needed += bytes - (uint64_t)st.st_size;
	/* After it was given up, much of what is free is in use: a compaction that failed gives its
	 * outputs back, and begins anew. So there must be as much again. */
	if (atomic_load(&store->reserve_is_used))
		needed += bytes;
	if (kv_rocksdb_disk_free(store) < needed)
		return false;
	if ((uint64_t)st.st_size >= bytes)
		return true;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return true;
	if (posix_fallocate(fd, 0, (off_t)bytes) != 0)
		unlink(path);
	close(fd);
	return true;
}

int kv_rocksdb_reserve_drop(struct kv_rocksdb *store)
{
	char path[4096];

	atomic_store(&store->reserve_is_used, true);
	if (reserve_path(store, path, sizeof(path)) != 0 || unlink(path) != 0)
		return -ENOENT;
	log_warn("space reserve given up path=%s", store->path);
	return 0;
}

/* ---- open and close ---- */

static int open_once(struct kv_rocksdb *store, bool create, char *error, size_t error_size)
{
	unsigned count = store->kv.family_count;
	const rocksdb_options_t **family_options = calloc(count, sizeof(*family_options));
	rocksdb_options_t *options = rocksdb_options_create();
	char *text = NULL;
	int rc;

	if (family_options == NULL) {
		rocksdb_options_destroy(options);
		return -ENOMEM;
	}
	set_db_options(store, options, create);
	for (unsigned i = 0; i < count; i++) {
		rocksdb_options_t *own = rocksdb_options_create_copy(options);

		set_family_options(store, own, store->large[i]);
		family_options[i] = own;
	}
	if (store->read_only)
		store->db = rocksdb_open_for_read_only_column_families(
			options, store->path, (int)count, (const char *const *)store->names,
			family_options, store->handles, 0, &text);
	else
		store->db = rocksdb_open_column_families(options, store->path, (int)count,
							 (const char *const *)store->names,
							 family_options, store->handles, &text);
	rc = kv_rocksdb_error(text, error, error_size);
	if (rc != 0)
		store->db = NULL;
	for (unsigned i = 0; i < count; i++)
		rocksdb_options_destroy((rocksdb_options_t *)family_options[i]);
	free(family_options);
	rocksdb_options_destroy(options);
	return rc;
}

/* Sets at how many files of level 0 writers wait. Leaves out families where level 0 is longer than
 * @longest: there they would wait for a compaction that may not find the room it needs. */
static void bound_level0(struct kv_rocksdb *store, int slow, int stop, uint64_t longest)
{
	static const char *const keys[] = {"level0_slowdown_writes_trigger",
					   "level0_stop_writes_trigger"};
	char slow_text[16], stop_text[16];
	const char *const values[] = {slow_text, stop_text};

	snprintf(slow_text, sizeof(slow_text), "%d", slow);
	snprintf(stop_text, sizeof(stop_text), "%d", stop);
	for (unsigned i = 0; i < store->kv.family_count; i++) {
		char error[256], *text = NULL;
		uint64_t files = 0;

		if (rocksdb_property_int_cf(store->db, store->handles[i],
					    "rocksdb.num-files-at-level0", &files) != 0 ||
		    files > longest)
			continue;
		rocksdb_set_options_cf(store->db, store->handles[i], 2, keys, values, &text);
		if (kv_rocksdb_error(text, error, sizeof(error)) != 0)
			log_warn("level 0 is not bounded path=%s error=\"%s\"", store->path, error);
	}
	sweep_options(store);
}

void kv_rocksdb_relax(struct kv_rocksdb *store)
{
	if (!atomic_exchange(&store->reserve_is_used, false))
		return;
	bound_level0(store, L0_SLOW, L0_STOP, UINT64_MAX);
	log_info("there is a space reserve again path=%s", store->path);
}

static void unlock(struct kv_rocksdb *store)
{
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	store->lock_fd = -1;
}

static int prepare_logs(struct kv_rocksdb *store)
{
	int rc = kv_rocksdb_lock(store->path, &store->lock_fd);

	if (rc != 0)
		return rc;
	rc = kv_rocksdb_cut_logs(store->path);
	if (rc != 0 || !store->read_only)
		unlock(store);
	return rc;
}

int kv_rocksdb_open_db(struct kv_rocksdb *store, bool create, char *error, size_t error_size)
{
	int rc = check_place(store, create, error, error_size);

	if (rc != 0)
		return rc;
	rc = prepare_logs(store);
	if (rc != 0) {
		snprintf(error, error_size, "%s: %s", store->path,
			 rc == -EBUSY ? "in use by another process" : strerror(-rc));
		return rc;
	}
	rc = open_once(store, create, error, error_size);
	if (store->read_only) {
		if (rc != 0)
			unlock(store);
		return rc;
	}
	if (rc == -ENOSPC && kv_rocksdb_reserve_drop(store) == 0)
		rc = open_once(store, create, error, error_size);
	if (rc == 0) {
		sweep_options(store);
		if (kv_rocksdb_reserve_make(store))
			atomic_store(&store->reserve_is_used, false);
		else if (atomic_load(&store->reserve_is_used))
			bound_level0(store, L0_SLOW_TIGHT, L0_STOP_TIGHT, L0_SLOW_TIGHT);
		kv_log_ahead_open(&store->ahead, store->path);
	}
	return rc;
}

void kv_rocksdb_close_db(struct kv_rocksdb *store)
{
	if (store->db == NULL)
		return;
	kv_log_ahead_close(&store->ahead);
	for (unsigned i = 0; i < store->kv.family_count; i++) {
		rocksdb_column_family_handle_destroy(store->handles[i]);
		store->handles[i] = NULL;
	}
	rocksdb_close(store->db);
	store->db = NULL;
	unlock(store);
}
