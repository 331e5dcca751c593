/* log_hash_test - one number for what a state machine has done.
 *
 * Goal: the hash of an entry is what log_hash.h says, and depends on every part of what it says:
 * the entries before, the bytes, each change and their order, the result and the answer. That of a
 * store depends on its records only, however they came there.
 * Method: the sum over the bytes put together by hand; each part changed in turn; two stores with
 * the same records by different ways. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/crc32c.h"
#include "common/kv/kv_overlay.h"
#include "master/log/log_hash.h"

static const struct kv_family families[] = {{.name = "default"}, {.name = "other"}};

#define FAMILIES 2u

struct case_of {
	const char *entry, *first, *second, *reply;
	int result;
	uint64_t session, generation, lane;
};

static const struct case_of plain = {"entry", "one", "two", "reply", -5, 6, 7, 8};

static void put(struct kv_batch *batch, unsigned family, const char *key, const char *value)
{
	kv_batch_put(batch, family, key, strlen(key), value, strlen(value));
}

static struct log_trace trace_of(struct log_hash *hash, const struct case_of *c)
{
	struct command_result given = {.session = c->session,
				       .generation = c->generation,
				       .answer = {.reply = (uint8_t *)(uintptr_t)c->reply,
						  .reply_size = strlen(c->reply),
						  .lane = c->lane}};
	struct kv_batch *batch = kv_batch_new();
	struct log_trace trace;

	log_hash_begin(hash, (const uint8_t *)c->entry, strlen(c->entry));
	put(batch, 1, "key", c->first);
	put(batch, 1, "key", c->second);
	log_hash_changes(hash, batch);
	assert_int_equal(log_hash_end(hash, c->result, &given, &trace), 0);
	log_hash_changes(hash, batch); /* belongs to no entry */
	kv_batch_free(batch);
	return trace;
}

static struct log_trace trace_alone(const struct case_of *c)
{
	struct log_hash *hash;
	struct log_trace trace;

	assert_int_equal(log_hash_new(&hash), 0);
	trace = trace_of(hash, c);
	log_hash_free(hash);
	return trace;
}

static void test_it_is_what_the_header_says(void **state)
{
	static const uint8_t expected[] =
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\5\0\0\0\0\0\0\0"
		"entry"
		"\1\0\0\1\3\0\0\0\3\0\0\0key"
		"one\1\0\0\1\3\0\0\0\3\0\0\0key"
		"two\44\0\0\0\0\0\0\0"
		"\373\377\377\377\6\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0"
		"reply";
	struct log_trace trace = trace_alone(&plain);
	uint8_t sum[LOG_HASH_BYTES];

	SHA256(expected, sizeof(expected) - 1, sum);
	assert_memory_equal(trace.hash, sum, sizeof(sum));
	assert_int_equal(trace.result, -5);
	assert_int_equal(trace.answer_crc,
			 crc32c("\6\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0reply", 29));
	assert_int_equal(trace.changes_crc, crc32c(expected + 45, 36));
}

static void test_every_part_counts(void **state)
{
	const struct case_of cases[] = {
		plain,
		{"entrY", "one", "two", "reply", -5, 6, 7, 8},
		{"entry", "two", "one", "reply", -5, 6, 7, 8},
		{"entry", "one", "tw", "reply", -5, 6, 7, 8},
		{"entry", "one", "two", "repl", -5, 6, 7, 8},
		{"entry", "one", "two", "reply", 0, 6, 7, 8},
		{"entry", "one", "two", "reply", -5, 5, 7, 8},
		{"entry", "one", "two", "reply", -5, 6, 6, 8},
		{"entry", "one", "two", "reply", -5, 6, 7, 9},
	};
	struct log_trace traces[sizeof(cases) / sizeof(cases[0])];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		traces[i] = trace_alone(&cases[i]);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(traces[i].hash, traces[j].hash, LOG_HASH_BYTES);
	}
	assert_true(traces[2].changes_crc != traces[0].changes_crc);
	assert_true(traces[2].answer_crc == traces[0].answer_crc);
	assert_true(traces[4].changes_crc == traces[0].changes_crc);
	assert_true(traces[4].answer_crc != traces[0].answer_crc);
}

static void test_it_goes_on_behind_an_entry(void **state)
{
	struct log_trace first, second, again;
	uint8_t last[LOG_HASH_BYTES];
	struct log_hash *hash;

	assert_int_equal(log_hash_new(&hash), 0);
	first = trace_of(hash, &plain);
	second = trace_of(hash, &plain);
	assert_memory_not_equal(first.hash, second.hash, LOG_HASH_BYTES);
	log_hash_begin(hash, (const uint8_t *)"failed", 6);
	log_hash_continue(hash, first.hash);
	again = trace_of(hash, &plain);
	assert_memory_equal(again.hash, second.hash, LOG_HASH_BYTES);
	log_hash_last(hash, last);
	assert_memory_equal(last, second.hash, LOG_HASH_BYTES);
	log_hash_free(hash);
}

static void write_one(struct kv *kv, unsigned family, const char *key, const char *value)
{
	struct kv_batch *batch = kv_batch_new();

	if (value == NULL)
		kv_batch_delete(batch, family, key, strlen(key));
	else
		put(batch, family, key, value);
	assert_int_equal(kv_write(kv, batch, false), 0);
	kv_batch_free(batch);
}

static void hash_of(struct kv *kv, uint8_t out[LOG_HASH_BYTES])
{
	assert_int_equal(log_hash_store(kv, FAMILIES, out), 0);
}

static void test_a_store_is_equal_by_its_records(void **state)
{
	uint8_t a[LOG_HASH_BYTES], b[LOG_HASH_BYTES];
	struct kv *one, *two, *overlay;

	assert_int_equal(kv_open_memory(families, FAMILIES, &one), 0);
	assert_int_equal(kv_open_memory(families, FAMILIES, &two), 0);
	assert_int_equal(kv_overlay_open(two, &overlay), 0);
	write_one(one, 1, "a", "1");
	write_one(one, 1, "b", "2");
	write_one(two, 1, "b", "2");
	write_one(two, 1, "gone", "3");
	hash_of(one, a);
	hash_of(two, b);
	assert_memory_not_equal(a, b, LOG_HASH_BYTES);
	kv_overlay_begin(overlay);
	write_one(overlay, 1, "gone", NULL);
	write_one(overlay, 1, "a", "1");
	hash_of(overlay, b);
	assert_memory_equal(a, b, LOG_HASH_BYTES);
	assert_int_equal(kv_overlay_commit(overlay), 0);
	hash_of(two, b);
	assert_memory_equal(a, b, LOG_HASH_BYTES);
	/* A byte of the key for one of the value, and another family. */
	write_one(two, 1, "b", NULL);
	write_one(two, 1, "b2", "");
	hash_of(two, b);
	assert_memory_not_equal(a, b, LOG_HASH_BYTES);
	write_one(two, 1, "b2", NULL);
	write_one(two, 0, "b", "2");
	hash_of(two, b);
	assert_memory_not_equal(a, b, LOG_HASH_BYTES);
	kv_close(overlay);
	kv_close(two);
	kv_close(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_is_what_the_header_says),
		cmocka_unit_test(test_every_part_counts),
		cmocka_unit_test(test_it_goes_on_behind_an_entry),
		cmocka_unit_test(test_a_store_is_equal_by_its_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
