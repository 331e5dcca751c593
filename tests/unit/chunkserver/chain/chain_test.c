/* Goal: a chain member treats updates and flushes as the chain asks in every role, case by case.
 * Method: one member alone; the test plays its clients, neighbours and store (chain_rig.h). Links,
 * reads and changes are in chain_link_test.c; whole chains in trouble are simulated in
 * tests/sim/chain/chain_test.c. */
#include "tests/unit/chunkserver/chain/chain_change_rig.h"

/* ---- updates ---- */

static void test_a_client_is_answered_after_the_successor(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 2, 0);

	(void)state;
	assert_int_equal(rig->sent_count, 0); /* not forwarded before the own commit */
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(rig->sent[0].header.op, FRAME_WRITE);
	assert_int_equal(rig->sent[0].header.version, 1);
	assert_int_equal(rig->sent[0].header.flags, FRAME_FORWARD);
	assert_int_equal(rig->sent[0].header.arg, 2);
	assert_int_equal(rig->sent[0].header.client_id, 5);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_durable_write_waits_for_the_own_disk_too(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 1, FRAME_DURABLE);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent[0].header.flags, FRAME_FORWARD | FRAME_DURABLE);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	rig_end(rig, CHAIN_FLUSH, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_failed_flush_is_never_acknowledged(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t flush;

	(void)state;
	flush = rig_flush(rig, BEFORE);
	rig_end(rig, CHAIN_FLUSH, -EIO);
	assert_int_equal(rig->troubles, 1);
	assert_int_equal(answer_to(rig, flush), NO_ANSWER);
	chain_store_failed(rig->env);
	rig_run(rig);
	assert_int_equal(answer_to(rig, flush), FRAME_STATUS_GAP);
	rig_free_all(rig);
}

static void test_updates_that_do_not_overlap_are_prepared_together(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	client_writes(rig, 1, 0, 2, 0);
	client_writes(rig, 2, 2, 2, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 2);
	client_writes(rig, 3, 1, 1, 0); /* overlaps the first */
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 2);
	rig_free_all(rig);
}

static void test_a_truncation_goes_alone(void **state)
{
	struct rig *rig = rig_up(0);
	struct frame_header header;

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	header = rig_header(rig, FRAME_TRUNCATE, 1);
	header.offset = 6 * BLOCK_SIZE;
	header.op_id = 2;
	rig_ask(rig, CLIENT, &header, NULL);
	client_writes(rig, 3, 3, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_free_all(rig);
}

static void test_commits_come_in_the_order_of_versions(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t one = predecessor_writes(rig, 1, 0), two = predecessor_writes(rig, 2, 1);
	struct chain_action first = rig->operations[0];

	(void)state;
	rig->operations[0] = rig->operations[1];
	rig->operations[1] = first;
	rig_end(rig, CHAIN_PREPARE, 0); /* of the second */
	assert_int_equal(answer_to(rig, two), NO_ANSWER);
	assert_int_equal(
		model_chunk(&rig->store, &(struct chunk_key){POOL, PARTITION, 1, 0})->version, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, one), FRAME_OK);
	assert_int_equal(answer_to(rig, two), FRAME_OK);
	assert_int_equal(
		model_chunk(&rig->store, &(struct chunk_key){POOL, PARTITION, 1, 0})->version, 2);
	rig_free_all(rig);
}

static void test_a_middle_member_answers_after_its_successor(void **state)
{
	struct rig *rig = rig_up(1);
	uint64_t write = predecessor_writes(rig, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent[0].header.version, 1);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_single_member_answers_alone(void **state)
{
	struct rig *rig = rig_new(0, 1);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

/* ---- repetitions ---- */

static void test_a_repeated_update_under_way_is_applied_once_and_answered_twice(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t one = client_writes(rig, 1, 0, 1, 0), two = client_writes(rig, 1, 0, 1, 0), three;

	(void)state;
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	three = client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(rig->sent_count, 1);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, one), FRAME_OK);
	assert_int_equal(answer_to(rig, two), FRAME_OK);
	assert_int_equal(answer_to(rig, three), FRAME_OK);
	rig_free_all(rig);
}

static void test_an_update_applied_before_is_passed_on_with_its_version(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t again;

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	client_writes(rig, 2, 1, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	again = client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(rig->sent[0].header.version, 1);
	assert_int_equal(answer_to(rig, again), NO_ANSWER);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, again), FRAME_OK);
	assert_int_equal(rig->store.chunks[0]->version, 2);
	rig_free_all(rig);
}

