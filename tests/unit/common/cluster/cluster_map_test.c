/* Goal: a map comes back equal from its encoding, in whatever order its parts were sent, and no
 * message that breaks a promise of cluster_map.h gets through. Method: a small map made by hand;
 * single faults put into it; each bound met and passed by one; messages made to cost memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "catena.pb-c.h"
#include "common/cluster/cluster_map.h"
#include "tests/lib/map_gen.h"

#define SEED 20260105

/* Three servers with a target each, one pool of two partitions. */
struct small {
	struct cluster_map map;
	struct map_pool pools[1];
	struct map_server servers[3];
	struct map_target targets[3];
	struct map_chain chains[2];
};

static void small_make(struct small *s)
{
	*s = (struct small){
		.map = {.version = 9,
			.instance = 0x0102030405060708,
			.cluster = "demo",
			.pool_count = 1,
			.server_count = 3,
			.target_count = 3},
		.pools =
			{{.id = 1, .copies = 3, .partitions = 2, .chunk_size = CHUNK_SIZE_DEFAULT}},
		.chains =
			{
				{.epoch = 5,
				 .count = 3,
				 .members = {{30, MEMBER_IN_SYNC},
					     {10, MEMBER_IN_SYNC},
					     {20, MEMBER_SYNCING}}},
				{.epoch = 0},
			},
	};
	for (uint32_t i = 0; i < 3; i++) {
		s->servers[i] = (struct map_server){.id = 100 + i,
						    .workers = 2,
						    .online = i != 1,
						    .name = "cs",
						    .address = "127.0.0.1:1",
						    .host = "h",
						    .rack = "r",
						    .zone = "z"};
		s->targets[i] = (struct map_target){.id = 10 * (i + 1),
						    .server_id = 100 + i,
						    .capacity = 1000,
						    .used = i,
						    .full = i == 2,
						    .draining = i == 1,
						    .uuid = "01234567-89ab-4def-8123-456789abcdef"};
	}
	s->map.pools = s->pools;
	s->map.servers = s->servers;
	s->map.targets = s->targets;
	s->pools[0].chains = s->chains;
}

static int there_and_back(const struct cluster_map *map, struct cluster_map **out)
{
	uint8_t *bytes = NULL;
	size_t size = 0;
	int rc;

	assert_int_equal(cluster_map_encode(map, &bytes, &size), 0);
	rc = cluster_map_decode(bytes, size, out);
	free(bytes);
	return rc;
}

static void test_a_map_comes_back_equal(void **state)
{
	struct cluster_map *back;
	struct small s;

	small_make(&s);
	assert_int_equal(there_and_back(&s.map, &back), 0);
	assert_true(map_gen_equal(&s.map, back));
	cluster_map_unref(back);
}

static void test_an_empty_map_is_a_map(void **state)
{
	struct cluster_map empty = {0}, *back;

	assert_int_equal(there_and_back(&empty, &back), 0);
	assert_true(map_gen_equal(&empty, back));
	assert_null(cluster_map_pool(back, 0));
	assert_null(cluster_map_chain(back, 0, 0));
	assert_null(cluster_map_target(back, 0));
	assert_null(cluster_map_server(back, 0));
	assert_null(cluster_map_target_server(back, 1));
	cluster_map_unref(back);
	assert_int_equal(cluster_map_decode("", 0, &back), 0);
	cluster_map_unref(back);
	cluster_map_unref(NULL);
}

static void test_lookups_find_all_and_only_what_is_there(void **state)
{
	struct cluster_map *map;
	struct small s;

	small_make(&s);
	assert_int_equal(there_and_back(&s.map, &map), 0);
	for (uint32_t id = 0; id < 200; id++) {
		bool target = id == 10 || id == 20 || id == 30;

		assert_int_equal(cluster_map_pool(map, id) != NULL, id == 1);
		assert_int_equal(cluster_map_target(map, id) != NULL, target);
		assert_int_equal(cluster_map_server(map, id) != NULL, id >= 100 && id <= 102);
		assert_int_equal(cluster_map_target_server(map, id) != NULL, target);
		assert_int_equal(cluster_map_chain(map, 1, id) != NULL, id < 2);
		assert_null(cluster_map_chain(map, 2, id));
		if (target)
			assert_int_equal(cluster_map_target_server(map, id)->id, 99 + id / 10);
	}
	assert_int_equal(cluster_map_chain(map, 1, 0)->epoch, 5);
	assert_int_equal(cluster_map_chain(map, 1, 1)->epoch, 0);
	cluster_map_unref(map);
}

