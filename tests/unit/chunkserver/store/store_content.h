/* store_content.h - what the tests of a store's content share: one target for all tests of a
 * program, each with a pool of its own, and looks at a chunk's bytes, record and file. After
 * cmocka.h. */
#ifndef CATENA_TESTS_UNIT_CHUNKSERVER_STORE_STORE_CONTENT_H
#define CATENA_TESTS_UNIT_CHUNKSERVER_STORE_STORE_CONTENT_H
#include <fcntl.h>
#include "tests/lib/store_fixture.h"

#define MIB (1u << 20)

extern struct fixture fx;
extern uint8_t data[4 * MIB], out[MIB];

int group_setup(void **state);
int group_teardown(void **state);
int setup(void **state);
void assert_content(const struct chunk_key *key, uint32_t offset, const void *expect,
		    uint32_t length);
struct chunk_info info_of(const struct chunk_key *key);
bool has_file(const struct chunk_key *key);
#endif
