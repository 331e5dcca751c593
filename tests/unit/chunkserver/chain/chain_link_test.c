/* Goal: a chain member keeps its links, serves reads and takes changes of the chain as it should,
 * case by case. Method: one member alone, see chain_rig.h. Its updates are in chain_test.c. */
#include "common/base/bytes.h"
#include "tests/unit/chunkserver/chain/chain_rig.h"

/* ---- links ---- */

static void test_updates_are_held_while_comparing(void **state)
{
	struct rig *rig = rig_new(0, 3);
	uint64_t held;

	(void)state;
	successor_connects(rig);
	held = client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	successor_answers(rig, FRAME_OK); /* CATCHUP_COMPARE */
	successor_answers(rig, FRAME_OK); /* CATCHUP_END */
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, held), FRAME_OK);
	rig_free_all(rig);
}

static void test_what_is_held_is_refused_when_the_connection_goes(void **state)
{
	struct rig *rig = rig_new(0, 3);
	uint64_t held;

	(void)state;
	successor_connects(rig);
	held = client_writes(rig, 1, 0, 1, 0);
	chain_connection(rig->chain, 0);
	rig_run(rig);
	assert_int_equal(answer_to(rig, held), FRAME_STATUS_NOT_READY);
	rig_free_all(rig);
}

static void test_what_is_pending_is_sent_again_in_order(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t one = client_writes(rig, 1, 0, 1, 0), two = client_writes(rig, 2, 1, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	chain_connection(rig->chain, 0);
	rig_run(rig);
	for (size_t i = 0; i < rig->sent_count; i++)
		buf_unref(rig->sent[i].payload);
	rig->sent_count = 0;
	link_comes_up(rig);
	assert_int_equal(rig->sent_count, 2);
	assert_int_equal(rig->sent[0].header.version, 1);
	assert_int_equal(rig->sent[1].header.version, 2);
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, one), FRAME_OK);
	assert_int_equal(answer_to(rig, two), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_gap_at_the_successor_leads_to_a_comparison(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_STATUS_GAP);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_WAIT);
	assert_int_equal(answer_to(rig, write), NO_ANSWER);
	rig->now += CHAIN_BACKOFF_NS;
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_tick(rig->env);
	rig_run(rig);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_COMPARING);
	assert_int_equal(rig->sent[0].header.op, FRAME_CATCHUP_COMPARE);
	rig_free_all(rig);
}

static void test_the_end_is_answered_when_the_own_link_is_up(void **state)
{
	struct rig *rig = rig_new(1, 3);
	struct catchup_compare compare = everything(rig);
	uint64_t end;

	(void)state;
	successor_connects(rig);
	assert_int_equal(rig->sent_count, 0); /* not before the predecessor has compared */
	predecessor_compares(rig, &compare);
	end = predecessor_ends(rig);
	assert_int_equal(answer_to(rig, end), NO_ANSWER);
	assert_false(chain_is_ready(rig->chain));
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, end), FRAME_OK);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

/* The predecessor compares, finds that chunk 1 is missing here, and sends it: version 4, one block. */
static void predecessor_copies(struct rig *rig)
{
	struct catchup_compare compare = everything(rig);
	struct frame_header header;
	struct chunk_info info = {.epoch = 1, .version = 4, .length = BLOCK_SIZE};
	struct buf *buf = model_buffer(NULL, CATCHUP_COMMIT_MAX);

	compare.count = 1;
	compare.records[0] = (struct catchup_record){.key = {1, 0},
						     .epoch = 1,
						     .version = 4,
						     .base = 4,
						     .length = BLOCK_SIZE,
						     .digest = 9};
	predecessor_compares(rig, &compare);
	assert_false(chain_is_ready(rig->chain));
	assert_int_equal(rig->answers[0].header.length, 1);
	assert_int_equal(buf_payload(rig->answers[0].payload)[0], 1);
	header = rig_header(rig, FRAME_CATCHUP_DATA, 1);
	header.flags = FRAME_FORWARD;
	header.length = BLOCK_SIZE;
	rig_ask(rig, BEFORE, &header, rig_payload(1));
	header = rig_header(rig, FRAME_CATCHUP_COMMIT, 1);
	header.flags = FRAME_FORWARD;
	buf->length = header.length = (uint32_t)catchup_commit_encode(&info, buf->data);
	rig_ask(rig, BEFORE, &header, buf);
}

