/* Goal: what is written, sent, answered, flushed or lost counts as it should. Method: single cases by
 * hand; writeback_random_test.c has the rest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/chunk.h"
#include "fs/writeback/writeback.h"
#include "tests/unit/fs/writeback/writeback_fixture.h"

struct fixture {
	struct buf_pool *pool;
	struct writeback *wb;
};

static int setup(void **state)
{
	static struct fixture f;

	assert_int_equal(buf_pool_create(0, &f.pool), 0);
	assert_int_equal(writeback_create(4 * MIB, 16, f.pool, &f.wb), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	writeback_destroy(f->wb);
	assert_int_equal(buf_pool_used(f->pool), 0);
	buf_pool_destroy(f->pool);
	return 0;
}

static void put(struct fixture *f, uint64_t offset, uint32_t length, uint8_t fill)
{
	assert_int_equal(
		writeback_write(f->wb, offset, payload_of(f->pool, length, fill), false, NULL), 0);
}

static void test_a_large_payload_goes_at_once_and_is_not_copied(void **state)
{
	struct fixture *f = *state;
	struct buf *payload = payload_of(f->pool, MIB, 1), *sent;
	struct writeback_extent *e;

	buf_ref(payload);
	assert_int_equal(writeback_write(f->wb, 12345, payload, false, NULL), 0);
	e = writeback_next(f->wb, false, false);
	assert_non_null(e);
	assert_int_equal(e->offset, 12345);
	sent = writeback_payload(f->wb, e);
	assert_ptr_equal(sent, payload);
	buf_unref(sent);
	buf_unref(payload);
	writeback_done(f->wb, e, 0, 1, 1, false);
	assert_false(writeback_busy(f->wb));
	assert_int_equal(writeback_memory(f->wb), 0);
}

static void test_small_writes_become_one_update_when_the_window_is_full(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *e;

	for (uint32_t at = 0; at < MIB; at += 4096) {
		assert_null(writeback_next(f->wb, false, false));
		put(f, MIB + at, 4096, (uint8_t)(at >> 12));
	}
	assert_int_equal(writeback_extents(f->wb), 1);
	e = writeback_next(f->wb, false, false);
	assert_non_null(e);
	assert_int_equal(e->offset, MIB);
	assert_int_equal(e->length, MIB);
	writeback_done(f->wb, e, 0, 1, 1, false);
}

static void test_writes_in_any_order_are_made_one_update_when_sent(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *e;
	struct buf *sent;

	for (uint32_t i = 10; i-- > 0;)
		put(f, 8192 + i * 1000, 1000, (uint8_t)i);
	assert_int_equal(writeback_extents(f->wb), 10);
	assert_null(writeback_next(f->wb, false, false));
	e = writeback_next(f->wb, true, true);
	assert_int_equal(e->offset, 8192);
	assert_int_equal(e->length, 10000);
	assert_true(e->durable);
	sent = writeback_payload(f->wb, e);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(buf_payload(sent)[i], i / 1000);
	buf_unref(sent);
	writeback_done(f->wb, e, 0, 7, 1, true);
	assert_false(writeback_has_unflushed(f->wb));
}

static void test_a_rewrite_waits_for_the_update_in_flight(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *first, *second;
	struct writeback_segment *segs;
	size_t count;

	put(f, 0, 4096, 1);
	first = writeback_next(f->wb, true, false);
	assert_non_null(first);
	put(f, 100, 50, 2);
	assert_null(writeback_next(f->wb, true, false));
	assert_int_equal(writeback_lookup(f->wb, 0, 8192, &segs, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(segs[0].data[0], 1);
	assert_int_equal(segs[1].offset, 100);
	assert_int_equal(segs[1].data[0], 2);
	assert_int_equal(segs[2].offset, 150);
	assert_int_equal(segs[2].length, 4096 - 150);
	for (size_t i = 0; i < count; i++)
		writeback_buffer_unpin(segs[i].mem);
	free(segs);
	writeback_done(f->wb, first, 0, 1, 1, false);
	second = writeback_next(f->wb, true, false);
	assert_non_null(second);
	assert_int_equal(second->offset, 100);
	writeback_done(f->wb, second, 0, 2, 1, false);
}

static void test_bytes_that_a_reader_holds_are_not_changed(void **state)
{
	struct fixture *f = *state;
	struct writeback_segment *segs;
	size_t count;

	put(f, 0, 100, 1);
	assert_int_equal(writeback_lookup(f->wb, 0, 100, &segs, &count), 0);
	put(f, 0, 100, 2);
	assert_int_equal(segs[0].data[0], 1);
	assert_int_equal(segs[0].data[99], 1);
	writeback_buffer_unpin(segs[0].mem);
	free(segs);
	assert_int_equal(writeback_lookup(f->wb, 0, 100, &segs, &count), 0);
	assert_int_equal(segs[0].data[0], 2);
	writeback_buffer_unpin(segs[0].mem);
	free(segs);
}

static void test_a_wait_outlives_bytes_that_newer_ones_replaced(void **state)
{
	struct fixture *f = *state;
	struct writeback_wait wait;
	struct writeback_extent *e;

	put(f, 0, 4096, 1);
	assert_int_equal(writeback_wait(f->wb, &wait), 0);
	put(f, 0, 4096, 2);
	assert_null(writeback_fired(f->wb));
	e = writeback_next(f->wb, true, false);
	writeback_done(f->wb, e, 0, 1, 1, false);
	assert_ptr_equal(writeback_fired(f->wb), &wait);
	assert_int_equal(wait.error, 0);
}

static void test_a_wait_does_not_wait_for_later_writes(void **state)
{
	struct fixture *f = *state;
	struct writeback_wait wait;
	struct writeback_extent *first, *second;

	put(f, 0, 4096, 1);
	first = writeback_next(f->wb, true, false);
	assert_int_equal(writeback_wait(f->wb, &wait), 0);
	put(f, MIB, 4096, 2);
	second = writeback_next(f->wb, true, false);
	assert_non_null(second);
	writeback_done(f->wb, first, 0, 1, 1, false);
	assert_ptr_equal(writeback_fired(f->wb), &wait);
	writeback_done(f->wb, second, 0, 2, 1, false);
}

static void test_a_write_with_its_own_wait_needs_no_other(void **state)
{
	struct fixture *f = *state;
	struct writeback_wait a, b, c;
	struct writeback_extent *ea, *eb, *ec;

	assert_int_equal(writeback_write(f->wb, 0, payload_of(f->pool, 4096, 1), false, &a), 0);
	ea = writeback_next(f->wb, true, false);
	assert_int_equal(writeback_write(f->wb, MIB, payload_of(f->pool, 4096, 2), false, &b), 0);
	eb = writeback_next(f->wb, true, false);
	/* This one overlaps the first, and has to come after it. */
	assert_int_equal(writeback_write(f->wb, 100, payload_of(f->pool, 100, 3), false, &c), 0);
	assert_null(writeback_next(f->wb, true, false));
	writeback_done(f->wb, eb, -EIO, 0, 1, false);
	assert_ptr_equal(writeback_fired(f->wb), &b);
	assert_int_equal(b.error, -EIO);
	assert_int_equal(writeback_take_error(f->wb), 0);
	writeback_done(f->wb, ea, 0, 1, 1, false);
	assert_ptr_equal(writeback_fired(f->wb), &a);
	assert_int_equal(a.error, 0);
	ec = writeback_next(f->wb, true, false);
	writeback_done(f->wb, ec, 0, 2, 1, false);
	assert_ptr_equal(writeback_fired(f->wb), &c);
	assert_int_equal(c.error, 0);
}

