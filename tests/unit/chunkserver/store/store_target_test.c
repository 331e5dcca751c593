/* Goal: a target is made once and whole, belongs to one cluster and one process, and each thing
 * that can be wrong with its directory is said by its own error and one line. Method: directories
 * of every kind; a disk that is really full, as a small tmpfs in a mount namespace of a child. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#undef BLOCK_SIZE /* of <sys/mount.h> */
#include "common/base/crc32c.h"
#include "tests/lib/mounts.h"
#include "tests/lib/store_fixture.h"

/* For children, which must not jump out of a test. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static char dir[256], path[300], error[256];
static struct buf_pool *pool;

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/store_target.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/target", dir);
	error[0] = '\0';
	return buf_pool_create(0, &pool);
}

static int teardown(void **state)
{
	buf_pool_destroy(pool);
	remove_tree(dir);
	return 0;
}

static int open_as(const char *cluster, struct store **store)
{
	struct store_options options = {.path = path, .cluster = cluster, .pool = pool};

	error[0] = '\0';
	return store_open(&options, store, error, sizeof(error));
}

static void put_file(const char *name, const char *text)
{
	char full[600];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void test_a_new_target_opens_with_an_identity_of_its_own(void **state)
{
	struct store *store;
	char uuid[37];

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal(strlen(store_uuid(store)), 36);
	memcpy(uuid, store_uuid(store), 37);
	assert_false(store_is_down(store));
	store_close(store);
	assert_int_equal(open_as("c1", &store), 0);
	assert_string_equal(store_uuid(store), uuid);
	store_close(store);
	store_close(NULL);
}

static void test_a_target_is_not_made_twice_nor_over_other_files(void **state)
{
	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(store_init(path, "c1", error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, path));
	assert_int_equal(store_init(dir, "c1", error, sizeof(error)), -ENOTEMPTY);
	assert_non_null(strstr(error, "not empty"));
	put_file("plain", "x");
	snprintf(path, sizeof(path), "%s/target/plain", dir);
	assert_int_equal(store_init(path, "c1", error, sizeof(error)), -ENOTDIR);
	assert_int_equal(store_init("/nonexistent/a/b", "c1", error, sizeof(error)), -ENOENT);
	assert_int_equal(store_init(path, "c 1\n", error, sizeof(error)), -EINVAL);
	assert_int_equal(store_init(path, "", error, sizeof(error)), -EINVAL);
}

static void test_a_new_filesystem_counts_as_empty(void **state)
{
	char full[600];

	mkdir(path, 0700);
	snprintf(full, sizeof(full), "%s/lost+found", path);
	mkdir(full, 0700);
	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
}

static void test_an_interrupted_making_is_begun_again(void **state)
{
	struct store *store;
	char full[600];

	mkdir(path, 0700);
	put_file("identity.begun", "catena-tar");
	put_file("lock", "");
	snprintf(full, sizeof(full), "%s/db", path);
	mkdir(full, 0700);
	put_file("db/000005.sst", "half");
	assert_int_equal(open_as("c1", &store), -ENOENT);
	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(open_as("c1", &store), 0);
	store_close(store);
}

static void test_what_is_no_target_is_not_opened(void **state)
{
	struct store *store;

	assert_int_equal(open_as("c1", &store), -ENOENT);
	assert_non_null(strstr(error, path));
	mkdir(path, 0700);
	assert_int_equal(open_as("c1", &store), -ENOENT);
	assert_non_null(strstr(error, "not a target"));
}

static void test_a_target_of_another_cluster_is_refused(void **state)
{
	struct store *store;

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(open_as("c2", &store), -EXDEV);
	assert_non_null(strstr(error, "c1"));
	assert_non_null(strstr(error, "c2"));
}

static void test_a_target_belongs_to_the_first_cluster_that_takes_it(void **state)
{
	struct store *store;
	char uuid[37];

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal(store_instance(store), 0);
	assert_int_equal(store_adopt(store, 0), 0);
	assert_int_equal(store_adopt(store, 0xfedcba9876543210), 0);
	assert_int_equal(store_adopt(store, 0xfedcba9876543210), 0);
	assert_int_equal(store_adopt(store, 5), -EXDEV);
	memcpy(uuid, store_uuid(store), 37);
	store_close(store);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal(store_instance(store), 0xfedcba9876543210);
	assert_string_equal(store_uuid(store), uuid);
	assert_int_equal(store_adopt(store, 5), -EXDEV);
	store_close(store);
	assert_int_equal(open_as("c2", &store), -EXDEV);
}

static void test_an_identity_of_a_time_without_instances_is_read(void **state)
{
	static const char text[] = "catena-target 1\ncluster c1\n"
				   "uuid 01234567-89ab-4def-8123-456789abcdef\n";
	char whole[256];
	struct store *store;

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	snprintf(whole, sizeof(whole), "%scheck %08x\n", text, crc32c(text, strlen(text)));
	put_file("identity", whole);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal(store_instance(store), 0);
	assert_string_equal(store_uuid(store), "01234567-89ab-4def-8123-456789abcdef");
	assert_int_equal(store_adopt(store, 9), 0);
	store_close(store);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal(store_instance(store), 9);
	store_close(store);
}

static void test_a_target_is_opened_once_at_a_time(void **state)
{
	struct store *store, *second;

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal(open_as("c1", &second), -EBUSY);
	assert_non_null(strstr(error, "in use"));
	store_close(store);
	assert_int_equal(open_as("c1", &store), 0);
	store_close(store);
}

static void test_damaged_parts_are_named(void **state)
{
	struct store *store;
	char full[600], saved[600];

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	snprintf(full, sizeof(full), "%s/db", path);
	snprintf(saved, sizeof(saved), "%s/db.away", path);
	rename(full, saved);
	assert_int_equal(open_as("c1", &store), -EUCLEAN);
	assert_true(error[0] != '\0');
	rename(saved, full);
	snprintf(full, sizeof(full), "%s/chunks", path);
	snprintf(saved, sizeof(saved), "%s/chunks.away", path);
	rename(full, saved);
	assert_int_equal(open_as("c1", &store), -EUCLEAN);
	assert_non_null(strstr(error, "chunks"));
	rename(saved, full);
	put_file("identity", "catena-target 1\ncluster c1\nuuid 1\ncheck 00000000\n");
	assert_int_equal(open_as("c1", &store), -EUCLEAN);
	assert_non_null(strstr(error, "identity is damaged"));
	put_file("identity", "");
	assert_int_equal(open_as("c1", &store), -EUCLEAN);
	assert_null(strchr(error, '\n'));
}

static void write_life(const void *value, size_t size)
{
	static const uint8_t key[] = {KEY_LIFE};
	struct kv_batch *batch = kv_batch_new();
	char db[320];
	struct kv_options options = {
		.path = db, .families = db_families, .family_count = FAMILY_COUNT};
	struct kv *kv;

	snprintf(db, sizeof(db), "%s/db", path);
	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	if (value != NULL)
		kv_batch_put(batch, FAMILY_MAIN, key, sizeof(key), value, size);
	else
		kv_batch_delete(batch, FAMILY_MAIN, key, sizeof(key));
	assert_int_equal(kv_write(kv, batch, true), 0);
	kv_batch_free(batch);
	kv_close(kv);
}

static void test_each_opening_is_another_life(void **state)
{
	uint8_t value[NUMBER_VALUE_MAX];
	struct store *store;
	uint64_t last = 0;

	assert_int_equal(store_init(path, "c1", error, sizeof(error)), 0);
	for (uint64_t life = 1; life < 4; life++) {
		assert_int_equal(open_as("c1", &store), 0);
		assert_int_equal((uint32_t)store_life(store), life);
		/* No other one with this count is the same. */
		assert_int_not_equal(store_life(store) >> 32, last >> 32);
		last = store_life(store);
		store_close(store);
	}
	/* A target of a time without lives begins to count. */
	write_life(NULL, 0);
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal((uint32_t)store_life(store), 1);
	store_close(store);
	write_life("damaged", 7);
	assert_int_equal(open_as("c1", &store), -EUCLEAN);
	assert_non_null(strstr(error, path));
	assert_non_null(strstr(error, "damaged"));
	write_life(value, value_number_encode(KEY_LIFE, 41, value));
	assert_int_equal(open_as("c1", &store), 0);
	assert_int_equal((uint32_t)store_life(store), 42);
	store_close(store);
	write_life(value, value_number_encode(KEY_LIFE, UINT64_MAX, value));
	assert_int_equal(open_as("c1", &store), -EUCLEAN);
}

