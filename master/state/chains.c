/* chains.c - what is decided about chains: their changes, targets to be emptied, how fast
 * members are made equal. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "master/state/chain_change.h"
#include "master/records/core.h"
#include "master/state/state.h"

/* ---- chains ---- */

static bool chain_ok(struct cluster *cluster, const struct map_chain *chain)
{
	if (!chain_shape_ok(chain))
		return false;
	for (uint32_t i = 0; i < chain->count; i++)
		if (cluster_find_target(cluster, chain->members[i].target_id) == NULL)
			return false;
	return true;
}

/* Returns the epoch that follows @epoch, 0: of a chain that was never placed. No epoch is left out,
 * but those of lines that an acceptance has left behind. */
static uint64_t next_epoch(const struct state *state, uint64_t epoch)
{
	return (epoch == 0 ? state_epoch_base(state) : epoch) + 1;
}

/* Checks a change. An epoch names one set of members for ever. */
static bool change_ok(struct state *state, const struct chain_change *change)
{
	struct cluster *cluster = &state->cluster;
	const struct state_pool *pool = cluster_find_pool(cluster, change->pool);

	return pool != NULL && change->partition < pool->partitions &&
	       change->chain.epoch == next_epoch(state, pool->chains[change->partition].epoch) &&
	       chain_ok(cluster, &change->chain);
}

static int by_partition(const void *a, const void *b)
{
	const struct chain_change *x = *(const struct chain_change *const *)a;
	const struct chain_change *y = *(const struct chain_change *const *)b;

	if (x->pool != y->pool)
		return x->pool < y->pool ? -1 : 1;
	return x->partition < y->partition ? -1 : x->partition > y->partition;
}

/* -EINVAL: a partition is named twice. */
static int check_unique(const struct chain_change *changes, size_t count)
{
	const struct chain_change **sorted = malloc((count + 1) * sizeof(*sorted));
	int rc = 0;

	if (sorted == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &changes[i];
	qsort(sorted, count, sizeof(*sorted), by_partition);
	for (size_t i = 1; i < count; i++)
		if (by_partition(&sorted[i - 1], &sorted[i]) == 0)
			rc = -EINVAL;
	free(sorted);
	return rc;
}

static int check(struct state *state, const struct chain_change *changes, size_t change_count,
		 const struct chain_life *lives, size_t life_count)
{
	for (size_t i = 0; i < change_count; i++)
		if (!change_ok(state, &changes[i]))
			return -EINVAL;
	for (size_t i = 0; i < life_count; i++)
		if (cluster_find_target(&state->cluster, lives[i].target) == NULL)
			return -EINVAL;
	return check_unique(changes, change_count);
}

int state_apply_chains(struct state *state, uint64_t index, const struct chain_change *changes,
		       size_t change_count, const struct chain_life *lives, size_t life_count,
		       const uint64_t *fenced, size_t fenced_count)
{
	struct cluster *cluster = &state->cluster;
	uint64_t *kept;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	rc = check(state, changes, change_count, lives, life_count);
	if (rc != 0)
		return rc;
	kept = malloc((fenced_count + 1) * sizeof(*kept));
	if (kept == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < fenced_count; i++)
		kept[i] = fenced[i];
	txn = txn_begin(state, NULL, 0);
	if (change_count != 0)
		rc = cluster_put_fence(txn->batch, fenced, fenced_count);
	for (size_t i = 0; i < change_count; i++)
		cluster_put_chain(txn->batch, changes[i].pool, changes[i].partition,
				  &changes[i].chain);
	for (size_t i = 0; i < life_count; i++) {
		struct state_target target = *cluster_find_target(cluster, lives[i].target);

		target.life = lives[i].life;
		cluster_put_target(txn->batch, &target);
	}
	/* Lives are not in the map. */
	if (change_count != 0)
		txn->counters.map_version++;
	if (rc == 0)
		rc = txn_commit(txn, index);
	if (rc != 0) {
		free(kept);
		return rc;
	}
	if (change_count != 0) {
		free(cluster->fenced);
		cluster->fenced = kept;
		cluster->fenced_count = fenced_count;
	} else {
		free(kept);
	}
	for (size_t i = 0; i < change_count; i++) {
		struct map_chain *chain =
			&cluster_find_pool(cluster, changes[i].pool)->chains[changes[i].partition];

		expects(next_epoch(state, chain->epoch) == changes[i].chain.epoch);
		*chain = changes[i].chain;
	}
	for (size_t i = 0; i < life_count; i++)
		cluster_find_target(cluster, lives[i].target)->life = lives[i].life;
	return 0;
}

const uint64_t *state_fenced(const struct state *state, size_t *count)
{
	*count = state->cluster.fenced_count;
	return state->cluster.fenced;
}

/* ---- what administrators set ---- */

int state_apply_drain(struct state *state, uint64_t index, const uint32_t *targets, size_t count,
		      bool draining)
{
	struct cluster *cluster = &state->cluster;
	struct txn *txn;
	bool news = false;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		if (cluster_find_target(cluster, targets[i]) == NULL)
			return -ENOENT;
	txn = txn_begin(state, NULL, 0);
	for (size_t i = 0; i < count; i++) {
		struct state_target target = *cluster_find_target(cluster, targets[i]);

		news |= target.draining != draining;
		target.draining = draining;
		cluster_put_target(txn->batch, &target);
	}
	if (news)
		txn->counters.map_version++;
	rc = txn_commit(txn, index);
	for (size_t i = 0; rc == 0 && i < count; i++)
		cluster_find_target(cluster, targets[i])->draining = draining;
	return rc;
}

int state_apply_recovery(struct state *state, uint64_t index, const struct state_recovery *recovery)
{
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	cluster_put_recovery(txn->batch, recovery);
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->cluster.recovery = *recovery;
	return rc;
}

void state_recovery(const struct state *state, struct state_recovery *out)
{
	*out = state->cluster.recovery;
}