static void test_an_error_is_kept_once(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *e;

	put(f, 0, 4096, 1);
	e = writeback_next(f->wb, true, false);
	writeback_done(f->wb, e, -ENOSPC, 0, 1, false);
	assert_int_equal(writeback_take_error(f->wb), -ENOSPC);
	assert_int_equal(writeback_take_error(f->wb), 0);
	assert_false(writeback_has_unflushed(f->wb));
}

static void test_durability_is_counted_in_versions(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *a, *b;
	struct writeback_unflushed *list;
	size_t count;

	put(f, 0, 4096, 1);
	put(f, MIB, 4096, 1);
	a = writeback_next(f->wb, true, true);
	b = writeback_next(f->wb, true, true);
	assert_false(a->durable);
	assert_true(b->durable);
	/* The flushed one was applied after the other, whose answer comes later. */
	writeback_done(f->wb, b, 0, 2, 1, true);
	writeback_done(f->wb, a, 0, 1, 1, false);
	assert_false(writeback_has_unflushed(f->wb));

	put(f, 0, 4096, 1);
	a = writeback_next(f->wb, true, false);
	writeback_done(f->wb, a, 0, 3, 1, false);
	assert_int_equal(writeback_unflushed(f->wb, &list, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].version, 3);
	free(list);
	put(f, 0, 4096, 1);
	a = writeback_next(f->wb, true, false);
	writeback_done(f->wb, a, 0, 4, 1, false);
	writeback_flushed(f->wb, 0, 3);
	assert_true(writeback_has_unflushed(f->wb));
	writeback_flushed(f->wb, 0, 4);
	assert_false(writeback_has_unflushed(f->wb));
}

