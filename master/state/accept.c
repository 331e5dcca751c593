/* accept.c - an older store goes on, although targets have seen what comes after it.
 *
 * All that was given out after the store is not known. So all numbers jump far ahead, chains take
 * the epochs that were heard, former lives are given up, and all chains are owed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/state/chain_faults.h"
#include "master/state/chain_change.h"
#include "master/records/core.h"
#include "master/state/fenced.h"
#include "master/state/lives.h"
#include "master/state/state.h"

/* Lets all numbers jump above those that were given out after this store. Another store may have
 * been accepted after this one was copied: each acceptance makes lives jump, too, so @lives tells
 * how many gaps to leave. Acceptances that no target has heard of are kept apart by chance. */
static void jump(struct counters *counters, const struct state_accept *accept, uint64_t lives)
{
	uint64_t times = lives / ACCEPT_LIFE_GAP + (lives % ACCEPT_LIFE_GAP > ACCEPT_LIFE_GAP / 2);
	uint64_t most = ID_END / ACCEPT_ID_GAP; /* there is no room for more */
	uint64_t gap = ACCEPT_ID_GAP * (times < most ? times + 1 : most) +
		       (accept->chance >> ACCEPT_CHANCE_SHIFT);
	uint64_t version = accept->seen_version >> MAP_CHANGE_BITS;

	if (!MANAGER_FAULTY(ACCEPT_IDS_SHORT)) {
		counters->next_ino += gap;
		counters->next_file_id += gap;
		counters->next_session += gap;
		counters->next_removal += gap;
	}
	if (counters->map_version < version)
		counters->map_version = version;
	counters->map_version += ACCEPT_VERSION_GAP;
	if (counters->next_target <= accept->seen_target)
		counters->next_target = accept->seen_target + 1;
	if (counters->next_server <= accept->seen_server)
		counters->next_server = accept->seen_server + 1;
}

/* Gives the numbers of which too few are left; NULL: there is room. Those that may have wrapped are
 * held below half of what they can be. */
