/* removal.c - the queue of files whose chunks are to be removed.
 *
 * 1. The last name of a file goes while no session has it open, or the last session closes it. The
 *    batch that frees the inode adds an entry to the queue (txn_remove_chunks()). A truncation to 0
 *    gives the inode a new file id, and queues the old one the same way.
 * 2. The removal thread (cluster/removals.c) reads the queue, as far as it is durable, names the
 *    chunks to all members of their chains, and waits for their answers.
 * 3. The log gets the entries whose chunks are gone, and they are dropped here.
 *
 * Failures:
 * - A member is away, or the chain changes meanwhile: the entry stays, and is walked again.
 * - The entry's end is lost in a power cut: the chunks are removed once more, which does no harm.
 * - The same entry is reported twice: it counts once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/records/core.h"
#include "master/state/state.h"

int state_removals(struct state *state, uint64_t after, struct state_removal *out, int max)
{
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	uint8_t start[8];
	int count = 0, rc = core_ready(state);

	if (rc != 0)
		return rc;
	if (state->counters.removals == 0 || after == UINT64_MAX)
		return 0; /* nearly always, and no scan over what has been deleted */
	key_u64(start, after + 1);
	rc = kv_iter_open(state->kv, FAMILY_REMOVALS, start, sizeof(start), NULL, 0, &iter);
	if (rc != 0)
		return rc;
	while (count < max && (rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		if (!meta_decode_removal(key, key_size, value, size, &out[count])) {
			rc = -EUCLEAN;
			break;
		}
		count++;
	}
	kv_iter_free(iter);
	return rc < 0 ? rc : count;
}

uint64_t state_removals_end(const struct state *state)
{
	return state->counters.next_removal;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int remove_entry(struct txn *txn, uint64_t sequence)
{
	uint8_t key[8], *value;
	size_t size;
	int rc;

	key_u64(key, sequence);
	rc = kv_get(txn->state->kv, FAMILY_REMOVALS, key, sizeof(key), &value, &size);
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	free(value);
	kv_batch_delete(txn->batch, FAMILY_REMOVALS, key, sizeof(key));
	txn->counters.removals--;
	return 0;
}

int state_removals_sound(struct state *state, const uint64_t *sequences, size_t count,
			 uint64_t *out)
{
	int sound = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t key[8], *value;
		size_t size;
		int rc;

		key_u64(key, sequences[i]);
		rc = kv_get(state->kv, FAMILY_REMOVALS, key, sizeof(key), &value, &size);
		if (rc == 0)
			free(value);
		else if (rc != -ENOENT && rc != -EUCLEAN)
			return rc;
		if (rc != -EUCLEAN)
			out[sound++] = sequences[i];
	}
	return sound;
}

int state_apply_removed(struct state *state, uint64_t index, const uint64_t *sequences,
			size_t count)
{
	struct txn *txn;
	uint64_t *sorted;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	/* An entry that is reported twice counts once, in one call or in two. */
	sorted = malloc((count + 1) * sizeof(*sorted));
	if (sorted == NULL)
		return -ENOMEM;
	if (count > 0)
		memcpy(sorted, sequences, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_numbers);
	txn = txn_begin(state, NULL, 0);
	for (size_t i = 0; i < count && rc == 0; i++)
		if (i == 0 || sorted[i] != sorted[i - 1])
			rc = remove_entry(txn, sorted[i]);
	free(sorted);
	return rc == 0 ? txn_commit(txn, index) : rc;
}
