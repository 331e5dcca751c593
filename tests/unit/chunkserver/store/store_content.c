#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/chunkserver/store/store_content.h"

struct fixture fx;
uint8_t data[4 * MIB], out[MIB];

/* Background work at once, so that tests need not wait for it. */
static void be_impatient(void)
{
	fx.store->rest_after_ns = 20 * NS_PER_MSEC;
	fx.store->migrate_idle_ns = 20 * NS_PER_MSEC;
}

int group_setup(void **state)
{
	fill_random(data, sizeof(data), 42);
	return fixture_start(&fx, false);
}

int group_teardown(void **state)
{
	fixture_end(&fx);
	return 0;
}

int setup(void **state)
{
	test_pool++;
	if (fx.view == NULL && fixture_open(&fx) != 0)
		return -1;
	be_impatient();
	return 0;
}

void assert_content(const struct chunk_key *key, uint32_t offset, const void *expect,
		    uint32_t length)
{
	uint32_t start = offset & ~(BLOCK_SIZE - 1);
	uint32_t end = (offset + length + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);

	for (uint32_t at = start; at < end; at += MIB) {
		uint32_t n = end - at < MIB ? end - at : MIB;
		uint32_t from = at > offset ? at : offset;
		uint32_t to = at + n < offset + length ? at + n : offset + length;

		assert_int_equal(do_read(&fx, key, at, n, true, out, NULL), 0);
		assert_memory_equal(out + (from - at), (const uint8_t *)expect + (from - offset),
				    to - from);
	}
}

struct chunk_info info_of(const struct chunk_key *key)
{
	struct chunk_info info;

	memset(&info, 0xee, sizeof(info));
	assert_int_equal(store_info(fx.view, key, &info), 0);
	return info;
}

bool has_file(const struct chunk_key *key)
{
	char path[512];

	file_path(&fx, key, path, sizeof(path));
	return access(path, F_OK) == 0;
}
