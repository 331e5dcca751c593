/* Goal: chunks behave as store.h says: what is written is read back, checksums and lengths are
 * right, copies given the same updates are equal, and damage is never served. Method: a target on a
 * real disk, calls that wait for their callbacks, a model of the chunk's bytes, and files changed
 * behind the store's back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include "common/base/crc32c.h"
#include "tests/unit/chunkserver/store/store_content.h"

static uint8_t zeros[MIB];

/* ---- writing and reading ---- */

static void test_an_unknown_chunk_is_no_error_and_empty(void **state)
{
	struct chunk_key key = test_key(0);
	struct chunk_info info = info_of(&key);
	uint32_t got = 99, digest;

	assert_false(info.exists);
	assert_int_equal(info.version, 0);
	assert_int_equal(info.length, 0);
	assert_int_equal(do_read(&fx, &key, 0, 8192, true, out, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(store_digest(fx.view, &key, &digest), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	assert_int_equal(do_remove(&fx, &key, 1), 0);
}

static void test_a_small_write_stays_inside_and_is_read_back(void **state)
{
	struct chunk_key key = test_key(0);
	struct chunk_info info;
	uint32_t got;

	assert_int_equal(do_write(&fx, &key, 0, data, 100, 5), 0);
	info = info_of(&key);
	assert_true(info.exists);
	assert_false(info.unsure);
	assert_int_equal(info.version, 5);
	assert_int_equal(info.epoch, 1);
	assert_int_equal(info.length, 100);
	assert_int_equal(do_read(&fx, &key, 0, MIB, true, out, &got), 0);
	assert_int_equal(got, BLOCK_SIZE);
	assert_memory_equal(out, data, 100);
	assert_memory_equal(out + 100, zeros, BLOCK_SIZE - 100);
	assert_false(has_file(&key));
	assert_int_equal(do_flush(&fx, &key), 0);
}

static void test_a_large_write_goes_to_the_file_its_ends_inside(void **state)
{
	struct chunk_key key = test_key(0);
	uint32_t offset = 3 * MIB / 2 + 1234;

	assert_int_equal(do_write(&fx, &key, offset, data, MIB - 777, 1), 0);
	assert_true(has_file(&key));
	assert_int_equal(info_of(&key).length, offset + MIB - 777);
	assert_content(&key, offset, data, MIB - 777);
	assert_content(&key, 0, zeros, MIB);
	assert_int_equal(do_flush(&fx, &key), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_content(&key, offset, data, MIB - 777);
	assert_content(&key, 0, zeros, MIB);
	assert_false(info_of(&key).unsure);
}

static void test_payloads_at_any_address_are_taken(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;
	uint8_t *odd = malloc(MIB + 1);
	struct buf *buf = buf_wrap(fx.pool, odd + 1, 300000, NULL, NULL);

	memcpy(odd + 1, data, 300000);
	buf->length = 300000;
	block_checksums(odd + 1, 5000, 300000, buf->crcs);
	update_fill(&u, &w, STORE_WRITE, &key, 5000, 300000, 1);
	u.payload = buf;
	assert_int_equal(prepare_wait(&fx, &u), 0);
	assert_int_equal(store_commit(fx.view, &u), 0);
	buf_unref(buf);
	free(odd);
	assert_content(&key, 5000, data, 300000);
}

static void test_nothing_is_seen_before_the_commit(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;
	uint32_t got;

	assert_int_equal(do_write(&fx, &key, 0, data, 50000, 1), 0);
	update_fill(&u, &w, STORE_WRITE, &key, 65536, 131072, 2);
	u.payload = payload_of(&fx, data + MIB, 65536, 131072);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	buf_unref(u.payload); /* ours may go: the store holds what it needs */
	assert_int_equal(info_of(&key).version, 1);
	assert_int_equal(do_read(&fx, &key, 0, MIB, true, out, &got), 0);
	assert_int_equal(got, 53248);
	assert_int_equal(store_commit(fx.view, &u), 0);
	assert_content(&key, 65536, data + MIB, 131072);
	assert_int_equal(info_of(&key).length, 65536 + 131072);
}

static void test_an_aborted_write_of_new_blocks_leaves_the_chunk_as_it_was(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;
	uint32_t before, after;

	assert_int_equal(do_write(&fx, &key, 0, data, 100000, 1), 0);
	store_digest(fx.view, &key, &before);
	update_fill(&u, &w, STORE_WRITE, &key, 200704, 131072, 2);
	u.payload = payload_of(&fx, data, 200704, 131072);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	buf_unref(u.payload);
	store_abort(fx.view, &u);
	assert_false(u.touched);
	store_digest(fx.view, &key, &after);
	assert_int_equal(before, after);
	assert_content(&key, 0, data, 100000);
	assert_false(info_of(&key).unsure);
	assert_int_equal(store_commit(fx.view, &u), -EINVAL);
}

static void test_an_abort_before_the_end_of_prepare_comes_back_as_cancelled(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;

	assert_int_equal(do_write(&fx, &key, 0, data, 100000, 1), 0);
	update_fill(&u, &w, STORE_WRITE, &key, 200704, 131072, 2);
	u.payload = payload_of(&fx, data, 200704, 131072);
	store_prepare(fx.view, &u);
	assert_false(w.done);
	store_abort(fx.view, &u);
	run_until(&fx, &w.done);
	assert_int_equal(w.error, -ECANCELED);
	buf_unref(u.payload);
	assert_int_equal(info_of(&key).length, 100000);
	assert_content(&key, 0, data, 100000);
}

static void test_an_aborted_overwrite_leaves_either_bytes_and_an_unsure_chunk(void **state)
{
	struct chunk_key key = test_key(0);
	uint32_t digest, crcs[64];
	uint8_t present[8];
	struct store_update u;
	struct waited w;

	assert_int_equal(do_write(&fx, &key, 0, data, 262144, 1), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	update_fill(&u, &w, STORE_WRITE, &key, 65536, 131072, 2);
	u.payload = payload_of(&fx, data + MIB, 65536, 131072);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	buf_unref(u.payload);
	store_abort(fx.view, &u);
	assert_true(u.touched);
	/* A comparison has to wait until it is known what is there now. */
	assert_int_equal(store_digest(fx.view, &key, &digest), -EAGAIN);
	assert_int_equal(store_checksums(fx.view, &key, 64, crcs, present), -EAGAIN);
	assert_int_equal(do_read(&fx, &key, 0, 262144, true, out, NULL), 0);
	assert_int_equal(store_digest(fx.view, &key, &digest), 0);
	assert_int_equal(store_checksums(fx.view, &key, 64, crcs, present), 0);
	assert_memory_equal(out, data, 65536);
	assert_memory_equal(out + 65536, data + MIB, 131072);
	assert_memory_equal(out + 196608, data + 196608, 65536);
	assert_true(info_of(&key).unsure);
	assert_int_equal(info_of(&key).version, 1);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(do_read(&fx, &key, 0, 262144, true, out, NULL), 0);
	assert_true(info_of(&key).unsure);
}

static void test_updates_of_different_bytes_of_one_block_may_be_prepared_together(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u[4];
	struct waited w[4];

	/* Also where the block is in the file at first. */
	for (uint32_t base = 0; base <= 65536; base += 65536) {
		if (base > 0)
			assert_int_equal(do_write(&fx, &key, 65536, zeros, 131072, 10), 0);
		for (uint32_t i = 4; i-- > 0;) {
			uint32_t at = base + 500 * i;

			update_fill(&u[i], &w[i], STORE_WRITE, &key, at, 500, base + i + 1);
			u[i].payload = payload_of(&fx, data + 500 * i, at, 500);
			store_prepare(fx.view, &u[i]);
		}
		for (uint32_t i = 0; i < 4; i++) {
			run_until(&fx, &w[i].done);
			assert_int_equal(w[i].error, 0);
			assert_int_equal(store_commit(fx.view, &u[i]), 0);
			buf_unref(u[i].payload);
		}
		assert_content(&key, base, data, 2000);
	}
}

static void test_bad_requests_are_refused(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;

	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, CHUNK_SIZE_MAX, 1, NULL, 1), -EINVAL);
	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, 0, 0, NULL, 1), -EINVAL);
	assert_int_equal(do_update(&fx, STORE_TRUNCATE, &key, CHUNK_SIZE_MAX + 1, 0, NULL, 1),
			 -EINVAL);
	assert_int_equal(do_write(&fx, &key, CHUNK_SIZE_MAX - 10, data, 11, 1), -EINVAL);
	update_fill(&u, &w, STORE_WRITE, &key, 0, 100, 1);
	assert_int_equal(prepare_wait(&fx, &u), -EINVAL);
	assert_int_equal(do_read(&fx, &key, 1, 4096, false, out, NULL), -EINVAL);
	assert_int_equal(do_read(&fx, &key, 0, 100, false, out, NULL), -EINVAL);
	assert_false(info_of(&key).exists);
}

static void test_a_payload_changed_after_its_checksums_were_made_is_refused(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;

	update_fill(&u, &w, STORE_WRITE, &key, 10, 100, 1);
	u.payload = payload_of(&fx, data, 10, 100);
	buf_payload(u.payload)[50] ^= 1;
	assert_int_equal(prepare_wait(&fx, &u), -EBADMSG);
	buf_unref(u.payload);
	assert_false(info_of(&key).exists);
}

static void test_the_last_chunk_byte_can_be_written(void **state)
{
	struct chunk_key key = test_key(0);

	assert_int_equal(do_write(&fx, &key, CHUNK_SIZE_MAX - MIB, data, MIB, 1), 0);
	assert_int_equal(do_write(&fx, &key, CHUNK_SIZE_MAX - 5, "12345", 5, 2), 0);
	assert_int_equal(info_of(&key).length, CHUNK_SIZE_MAX);
	assert_content(&key, CHUNK_SIZE_MAX - 5, "12345", 5);
	assert_content(&key, CHUNK_SIZE_MAX - MIB, data, MIB - 5);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_content(&key, CHUNK_SIZE_MAX - 5, "12345", 5);
}

/* ---- holes and ends ---- */

static void test_truncation_cuts_and_what_was_behind_never_comes_back(void **state)
{
	struct chunk_key key = test_key(0);

	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 1), 0);
	assert_int_equal(do_update(&fx, STORE_TRUNCATE, &key, 100001, 0, NULL, 2), 0);
	assert_int_equal(info_of(&key).length, 100001);
	assert_content(&key, 0, data, 100001);
	assert_int_equal(do_write(&fx, &key, 500000, data, 10, 3), 0);
	assert_content(&key, 0, data, 100001);
	assert_content(&key, 100001, zeros, 500000 - 100001);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_content(&key, 100001, zeros, 500000 - 100001);
	assert_content(&key, 500000, data, 10);
	assert_int_equal(do_update(&fx, STORE_TRUNCATE, &key, 0, 0, NULL, 4), 0);
	assert_int_equal(info_of(&key).length, 0);
	assert_true(info_of(&key).exists);
	assert_int_equal(info_of(&key).version, 4);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(info_of(&key).length, 0);
}

