/* delegation_test - numbers that are delegated to a session.
 *
 * Goal: nobody else gets them, and the session gets what it names of its last two ranges, once; also
 * after a restart. Method: requests to a state in memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/sessions.h"
#include "tests/lib/state_fixture.h"

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	bool sound = state_is_sound(&f);

	fixture_end(&f);
	return sound ? 0 : -1;
}

static void a_session_numbers_inodes_from_the_ranges_it_was_given(void **state)
{
	uint64_t ino, file_id;

	assert_int_equal(do_delegate(&f, 10), 0);
	ino = f.reply->delegation->first_ino;
	file_id = f.reply->delegation->first_file_id;
	assert_int_equal(f.reply->delegation->count, 10);
	/* Nobody else gets them. */
	assert_int_equal(do_create(&f, ROOT_INO, "other"), 0);
	assert_true(reply_ino(&f) >= ino + 10);
	assert_true(f.reply->attr->file_id >= file_id + 10);
	assert_int_equal(do_create_number(&f, ino + 3, "a"), 0);
	assert_int_equal(reply_ino(&f), ino + 3);
	assert_int_equal(f.reply->attr->file_id, file_id + 3);
	assert_int_equal(do_create_number(&f, ino + 3, "b"), -EEXIST); /* taken */
	assert_int_equal(do_create_number(&f, ino + 10, "b"), -EINVAL);
	assert_int_equal(do_create_number(&f, ino - 1, "b"), -EINVAL);
	assert_int_equal(do_create_number(&f, ROOT_INO, "b"), -EINVAL);
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), -ENOENT);
	assert_int_equal(do_create_number(&f, ino + 9, "b"), 0);
	assert_int_equal(do_create_number(&f, ino + 8, "b"), -EEXIST); /* the name */
}

static int cut_to_nothing(uint64_t ino, uint64_t new_file_id)
{
	Catena__SetattrReq req = CATENA__SETATTR_REQ__INIT;

	req.ino = ino;
	req.mask = CATENA__SET_MASK__SET_SIZE;
	req.new_file_id = new_file_id;
	return do_setattr(&f, &req);
}

/* So that it is the same one when the command is repeated after another start. */
static void a_file_that_is_cut_to_nothing_gets_a_file_id_that_was_delegated(void **state)
{
	uint64_t first, file_id, ino;

	assert_int_equal(do_create(&f, ROOT_INO, "file"), 0);
	ino = reply_ino(&f);
	assert_int_equal(do_delegate(&f, 10), 0);
	first = f.reply->delegation->first_ino;
	file_id = f.reply->delegation->first_file_id;
	assert_int_equal(cut_to_nothing(ino, file_id + 3), 0);
	assert_int_equal(f.reply->attr->file_id, file_id + 3);
	assert_int_equal(f.reply->attr->size, 0);
	/* Not those of others, nor one that an inode has got. */
	assert_int_equal(cut_to_nothing(ino, file_id + 10), -EINVAL);
	assert_int_equal(cut_to_nothing(ino, file_id - 1), -EINVAL);
	assert_int_equal(do_create_number(&f, first + 4, "other"), 0);
	assert_int_equal(cut_to_nothing(ino, file_id + 4), -EINVAL);
	assert_int_equal(do_getattr(&f, ino), 0);
	assert_int_equal(f.reply->attr->file_id, file_id + 3);
	/* Without one the master chooses. */
	assert_int_equal(cut_to_nothing(ino, 0), 0);
	assert_true(f.reply->attr->file_id >= file_id + 10);
}

static void the_last_two_ranges_hold_also_after_a_restart(void **state)
{
	uint64_t first, second, third;

	assert_int_equal(do_delegate(&f, 5), 0);
	first = f.reply->delegation->first_ino;
	assert_int_equal(do_delegate(&f, 5), 0);
	second = f.reply->delegation->first_ino;
	assert_int_equal(do_create_number(&f, first, "a"), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(do_create_number(&f, first + 1, "b"), 0);
	assert_int_equal(do_create_number(&f, second, "c"), 0);
	assert_int_equal(do_delegate(&f, 5), 0);
	third = f.reply->delegation->first_ino;
	assert_int_equal(do_create_number(&f, first + 2, "d"), -EINVAL);
	assert_int_equal(do_create_number(&f, second + 1, "d"), 0);
	assert_int_equal(do_create_number(&f, third + 4, "e"), 0);
	assert_int_equal(do_delegate(&f, 0), -EINVAL);
	assert_int_equal(do_delegate(&f, DELEGATION_MAX + 1), -EINVAL);
	assert_int_equal(do_create_number(&f, third + 3, "f"), 0);
}

static void ranges_belong_to_their_session(void **state)
{
	uint64_t ino;

	assert_int_equal(do_delegate(&f, 5), 0);
	ino = f.reply->delegation->first_ino;
	assert_int_equal(session_open_as(f.state, ++f.index, 8, 1, "m", "n"), 0);
	f.session = 8;
	assert_int_equal(do_create_number(&f, ino, "a"), -EINVAL);
}

static void a_repeated_delegation_is_the_same(void **state)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__DelegateReq req = CATENA__DELEGATE_REQ__INIT;
	uint64_t first_ino, first_file_id;

	req.count = 7;
	request.op_case = CATENA__REQUEST__OP_DELEGATE;
	request.delegate = &req;
	request.id = 50;
	assert_int_equal(fixture_send(&f, &request), 0);
	first_ino = f.reply->delegation->first_ino;
	first_file_id = f.reply->delegation->first_file_id;
	assert_int_equal(fixture_send(&f, &request), 0);
	assert_int_equal(f.reply->delegation->first_ino, first_ino);
	assert_int_equal(f.reply->delegation->first_file_id, first_file_id);
	assert_int_equal(f.reply->delegation->count, 7);
	assert_int_equal(session_find(f.state, f.session)->delegations[1].count, 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_numbers_inodes_from_the_ranges_it_was_given),
		TEST(a_file_that_is_cut_to_nothing_gets_a_file_id_that_was_delegated),
		TEST(the_last_two_ranges_hold_also_after_a_restart),
		TEST(ranges_belong_to_their_session),
		TEST(a_repeated_delegation_is_the_same),
	};

	return cmocka_run_group_tests_name("delegated numbers", tests, NULL, NULL);
}
