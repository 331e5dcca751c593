/* Goal: a chain member does in each change of its chain what keeps every answer true: it resumes
 * only with who has been equal, waits for a syncing member exactly where the walk has been, lets
 * nobody be told "done" by a member that has lost its place, and says when it is not fit. Method:
 * one member alone, see chain_rig.h; the test is the master, too. */
#include "common/base/duration.h"
#include "tests/unit/chunkserver/chain/chain_change_rig.h"

/* ---- a syncing successor ---- */

static void test_ahead_of_the_cursor_nobody_waits_for_a_syncing_member(void **state)
{
	struct rig *rig = with_syncing(0);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	assert_false(chain_count(rig->chain).strict);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	assert_int_equal(rig->sent_count, 0);
	rig_free_all(rig);
}

/* It will not be sent after the walk, so the successor may not count on that. */
static void test_what_is_left_to_the_walk_is_not_promised_for_later(void **state)
{
	struct rig *rig = with_syncing(0);
	static struct catchup_compare compare;
	struct frame_header header = rig_header(rig, FRAME_WRITE, 10);

	(void)state;
	header.client_id = 5;
	header.op_id = 1;
	header.length = BLOCK_SIZE;
	header.flags = FRAME_DURABLE;
	(void)rig_ask(rig, CLIENT, &header, rig_payload(1));
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(chain_count(rig->chain).pending, 1); /* its own disk has not got it yet */
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE);
	assert_int_equal(catchup_compare_decode(buf_payload(rig->sent[0].payload),
						rig->sent[0].payload->length, &compare),
			 0);
	assert_int_equal(compare.count, 1);
	assert_int_equal(compare.records[0].version, 1);
	assert_int_equal(compare.records[0].base, 1);
	rig_free_all(rig);
}

