/* store_damage_test - damaged targets, blocks that move to files, the listing of a target.
 *
 * Goal: what does not match is never served, and is the same wherever it lies. Method: as in
 * store_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/base/crc32c.h"
#include "tests/unit/chunkserver/store/store_content.h"

/* For tests that look at the target as a whole. */
static int setup_alone(void **state)
{
	fixture_end(&fx);
	return fixture_start(&fx, false) != 0 ? -1 : setup(state);
}

/* Changes one byte of the chunk's file. */
static void damage_file(const struct chunk_key *key, uint32_t at)
{
	char path[512];
	uint8_t byte;
	int fd;

	file_path(&fx, key, path, sizeof(path));
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	fsync(fd);
	close(fd);
}

/* ---- damage ---- */

static void test_a_damaged_file_block_is_never_served(void **state)
{
	struct chunk_key key = test_key(1);

	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 1), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	damage_file(&key, 300000);
	assert_int_equal(do_read(&fx, &key, 0, MIB, true, out, NULL), -EBADMSG);
	assert_int_equal(do_read(&fx, &key, 294912, 8192, true, out, NULL), -EBADMSG);
	/* Without verify the reader finds it by the checksums. */
	assert_int_equal(do_read(&fx, &key, 294912, 8192, false, out, NULL), -EILSEQ);
	assert_int_equal(do_read(&fx, &key, 0, 262144, true, out, NULL), 0);
	/* A write of a part of the block must not make it look right. */
	assert_int_equal(do_write(&fx, &key, 300100, "x", 1, 2), -EBADMSG);
	assert_int_equal(info_of(&key).version, 1);
	/* A write of all of it heals it. */
	assert_int_equal(do_write(&fx, &key, 299008, data + 299008, 4096, 2), 0);
	assert_content(&key, 0, data, MIB);
}

static void test_a_file_cut_short_or_lost_is_damage(void **state)
{
	struct chunk_key key = test_key(1);
	char path[512];

	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 1), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	file_path(&fx, &key, path, sizeof(path));
	assert_int_equal(truncate(path, 500000), 0);
	assert_int_equal(do_read(&fx, &key, 0, MIB, false, out, NULL), -EBADMSG);
	assert_int_equal(do_read(&fx, &key, 0, 409600, true, out, NULL), 0);
	fixture_close(&fx);
	unlink(path);
	assert_int_equal(fixture_open(&fx), 0);
	assert_int_equal(do_read(&fx, &key, 0, MIB, false, out, NULL), -EBADMSG);
	assert_int_equal(do_read(&fx, &key, 0, 4096, false, out, NULL), -EBADMSG);
	assert_int_equal(do_remove(&fx, &key, 1), 0);
	assert_false(info_of(&key).exists);
}

static void test_a_damaged_record_is_an_error_and_can_be_removed(void **state)
{
	struct chunk_key key = test_key(1);
	struct chunk_info info;
	struct kv_batch *batch = kv_batch_new();
	uint8_t name[KEY_BYTES_MAX];

	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 1), 0);
	assert_int_equal(do_write(&fx, &key, 0, data, 100, 2), 0);
	kv_batch_put(batch, FAMILY_MAIN, name, key_record(&key, name), "garbage", 7);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(kv_write(fx.store->disk.kv, batch, false), 0);
	assert_int_equal(store_info(fx.view, &key, &info), -EBADMSG);
	assert_int_equal(do_read(&fx, &key, 0, 4096, true, out, NULL), -EBADMSG);
	assert_int_equal(do_write(&fx, &key, 0, data, 4096, 3), -EBADMSG);
	assert_int_equal(do_flush(&fx, &key), -EBADMSG);
	assert_int_equal(do_remove(&fx, &key, 1), 0);
	assert_int_equal(store_info(fx.view, &key, &info), 0);
	assert_false(info.exists);
	assert_false(has_file(&key));
	kv_batch_free(batch);
}

static void test_a_damaged_piece_spares_the_others(void **state)
{
	struct chunk_key key = test_key(1);
	struct kv_batch *batch = kv_batch_new();
	uint8_t name[KEY_BYTES_MAX];

	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(do_write(&fx, &key, i * MIB, data + i * MIB, MIB, i + 1), 0);
	kv_batch_put(batch, FAMILY_MAIN, name, key_piece(&key, 1, name), "garbage", 7);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(kv_write(fx.store->disk.kv, batch, false), 0);
	assert_content(&key, 0, data, MIB);
	assert_int_equal(do_read(&fx, &key, MIB, MIB, true, out, NULL), -EBADMSG);
	assert_content(&key, 2 * MIB, data + 2 * MIB, MIB);
	assert_int_equal(do_write(&fx, &key, MIB, data, 4096, 4), -EBADMSG);
	assert_int_equal(do_write(&fx, &key, 0, data, 4096, 4), 0);
	assert_int_equal(do_remove(&fx, &key, 1), 0);
	kv_batch_free(batch);
}

/* ---- moving blocks out ---- */

