/* Goal: a sorter gives back exactly what it was given, in the order of bytes, whatever comes in
 * whatever order; its memory is bounded, and an error stays.
 * Method: records of many sizes, drawn so that few, many or all bytes are equal, against
 * qsort(). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/sorter.h"
#include "tests/lib/random.h"

static size_t compared;

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, compared);
}

/* Draws bytes of @kinds values each. */
static uint8_t *draw_records(uint64_t *random, size_t count, size_t size, uint64_t kinds)
{
	uint8_t *records = malloc(count * size + 1);

	assert_non_null(records);
	for (size_t i = 0; i < count * size; i++)
		records[i] = (uint8_t)(random_below(random, kinds) * 255 / kinds);
	return records;
}

static void assert_sorted_again(struct sorter *sorter, const uint8_t *sorted, size_t count,
				size_t size)
{
	const uint8_t *record;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(sorter_next(sorter, &record), 1);
		assert_memory_equal(record, sorted + i * size, size);
	}
	assert_int_equal(sorter_next(sorter, &record), 0);
	assert_int_equal(sorter_next(sorter, &record), 0);
}

static void records_come_back_in_the_order_of_their_bytes(void **state)
{
	static const size_t counts[] = {0, 1, 2, 15, 16, 17, 300, 5000};
	static const size_t sizes[] = {1, 7, 24, 33, SORTER_RECORD_MAX};
	static const uint64_t kinds[] = {1, 2, 256};
	struct sorter_memory memory;
	uint64_t random = 1;

	sorter_memory_init(&memory, 0);
	for (size_t run = 0; run < 8 * 5 * 3; run++) {
		size_t count = counts[run % 8], size = sizes[run / 8 % 5];
		uint8_t *records = draw_records(&random, count, size, kinds[run / 40]);
		struct sorter *sorter;

		assert_int_equal(sorter_make(&memory.supply, size, &sorter), 0);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(sorter_add(sorter, records + i * size), 0);
		assert_int_equal(sorter_count(sorter), count);
		assert_int_equal(sorter_sort(sorter), 0);
		compared = size;
		qsort(records, count, size, by_bytes);
		assert_sorted_again(sorter, records, count, size);
		assert_int_equal(sorter_rewind(sorter), 0);
		assert_sorted_again(sorter, records, count, size);
		sorter_free(sorter);
		free(records);
	}
	assert_int_equal(memory.used, 0);
}

static void memory_ends_where_it_is_said_to_and_the_error_stays(void **state)
{
	struct sorter_memory memory;
	struct sorter *one, *other;
	uint8_t record[8] = {0};
	const uint8_t *read;
	size_t added = 0;

	sorter_memory_init(&memory, 4096);
	assert_int_equal(sorter_make(&memory.supply, sizeof(record), &one), 0);
	assert_int_equal(sorter_make(&memory.supply, sizeof(record), &other), 0);
	assert_int_equal(sorter_add(other, record), 0);
	while (sorter_add(one, record) == 0)
		added++;
	assert_in_range(added * sizeof(record), 1024, 4096);
	assert_true(memory.used <= 4096);
	assert_int_equal(sorter_add(one, record), -ENOMEM);
	assert_int_equal(sorter_sort(one), -ENOMEM);
	assert_int_equal(sorter_next(one, &read), -ENOMEM);
	assert_int_equal(sorter_rewind(one), -ENOMEM);
	assert_int_equal(sorter_add(other, record), 0);
	sorter_free(one);
	sorter_free(other);
	sorter_free(NULL);
	assert_int_equal(memory.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_back_in_the_order_of_their_bytes),
		cmocka_unit_test(memory_ends_where_it_is_said_to_and_the_error_stays),
	};

	return cmocka_run_group_tests_name("sorter", tests, NULL, NULL);
}
