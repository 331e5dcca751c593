/* health.c - may a target be used? */
#include "chunkserver/disk/health.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/disk/space.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

static struct log_rate down_rate;

int health_check(const struct disk *disk)
{
	int down;

	if (atomic_load_explicit(&disk->poisoned, memory_order_relaxed))
		return -EIO;
	down = atomic_load_explicit(&disk->down, memory_order_relaxed);
	if (down != 0)
		return down;
	return kv_is_down(disk->kv) ? -EIO : 0;
}

void health_set_down(struct disk *disk, int error, const char *what)
{
	int expected = 0;

	if (atomic_compare_exchange_strong(&disk->down, &expected, error))
		log_error("target is down path=%s op=%s error=\"%s\"", disk->path, what,
			  strerror(-error));
}

void health_poison(struct disk *disk, const char *what, int error)
{
	if (!atomic_exchange(&disk->poisoned, true))
		log_error("flush failed, target refuses all until opened again path=%s op=%s "
			  "error=\"%s\"",
			  disk->path, what, strerror(-error));
}

int health_write_failed(struct disk *disk, int error, const char *what)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
		if (log_rate_ok(&down_rate, 1))
			log_warn("no space path=%s op=%s", disk->path, what);
		space_refresh(disk, true);
		return -ENOSPC;
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -EBADMSG:
		if (log_rate_ok(&down_rate, 1))
			log_error("write failed path=%s op=%s error=\"%s\"", disk->path, what,
				  strerror(-error));
		return error;
	default:
		health_set_down(disk, -EIO, what);
		return -EIO;
	}
}
