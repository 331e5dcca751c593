/* store.c - a target as a whole: identity, opening, being down, space. */
#include "chunkserver/store/internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/os/clock.h"

#define LOG_MODULE "store"

#define DB_CACHE_BYTES   (32u << 20)
#define VIEW_CACHE_BYTES (32u << 20)
#define VIEW_FILES_MAX   512u
#define SYNC_AFTER_NS    (5 * NS_PER_SEC)
#define REST_AFTER_NS    NS_PER_SEC
#define MIGRATE_IDLE_NS  (500 * NS_PER_MSEC)
#define MIGRATE_MIN      64u
#define COMPACT_PART     4u /* of the reserve in deleted blocks is enough when a write was refused */
#define COMPACT_LEAST    (64u << 10) /* bytes that came back: it may have helped */
#define LIVES_LOST       (1u << 24)  /* no target is opened so often */
#define SPACE_FRESH_NS   (50 * NS_PER_MSEC)
#define SPACE_FRESH      (4u << 20) /* bytes written until it is asked again */

static struct log_rate down_rate;

/* ---- being down ---- */

int store_check(struct store *store)
{
	int down;

	if (atomic_load_explicit(&store->poisoned, memory_order_relaxed))
		return -EIO;
	down = atomic_load_explicit(&store->down, memory_order_relaxed);
	if (down != 0)
		return down;
	return kv_is_down(store->kv) ? -EIO : 0;
}

bool store_is_down(struct store *store)
{
	return store_check(store) != 0;
}

static void set_down(struct store *store, int error, const char *what)
{
	int expected = 0;

	if (atomic_compare_exchange_strong(&store->down, &expected, error))
		log_error("target is down path=%s op=%s error=\"%s\"", store->path, what,
			  strerror(-error));
}

void store_poison(struct store *store, const char *what, int error)
{
	if (!atomic_exchange(&store->poisoned, true))
		log_error("sync failed, target refuses all until opened again path=%s op=%s "
			  "error=\"%s\"",
			  store->path, what, strerror(-error));
}

int store_write_failed(struct store *store, int error, const char *what)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
		if (log_rate_ok(&down_rate, 1))
			log_warn("no space path=%s op=%s", store->path, what);
		space_refresh(store, true);
		return -ENOSPC;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EBADMSG:
		if (log_rate_ok(&down_rate, 1))
			log_error("write failed path=%s op=%s error=\"%s\"", store->path, what,
				  strerror(-error));
		return error;
	default:
		set_down(store, -EIO, what);
		return -EIO;
	}
}

int store_kv_write(struct store *store, const struct kv_batch *batch, uint64_t *seq)
{
	int rc = kv_write(store->kv, batch, false);
	uint64_t number;

	if (rc != 0) {
		if (kv_is_down(store->kv))
			set_down(store, rc, "kv_write");
		return rc;
	}
	/* Counted after the write: who sees the number can be sure that a sync covers it. */
	number = atomic_fetch_add(&store->written_seq, 1) + 1;
	if (seq != NULL)
		*seq = number;
	return 0;
}

