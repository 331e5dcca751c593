/* Goal: a member that has been in a later chain than the one it is told of, or has chunks of a
 * later epoch, keeps its copy as it is: it serves, changes, copies and removes nothing, in
 * whichever place of the chain, until the chain is as new. Method: one member alone, see
 * chain_change_rig.h. */
#include "tests/unit/chunkserver/chain/chain_change_rig.h"

/* As in another process, on the same disk. */
static void begin_anew(struct rig *rig)
{
	chain_free(rig->chain);
	rig_run(rig);
	rig->chain = chain_new(rig->env, POOL, PARTITION);
}

static void test_a_chain_older_than_the_one_that_was_is_refused(void **state)
{
	struct rig *rig = alone(A);

	(void)state;
	CHANGE(rig, 7, A, {B, IN}, {A, OUT});
	begin_anew(rig);
	CHANGE(rig, 6, A, {A, IN}, {B, IN});
	assert_true(chain_count(rig->chain).outdated);
	assert_false(chain_is_ready(rig->chain));
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 1, 0)), FRAME_STATUS_NOT_MINE);
	CHANGE(rig, 8, A, {A, IN});
	assert_false(chain_count(rig->chain).outdated);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

static void test_an_older_chain_ends_what_a_member_does(void **state)
{
	struct rig *rig = alone(A);

	(void)state;
	CHANGE(rig, 7, A, {A, IN});
	assert_true(chain_is_ready(rig->chain));
	CHANGE(rig, 6, A, {A, IN});
	assert_false(chain_is_ready(rig->chain));
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 1, 0)), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	/* Told of its own again. */
	CHANGE(rig, 7, A, {A, IN});
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

/* A target of before there were notes of epochs. */
static struct model_chunk *of_later_epoch(struct rig *rig, uint64_t file_id)
{
	struct chunk_key key = rig_key(file_id);
	struct model_chunk *chunk = model_chunk(&rig->store, &key);

	chunk->exists = true;
	chunk->version = 1;
	chunk->epoch = 9;
	chunk->blocks[0] = 7;
	return chunk;
}

static void test_a_head_does_not_change_a_chunk_of_a_later_epoch(void **state)
{
	struct rig *rig = alone(A);

	(void)state;
	(void)of_later_epoch(rig, 10);
	assert_int_equal(answer_to(rig, writes_to(rig, 10, 1)), FRAME_STATUS_NOT_READY);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(rig->troubles, 0);
	/* Of any other neither. */
	assert_int_equal(answer_to(rig, writes_to(rig, 11, 2)), FRAME_STATUS_NOT_READY);
	rig_free_all(rig);
}

static void test_a_walk_ends_at_a_chunk_of_a_later_epoch(void **state)
{
	struct rig *rig = with_syncing(1);

	(void)state;
	(void)of_later_epoch(rig, 20);
	successor_connects(rig);
	assert_int_equal(rig->sent_count, 0);
	assert_true(chain_count(rig->chain).outdated);
	rig_free_all(rig);
}

/* @file_id is compared as a chunk of the chain's epoch; 0: as one that is not there. */
static void compares_with(struct rig *rig, uint64_t file_id)
{
	struct catchup_compare compare = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};

	if (file_id != 0)
		compare.records[compare.count++] = (struct catchup_record){
			.key = {file_id, 0}, .epoch = 3, .version = 5, .base = 5, .length = 1};
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)),
			 FRAME_STATUS_NOT_READY);
	assert_true(chain_count(rig->chain).outdated);
}

static void test_a_chunk_of_a_later_epoch_is_not_copied_over(void **state)
{
	for (uint64_t there = 0; there < 2; there++) {
		struct rig *rig = alone(D);
		const struct model_chunk *chunk = of_later_epoch(rig, 20);

		(void)state;
		CHANGE(rig, 3, D, {A, IN}, {D, SYN});
		compares_with(rig, there == 0 ? 0 : 20);
		assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 0);
		assert_true(chunk->exists);
		rig_free_all(rig);
	}
}

static void test_a_chunk_of_a_later_epoch_is_not_removed(void **state)
{
	struct rig *rig = alone(D);
	struct catchup_compare compare = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};
	struct catchup_key key = {20, 0};
	struct frame_header header;
	struct buf *buf;

	(void)state;
	CHANGE(rig, 3, D, {A, IN}, {D, SYN});
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), FRAME_OK);
	(void)of_later_epoch(rig, 20);
	buf = model_buffer(NULL, CATCHUP_GONE_ALL_MAX);
	buf->length = (uint32_t)catchup_gone_encode(&key, 1, buf->data);
	header = rig_header(rig, FRAME_CATCHUP_COMPARE, 0);
	header.flags = FRAME_FORWARD;
	header.length = buf->length;
	assert_int_equal(answer_to(rig, rig_ask(rig, BEFORE, &header, buf)),
			 FRAME_STATUS_NOT_READY);
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 0);
	rig_free_all(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chain_older_than_the_one_that_was_is_refused),
		cmocka_unit_test(test_an_older_chain_ends_what_a_member_does),
		cmocka_unit_test(test_a_head_does_not_change_a_chunk_of_a_later_epoch),
		cmocka_unit_test(test_a_walk_ends_at_a_chunk_of_a_later_epoch),
		cmocka_unit_test(test_a_chunk_of_a_later_epoch_is_not_copied_over),
		cmocka_unit_test(test_a_chunk_of_a_later_epoch_is_not_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
