/* Goal: what a target has seen of masters and of its chains is there after any crash in which
 * something that came later is there, and nothing else is taken for it. Method: maps made by hand,
 * reopening, power cuts on the memory twin of the db. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "chunkserver/record/seen.h"
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/witness.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/store/store.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "tests/lib/tree.h"

#define US     7u
#define CHAINS 4u

static char dir[512], path[640], error[256];
static struct buf_pool *pool;
static struct kv *kv;
static struct store *store;
static struct map_chain chains[CHAINS];
static struct map_pool pools[1] = {{.id = 3, .partitions = CHAINS, .chains = chains}};
static struct cluster_map map = {.pool_count = 1, .pools = pools};

static void open_it(void)
{
	struct store_options options = {.path = path, .cluster = "c1", .pool = pool};

	assert_int_equal(store_open_on(&options, kv, &store, error, sizeof(error)), 0);
}

static void reopen(void)
{
	store_close(store);
	open_it();
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/store-seen-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/target", dir);
	assert_int_equal(buf_pool_create(0, &pool), 0);
	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(kv_open_memory(db_families, FAMILY_COUNT, &kv), 0);
	memset(chains, 0, sizeof(chains));
	map.version = 0;
	open_it();
	return 0;
}

static int teardown(void **state)
{
	store_close(store);
	kv_close(kv);
	buf_pool_destroy(pool);
	tree_remove(dir);
	return 0;
}

static void set_chain(uint32_t partition, uint64_t epoch, uint32_t a, uint32_t b)
{
	chains[partition] = (struct map_chain){
		.epoch = epoch, .count = 2, .members = {{a, MEMBER_IN_SYNC}, {b, MEMBER_SYNCING}}};
}

static void see_map(uint64_t version)
{
	map.version = version << MAP_CHANGE_BITS | 5;
	assert_int_equal(store_set_seen_map(store, &map), 0);
}

static void see(uint64_t life, uint64_t chance)
{
	struct store_seen seen;

	store_seen(store, &seen);
	seen.life = life;
	seen.chance = chance;
	seen.server_id = 100;
	seen.target_id = US;
	assert_int_equal(store_set_seen(store, &seen), 0);
}

static char said[256];

static int say(void *user, uint32_t in, uint32_t partition, const struct map_chain *chain)
{
	size_t used = strlen(said);

	snprintf(said + used, sizeof(said) - used, "%u/%u:%llu(%u,%u) ", in, partition,
		 (unsigned long long)chain->epoch, chain->members[0].target_id,
		 chain->members[1].target_id);
	return 0;
}

static void expect_chains(const char *expected)
{
	said[0] = '\0';
	assert_int_equal(store_seen_chains(store, say, NULL), 0);
	assert_string_equal(said, expected);
}

static void a_new_target_has_seen_nothing(void **state)
{
	struct store_seen seen;

	store_seen(store, &seen);
	assert_int_equal(seen.life, 0);
	assert_int_equal(seen.version, 0);
	expect_chains("");
}

static void what_was_seen_is_told_after_a_restart(void **state)
{
	struct store_seen seen;

	see(4, 44);
	set_chain(1, 10, US, 8);
	set_chain(2, 11, 8, 9); /* not ours */
	see_map(20);
	reopen();
	store_seen(store, &seen);
	assert_int_equal(seen.life, 4);
	assert_int_equal(seen.chance, 44);
	assert_int_equal(seen.version >> MAP_CHANGE_BITS, 20);
	assert_int_equal(seen.target_id, US);
	expect_chains("3/1:10(7,8) ");
	/* A chain that it has left is known up to there, and no older map changes it. */
	set_chain(1, 12, 8, 9);
	set_chain(2, 13, 9, US);
	see_map(21);
	reopen();
	expect_chains("3/1:12(8,9) 3/2:13(9,7) ");
	set_chain(1, 11, US, 9);
	see_map(20);
	expect_chains("3/1:12(8,9) 3/2:13(9,7) ");
	see_map(22); /* nor an older epoch in a newer map */
	expect_chains("3/1:12(8,9) 3/2:13(9,7) ");
}

static void how_far_the_log_was_is_told_after_a_restart(void **state)
{
	struct store_seen seen;

	see(4, 44);
	assert_int_equal(store_set_seen_index(store, 70), 0);
	assert_int_equal(store_set_seen_index(store, 60), 0); /* comes late */
	reopen();
	store_seen(store, &seen);
	assert_int_equal(seen.index, 70);
	/* Of another life it is another log. */
	seen_registered(&seen, 4, 44, 50);
	assert_int_equal(seen.index, 70);
	seen_registered(&seen, 5, 55, 50);
	assert_int_equal(seen.index, 50);
}