static void test_sessions_that_are_over_are_known_by_list_and_floor(void **state)
{
	uint64_t fenced[] = {9, 30, 12, UINT64_MAX};
	struct cluster_map *map;
	struct small s;

	small_make(&s);
	s.map.fenced = fenced;
	s.map.fenced_count = 4;
	s.map.session_floor = 7;
	assert_int_equal(there_and_back(&s.map, &map), 0);
	for (uint64_t id = 0; id < 40; id++)
		assert_int_equal(cluster_map_session_over(map, id),
				 (id > 0 && id < 7) || id == 9 || id == 12 || id == 30);
	assert_true(cluster_map_session_over(map, UINT64_MAX));
	assert_int_equal(map->fenced_count, 4);
	for (size_t i = 1; i < 4; i++)
		assert_true(map->fenced[i - 1] < map->fenced[i]);
	cluster_map_unref(map);
	fenced[3] = 9;
	assert_int_equal(there_and_back(&s.map, &map), -EBADMSG);
}

static void swap_bytes(void *a, void *b, size_t size)
{
	uint8_t *x = a, *y = b;

	for (size_t i = 0; i < size; i++) {
		uint8_t t = x[i];

		x[i] = y[i];
		y[i] = t;
	}
}

static void test_parts_in_any_order_are_sorted(void **state)
{
	struct cluster_map *back;
	struct small sorted, shuffled;

	small_make(&sorted);
	small_make(&shuffled);
	swap_bytes(&shuffled.servers[0], &shuffled.servers[2], sizeof(shuffled.servers[0]));
	swap_bytes(&shuffled.targets[0], &shuffled.targets[1], sizeof(shuffled.targets[0]));
	assert_int_equal(there_and_back(&shuffled.map, &back), 0);
	assert_true(map_gen_equal(&sorted.map, back));
	cluster_map_unref(back);
}

static void test_random_maps_come_back_equal(void **state)
{
	uint64_t seed = SEED;

	for (int run = 0; run < 300; run++) {
		struct cluster_map map = map_gen(&seed, 40), *back;

		assert_int_equal(there_and_back(&map, &back), 0);
		assert_true(map_gen_equal(&map, back));
		cluster_map_unref(back);
		map_gen_free(&map);
	}
}

static void break_one(struct small *s, int fault)
{
	switch (fault) {
	case 0:
		s->pools[0].copies = 0;
		break;
	case 1:
		s->pools[0].copies = CHAIN_MEMBERS_MAX + 1;
		break;
	case 2:
		s->pools[0].chunk_size = CHUNK_SIZE_MIN - 1;
		break;
	case 3:
		s->pools[0].chunk_size = CHUNK_SIZE_MAX + CHUNK_SIZE_MIN;
		break;
	case 4:
		s->pools[0].chunk_size = CHUNK_SIZE_DEFAULT + 4096;
		break;
	case 5:
		s->chains[0].members[1].target_id = 30;
		break; /* twice */
	case 6:
		s->chains[0].members[1].target_id = 31;
		break; /* unknown */
	case 7:
		s->chains[0].members[1].target_id = 0;
		break;
	case 8:
		s->chains[0].members[0].state = (enum member_state)0;
		break;
	case 9:
		s->chains[0].members[0].state = (enum member_state)4;
		break;
	case 10:
		s->chains[0].members[0].state = MEMBER_OFFLINE;
		break; /* in-sync ones behind it */
	case 11:
		s->chains[0].epoch = 0;
		break; /* not placed, but members */
	case 12:
		s->targets[1].server_id = 99;
		break;
	case 13:
		s->targets[1].id = 10;
		break; /* twice */
	case 14:
		s->targets[1].id = 0;
		break;
	case 15:
		s->servers[1].id = 100;
		break; /* twice */
	case 16:
		s->servers[1].id = 0;
		break;
	case 17:
		s->servers[1].workers = 0;
		break;
	case 18:
		s->servers[1].workers = 1025;
		break;
	default:
		break;
	}
}

