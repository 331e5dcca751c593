/* chunk.c - chunks in memory: a view's cache of records and pieces, and their open files. */
#include "chunkserver/chunk/chunk.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/record/key.h"
#include "chunkserver/record/record.h"
#include "chunkserver/chunk/timer.h"
#include "common/base/expects.h"
#include "common/kv/kv.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define BUCKETS_MIN 1024u

static struct log_rate damage_rate;

/* ---- one chunk ---- */

static void forget_pieces(struct chunk *chunk)
{
	for (uint32_t i = 0; i < chunk->slot_room; i++) {
		free(chunk->slots[i].piece);
		chunk->slots[i] = (struct slot){0};
	}
}

void chunk_forget(struct chunk *chunk)
{
	forget_pieces(chunk);
	chunk->exists = chunk->unsure = chunk->has_file = false;
	chunk->epoch = chunk->version = 0;
	chunk->history = (struct chunk_history){0};
	chunk->length = chunk->inner_count = chunk->op_count = 0;
}

struct chunk *chunk_new(struct store *store, const struct chunk_key *key)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk));

	if (chunk == NULL)
		return NULL;
	chunk->key = *key;
	chunk->hash = chunk_key_hash(key);
	chunk->store = store;
	list_init(&chunk->lru);
	list_init(&chunk->prepared);
	list_init(&chunk->waiters);
	list_init(&chunk->file_flush_now);
	list_init(&chunk->file_flush_next);
	list_init(&chunk->migrate);
	return chunk;
}

void chunk_free(struct chunk *chunk)
{
	if (chunk == NULL)
		return;
	chunk_clean(chunk);
	chunk_file_drop(chunk);
	forget_pieces(chunk);
	free(chunk->slots);
	free(chunk->ops);
	free(chunk);
}

int chunk_slots(struct chunk *chunk, uint32_t count)
{
	struct slot *slots;

	if (count <= chunk->slot_room)
		return 0;
	expects(count <= PIECES_MAX);
	slots = realloc(chunk->slots, count * sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	memset(slots + chunk->slot_room, 0, (count - chunk->slot_room) * sizeof(*slots));
	chunk->slots = slots;
	chunk->slot_room = count;
	return 0;
}

static int take_ops(struct chunk *chunk, const struct record *record)
{
	if (record->op_count > chunk->op_room) {
		struct op_id *ops = realloc(chunk->ops, record->op_count * sizeof(*ops));

		if (ops == NULL)
			return -ENOMEM;
		chunk->ops = ops;
		chunk->op_room = record->op_count;
	}
	chunk->op_count = record->op_count;
	if (record->op_count > 0)
		memcpy(chunk->ops, record->ops, record->op_count * sizeof(*chunk->ops));
	return 0;
}

static int take_record(struct chunk *chunk, const struct record *record, const struct piece *piece)
{
	uint32_t count = pieces_of(record->length);
	int rc = chunk_slots(chunk, count);

	if (rc == 0)
		rc = take_ops(chunk, record);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < count; i++)
		chunk->slots[i].digest = record->digests[i];
	if (count > 0 && record_is_inline(record->length)) {
		struct piece *own = malloc(sizeof(*own));

		if (own == NULL)
			return -ENOMEM;
		*own = *piece;
		chunk->slots[0].piece = own;
	}
	chunk->exists = true;
	chunk->unsure = record->unsure;
	chunk->has_file = record->has_file;
	chunk->epoch = record->epoch;
	chunk->version = record->version;
	chunk->history = record->history;
	chunk->length = record->length;
	chunk->inner_count = record->inner_count;
	return 0;
}

static void log_damage(const struct chunk *chunk, const char *what)
{
	if (log_rate_ok(&damage_rate, 5))
		log_error("damaged %s path=%s chunk=%u/%u/%llu/%u", what, chunk->store->disk.path,
			  chunk->key.pool, chunk->key.partition,
			  (unsigned long long)chunk->key.file_id, chunk->key.index);
}