/* Can a file be written and synced? */
static int probe(struct store *store)
{
	static const char name[] = "probe";
	int fd = openat(store->root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (pwrite(fd, name, sizeof(name), 0) != (ssize_t)sizeof(name) || fdatasync(fd) != 0)
		rc = -errno;
	close(fd);
	unlinkat(store->root_fd, name, 0);
	return rc;
}

int store_recover(struct store *store)
{
	int rc;

	if (atomic_load(&store->poisoned))
		return -EIO;
	if (kv_is_down(store->kv)) {
		/* Nobody is to look before it is certain that all is there. */
		set_down(store, -EIO, "kv_recover");
		rc = kv_recover(store->kv);
		if (rc != 0)
			return rc;
		/* The log was read again. What is missing now, others would take for never written
		 * if this went on in the same life. */
		if (!synced_is_whole(store)) {
			store_poison(store, "kv_recover", -EUCLEAN);
			return -EIO;
		}
	}
	rc = probe(store);
	if (rc != 0)
		return rc;
	/* A batch whose write failed may be in the log all the same: views look again. */
	atomic_fetch_add(&store->generation, 1);
	if (atomic_exchange(&store->down, 0) != 0)
		log_info("target is up again path=%s", store->path);
	space_refresh(store, true);
	return 0;
}

/* ---- space ---- */

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

void space_refresh(struct store *store, bool now)
{
	uint64_t time = clock_monotonic_ns();
	uint64_t last = atomic_load_explicit(&store->space_ns, memory_order_relaxed);
	struct statvfs fs;
	uint64_t unit;

	if (!now && time - last < SPACE_FRESH_NS &&
	    atomic_load_explicit(&store->written_since, memory_order_relaxed) < SPACE_FRESH)
		return;
	if (!atomic_compare_exchange_strong(&store->space_ns, &last, time) && !now)
		return; /* another thread is at it */
	atomic_store(&store->written_since, 0);
	if (fstatvfs(store->root_fd, &fs) != 0)
		return;
	unit = fs.f_frsize;
	atomic_store(&store->capacity, fs.f_blocks * unit);
	atomic_store(&store->used, (fs.f_blocks - fs.f_bfree) * unit);
	atomic_store(&store->available, fs.f_bavail * unit);
}

static uint64_t space_left(struct store *store)
{
	uint64_t available = atomic_load_explicit(&store->available, memory_order_relaxed);
	uint64_t taken = atomic_load_explicit(&store->promised, memory_order_relaxed) +
			 atomic_load_explicit(&store->written_since, memory_order_relaxed);

	return available > taken ? available - taken : 0;
}

int space_promise(struct store *store, uint64_t bytes, bool syncing)
{
	uint64_t floor = syncing ? store->reserve / STORE_RESERVE_SYNC : store->reserve;

	space_refresh(store, false);
	if (space_left(store) < floor + bytes || (!syncing && kv_space_low(store->kv)))
		return -ENOSPC;
	atomic_fetch_add_explicit(&store->promised, bytes, memory_order_relaxed);
	return 0;
}

void space_release(struct store *store, uint64_t promised, uint64_t written)
{
	atomic_fetch_sub_explicit(&store->promised, promised, memory_order_relaxed);
	atomic_fetch_add_explicit(&store->written_since, written, memory_order_relaxed);
}

bool space_is_short(struct store *store)
{
	return space_left(store) < 2 * store->reserve;
}

struct compaction {
	struct job job;
	uint64_t garbage; /* as we counted it */
};

static void compact_run(struct job *job)
{
	struct compaction *compaction = container_of(job, struct compaction, job);
	struct store *store = job->view->store;
	uint64_t before, after;

	space_refresh(store, true);
	before = atomic_load(&store->available);
	if (kv_compact(store->kv, FAMILY_INNER) != 0)
		return;
	space_refresh(store, true);
	after = atomic_load(&store->available);
	log_debug("deleted blocks compacted away path=%s available_before=%llu available=%llu",
		  store->path, (unsigned long long)before, (unsigned long long)after);
	/* Each time the db takes on a share of its oldest files: as long as that helps, again. */
	if (after > before + COMPACT_LEAST && after - before < compaction->garbage)
		atomic_fetch_add(&store->garbage, compaction->garbage - (after - before));
}

static void compact_after(struct job *job)
{
	struct store_view *view = job->view;

	free(container_of(job, struct compaction, job));
	if (view->closing)
		return;
	atomic_store(&view->store->compacting, false);
	space_reclaim(view, false);
}

void space_reclaim(struct store_view *view, bool refused)
{
	struct store *store = view->store;
	uint64_t garbage = atomic_load(&store->garbage);
	uint64_t least = refused ? store->reserve / COMPACT_PART : store->reserve;
	struct compaction *compaction;

	/* Values that live are written anew too, so it has to be worth while. */
	if (view->closing || garbage < least || (!refused && garbage < space_left(store) / 2) ||
	    atomic_exchange(&store->compacting, true))
		return;
	compaction = calloc(1, sizeof(*compaction));
	if (compaction == NULL) {
		atomic_store(&store->compacting, false);
		return;
	}
	compaction->garbage = atomic_exchange(&store->garbage, 0);
	job_start(view, &compaction->job, compact_run, compact_after);
}

void store_space(struct store *store, uint64_t *capacity, uint64_t *used, uint64_t *free_bytes)
{
	uint64_t left;

	space_refresh(store, false);
	left = space_left(store);
	*capacity = atomic_load(&store->capacity);
	*used = atomic_load(&store->used);
	*free_bytes = left > store->reserve ? left - store->reserve : 0;
}

bool store_full(struct store *store)
{
	space_refresh(store, false);
	return space_left(store) < store->reserve || kv_space_low(store->kv);
}

bool store_is_low(struct store *store, bool was)
{
	uint64_t capacity, used, left, limit;

	if (store_full(store))
		return true;
	store_space(store, &capacity, &used, &left);
	limit = capacity / STORE_LOW_PART < STORE_LOW_MAX ? capacity / STORE_LOW_PART
							  : STORE_LOW_MAX;
	return left < (was ? 2 * limit : limit);
}

/* ---- opening ---- */

static void boot_id_read(char out[BOOT_ID_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, BOOT_ID_BYTES - 1);

	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static int state_write(struct store *store, bool clean)
{
	static const uint8_t key[] = {KEY_STATE}, life_key[] = {KEY_LIFE}, note[] = {KEY_DAMAGE};
	struct kv_batch *batch = kv_batch_new();
	char boot_id[BOOT_ID_BYTES];
	uint8_t value[STATE_VALUE_MAX], life[NUMBER_VALUE_MAX], damage[NUMBER_VALUE_MAX];
	int rc;

	if (batch == NULL)
		return -ENOMEM;
	boot_id_read(boot_id);
	kv_batch_put(batch, FAMILY_MAIN, key, sizeof(key), value,
		     state_encode(clean, boot_id, value));
	kv_batch_put(batch, FAMILY_MAIN, life_key, sizeof(life_key), life,
		     life_encode(store->life, life));
	if (store_damaged(store))
		kv_batch_put(batch, FAMILY_MAIN, note, sizeof(note), damage,
			     damage_encode(store->life, damage));
	synced_put(store, batch);
	rc = kv_write(store->kv, batch, true);
	kv_batch_free(batch);
	if (rc != 0)
		return rc;
	store->synced.put = store->synced.mark;
	rc = synced_tell(store);
	/* Then the file is behind, which is always right. */
	return rc == -ENOSPC || rc == -EDQUOT ? 0 : rc;
}

static int state_read(struct store *store)
{
	static const uint8_t key[] = {KEY_STATE};
	char now[BOOT_ID_BYTES], then[BOOT_ID_BYTES];
	uint8_t *value;
	size_t size;
	int rc = kv_get(store->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	store->was_clean = rc == -ENOENT; /* never opened */
	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rc;
	boot_id_read(now);
	/* A state that cannot be read is the careful one: not clean, another boot. */
	if (state_decode(value, size, &store->was_clean, then) == 0)
		store->same_boot = now[0] != '\0' && strcmp(now, then) == 0;
	free(value);
	return 0;
}

/* Another life than all before. One that cannot be read must not be guessed: the master tells old
 * copies of a disk by it. One that was lost with a damaged log is in the file beside it. */
static int life_begin(struct store *store, char *error, size_t error_size)
{
	static const uint8_t key[] = {KEY_LIFE};
	uint64_t before = 0;
	uint32_t luck, count;
	uint8_t *value;
	size_t size;
	int rc = kv_get(store->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	if (rc == 0) {
		rc = life_decode(value, size, &before);
		free(value);
		if (rc != 0 || (uint32_t)before == UINT32_MAX) {
			snprintf(error, error_size,
				 "%s: its record of how often it was opened is damaged: replace "
				 "this target by a new one",
				 store->path);
			return -EUCLEAN;
		}
	} else if (rc != -ENOENT) { /* absent: new, or of a time without it */
		return rc;
	}
	count = (uint32_t)before;
	if (store_damaged(store) && (uint32_t)store->synced.life > count)
		count = (uint32_t)store->synced.life;
	if (store->synced.lives_lost && count < UINT32_MAX - LIVES_LOST)
		count += LIVES_LOST;
	if (getrandom(&luck, sizeof(luck), 0) != (ssize_t)sizeof(luck))
		return -EIO;
	store->life = (uint64_t)luck << 32 | (count + 1);
	return 0;
}

static int open_db(struct store *store, char *error, size_t error_size)
{
	char path[4096], text[256] = "";
	struct kv_options options = {
		.path = path,
		.families = store_families,
		.family_count = FAMILY_COUNT,
		.cache_bytes = DB_CACHE_BYTES,
	};
	int rc;

	if (snprintf(path, sizeof(path), "%s/db", store->path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	rc = kv_open(&options, &store->kv, text, sizeof(text));
	/* Others have what was in it, so a new target is all that is needed. */
	if (rc == -EUCLEAN)
		snprintf(error, error_size,
			 "%s: its db is damaged: replace the disk, or empty the directory, and "
			 "make a new target with --init, which gets copies of others (%s)",
			 store->path, text);
	else if (rc != 0)
		snprintf(error, error_size, "%s", text);
	return rc;
}

static struct store *store_alloc(const struct store_options *options)
{
	struct store *store = calloc(1, sizeof(*store));

	if (store == NULL)
		return NULL;
	store->root_fd = store->chunks_fd = store->lock_fd = store->synced.fd = -1;
	store->pool = options->pool;
	store->cache_bytes = options->cache_bytes == 0 ? VIEW_CACHE_BYTES : options->cache_bytes;
	store->files_max = VIEW_FILES_MAX;
	store->sync_after_ns = SYNC_AFTER_NS;
	store->rest_after_ns = REST_AFTER_NS;
	store->migrate_idle_ns = MIGRATE_IDLE_NS;
	store->migrate_min = MIGRATE_MIN;
	pthread_mutex_init(&store->sync_mutex, NULL);
	pthread_cond_init(&store->sync_cond, NULL);
	pthread_cond_init(&store->sync_idle, NULL);
	pthread_mutex_init(&store->synced.mutex, NULL);
	store->sync_tail = &store->sync_head;
	store->path = strdup(options->path);
	if (store->path == NULL) {
		free(store);
		return NULL;
	}
	return store;
}

static void store_free(struct store *store)
{
	if (!store->kv_borrowed)
		kv_close(store->kv);
	if (store->synced.fd >= 0)
		close(store->synced.fd);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	if (store->chunks_fd >= 0)
		close(store->chunks_fd);
	if (store->root_fd >= 0)
		close(store->root_fd);
	pthread_mutex_destroy(&store->sync_mutex);
	pthread_cond_destroy(&store->sync_cond);
	pthread_cond_destroy(&store->sync_idle);
	pthread_mutex_destroy(&store->synced.mutex);
	seen_close(store);
	free(store->path);
	free(store);
}

static int open_place(struct store *store, const char *cluster, char *error, size_t error_size)
{
	int rc;

	store->root_fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->root_fd < 0) {
		rc = -errno;
		snprintf(error, error_size, "%s: %s", store->path, strerror(-rc));
		return rc;
	}
	rc = store_identity_read(store->root_fd, store->path, cluster, store->uuid,
				 &store->instance, error, error_size);
	if (rc != 0)
		return rc;
	snprintf(store->cluster, sizeof(store->cluster), "%s", cluster);
	rc = store_lock(store->root_fd, store->path, &store->lock_fd, error, error_size);
	if (rc != 0)
		return rc;
	store->chunks_fd = openat(store->root_fd, "chunks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->chunks_fd < 0) {
		rc = -errno;
		snprintf(error, error_size, "%s/chunks: %s", store->path, strerror(-rc));
		return rc == -ENOENT ? -EUCLEAN : rc;
	}
	return 0;
}

static void space_start(struct store *store)
{
	space_refresh(store, true);
	store->reserve = clamp(atomic_load(&store->capacity) / STORE_RESERVE_PART,
			       STORE_RESERVE_MIN, STORE_RESERVE_MAX);
}

int store_open_on(const struct store_options *options, struct kv *kv, struct store **out,
		  char *error, size_t error_size)
{
	struct store *store = store_alloc(options);
	int rc;

	error[0] = '\0';
	if (store == NULL)
		return -ENOMEM;
	rc = open_place(store, options->cluster, error, error_size);
	if (rc != 0)
		goto fail;
	store->kv = kv;
	store->kv_borrowed = kv != NULL;
	if (kv == NULL)
		rc = open_db(store, error, error_size);
	if (rc == -ENOENT)
		rc = -EUCLEAN; /* an identity without a db */
	if (rc != 0)
		goto fail;
	space_start(store);
	rc = state_read(store);
	if (rc == 0)
		rc = synced_open(store);
	if (rc == 0)
		rc = seen_open(store);
	if (rc == 0)
		rc = life_begin(store, error, error_size);
	if (rc == 0)
		rc = state_write(store, false);
	if (rc == 0)
		rc = store_replay(store);
	if (rc == 0)
		rc = log_sync_start(store);
	if (rc == 0)
		rc = synced_start(store);
	if (rc != 0)
		goto fail;
	*out = store;
	return 0;
fail:
	log_sync_stop(store);
	if (error[0] == '\0')
		snprintf(error, error_size, "%s: cannot be opened: %s", options->path,
			 strerror(-rc));
	store_free(store);
	return rc;
}

int store_open(const struct store_options *options, struct store **out, char *error,
	       size_t error_size)
{
	return store_open_on(options, NULL, out, error, error_size);
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	if (atomic_load(&store->views) != 0)
		log_error("target closed with views open path=%s", store->path);
	synced_stop(store);
	log_sync_stop(store);
	if (store_check(store) == 0) {
		int rc = kv_sync(store->kv);

		if (rc == 0)
			rc = state_write(store, !atomic_load(&store->leftovers));
		if (rc != 0)
			log_error("target not synced at close path=%s error=\"%s\"", store->path,
				  strerror(-rc));
	}
	store_free(store);
}

const char *store_uuid(const struct store *store)
{
	return store->uuid;
}

uint64_t store_instance(const struct store *store)
{
	return store->instance;
}

int store_adopt(struct store *store, uint64_t instance)
{
	int rc;

	if (store->instance == instance)
		return 0;
	if (store->instance != 0 || instance == 0)
		return -EXDEV;
	rc = store_identity_adopt(store->root_fd, store->cluster, store->uuid, instance);
	if (rc != 0) {
		log_error("target's identity not written path=%s error=\"%s\"", store->path,
			  strerror(-rc));
		return rc;
	}
	store->instance = instance;
	log_info("target belongs to the cluster from now on path=%s uuid=%s instance=%016" PRIx64,
		 store->path, store->uuid, instance);
	return 0;
}

uint64_t store_life(const struct store *store)
{
	return store->life;
}