static void test_every_broken_promise_is_refused(void **state)
{
	for (int fault = 0; fault <= 18; fault++) {
		struct cluster_map *back = NULL;
		struct small s;
		int rc;

		small_make(&s);
		break_one(&s, fault);
		rc = there_and_back(&s.map, &back);
		if (rc != -EBADMSG)
			print_error("fault %d was taken\n", fault);
		assert_int_equal(rc, -EBADMSG);
		assert_null(back);
	}
}

static int decode_message(const Catena__ClusterMap *message)
{
	size_t size = catena__cluster_map__get_packed_size(message);
	uint8_t *bytes = malloc(size + 1);
	struct cluster_map *map = NULL;
	int rc, direct;

	assert_non_null(bytes);
	assert_int_equal(catena__cluster_map__pack(message, bytes), size);
	rc = cluster_map_decode(bytes, size, &map);
	cluster_map_unref(map);
	free(bytes);
	map = NULL;
	direct = cluster_map_from_message(message, &map);
	cluster_map_unref(map);
	assert_int_equal(direct, rc);
	return rc;
}

/* Texts of one letter too many in each field that has one. */
static void test_texts_that_do_not_fit_are_refused_not_cut(void **state)
{
	char text[200];

	for (int field = 0; field < 7; field++) {
		const size_t room = field == 0 ? 63 : field == 6 ? 36 : MAP_NAME_MAX - 1;

		for (size_t length = room; length <= room + 1; length++) {
			Catena__ClusterMap message = CATENA__CLUSTER_MAP__INIT;
			Catena__Server server = CATENA__SERVER__INIT, *servers[] = {&server};
			Catena__Target target = CATENA__TARGET__INIT, *targets[] = {&target};
			char **const texts[] = {&message.cluster, &server.name, &server.address,
						&server.host,     &server.rack, &server.zone,
						&target.uuid};

			memset(text, 'x', length);
			text[length] = '\0';
			*texts[field] = text;
			server.id = target.server_id = 7;
			target.id = 8;
			server.workers = 1;
			message.n_servers = message.n_targets = 1;
			message.servers = servers;
			message.targets = targets;
			assert_int_equal(decode_message(&message), length == room ? 0 : -EBADMSG);
		}
	}
}

/* @count servers, targets, pools or partitions: what = 0, 1, 2, 3. */
static int decode_many(int what, size_t count)
{
	struct cluster_map map = {0}, *back = NULL;
	struct map_server one = {.id = 1, .workers = 1};
	struct map_chain no_chain = {0};
	int rc;

	map.servers = what == 0 ? map_gen_array(count, sizeof(*map.servers)) : &one;
	map.server_count = what == 0 ? count : 1;
	map.targets = what == 1 ? map_gen_array(count, sizeof(*map.targets)) : NULL;
	map.target_count = what == 1 ? count : 0;
	map.pool_count = what == 2 ? count : what == 3 ? 1 : 0;
	map.pools = map_gen_array(map.pool_count, sizeof(*map.pools));
	for (size_t i = 0; what == 0 && i < count; i++)
		map.servers[i] = (struct map_server){.id = i + 1, .workers = 1};
	for (size_t i = 0; what == 1 && i < count; i++)
		map.targets[i] = (struct map_target){.id = (uint32_t)i + 1, .server_id = 1};
	for (size_t i = 0; i < map.pool_count; i++) {
		map.pools[i] = (struct map_pool){.id = (uint32_t)i,
						 .copies = 1,
						 .partitions = 1,
						 .chunk_size = CHUNK_SIZE_DEFAULT,
						 .chains = &no_chain};
		if (what == 3) {
			map.pools[i].partitions = (uint32_t)count;
			map.pools[i].chains = map_gen_array(count, sizeof(no_chain));
		}
	}
	rc = there_and_back(&map, &back);
	if (rc == 0)
		assert_true(map_gen_equal(&map, back));
	cluster_map_unref(back);
	if (what == 0)
		free(map.servers);
	free(map.targets);
	if (what == 3)
		free(map.pools[0].chains);
	free(map.pools);
	return rc;
}