static void test_a_member_passes_on_what_it_already_has(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t again;

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	again = predecessor_writes(rig, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(answer_to(rig, again), FRAME_OK);
	rig_free_all(rig);
}

/* ---- refusals ---- */

static void test_wrong_epochs_roles_and_shapes_are_refused(void **state)
{
	struct rig *rig = rig_up(1);
	struct frame_header header = rig_header(rig, FRAME_WRITE, 1), other;

	(void)state;
	header.length = BLOCK_SIZE;
	header.op_id = 1;
	assert_int_equal(refusal(rig, CLIENT, header), FRAME_STATUS_NOT_HEAD);
	other = header;
	other.epoch++;
	assert_int_equal(refusal(rig, CLIENT, other), FRAME_STATUS_EPOCH);
	other = header;
	other.flags = FRAME_FORWARD;
	assert_int_equal(refusal(rig, CLIENT, other), EACCES);
	assert_int_equal(refusal(rig, BEFORE, header), EACCES); /* a server as a client */
	other.version = 1;
	rig->self = 2; /* asks as server 3, which is not before us */
	assert_int_equal(refusal(rig, BEFORE, other), EACCES);
	rig->self = 1;
	other.offset = MODEL_BYTES;
	assert_int_equal(refusal(rig, BEFORE, other), EINVAL);
	other.offset = 0;
	other.version = 0;
	assert_int_equal(refusal(rig, BEFORE, other), EINVAL);
	rig_free_all(rig);
}

static void test_a_head_refuses_without_lease_or_link(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	rig->lease_until = rig->now;
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 1, 0)), FRAME_STATUS_NO_LEASE);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NO_LEASE);
	rig->lease_until = rig->now + 1;
	chain_connection(rig->chain, 0);
	rig_run(rig);
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 1, 0)), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), NO_ANSWER); /* it reads */
	assert_int_equal(rig_operations(rig, CHAIN_READ), 1);
	rig_free_all(rig);
}

static void test_a_gap_is_refused_until_there_was_a_comparison(void **state)
{
	struct rig *rig = rig_up(2);

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, predecessor_writes(rig, 3, 0)), FRAME_STATUS_GAP);
	assert_int_equal(answer_to(rig, predecessor_writes(rig, 2, 0)), FRAME_STATUS_GAP);
	inbound_comes_up(rig);
	assert_int_equal(answer_to(rig, predecessor_writes(rig, 2, 0)), NO_ANSWER);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->store.chunks[0]->version, 2);
	rig_free_all(rig);
}

/* ---- flushes ---- */

static void test_a_flush_waits_for_updates_before_it_and_is_forwarded_behind_them(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t flush;

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	flush = rig_flush(rig, CLIENT);
	assert_int_equal(rig_operations(rig, CHAIN_FLUSH), 0);
	assert_int_equal(rig->sent_count, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent_count, 2);
	assert_int_equal(rig->sent[1].header.op, FRAME_FLUSH);
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, flush), NO_ANSWER);
	rig->answer_count = 0;
	rig_end(rig, CHAIN_FLUSH, 0);
	assert_int_equal(rig->answers[0].header.request_id, flush);
	assert_int_equal(rig->answers[0].header.version, 1);
	rig_free_all(rig);
}

