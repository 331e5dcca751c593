/* Goal: after a power cut at any moment a target opens, has all that was flushed, and knows of what
 * was not: no chunk that it is sure of holds anything but one of its versions. Method: random
 * updates with several under way on a db in memory that forgets what was not flushed; at a random
 * write or flush the power goes, and the files' blocks since the last flush get their old bytes back,
 * or half of them. The same again with only the process dying, where nothing is forgotten. What is
 * noted of what was flushed goes along, and must never take a crash for damage. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/store_faults.h"
#include "tests/lib/store_model.h"

#define ROUNDS 15u /* unless asked for more */

static struct fixture fx;
static struct model model;
static struct model_progress progress;
static uint64_t seed;
static unsigned ticks, rounds;

static uint64_t random_next(void)
{
	return model_random(&model);
}

/* From the step on at which it stops, the store must not do anything more. */
static bool is_off(void)
{
	if (faults.stopped)
		atomic_store(&fx.store->disk.poisoned, true);
	else if (ticks++ % 3 == 0)
		witness_tick(&fx.store->disk);
	return faults.stopped;
}

/* Ends the store without its writing anything more. */
static void pull_the_plug(void)
{
	faults.stopped = true;
	atomic_store(&fx.store->disk.poisoned, true);
	fixture_close(&fx);
	faults.stopped = false;
	faults.stop_at = 0;
}

static void set_boot_id(const char *boot_id)
{
	static const uint8_t key[] = {KEY_STATE};
	struct kv_batch *batch = kv_batch_new();
	uint8_t value[STATE_VALUE_MAX];

	kv_batch_put(batch, FAMILY_MAIN, key, sizeof(key), value,
		     value_state_encode(false, boot_id, value));
	assert_int_equal(kv_write(fx.kv, batch, true), 0);
	kv_batch_free(batch);
}

static int make_target(void **state)
{
	return fixture_start(&fx, true);
}

static int remove_target(void **state)
{
	fixture_end(&fx);
	return 0;
}

/* The target is made once and emptied for each round. */
static int round_setup(uint64_t number)
{
	char synced[300];
	int rc;

	faults.stop_at = 0;
	faults.keep = true;
	model_make(&model, number, &progress);
	model.stop = is_off;
	if (fx.view != NULL)
		fixture_close(&fx);
	kv_close(fx.kv);
	fault_each_file(fx.dir, fault_remove);
	snprintf(synced, sizeof(synced), "%s/synced", fx.dir);
	fault_remove(synced);
	fault_forget(NULL);
	faults.name_count = 0;
	rc = kv_open_memory(db_families, FAMILY_COUNT, &fx.kv);
	if (rc == 0)
		rc = fixture_open(&fx);
	faults.steps = 0;
	faults.stop_at = 1 + (long)(random_next() % 50);
	return rc;
}

static void round_end(void)
{
	model_end(&model);
}

static bool any_unsure(void)
{
	bool unsure = false;

	for (uint32_t c = 0; c < MODEL_CHUNKS; c++) {
		struct chunk_key key = test_key(c);
		struct chunk_info info;

		assert_int_equal(store_info(fx.view, &key, &info), 0);
		unsure = unsure || info.unsure;
	}
	return unsure;
}

static void crash_rounds(bool power)
{
	unsigned stopped = 0, unsure = 0, told = 0;

	for (unsigned i = 0; i < rounds; i++) {
		assert_int_equal(round_setup(seed + i), 0);
		assert_int_equal(model_run(&fx, &model), 0);
		stopped += faults.stopped;
		pull_the_plug();
		if (power) {
			kv_memory_crash(fx.kv);
			set_boot_id("another");
			fault_power_cut(random_next, fx.dir);
		}
		assert_int_equal(fixture_open(&fx), 0);
		assert_false(store_damaged(fx.store));
		told += fx.store->disk.witness.told > 2; /* besides those of opening */
		unsure += any_unsure();
		for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
			if (model_judge_chunk(&fx, &model, c,
					      power ? progress.flushed[c] : progress.kept[c],
					      false) != 0)
				fail_msg("%s", model.why);
		/* What was found is what lasts. */
		assert_int_equal(fixture_reopen(&fx), 0);
		for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
			if (model_judge_chunk(&fx, &model, c,
					      power ? progress.flushed[c] : progress.kept[c],
					      false) != 0)
				fail_msg("again: %s", model.why);
		round_end();
	}
	printf("%u of %u rounds cut short, %u with unsure chunks\n", stopped, rounds, unsure);
	/* When it stops depends on threads too; but a test that never does tests nothing. */
	assert_true(stopped > 2);
	assert_true(!power || unsure > 0);
	assert_true(told > 0);
}

