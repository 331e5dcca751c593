/* dircache_test - the cache of names never says what is not so.
 *
 * Goal: whatever the cache answers agrees with the directory, in spite of answers that are late,
 * changes that overlap, lost leases and evictions; and it answers at all when it should. Method:
 * single cases, then a seeded model: a "master" executes changes and lookups in the order they are
 * sent, their answers are given to the cache in random order, and every answer of the cache is
 * compared with the master when nothing about that name is under way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/inodes/dircache.h"

#define GEN 5

static struct dircache *cache;

static int setup(void **state)
{
	(void)state;
	return dircache_create(1000, &cache);
}

static int teardown(void **state)
{
	(void)state;
	dircache_destroy(cache);
	return 0;
}

static enum dircache_answer ask(uint64_t parent, const char *name, uint64_t *ino)
{
	return dircache_lookup(cache, GEN, parent, name, ino);
}

static void change(uint64_t parent, const char *name, uint64_t ino)
{
	struct dircache_change c = {.parent = parent, .name = name, .ino = ino};

	dircache_change_begin(cache, GEN, &c, 1);
	dircache_change_end(cache, GEN, &c, 1);
}

static void test_what_was_read_is_known(void **state)
{
	uint64_t token = dircache_read_begin(cache, GEN, 1), ino = 0;
	(void)state;

	assert_int_equal(ask(1, "a", &ino), DIRCACHE_UNKNOWN);
	assert_true(dircache_add(cache, GEN, token, 1, "a", 10));
	assert_true(dircache_add(cache, GEN, token, 1, "b", 0));
	assert_int_equal(ask(1, "a", &ino), DIRCACHE_FOUND);
	assert_int_equal(ino, 10);
	assert_int_equal(ask(1, "b", &ino), DIRCACHE_ABSENT);
	assert_int_equal(ask(1, "c", &ino), DIRCACHE_UNKNOWN);
	assert_int_equal(ask(2, "a", &ino), DIRCACHE_UNKNOWN);
}

static void test_a_new_directory_is_complete(void **state)
{
	uint64_t ino;
	(void)state;

	dircache_new(cache, GEN, 2);
	assert_int_equal(ask(2, "any", &ino), DIRCACHE_ABSENT);
	change(2, "any", 20);
	assert_int_equal(ask(2, "any", &ino), DIRCACHE_FOUND);
	change(2, "any", DIRCACHE_GONE);
	assert_int_equal(ask(2, "any", &ino), DIRCACHE_ABSENT);
	assert_int_equal(ask(2, "other", &ino), DIRCACHE_ABSENT);
}

static void test_a_directory_listed_whole_is_complete(void **state)
{
	uint64_t token = dircache_read_begin(cache, GEN, 3), ino;
	(void)state;

	assert_true(dircache_add(cache, GEN, token, 3, "x", 30));
	dircache_complete(cache, GEN, token, 3);
	assert_int_equal(ask(3, "x", &ino), DIRCACHE_FOUND);
	assert_int_equal(ask(3, "y", &ino), DIRCACHE_ABSENT);
}

static void test_a_change_in_between_voids_what_was_read(void **state)
{
	uint64_t token = dircache_read_begin(cache, GEN, 4), ino;
	(void)state;

	change(4, "new", 41);
	assert_false(dircache_add(cache, GEN, token, 4, "new", 0));
	dircache_complete(cache, GEN, token, 4);
	assert_int_equal(ask(4, "new", &ino), DIRCACHE_FOUND);
	assert_int_equal(ask(4, "unlisted", &ino), DIRCACHE_UNKNOWN);
}

static void test_only_the_name_that_changes_is_unknown_meanwhile(void **state)
{
	struct dircache_change c = {.parent = 5, .name = "n", .ino = 52};
	uint64_t ino;
	(void)state;

	dircache_new(cache, GEN, 5);
	change(5, "m", 51);
	dircache_change_begin(cache, GEN, &c, 1);
	assert_int_equal(ask(5, "n", &ino), DIRCACHE_UNKNOWN);
	assert_int_equal(ask(5, "m", &ino), DIRCACHE_FOUND);
	assert_int_equal(ask(5, "k", &ino), DIRCACHE_ABSENT);
	assert_int_equal(dircache_read_begin(cache, GEN, 5), 0);
	dircache_change_end(cache, GEN, &c, 1);
	assert_int_equal(ask(5, "n", &ino), DIRCACHE_FOUND);
	assert_int_equal(ino, 52);
}

static void test_nothing_is_concluded_from_changes_that_overlap(void **state)
{
	struct dircache_change make = {.parent = 6, .name = "n", .ino = 60};
	struct dircache_change remove = {.parent = 6, .name = "n", .ino = DIRCACHE_GONE};
	uint64_t ino;
	(void)state;

	dircache_new(cache, GEN, 6);
	dircache_change_begin(cache, GEN, &make, 1);
	dircache_change_begin(cache, GEN, &remove, 1);
	/* Executed in this order, answered in the other. */
	dircache_change_end(cache, GEN, &remove, 1);
	dircache_change_end(cache, GEN, &make, 1);
	assert_int_equal(ask(6, "n", &ino), DIRCACHE_UNKNOWN);
	assert_int_equal(ask(6, "m", &ino), DIRCACHE_UNKNOWN);
}

