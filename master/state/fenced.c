/* fenced.c - which sessions were ended by fence.
 *
 * Each is a record, so that it holds over a restart of the master: a fenced session does nothing
 * more, whatever of it is still on its way. Ids of sessions that were closed without a fence need
 * no record: nothing of them was under way. */
#include "master/state/fenced.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/bytes.h"
#include "master/records/scan.h"
#include "master/state/state.h"

/* ---- the table ---- */

/* Returns the index of the first id not below @id. */
static size_t ended_at(const struct ended_sessions *ended, uint64_t id)
{
	size_t low = 0, high = ended->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ended->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* -ENOMEM. */
static int ended_reserve(struct ended_sessions *ended)
{
	size_t capacity = ended->capacity == 0 ? 16 : ended->capacity * 2;
	uint64_t *bigger;

	if (ended->count < ended->capacity)
		return 0;
	bigger = realloc(ended->ids, capacity * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	ended->ids = bigger;
	ended->capacity = capacity;
	return 0;
}

/* Adds an id; there is room for it. */
static void ended_add(struct ended_sessions *ended, uint64_t id)
{
	size_t at = ended_at(ended, id);

	if (at < ended->count && ended->ids[at] == id)
		return;
	expects(ended->count < ended->capacity);
	memmove(&ended->ids[at + 1], &ended->ids[at], (ended->count - at) * sizeof(*ended->ids));
	ended->ids[at] = id;
	ended->count++;
}

static void ended_drop_below(struct ended_sessions *ended, uint64_t floor)
{
	size_t gone = ended_at(ended, floor);

	if (gone == 0)
		return;
	ended->count -= gone;
	memmove(ended->ids, &ended->ids[gone], ended->count * sizeof(*ended->ids));
}

const uint64_t *state_ended_sessions(const struct state *state, size_t *count)
{
	*count = state->ended.count;
	return state->ended.ids;
}

bool state_session_is_fenced(const struct state *state, uint64_t id)
{
	const struct session *session = session_find(state, id);

	return session != NULL && session->fenced;
}

/* Returns the floor as it is without the session @except. */
static uint64_t floor_without(const struct state *state, uint64_t except)
{
	uint64_t floor = state->counters.next_session;

	for (const struct session *s = state->sessions; s != NULL; s = s->hh.next)
		if (s->id != except && s->id < floor)
			floor = s->id;
	return floor;
}

uint64_t state_session_floor(const struct state *state)
{
	return floor_without(state, 0);
}

/* ---- records ---- */

static int load_owed(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_OWED, 0), &value, &size);

	state->fences_owed = rc == 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	rc = meta_decode_flag(value, size) ? 0 : -EUCLEAN;
	free(value);
	return rc;
}

static int load_ended(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	uint64_t id = get_be64(key + 1);
	struct state *state = user;
	struct session *session;
	int rc = meta_decode_flag(value, size) ? ended_reserve(&state->ended) : -EUCLEAN;

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session != NULL)
		session->fenced = true;
	ended_add(&state->ended, id);
	return 0;
}

int fenced_load(struct state *state)
{
	int rc = load_owed(state);

	return rc == 0 ? scan_tag(state->kv, META_ENDED, load_ended, state) : rc;
}

void fenced_unload(struct state *state)
{
	free(state->ended.ids);
	state->ended = (struct ended_sessions){0};
}

/* ---- commands ---- */

int state_apply_session_fence(struct state *state, uint64_t index, uint64_t id)
{
	uint8_t key[META_KEY_MAX], value[META_FLAG_BYTES];
	struct session *session;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL)
		return -ENOENT;
	rc = ended_reserve(&state->ended);
	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	if (!session->fenced) {
		meta_encode_flag(value);
		kv_batch_put(txn->batch, FAMILY_META, key, key_meta(key, META_ENDED, id), value,
			     sizeof(value));
		txn->counters.map_version++;
	}
	rc = txn_commit(txn, index);
	if (rc != 0)
		return rc;
	session->fenced = true;
	ended_add(&state->ended, id);
	return 0;
}

void fenced_put_owed(struct kv_batch *batch, bool owed)
{
	uint8_t key[META_KEY_MAX], value[META_FLAG_BYTES];

	meta_encode_flag(value);
	if (owed)
		kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_OWED, 0), value,
			     sizeof(value));
	else
		kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_OWED, 0));
}

int state_apply_fences_owed(struct state *state, uint64_t index, bool owed)
{
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	fenced_put_owed(txn->batch, owed);
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->fences_owed = owed;
	return rc;
}

bool state_fences_owed(const struct state *state)
{
	return state->fences_owed;
}

void fenced_batch_close(const struct state *state, struct kv_batch *batch,
			const struct session *session)
{
	uint64_t floor = floor_without(state, session->id);
	uint8_t key[META_KEY_MAX];

	for (size_t i = 0; i < state->ended.count && state->ended.ids[i] < floor; i++)
		kv_batch_delete(batch, FAMILY_META, key,
				key_meta(key, META_ENDED, state->ended.ids[i]));
}

void fenced_closed(struct state *state)
{
	ended_drop_below(&state->ended, floor_without(state, 0));
}
