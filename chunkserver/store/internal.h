/* internal.h - what the store's files share; nobody else includes it.
 *
 * Threads. A view and its chunks belong to one loop's thread. Pool threads run jobs: they see the
 * store, a file and what their job carries, never a chunk. One thread of the store syncs the log.
 * Everything in struct store that changes is atomic or under sync_mutex.
 *
 * Words. block: 4 KiB. piece: 256 blocks, the unit of checksum values and marks. live file block:
 * present and not inner, so that its bytes are the file's. */
#ifndef CATENA_CHUNKSERVER_STORE_INTERNAL_H
#define CATENA_CHUNKSERVER_STORE_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>
#include "chunkserver/store/store.h"
#include "common/base/bytes.h"
#include "common/os/clock.h"
#include "common/base/crc32c.h"
#include "common/kv/kv.h"
#include "common/os/log.h"

#define PIECE_BLOCKS 256u
#define PIECE_SHIFT  8u
#define PIECE_BYTES  (PIECE_BLOCKS * BLOCK_SIZE)
#define PIECES_MAX   (STORE_BLOCKS_MAX / PIECE_BLOCKS)

/* ---- small tools ---- */

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add(struct list *head, struct list *l) /* at the end */
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

static inline void list_move(struct list *from, struct list *to) /* all, to the end */
{
	while (!list_empty(from)) {
		struct list *l = from->next;

		list_del(l);
		list_add(to, l);
	}
}

/* A set of the blocks of a piece, or of up to 256 blocks of a range. */
struct bits {
	uint64_t w[PIECE_BLOCKS / 64];
};
#define BITS_WORDS (PIECE_BLOCKS / 64)

static inline bool bits_test(const struct bits *b, uint32_t i)
{
	return (b->w[i / 64] >> (i % 64) & 1) != 0;
}