static void test_a_power_cut_loses_nothing_flushed_and_makes_nothing_up(void **state)
{
	crash_rounds(true);
}

static void test_a_killed_process_loses_nothing_committed(void **state)
{
	crash_rounds(false);
}

static void test_without_a_crash_everything_is_as_it_should(void **state)
{
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(round_setup(seed + 1000 + i), 0);
		faults.stop_at = 0;
		assert_int_equal(model_run(&fx, &model), 0);
		for (unsigned again = 0; again < 2; again++) {
			for (uint32_t c = 0; c < MODEL_CHUNKS; c++) {
				progress.flushed[c] = progress.kept[c];
				if (model_judge_chunk(&fx, &model, c, progress.kept[c], false) != 0)
					fail_msg("%s", model.why);
			}
			assert_int_equal(fixture_reopen(&fx), 0);
		}
		round_end();
	}
}

/* ---- single cases ---- */

static void write_at(uint32_t offset, uint32_t length, uint64_t bytes_seed, uint64_t version)
{
	struct chunk_key key = test_key(0);
	uint8_t *bytes = malloc(length);

	fill_random(bytes, length, bytes_seed);
	assert_int_equal(do_write(&fx, &key, offset, bytes, length, version), 0);
	free(bytes);
}

static void cut_power(void)
{
	pull_the_plug();
	kv_memory_crash(fx.kv);
	set_boot_id("another");
}

static void assert_block(uint32_t block, uint64_t bytes_seed, uint32_t from)
{
	struct chunk_key key = test_key(0);
	uint8_t found[BLOCK_SIZE], *expect = calloc(1, from + BLOCK_SIZE);

	if (bytes_seed != 0)
		fill_random(expect, from + BLOCK_SIZE, bytes_seed);
	assert_int_equal(do_read(&fx, &key, block * BLOCK_SIZE, BLOCK_SIZE, true, found, NULL), 0);
	assert_memory_equal(found, expect + from, BLOCK_SIZE);
	free(expect);
}

static struct chunk_info info_now(void)
{
	struct chunk_key key = test_key(0);
	struct chunk_info info;

	assert_int_equal(store_info(fx.view, &key, &info), 0);
	return info;
}

static void restore_file(bool half)
{
	for (struct old_block *old = faults.old; old != NULL; old = old->next) {
		int fd = open(old->path, O_WRONLY);

		assert_true(syscall(SYS_pwrite64, fd, old->bytes,
				    half ? FAULT_BLOCK / 2 : FAULT_BLOCK,
				    old->block * FAULT_BLOCK) > 0);
		close(fd);
	}
	fault_forget(NULL);
}

static void test_new_blocks_that_did_not_reach_the_disk_become_absent(void **state)
{
	struct chunk_key other = test_key(1), key = test_key(0);

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	assert_int_equal(do_flush(&fx, &key), 0);
	write_at(131072, 131072, 6, 2);
	/* The record becomes durable with someone else's flush; the data does not. */
	assert_int_equal(do_flush(&fx, &other), 0);
	cut_power();
	restore_file(false);
	assert_int_equal(fixture_open(&fx), 0);
	assert_int_equal(info_now().version, 2);
	assert_true(info_now().unsure);
	assert_int_equal(info_now().length, 131072);
	assert_block(31, 5, 31 * BLOCK_SIZE);
	round_end();
}

static void write_in_epoch(uint64_t epoch, uint64_t version)
{
	struct chunk_key key = test_key(0);
	uint8_t bytes[BLOCK_SIZE] = {7};
	struct store_update u;
	struct waited w;

	update_fill(&u, &w, STORE_WRITE, &key, 0, sizeof(bytes), version);
	u.epoch = epoch;
	u.payload = payload_of(&fx, bytes, 0, sizeof(bytes));
	assert_int_equal(prepare_wait(&fx, &u), 0);
	buf_unref(u.payload);
	assert_int_equal(store_commit(fx.view, &u), 0);
}

