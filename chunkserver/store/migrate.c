/* migrate.c - moving inner blocks of long chunks to their files.
 *
 * A move writes the copies to the file, where the blocks are not live, and flushes them. Only then
 * it deletes the inner ones: at every moment one of the two is whole and counts. Blocks changed
 * meanwhile stay inside. */
#include "chunkserver/store/migrate.h"
#include <errno.h>
#include <stdlib.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/store/background.h"
#include "chunkserver/chunk/change.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/chunk/inner.h"
#include "chunkserver/chunk/timer.h"
#include "common/base/block.h"
#include "common/base/expects.h"
#include "common/os/buf.h"
#include "common/base/crc32c.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define MIGRATE_BUSY   1024u /* so many are moved although the chunk is being written */
#define MIGRATE_URGENT 8192u
#define MIGRATE_BLOCKS 256u /* at a time */
#define RETRY_NS       NS_PER_SEC

static struct log_rate inner_rate;

struct migration {
	struct job job;
	struct chunk *chunk;
	struct chunk_key key;
	struct chunk_file *file;
	struct buf *buf; /* block i of the list at i * BLOCK_SIZE */
	uint32_t count;
	uint32_t blocks[MIGRATE_BLOCKS]; /* ascending */
	uint32_t crcs[MIGRATE_BLOCKS];
	bool good[MIGRATE_BLOCKS];
	struct bits changed[PIECES_MAX];
	uint64_t promised, started_ns;
	int error;
};

static uint32_t run_length(const struct migration *m, uint32_t i)
{
	uint32_t n = 1;

	while (i + n < m->count && m->blocks[i + n] == m->blocks[i] + n)
		n++;
	return n;
}

static int read_run(struct migration *m, uint32_t i, uint32_t n)
{
	struct disk *disk = m->file->disk;
	uint8_t *data = m->buf->data + (size_t)i * BLOCK_SIZE;
	struct bits set = bits_range(0, 0, n);
	int rc = inner_read(disk, &m->key, m->blocks[i], &set, m->crcs + i, data);

	if (rc != 0 && rc != -EBADMSG)
		return rc;
	for (uint32_t j = i; j < i + n; j++) {
		struct bits one = {{1}};

		/* One bad or changed block shall not keep the others. */
		data = m->buf->data + (size_t)j * BLOCK_SIZE;
		if (rc != 0 &&
		    inner_read(disk, &m->key, m->blocks[j], &one, m->crcs + j, data) != 0)
			continue;
		m->good[j] = crc32c(data, BLOCK_SIZE) == m->crcs[j];
	}
	return 0;
}

static int write_good(struct migration *m, uint32_t i, uint32_t n)
{
	for (uint32_t end = i + n, from; i < end;) {
		int rc;

		for (from = i; i < end && m->good[i];)
			i++;
		if (i > from) {
			rc = file_write(m->file, m->buf->data + (size_t)from * BLOCK_SIZE,
					(i - from) * BLOCK_SIZE,
					(uint64_t)m->blocks[from] * BLOCK_SIZE);
			if (rc != 0)
				return rc;
		} else {
			i++;
		}
	}
	return 0;
}

static void migrate_run(struct job *job)
{
	struct migration *m = container_of(job, struct migration, job);
	int rc = 0;

	for (uint32_t i = 0, n; rc == 0 && i < m->count; i += n) {
		n = run_length(m, i);
		rc = read_run(m, i, n);
		if (rc == 0)
			rc = write_good(m, i, n);
	}
	if (rc == 0)
		rc = file_flush(m->file);
	m->error = rc;
}

/* The blocks of one piece: their inner form goes. */
static int move_piece(struct migration *m, uint32_t from, uint32_t to, uint32_t *moved)
{
	struct chunk *chunk = m->chunk;
	struct change *change = chunk->view->change;
	uint32_t index = m->blocks[from] >> PIECE_SHIFT;
	struct piece *piece;
	uint32_t n = 0;
	int rc;

	change_begin(change, chunk);
	rc = change_piece(change, index, &piece);
	if (rc != 0)
		return rc;
	for (uint32_t i = from; i < to; i++) {
		uint32_t b = m->blocks[i] % PIECE_BLOCKS;

		if (!m->good[i] || bits_test(&m->changed[index], b) ||
		    !bits_test(&piece->inner, b) || piece->crcs[b] != m->crcs[i])
			continue;
		change_moved(change, piece, m->blocks[i]);
		n++;
	}
	if (n == 0)
		return 0;
	*moved += n;
	return change_write(change);
}

static int move_all(struct migration *m, uint32_t *moved)
{
	int rc = chunk_current(m->chunk);

	for (uint32_t i = 0, to; rc == 0 && m->chunk->exists && i < m->count; i = to) {
		for (to = i;
		     to < m->count && m->blocks[to] >> PIECE_SHIFT == m->blocks[i] >> PIECE_SHIFT;)
			to++;
		rc = move_piece(m, i, to, moved);
	}
	return rc;
}

