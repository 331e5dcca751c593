/* Goal: a head takes no update whose id its chunk has no room for, so that none that may come again
 * is forgotten; those that make room get through whatever the list is, and so it goes on. Method:
 * one member alone, whose chunk begins with chosen ids (chain_rig.h). */
#include "tests/unit/chunkserver/chain/chain_rig.h"

#define LAST_QUARTER (OP_IDS_KEPT - OP_IDS_KEPT / 4)
#define CROWDED      (OP_IDS_KEPT / 2)

/* The chunk has @count ids more, of @client, from 1 on. */
static struct model_chunk *knows(struct rig *rig, uint64_t client, uint32_t count)
{
	const struct chunk_key key = rig_key(1);
	struct model_chunk *chunk = model_chunk(&rig->store, &key);

	chunk->exists = true;
	chunk->epoch = 1;
	for (uint32_t i = 0; i < count; i++)
		chunk->ops[chunk->op_count++] = (struct op_id){client, i + 1, ++chunk->version};
	return chunk;
}

static struct frame_header update_of(struct rig *rig, uint64_t client, uint64_t op,
				     uint64_t answered)
{
	struct frame_header header = rig_header(rig, FRAME_PUNCH, 1);

	header.client_id = client;
	header.op_id = op;
	header.answered = answered;
	header.range = BLOCK_SIZE;
	return header;
}

static struct frame_header closing_of(struct rig *rig, uint64_t client, uint64_t op)
{
	struct frame_header header = update_of(rig, client, op, op - 1);

	header.op = FRAME_TRUNCATE;
	header.flags = FRAME_CLOSING;
	header.range = 0;
	header.offset = MODEL_BYTES;
	return header;
}

static uint64_t asks(struct rig *rig, uint64_t client, uint64_t op, uint64_t answered)
{
	const struct frame_header header = update_of(rig, client, op, answered);

	return rig_ask(rig, CLIENT, &header, NULL);
}

/* Its turn comes, and the successor has it. */
static void goes_through(struct rig *rig)
{
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
}

/* The flags of the one answer that there is, which is OK. */
static uint16_t flags_of(struct rig *rig, uint64_t id)
{
	uint16_t flags;

	assert_int_equal(rig->answer_count, 1);
	flags = rig->answers[0].header.flags;
	assert_int_equal(answer_to(rig, id), FRAME_OK);
	return flags;
}

static void test_without_room_nothing_happens_until_there_is_some(void **state)
{
	struct rig *rig = rig_up(0);
	struct model_chunk *chunk = knows(rig, 7, LAST_QUARTER);
	struct frame_header header;
	uint64_t id;

	assert_int_equal(answer_to(rig, asks(rig, 5, 9, 3)), FRAME_STATUS_NOT_READY);
	assert_int_equal(rig->operation_count, 0);
	assert_int_equal(rig->sent_count, 0);
	/* Its client's oldest has the rest of the room. */
	id = asks(rig, 5, 9, 8);
	goes_through(rig);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY | FRAME_CROWDED);
	knows(rig, 8, OP_IDS_KEPT - chunk->op_count);
	assert_int_equal(answer_to(rig, asks(rig, 6, 1, 0)), FRAME_STATUS_NOT_READY);
	/* One that came before is known. */
	id = asks(rig, 7, 1, 0);
	assert_int_equal(rig->sent[0].header.version, 1);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY | FRAME_CROWDED);
	/* One that takes room away from nobody has it. */
	id = asks(rig, 5, 10, 9);
	goes_through(rig);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY | FRAME_CROWDED);
	assert_int_equal(chunk->op_count, OP_IDS_KEPT);
	/* And what only makes some always passes. */
	header = closing_of(rig, 7, LAST_QUARTER + 1);
	id = rig_ask(rig, CLIENT, &header, NULL);
	goes_through(rig);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY);
	assert_int_equal(chunk->op_count, OP_IDS_KEPT - LAST_QUARTER);
	id = asks(rig, 6, 1, 0);
	goes_through(rig);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY);
	rig_free_all(rig);
}

static void test_what_is_queued_counts(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t id;

	knows(rig, 7, LAST_QUARTER - 2);
	asks(rig, 5, 2, 0);
	asks(rig, 5, 3, 0);
	id = asks(rig, 5, 4, 0);
	assert_int_equal(answer_to(rig, id), FRAME_STATUS_NOT_READY);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, asks(rig, 5, 4, 0)), FRAME_STATUS_NOT_READY);
	id = asks(rig, 5, 1, 0);
	assert_int_equal(answer_to(rig, id), NO_ANSWER);
	rig_free_all(rig);
}

static void test_who_comes_where_there_are_few_is_not_told_to_close(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t id;

	knows(rig, 7, CROWDED - 1);
	id = asks(rig, 5, 1, 0);
	goes_through(rig);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY);
	id = asks(rig, 6, 1, 0);
	goes_through(rig);
	assert_int_equal(flags_of(rig, id), FRAME_REPLY | FRAME_CROWDED);
	rig_free_all(rig);
}

