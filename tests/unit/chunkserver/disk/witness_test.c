/* witness_test - damage in a target's log is noticed, a crash is not taken for it.
 *
 * Goal: a target that lacks anything that was flushed says so, in a life above all before, keeps the
 * files of lost records, and says so until it is told otherwise; after a power cut, whichever pages
 * of the unflushed part of the log reached the disk, it has all that was flushed and says nothing.
 * Method: bytes of the log are changed, zeroed, cut off; for crashes this program runs itself again
 * as a child that writes, notes where the flushed part of its log ends, writes more, and dies by
 * SIGKILL; then pages behind that place are made zeros. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include "tests/lib/random.h"
#include "tests/unit/chunkserver/store/store_content.h"

#define CHUNKS     150u
#define SYNCED     90u /* the first of them */
#define CUT_ROUNDS 12u /* unless asked for more */
#define PAGE       4096u

static uint8_t bytes[8 * MIB];
static unsigned cut_rounds;

static int setup_alone(void **state)
{
	fixture_end(&fx);
	return fixture_start(&fx, false) != 0 ? -1 : setup(state);
}

/* ---- the log ---- */

/* The newest log that has anything in it. */
static const char *log_path(size_t *size)
{
	static char path[600];
	unsigned long newest = 0;
	char db[300];
	DIR *dir;
	struct dirent *entry;

	snprintf(db, sizeof(db), "%s/db", fx.dir);
	dir = opendir(db);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char *end;
		unsigned long n = strtoul(entry->d_name, &end, 10);

		if (strcmp(end, ".log") == 0 && n > newest)
			newest = n;
	}
	closedir(dir);
	snprintf(path, sizeof(path), "%s/%06lu.log", db, newest);
	if (size != NULL) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, bytes, sizeof(bytes));

		assert_true(n >= 0 && (size_t)n < sizeof(bytes));
		close(fd);
		for (*size = (size_t)n; *size > 0 && bytes[*size - 1] == 0;)
			--*size;
	}
	return path;
}

static void put_bytes(const char *path, uint64_t at, const void *what, size_t size)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, what, size, (off_t)at), (ssize_t)size);
	close(fd);
}

/* ---- a target with records of which each has its own batch ---- */

static int write_small(uint32_t i)
{
	struct chunk_key key = test_key(i);

	return do_write(&fx, &key, 0, data + 100 * (size_t)i, 1000 + 13 * i, 1);
}

static void fill_target(void)
{
	struct chunk_key key = test_key(0), large = test_key(1000);

	for (uint32_t i = 0; i < CHUNKS; i++)
		assert_int_equal(write_small(i), 0);
	assert_int_equal(do_write(&fx, &large, 0, data, MIB, 1), 0);
	assert_int_equal(do_flush(&fx, &key), 0);
	assert_int_equal(do_flush(&fx, &large), 0);
}

/* How many of the chunks are there; fails if one is there without one before it. */
static uint32_t chunks_there(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < CHUNKS; i++) {
		struct chunk_key key = test_key(i);

		if (!info_of(&key).exists)
			continue;
		assert_int_equal(i, count);
		count++;
	}
	return count;
}

/* How many processes have begun on it; see store_life(). */
static uint32_t starts(void)
{
	return (uint32_t)store_life(fx.store);
}

static void assert_noticed(uint32_t starts_before)
{
	struct chunk_key large = test_key(1000);

	assert_int_equal(fixture_open(&fx), 0);
	assert_true(store_damaged(fx.store));
	assert_true(starts() > starts_before);
	/* The file of the record that is lost is left as it is, however often it is opened. */
	for (unsigned i = 0; i < 3; i++) {
		starts_before = starts();
		assert_true(has_file(&large));
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_true(store_damaged(fx.store));
		assert_int_equal(starts(), starts_before + 1);
	}
	/* Until the master knows. */
	assert_int_equal(store_damage_settled(fx.store), 0);
	assert_false(store_damaged(fx.store));
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_false(store_damaged(fx.store));
	assert_int_equal(starts(), starts_before + 2);
	assert_int_equal(has_file(&large), info_of(&large).exists);
}

static void test_a_target_that_was_closed_has_all_of_it(void **state)
{
	uint64_t told;

	fill_target();
	for (unsigned i = 0; i < 3; i++) {
		told = fx.store->disk.witness.told;
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_false(store_damaged(fx.store));
		assert_true(fx.store->disk.witness.told > told);
		assert_int_equal(chunks_there(), CHUNKS);
	}
}

