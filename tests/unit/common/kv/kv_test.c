/* kv_test.c - the embedded store, RocksDB and memory twin alike.
 *
 * Goal: both forms keep the contract of common/kv/kv.h: order, snapshots, atomic batches, what
 * survives a crash, which error for which damage, and threads that write, flush and recover at
 * once.
 * Method: the same checks run on both forms, and a seeded random run compares them with each other.
 * What needs a process of its own is in kv_disk_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include "tests/lib/random.h"
#include "tests/unit/common/kv/kv_fixture.h"

/* All keys in [start, end) as one string, with commas. */
static void scan_is(struct kv *kv, unsigned family, const char *start, const char *end,
		    const char *expected)
{
	struct kv_iter *iter;
	const uint8_t *key;
	size_t size;
	char all[512] = "";
	int rc, used = 0;

	assert_int_equal(kv_iter_open(kv, family, start, strlen(start), end,
				      end == NULL ? 0 : strlen(end), &iter),
			 0);
	while ((rc = kv_iter_next(iter, &key, &size, NULL, NULL)) == 1) {
		used += snprintf(all + used, sizeof(all) - (size_t)used, "%.*s,", (int)size,
				 (const char *)key);
		assert_true((size_t)used < sizeof(all));
	}
	assert_int_equal(rc, 0);
	assert_int_equal(kv_iter_next(iter, &key, &size, NULL, NULL), 0);
	kv_iter_free(iter);
	assert_string_equal(all, expected);
}

/* Runs @check on a store of each form. */
static void on_both(const char *name, void (*check)(struct kv *kv))
{
	struct kv *kv = open_rocks(name);

	check(kv);
	kv_close(kv);
	kv = open_memory();
	check(kv);
	kv_close(kv);
}

/* ---- both forms ---- */

static void check_basics(struct kv *kv)
{
	struct kv_batch *batch = kv_batch_new();

	assert_int_equal(get_is(kv, 1, "a", ""), -ENOENT);
	assert_int_equal(put(kv, 1, "a", "1", false), 0);
	assert_int_equal(put(kv, 1, "a", "", false), 0);
	assert_int_equal(get_is(kv, 1, "a", ""), 0);
	assert_int_equal(get_is(kv, 0, "a", ""), -ENOENT); /* families are apart */

	/* Later records of a batch win over earlier ones. */
	kv_batch_put(batch, 1, "b", 1, "x", 1);
	kv_batch_put(batch, 1, "b", 1, "y", 1);
	kv_batch_put(batch, 1, "c", 1, "z", 1);
	kv_batch_delete(batch, 1, "c", 1);
	kv_batch_delete(batch, 1, "never", 5);
	kv_batch_put(batch, 2, "b", 1, "other", 5);
	assert_int_equal(kv_batch_count(batch), 6);
	assert_int_equal(kv_write(kv, batch, true), 0);
	assert_int_equal(get_is(kv, 1, "b", "y"), 0);
	assert_int_equal(get_is(kv, 1, "c", "z"), -ENOENT);
	assert_int_equal(get_is(kv, 2, "b", "other"), 0);

	/* A cleared batch holds nothing of what it was. */
	kv_batch_clear(batch);
	assert_int_equal(kv_batch_count(batch), 0);
	kv_batch_delete(batch, 1, "b", 1);
	assert_int_equal(kv_write(kv, batch, false), 0);
	assert_int_equal(get_is(kv, 2, "b", "other"), 0);
	scan_is(kv, 1, "", NULL, "a,");
	kv_batch_clear(batch);
	kv_batch_put(batch, FAMILIES, "b", 1, "x", 1);
	assert_int_equal(kv_write(kv, batch, false), -EINVAL);
	assert_false(kv_is_down(kv));
	kv_batch_free(batch);
	assert_int_equal(kv_flush(kv), 0);
}

static void a_batch_is_applied_in_order_to_its_families(void **state)
{
	on_both("basics", check_basics);
}

