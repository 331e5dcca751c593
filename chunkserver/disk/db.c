/* db.c - the db of a target: opening it, and writing to it. */
#include "chunkserver/disk/db.h"
#include <errno.h>
#include <stdio.h>
#include "chunkserver/disk/health.h"

#define DB_CACHE_BYTES (32u << 20)

const struct kv_family db_families[FAMILY_COUNT] = {
	[FAMILY_MAIN] = {.name = "default", .large_values = false},
	[FAMILY_INNER] = {.name = "inner", .large_values = true},
};

int db_open(struct disk *disk, char *error, size_t error_size)
{
	char path[4096], text[256] = "";
	struct kv_options options = {
		.path = path,
		.families = db_families,
		.family_count = FAMILY_COUNT,
		.cache_bytes = DB_CACHE_BYTES,
	};
	int rc;

	if (snprintf(path, sizeof(path), "%s/db", disk->path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	rc = kv_open(&options, &disk->kv, text, sizeof(text));
	/* Other copies have what was in it, so a new target is all that is needed. */
	if (rc == -EUCLEAN)
		snprintf(error, error_size,
			 "%s: its db is damaged: replace the disk, or empty the directory, and "
			 "make a new target with --init, which gets copies of others (%s)",
			 disk->path, text);
	else if (rc != 0)
		snprintf(error, error_size, "%s", text);
	return rc;
}

int db_write(struct disk *disk, const struct kv_batch *batch, uint64_t *seq)
{
	int rc = kv_write(disk->kv, batch, false);
	uint64_t number;

	if (rc != 0) {
		if (kv_is_down(disk->kv))
			health_set_down(disk, rc, "kv_write");
		return rc;
	}
	/* Counted after the write: a flush that begins when the number is seen covers it. */
	number = atomic_fetch_add(&disk->written_seq, 1) + 1;
	if (seq != NULL)
		*seq = number;
	return 0;
}
