/* lives.c - the starts of the master that its store knows, and what targets have seen of them.
 *
 * Each start is a life: a number, one above the last, and chance. A target remembers the
 * highest life that it has met, the newest map, and how far the log was durable.
 *
 * A store may have been put back to an older copy, or be one of two copies of one directory. Then
 * it does not have that life; or has another of the same number; or began the next life before it
 * came to that map, or to that command. */
#include "master/state/lives.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/bytes.h"
#include "common/cluster/cluster_map.h"
#include "master/records/scan.h"
#include "master/state/chain_change.h"
#include "master/state/chain_faults.h"

#define LIVES_KEPT 65536u

static void put_life(struct kv_batch *batch, const struct state_life *life)
{
	uint8_t key[META_KEY_MAX], value[META_LIFE_BYTES];

	meta_encode_life(life, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_LIFE, life->number), value,
		     sizeof(value));
}

static int add_life(struct state *state, const struct state_life *life)
{
	size_t count = state->life_count;

	/* There is room up to the next power of two. */
	if ((count & (count - 1)) == 0) {
		struct state_life *bigger =
			realloc(state->lives, (count == 0 ? 1 : 2 * count) * sizeof(*bigger));

		if (bigger == NULL)
			return -ENOMEM;
		state->lives = bigger;
	}
	state->lives[state->life_count++] = *life;
	return 0;
}

static int load_life(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct state_life life;

	return meta_decode_life(get_be64(key + 1), value, size, &life) ? add_life(user, &life)
								       : -EUCLEAN;
}

static int load_accepted(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	struct meta_accepted accepted;
	size_t size;
	int rc =
		kv_get(state->kv, FAMILY_META, key, key_meta(key, META_ACCEPTED, 0), &value, &size);

	if (rc == -ENOENT) {
		state->accepted_life = state->accepted_chance = 0;
		return 0;
	}
	if (rc != 0)
		return rc;
	if (!meta_decode_accepted(value, size, &accepted)) {
		rc = -EUCLEAN;
	} else {
		state->accepted_life = accepted.life;
		state->accepted_chance = accepted.chance;
	}
	free(value);
	return rc;
}

int lives_load(struct state *state)
{
	int rc = load_accepted(state);

	return rc != 0 ? rc : scan_tag(state->kv, META_LIFE, load_life, state);
}

void lives_unload(struct state *state)
{
	free(state->lives);
	state->lives = NULL;
	state->life_count = 0;
}

int lives_begin(struct txn *txn, uint64_t index, uint64_t number, uint64_t chance)
{
	struct state *state = txn->state;
	struct state_life life = {.number = number,
				  .chance = chance,
				  .first_version = txn->counters.map_version,
				  .first_index = index};
	int rc = add_life(state, &life);

	if (rc != 0)
		return rc;
	put_life(txn->batch, &life);
	if (state->life_count > LIVES_KEPT) {
		uint8_t key[META_KEY_MAX];
		uint64_t oldest = state->lives[state->life_count - LIVES_KEPT - 1].number;

		kv_batch_delete(txn->batch, FAMILY_META, key, key_meta(key, META_LIFE, oldest));
	}
	return 0;
}

void lives_accepted(struct txn *txn, uint64_t number, uint64_t chance)
{
	uint8_t key[META_KEY_MAX], value[META_ACCEPTED_BYTES];

	meta_encode_accepted(&(struct meta_accepted){.life = number, .chance = chance}, value);
	kv_batch_put(txn->batch, FAMILY_META, key, key_meta(key, META_ACCEPTED, 0), value,
		     sizeof(value));
}

void lives_forget(struct txn *txn)
{
	static const uint8_t start = META_LIFE, end = META_LIFE + 1;
	static const uint8_t given_up = META_GIVEN_UP, given_up_end = META_GIVEN_UP + 1;

	kv_batch_delete_range(txn->batch, FAMILY_META, &start, 1, &end, 1);
	kv_batch_delete_range(txn->batch, FAMILY_META, &given_up, 1, &given_up_end, 1);
}

