/* log_flush.c - flushing the log of a target's db. */
#include "chunkserver/disk/log_flush.h"
#include <errno.h>
#include "chunkserver/disk/health.h"
#include "common/base/expects.h"
#include "common/kv/kv.h"

int log_flush_now(struct disk *disk, uint64_t seq)
{
	int rc = health_check(disk);
	uint64_t old;

	if (rc != 0)
		return rc;
	expects(seq <= atomic_load(&disk->written_seq));
	rc = kv_flush(disk->kv);
	if (rc == -ENOSPC) {
		health_write_failed(disk, rc, "kv_flush");
		return rc;
	}
	if (rc != 0) {
		health_poison(disk, "kv_flush", rc);
		return -EIO;
	}
	old = atomic_load(&disk->flushed_seq);
	while (old < seq &&
	       !atomic_compare_exchange_weak_explicit(&disk->flushed_seq, &old, seq,
						      memory_order_release, memory_order_relaxed))
		;
	return 0;
}

static void *flush_thread(void *arg)
{
	struct disk *disk = arg;

	for (;;) {
		struct flush_wait *list, *next;
		bool soon;
		int rc;

		pthread_mutex_lock(&disk->log_flush.mutex);
		while (disk->log_flush.head == NULL && !disk->log_flush.stop &&
		       !disk->log_flush.soon)
			pthread_cond_wait(&disk->log_flush.cond, &disk->log_flush.mutex);
		list = disk->log_flush.head;
		soon = disk->log_flush.soon;
		disk->log_flush.soon = false;
		disk->log_flush.head = NULL;
		disk->log_flush.tail = &disk->log_flush.head;
		pthread_mutex_unlock(&disk->log_flush.mutex);
		if (list == NULL && !soon)
			return NULL;
		/* All in the list have written before this. */
		rc = log_flush_now(disk, atomic_load(&disk->written_seq));
		for (; list != NULL; list = next) {
			next = list->next;
			jobs_wait_deliver(list, rc);
		}
	}
}

void log_flush_soon(struct disk *disk)
{
	pthread_mutex_lock(&disk->log_flush.mutex);
	disk->log_flush.soon = true;
	pthread_cond_signal(&disk->log_flush.cond);
	pthread_mutex_unlock(&disk->log_flush.mutex);
}

int log_flush_start(struct disk *disk)
{
	int rc = pthread_create(&disk->log_flush.thread, NULL, flush_thread, disk);

	if (rc != 0)
		return -rc;
	disk->log_flush.thread_runs = true;
	return 0;
}

void log_flush_stop(struct disk *disk)
{
	if (!disk->log_flush.thread_runs)
		return;
	pthread_mutex_lock(&disk->log_flush.mutex);
	disk->log_flush.stop = true;
	pthread_cond_signal(&disk->log_flush.cond);
	pthread_mutex_unlock(&disk->log_flush.mutex);
	pthread_join(disk->log_flush.thread, NULL);
	disk->log_flush.thread_runs = false;
}

void log_flush(struct disk *disk, struct jobs *jobs, struct flush_wait *wait)
{
	struct disk_log_flush *flush = &disk->log_flush;

	jobs_wait_begin(jobs, wait);
	pthread_mutex_lock(&flush->mutex);
	*flush->tail = wait;
	flush->tail = &wait->next;
	pthread_mutex_unlock(&flush->mutex);
	/* Unlocked, or it wakes only to wait for the lock. */
	pthread_cond_signal(&flush->cond);
}
