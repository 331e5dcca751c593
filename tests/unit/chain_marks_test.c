/* Goal: an old copy of an update is known as long as one may come, and clients that are gone leave
 * nothing behind. Method: connections of clients come and go, updates come over them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "chunkserver/chain_marks.h"

static bool late(struct chain_mark *mark, uint64_t op_id, uint64_t answered)
{
	struct frame_header header = {.op = FRAME_WRITE, .op_id = op_id, .answered = answered};

	return chain_mark_late(mark, &header);
}

static void test_what_was_answered_is_late_and_what_was_not_is_a_repetition(void **state)
{
	struct chain_marks marks = {0};
	struct chain_mark *mark = chain_marks_join(&marks, 7, "a");

	assert_false(late(mark, 1, 0));
	assert_false(late(mark, 3, 1));
	assert_true(late(mark, 1, 0));
	assert_false(late(mark, 2, 1));
	assert_false(late(mark, 3, 1));
	/* What an older update says takes nothing back. */
	assert_false(late(mark, 9, 8));
	assert_false(late(mark, 10, 4));
	assert_true(late(mark, 8, 7));
	chain_marks_leave(&marks, mark);
	chain_marks_free(&marks);
}

static void test_a_copy_in_an_older_connection_is_known_when_newer_ones_are_gone(void **state)
{
	struct chain_marks marks = {0};
	/* Nothing has come over it yet. */
	struct chain_mark *old = chain_marks_join(&marks, 7, "a");
	struct chain_mark *new = chain_marks_join(&marks, 7, "a");

	assert_false(late(new, 5, 4));
	assert_false(late(new, 6, 5));
	chain_marks_leave(&marks, new);
	assert_true(late(old, 5, 4));
	chain_marks_leave(&marks, old);
	chain_marks_free(&marks);
}

static void test_clients_know_nothing_of_each_other(void **state)
{
	struct chain_marks marks = {0};
	struct chain_mark *first = chain_marks_join(&marks, 7, "a");
	struct chain_mark *second = chain_marks_join(&marks, 8, "a");
	struct chain_mark *liar = chain_marks_join(&marks, 7, "b");

	assert_false(late(liar, UINT64_MAX, UINT64_MAX - 1));
	assert_false(late(first, 5, 4));
	assert_false(late(second, 1, 0));
	assert_true(late(first, 4, 0));
	chain_marks_leave(&marks, liar);
	chain_marks_leave(&marks, first);
	chain_marks_leave(&marks, second);
	chain_marks_free(&marks);
}

/* A server lives for months, and mounts come and go. */
static void test_clients_that_are_gone_are_forgotten(void **state)
{
	struct chain_marks marks = {0};
	struct chain_mark *stays = chain_marks_join(&marks, 1, "a");

	assert_false(late(stays, 2, 1));
	for (uint64_t client = 2; client < 100000; client++) {
		struct chain_mark *mark = chain_marks_join(&marks, client, "a");

		assert_non_null(mark);
		assert_false(late(mark, 2, 1));
		chain_marks_leave(&marks, mark);
		assert_int_equal(marks.table.count, 1);
	}
	assert_true(late(stays, 1, 0));
	chain_marks_leave(&marks, NULL);
	chain_marks_leave(&marks, stays);
	assert_int_equal(marks.table.count, 0);
	chain_marks_free(&marks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_answered_is_late_and_what_was_not_is_a_repetition),
		cmocka_unit_test(
			test_a_copy_in_an_older_connection_is_known_when_newer_ones_are_gone),
		cmocka_unit_test(test_clients_know_nothing_of_each_other),
		cmocka_unit_test(test_clients_that_are_gone_are_forgotten),
	};

	return cmocka_run_group_tests_name("chain_marks", tests, NULL, NULL);
}