static void test_a_copy_that_came_in_is_passed_on_by_a_new_walk(void **state)
{
	struct rig *rig = rig_up(1);

	(void)state;
	predecessor_copies(rig);
	assert_int_equal(rig->store.count == 0 ? 0 : rig->store.chunks[0]->version, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->store.chunks[0]->version, 4);
	predecessor_ends(rig);
	/* What came has to be durable before we count as equal. */
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_WAIT);
	rig_end(rig, CHAIN_FLUSH_ALL, 0);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_COMPARING);
	assert_false(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

static void test_what_follows_a_copy_is_counted_on_from_the_last_that_came(void **state)
{
	struct rig *rig = rig_up(2);

	(void)state;
	predecessor_copies(rig);
	/* They wait for the copy; the predecessor does not. */
	predecessor_writes(rig, 5, 1);
	predecessor_writes(rig, 6, 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, predecessor_writes(rig, 7, 3)), NO_ANSWER);
	/* One that comes again is none that follows. */
	assert_int_equal(answer_to(rig, predecessor_writes(rig, 6, 2)), NO_ANSWER);
	for (unsigned i = 0; rig->operation_count > 0 && i < 3; i++)
		rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->store.chunks[0]->version, 7);
	rig_free_all(rig);
}

static void test_chunks_the_predecessor_lacks_are_removed(void **state)
{
	struct rig *rig = rig_up(2);
	struct catchup_compare nothing = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};
	uint64_t compare;

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	compare = predecessor_compares(rig, &nothing);
	assert_int_equal(answer_to(rig, compare), NO_ANSWER);
	rig_end(rig, CHAIN_REMOVE, 0);
	assert_int_equal(answer_to(rig, compare), FRAME_OK);
	assert_false(rig->store.chunks[0]->exists);
	rig_free_all(rig);
}

/* The predecessor may have nothing pending itself, and take those behind to have what we have. */
static void test_a_comparison_ends_when_those_behind_have_it_too(void **state)
{
	struct rig *rig = rig_up(1);
	struct catchup_compare compare;
	uint64_t end;

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	compare = everything(rig);
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), FRAME_OK);
	end = predecessor_ends(rig);
	assert_int_equal(answer_to(rig, end), NO_ANSWER);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, end), FRAME_OK);
	rig_free_all(rig);
}

/* A middle that has begun to remove a chunk which its predecessor lacks. */
static struct rig *removing(void)
{
	struct rig *rig = rig_up(1);
	struct catchup_compare nothing = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};

	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	(void)predecessor_compares(rig, &nothing);
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 1);
	return rig;
}

/* It is gone behind whatever was compared meanwhile. */
static void test_what_is_being_removed_is_not_compared(void **state)
{
	struct rig *rig = removing();
	struct catchup_compare compare = everything(rig);
	uint64_t again;

	(void)state;
	chain_source_lost(rig->chain, BEFORE);
	rig_run(rig);
	again = predecessor_compares(rig, &compare);
	assert_int_equal(answer_to(rig, again), NO_ANSWER);
	rig_end(rig, CHAIN_REMOVE, 0);
	assert_int_equal(answer_to(rig, again), FRAME_OK);
	rig_free_all(rig);
}

static void test_nobody_is_served_while_something_is_being_removed(void **state)
{
	struct rig *rig = removing();
	uint64_t write, read;

	(void)state;
	rig_configure(rig, 2, 0, 1);
	write = client_writes(rig, 1, 0, 1, 0);
	read = client_reads(rig, 0);
	assert_int_equal(answer_to(rig, write), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, read), FRAME_STATUS_NOT_READY);
	rig_end(rig, CHAIN_REMOVE, 0);
	assert_true(chain_is_ready(rig->chain));
	write = client_writes(rig, 2, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	rig_free_all(rig);
}