static void test_a_rename_inside_a_directory_is_one_change(void **state)
{
	struct dircache_change c[2] = {{.parent = 7, .name = "old", .ino = DIRCACHE_GONE},
				       {.parent = 7, .name = "new", .ino = 70}};
	uint64_t ino;
	(void)state;

	dircache_new(cache, GEN, 7);
	change(7, "old", 70);
	dircache_change_begin(cache, GEN, c, 2);
	dircache_change_end(cache, GEN, c, 2);
	assert_int_equal(ask(7, "old", &ino), DIRCACHE_ABSENT);
	assert_int_equal(ask(7, "new", &ino), DIRCACHE_FOUND);
	assert_int_equal(ask(7, "else", &ino), DIRCACHE_ABSENT);
}

static void test_another_generation_knows_nothing(void **state)
{
	uint64_t token, ino;
	(void)state;

	dircache_new(cache, GEN, 8);
	change(8, "a", 80);
	assert_int_equal(dircache_lookup(cache, GEN + 1, 8, "a", &ino), DIRCACHE_UNKNOWN);
	/* Late answers to what was asked before are void. */
	token = dircache_read_begin(cache, GEN, 8);
	assert_int_equal(token, 0);
	change(8, "a", 81);
	assert_int_equal(dircache_lookup(cache, GEN + 1, 8, "a", &ino), DIRCACHE_UNKNOWN);
}

static void test_an_eviction_ends_completeness(void **state)
{
	char name[32];
	uint64_t ino;
	unsigned unknown = 0;
	(void)state;

	dircache_new(cache, GEN, 9);
	for (uint64_t i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "file%llu", (unsigned long long)i);
		change(9, name, 1000 + i);
	}
	assert_true(dircache_count(cache) <= 1000);
	for (uint64_t i = 0; i < 1500; i++) {
		enum dircache_answer answer;

		snprintf(name, sizeof(name), "file%llu", (unsigned long long)i);
		answer = ask(9, name, &ino);
		assert_int_not_equal(answer, DIRCACHE_ABSENT);
		unknown += answer == DIRCACHE_UNKNOWN;
	}
	assert_true(unknown >= 500);
}

static void test_many_directories_are_bounded_too(void **state)
{
	uint64_t ino;
	(void)state;

	for (uint64_t i = 1; i <= 5000; i++)
		dircache_new(cache, GEN, i);
	assert_int_equal(ask(1, "a", &ino), DIRCACHE_UNKNOWN);
	assert_int_equal(ask(5000, "a", &ino), DIRCACHE_ABSENT);
}

/* Lists entries in pieces as the mount does; "n0" and on exist. Returns how many came. */
static unsigned list_some(unsigned exist)
{
	struct dircache_fetch fetch;
	unsigned came = 0;
	bool more = dircache_fetch_begin(cache, GEN, 1, &fetch);

	while (more) {
		unsigned from = (unsigned)fetch.cookie;
		unsigned to = from + 100 < exist ? from + 100 : exist;
		char name[16];

		for (unsigned i = from; i < to; i++) {
			snprintf(name, sizeof(name), "n%u", i);
			assert_true(dircache_add(cache, GEN, fetch.token, 1, name, 100 + i));
		}
		came += to - from;
		more = dircache_fetch_next(cache, GEN, 1, &fetch, to, to - from, to == exist);
	}
	return came;
}

static void miss(unsigned times)
{
	struct dircache_fetch fetch;

	for (unsigned i = 0; i < times; i++) {
		dircache_read_begin(cache, GEN, 1);
		assert_false(dircache_fetch_begin(cache, GEN, 1, &fetch));
	}
}

static void test_many_lookups_make_a_directory_known(void **state)
{
	uint64_t ino;
	(void)state;

	miss(DIRCACHE_FETCH_AFTER - 1);
	/* No more than is looked up would justify. */
	assert_int_equal(list_some(500), 300);
	assert_int_equal(ask(1, "n299", &ino), DIRCACHE_FOUND);
	assert_int_equal(ask(1, "n300", &ino), DIRCACHE_UNKNOWN);
	assert_int_equal(list_some(500), 100);
	assert_int_equal(list_some(500), 0);
	assert_int_equal(list_some(500), 100);
	assert_int_equal(ask(1, "n499", &ino), DIRCACHE_FOUND);
	assert_int_equal(ask(1, "nothing", &ino), DIRCACHE_ABSENT);
	assert_int_equal(list_some(500), 0);
}

