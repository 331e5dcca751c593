/* shared.h - struct store: what all views of a target share. Whatever changes is atomic. */
#ifndef CATENA_CHUNKSERVER_CHUNK_SHARED_H
#define CATENA_CHUNKSERVER_CHUNK_SHARED_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/disk/disk.h"
#include "common/base/duration.h"

struct buf_pool;

struct store {
	struct disk disk;
	struct buf_pool *pool;
	uint64_t cache_bytes;
	unsigned files_max; /* open ones, per view */
	/* Patience of the background work; tests have less. */
	uint64_t flush_after_ns, rest_after_ns, migrate_idle_ns;
	uint32_t migrate_min; /* inner blocks of a long chunk that may stay */
	atomic_uint views;
	atomic_uint_fast64_t garbage; /* bytes of inner blocks deleted since the last compaction */
	atomic_bool compacting;
	atomic_uint_fast64_t last_flush_ns;   /* the last that the store's user asked for */
	atomic_uint_fast64_t unlink_after_ns; /* while flushes wait for the disk */
};

/* Flushes have priority. Within this time of one, background work pauses several times as long as
 * its last step took. */
#define FOREGROUND_NS (100 * NS_PER_MSEC)
static inline bool store_is_waited_for(const struct store *store, uint64_t now)
{
	return now <
	       atomic_load_explicit(&store->last_flush_ns, memory_order_relaxed) + FOREGROUND_NS;
}
#endif