static void test_while_a_range_is_compared_its_updates_are_undecided(void **state)
{
	struct rig *rig = with_syncing(1);
	uint64_t write;

	(void)state;
	successor_connects(rig);
	assert_int_equal(rig->sent_count, 1); /* the comparison */
	write = writes_to(rig, 10, 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	assert_int_equal(rig->sent_count, 1);
	compared(rig, 0);
	/* Equal: it is sent, and has to be answered. */
	assert_int_equal(last_sent(rig), FRAME_WRITE);
	assert_int_equal(rig->sent[rig->sent_count - 1].header.version, 2);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	while (rig->sent_count > 0)
		successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_an_update_of_a_chunk_to_be_copied_is_left_to_the_walk(void **state)
{
	struct rig *rig = with_syncing(2);
	uint64_t write;

	(void)state;
	successor_connects(rig);
	write = writes_to(rig, 11, 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	compared(rig, 3);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	for (size_t i = 0; i < rig->sent_count; i++)
		assert_int_not_equal(rig->sent[i].header.op, FRAME_WRITE);
	rig_free_all(rig);
}

static void test_a_chunk_that_is_copied_lets_its_updates_wait(void **state)
{
	struct rig *rig = with_syncing(1);
	uint64_t write;

	(void)state;
	successor_connects(rig);
	compared(rig, 1);
	assert_int_equal(rig_operations(rig, CHAIN_WALK_READ), 1);
	write = writes_to(rig, 10, 1);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	/* The block is read, sent, and the chunk committed there. */
	chain_walk_read_done(rig->env, rig->operations[0].serial, 0, rig_payload(1), 0);
	rig->operation_count = 0;
	rig_run(rig);
	while (rig->sent_count > 0 && rig_operations(rig, CHAIN_PREPARE) == 0)
		successor_answers(rig, FRAME_OK);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	/* Behind the cursor now. */
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	while (rig->sent_count > 0)
		successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

/* Or the successor would have parts of it under a version that all have, and show them. */
static void test_a_chunk_with_half_of_an_update_is_not_copied(void **state)
{
	struct rig *rig = with_syncing(1);
	struct chunk_key key = rig_key(10);
	uint64_t write;

	(void)state;
	write = writes_to(rig, 10, 1);
	rig_breaks_off(rig);
	successor_connects(rig);
	compared(rig, 1);
	assert_int_equal(rig_operations(rig, CHAIN_WALK_READ), 0);
	/* It is not held up by the walk that waits for it. */
	rig->now += NS_PER_SEC;
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(model_chunk(&rig->store, &key)->version, 2);
	assert_int_equal(rig_operations(rig, CHAIN_WALK_READ), 1);
	chain_walk_read_done(rig->env, rig->operations[0].serial, 0, rig_payload(1), 0);
	rig->operation_count = 0;
	rig_run(rig);
	while (rig->sent_count > 0)
		successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_after_the_walk_the_member_is_waited_for_and_reported(void **state)
{
	struct rig *rig = with_syncing(1);
	uint64_t write;

	(void)state;
	link_comes_up(rig);
	assert_true(chain_count(rig->chain).strict);
	assert_int_equal(rig->reports, 1);
	assert_int_equal(rig->report.report, CHAIN_CAUGHT_UP);
	assert_int_equal(rig->report.header.epoch, 3);
	assert_int_equal(rig->report.header.arg, D);
	/* Whatever happens to it: it may be in-sync already by the master's word. */
	chain_connection(rig->chain, 0);
	rig_run(rig);
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 1, 0)), FRAME_STATUS_NOT_READY);
	successor_connects(rig);
	write = client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	/* The next epoch says that it is not. */
	CHANGE(rig, 4, A, {A, IN}, {D, OUT});
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_an_update_waits_no_longer_when_the_syncing_member_is_gone(void **state)
{
	struct rig *rig = with_syncing(1);
	uint64_t write;

	(void)state;
	successor_connects(rig);
	compared(rig, 0);
	write = writes_to(rig, 10, 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(last_sent(rig), FRAME_WRITE);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	chain_connection(rig->chain, 0);
	rig_run(rig);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_syncing_member_is_durable_before_it_counts_as_equal(void **state)
{
	struct rig *rig = rig_new(0, 1);
	struct catchup_compare compare = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};
	uint64_t end;

	(void)state;
	CHANGE(rig, 2, D, {A, IN}, {D, SYN});
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), FRAME_OK);
	end = predecessor_ends(rig);
	assert_int_equal(answer_to(rig, end), NO_ANSWER);
	rig_end(rig, CHAIN_FLUSH_ALL, 0);
	assert_int_equal(answer_to(rig, end), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_syncing_member_takes_updates_behind_the_cursor(void **state)
{
	struct rig *rig = rig_new(0, 1);
	struct catchup_compare compare = {.first = true, .to = {5, 0}};

	(void)state;
	CHANGE(rig, 2, D, {A, IN}, {D, SYN});
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), FRAME_OK);
	(void)predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->answers[0].header.status, FRAME_OK);
	rig_free_all(rig);
}

/* ---- resuming ---- */

static uint64_t predecessor_resumes(struct rig *rig)
{
	struct frame_header header = rig_header(rig, FRAME_CATCHUP_COMPARE, 0);
	struct buf *buf = model_buffer(NULL, CATCHUP_RESUME_BYTES);

	catchup_resume_encode(buf->data);
	buf->length = header.length = CATCHUP_RESUME_BYTES;
	header.flags = FRAME_FORWARD;
	return rig_ask(rig, BEFORE, &header, buf);
}

static void test_when_the_middle_is_gone_what_is_pending_goes_to_the_next(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	forget_sent(rig);
	CHANGE(rig, 2, A, {A, IN}, {C, IN}, {B, OUT});
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RESUME);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(last_sent(rig), FRAME_WRITE);
	assert_int_equal(rig->sent[0].header.version, 1);
	assert_int_equal(rig->sent[0].header.epoch, 2);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

/* Its bytes may be in place already: let go of, they would be here and nowhere else, and the next
 * is not compared. */
static void test_what_a_new_head_has_begun_comes_to_its_end(void **state)
{
	struct rig *rig = rig_up(1);
	struct frame_header header;
	uint64_t again;

	(void)state;
	(void)predecessor_writes(rig, 1, 0);
	(void)predecessor_writes(rig, 2, 0); /* waits for the first: not begun */
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	CHANGE(rig, 2, 2, {2, IN}, {3, IN}, {1, OUT});
	assert_true(chain_is_head(rig->chain));
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->aborts, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(chain_count(rig->chain).pending, 1);
	/* The client repeats it: it is the same. */
	header = rig_header(rig, FRAME_WRITE, 1);
	header.client_id = 5;
	header.op_id = 1;
	header.length = BLOCK_SIZE;
	forget_sent(rig);
	successor_connects(rig);
	again = rig_ask(rig, CLIENT, &header, rig_payload(1));
	while (rig->sent_count > 0)
		successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, again), FRAME_OK);
	assert_int_equal(rig->store.chunks[0]->version, 1);
	rig_free_all(rig);
}