static void test_truncation_behind_the_end_changes_only_the_version(void **state)
{
	struct chunk_key key = test_key(0);
	uint32_t before, after;

	assert_int_equal(do_write(&fx, &key, 0, data, 5000, 1), 0);
	store_digest(fx.view, &key, &before);
	assert_int_equal(do_update(&fx, STORE_TRUNCATE, &key, 70000, 0, NULL, 2), 0);
	store_digest(fx.view, &key, &after);
	assert_int_equal(before, after);
	assert_int_equal(info_of(&key).version, 2);
	assert_int_equal(info_of(&key).length, 5000);
}

static void test_the_length_is_the_end_of_the_last_present_byte(void **state)
{
	struct chunk_key key = test_key(0);

	assert_int_equal(do_write(&fx, &key, 0, data, 5000, 1), 0);
	assert_int_equal(do_write(&fx, &key, 3 * MIB, data, 100, 2), 0);
	assert_int_equal(info_of(&key).length, 3 * MIB + 100);
	/* What is cut off leaves a hole at the end, which is no part of it. */
	assert_int_equal(do_update(&fx, STORE_TRUNCATE, &key, 3 * MIB, 0, NULL, 3), 0);
	assert_int_equal(info_of(&key).length, 8192);
	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, 4096, MIB, NULL, 4), 0);
	assert_int_equal(info_of(&key).length, 4096);
	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, 96, MIB, NULL, 5), 0);
	assert_int_equal(info_of(&key).length, 96);
	assert_content(&key, 0, data, 96);
	assert_content(&key, 96, zeros, 4000);
}

