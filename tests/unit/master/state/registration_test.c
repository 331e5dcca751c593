/* registration_test.c - pools, servers and targets in the master's state.
 *
 * Goal: ids of servers and targets are given once and kept for ever; the map's version grows with
 * every change of them and only then; the map survives a restart as it was.
 * Method: registrations against a state on the memory twin, compared through state_map(). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/cluster_map.h"
#include "tests/lib/state_fixture.h"

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
	assert_int_equal(map->pools[0].partitions, FIXTURE_PARTITIONS);
	assert_int_equal(map->pools[0].chunk_size, 16u << 20);
	assert_int_equal(map->server_count, 0);
	assert_int_equal(map->target_count, 0);
	cluster_map_unref(map);
}

static void servers_and_targets_get_ids_that_stay(void **state)
{
	struct cluster_map *map;
	uint64_t version = map_version();

	assert_int_equal(do_register(&f, "a", "uuid-1", "uuid-2"), 0);
	assert_true(map_version() > version);
	version = map_version();
	assert_int_equal(do_register(&f, "b", "uuid-3", NULL), 0);
	assert_true(map_version() > version);
	version = map_version();
	/* The same again, also after a restart, is no change. */
	assert_int_equal(do_register(&f, "a", "uuid-2", "uuid-1"), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(do_register(&f, "a", "uuid-1", NULL), 0);
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
	struct map_server server = fixture_server("a");
	struct cluster_map *map;
	uint64_t version;

	assert_int_equal(do_register(&f, "a", "uuid-1", "uuid-2"), 0);
	assert_int_equal(do_register(&f, "b", "uuid-3", NULL), 0);
	version = map_version();
	snprintf(server.address, sizeof(server.address), "elsewhere:1");
	assert_int_equal(do_register_server(&f, &server, NULL, 0), 0);
	assert_int_equal(map_version(), version + 1);
	assert_int_equal(do_register(&f, "b", "uuid-2", NULL), 0);
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
	struct map_server server = fixture_server("a");
	struct state_registered_target targets[2] = {0};

	snprintf(targets[0].uuid, sizeof(targets[0].uuid), "same");
	snprintf(targets[1].uuid, sizeof(targets[1].uuid), "same");
	assert_int_equal(do_register_server(&f, &server, targets, 2), -EINVAL);
	targets[0].uuid[0] = '\0';
	assert_int_equal(do_register_server(&f, &server, targets, 1), -EINVAL);
	memset(targets[0].uuid, 'u', sizeof(targets[0].uuid));
	assert_int_equal(do_register_server(&f, &server, targets, 1), -EINVAL);
	server.workers = 0;
	assert_int_equal(do_register_server(&f, &server, NULL, 0), -EINVAL);
	server = fixture_server("");
	assert_int_equal(do_register_server(&f, &server, NULL, 0), -EINVAL);
	assert_int_equal(f.state->cluster.server_count, 0);
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

	assert_int_equal(fixture_three_targets(&f), 0);
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
	kv_memory_fail_write(f.kv, 1, EIO);
	assert_int_equal(do_register(&f, "a", "uuid-1", "uuid-2"), -EIO);
	assert_int_equal(kv_recover(f.kv), 0);
	assert_int_equal(do_register(&f, "b", "uuid-3", NULL), 0);
	assert_int_equal(f.state->cluster.server_count, 1);
	assert_int_equal(f.state->cluster.servers[0].id, 1);
	assert_int_equal(f.state->cluster.targets[0].id, 1);
	assert_int_equal(do_register(&f, "a", "uuid-1", "uuid-2"), 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_cluster_has_the_default_pool),
		TEST(servers_and_targets_get_ids_that_stay),
		TEST(a_server_may_move_and_so_may_its_disks),
		TEST(registrations_are_checked),
		TEST(records_of_the_first_format_are_read),
		TEST(a_registration_that_the_store_failed_has_no_effect),
	};

	return cmocka_run_group_tests_name("registration", tests, NULL, NULL);
}