static void test_files_of_updates_never_committed_are_swept_after_a_crash(void **state)
{
	struct chunk_key key = test_key(3);
	char name[3 + 2 * CHUNK_KEY_BYTES + 1], full[600];
	struct store *store;
	pid_t pid;

	file_name(&key, name);
	snprintf(full, sizeof(full), "chunks/%s", name);
	/* Not clean: the process ends without closing. */
	pid = fork();
	if (pid == 0) {
		CHECK(store_init(path, "c1", error, sizeof(error)) == 0);
		CHECK(open_as("c1", &store) == 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	put_file(full, "garbage");
	put_file("chunks/00/other", "not ours");
	assert_int_equal(open_as("c1", &store), 0);
	store_close(store);
	snprintf(full, sizeof(full), "%s/chunks/%s", path, name);
	assert_int_not_equal(access(full, F_OK), 0);
	snprintf(full, sizeof(full), "%s/chunks/00/other", path);
	assert_int_equal(access(full, F_OK), 0);
}

/* ---- space ---- */

static struct fixture fx;

static uint8_t data[1u << 20];

/* Writes new chunks until there is no more room. */
static uint32_t fill_up(uint32_t length, uint32_t chunk)
{
	uint32_t n = 0;
	int rc = 0;

	while (rc == 0 && n < 100000) {
		struct chunk_key key = test_key(chunk + n);

		rc = do_write(&fx, &key, 0, data, length, 1);
		if (rc == 0)
			n++;
	}
	CHECK(rc == -ENOSPC);
	return n;
}

static void check_chunks(uint32_t chunk, uint32_t count, uint32_t length)
{
	static uint8_t found[1u << 20];

	for (uint32_t i = 0; i < count; i++) {
		struct chunk_key key = test_key(chunk + i);

		CHECK(do_read(&fx, &key, 0, (length + 4095) & ~4095u, true, found, NULL) == 0);
		CHECK(memcmp(found, data, length) == 0);
	}
}

static void remove_chunks(uint32_t chunk, uint32_t count, uint32_t step)
{
	for (uint32_t i = 0; i < count; i += step) {
		struct chunk_key key = test_key(chunk + i);

		CHECK(do_remove(&fx, &key, 1) == 0);
	}
}

static void fill_the_disk(const char *mount_point, bool small)
{
	uint64_t capacity, used, left;
	struct chunk_key key = test_key(0);
	uint32_t n, length = small ? 4096 : sizeof(data), before = 0;

	fill_random(data, sizeof(data), 1);
	CHECK(mounts_own() == 0);
	CHECK(mount("tmpfs", mount_point, "tmpfs", 0, "size=48m") == 0);
	CHECK(setenv("TMPDIR", mount_point, 1) == 0);
	CHECK(fixture_start(&fx, false) == 0);
	store_space(fx.store, &capacity, &used, &left);
	CHECK(capacity == 48u << 20);
	CHECK(left < capacity - SPACE_RESERVE_MIN);
	/* Twice, so that a slow loss of room shows itself. */
	for (unsigned round = 0; round < 2; round++) {
		n = fill_up(length, 1000);
		CHECK(n > (small ? 500 : 10));
		CHECK(round == 0 || n > before * 3 / 4);
		before = n;
		check_chunks(1000, n, length);
		/* What gives room and what only keeps goes on. */
		CHECK(do_flush(&fx, &key) == 0);
		key = test_key(1000);
		CHECK(do_update(&fx, STORE_PUNCH, &key, 100, 50, NULL, 2) == 0);
		CHECK(do_update(&fx, STORE_TRUNCATE, &key, 60, 0, NULL, 3) == 0);
		CHECK(!store_is_down(fx.store));
		CHECK(fixture_reopen(&fx) == 0);
		check_chunks(1001, n - 1, length);
		remove_chunks(1000, n, 1);
		CHECK(!store_is_down(fx.store));
		/* What the db lets go comes back by and by. */
		for (unsigned i = 0; i < 200 && (store_is_full(fx.store) || fx.store->compacting);
		     i++)
			run_for(&fx, 50);
		CHECK(!store_is_full(fx.store));
	}
	/* Every second one: what is left lies between what is gone. */
	n = fill_up(length, 1000);
	remove_chunks(1000, n, 2);
	for (unsigned i = 0; i < 100 && (store_is_full(fx.store) || fx.store->compacting); i++)
		run_for(&fx, 50);
	/* The rest of it comes when the db has compacted what was written meanwhile. */
	before = 0;
	for (unsigned i = 0; i < 200 && before <= n / 8; i++) {
		before += fill_up(length, 200000 + before);
		run_for(&fx, 50);
	}
	fprintf(stderr, "%u of %u removed make room for %u\n", n / 2, n, before);
	CHECK(before > n / 8);
	check_chunks(200000, before, length);
	fixture_end(&fx);
	_exit(0);
}

/* Someone else takes all the space, the reserve too: then writes fail in the middle. */
static void take_the_disk(const char *mount_point)
{
	struct chunk_key key = test_key(0);
	char hog[300];
	int fd, rc = 0;

	fill_random(data, sizeof(data), 1);
	CHECK(mounts_own() == 0);
	CHECK(mount("tmpfs", mount_point, "tmpfs", 0, "size=48m") == 0);
	CHECK(setenv("TMPDIR", mount_point, 1) == 0);
	CHECK(fixture_start(&fx, false) == 0);
	CHECK(do_write(&fx, &key, 0, data, sizeof(data), 1) == 0);
	snprintf(hog, sizeof(hog), "%s/hog", mount_point);
	fd = open(hog, O_WRONLY | O_CREAT, 0600);
	while (write(fd, data, sizeof(data)) > 0)
		;
	while (write(fd, data, 4096) > 0)
		;
	CHECK(errno == ENOSPC);
	/* catch-up data may go into the reserve, which is not there any more either. */
	for (uint32_t i = 1; i < 200 && rc == 0; i++) {
		struct store_update u;
		struct waited w;

		update_fill(&u, &w, STORE_WRITE, &key, (i % 2) << 20, sizeof(data), 0);
		u.catching_up = true;
		u.payload = payload_of(&fx, data, 0, sizeof(data));
		fx.store->disk.space.reserve = 0; /* as if the disk had filled in this moment */
		atomic_store(&fx.store->disk.space.available, UINT64_C(1) << 40);
		atomic_store(&fx.store->disk.space.asked_ns, clock_monotonic_ns());
		rc = prepare_wait(&fx, &u);
		if (rc == 0)
			rc = store_commit(fx.view, &u);
		buf_unref(u.payload);
	}
	CHECK(rc == -ENOSPC);
	/* Small ones, until the db has no room for its log. */
	for (uint32_t i = 0; i < 20000; i++) {
		struct chunk_key other = test_key(100 + i);

		atomic_store(&fx.store->disk.space.available, UINT64_C(1) << 40);
		atomic_store(&fx.store->disk.space.asked_ns, clock_monotonic_ns());
		rc = do_write(&fx, &other, 0, data, 16384, 1);
		if (rc != 0 && store_is_down(fx.store))
			break;
	}
	CHECK(rc == -ENOSPC || rc == -EIO);
	close(fd);
	unlink(hog);
	if (store_is_down(fx.store))
		CHECK(store_recover(fx.store) == 0);
	CHECK(!store_is_down(fx.store));
	run_for(&fx, 300);
	check_chunks(0, 1, sizeof(data));
	key = test_key(1);
	CHECK(do_write(&fx, &key, 0, data, sizeof(data), 1) == 0);
	CHECK(do_flush(&fx, &key) == 0);
	CHECK(fixture_reopen(&fx) == 0);
	check_chunks(0, 2, sizeof(data));
	fixture_end(&fx);
	_exit(0);
}

static void in_child(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		run();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the child failed, status %d", status);
}

static void fill_large(void)
{
	fill_the_disk(dir, false);
}

static void fill_small(void)
{
	fill_the_disk(dir, true);
}

static void take_all(void)
{
	take_the_disk(dir);
}

static bool may_mount(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(mounts_own() == 0 ? 0 : 1);
	waitpid(pid, &status, 0);
	return status == 0;
}

static void test_a_full_disk_refuses_large_writes_and_lives(void **state)
{
	if (!may_mount())
		skip();
	in_child(fill_large);
}

static void test_a_full_disk_refuses_small_writes_and_lives(void **state)
{
	if (!may_mount())
		skip();
	in_child(fill_small);
}

static void test_a_disk_filled_by_others_is_survived(void **state)
{
	if (!may_mount())
		skip();
	in_child(take_all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Children first: RocksDB's threads do not come along with a fork. */
		TEST(test_a_full_disk_refuses_large_writes_and_lives),
		TEST(test_a_full_disk_refuses_small_writes_and_lives),
		TEST(test_a_disk_filled_by_others_is_survived),
		TEST(test_files_of_updates_never_committed_are_swept_after_a_crash),
		TEST(test_a_new_target_opens_with_an_identity_of_its_own),
		TEST(test_a_target_is_not_made_twice_nor_over_other_files),
		TEST(test_a_new_filesystem_counts_as_empty),
		TEST(test_an_interrupted_making_is_begun_again),
		TEST(test_what_is_no_target_is_not_opened),
		TEST(test_a_target_of_another_cluster_is_refused),
		TEST(test_a_target_belongs_to_the_first_cluster_that_takes_it),
		TEST(test_an_identity_of_a_time_without_instances_is_read),
		TEST(test_a_target_is_opened_once_at_a_time),
		TEST(test_damaged_parts_are_named),
		TEST(test_each_opening_is_another_life),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