static void test_an_update_behind_a_flush_does_not_hold_it_up(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t flush = rig_flush(rig, BEFORE);

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_FLUSH, 0);
	assert_int_equal(answer_to(rig, flush), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_flush_of_what_was_lost_with_the_power_fails(void **state)
{
	struct rig *rig = rig_up(0);
	struct frame_header header = rig_header(rig, FRAME_FLUSH, 1);

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	header.version = 2;
	assert_int_equal(answer_to(rig, rig_ask(rig, CLIENT, &header, NULL)), FRAME_STATUS_LOST);
	header.version = 1;
	assert_int_equal(answer_to(rig, rig_ask(rig, CLIENT, &header, NULL)), NO_ANSWER);
	assert_int_equal(rig_operations(rig, CHAIN_FLUSH), 1);
	rig_free_all(rig);
}

static void test_an_update_after_what_was_lost_with_the_power_is_refused(void **state)
{
	struct rig *rig = rig_up(0);
	struct frame_header header = rig_header(rig, FRAME_WRITE, 1);

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	/* It would get number 2, which another one that was answered has had. */
	header.client_id = 5;
	header.op_id = 2;
	header.length = BLOCK_SIZE;
	header.version = 2;
	assert_int_equal(answer_to(rig, rig_ask(rig, CLIENT, &header, rig_payload(1))),
			 FRAME_STATUS_LOST);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	header.op_id = 3;
	header.version = 1;
	assert_int_equal(answer_to(rig, rig_ask(rig, CLIENT, &header, rig_payload(1))), NO_ANSWER);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_free_all(rig);
}

/* Alone, in ; its chunk has been written once in epoch 1. */
static struct rig *alone_after(uint64_t epoch, bool lost)
{
	struct rig *rig = rig_new(0, 1);

	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig->store.chunks[0]->history.lost = lost;
	rig_configure(rig, epoch, 0, 1);
	return rig;
}

static uint32_t flush_of(struct rig *rig, uint64_t version, uint64_t epoch)
{
	struct frame_header header = rig_header(rig, FRAME_FLUSH, 1);
	uint64_t asked;

	header.version = version;
	header.arg = epoch;
	asked = rig_ask(rig, CLIENT, &header, NULL);
	if (rig_operations(rig, CHAIN_FLUSH) > 0)
		rig_end(rig, CHAIN_FLUSH, 0);
	return answer_to(rig, asked);
}

static void test_a_number_that_another_update_has_got_is_not_taken_for_the_lost_one(void **state)
{
	struct rig *rig = alone_after(2, false);

	(void)state;
	assert_int_equal(flush_of(rig, 1, 1), FRAME_OK);
	client_writes(rig, 2, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	/* In epoch 1 there had been a version 2 as well. */
	assert_int_equal(flush_of(rig, 2, 1), FRAME_STATUS_LOST);
	assert_int_equal(flush_of(rig, 2, 2), FRAME_OK);
	assert_int_equal(flush_of(rig, 1, 1), FRAME_OK);
	assert_int_equal(flush_of(rig, 2, 0), FRAME_OK); /* it does not say */
	rig_free_all(rig);
}

static void test_nothing_of_a_chunk_that_has_lost_blocks_is_confirmed(void **state)
{
	struct rig *rig = alone_after(2, true);
	struct frame_header header = rig_header(rig, FRAME_WRITE, 1);

	(void)state;
	assert_int_equal(flush_of(rig, 1, 1), FRAME_STATUS_LOST);
	header.client_id = 5;
	header.op_id = 2;
	header.length = BLOCK_SIZE;
	header.version = 1;
	header.arg = 1;
	assert_int_equal(answer_to(rig, rig_ask(rig, CLIENT, &header, rig_payload(1))),
			 FRAME_STATUS_LOST);
	client_writes(rig, 3, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(flush_of(rig, 2, 2), FRAME_OK);
	/* Another client's, which has not asked yet. */
	assert_int_equal(flush_of(rig, 1, 1), FRAME_STATUS_LOST);
	rig_free_all(rig);
}

/* ---- space ---- */

static void test_a_head_refuses_writes_that_the_chain_cannot_take(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write;
	struct frame_header header;

	(void)state;
	rig->free_bytes = CHAIN_MARGIN + 3 * BLOCK_SIZE;
	write = client_writes(rig, 1, 0, 1, 0); /* counts for two blocks until it is answered */
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	assert_int_equal(answer_to(rig, client_writes(rig, 2, 2, 1, 0)), ENOSPC);
	header = rig_header(rig, FRAME_PUNCH, 1); /* gives space back: always */
	header.range = BLOCK_SIZE;
	header.op_id = 3;
	assert_int_equal(answer_to(rig, rig_ask(rig, CLIENT, &header, NULL)), NO_ANSWER);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	assert_int_equal(answer_to(rig, client_writes(rig, 4, 4, 1, 0)), NO_ANSWER);
	rig_free_all(rig);
}

static void test_a_head_whose_disk_is_full_says_so_and_goes_on(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t one = client_writes(rig, 1, 0, 1, 0), two = client_writes(rig, 2, 1, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, -ENOSPC);
	assert_int_equal(answer_to(rig, one), ENOSPC);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent[0].header.version, 1); /* no gap in the versions */
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, two), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_member_whose_disk_is_full_tries_again(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t write = predecessor_writes(rig, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, -ENOSPC);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_head_whose_disk_has_half_of_an_update_goes_on_with_it(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 2, 0);

	(void)state;
	rig_breaks_off(rig);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	/* Half of it may be read from the disk, and nowhere else. */
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_ASK_TAIL);
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, -ENOSPC);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

/* The read had begun before. */
static void test_half_of_an_update_is_not_read_at_the_tail(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t write, read;

	(void)state;
	write = predecessor_writes(rig, 1, 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	read = client_reads(rig, 0);
	(void)predecessor_writes(rig, 2, 0);
	rig_breaks_off(rig);
	rig_end(rig, CHAIN_READ, 0);
	assert_int_equal(answer_to(rig, read), NO_ANSWER);
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_READ, 0);
	assert_int_equal(answer_to(rig, read), FRAME_OK);
	rig_free_all(rig);
}

static void predecessor_writes_to(struct rig *rig, uint64_t file_id)
{
	struct frame_header header = rig_header(rig, FRAME_WRITE, file_id);

	header.client_id = 5;
	header.op_id = file_id;
	header.version = 1;
	header.length = BLOCK_SIZE;
	header.flags = FRAME_FORWARD;
	(void)rig_ask(rig, BEFORE, &header, rig_payload(1));
}

/* The comparison drops what has half of it in place, so that the walk to the member behind begins
 * anew, and the other update does not wait for that one any more. */
static void test_a_chunk_that_is_dropped_may_take_the_next_one_with_it(void **state)
{
	const struct catchup_compare begins = {.first = true, .to = {0, 9}};
	struct rig *rig = rig_up(1);

	(void)state;
	CHANGE(rig, 2, B, {A, IN}, {B, IN}, {D, SYN});
	inbound_comes_up(rig);
	rig_forget_sent(rig);
	successor_connects(rig);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_COMPARING);
	predecessor_writes_to(rig, 1);
	rig_breaks_off(rig);
	predecessor_writes_to(rig, 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(chain_count(rig->chain).queued, 1);
	assert_int_equal(chain_count(rig->chain).pending, 1);
	(void)predecessor_compares(rig, &begins);
	assert_int_equal(chain_count(rig->chain).queued, 0);
	assert_int_equal(chain_count(rig->chain).pending, 0);
	rig_free_all(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_client_is_answered_after_the_successor),
		cmocka_unit_test(test_a_durable_write_waits_for_the_own_disk_too),
		cmocka_unit_test(test_a_failed_flush_is_never_acknowledged),
		cmocka_unit_test(test_updates_that_do_not_overlap_are_prepared_together),
		cmocka_unit_test(test_a_truncation_goes_alone),
		cmocka_unit_test(test_commits_come_in_the_order_of_versions),
		cmocka_unit_test(test_a_middle_member_answers_after_its_successor),
		cmocka_unit_test(test_a_single_member_answers_alone),
		cmocka_unit_test(
			test_a_repeated_update_under_way_is_applied_once_and_answered_twice),
		cmocka_unit_test(test_an_update_applied_before_is_passed_on_with_its_version),
		cmocka_unit_test(test_a_member_passes_on_what_it_already_has),
		cmocka_unit_test(test_wrong_epochs_roles_and_shapes_are_refused),
		cmocka_unit_test(test_a_head_refuses_without_lease_or_link),
		cmocka_unit_test(test_a_gap_is_refused_until_there_was_a_comparison),
		cmocka_unit_test(
			test_a_flush_waits_for_updates_before_it_and_is_forwarded_behind_them),
		cmocka_unit_test(test_an_update_behind_a_flush_does_not_hold_it_up),
		cmocka_unit_test(test_a_flush_of_what_was_lost_with_the_power_fails),
		cmocka_unit_test(test_an_update_after_what_was_lost_with_the_power_is_refused),
		cmocka_unit_test(
			test_a_number_that_another_update_has_got_is_not_taken_for_the_lost_one),
		cmocka_unit_test(test_nothing_of_a_chunk_that_has_lost_blocks_is_confirmed),
		cmocka_unit_test(test_a_head_refuses_writes_that_the_chain_cannot_take),
		cmocka_unit_test(test_a_head_whose_disk_is_full_says_so_and_goes_on),
		cmocka_unit_test(test_a_member_whose_disk_is_full_tries_again),
		cmocka_unit_test(test_a_head_whose_disk_has_half_of_an_update_goes_on_with_it),
		cmocka_unit_test(test_half_of_an_update_is_not_read_at_the_tail),
		cmocka_unit_test(test_a_chunk_that_is_dropped_may_take_the_next_one_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
