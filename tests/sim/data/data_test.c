/* Goal: what must not be forgotten of reads, writes, flushes, punches and seeks, and of what they
 * do when chunkservers and network fail; case by case. Method: data.h over fake_chain.h: one
 * thread, virtual time. data_random_test.c does the rest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/os/log.h"
#include "tests/sim/data/world.h"

static struct world world;
static uint8_t scratch[4 * MIB];

static int setup(void **state)
{
	world_open(&world, 1, 64 * MIB, 0);
	return 0;
}

static int setup_soft(void **state)
{
	world_open(&world, 1, 64 * MIB, 3 * SEC);
	return 0;
}

static int teardown(void **state)
{
	world_end(&world);
	return 0;
}

static void test_a_small_append_and_fsync_is_one_request(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct fake *f = world.fake;

	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(write_now(&world, file, i * 4096, 4096, 1), 0);
		assert_int_equal(flush_now(&world, file, true), 0);
		assert_int_equal(f->seen[FRAME_WRITE], i + 1);
	}
	assert_int_equal(f->seen_durable, 10);
	assert_int_equal(f->seen[FRAME_FLUSH], 0);
	data_file_put(file);
}

static void test_fsync_flushes_each_chunk_that_was_answered_before(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct fake *f = world.fake;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(write_now(&world, file, i * MIB, MIB, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	assert_int_equal(f->seen[FRAME_FLUSH], 0);
	assert_int_equal(flush_now(&world, file, true), 0);
	assert_int_equal(f->seen[FRAME_FLUSH], 3);
	assert_int_equal(flush_now(&world, file, true), 0);
	assert_int_equal(f->seen[FRAME_FLUSH], 3);
	data_file_put(file);
}

static void test_fsync_after_reopening_covers_what_was_written_before(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	data_file_put(file);
	run_for(&world, SEC);
	file = open_file(&world, 1);
	assert_int_equal(flush_now(&world, file, true), 0);
	assert_int_equal(world.fake->seen[FRAME_FLUSH], 1);
	/* And so does sync() for one that is closed. */
	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	data_file_put(file);
	run_for(&world, SEC);
	data_flush_all(world.data, true, on_done, &r);
	assert_true(wait_for(&world, &r, SEC));
	assert_int_equal(world.fake->seen[FRAME_FLUSH], 2);
}

static void test_a_closed_file_becomes_durable_by_itself(void **state)
{
	struct data_file *file = open_file(&world, 1);

	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	data_file_put(file);
	run_for(&world, 10 * SEC);
	assert_int_equal(world.fake->seen[FRAME_WRITE], 1);
	assert_int_equal(world.fake->seen[FRAME_FLUSH], 0);
	run_for(&world, 30 * SEC);
	assert_int_equal(world.fake->seen[FRAME_FLUSH], 1);
	assert_int_equal(world.data->files.count, 0);
}

static void test_a_partial_write_is_sent_after_the_delay(void **state)
{
	struct data_file *file = open_file(&world, 1);

	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	assert_true(data_dirty(file));
	run_for(&world, 400 * FAKE_MS);
	assert_int_equal(world.fake->seen[FRAME_WRITE], 0);
	run_for(&world, 200 * FAKE_MS);
	assert_int_equal(world.fake->seen[FRAME_WRITE], 1);
	assert_false(data_dirty(file));
	data_file_put(file);
}

static void test_writers_wait_when_memory_is_full(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r[48] = {0};
	unsigned accepted = 0;

	world.fake->hold_commits = true;
	for (unsigned i = 0; i < 48; i++)
		data_write(file, (uint64_t)i * MIB, filled(&world, MIB, (uint8_t)i), false, on_done,
			   &r[i]);
	run_for(&world, SEC);
	for (unsigned i = 0; i < 48; i++)
		accepted += r[i].done;
	assert_in_range(accepted, 30, 32);
	world.fake->hold_commits = false;
	for (unsigned i = 0; i < world.fake->chunk_count; i++)
		while (world.fake->chunks[i].pending != NULL)
			fake_commit(world.fake, &world.fake->chunks[i]);
	assert_int_equal(flush_now(&world, file, false), 0);
	for (unsigned i = 0; i < 48; i++)
		assert_true(wait_for(&world, &r[i], SEC));
	assert_int_equal(flush_now(&world, file, false), 0);
	assert_int_equal(read_now(&world, file, 47 * MIB, MIB, scratch), 0);
	assert_true(all_are(scratch, MIB, 47));
	data_file_put(file);
}