static const char *without_room(const struct counters *counters)
{
	const struct {
		const char *what;
		uint64_t next, end;
	} numbers[] = {
		{"inodes", counters->next_ino, ID_END},
		{"files", counters->next_file_id, ID_END},
		{"sessions", counters->next_session, ID_END},
		{"removals", counters->next_removal, ID_END},
		{"maps", counters->map_version, UINT64_C(1) << (63 - MAP_CHANGE_BITS)},
		{"targets", counters->next_target, UINT64_C(1) << 31},
		{"servers", counters->next_server, UINT64_C(1) << 63},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (numbers[i].next == 0 || numbers[i].next >= numbers[i].end)
			return numbers[i].what;
	return NULL;
}

/* Returns how far the lives that targets have seen are ahead of the store's. */
static uint64_t lives_ahead(const struct state *state, const struct state_accept *accept)
{
	struct state_life last;

	state_life(state, &last);
	return accept->seen_life > last.number ? accept->seen_life - last.number : 0;
}

const char *state_accept_without_room(const struct state *state, const struct state_accept *accept)
{
	struct counters counters = state->counters;

	jump(&counters, accept, lives_ahead(state, accept));
	return without_room(&counters);
}

/* Targets that the store does not know keep the numbers that they have in the chains. */
static int take_targets(struct txn *txn, const struct state_accept *accept)
{
	for (size_t i = 0; i < accept->target_count; i++) {
		const struct state_accepted_target *from = &accept->targets[i];
		struct state_target target = {
			.id = from->id, .server_id = from->server.id, .life = from->life};

		if (from->id == 0 || from->server.id == 0 ||
		    cluster_find_target(&txn->state->cluster, from->id) != NULL)
			return -EINVAL;
		memcpy(target.uuid, from->uuid, sizeof(target.uuid));
		cluster_put_target(txn->batch, &target);
		cluster_put_server(txn->batch, &from->server);
	}
	return 0;
}

static int take_lives(struct txn *txn, const struct state_accept *accept)
{
	for (size_t i = 0; i < accept->life_count; i++) {
		const struct state_target *known =
			cluster_find_target(&txn->state->cluster, accept->lives[i].target);
		struct state_target target;

		if (known == NULL)
			return -EINVAL;
		target = *known;
		target.life = accept->lives[i].life;
		cluster_put_target(txn->batch, &target);
	}
	return 0;
}

static bool is_known(struct state *state, const struct state_accept *accept, uint32_t target)
{
	for (size_t i = 0; i < accept->target_count; i++)
		if (accept->targets[i].id == target)
			return true;
	return cluster_find_target(&state->cluster, target) != NULL;
}

static bool change_ok(struct state *state, const struct state_accept *accept,
		      const struct chain_change *change)
{
	const struct state_pool *pool = cluster_find_pool(&state->cluster, change->pool);

	if (pool == NULL || change->partition >= pool->partitions ||
	    !chain_shape_ok(&change->chain) ||
	    change->chain.epoch <= pool->chains[change->partition].epoch)
		return false;
	for (uint32_t i = 0; i < change->chain.count; i++)
		if (!is_known(state, accept, change->chain.members[i].target_id))
			return false;
	return true;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* -EUSERS: there would be too many servers or targets. */
static int check_room(const struct state *state, const struct state_accept *accept)
{
	const struct cluster *cluster = &state->cluster;
	size_t count = 0, servers = 0;
	uint64_t *ids;

	if (accept->target_count > STATE_TARGETS_MAX ||
	    cluster->target_count + accept->target_count > STATE_TARGETS_MAX)
		return -EUSERS;
	ids = malloc((cluster->server_count + accept->target_count + 1) * sizeof(*ids));
	if (ids == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < cluster->server_count; i++)
		ids[count++] = cluster->servers[i].id;
	for (size_t i = 0; i < accept->target_count; i++)
		ids[count++] = accept->targets[i].server.id;
	qsort(ids, count, sizeof(*ids), by_number);
	for (size_t i = 0; i < count; i++)
		servers += i == 0 || ids[i] != ids[i - 1] ? 1 : 0;
	free(ids);
	return servers <= STATE_SERVERS_MAX ? 0 : -EUSERS;
}

int state_apply_accept(struct state *state, uint64_t index, const struct state_accept *accept)
{
	struct state_life last;
	uint64_t number;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	if (accept->chance == 0)
		return -EINVAL;
	if (state->sessions != NULL)
		return -EBUSY;
	rc = check_room(state, accept);
	if (rc != 0)
		return rc;
	state_life(state, &last);
	number = last.number + lives_ahead(state, accept) + ACCEPT_LIFE_GAP;
	txn = txn_begin(state, NULL, 0);
	jump(&txn->counters, accept, lives_ahead(state, accept));
	if (without_room(&txn->counters) != NULL)
		return -EOVERFLOW;
	rc = take_targets(txn, accept);
	if (rc == 0)
		rc = take_lives(txn, accept);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < accept->chain_count; i++) {
		const struct chain_change *change = &accept->chains[i];

		if (!change_ok(state, accept, change))
			return -EINVAL;
		cluster_put_chain(txn->batch, change->pool, change->partition, &change->chain);
	}
	rc = cluster_put_fence(txn->batch, NULL, 0);
	/* Sessions were closed while something of them may still be on its way: no server serves
	 * before all have said that nothing is. */
	if (!MANAGER_FAULTY(ACCEPT_UNFENCED))
		fenced_put_owed(txn->batch, true);
	/* The former lives are this one's past no more: another store may have gone on from them.
	 */
	lives_forget(txn);
	for (size_t i = 0; i < accept->seen_count; i++)
		lives_give_up(txn, accept->seen[i].uuid, &accept->seen[i].seen);
	lives_accepted(txn, number, accept->chance);
	if (rc == 0)
		rc = lives_begin(txn, index, number, accept->chance);
	if (rc != 0)
		return rc;
	rc = txn_commit(txn, index);
	/* Memory has not followed the batch, and is read anew. */
	state->stale = true;
	return rc != 0 ? rc : core_ready(state);
}