static void test_a_head_compares_when_all_that_it_removes_is_gone(void **state)
{
	struct rig *rig = removing();

	(void)state;
	rig_configure(rig, 2, 0, 3);
	successor_connects(rig);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_WAIT);
	rig_end(rig, CHAIN_REMOVE, 0);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_COMPARING);
	rig_free_all(rig);
}

static void test_a_comparison_waits_for_updates_under_way(void **state)
{
	struct rig *rig = rig_up(2);
	struct catchup_compare nothing = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};
	uint64_t compare;

	(void)state;
	predecessor_writes(rig, 1, 0);
	compare = predecessor_compares(rig, &nothing);
	assert_int_equal(answer_to(rig, compare), NO_ANSWER);
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig_operations(rig, CHAIN_REMOVE), 1);
	rig_end(rig, CHAIN_REMOVE, 0);
	assert_int_equal(answer_to(rig, compare), FRAME_OK);
	rig_free_all(rig);
}

static void test_frames_from_a_connection_without_comparison_are_refused(void **state)
{
	struct rig *rig = rig_up(2);
	struct frame_header header = rig_header(rig, FRAME_WRITE, 1);

	(void)state;
	header.length = BLOCK_SIZE;
	header.version = 1;
	header.flags = FRAME_FORWARD;
	assert_int_equal(refusal(rig, BEFORE + 100, header), FRAME_STATUS_GAP);
	chain_source_lost(rig->chain, BEFORE);
	assert_int_equal(refusal(rig, BEFORE, header), FRAME_STATUS_GAP);
	assert_true(chain_is_ready(rig->chain)); /* it has all that anyone was told */
	rig_free_all(rig);
}

static void test_a_bad_comparison_is_refused(void **state)
{
	struct rig *rig = rig_up(2);
	struct catchup_compare compare = everything(rig);

	(void)state;
	compare.first = false;
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), FRAME_STATUS_GAP);
	compare.to = (struct catchup_key){0, 0};
	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), EINVAL);
	rig_free_all(rig);
}

/* ---- reads ---- */

static void test_a_read_of_pending_blocks_is_sent_to_the_tail(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	client_writes(rig, 1, 0, 2, 0);
	assert_int_equal(answer_to(rig, client_reads(rig, 1)), FRAME_STATUS_ASK_TAIL);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, client_reads(rig, 1)), FRAME_STATUS_ASK_TAIL);
	assert_int_equal(answer_to(rig, client_reads(rig, 2)), NO_ANSWER); /* another block */
	successor_answers(rig, FRAME_OK);
	client_reads(rig, 1);
	assert_int_equal(rig_operations(rig, CHAIN_READ), 2);
	rig_free_all(rig);
}

static void test_a_read_under_way_does_not_show_what_was_committed_meanwhile(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t read = client_reads(rig, 0);

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_READ, 0);
	assert_int_equal(answer_to(rig, read), FRAME_STATUS_ASK_TAIL);
	rig_free_all(rig);
}

static void test_the_tail_lets_a_read_wait_for_its_own_commit(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t read;

	(void)state;
	predecessor_writes(rig, 1, 0);
	read = client_reads(rig, 0);
	assert_int_equal(answer_to(rig, read), NO_ANSWER);
	assert_int_equal(rig_operations(rig, CHAIN_READ), 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_READ, 0);
	assert_int_equal(answer_to(rig, read), FRAME_OK);
	rig_free_all(rig);
}

static void test_nothing_is_read_before_the_member_is_ready(void **state)
{
	struct rig *rig = rig_new(2, 3);
	struct catchup_compare compare = everything(rig);

	(void)state;
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	predecessor_compares(rig, &compare);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	predecessor_ends(rig);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), NO_ANSWER);
	rig_free_all(rig);
	rig = rig_new(0, 2); /* a head: when its link has been up */
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	link_comes_up(rig);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), NO_ANSWER);
	rig_free_all(rig);
}