static void test_no_more_updates_of_a_chunk_than_allowed_are_under_way(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct fake_update *u;
	unsigned count = 0;
	struct result r = {0};

	world.fake->hold_commits = true;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(write_now(&world, file, i * 8192, 4096, 1), 0);
	data_flush(file, false, on_done, &r);
	run_for(&world, SEC);
	for (u = world.fake->chunks[0].pending; u != NULL; u = u->next)
		count++;
	assert_int_equal(count, DATA_UPDATES_PER_CHUNK);
	assert_false(r.done);
	world.fake->hold_commits = false;
	while (world.fake->chunks[0].pending != NULL)
		fake_commit(world.fake, &world.fake->chunks[0]);
	assert_true(wait_for(&world, &r, SEC));
	assert_int_equal(r.error, 0);
	data_file_put(file);
}

static void test_a_full_disk_is_told_once_and_old_data_stays(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	assert_int_equal(write_now(&world, file, 0, 8192, 1), 0);
	assert_int_equal(flush_now(&world, file, true), 0);
	world.fake->fail_updates = ENOSPC;
	assert_int_equal(write_now(&world, file, 4096, 4096, 2), 0);
	assert_int_equal(flush_now(&world, file, true), -ENOSPC);
	assert_int_equal(flush_now(&world, file, true), 0);
	data_write(file, 0, filled(&world, 4096, 3), true, on_done, &r);
	assert_true(wait_for(&world, &r, SEC));
	assert_int_equal(r.error, -ENOSPC);
	assert_int_equal(flush_now(&world, file, true), 0);
	world.fake->fail_updates = 0;
	assert_int_equal(read_now(&world, file, 0, 8192, scratch), 0);
	assert_true(all_are(scratch, 8192, 1));
	data_file_put(file);
}

static void test_near_the_end_of_space_the_write_itself_fails(void **state)
{
	struct data_file *file = open_file(&world, 1);

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		world.fake->servers[i].space = MIB;
	assert_int_equal(data_space_left(world.data), UINT64_MAX);
	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	assert_int_equal(data_space_left(world.data), MIB);
	world.fake->fail_updates = ENOSPC;
	assert_int_equal(write_now(&world, file, MIB, MIB, 1), -ENOSPC);
	world.fake->fail_updates = 0;
	data_file_put(file);
}

static void test_a_bad_copy_is_read_from_another_member(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct fake_chunk *chunk;

	assert_int_equal(write_now(&world, file, 0, MIB, 9), 0);
	assert_int_equal(flush_now(&world, file, true), 0);
	chunk = &world.fake->chunks[0];
	for (unsigned bad = 0; bad < 8; bad++) {
		for (unsigned i = 0; i < FAKE_SERVERS; i++)
			chunk->bad[i] = (bad >> i & 1) != 0;
		memset(scratch, 0, MIB);
		assert_int_equal(read_now(&world, file, 0, MIB, scratch), bad == 7 ? -EIO : 0);
		if (bad != 7)
			assert_true(all_are(scratch, MIB, 9));
	}
	/* Who has a bad copy is asked to look, so that it can be mended. */
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		assert_true(chunk->verified[i] > 0);
	memset(chunk->bad, 0, sizeof(chunk->bad));
	data_file_put(file);
}

static void test_reads_of_holes_are_zeros(void **state)
{
	struct data_file *file = open_file(&world, 1);

	assert_int_equal(write_now(&world, file, 100, 100, 7), 0);
	assert_int_equal(read_now(&world, file, 0, 2 * MIB, scratch), 0);
	assert_true(all_are(scratch, 100, 0));
	assert_true(all_are(scratch + 100, 100, 7));
	assert_true(all_are(scratch + 200, 2 * MIB - 200, 0));
	assert_int_equal(flush_now(&world, file, false), 0);
	memset(scratch, 1, 2 * MIB);
	assert_int_equal(read_now(&world, file, 0, 2 * MIB, scratch), 0);
	assert_true(all_are(scratch, 100, 0));
	assert_true(all_are(scratch + 100, 100, 7));
	assert_true(all_are(scratch + 200, 2 * MIB - 200, 0));
	data_file_put(file);
}