static void test_a_changed_byte_in_the_middle_of_the_log_is_noticed(void **state)
{
	struct chunk_key large = test_key(1000);
	uint32_t before = starts();
	const char *path;
	uint8_t byte;
	size_t size;

	fill_target();
	fixture_close(&fx);
	path = log_path(&size);
	assert_true(size > 100000);
	byte = bytes[size / 2] ^ 0x10;
	put_bytes(path, size / 2, &byte, 1);
	assert_noticed(before);
	assert_in_range(chunks_there(), 10, CHUNKS - 10);
	assert_false(info_of(&large).exists);
	/* It can be used, and what is left over goes when it is made equal, or opened later. */
	assert_int_equal(do_write(&fx, &large, 0, data, 2000, 1), 0);
	assert_content(&large, 0, data, 2000);
}

static void test_damage_right_at_the_beginning_takes_no_life_back(void **state)
{
	uint32_t before;
	const char *path;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fixture_reopen(&fx), 0);
	before = starts();
	fill_target();
	fixture_close(&fx);
	path = log_path(NULL);
	put_bytes(path, 8, "\xff\xff\xff\xff", 4);
	assert_noticed(before);
}

/* Which of two lives is the greater number is chance; which is later is not. */
static void test_of_two_slots_the_later_life_counts(void **state)
{
	for (unsigned i = 0; i < 16; i++) {
		uint8_t slot[PAGE];
		uint32_t last;
		char path[300];
		int fd;

		snprintf(path, sizeof(path), "%s/synced", fx.dir);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(pread(fd, slot, sizeof(slot), 0), sizeof(slot));
		close(fd);
		assert_int_equal(fixture_reopen(&fx), 0);
		last = starts();
		fixture_close(&fx);
		put_bytes(path, 0, slot, sizeof(slot));
		assert_int_equal(fixture_open(&fx), 0);
		assert_int_equal((uint32_t)fx.store->disk.witness.life, last);
	}
}

static void test_a_page_of_zeros_in_the_middle_is_noticed(void **state)
{
	static const uint8_t zeros[PAGE];
	uint32_t before = starts();
	const char *path;
	size_t size;

	fill_target();
	fixture_close(&fx);
	path = log_path(&size);
	put_bytes(path, size / 2 / PAGE * PAGE, zeros, sizeof(zeros));
	assert_noticed(before);
}

static void test_a_log_that_was_cut_or_is_gone_is_noticed(void **state)
{
	uint32_t before = starts();
	const char *path;
	size_t size;

	fill_target();
	fixture_close(&fx);
	path = log_path(&size);
	assert_int_equal(truncate(path, (off_t)size - 20), 0);
	assert_noticed(before);
	before = starts();
	fill_target();
	fixture_close(&fx);
	assert_int_equal(unlink(log_path(NULL)), 0);
	assert_noticed(before);
}

