/* registration_test.c - pools, servers, targets and chains in the master's state.
 *
 * Goal: ids of servers and targets are given once and kept for ever; the map's version grows with
 * every change of it and only then; the map survives a restart as it was.
 * Method: registrations and chains against a state on the memory twin, compared through
 * state_map(). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/cluster_map.h"
#include "master/chains/manager.h"
#include "tests/lib/state_fixture.h"

#define PARTITIONS 16u

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	fixture_end(&f);
	return 0;
}

static struct map_server server_named(const char *name)
{
	struct map_server server = {.workers = 2};

	snprintf(server.name, sizeof(server.name), "%s", name);
	snprintf(server.address, sizeof(server.address), "%s:1234", name);
	snprintf(server.host, sizeof(server.host), "host-%s", name);
	snprintf(server.rack, sizeof(server.rack), "r1");
	snprintf(server.zone, sizeof(server.zone), "z1");
	return server;
}

static int register_server(const char *name, const char *uuid1, const char *uuid2)
{
	struct map_target targets[2] = {0};
	struct map_server server = server_named(name);
	size_t count = uuid2 == NULL ? 1 : 2;

	snprintf(targets[0].uuid, sizeof(targets[0].uuid), "%s", uuid1);
	if (uuid2 != NULL)
		snprintf(targets[1].uuid, sizeof(targets[1].uuid), "%s", uuid2);
	return state_apply_register(f.state, ++f.index, &server, targets, count);
}

static uint64_t map_version(void)
{
	return f.state->counters.map_version;
}

static void a_new_cluster_has_the_default_pool(void **state)
{
	struct cluster_map *map = state_map(f.state);

	assert_non_null(map);
	assert_string_equal(map->cluster, "cluster-1");
	assert_int_equal(map->pool_count, 1);
	assert_int_equal(map->pools[0].id, 1);
	assert_int_equal(map->pools[0].copies, 3);
	assert_int_equal(map->pools[0].partitions, PARTITIONS);
	assert_int_equal(map->pools[0].chunk_size, 16u << 20);
	assert_int_equal(map->server_count, 0);
	assert_int_equal(map->target_count, 0);
	cluster_map_unref(map);
}

static void servers_and_targets_get_ids_that_stay(void **state)
{
	struct cluster_map *map;
	uint64_t version = map_version();

	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	assert_true(map_version() > version);
	version = map_version();
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
	assert_true(map_version() > version);
	version = map_version();
	/* The same again, also after a restart, is no change. */
	assert_int_equal(register_server("a", "uuid-2", "uuid-1"), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(register_server("a", "uuid-1", NULL), 0);
	assert_int_equal(map_version(), version);

	map = state_map(f.state);
	assert_int_equal(map->version, version);
	assert_int_equal(map->server_count, 2);
	assert_int_equal(map->target_count, 3);
	assert_string_equal(cluster_map_server(map, 1)->name, "a");
	assert_string_equal(cluster_map_server(map, 1)->address, "a:1234");
	assert_string_equal(cluster_map_server(map, 1)->host, "host-a");
	assert_int_equal(cluster_map_server(map, 1)->workers, 2);
	assert_string_equal(cluster_map_server(map, 2)->name, "b");
	assert_string_equal(cluster_map_target(map, 2)->uuid, "uuid-2");
	assert_int_equal(cluster_map_target_server(map, 3)->id, 2);
	cluster_map_unref(map);
}

static void a_server_may_move_and_so_may_its_disks(void **state)
{
	struct map_server server = server_named("a");
	struct cluster_map *map;
	uint64_t version;

	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
	version = map_version();
	snprintf(server.address, sizeof(server.address), "elsewhere:1");
	assert_int_equal(state_apply_register(f.state, ++f.index, &server, NULL, 0), 0);
	assert_int_equal(map_version(), version + 1);
	assert_int_equal(register_server("b", "uuid-2", NULL), 0);
	assert_int_equal(map_version(), version + 2);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	assert_string_equal(cluster_map_server(map, 1)->address, "elsewhere:1");
	assert_int_equal(cluster_map_target(map, 2)->server_id, 2);
	assert_int_equal(map->target_count, 3);
	cluster_map_unref(map);
}