static void check_scans(struct kv *kv)
{
	struct kv_batch *batch = kv_batch_new();
	struct kv_iter *iter;
	const uint8_t *key, *value;
	size_t key_size, value_size;

	for (const char *k = "bdacfe"; *k != '\0'; k++)
		kv_batch_put(batch, 1, k, 1, k, 1);
	kv_batch_put(batch, 1, "ab", 2, "", 0);
	assert_int_equal(kv_write(kv, batch, false), 0);
	scan_is(kv, 1, "", NULL, "a,ab,b,c,d,e,f,");
	scan_is(kv, 1, "ab", "e", "ab,b,c,d,");
	scan_is(kv, 1, "aa", "aa", "");
	scan_is(kv, 1, "g", NULL, "");
	scan_is(kv, 0, "", NULL, "");

	/* An iterator sees the moment it was opened. */
	assert_int_equal(kv_iter_open(kv, 1, "b", 1, NULL, 0, &iter), 0);
	kv_batch_clear(batch);
	kv_batch_delete_range(batch, 1, "b", 1, "e", 1);
	kv_batch_put(batch, 1, "bb", 2, "new", 3);
	kv_batch_delete_range(batch, 1, "z", 1, "a", 1); /* empty range */
	assert_int_equal(kv_write(kv, batch, false), 0);
	for (const char *k = "bcdef"; *k != '\0'; k++) {
		assert_int_equal(kv_iter_next(iter, &key, &key_size, &value, &value_size), 1);
		assert_int_equal(key_size, 1);
		assert_int_equal(key[0], *k);
		assert_int_equal(value_size, 1);
		assert_int_equal(value[0], *k);
	}
	assert_int_equal(kv_iter_next(iter, NULL, NULL, NULL, NULL), 0);
	kv_iter_free(iter);
	scan_is(kv, 1, "", NULL, "a,ab,bb,e,f,");
	kv_batch_free(batch);
}

static void scans_are_ordered_bounded_and_of_one_moment(void **state)
{
	on_both("scans", check_scans);
}

static void write_random_batch(uint64_t *seed, struct kv *a, struct kv *b, struct kv_batch *batch)
{
	static uint8_t value[3000];
	uint64_t count = random_u64(seed) % 8 + 1;

	kv_batch_clear(batch);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t key[2], end[2];
		uint64_t r = random_u64(seed);
		unsigned family = (unsigned)(r % FAMILIES);

		key[0] = (uint8_t)(r >> 8 & 0x0f);
		key[1] = (uint8_t)(r >> 16);
		end[0] = key[0];
		end[1] = (uint8_t)(key[1] + (r >> 24 & 7));
		memset(value, (int)(r >> 32 & 0xff), sizeof(value));
		if (r >> 40 & 3)
			kv_batch_put(batch, family, key, 2, value, (size_t)(r >> 44) % 3000);
		else if (r >> 42 & 3)
			kv_batch_delete(batch, family, key, 2);
		else if (end[1] > key[1])
			kv_batch_delete_range(batch, family, key, 2, end, 2);
	}
	assert_int_equal(kv_write(a, batch, false), 0);
	assert_int_equal(kv_write(b, batch, false), 0);
}

static void assert_same(struct kv *a, struct kv *b)
{
	for (unsigned family = 0; family < FAMILIES; family++) {
		struct kv_iter *ia, *ib;
		const uint8_t *ka, *kb, *va, *vb;
		size_t ksa, ksb, vsa, vsb;
		int ra, rb;

		assert_int_equal(kv_iter_open(a, family, "", 0, NULL, 0, &ia), 0);
		assert_int_equal(kv_iter_open(b, family, "", 0, NULL, 0, &ib), 0);
		do {
			ra = kv_iter_next(ia, &ka, &ksa, &va, &vsa);
			rb = kv_iter_next(ib, &kb, &ksb, &vb, &vsb);
			assert_int_equal(ra, rb);
			if (ra == 1) {
				assert_int_equal(ksa, ksb);
				assert_memory_equal(ka, kb, ksa);
				assert_int_equal(vsa, vsb);
				assert_memory_equal(va, vb, vsa);
			}
		} while (ra == 1);
		kv_iter_free(ia);
		kv_iter_free(ib);
	}
}

