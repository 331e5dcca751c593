/* check_map_test.c - what a check of the master's store says of pools, servers, targets and chains.
 *
 * Goal: each damage gives exactly its finding, at the right partition; what the state machine makes
 * of a whole cluster gives none.
 * Method: three servers in two racks, with chains by requests to the state; then single records are
 * edited. */
#include "master/state/chain_change.h"
#include "tests/unit/master/check/check_fixture.h"

#define IN_SYNC MEMBER_IN_SYNC

static void register_server(const char *name, const char *rack, const char *uuid)
{
	struct state_registered_target target = {0};
	struct map_server server = fixture_server(name);

	snprintf(server.rack, sizeof(server.rack), "%s", rack);
	memcpy(target.uuid, uuid, strlen(uuid) + 1);
	assert_int_equal(do_register_server(&tree.f, &server, &target, 1), 0);
}

/* Targets 1 to 4 at servers 1 to 4, the last two in one rack. */
static int setup(void **state)
{
	struct chain_change changes[FIXTURE_PARTITIONS];
	struct fixture *f = &tree.f;

	if (fixture_init(f, UINT64_MAX) != 0)
		return -1;
	register_server("a", "r1", "uuid-1");
	register_server("b", "r2", "uuid-2");
	register_server("c", "r3", "uuid-3");
	register_server("d", "r3", "uuid-4");
	for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++)
		changes[p] = (struct chain_change){
			.pool = 1,
			.partition = p,
			.chain = {.epoch = state_epoch_base(f->state) + 1,
				  .count = 3,
				  .members = {{1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}}}};
	return state_apply_chains(f->state, ++f->index, changes, FIXTURE_PARTITIONS, NULL, 0, NULL,
				  0);
}

static void take_finding(void *user, const struct check_finding *finding)
{
	assert_true(found.count < FOUND_MAX);
	found.findings[found.count++] = *finding;
}

static void check_map_now(void)
{
	memset(&found, 0, sizeof(found));
	found.rc = check_map(tree.f.kv, NULL, take_finding, NULL, &found.result);
	assert_int_equal(found.rc == 0, found.result.error[0] == '\0');
}

static const struct check_finding *assert_map_one(enum check_code code)
{
	check_map_now();
	assert_int_equal(found.rc, 0);
	for (unsigned i = 0; i < found.count; i++)
		if (found.count != 1 || found.findings[i].code != code)
			print_error("CF-%u: %s\n", (unsigned)found.findings[i].code,
				    found.findings[i].text);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.findings[0].code, code);
	return &found.findings[0];
}

static void assert_map_sound(void)
{
	check_map_now();
	assert_int_equal(found.rc, 0);
	for (unsigned i = 0; i < found.count; i++)
		print_error("CF-%u: %s\n", (unsigned)found.findings[i].code,
			    found.findings[i].text);
	assert_int_equal(found.count, 0);
}

static void put_chain(uint32_t partition, uint64_t epoch, uint32_t count,
		      const struct chain_member *members)
{
	struct map_chain chain = {.epoch = epoch, .count = count};
	struct kv_batch *batch = kv_batch_new();

	for (uint32_t i = 0; i < count; i++)
		chain.members[i] = members[i];
	cluster_put_chain(batch, 1, partition, &chain);
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
}
#define PUT_CHAIN(partition_, epoch_, ...)                                                         \
	do {                                                                                       \
		const struct chain_member members[] = {__VA_ARGS__};                               \
		put_chain(partition_, epoch_, sizeof(members) / sizeof(*members), members);        \
	} while (0)

static void delete_chain(uint32_t partition)
{
	uint8_t key[META_KEY_MAX];

	delete_record(FAMILY_META, key, key_meta32(key, META_CHAIN, 1, partition));
}

static void put_pool(uint32_t copies, uint32_t chunk_size, enum failure_domain domain)
{
	struct state_pool pool = {.id = 1,
				  .copies = copies,
				  .partitions = FIXTURE_PARTITIONS,
				  .chunk_size = chunk_size,
				  .failure_domain = domain,
				  .name = "default"};
	struct kv_batch *batch = kv_batch_new();

	cluster_put_pool(batch, &pool);
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
}

static void put_target(uint32_t id, uint64_t server, const char *uuid)
{
	struct state_target target = {.id = id, .server_id = server};
	struct kv_batch *batch = kv_batch_new();

	memcpy(target.uuid, uuid, strlen(uuid) + 1);
	cluster_put_target(batch, &target);
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
}

/* ---- controls ---- */

static void a_whole_cluster_is_sound(void **state)
{
	assert_map_sound();
	assert_int_equal(found.result.partitions, FIXTURE_PARTITIONS);
	/* Another member than the three is away, or made equal. */
	PUT_CHAIN(1, 2, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}, {4, MEMBER_OFFLINE});
	PUT_CHAIN(2, 2, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}, {4, MEMBER_SYNCING});
	assert_map_sound();
}