static void what_was_seen_before_there_was_an_index_is_read(void **state)
{
	struct store_seen seen = {.life = 1, .chance = 2, .version = 3, .server_id = 4, .index = 9};
	uint8_t value[SEEN_VALUE_MAX], key[] = {KEY_SEEN};
	size_t size = value_seen_encode(&seen, value) - sizeof(uint32_t) - sizeof(uint64_t);

	put_le32(value + size, crc32c_extend(crc32c(key, sizeof(key)), value, size));
	assert_int_equal(value_seen_decode(value, size + sizeof(uint32_t), &seen), 0);
	assert_int_equal(seen.index, 0);
	assert_int_equal(seen.server_id, 4);
}

static void what_is_flushed_later_is_not_there_without_it(void **state)
{
	struct store_seen seen;

	see(4, 44);
	set_chain(1, 10, US, 8);
	see_map(20);
	assert_int_equal(kv_flush(kv), 0); /* of some data that came after it */
	kv_memory_crash(kv);
	store_close(store);
	open_it();
	store_seen(store, &seen);
	assert_int_equal(seen.version >> MAP_CHANGE_BITS, 20);
	expect_chains("3/1:10(7,8) ");
}

static void changes_of_liveness_are_not_written(void **state)
{
	uint64_t written;

	see(4, 44);
	set_chain(1, 10, US, 8);
	see_map(20);
	written = atomic_load(&store->disk.written_seq);
	map.version += 7;
	assert_int_equal(store_set_seen_map(store, &map), 0);
	see(4, 44);
	assert_int_equal(atomic_load(&store->disk.written_seq), written);
}

/* A server that loses its place in one chain is told of that first, with other changes held back. */
static void what_was_held_back_from_a_map_is_noted_with_the_next(void **state)
{
	see(4, 44);
	set_chain(1, 10, US, 8);
	set_chain(2, 20, 8, US);
	see_map(20);
	set_chain(1, 11, 8, 9);
	map.version = UINT64_C(21) << MAP_CHANGE_BITS;
	assert_int_equal(store_set_seen_map(store, &map), 0);
	/* Then everything of the same state, as all are told it. */
	set_chain(2, 21, US, 8);
	assert_int_equal(store_set_seen_map(store, &map), 0);
	reopen();
	expect_chains("3/1:11(8,9) 3/2:21(7,8) ");
}

static void damaged_records_are_refused(void **state)
{
	uint8_t value[SEEN_VALUE_MAX], key[] = {KEY_SEEN_CHAIN, 0, 0, 0, 3, 0, 0, 0, 1};
	struct store_seen seen = {.life = 1, .chance = 2, .version = 3, .index = 4}, back;
	struct map_chain chain;
	size_t size = value_seen_encode(&seen, value);

	assert_int_equal(value_seen_decode(value, size, &back), 0);
	assert_memory_equal(&seen, &back, sizeof(seen));
	for (size_t i = 0; i < size; i++) {
		value[i] ^= 0x10;
		assert_int_equal(value_seen_decode(value, size, &back), -EBADMSG);
		value[i] ^= 0x10;
		assert_int_equal(value_seen_decode(value, i, &back), -EBADMSG);
	}
	set_chain(0, 5, 1, 2);
	size = value_seen_chain_encode(key, sizeof(key), &chains[0], value);
	assert_int_equal(value_seen_chain_decode(key, sizeof(key), value, size, &chain), 0);
	assert_memory_equal(&chain, &chains[0], sizeof(chain));
	for (size_t i = 0; i < size; i++) {
		value[i] ^= 0x10;
		assert_int_equal(value_seen_chain_decode(key, sizeof(key), value, size, &chain),
				 -EBADMSG);
		value[i] ^= 0x10;
		assert_int_equal(value_seen_chain_decode(key, sizeof(key), value, i, &chain),
				 -EBADMSG);
	}
	key[8]++; /* of another partition */
	assert_int_equal(value_seen_chain_decode(key, sizeof(key), value, size, &chain), -EBADMSG);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_target_has_seen_nothing),
		TEST(what_was_seen_is_told_after_a_restart),
		TEST(how_far_the_log_was_is_told_after_a_restart),
		TEST(what_was_seen_before_there_was_an_index_is_read),
		TEST(what_is_flushed_later_is_not_there_without_it),
		TEST(changes_of_liveness_are_not_written),
		TEST(what_was_held_back_from_a_map_is_noted_with_the_next),
		TEST(damaged_records_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
