/* meta_lease_test - the lease by our own clock.
 *
 * Goal: this mount never believes to hold the lease longer than the master does, takes no notice of
 * a grant it knows, and begins a new generation whenever something may have changed. Method: the
 * pure functions, with times made up; the end of the lease lies near the real clock's present only
 * where meta_sole() is asked. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include "fs/session/meta_internal.h"

#define LENGTH 1000u

static struct meta_lease lease;

static int setup(void **state)
{
	(void)state;
	meta_lease_init(&lease);
	meta_lease_session(&lease, LENGTH, 5000);
	return 0;
}

static uint64_t generation(void)
{
	return atomic_load(&lease.generation);
}

static void test_a_grant_begins_a_generation_and_its_repetition_does_not(void **state)
{
	uint64_t before = generation();
	(void)state;

	assert_true(meta_lease_grant(&lease, 7, 5100));
	assert_true(atomic_load(&lease.sole));
	assert_int_equal(generation(), before + 1);
	assert_false(meta_lease_grant(&lease, 7, 5200));
	assert_int_equal(generation(), before + 1);
	assert_int_equal(atomic_load(&lease.grant), 7);
	/* Another grant: in between it was another's. */
	assert_true(meta_lease_grant(&lease, 8, 5300));
	assert_int_equal(generation(), before + 2);
	assert_int_equal(atomic_load(&lease.grant), 8);
	/* A recall has a number of its own. */
	meta_lease_recall(&lease, UINT64_C(1) << 63);
	assert_int_equal(atomic_load(&lease.grant), 8);
}

static void test_it_ends_a_length_after_the_renewal_was_sent(void **state)
{
	uint64_t sequence;
	(void)state;

	assert_true(meta_lease_grant(&lease, 1, 5100));
	assert_int_equal(atomic_load(&lease.until_ns), 6000);
	sequence = meta_lease_renew_begin(&lease, 5250);
	assert_int_equal(lease.renew_due_ns, 5500);
	meta_lease_renewed(&lease, sequence, 5900);
	assert_int_equal(atomic_load(&lease.until_ns), 6250);
	assert_false(meta_lease_expired(&lease, 6249));
	assert_true(meta_lease_expired(&lease, 6250));
	assert_false(atomic_load(&lease.sole));
	assert_false(meta_lease_expired(&lease, 6251));
}

static void test_an_answer_that_comes_after_the_end_does_not_bring_it_back(void **state)
{
	uint64_t sequence, before;
	(void)state;

	assert_true(meta_lease_grant(&lease, 1, 5100));
	sequence = meta_lease_renew_begin(&lease, 5250);
	before = generation();
	meta_lease_renewed(&lease, sequence, 6001);
	assert_int_equal(atomic_load(&lease.until_ns), 6000);
	assert_true(meta_lease_expired(&lease, 6002));
	assert_int_equal(generation(), before + 1);
	/* The next renewal shows that we live; the repeated grant then counts as new. */
	sequence = meta_lease_renew_begin(&lease, 6100);
	meta_lease_renewed(&lease, sequence, 6200);
	assert_true(meta_lease_grant(&lease, 1, 6201));
	assert_int_equal(generation(), before + 2);
	assert_int_equal(atomic_load(&lease.until_ns), 7100);
}

static void test_answers_to_what_was_not_sent_count_nothing(void **state)
{
	(void)state;
	meta_lease_renewed(&lease, 0, 5100);
	meta_lease_renewed(&lease, 77, 5100);
	assert_int_equal(atomic_load(&lease.until_ns), 6000);
	meta_lease_renewed(&lease, meta_lease_renew_begin(&lease, 5600) + META_RENEWS_REMEMBERED,
			   5700);
	assert_int_equal(atomic_load(&lease.until_ns), 6000);
}

static void test_a_grant_that_comes_too_late_is_not_taken(void **state)
{
	(void)state;
	assert_false(meta_lease_grant(&lease, 1, 6000));
	assert_false(atomic_load(&lease.sole));
}

static void test_a_recall_ends_it_at_once_and_says_what_to_return(void **state)
{
	uint64_t before;
	(void)state;

	assert_true(meta_lease_grant(&lease, 3, 5100));
	before = generation();
	assert_true(meta_lease_recall(&lease, 4));
	assert_false(atomic_load(&lease.sole));
	assert_int_equal(generation(), before + 1);
	assert_true(lease.held);
	assert_int_equal(lease.sequence, 4);
	/* Also when it was lost before by our clock. */
	assert_true(meta_lease_recall(&lease, 5));
	assert_int_equal(generation(), before + 1);
	assert_int_equal(lease.sequence, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_grant_begins_a_generation_and_its_repetition_does_not,
				       setup),
		cmocka_unit_test_setup(test_it_ends_a_length_after_the_renewal_was_sent, setup),
		cmocka_unit_test_setup(
			test_an_answer_that_comes_after_the_end_does_not_bring_it_back, setup),
		cmocka_unit_test_setup(test_answers_to_what_was_not_sent_count_nothing, setup),
		cmocka_unit_test_setup(test_a_grant_that_comes_too_late_is_not_taken, setup),
		cmocka_unit_test_setup(test_a_recall_ends_it_at_once_and_says_what_to_return,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