static void a_cluster_without_chains_is_sound(void **state)
{
	for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++)
		delete_chain(p);
	assert_map_sound();
}

static void a_copy_that_is_moved_may_be_with_the_one_that_goes(void **state)
{
	put_pool(3, 16u << 20, FAILURE_DOMAIN_RACK);
	PUT_CHAIN(1, 2, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}, {4, MEMBER_SYNCING});
	assert_map_sound();
	PUT_CHAIN(1, 3, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}, {4, IN_SYNC});
	assert_map_sound();
}

/* ---- chains ---- */

static void two_copies_in_one_domain_are_found(void **state)
{
	const struct check_finding *finding;

	PUT_CHAIN(5, 2, {1, IN_SYNC}, {4, IN_SYNC}, {3, IN_SYNC});
	assert_map_sound(); /* the domain is the host */
	put_pool(3, 16u << 20, FAILURE_DOMAIN_RACK);
	finding = assert_map_one(CHECK_DOMAIN_TWICE);
	assert_int_equal(finding->partition, 5);
	assert_int_equal(finding->target, 3);
	assert_int_equal(finding->is, 2);
	assert_int_equal(finding->should, 3);
	/* One that is being made equal is no copy. */
	PUT_CHAIN(5, 2, {1, IN_SYNC}, {4, IN_SYNC}, {3, MEMBER_SYNCING});
	assert_map_one(CHECK_FEWER_COPIES);
}

static void members_are_known_and_once(void **state)
{
	const struct check_finding *finding;

	PUT_CHAIN(5, 2, {1, IN_SYNC}, {9, IN_SYNC}, {3, IN_SYNC});
	finding = assert_map_one(CHECK_MEMBER_UNKNOWN);
	assert_int_equal(finding->partition, 5);
	assert_int_equal(finding->target, 9);
	PUT_CHAIN(5, 2, {1, IN_SYNC}, {2, IN_SYNC}, {1, IN_SYNC});
	assert_int_equal(assert_map_one(CHECK_MEMBER_TWICE)->target, 1);
}

static void partitions_have_their_copies(void **state)
{
	const struct check_finding *finding;

	PUT_CHAIN(5, 2, {1, IN_SYNC}, {2, MEMBER_SYNCING}, {3, MEMBER_OFFLINE});
	finding = assert_map_one(CHECK_FEWER_COPIES);
	assert_int_equal(finding->is, 1);
	assert_int_equal(finding->should, 3);
	PUT_CHAIN(5, 2, {1, MEMBER_SYNCING}, {3, MEMBER_OFFLINE});
	assert_int_equal(assert_map_one(CHECK_PARTITION_WITHOUT_IN_SYNC)->partition, 5);
	put_chain(5, 2, 0, NULL);
	assert_map_one(CHECK_PARTITION_WITHOUT_IN_SYNC);
	delete_chain(5);
	assert_int_equal(assert_map_one(CHECK_CHAIN_MISSING)->partition, 5);
}

static void chains_have_the_form_that_the_master_makes(void **state)
{
	PUT_CHAIN(5, 2, {1, IN_SYNC}, {4, MEMBER_OFFLINE}, {2, IN_SYNC}, {3, IN_SYNC});
	assert_map_one(CHECK_CHAIN_SHAPE);
	PUT_CHAIN(5, 2, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}, {4, 0});
	assert_map_one(CHECK_CHAIN_SHAPE);
	PUT_CHAIN(5, 2, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC}, {4, 4});
	assert_map_one(CHECK_CHAIN_SHAPE);
	put_pool(2, 16u << 20, FAILURE_DOMAIN_DEFAULT);
	PUT_CHAIN(5, 2, {1, IN_SYNC}, {2, IN_SYNC}, {3, MEMBER_SYNCING}, {4, MEMBER_SYNCING});
	assert_map_one(CHECK_CHAIN_SHAPE);
}

static void epochs_are_possible(void **state)
{
	PUT_CHAIN(5, 0, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC});
	assert_int_equal(assert_map_one(CHECK_EPOCH)->partition, 5);
	PUT_CHAIN(5, UINT64_MAX, {1, IN_SYNC}, {2, IN_SYNC}, {3, IN_SYNC});
	assert_map_one(CHECK_EPOCH);
}

static void chains_of_partitions_that_are_none_are_found(void **state)
{
	struct kv_batch *batch = kv_batch_new();
	struct map_chain chain = {.epoch = 1, .count = 1, .members = {{1, IN_SYNC}}};

	cluster_put_chain(batch, 1, FIXTURE_PARTITIONS, &chain);
	cluster_put_chain(batch, 2, 0, &chain);
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
	check_map_now();
	assert_int_equal(found.count, 2);
	assert_int_equal(found.findings[0].code, CHECK_CHAIN_OF_NO_PARTITION);
	assert_int_equal(found.findings[0].partition, FIXTURE_PARTITIONS);
	assert_int_equal(found.findings[1].code, CHECK_CHAIN_OF_NO_PARTITION);
	assert_int_equal(found.findings[1].pool, 2);
}

