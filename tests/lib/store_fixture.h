/* store_fixture.h - what the tests of the chunkserver's store share: a target in a directory of its
 * own, a loop, and calls that wait. */
#ifndef CATENA_TESTS_LIB_STORE_FIXTURE_H
#define CATENA_TESTS_LIB_STORE_FIXTURE_H
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/witness.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/store/store.h"
#include "common/base/bytes.h"
#include "common/os/clock.h"
#include "common/os/log.h"

struct fixture {
	char dir[256];
	struct buf_pool *pool;
	uv_loop_t loop;
	uv_timer_t alive; /* the store's own handles do not keep a loop going */
	struct kv *kv;    /* NULL: RocksDB */
	struct store *store;
	struct store_view *view;
	char error[256];
};

void remove_tree(const char *path);
void on_alive(uv_timer_t *timer);
int fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
int fixture_reopen(struct fixture *f);
int fixture_start(struct fixture *f, bool memory);
void fixture_end(struct fixture *f);

/* Tests that share a target have each a pool of their own. */
extern uint32_t test_pool;

struct chunk_key test_key(uint32_t index);
void fill_random(uint8_t *data, size_t size, uint64_t seed);

/* ---- calls that wait ---- */

struct waited {
	bool done;
	int error;
	uint32_t length;
	uint64_t version;
};

void run_until(struct fixture *f, const bool *done);
void run_for(struct fixture *f, uint64_t ms);
struct buf *payload_of(struct fixture *f, const void *data, uint32_t offset, uint32_t length);
void update_fill(struct store_update *u, struct waited *w, enum store_op op,
		 const struct chunk_key *key, uint32_t offset, uint32_t length, uint64_t version);
int prepare_wait(struct fixture *f, struct store_update *u);
int do_update(struct fixture *f, enum store_op op, const struct chunk_key *key, uint32_t offset,
	      uint32_t length, const void *data, uint64_t version);
int do_write(struct fixture *f, const struct chunk_key *key, uint32_t offset, const void *data,
	     uint32_t length, uint64_t version);

/* As do_write(), by a client that has had the answers to all it did before. */
int do_next_write(struct fixture *f, const struct chunk_key *key, uint32_t offset, const void *data,
		  uint32_t length, uint64_t version);

/* @out has room for @length bytes; what is behind the chunk's end becomes zeros. */
int do_read(struct fixture *f, const struct chunk_key *key, uint32_t offset, uint32_t length,
	    bool verify, uint8_t *out, uint32_t *got);
void flush_done(struct store_flush *flush, int error);
int do_flush(struct fixture *f, const struct chunk_key *key);
void remove_done(void *user, int error);

/* Of the key. */
int do_flush_partition(struct fixture *f, const struct chunk_key *key);
int do_remove(struct fixture *f, const struct chunk_key *keys, size_t count);

/* The path of a chunk's file. */
void file_path(const struct fixture *f, const struct chunk_key *key, char *out, size_t size);
#endif