static void test_holes_read_as_zeros_and_give_space_back(void **state)
{
	struct chunk_key key = test_key(0);
	char path[512];
	struct stat before, after;
	uint8_t bitmap[64];
	uint32_t bytes = sizeof(bitmap);

	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(do_write(&fx, &key, i * MIB, data + i * MIB, MIB, i + 1), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	file_path(&fx, &key, path, sizeof(path));
	stat(path, &before);
	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, 10000, MIB, NULL, 3), 0);
	assert_content(&key, 0, data, 10000);
	assert_content(&key, 10000, zeros, MIB);
	assert_content(&key, 10000 + MIB, data + 10000 + MIB, MIB - 10000);
	assert_int_equal(info_of(&key).length, 2 * MIB);
	assert_int_equal(store_presence(fx.view, &key, bitmap, &bytes), 0);
	assert_int_equal(bytes, 64);
	assert_int_equal(bitmap[0], 0x07);
	assert_int_equal(bitmap[1], 0);
	assert_int_equal(bitmap[32], 0xfc);
	bytes = 63;
	assert_int_equal(store_presence(fx.view, &key, bitmap, &bytes), -ENOSPC);
	/* Only when the hole is durable the old bytes may go. */
	assert_int_equal(do_flush(&fx, &key), 0);
	run_for(&fx, 500);
	stat(path, &after);
	assert_true(after.st_blocks * 512 <= before.st_blocks * 512 - (MIB - 16384));
	assert_content(&key, 10000, zeros, MIB);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_content(&key, 10000, zeros, MIB);
}

