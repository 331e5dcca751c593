/* replay_level_test - a kept log of a state whose level was raised, and of one with damage.
 *
 * Goal: a log that begins below this program's level comes out equal, and says at each segment what the
 * level was; a level that is another is found, and one of a later program stops the reader. A command
 * that met a damaged record is in the log as its refusal. Method: as replay_test; the store is changed
 * while nobody has it open, and the log is begun anew. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/records/core.h"
#include "tests/lib/tree.h"
#include "tests/unit/master/replay/replay_rig.h"
#include "tests/unit/master/replay/segment_edit.h"

/* Starts on a store that was changed, with a log of its own. */
static void start_anew(void)
{
	tree_remove(rig.log);
	rig_start();
	rig_wait_for_checkpoint(1);
}

static void raise_level(void)
{
	struct rig_turn turn = {.count = 0};

	rig_next_call(&turn)->command =
		(struct log_command){.kind = COMMAND_LEVEL, .level = STATE_LEVEL};
	rig_take_turn(&turn);
	assert_int_equal(state_level(rig.state), STATE_LEVEL);
}

static void start_below_the_level(void)
{
	uint8_t key[META_KEY_MAX];
	size_t size = key_meta(key, META_LEVEL, 0);

	rig_start();
	rig_work(10);
	rig_stop();
	rig_write_record(rig.store, FAMILY_META, key, size, NULL);
	start_anew();
	assert_int_equal(state_level(rig.state), 0);
	rig_work(10);
	raise_level();
	rig_work(400);
	assert_true(rig_last_number() >= 2);
	rig_stop();
}

static void test_a_level_that_was_raised_comes_out_equal(void **state)
{
	start_below_the_level();
	rig_expect_equal();
	assert_int_equal(rig_replay(3), 0);
	rig_expect_said("level");
}

static void test_another_level_differs(void **state)
{
	start_below_the_level();
	segment_change_level(rig_segment_path(2), STATE_LEVEL - 1);
	rig_expect_difference(1);
	rig_expect_said("segment 2 began at level 1, and the entries before it make level 2");
	segment_change_level(rig_segment_path(1), STATE_LEVEL);
	rig_expect_difference(1);
	rig_expect_said("segment 1 began at level 2, and the entries before it make level 0");
}

static void test_a_later_level_is_not_read(void **state)
{
	start_below_the_level();
	segment_change_level(rig_segment_path(2), STATE_LEVEL + 1);
	assert_int_equal(rig_replay(1), -EPROTONOSUPPORT);
	assert_non_null(strstr(rig.error, "segment 2 is of level 3, of a later version"));
}

/* ---- damage ---- */

static void name_bytes(ProtobufCBinaryData *out, char *name)
{
	out->data = (uint8_t *)name;
	out->len = strlen(name);
}

static uint64_t find_ino(char *name)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Reply *reply;
	uint8_t *bytes = NULL;
	size_t size = 0;
	uint64_t ino;

	lookup.parent = ROOT_INO;
	name_bytes(&lookup.name, name);
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	assert_int_equal(state_query(rig.state, rig.session, &request, &bytes, &size), 0);
	reply = catena__reply__unpack(NULL, size, bytes);
	assert_non_null(reply);
	assert_non_null(reply->attr);
	ino = reply->attr->ino;
	catena__reply__free_unpacked(reply, NULL);
	free(bytes);
	return ino;
}

/* Asks for a removal in a turn with two commands more. */
static void remove_between_others(char *name)
{
	struct rig_turn turn = {.count = 0};
	struct command_call *call;
	unsigned at;

	rig_add_request(&turn);
	at = turn.count;
	call = rig_next_call(&turn);
	catena__request__init(&turn.requests[at]);
	catena__unlink_req__init(&turn.unlinks[at]);
	turn.requests[at].id = ++rig.requests;
	turn.requests[at].op_case = CATENA__REQUEST__OP_UNLINK;
	turn.requests[at].unlink = &turn.unlinks[at];
	turn.unlinks[at].parent = ROOT_INO;
	name_bytes(&turn.unlinks[at].name, name);
	call->command = (struct log_command){.kind = COMMAND_REQUEST,
					     .session = rig.session,
					     .request = {.message = &turn.requests[at]}};
	rig_add_request(&turn);
	rig_take_turn(&turn);
}

static void test_a_command_that_met_damage_is_there_as_its_refusal(void **state)
{
	char name[] = "name-1";
	uint8_t key[8];

	rig_start();
	rig_work(10);
	key_u64(key, find_ino(name));
	rig_stop();
	rig_write_record(rig.store, FAMILY_INODES, key, sizeof(key), "damaged");
	start_anew();
	rig_work(10);
	remove_between_others(name);
	rig_work(10);
	rig_stop();
	rig_expect_equal();
	assert_int_equal(rig_replay(3), 0);
	rig_expect_said("refused{");
	/* The command itself is there, too, for who looks for what it did. */
	rig_expect_said("were undone");
}

int main(void)
{
#define with_master(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		with_master(test_a_level_that_was_raised_comes_out_equal),
		with_master(test_another_level_differs),
		with_master(test_a_later_level_is_not_read),
		with_master(test_a_command_that_met_damage_is_there_as_its_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
