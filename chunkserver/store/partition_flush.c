/* partition_flush.c - making a partition durable: each chunk of it that is dirty, and the log.
 *
 * What earlier processes wrote is durable since the target was opened: whatever they had not
 * flushed has a mark, and replaying it flushes the file. */
#include <errno.h>
#include <stdlib.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/store/store.h"
#include "common/base/expects.h"

struct partition_flush {
	struct flush_wait wait; /* for what has no file */
	void (*done)(void *user, int error);
	void *user;
	size_t pending;
	int error;
	size_t count;
	struct store_flush flushes[];
};

static void part_done(struct partition_flush *all, int error)
{
	void (*done)(void *, int) = all->done;
	void *user = all->user;

	expects(all->pending > 0);
	if (all->error == 0)
		all->error = error;
	if (--all->pending > 0)
		return;
	error = all->error;
	free(all);
	done(user, error);
}

static void on_chunk(struct store_flush *flush, int error)
{
	part_done(flush->user, error);
}

static void on_log(struct flush_wait *wait)
{
	part_done(container_of(wait, struct partition_flush, wait), wait->error);
}

static bool belongs(const struct dirty *dirty, uint32_t pool, uint32_t partition)
{
	return (dirty->file_dirty || dirty->chunk->file_flush_running) &&
	       dirty->chunk->key.pool == pool && dirty->chunk->key.partition == partition;
}

void store_flush_partition(struct store_view *view, uint32_t pool, uint32_t partition,
			   void (*done)(void *user, int error), void *user)
{
	struct partition_flush *all = NULL;
	size_t count = 0;
	int rc = health_check(&view->store->disk);

	for (struct list *at = view->dirty.next; at != &view->dirty; at = at->next)
		count += belongs(container_of(at, struct dirty, link), pool, partition);
	if (rc == 0)
		all = calloc(1, sizeof(*all) + count * sizeof(all->flushes[0]));
	if (all == NULL) {
		done(user, rc != 0 ? rc : -ENOMEM);
		return;
	}
	all->done = done;
	all->user = user;
	all->pending = count + 1;
	for (struct list *at = view->dirty.next; at != &view->dirty; at = at->next) {
		struct dirty *dirty = container_of(at, struct dirty, link);

		if (belongs(dirty, pool, partition))
			all->flushes[all->count++] = (struct store_flush){
				.key = dirty->chunk->key, .done = on_chunk, .user = all};
	}
	expects(all->count == count);
	all->wait.done = on_log;
	log_flush(&view->store->disk, &view->jobs, &all->wait);
	/* The last of them may free it. */
	for (size_t i = 0; i < count; i++)
		store_flush(view, &all->flushes[i]);
}
