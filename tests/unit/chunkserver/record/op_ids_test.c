/* Goal: of the ids that a chunk knows nothing goes that may come again, everything goes that is
 * known not to, and sessions that are over make room where it is needed. Method: random lists and
 * maps, and each id judged by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/record/op_ids.h"
#include "tests/lib/random.h"

#define CLIENTS 6u

static uint64_t seed = 20261130;

static uint64_t below(uint64_t limit)
{
	return random_u64(&seed) % limit;
}

static uint32_t random_ops(struct op_id ops[OP_IDS_KEPT])
{
	uint32_t count = (uint32_t)below(OP_IDS_KEPT + 1);

	for (uint32_t i = 0; i < count; i++)
		ops[i] = (struct op_id){
			.client_id = below(CLIENTS), .op_id = 1 + below(40), .version = i + 1};
	return count;
}

static struct cluster_map random_map(uint64_t fenced[CLIENTS])
{
	struct cluster_map map = {.session_floor = below(3), .fenced = fenced};

	for (uint64_t id = map.session_floor; id < CLIENTS; id++)
		if (id > 0 && below(3) == 0)
			fenced[map.fenced_count++] = id;
	return map;
}

static bool is_answered(const struct op_id *op, uint64_t client, uint64_t answered)
{
	return op->client_id == 0 || (op->client_id == client && op->op_id <= answered);
}

static void test_nothing_goes_that_may_come_again(void **state)
{
	struct op_id before[OP_IDS_KEPT], after[OP_IDS_KEPT];
	uint64_t fenced[CLIENTS];

	for (unsigned round = 0; round < 20000; round++) {
		const struct cluster_map map = random_map(fenced);
		const struct cluster_map *sessions = below(4) == 0 ? NULL : &map;
		uint32_t count = random_ops(before), limit = (uint32_t)below(OP_IDS_KEPT + 1);
		uint64_t client = 1 + below(CLIENTS - 1), answered = below(40);
		uint32_t kept, at = 0, unanswered = 0;

		for (uint32_t i = 0; i < count; i++)
			unanswered += !is_answered(&before[i], client, answered);
		memcpy(after, before, sizeof(after));
		kept = op_ids_drop(after, count, client, answered, sessions, limit);
		for (uint32_t i = 0; i < count; i++) {
			bool gone = is_answered(&before[i], client, answered) ||
				    (unanswered >= limit && sessions != NULL &&
				     cluster_map_session_over(sessions, before[i].client_id));

			if (gone)
				continue;
			assert_true(at < kept);
			assert_memory_equal(&after[at++], &before[i], sizeof(before[i]));
		}
		assert_int_equal(at, kept);
	}
}

/* What a head drops and what a member does, by another map, differ in sessions that are over. */
static void test_by_a_later_map_no_less_goes(void **state)
{
	struct op_id by_old[OP_IDS_KEPT], by_new[OP_IDS_KEPT];
	uint64_t fenced[CLIENTS];

	for (unsigned round = 0; round < 20000; round++) {
		const struct cluster_map map = random_map(fenced);
		struct cluster_map old = map;
		uint32_t count = random_ops(by_old), limit = (uint32_t)below(OP_IDS_KEPT + 1);
		uint64_t client = 1 + below(CLIENTS - 1), answered = below(40);
		uint32_t at = 0, kept;

		old.session_floor = below(map.session_floor + 1);
		old.fenced_count = below(map.fenced_count + 1);
		memcpy(by_new, by_old, sizeof(by_new));
		kept = op_ids_drop(by_new, count, client, answered, &map, limit);
		count = op_ids_drop(by_old, count, client, answered, &old, limit);
		assert_true(kept <= count);
		for (uint32_t i = 0; i < count; i++) {
			if (at < kept && memcmp(&by_new[at], &by_old[i], sizeof(by_new[at])) == 0)
				at++;
			else
				assert_true(cluster_map_session_over(&map, by_old[i].client_id));
		}
		assert_int_equal(at, kept);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_goes_that_may_come_again),
		cmocka_unit_test(test_by_a_later_map_no_less_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
