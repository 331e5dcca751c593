/* state_cluster_test.c - pools, servers, targets and chains in the master's state.
 *
 * Goal: ids of servers and targets are given once and kept for ever; the map's version grows with
 * every change of it and only then; the map survives a restart as it was.
 * Method: registrations and chains against a state on the memory twin, compared through
 * state_map(). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster_map.h"
#include "tests/unit/state_fixture.h"

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

static void fill_chains(struct map_chain chains[PARTITIONS], uint64_t epoch)
{
	memset(chains, 0, PARTITIONS * sizeof(*chains));
	for (unsigned p = 0; p < PARTITIONS; p++) {
		chains[p].epoch = epoch;
		chains[p].count = 3;
		for (unsigned m = 0; m < 3; m++) {
			chains[p].members[m].target_id = 1 + (p + m) % 3;
			chains[p].members[m].state = m == 2 ? MEMBER_SYNCING : MEMBER_IN_SYNC;
		}
	}
}

static void chains_are_replaced_as_a_whole(void **state)
{
	struct map_chain chains[PARTITIONS];
	struct cluster_map *map;
	uint64_t version;

	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
	fill_chains(chains, 1);
	version = map_version();
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), 0);
	assert_int_equal(map_version(), version + 1);
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), 0);
	assert_int_equal(map_version(), version + 1);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	for (unsigned p = 0; p < PARTITIONS; p++) {
		const struct map_chain *chain = cluster_map_chain(map, 1, p);

		assert_int_equal(chain->epoch, 1);
		assert_int_equal(chain->count, 3);
		assert_int_equal(chain->members[1].target_id, 1 + (p + 1) % 3);
		assert_int_equal(chain->members[2].state, MEMBER_SYNCING);
	}
	cluster_map_unref(map);
}

static void an_epoch_never_means_two_things(void **state)
{
	struct map_chain chains[PARTITIONS];

	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
	fill_chains(chains, 5);
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS - 1),
			 -EINVAL);
	assert_int_equal(state_apply_chains(f.state, ++f.index, 2, chains, PARTITIONS), -ENOENT);
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), 0);
	chains[3].epoch = 4;
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), -EINVAL);
	chains[3].epoch = 5;
	chains[3].members[2].state = MEMBER_IN_SYNC;
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), -EINVAL);
	chains[3].epoch = 6;
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), 0);
	chains[3].count = CHAIN_MEMBERS_MAX + 1;
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), -EINVAL);
}

static void a_registration_that_the_store_failed_has_no_effect(void **state)
{
	struct map_chain chains[PARTITIONS];

	kv_memory_fail_write(f.kv, 1, EIO);
	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), -EIO);
	assert_int_equal(kv_recover(f.kv), 0);
	assert_int_equal(register_server("b", "uuid-3", NULL), 0);
	assert_int_equal(f.state->cluster.server_count, 1);
	assert_int_equal(f.state->cluster.servers[0].id, 1);
	assert_int_equal(f.state->cluster.targets[0].id, 1);
	assert_int_equal(register_server("a", "uuid-1", "uuid-2"), 0);
	fill_chains(chains, 1);
	kv_memory_fail_write(f.kv, 1, EIO);
	assert_int_equal(state_apply_chains(f.state, ++f.index, 1, chains, PARTITIONS), -EIO);
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
		TEST(chains_are_replaced_as_a_whole),
		TEST(an_epoch_never_means_two_things),
		TEST(a_registration_that_the_store_failed_has_no_effect),
	};

	return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
