/* Deletes the chunks of partitions that a target has no part in any more.
 *
 * Other targets have taken the place of these copies. At most one batch a tick and target is
 * removed. Before each batch the newest map is asked, and all of this must be so:
 *
 *   - the chain has an in-sync member whose server is online, and the target is no member;
 *   - the target's own chain, if there is one, is of the map's epoch and has nothing under way;
 *   - the target has not been told of a later epoch of the chain;
 *   - no chunk of the batch is of a later epoch.
 *
 * The partition may become the target's again while a batch is being removed. Its chain hears of
 * that when the batch has ended (purge_list_holds()), or chunks just copied might be deleted. */
#include "chunkserver/worker/purge.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/worker/members.h"
#include "chunkserver/worker/place.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "worker"

#define BATCH        128
#define SCANS_A_TICK 8u /* of partitions that turn out to be empty */
#define TRY_AGAIN_NS NS_PER_SEC

enum verdict { PURGE_NEVER, PURGE_NOT_NOW, PURGE_NOW };

static bool is_kept_elsewhere(const struct cluster_map *map, const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct map_server *server =
			cluster_map_target_server(map, chain->members[i].target_id);

		if (chain->members[i].state == MEMBER_IN_SYNC && server != NULL && server->online)
			return true;
	}
	return false;
}

static enum verdict judge(const struct worker_target *target, const struct purge *purge)
{
	struct worker *worker = target->worker;
	const struct map_chain *chain =
		cluster_map_chain(worker->map, purge->pool, purge->partition);
	const struct member *member;
	struct chain_counts counts;

	if (chain == NULL || chain->epoch == 0 || cluster_map_chain_head(chain) < 0 ||
	    cluster_map_chain_index(chain, target->entry.target_id) >= 0)
		return PURGE_NEVER;
	if (!is_kept_elsewhere(worker->map, chain))
		return PURGE_NOT_NOW;
	member = member_find(worker, purge->pool, purge->partition, target->entry.target_id);
	if (member == NULL)
		return PURGE_NOW;
	if (chain_epoch(member->chain) != chain->epoch)
		return PURGE_NEVER;
	counts = chain_count(member->chain);
	return counts.queued + counts.pending + counts.held > 0 ? PURGE_NOT_NOW : PURGE_NOW;
}

/* True when the map knows of all updates of these chunks. */
static bool map_is_newer(struct worker_target *target, const struct chunk_key *keys, int count)
{
	uint64_t epoch =
		cluster_map_chain(target->worker->map, keys[0].pool, keys[0].partition)->epoch;
	struct chunk_info info;

	for (int i = 0; i < count; i++) {
		int rc = store_info(target->view, &keys[i], &info);

		/* A chunk that cannot be read is of no use. */
		if (rc == 0 && info.exists && info.epoch > epoch)
			return false;
	}
	return true;
}

struct purge_batch {
	struct worker_target *target;
	int count;
	struct chunk_key last;
};

static void on_removed(void *user, int error)
{
	struct purge_batch *batch = user;
	struct worker_target *target = batch->target;
	struct worker *worker = target->worker;
	struct purge *purge = target->purging;
	uint32_t pool = purge->pool, partition = purge->partition;
	bool wanted = purge->wanted;

	expects(worker->background > 0);
	worker->background--;
	target->purging = NULL;
	if (error < 0) {
		target->purge_at_ns = clock_monotonic_ns() + TRY_AGAIN_NS;
	} else {
		purge->removed += (uint64_t)batch->count;
		purge->removed_now = true;
		purge->after = batch->last;
		purge->begun = true;
	}
	purge->wanted = false;
	free(batch);
	if (!wanted || worker->stopping)
		return;
	worker_event_begin(worker);
	place_again(worker, pool, partition);
	worker_event_end(worker);
}

static void remove_batch(struct worker_target *target, struct purge *purge,
			 const struct chunk_key *keys, int count)
{
	struct purge_batch *batch = calloc(1, sizeof(*batch));

	if (batch == NULL)
		return;
	expects(count > 0 && target->purging == NULL);
	batch->target = target;
	batch->count = count;
	batch->last = keys[count - 1];
	target->purging = purge;
	target->worker->background++;
	store_remove(target->view, keys, (size_t)count, on_removed, batch);
}

static void finish(struct worker_target *target, struct purge *purge)
{
	if (purge->removed > 0)
		log_info("partition purged: it is kept elsewhere uuid=%s pool=%" PRIu32
			 " partition=%" PRIu32 " chunks=%" PRIu64,
			 store_uuid(target->store), purge->pool, purge->partition, purge->removed);
	purge_list_drop(target, purge);
}

/* Returns 1 when the target has been told of a later chain, else 0. Errors: -errno. */
static int is_outdated(const struct worker_target *target, const struct purge *purge)
{
	uint64_t epoch =
		cluster_map_chain(target->worker->map, purge->pool, purge->partition)->epoch;
	uint64_t known;
	int rc = store_epoch(target->view, purge->pool, purge->partition, &known);

	if (rc == 0 && known > epoch)
		log_error("chunks are kept although the partition is elsewhere: the target has "
			  "been told of a later chain uuid=%s pool=%" PRIu32 " partition=%" PRIu32
			  " epoch=%" PRIu64 " known=%" PRIu64,
			  store_uuid(target->store), purge->pool, purge->partition, epoch, known);
	return rc < 0 ? rc : known > epoch;
}

/* Goes on with one partition. True: another one may follow in the same tick. */
static bool step(struct worker_target *target, struct purge *purge, uint64_t now_ns)
{
	struct chunk_key keys[BATCH];
	int count, outdated;

	switch (judge(target, purge)) {
	case PURGE_NEVER:
		purge_list_drop(target, purge);
		return true;
	case PURGE_NOT_NOW:
		purge_list_put_last(target, purge);
		return true;
	case PURGE_NOW:
		break;
	}
	outdated = is_outdated(target, purge);
	if (outdated < 0) {
		target->purge_at_ns = now_ns + TRY_AGAIN_NS;
		return false;
	}
	if (outdated > 0) {
		purge_list_drop(target, purge);
		return true;
	}
	count = store_scan(target->view, purge->pool, purge->partition,
			   purge->begun ? &purge->after : NULL, keys, BATCH);
	if (count < 0) {
		target->purge_at_ns = now_ns + TRY_AGAIN_NS;
		return false;
	}
	if (count == 0 && !purge->removed_now) {
		finish(target, purge);
		return true;
	}
	if (count == 0) {
		/* Once more from the start. */
		purge->begun = purge->removed_now = false;
		return true;
	}
	if (!map_is_newer(target, keys, count)) {
		log_error("chunks are kept although the partition is elsewhere: they are of a "
			  "later epoch than the cluster map uuid=%s pool=%" PRIu32
			  " partition=%" PRIu32,
			  store_uuid(target->store), purge->pool, purge->partition);
		purge_list_drop(target, purge);
		return true;
	}
	remove_batch(target, purge, keys, count);
	return false;
}

void purge_tick(struct worker *worker, uint64_t now_ns)
{
	if (worker->map == NULL || worker->placed != worker->map)
		return;
	for (unsigned i = 0; i < worker->options.store_count; i++) {
		struct worker_target *target = &worker->targets[i];

		if (target->failed || target->purging != NULL || now_ns < target->purge_at_ns)
			continue;
		for (unsigned n = 0; n < SCANS_A_TICK && target->purges != NULL; n++) {
			if (!step(target, target->purges, now_ns))
				break;
		}
	}
}
