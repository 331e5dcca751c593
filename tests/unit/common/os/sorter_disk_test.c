/* sorter_disk_test.c - sorting what memory does not hold.
 *
 * Goal: runs in files give back what was added, in order, as often as it is read; a disk without
 * room, or one that gives other bytes back, is an error that says so, and leaves no file.
 * Method: sorters with very small runs against qsort(); the file is found by its descriptor and
 * changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/os/sorter_disk.h"
#include "tests/lib/random.h"

static char place[] = "/tmp/catena-sorter-test-XXXXXX";
static size_t compared;

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, compared);
}

static int make_place(void **state)
{
	return mkdtemp(place) == NULL ? -1 : 0;
}

static int remove_place(void **state)
{
	return rmdir(place); /* nothing is in it */
}

static void assert_sorted(struct sorter *sorter, const uint8_t *sorted, size_t count, size_t size)
{
	const uint8_t *record;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(sorter_next(sorter, &record), 1);
		assert_memory_equal(record, sorted + i * size, size);
	}
	assert_int_equal(sorter_next(sorter, &record), 0);
	assert_int_equal(sorter_next(sorter, &record), 0);
}

static void runs_are_merged_in_order(void **state)
{
	static const size_t counts[] = {0, 1, 3, 4, 5, 100, 5000};
	static const size_t sizes[] = {1, 25, SORTER_RECORD_MAX};
	/* A record each, some records each, a block and a record each (below), all in memory. */
	static const uint64_t runs[] = {1, 320, SORTER_DISK_BLOCK, 0};
	uint64_t random = 3;

	for (size_t n = 0; n < 7 * 3 * 4; n++) {
		struct sorter_disk_options options = {.place = place, .run_bytes = runs[n / 21]};
		size_t count = counts[n % 7], size = sizes[n / 7 % 3];
		uint8_t *records = malloc(count * size + 1);
		struct sorter_disk disk;
		struct sorter *sorter;

		if (count / (options.run_bytes / size + 1) > SORTER_DISK_RUNS / 2 && n / 21 == 0)
			count = SORTER_DISK_RUNS / 2;
		if (options.run_bytes == SORTER_DISK_BLOCK)
			options.run_bytes = ((SORTER_DISK_BLOCK - 4) / size + 1) * size;
		assert_int_equal(sorter_disk_init(&disk, &options), 0);
		assert_int_equal(sorter_make(&disk.supply, size, &sorter), 0);
		for (size_t i = 0; i < count * size; i++)
			records[i] = (uint8_t)random_below(&random, n % 2 == 0 ? 256 : 2);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(sorter_add(sorter, records + i * size), 0);
		compared = size;
		qsort(records, count, size, by_bytes);
		assert_int_equal(sorter_sort(sorter), 0);
		assert_sorted(sorter, records, count, size);
		assert_int_equal(sorter_rewind(sorter), 0);
		assert_sorted(sorter, records, count, size);
		sorter_free(sorter);
		assert_int_equal(disk.used, 0);
		assert_string_equal(disk.error, "");
		sorter_disk_end(&disk);
		free(records);
	}
}

/* Adds numbers, the highest first, until that fails or all are added. */
static int add_numbers(struct sorter *sorter, unsigned count)
{
	int rc = 0;

	for (unsigned i = count; rc == 0 && i-- > 0;) {
		uint8_t record[4] = {0, 0, (uint8_t)(i >> 8), (uint8_t)i};

		rc = sorter_add(sorter, record);
	}
	return rc;
}

static void a_disk_keeps_its_reserve(void **state)
{
	const struct sorter_disk_options options = {
		.place = place, .run_bytes = 400, .reserve = UINT64_C(1) << 60};
	const struct sorter_disk_options few = {.place = place};
	struct sorter_disk disk;
	struct sorter *sorter;

	assert_int_equal(sorter_disk_init(&disk, &few), 0);
	assert_int_equal(sorter_disk_room(&disk, 4096), 0);
	assert_int_equal(sorter_disk_room(&disk, UINT64_MAX), -ENOSPC);
	assert_non_null(strstr(disk.error, "choose another place"));
	sorter_disk_end(&disk);
	assert_int_equal(sorter_disk_init(&disk, &options), 0);
	assert_int_equal(sorter_make(&disk.supply, 4, &sorter), 0);
	assert_int_equal(add_numbers(sorter, 100), 0);
	assert_int_equal(add_numbers(sorter, 1), -ENOSPC);
	assert_int_equal(sorter_sort(sorter), -ENOSPC);
	assert_non_null(strstr(disk.error, "choose another place"));
	sorter_free(sorter);
	sorter_disk_end(&disk);
}