static void migration_free(struct migration *m)
{
	space_release(m->file->disk, m->promised, m->promised);
	file_unref(m->file);
	buf_unref(m->buf);
	free(m);
}

static void migrate_after(struct job *job)
{
	struct migration *m = container_of(job, struct migration, job);
	struct store_view *view = view_of(job);
	struct chunk *chunk = m->chunk;
	uint64_t now = clock_monotonic_ns();
	uint32_t moved = 0;
	int rc = m->error;

	expects(view->migrating);
	view->migrating = false;
	if (view->jobs.closing) {
		migration_free(m);
		return;
	}
	chunk_bg_finish(chunk);
	if (rc == 0)
		rc = move_all(m, &moved);
	view->migrate_after_ns = now;
	if (rc != 0) {
		health_write_failed(&view->store->disk, rc, "migrate");
		view->migrate_after_ns = now + RETRY_NS;
	} else if (store_is_waited_for(view->store, now)) {
		view->migrate_after_ns +=
			(now - m->started_ns) * (chunk->inner_count > MIGRATE_URGENT ? 1 : 4);
	}
	if (rc == 0 && moved == 0 && log_rate_ok(&inner_rate, 1))
		log_warn("no inner block could be moved path=%s chunk=%u/%u/%llu/%u",
			 view->store->disk.path, chunk->key.pool, chunk->key.partition,
			 (unsigned long long)chunk->key.file_id, chunk->key.index);
	if (!chunk_must_move(chunk) || (rc == 0 && moved == 0))
		chunk_unqueue_move(chunk);
	migration_free(m);
	chunk_wake(chunk);
	background_step(view, chunk, now);
	chunk_unpin(chunk);
	migrate_next(view, now);
	timer_start(view);
}

static int list_blocks(struct migration *m, struct chunk *chunk)
{
	for (uint32_t index = 0; index < pieces_of(chunk->length); index++) {
		struct piece *piece;
		int rc = chunk_piece(chunk, index, &piece);

		if (rc != 0)
			return rc;
		for (uint32_t b = piece == NULL ? PIECE_BLOCKS : bits_next(&piece->inner, 0);
		     b < PIECE_BLOCKS && m->count < MIGRATE_BLOCKS;
		     b = bits_next(&piece->inner, b + 1)) {
			m->blocks[m->count] = index * PIECE_BLOCKS + b;
			m->crcs[m->count++] = piece->crcs[b];
		}
	}
	return m->count > 0 ? 0 : -ENOENT;
}

static int migrate_start(struct store_view *view, struct chunk *chunk, uint64_t now)
{
	struct store *store = view->store;
	struct migration *m = calloc(1, sizeof(*m));
	int rc = m == NULL ? -ENOMEM : list_blocks(m, chunk);

	if (rc != 0)
		goto fail;
	rc = -ENOMEM;
	m->buf = buf_get(store->pool, m->count * BLOCK_SIZE);
	if (m->buf == NULL || chunk_file_of(chunk) == NULL)
		goto fail;
	rc = space_promise(&store->disk, (uint64_t)m->count * BLOCK_SIZE, true);
	if (rc != 0)
		goto fail;
	m->promised = (uint64_t)m->count * BLOCK_SIZE;
	m->chunk = chunk;
	m->key = chunk->key;
	m->file = file_ref(chunk->file);
	m->started_ns = now;
	expects(!view->migrating && m->count <= MIGRATE_BLOCKS);
	view->migrating = true;
	chunk_bg_begin(chunk, BG_MIGRATE, m->blocks[0] >> PIECE_SHIFT,
		       (m->blocks[m->count - 1] >> PIECE_SHIFT) + 1, m->changed);
	jobs_start(&view->jobs, &m->job, migrate_run, migrate_after);
	return 0;
fail:
	if (m != NULL)
		buf_unref(m->buf);
	free(m);
	return rc;
}

static bool is_ready(const struct chunk *chunk, uint64_t now)
{
	return chunk->bg == BG_NONE && !chunk->removing &&
	       (chunk->inner_count > MIGRATE_BUSY ||
		now - chunk->last_write_ns > chunk->store->migrate_idle_ns);
}

void migrate_next(struct store_view *view, uint64_t now)
{
	struct list *at = view->migrate.next, *next;

	if (view->migrating || view->jobs.closing || now < view->migrate_after_ns ||
	    health_check(&view->store->disk) != 0)
		return;
	for (; at != &view->migrate; at = next) {
		struct chunk *chunk = container_of(at, struct chunk, migrate);
		int rc;

		next = at->next;
		if (!chunk_must_move(chunk)) {
			chunk_unqueue_move(chunk);
			continue;
		}
		if (!is_ready(chunk, now))
			continue;
		rc = migrate_start(view, chunk, now);
		if (rc == 0)
			return;
		if (rc == -ENOENT || rc == -EBADMSG)
			chunk_unqueue_move(chunk);
		else
			view->migrate_after_ns = now + RETRY_NS;
		return;
	}
}
