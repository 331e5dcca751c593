/* keys_test.c - records of the master's store, and its caches.
 *
 * Goal: what is written is read back; what is cut short, too long or of another format is refused;
 * the hash of names, which is part of the format on disk, never changes; caches of bounded size
 * forget, but never lie.
 * Method: round trips, every truncation, vectors of the SipHash paper, and random use of the caches
 * against plain arrays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "common/base/bytes.h"
#include "master/records/core.h"
#include "tests/lib/random.h"

static void the_hash_of_names_is_siphash_2_4(void **state)
{
	uint8_t key[NAME_KEY_BYTES], text[15];

	for (unsigned i = 0; i < 16; i++)
		key[i] = (uint8_t)i;
	for (unsigned i = 0; i < 15; i++)
		text[i] = (uint8_t)i;
	/* Appendix A of the paper, and the first of the authors' vectors. */
	assert_true(key_name_hash(key, text, 15) == 0xa129ca6149be45e5ull);
	assert_true(key_name_hash(key, text, 0) == 0x726fdb47dd0e0e31ull);
	assert_true(key_name_hash(key, text, 8) == 0x93f5f5799a932462ull);
}

static void inodes_are_read_as_they_were_written(void **state)
{
	uint8_t data[INODE_VALUE_BYTES + 1];
	struct inode_record in, out;

	/* Every byte of every field differs from its neighbours. */
	for (size_t i = 0; i < sizeof(in); i++)
		((uint8_t *)&in)[i] = (uint8_t)(i * 7 + 1);
	in.file_id %= ID_END; /* of our group */
	in.parent %= ID_END;
	in.trim_session %= ID_END;
	value_encode_inode(&in, data);
	assert_true(value_decode_inode(in.ino, data, INODE_VALUE_BYTES, &out));
	assert_int_equal(in.mode, out.mode);
	assert_int_equal(in.nlink, out.nlink);
	assert_int_equal(in.uid, out.uid);
	assert_int_equal(in.gid, out.gid);
	assert_int_equal(in.rdev, out.rdev);
	assert_int_equal(in.pool, out.pool);
	assert_true(in.size == out.size && in.atime == out.atime && in.mtime == out.mtime);
	assert_true(in.ctime == out.ctime && in.file_id == out.file_id);
	assert_true(in.version == out.version && in.allocated == out.allocated);
	assert_true(in.parent == out.parent && in.trim_from == out.trim_from);
	assert_true(in.trim_to == out.trim_to && in.trim_session == out.trim_session);
	assert_true(in.entries == out.entries && in.xattr_bytes == out.xattr_bytes);
	assert_int_equal(in.flags, out.flags);
	assert_true(in.truncations == out.truncations && in.truncated_at == out.truncated_at);
	assert_true(in.atime_set == out.atime_set && in.mtime_set == out.mtime_set);
	for (size_t size = 0; size < INODE_VALUE_BYTES; size++)
		assert_false(value_decode_inode(1, data, size, &out));
	assert_false(value_decode_inode(1, data, INODE_VALUE_BYTES + 1, &out));
	data[0]++;
	assert_false(value_decode_inode(1, data, INODE_VALUE_BYTES, &out));
	data[0] = 0;
	assert_false(value_decode_inode(1, data, INODE_VALUE_BYTES, &out));
	/* Those of the first format end before what counts truncations. */
	data[0] = 1;
	assert_false(value_decode_inode(1, data, INODE_VALUE_BYTES, &out));
	assert_true(value_decode_inode(in.ino, data, INODE_VALUE_BYTES - 32, &out));
	assert_true(in.xattr_bytes == out.xattr_bytes && out.truncations == 0);
	assert_true(out.truncated_at == 0 && out.atime_set == 0 && out.mtime_set == 0);
}

static void counters_are_read_as_they_were_written(void **state)
{
	uint8_t data[COUNTERS_VALUE_BYTES];
	struct counters in, out;

	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
	in.index = 1;
	in.next_ino = 2;
	in.next_file_id = 3;
	in.next_session = 4;
	in.next_server = 5;
	in.next_removal = 6;
	in.map_version = 7;
	in.next_target = 8;
	in.inodes = 9;
	in.orphans = 10;
	in.removals = 11;
	in.bytes = UINT64_MAX;
	value_encode_counters(&in, data);
	assert_true(value_decode_counters(data, sizeof(data), &out));
	assert_memory_equal(&in, &out, sizeof(in));
	for (size_t size = 0; size < sizeof(data); size++)
		assert_false(value_decode_counters(data, size, &out));
}