static void test_stat_tells_length_and_presence(void **state)
{
	struct rig *rig = rig_up(2);
	struct frame_header header;

	(void)state;
	predecessor_writes(rig, 1, 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig->answer_count = 0;
	header = rig_header(rig, FRAME_STAT, 1);
	rig_ask(rig, CLIENT, &header, NULL);
	assert_int_equal(rig->answer_count, 1);
	assert_int_equal(rig->answers[0].header.status, FRAME_OK);
	assert_int_equal(rig->answers[0].header.arg, 3 * BLOCK_SIZE);
	assert_int_equal(rig->answers[0].header.version, 1);
	assert_int_equal(rig->answers[0].payload->length, 1);
	assert_int_equal(buf_payload(rig->answers[0].payload)[0], 4);
	rig_free_all(rig);
}

static void chunk_is_there(struct rig *rig, uint64_t file_id, uint32_t index, uint32_t blocks)
{
	struct chunk_key key = rig_key(file_id);
	struct model_chunk *chunk;

	key.index = index;
	chunk = model_chunk(&rig->store, &key);
	chunk->exists = true;
	chunk->epoch = chunk->version = 1;
	/* Not from the start: what is before is a hole. */
	for (uint32_t i = 0; i < blocks; i++)
		chunk->blocks[2 + i] = 1;
}

/* The entries of the only answer; each as index * 1000 + blocks, and its arg behind them. */
static void list_is(struct rig *rig, const uint32_t *expected, uint32_t count, uint64_t arg)
{
	const struct buf *payload = rig->answers[0].payload;

	assert_int_equal(rig->answer_count, 1);
	assert_int_equal(rig->answers[0].header.status, FRAME_OK);
	assert_int_equal(rig->answers[0].header.arg, arg);
	assert_int_equal(payload == NULL ? 0 : payload->length, count * FRAME_LIST_ENTRY_BYTES);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = buf_payload(payload) + i * FRAME_LIST_ENTRY_BYTES;

		assert_int_equal(get_le32(entry) * 1000 + get_le32(entry + 4), expected[i]);
	}
}

static void ask_list(struct rig *rig, uint64_t file_id, uint32_t index)
{
	struct frame_header header = rig_header(rig, FRAME_LIST, file_id);

	header.key.index = index;
	rig_forget_answers(rig);
	rig_ask(rig, CLIENT, &header, NULL);
}

static void test_a_list_names_the_chunks_of_one_file(void **state)
{
	static const uint32_t all[] = {1, 7002, 9001}, rest[] = {9001};
	struct rig *rig = rig_up(2);

	(void)state;
	chunk_is_there(rig, 1, 0, 1);
	chunk_is_there(rig, 1, 7, 2);
	chunk_is_there(rig, 1, 9, 1);
	chunk_is_there(rig, 2, 3, 1);
	chunk_is_there(rig, 3, 0, 1);
	ask_list(rig, 1, 0);
	list_is(rig, all, 3, 0);
	ask_list(rig, 1, 8);
	list_is(rig, rest, 1, 0);
	ask_list(rig, 1, 10);
	list_is(rig, NULL, 0, 0);
	ask_list(rig, 0, 0);
	assert_int_equal(rig->answers[0].header.status, EINVAL);
	rig_free_all(rig);
}

static void test_a_long_list_says_where_to_go_on(void **state)
{
	struct rig *rig = rig_up(2);

	(void)state;
	for (uint32_t i = 0; i < FRAME_LIST_MAX + 1; i++)
		chunk_is_there(rig, 1, 2 * i, 1);
	ask_list(rig, 1, 0);
	assert_int_equal(rig->answers[0].payload->length, FRAME_LIST_MAX * FRAME_LIST_ENTRY_BYTES);
	assert_int_equal(rig->answers[0].header.arg, 2 * FRAME_LIST_MAX);
	ask_list(rig, 1, 2 * FRAME_LIST_MAX);
	assert_int_equal(rig->answers[0].payload->length, FRAME_LIST_ENTRY_BYTES);
	assert_int_equal(rig->answers[0].header.arg, 0);
	rig_free_all(rig);
}