/* ---- the others ---- */

static void targets_are_claimed_once_by_a_server_that_is_known(void **state)
{
	put_target(4, 4, "uuid-2");
	assert_int_equal(assert_map_one(CHECK_TARGET_TWICE)->target, 4);
	put_target(4, 9, "uuid-4");
	assert_int_equal(assert_map_one(CHECK_TARGET_WITHOUT_SERVER)->other, 9);
}

static void servers_have_names_of_their_own(void **state)
{
	struct map_server server = fixture_server("b");
	struct kv_batch *batch = kv_batch_new();

	server.id = 4;
	cluster_put_server(batch, &server);
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
	assert_int_equal(assert_map_one(CHECK_SERVER_TWICE)->other, 4);
}

static void settings_of_a_pool_are_possible(void **state)
{
	put_pool(0, 16u << 20, FAILURE_DOMAIN_DEFAULT);
	assert_int_equal(assert_map_one(CHECK_POOL)->pool, 1);
	put_pool(3, (16u << 20) + 1, FAILURE_DOMAIN_DEFAULT);
	assert_map_one(CHECK_POOL);
}

static void next_numbers_are_above_those_that_are_taken(void **state)
{
	struct counters whole = get_counters();

	EDIT_COUNTERS(c.next_target = 4);
	assert_int_equal(assert_map_one(CHECK_NEXT_NUMBER_LOW)->should, 5);
	put_counters(&whole);
	EDIT_COUNTERS(c.next_server = 4);
	assert_map_one(CHECK_NEXT_NUMBER_LOW);
}

static void maps_and_commands_are_later_than_the_lives_they_are_of(void **state)
{
	const struct state_start start = {.instance = 1, .chance = 5};
	struct counters whole;

	assert_int_equal(state_apply_start(tree.f.state, ++tree.f.index, &start, STATE_ID_GAP), 0);
	assert_map_sound();
	whole = get_counters();
	EDIT_COUNTERS(c.map_version--);
	assert_map_one(CHECK_MAP_VERSION);
	put_counters(&whole);
	EDIT_COUNTERS(c.index--);
	assert_map_one(CHECK_MAP_VERSION);
}

static void records_of_the_map_that_cannot_be_read_are_told_once(void **state)
{
	static const struct {
		enum meta_tag tag;
		uint64_t id;
	} records[] = {{META_POOL, UINT64_C(1) << 32},
		       {META_SERVER, 2},
		       {META_TARGET, UINT64_C(2) << 32},
		       {META_CHAIN, UINT64_C(1) << 32 | 5},
		       {META_RECOVERY, 0},
		       {META_FENCE, 0}};

	for (unsigned n = 0; n < sizeof(records) / sizeof(*records); n++) {
		uint8_t key[META_KEY_MAX], *value = NULL;
		size_t key_size = key_meta(key, records[n].tag, records[n].id), size;
		int rc = kv_get(tree.f.kv, FAMILY_META, key, key_size, &value, &size);

		put_record(FAMILY_META, key, key_size, "\x7f", 1);
		assert_map_one(CHECK_RECORD_DAMAGED);
		if (rc == 0)
			put_record(FAMILY_META, key, key_size, value, size);
		else
			delete_record(FAMILY_META, key, key_size);
		free(rc == 0 ? value : NULL);
		assert_map_sound();
		put_record(FAMILY_META, key, 5, "", 0);
		assert_map_one(CHECK_RECORD_UNKNOWN);
		delete_record(FAMILY_META, key, 5);
	}
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, check_tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_whole_cluster_is_sound),
		TEST(a_cluster_without_chains_is_sound),
		TEST(a_copy_that_is_moved_may_be_with_the_one_that_goes),
		TEST(two_copies_in_one_domain_are_found),
		TEST(members_are_known_and_once),
		TEST(partitions_have_their_copies),
		TEST(chains_have_the_form_that_the_master_makes),
		TEST(epochs_are_possible),
		TEST(chains_of_partitions_that_are_none_are_found),
		TEST(targets_are_claimed_once_by_a_server_that_is_known),
		TEST(servers_have_names_of_their_own),
		TEST(settings_of_a_pool_are_possible),
		TEST(next_numbers_are_above_those_that_are_taken),
		TEST(maps_and_commands_are_later_than_the_lives_they_are_of),
		TEST(records_of_the_map_that_cannot_be_read_are_told_once),
	};

	return cmocka_run_group_tests_name("check of the map", tests, NULL, NULL);
}
