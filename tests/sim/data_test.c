/* Goal: whatever chunkservers and network do, a read gives the newest bytes written, a flush says
 * so only when it is so, and nothing hangs.
 * Method: data.h over fake_chain.h: one thread, virtual time, everything seeded. First single cases
 * of what must not be forgotten; then random operations on two files against plain byte arrays,
 * while connections break, members answer oddly, blocks go bad, chains change and servers die and
 * freeze. Run with a number to repeat one seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/log.h"
#include "fs/data_internal.h"
#include "tests/sim/fake_chain.h"

#define MIB        (1u << 20)
#define FILES      2u
#define CHUNKS     4u
#define FILE_BYTES (CHUNKS * FAKE_CHUNK)
#define SEC        (1000 * FAKE_MS)

/* Each takes part of a second; more with "for seed in ...". */
#define SEEDS 8

static uint64_t only_seed;

/* ---- a world with a mount ---- */

struct world {
	struct fake *fake;
	struct data *data;
};

static void publish(struct world *w)
{
	struct cluster_map *map = fake_map(w->fake);

	data_set_map(w->data, map);
	cluster_map_unref(map);
}

static void world_open(struct world *w, uint64_t seed, uint64_t memory, uint64_t soft_ns)
{
	struct data_options options = {.memory_limit = memory, .soft_timeout_ns = soft_ns};

	w->fake = fake_new(seed);
	if (data_open_on(&options, &w->fake->base, w->fake->pool, &w->data) < 0)
		abort();
	publish(w);
	data_set_session(w->data, 77);
}

static void run_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->fake->now + ns;

	while (fake_step(w->fake, until))
		;
	w->fake->now = until;
}

/* True: the pool has got everything back. Takes the data apart without data_close(), which would
 * wait for this very thread. */
static bool world_close(struct world *w)
{
	struct buf_pool *pool = w->fake->pool;
	bool clean;

	/* What lingers is synced, the last pings are over. */
	run_for(w, 100 * SEC);
	w->fake->inline_ticks = true;
	/* data_close() gives the pool back too. */
	clean = buf_pool_used(pool) == 0;
	w->fake->pool = NULL;
	data_close(w->data, 0);
	buf_pool_create(0, &w->fake->pool);
	for (struct fake_event *e = w->fake->events; e != NULL; e = e->next)
		clean = clean && e->payload == NULL;
	return fake_free(w->fake) && clean;
}

struct result {
	bool done;
	int error;
	uint64_t value;
	uint8_t *bytes;
	uint32_t length;
};

static void on_done(void *user, int error)
{
	struct result *r = user;

	r->done = true;
	r->error = error;
}

static void on_seek(void *user, int error, uint64_t value)
{
	on_done(user, error);
	((struct result *)user)->value = value;
}

static void on_read(void *user, int error, const struct iovec *iov, int count)
{
	struct result *r = user;
	uint8_t *to = r->bytes;

	on_done(user, error);
	for (int i = 0; i < count; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	r->length = (uint32_t)(to - r->bytes);
}

static bool wait_for(struct world *w, const struct result *r, uint64_t ns)
{
	uint64_t until = w->fake->now + ns;

	while (!r->done && fake_step(w->fake, until))
		;
	return r->done;
}

static struct buf *filled(struct world *w, uint32_t length, uint8_t fill)
{
	struct buf *buf = buf_get(w->fake->pool, length);

	buf->length = length;
	memset(buf->data, fill, length);
	return buf;
}

static struct data_file *open_file(struct world *w, uint64_t id)
{
	struct data_file *file = NULL;

	if (data_file_get(w->data, FAKE_POOL, id, &file) < 0)
		abort();
	return file;
}

static int write_now(struct world *w, struct data_file *file, uint64_t offset, uint32_t length,
		     uint8_t fill)
{
	struct result r = {0};

	data_write(file, offset, filled(w, length, fill), false, on_done, &r);
	return wait_for(w, &r, 100 * SEC) ? r.error : -ETIME;
}

static int flush_now(struct world *w, struct data_file *file, bool durable)
{
	struct result r = {0};

	data_flush(file, durable, on_done, &r);
	return wait_for(w, &r, 100 * SEC) ? r.error : -ETIME;
}

static int read_now(struct world *w, struct data_file *file, uint64_t offset, uint32_t length,
		    uint8_t *bytes)
{
	struct result r = {.bytes = bytes};

	data_read(file, offset, length, 0, on_read, &r);
	if (!wait_for(w, &r, 100 * SEC))
		return -ETIME;
	return r.error == 0 && r.length != length ? -EPROTO : r.error;
}

static bool all_are(const uint8_t *bytes, size_t size, uint8_t value)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* ---- single cases ---- */

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
	const char *broken = world.fake->broken;

	assert_true(world_close(&world));
	if (broken != NULL)
		fail_msg("%s", broken);
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
	assert_int_equal(f->seen_sync, 10);
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
	assert_int_equal(world.data->file_count, 0);
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
	assert_int_equal(world.data->file_count, 0);
}