static void entries_are_read_as_they_were_written(void **state)
{
	uint8_t data[DENTRY_VALUE_MAX];
	struct dentry in = {.ino = 77, .type = 8, .name_size = 255}, out;
	size_t size;

	memset(in.name, 'x', sizeof(in.name));
	size = value_encode_dentry(&in, data);
	assert_int_equal(size, DENTRY_VALUE_MAX);
	assert_true(value_decode_dentry(data, size, &out));
	assert_int_equal(out.ino, 77);
	assert_int_equal(out.type, 8);
	assert_int_equal(out.name_size, 255);
	assert_memory_equal(in.name, out.name, 255);
	assert_false(value_decode_dentry(data, size + 1, &out));
	assert_false(value_decode_dentry(data, 9, &out)); /* an inode without a name */
	assert_false(value_decode_dentry(data, 8, &out));
	put_le64(data, 0);
	assert_false(value_decode_dentry(data, size, &out)); /* a name without an inode */
	assert_true(value_decode_dentry(data, 9, &out));
}

static void keys_sort_as_their_numbers_do(void **state)
{
	uint8_t a[16], b[16];

	key_u64_u64(a, 1, UINT64_MAX);
	key_u64_u64(b, 2, 0);
	assert_true(memcmp(a, b, 16) < 0);
	key_u64_u64(a, 255, 255);
	key_u64_u64(b, 255, 256);
	assert_true(memcmp(a, b, 16) < 0);
}

#define CACHED 400000u

static void the_inode_cache_forgets_but_never_lies(void **state)
{
	uint64_t seed = (uint64_t)time(NULL) | 1;
	uint64_t *versions = calloc(CACHED, sizeof(*versions)); /* 0: must not be there */
	struct inode_cache *cache = cache_inode_new();
	unsigned hits = 0, asked = 0;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (unsigned i = 0; i < 4 * CACHED; i++) {
		uint64_t r = random_u64(&seed), ino = 1 + r % (CACHED - 1);
		struct inode_record inode = {.ino = ino, .version = i + 1};
		const struct inode_record *found;

		switch (r >> 40 & 7) {
		case 0:
			cache_inode_drop(cache, ino);
			versions[ino] = 0;
			break;
		case 1:
		case 2:
			cache_inode_put(cache, &inode);
			versions[ino] = inode.version;
			break;
		default:
			found = cache_inode_get(cache, ino);
			asked += versions[ino] != 0;
			hits += found != NULL;
			if (found != NULL) {
				assert_int_equal(found->ino, ino);
				assert_true(found->version == versions[ino]);
			}
		}
	}
	assert_true(hits > asked / 4);
	cache_inode_clear(cache);
	for (uint64_t ino = 1; ino < CACHED; ino++)
		assert_null(cache_inode_get(cache, ino));
	cache_inode_free(cache);
	free(versions);
}

static void the_entry_cache_forgets_but_never_lies(void **state)
{
	struct dentry_cache *cache = cache_dentry_new();
	struct dentry in = {.ino = 5, .type = 4, .name_size = 3, .name = "abc"}, out;

	cache_dentry_put(cache, 1, 64, &in);
	assert_true(cache_dentry_get(cache, 1, 64, &out));
	assert_int_equal(out.ino, 5);
	assert_int_equal(out.type, 4);
	assert_int_equal(out.name_size, 3);
	assert_memory_equal(out.name, "abc", 3);
	assert_false(cache_dentry_get(cache, 64, 1, &out));
	assert_false(cache_dentry_get(cache, 1, 65, &out));
	/* A long name is not kept, and what was there before is no longer true. */
	in.name_size = 255;
	cache_dentry_put(cache, 1, 64, &in);
	assert_false(cache_dentry_get(cache, 1, 64, &out));
	in.name_size = 3;
	for (uint64_t i = 0; i < CACHED; i++) {
		in.ino = i + 1;
		cache_dentry_put(cache, 2, i * 64, &in);
	}
	for (uint64_t i = 0; i < CACHED; i++)
		if (cache_dentry_get(cache, 2, i * 64, &out))
			assert_true(out.ino == i + 1);
	assert_true(cache_dentry_get(cache, 2, (CACHED - 1) * UINT64_C(64), &out));
	cache_dentry_drop(cache, 2, (CACHED - 1) * UINT64_C(64));
	assert_false(cache_dentry_get(cache, 2, (CACHED - 1) * UINT64_C(64), &out));
	cache_dentry_clear(cache);
	for (uint64_t i = 0; i < CACHED; i++)
		assert_false(cache_dentry_get(cache, 2, i * 64, &out));
	cache_dentry_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_of_names_is_siphash_2_4),
		cmocka_unit_test(inodes_are_read_as_they_were_written),
		cmocka_unit_test(counters_are_read_as_they_were_written),
		cmocka_unit_test(entries_are_read_as_they_were_written),
		cmocka_unit_test(keys_sort_as_their_numbers_do),
		cmocka_unit_test(the_inode_cache_forgets_but_never_lies),
		cmocka_unit_test(the_entry_cache_forgets_but_never_lies),
	};

	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