static void test_lost_blocks_stay_known_until_the_next_epoch_has_made_a_turn_of_it(void **state)
{
	struct chunk_key other = test_key(1), key = test_key(0);
	struct chunk_info info;

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	assert_int_equal(do_flush(&fx, &key), 0);
	write_at(131072, 131072, 6, 2);
	assert_int_equal(do_flush(&fx, &other), 0);
	assert_false(info_now().history.lost);
	cut_power();
	restore_file(false);
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(info_now().history.lost);
	/* Which updates were applied is as uncertain. */
	assert_int_equal(info_now().op_count, 0);
	cut_power();
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(info_now().history.lost);
	write_in_epoch(4, 3);
	info = info_now();
	assert_false(info.history.lost);
	assert_false(chunk_history_has(&info.history, info.epoch, 3, 1));
	assert_true(chunk_history_has(&info.history, info.epoch, 4, 3));
	/* That was not flushed. */
	cut_power();
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(info_now().history.lost);
	write_in_epoch(5, 3);
	assert_int_equal(do_flush(&fx, &key), 0);
	cut_power();
	assert_int_equal(fixture_open(&fx), 0);
	info = info_now();
	assert_false(info.history.lost);
	assert_false(chunk_history_has(&info.history, info.epoch, 4, 3));
	assert_true(chunk_history_has(&info.history, info.epoch, 5, 3));
	round_end();
}

static void test_a_killed_process_has_lost_nothing_of_a_chunk(void **state)
{
	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	write_at(0, 131072, 6, 2);
	pull_the_plug();
	assert_int_equal(fixture_open(&fx), 0);
	assert_int_equal(info_now().version, 2);
	assert_false(info_now().history.lost);
	assert_int_equal(info_now().op_count, 2);
	round_end();
}

static void test_a_torn_overwrite_of_flushed_blocks_is_taken_as_it_is(void **state)
{
	struct chunk_key key = test_key(0);
	uint8_t found[BLOCK_SIZE], old[BLOCK_SIZE], new[BLOCK_SIZE];

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	assert_int_equal(do_flush(&fx, &key), 0);
	write_at(0, 131072, 6, 2);
	cut_power();
	restore_file(true);
	assert_int_equal(fixture_open(&fx), 0);
	assert_int_equal(info_now().version, 1);
	assert_true(info_now().unsure);
	assert_true(info_now().history.lost);
	fill_random(old, sizeof(old), 5);
	fill_random(new, sizeof(new), 6);
	assert_int_equal(do_read(&fx, &key, 0, BLOCK_SIZE, true, found, NULL), 0);
	assert_memory_equal(found, old, BLOCK_SIZE / 2);
	assert_memory_equal(found + BLOCK_SIZE / 2, new + BLOCK_SIZE / 2, BLOCK_SIZE / 2);
	round_end();
}

static void test_damage_outside_the_marked_pieces_stays_damage(void **state)
{
	struct chunk_key key = test_key(0);
	uint8_t found[BLOCK_SIZE];
	char path[512];
	int fd;

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	for (uint32_t i = 0; i < 6; i++)
		write_at(i << 20, 131072, i + 1, i + 1);
	assert_int_equal(do_flush(&fx, &key), 0);
	fx.store->rest_after_ns = 1000;
	run_for(&fx, 500);
	fx.store->rest_after_ns = 1000 * NS_PER_SEC;
	write_at(0, 131072, 9, 7);
	cut_power();
	file_path(&fx, &key, path, sizeof(path));
	fd = open(path, O_WRONLY);
	assert_int_equal(syscall(SYS_pwrite64, fd, "x", 1, (5 << 20) + 5000), 1);
	close(fd);
	assert_int_equal(fixture_open(&fx), 0);
	assert_int_equal(do_read(&fx, &key, (5 << 20) + 4096, 4096, true, found, NULL), -EBADMSG);
	assert_block(5 << 8, 6, 0);
	assert_true(info_now().unsure);
	round_end();
}

static void test_fresh_blocks_overwritten_during_a_flush_are_not_lost(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;
	uint8_t *bytes = malloc(131072);

	/* The first bytes are new and unflushed, so their overwriting asks for no durable mark; but
	 * a flush that begins before it is committed makes them something to be kept. */
	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	fill_random(bytes, 131072, 6);
	update_fill(&u, &w, STORE_WRITE, &key, 0, 131072, 2);
	u.payload = payload_of(&fx, bytes, 0, 131072);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	buf_unref(u.payload);
	free(bytes);
	store_abort(fx.view, &u); /* the test's way to leave nothing under way */
	cut_power();
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(info_now().unsure);
	assert_int_equal(info_now().length, 131072);
	assert_block(3, 6, 3 * BLOCK_SIZE);
	round_end();
}