static void test_a_partition_without_a_chain_is_a_hole_until_it_has_one(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	for (unsigned p = 0; p < FAKE_PARTITIONS; p++)
		world.fake->epochs[p] = 0;
	world.fake->map_version = 10;
	publish(&world);
	memset(scratch, 1, MIB);
	assert_int_equal(read_now(&world, file, 0, MIB, scratch), 0);
	assert_true(all_are(scratch, MIB, 0));
	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	data_flush(file, true, on_done, &r);
	run_for(&world, 5 * SEC);
	assert_false(r.done);
	for (unsigned p = 0; p < FAKE_PARTITIONS; p++)
		world.fake->epochs[p] = 5;
	publish(&world);
	assert_true(wait_for(&world, &r, SEC));
	assert_int_equal(r.error, 0);
	data_file_put(file);
}

static void test_random_reads_fetch_only_the_blocks_asked(void **state)
{
	struct data_file *file = open_file(&world, 1);

	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	world.fake->bytes_asked = 0;
	for (unsigned i = 0; i < 100; i++) {
		struct result r = {.bytes = scratch};
		uint64_t block = (i * 37) % 256;

		data_read(file, block * 4096 + 10, 1000, 4 * MIB, on_read, &r);
		assert_true(wait_for(&world, &r, SEC));
	}
	assert_int_equal(world.fake->bytes_asked, 100 * 4096);
	data_file_put(file);
}

