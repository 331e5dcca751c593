/* Goal: of a session that is over a chain member takes nothing new, lets go of what it has not
 * begun, and counts what it has until it is certain to be everywhere or nowhere. Method: one member
 * alone; the test plays its clients, neighbours and store (chain_rig.h), and says which sessions
 * are over.
 */
#include "tests/unit/chunkserver/chain/chain_rig.h"

/* Client 5 is the one whose updates the rig sends. */
static void sessions_end(struct rig *rig, uint64_t fenced, uint64_t floor)
{
	struct cluster_map next = {.version = 2, .session_floor = floor}, *map;
	uint8_t *bytes;
	size_t size;

	next.fenced = &fenced;
	next.fenced_count = fenced == 0 ? 0 : 1;
	assert_int_equal(cluster_map_encode(&next, &bytes, &size), 0);
	assert_int_equal(cluster_map_decode(bytes, size, &map), 0);
	free(bytes);
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_env_sessions(rig->env, map);
	cluster_map_unref(map);
	rig_run(rig);
}

static void test_what_is_begun_is_counted_and_the_rest_refused(void **state)
{
	struct rig *rig = rig_up(0);
	uint64_t first = client_writes(rig, 1, 0, 2, 0), second = client_writes(rig, 2, 1, 1, 0);

	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1); /* the second waits */
	sessions_end(rig, 5, 1);
	assert_int_equal(answer_to(rig, second), FRAME_STATUS_FENCED);
	assert_int_equal(chain_env_fenced(rig->env), 1);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(chain_env_fenced(rig->env), 1); /* pending: the successor may have it */
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, first), FRAME_OK);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	/* Late ones; a repetition is one, too. */
	assert_int_equal(answer_to(rig, client_writes(rig, 1, 0, 2, 0)), FRAME_STATUS_FENCED);
	assert_int_equal(answer_to(rig, client_writes(rig, 3, 4, 1, 0)), FRAME_STATUS_FENCED);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_others_behind_a_refused_one_go_on(void **state)
{
	struct rig *rig = rig_up(0);
	struct frame_header header;
	uint64_t other;

	client_writes(rig, 1, 0, 1, 0);
	client_writes(rig, 2, 0, 2, 0);
	header = rig_header(rig, FRAME_WRITE, 1);
	header.client_id = 6;
	header.op_id = 1;
	header.offset = BLOCK_SIZE;
	header.length = BLOCK_SIZE;
	other = rig_ask(rig, CLIENT, &header, rig_payload(1));
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	sessions_end(rig, 5, 1);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 2);
	assert_int_equal(answer_to(rig, other), NO_ANSWER);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, other), FRAME_OK);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_who_is_below_the_floor_is_over_too(void **state)
{
	struct rig *rig = rig_up(0);

	sessions_end(rig, 0, 5);
	client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 1);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	sessions_end(rig, 0, 6);
	assert_int_equal(chain_env_fenced(rig->env), 1);
	assert_int_equal(answer_to(rig, client_writes(rig, 2, 3, 1, 0)), FRAME_STATUS_FENCED);
	rig_end(rig, CHAIN_PREPARE, 0);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_what_is_held_is_refused(void **state)
{
	struct rig *rig = rig_new(0, 3);
	uint64_t write;

	successor_connects(rig);
	write = client_writes(rig, 1, 0, 1, 0);
	assert_int_equal(chain_count(rig->chain).held, 1);
	sessions_end(rig, 5, 1);
	assert_int_equal(answer_to(rig, write), FRAME_STATUS_FENCED);
	assert_int_equal(chain_count(rig->chain).held, 0);
	assert_int_equal(chain_env_fenced(rig->env), 1); /* its store may have more */
	link_comes_up(rig);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_what_a_predecessor_has_begun_is_taken_and_counted(void **state)
{
	struct rig *rig = rig_up(1);
	uint64_t before = predecessor_writes(rig, 1, 0), after;

	sessions_end(rig, 5, 1);
	assert_int_equal(chain_env_fenced(rig->env), 1);
	after = predecessor_writes(rig, 2, 1);
	assert_int_equal(chain_env_fenced(rig->env), 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(chain_env_fenced(rig->env), 2);
	successor_answers(rig, FRAME_OK);
	successor_answers(rig, FRAME_OK);
	assert_int_equal(answer_to(rig, before), FRAME_OK);
	assert_int_equal(answer_to(rig, after), FRAME_OK);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_a_new_head_counts_what_it_has_to_pass_on(void **state)
{
	struct rig *rig = rig_up(1);

	predecessor_writes(rig, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	predecessor_writes(rig, 2, 1); /* begun: it comes to its end */
	predecessor_writes(rig, 3, 1); /* not begun: the new head drops it */
	sessions_end(rig, 5, 1);
	assert_int_equal(chain_env_fenced(rig->env), 3);
	rig_forget_sent(rig);
	rig_configure(rig, 2, 0, 2);
	assert_int_equal(chain_env_fenced(rig->env), 2);
	rig_end(rig, CHAIN_PREPARE, 0);
	assert_int_equal(rig->aborts, 0);
	assert_int_equal(rig_operations(rig, CHAIN_PREPARE), 0);
	assert_int_equal(chain_env_fenced(rig->env), 2);
	rig_free_all(rig);
}

/* What it had begun as the head is in its store, although nothing remembers it. */
static void test_a_head_that_is_put_behind_another_is_clean_when_it_has_been_compared(void **state)
{
	struct rig *rig = rig_up(0);
	struct catchup_compare compare;

	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	rig_configure(rig, 2, 2, 3);
	sessions_end(rig, 5, 1);
	assert_true(chain_env_fenced(rig->env) > 0);
	compare = everything(rig);
	predecessor_compares(rig, &compare);
	assert_true(chain_env_fenced(rig->env) > 0);
	predecessor_ends(rig);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

/* What was pending is forgotten with a store that fails, and in it when it is back. */
static void test_a_head_whose_store_failed_is_clean_when_its_successor_is_equal(void **state)
{
	struct rig *rig = rig_up(0);

	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	sessions_end(rig, 5, 1);
	rig_forget_sent(rig);
	chain_store_failed(rig->env);
	rig_run(rig);
	assert_int_equal(chain_count(rig->chain).pending, 0);
	assert_true(chain_env_fenced(rig->env) > 0);
	chain_store_back(rig->env);
	rig_run(rig);
	assert_true(chain_env_fenced(rig->env) > 0);
	link_comes_up(rig);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_who_is_alone_has_nobody_to_be_compared_with(void **state)
{
	struct rig *rig = rig_up(0);

	client_writes(rig, 1, 0, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	sessions_end(rig, 5, 1);
	chain_store_failed(rig->env);
	rig_run(rig);
	assert_true(chain_env_fenced(rig->env) > 0);
	rig_configure(rig, 2, 0, 1);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

static void test_who_is_out_of_the_chain_has_nothing_left(void **state)
{
	struct rig *rig = rig_up(0);

	client_writes(rig, 1, 0, 1, 0);
	client_writes(rig, 2, 2, 1, 0);
	rig_end(rig, CHAIN_PREPARE, 0);
	sessions_end(rig, 5, 1);
	assert_int_equal(chain_env_fenced(rig->env), 2);
	rig_configure(rig, 2, (unsigned)-1, 2);
	assert_int_equal(chain_env_fenced(rig->env), 0);
	rig_free_all(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_begun_is_counted_and_the_rest_refused),
		cmocka_unit_test(test_others_behind_a_refused_one_go_on),
		cmocka_unit_test(test_who_is_below_the_floor_is_over_too),
		cmocka_unit_test(test_what_is_held_is_refused),
		cmocka_unit_test(test_what_a_predecessor_has_begun_is_taken_and_counted),
		cmocka_unit_test(test_a_new_head_counts_what_it_has_to_pass_on),
		cmocka_unit_test(
			test_a_head_that_is_put_behind_another_is_clean_when_it_has_been_compared),
		cmocka_unit_test(
			test_a_head_whose_store_failed_is_clean_when_its_successor_is_equal),
		cmocka_unit_test(test_who_is_alone_has_nobody_to_be_compared_with),
		cmocka_unit_test(test_who_is_out_of_the_chain_has_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
