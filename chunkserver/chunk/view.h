/* view.h - struct store_view: what one loop has of a target.
 *
 * Thread: a view and its chunks belong to the loop's thread alone. Pool threads run jobs, and see
 * the disk, a file and what their job carries, never a chunk. */
#ifndef CATENA_CHUNKSERVER_CHUNK_VIEW_H
#define CATENA_CHUNKSERVER_CHUNK_VIEW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "common/base/list.h"
#include "chunkserver/disk/jobs.h"
#include "chunkserver/chunk/shared.h"

struct change;
struct chunk;
struct plan;

struct store_view {
	struct store *store;
	struct jobs jobs; /* of the view's loop */
	uv_timer_t timer;
	unsigned timer_ms; /* 0: it does not run */

	void (*tick)(struct store_view *view, uint64_t now); /* what the timer does */
	bool round_due;    /* all dirty chunks are to be looked at soon, */
	uint64_t round_ns; /* and from this time on in any case */
	uint64_t last_round_ns;

	struct chunk **buckets;
	size_t bucket_count, chunk_count;
	struct list lru;
	size_t cache_used;

	struct list files;
	unsigned file_count;
	struct list dirty;
	unsigned dirty_count, settling;
	struct list migrate;
	bool migrating;
	uint64_t migrate_after_ns;
	struct list unlinks; /* struct removal, with files that are there still */
	bool unlinking;

	struct change *change; /* scratch of change_begin() */
	struct plan *free_plans;
	unsigned free_plan_count;
};

static inline struct store_view *view_of(const struct job *job)
{
	return container_of(job->jobs, struct store_view, jobs);
}
#endif
