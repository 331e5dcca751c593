/* state.c - the state machine's store is made, read and closed. */
#include "master/state/state.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "common/kv/kv_overlay.h"
#include "master/records/core.h"
#include "master/state/fenced.h"
#include "master/state/level.h"
#include "master/state/lives.h"
#include "master/state/tree_lease.h"

/* ---- opening ---- */

static bool options_ok(const char *cluster, const struct state_options *options)
{
	size_t size = strlen(cluster);

	return size > 0 && size < CLUSTER_ID_MAX && options->copies >= 1 &&
	       options->copies <= CHAIN_MEMBERS_MAX && options->partitions >= 1 &&
	       options->partitions <= PARTITIONS_MAX && options->chunk_size >= CHUNK_SIZE_MIN &&
	       options->chunk_size <= CHUNK_SIZE_MAX && options->chunk_size % CHUNK_SIZE_MIN == 0;
}

static void put_root(struct kv_batch *batch, int64_t now)
{
	struct inode_record root = {
		.ino = ROOT_INO,
		.mode = S_IFDIR | 0755,
		.nlink = 2,
		.pool = DEFAULT_POOL,
		.size = DIRECTORY_BYTES,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.version = 1,
		.parent = ROOT_INO,
	};
	uint8_t key[8], value[INODE_VALUE_BYTES];

	key_u64(key, ROOT_INO);
	value_encode_inode(&root, value);
	kv_batch_put(batch, FAMILY_INODES, key, sizeof(key), value, sizeof(value));
}

static void put_super(struct kv_batch *batch, const uint8_t name_key[NAME_KEY_BYTES],
		      uint64_t instance, const char *cluster)
{
	uint8_t key[META_KEY_MAX], value[META_SUPER_BYTES_MAX];
	struct meta_super super = {.instance = instance};

	memcpy(super.name_key, name_key, NAME_KEY_BYTES);
	memcpy(super.cluster_id, cluster, strnlen(cluster, CLUSTER_ID_MAX - 1));
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SUPER, 0), value,
		     meta_encode_super(&super, value));
}

static void put_default_pool(struct kv_batch *batch, const struct state_options *options)
{
	struct state_pool pool = {
		.id = DEFAULT_POOL,
		.copies = options->copies,
		.partitions = options->partitions,
		.chunk_size = options->chunk_size,
		.failure_domain = options->failure_domain,
		.name = "default",
	};

	cluster_put_pool(batch, &pool);
}

int state_init(struct kv *kv, const char *cluster, const struct state_options *options)
{
	struct counters counters = {
		.next_ino = ROOT_INO + 1,
		.next_file_id = 1,
		.next_session = 1,
		.next_server = 1,
		.next_removal = 1,
		.next_target = 1,
		.map_version = 1,
		.inodes = 1,
	};
	uint8_t key[META_KEY_MAX], *old;
	uint8_t value[COUNTERS_VALUE_BYTES];
	struct kv_batch *batch;
	size_t size;
	int rc;

	if (!options_ok(cluster, options))
		return -EINVAL;
	rc = kv_get(kv, FAMILY_META, key, key_meta(key, META_SUPER, 0), &old, &size);
	if (rc != -ENOENT) {
		if (rc == 0)
			free(old);
		return rc == 0 ? -EEXIST : rc;
	}
	batch = kv_batch_new();
	if (batch == NULL)
		return -ENOMEM;
	put_super(batch, options->name_key, options->instance == 0 ? 1 : options->instance,
		  cluster);
	value_encode_counters(&counters, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), value,
		     sizeof(value));
	level_put(batch, STATE_LEVEL);
	put_root(batch, options->time);
	put_default_pool(batch, options);
	rc = kv_write(kv, batch, true);
	kv_batch_free(batch);
	return rc;
}

static int load_super(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	struct meta_super super;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_SUPER, 0), &value, &size);

	if (rc != 0)
		return rc;
	if (meta_decode_super(value, size, &super)) {
		memcpy(state->name_key, super.name_key, NAME_KEY_BYTES);
		state->instance = super.instance;
		memcpy(state->cluster_id, super.cluster_id, CLUSTER_ID_MAX);
	} else {
		rc = -EUCLEAN;
	}
	free(value);
	return rc;
}

static int load_counters(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc =
		kv_get(state->kv, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), &value, &size);

	if (rc != 0)
		return rc == -ENOENT ? -EUCLEAN : rc;
	if (!value_decode_counters(value, size, &state->counters))
		rc = -EUCLEAN;
	free(value);
	return rc;
}

static void free_tables(struct state *state)
{
	tree_lease_unload(state);
	fenced_unload(state);
	appends_unload(state);
	sessions_unload(state);
	cluster_unload(state);
	lives_unload(state);
}

