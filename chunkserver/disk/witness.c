/* witness.c - is everything there that was flushed?
 *
 * RocksDB replays its log up to the first record that it cannot read. It cannot know whether that
 * is the end of what reached the disk before a power cut, or damage with flushed records behind it.
 * So a number, the mark, is kept in two places: in kv, by batches of the log like all else, and in
 * the file "synced". The file's mark is never ahead: it follows when the mark in kv has been
 * flushed. kv comes back as a beginning of what was written to it. If it has the file's mark, it
 * has all that was flushed before that mark was made. If not, something flushed is missing.
 *
 * A mark is made when something was flushed since the last one. It waits for a later flush that is
 * asked for anyway, or flushes by itself at the next look. So the file is behind by two looks at
 * most, and no flush takes longer. Closing leaves nothing behind.
 *
 * The file has the life as well: one that was lost with the log must not be used a second time.
 * When the file is lost too, the next life leaves out as many as can have been.
 *
 * File: two slots of 4096 bytes, written in turns, each in place: text "catsync1", mark le64, life
 * le64, CRC32C le32 of these, zeros. The valid one of the greater mark counts. One is always valid:
 * a power cut can take only the one that is being written. */
#include "chunkserver/disk/witness.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/record/value.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/os/log.h"
#include "common/os/periodic_thread.h"

#define LOG_MODULE "store"

#define NAME       "synced"
#define NAME_BEGUN "synced.begun"
#define SLOTS      2u
#define SLOT_ROOM  4096u
#define SLOT_BYTES 28u
#define TICK_NS    (500 * NS_PER_MSEC)

static const char magic[8] = {'c', 'a', 't', 's', 'y', 'n', 'c', '1'};
static struct log_rate tell_rate;

/* ---- the file ---- */

static void slot_encode(uint64_t mark, uint64_t life, uint8_t out[SLOT_BYTES])
{
	memcpy(out, magic, sizeof(magic));
	put_le64(out + 8, mark);
	put_le64(out + 16, life);
	put_le32(out + 24, crc32c(out, 24));
}

/* A slot that the disk cannot read is like one that does not match. */
static bool slot_read(int fd, unsigned slot, uint64_t *mark, uint64_t *life)
{
	uint8_t bytes[SLOT_BYTES];
	ssize_t n = pread(fd, bytes, sizeof(bytes), (off_t)slot * (off_t)SLOT_ROOM);

	if (n != (ssize_t)sizeof(bytes) || memcmp(bytes, magic, sizeof(magic)) != 0 ||
	    get_le32(bytes + 24) != crc32c(bytes, 24))
		return false;
	*mark = get_le64(bytes + 8);
	*life = get_le64(bytes + 16);
	return *mark != UINT64_MAX; /* that no mark can follow */
}

/* False: no slot is valid. */
static bool file_read_slots(struct witness *witness)
{
	bool any = false;

	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t mark, life;

		if (!slot_read(witness->fd, i, &mark, &life))
			continue;
		/* Only the lower half counts; see life.h. */
		if ((uint32_t)life > (uint32_t)witness->life)
			witness->life = life;
		if (any && mark <= witness->told)
			continue;
		witness->told = mark;
		witness->slot = (i + 1) % SLOTS;
		any = true;
	}
	return any;
}

/* Whole and durable before it has its name. When there had been one, it wants more than is in kv:
 * until the damage is noted there, each opening sees it again. */
