/* replica.c - see replica.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/log/entry.h"
#include "master/log/log_hash.h"
#include "tests/lib/random.h"
#include "tests/sim/namespace/replica.h"

#define TAKEN_MAX 512u
#define BATCH_MAX 64u

struct taken {
	uint8_t *entry, *reply;
	size_t entry_size, reply_size;
	int status;
	uint64_t session, generation, lane;
	struct log_trace trace;
};

struct replica {
	struct fixture f;
	struct taken taken[TAKEN_MAX];
	size_t count;
	struct log_hash *hash, *first_hash;
	/* Of the first one, since the last entry that was taken. */
	const struct fixture *first;
	uint8_t *changes;
	size_t changes_size, changes_capacity;
};

/* What the first one changes, before it is known as which entry. */
static void collect(void *user, const struct kv_batch *batch)
{
	struct replica *replica = user;
	size_t size;
	const uint8_t *bytes = kv_batch_bytes(batch, &size);

	if (size > replica->changes_capacity - replica->changes_size) {
		replica->changes_capacity = 2 * (replica->changes_size + size);
		replica->changes = realloc(replica->changes, replica->changes_capacity);
		assert_non_null(replica->changes);
	}
	memcpy(replica->changes + replica->changes_size, bytes, size);
	replica->changes_size += size;
}

struct replica *replica_new(const struct fixture *first)
{
	struct replica *replica = calloc(1, sizeof(*replica));

	assert_non_null(replica);
	replica->f.name_mask = first->name_mask;
	assert_int_equal(kv_memory_copy(first->kv, &replica->f.kv), 0);
	assert_int_equal(fixture_open_state(&replica->f), 0);
	assert_int_equal(log_hash_new(&replica->hash), 0);
	assert_int_equal(log_hash_new(&replica->first_hash), 0);
	state_listen(replica->f.state, log_hash_changes, replica->hash);
	replica->first = first;
	state_listen(first->state, collect, replica);
	return replica;
}

static void forget_taken(struct replica *replica)
{
	for (size_t i = 0; i < replica->count; i++) {
		free(replica->taken[i].entry);
		free(replica->taken[i].reply);
	}
	replica->count = 0;
}

void replica_free(struct replica *replica)
{
	forget_taken(replica);
	if (replica->first->state != NULL)
		state_listen(replica->first->state, NULL, NULL);
	fixture_end(&replica->f);
	log_hash_free(replica->hash);
	log_hash_free(replica->first_hash);
	free(replica->changes);
	free(replica);
}

void replica_take(struct replica *replica, uint64_t index, const struct log_command *command,
		  int status, const struct command_result *result)
{
	struct taken *taken = &replica->taken[replica->count++];

	assert_true(replica->count <= TAKEN_MAX);
	*taken = (struct taken){.status = status,
				.session = result->session,
				.generation = result->generation,
				.lane = result->answer.lane,
				.reply_size = result->answer.reply_size};
	assert_int_equal(entry_encode(command, index, &taken->entry, &taken->entry_size), 0);
	taken->reply = malloc(taken->reply_size + 1);
	assert_non_null(taken->reply);
	if (taken->reply_size != 0)
		memcpy(taken->reply, result->answer.reply, taken->reply_size);
	log_hash_begin(replica->first_hash, taken->entry, taken->entry_size);
	log_hash_copied(replica->first_hash, replica->changes, replica->changes_size);
	assert_int_equal(log_hash_end(replica->first_hash, status, result, &taken->trace), 0);
	replica->changes_size = 0;
}

static void apply(struct replica *replica, const struct taken *taken)
{
	struct command_result result = {0};
	struct log_trace trace;
	struct entry *entry;
	int status;

	assert_int_equal(entry_decode(taken->entry, taken->entry_size, &entry), 0);
	log_hash_begin(replica->hash, taken->entry, taken->entry_size);
	status = command_apply(replica->f.state, entry->index, &entry->command, &result);
	assert_int_equal(log_hash_end(replica->hash, status, &result, &trace), 0);
	if (status != taken->status)
		print_error("entry %llu of kind %d: %d, the first one says %d\n",
			    (unsigned long long)entry->index, (int)entry->command.kind, status,
			    taken->status);
	assert_int_equal(status, taken->status);
	assert_int_equal(state_applied_index(replica->f.state), entry->index);
	assert_int_equal(result.session, taken->session);
	assert_int_equal(result.generation, taken->generation);
	assert_int_equal(result.answer.lane, taken->lane);
	assert_int_equal(result.answer.reply_size, taken->reply_size);
	if (result.answer.reply_size != 0)
		assert_memory_equal(result.answer.reply, taken->reply, result.answer.reply_size);
	if (memcmp(trace.hash, taken->trace.hash, LOG_HASH_BYTES) != 0)
		print_error("entry %llu of kind %d changes the store in another way than at the "
			    "first one\n",
			    (unsigned long long)entry->index, (int)entry->command.kind);
	assert_memory_equal(trace.hash, taken->trace.hash, LOG_HASH_BYTES);
	free(result.answer.reply);
	entry_free(entry);
}

static void assert_equal_family(struct kv *a, struct kv *b, unsigned family)
{
	const uint8_t *key_a, *key_b, *value_a, *value_b;
	size_t key_size_a, key_size_b, size_a, size_b;
	struct kv_iter *iter_a, *iter_b;
	int more_a, more_b;

	assert_int_equal(kv_iter_open(a, family, "", 0, NULL, 0, &iter_a), 0);
	assert_int_equal(kv_iter_open(b, family, "", 0, NULL, 0, &iter_b), 0);
	do {
		more_a = kv_iter_next(iter_a, &key_a, &key_size_a, &value_a, &size_a);
		more_b = kv_iter_next(iter_b, &key_b, &key_size_b, &value_b, &size_b);
		assert_int_equal(more_a, more_b);
		if (more_a != 1)
			break;
		assert_int_equal(key_size_a, key_size_b);
		assert_memory_equal(key_a, key_b, key_size_a);
		assert_int_equal(size_a, size_b);
		assert_memory_equal(value_a, value_b, size_a);
	} while (true);
	kv_iter_free(iter_a);
	kv_iter_free(iter_b);
}

void replica_catch_up(struct replica *replica, const struct fixture *first, uint64_t *random)
{
	/* What an entry leaves in memory only, the next one must not go by. */
	bool after_each = random_below(random, 8) == 0;

	for (size_t i = 0; i < replica->count;) {
		size_t end = i + 1 + (after_each ? 0 : (size_t)random_below(random, BATCH_MAX));

		state_batch_begin(replica->f.state);
		for (; i < end && i < replica->count; i++)
			apply(replica, &replica->taken[i]);
		assert_int_equal(state_batch_commit(replica->f.state), 0);
		if (after_each || random_below(random, 4) == 0) {
			assert_int_equal(fixture_reopen(&replica->f), 0);
			state_listen(replica->f.state, log_hash_changes, replica->hash);
		}
	}
	forget_taken(replica);
	for (unsigned family = 0; family < FAMILY_COUNT; family++)
		assert_equal_family(first->kv, replica->f.kv, family);
}