static void test_fresh_blocks_overwritten_during_a_flush_of_the_partition_are_not_lost(void **state)
{
	struct chunk_key key = test_key(0);
	struct store_update u;
	struct waited w;
	uint8_t *bytes = malloc(131072);

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	fill_random(bytes, 131072, 6);
	update_fill(&u, &w, STORE_WRITE, &key, 0, 131072, 2);
	u.payload = payload_of(&fx, bytes, 0, 131072);
	assert_int_equal(prepare_wait(&fx, &u), 0);
	assert_int_equal(do_flush_partition(&fx, &key), 0);
	buf_unref(u.payload);
	free(bytes);
	store_abort(fx.view, &u);
	cut_power();
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(info_now().unsure);
	assert_int_equal(info_now().length, 131072);
	assert_block(3, 6, 3 * BLOCK_SIZE);
	round_end();
}

static void test_a_torn_overwrite_after_a_flush_of_the_partition_is_taken_as_it_is(void **state)
{
	struct chunk_key key = test_key(0);

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	assert_int_equal(do_flush_partition(&fx, &key), 0);
	assert_null(faults.old);
	write_at(0, 131072, 6, 2);
	cut_power();
	restore_file(true);
	assert_int_equal(fixture_open(&fx), 0);
	assert_int_equal(info_now().version, 1);
	assert_true(info_now().unsure);
	assert_int_equal(info_now().length, 131072); /* nothing has become absent */
	round_end();
}

static void note_flush(void *user, int error)
{
	if (error == 0)
		(*(unsigned *)user)++;
}

static void test_those_who_flush_a_partition_at_the_same_time_share_the_work(void **state)
{
	unsigned ended = 0;
	long before;

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	before = faults.steps;
	for (unsigned i = 0; i < 100; i++)
		store_flush_partition(fx.view, test_pool, 7, note_flush, &ended);
	while (ended < 100)
		uv_run(&fx.loop, UV_RUN_ONCE);
	assert_in_range(faults.steps - before, 1, 10);
	round_end();
}

static void test_a_failed_flush_of_the_partition_poisons_until_the_next_open(void **state)
{
	struct chunk_key key = test_key(0);

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	faults.stopped = true;
	assert_int_equal(do_flush_partition(&fx, &key), -EIO);
	faults.stopped = false;
	assert_true(store_is_down(fx.store));
	assert_int_equal(store_recover(fx.store), -EIO);
	assert_int_equal(do_flush_partition(&fx, &key), -EIO);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(info_now().version, 1);
	assert_int_equal(do_flush_partition(&fx, &key), 0);
	round_end();
}

static void test_a_failed_flush_poisons_until_the_next_open(void **state)
{
	struct chunk_key key = test_key(0);

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	write_at(0, 131072, 5, 1);
	faults.stopped = true; /* from here on, I/O on the files fails */
	assert_int_equal(do_flush(&fx, &key), -EIO);
	faults.stopped = false;
	assert_true(store_is_down(fx.store));
	assert_int_equal(store_recover(fx.store), -EIO);
	assert_int_equal(do_flush(&fx, &key), -EIO);
	assert_int_equal(do_write(&fx, &key, 0, "x", 1, 2), -EIO);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(info_now().version, 1);
	assert_block(3, 5, 3 * BLOCK_SIZE);
	assert_int_equal(do_flush(&fx, &key), 0);
	round_end();
}

static void test_a_failed_write_takes_the_target_down_until_it_recovers(void **state)
{
	struct chunk_key key = test_key(0);
	uint8_t bytes[65536] = {1};

	assert_int_equal(round_setup(1), 0);
	faults.stop_at = 0;
	faults.keep = false;
	write_at(0, 131072, 5, 1);
	assert_int_equal(do_flush(&fx, &key), 0);
	faults.stopped = true;
	assert_int_equal(do_write(&fx, &key, 0, bytes, sizeof(bytes), 2), -EIO);
	faults.stopped = false;
	assert_true(store_is_down(fx.store));
	assert_int_equal(do_read(&fx, &key, 0, 4096, true, bytes, NULL), -EIO);
	assert_int_equal(do_remove(&fx, &key, 1), -EIO);
	assert_int_equal(store_recover(fx.store), 0);
	assert_false(store_is_down(fx.store));
	run_for(&fx, 300);
	assert_int_equal(do_write(&fx, &key, 65536, bytes, sizeof(bytes), 2), 0);
	assert_int_equal(info_now().version, 2);
	assert_block(3, 5, 3 * BLOCK_SIZE);
	round_end();
}