static void test_each_bound_is_met_and_not_passed(void **state)
{
	static const size_t bounds[] = {4096, 65536, 64, 65536};

	for (int what = 0; what < 4; what++) {
		assert_int_equal(decode_many(what, bounds[what]), 0);
		assert_int_equal(decode_many(what, bounds[what] + 1), -EBADMSG);
	}
	assert_int_equal(decode_many(3, 0), -EBADMSG); /* a pool without partitions */
}

static void test_a_pool_must_have_a_chain_for_each_partition(void **state)
{
	for (uint32_t partitions = 1; partitions <= 3; partitions++) {
		Catena__ClusterMap message = CATENA__CLUSTER_MAP__INIT;
		Catena__Pool pool = CATENA__POOL__INIT, *pools[] = {&pool};
		Catena__Chain chain = CATENA__CHAIN__INIT, *chains[] = {&chain, &chain};

		pool.copies = 1;
		pool.chunk_size = CHUNK_SIZE_DEFAULT;
		pool.partitions = partitions;
		pool.n_chains = 2;
		pool.chains = chains;
		message.n_pools = 1;
		message.pools = pools;
		assert_int_equal(decode_message(&message), partitions == 2 ? 0 : -EBADMSG);
	}
}

static void test_a_chain_has_at_most_its_members(void **state)
{
	for (size_t count = CHAIN_MEMBERS_MAX; count <= CHAIN_MEMBERS_MAX + 1; count++) {
		Catena__ClusterMap message = CATENA__CLUSTER_MAP__INIT;
		Catena__Server server = CATENA__SERVER__INIT, *servers[] = {&server};
		Catena__Target target[CHAIN_MEMBERS_MAX + 1], *targets[CHAIN_MEMBERS_MAX + 1];
		Catena__ChainMember member[CHAIN_MEMBERS_MAX + 1], *members[CHAIN_MEMBERS_MAX + 1];
		Catena__Pool pool = CATENA__POOL__INIT, *pools[] = {&pool};
		Catena__Chain chain = CATENA__CHAIN__INIT, *chains[] = {&chain};

		for (uint32_t i = 0; i < count; i++) {
			catena__target__init(targets[i] = &target[i]);
			catena__chain_member__init(members[i] = &member[i]);
			target[i].id = member[i].target_id = i + 1;
			target[i].server_id = 1;
			member[i].state = MEMBER_IN_SYNC;
		}
		server.id = 1;
		server.workers = 1;
		chain.epoch = 1;
		chain.n_members = count;
		chain.members = members;
		pool.copies = 1;
		pool.chunk_size = CHUNK_SIZE_DEFAULT;
		pool.partitions = 1;
		pool.n_chains = 1;
		pool.chains = chains;
		message.n_pools = message.n_servers = 1;
		message.pools = pools;
		message.servers = servers;
		message.n_targets = count;
		message.targets = targets;
		assert_int_equal(decode_message(&message),
				 count == CHAIN_MEMBERS_MAX ? 0 : -EBADMSG);
	}
}

/* A message of two bytes for each empty part would unpack to some thirty times its size; made ten
 * times as large as the transport lets through, it must be refused instead. */
static void test_a_message_made_to_cost_memory_is_refused(void **state)
{
	const size_t size = 40u << 20;
	static const uint8_t tags[] = {3 << 3 | 2, 4 << 3 | 2, 5 << 3 | 2};
	uint8_t *bytes = malloc(size);
	struct cluster_map *map = NULL;

	assert_non_null(bytes);
	for (size_t i = 0; i < sizeof(tags); i++) {
		for (size_t at = 0; at < size; at += 2) {
			bytes[at] = tags[i];
			bytes[at + 1] = 0;
		}
		assert_int_equal(cluster_map_decode(bytes, size, &map), -EBADMSG);
		assert_null(map);
	}
	free(bytes);
}

