/* kv_disk_test.c - the store on RocksDB, when the process or the disk fails it.
 *
 * Goal: a store locked by another process is refused; what was written survives SIGKILL; no failure
 * of the disk aborts the process, loses what was acknowledged or leaves the store latched for good;
 * and a disk that a neighbour filled leaves room to delete.
 * Method: this program runs itself again with the name of a child as argument (RocksDB's threads do
 * not survive a fork, so a child must begin afresh). Write errors come from a file size limit, and
 * from a small tmpfs in a private mount namespace (skipped where that is not permitted). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "common/base/bytes.h"
#include "tests/lib/mounts.h"
#include "tests/unit/common/kv/kv_fixture.h"

#define CHILD_SKIPPED 77

/* ---- children: processes of their own ---- */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

/* Expects the store to be locked by its parent. */
static int child_busy(const char *dir)
{
	struct kv *kv;

	CHECK(open_at(dir, true, &kv) == -EBUSY);
	return 0;
}

/* Writes without flush and dies by SIGKILL. */
static int child_killed(const char *dir)
{
	struct kv *kv;
	char key[32];

	CHECK(open_at(dir, true, &kv) == 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		CHECK(put(kv, 1, key, "v", false) == 0);
	}
	kill(getpid(), SIGKILL);
	return 1;
}

/* A write error that is not "no space": files may not grow beyond a limit for a while. */
static int child_limit(const char *dir)
{
	struct rlimit limit, small;
	struct kv *kv;
	char key[32];
	int rc = 0, acknowledged = 0;

	signal(SIGXFSZ, SIG_IGN);
	CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(open_at(dir, true, &kv) == 0);
	small = (struct rlimit){.rlim_cur = 100000, .rlim_max = limit.rlim_max};
	CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
	for (; acknowledged < 100000; acknowledged++) {
		snprintf(key, sizeof(key), "%d", acknowledged);
		rc = put(kv, 1, key, "value", acknowledged % 64 == 0);
		if (rc != 0)
			break;
	}
	CHECK(rc == -EIO && kv_is_down(kv) && acknowledged > 0);
	CHECK(put(kv, 1, "later", "v", false) == -EIO);
	CHECK(get_is(kv, 1, "0", "value") == -EIO);
	CHECK(kv_flush(kv) == -EIO);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(kv_recover(kv) == 0 && !kv_is_down(kv));
	for (int i = 0; i < acknowledged; i++) {
		snprintf(key, sizeof(key), "%d", i);
		CHECK(get_is(kv, 1, key, "value") == 0);
	}
	CHECK(put(kv, 1, "later", "v", true) == 0);
	kv_close(kv);
	return 0;
}

#define FULL_DISK_MIB   48
#define FULL_BALLAST    (12u << 20)
#define FULL_ROUNDS     3
#define FULL_WRITES_MAX 200000

static int small_disk(const char *dir, int mib)
{
	char options[32];

	if (mounts_own() != 0)
		return -EPERM;
	snprintf(options, sizeof(options), "size=%dm", mib);
	mkdir(dir, 0700);
	return mount("tmpfs", dir, "tmpfs", 0, options) == 0 ? 0 : -errno;
}

static int write_file(const char *path, size_t bytes)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	int rc = posix_fallocate(fd, 0, (off_t)bytes);

	close(fd);
	return -rc;
}

static uint64_t scrambled(int i)
{
	return (uint64_t)(unsigned)i * UINT64_C(0x9e3779b97f4a7c15);
}

/* Writes numbered values until the disk is full; returns how many were acknowledged. */
/* @low: was the space said to be low before it ended? What a failed write leaves behind goes at once,
 * and may make room again. */
static int fill_disk(struct kv *kv, int from, size_t value_size, int *error, bool *low)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t *value = malloc(value_size);
	uint8_t key[8];
	int i, rc = 0;

	for (i = from; i < from + FULL_WRITES_MAX; i++) {
		memset(value, i, value_size);
		put_le64(key, scrambled(i));
		kv_batch_clear(batch);
		kv_batch_put(batch, value_size > 8192 ? 2 : 1, key, 8, value, value_size);
		rc = kv_write(kv, batch, i % 32 == 0);
		*low = *low || kv_space_low(kv);
		if (rc != 0)
			break;
	}
	*error = rc;
	free(value);
	kv_batch_free(batch);
	return i;
}

static int check_filled(struct kv *kv, int from, int to, size_t value_size)
{
	for (int i = from; i < to; i++) {
		uint8_t key[8], *value;
		size_t size;

		put_le64(key, scrambled(i));
		CHECK(kv_get(kv, value_size > 8192 ? 2 : 1, key, 8, &value, &size) == 0);
		CHECK(size == value_size && value[0] == (uint8_t)i);
		CHECK(value[size - 1] == (uint8_t)i);
		free(value);
	}
	return 0;
}