static void test_while_a_file_is_changed_its_list_is_the_tails_to_tell(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	ask_list(rig, 1, 0);
	assert_int_equal(rig->answers[0].header.status, FRAME_STATUS_ASK_TAIL);
	ask_list(rig, 2, 0);
	assert_int_equal(rig->answers[0].header.status, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	ask_list(rig, 1, 0);
	assert_int_equal(rig->answers[0].header.status, FRAME_OK);
	assert_int_equal(rig->answers[0].payload->length, FRAME_LIST_ENTRY_BYTES);
	rig_free_all(rig);
}

static void test_a_damaged_block_is_an_error_for_the_client(void **state)
{
	struct rig *rig = rig_up(2);
	uint64_t read = client_reads(rig, 0);

	(void)state;
	rig_end(rig, CHAIN_READ, -EBADMSG);
	assert_int_equal(answer_to(rig, read), EIO);
	rig_free_all(rig);
}

static void test_a_damaged_chunk_is_copied_by_the_next_comparison(void **state)
{
	struct rig *rig = rig_up(2);
	struct catchup_compare compare;

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	predecessor_writes(rig, 2, 0);
	rig->answer_count = 0;
	rig_end(rig, CHAIN_PREPARE, -EBADMSG);
	assert_int_equal(rig->answers[0].header.status, FRAME_STATUS_GAP);
	rig->answer_count = 0;
	compare = everything(rig); /* equal, by the records */
	predecessor_compares(rig, &compare);
	assert_int_equal(buf_payload(rig->answers[0].payload)[0], 1);
	rig_free_all(rig);
}

/* ---- failures and changes ---- */

static void test_a_failed_store_answers_nobody_with_success(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t one = client_writes(rig, 1, 0, 1, 0), two = client_writes(rig, 2, 1, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_PREPARE, -EIO);
	assert_int_equal(rig->troubles, 1);
	chain_store_failed(rig->env);
	rig_run(rig);
	assert_int_equal(answer_to(rig, one), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, two), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	chain_store_back(rig->env);
	rig_run(rig);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_COMPARING);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_READY);
	rig_free_all(rig);
}

static void test_when_the_tail_is_gone_what_was_pending_is_done(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_configure(rig, 2, 0, 1);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	assert_true(chain_is_ready(rig->chain));
	rig_free_all(rig);
}

static void test_a_middle_member_becomes_head_with_what_it_has_begun(void **state)
{
	struct rig *rig = rig_up(1);

	(void)state;
	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	predecessor_writes(rig, 2, 1); /* begun: parts of it may be in place */
	predecessor_writes(rig, 3, 1); /* not begun: nothing of it is anywhere here */
	successor_answers(rig, FRAME_OK);
	rig_configure(rig, 2, 0, 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->aborts, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	link_comes_up(rig);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(rig->sent[0].header.version, 2);
	assert_int_equal(rig->sent[0].header.epoch, 2);
	client_writes(rig, 7, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent[1].header.version, 3);
	assert_int_equal(rig->sent[1].header.epoch, 2);
	rig_free_all(rig);
}

static void test_an_older_configuration_changes_nothing(void **state)
{
	struct rig *rig = rig_up(0);

	(void)state;
	rig_configure(rig, 1, 0, 1);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_UP);
	rig_free_all(rig);
}

static void test_a_member_taken_out_serves_nobody(void **state)
{
	struct rig *rig = rig_up(0);
	struct chain_config config = {.epoch = 2, .chunk_size = MODEL_BYTES, .self = -1};
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	chain_configure(rig->chain, &config);
	rig_run(rig);
	assert_int_equal(answer_to(rig, write), FRAME_STATUS_NOT_MINE);
	assert_int_equal(answer_to(rig, client_reads(rig, 0)), FRAME_STATUS_NOT_MINE);
	rig_free_all(rig);
}