static inline void bits_set(struct bits *b, uint32_t i)
{
	b->w[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bits_clear(struct bits *b, uint32_t i)
{
	b->w[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline bool bits_any(const struct bits *b)
{
	return (b->w[0] | b->w[1] | b->w[2] | b->w[3]) != 0;
}

static inline uint32_t bits_count(const struct bits *b)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < BITS_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(b->w[i]);
	return n;
}

static inline struct bits bits_and(struct bits a, const struct bits *b)
{
	for (unsigned i = 0; i < BITS_WORDS; i++)
		a.w[i] &= b->w[i];
	return a;
}

static inline struct bits bits_or(struct bits a, const struct bits *b)
{
	for (unsigned i = 0; i < BITS_WORDS; i++)
		a.w[i] |= b->w[i];
	return a;
}

static inline struct bits bits_without(struct bits a, const struct bits *b)
{
	for (unsigned i = 0; i < BITS_WORDS; i++)
		a.w[i] &= ~b->w[i];
	return a;
}

static inline bool bits_equal(const struct bits *a, const struct bits *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* First set bit from @i on, or PIECE_BLOCKS. */
static inline uint32_t bits_next(const struct bits *b, uint32_t i)
{
	while (i < PIECE_BLOCKS) {
		uint64_t word = b->w[i / 64] >> (i % 64);

		if (word != 0)
			return i + (uint32_t)__builtin_ctzll(word);
		i = (i / 64 + 1) * 64;
	}
	return PIECE_BLOCKS;
}

/* Index past the last set bit; 0: none. */
static inline uint32_t bits_end(const struct bits *b)
{
	for (unsigned i = BITS_WORDS; i-- > 0;)
		if (b->w[i] != 0)
			return i * 64 + 64 - (uint32_t)__builtin_clzll(b->w[i]);
	return 0;
}

/* The blocks [first, end) of a chunk that are in piece @index, as a set. */
static inline struct bits bits_range(uint32_t index, uint32_t first, uint32_t end)
{
	struct bits b = {{0}};
	uint32_t base = index * PIECE_BLOCKS;
	uint32_t from = first > base ? first - base : 0;
	uint32_t to = end > base ? end - base : 0;

	for (uint32_t i = from; i < (to < PIECE_BLOCKS ? to : PIECE_BLOCKS); i++)
		bits_set(&b, i);
	return b;
}

static inline uint32_t blocks_of(uint32_t bytes)
{
	return (bytes + BLOCK_SIZE - 1) >> BLOCK_SHIFT;
}

static inline uint32_t pieces_of(uint32_t bytes)
{
	return (uint32_t)(((uint64_t)bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

/* ---- formats (record.c; docs/store-format.md) ---- */

#define FAMILY_MAIN  0u /* records, pieces, marks, the state */
#define FAMILY_INNER 1u /* inner blocks */
#define FAMILY_COUNT 2u
extern const struct kv_family store_families[FAMILY_COUNT];

struct piece {
	struct bits present, inner;  /* inner is a subset */
	uint32_t crcs[PIECE_BLOCKS]; /* of present blocks */
};

struct record {
	bool unsure;
	bool has_file; /* some block was put into the file once */
	uint64_t epoch, version;
	struct chunk_history history;
	uint32_t length;
	uint32_t inner_count;         /* inner blocks of the chunk */
	uint32_t digests[PIECES_MAX]; /* pieces_of(length) of them; 0: no block present */
	uint32_t op_count;
	struct store_op_id ops[STORE_OPS_KEPT];
};

/* A chunk of this length has its only piece in the record itself. */
static inline bool record_is_inline(uint32_t length)
{
	return length <= STORE_INNER_MAX;
}

#define KEY_RECORD       'c'
#define KEY_PIECE        'p'
#define KEY_MARK         'm'
#define KEY_STATE        's'
#define KEY_LIFE         'l'
#define KEY_SYNCED       'y'
#define KEY_DAMAGE       'd'
#define KEY_EPOCH        'e'
#define KEY_SEEN         'w' /* struct store_seen */
#define KEY_SEEN_CHAIN   'h' /* pool be32, partition be32: a chain, as the newest map had it */
#define KEY_BYTES_MAX    (CHUNK_KEY_BYTES + 4)
#define PIECE_VALUE_MAX  (1 + 2 + 2 * (PIECE_BLOCKS / 8) + 4 * PIECE_BLOCKS + 4)
#define RECORD_VALUE_MAX 4096u
#define MARK_VALUE_MAX   (2 + PIECE_BLOCKS / 8 + 4)
#define INNER_HEAD       5u /* format, checksum */
#define INNER_VALUE_MAX  (INNER_HEAD + BLOCK_SIZE)
#define STATE_VALUE_MAX  128u
#define NUMBER_VALUE_MAX 16u
#define BOOT_ID_BYTES    40u

size_t key_record(const struct chunk_key *key, uint8_t out[KEY_BYTES_MAX]);
size_t key_piece(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX]);
size_t key_mark(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX]);
size_t key_inner(const struct chunk_key *key, uint32_t block, uint8_t out[KEY_BYTES_MAX]);

/* Checksum over the presence and the block checksums; 0 only when nothing is present. */
uint32_t piece_digest(const struct piece *piece);
/* Values carry a CRC32C over their key and themselves. Decoders take anything: -EBADMSG. */
size_t piece_encode(const struct chunk_key *key, uint32_t index, const struct piece *piece,
		    uint8_t out[PIECE_VALUE_MAX]);
int piece_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		 struct piece *piece);
/* @piece: piece 0, used when the record is inline (NULL: nothing present). */
size_t record_encode(const struct chunk_key *key, const struct record *record,
		     const struct piece *piece, uint8_t out[RECORD_VALUE_MAX]);
int record_decode(const struct chunk_key *key, const void *data, size_t size, struct record *record,
		  struct piece *piece);
size_t mark_encode(const struct chunk_key *key, uint32_t index, const struct bits *over,
		   uint8_t out[MARK_VALUE_MAX]);
int mark_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		struct bits *over);
/* An inner block: its checksum, and @length bytes; the rest of the block is zeros. */
size_t inner_encode(uint32_t crc, const void *bytes, uint32_t length, uint8_t out[INNER_VALUE_MAX]);
int inner_decode(const void *data, size_t size, uint32_t crc, uint8_t out[BLOCK_SIZE]);
size_t state_encode(bool clean, const char *boot_id, uint8_t out[STATE_VALUE_MAX]);
int state_decode(const void *data, size_t size, bool *clean, char boot_id[BOOT_ID_BYTES]);
/* Numbers that are not 0: the life; the mark of witness.c; the life that noticed damage; the
 * highest epoch of a partition's chain. */
size_t life_encode(uint64_t life, uint8_t out[NUMBER_VALUE_MAX]);
int life_decode(const void *data, size_t size, uint64_t *life);
size_t synced_encode(uint64_t mark, uint8_t out[NUMBER_VALUE_MAX]);
int synced_decode(const void *data, size_t size, uint64_t *mark);
#define SEEN_VALUE_MAX 128u
size_t seen_encode(const struct store_seen *seen, uint8_t out[SEEN_VALUE_MAX]);
int seen_decode(const void *data, size_t size, struct store_seen *seen);
size_t seen_chain_encode(const void *key, size_t key_size, const struct map_chain *chain,
			 uint8_t out[SEEN_VALUE_MAX]);
int seen_chain_decode(const void *key, size_t key_size, const void *data, size_t size,
		      struct map_chain *chain);
size_t damage_encode(uint64_t life, uint8_t out[NUMBER_VALUE_MAX]);
size_t epoch_encode(uint64_t epoch, uint8_t out[NUMBER_VALUE_MAX]);
int epoch_decode(const void *data, size_t size, uint64_t *epoch);

/* ---- the store ---- */

struct log_wait {
	struct log_wait *next;
	struct store_view *view;
	int error;
	void (*done)(struct log_wait *wait); /* on the view's loop */
};

/* What is known to have been synced, beside the db (witness.c). Under its mutex but for
 * opening and closing. */
struct synced {
	int fd;          /* -1: it is not kept */
	unsigned slot;   /* of the file, to be written next */
	uint64_t mark;   /* the last number used */
	uint64_t put;    /* the last one that kv has accepted */
	uint64_t seq;    /* its batch */
	uint64_t told;   /* the last one in the file, */
	uint64_t life;   /* and the life there; 0: none */
	bool lives_lost; /* there is damage, and nothing says which lives were used */
	struct periodic_thread *thread; /* of synced_start() */
	pthread_mutex_t mutex;
};

struct store {
	char *path;
	int root_fd, chunks_fd, lock_fd;
	char uuid[37];
	char cluster[64];
	uint64_t instance;      /* of the cluster; 0: of none yet. Changed by store_adopt() alone */
	struct store_seen seen; /* as written; see seen.c */
	struct seen_chain *seen_chains;
	uint64_t life;
	struct kv *kv;
	bool kv_borrowed;
	bool same_boot; /* the machine has not gone down since the target was last open */
	bool was_clean;
	atomic_bool damaged; /* something synced is missing, and the master has not drawn its
			      * conclusions; durably in kv */
	struct synced synced;
	struct buf_pool *pool;
	uint64_t cache_bytes;
	unsigned files_max; /* open ones, per view */
	/* Patience of the background work; tests have less. */
	uint64_t sync_after_ns, rest_after_ns, migrate_idle_ns;
	uint32_t migrate_min; /* inner blocks of a long chunk that may stay */
	atomic_uint views;
	atomic_bool no_direct; /* the filesystem does not have O_DIRECT */

	atomic_int down;        /* -errno, or 0 */
	atomic_bool leftovers;  /* a file may have no record: look for it at the next open */
	atomic_bool poisoned;   /* a sync failed: nothing here is certain until the next open */
	atomic_uint generation; /* of kv: grows when what views hold in memory must be read again */

	/* Batches written to kv, and how many of them are certainly on stable storage. */
	atomic_uint_fast64_t written_seq, synced_seq;

	/* space */
	uint64_t reserve;
	atomic_uint_fast64_t capacity, used, available; /* as statvfs() said at space_ns */
	atomic_uint_fast64_t space_ns, written_since, promised;
	atomic_uint_fast64_t garbage; /* bytes of inner blocks deleted since the last compaction */
	atomic_bool compacting;

	/* the log-sync thread */
	pthread_t sync_thread;
	bool sync_thread_runs;
	pthread_mutex_t sync_mutex;
	pthread_cond_t sync_cond, sync_idle;
	struct log_wait *sync_head, **sync_tail;
	bool sync_soon; /* though nobody waits */
	bool sync_stop;
	atomic_uint_fast64_t last_sync_ns;    /* the last that the store's user asked for */
	atomic_uint_fast64_t unlink_after_ns; /* while somebody waits for the disk */
};

/* Who waits for syncs has the disk first: what is done in the background then pauses several times
 * as long as it has taken. */
#define FOREGROUND_NS (100 * NS_PER_MSEC)
static inline bool store_is_waited_for(const struct store *store, uint64_t now)
{
	return now <
	       atomic_load_explicit(&store->last_sync_ns, memory_order_relaxed) + FOREGROUND_NS;
}

/* -errno when nothing may be done now, or 0. */
int store_check(struct store *store);
/* A write to disk failed with @error: takes the target down if that is what it means; returns what
 * to tell the caller. */
int store_write_failed(struct store *store, int error, const char *what);
void store_poison(struct store *store, const char *what, int error);
/* Writes the batch, unsynced; *seq (may be NULL) is its number. */
int store_kv_write(struct store *store, const struct kv_batch *batch, uint64_t *seq);
/* Opens on a kv of the caller's (tests: power cuts on the memory twin). */
int store_open_on(const struct store_options *options, struct kv *kv, struct store **out,
		  char *error, size_t error_size);
/* @cluster NULL: any. *instance 0: of none yet. */
int store_identity_read(int root_fd, const char *path, const char *cluster, char uuid[37],
			uint64_t *instance, char *error, size_t error_size);
/* Writes the identity of a target anew, with the cluster's instance; durable when it returns 0. */
int store_identity_adopt(int root_fd, const char *cluster, const char *uuid, uint64_t instance);
/* ---- seen.c ---- */
/* Reads it. -EUCLEAN. */
int seen_open(struct store *store);
void seen_close(struct store *store);

int store_lock(int root_fd, const char *path, int *lock_fd, char *error, size_t error_size);

/* Space: promises room for @bytes to come, or says -ENOSPC. */
int space_promise(struct store *store, uint64_t bytes, bool syncing);
void space_release(struct store *store, uint64_t promised, uint64_t written);
void space_refresh(struct store *store, bool now);
/* Space is about to run out: what can be given back, should be. */
bool space_is_short(struct store *store);
/* Has the db let go what was deleted from it, in the background, when there is enough of it for the
 * space that is left; sooner when a write was @refused. */
void space_reclaim(struct store_view *view, bool refused);

/* The log-sync thread (sync.c). */
/* Has the log synced in the background, for nobody who waits. */
void log_sync_soon(struct store *store);
int log_sync_start(struct store *store);
void log_sync_stop(struct store *store);
/* wait->done comes on the loop when all batches written by now are durable. */
void log_sync(struct store_view *view, struct log_wait *wait);
/* At once, on the calling thread: batches up to @seq are durable afterwards. Poisons the store on
 * failure. */
int log_sync_now(struct store *store, uint64_t seq);
/* What log_sync() does of its waiting, for others: begin on the view's thread, then deliver from
 * any, which has wait->done called on the view's loop. */
void log_wait_begin(struct store_view *view, struct log_wait *wait);
void log_wait_deliver(struct log_wait *wait, int error);
static inline bool log_synced(struct store *store, uint64_t seq)
{
	return atomic_load_explicit(&store->synced_seq, memory_order_acquire) >= seq;
}

/* What is known to have been synced (witness.c). Before the target is used: reads it, and sets
 * store->damaged when kv does not have it. -errno when the file cannot be read or made. */
int synced_open(struct store *store);
/* Puts the next mark into @batch, which is to be written and synced before synced_tell(). */
void synced_put(struct store *store, struct kv_batch *batch);
/* The last mark put into kv is synced: into the file with it, and with the store's life. */
int synced_tell(struct store *store);
/* kv has all that the file says. False also when it cannot be told. */
bool synced_is_whole(struct store *store);
int synced_start(struct store *store);
void synced_stop(struct store *store);
/* One look: puts a mark into kv if something was synced since the last one; tells of a mark that is
 * synced. Any thread. */
void synced_tick(struct store *store);

/* ---- files (file.c) ---- */

struct chunk_file {
	atomic_uint refs;
	atomic_int direct, buffered; /* fds or -1 */
	atomic_bool created;         /* its directory has not been synced since */
	struct store *store;
	struct chunk *owner;                    /* of the loop's thread; NULL: let go */
	struct list link;                       /* of the view: recently used ones last */
	char name[3 + 2 * CHUNK_KEY_BYTES + 1]; /* "xx/hex of the key" below chunks/ */
};

void file_name(const struct chunk_key *key, char out[3 + 2 * CHUNK_KEY_BYTES + 1]);
/* False: not the name of a chunk's file. @name is without the directory. */
bool file_name_parse(const char *name, struct chunk_key *key);
struct chunk_file *file_new(struct store *store, const struct chunk_key *key);
struct chunk_file *file_ref(struct chunk_file *file);
void file_unref(struct chunk_file *file);
/* The rest is for pool threads. *fd stays the file's. -ENOENT unless @create. */
int file_direct(struct chunk_file *file, bool create, int *fd);
int file_buffered(struct chunk_file *file, int *fd);
/* @data at least BLOCK_SIZE aligned, or it is copied; -errno. */
int file_write(struct chunk_file *file, const uint8_t *data, uint32_t bytes, uint64_t offset);
/* Reads @bytes, past the page cache when @direct and aligned. *got: less only at the file's end.
 * -EBADMSG: the disk cannot read them. */
int file_read(struct chunk_file *file, uint8_t *data, uint32_t bytes, uint64_t offset, bool direct,
	      uint32_t *got);
/* From the page cache only: 0 when all of it was there, else -EAGAIN. Any thread. */
int file_read_cached(struct chunk_file *file, uint8_t *data, uint32_t bytes, uint64_t offset);
/* Data, and the directory of a new file. Poisons the store on failure. */
int file_sync(struct chunk_file *file);
/* Gives the space of whole blocks back; best effort. */
void file_punch(struct chunk_file *file, uint64_t offset, uint64_t bytes);
int file_unlink(struct store *store, const struct chunk_key *key);

/* ---- views and chunks (view.c, chunk.c) ---- */

struct job {
	uv_work_t work;
	struct store_view *view;
	void (*run)(struct job *job);   /* on a pool thread */
	void (*after)(struct job *job); /* on the loop; see view->closing */
};

/* Someone who waits for a chunk to be free for him; run once on each chunk_wake(). */
struct waiter {
	struct list link;
	void (*run)(struct waiter *waiter);
};

/* What a piece may lose in a power cut, as long as it has a mark in kv. */
struct mark {
	bool in_kv;
	struct bits over;  /* in kv's mark: live file blocks that may be half overwritten */
	uint64_t over_seq; /* batch that last added to it */
	struct bits fresh; /* put into the file since the last sync began, not live there before */
	struct bits reclaim; /* was live in the file and is no more: hole to be punched */
	struct bits repair;  /* overwrite broken off: checksums to be taken from the file */
};

/* Beside a chunk whose file is not known to be durable. Keeps the chunk in memory. */
struct dirty {
	struct list link; /* view->dirty, oldest first */
	struct chunk *chunk;
	uint64_t since_ns, last_ns;
	bool file_dirty; /* the file was written since the last fsync began */
	struct mark *marks[PIECES_MAX];
};

struct slot {
	uint32_t digest;
	struct piece *piece; /* NULL: not in memory, or nothing present when digest is 0 */
};

enum bg_kind { BG_NONE, BG_MIGRATE, BG_PUNCH, BG_REPAIR };

struct chunk {
	struct chunk_key key;
	uint64_t hash;
	struct store *store;
	struct store_view *view; /* NULL: not in a cache */
	struct chunk *hash_next;
	struct list lru; /* while pins is 0 */
	unsigned pins;
	unsigned generation;
	size_t bytes; /* as accounted in the cache */

	bool exists, unsure, has_file;
	uint64_t epoch, version;
	struct chunk_history history;
	uint32_t length, inner_count;
	uint32_t op_count, op_room;
	struct store_op_id *ops;
	uint32_t slot_room;
	struct slot *slots; /* pieces_of(length) are valid */

	uint64_t last_seq; /* last batch that touched it */
	uint64_t last_write_ns;
	uint64_t change; /* grows with whatever may disturb a read under way */
	struct chunk_file *file;
	struct dirty *dirty;
	struct list prepared; /* struct plan */
	struct list waiters;
	bool removing;     /* the file is about to be unlinked */
	unsigned io_plans; /* of prepared: whose file I/O is under way */

	/* Background work is under way on the file of pieces [bg_first, bg_end). */
	enum bg_kind bg;
	uint32_t bg_first, bg_end;
	struct bits *bg_changed; /* by piece: blocks changed meanwhile; NULL: nobody asks */

	bool fsync_running;
	struct list fsync_now, fsync_next; /* struct sync_op */
	struct list migrate;               /* view->migrate; empty: not queued */
};

struct store_view {
	struct store *store;
	uv_loop_t *loop;
	unsigned refs; /* handles, jobs */
	bool closing;
	uv_async_t async;
	uv_timer_t timer;
	unsigned timer_ms; /* 0: it does not run */

	pthread_mutex_t mutex; /* finished, jobs, in_thread */
	pthread_cond_t idle;
	struct log_wait *finished, **finished_tail;
	unsigned jobs;      /* in the pool */
	unsigned in_thread; /* waits with the log-sync thread */
	unsigned waits;     /* of this thread: sent and not yet called back */

	struct chunk **buckets;
	size_t bucket_count, chunk_count;
	struct list lru;
	size_t cache_used;

	struct list files;
	unsigned file_count;
	struct list dirty;
	unsigned dirty_count, settling;
	struct list migrate;
	bool migrating;
	uint64_t migrate_after_ns;
	struct list unlinks; /* struct removal, with files that are there still */
	bool unlinking;

	struct change *change; /* scratch of change_begin() */
	struct plan *free_plans;
	unsigned free_plan_count;
};

/* Counted, so that store_view_close() can wait for it. */
void job_start(struct store_view *view, struct job *job, void (*run)(struct job *),
	       void (*after)(struct job *));

/* The chunk, read if need be; it may not exist in the store. Not pinned. */
int chunk_get(struct store_view *view, const struct chunk_key *key, struct chunk **out);
/* For offline work: belongs to the caller, who ends it with chunk_free(). */
struct chunk *chunk_new(struct store *store, const struct chunk_key *key);
int chunk_load(struct chunk *chunk);
void chunk_free(struct chunk *chunk);
/* Reads the chunk again when kv has been opened anew since. */
int chunk_current(struct chunk *chunk);
void chunk_pin(struct chunk *chunk);
void chunk_unpin(struct chunk *chunk);
void chunk_account(struct chunk *chunk);
/* Piece @index, or NULL in *out: nothing present there. -EBADMSG, -EIO. */
int chunk_piece(struct chunk *chunk, uint32_t index, struct piece **out);
int chunk_slots(struct chunk *chunk, uint32_t count);
void chunk_wake(struct chunk *chunk);
void chunk_wait(struct chunk *chunk, struct waiter *waiter, void (*run)(struct waiter *));
struct chunk_file *chunk_file_of(struct chunk *chunk); /* NULL: out of memory */
void chunk_file_drop(struct chunk *chunk);
struct dirty *chunk_dirty(struct chunk *chunk); /* made if need be; NULL: out of memory */
struct mark *chunk_mark(struct chunk *chunk, uint32_t index, bool make);
void chunk_clean(struct chunk *chunk); /* dirty is gone */
/* Memory and open files down to their limits, where that can be done. */
void cache_trim(struct store_view *view);
void view_timer(struct store_view *view);

/* ---- changes (change.c) ----
 *
 * A change is the new state of a chunk, made beside the old one, written in one batch and then
 * taken over. One at a time in a view. */

struct change_piece {
	uint32_t index;
	struct piece *own; /* memory to keep it in afterwards, when there is none yet */
	struct piece piece;
};

/* What happens to the file blocks of a piece. */
struct change_mark {
	struct bits fresh; /* live in the file now, not before */
	struct bits gone;  /* live before, absent now */
	struct bits still; /* not fresh any more: inner, absent, or durable in the file */
};

struct change {
	struct chunk *chunk;
	struct kv_batch *batch;
	struct record next;
	bool writes_file;
	unsigned piece_count;
	struct change_piece pieces[3];
	uint64_t marked; /* which of marks[] are in use */
	struct change_mark marks[PIECES_MAX];
	uint8_t value[RECORD_VALUE_MAX > INNER_VALUE_MAX ? RECORD_VALUE_MAX : INNER_VALUE_MAX];
};

struct change *change_new(void);
void change_free(struct change *change);
void change_begin(struct change *change, struct chunk *chunk);
/* Piece @index as it will be, for the functions below. */
int change_piece(struct change *change, uint32_t index, struct piece **out);
/* store_ops_drop(), and adds @id. -EBUSY: there is no room. */
int change_op(struct change *change, const struct store_op_id *id,
	      const struct store_update *update);
/* Block @block of @piece is from now on inside, in the file, or absent. Set next.length first: of
 * an inner block only what is before it is stored. */
void change_inner(struct change *change, struct piece *piece, uint32_t block, const void *bytes,
		  uint32_t crc);
void change_file(struct change *change, struct piece *piece, uint32_t block, uint32_t crc);
void change_absent(struct change *change, struct piece *piece, uint32_t block);
/* The inner block's copy in the file is durable and takes over. */
void change_moved(struct change *change, struct piece *piece, uint32_t block);
/* All blocks of [first, end) become absent. The length is the caller's business. */
int change_punch(struct change *change, uint32_t first, uint32_t end);
/* *last: end of the last byte present before @end, when all from there on is absent. */
int change_last(struct change *change, uint32_t end, uint32_t *last);
/* Writes and takes over. On failure the chunk is as before. */
int change_write(struct change *change);

/* ---- prepared updates (prepare.c, commit.c) ---- */

/* A block of which the update sets only [from, to). */
struct edge {
	uint32_t block;
	uint32_t from, to;
	bool in_file; /* the rest is to be read from the file */
	bool stale;   /* someone else changed the block since */
	uint32_t base_crc, crc;
	uint8_t *bytes; /* BLOCK_SIZE, aligned */
};

struct plan {
	struct job job;
	struct log_wait wait;
	struct waiter waiter;
	struct list link; /* chunk->prepared */
	struct plan *next_free;
	struct store_view *view;
	struct store_update *update;
	struct chunk *chunk; /* pinned */
	struct chunk_file *file;
	struct buf *payload;
	uint32_t first, end;                 /* blocks touched */
	uint32_t first_piece;                /* WRITE: of the sets below */
	struct bits to_file[2], in_place[2]; /* in_place: of to_file, live before */
	unsigned edge_count;
	struct edge edges[2];
	uint64_t promised;
	bool linked, wrote, cancelled;
	bool prepared; /* done has been called with 0 */
	int error;
};

static inline bool plan_uses_file(const struct plan *plan)
{
	return bits_any(&plan->to_file[0]) || bits_any(&plan->to_file[1]);
}

void plan_free(struct plan *plan);
/* Marks for what the plan overwrites in place. 0: nothing in the way; 1: a sync of the log has to
 * come first; -errno. */
int plan_marks(struct plan *plan);
/* Before a sync of the chunk's file. */
int marks_guard(struct chunk *chunk);
/* 0, -errno, or 1: the base is in the file. */
int edge_base(struct plan *plan, struct edge *edge);
int edge_merge(struct plan *plan, struct edge *edge);
/* Ends a prepared update without a commit; what it overwrote is looked at again. */
void plan_drop(struct plan *plan);

/* Are some of the blocks waiting for their checksums to be taken from the file? */
bool chunk_repairs(const struct chunk *chunk, uint32_t first, uint32_t end);
/* Blocks [first, end) may not be read, or their file blocks not written, now. */
bool chunk_conflict(struct chunk *chunk, uint32_t first, uint32_t end, bool for_read);

/* ---- reads, syncs, background (the other files) ---- */

/* Reads the inner blocks in @set (relative to @first) to their places in @data. */
int inner_read(struct store *store, const struct chunk_key *key, uint32_t first,
	       const struct bits *set, const uint32_t *crcs, uint8_t *data);
/* Brings a dirty chunk one step further to rest, if it is time. */
void settle(struct store_view *view, struct chunk *chunk, uint64_t now);
void settle_all(struct store_view *view, uint64_t now);
/* At the end of a view, without the loop. */
void settle_finally(struct store_view *view);
/* When one of settle()'s syncs has ended and many wait. */
void settle_more(struct store_view *view);
/* Syncs the chunk as store_sync() does, for settle(). */
void sync_quietly(struct store_view *view, struct chunk *chunk);
/* A job on the chunk's file in the background; at its end, bg_finish(). */
void bg_begin(struct chunk *chunk, enum bg_kind kind, uint32_t first, uint32_t end,
	      struct bits *changed);
void bg_finish(struct chunk *chunk);
void migrate_consider(struct chunk *chunk);
void migrate_next(struct store_view *view, uint64_t now);
void unlink_next(struct store_view *view, uint64_t now);
/* Everything that a crash may have left, before the store is used. */
int store_replay(struct store *store);

#endif