static void test_a_hole_in_a_part_of_a_block_leaves_the_rest(void **state)
{
	struct chunk_key key = test_key(0);

	/* One block inside, one in the file. */
	assert_int_equal(do_write(&fx, &key, 0, data, 4096, 1), 0);
	assert_int_equal(do_write(&fx, &key, 4096, data + 4096, 65536, 2), 0);
	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, 100, 50, NULL, 3), 0);
	assert_int_equal(do_update(&fx, STORE_PUNCH, &key, 5000, 10000, NULL, 4), 0);
	assert_content(&key, 0, data, 100);
	assert_content(&key, 100, zeros, 50);
	assert_content(&key, 150, data + 150, 5000 - 150);
	assert_content(&key, 5000, zeros, 10000);
	assert_content(&key, 15000, data + 15000, 69632 - 15000);
}

/* ---- records ---- */

static void test_operations_are_remembered_until_they_are_answered(void **state)
{
	struct chunk_key key = test_key(0);
	struct chunk_info info;
	struct store_update u;
	struct waited w;

	for (uint64_t v = 1; v <= OP_IDS_KEPT; v++)
		assert_int_equal(do_write(&fx, &key, 0, data, 10, v), 0);
	/* There is no room for one more, and nothing of it is done. */
	assert_int_equal(do_write(&fx, &key, 0, data + 50, 10, 65), -EBUSY);
	assert_content(&key, 0, data, 10);
	info = info_of(&key);
	assert_int_equal(info.version, 64);
	assert_int_equal(info.op_count, OP_IDS_KEPT);
	assert_int_equal(info.ops[0].version, 1);
	assert_int_equal(info.ops[63].version, 64);
	assert_int_equal(info.ops[63].client_id, 99);
	assert_int_equal(info.ops[63].op_id, 64);
	update_fill(&u, &w, STORE_WRITE, &key, 0, 10, 65);
	u.answered = 62;
	u.payload = payload_of(&fx, data, 0, 10);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	assert_int_equal(store_commit(fx.view, &u), 0);
	buf_unref(u.payload);
	info = info_of(&key);
	assert_int_equal(info.op_count, 3);
	assert_int_equal(info.ops[0].op_id, 63);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_memory_equal(info_of(&key).ops, info.ops, 3 * sizeof(info.ops[0]));
}

static void test_a_closing_changes_ids_alone_and_makes_no_chunk(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct chunk_info info;
	struct waited w;

	for (uint64_t v = 1; v <= 3; v++)
		assert_int_equal(do_write(&fx, &key, 0, data, 50000, v), 0);
	for (unsigned i = 0; i < 2; i++) {
		update_fill(&u, &w, STORE_TRUNCATE, &key, CHUNK_SIZE_MAX, 0, 4);
		u.closing = true;
		u.answered = 2;
		assert_int_equal(prepare_wait(&fx, &u), 0);
		assert_int_equal(store_commit(fx.view, &u), 0);
		info = info_of(&key);
		if (i > 0)
			break;
		assert_int_equal(info.version, 4);
		assert_int_equal(info.op_count, 1);
		assert_int_equal(info.ops[0].op_id, 3);
		assert_int_equal(info.length, 50000);
		assert_content(&key, 0, data, 50000);
		key = test_key(1);
	}
	assert_false(info.exists);
}