static void test_at_the_end_clients_are_sent_away(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t write = client_writes(rig, 1, 0, 1, 0);

	(void)state;
	chain_env_stop(rig->env);
	assert_int_equal(answer_to(rig, client_writes(rig, 2, 0, 1, 0)), FRAME_STATUS_NOT_READY);
	assert_int_equal(answer_to(rig, client_reads(rig, 3)), FRAME_STATUS_NOT_READY);
	assert_int_equal(chain_env_requests(rig->env), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK); /* what was taken is answered */
	assert_int_equal(chain_env_requests(rig->env), 0);
	rig_free_all(rig);
}

static void test_removals_are_told_to_a_successor_that_may_have_got_a_copy(void **state)
{
	struct rig *rig = rig_new(0, 2);
	struct chunk_key key = rig_key(1);
	static struct catchup_key gone[CATCHUP_GONE_MAX];

	(void)state;
	model_chunk(&rig->store, &key)->exists = true;
	model_chunk(&rig->store, &key)->version = 1;
	link_comes_up(rig); /* the walk has seen the chunk */
	model_remove(&rig->store, &key);
	chain_chunk_removed(rig->chain, &key, 1);
	rig_run(rig);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(catchup_gone_decode(buf_payload(rig->sent[0].payload),
					     rig->sent[0].payload->length, gone),
			 1);
	assert_int_equal(gone[0].file_id, 1);
	rig_free_all(rig);
}

/* A predecessor that reads for a walk may send what was removed: the order is done when none does,
 * nor one of an older chain. */
static void test_a_removal_while_copies_are_on_their_way_has_to_be_repeated(void **state)
{
	struct rig *rig = rig_new(1, 2);
	struct chunk_key key = rig_key(1), other = rig_key(2);

	(void)state;
	assert_true(chain_chunk_removed(rig->chain, &key, 1));
	assert_false(chain_chunk_removed(rig->chain, &key, 2));
	predecessor_copies(rig);
	assert_false(chain_chunk_removed(rig->chain, &other, 1)); /* of the range, too */
	assert_false(chain_chunk_removed(rig->chain, &key, 1));
	/* What has come is in the store's hands still. */
	chain_source_lost(rig->chain, BEFORE);
	rig_run(rig);
	assert_false(chain_chunk_removed(rig->chain, &key, 1));
	assert_true(chain_chunk_removed(rig->chain, &other, 1));
	while (rig_operations(rig, CHAIN_PREPARE) > 0)
		rig_end(rig, CHAIN_PREPARE, 0);
	rig_run(rig);
	/* It was made anew while it was being removed. */
	assert_true(model_chunk(&rig->store, &key)->exists);
	assert_false(chain_chunk_removed(rig->chain, &key, 1));
	model_remove(&rig->store, &key);
	assert_true(chain_chunk_removed(rig->chain, &key, 1));
	rig_free_all(rig);
}

static void test_removals_in_a_fresh_partition_cost_nothing(void **state)
{
	struct rig *rig = rig_up(0);
	struct chunk_key key = rig_key(1);

	(void)state;
	chain_chunk_removed(rig->chain, &key, 1);
	rig_run(rig);
	assert_int_equal(rig->sent_count, 0);
	rig_free_all(rig);
}

