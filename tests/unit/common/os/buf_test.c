/* Goal: buffers fit, are aligned, are used again, never exceed the limit, and come back exactly
 * once whoever lets go last. Method: each promise of buf.h by itself, then threads that get, share,
 * hand over and release at random while each writes its mark into what it alone holds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/buf.h"
#include "tests/lib/random.h"

#define SEED    20260104
#define THREADS 4
#define ROUNDS  20000

static void test_any_size_fits_at_any_start_of_the_first_block(void **state)
{
	static const uint32_t sizes[] = {0,     1,      4095,   4096,   4097,   16384,   65536,
					 65537, 131072, 262144, 300000, 524288, 1048575, 1048576};
	struct buf_pool *pool;

	assert_int_equal(buf_pool_create(0, &pool), 0);
	assert_int_equal(buf_pool_limit(pool), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf *buf = buf_get(pool, sizes[i]);

		assert_non_null(buf);
		assert_int_equal((uintptr_t)buf->data % BLOCK_SIZE, 0);
		assert_int_equal(buf->start, 0);
		assert_int_equal(buf->length, 0);
		assert_true(buf->capacity >= BLOCK_SIZE - 1 + sizes[i]);
		/* The sanitizer watches that all of it is there. */
		buf->start = BLOCK_SIZE - 1;
		buf->length = sizes[i];
		assert_ptr_equal(buf_payload(buf), buf->data + BLOCK_SIZE - 1);
		memset(buf_payload(buf), 0x77, sizes[i]);
		block_checksums(buf_payload(buf), buf->start, sizes[i], buf->crcs);
		assert_int_equal(
			block_checksums_verify(buf_payload(buf), buf->start, sizes[i], buf->crcs),
			-1);
		buf_unref(buf);
	}
	assert_null(buf_get(pool, FRAME_PAYLOAD_MAX + 1));
	assert_null(buf_get(pool, UINT32_MAX));
	assert_int_equal(buf_pool_used(pool), 0);
	buf_pool_destroy(pool);
}

static void test_what_came_back_is_used_again_and_looks_new(void **state)
{
	struct buf_pool *pool;
	struct buf *first, *second;

	assert_int_equal(buf_pool_create(0, &pool), 0);
	first = buf_get(pool, FRAME_PAYLOAD_MAX);
	assert_non_null(first);
	first->start = 17;
	first->length = 99;
	buf_unref(first);
	second = buf_get(pool, FRAME_PAYLOAD_MAX - 1000);
	assert_ptr_equal(second, first);
	assert_int_equal(second->start, 0);
	assert_int_equal(second->length, 0);
	second->data[0] = 1; /* usable again under AddressSanitizer */
	buf_unref(second);
	buf_pool_destroy(pool);
}

static void test_only_the_last_reference_gives_it_back(void **state)
{
	struct buf_pool *pool;
	struct buf *buf;

	assert_int_equal(buf_pool_create(0, &pool), 0);
	buf = buf_get(pool, 1);
	assert_int_equal(buf_pool_used(pool), buf->capacity);
	assert_ptr_equal(buf_ref(buf), buf);
	assert_ptr_equal(buf_ref(buf), buf);
	buf_unref(buf);
	buf_unref(buf);
	assert_int_equal(buf_pool_used(pool), buf->capacity);
	buf_unref(buf);
	assert_int_equal(buf_pool_used(pool), 0);
	buf_unref(NULL);
	buf_pool_destroy(pool);
	buf_pool_destroy(NULL);
}

static void test_the_limit_holds_and_room_comes_back(void **state)
{
	const size_t limit = 3 * (size_t)(FRAME_PAYLOAD_MAX + BLOCK_SIZE);
	struct buf_pool *pool;
	struct buf *bufs[3];

	assert_int_equal(buf_pool_create(limit, &pool), 0);
	assert_int_equal(buf_pool_limit(pool), limit);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++) {
			bufs[i] = buf_get(pool, FRAME_PAYLOAD_MAX);
			assert_non_null(bufs[i]);
		}
		assert_int_equal(buf_pool_used(pool), limit);
		assert_null(buf_get(pool, FRAME_PAYLOAD_MAX));
		assert_null(buf_get(pool, 1));
		for (int i = 0; i < 3; i++)
			buf_unref(bufs[i]);
	}
	buf_pool_destroy(pool);
}

static void test_a_limit_below_the_smallest_buffer_gives_none(void **state)
{
	struct buf_pool *pool;

	assert_int_equal(buf_pool_create(1, &pool), 0);
	assert_null(buf_get(pool, 1));
	assert_int_equal(buf_pool_used(pool), 0);
	buf_pool_destroy(pool);
}