static void random_batches_leave_both_forms_equal(void **state)
{
	uint64_t seed = (uint64_t)time(NULL) | 1;
	struct kv *rocks = open_rocks("random"), *memory = open_memory();
	struct kv_batch *batch = kv_batch_new();

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 6000; i++) {
		write_random_batch(&seed, rocks, memory, batch);
		if (i % 1000 == 999) {
			kv_close(rocks);
			rocks = open_rocks("random");
		}
		if (i % 500 == 499)
			assert_same(rocks, memory);
	}
	kv_batch_free(batch);
	kv_close(rocks);
	kv_close(memory);
}

/* ---- the memory twin ---- */

static void a_power_cut_of_the_twin_forgets_what_was_not_flushed(void **state)
{
	struct kv *kv = open_memory();

	assert_int_equal(put(kv, 1, "a", "1", false), 0);
	assert_int_equal(kv_flush(kv), 0);
	assert_int_equal(put(kv, 1, "a", "2", false), 0);
	assert_int_equal(put(kv, 2, "b", "1", false), 0);
	kv_memory_crash(kv);
	assert_int_equal(get_is(kv, 1, "a", "1"), 0);
	assert_int_equal(get_is(kv, 2, "b", "1"), -ENOENT);
	assert_int_equal(put(kv, 1, "a", "3", true), 0);
	kv_memory_crash(kv);
	assert_int_equal(get_is(kv, 1, "a", "3"), 0);
	kv_close(kv);
}

static void the_twin_fails_the_nth_write_and_is_down_until_recovered(void **state)
{
	struct kv *kv = open_memory();
	struct kv_iter *iter;

	kv_memory_fail_write(kv, 2, ENOSPC);
	assert_int_equal(put(kv, 1, "a", "1", false), 0);
	assert_int_equal(put(kv, 1, "a", "2", false), -ENOSPC);
	assert_true(kv_is_down(kv));
	assert_int_equal(put(kv, 1, "a", "2", false), -ENOSPC);
	assert_int_equal(get_is(kv, 1, "a", "1"), -ENOSPC);
	assert_int_equal(kv_flush(kv), -ENOSPC);
	assert_int_equal(kv_iter_open(kv, 1, "", 0, NULL, 0, &iter), -ENOSPC);
	assert_int_equal(kv_recover(kv), 0);
	assert_false(kv_is_down(kv));
	assert_int_equal(get_is(kv, 1, "a", "1"), 0);
	assert_int_equal(put(kv, 1, "a", "2", false), 0);
	kv_close(kv);
}

/* ---- RocksDB: places and damage ---- */

static void what_was_written_is_there_after_reopening(void **state)
{
	struct kv *kv = open_rocks("reopen");
	char *big = malloc(100001);

	memset(big, 'x', 100000);
	big[100000] = '\0';
	assert_int_equal(put(kv, 2, "big", big, false), 0);
	assert_int_equal(put(kv, 1, "k", "v", false), 0);
	kv_close(kv);
	for (int i = 0; i < 2; i++) {
		kv = NULL;
		assert_int_equal(open_at(place("reopen"), false, &kv), 0);
		assert_int_equal(get_is(kv, 1, "k", "v"), 0);
		assert_int_equal(get_is(kv, 2, "big", big), 0);
		assert_int_equal(kv_recover(kv), 0); /* also when nothing is wrong */
		assert_int_equal(get_is(kv, 2, "big", big), 0);
		kv_close(kv);
	}
	free(big);
}

static void an_absent_store_is_enoent_and_is_not_made(void **state)
{
	struct kv *kv;

	assert_int_equal(open_at(place("absent"), false, &kv), -ENOENT);
	assert_int_equal(access(place("absent"), F_OK), -1);
	mkdir(place("empty"), 0700);
	assert_int_equal(open_at(place("empty"), false, &kv), -ENOENT);
	assert_int_equal(open_at(place("no/such/parent"), true, &kv), -ENOENT);
}

