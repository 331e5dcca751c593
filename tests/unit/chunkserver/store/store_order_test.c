/* store_order_test - what the store flushes before it says that something is durable, or takes a file
 * away.
 *
 * Goal: a flush covers everything that was committed before it was asked for, though the disk may be
 * flushing already; a chunk's file goes only when the db has durably forgotten the chunk. Method:
 * this program's own fdatasync() and unlinkat(), and kv_flush() wrapped by the linker: a disk whose
 * flushes last as long as the test wants, and that notes what began before what. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include "tests/lib/random.h"
#include "tests/lib/store_fixture.h"

#define PART  131072u /* large enough for the file */
#define PARTS 16u

/* Flushes of chunk files, or of the db's log. */
struct disk_part {
	unsigned begun, ended; /* so many; they come one after the other */
	bool held;             /* a flush lasts until this is false */
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct disk_part file, log;
	unsigned unlinked;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct fixture fx;

static void disk_flush(struct disk_part *part)
{
	pthread_mutex_lock(&disk.mutex);
	part->begun++;
	while (part->held)
		pthread_cond_wait(&disk.changed, &disk.mutex);
	part->ended++;
	pthread_mutex_unlock(&disk.mutex);
}

static void hold(struct disk_part *part, bool held)
{
	pthread_mutex_lock(&disk.mutex);
	part->held = held;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.mutex);
}

static unsigned count_of(const unsigned *count)
{
	unsigned n;

	pthread_mutex_lock(&disk.mutex);
	n = *count;
	pthread_mutex_unlock(&disk.mutex);
	return n;
}

int fdatasync(int fd)
{
	char path[300], link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	if (strstr(path, "/chunks/") != NULL)
		disk_flush(&disk.file);
	return 0;
}

int unlinkat(int dir, const char *name, int flags)
{
	if (fx.store != NULL && dir == fx.store->disk.chunks_fd) {
		pthread_mutex_lock(&disk.mutex);
		disk.unlinked++;
		pthread_mutex_unlock(&disk.mutex);
	}
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

int __real_kv_flush(struct kv *kv);
int __wrap_kv_flush(struct kv *kv);
int __wrap_kv_flush(struct kv *kv)
{
	disk_flush(&disk.log);
	return __real_kv_flush(kv);
}

static int setup(void **state)
{
	return fixture_start(&fx, true);
}

static int teardown(void **state)
{
	hold(&disk.file, false);
	hold(&disk.log, false);
	fixture_end(&fx);
	return 0;
}

static void wait_begun(const struct disk_part *part, unsigned least)
{
	for (unsigned i = 0; i < 5000 && count_of(&part->begun) < least; i++)
		run_for(&fx, 1);
	assert_true(count_of(&part->begun) >= least);
}

static uint64_t last_version;

static void write_part(uint32_t part, uint32_t length)
{
	struct chunk_key key = test_key(0);
	uint8_t *bytes = malloc(length);

	fill_random(bytes, length, part);
	assert_int_equal(do_next_write(&fx, &key, part * PART, bytes, length, ++last_version), 0);
	free(bytes);
}

/* ---- a flush that is asked for while the disk flushes ---- */

struct asked {
	struct store_flush flush;
	struct waited waited;
	unsigned file, log; /* a flush with a number beyond these must have ended; 0: none */
};

static void ask(struct asked *asked)
{
	memset(asked, 0, sizeof(*asked));
	asked->flush = (struct store_flush){
		.key = test_key(0), .done = flush_done, .user = &asked->waited};
	store_flush(fx.view, &asked->flush);
}

static void test_a_flush_does_not_join_one_of_the_file_that_began_before_the_write(void **state)
{
	struct asked first, second;
	unsigned before = count_of(&disk.file.begun);

	hold(&disk.file, true);
	write_part(0, PART);
	ask(&first);
	wait_begun(&disk.file, before + 1);
	write_part(1, PART);
	ask(&second);
	run_for(&fx, 20);
	assert_false(first.waited.done);
	assert_false(second.waited.done);
	hold(&disk.file, false);
	run_until(&fx, &first.waited.done);
	run_until(&fx, &second.waited.done);
	assert_int_equal(first.waited.error | second.waited.error, 0);
	assert_true(count_of(&disk.file.ended) >= before + 2);
}

static void test_nor_one_of_the_log_that_began_before_the_commit(void **state)
{
	struct asked first, second;
	unsigned before = count_of(&disk.log.begun);

	hold(&disk.log, true);
	write_part(0, 4096); /* inside the db */
	ask(&first);
	wait_begun(&disk.log, before + 1);
	write_part(1, 4096);
	ask(&second);
	run_for(&fx, 20);
	assert_false(first.waited.done);
	assert_false(second.waited.done);
	hold(&disk.log, false);
	run_until(&fx, &first.waited.done);
	run_until(&fx, &second.waited.done);
	assert_true(count_of(&disk.log.ended) >= before + 2);
}

/* Writes, flushes and the disk in any order: of each flush that has ended, the disk must have begun
 * and ended one of its own after the last write before. */
static void check_ended(struct asked *asked, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!asked[i].waited.done)
			continue;
		assert_int_equal(asked[i].waited.error, 0);
		assert_true(count_of(&disk.file.ended) >= asked[i].file);
		assert_true(count_of(&disk.log.ended) >= asked[i].log);
	}
}