static void registrations_are_checked(void **state)
{
	struct map_server server = server_named("a");
	struct map_target targets[2] = {0};

	snprintf(targets[0].uuid, sizeof(targets[0].uuid), "same");
	snprintf(targets[1].uuid, sizeof(targets[1].uuid), "same");
	assert_int_equal(state_apply_register(f.state, 1, &server, targets, 2), -EINVAL);
	targets[0].uuid[0] = '\0';
	assert_int_equal(state_apply_register(f.state, 1, &server, targets, 1), -EINVAL);
	memset(targets[0].uuid, 'u', sizeof(targets[0].uuid));
	assert_int_equal(state_apply_register(f.state, 1, &server, targets, 1), -EINVAL);
	server.workers = 0;
	assert_int_equal(state_apply_register(f.state, 1, &server, NULL, 0), -EINVAL);
	server = server_named("");
	assert_int_equal(state_apply_register(f.state, 1, &server, NULL, 0), -EINVAL);
	assert_int_equal(f.state->cluster.server_count, 0);
}

static void fill_changes(struct chain_change changes[PARTITIONS], uint64_t epoch)
{
	memset(changes, 0, PARTITIONS * sizeof(*changes));
	for (unsigned p = 0; p < PARTITIONS; p++) {
		struct map_chain *chain = &changes[p].chain;

		changes[p].pool = 1;
		changes[p].partition = p;
		chain->epoch = epoch;
		chain->count = 3;
		for (unsigned m = 0; m < 3; m++) {
			chain->members[m].target_id = 1 + (p + m) % 3;
			chain->members[m].state = m == 2 ? MEMBER_SYNCING : MEMBER_IN_SYNC;
		}
	}
}

static int apply(const struct chain_change *changes, size_t count)
{
	return state_apply_chains(f.state, ++f.index, changes, count, NULL, 0, NULL, 0);
}

static void three_targets(void)
{
	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
}

static void chains_change_one_by_one_or_all_at_once(void **state)
{
	struct chain_change changes[PARTITIONS];
	struct cluster_map *map;
	uint64_t version;

	three_targets();
	fill_changes(changes, 1);
	version = map_version();
	assert_int_equal(apply(changes, PARTITIONS), 0);
	assert_int_equal(map_version(), version + 1);
	fill_changes(changes, 2);
	changes[3].chain.members[2].state = MEMBER_IN_SYNC;
	assert_int_equal(apply(&changes[3], 1), 0);
	assert_int_equal(map_version(), version + 2);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	for (unsigned p = 0; p < PARTITIONS; p++) {
		const struct map_chain *chain = cluster_map_chain(map, 1, p);

		assert_int_equal(chain->epoch, p == 3 ? 2 : 1);
		assert_int_equal(chain->count, 3);
		assert_int_equal(chain->members[1].target_id, 1 + (p + 1) % 3);
		assert_int_equal(chain->members[2].state, p == 3 ? MEMBER_IN_SYNC : MEMBER_SYNCING);
	}
	cluster_map_unref(map);
}