static void test_a_new_session_sends_everything_again(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result r = {0};

	world.fake->hold_commits = true;
	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	data_flush(file, true, on_done, &r);
	run_for(&world, 100 * FAKE_MS);
	data_set_session(world.data, 78);
	run_for(&world, 100 * FAKE_MS);
	world.fake->hold_commits = false;
	while (world.fake->chunks[0].pending != NULL)
		fake_commit(world.fake, &world.fake->chunks[0]);
	assert_true(wait_for(&world, &r, 2 * SEC));
	assert_int_equal(r.error, 0);
	assert_true(world.fake->seen[FRAME_WRITE] >= 2);
	data_file_put(file);
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

/* ---- the random run ---- */

enum op_kind { OP_WRITE, OP_READ, OP_FLUSH, OP_PUNCH };

struct model_file {
	struct data_file *file;
	uint64_t id;
	uint8_t *truth;
	uint32_t *stamp;     /* when each byte was last changed */
	uint32_t *unsure;    /* changes of each byte that are not complete */
	unsigned unaccepted; /* writes, and punches */
};

struct op {
	struct run *run;
	struct model_file *f;
	enum op_kind kind;
	bool busy, durable;
	uint64_t offset;
	uint32_t length, stamp;
	uint64_t start_ns;
	uint8_t *expect; /* reads: the truth at their beginning */
	struct op *next;
};

struct run {
	struct world w;
	struct model_file files[FILES];
	uint64_t rng;
	uint32_t stamp;
	struct op ops[24];
	unsigned done_ops;
	uint64_t next_id, session;
	const char *trouble;
	char detail[160];
};

static uint64_t rnd(struct run *r)
{
	uint64_t x = r->rng += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint32_t below(struct run *r, uint32_t bound)
{
	return (uint32_t)(rnd(r) % bound);
}

static void fail_run(struct run *r, const char *what)
{
	if (r->trouble == NULL)
		r->trouble = what;
}

static void op_over(struct op *op)
{
	struct model_file *f = op->f;

	op->busy = false;
	op->run->done_ops++;
	if (op->kind == OP_WRITE || op->kind == OP_PUNCH) {
		f->unaccepted--;
		/* Only what begins from now on has to know of it. */
		op->run->stamp++;
		for (uint32_t i = 0; i < op->length; i++) {
			f->unsure[op->offset + i]--;
			f->stamp[op->offset + i] = op->run->stamp;
		}
	}
	free(op->expect);
	op->expect = NULL;
}

/* What the chain holds, or what of it a power cut would leave, is what was written before. */
static void check_flushed(struct op *op)
{
	struct model_file *f = op->f;
	struct fake *fake = op->run->w.fake;

	for (uint32_t c = 0; c < CHUNKS; c++) {
		struct chunk_key key = chunk_key_of(FAKE_POOL, FAKE_PARTITIONS, f->id, c);
		struct fake_chunk *chunk = fake_chunk_get(fake, &key);
		const uint8_t *bytes = op->durable ? chunk->synced : chunk->data;

		for (uint32_t i = 0; i < FAKE_CHUNK; i++) {
			uint32_t at = c * FAKE_CHUNK + i;

			/* Mostly whole blocks are as they should be. */
			if (i % BLOCK_SIZE == 0 &&
			    memcmp(bytes + i, f->truth + at, BLOCK_SIZE) == 0) {
				i += BLOCK_SIZE - 1;
				continue;
			}
			if (f->stamp[at] <= op->stamp && f->unsure[at] == 0 &&
			    bytes[i] != f->truth[at]) {
				snprintf(op->run->detail, sizeof(op->run->detail),
					 "file %llu byte %u durable %d", (unsigned long long)f->id,
					 at, op->durable);
				fail_run(op->run, "flushed, but not there");
				return;
			}
		}
	}
}

static void op_done(void *user, int error)
{
	struct op *op = user;

	if (error != 0)
		fail_run(op->run, "an operation failed");
	if (op->kind == OP_FLUSH && error == 0)
		check_flushed(op);
	op_over(op);
}

static void op_read(void *user, int error, const struct iovec *iov, int count)
{
	struct op *op = user;
	struct model_file *f = op->f;
	uint32_t at = 0;

	if (error != 0)
		fail_run(op->run, "a read failed");
	for (int v = 0; v < count; v++) {
		const uint8_t *bytes = iov[v].iov_base;

		for (size_t i = 0; i < iov[v].iov_len && at < op->length; i++, at++) {
			uint64_t b = op->offset + at;

			if (f->stamp[b] <= op->stamp && f->unsure[b] == 0 &&
			    bytes[i] != op->expect[at]) {
				snprintf(op->run->detail, sizeof(op->run->detail),
					 "file %llu byte %llu got %u expected %u",
					 (unsigned long long)f->id, (unsigned long long)b, bytes[i],
					 op->expect[at]);
				fail_run(op->run, "a read gave old bytes");
			}
		}
	}
	if (error == 0 && at != op->length)
		fail_run(op->run, "a read gave too little or too much");
	op_over(op);
}

static struct op *op_start(struct run *r, enum op_kind kind, uint32_t max_length)
{
	struct op *op = NULL;

	for (size_t i = 0; op == NULL && i < 24; i++)
		if (!r->ops[i].busy)
			op = &r->ops[i];
	if (op == NULL)
		return NULL;
	*op = (struct op){
		.run = r,
		.f = &r->files[below(r, FILES)],
		.kind = kind,
		.busy = true,
		.start_ns = r->w.fake->now,
	};
	op->length = 1 + below(r, max_length);
	if (below(r, 3) == 0)
		op->length = (op->length + 4095) / 4096 * 4096;
	if (below(r, 3) == 0)
		op->length = 1 + below(r, 5000);
	op->offset = below(r, FILE_BYTES - op->length + 1);
	if (below(r, 2) == 0)
		op->offset = op->offset / 4096 * 4096;
	op->stamp = r->stamp;
	return op;
}

static void change(struct op *op)
{
	struct model_file *f = op->f;

	op->stamp = ++op->run->stamp;
	f->unaccepted++;
	for (uint32_t i = 0; i < op->length; i++) {
		f->stamp[op->offset + i] = op->stamp;
		f->unsure[op->offset + i]++;
		f->truth[op->offset + i] =
			op->kind == OP_PUNCH ? 0 : (uint8_t)(op->stamp * 37 + i * 11);
	}
}

static void do_write(struct run *r)
{
	struct op *op = op_start(r, OP_WRITE, MIB);
	struct buf *payload;

	if (op == NULL)
		return;
	/* Punches and writes that are not accepted yet have no order. */
	if (op->f->unaccepted > 0) {
		op->busy = false;
		return;
	}
	change(op);
	payload = buf_get(r->w.fake->pool, op->length);
	payload->start = below(r, 4096);
	payload->length = op->length;
	memcpy(buf_payload(payload), op->f->truth + op->offset, op->length);
	data_write(op->f->file, op->offset, payload, below(r, 6) == 0, op_done, op);
}

static void do_read(struct run *r)
{
	struct op *op = op_start(r, OP_READ, MIB);

	if (op == NULL)
		return;
	op->expect = malloc(op->length);
	memcpy(op->expect, op->f->truth + op->offset, op->length);
	data_read(op->f->file, op->offset, op->length, below(r, 2) == 0 ? FILE_BYTES : 0, op_read,
		  op);
}

/* Reads in a row, so that something is read ahead. */
static void do_stream(struct run *r)
{
	struct model_file *f = &r->files[below(r, FILES)];
	uint64_t at = below(r, FILE_BYTES / 2) / 131072 * 131072;

	for (int i = 0; i < 6; i++, at += 131072) {
		struct op *op = op_start(r, OP_READ, 131072);

		if (op == NULL)
			return;
		op->f = f;
		op->offset = at;
		op->length = 131072;
		op->expect = malloc(op->length);
		memcpy(op->expect, f->truth + at, op->length);
		data_read(f->file, at, op->length, FILE_BYTES, op_read, op);
	}
}

static void do_flush(struct run *r)
{
	struct op *op = op_start(r, OP_FLUSH, 1);

	if (op == NULL)
		return;
	op->durable = below(r, 2) == 0;
	data_flush(op->f->file, op->durable, op_done, op);
}

static void do_punch(struct run *r)
{
	struct op *op = op_start(r, OP_PUNCH, below(r, 3) == 0 ? FILE_BYTES : 100000);

	if (op == NULL)
		return;
	if (op->f->unaccepted > 0) {
		op->busy = false;
		return;
	}
	change(op);
	data_punch(op->f->file, op->offset, op->offset + op->length, op_done, op);
}

static bool file_idle(struct run *r, const struct model_file *f)
{
	for (size_t i = 0; i < 24; i++)
		if (r->ops[i].busy && r->ops[i].f == f)
			return false;
	return true;
}

static void do_file(struct run *r)
{
	struct model_file *f = &r->files[below(r, FILES)];

	if (!file_idle(r, f))
		return;
	switch (below(r, 4)) {
	case 0: /* as if closed and opened */
		data_file_put(f->file);
		f->file = open_file(&r->w, f->id);
		break;
	case 1:
		data_invalidate(f->file);
		break;
	case 2: /* truncated to 0 */
		if (r->next_id > 8)
			break;
		f->id = r->next_id++;
		data_file_replace(f->file, f->id);
		memset(f->truth, 0, FILE_BYTES);
		r->stamp++;
		for (uint32_t i = 0; i < FILE_BYTES; i++)
			f->stamp[i] = r->stamp;
		break;
	default:
		break;
	}
}

static void do_harm(struct run *r)
{
	struct fake *f = r->w.fake;
	unsigned server = below(r, FAKE_SERVERS), up = 0;

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		up += f->servers[i].up;
	switch (below(r, 6)) {
	case 0:
		fake_change_chain(f, below(r, FAKE_PARTITIONS));
		if (below(r, 3) > 0)
			publish(&r->w);
		break;
	case 1:
		publish(&r->w);
		break;
	case 2:
		if (up == FAKE_SERVERS)
			fake_kill(f, server);
		break;
	case 3:
		f->servers[server].up = true;
		break;
	case 4:
		f->servers[server].frozen = below(r, 4) == 0;
		break;
	default:
		if (below(r, 8) == 0)
			data_set_session(r->w.data, ++r->session);
		break;
	}
}

static void heal(struct run *r)
{
	struct fake *f = r->w.fake;

	for (unsigned i = 0; i < FAKE_SERVERS; i++) {
		f->servers[i].up = true;
		f->servers[i].frozen = false;
	}
	f->odd_status = 0;
	f->lose_connection = 0;
	f->damage = 0;
	f->corrupt_reads = 0;
	publish(&r->w);
}

static bool any_busy(struct run *r)
{
	for (size_t i = 0; i < 24; i++)
		if (r->ops[i].busy)
			return true;
	return false;
}

static void check_files(struct run *r)
{
	uint8_t *bytes = malloc(FILE_BYTES);

	for (size_t i = 0; i < FILES; i++) {
		struct model_file *f = &r->files[i];

		data_invalidate(f->file);
		if (flush_now(&r->w, f->file, true) != 0)
			fail_run(r, "the last flush failed");
		if (read_now(&r->w, f->file, 0, FILE_BYTES, bytes) != 0)
			fail_run(r, "the last read failed");
		else if (memcmp(bytes, f->truth, FILE_BYTES) != 0)
			fail_run(r, "the file is not what was written");
	}
	free(bytes);
}

static void run_open(struct run *r, uint64_t seed)
{
	struct fake *fake;

	world_open(&r->w, seed, 8 * MIB, 0);
	r->rng = seed * 77;
	r->session = 77;
	fake = r->w.fake;
	fake->odd_status = seed % 3 == 0 ? 100 : 10;
	fake->lose_connection = seed % 4 == 1 ? 50 : 5;
	fake->damage = 20;
	fake->corrupt_reads = seed % 5 == 2 ? 100 : 0;
	fake->delay_max = seed % 2 == 0 ? 20 * FAKE_MS : FAKE_MS;
	r->next_id = 1;
	for (size_t i = 0; i < FILES; i++) {
		struct model_file *f = &r->files[i];

		f->id = r->next_id++;
		f->file = open_file(&r->w, f->id);
		f->truth = calloc(1, FILE_BYTES);
		f->stamp = calloc(FILE_BYTES, sizeof(uint32_t));
		f->unsure = calloc(FILE_BYTES, sizeof(uint32_t));
	}
}

static void run_close(struct run *r)
{
	for (size_t i = 0; i < FILES; i++) {
		data_file_put(r->files[i].file);
		free(r->files[i].truth);
		free(r->files[i].stamp);
		free(r->files[i].unsure);
	}
	if (r->w.fake->broken != NULL)
		fail_run(r, r->w.fake->broken);
	if (!world_close(&r->w))
		fail_run(r, "buffers are missing at the end");
}

static void run_steps(struct run *r, int steps)
{
	bool harm = r->w.fake->rng % 2 == 0;

	for (int step = 0; step < steps && r->trouble == NULL && r->w.fake->broken == NULL;
	     step++) {
		switch (below(r, 16)) {
		case 0:
		case 1:
		case 2:
		case 3:
			do_write(r);
			break;
		case 4:
		case 5:
		case 6:
			do_read(r);
			break;
		case 7:
			do_stream(r);
			break;
		case 8:
		case 9:
			do_flush(r);
			break;
		case 10:
			if (below(r, 2) == 0)
				do_punch(r);
			break;
		case 11:
			do_file(r);
			break;
		case 12:
			if (harm || below(r, 4) == 0)
				do_harm(r);
			break;
		default:
			run_for(&r->w, below(r, 30) * FAKE_MS / 3);
			break;
		}
		if (below(r, 400) == 0)
			run_for(&r->w, 12 * SEC);
	}
}

static bool one_run(uint64_t seed, struct run *r)
{
	uint64_t until;

	*r = (struct run){0};
	run_open(r, seed);
	run_steps(r, 400);
	heal(r);
	until = r->w.fake->now + 60 * SEC;
	while (any_busy(r) && fake_step(r->w.fake, until))
		;
	if (any_busy(r)) {
		fail_run(r, "an operation never ended");
		return false;
	}
	if (r->trouble == NULL)
		check_files(r);
	run_close(r);
	return r->trouble == NULL;
}

static void test_random_operations_agree_with_plain_bytes(void **state)
{
	uint64_t first = only_seed != 0 ? only_seed : 1;
	uint64_t last = only_seed != 0 ? only_seed : SEEDS;
	static struct run r;

	for (uint64_t seed = first; seed <= last; seed++)
		if (!one_run(seed, &r))
			fail_msg("seed %llu: %s %s", (unsigned long long)seed, r.trouble, r.detail);
	print_message("seeds %llu to %llu\n", (unsigned long long)first, (unsigned long long)last);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
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
		cmocka_unit_test_setup_teardown(test_a_soft_mount_gives_up, setup_soft, teardown),
		CASE(test_seek_finds_data_and_holes),
		CASE(test_punching_a_large_range_goes_chunk_by_chunk),
		CASE(test_a_replaced_file_is_empty_and_its_updates_are_forgotten),
		CASE(test_a_discarded_file_is_not_written_back),
		CASE(test_a_new_session_sends_everything_again),
		cmocka_unit_test(test_closing_without_servers_gives_up_and_leaks_nothing),
		cmocka_unit_test(test_random_operations_agree_with_plain_bytes),
	};

	/* Faults are what this is about; thousands of lines about them help nobody. */
	log_open("/dev/null");
	if (argc > 1)
		only_seed = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