static int file_make(struct disk *disk, uint64_t mark)
{
	const uint64_t wanted = mark == 0 ? 0 : mark + 1;
	static const uint8_t zeros[SLOTS * SLOT_ROOM - SLOT_BYTES];
	uint8_t bytes[SLOT_BYTES];
	int fd = openat(disk->root_fd, NAME_BEGUN, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return -errno;
	slot_encode(wanted, 0, bytes);
	errno = 0;
	if (pwrite(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
	    pwrite(fd, zeros, sizeof(zeros), SLOT_BYTES) != (ssize_t)sizeof(zeros) ||
	    fsync(fd) != 0 || renameat(disk->root_fd, NAME_BEGUN, disk->root_fd, NAME) != 0 ||
	    fsync(disk->root_fd) != 0)
		rc = errno == 0 ? -ENOSPC : -errno;
	if (rc != 0) {
		close(fd);
		unlinkat(disk->root_fd, NAME_BEGUN, 0);
		return rc;
	}
	disk->witness.fd = fd;
	disk->witness.slot = 1;
	disk->witness.told = wanted;
	return 0;
}

int witness_note(struct disk *disk)
{
	struct witness *witness = &disk->witness;
	uint8_t bytes[SLOT_BYTES];
	int rc;

	if (witness->fd < 0)
		return 0;
	expects(witness->put >= witness->told && witness->put <= witness->mark);
	slot_encode(witness->put, disk->life, bytes);
	errno = 0;
	if (pwrite(witness->fd, bytes, sizeof(bytes), (off_t)witness->slot * (off_t)SLOT_ROOM) !=
		    (ssize_t)sizeof(bytes) ||
	    fdatasync(witness->fd) != 0) {
		rc = errno == 0 ? -ENOSPC : -errno;
		if (log_rate_ok(&tell_rate, 1))
			log_warn("what was flushed cannot be noted path=%s error=\"%s\"",
				 disk->path, strerror(-rc));
		return rc;
	}
	witness->slot = (witness->slot + 1) % SLOTS;
	witness->told = witness->put;
	return 0;
}

/* ---- the mark in kv ---- */

/* 0: there is none. */
static int mark_read(struct disk *disk, uint64_t *mark, bool *readable)
{
	static const uint8_t key[] = {KEY_WITNESS};
	uint8_t *value;
	size_t size;
	int rc = kv_get(disk->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	*mark = 0;
	*readable = true;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	*readable = value_number_decode(KEY_WITNESS, value, size, mark) == 0 && *mark != UINT64_MAX;
	free(value);
	return 0;
}

void witness_put(struct disk *disk, struct kv_batch *batch)
{
	static const uint8_t key[] = {KEY_WITNESS};
	uint8_t value[NUMBER_VALUE_MAX];

	if (disk->witness.fd < 0)
		return;
	disk->witness.mark++;
	kv_batch_put(batch, FAMILY_MAIN, key, sizeof(key), value,
		     value_number_encode(KEY_WITNESS, disk->witness.mark, value));
}

static int note_read(struct disk *disk, bool *there)
{
	static const uint8_t key[] = {KEY_DAMAGE};
	uint8_t *value;
	size_t size;
	int rc = kv_get(disk->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	*there = rc == 0; /* whatever it says */
	if (rc == 0)
		free(value);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- opening ---- */

static void tell_damage(const struct disk *disk, const char *what, uint64_t mark)
{
	log_error(
		"target is damaged: records that were flushed are missing path=%s what=\"%s\" "
		"mark=%llu wanted=%llu consequence=\"it serves nothing until the master has put it "
		"behind the others, then it is made equal to them; its files are kept until then\"",
		disk->path, what, (unsigned long long)mark, (unsigned long long)disk->witness.told);
}

static int judge(struct disk *disk, const char **damage, uint64_t *mark)
{
	struct witness *witness = &disk->witness;
	bool readable, valid = true;
	int rc = mark_read(disk, mark, &readable);

	if (rc != 0)
		return rc;
	witness->fd = openat(disk->root_fd, NAME, O_RDWR | O_CLOEXEC);
	if (witness->fd >= 0) {
		valid = file_read_slots(witness);
	} else if (errno == ENOENT) {
		rc = file_make(disk, *mark);
		/* What opens with a full disk is to open; from the next time on it is kept. */
		if (rc == -ENOSPC || rc == -EDQUOT)
			rc = 0;
		if (*mark != 0)
			*damage = "the file " NAME " is gone";
	} else {
		rc = -errno;
	}
	if (!valid)
		*damage = "the file " NAME " is damaged";
	else if (!readable)
		*damage = "the mark in the db is damaged";
	else if (*mark < witness->told)
		*damage = "the log ends before what was flushed";
	return rc;
}

int witness_open(struct disk *disk)
{
	const char *damage = NULL;
	uint64_t mark;
	bool noted;
	int rc = judge(disk, &damage, &mark);

	if (rc == 0)
		rc = note_read(disk, &noted);
	if (rc != 0)
		return rc;
	disk->witness.mark = mark > disk->witness.told ? mark : disk->witness.told;
	disk->witness.put = disk->witness.mark;
	disk->witness.lives_lost = damage != NULL && disk->witness.life == 0;
	if (damage != NULL)
		tell_damage(disk, damage, mark);
	else if (noted)
		log_warn("target is still counted as damaged path=%s", disk->path);
	atomic_store(&disk->damaged, damage != NULL || noted);
	return 0;
}

bool witness_is_whole(struct disk *disk)
{
	bool readable, whole;
	uint64_t mark;

	pthread_mutex_lock(&disk->witness.mutex);
	whole = mark_read(disk, &mark, &readable) == 0 && readable && mark >= disk->witness.put;
	pthread_mutex_unlock(&disk->witness.mutex);
	return whole;
}

/* ---- while it is open ---- */

static void put_mark(struct disk *disk)
{
	struct kv_batch *batch = kv_batch_new();

	lock_held(&disk->witness.mutex);
	expects(disk->witness.put == disk->witness.told);
	if (batch == NULL)
		return;
	witness_put(disk, batch);
	/* One that failed may be in kv all the same: its number is not used again. */
	if (db_write(disk, batch, &disk->witness.seq) == 0)
		disk->witness.put = disk->witness.mark;
	kv_batch_free(batch);
}

void witness_tick(struct disk *disk)
{
	struct witness *witness = &disk->witness;

	if (witness->fd < 0 || health_check(disk) != 0)
		return;
	pthread_mutex_lock(&witness->mutex);
	if (witness->put == witness->told) {
		if (atomic_load(&disk->flushed_seq) > witness->seq)
			put_mark(disk);
	} else if (log_flush_covers(disk, witness->seq) || log_flush_now(disk, witness->seq) == 0) {
		witness_note(disk);
	}
	pthread_mutex_unlock(&witness->mutex);
}

static uint64_t witness_round(void *user)
{
	witness_tick(user);
	return clock_monotonic_ns() + TICK_NS;
}

int witness_start(struct disk *disk)
{
	if (disk->witness.fd < 0)
		return 0;
	return periodic_thread_start(witness_round, disk, clock_monotonic_ns() + TICK_NS,
				     &disk->witness.thread);
}

void witness_stop(struct disk *disk)
{
	periodic_thread_stop(disk->witness.thread);
	disk->witness.thread = NULL;
}

/* ---- when the master knows ---- */

bool witness_is_damaged(const struct disk *disk)
{
	return atomic_load(&disk->damaged);
}

int witness_damage_settled(struct disk *disk)
{
	static const uint8_t key[] = {KEY_DAMAGE};
	struct kv_batch *batch = kv_batch_new();
	uint64_t seq;
	int rc;

	if (batch == NULL)
		return -ENOMEM;
	kv_batch_delete(batch, FAMILY_MAIN, key, sizeof(key));
	rc = db_write(disk, batch, &seq);
	kv_batch_free(batch);
	if (rc == 0)
		rc = log_flush_now(disk, seq);
	if (rc == 0 && atomic_exchange(&disk->damaged, false))
		log_info("damage is known to the master, target is made equal where others have "
			 "its chunks path=%s",
			 disk->path);
	return rc;
}