int chunk_load(struct chunk *chunk)
{
	struct record record;
	struct piece piece;
	uint8_t key[KEY_BYTES_MAX], *value;
	size_t size;
	int rc;

	/* Before the read: a batch of another time may be counted twice, never missed. */
	chunk->generation = atomic_load(&chunk->store->disk.generation);
	chunk->last_seq = atomic_load(&chunk->store->disk.written_seq);
	chunk_forget(chunk);
	rc = kv_get(chunk->store->disk.kv, FAMILY_MAIN, key, key_record(&chunk->key, key), &value,
		    &size);
	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rc;
	rc = record_decode(&chunk->key, value, size, &record, &piece);
	if (rc == 0)
		rc = take_record(chunk, &record, &piece);
	else
		log_damage(chunk, "record");
	free(value);
	return rc;
}

int chunk_current(struct chunk *chunk)
{
	int rc;

	if (chunk->generation ==
	    atomic_load_explicit(&chunk->store->disk.generation, memory_order_acquire))
		return 0;
	rc = chunk_load(chunk);
	if (rc != 0)
		chunk->generation--; /* not yet: try again at the next use */
	chunk->change++;
	chunk_account(chunk);
	return rc;
}

int chunk_piece(struct chunk *chunk, uint32_t index, struct piece **out)
{
	uint8_t key[KEY_BYTES_MAX], *value;
	struct slot *slot;
	struct piece *piece;
	size_t size;
	int rc;

	*out = NULL;
	if (index >= pieces_of(chunk->length) || chunk->slots[index].digest == 0)
		return 0;
	slot = &chunk->slots[index];
	*out = slot->piece;
	if (slot->piece != NULL)
		return 0;
	rc = kv_get(chunk->store->disk.kv, FAMILY_MAIN, key, key_piece(&chunk->key, index, key),
		    &value, &size);
	if (rc == -ENOENT) {
		log_damage(chunk, "piece (absent)");
		return -EBADMSG;
	}
	if (rc != 0)
		return rc;
	piece = malloc(sizeof(*piece));
	rc = piece == NULL ? -ENOMEM : piece_decode(&chunk->key, index, value, size, piece);
	free(value);
	if (rc == 0 && piece_digest(piece) != slot->digest)
		rc = -EBADMSG;
	if (rc == -EBADMSG)
		log_damage(chunk, "piece");
	if (rc != 0) {
		free(piece);
		return rc;
	}
	*out = slot->piece = piece;
	chunk_account(chunk);
	return 0;
}

/* ---- the cache ---- */

void chunk_account(struct chunk *chunk)
{
	size_t bytes = sizeof(*chunk) + chunk->slot_room * sizeof(*chunk->slots) +
		       chunk->op_room * sizeof(*chunk->ops);

	if (chunk->view == NULL)
		return;
	for (uint32_t i = 0; i < chunk->slot_room; i++)
		if (chunk->slots[i].piece != NULL)
			bytes += sizeof(struct piece);
	chunk->view->cache_used += bytes;
	chunk->view->cache_used -= chunk->bytes;
	chunk->bytes = bytes;
}

static struct chunk **bucket_of(struct store_view *view, uint64_t hash)
{
	return &view->buckets[hash & (view->bucket_count - 1)];
}

static int grow_buckets(struct store_view *view)
{
	size_t count = view->bucket_count == 0 ? BUCKETS_MIN : 2 * view->bucket_count;
	struct chunk **old = view->buckets;
	size_t old_count = view->bucket_count;

	view->buckets = calloc(count, sizeof(*view->buckets));
	if (view->buckets == NULL) {
		view->buckets = old;
		return old == NULL ? -ENOMEM : 0;
	}
	view->bucket_count = count;
	for (size_t i = 0; i < old_count; i++) {
		for (struct chunk *chunk = old[i], *next; chunk != NULL; chunk = next) {
			struct chunk **bucket = bucket_of(view, chunk->hash);

			next = chunk->hash_next;
			chunk->hash_next = *bucket;
			*bucket = chunk;
		}
	}
	free(old);
	return 0;
}

static void evict(struct chunk *chunk)
{
	struct store_view *view = chunk->view;
	struct chunk **at = bucket_of(view, chunk->hash);

	expects(chunk->pins == 0 && chunk->dirty == NULL);
	expects(view->chunk_count > 0 && view->cache_used >= chunk->bytes);
	while (*at != chunk)
		at = &(*at)->hash_next;
	*at = chunk->hash_next;
	view->chunk_count--;
	view->cache_used -= chunk->bytes;
	list_del(&chunk->lru);
	chunk_free(chunk);
}

