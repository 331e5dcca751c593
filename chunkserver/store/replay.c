/* replay.c - what a crash leaves, looked at before the store is used (store.c has the whole story).
 *
 * Marks say in which pieces the file may not be what the record says. There, a live block may not
 * match its checksum. It is taken as it is when it may have been overwritten in place (the mark
 * names it), or when only the process has died, as then nothing that was written is lost. Otherwise
 * it becomes absent: it was new, never flushed, and the file holds something else there.
 *
 * Either way the chunk is unsure. After a power cut its record also says that something is lost
 * (chunk_history.h), in one batch with the change of the bytes. A block that the file is too short
 * for becomes absent after a power cut. When only the process has died that is damage, and stays
 * so.
 *
 * Files without a record are of updates that were never committed, or of removed chunks. In a
 * target with a damaged log they may be of chunks whose record is lost. There they stay until the
 * master knows of the damage and another opening looks again. */
#include "chunkserver/store/replay.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/witness.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "chunkserver/chunk/change.h"
#include "chunkserver/chunk/chunk.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"
#include "common/kv/kv.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

static struct log_rate replay_rate;

struct replay {
	struct store *store;
	struct change *change;
	uint8_t *data; /* of a piece */
	struct chunk *chunk;
	struct bits over[PIECES_MAX];
	uint64_t marked; /* pieces with a mark */
	uint64_t chunks, pieces, adopted, lost;
};

/* ---- marks ---- */

struct verdict {
	struct bits adopt, lose;
	uint32_t crcs[PIECE_BLOCKS];
};

/* Reads the live blocks. *there: the file has them; *bad: the disk cannot read them. */
static int read_live(struct replay *replay, uint32_t index, const struct bits *live,
		     struct bits *there, struct bits *bad)
{
	uint64_t base = (uint64_t)index * PIECE_BYTES;
	struct chunk_file *file = replay->chunk->file;
	uint32_t got;
	int rc = file_read(file, replay->data, bits_end(live) * BLOCK_SIZE, base, true, &got);

	*there = bits_range(0, 0, got >> BLOCK_SHIFT);
	if (rc != -EBADMSG)
		return rc == -ENOENT ? 0 : rc;
	for (uint32_t i = bits_next(live, 0); i < PIECE_BLOCKS; i = bits_next(live, i + 1)) {
		rc = file_read(file, replay->data + (size_t)i * BLOCK_SIZE, BLOCK_SIZE,
			       base + (uint64_t)i * BLOCK_SIZE, true, &got);
		if (rc == -EBADMSG)
			bits_set(bad, i);
		else if (rc != 0)
			return rc;
		else if (got == BLOCK_SIZE)
			bits_set(there, i);
	}
	return 0;
}

static int judge(struct replay *replay, uint32_t index, const struct piece *piece,
		 struct verdict *verdict)
{
	struct bits live = bits_without(piece->present, &piece->inner);
	struct bits there, bad = {{0}};
	int rc;

	memset(verdict, 0, offsetof(struct verdict, crcs));
	if (!bits_any(&live))
		return 0;
	rc = read_live(replay, index, &live, &there, &bad);
	if (rc != 0)
		return rc;
	live = bits_without(live, &bad); /* that stays damage */
	for (uint32_t i = bits_next(&live, 0); i < PIECE_BLOCKS; i = bits_next(&live, i + 1)) {
		bool old = replay->store->disk.same_boot || bits_test(&replay->over[index], i);

		if (bits_test(&there, i))
			verdict->crcs[i] =
				crc32c(replay->data + (size_t)i * BLOCK_SIZE, BLOCK_SIZE);
		if (bits_test(&there, i) && verdict->crcs[i] == piece->crcs[i])
			continue;
		if (bits_test(&there, i) && old)
			bits_set(&verdict->adopt, i);
		else if (!replay->store->disk.same_boot)
			bits_set(&verdict->lose, i);
	}
	return 0;
}

/* What was answered may be gone, and what was applied has to be applied again. (Of a copy that was
 * not completed the ids say how far it had been.) */
static void record_lost(struct record *next)
{
	next->history.lost = true;
	if (next->version > 0)
		next->op_count = 0;
}

