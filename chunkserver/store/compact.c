/* compact.c - having the db let go of what was deleted from it. */
#include "chunkserver/store/compact.h"
#include <stdlib.h>
#include "chunkserver/disk/space.h"
#include "chunkserver/record/key.h"
#include "common/kv/kv.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define COMPACT_PART  4u /* of the reserve in deleted blocks is enough when a write was refused */
#define COMPACT_LEAST (64u << 10) /* bytes that came back: it may have helped */

struct compaction {
	struct job job;
	uint64_t garbage; /* as we counted it */
};

static void compact_run(struct job *job)
{
	struct compaction *compaction = container_of(job, struct compaction, job);
	struct store *store = view_of(job)->store;
	uint64_t before, after;

	space_refresh(&store->disk, true);
	before = atomic_load(&store->disk.space.available);
	if (kv_compact(store->disk.kv, FAMILY_INNER) != 0)
		return;
	space_refresh(&store->disk, true);
	after = atomic_load(&store->disk.space.available);
	log_debug("deleted blocks compacted away path=%s available_before=%llu available=%llu",
		  store->disk.path, (unsigned long long)before, (unsigned long long)after);
	/* Each time the db takes on a share of its oldest files: as long as that helps, again. */
	if (after > before + COMPACT_LEAST && after - before < compaction->garbage)
		atomic_fetch_add(&store->garbage, compaction->garbage - (after - before));
}

static void compact_after(struct job *job)
{
	struct store_view *view = view_of(job);

	free(container_of(job, struct compaction, job));
	if (view->jobs.closing)
		return;
	atomic_store(&view->store->compacting, false);
	compact_consider(view, false);
}

void compact_consider(struct store_view *view, bool refused)
{
	struct store *store = view->store;
	uint64_t garbage = atomic_load(&store->garbage);
	uint64_t least =
		refused ? store->disk.space.reserve / COMPACT_PART : store->disk.space.reserve;
	struct compaction *compaction;

	/* Values that live are written anew too, so it has to be worth while. */
	if (view->jobs.closing || garbage < least ||
	    (!refused && garbage < space_left(&store->disk) / 2) ||
	    atomic_exchange(&store->compacting, true))
		return;
	compaction = calloc(1, sizeof(*compaction));
	if (compaction == NULL) {
		atomic_store(&store->compacting, false);
		return;
	}
	compaction->garbage = atomic_exchange(&store->garbage, 0);
	jobs_start(&view->jobs, &compaction->job, compact_run, compact_after);
}