static void shrink(struct store_view *view)
{
	while (view->cache_used > view->store->cache_bytes && !list_empty(&view->lru))
		evict(container_of(view->lru.next, struct chunk, lru));
}

static struct chunk *find(struct store_view *view, const struct chunk_key *key, uint64_t hash)
{
	struct chunk *chunk = view->bucket_count == 0 ? NULL : *bucket_of(view, hash);

	while (chunk != NULL && (chunk->hash != hash || !chunk_key_equal(&chunk->key, key)))
		chunk = chunk->hash_next;
	return chunk;
}

static int insert(struct store_view *view, const struct chunk_key *key, struct chunk **out)
{
	struct chunk *chunk;
	int rc;

	if (view->chunk_count >= view->bucket_count) {
		rc = grow_buckets(view);
		if (rc != 0)
			return rc;
	}
	shrink(view);
	chunk = chunk_new(view->store, key);
	if (chunk == NULL)
		return -ENOMEM;
	rc = chunk_load(chunk);
	if (rc != 0) {
		chunk_free(chunk);
		return rc;
	}
	chunk->view = view;
	chunk->hash_next = *bucket_of(view, chunk->hash);
	*bucket_of(view, chunk->hash) = chunk;
	view->chunk_count++;
	list_add(&view->lru, &chunk->lru);
	chunk_account(chunk);
	chunk_consider_move(chunk);
	*out = chunk;
	return 0;
}

int chunk_get(struct store_view *view, const struct chunk_key *key, struct chunk **out)
{
	struct chunk *chunk = find(view, key, chunk_key_hash(key));
	int rc;

	if (chunk == NULL)
		return insert(view, key, out);
	rc = chunk_current(chunk);
	if (rc != 0)
		return rc;
	if (chunk->pins == 0) {
		list_del(&chunk->lru);
		list_add(&view->lru, &chunk->lru);
	}
	*out = chunk;
	return 0;
}

void chunk_pin(struct chunk *chunk)
{
	if (chunk->pins++ == 0)
		list_del(&chunk->lru);
}

void chunk_unpin(struct chunk *chunk)
{
	expects(chunk->pins > 0);
	if (--chunk->pins == 0 && chunk->view != NULL)
		list_add(&chunk->view->lru, &chunk->lru);
}

/* ---- the queue of those whose inner blocks are to be moved ---- */

bool chunk_must_move(const struct chunk *chunk)
{
	return chunk->exists && !record_is_inline(chunk->length) &&
	       chunk->inner_count > chunk->store->migrate_min;
}

void chunk_consider_move(struct chunk *chunk)
{
	struct store_view *view = chunk->view;

	if (!list_empty(&chunk->migrate) || view->jobs.closing || !chunk_must_move(chunk))
		return;
	chunk_pin(chunk);
	list_add(&view->migrate, &chunk->migrate);
	timer_start(view);
}

void chunk_unqueue_move(struct chunk *chunk)
{
	if (list_empty(&chunk->migrate))
		return;
	list_del(&chunk->migrate);
	chunk_unpin(chunk);
}

/* ---- waiting ---- */

void chunk_wait(struct chunk *chunk, struct chunk_waiter *waiter,
		void (*run)(struct chunk_waiter *))
{
	waiter->run = run;
	list_add(&chunk->waiters, &waiter->link);
}

void chunk_wake(struct chunk *chunk)
{
	struct list ready;

	if (list_empty(&chunk->waiters))
		return;
	list_init(&ready);
	list_move(&chunk->waiters, &ready);
	chunk_pin(chunk);
	while (!list_empty(&ready)) {
		struct chunk_waiter *waiter = container_of(ready.next, struct chunk_waiter, link);

		list_del(&waiter->link);
		waiter->run(waiter);
	}
	chunk_unpin(chunk);
}

/* ---- its file ---- */

void chunk_file_drop(struct chunk *chunk)
{
	struct chunk_file *file = chunk->file;

	if (file == NULL)
		return;
	expects(file->owner == chunk);
	chunk->file = NULL;
	file->owner = NULL;
	if (chunk->view != NULL) {
		list_del(&file->link);
		chunk->view->file_count--;
	}
	file_unref(file);
}