static void test_every_cut_of_a_message_is_judged_without_reading_on(void **state)
{
	uint8_t *bytes = NULL;
	size_t size = 0;
	struct small s;

	small_make(&s);
	assert_int_equal(cluster_map_encode(&s.map, &bytes, &size), 0);
	for (size_t cut = 0; cut < size; cut++) {
		uint8_t *part = fuzz_exact_copy(bytes, cut);
		struct cluster_map *map = NULL;
		int rc = cluster_map_decode(part, cut, &map);

		free(part);
		assert_true(rc == 0 || rc == -EBADMSG);
		assert_int_equal(rc == 0, map != NULL);
		cluster_map_unref(map);
	}
	free(bytes);
}

static void test_head_and_tail_are_the_first_and_last_in_sync(void **state)
{
	struct map_chain chain = {.epoch = 1, .count = 4};
	static const struct {
		enum member_state states[4];
		int head, tail;
	} cases[] = {
		{{MEMBER_IN_SYNC, MEMBER_IN_SYNC, MEMBER_IN_SYNC, MEMBER_IN_SYNC}, 0, 3},
		{{MEMBER_IN_SYNC, MEMBER_IN_SYNC, MEMBER_SYNCING, MEMBER_OFFLINE}, 0, 1},
		{{MEMBER_IN_SYNC, MEMBER_OFFLINE, MEMBER_SYNCING, MEMBER_OFFLINE}, 0, 0},
		{{MEMBER_OFFLINE, MEMBER_OFFLINE, MEMBER_SYNCING, MEMBER_OFFLINE}, -1, -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (uint32_t j = 0; j < 4; j++)
			chain.members[j] = (struct chain_member){.target_id = j + 5,
								 .state = cases[i].states[j]};
		assert_int_equal(cluster_map_chain_head(&chain), cases[i].head);
		assert_int_equal(cluster_map_chain_tail(&chain), cases[i].tail);
	}
	assert_int_equal(cluster_map_chain_index(&chain, 5), 0);
	assert_int_equal(cluster_map_chain_index(&chain, 8), 3);
	assert_int_equal(cluster_map_chain_index(&chain, 9), -1);
	chain.count = 0;
	assert_int_equal(cluster_map_chain_head(&chain), -1);
	assert_int_equal(cluster_map_chain_tail(&chain), -1);
	assert_int_equal(cluster_map_chain_index(&chain, 5), -1);
}

static void *ref_and_unref(void *map)
{
	for (int i = 0; i < 100000; i++)
		cluster_map_unref(cluster_map_ref(map));
	cluster_map_unref(map);
	return NULL;
}

static void test_threads_share_one_map_and_the_last_frees_it(void **state)
{
	struct cluster_map *map;
	pthread_t threads[4];
	struct small s;

	small_make(&s);
	assert_int_equal(there_and_back(&s.map, &map), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, ref_and_unref, cluster_map_ref(map)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(map->version,
			 9); /* ours is still good; the sanitizer sees a leak after this */
	cluster_map_unref(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_map_comes_back_equal),
		cmocka_unit_test(test_an_empty_map_is_a_map),
		cmocka_unit_test(test_lookups_find_all_and_only_what_is_there),
		cmocka_unit_test(test_sessions_that_are_over_are_known_by_list_and_floor),
		cmocka_unit_test(test_parts_in_any_order_are_sorted),
		cmocka_unit_test(test_random_maps_come_back_equal),
		cmocka_unit_test(test_every_broken_promise_is_refused),
		cmocka_unit_test(test_texts_that_do_not_fit_are_refused_not_cut),
		cmocka_unit_test(test_each_bound_is_met_and_not_passed),
		cmocka_unit_test(test_a_pool_must_have_a_chain_for_each_partition),
		cmocka_unit_test(test_a_chain_has_at_most_its_members),
		cmocka_unit_test(test_a_message_made_to_cost_memory_is_refused),
		cmocka_unit_test(test_every_cut_of_a_message_is_judged_without_reading_on),
		cmocka_unit_test(test_head_and_tail_are_the_first_and_last_in_sync),
		cmocka_unit_test(test_threads_share_one_map_and_the_last_frees_it),
	};

	printf("seed %d\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