static void test_equal_copies_have_equal_digests_wherever_their_blocks_are(void **state)
{
	struct chunk_key a = test_key(1), b = test_key(2);
	uint32_t da, db;

	assert_int_equal(do_write(&fx, &a, 0, data, 131072, 1), 0);
	for (uint32_t i = 0; i < 131072; i += 10000)
		assert_int_equal(do_write(&fx, &b, i, data + i,
					  131072 - i < 10000 ? 131072 - i : 10000, i + 1),
				 0);
	store_digest(fx.view, &a, &da);
	store_digest(fx.view, &b, &db);
	assert_int_equal(da, db);
	assert_int_equal(do_write(&fx, &b, 131071, "x", 1, 999999), 0);
	store_digest(fx.view, &b, &db);
	assert_int_not_equal(da, db);
}

static void test_the_checksums_are_those_of_the_blocks_wherever_they_are(void **state)
{
	struct chunk_key key = test_key(0), none = test_key(1);
	uint32_t count = 2 * MIB / BLOCK_SIZE + 9;
	uint32_t *crcs = malloc(count * sizeof(*crcs)), few[9] = {0};
	uint8_t bitmap[80], small[2] = {0xff, 0xff};

	/* Blocks in the file in two pieces, a hole between them, inner blocks at the end. */
	assert_int_equal(do_write(&fx, &key, 0, data, 131072, 1), 0);
	assert_int_equal(do_write(&fx, &key, MIB, data + MIB, MIB / 2, 2), 0);
	assert_int_equal(do_write(&fx, &key, 2 * MIB, data, 5000, 3), 0);
	assert_int_equal(store_checksums(fx.view, &key, count, crcs, bitmap), 0);
	for (uint32_t i = 0; i < count; i++) {
		bool in_file = i < 32 || (i >= 256 && i < 384), inner = i == 512 || i == 513;
		uint8_t block[BLOCK_SIZE] = {0};

		memcpy(block, i < 512 ? data + i * BLOCK_SIZE : data + (i - 512) % 2 * BLOCK_SIZE,
		       i == 513 ? 5000 - BLOCK_SIZE : BLOCK_SIZE);
		assert_int_equal((bitmap[i / 8] >> (i % 8)) & 1, in_file || inner);
		assert_int_equal(crcs[i], in_file || inner ? crc32c(block, BLOCK_SIZE) : 0);
	}
	/* Fewer than there are, and of nothing. */
	assert_int_equal(store_checksums(fx.view, &key, 9, few, small), 0);
	assert_memory_equal(few, crcs, sizeof(few));
	assert_int_equal(small[0], 0xff);
	assert_int_equal(small[1], 1);
	assert_int_equal(store_checksums(fx.view, &none, 9, few, small), 0);
	assert_int_equal(few[0] | few[8] | small[0] | small[1], 0);
	free(crcs);
}