static void test_a_commit_that_cannot_be_written_leaves_the_chunk_as_before(void **state)
{
	struct chunk_key key = test_key(0);
	uint32_t before, after;

	for (unsigned large = 0; large < 2; large++) {
		assert_int_equal(round_setup(1), 0);
		faults.stop_at = 0;
		write_at(0, 20000, 5, 1);
		store_digest(fx.view, &key, &before);
		kv_memory_fail_write(fx.kv, 1, -ENOSPC);
		assert_int_equal(do_write(&fx, &key, 20480, "xyz", 3, 2), -ENOSPC);
		assert_true(store_is_down(fx.store));
		assert_int_equal(store_recover(fx.store), 0);
		assert_int_equal(info_now().version, 1);
		assert_int_equal(info_now().length, 20000);
		store_digest(fx.view, &key, &after);
		assert_int_equal(before, after);
		assert_block(1, 5, BLOCK_SIZE);
		write_at(20480, large ? 200000 : 4096, 6, 2);
		assert_block(5, 6, 0);
		round_end();
	}
}

/* Every single write of the db fails once; whatever it is, nothing is lost and nothing hangs. */
static void test_any_failing_write_of_the_db_is_survived(void **state)
{
	for (int nth = 1; nth < 40; nth += 5) {
		assert_int_equal(round_setup(seed + 2000), 0);
		faults.stop_at = 0;
		kv_memory_fail_write(fx.kv, nth, -EIO);
		model_run(&fx, &model);
		if (store_is_down(fx.store))
			assert_int_equal(store_recover(fx.store), 0);
		run_for(&fx, 50);
		for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
			if (model_judge_chunk(&fx, &model, c, progress.kept[c], false) != 0)
				fail_msg("write %d: %s", nth, model.why);
		assert_int_equal(fixture_reopen(&fx), 0);
		for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
			if (model_judge_chunk(&fx, &model, c, progress.kept[c], false) != 0)
				fail_msg("write %d, opened again: %s", nth, model.why);
		round_end();
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_crash_everything_is_as_it_should),
		cmocka_unit_test(test_new_blocks_that_did_not_reach_the_disk_become_absent),
		cmocka_unit_test(
			test_lost_blocks_stay_known_until_the_next_epoch_has_made_a_turn_of_it),
		cmocka_unit_test(test_a_killed_process_has_lost_nothing_of_a_chunk),
		cmocka_unit_test(test_a_torn_overwrite_of_flushed_blocks_is_taken_as_it_is),
		cmocka_unit_test(test_damage_outside_the_marked_pieces_stays_damage),
		cmocka_unit_test(test_fresh_blocks_overwritten_during_a_flush_are_not_lost),
		cmocka_unit_test(
			test_fresh_blocks_overwritten_during_a_flush_of_the_partition_are_not_lost),
		cmocka_unit_test(
			test_a_torn_overwrite_after_a_flush_of_the_partition_is_taken_as_it_is),
		cmocka_unit_test(test_those_who_flush_a_partition_at_the_same_time_share_the_work),
		cmocka_unit_test(test_a_failed_flush_of_the_partition_poisons_until_the_next_open),
		cmocka_unit_test(test_a_failed_flush_poisons_until_the_next_open),
		cmocka_unit_test(test_a_failed_write_takes_the_target_down_until_it_recovers),
		cmocka_unit_test(test_a_commit_that_cannot_be_written_leaves_the_chunk_as_before),
		cmocka_unit_test(test_any_failing_write_of_the_db_is_survived),
		cmocka_unit_test(test_a_power_cut_loses_nothing_flushed_and_makes_nothing_up),
		cmocka_unit_test(test_a_killed_process_loses_nothing_committed),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20260101;
	rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : ROUNDS;
	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, make_target, remove_target);
}
