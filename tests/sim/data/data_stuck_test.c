/* Goal: a chain that does not answer takes a part of the mount's memory and no more: whoever works
 * with others goes on as if nothing had happened. Method: data.h over fake_chain.h, in virtual
 * time; the chunks of some partitions are never committed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/os/log.h"
#include "tests/sim/data/world.h"

#define LIMIT  (16 * MIB) /* of write-back and of read-ahead, each half of the mount's memory */
#define PIECES 64u

static struct world world;
static uint8_t scratch[MIB];

static int setup(void **state)
{
	world_open(&world, 1, 2 * LIMIT, 0);
	return 0;
}

static int teardown(void **state)
{
	world_end(&world);
	return 0;
}

static unsigned partition_of(uint64_t file_id, uint32_t index)
{
	return chunk_partition(file_id, index, FAKE_PARTITIONS);
}

/* The first chunk of the file from @index on that is (or is not) of the partition. */
static uint32_t chunk_of(uint64_t file_id, uint32_t index, unsigned partition, bool is)
{
	while ((partition_of(file_id, index) == partition) != is)
		index++;
	return index;
}

static void write_start(struct data_file *file, uint32_t chunk, struct result *r)
{
	data_write(file, (uint64_t)chunk * MIB, filled(&world, MIB, 1), false, on_done, r);
}

static unsigned count_done(const struct result *r, unsigned count)
{
	unsigned done = 0;

	for (unsigned i = 0; i < count; i++)
		done += r[i].done;
	return done;
}

/* One writer fills a stuck chunk from as many threads as it likes; another, with a healthy one,
 * writes and flushes as fast as before. */
static void one_writer_goes_on(uint64_t *slowest)
{
	struct data_file *well = open_file(&world, 2);
	unsigned stuck = world.fake->stuck_partition;

	*slowest = 0;
	for (uint32_t i = 0, chunk = 0; i < 40; i++, chunk++) {
		uint64_t start = world.fake->now;

		chunk = chunk_of(2, chunk % 20, stuck, false);
		assert_int_equal(write_now(&world, well, (uint64_t)chunk * MIB, MIB, (uint8_t)i),
				 0);
		if (world.fake->now - start > *slowest)
			*slowest = world.fake->now - start;
		assert_int_equal(flush_now(&world, well, true), 0);
		assert_int_equal(read_now(&world, well, (uint64_t)chunk * MIB, MIB, scratch), 0);
		assert_true(all_are(scratch, MIB, (uint8_t)i));
	}
	data_file_put(well);
}

static void test_a_writer_goes_on_while_another_fills_a_stuck_chunk(void **state)
{
	static struct result r[PIECES];
	struct data_file *sick = open_file(&world, 1);
	uint64_t slowest, start;
	uint32_t chunk = 0;

	memset(r, 0, sizeof(r));
	world.fake->stuck_partition = partition_of(1, 0);
	for (unsigned i = 0; i < PIECES; i++, chunk++) {
		/* Different chunks of one chain: no rule of a single chunk holds it back. */
		chunk = chunk_of(1, chunk, world.fake->stuck_partition, true);
		write_start(sick, chunk, &r[i]);
	}
	start = world.fake->now;
	one_writer_goes_on(&slowest);
	assert_true(slowest < 10 * FAKE_MS);
	assert_true(world.fake->now - start < 2 * SEC);
	assert_int_equal(count_done(r, PIECES), LIMIT / 2 / MIB);
	assert_true(world.data->write_used <= LIMIT);
	world.fake->stuck_partition = UINT32_MAX;
	fake_commit_all(world.fake);
	for (unsigned i = 0; i < PIECES; i++) {
		assert_true(wait_for(&world, &r[i], 5 * SEC));
		assert_int_equal(r[i].error, 0);
	}
	assert_int_equal(flush_now(&world, sick, true), 0);
	data_file_put(sick);
	assert_int_equal(world.data->writes_waiting, 0);
}

