/* Goal: the master reads in each message what the chunkserver was told to say; what targets remember
 * goes out in parts. Method: messages are unpacked again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "catena.pb-c.h"
#include "chunkserver/server/seen_chains.h"
#include "chunkserver/server/server_batch.h"

static const struct target_report reports[2] = {
	{.uuid = "a",
	 .capacity = 1000,
	 .used = 10,
	 .full = true,
	 .life = 42,
	 .damaged = true,
	 .settled = true,
	 .seen = {.life = 2, .chance = 9, .version = 1ull << 40, .index = 77}},
	{.uuid = "b", .error = EIO},
};
static const uint32_t ids[2] = {10, 0};
static const struct target_reports targets = {reports, ids, 2};

/* Ends @data. */
static Catena__ServerBatch *unpacked(uint8_t *data, size_t size)
{
	Catena__ServerBatch *batch;

	assert_non_null(data);
	batch = catena__server_batch__unpack(NULL, size, data);
	free(data);
	assert_non_null(batch);
	return batch;
}

static void done_with(Catena__ServerBatch *batch)
{
	catena__server_batch__free_unpacked(batch, NULL);
}

static void test_a_registration_says_what_targets_have_seen(void **state)
{
	const struct server_registration server = {.cluster = "test",
						   .name = "cs",
						   .address = "h:1",
						   .rack = "r",
						   .workers = 3,
						   .instance = 5};
	size_t size;
	uint8_t *data = server_batch_register(&server, &targets, &size);
	Catena__ServerBatch *batch = unpacked(data, size);
	const Catena__Register *message = batch->registrations[0];

	assert_int_equal(batch->n_registrations, 1);
	assert_string_equal(message->cluster, "test");
	assert_string_equal(message->name, "cs");
	assert_string_equal(message->address, "h:1");
	assert_string_equal(message->host, "");
	assert_string_equal(message->rack, "r");
	assert_int_equal(message->workers, 3);
	assert_int_equal(message->protocol, 1);
	assert_int_equal(message->instance, 5);
	assert_int_equal(message->n_targets, 2);
	assert_string_equal(message->targets[0]->uuid, "a");
	assert_int_equal(message->targets[0]->target_id, 10);
	assert_int_equal(message->targets[0]->capacity, 1000);
	assert_int_equal(message->targets[0]->used, 10);
	assert_true(message->targets[0]->full);
	assert_int_equal(message->targets[0]->life, 42);
	assert_true(message->targets[0]->damaged);
	assert_true(message->targets[0]->settled);
	assert_int_equal(message->targets[0]->seen_life, 2);
	assert_int_equal(message->targets[0]->seen_chance, 9);
	assert_int_equal(message->targets[0]->seen_version, 1ull << 40);
	assert_int_equal(message->targets[0]->seen_index, 77);
	assert_int_equal(message->targets[1]->target_id, 0);
	assert_int_equal(message->targets[1]->error, EIO);
	done_with(batch);
}

static void test_a_heartbeat_has_room_for_all_that_a_status_has(void **state)
{
	static struct server_status status = {.leaving = true,
					      .map_version = 8,
					      .fence_version = 7,
					      .unreachable_count = MASTER_UNREACHABLE_MAX,
					      .catchup_count = MASTER_CATCHUPS_MAX,
					      .report_count = MASTER_REPORTS_MAX};
	const Catena__Heartbeat *message;
	Catena__ServerBatch *batch;
	uint8_t *data;
	size_t size;

	status.unreachable[MASTER_UNREACHABLE_MAX - 1] = 101;
	status.catchups[MASTER_CATCHUPS_MAX - 1] = (struct worker_catchup){.pool = 1,
									   .partition = 3,
									   .epoch = 9,
									   .target_id = 20,
									   .compared = 5,
									   .copied = 6,
									   .damaged = true};
	status.reports[MASTER_REPORTS_MAX - 1] = (struct report){.epoch = 4, .kind = 2};
	data = server_batch_heartbeat(12, &status, &targets, &size);
	batch = unpacked(data, size);
	message = batch->heartbeats[0];
	assert_int_equal(message->sequence, 12);
	assert_true(message->leaving);
	assert_int_equal(message->map_version, 8);
	assert_int_equal(message->fence_version, 7);
	assert_int_equal(message->n_unreachable, MASTER_UNREACHABLE_MAX);
	assert_int_equal(message->unreachable[MASTER_UNREACHABLE_MAX - 1], 101);
	assert_int_equal(message->n_catchups, MASTER_CATCHUPS_MAX);
	assert_int_equal(message->catchups[MASTER_CATCHUPS_MAX - 1]->target_id, 20);
	assert_int_equal(message->catchups[MASTER_CATCHUPS_MAX - 1]->copied, 6);
	assert_true(message->catchups[MASTER_CATCHUPS_MAX - 1]->damaged);
	assert_int_equal(batch->n_reports, MASTER_REPORTS_MAX);
	assert_int_equal(batch->reports[MASTER_REPORTS_MAX - 1]->epoch, 4);
	/* What targets remember is for registrations. */
	assert_int_equal(message->n_targets, 2);
	assert_int_equal(message->targets[0]->seen_life, 0);
	assert_false(message->targets[0]->settled);
	done_with(batch);
}