/* Idle buffers of one size must make room for another size, or the pool would refuse for ever. */
static void test_idle_buffers_of_one_size_make_room_for_another(void **state)
{
	const size_t limit = 2 * (size_t)(FRAME_PAYLOAD_MAX + BLOCK_SIZE);
	struct buf *bufs[256];
	struct buf_pool *pool;
	size_t count;

	assert_int_equal(buf_pool_create(limit, &pool), 0);
	for (int round = 0; round < 3; round++) {
		for (count = 0; count < 256; count++) {
			bufs[count] = buf_get(pool, BLOCK_SIZE);
			assert_non_null(bufs[count]);
		}
		while (count > 0)
			buf_unref(bufs[--count]);
		for (count = 0; count < 2; count++) {
			bufs[count] = buf_get(pool, FRAME_PAYLOAD_MAX);
			assert_non_null(bufs[count]);
			memset(bufs[count]->data, 1, bufs[count]->capacity);
		}
		assert_null(buf_get(pool, BLOCK_SIZE));
		assert_int_equal(buf_pool_held(pool), limit);
		while (count > 0)
			buf_unref(bufs[--count]);
	}
	buf_pool_destroy(pool);
}

static void count_free(void *arg)
{
	++*(int *)arg;
}

static void test_wrapped_memory_is_freed_once_by_its_owners_function(void **state)
{
	static uint8_t memory[2 * BLOCK_SIZE];
	struct buf_pool *pool;
	struct buf *buf;
	int freed = 0;

	assert_int_equal(buf_pool_create(1, &pool), 0); /* wrapped memory is not the pool's */
	buf = buf_wrap(pool, memory + 1, sizeof(memory) - 1, count_free, &freed);
	assert_non_null(buf);
	assert_ptr_equal(buf_payload(buf), memory + 1);
	assert_int_equal(buf->length, sizeof(memory) - 1);
	assert_int_equal(buf_pool_used(pool), 0);
	/* At the worst chunk offset it touches three blocks: room for all checksums. */
	block_checksums(buf_payload(buf), 4095, buf->length, buf->crcs);
	assert_int_equal(block_count(4095, buf->length), 3);
	buf_ref(buf);
	buf_unref(buf);
	assert_int_equal(freed, 0);
	buf_unref(buf);
	assert_int_equal(freed, 1);
	buf = buf_wrap(NULL, memory, 1, NULL, NULL);
	assert_non_null(buf);
	buf_unref(buf);
	buf_pool_destroy(pool);
}

/* One place where threads swap buffers, so that the one who gets is often not the one who lets go.
 */
static struct buf_pool *shared_pool;
static _Atomic(struct buf *) mailbox[8];
static atomic_int broken, refusals;

static void mark(struct buf *buf, uint8_t value, uint32_t length)
{
	buf->length = length;
	buf_payload(buf)[0] = value;
	buf_payload(buf)[length - 1] = value;
	buf->crcs[0] = value;
}

static void check_mark(const struct buf *buf)
{
	uint8_t value = buf_payload(buf)[0];

	if (buf_payload(buf)[buf->length - 1] != value || buf->crcs[0] != value)
		atomic_fetch_add(&broken, 1);
}

static void *use_pool(void *arg)
{
	uint64_t seed = SEED + (uint64_t)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t r = random_u64(&seed);
		uint32_t size = 1 + (uint32_t)((r >> 8) % (r % 4 == 0 ? FRAME_PAYLOAD_MAX : 20000));
		struct buf *buf = buf_get(shared_pool, size), *other;

		if (buf == NULL) {
			atomic_fetch_add(&refusals, 1);
		} else {
			buf->start = (uint32_t)(r >> 40) % BLOCK_SIZE;
			mark(buf, (uint8_t)r, size);
			buf_ref(buf);
			check_mark(buf);
			buf_unref(buf);
		}
		if (buf_pool_used(shared_pool) > buf_pool_limit(shared_pool) ||
		    buf_pool_held(shared_pool) > buf_pool_limit(shared_pool))
			atomic_fetch_add(&broken, 1);
		other = atomic_exchange(&mailbox[(r >> 32) % 8], buf);
		if (other != NULL) {
			check_mark(other);
			buf_unref(other);
		}
	}
	return NULL;
}

static void test_threads_share_a_pool_without_ever_sharing_a_buffer(void **state)
{
	pthread_t threads[THREADS];

	atomic_store(&broken, 0);
	atomic_store(&refusals, 0);
	assert_int_equal(buf_pool_create(4u << 20, &shared_pool), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_pool, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 8; i++)
		buf_unref(atomic_exchange(&mailbox[i], NULL));
	assert_int_equal(atomic_load(&broken), 0);
	assert_true(atomic_load(&refusals) < THREADS * ROUNDS);
	assert_int_equal(buf_pool_used(shared_pool), 0);
	buf_pool_destroy(shared_pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_size_fits_at_any_start_of_the_first_block),
		cmocka_unit_test(test_what_came_back_is_used_again_and_looks_new),
		cmocka_unit_test(test_only_the_last_reference_gives_it_back),
		cmocka_unit_test(test_the_limit_holds_and_room_comes_back),
		cmocka_unit_test(test_a_limit_below_the_smallest_buffer_gives_none),
		cmocka_unit_test(test_idle_buffers_of_one_size_make_room_for_another),
		cmocka_unit_test(test_wrapped_memory_is_freed_once_by_its_owners_function),
		cmocka_unit_test(test_threads_share_a_pool_without_ever_sharing_a_buffer),
	};

	printf("seed %d\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