/* No chain has more than its part, but together they have everything before it is known that they
 * are stuck. */
static void test_many_stuck_chains_leave_half_to_the_others(void **state)
{
	static struct result r[PIECES];
	struct data_file *sick = open_file(&world, 1), *well;
	struct result late = {0};
	uint32_t chunk = 0;

	memset(r, 0, sizeof(r));
	world.fake->hold_commits = true;
	for (unsigned i = 0; i < PIECES; i++, chunk++) {
		chunk = chunk_of(1, chunk, 0, false);
		write_start(sick, chunk, &r[i]);
	}
	run_for(&world, 100 * FAKE_MS);
	assert_int_equal(count_done(r, PIECES), LIMIT / MIB);
	well = open_file(&world, 2);
	chunk = chunk_of(2, 0, 0, true);
	write_start(well, chunk, &late);
	run_for(&world, 1500 * FAKE_MS);
	assert_true(late.done);
	for (unsigned i = 0; i < 6; i++) {
		late.done = false;
		chunk = chunk_of(2, chunk + 1, 0, true);
		write_start(well, chunk, &late);
		assert_true(late.done);
	}
	assert_true(world.data->write_used <= LIMIT + LIMIT / 2);
	assert_int_equal(count_done(r, PIECES), LIMIT / MIB);
	world.fake->hold_commits = false;
	fake_commit_all(world.fake);
	for (unsigned i = 0; i < PIECES; i++)
		assert_true(wait_for(&world, &r[i], 5 * SEC));
	assert_int_equal(flush_now(&world, sick, true), 0);
	assert_int_equal(flush_now(&world, well, true), 0);
	for (uint32_t i = 0; i < CHAINS_SLOTS; i++)
		assert_int_equal(world.data->chains[i].writing, 0);
	data_file_put(sick);
	data_file_put(well);
}

/* What waits for the same chunk is accepted in the order it came, so the last one stays. */
static void test_waiting_writes_of_one_chunk_keep_their_order(void **state)
{
	static struct result r[PIECES];
	struct data_file *sick = open_file(&world, 1);

	memset(r, 0, sizeof(r));
	world.fake->stuck_partition = partition_of(1, 0);
	for (unsigned i = 0; i < PIECES; i++)
		data_write(sick, 0, filled(&world, MIB, (uint8_t)i), true, on_done, &r[i]);
	run_for(&world, 3 * SEC);
	world.fake->stuck_partition = UINT32_MAX;
	fake_commit_all(world.fake);
	for (unsigned i = 0; i < PIECES; i++)
		assert_true(wait_for(&world, &r[i], 5 * SEC));
	assert_int_equal(read_now(&world, sick, 0, MIB, scratch), 0);
	assert_true(all_are(scratch, MIB, PIECES - 1));
	data_file_put(sick);
}

static void test_reads_go_on_while_others_wait_for_a_stuck_chain(void **state)
{
	static struct result r[PIECES];
	static uint8_t bytes[PIECES][MIB];
	struct data_file *sick = open_file(&world, 1), *well = open_file(&world, 2);
	struct cluster_map *map;
	struct map_chain *chain;
	uint32_t chunk = 0, good = chunk_of(2, 0, partition_of(1, 0), false);

	memset(r, 0, sizeof(r));
	assert_int_equal(write_now(&world, well, (uint64_t)good * MIB, MIB, 5), 0);
	assert_int_equal(flush_now(&world, well, true), 0);
	map = fake_map(world.fake);
	chain = &map->pools[0].chains[partition_of(1, 0)];
	chain->epoch++;
	for (unsigned i = 0; i < chain->count; i++)
		chain->members[i].state = MEMBER_OFFLINE;
	data_set_map(world.data, map);
	cluster_map_unref(map);
	for (unsigned i = 0; i < PIECES; i++, chunk++) {
		chunk = chunk_of(1, chunk, partition_of(1, 0), true);
		r[i].bytes = bytes[i];
		data_read(sick, (uint64_t)chunk * MIB, MIB, 0, on_read, &r[i]);
	}
	run_for(&world, 1500 * FAKE_MS);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t start = world.fake->now;

		assert_int_equal(read_now(&world, well, (uint64_t)good * MIB, MIB, scratch), 0);
		assert_true(all_are(scratch, MIB, 5));
		assert_true(world.fake->now - start < 50 * FAKE_MS);
	}
	assert_int_equal(count_done(r, PIECES), 0);
	world.fake->epochs[partition_of(1, 0)] += 2;
	publish(&world);
	for (unsigned i = 0; i < PIECES; i++)
		assert_true(wait_for(&world, &r[i], SEC));
	data_file_put(sick);
	data_file_put(well);
}