static void test_a_sequential_reader_asks_the_chain_for_each_byte_once(void **state)
{
	struct data_file *file = open_file(&world, 1);
	unsigned servers = 0;

	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(write_now(&world, file, i * MIB, MIB, (uint8_t)i), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	world.fake->bytes_asked = 0;
	memset(world.fake->asked, 0, sizeof(world.fake->asked));
	for (uint64_t at = 0; at < 32 * MIB; at += 131072) {
		struct result r = {.bytes = scratch};

		data_read(file, at, 131072, 32 * MIB, on_read, &r);
		assert_true(wait_for(&world, &r, SEC));
		assert_int_equal(r.error, 0);
		assert_true(all_are(scratch, 131072, (uint8_t)(at / MIB)));
	}
	assert_int_equal(world.fake->bytes_asked, 32 * MIB);
	assert_true(world.fake->seen[FRAME_READ] <= 40);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		servers += world.fake->asked[i] > 0;
	assert_int_equal(servers, FAKE_SERVERS);
	assert_int_equal(world.data->read_used, 0);
	data_file_put(file);
}

static void test_what_was_read_ahead_is_not_stale_after_a_write(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {.bytes = scratch};

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(write_now(&world, file, i * MIB, MIB, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	for (unsigned i = 0; i < 16; i++) {
		r.done = false;
		data_read(file, i * 131072, 131072, 8 * MIB, on_read, &r);
		assert_true(wait_for(&world, &r, SEC));
	}
	run_for(&world, SEC);
	assert_true(world.data->read_used > 0);
	assert_int_equal(write_now(&world, file, 2 * MIB + 5, 10, 2), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	assert_int_equal(read_now(&world, file, 2 * MIB, 100, scratch), 0);
	assert_true(all_are(scratch + 5, 10, 2));
	/* And what nobody asks for goes by itself. */
	run_for(&world, 15 * SEC);
	assert_int_equal(world.data->read_used, 0);
	data_file_put(file);
}

static void test_a_silent_server_is_given_up_and_asked_again(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	assert_int_equal(flush_now(&world, file, true), 0);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		world.fake->servers[i].frozen = true;
	assert_int_equal(write_now(&world, file, 0, 4096, 2), 0);
	data_flush(file, true, on_done, &r);
	run_for(&world, 7 * SEC);
	assert_false(r.done);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		world.fake->servers[i].frozen = false;
	assert_true(wait_for(&world, &r, 8 * SEC));
	assert_int_equal(r.error, 0);
	assert_int_equal(read_now(&world, file, 0, 4096, scratch), 0);
	assert_true(all_are(scratch, 4096, 2));
	data_file_put(file);
}

static void test_an_update_moves_to_the_new_head(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};
	uint64_t start = world.fake->now;

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		world.fake->servers[i].frozen = true;
	assert_int_equal(write_now(&world, file, 0, 4096, 2), 0);
	data_flush(file, true, on_done, &r);
	run_for(&world, SEC);
	for (unsigned p = 0; p < FAKE_PARTITIONS; p++)
		fake_change_chain(world.fake, p);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		world.fake->servers[i].frozen = false;
	publish(&world);
	assert_true(wait_for(&world, &r, 8 * SEC));
	assert_int_equal(r.error, 0);
	assert_true(world.fake->now - start < 8 * SEC);
	data_file_put(file);
}

static void test_a_soft_mount_gives_up(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0}, q = {.bytes = scratch};
	uint64_t start = world.fake->now;

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(world.fake, i);
	assert_int_equal(write_now(&world, file, 0, 4096, 2), 0);
	data_flush(file, true, on_done, &r);
	data_read(file, MIB, 4096, 0, on_read, &q);
	assert_true(wait_for(&world, &r, 5 * SEC));
	assert_true(wait_for(&world, &q, 5 * SEC));
	assert_int_equal(r.error, -EIO);
	assert_int_equal(q.error, -EIO);
	assert_true(world.fake->now - start >= 3 * SEC);
	data_file_put(file);
}

static void test_seek_finds_data_and_holes(void **state)
{
	struct data_file *file = open_file(&world, 1);
	static const struct {
		uint64_t from;
		bool hole;
		uint64_t result;
	} cases[] = {
		{0, false, 8192},
		{0, true, 0},
		{8192, false, 8192},
		{9000, false, 9000},
		{8192, true, 12288},
		{12288, false, 30 * MIB},
		{30 * MIB + 5, true, 31 * MIB},
		{31 * MIB, false, 40 * MIB},
		{40 * MIB - 1, true, 40 * MIB - 1},
		{40 * MIB, false, 40 * MIB},
	};

	assert_int_equal(write_now(&world, file, 8192, 4096, 1), 0);
	assert_int_equal(write_now(&world, file, 30 * MIB, MIB, 1), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result r = {0};

		data_seek(file, cases[i].from, 40 * MIB, cases[i].hole, on_seek, &r);
		assert_true(wait_for(&world, &r, SEC));
		assert_int_equal(r.error, 0);
		assert_int_equal(r.value, cases[i].result);
	}
	data_file_put(file);
}

static void test_punching_a_large_range_goes_chunk_by_chunk(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	assert_int_equal(write_now(&world, file, 20 * MIB, MIB, 1), 0);
	data_punch(file, 4096, 20 * MIB + 100, on_done, &r);
	assert_true(wait_for(&world, &r, SEC));
	assert_int_equal(r.error, 0);
	assert_int_equal(world.fake->seen[FRAME_TRUNCATE], 20);
	assert_int_equal(world.fake->seen[FRAME_PUNCH], 1);
	assert_int_equal(read_now(&world, file, 0, MIB, scratch), 0);
	assert_true(all_are(scratch, 4096, 1));
	assert_true(all_are(scratch + 4096, MIB - 4096, 0));
	assert_int_equal(read_now(&world, file, 20 * MIB, MIB, scratch), 0);
	assert_true(all_are(scratch, 100, 0));
	assert_true(all_are(scratch + 100, MIB - 100, 1));
	data_file_put(file);
}

static void test_cutting_off_a_hole_costs_what_is_in_it(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(write_now(&world, file, (100 + 7 * i) * MIB, 4096, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	memset(world.fake->seen, 0, sizeof(world.fake->seen));
	data_punch(file, MIB, 100000ull * MIB, on_done, &r);
	assert_true(wait_for(&world, &r, 5 * SEC));
	assert_int_equal(r.error, 0);
	assert_int_equal(world.fake->seen[FRAME_TRUNCATE], 6);
	assert_in_range(world.fake->seen[FRAME_LIST], FAKE_PARTITIONS, FAKE_PARTITIONS + 1);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(read_now(&world, file, (100 + 7 * i) * MIB, 4096, scratch), 0);
		assert_true(all_are(scratch, 4096, 0));
	}
	data_file_put(file);
}

static void test_what_is_under_way_when_a_hole_is_cut_off_is_cut_off_too(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	world.fake->hold_commits = true;
	assert_int_equal(write_now(&world, file, 60 * MIB, MIB, 1), 0);
	run_for(&world, 100 * FAKE_MS);
	data_punch(file, MIB, 1000 * MIB, on_done, &r);
	run_for(&world, 100 * FAKE_MS);
	world.fake->hold_commits = false;
	fake_commit_all(world.fake);
	assert_true(wait_for(&world, &r, 5 * SEC));
	assert_int_equal(r.error, 0);
	assert_int_equal(read_now(&world, file, 60 * MIB, MIB, scratch), 0);
	assert_true(all_are(scratch, MIB, 0));
	data_file_put(file);
}

static void test_seeking_data_passes_over_a_long_hole(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	assert_int_equal(write_now(&world, file, 90000ull * MIB + 8192, 4096, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	memset(world.fake->seen, 0, sizeof(world.fake->seen));
	data_seek(file, 5, 100000ull * MIB, false, on_seek, &r);
	assert_true(wait_for(&world, &r, 5 * SEC));
	assert_int_equal(r.error, 0);
	assert_int_equal(r.value, 90000ull * MIB + 8192);
	assert_true(world.fake->seen[FRAME_STAT] <= 18);
	assert_int_equal(world.fake->seen[FRAME_LIST], FAKE_PARTITIONS);
	r = (struct result){0};
	data_seek(file, 90001ull * MIB, 100000ull * MIB, false, on_seek, &r);
	assert_true(wait_for(&world, &r, 5 * SEC));
	assert_int_equal(r.value, 100000ull * MIB);
	data_file_put(file);
}

struct listed {
	struct result r;
	size_t count;
	struct data_listed chunks[64];
};

static void on_listed(void *user, int error, const struct data_listed *chunks, size_t count)
{
	struct listed *listed = user;

	on_done(&listed->r, error);
	listed->count = count;
	for (size_t i = 0; i < count && i < 64; i++)
		listed->chunks[i] = chunks[i];
}

static void test_chunks_are_listed_with_what_is_in_them(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct listed listed = {0};

	for (unsigned i = 0; i < 40; i += 2)
		assert_int_equal(write_now(&world, file, i * MIB, 4096 * (i + 1), 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	data_list(file, 3, 37, 0, on_listed, &listed);
	assert_true(wait_for(&world, &listed.r, 5 * SEC));
	assert_int_equal(listed.r.error, 0);
	assert_int_equal(listed.count, 17);
	for (size_t i = 0; i < listed.count; i++) {
		assert_int_equal(listed.chunks[i].index, 4 + 2 * i);
		assert_int_equal(listed.chunks[i].blocks, 4 + 2 * i + 1);
	}
	data_file_put(file);
}

static void test_a_list_is_not_waited_for_longer_than_wanted(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct listed listed = {0};

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(world.fake, i);
	data_list(file, 0, 10, SEC, on_listed, &listed);
	assert_false(wait_for(&world, &listed.r, 900 * FAKE_MS));
	assert_true(wait_for(&world, &listed.r, 2 * SEC));
	assert_int_equal(listed.r.error, -ETIMEDOUT);
	assert_int_equal(listed.count, 0);
	data_file_put(file);
}

static void test_a_replaced_file_is_empty_and_its_updates_are_forgotten(void **state)
{
	struct data_file *file = open_file(&world, 1);

	world.fake->hold_commits = true;
	assert_int_equal(write_now(&world, file, 0, MIB, 1), 0);
	assert_int_equal(write_now(&world, file, MIB, 4096, 1), 0);
	run_for(&world, 100 * FAKE_MS);
	data_file_replace(file, 2);
	world.fake->hold_commits = false;
	assert_int_equal(read_now(&world, file, 0, 2 * MIB, scratch), 0);
	assert_true(all_are(scratch, 2 * MIB, 0));
	while (world.fake->chunks[0].pending != NULL)
		fake_commit(world.fake, &world.fake->chunks[0]);
	assert_int_equal(write_now(&world, file, 0, 4096, 3), 0);
	assert_int_equal(flush_now(&world, file, true), 0);
	assert_int_equal(read_now(&world, file, 0, 8192, scratch), 0);
	assert_true(all_are(scratch, 4096, 3));
	assert_true(all_are(scratch + 4096, 4096, 0));
	data_file_put(file);
	/* The table knows it by its new name. */
	file = open_file(&world, 2);
	assert_int_equal(read_now(&world, file, 0, 4096, scratch), 0);
	assert_true(all_are(scratch, 4096, 3));
	data_file_put(file);
}

static void test_a_discarded_file_is_not_written_back(void **state)
{
	struct data_file *file = open_file(&world, 1);

	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	data_file_discard(file);
	data_file_put(file);
	run_for(&world, 40 * SEC);
	assert_int_equal(world.fake->seen[FRAME_WRITE], 0);
	assert_int_equal(world.data->files.count, 0);
}

static void test_closing_without_servers_gives_up_and_leaks_nothing(void **state)
{
	struct world w;
	struct data_file *file;
	struct result r = {0}, q = {.bytes = scratch};

	world_open(&w, 1, 8 * MIB, 0);
	file = open_file(&w, 1);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(w.fake, i);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(write_now(&w, file, i * 8192, 4096, 1), 0);
	data_flush(file, true, on_done, &r);
	data_read(file, MIB, MIB, 0, on_read, &q);
	run_for(&w, 20 * SEC);
	assert_false(r.done || q.done);
	data_file_put(file);
	w.fake->inline_ticks = true;
	w.fake->pool = NULL;
	data_close(w.data, 0);
	assert_int_equal(r.error, -EIO);
	assert_int_equal(q.error, -EIO);
	buf_pool_create(0, &w.fake->pool);
	assert_true(fake_free(w.fake));
}

#define CASE(name) WORLD_CASE(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_small_append_and_fsync_is_one_request),
		CASE(test_fsync_flushes_each_chunk_that_was_answered_before),
		CASE(test_fsync_after_reopening_covers_what_was_written_before),
		CASE(test_a_closed_file_becomes_durable_by_itself),
		CASE(test_a_partial_write_is_sent_after_the_delay),
		CASE(test_writers_wait_when_memory_is_full),
		CASE(test_no_more_updates_of_a_chunk_than_allowed_are_under_way),
		CASE(test_a_full_disk_is_told_once_and_old_data_stays),
		CASE(test_near_the_end_of_space_the_write_itself_fails),
		CASE(test_a_bad_copy_is_read_from_another_member),
		CASE(test_reads_of_holes_are_zeros),
		CASE(test_a_partition_without_a_chain_is_a_hole_until_it_has_one),
		CASE(test_random_reads_fetch_only_the_blocks_asked),
		CASE(test_a_sequential_reader_asks_the_chain_for_each_byte_once),
		CASE(test_what_was_read_ahead_is_not_stale_after_a_write),
		CASE(test_a_silent_server_is_given_up_and_asked_again),
		CASE(test_an_update_moves_to_the_new_head),
		WORLD_CASE(test_a_soft_mount_gives_up, setup_soft, teardown),
		CASE(test_seek_finds_data_and_holes),
		CASE(test_punching_a_large_range_goes_chunk_by_chunk),
		CASE(test_cutting_off_a_hole_costs_what_is_in_it),
		CASE(test_what_is_under_way_when_a_hole_is_cut_off_is_cut_off_too),
		CASE(test_seeking_data_passes_over_a_long_hole),
		CASE(test_chunks_are_listed_with_what_is_in_them),
		CASE(test_a_list_is_not_waited_for_longer_than_wanted),
		CASE(test_a_replaced_file_is_empty_and_its_updates_are_forgotten),
		CASE(test_a_discarded_file_is_not_written_back),
		cmocka_unit_test(test_closing_without_servers_gives_up_and_leaks_nothing),
	};

	/* Faults are what this is about; thousands of lines about them help nobody. */
	log_open("/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
