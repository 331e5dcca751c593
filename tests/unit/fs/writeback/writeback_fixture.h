/* writeback_fixture.h - payloads and chance for tests of the write-back. */
#ifndef CATENA_TESTS_UNIT_FS_WRITEBACK_WRITEBACK_FIXTURE_H
#define CATENA_TESTS_UNIT_FS_WRITEBACK_WRITEBACK_FIXTURE_H
#include <stdint.h>
#include "fs/writeback/writeback.h"

#define MIB (1u << 20)

/* The state of chance; a test sets it to its seed. */
extern uint64_t writeback_fixture_seed;

uint64_t rng(void);
uint32_t below(uint32_t bound);
/* A new buffer of @length bytes of @fill, at a random place of its memory. */
struct buf *payload_of(struct buf_pool *pool, uint32_t length, uint8_t fill);
#endif