static void test_many_inner_blocks_of_a_long_chunk_are_moved_to_the_file(void **state)
{
	struct chunk_key key = test_key(1);
	struct chunk *chunk;

	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(do_next_write(&fx, &key, i * 9000, data + i * 9000, 9000, i + 1),
				 0);
	assert_int_equal(chunk_get(fx.view, &key, &chunk), 0);
	assert_true(chunk->inner_count > 400);
	for (unsigned i = 0; i < 300 && chunk->inner_count > 64; i++) {
		run_for(&fx, 20);
		/* Writers and readers go on meanwhile. */
		fill_random(data + i * 4096, 4096, i);
		if (i % 20 == 0)
			assert_int_equal(
				do_write(&fx, &key, i * 4096, data + i * 4096, 4096, 1000 + i), 0);
		else
			fill_random(data, sizeof(data), 42);
		if (i == 20)
			break;
	}
	fill_random(data, sizeof(data), 42);
	for (uint32_t at = 0; at < 1800000; at += 32768)
		assert_int_equal(do_write(&fx, &key, at, data + at,
					  1800000 - at < 32768 ? 1800000 - at : 32768, 5000 + at),
				 0);
	for (unsigned i = 0; i < 500 && chunk->inner_count > 64; i++)
		run_for(&fx, 20);
	assert_true(chunk->inner_count <= 64);
	assert_true(has_file(&key));
	assert_content(&key, 0, data, 1800000);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_content(&key, 0, data, 1800000);
	assert_false(info_of(&key).unsure);
}

static void test_a_short_chunk_stays_inside(void **state)
{
	struct chunk_key key = test_key(1);

	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(do_next_write(&fx, &key, (i % 8) * 4096, data + i, 4096, i + 1),
				 0);
	run_for(&fx, 150);
	assert_false(has_file(&key));
}

static void test_a_chunk_grows_and_shrinks_across_the_border(void **state)
{
	struct chunk_key key = test_key(1);

	for (uint64_t v = 1; v < 40; v += 4) {
		assert_int_equal(do_write(&fx, &key, 0, data, 20000, v), 0);
		assert_int_equal(do_write(&fx, &key, 20000, data + 20000, 20000, v + 1), 0);
		assert_content(&key, 0, data, 40000);
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_content(&key, 0, data, 40000);
		assert_int_equal(do_write(&fx, &key, 2 * MIB, data, MIB, v + 2), 0);
		assert_int_equal(do_update(&fx, STORE_TRUNCATE, &key, 10000, 0, NULL, v + 3), 0);
		assert_content(&key, 0, data, 10000);
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_content(&key, 0, data, 10000);
		assert_int_equal(info_of(&key).length, 10000);
	}
}

static void test_a_tiny_cache_changes_nothing(void **state)
{
	struct chunk_key key;

	fx.store->cache_bytes = 1;
	fx.store->files_max = 2;
	for (uint32_t i = 0; i < 40; i++) {
		key = test_key(i);
		assert_int_equal(do_write(&fx, &key, 0, data + i, 100000, 1), 0);
		assert_int_equal(do_write(&fx, &key, 50, data, 10, 2), 0);
	}
	for (uint32_t i = 0; i < 40; i++) {
		key = test_key(i);
		assert_int_equal(do_flush(&fx, &key), 0);
	}
	run_for(&fx, 500);
	assert_true(fx.view->file_count <= 40);
	for (uint32_t i = 0; i < 40; i++) {
		key = test_key(i);
		assert_content(&key, 60, data + i + 60, 100000 - 60);
		assert_content(&key, 50, data, 10);
	}
	assert_true(fx.view->file_count <= 3);
	assert_true(fx.view->chunk_count <= 3);
}

/* ---- the offline listing ---- */

struct listed {
	unsigned count, bad;
	uint32_t crcs[4];
	uint32_t lengths[4];
};

static int list_one(void *user, const struct chunk_key *key, const struct chunk_info *info,
		    uint32_t crc, int error)
{
	struct listed *listed = user;

	if (error == -EBADMSG)
		listed->bad++;
	listed->crcs[listed->count] = crc;
	listed->lengths[listed->count] = info->length;
	return ++listed->count == 4 ? 1 : 0;
}

static void test_the_listing_names_every_chunk_and_its_content(void **state)
{
	struct chunk_key key;
	struct listed listed = {0};
	char error[256];
	uint32_t length[3] = {100, 200001, 1500000}, crc;

	for (uint32_t i = 0; i < 3; i++) {
		key = test_key(i);
		assert_int_equal(do_write(&fx, &key, length[i] - 50, data, 50, 1), 0);
		assert_int_equal(do_write(&fx, &key, 0, data, length[i] > MIB ? MIB : 50, 2), 0);
	}
	assert_int_equal(store_list(fx.dir, list_one, &listed, error, sizeof(error)), -EBUSY);
	fixture_close(&fx);
	assert_int_equal(store_list(fx.dir, list_one, &listed, error, sizeof(error)), 0);
	assert_int_equal(listed.count, 3);
	assert_int_equal(listed.bad, 0);
	crc = crc32c_extend(crc32c(data, 50), data, 50);
	assert_int_equal(listed.crcs[0], crc);
	assert_int_equal(listed.lengths[1], 200001);
	damage_file(&key, 8192);
	memset(&listed, 0, sizeof(listed));
	assert_int_equal(store_list(fx.dir, list_one, &listed, error, sizeof(error)), 0);
	assert_int_equal(listed.bad, 1);
	assert_int_equal(fixture_open(&fx), 0);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, NULL)
#define TEST_ALONE(name) cmocka_unit_test_setup_teardown(name, setup_alone, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_damaged_file_block_is_never_served),
		TEST(test_a_file_cut_short_or_lost_is_damage),
		TEST(test_a_damaged_record_is_an_error_and_can_be_removed),
		TEST(test_a_damaged_piece_spares_the_others),
		TEST(test_many_inner_blocks_of_a_long_chunk_are_moved_to_the_file),
		TEST(test_a_short_chunk_stays_inside),
		TEST(test_a_chunk_grows_and_shrinks_across_the_border),
		TEST_ALONE(test_a_tiny_cache_changes_nothing),
		TEST_ALONE(test_the_listing_names_every_chunk_and_its_content),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