/* Closes unused files. One with writes that are not flushed stays open, so that its flush hears of
 * every error; bringing such chunks to rest makes room then. */
static void close_some(struct store_view *view)
{
	struct list *at = view->files.next;

	while (view->file_count > view->store->files_max && at != &view->files) {
		struct chunk_file *file = container_of(at, struct chunk_file, link);

		at = at->next;
		if (atomic_load(&file->refs) == 1 && file->owner->dirty == NULL)
			chunk_file_drop(file->owner);
	}
}

void chunk_cache_trim(struct store_view *view)
{
	shrink(view);
	close_some(view);
}

struct chunk_file *chunk_file_of(struct chunk *chunk)
{
	struct store_view *view = chunk->view;

	if (chunk->file != NULL) {
		if (view != NULL) {
			list_del(&chunk->file->link);
			list_add(&view->files, &chunk->file->link);
		}
		return chunk->file;
	}
	if (view != NULL && view->file_count >= view->store->files_max)
		close_some(view);
	chunk->file = file_new(&chunk->store->disk, &chunk->key);
	if (chunk->file == NULL)
		return NULL;
	chunk->file->owner = chunk;
	list_init(&chunk->file->link);
	if (view != NULL) {
		list_add(&view->files, &chunk->file->link);
		view->file_count++;
	}
	return chunk->file;
}

/* ---- what is not durable ---- */

struct dirty *chunk_dirty(struct chunk *chunk)
{
	struct dirty *dirty = chunk->dirty;

	if (dirty != NULL)
		return dirty;
	expects(chunk->view != NULL);
	dirty = calloc(1, sizeof(*dirty));
	if (dirty == NULL)
		return NULL;
	dirty->chunk = chunk;
	dirty->since_ns = dirty->last_ns = clock_monotonic_ns();
	list_add(&chunk->view->dirty, &dirty->link);
	chunk->view->dirty_count++;
	chunk->dirty = dirty;
	chunk_pin(chunk);
	timer_start(chunk->view);
	return dirty;
}

struct mark *chunk_mark(struct chunk *chunk, uint32_t index, bool make)
{
	struct dirty *dirty = make ? chunk_dirty(chunk) : chunk->dirty;

	if (dirty == NULL)
		return NULL;
	if (dirty->marks[index] == NULL && make)
		dirty->marks[index] = calloc(1, sizeof(struct mark));
	return dirty->marks[index];
}

void chunk_clean(struct chunk *chunk)
{
	struct dirty *dirty = chunk->dirty;

	if (dirty == NULL)
		return;
	expects(dirty->chunk == chunk && chunk->view->dirty_count > 0);
	chunk->dirty = NULL;
	list_del(&dirty->link);
	chunk->view->dirty_count--;
	for (uint32_t i = 0; i < PIECES_MAX; i++)
		free(dirty->marks[i]);
	free(dirty);
	chunk_unpin(chunk);
}

bool chunk_repairs(const struct chunk *chunk, uint32_t first, uint32_t end)
{
	if (chunk->dirty == NULL || first >= end)
		return false;
	for (uint32_t i = first >> PIECE_SHIFT; i <= (end - 1) >> PIECE_SHIFT; i++) {
		const struct mark *mark = chunk->dirty->marks[i];
		struct bits range;

		if (mark == NULL || !bits_any(&mark->repair))
			continue;
		range = bits_range(i, first, end);
		range = bits_and(range, &mark->repair);
		if (bits_any(&range))
			return true;
	}
	return false;
}

/* ---- background work on its file ---- */

void chunk_bg_begin(struct chunk *chunk, enum bg_kind kind, uint32_t first, uint32_t end,
		    struct bits *changed)
{
	expects(chunk->bg == BG_NONE && kind != BG_NONE);
	expects(first < end && end <= PIECES_MAX);
	chunk->bg = kind;
	chunk->bg_first = first;
	chunk->bg_end = end;
	chunk->bg_changed = changed;
	chunk_pin(chunk);
}

void chunk_bg_finish(struct chunk *chunk)
{
	expects(chunk->bg != BG_NONE && chunk->pins > 0);
	chunk->bg = BG_NONE;
	chunk->bg_changed = NULL;
}