static void test_a_copy_is_incomplete_until_it_is_completed(void **state)
{
	struct chunk_key from = test_key(1), to = test_key(2);
	struct chunk_info info;
	struct store_update u;
	struct waited w;
	uint32_t da, db, got;

	assert_int_equal(do_write(&fx, &from, 0, data, 300000, 7), 0);
	assert_int_equal(do_write(&fx, &from, MIB + 5, data, 100, 8), 0);
	assert_int_equal(do_write(&fx, &to, 0, zeros, 2 * MIB > MIB ? MIB : 0, 3), 0);
	info = info_of(&from);
	for (uint32_t at = 0; at < info.length; at += 262144) {
		struct buf *buf;

		assert_int_equal(do_read(&fx, &from, at, 262144, true, out, &got), 0);
		update_fill(&u, &w, STORE_WRITE, &to, at, got, 0);
		buf = payload_of(&fx, out, at, got);
		u.payload = buf;
		u.catching_up = true;
		assert_int_equal(prepare_wait(&fx, &u), 0);
		assert_int_equal(store_commit(fx.view, &u), 0);
		buf_unref(buf);
		assert_int_equal(info_of(&to).version, 0);
		/* No update is recognised, but that there were three is known. */
		assert_int_equal(info_of(&to).op_count, 1);
		assert_int_equal(info_of(&to).ops[0].client_id, 0);
		assert_int_equal(info_of(&to).ops[0].op_id, 0);
		assert_int_equal(info_of(&to).ops[0].version, 3);
	}
	update_fill(&u, &w, STORE_PUNCH, &to, 303104, MIB - 303104, 0);
	u.catching_up = true;
	assert_int_equal(prepare_wait(&fx, &u), 0);
	assert_int_equal(store_commit(fx.view, &u), 0);
	assert_int_equal(store_complete(fx.view, &to, &info), 0);
	assert_int_equal(info_of(&to).version, 8);
	assert_int_equal(info_of(&to).length, info.length);
	assert_int_equal(info_of(&to).op_count, info.op_count);
	store_digest(fx.view, &from, &da);
	store_digest(fx.view, &to, &db);
	assert_int_equal(da, db);
	assert_int_equal(fixture_reopen(&fx), 0);
	store_digest(fx.view, &to, &db);
	assert_int_equal(da, db);
	info.length = 5 * MIB;
	assert_int_equal(store_complete(fx.view, &to, &info), -EINVAL);
	assert_int_equal(info_of(&to).version, 8);
}

static void test_completing_clears_unsure_and_can_shorten(void **state)
{
	struct chunk_key key = test_key(1);
	struct chunk_info info = {.exists = true, .version = 9, .epoch = 4, .unsure = true};

	assert_int_equal(store_complete(fx.view, &key, &info), 0);
	assert_true(info_of(&key).exists);
	assert_true(info_of(&key).unsure);
	info.unsure = false;
	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 10), 0);
	info.length = 65536;
	assert_int_equal(store_complete(fx.view, &key, &info), 0);
	assert_false(info_of(&key).unsure);
	assert_int_equal(info_of(&key).length, 65536);
	assert_content(&key, 0, data, 65536);
	info.exists = false;
	assert_int_equal(store_complete(fx.view, &key, &info), -EINVAL);
}

/* ---- removing and scanning ---- */

static void test_removed_chunks_are_gone_with_their_files(void **state)
{
	struct chunk_key keys[3] = {test_key(1), test_key(2), test_key(3)};
	uint8_t *value;
	size_t size;
	uint8_t name[KEY_BYTES_MAX];

	assert_int_equal(do_write(&fx, &keys[0], 0, data, 4096, 1), 0);
	assert_int_equal(do_write(&fx, &keys[1], 0, data, MIB, 1), 0);
	assert_int_equal(do_write(&fx, &keys[1], 5000, data, 100, 2), 0);
	assert_int_equal(do_remove(&fx, keys, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(info_of(&keys[i]).exists);
		assert_false(has_file(&keys[i]));
	}
	assert_int_equal(kv_get(fx.store->disk.kv, FAMILY_INNER, name, key_inner(&keys[1], 1, name),
				&value, &size),
			 -ENOENT);
	assert_int_equal(kv_get(fx.store->disk.kv, FAMILY_MAIN, name, key_piece(&keys[1], 0, name),
				&value, &size),
			 -ENOENT);
	/* And can be made again. */
	assert_int_equal(do_write(&fx, &keys[1], 131072, data, 65536, 1), 0);
	assert_content(&keys[1], 0, zeros, 131072);
	assert_content(&keys[1], 131072, data, 65536);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_false(info_of(&keys[0]).exists);
	assert_content(&keys[1], 131072, data, 65536);
}

static void test_an_update_prepared_before_a_removal_makes_a_new_chunk(void **state)
{
	struct chunk_key key = test_key(1);
	struct store_update u;
	struct waited w;

	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 1), 0);
	update_fill(&u, &w, STORE_WRITE, &key, 65000, 131072, 2);
	u.payload = payload_of(&fx, data + MIB, 65000, 131072);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	buf_unref(u.payload);
	assert_int_equal(do_remove(&fx, &key, 1), 0);
	assert_int_equal(store_commit(fx.view, &u), 0);
	assert_content(&key, 0, zeros, 65000);
	assert_content(&key, 65000, data + MIB, 131072);
	assert_int_equal(info_of(&key).length, 65000 + 131072);
}

