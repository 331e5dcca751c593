#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "common/cluster/chunk.h"
#include "tests/lib/random.h"
#include "tests/unit/fs/writeback/writeback_fixture.h"

uint64_t writeback_fixture_seed;

uint64_t rng(void)
{
	return random_u64(&writeback_fixture_seed);
}

uint32_t below(uint32_t bound)
{
	return (uint32_t)(rng() % bound);
}

struct buf *payload_of(struct buf_pool *pool, uint32_t length, uint8_t fill)
{
	struct buf *buf = buf_get(pool, length);

	assert_non_null(buf);
	buf->start = (uint32_t)(rng() % BLOCK_SIZE);
	buf->length = length;
	memset(buf_payload(buf), fill, length);
	return buf;
}