/* The same when its disk was full in the middle. */
static void test_what_a_new_head_has_half_of_comes_to_its_end(void **state)
{
	struct rig *rig = rig_up(1);

	(void)state;
	(void)predecessor_writes(rig, 1, 0);
	rig_breaks_off(rig);
	CHANGE(rig, 2, 2, {2, IN}, {3, IN}, {1, OUT});
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(chain_count(rig->chain).pending, 1);
	assert_int_equal(rig->store.chunks[0]->version, 1);
	rig_free_all(rig);
}

/* Nobody has compared its copy since it let go of an update that it had begun, and then it leads.
 */
static void test_what_was_broken_off_is_compared_with_those_behind(void **state)
{
	for (int prepared = 0; prepared < 3; prepared++) {
		struct rig *rig = rig_up(1);

		(void)state;
		(void)predecessor_writes(rig, 1, 0);
		if (prepared == 1)
			rig_breaks_off(rig);
		CHANGE(rig, 2, B, {D, IN}, {B, IN}, {C, IN}, {A, OUT});
		if (prepared == 0)
			rig_end(rig, CHAIN_PREPARE, 0);
		if (prepared == 2)
			rig_breaks_off(rig);
		CHANGE(rig, 3, B, {B, IN}, {C, IN}, {D, OUT});
		assert_true(chain_is_head(rig->chain));
		assert_false(chain_is_ready(rig->chain));
		forget_sent(rig);
		successor_connects(rig);
		assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE);
		rig_free_all(rig);
	}
}

/* Its predecessor has begun to compare, and dies. Those behind lack the first update, which they are
 * sent again, and the bytes of the second, which they are not. */
static void test_what_was_broken_off_is_not_left_to_what_is_pending(void **state)
{
	const struct catchup_compare begins = {.first = true, .to = {0, 9}};
	static struct catchup_compare compare;
	struct rig *rig = rig_up(1);

	(void)state;
	(void)predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	(void)predecessor_writes(rig, 2, 0);
	rig_breaks_off(rig);
	(void)predecessor_compares(rig, &begins);
	CHANGE(rig, 2, B, {B, IN}, {C, IN}, {A, OUT});
	assert_int_equal(chain_count(rig->chain).pending, 1);
	forget_sent(rig);
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE);
	assert_int_equal(catchup_compare_decode(buf_payload(rig->sent[0].payload),
						rig->sent[0].payload->length, &compare),
			 0);
	assert_int_equal(compare.records[0].version, 1);
	assert_int_equal(compare.records[0].base, 1);
	rig_free_all(rig);
}

static void test_who_has_forgotten_is_compared(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	CHANGE(rig, 2, A, {A, IN}, {C, IN}, {B, OUT});
	successor_connects(rig);
	successor_answers(rig, FRAME_STATUS_GAP);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE);
	rig_free_all(rig);
}

static void test_a_store_that_was_accepted_has_all_compared(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	CHANGE(rig, (UINT64_C(1) << EPOCH_LINE_SHIFT) + 1, A, {A, IN}, {B, IN}, {C, IN});
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE);
	CHANGE(rig, (UINT64_C(1) << EPOCH_LINE_SHIFT) + 2, A, {A, IN}, {C, IN}, {B, OUT});
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE); /* C has not been compared yet */
	rig_free_all(rig);
}