/* Overwrites the middle of every file of the store whose name ends so; returns how many. */
static int damage(const char *dir, const char *suffix)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "n=0; for f in '%s'/%s; do [ -s \"$f\" ] || continue; "
		 "s=$(stat -c %%s \"$f\"); dd if=/dev/urandom of=\"$f\" bs=1 seek=$((s / 4)) "
		 "count=$((s / 2 < 4096 ? s / 2 : 4096)) conv=notrunc status=none; n=$((n+1)); "
		 "done; exit $n",
		 dir, suffix);
	return WEXITSTATUS(system(command));
}

static void fill_for_damage(const char *name)
{
	struct kv *kv = open_rocks(name);
	char key[32];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "%08d", i);
		assert_int_equal(put(kv, 1, key, "some value that is not empty", false), 0);
	}
	kv_close(kv);
	kv = open_rocks(name); /* the log becomes a table */
	kv_close(kv);
}

static void a_damaged_store_is_euclean_and_is_not_replaced_by_an_empty_one(void **state)
{
	struct kv *kv = NULL;
	char current[400], key[32];
	int rc;

	fill_for_damage("manifest");
	assert_int_equal(damage(place("manifest"), "MANIFEST-*"), 1);
	assert_int_equal(open_at(place("manifest"), true, &kv), -EUCLEAN);

	fill_for_damage("current");
	snprintf(current, sizeof(current), "%s/CURRENT", place("current"));
	assert_int_equal(unlink(current), 0);
	assert_int_equal(open_at(place("current"), true, &kv), -EUCLEAN);

	/* A table whose content is wrong is met when it is opened or read, never served. */
	fill_for_damage("table");
	assert_true(damage(place("table"), "*.sst") > 0);
	rc = open_at(place("table"), true, &kv);
	for (int i = 0; rc == 0 && i < 2000; i++) {
		snprintf(key, sizeof(key), "%08d", i);
		rc = get_is(kv, 1, key, "some value that is not empty");
	}
	assert_int_equal(rc, -EUCLEAN);
	kv_close(kv);
}

/* Names, sizes and times of all files, as one text. */
static void list_files(const char *path, char *out, size_t size)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	size_t used = 0;

	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		char name[700];
		struct stat st;

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		assert_int_equal(stat(name, &st), 0);
		used += (size_t)snprintf(out + used, size - used, "%s %lld %lld.%09ld\n",
					 entries[i]->d_name, (long long)st.st_size,
					 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
		assert_true(used < size);
		free(entries[i]);
	}
	free(entries);
}

static int free_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void a_store_that_is_only_read_stays_as_it_is(void **state)
{
	struct kv *kv = open_rocks("reading"), *other;
	static char before[8192], after[8192];
	int descriptor;

	assert_int_equal(put(kv, 1, "a", "1", true), 0);
	assert_int_equal(put(kv, 2, "b", "2", false), 0);
	kv_close(kv);
	descriptor = free_descriptor();
	list_files(place("reading"), before, sizeof(before));
	assert_int_equal(open_to_read(place("reading"), &kv), 0);
	assert_int_equal(get_is(kv, 1, "a", "1"), 0);
	scan_is(kv, 2, "", NULL, "b,");
	assert_int_equal(put(kv, 1, "a", "3", false), -EROFS);
	assert_int_equal(kv_flush(kv), -EROFS);
	assert_int_equal(kv_compact(kv, 1), -EROFS);
	assert_int_equal(kv_checkpoint(kv, place("reading-copy")), -EROFS);
	assert_false(kv_space_low(kv));
	/* Nobody writes to it meanwhile. */
	assert_int_equal(open_at(place("reading"), false, &other), -EBUSY);
	assert_int_equal(open_to_read(place("reading"), &other), -EBUSY);
	kv_close(kv);
	/* None is left open, and none of others is closed. */
	assert_int_equal(free_descriptor(), descriptor);
	list_files(place("reading"), after, sizeof(after));
	assert_string_equal(before, after);
	kv = open_rocks("reading");
	assert_int_equal(put(kv, 1, "a", "3", true), 0);
	kv_close(kv);
	assert_int_equal(open_to_read(place("absent"), &kv), -ENOENT);
}