static void who_has_to_know_first_is_kept_until_the_next_change(void **state)
{
	const uint64_t fenced[] = {5, 7};
	struct chain_life life = {1, 3};
	struct chain_change changes[PARTITIONS];
	const uint64_t *kept;
	size_t count;

	three_targets();
	fill_changes(changes, 1);
	assert_int_equal(
		state_apply_chains(f.state, ++f.index, changes, PARTITIONS, NULL, 0, fenced, 2), 0);
	/* No change. */
	assert_int_equal(state_apply_chains(f.state, ++f.index, NULL, 0, &life, 1, NULL, 0), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	kept = state_fenced(f.state, &count);
	assert_int_equal(count, 2);
	assert_int_equal(kept[0], 5);
	assert_int_equal(kept[1], 7);
	fill_changes(changes, 2);
	assert_int_equal(apply(changes, PARTITIONS), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	(void)state_fenced(f.state, &count);
	assert_int_equal(count, 0);
}

static void lives_are_stored_with_the_chains_or_not_at_all(void **state)
{
	struct chain_life lives[] = {{1, 7}, {3, 9}}, unknown[] = {{2, 5}, {4, 1}};
	struct chain_change changes[PARTITIONS];
	uint64_t version;

	three_targets();
	fill_changes(changes, 1);
	assert_int_equal(
		state_apply_chains(f.state, ++f.index, changes, PARTITIONS, lives, 2, NULL, 0), 0);
	version = map_version();
	assert_int_equal(state_apply_chains(f.state, ++f.index, NULL, 0, unknown, 2, NULL, 0),
			 -EINVAL);
	assert_int_equal(state_target_life(f.state, "uuid-2"), 0);
	assert_int_equal(state_apply_chains(f.state, ++f.index, NULL, 0, unknown, 1, NULL, 0), 0);
	/* Nobody else has to know. */
	assert_int_equal(map_version(), version);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_target_life(f.state, "uuid-1"), 7);
	assert_int_equal(state_target_life(f.state, "uuid-2"), 5);
	assert_int_equal(state_target_life(f.state, "uuid-3"), 9);
	/* A registration does not touch them. */
	assert_int_equal(register_server("b", "uuid-1", NULL), 0);
	assert_int_equal(state_target_life(f.state, "uuid-1"), 7);
}

static void an_epoch_never_means_two_things(void **state)
{
	struct chain_change changes[PARTITIONS];

	three_targets();
	fill_changes(changes, 2);
	assert_int_equal(apply(changes, PARTITIONS), -EINVAL);
	fill_changes(changes, 1);
	assert_int_equal(apply(changes, PARTITIONS), 0);
	assert_int_equal(apply(&changes[3], 1), -EINVAL);
	changes[3].chain.epoch = 3;
	assert_int_equal(apply(&changes[3], 1), -EINVAL);
	changes[3].chain.epoch = 2;
	changes[4] = changes[3];
	assert_int_equal(apply(&changes[3], 2), -EINVAL);
	assert_int_equal(apply(&changes[3], 1), 0);
}

static void nonsense_about_chains_is_refused(void **state)
{
	struct chain_change changes[PARTITIONS], one;

	three_targets();
	fill_changes(changes, 1);
#define REFUSED(change_)                                                                           \
	do {                                                                                       \
		one = changes[5];                                                                  \
		change_;                                                                           \
		assert_int_equal(apply(&one, 1), -EINVAL);                                         \
	} while (0)
	REFUSED(one.pool = 2);
	REFUSED(one.partition = PARTITIONS);
	REFUSED(one.chain.count = 0);
	REFUSED(one.chain.count = CHAIN_MEMBERS_MAX + 1);
	REFUSED(one.chain.members[0].target_id = 4);
	REFUSED(one.chain.members[0].target_id = 0);
	REFUSED(one.chain.members[1].target_id = one.chain.members[0].target_id);
	REFUSED(one.chain.members[0].state = MEMBER_SYNCING);
	REFUSED(one.chain.members[0].state = MEMBER_OFFLINE);
	REFUSED(one.chain.members[1].state = MEMBER_SYNCING); /* two of them */
	REFUSED(one.chain.members[1].state = MEMBER_OFFLINE); /* before one syncing */
	REFUSED(one.chain.members[2].state = (enum member_state)4);
	REFUSED(one.chain.members[2].state = (enum member_state)0);
	assert_int_equal(f.state->cluster.pools[0].chains[5].epoch, 0);
}

static void draining_and_recovery_are_kept(void **state)
{
	const uint32_t ids[] = {2, 3}, unknown[] = {1, 9};
	const struct state_recovery slow = {.rate = 12345, .paused = true};
	struct state_recovery recovery;
	struct cluster_map *map;
	uint64_t version;

	three_targets();
	version = map_version();
	assert_int_equal(state_apply_drain(f.state, ++f.index, unknown, 2, true), -EINVAL);
	assert_int_equal(state_apply_drain(f.state, ++f.index, ids, 2, true), 0);
	assert_int_equal(map_version(), version + 1);
	assert_int_equal(state_apply_drain(f.state, ++f.index, &ids[1], 1, false), 0);
	assert_int_equal(state_apply_recovery(f.state, ++f.index, &slow), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	assert_false(cluster_map_target(map, 1)->draining);
	assert_true(cluster_map_target(map, 2)->draining);
	assert_false(cluster_map_target(map, 3)->draining);
	cluster_map_unref(map);
	state_recovery(f.state, &recovery);
	assert_int_equal(recovery.rate, 12345);
	assert_true(recovery.paused);
}

static void put_raw(uint8_t tag, const uint8_t *id, size_t id_size, const void *value, size_t size)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[META_KEY_MAX] = {tag};

	memcpy(key + 1, id, id_size);
	kv_batch_put(batch, FAMILY_META, key, sizeof(key), value, size);
	assert_int_equal(kv_write(f.kv, batch, true), 0);
	kv_batch_free(batch);
}

/* As the build before wrote them. */
static void records_of_the_first_format_are_read(void **state)
{
	static const uint8_t pool[] = "\1\2\0\0\0\20\0\0\0\0\0\20\0\7\0default";
	static const uint8_t target[] = "\1\1\0\0\0\0\0\0\0\6\0uuid-1";
	static const uint8_t one[8] = {0, 0, 0, 1};
	struct cluster_map *map;

	three_targets();
	put_raw(META_POOL, one, 8, pool, sizeof(pool) - 1);
	put_raw(META_TARGET, one, 8, target, sizeof(target) - 1);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	assert_non_null(map);
	assert_int_equal(map->pools[0].copies, 2);
	assert_int_equal(map->pools[0].partitions, 16);
	assert_int_equal(map->pools[0].failure_domain, FAILURE_DOMAIN_DEFAULT);
	assert_string_equal(cluster_map_target(map, 1)->uuid, "uuid-1");
	assert_false(cluster_map_target(map, 1)->draining);
	assert_int_equal(state_target_life(f.state, "uuid-1"), 0);
	cluster_map_unref(map);
}

static void a_registration_that_the_store_failed_has_no_effect(void **state)
{
	struct chain_change changes[PARTITIONS];

	kv_memory_fail_write(f.kv, 1, EIO);
	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), -EIO);
	assert_int_equal(kv_recover(f.kv), 0);
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
	assert_int_equal(f.state->cluster.server_count, 1);
	assert_int_equal(f.state->cluster.servers[0].id, 1);
	assert_int_equal(f.state->cluster.targets[0].id, 1);
	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	fill_changes(changes, 1);
	kv_memory_fail_write(f.kv, 1, EIO);
	assert_int_equal(apply(changes, PARTITIONS), -EIO);
	assert_int_equal(kv_recover(f.kv), 0);
	assert_int_equal(state_reload(f.state), 0);
	assert_int_equal(f.state->cluster.pools[0].chains[0].epoch, 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_cluster_has_the_default_pool),
		TEST(servers_and_targets_get_ids_that_stay),
		TEST(a_server_may_move_and_so_may_its_disks),
		TEST(registrations_are_checked),
		TEST(chains_change_one_by_one_or_all_at_once),
		TEST(who_has_to_know_first_is_kept_until_the_next_change),
		TEST(lives_are_stored_with_the_chains_or_not_at_all),
		TEST(an_epoch_never_means_two_things),
		TEST(nonsense_about_chains_is_refused),
		TEST(draining_and_recovery_are_kept),
		TEST(records_of_the_first_format_are_read),
		TEST(a_registration_that_the_store_failed_has_no_effect),
	};

	return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