static void test_a_new_successor_is_compared(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	CHANGE(rig, 2, A, {A, IN}, {B, IN}, {D, SYN});
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RESUME); /* B */
	rig_free_all(rig);
	rig = rig_up(1);
	CHANGE(rig, 2, B, {A, IN}, {B, IN}, {D, SYN});
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE); /* D */
	rig_free_all(rig);
}

static void test_only_a_member_that_was_ready_resumes(void **state)
{
	struct rig *rig = rig_new(2, 3);

	(void)state;
	assert_int_equal(answer_to(rig, predecessor_resumes(rig)), FRAME_STATUS_GAP);
	inbound_comes_up(rig);
	assert_int_equal(answer_to(rig, predecessor_resumes(rig)), FRAME_OK);
	CHANGE(rig, 2, C, {A, IN}, {C, IN}, {B, OUT});
	assert_true(chain_is_ready(rig->chain)); /* reads go on */
	assert_int_equal(answer_to(rig, predecessor_resumes(rig)), FRAME_OK);
	/* Taken out, it may have missed anything. */
	CHANGE(rig, 4, C, {A, IN}, {C, SYN}, {B, OUT});
	assert_int_equal(answer_to(rig, predecessor_resumes(rig)), FRAME_STATUS_GAP);
	rig_free_all(rig);
}

/* What it had passed on, and had no answer to, the one behind it need not have, and is not passed
 * on any more once that one has come before it. */
static void test_what_was_dropped_is_shown_to_nobody_before_a_comparison(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	CHANGE(rig, 2, A, {A, IN}, {B, IN});
	link_comes_up(rig);
	(void)client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	CHANGE(rig, 3, A, {B, IN}, {A, IN});
	CHANGE(rig, 4, A, {A, IN}, {B, IN});
	assert_false(chain_is_ready(rig->chain));
	forget_sent(rig);
	link_comes_up(rig);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

static void predecessor_removes(struct rig *rig)
{
	struct frame_header header = rig_header(rig, FRAME_CATCHUP_COMPARE, 0);
	struct catchup_key gone = {.file_id = rig_key(1).file_id};
	struct buf *buf = model_buffer(NULL, CATCHUP_GONE_ALL_MAX);

	buf->length = (uint32_t)catchup_gone_encode(&gone, 1, buf->data);
	header.flags = FRAME_FORWARD;
	header.length = buf->length;
	rig_ask(rig, BEFORE, &header, buf);
}

static void test_a_removal_does_not_wait_for_what_was_dropped(void **state)
{
	struct rig *rig = rig_up(1);

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, -ENOSPC);
	predecessor_removes(rig);
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 0);
	CHANGE(rig, 2, B, {B, IN});
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 1);
	assert_false(chain_is_ready(rig->chain));
	rig_end(rig, CHAIN_REMOVE, 0);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

static void test_a_removal_of_the_chain_as_it_is_keeps_nobody_from_reading(void **state)
{
	struct rig *rig = rig_up(1);

	(void)state;
	predecessor_removes(rig);
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 1);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

/* A middle whose predecessor has compared, and waits for what those behind have not answered. */
static struct rig *ending(uint64_t *end)
{
	struct rig *rig = rig_up(1);
	struct catchup_compare compare;

	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	compare = everything(rig);
	(void)predecessor_compares(rig, &compare);
	*end = predecessor_ends(rig);
	assert_int_equal(answer_to(rig, *end), NO_ANSWER);
	return rig;
}

/* Else the predecessor would take those behind to have it. */
static void test_who_is_taken_out_does_not_say_that_those_behind_have_it(void **state)
{
	uint64_t end;
	struct rig *rig = ending(&end);

	(void)state;
	CHANGE(rig, 2, B, {A, IN}, {C, IN}, {B, OUT});
	assert_int_equal(answer_to(rig, end), FRAME_STATUS_GAP);
	rig_free_all(rig);
}