static void test_a_change_begins_the_listing_anew(void **state)
{
	struct dircache_change c = {.parent = 1, .name = "new", .ino = 7};
	struct dircache_fetch fetch, second;
	uint64_t ino;
	(void)state;

	miss(DIRCACHE_FETCH_AFTER - 1);
	assert_true(dircache_fetch_begin(cache, GEN, 1, &fetch));
	assert_true(dircache_fetch_next(cache, GEN, 1, &fetch, 50, 50, false));
	assert_int_equal(fetch.cookie, 50);
	dircache_change_begin(cache, GEN, &c, 1);
	assert_false(dircache_fetch_next(cache, GEN, 1, &fetch, 100, 50, true));
	dircache_change_end(cache, GEN, &c, 1);
	assert_int_equal(ask(1, "nothing", &ino), DIRCACHE_UNKNOWN);
	assert_true(dircache_fetch_begin(cache, GEN, 1, &fetch));
	assert_int_equal(fetch.cookie, 0);
	/* One at a time. */
	assert_false(dircache_fetch_begin(cache, GEN, 1, &second));
	assert_false(dircache_fetch_next(cache, GEN, 1, &fetch, 100, 50, true));
	assert_int_equal(ask(1, "nothing", &ino), DIRCACHE_ABSENT);
}

/* It once was: a name that had been dropped did not exist then. */
static void test_a_directory_larger_than_the_cache_is_never_complete(void **state)
{
	uint64_t token = dircache_read_begin(cache, GEN, 1), ino;
	char name[16];
	(void)state;

	for (unsigned i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		dircache_add(cache, GEN, token, 1, name, 100 + i);
	}
	dircache_complete(cache, GEN, token, 1);
	assert_int_equal(ask(1, "n0", &ino), DIRCACHE_UNKNOWN);
}

/* ---- the model ---- */

enum { NAMES = 6, PENDING = 8, STEPS = 200000 };

struct request {
	bool used, is_change, shared;
	unsigned name;
	uint64_t token, result, generation;
};

static uint64_t master_has[NAMES];
static struct request requests[PENDING];
static unsigned changes_of[NAMES];
static unsigned seed = 20240817;
static uint64_t model_generation = GEN, next_ino = 100;

static unsigned below(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

static const char *name_of(unsigned i)
{
	static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f"};

	return names[i];
}

static void send_request(struct request *r, bool is_change)
{
	*r = (struct request){.used = true,
			      .is_change = is_change,
			      .name = below(NAMES),
			      .generation = model_generation};
	if (is_change) {
		struct dircache_change c = {.parent = 1, .name = name_of(r->name)};

		dircache_change_begin(cache, r->generation, &c, 1);
		changes_of[r->name]++;
		master_has[r->name] = master_has[r->name] != 0 ? 0 : next_ino++;
	} else {
		r->token = dircache_read_begin(cache, r->generation, 1);
	}
	r->result = master_has[r->name]; /* executed when sent: one session is served in order */
}

static void answer_request(struct request *r)
{
	if (r->is_change) {
		struct dircache_change c = {
			.parent = 1, .name = name_of(r->name), .ino = r->result};

		changes_of[r->name]--;
		dircache_change_end(cache, r->generation, &c, 1);
	} else if (r->token != 0) {
		dircache_add(cache, r->generation, r->token, 1, name_of(r->name), r->result);
	}
	r->used = false;
}

static void test_in_any_order_of_answers_the_cache_agrees_with_the_master(void **state)
{
	unsigned found = 0, absent = 0;
	(void)state;

	printf("seed %u\n", seed);
	for (unsigned step = 0; step < STEPS; step++) {
		struct request *r = &requests[below(PENDING)];
		uint64_t ino = 0;
		unsigned n = below(NAMES);

		if (!r->used)
			send_request(r, below(100) < 30);
		else
			answer_request(r);
		/* A lost lease: others changed things, all that was known is void. */
		if (below(5000) == 0) {
			bool quiet = true;

			for (unsigned i = 0; i < PENDING; i++)
				quiet &= !requests[i].used;
			model_generation++;
			if (quiet)
				master_has[below(NAMES)] = next_ino++;
		}
		if (changes_of[n] != 0)
			continue;
		switch (dircache_lookup(cache, model_generation, 1, name_of(n), &ino)) {
		case DIRCACHE_FOUND:
			found++;
			assert_int_equal(ino, master_has[n]);
			break;
		case DIRCACHE_ABSENT:
			absent++;
			assert_int_equal(master_has[n], 0);
			break;
		default:
			break;
		}
	}
	for (unsigned i = 0; i < PENDING; i++)
		if (requests[i].used)
			answer_request(&requests[i]);
	/* It did answer. */
	assert_true(found > STEPS / 100);
	assert_true(absent > STEPS / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_read_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_new_directory_is_complete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_directory_listed_whole_is_complete, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_change_in_between_voids_what_was_read, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_only_the_name_that_changes_is_unknown_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_concluded_from_changes_that_overlap,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_rename_inside_a_directory_is_one_change,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_generation_knows_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_an_eviction_ends_completeness, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_many_directories_are_bounded_too, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_many_lookups_make_a_directory_known, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_change_begins_the_listing_anew, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_a_directory_larger_than_the_cache_is_never_complete, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_in_any_order_of_answers_the_cache_agrees_with_the_master, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