/* Each may have an eighth of a run, and all together not more than is said beside that. */
static void memory_is_shared(void **state)
{
	const struct sorter_disk_options options = {
		.place = place, .run_bytes = 4u << 20, .memory = 5u << 20};
	struct sorter *sorters[4];
	struct sorter_disk disk;
	const uint8_t *record;
	uint64_t highest = 0;

	assert_int_equal(sorter_disk_init(&disk, &options), 0);
	for (unsigned s = 0; s < 4; s++)
		assert_int_equal(sorter_make(&disk.supply, 32, &sorters[s]), 0);
	for (unsigned s = 0; s < 4; s++) {
		for (uint32_t i = 0; i < (3u << 20) / 32; i++) {
			uint8_t number[32] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)};

			assert_int_equal(sorter_add(sorters[s], number), 0);
			highest = disk.memory > highest ? disk.memory : highest;
		}
	}
	/* The first two have 5 MiB, the others their shares. */
	assert_in_range(highest, 6u << 20, (5u << 20) + 4 * (512u << 10));
	assert_true(disk.used > 0);
	for (unsigned s = 0; s < 4; s++) {
		uint32_t count = 0;
		uint8_t last[32] = {0};

		assert_int_equal(sorter_sort(sorters[s]), 0);
		while (sorter_next(sorters[s], &record) == 1) {
			assert_true(memcmp(last, record, 32) < 0 || count == 0);
			memcpy(last, record, 32);
			count++;
		}
		assert_int_equal(count, (3u << 20) / 32);
		sorter_free(sorters[s]);
	}
	assert_int_equal(disk.memory, 0);
	sorter_disk_end(&disk);
}

static void more_runs_than_are_merged_at_once_are_refused(void **state)
{
	const struct sorter_disk_options options = {.place = place, .run_bytes = 4};
	struct sorter_disk disk;
	struct sorter *sorter;

	assert_int_equal(sorter_disk_init(&disk, &options), 0);
	assert_int_equal(sorter_make(&disk.supply, 4, &sorter), 0);
	assert_int_equal(add_numbers(sorter, SORTER_DISK_RUNS + 1), 0);
	assert_int_equal(add_numbers(sorter, 1), -EFBIG);
	assert_non_null(strstr(disk.error, "more memory"));
	sorter_free(sorter);
	sorter_disk_end(&disk);
}

static void a_place_that_is_none_is_said(void **state)
{
	const struct sorter_disk_options options = {.place = "/dev/null"};
	struct sorter_disk disk;

	assert_int_equal(sorter_disk_init(&disk, &options), -ENOTDIR);
	assert_non_null(strstr(disk.error, "/dev/null"));
	sorter_disk_end(&disk);
}

/* Returns a descriptor of the file without name that lies in the place. */
static int find_file(void)
{
	DIR *descriptors = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	assert_non_null(descriptors);
	while ((entry = readdir(descriptors)) != NULL) {
		char link[300], target[300];
		ssize_t size;

		snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
		size = readlink(link, target, sizeof(target) - 1);
		if (size <= 0)
			continue;
		target[size] = '\0';
		if (strncmp(target, place, strlen(place)) == 0 && target[strlen(place)] == '/')
			found = atoi(entry->d_name);
	}
	closedir(descriptors);
	return found;
}

static void what_a_disk_gives_back_is_checked(void **state)
{
	const struct sorter_disk_options options = {.place = place, .run_bytes = 4000};

	for (unsigned cut = 0; cut < 2; cut++) {
		const uint8_t *record;
		struct sorter_disk disk;
		struct sorter *sorter;
		struct stat file;
		int rc = 1, fd;

		assert_int_equal(sorter_disk_init(&disk, &options), 0);
		assert_int_equal(sorter_make(&disk.supply, 4, &sorter), 0);
		assert_int_equal(add_numbers(sorter, 3500), 0);
		fd = find_file();
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &file), 0);
		assert_int_equal(file.st_nlink, 0);
		if (cut == 0)
			assert_int_equal(pwrite(fd, "x", 1, file.st_size - 100), 1);
		else
			assert_int_equal(ftruncate(fd, file.st_size - 1), 0);
		rc = sorter_sort(sorter);
		while (rc == 0 && (rc = sorter_next(sorter, &record)) == 1)
			rc = 0;
		assert_int_equal(rc, -EUCLEAN);
		assert_int_equal(sorter_next(sorter, &record), -EUCLEAN);
		assert_string_not_equal(disk.error, "");
		sorter_free(sorter);
		sorter_disk_end(&disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_merged_in_order),
		cmocka_unit_test(a_disk_keeps_its_reserve),
		cmocka_unit_test(memory_is_shared),
		cmocka_unit_test(more_runs_than_are_merged_at_once_are_refused),
		cmocka_unit_test(a_place_that_is_none_is_said),
		cmocka_unit_test(what_a_disk_gives_back_is_checked),
	};

	return cmocka_run_group_tests_name("sorting on a disk", tests, make_place, remove_place);
}
