/* remove.c - deleting whole chunks.
 *
 * The story of a removal.
 *   1. store_remove() waits until nothing works on the file of each chunk.
 *   2. One batch for each chunk deletes its record, pieces, marks and inner blocks from the db. In
 *      memory it becomes a chunk that never was.
 *   3. The log is flushed.
 *   4. The files are unlinked, and the chunks may be made anew. Then done is called.
 *
 * The db comes first: the other way round a power cut would leave a record whose data is gone. A
 * file without a record is harmless.
 *
 * When it goes otherwise:
 *   - The record cannot be read: everything that may be there is deleted by ranges of keys.
 *   - An update is prepared meanwhile: it becomes the first of a new chunk.
 *   - Power goes before step 4 has ended: the next start removes the files. If it goes before the
 *     log was flushed, or the flush fails, the chunk may be there whole.
 *   - Flushes wait for the disk: unlinking many megabytes can keep it busy, where the filesystem
 *     discards at once. So a little is unlinked at a time, by one view at a time, with pauses. */
#include "chunkserver/store/remove.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/record.h"
#include "chunkserver/chunk/change.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/store/compact.h"
#include "chunkserver/store/plan.h"
#include "chunkserver/store/store.h"
#include "chunkserver/chunk/timer.h"
#include "common/base/expects.h"
#include "common/os/clock.h"

/* No new file is begun after this. */
#define UNLINK_PIECE_NS (2 * NS_PER_MSEC)
/* While flushes wait for the disk, one view at a time has a turn, which ends with the piece. Then
 * no view has one for some time. */
#define UNLINK_TURN_NS      (200 * NS_PER_MSEC)
#define UNLINK_PAUSE        9u
#define UNLINK_PAUSE_NS_MAX NS_PER_SEC /* a slow disk must still come to an end of it */

struct removal;

struct remove_key {
	struct chunk_waiter waiter;
	struct removal *removal;
	struct chunk *chunk; /* pinned; NULL: nothing in memory */
	struct chunk_key key;
	bool unlink;
};

struct removal {
	struct job job;
	struct flush_wait wait;
	struct store_view *view;
	void (*done)(void *user, int error);
	void *user;
	int error;
	struct list link; /* view->unlinks */
	size_t at;        /* the next key whose file may have to go */
	uint64_t spent_ns;
	size_t count, waiting, released;
	struct remove_key keys[];
};

static void range_of(const struct chunk_key *key, uint8_t kind, struct kv_batch *batch)
{
	uint8_t start[KEY_BYTES_MAX], end[KEY_BYTES_MAX + 1];
	size_t size = kind == KEY_PIECE ? key_piece(key, 0, start) : key_mark(key, 0, start);

	memcpy(end, start, size - 1);
	end[size - 1] = 0xff;
	end[size] = 0;
	kv_batch_delete_range(batch, FAMILY_MAIN, start, size, end, size + 1);
}

/* All that may be there of a chunk whose record or pieces cannot be read. */
static void delete_blindly(const struct chunk_key *key, struct kv_batch *batch)
{
	uint8_t start[KEY_BYTES_MAX], end[KEY_BYTES_MAX];
	size_t start_size = key_inner(key, 0, start), end_size = key_inner(key, UINT32_MAX, end);

	range_of(key, KEY_PIECE, batch);
	range_of(key, KEY_MARK, batch);
	kv_batch_delete_range(batch, FAMILY_INNER, start, start_size, end, end_size);
}

static int delete_pieces(struct chunk *chunk, struct kv_batch *batch)
{
	uint8_t key[KEY_BYTES_MAX];

	for (uint32_t index = 0; index < pieces_of(chunk->length); index++) {
		struct piece *piece = NULL;
		int rc = chunk->inner_count > 0 ? chunk_piece(chunk, index, &piece) : 0;

		if (rc != 0)
			return rc;
		if (!record_is_inline(chunk->length) && chunk->slots[index].digest != 0)
			kv_batch_delete(batch, FAMILY_MAIN, key,
					key_piece(&chunk->key, index, key));
		for (uint32_t b = piece == NULL ? PIECE_BLOCKS : bits_next(&piece->inner, 0);
		     b < PIECE_BLOCKS; b = bits_next(&piece->inner, b + 1))
			kv_batch_delete(batch, FAMILY_INNER, key,
					key_inner(&chunk->key, index * PIECE_BLOCKS + b, key));
	}
	for (uint32_t i = 0; chunk->dirty != NULL && i < PIECES_MAX; i++)
		if (chunk->dirty->marks[i] != NULL && chunk->dirty->marks[i]->in_kv)
			kv_batch_delete(batch, FAMILY_MAIN, key, key_mark(&chunk->key, i, key));
	return 0;
}