/* RocksDB may take what has just become free for a compaction, and find that it is not enough: then
 * the store is down once more, and comes back by and by, as the chunkserver makes it. */
static int put_again(struct kv *kv, const struct kv_batch *batch)
{
	int rc = kv_write(kv, batch, true);

	for (int i = 0; i < 1000 && rc == -ENOSPC; i++) {
		usleep(10000);
		if (kv_recover(kv) == 0)
			rc = kv_write(kv, batch, true);
	}
	return rc;
}

/* One round: fill until ENOSPC, free space, recover, everything acknowledged is there. */
static int full_round(const char *dir, int round)
{
	static const size_t sizes[FULL_ROUNDS] = {4096, 300, 20000};
	char ballast[400], store[400];
	size_t size = sizes[round];
	int count, rc, more;
	bool low = false;
	struct kv *kv;

	snprintf(store, sizeof(store), "%s/store%d", dir, round);
	snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	CHECK(write_file(ballast, FULL_BALLAST) == 0);
	CHECK(open_at(store, true, &kv) == 0);
	CHECK(!kv_space_low(kv));
	count = fill_disk(kv, 0, size, &rc, &low);
	CHECK(rc == -ENOSPC && kv_is_down(kv) && count > 100);
	/* It is looked at now and then only, and a disk may fill up between two looks. */
	for (int i = 0; i < 500 && !low; i++) {
		usleep(10000);
		low = kv_space_low(kv);
	}
	CHECK(low);
	CHECK(put(kv, 1, "more", "v", false) == -ENOSPC);
	CHECK(get_is(kv, 1, "more", "v") == -ENOSPC);

	/* Still full: it may come up thanks to its reserve, or stay down; it must not die. */
	rc = kv_recover(kv);
	CHECK(rc == 0 || rc == -ENOSPC || rc == -EIO);
	if (rc == 0) {
		if (check_filled(kv, 0, count, size) != 0)
			return 1;
		count = fill_disk(kv, count, size, &rc, &low);
		CHECK(rc == -ENOSPC);
	}
	CHECK(unlink(ballast) == 0);
	CHECK(kv_recover(kv) == 0);
	if (check_filled(kv, 0, count, size) != 0)
		return 1;
	more = count + (int)((1u << 20) / size);
	for (int i = count; i < more; i++) {
		struct kv_batch *batch = kv_batch_new();
		uint8_t key[8];

		put_le64(key, (uint64_t)i);
		kv_batch_put(batch, 1, key, 8, key, 8);
		CHECK(put_again(kv, batch) == 0);
		kv_batch_free(batch);
	}
	kv_close(kv);
	CHECK(open_at(store, false, &kv) == 0);
	if (check_filled(kv, 0, count, size) != 0)
		return 1;
	kv_close(kv);
	tree_remove(store);
	return 0;
}

static int child_full(const char *dir)
{
	int rc = 0;

	if (small_disk(dir, FULL_DISK_MIB) != 0)
		return CHILD_SKIPPED;
	for (int round = 0; round < FULL_ROUNDS && rc == 0; round++) {
		rc = full_round(dir, round);
		if (rc != 0)
			fprintf(stderr, "round %d\n", round);
	}
	umount2(dir, MNT_DETACH);
	return rc;
}

/* ---- a neighbour fills the disk ---- */

/* The disk is large enough for a reserve of full size, by the size of the memtables. */
#define NEIGHBOUR_DISK_MIB 96
#define NEIGHBOUR_MEMTABLE (1u << 20)
#define NEIGHBOUR_RECORDS  80000
#define NEIGHBOUR_RECENT   12000 /* written anew: about three sets of memtables */
#define NEIGHBOUR_KEY      40    /* as of a directory entry: what a deletion takes */
#define NEIGHBOUR_VALUE    250
#define NEIGHBOUR_BATCH    64

struct shared_disk {
	char store[400], reserve[420], neighbour[400];
	struct kv *kv;
	struct kv_batch *batch;
	int recoveries;
};

static int shared_open(struct shared_disk *disk, bool create)
{
	static const struct kv_family family = {.name = "default"};
	struct kv_options options = {.path = disk->store,
				     .families = &family,
				     .family_count = 1,
				     .memtable_bytes = NEIGHBOUR_MEMTABLE,
				     .create = create};
	char error[256];

	return kv_open(&options, &disk->kv, error, sizeof(error));
}

/* Takes all that is free. */
static int neighbour_takes_all(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	struct stat st;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	for (off_t step = 1 << 20; step >= 4096;) {
		CHECK(st.st_size < (off_t)NEIGHBOUR_DISK_MIB << 20); /* whose disk is this? */
		if (posix_fallocate(fd, st.st_size, step) == 0)
			st.st_size += step;
		else
			step /= 2;
	}
	close(fd);
	return 0;
}