static void unload(struct state *state)
{
	free_tables(state);
	cache_inode_clear(state->inodes);
	cache_dentry_clear(state->dentries);
}

int state_reload(struct state *state)
{
	int rc;

	unload(state);
	rc = load_super(state);
	/* Before what a later level may have another form of. */
	if (rc == 0)
		rc = level_load(state);
	if (rc == 0)
		rc = load_counters(state);
	if (rc == 0)
		rc = lives_load(state);
	if (rc == 0)
		rc = cluster_load(state);
	if (rc == 0)
		rc = sessions_load(state);
	if (rc == 0)
		rc = tree_lease_load(state);
	if (rc == 0)
		rc = fenced_load(state);
	if (rc == 0)
		rc = appends_load(state);
	state->stale = rc != 0;
	return rc;
}

int state_apply_start(struct state *state, uint64_t index, const struct state_start *start,
		      uint64_t id_gap)
{
	struct state_life last;
	struct txn *txn;
	uint64_t instance;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	if (start->instance == 0 || start->chance == 0 || id_gap == 0 || id_gap > STATE_ID_GAP_MAX)
		return -EINVAL;
	state_life(state, &last);
	instance = state->instance;
	txn = txn_begin(state, NULL, 0);
	/* Without numbers there is still removing. */
	txn->counters.next_ino = id_skip(txn->counters.next_ino, id_gap);
	txn->counters.next_file_id = id_skip(txn->counters.next_file_id, id_gap);
	txn->counters.next_session = id_skip(txn->counters.next_session, id_gap);
	/* The maps of this life are newer than all before: see shared/published_map.h. */
	txn->counters.map_version++;
	if (instance == 0) {
		instance = start->instance;
		put_super(txn->batch, state->name_key, instance, state->cluster_id);
	}
	rc = lives_begin(txn, index, last.number + 1, start->chance);
	if (rc != 0)
		return rc;
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->instance = instance;
	else
		lives_begin_failed(state);
	return rc;
}

int state_open(struct kv *kv, struct state **out, char *error, size_t error_size)
{
	struct state *state = calloc(1, sizeof(*state));
	int rc = -ENOMEM;

	if (state == NULL)
		goto out;
	rc = kv_overlay_open(kv, &state->kv);
	if (rc != 0)
		goto out;
	rc = -ENOMEM;
	state->reload = state_reload;
	state->name_mask = UINT64_MAX;
	state->inodes = cache_inode_new();
	state->dentries = cache_dentry_new();
	state->txn.batch = kv_batch_new();
	if (state->inodes == NULL || state->dentries == NULL || state->txn.batch == NULL)
		goto out;
	rc = state_reload(state);
out:
	if (rc == 0) {
		*out = state;
		return 0;
	}
	if (rc == -EPROTONOSUPPORT)
		snprintf(error, error_size,
			 "this store is of level %u, this program knows %u: use the newer "
			 "catena-master",
			 state->level, STATE_LEVEL);
	else
		snprintf(error, error_size, "%s",
			 rc == -ENOENT    ? "the store is not initialised"
			 : rc == -EUCLEAN ? "the store is damaged or of another version"
					  : strerror(-rc));
	state_close(state);
	return rc;
}

void state_close(struct state *state)
{
	if (state == NULL)
		return;
	free_tables(state);
	cache_inode_free(state->inodes);
	cache_dentry_free(state->dentries);
	kv_batch_free(state->txn.batch);
	kv_close(state->kv);
	free(state);
}

void state_batch_begin(struct state *state)
{
	kv_overlay_begin(state->kv);
}

int state_batch_commit(struct state *state)
{
	int rc = kv_overlay_commit(state->kv);

	if (rc != 0)
		state->stale = true;
	return rc;
}

void state_batch_abandon(struct state *state)
{
	kv_overlay_abandon(state->kv);
	state->stale = true;
}

size_t state_batch_size(const struct state *state)
{
	return kv_overlay_size(state->kv);
}

void state_report_to(struct state *state, state_report_fn *report)
{
	state->report = report;
}

void state_listen(struct state *state, void (*listen)(void *user, const struct kv_batch *batch),
		  void *user)
{
	kv_overlay_listen(state->kv, listen, user);
}

const char *state_cluster(const struct state *state)
{
	return state->cluster_id;
}

uint64_t state_instance(const struct state *state)
{
	return state->instance;
}

uint64_t state_applied_index(const struct state *state)
{
	return state->counters.index;
}

int state_apply_nothing(struct state *state, uint64_t index)
{
	int rc = core_ready(state);

	return rc != 0 ? rc : txn_commit(txn_begin(state, NULL, 0), index);
}

void state_counts(const struct state *state, struct state_counts *out)
{
	out->inodes = state->counters.inodes;
	out->orphans = state->counters.orphans;
	out->removals = state->counters.removals;
	out->allocated_bytes = state->counters.bytes;
}