static int replay_piece(struct replay *replay, uint32_t index)
{
	struct verdict verdict;
	struct piece *old, *piece;
	int rc = chunk_piece(replay->chunk, index, &old);

	if (rc != 0 || old == NULL)
		return rc == -EBADMSG ? 0 : rc; /* damage shows itself when it is read */
	rc = judge(replay, index, old, &verdict);
	if (rc != 0 || (!bits_any(&verdict.adopt) && !bits_any(&verdict.lose)))
		return rc;
	rc = change_piece(replay->change, index, &piece);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < PIECE_BLOCKS; i++) {
		if (bits_test(&verdict.adopt, i))
			piece->crcs[i] = verdict.crcs[i];
		if (bits_test(&verdict.lose, i))
			bits_clear(&piece->present, i);
	}
	replay->change->next.unsure = true;
	if (!replay->store->disk.same_boot)
		record_lost(&replay->change->next);
	replay->adopted += bits_count(&verdict.adopt);
	replay->lost += bits_count(&verdict.lose);
	return 0;
}

/* Space of blocks that are not live; what is absent now was durably absent, or is lost. */
static void punch_piece(struct replay *replay, uint32_t index)
{
	struct chunk *chunk = replay->chunk;
	struct piece *piece;
	uint32_t from = 0;

	if (chunk_piece(chunk, index, &piece) != 0)
		return;
	for (uint32_t i = 0; i <= PIECE_BLOCKS; i++) {
		bool live = i == PIECE_BLOCKS || (piece != NULL && bits_test(&piece->present, i) &&
						  !bits_test(&piece->inner, i));

		if (!live)
			continue;
		if (i > from)
			file_punch(chunk->file,
				   (uint64_t)index * PIECE_BYTES + (uint64_t)from * BLOCK_SIZE,
				   (uint64_t)(i - from) * BLOCK_SIZE);
		from = i + 1;
	}
}

/* change_piece() keeps few pieces, so each is written by itself. */
static int write_piece(struct replay *replay, uint32_t index)
{
	struct change *change = replay->change;
	uint8_t key[KEY_BYTES_MAX];
	uint32_t last;
	int rc;

	change_begin(change, replay->chunk);
	rc = replay_piece(replay, index);
	if (rc != 0)
		return rc;
	/* A damaged piece at the end keeps the length as it is. */
	rc = change_last(change, change->next.length, &last);
	if (rc == 0)
		change->next.length = last;
	else if (rc != -EBADMSG)
		return rc;
	kv_batch_delete(change->batch, FAMILY_MAIN, key, key_mark(&replay->chunk->key, index, key));
	rc = change_write(change);
	if (rc == 0)
		punch_piece(replay, index);
	return rc;
}

static int delete_marks(struct replay *replay, const struct chunk_key *chunk)
{
	uint8_t key[KEY_BYTES_MAX];

	kv_batch_clear(replay->change->batch);
	for (uint32_t i = 0; i < PIECES_MAX; i++)
		if ((replay->marked >> i & 1) != 0)
			kv_batch_delete(replay->change->batch, FAMILY_MAIN, key,
					key_mark(chunk, i, key));
	return db_write(&replay->store->disk, replay->change->batch, NULL);
}

static int replay_chunk(struct replay *replay, const struct chunk_key *key)
{
	int rc;

	expects(replay->chunk == NULL && replay->marked != 0);
	replay->chunk = chunk_new(replay->store, key);
	if (replay->chunk == NULL)
		return -ENOMEM;
	rc = chunk_load(replay->chunk);
	if (rc == -EBADMSG || (rc == 0 && !replay->chunk->exists)) {
		rc = delete_marks(replay, key);
		goto out;
	}
	if (rc == 0 && chunk_file_of(replay->chunk) == NULL)
		rc = -ENOMEM;
	/* What is found to be right or taken as it is shall also last, and its name: the process
	 * that made the file may have ended before it flushed the directory. */
	if (rc == 0 && !replay->store->disk.was_clean)
		atomic_store(&replay->chunk->file->created, true);
	if (rc == 0)
		rc = file_flush(replay->chunk->file);
	if (rc == -ENOENT)
		rc = 0;
	for (uint32_t i = 0; rc == 0 && i < PIECES_MAX; i++) {
		if ((replay->marked >> i & 1) == 0)
			continue;
		rc = write_piece(replay, i);
		replay->pieces++;
	}
	replay->chunks++;
out:
	chunk_free(replay->chunk);
	replay->chunk = NULL;
	return rc;
}

