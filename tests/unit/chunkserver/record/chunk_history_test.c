/* Goal: a chunk's history says of nothing that was answered and is gone that it is still there, and
 * of what is there that it is not only when it has had to forget. Method: the cases by hand; random
 * lives of a chunk that is changed, loses what was not flushed and goes on in the next epoch, where
 * every answer that was ever given is asked for again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "chunkserver/record/chunk_history.h"
#include "tests/lib/random.h"

static void test_numbers_that_were_given_again_are_told_apart(void **state)
{
	struct chunk_history h = {0};

	(void)state;
	chunk_history_change(&h, 0, 0, 5); /* made, up to version 10 */
	assert_int_equal(h.count, 0);
	assert_true(chunk_history_has(&h, 5, 5, 10));
	/* All copies went back to 7. */
	assert_true(chunk_history_has(&h, 5, 5, 7));
	chunk_history_change(&h, 5, 7, 6);
	chunk_history_change(&h, 6, 8, 6);
	assert_true(chunk_history_has(&h, 6, 5, 7));
	assert_false(chunk_history_has(&h, 6, 5, 8));
	assert_false(chunk_history_has(&h, 6, 5, 10));
	assert_true(chunk_history_has(&h, 6, 6, 10));
	/* What was answered before the chunk was made is of another that was lost. */
	assert_false(chunk_history_has(&h, 6, 4, 3));
}

static void test_a_chunk_that_was_made_again_has_nothing_of_the_one_before(void **state)
{
	struct chunk_history h = {0};

	(void)state;
	chunk_history_change(&h, 0, 0, 9);
	assert_false(chunk_history_has(&h, 9, 8, 1));
	assert_true(chunk_history_has(&h, 9, 9, 1));
}

static void test_of_lost_blocks_nothing_that_was_answered_before_is_vouched_for(void **state)
{
	struct chunk_history h = {.lost = true, .count = 1, .turns = {{3, 0}}};

	(void)state;
	assert_false(chunk_history_has(&h, 4, 4, 1));
	chunk_history_change(&h, 4, 20, 6);
	assert_false(h.lost);
	assert_int_equal(h.count, 1);
	assert_false(chunk_history_has(&h, 6, 5, 1));
	assert_true(chunk_history_has(&h, 6, 6, 21));
	/* It was lost again before it was changed. */
	h.lost = true;
	assert_false(chunk_history_has(&h, 6, 6, 21));
}

static void test_the_digest_tells_histories_apart(void **state)
{
	struct chunk_history none = {0}, lost = {.lost = true};
	struct chunk_history a = {.count = 1, .turns = {{3, 1}}};
	struct chunk_history b = {.count = 1, .turns = {{3, 2}}};

	(void)state;
	assert_int_equal(chunk_history_digest(&none), 0);
	assert_int_not_equal(chunk_history_digest(&lost), 0);
	assert_int_not_equal(chunk_history_digest(&a), chunk_history_digest(&b));
	a.turns[HISTORY_TURNS - 1] = (struct history_turn){9, 9}; /* not one of it */
	b.turns[0].version = 1;
	assert_int_equal(chunk_history_digest(&a), chunk_history_digest(&b));
}

static void test_only_what_can_be_is_sound(void **state)
{
	struct chunk_history h = {.count = 2, .turns = {{3, 1}, {4, 1}}};

	(void)state;
	assert_true(chunk_history_is_sound(&h));
	h.turns[1].version = 0;
	assert_false(chunk_history_is_sound(&h));
	h.turns[1] = (struct history_turn){3, 5};
	assert_false(chunk_history_is_sound(&h));
	h = (struct chunk_history){.count = HISTORY_TURNS + 1};
	assert_false(chunk_history_is_sound(&h));
	h = (struct chunk_history){.count = 1};
	assert_false(chunk_history_is_sound(&h));
}

/* ---- random lives ---- */

#define VERSIONS 64u

struct life {
	struct chunk_history history;
	uint64_t at, version, epoch;
	uint64_t made[VERSIONS]; /* which update each version is now */
	uint64_t flushed, updates;
	struct {
		uint64_t epoch, version, update;
	} answered[400];
	unsigned count;
};

static void change(struct life *life)
{
	chunk_history_change(&life->history, life->at, life->version, life->epoch);
	life->at = life->epoch;
	life->made[++life->version] = ++life->updates;
	life->answered[life->count].epoch = life->epoch;
	life->answered[life->count].version = life->version;
	life->answered[life->count++].update = life->updates;
}

static unsigned lies(const struct life *life, unsigned *needless)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < life->count; i++) {
		uint64_t version = life->answered[i].version, epoch = life->answered[i].epoch;
		bool there =
			version <= life->version && life->made[version] == life->answered[i].update;
		bool said = version <= life->version &&
			    (epoch == life->epoch ||
			     chunk_history_has(&life->history, life->at, epoch, version));

		wrong += said && !there;
		*needless += !said && there;
	}
	return wrong;
}

static void test_no_answer_that_is_gone_is_vouched_for(void **state)
{
	uint64_t seed = 1;
	unsigned needless = 0, asked = 0;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		struct life life = {.epoch = 1};
		/* What a power cut may take is the end of what was not flushed. */
		struct chunk_history kept = {0};
		uint64_t kept_at = 0, kept_version = 0;

		for (unsigned i = 0; i < 40; i++) {
			uint64_t dice = random_u64(&seed) % 10;

			if (dice < 6 && life.version + 1 < VERSIONS) {
				change(&life);
			} else if (dice < 8) {
				kept = life.history;
				kept_at = life.at;
				kept_version = life.version;
			} else {
				if (dice == 9) {
					life.history = kept;
					life.at = kept_at;
					life.version = kept_version;
				}
				life.epoch++;
			}
			assert_int_equal(lies(&life, &needless), 0);
			assert_true(chunk_history_is_sound(&life.history));
			asked += life.count;
		}
	}
	assert_true(needless < asked / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_that_were_given_again_are_told_apart),
		cmocka_unit_test(test_a_chunk_that_was_made_again_has_nothing_of_the_one_before),
		cmocka_unit_test(
			test_of_lost_blocks_nothing_that_was_answered_before_is_vouched_for),
		cmocka_unit_test(test_the_digest_tells_histories_apart),
		cmocka_unit_test(test_only_what_can_be_is_sound),
		cmocka_unit_test(test_no_answer_that_is_gone_is_vouched_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
