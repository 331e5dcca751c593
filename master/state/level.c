/* level.c - the level of a state is stored, raised and never lowered.
 *
 * A program knows the levels up to its own, STATE_LEVEL. What a later level has brought must not be
 * passed over by those who do not know it: their state would not be that of others. So a store of
 * a later level is not opened. */
#include "master/state/level.h"
#include <errno.h>
#include <stdlib.h>
#include "master/records/core.h"

void level_put(struct kv_batch *batch, uint32_t level)
{
	uint8_t key[META_KEY_MAX], value[META_LEVEL_BYTES];

	meta_encode_level(level, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_LEVEL, 0), value, sizeof(value));
}

int level_load(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_LEVEL, 0), &value, &size);

	state->level = 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	if (!meta_decode_level(value, size, &state->level))
		rc = -EUCLEAN;
	free(value);
	return rc == 0 && state->level > STATE_LEVEL ? -EPROTONOSUPPORT : rc;
}

uint32_t state_level(const struct state *state)
{
	return state->level;
}

int state_apply_level(struct state *state, uint64_t index, uint32_t level)
{
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	if (level == 0 || level > STATE_LEVEL)
		return -EINVAL;
	if (level <= state->level)
		return 0;
	txn = txn_begin(state, NULL, 0);
	level_put(txn->batch, level);
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->level = level;
	return rc;
}