static void test_a_removal_may_come_while_everything_else_is_under_way(void **state)
{
	struct chunk_key key = test_key(1);
	struct store_update u[3];
	struct waited w[3], rw = {0}, sw = {0};
	struct store_flush flush = {.key = key, .done = flush_done, .user = &sw};

	assert_int_equal(do_write(&fx, &key, 0, data, MIB, 1), 0);
	for (uint32_t i = 0; i < 3; i++) {
		update_fill(&u[i], &w[i], STORE_WRITE, &key, i * MIB, MIB, i + 2);
		u[i].payload = payload_of(&fx, data + i * MIB, i * MIB, MIB);
		store_prepare(fx.view, &u[i]);
		if (i == 1) {
			store_flush(fx.view, &flush);
			store_remove(fx.view, &key, 1, remove_done, &rw);
		}
	}
	for (uint32_t i = 0; i < 3; i++) {
		run_until(&fx, &w[i].done);
		assert_int_equal(w[i].error, 0);
		assert_int_equal(store_commit(fx.view, &u[i]), 0);
		buf_unref(u[i].payload);
	}
	run_until(&fx, &sw.done);
	run_until(&fx, &rw.done);
	assert_int_equal(sw.error, 0);
	assert_int_equal(rw.error, 0);
	/* Whatever came last, all that is there is right. */
	assert_int_equal(do_read(&fx, &key, 0, MIB, true, out, NULL), 0);
	assert_int_equal(do_read(&fx, &key, MIB, MIB, true, out, NULL), 0);
	assert_int_equal(do_read(&fx, &key, 2 * MIB, MIB, true, out, NULL), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(do_read(&fx, &key, 2 * MIB, MIB, true, out, NULL), 0);
}

/* Of this test's pool: the key, in hex, begins with it. */
static unsigned files_there(void)
{
	unsigned count = 0;
	char pool[9];

	snprintf(pool, sizeof(pool), "%08x", test_pool);

	for (uint32_t i = 0; i < 256; i++) {
		char path[300];
		struct dirent *entry;
		DIR *dir;

		snprintf(path, sizeof(path), "%s/chunks/%02x", fx.dir, i);
		dir = opendir(path);
		while (dir != NULL && (entry = readdir(dir)) != NULL)
			count += strncmp(entry->d_name, pool, 8) == 0;
		if (dir != NULL)
			closedir(dir);
	}
	return count;
}

static void test_files_go_a_little_at_a_time_while_the_disk_is_waited_for(void **state)
{
	enum { COUNT = 300 };
	struct chunk_key keys[COUNT];
	bool paused = false;

	for (int round = 0; round < 2; round++) {
		struct waited w = {0};

		for (uint32_t i = 0; i < COUNT; i++) {
			keys[i] = test_key(1000 + i);
			assert_int_equal(do_write(&fx, &keys[i], 0, data, 131072, 1), 0);
		}
		assert_int_equal(files_there(), COUNT);
		/* In the second round somebody flushes all the time. */
		if (round == 1)
			atomic_store(&fx.store->last_flush_ns,
				     clock_monotonic_ns() + 60 * NS_PER_SEC);
		store_remove(fx.view, keys, COUNT, remove_done, &w);
		while (!w.done) {
			uv_run(&fx.loop, UV_RUN_ONCE);
			if (paused || list_empty(&fx.view->unlinks) || fx.view->unlinking)
				continue;
			paused = true;
			assert_int_equal(round, 1);
			/* The first is gone whole, and need not wait for the last. */
			atomic_store(&fx.store->unlink_after_ns, UINT64_MAX);
			assert_int_equal(do_write(&fx, &keys[0], 0, data, 131072, 1), 0);
			assert_false(w.done);
			atomic_store(&fx.store->unlink_after_ns, 0);
		}
		assert_int_equal(w.error, 0);
		assert_int_equal(files_there(), paused ? 1 : 0);
	}
	atomic_store(&fx.store->last_flush_ns, 0);
	assert_true(paused);
	assert_content(&keys[0], 0, data, 131072);
	assert_int_equal(do_remove(&fx, keys, 1), 0);
	assert_int_equal(files_there(), 0);
}

static void test_a_scan_gives_one_partition_in_order(void **state)
{
	struct chunk_key keys[10], found[10], key;

	for (uint32_t i = 0; i < 10; i++) {
		key = test_key(9 - i);
		assert_int_equal(do_write(&fx, &key, 0, data, 10, 1), 0);
		key.partition = 8;
		assert_int_equal(do_write(&fx, &key, 0, data, 10, 1), 0);
		key.partition = 6;
		assert_int_equal(do_write(&fx, &key, 0, data, 100000, 1), 0);
		keys[i] = test_key(i);
	}
	assert_int_equal(store_scan(fx.view, test_pool, 7, NULL, found, 4), 4);
	assert_int_equal(store_scan(fx.view, test_pool, 7, &found[3], found + 4, 6), 6);
	for (uint32_t i = 0; i < 10; i++)
		assert_true(chunk_key_equal(&keys[i], &found[i]));
	assert_int_equal(store_scan(fx.view, test_pool, 7, &found[9], found, 10), 0);
	assert_int_equal(store_scan(fx.view, test_pool + 1, 7, NULL, found, 10), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, NULL)

static void test_the_epochs_of_partitions_are_kept(void **state)
{
	uint64_t epoch = 1;

	assert_int_equal(store_epoch(fx.view, 1, 2, &epoch), 0);
	assert_int_equal(epoch, 0);
	assert_int_equal(store_set_epoch(fx.view, 1, 2, 7), 0);
	assert_int_equal(store_set_epoch(fx.view, 2, 1, 9), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(store_epoch(fx.view, 1, 2, &epoch), 0);
	assert_int_equal(epoch, 7);
	assert_int_equal(store_epoch(fx.view, 2, 1, &epoch), 0);
	assert_int_equal(epoch, 9);
	assert_int_equal(store_epoch(fx.view, 1, 1, &epoch), 0);
	assert_int_equal(epoch, 0);
	atomic_store(&fx.store->disk.down, -EIO);
	assert_int_equal(store_epoch(fx.view, 1, 2, &epoch), -EIO);
	assert_int_equal(store_set_epoch(fx.view, 1, 2, 8), -EIO);
	atomic_store(&fx.store->disk.down, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_unknown_chunk_is_no_error_and_empty),
		TEST(test_the_epochs_of_partitions_are_kept),
		TEST(test_a_small_write_stays_inside_and_is_read_back),
		TEST(test_a_large_write_goes_to_the_file_its_ends_inside),
		TEST(test_payloads_at_any_address_are_taken),
		TEST(test_nothing_is_seen_before_the_commit),
		TEST(test_an_aborted_write_of_new_blocks_leaves_the_chunk_as_it_was),
		TEST(test_an_abort_before_the_end_of_prepare_comes_back_as_cancelled),
		TEST(test_an_aborted_overwrite_leaves_either_bytes_and_an_unsure_chunk),
		TEST(test_updates_of_different_bytes_of_one_block_may_be_prepared_together),
		TEST(test_bad_requests_are_refused),
		TEST(test_a_payload_changed_after_its_checksums_were_made_is_refused),
		TEST(test_the_last_chunk_byte_can_be_written),
		TEST(test_truncation_cuts_and_what_was_behind_never_comes_back),
		TEST(test_truncation_behind_the_end_changes_only_the_version),
		TEST(test_the_length_is_the_end_of_the_last_present_byte),
		TEST(test_holes_read_as_zeros_and_give_space_back),
		TEST(test_a_hole_in_a_part_of_a_block_leaves_the_rest),
		TEST(test_operations_are_remembered_until_they_are_answered),
		TEST(test_a_closing_changes_ids_alone_and_makes_no_chunk),
		TEST(test_equal_copies_have_equal_digests_wherever_their_blocks_are),
		TEST(test_the_checksums_are_those_of_the_blocks_wherever_they_are),
		TEST(test_a_copy_is_incomplete_until_it_is_completed),
		TEST(test_completing_clears_unsure_and_can_shorten),
		TEST(test_removed_chunks_are_gone_with_their_files),
		TEST(test_an_update_prepared_before_a_removal_makes_a_new_chunk),
		TEST(test_a_removal_may_come_while_everything_else_is_under_way),
		TEST(test_files_go_a_little_at_a_time_while_the_disk_is_waited_for),
		TEST(test_a_scan_gives_one_partition_in_order),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