/* What an update tells that its copies must have. */
static uint64_t known_to_the_next(struct fixture *f, struct writeback_extent **e)
{
	put(f, 0, 4096, 1);
	*e = writeback_next(f->wb, true, false);
	return atomic_load(&writeback_known((*e)->chunk)->version);
}

static uint64_t epoch_known(const struct writeback_extent *e)
{
	return atomic_load(&writeback_known(e->chunk)->epoch);
}

static void test_an_update_tells_what_was_answered_and_not_flushed(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *e, *other;

	assert_int_equal(known_to_the_next(f, &e), 0);
	writeback_done(f->wb, e, 0, 7, 1, false);
	assert_int_equal(known_to_the_next(f, &e), 7);
	/* What is answered while it is under way counts when it goes out again. */
	writeback_flushed(f->wb, 0, 7);
	assert_int_equal(atomic_load(&writeback_known(e->chunk)->version), 0);
	writeback_done(f->wb, e, 0, 8, 3, false);
	assert_int_equal(known_to_the_next(f, &e), 8);
	assert_int_equal(epoch_known(e), 3);
	/* An older answer that comes late changes nothing. */
	put(f, 4096, 4096, 1);
	other = writeback_next(f->wb, true, false);
	writeback_done(f->wb, other, 0, 7, 4, false);
	assert_int_equal(epoch_known(e), 3);
	/* The copies have lost that: told once, and the versions that they have now count. */
	assert_int_equal(writeback_lost(f->wb, e->chunk), 8192);
	assert_int_equal(writeback_lost(f->wb, e->chunk), 0);
	writeback_done(f->wb, e, -EIO, 0, 0, false);
	assert_true(writeback_has_unflushed(f->wb));
	assert_int_equal(writeback_take_error(f->wb), -EIO);
	assert_int_equal(writeback_take_error(f->wb), 0);
	assert_int_equal(known_to_the_next(f, &e), 0);
	writeback_done(f->wb, e, 0, 5, 6, false);
	assert_int_equal(known_to_the_next(f, &e), 5);
	assert_int_equal(epoch_known(e), 6);
	writeback_done(f->wb, e, 0, 6, 6, true);
	assert_false(writeback_has_unflushed(f->wb));
}

static size_t count_unflushed(struct fixture *f)
{
	struct writeback_unflushed *list;
	size_t count;

	assert_int_equal(writeback_unflushed(f->wb, &list, &count), 0);
	free(list);
	return count;
}

/* The copies lose their power between an answer and a flush, and give lower versions from then on. An
 * update hears of it first, then the flush. */
static void test_what_a_flush_finds_lost_after_an_update_leaves_nothing_over(void **state)
{
	struct fixture *f = *state;
	struct writeback_unflushed covers = {.version = 8, .epoch = 1};
	struct writeback_extent *e;

	assert_int_equal(known_to_the_next(f, &e), 0);
	writeback_done(f->wb, e, 0, 8, 1, false);
	assert_int_equal(known_to_the_next(f, &e), 8);
	put(f, 8192, 4096, 1); /* so that the chunk stays */
	writeback_lost(f->wb, e->chunk);
	writeback_done(f->wb, e, -EIO, 0, 0, false);
	writeback_flush_lost(f->wb, &covers);
	assert_false(writeback_has_unflushed(f->wb));
	e = writeback_next(f->wb, true, false);
	writeback_done(f->wb, e, 0, 5, 2, false);
	assert_true(writeback_has_unflushed(f->wb));
	assert_int_equal(count_unflushed(f), 1);
	writeback_flushed(f->wb, 0, 5);
	assert_false(writeback_has_unflushed(f->wb));
	writeback_drop(f->wb);
}

