/* life.c - the lives of a target: one with each opening, and how the last one ended. */
#include "chunkserver/disk/life.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "chunkserver/disk/witness.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"

#define LIVES_LOST (1u << 24) /* no target is opened so often */

static void boot_id_read(char out[BOOT_ID_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, BOOT_ID_BYTES - 1);

	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

int life_state_write(struct disk *disk, bool clean)
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
		     value_state_encode(clean, boot_id, value));
	kv_batch_put(batch, FAMILY_MAIN, life_key, sizeof(life_key), life,
		     value_number_encode(KEY_LIFE, disk->life, life));
	if (witness_is_damaged(disk))
		kv_batch_put(batch, FAMILY_MAIN, note, sizeof(note), damage,
			     value_number_encode(KEY_DAMAGE, disk->life, damage));
	witness_put(disk, batch);
	rc = kv_write(disk->kv, batch, true);
	kv_batch_free(batch);
	if (rc != 0)
		return rc;
	disk->witness.put = disk->witness.mark;
	rc = witness_note(disk);
	/* Then the file is behind, which is always right. */
	return rc == -ENOSPC || rc == -EDQUOT ? 0 : rc;
}

int life_state_read(struct disk *disk)
{
	static const uint8_t key[] = {KEY_STATE};
	char now[BOOT_ID_BYTES], then[BOOT_ID_BYTES];
	uint8_t *value;
	size_t size;
	int rc = kv_get(disk->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	disk->was_clean = rc == -ENOENT; /* never opened */
	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rc;
	boot_id_read(now);
	/* A state that cannot be read is the careful one: not clean, another boot. */
	if (value_state_decode(value, size, &disk->was_clean, then) == 0)
		disk->same_boot = now[0] != '\0' && strcmp(now, then) == 0;
	free(value);
	return 0;
}

/* Another life than all before. One that cannot be read must not be guessed: the master tells old
 * copies of a disk by it. One that was lost with a damaged log is in the file beside it. */
int life_begin(struct disk *disk, char *error, size_t error_size)
{
	static const uint8_t key[] = {KEY_LIFE};
	uint64_t before = 0;
	uint32_t luck, count;
	uint8_t *value;
	size_t size;
	int rc = kv_get(disk->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	if (rc == 0) {
		rc = value_number_decode(KEY_LIFE, value, size, &before);
		free(value);
		if (rc != 0 || (uint32_t)before == UINT32_MAX) {
			snprintf(error, error_size,
				 "%s: its record of how often it was opened is damaged: replace "
				 "this target by a new one",
				 disk->path);
			return -EUCLEAN;
		}
	} else if (rc != -ENOENT) { /* absent: new, or of a time without it */
		return rc;
	}
	count = (uint32_t)before;
	if (witness_is_damaged(disk) && (uint32_t)disk->witness.life > count)
		count = (uint32_t)disk->witness.life;
	if (disk->witness.lives_lost && count < UINT32_MAX - LIVES_LOST)
		count += LIVES_LOST;
	if (getrandom(&luck, sizeof(luck), 0) != (ssize_t)sizeof(luck))
		return -EIO;
	disk->life = (uint64_t)luck << 32 | (count + 1);
	return 0;
}