static void a_checkpoint_is_a_store_of_its_own(void **state)
{
	struct kv *kv = open_rocks("origin"), *copy;
	char path[320];

	snprintf(path, sizeof(path), "%s", place("copy"));
	assert_int_equal(put(kv, 1, "a", "1", false), 0);
	assert_int_equal(kv_checkpoint(kv, path), 0);
	assert_int_equal(kv_checkpoint(kv, path), -EEXIST);
	assert_int_equal(put(kv, 1, "a", "2", false), 0);
	assert_int_equal(open_at(path, false, &copy), 0);
	assert_int_equal(get_is(copy, 1, "a", "1"), 0);
	assert_int_equal(put(copy, 1, "a", "3", true), 0);
	kv_close(copy);
	assert_int_equal(get_is(kv, 1, "a", "2"), 0);
	kv_close(kv);
}

static bool has_tables(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool found = false;

	assert_non_null(dir);
	while (!found && (entry = readdir(dir)) != NULL)
		found = strstr(entry->d_name, ".sst") != NULL;
	closedir(dir);
	return found;
}

static void a_checkpoint_writes_no_memtables(void **state)
{
	struct kv *kv = open_rocks("unflushed");
	char path[320];

	snprintf(path, sizeof(path), "%s", place("unflushed-copy"));
	assert_int_equal(put(kv, 1, "a", "1", false), 0);
	assert_int_equal(kv_checkpoint(kv, path), 0);
	assert_false(has_tables(path));
	assert_false(has_tables(place("unflushed")));
	kv_close(kv);
}

/* ---- threads ---- */

#define CHECKPOINTS 8

struct counting {
	struct kv *kv;
	atomic_uint written;
	atomic_bool stop;
	int errors;
};

static void put_number(struct kv_batch *batch, unsigned family, unsigned number)
{
	char key[32];
	static const char value[300] = "some bytes, so that records of the log cross its blocks";

	snprintf(key, sizeof(key), "%08u", number);
	kv_batch_put(batch, family, key, strlen(key), value, sizeof(value));
}

static void *write_numbers(void *arg)
{
	struct counting *counting = arg;
	struct kv_batch *batch = kv_batch_new();

	for (unsigned number = 0; !atomic_load(&counting->stop); number++) {
		kv_batch_clear(batch);
		put_number(batch, 1, number);
		put_number(batch, 2, number);
		if (kv_write(counting->kv, batch, number % 64 == 0) != 0)
			counting->errors++;
		atomic_store(&counting->written, number + 1);
	}
	kv_batch_free(batch);
	return NULL;
}

/* How many numbers are there; all from 0 on, or the test fails. */
static unsigned count_numbers(struct kv *kv, unsigned family)
{
	struct kv_iter *iter;
	const uint8_t *key;
	size_t size;
	char expected[32];
	unsigned count = 0;
	int rc;

	assert_int_equal(kv_iter_open(kv, family, "", 0, NULL, 0, &iter), 0);
	while ((rc = kv_iter_next(iter, &key, &size, NULL, NULL)) == 1) {
		snprintf(expected, sizeof(expected), "%08u", count++);
		assert_int_equal(size, strlen(expected));
		assert_memory_equal(key, expected, size);
	}
	assert_int_equal(rc, 0);
	kv_iter_free(iter);
	return count;
}

static void a_checkpoint_among_writes_is_of_one_moment(void **state)
{
	struct counting counting = {.kv = open_rocks("counting")};
	char path[320], name[32];
	struct kv *copy;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, write_numbers, &counting), 0);
	for (unsigned i = 0; i < CHECKPOINTS; i++) {
		unsigned before, after, count;

		snprintf(name, sizeof(name), "counting-%u", i);
		snprintf(path, sizeof(path), "%s", place(name));
		usleep(20000);
		before = atomic_load(&counting.written);
		assert_int_equal(kv_checkpoint(counting.kv, path), 0);
		after = atomic_load(&counting.written);
		assert_int_equal(open_at(path, false, &copy), 0);
		count = count_numbers(copy, 1);
		assert_int_equal(count_numbers(copy, 2), count);
		assert_in_range(count, before, after + 1);
		kv_close(copy);
		tree_remove(path);
	}
	atomic_store(&counting.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(counting.errors, 0);
	kv_close(counting.kv);
}