static void test_a_head_that_is_put_behind_others_is_compared(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	CHANGE(rig, 2, A, {B, IN}, {C, IN}, {A, IN});
	assert_false(chain_is_ready(rig->chain));
	assert_int_equal(answer_to(rig, predecessor_resumes(rig)), FRAME_STATUS_GAP);
	rig_free_all(rig);
}

static void test_a_question_that_comes_before_the_map_is_kept(void **state)
{
	struct rig *rig = rig_up(2);
	struct frame_header header = rig_header(rig, FRAME_CATCHUP_COMPARE, 0);
	struct buf *buf = model_buffer(NULL, CATCHUP_RESUME_BYTES);
	struct chain_source source = {
		.conn = BEFORE, .request_id = header.request_id, .server_id = A};

	(void)state;
	catchup_resume_encode(buf->data);
	buf->length = header.length = CATCHUP_RESUME_BYTES;
	header.flags = FRAME_FORWARD;
	header.epoch = 2;
	chain_frame(rig->chain, &source, &header, buf);
	rig_run(rig);
	assert_int_equal(answer_to(rig, header.request_id), NO_ANSWER);
	CHANGE(rig, 2, C, {A, IN}, {C, IN}, {B, OUT});
	assert_int_equal(answer_to(rig, header.request_id), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_lost_notice_of_removal_leads_to_a_comparison(void **state)
{
	struct rig *rig = rig_new(0, 2);
	struct chunk_key key = rig_key(1);

	(void)state;
	model_chunk(&rig->store, &key)->exists = true;
	model_chunk(&rig->store, &key)->version = 1;
	link_comes_up(rig);
	model_remove(&rig->store, &key);
	chain_chunk_removed(rig->chain, &key, 1);
	rig_run(rig);
	chain_connection(rig->chain, 0);
	rig_run(rig);
	forget_sent(rig);
	successor_connects(rig);
	assert_int_equal(sent_kind(rig), CATCHUP_KIND_RANGE);
	rig_free_all(rig);
}

/* ---- losing one's place ---- */

static void check_nobody_is_told_done(struct rig *rig, uint64_t pending, uint64_t queued)
{
	uint32_t status = answer_to(rig, pending);

	assert_true(status == FRAME_STATUS_EPOCH || status == FRAME_STATUS_NOT_MINE);
	while (rig_operations(rig, CHAIN_PREPARE) > 0)
		rig_end(rig, CHAIN_PREPARE, 0);
	status = answer_to(rig, queued);
	assert_true(status == FRAME_STATUS_EPOCH || status == FRAME_STATUS_NOT_MINE);
}

static void test_a_head_that_was_taken_out_tells_nobody_done(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t pending = client_writes(rig, 1, 0, 1, 0), queued;

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	queued = client_writes(rig, 2, 2, 1, 0);
	CHANGE(rig, 2, A, {B, IN}, {C, IN}, {A, OUT});
	check_nobody_is_told_done(rig, pending, queued);
	rig_free_all(rig);
}

static void test_a_head_that_has_to_flush_tells_nobody_done(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t pending = client_writes(rig, 1, 0, 1, 0), queued;

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	queued = client_writes(rig, 2, 2, 1, 0);
	CHANGE(rig, 2, A, {B, IN}, {C, IN}, {A, SYN});
	check_nobody_is_told_done(rig, pending, queued);
	rig_free_all(rig);
}

static void test_a_head_that_becomes_the_tail_tells_nobody_done(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t pending = client_writes(rig, 1, 0, 1, 0), queued;

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	queued = client_writes(rig, 2, 2, 1, 0);
	CHANGE(rig, 2, A, {B, IN}, {C, IN}, {A, IN});
	check_nobody_is_told_done(rig, pending, queued);
	rig_free_all(rig);
}

static void test_what_was_held_is_not_done_by_who_is_out(void **state)
{
	struct rig *rig = rig_new(0, 3);
	uint64_t held;
	uint32_t status;

	(void)state;
	successor_connects(rig);
	held = client_writes(rig, 1, 0, 1, 0);
	CHANGE(rig, 2, A, {B, IN}, {C, IN}, {A, OUT});
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	status = answer_to(rig, held);
	assert_true(status == FRAME_STATUS_EPOCH || status == FRAME_STATUS_NOT_MINE);
	rig_free_all(rig);
}

/* ---- not fit ---- */

static void copy_begins(struct rig *rig)
{
	struct catchup_compare compare = {
		.first = true, .last = true, .to = CATCHUP_KEY_MAX, .count = 1};
	struct frame_header header;

	compare.records[0] = (struct catchup_record){.key = {1, 0},
						     .epoch = 1,
						     .version = 4,
						     .base = 4,
						     .length = 2 * BLOCK_SIZE,
						     .digest = 9};
	(void)predecessor_compares(rig, &compare);
	header = rig_header(rig, FRAME_CATCHUP_DATA, 1);
	header.flags = FRAME_FORWARD;
	header.length = BLOCK_SIZE;
	(void)rig_ask(rig, BEFORE, &header, rig_payload(1));
	rig_end(rig, CHAIN_PREPARE, 0);
}

static void test_a_member_with_parts_of_another_is_not_fit_to_lead(void **state)
{
	struct rig *rig = rig_new(1, 3);

	(void)state;
	copy_begins(rig);
	CHANGE(rig, 2, B, {B, IN}, {C, IN}, {A, OUT});
	assert_int_equal(rig->reports, 1);
	assert_int_equal(rig->report.report, CHAIN_UNFIT);
	assert_int_equal(rig->report.header.arg, B);
	assert_int_equal(rig->report.header.epoch, 2);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 1, 0)), FRAME_STATUS_NOT_READY);
	rig_free_all(rig);
}