static void test_without_a_mark_beside_it_the_db_is_not_believed(void **state)
{
	uint32_t before = starts();
	char path[300];

	fill_target();
	fixture_close(&fx);
	snprintf(path, sizeof(path), "%s/synced", fx.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(store_damaged(fx.store));
	/* Which lives there have been, only the file could say, if the db has lost some. */
	assert_true(starts() > before + 1000000);
	assert_int_equal(store_damage_settled(fx.store), 0);
	fixture_close(&fx);
	put_bytes(path, 10, "x", 1);
	put_bytes(path, PAGE + 10, "x", 1);
	assert_int_equal(fixture_open(&fx), 0);
	assert_true(store_damaged(fx.store));
	assert_int_equal(store_damage_settled(fx.store), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_false(store_damaged(fx.store));
}

static void test_one_torn_slot_of_the_mark_is_no_damage(void **state)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/synced", fx.dir);
	for (unsigned slot = 0; slot < 2; slot++) {
		fill_target();
		fixture_close(&fx);
		put_bytes(path, slot * PAGE + 9, "torn", 4);
		assert_int_equal(fixture_open(&fx), 0);
		assert_false(store_damaged(fx.store));
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_false(store_damaged(fx.store));
	}
}

static void test_a_target_of_a_time_without_marks_gets_one(void **state)
{
	static const uint8_t key[] = {KEY_WITNESS};
	struct kv_batch *batch = kv_batch_new();
	char path[300], db[300], error[256];
	struct kv_options options = {
		.path = db, .families = db_families, .family_count = FAMILY_COUNT};
	struct kv *kv;

	fixture_close(&fx);
	snprintf(path, sizeof(path), "%s/synced", fx.dir);
	snprintf(db, sizeof(db), "%s/db", fx.dir);
	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	kv_batch_delete(batch, FAMILY_MAIN, key, sizeof(key));
	assert_int_equal(kv_write(kv, batch, true), 0);
	kv_batch_free(batch);
	kv_close(kv);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(fixture_open(&fx), 0);
	assert_false(store_damaged(fx.store));
	assert_true(fx.store->disk.witness.told > 0);
}

static void test_marks_follow_what_is_flushed_and_rest_when_nothing_is(void **state)
{
	struct chunk_key key = test_key(1);
	uint64_t told, seq;

	witness_stop(&fx.store->disk);
	assert_int_equal(write_small(1), 0);
	witness_tick(&fx.store->disk);
	told = fx.store->disk.witness.told;
	assert_int_equal(do_flush(&fx, &key), 0);
	for (unsigned i = 0; i < 2; i++)
		witness_tick(&fx.store->disk);
	assert_int_equal(fx.store->disk.witness.told, told + 1);
	seq = atomic_load(&fx.store->disk.written_seq);
	for (unsigned i = 0; i < 10; i++)
		witness_tick(&fx.store->disk);
	assert_int_equal(fx.store->disk.witness.told, told + 1);
	assert_int_equal(atomic_load(&fx.store->disk.written_seq), seq);
}

/* The same process would go on with the same life. */
static void test_what_is_missing_after_a_recovery_poisons_the_target(void **state)
{
	struct fixture own;

	assert_int_equal(fixture_start(&own, true), 0);
	own.store->disk.witness.put += 1000;
	kv_memory_fail_write(own.kv, 1, -EIO);
	for (unsigned i = 0; i < 3 && !store_is_down(own.store); i++) {
		struct chunk_key key = test_key(i);

		(void)do_write(&own, &key, 0, data, 100, 1);
	}
	assert_true(store_is_down(own.store));
	assert_int_equal(store_recover(own.store), -EIO);
	assert_int_equal(store_recover(own.store), -EIO);
	assert_true(store_is_down(own.store));
	fixture_end(&own);
}

/* ---- crashes ---- */

static int child_write(uint32_t from, uint32_t to, bool flush)
{
	int rc = 0;

	for (uint32_t i = from; rc == 0 && i < to; i++) {
		struct chunk_key key = test_key(i);

		rc = write_small(i);
		if (rc == 0 && flush && i % 3 == 0)
			rc = do_flush(&fx, &key);
		if (rc == 0 && flush && i % 7 == 0)
			witness_tick(&fx.store->disk);
	}
	return rc;
}

static int child(const char *dir, bool told)
{
	struct chunk_key last = test_key(SYNCED - 1);
	char path[300];
	size_t end;
	FILE *file;

	snprintf(fx.dir, sizeof(fx.dir), "%s", dir);
	fill_random(data, sizeof(data), 42);
	uv_loop_init(&fx.loop);
	if (buf_pool_create(0, &fx.pool) != 0 || fixture_open(&fx) != 0)
		return 1;
	witness_stop(&fx.store->disk);
	if (child_write(0, SYNCED, true) != 0)
		return 1;
	/* Either the mark's own flush is the last one, or a mark is on its way unflushed. */
	if (told) {
		witness_tick(&fx.store->disk);
		witness_tick(&fx.store->disk);
	}
	if (do_flush(&fx, &last) != 0)
		return 1;
	log_path(&end);
	snprintf(path, sizeof(path), "%s/end", dir);
	file = fopen(path, "w");
	if (file == NULL || fprintf(file, "%zu\n", end) < 0 || fclose(file) != 0)
		return 1;
	if (child_write(SYNCED, SYNCED + 20, false) != 0)
		return 1;
	if (fx.store->disk.witness.put == fx.store->disk.witness.told)
		witness_tick(&fx.store->disk);
	if (child_write(SYNCED + 20, CHUNKS, false) != 0)
		return 1;
	kill(getpid(), SIGKILL);
	return 1;
}

/* Returns where the flushed part of the log ends. */
static size_t run_child(bool told)
{
	char path[300], text[32] = "";
	int status = 0;
	pid_t pid;
	FILE *file;

	fixture_close(&fx);
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "witness_test", "child", fx.dir, told ? "told" : "on",
		      (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	snprintf(path, sizeof(path), "%s/end", fx.dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	unlink(path);
	return (size_t)strtoull(text, NULL, 10);
}

static void test_a_killed_process_is_no_damage(void **state)
{
	test_pool = 1;
	run_child(true);
	assert_int_equal(fixture_open(&fx), 0);
	assert_false(store_damaged(fx.store));
	assert_int_equal(chunks_there(), CHUNKS);
}

static void test_a_power_cut_is_never_taken_for_damage(void **state)
{
	static const uint8_t zeros[PAGE];
	unsigned cut = 0;

	for (uint64_t seed = 1; seed <= cut_rounds; seed++) {
		uint64_t random = seed;
		size_t flushed_end, end;
		const char *path;

		assert_int_equal(setup_alone(state), 0);
		test_pool = 1;
		flushed_end = run_child(seed % 2 == 0);
		path = log_path(&end);
		assert_true(end > flushed_end + 10 * PAGE);
		for (size_t at = flushed_end; at < end; at += PAGE - at % PAGE)
			if (random_below(&random, 8) < seed % 5)
				put_bytes(path, at, zeros, PAGE - at % PAGE);
		/* Some sectors only. */
		for (size_t at = flushed_end; at < end; at += 512 - at % 512)
			if (random_below(&random, 40) < seed % 3)
				put_bytes(path, at, zeros, 512 - at % 512);
		assert_int_equal(fixture_open(&fx), 0);
		if (store_damaged(fx.store))
			fail_msg("seed %llu: taken for damage", (unsigned long long)seed);
		assert_in_range(chunks_there(), SYNCED, CHUNKS);
		cut += chunks_there() < CHUNKS;
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_false(store_damaged(fx.store));
	}
	assert_true(cut > cut_rounds / 2);
}

static void test_damage_after_a_crash_is_noticed(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		uint64_t random = seed;
		const char *path;
		size_t end, at;
		uint8_t byte;

		assert_int_equal(setup_alone(state), 0);
		test_pool = 1;
		end = run_child(true);
		path = log_path(NULL);
		/* Well before the last mark that was told. */
		at = (size_t)random_below(&random, end - 8000);
		assert_int_equal(access(path, F_OK), 0);
		log_path(&end);
		byte = bytes[at] ^ 1;
		put_bytes(path, at, &byte, 1);
		assert_int_equal(fixture_open(&fx), 0);
		if (!store_damaged(fx.store))
			fail_msg("seed %llu: not noticed", (unsigned long long)seed);
		assert_true(chunks_there() < SYNCED);
	}
}

/* ---- what RocksDB notices itself ---- */

static void test_a_db_that_cannot_be_opened_says_what_to_do(void **state)
{
	char path[300], current[64] = "", full[400];
	FILE *file;

	fill_target();
	fixture_close(&fx);
	snprintf(path, sizeof(path), "%s/db/CURRENT", fx.dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(current, sizeof(current), file));
	fclose(file);
	current[strcspn(current, "\n")] = '\0';
	snprintf(full, sizeof(full), "%s/db/%s", fx.dir, current);
	put_bytes(full, 20, "DAMAGED", 7);
	assert_int_equal(fixture_open(&fx), -EUCLEAN);
	assert_non_null(strstr(fx.error, fx.dir));
	assert_non_null(strstr(fx.error, "--init"));
	assert_null(strchr(fx.error, '\n'));
}

static int forget_target(void **state)
{
	fixture_end(&fx);
	return fixture_start(&fx, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_alone, NULL)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_target_that_was_closed_has_all_of_it),
		TEST(test_a_changed_byte_in_the_middle_of_the_log_is_noticed),
		TEST(test_damage_right_at_the_beginning_takes_no_life_back),
		TEST(test_of_two_slots_the_later_life_counts),
		TEST(test_a_page_of_zeros_in_the_middle_is_noticed),
		TEST(test_a_log_that_was_cut_or_is_gone_is_noticed),
		TEST(test_without_a_mark_beside_it_the_db_is_not_believed),
		TEST(test_one_torn_slot_of_the_mark_is_no_damage),
		TEST(test_a_target_of_a_time_without_marks_gets_one),
		TEST(test_marks_follow_what_is_flushed_and_rest_when_nothing_is),
		TEST(test_what_is_missing_after_a_recovery_poisons_the_target),
		TEST(test_a_killed_process_is_no_damage),
		TEST(test_a_power_cut_is_never_taken_for_damage),
		TEST(test_damage_after_a_crash_is_noticed),
		cmocka_unit_test_setup_teardown(test_a_db_that_cannot_be_opened_says_what_to_do,
						setup_alone, forget_target),
	};

	if (argc > 3 && strcmp(argv[1], "child") == 0)
		return child(argv[2], strcmp(argv[3], "told") == 0);
	cut_rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : CUT_ROUNDS;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