void lives_give_up(struct txn *txn, const char *uuid, const struct state_seen *seen)
{
	uint8_t key[META_GIVEN_UP_KEY_BYTES], value[META_GIVEN_UP_BYTES];

	meta_encode_seen(seen, value);
	kv_batch_put(txn->batch, FAMILY_META, key, meta_key_given_up(key, uuid), value,
		     sizeof(value));
}

/* Reads what the target had seen when its lives were given up. 1: nothing was. Else -errno. */
static int given_up_seen(const struct state *state, const char *uuid, struct state_seen *out)
{
	uint8_t key[META_GIVEN_UP_KEY_BYTES], *value;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, meta_key_given_up(key, uuid), &value, &size);

	if (rc != 0)
		return rc == -ENOENT ? 1 : rc;
	if (!meta_decode_seen(value, size, out))
		rc = -EUCLEAN;
	free(value);
	return rc;
}

void lives_begin_failed(struct state *state)
{
	expects(state->life_count > 0);
	state->life_count--;
}

void state_life(const struct state *state, struct state_life *out)
{
	memset(out, 0, sizeof(*out));
	if (state->life_count != 0)
		*out = state->lives[state->life_count - 1];
}

uint64_t state_epoch_base(const struct state *state)
{
	uint64_t count = state->accepted_life / ACCEPT_LIFE_GAP;
	uint64_t most = UINT64_MAX >> ACCEPT_COUNT_SHIFT;

	return (count < most ? count : most - 1) << ACCEPT_COUNT_SHIFT |
	       (state->accepted_chance >> ACCEPT_COUNT_SHIFT) << EPOCH_LINE_SHIFT;
}

/* Returns the index of the first life with a number not below @number. */
static size_t life_at(const struct state *state, uint64_t number)
{
	size_t low = 0, high = state->life_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (state->lives[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Judges by a life that is one of ours. */
static enum state_seen_verdict check_own(const struct state *state, size_t at,
					 const struct state_seen *seen)
{
	uint64_t version = seen->version >> MAP_CHANGE_BITS;
	const struct state_life *next;

	if (state->lives[at].chance != seen->chance)
		return STATE_SEEN_ANOTHER;
	if (at + 1 == state->life_count)
		return version > state->counters.map_version || seen->index > state->counters.index
			       ? STATE_SEEN_LATER
			       : STATE_SEEN_FINE;
	next = &state->lives[at + 1];
	return version >= next->first_version ||
			       (next->first_index != 0 && seen->index >= next->first_index)
		       ? STATE_SEEN_LATER
		       : STATE_SEEN_FINE;
}

/* Judges by a life that was given up by an administrator. The target said then how far it had
 * seen. */
static enum state_seen_verdict check_given_up(const struct state_seen *then,
					      const struct state_seen *seen)
{
	if (seen->life != then->life)
		return seen->life > then->life ? STATE_SEEN_LATER : STATE_SEEN_FINE;
	if (seen->chance != then->chance)
		return STATE_SEEN_ANOTHER;
	return seen->version > then->version || seen->index > then->index ? STATE_SEEN_LATER
									  : STATE_SEEN_FINE;
}

int state_check_seen(struct state *state, const char *uuid, const struct state_seen *seen,
		     enum state_seen_verdict *verdict)
{
	struct state_seen then;
	size_t at;
	int rc = core_ready(state);

	*verdict = STATE_SEEN_FINE;
	if (rc != 0)
		return rc; /* it may have no lives at all now */
	if (seen->life == 0 || MANAGER_FAULTY(IGNORE_SEEN))
		return 0; /* a target that has had to do with no master yet */
	at = life_at(state, seen->life);
	if (at == state->life_count) {
		*verdict = STATE_SEEN_LATER;
		return 0;
	}
	if (state->lives[at].number == seen->life) {
		*verdict = check_own(state, at, seen);
		return 0;
	}
	/* One that began after the acceptance, and is not kept any more, is our own past. */
	if (seen->life >= state->accepted_life)
		return 0;
	rc = given_up_seen(state, uuid, &then);
	if (rc == 0)
		*verdict = check_given_up(&then, seen);
	return rc < 0 ? rc : 0;
}