static void sessions_end(struct rig *rig, uint64_t fenced)
{
	struct cluster_map next = {.version = 2, .session_floor = 1}, *map;
	uint8_t *bytes;
	size_t size;

	next.fenced = &fenced;
	next.fenced_count = 1;
	assert_int_equal(cluster_map_encode(&next, &bytes, &size), 0);
	assert_int_equal(cluster_map_decode(bytes, size, &map), 0);
	free(bytes);
	chain_env_sessions(rig->env, map);
	cluster_map_unref(map);
	rig_run(rig);
}

static void test_sessions_that_are_over_make_room(void **state)
{
	struct rig *rig = rig_up(0);
	struct model_chunk *chunk = knows(rig, 7, OP_IDS_KEPT - 1);
	uint64_t id;

	knows(rig, 8, 1);
	assert_int_equal(answer_to(rig, asks(rig, 5, 1, 0)), FRAME_STATUS_NOT_READY);
	sessions_end(rig, 7);
	id = asks(rig, 5, 1, 0);
	goes_through(rig);
	assert_int_equal(answer_to(rig, id), FRAME_OK);
	assert_int_equal(chunk->op_count, 2);
	assert_int_equal(chunk->ops[0].client_id, 8);
	assert_int_equal(chunk->ops[1].client_id, 5);
	rig_free_all(rig);
}

/* The head knew by a newer map that there is room. */
static void test_a_member_without_room_waits_for_its_map(void **state)
{
	struct rig *rig = rig_new(2, 3);
	struct model_chunk *chunk = knows(rig, 7, OP_IDS_KEPT);
	uint64_t version = chunk->version, id;

	inbound_comes_up(rig);
	rig->answer_count = 0;
	id = predecessor_writes(rig, version + 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, id), NO_ANSWER);
	assert_int_equal(chunk->version, version);
	assert_int_equal(rig->troubles, 0);
	sessions_end(rig, 7);
	chain_tick(rig->env);
	rig_run(rig);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(answer_to(rig, id), FRAME_OK);
	assert_int_equal(chunk->op_count, 1);
	rig_free_all(rig);
}

static void test_a_closing_takes_a_version_and_leaves_no_id(void **state)
{
	struct rig *rig = rig_up(0);
	struct model_chunk *chunk = knows(rig, 5, 3);
	struct frame_header header = closing_of(rig, 5, 4);
	uint64_t write, id;

	/* Another's update is not in its way. */
	write = client_writes(rig, 9, 0, 1, 0);
	id = rig_ask(rig, CLIENT, &header, NULL);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->sent[1].header.flags, FRAME_FORWARD | FRAME_CLOSING);
	assert_int_equal(rig->sent[1].header.version, 5);
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, write), FRAME_OK);
	assert_int_equal(answer_to(rig, id), FRAME_OK);
	assert_int_equal(chunk->version, 5);
	assert_int_equal(chunk->op_count, 1);
	assert_int_equal(chunk->ops[0].op_id, 9);
	/* A second time it is another, and changes nothing. */
	header = closing_of(rig, 5, 4);
	id = rig_ask(rig, CLIENT, &header, NULL);
	goes_through(rig);
	assert_int_equal(answer_to(rig, id), FRAME_OK);
	assert_int_equal(chunk->op_count, 1);
	rig_free_all(rig);
}

static void test_a_closing_of_nothing_makes_nothing(void **state)
{
	struct rig *head = rig_up(0), *middle = rig_up(1);
	const struct chunk_key key = rig_key(1);
	struct frame_header header = closing_of(head, 5, 4);
	uint64_t id;

	assert_int_equal(answer_to(head, rig_ask(head, CLIENT, &header, NULL)), FRAME_OK);
	assert_int_equal(head->operation_count + head->sent_count, 0);
	/* The chunk is removed on its way. */
	knows(head, 5, 3);
	header = closing_of(head, 5, 4);
	id = rig_ask(head, CLIENT, &header, NULL);
	model_remove(&head->store, &key);
	goes_through(head);
	assert_int_equal(answer_to(head, id), FRAME_OK);
	assert_false(model_chunk(&head->store, &key)->exists);
	/* Here it has been removed already, at others not. */
	header = closing_of(middle, 5, 4);
	header.flags |= FRAME_FORWARD;
	header.version = 7;
	id = rig_ask(middle, BEFORE, &header, NULL);
	assert_int_equal(middle->operation_count, 0);
	assert_int_equal(middle->sent[0].header.version, 7);
	successor_answers(middle, FRAME_OK);
	assert_int_equal(answer_to(middle, id), FRAME_OK);
	assert_false(model_chunk(&middle->store, &key)->exists);
	rig_free_all(head);
	rig_free_all(middle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_room_nothing_happens_until_there_is_some),
		cmocka_unit_test(test_what_is_queued_counts),
		cmocka_unit_test(test_who_comes_where_there_are_few_is_not_told_to_close),
		cmocka_unit_test(test_sessions_that_are_over_make_room),
		cmocka_unit_test(test_a_member_without_room_waits_for_its_map),
		cmocka_unit_test(test_a_closing_takes_a_version_and_leaves_no_id),
		cmocka_unit_test(test_a_closing_of_nothing_makes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