static int take_mark(struct replay *replay, const struct chunk_key *key, uint32_t index,
		     const uint8_t *value, size_t size)
{
	if (index >= PIECES_MAX)
		return 0;
	replay->marked |= UINT64_C(1) << index;
	/* Unreadable: nothing is excused by it. */
	if (value_mark_decode(key, index, value, size, &replay->over[index]) != 0 &&
	    log_rate_ok(&replay_rate, 5))
		log_error("damaged mark path=%s chunk=%u/%u/%llu/%u", replay->store->disk.path,
			  key->pool, key->partition, (unsigned long long)key->file_id, key->index);
	return 0;
}

static int replay_marks(struct replay *replay)
{
	static const uint8_t start[] = {KEY_MARK}, end[] = {KEY_MARK + 1};
	struct chunk_key key, now = {0};
	struct kv_iter *iter;
	const uint8_t *name, *value;
	size_t name_size, value_size;
	int more, rc = kv_iter_open(replay->store->disk.kv, FAMILY_MAIN, start, sizeof(start), end,
				    sizeof(end), &iter);

	if (rc != 0)
		return rc;
	/* The iterator has its snapshot: deleting behind it does not matter. */
	while (rc == 0 &&
	       (more = kv_iter_next(iter, &name, &name_size, &value, &value_size)) != 0) {
		if (more < 0 || name_size != 2 + CHUNK_KEY_BYTES) {
			rc = more < 0 ? more : 0;
			continue;
		}
		chunk_key_decode(name + 1, &key);
		if (replay->marked != 0 && !chunk_key_equal(&key, &now)) {
			rc = replay_chunk(replay, &now);
			replay->marked = 0;
		}
		now = key;
		if (rc == 0)
			rc = take_mark(replay, &key, name[1 + CHUNK_KEY_BYTES], value, value_size);
	}
	kv_iter_free(iter);
	return rc == 0 && replay->marked != 0 ? replay_chunk(replay, &now) : rc;
}

/* ---- files without a record ---- */

static int wanted(struct store *store, const struct chunk_key *key, bool *yes)
{
	struct chunk *chunk = chunk_new(store, key);
	int rc;

	if (chunk == NULL)
		return -ENOMEM;
	rc = chunk_load(chunk);
	/* A damaged record does not say; the file may be what is left to save. */
	*yes = rc != 0 || (chunk->exists && chunk->has_file);
	chunk_free(chunk);
	return rc == -EBADMSG ? 0 : rc;
}

static int sweep_directory(struct store *store, unsigned number, uint64_t *swept)
{
	char name[3] = {"0123456789abcdef"[number >> 4], "0123456789abcdef"[number & 15], '\0'};
	int rc = 0, fd = openat(store->disk.chunks_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL)
		return errno == ENOENT ? -EUCLEAN : -errno;
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		struct chunk_key key;
		bool yes = true;

		if (!file_name_parse(entry->d_name, &key))
			continue;
		rc = wanted(store, &key, &yes);
		if (rc == 0 && !yes && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			(*swept)++;
	}
	closedir(dir);
	return rc;
}

static int sweep(struct store *store, uint64_t *swept)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 256; i++)
		rc = sweep_directory(store, i, swept);
	return rc;
}

int replay_all(struct store *store)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	uint64_t swept = 0;
	int rc = -ENOMEM;

	if (replay == NULL)
		return -ENOMEM;
	replay->store = store;
	replay->change = change_new();
	replay->data = aligned_alloc(BLOCK_SIZE, PIECE_BYTES);
	if (replay->change != NULL && replay->data != NULL)
		rc = replay_marks(replay);
	if (rc == 0 && witness_is_damaged(&store->disk))
		atomic_store(&store->disk.leftovers, true);
	else if (rc == 0 && !store->disk.was_clean)
		rc = sweep(store, &swept);
	if (rc == 0)
		rc = kv_flush(store->disk.kv);
	if (replay->chunks > 0 || swept > 0)
		log_info("replayed path=%s chunks=%llu pieces=%llu adopted=%llu lost=%llu "
			 "files_swept=%llu same_boot=%d",
			 store->disk.path, (unsigned long long)replay->chunks,
			 (unsigned long long)replay->pieces, (unsigned long long)replay->adopted,
			 (unsigned long long)replay->lost, (unsigned long long)swept,
			 store->disk.same_boot);
	if (replay->change != NULL)
		change_free(replay->change);
	free(replay->data);
	free(replay);
	return rc;
}
