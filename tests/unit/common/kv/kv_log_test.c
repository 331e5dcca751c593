/* kv_log_test - the log of a store, which is filled with zeros ahead of its end.
 *
 * Goal: after a crash everything flushed is there; of what was not, nothing comes back without what
 * was written before it, whichever pages of the log reached the disk. Method: this program runs
 * itself again as a child that writes and dies by SIGKILL; then pages of the log are made zeros, as
 * if the disk had not got them, and the store is opened. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include "common/base/bytes.h"
#include "tests/lib/random.h"
#include "tests/unit/common/kv/kv_fixture.h"

#define BATCHES      220
#define FLUSHED      100 /* the first of them */
#define WHOLE_BLOCKS 25
#define PAGE         4096
#define BLOCK        32768

static uint8_t log_bytes[4u << 20];

/* The value of batch @i has some hundred to some thousand bytes; or so many that each record of the
 * log fills a block: its header takes 7, the batch around the value 26. */
static size_t value_size(uint64_t i, bool blocks)
{
	uint64_t seed = i;

	return blocks ? BLOCK - 7 - 26 : 100 + random_below(&seed, i % 7 == 0 ? 19000 : 3000);
}

static int write_one(struct kv *kv, uint64_t i, bool blocks, bool durable)
{
	static char value[BLOCK];
	size_t size = value_size(i, blocks);
	char key[32];

	memset(value, 'a' + (int)(i % 26), size);
	value[size] = '\0';
	snprintf(key, sizeof(key), "%08llu", (unsigned long long)i);
	return put(kv, 1, key, value, durable);
}

static int child(const char *dir, bool blocks)
{
	uint64_t count = blocks ? WHOLE_BLOCKS : BATCHES, flushed = blocks ? 10 : FLUSHED;
	struct kv *kv;

	if (open_at(dir, true, &kv) != 0)
		return 1;
	for (uint64_t i = 0; i < count; i++)
		if (write_one(kv, i, blocks, i < flushed) != 0)
			return 1;
	kill(getpid(), SIGKILL);
	return 1;
}

static void run_child(const char *dir, const char *how)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "kv_log_test", dir, how, (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The newest log's path. */
static const char *log_path(const char *dir)
{
	static char path[600];
	unsigned long newest = 0;
	DIR *d = opendir(dir);
	struct dirent *entry;

	while ((entry = readdir(d)) != NULL) {
		char *end;
		unsigned long n = strtoul(entry->d_name, &end, 10);

		if (strcmp(end, ".log") == 0 && n > newest)
			newest = n;
	}
	closedir(d);
	snprintf(path, sizeof(path), "%s/%06lu.log", dir, newest);
	return path;
}

static size_t read_log(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, log_bytes, sizeof(log_bytes));

	close(fd);
	return n < 0 ? 0 : (size_t)n;
}

/* How many batches are there; fails if one is there without one before it. */
static uint64_t batches_in(struct kv *kv)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < BATCHES; i++) {
		uint8_t *value;
		char key[32];
		size_t size;

		snprintf(key, sizeof(key), "%08llu", (unsigned long long)i);
		if (kv_get(kv, 1, key, strlen(key), &value, &size) != 0)
			continue;
		free(value);
		assert_int_equal(i, count);
		count++;
	}
	return count;
}

static void a_killed_store_has_everything_in_spite_of_the_zeros(void **state)
{
	const char *dir = place("killed");
	struct kv *kv;
	size_t size, end;

	run_child(dir, "some");
	size = read_log(log_path(dir));
	for (end = size; end > 0 && log_bytes[end - 1] == 0;)
		end--;
	assert_true(size > end + BLOCK); /* otherwise this tests nothing */
	kv = open_rocks("killed");
	assert_int_equal(batches_in(kv), BATCHES);
	assert_int_equal(write_one(kv, BATCHES, false, true), 0);
	kv_close(kv);
}

/* Pages of the unflushed part are missing, in all patterns that a seed gives. */
static void what_comes_back_is_a_beginning_of_what_was_written(void **state)
{
	unsigned cut = 0;

	for (uint64_t seed = 1; seed <= 12; seed++) {
		uint64_t random = seed, flushed_end, count;
		size_t size, end;
		char name[32];
		struct kv *kv;
		int fd;

		snprintf(name, sizeof(name), "power%llu", (unsigned long long)seed);
		run_child(place(name), "some");
		size = read_log(log_path(place(name)));
		for (end = size; end > 0 && log_bytes[end - 1] == 0;)
			end--;
		/* Well behind the last flushed one. */
		flushed_end = 0;
		for (uint64_t i = 0; i < FLUSHED; i++)
			flushed_end += value_size(i, false) + 64;
		flushed_end += PAGE - flushed_end % PAGE;
		fd = open(log_path(place(name)), O_WRONLY);
		for (uint64_t at = flushed_end; at < end; at += PAGE) {
			static const uint8_t zeros[PAGE];

			if (random_below(&random, 8) < seed % 4 + 1)
				assert_int_equal(pwrite(fd, zeros, PAGE, (off_t)at), PAGE);
		}
		close(fd);
		kv = open_rocks(name);
		count = batches_in(kv);
		assert_true(count >= FLUSHED);
		cut += count < BATCHES;
		/* And it goes on from there. */
		assert_int_equal(write_one(kv, count, false, true), 0);
		kv_close(kv);
		kv = open_rocks(name);
		assert_int_equal(batches_in(kv), count + 1);
		kv_close(kv);
	}
	assert_true(cut > 6);
}

/* What lies behind the missing block begins with a good record, which RocksDB would take. */
static void a_missing_block_ends_the_log(void **state)
{
	static const uint8_t zeros[BLOCK];
	const char *dir = place("block");
	struct kv *kv;
	int fd;

	run_child(dir, "blocks");
	assert_true(read_log(log_path(dir)) > WHOLE_BLOCKS * BLOCK);
	for (unsigned i = 0; i < WHOLE_BLOCKS; i++)
		assert_int_equal(log_bytes[i * BLOCK + 6], 1); /* a whole record in each */
	fd = open(log_path(dir), O_WRONLY);
	assert_int_equal(pwrite(fd, zeros, BLOCK, 20 * BLOCK), BLOCK);
	close(fd);
	kv = open_rocks("block");
	assert_int_equal(batches_in(kv), 20);
	kv_close(kv);
}

static void logs_of_a_store_in_use_are_left_alone(void **state)
{
	struct kv *kv = open_rocks("busy");
	char path[600];
	struct stat before, after;
	int status = 0;
	pid_t pid;

	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(write_one(kv, i, false, true), 0);
	snprintf(path, sizeof(path), "%s", log_path(place("busy")));
	assert_int_equal(stat(path, &before), 0);
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "kv_log_test", place("busy"), "some", (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1); /* it could not open it */
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(write_one(kv, 10, false, true), 0);
	kv_close(kv);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_store_has_everything_in_spite_of_the_zeros),
		cmocka_unit_test(what_comes_back_is_a_beginning_of_what_was_written),
		cmocka_unit_test(a_missing_block_ends_the_log),
		cmocka_unit_test(logs_of_a_store_in_use_are_left_alone),
	};

	if (argc > 2)
		return child(argv[1], strcmp(argv[2], "blocks") == 0);
	return cmocka_run_group_tests(tests, make_work_dir, remove_work_dir);
}