/* The flush hears of it first: what is answered then is unflushed, whatever its version. */
static void test_what_is_answered_after_a_flush_that_found_a_loss_is_to_be_flushed(void **state)
{
	struct fixture *f = *state;
	struct writeback_unflushed covers = {.version = 8, .epoch = 1};
	struct writeback_extent *e;

	assert_int_equal(known_to_the_next(f, &e), 0);
	writeback_done(f->wb, e, 0, 8, 1, false);
	put(f, 8192, 4096, 1); /* so that the chunk stays */
	writeback_flush_lost(f->wb, &covers);
	assert_false(writeback_has_unflushed(f->wb));
	e = writeback_next(f->wb, true, false);
	assert_int_equal(atomic_load(&writeback_known(e->chunk)->version), 0);
	put(f, 16384, 4096, 1);
	writeback_done(f->wb, e, 0, 5, 2, false);
	assert_int_equal(count_unflushed(f), 1);
	/* Another flush that was under way as well says it once more: that is of the former epoch. */
	writeback_flush_lost(f->wb, &covers);
	assert_int_equal(count_unflushed(f), 1);
	writeback_flushed(f->wb, 0, 5);
	assert_false(writeback_has_unflushed(f->wb));
	writeback_drop(f->wb);
}

/* An update fails for another reason, and one of a lower version is answered late. */
static void test_a_flush_covers_no_more_than_was_answered(void **state)
{
	struct fixture *f = *state;
	struct writeback_extent *e;

	assert_int_equal(known_to_the_next(f, &e), 0);
	writeback_done(f->wb, e, 0, 8, 1, false);
	assert_int_equal(known_to_the_next(f, &e), 8);
	put(f, 8192, 4096, 1);
	writeback_done(f->wb, e, -EIO, 0, 0, false);
	writeback_flushed(f->wb, 0, 8);
	assert_false(writeback_has_unflushed(f->wb));
	e = writeback_next(f->wb, true, false);
	writeback_done(f->wb, e, 0, 5, 1, false);
	assert_int_equal(count_unflushed(f), 1);
	writeback_flushed(f->wb, 0, 5);
	assert_false(writeback_has_unflushed(f->wb));
	writeback_drop(f->wb);
}

/* A write with a wait of its own hears of its own error alone; what it has found is for all. */
static void test_what_an_o_direct_write_finds_lost_the_next_flush_is_told(void **state)
{
	struct fixture *f = *state;
	struct writeback_wait wait;
	struct writeback_extent *e;

	assert_int_equal(known_to_the_next(f, &e), 0);
	writeback_done(f->wb, e, 0, 7, 2, false);
	assert_int_equal(writeback_write(f->wb, 0, payload_of(f->pool, 4096, 2), false, &wait), 0);
	e = writeback_next(f->wb, true, false);
	assert_int_equal(writeback_lost(f->wb, e->chunk), 4096);
	writeback_done(f->wb, e, -EIO, 0, 0, false);
	assert_ptr_equal(writeback_fired(f->wb), &wait);
	assert_int_equal(wait.error, -EIO);
	assert_int_equal(writeback_take_error(f->wb), -EIO);
}

static void test_a_dropped_file_forgets_all_but_what_is_in_flight(void **state)
{
	struct fixture *f = *state;
	struct writeback_wait wait;
	struct writeback_extent *e;

	put(f, 0, 4096, 1);
	e = writeback_next(f->wb, true, false);
	put(f, 8192, 4096, 1);
	assert_int_equal(writeback_wait(f->wb, &wait), 0);
	writeback_drop(f->wb);
	assert_false(writeback_overlaps(f->wb, 0, 4 * MIB));
	assert_null(writeback_fired(f->wb));
	writeback_done(f->wb, e, -EIO, 0, 1, false);
	assert_ptr_equal(writeback_fired(f->wb), &wait);
	assert_int_equal(wait.error, 0);
	assert_int_equal(writeback_take_error(f->wb), 0);
	assert_false(writeback_busy(f->wb));
}
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_large_payload_goes_at_once_and_is_not_copied),
		CASE(test_small_writes_become_one_update_when_the_window_is_full),
		CASE(test_writes_in_any_order_are_made_one_update_when_sent),
		CASE(test_a_rewrite_waits_for_the_update_in_flight),
		CASE(test_bytes_that_a_reader_holds_are_not_changed),
		CASE(test_a_wait_outlives_bytes_that_newer_ones_replaced),
		CASE(test_a_wait_does_not_wait_for_later_writes),
		CASE(test_a_write_with_its_own_wait_needs_no_other),
		CASE(test_an_error_is_kept_once),
		CASE(test_durability_is_counted_in_versions),
		CASE(test_an_update_tells_what_was_answered_and_not_flushed),
		CASE(test_what_a_flush_finds_lost_after_an_update_leaves_nothing_over),
		CASE(test_what_is_answered_after_a_flush_that_found_a_loss_is_to_be_flushed),
		CASE(test_a_flush_covers_no_more_than_was_answered),
		CASE(test_what_an_o_direct_write_finds_lost_the_next_flush_is_told),
		CASE(test_a_dropped_file_forgets_all_but_what_is_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