/* So little that the store can be opened again, but not go on. */
static int neighbour_gives_back(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0 && truncate(path, st.st_size - (2 << 20)) == 0);
	return 0;
}

static int shared_write(struct shared_disk *disk, int count)
{
	uint8_t key[NEIGHBOUR_KEY] = {0}, value[NEIGHBOUR_VALUE];

	for (int i = 0; i < count; i++) {
		memset(value, i, sizeof(value));
		put_le64(key, scrambled(i));
		kv_batch_clear(disk->batch);
		kv_batch_put(disk->batch, 0, key, sizeof(key), value, sizeof(value));
		CHECK(kv_write(disk->kv, disk->batch, i == count - 1) == 0);
	}
	return 0;
}

/* Removes everything. The neighbour takes what comes free until the store is down; what it gives up
 * then has to do for all the rest. */
static int shared_remove(struct shared_disk *disk)
{
	for (int i = 0; i < NEIGHBOUR_RECORDS; i += NEIGHBOUR_BATCH) {
		int rc;

		kv_batch_clear(disk->batch);
		for (int k = i; k < i + NEIGHBOUR_BATCH && k < NEIGHBOUR_RECORDS; k++) {
			uint8_t key[NEIGHBOUR_KEY] = {0};

			put_le64(key, scrambled(k));
			kv_batch_delete(disk->batch, 0, key, sizeof(key));
		}
		if (disk->recoveries == 0)
			CHECK(neighbour_takes_all(disk->neighbour) == 0);
		kv_space_low(disk->kv);
		rc = kv_write(disk->kv, disk->batch, true);
		if (rc == -ENOSPC) {
			CHECK(disk->recoveries++ == 0);
			CHECK(access(disk->reserve, F_OK) == 0);
			CHECK(neighbour_gives_back(disk->neighbour) == 0);
			CHECK(kv_recover(disk->kv) == 0);
			CHECK(access(disk->reserve, F_OK) != 0);
			rc = kv_write(disk->kv, disk->batch, true);
		}
		CHECK(rc == 0);
	}
	CHECK(disk->recoveries == 1);
	return 0;
}

static int shared_is_empty(struct shared_disk *disk)
{
	struct kv_iter *iter;

	CHECK(kv_iter_open(disk->kv, 0, NULL, 0, NULL, 0, &iter) == 0);
	CHECK(kv_iter_next(iter, NULL, NULL, NULL, NULL) == 0);
	kv_iter_free(iter);
	return 0;
}

static int child_neighbour(const char *dir)
{
	struct shared_disk disk = {.batch = kv_batch_new()};

	if (small_disk(dir, NEIGHBOUR_DISK_MIB) != 0)
		return CHILD_SKIPPED;
	snprintf(disk.store, sizeof(disk.store), "%s/store", dir);
	snprintf(disk.reserve, sizeof(disk.reserve), "%s/RESERVE", disk.store);
	snprintf(disk.neighbour, sizeof(disk.neighbour), "%s/neighbour", dir);
	CHECK(shared_open(&disk, true) == 0);
	CHECK(shared_write(&disk, NEIGHBOUR_RECORDS) == 0);
	/* Compactions keep up with writers in the end; a machine under load may not be there yet. */
	CHECK(kv_compact(disk.kv, 0) == 0);
	CHECK(shared_write(&disk, NEIGHBOUR_RECENT) == 0);
	CHECK(shared_remove(&disk) == 0);
	CHECK(shared_is_empty(&disk) == 0);
	kv_close(disk.kv);
	CHECK(shared_open(&disk, false) == 0);
	CHECK(shared_is_empty(&disk) == 0);

	/* The neighbour goes, and there is a reserve again. */
	CHECK(unlink(disk.neighbour) == 0);
	for (int i = 0; i < 500 && kv_space_low(disk.kv); i++)
		usleep(10000);
	CHECK(!kv_space_low(disk.kv) && access(disk.reserve, F_OK) == 0);
	kv_close(disk.kv);
	kv_batch_free(disk.batch);
	umount2(dir, MNT_DETACH);
	return 0;
}

static const struct child {
	const char *name;
	int (*run)(const char *dir);
} children[] = {
	{"busy", child_busy}, {"killed", child_killed},       {"limit", child_limit},
	{"full", child_full}, {"neighbour", child_neighbour},
};

/* Its wait status. */
static int run_child(const char *name, const char *dir)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		execl("/proc/self/exe", "kv_disk_test", name, dir, (char *)NULL);
		_exit(126);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_child_passes(const char *name, const char *dir)
{
	int status = run_child(name, dir);

	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIPPED)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_store_of_another_process_is_ebusy(void **state)
{
	struct kv *kv = open_rocks("busy"), *second;

	assert_child_passes("busy", place("busy"));
	assert_int_equal(open_at(place("busy"), true, &second), -EBUSY);
	kv_close(kv);
}

