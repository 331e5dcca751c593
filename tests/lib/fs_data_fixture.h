/* fs_data_fixture.h - data_*() on bytes in memory, without chunkservers. What is answered can be
 * held back. A part of fs_fixture.h. */
#ifndef CATENA_TESTS_LIB_FS_DATA_FIXTURE_H
#define CATENA_TESTS_LIB_FS_DATA_FIXTURE_H
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/buf.h"
#include "fs/data/data.h"
#include "tests/lib/fs_events.h"

struct data_file {
	uint64_t ino, id;
	unsigned refs;
	bool dirty;
	int error;
	struct data_file *next;
	uint8_t *bytes;
};

struct held_done {
	struct held_done *next;
	data_done_fn *done;
	void *user;
	int error;
};

struct chunks {
	struct buf_pool *pool;
	struct data_file *files; /* those of old ids too: what was written stays */
	bool hold_flushes, hold_writes;
	int list_error;
	bool list_misses; /* what is dirty comes to the chains just behind their answer */
	int write_error;  /* of those to come */
	struct held_done *held;
	uint64_t space, session;
	struct data_options options; /* as they were opened with */
};
extern struct chunks chunks;

struct data_file *file_of(uint64_t id);
uint64_t lose(struct data_file *file);
void release_data(void);
#endif