static void test_the_last_one_leads_with_what_it_has(void **state)
{
	struct rig *rig = rig_new(1, 3);
	uint64_t write;

	(void)state;
	copy_begins(rig);
	CHANGE(rig, 2, B, {B, IN}, {C, OUT}, {A, OUT});
	assert_int_equal(rig->reports, 0);
	write = client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

/* Of what it had made, parts may be gone: it is not enough to say that it was done. */
static void test_what_a_copy_has_gone_over_is_done_again(void **state)
{
	struct rig *rig = rig_up(1);
	struct chunk_key key;
	uint64_t again, read;

	(void)state;
	(void)predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	CHANGE(rig, 2, B, {A, IN}, {B, IN}, {C, OUT});
	copy_begins(rig);
	CHANGE(rig, 3, B, {B, IN}, {C, OUT}, {A, OUT});
	/* Whoever reads hears how far the chunk has come all the same. */
	read = client_reads(rig, 0);
	rig_end(rig, CHAIN_READ, 0);
	assert_int_equal(rig->answers[rig->answer_count - 1].header.request_id, read);
	assert_int_equal(rig->answers[rig->answer_count - 1].header.version, 1);
	assert_int_equal(answer_to(rig, read), FRAME_OK);
	again = client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, again), FRAME_OK);
	/* Above all that it had been. */
	key = rig_key(1);
	assert_int_equal(model_chunk(&rig->store, &key)->version, 2);
	rig_free_all(rig);
}

static void test_damage_that_a_read_finds_is_reported_once(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	(void)client_reads(rig, 0);
	rig_end(rig, CHAIN_READ, -EBADMSG);
	(void)client_reads(rig, 0);
	rig_end(rig, CHAIN_READ, -EBADMSG);
	assert_int_equal(rig->reports, 1);
	assert_int_equal(rig->report.report, CHAIN_UNFIT);
	rig_free_all(rig);
}

static void test_a_damaged_chunk_at_the_head_is_no_error_while_others_have_it(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, -EBADMSG);
	assert_int_equal(answer_to(rig, write), FRAME_STATUS_NOT_READY);
	rig_free_all(rig);
	rig = alone(A);
	write = client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, -EBADMSG);
	assert_int_equal(answer_to(rig, write), EIO);
	rig_free_all(rig);
}