static void writes_without_flush_survive_sigkill(void **state)
{
	struct kv *kv;
	char key[32];
	int status = run_child("killed", place("killed"));

	assert_true(WIFSIGNALED(status));
	kv = open_rocks("killed");
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(get_is(kv, 1, key, "v"), 0);
	}
	kv_close(kv);
}

static void a_failed_write_takes_the_store_down_until_recovered(void **state)
{
	assert_child_passes("limit", place("limit"));
}

static void a_full_disk_aborts_nothing_and_loses_nothing(void **state)
{
	assert_child_passes("full", place("full"));
}

static void deleting_works_when_a_neighbour_filled_the_disk(void **state)
{
	assert_child_passes("neighbour", place("neighbour"));
}

/* The first bytes of each table: what opening it does not read. */
static void damage_tables(const char *dir)
{
	struct dirent *entry;
	DIR *at = opendir(dir);
	unsigned damaged = 0;

	assert_non_null(at);
	while ((entry = readdir(at)) != NULL) {
		size_t length = strlen(entry->d_name);
		int fd;

		if (length < 4 || strcmp(entry->d_name + length - 4, ".sst") != 0)
			continue;
		fd = openat(dirfd(at), entry->d_name, O_WRONLY);
		assert_int_equal(pwrite(fd, "DAMAGED", 7, 100), 7);
		close(fd);
		damaged++;
	}
	closedir(at);
	assert_true(damaged > 0);
}

static void a_read_that_meets_damage_takes_the_store_down_for_good(void **state)
{
	struct kv *kv = open_rocks("damaged");
	char key[32], value[128];

	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		snprintf(value, sizeof(value), "%d.%d", i, i * 7919);
		assert_int_equal(put(kv, 0, key, value, true), 0);
	}
	assert_int_equal(kv_compact(kv, 0), 0);
	kv_close(kv);
	damage_tables(place("damaged"));
	assert_int_equal(open_at(place("damaged"), false, &kv), 0);
	assert_false(kv_is_down(kv));
	assert_int_equal(get_is(kv, 0, "0", "0.0"), -EUCLEAN);
	assert_true(kv_is_down(kv));
	assert_int_equal(get_is(kv, 0, "999", "999.7911081"), -EIO);
	assert_int_equal(put(kv, 0, "new", "value", true), -EIO);
	assert_int_equal(kv_recover(kv), -EUCLEAN);
	assert_true(kv_is_down(kv));
	kv_close(kv);
}

static void a_store_that_bears_damage_goes_on_with_the_rest(void **state)
{
	struct kv_family family = {.name = "default"};
	struct kv_options options = {.path = place("bears"),
				     .families = &family,
				     .family_count = 1,
				     .memtable_bytes = 2u << 20,
				     .bears_damage = true,
				     .create = true};
	char key[32], value[128], error[256];
	struct kv *kv;
	unsigned fine = 0;

	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%04d", i);
		snprintf(value, sizeof(value), "%04d.%d", i, i * 7919);
		assert_int_equal(put(kv, 0, key, value, true), 0);
	}
	assert_int_equal(kv_compact(kv, 0), 0);
	kv_close(kv);
	damage_tables(place("bears"));
	options.create = false;
	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	assert_int_equal(get_is(kv, 0, "0000", "0000.0"), -EUCLEAN);
	assert_false(kv_is_down(kv));
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%04d", i);
		snprintf(value, sizeof(value), "%04d.%d", i, i * 7919);
		fine += get_is(kv, 0, key, value) == 0 ? 1 : 0;
	}
	assert_true(fine > 0 && fine < 1000);
	assert_int_equal(put(kv, 0, "new", "value", true), 0);
	assert_int_equal(get_is(kv, 0, "new", "value"), 0);
	assert_int_equal(kv_recover(kv), 0);
	assert_int_equal(get_is(kv, 0, "new", "value"), 0);
	kv_close(kv);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_of_another_process_is_ebusy),
		cmocka_unit_test(writes_without_flush_survive_sigkill),
		cmocka_unit_test(a_failed_write_takes_the_store_down_until_recovered),
		cmocka_unit_test(a_full_disk_aborts_nothing_and_loses_nothing),
		cmocka_unit_test(deleting_works_when_a_neighbour_filled_the_disk),
		cmocka_unit_test(a_read_that_meets_damage_takes_the_store_down_for_good),
		cmocka_unit_test(a_store_that_bears_damage_goes_on_with_the_rest),
	};

	for (size_t i = 0; argc == 3 && i < sizeof(children) / sizeof(children[0]); i++)
		if (strcmp(argv[1], children[i].name) == 0)
			return children[i].run(argv[2]);
	return cmocka_run_group_tests_name("kv_disk", tests, make_work_dir, remove_work_dir);
}