static void test_reports_and_removals_say_what_they_are_about(void **state)
{
	static const struct chunk_order again = {
		.key = {.pool = 1, .partition = 3, .file_id = 77, .index = 5}, .epoch = 8};
	const struct report report = {
		.pool = 1, .partition = 3, .epoch = 9, .target_id = 20, .kind = 1};
	Catena__ServerBatch *batch;
	uint8_t *data;
	size_t size;

	data = server_batch_reports(&report, 1, &size);
	batch = unpacked(data, size);
	assert_int_equal(batch->n_reports, 1);
	assert_int_equal(batch->reports[0]->pool, 1);
	assert_int_equal(batch->reports[0]->partition, 3);
	assert_int_equal(batch->reports[0]->epoch, 9);
	assert_int_equal(batch->reports[0]->target_id, 20);
	assert_int_equal(batch->reports[0]->kind, 1);
	done_with(batch);
	data = server_batch_removed(10, 99, -EIO, NULL, 0, &size);
	batch = unpacked(data, size);
	assert_int_equal(batch->removed[0]->target_id, 10);
	assert_int_equal(batch->removed[0]->sequence, 99);
	assert_int_equal(batch->removed[0]->error, EIO);
	assert_int_equal(batch->removed[0]->n_again, 0);
	done_with(batch);
	data = server_batch_removed(10, 100, 0, &again, 1, &size);
	batch = unpacked(data, size);
	assert_int_equal(batch->removed[0]->n_again, 1);
	assert_int_equal(batch->removed[0]->again[0]->partition, 3);
	assert_int_equal(batch->removed[0]->again[0]->file_id, 77);
	assert_int_equal(batch->removed[0]->again[0]->index, 5);
	assert_int_equal(batch->removed[0]->again[0]->epoch, 8);
	done_with(batch);
}

/* ---- what targets remember ---- */

static unsigned messages, chains_sent, ends;
static bool unsent; /* the next message does not go out */

static int on_send(void *user, const uint8_t *data, size_t size)
{
	Catena__ServerBatch *batch;

	if (unsent)
		return -ENOMEM;
	batch = catena__server_batch__unpack(NULL, size, data);
	assert_non_null(batch);
	assert_int_equal(batch->n_seen, 1);
	assert_string_equal(batch->seen[0]->uuid, "a");
	for (size_t i = 0; i < batch->seen[0]->n_chains; i++) {
		assert_int_equal(batch->seen[0]->chains[i]->partition, chains_sent++);
		assert_int_equal(batch->seen[0]->chains[i]->chain->epoch, chains_sent);
		assert_int_equal(batch->seen[0]->chains[i]->chain->n_members, 2);
		assert_int_equal(batch->seen[0]->chains[i]->chain->members[1]->target_id, 11);
	}
	messages++;
	ends += batch->seen[0]->last ? 1 : 0;
	done_with(batch);
	return 0;
}

static void add(struct seen_chains *chains, uint32_t partition)
{
	const struct map_chain chain = {.epoch = partition + 1,
					.count = 2,
					.members = {{10, MEMBER_IN_SYNC}, {11, MEMBER_SYNCING}}};

	assert_int_equal(seen_chains_add(chains, 1, partition, &chain), 0);
}

static void test_many_chains_go_out_in_parts_and_the_last_part_says_so(void **state)
{
	struct seen_chains *chains = seen_chains_new(on_send, NULL);

	assert_non_null(chains);
	messages = chains_sent = ends = 0;
	seen_chains_begin(chains, &reports[0]);
	for (uint32_t i = 0; i < SEEN_CHAINS_AT_ONCE * 2 + 3; i++)
		add(chains, i);
	assert_int_equal(messages, 2);
	assert_int_equal(ends, 0);
	seen_chains_end(chains);
	assert_int_equal(messages, 3);
	assert_int_equal(chains_sent, SEEN_CHAINS_AT_ONCE * 2 + 3);
	assert_int_equal(ends, 1);
	seen_chains_free(chains);
}

static void test_a_target_that_was_not_ended_leaves_nothing_to_the_next(void **state)
{
	struct seen_chains *chains = seen_chains_new(on_send, NULL);

	assert_non_null(chains);
	messages = chains_sent = ends = 0;
	seen_chains_begin(chains, &reports[1]);
	add(chains, 7);
	seen_chains_begin(chains, &reports[0]);
	seen_chains_end(chains);
	assert_int_equal(messages, 1);
	assert_int_equal(chains_sent, 0);
	assert_int_equal(ends, 1);
	seen_chains_free(chains);
}

static void test_a_part_that_does_not_go_out_ends_the_walk(void **state)
{
	struct seen_chains *chains = seen_chains_new(on_send, NULL);
	const struct map_chain chain = {.epoch = 1};
	uint32_t i = 0;

	assert_non_null(chains);
	messages = chains_sent = ends = 0;
	seen_chains_begin(chains, &reports[0]);
	for (; i < SEEN_CHAINS_AT_ONCE; i++)
		add(chains, i);
	unsent = true;
	assert_int_equal(seen_chains_add(chains, 1, i, &chain), -ENOMEM);
	unsent = false;
	assert_int_equal(messages, 0);
	seen_chains_free(chains);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_registration_says_what_targets_have_seen),
		cmocka_unit_test(test_a_heartbeat_has_room_for_all_that_a_status_has),
		cmocka_unit_test(test_reports_and_removals_say_what_they_are_about),
		cmocka_unit_test(test_many_chains_go_out_in_parts_and_the_last_part_says_so),
		cmocka_unit_test(test_a_target_that_was_not_ended_leaves_nothing_to_the_next),
		cmocka_unit_test(test_a_part_that_does_not_go_out_ends_the_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