/* A read that ends while the store still works on an update whose bytes are in place in part, and which
 * is not wanted any more: the read waits until the store has done with it. */
static void test_a_read_meets_an_update_that_is_dropped(void **state)
{
	struct rig *rig = alone(A);
	uint64_t read = client_reads(rig, 0);

	(void)state;
	(void)writes_to(rig, 1, 1);
	rig_breaks_off(rig);
	chain_tick(rig->env);
	rig_run(rig);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	chain_store_failed(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_READ, 0);
	assert_int_equal(answer_to(rig, read), NO_ANSWER);
	rig_end(rig, CHAIN_PREPARE, -EIO);
	assert_int_equal(answer_to(rig, read), FRAME_STATUS_NOT_READY);
	rig_free_all(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ahead_of_the_cursor_nobody_waits_for_a_syncing_member),
		cmocka_unit_test(test_what_is_left_to_the_walk_is_not_promised_for_later),
		cmocka_unit_test(test_while_a_range_is_compared_its_updates_are_undecided),
		cmocka_unit_test(test_an_update_of_a_chunk_to_be_copied_is_left_to_the_walk),
		cmocka_unit_test(test_a_chunk_that_is_copied_lets_its_updates_wait),
		cmocka_unit_test(test_a_chunk_with_half_of_an_update_is_not_copied),
		cmocka_unit_test(test_after_the_walk_the_member_is_waited_for_and_reported),
		cmocka_unit_test(test_an_update_waits_no_longer_when_the_syncing_member_is_gone),
		cmocka_unit_test(test_a_syncing_member_is_durable_before_it_counts_as_equal),
		cmocka_unit_test(test_a_syncing_member_takes_updates_behind_the_cursor),
		cmocka_unit_test(test_when_the_middle_is_gone_what_is_pending_goes_to_the_next),
		cmocka_unit_test(test_what_a_new_head_has_begun_comes_to_its_end),
		cmocka_unit_test(test_what_a_new_head_has_half_of_comes_to_its_end),
		cmocka_unit_test(test_what_was_broken_off_is_compared_with_those_behind),
		cmocka_unit_test(test_what_was_broken_off_is_not_left_to_what_is_pending),
		cmocka_unit_test(test_who_has_forgotten_is_compared),
		cmocka_unit_test(test_a_store_that_was_accepted_has_all_compared),
		cmocka_unit_test(test_a_new_successor_is_compared),
		cmocka_unit_test(test_only_a_member_that_was_ready_resumes),
		cmocka_unit_test(test_what_was_dropped_is_shown_to_nobody_before_a_comparison),
		cmocka_unit_test(test_a_removal_does_not_wait_for_what_was_dropped),
		cmocka_unit_test(test_a_removal_of_the_chain_as_it_is_keeps_nobody_from_reading),
		cmocka_unit_test(test_who_is_taken_out_does_not_say_that_those_behind_have_it),
		cmocka_unit_test(test_a_head_that_is_put_behind_others_is_compared),
		cmocka_unit_test(test_a_question_that_comes_before_the_map_is_kept),
		cmocka_unit_test(test_a_lost_notice_of_removal_leads_to_a_comparison),
		cmocka_unit_test(test_a_head_that_was_taken_out_tells_nobody_done),
		cmocka_unit_test(test_a_head_that_has_to_flush_tells_nobody_done),
		cmocka_unit_test(test_a_head_that_becomes_the_tail_tells_nobody_done),
		cmocka_unit_test(test_what_was_held_is_not_done_by_who_is_out),
		cmocka_unit_test(test_a_member_with_parts_of_another_is_not_fit_to_lead),
		cmocka_unit_test(test_the_last_one_leads_with_what_it_has),
		cmocka_unit_test(test_a_read_meets_an_update_that_is_dropped),
		cmocka_unit_test(test_what_a_copy_has_gone_over_is_done_again),
		cmocka_unit_test(test_damage_that_a_read_finds_is_reported_once),
		cmocka_unit_test(test_a_damaged_chunk_at_the_head_is_no_error_while_others_have_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