struct writer {
	pthread_t thread;
	struct kv *kv;
	int number, errors;
};

#define WRITERS      8
#define WRITES_EACH  40
#define RECOVER_RUNS 5

static void *write_flushed(void *arg)
{
	struct writer *w = arg;
	char key[32];

	for (int i = 0; i < WRITES_EACH; i++) {
		snprintf(key, sizeof(key), "%d-%d", w->number, i);
		if (put(w->kv, 1, key, "v", true) != 0 || get_is(w->kv, 1, key, "v") != 0)
			w->errors++;
	}
	return NULL;
}

static void start_writers(struct writer *writers, struct kv *kv, void *(*run)(void *))
{
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.kv = kv, .number = i};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, run, &writers[i]), 0);
	}
}

static void concurrent_flushes_all_return_and_nothing_is_lost(void **state)
{
	struct writer writers[WRITERS];
	struct kv *kv = open_rocks("threads");
	char key[32];

	start_writers(writers, kv, write_flushed);
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		assert_int_equal(writers[i].errors, 0);
	}
	for (int i = 0; i < WRITERS; i++) {
		snprintf(key, sizeof(key), "%d-%d", i, WRITES_EACH - 1);
		assert_int_equal(get_is(kv, 1, key, "v"), 0);
	}
	kv_close(kv);
}

/* Counts acknowledged writes that are not there; -EIO while recovering is what it may meet. */
static void *write_through_recovery(void *arg)
{
	struct writer *w = arg;
	char key[32];

	for (int i = 0; i < WRITES_EACH * 20; i++) {
		struct kv_iter *iter;
		int rc;

		snprintf(key, sizeof(key), "%d-%d", w->number, i);
		rc = put(w->kv, 1, key, "v", i % 16 == 0);
		if (rc != 0 && rc != -EIO)
			w->errors++;
		if (rc != 0)
			continue;
		do {
			rc = get_is(w->kv, 1, key, "v");
		} while (rc == -EIO);
		if (rc != 0)
			w->errors++;
		if (kv_iter_open(w->kv, 1, key, strlen(key), NULL, 0, &iter) == 0) {
			if (kv_iter_next(iter, NULL, NULL, NULL, NULL) != 1)
				w->errors++;
			kv_iter_free(iter);
		}
	}
	return NULL;
}

static void recovery_among_readers_and_writers_loses_nothing(void **state)
{
	struct writer writers[WRITERS];
	struct kv *kv = open_rocks("recovery");
	int failures = 0;

	start_writers(writers, kv, write_through_recovery);
	for (int i = 0; i < RECOVER_RUNS; i++) {
		usleep(3000);
		failures += kv_recover(kv) != 0;
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		failures += writers[i].errors;
	}
	assert_int_equal(failures, 0);
	assert_false(kv_is_down(kv));
	kv_close(kv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_is_applied_in_order_to_its_families),
		cmocka_unit_test(scans_are_ordered_bounded_and_of_one_moment),
		cmocka_unit_test(random_batches_leave_both_forms_equal),
		cmocka_unit_test(a_power_cut_of_the_twin_forgets_what_was_not_flushed),
		cmocka_unit_test(the_twin_fails_the_nth_write_and_is_down_until_recovered),
		cmocka_unit_test(what_was_written_is_there_after_reopening),
		cmocka_unit_test(an_absent_store_is_enoent_and_is_not_made),
		cmocka_unit_test(a_damaged_store_is_euclean_and_is_not_replaced_by_an_empty_one),
		cmocka_unit_test(a_store_that_is_only_read_stays_as_it_is),
		cmocka_unit_test(a_checkpoint_is_a_store_of_its_own),
		cmocka_unit_test(a_checkpoint_writes_no_memtables),
		cmocka_unit_test(a_checkpoint_among_writes_is_of_one_moment),
		cmocka_unit_test(concurrent_flushes_all_return_and_nothing_is_lost),
		cmocka_unit_test(recovery_among_readers_and_writers_loses_nothing),
	};

	return cmocka_run_group_tests_name("kv", tests, make_work_dir, remove_work_dir);
}