/* An update of a session that is over waited for space, or for the store, when its chunk went. */
static void test_what_waits_does_not_make_a_removed_chunk_anew(void **state)
{
	for (int step = 0; step < 3; step++) {
		struct rig *rig = rig_up(1);
		struct chunk_key key = rig_key(1);
		uint64_t second, third;

		(void)state;
		(void)predecessor_writes(rig, 1, 0);
		rig_end(rig, CHAIN_PREPARE, 0);
		second = predecessor_writes(rig, 2, 0);
		third = predecessor_writes(rig, 3, 0);
		if (step == 1)
			rig_end(rig, CHAIN_PREPARE, -ENOSPC);
		if (step == 2)
			rig_breaks_off(rig);
		model_remove(&rig->store, &key);
		chain_chunk_removed(rig->chain, &key, 1);
		rig_run(rig);
		assert_int_equal(answer_to(rig, second), FRAME_OK);
		assert_int_equal(answer_to(rig, third), FRAME_OK);
		while (rig_operations(rig, CHAIN_PREPARE) > 0)
			rig_end(rig, CHAIN_PREPARE, 0);
		chain_tick(rig->env);
		rig_run(rig);
		assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
		assert_false(model_chunk(&rig->store, &key)->exists);
		/* Nor does what comes behind it: there is nothing that it could follow. Where the
		 * store had begun, a comparison comes first. */
		third = predecessor_writes(rig, 4, 0);
		assert_int_equal(answer_to(rig, third), step == 0 ? NO_ANSWER : FRAME_STATUS_GAP);
		assert_int_equal(chain_count(rig->chain).held, step == 0 ? 1 : 0);
		rig_free_all(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_waits_does_not_make_a_removed_chunk_anew),
		cmocka_unit_test(test_updates_are_held_while_comparing),
		cmocka_unit_test(test_what_is_held_is_refused_when_the_connection_goes),
		cmocka_unit_test(test_what_is_pending_is_sent_again_in_order),
		cmocka_unit_test(test_a_gap_at_the_successor_leads_to_a_comparison),
		cmocka_unit_test(test_the_end_is_answered_when_the_own_link_is_up),
		cmocka_unit_test(test_a_copy_that_came_in_is_passed_on_by_a_new_walk),
		cmocka_unit_test(test_what_follows_a_copy_is_counted_on_from_the_last_that_came),
		cmocka_unit_test(test_chunks_the_predecessor_lacks_are_removed),
		cmocka_unit_test(test_a_comparison_ends_when_those_behind_have_it_too),
		cmocka_unit_test(test_what_is_being_removed_is_not_compared),
		cmocka_unit_test(test_nobody_is_served_while_something_is_being_removed),
		cmocka_unit_test(test_a_head_compares_when_all_that_it_removes_is_gone),
		cmocka_unit_test(test_a_comparison_waits_for_updates_under_way),
		cmocka_unit_test(test_frames_from_a_connection_without_comparison_are_refused),
		cmocka_unit_test(test_a_bad_comparison_is_refused),
		cmocka_unit_test(test_a_read_of_pending_blocks_is_sent_to_the_tail),
		cmocka_unit_test(test_a_read_under_way_does_not_show_what_was_committed_meanwhile),
		cmocka_unit_test(test_the_tail_lets_a_read_wait_for_its_own_commit),
		cmocka_unit_test(test_nothing_is_read_before_the_member_is_ready),
		cmocka_unit_test(test_stat_tells_length_and_presence),
		cmocka_unit_test(test_a_list_names_the_chunks_of_one_file),
		cmocka_unit_test(test_a_long_list_says_where_to_go_on),
		cmocka_unit_test(test_while_a_file_is_changed_its_list_is_the_tails_to_tell),
		cmocka_unit_test(test_a_damaged_block_is_an_error_for_the_client),
		cmocka_unit_test(test_a_damaged_chunk_is_copied_by_the_next_comparison),
		cmocka_unit_test(test_a_failed_store_answers_nobody_with_success),
		cmocka_unit_test(test_when_the_tail_is_gone_what_was_pending_is_done),
		cmocka_unit_test(test_a_middle_member_becomes_head_with_what_it_has_begun),
		cmocka_unit_test(test_an_older_configuration_changes_nothing),
		cmocka_unit_test(test_a_member_taken_out_serves_nobody),
		cmocka_unit_test(test_at_the_end_clients_are_sent_away),
		cmocka_unit_test(test_removals_are_told_to_a_successor_that_may_have_got_a_copy),
		cmocka_unit_test(test_removals_in_a_fresh_partition_cost_nothing),
		cmocka_unit_test(test_a_removal_while_copies_are_on_their_way_has_to_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