/* What fills a chain's part may be data that nobody would send yet. */
static void test_writes_that_wait_for_a_chain_that_works_have_its_data_sent(void **state)
{
	static struct result r[PIECES];
	struct data_file *file = open_file(&world, 1);
	uint64_t start = world.fake->now;
	uint32_t chunk = 0;

	memset(r, 0, sizeof(r));
	for (unsigned i = 0; i < PIECES; i++, chunk++) {
		chunk = chunk_of(1, chunk, partition_of(1, 0), true);
		world.fake->now += 1000;
		/* Half a window, which may grow. */
		data_write(file, (uint64_t)chunk * MIB, filled(&world, MIB / 2, 1), false, on_done,
			   &r[i]);
	}
	assert_true(count_done(r, PIECES) < PIECES / 2);
	for (unsigned i = 0; i < PIECES; i++)
		assert_true(wait_for(&world, &r[i], 5 * SEC));
	assert_true(world.fake->now - start < 100 * FAKE_MS);
	assert_int_equal(flush_now(&world, file, true), 0);
	data_file_put(file);
}

/* But those of a stuck chain are no reason not to gather what others write. */
static void test_writes_that_wait_for_a_stuck_chain_hurry_nobody(void **state)
{
	static struct result r[PIECES];
	struct data_file *sick = open_file(&world, 1), *well = open_file(&world, 2);
	unsigned seen;
	uint32_t chunk = 0;

	memset(r, 0, sizeof(r));
	world.fake->stuck_partition = partition_of(1, 0);
	for (unsigned i = 0; i < PIECES; i++, chunk++) {
		chunk = chunk_of(1, chunk, world.fake->stuck_partition, true);
		write_start(sick, chunk, &r[i]);
	}
	run_for(&world, 2 * SEC);
	assert_true(world.data->writes_waiting > 0);
	seen = world.fake->seen[FRAME_WRITE];
	chunk = chunk_of(2, 0, world.fake->stuck_partition, false);
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(write_now(&world, well, (uint64_t)chunk * MIB + i * BLOCK_SIZE,
					   BLOCK_SIZE, 1),
				 0);
		run_for(&world, FAKE_MS);
	}
	assert_int_equal(world.fake->seen[FRAME_WRITE], seen);
	assert_int_equal(flush_now(&world, well, true), 0);
	assert_int_equal(world.fake->seen[FRAME_WRITE], seen + 1);
	world.fake->stuck_partition = UINT32_MAX;
	fake_commit_all(world.fake);
	for (unsigned i = 0; i < PIECES; i++)
		assert_true(wait_for(&world, &r[i], 5 * SEC));
	assert_int_equal(flush_now(&world, sick, true), 0);
	data_file_put(sick);
	data_file_put(well);
}

#define CASE(name) WORLD_CASE(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_writer_goes_on_while_another_fills_a_stuck_chunk),
		CASE(test_many_stuck_chains_leave_half_to_the_others),
		CASE(test_writes_that_wait_for_a_chain_that_works_have_its_data_sent),
		CASE(test_writes_that_wait_for_a_stuck_chain_hurry_nobody),
		CASE(test_waiting_writes_of_one_chunk_keep_their_order),
		CASE(test_reads_go_on_while_others_wait_for_a_stuck_chain),
	};

	log_open("/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