static int delete_from_kv(struct store_view *view, const struct chunk_key *key, struct chunk *chunk,
			  uint64_t *seq)
{
	struct kv_batch *batch = view->change->batch;
	uint8_t name[KEY_BYTES_MAX];
	int rc = chunk == NULL ? -EBADMSG : 0;

	kv_batch_clear(batch);
	if (rc == 0)
		rc = delete_pieces(chunk, batch);
	if (rc == -EBADMSG) {
		kv_batch_clear(batch);
		delete_blindly(key, batch);
		rc = 0;
	}
	if (rc != 0)
		return rc;
	kv_batch_delete(batch, FAMILY_MAIN, name, key_record(key, name));
	return db_write(&view->store->disk, batch, seq);
}

/* In memory it is a chunk that never was. An update prepared for the old one becomes the first of a
 * new one, with what it has in its payload. */
static void forget(struct chunk *chunk, uint64_t seq)
{
	for (struct list *at = chunk->prepared.next; at != &chunk->prepared; at = at->next) {
		struct plan *plan = container_of(at, struct plan, link);

		memset(plan->to_file, 0, sizeof(plan->to_file));
		memset(plan->in_place, 0, sizeof(plan->in_place));
		for (unsigned i = 0; i < plan->edge_count; i++)
			plan->edges[i].stale = true;
	}
	chunk_unqueue_move(chunk);
	chunk_clean(chunk);
	chunk_file_drop(chunk);
	chunk_forget(chunk);
	chunk->last_seq = seq;
	chunk->change++;
	chunk_account(chunk);
}

/* ---- the course of a removal ---- */

/* Chunks of the keys before @end may be made anew. */
static void release(struct removal *removal, size_t end)
{
	expects(removal->released <= end && end <= removal->count);
	while (removal->released < end) {
		struct remove_key *key = &removal->keys[removal->released++];

		if (key->chunk == NULL)
			continue;
		if (key->unlink) {
			key->chunk->removing = false;
			chunk_wake(key->chunk);
		}
		chunk_unpin(key->chunk);
	}
}

static void finish(struct removal *removal)
{
	void (*done)(void *, int) = removal->done;
	void *user = removal->user;
	int rc = removal->error;

	release(removal, removal->count);
	space_refresh(&removal->view->store->disk, true);
	compact_consider(removal->view, false);
	free(removal);
	done(user, rc);
}

static void unlink_run(struct job *job)
{
	struct removal *removal = container_of(job, struct removal, job);
	struct store *store = removal->view->store;
	uint64_t start_ns = clock_monotonic_ns();

	do {
		struct remove_key *key = &removal->keys[removal->at++];

		if (key->unlink && file_unlink(&store->disk, &key->key) != 0)
			atomic_store(&store->disk.leftovers, true);
		removal->spent_ns = clock_monotonic_ns() - start_ns;
	} while (removal->at < removal->count && removal->spent_ns < UNLINK_PIECE_NS);
}

static void unlink_after(struct job *job)
{
	struct removal *removal = container_of(job, struct removal, job);
	struct store_view *view = removal->view;
	uint64_t now = clock_monotonic_ns(), pause = UNLINK_PAUSE * removal->spent_ns;

	expects(view->unlinking && removal->at <= removal->count);
	view->unlinking = false;
	if (pause > UNLINK_PAUSE_NS_MAX)
		pause = UNLINK_PAUSE_NS_MAX;
	atomic_store(&view->store->unlink_after_ns, now + pause);
	release(removal, removal->at);
	if (removal->at == removal->count) {
		list_del(&removal->link);
		jobs_let_go(&view->jobs);
		finish(removal);
	}
	remove_unlink_next(view, now);
}

static bool take_turn(struct store *store, uint64_t now)
{
	uint64_t after = atomic_load(&store->unlink_after_ns);

	if (!store_is_waited_for(store, now) || space_is_short(&store->disk))
		return true;
	return now >= after && atomic_compare_exchange_strong(&store->unlink_after_ns, &after,
							      now + UNLINK_TURN_NS);
}