static void random_course(uint64_t seed)
{
	static struct asked asked[64];
	size_t count = 0;
	unsigned file = 0, log = 0;

	while (count < 64) {
		uint64_t dice = random_below(&seed, 10);

		if (dice < 4) {
			write_part((uint32_t)random_below(&seed, PARTS), PART);
			file = count_of(&disk.file.begun) + 1;
			log = count_of(&disk.log.begun) + 1;
		} else if (dice < 7) {
			ask(&asked[count]);
			asked[count].file = file;
			asked[count++].log = log;
		} else if (dice < 9) {
			hold(&disk.file, random_below(&seed, 2) == 0);
			hold(&disk.log, random_below(&seed, 4) == 0);
		} else {
			run_for(&fx, 1);
		}
		check_ended(asked, count);
		/* A held disk may be what a write waits for. */
		if (random_below(&seed, 3) == 0) {
			hold(&disk.file, false);
			hold(&disk.log, false);
			run_for(&fx, 1);
		}
	}
	hold(&disk.file, false);
	hold(&disk.log, false);
	for (size_t i = 0; i < count; i++)
		run_until(&fx, &asked[i].waited.done);
	check_ended(asked, count);
}

static void test_every_flush_covers_what_was_written_before_it(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		random_course(seed);
}

/* ---- removal ---- */

static void test_a_file_goes_when_the_db_has_durably_forgotten_its_chunk(void **state)
{
	struct chunk_key key = test_key(0);
	struct waited w = {0};
	unsigned begun;

	write_part(0, PART);
	assert_int_equal(do_flush(&fx, &key), 0);
	disk.unlinked = 0;
	hold(&disk.log, true);
	begun = count_of(&disk.log.begun);
	store_remove(fx.view, &key, 1, remove_done, &w);
	wait_begun(&disk.log, begun + 1);
	run_for(&fx, 50);
	assert_int_equal(count_of(&disk.unlinked), 0);
	assert_false(w.done);
	hold(&disk.log, false);
	run_until(&fx, &w.done);
	assert_int_equal(w.error, 0);
	assert_int_equal(count_of(&disk.unlinked), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_flush_does_not_join_one_of_the_file_that_began_before_the_write),
		TEST(test_nor_one_of_the_log_that_began_before_the_commit),
		TEST(test_every_flush_covers_what_was_written_before_it),
		TEST(test_a_file_goes_when_the_db_has_durably_forgotten_its_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