void remove_unlink_next(struct store_view *view, uint64_t now)
{
	struct removal *removal;

	if (view->unlinking || view->jobs.closing || list_empty(&view->unlinks))
		return;
	if (!take_turn(view->store, now)) {
		timer_start(view);
		return;
	}
	removal = container_of(view->unlinks.next, struct removal, link);
	view->unlinking = true;
	jobs_start(&view->jobs, &removal->job, unlink_run, unlink_after);
}

static void unlink_begin(struct removal *removal)
{
	struct store_view *view = removal->view;

	list_add(&view->unlinks, &removal->link);
	jobs_hold(&view->jobs);
	remove_unlink_next(view, clock_monotonic_ns());
}

static void on_flushed(struct flush_wait *wait)
{
	struct removal *removal = container_of(wait, struct removal, wait);
	bool unlink = false;

	if (removal->error == 0)
		removal->error = wait->error;
	for (size_t i = 0; i < removal->count; i++)
		unlink = unlink || removal->keys[i].unlink;
	/* Not certain that the db has forgotten them: the files stay for the next open. */
	if (wait->error != 0)
		atomic_store(&removal->view->store->disk.leftovers, true);
	if (unlink && wait->error == 0)
		unlink_begin(removal);
	else
		finish(removal);
}

static void key_done(struct remove_key *key, int rc)
{
	struct removal *removal = key->removal;

	if (removal->error == 0)
		removal->error = rc;
	expects(removal->waiting > 0);
	if (--removal->waiting > 0)
		return;
	removal->wait.done = on_flushed;
	log_flush(&removal->view->store->disk, &removal->view->jobs, &removal->wait);
}

static void remove_one(struct remove_key *key);

static void on_wake(struct chunk_waiter *waiter)
{
	remove_one(container_of(waiter, struct remove_key, waiter));
}

static void remove_one(struct remove_key *key)
{
	struct store_view *view = key->removal->view;
	struct chunk *chunk = key->chunk;
	bool has_file;
	uint64_t seq;
	int rc = health_check(&view->store->disk);

	if (rc != 0 || chunk_current(chunk) != 0) {
		key_done(key, rc != 0 ? rc : -EIO);
		return;
	}
	if (chunk->bg != BG_NONE || chunk->file_flush_running || chunk->io_plans > 0 ||
	    chunk->removing) {
		chunk_wait(chunk, &key->waiter, on_wake);
		return;
	}
	/* A file may be there for an update that is prepared only. */
	has_file = chunk->has_file || chunk->file != NULL;
	if (!chunk->exists && !has_file) {
		key_done(key, 0);
		return;
	}
	rc = delete_from_kv(view, &key->key, chunk, &seq);
	if (rc == 0) {
		atomic_fetch_add(&view->store->garbage, (uint64_t)chunk->inner_count * BLOCK_SIZE);
		forget(chunk, seq);
		key->unlink = chunk->removing = has_file;
	}
	key_done(key, rc);
}

/* A chunk whose record is damaged can be removed too. */
static void remove_damaged(struct remove_key *key)
{
	int rc = delete_from_kv(key->removal->view, &key->key, NULL, NULL);

	key->unlink = rc == 0;
	key_done(key, rc);
}

void store_remove(struct store_view *view, const struct chunk_key *keys, size_t count,
		  void (*done)(void *user, int error), void *user)
{
	struct removal *removal;
	int rc = health_check(&view->store->disk);

	removal = rc == 0 ? calloc(1, sizeof(*removal) + count * sizeof(removal->keys[0])) : NULL;
	if (removal == NULL) {
		done(user, rc != 0 ? rc : -ENOMEM);
		return;
	}
	removal->view = view;
	removal->done = done;
	removal->user = user;
	removal->count = count;
	removal->waiting = count + 1; /* one for this function */
	for (size_t i = 0; i < count; i++) {
		struct remove_key *key = &removal->keys[i];

		key->removal = removal;
		key->key = keys[i];
		rc = chunk_get(view, &keys[i], &key->chunk);
		if (rc == 0) {
			chunk_pin(key->chunk);
			remove_one(key);
		} else if (rc == -EBADMSG) {
			key->chunk = NULL;
			remove_damaged(key);
		} else {
			key->chunk = NULL;
			key_done(key, rc);
		}
	}
	if (--removal->waiting == 0) {
		removal->wait.done = on_flushed;
		log_flush(&view->store->disk, &view->jobs, &removal->wait);
	}
}
