/* state_fixture.h - what the tests of the master's state share: a state on the memory twin or on
 * RocksDB, short forms of the requests, and a check of everything that must always hold. */
#ifndef CATENA_TESTS_LIB_STATE_FIXTURE_H
#define CATENA_TESTS_LIB_STATE_FIXTURE_H
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>
#include "common/base/bytes.h"
#include "common/cluster/cluster_map.h"
#include "common/kv/kv.h"
#include "master/state/state.h"
#include "master/records/core.h"
#include "tests/lib/sessions.h"

#define FIXTURE_SESSION    7u
#define FIXTURE_SECRET     4711u
#define FIXTURE_PARTITIONS 16u

struct fixture {
	struct kv *kv;
	struct state *state;
	uint64_t index, session, request_id;
	uint64_t answered; /* what the next command says that the session has received */
	int64_t time;
	uint64_t name_mask;
	Catena__Reply *reply; /* of the last request; NULL: the store failed */
	uint8_t *bytes; /* the same, packed; NULL: of the lane, and done: the reply is empty */
	size_t size;
	uint64_t lane; /* what came back: so far the lane is done */
};

int fixture_open_state(struct fixture *f);
int fixture_init(struct fixture *f, uint64_t name_mask);
void fixture_end(struct fixture *f);

/* Opens the state again on what the store has. */
int fixture_reopen(struct fixture *f);

/* 0, -errno of the reply, or -EREMOTEIO: the store failed (then f->reply is NULL). */
int fixture_send(struct fixture *f, Catena__Request *request);

/* A server of this name with all that a registration needs. */
struct map_server fixture_server(const char *name);

/* Ends the fixture's session, and accepts the store as an older one. */
int fixture_accept(struct fixture *f, const struct state_accept *accept);

/* Registers a server with @count targets, whose uuids are given, by what is known of them now. */
int do_register_server(struct fixture *f, const struct map_server *server,
		       struct state_registered_target *targets, size_t count);
/* Registers fixture_server(@name) with one target or, if @uuid2 is not NULL, two. */
int do_register(struct fixture *f, const char *name, const char *uuid1, const char *uuid2);

/* Server a with uuid-1 and uuid-2, server b with uuid-3; in a new state their ids are 1, 2, 3. */
int fixture_three_targets(struct fixture *f);

ProtobufCBinaryData bytes_of(const char *text);

#define FIXTURE_REQUEST(type_, TYPE_, field_)                                                      \
	Catena__Request request = CATENA__REQUEST__INIT;                                           \
	Catena__##type_ req = CATENA__##TYPE_##__INIT;                                             \
	request.op_case = CATENA__REQUEST__OP_##field_

int do_lookup(struct fixture *f, uint64_t parent, const char *name);
int do_getattr(struct fixture *f, uint64_t ino);
int do_create_full(struct fixture *f, uint64_t parent, const char *name, uint32_t mode, bool open,
		   bool exclusive);
int do_create(struct fixture *f, uint64_t parent, const char *name);
int do_mkdir(struct fixture *f, uint64_t parent, const char *name);
int do_delegate(struct fixture *f, uint32_t count);
/* A file in the root directory, of a number that was delegated. */
int do_create_number(struct fixture *f, uint64_t ino, const char *name);
int do_symlink(struct fixture *f, uint64_t parent, const char *name, const char *target);
int do_link(struct fixture *f, uint64_t ino, uint64_t parent, const char *name);
int do_unlink(struct fixture *f, uint64_t parent, const char *name);
int do_rmdir(struct fixture *f, uint64_t parent, const char *name);
int do_rename(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent,
	      const char *new_name, uint32_t flags);
int do_readlink(struct fixture *f, uint64_t ino);
int do_readdir(struct fixture *f, uint64_t ino, uint64_t cookie, uint32_t limit, bool plus);
int do_open(struct fixture *f, uint64_t ino, bool truncate);
int do_close(struct fixture *f, uint64_t ino, uint32_t count);
int do_setattr(struct fixture *f, const Catena__SetattrReq *values);

/* SET_SIZE, SET_GROW (for the file's own id) and the SET_TRIM_* ones, of one who knows of
 * @truncations. */
int do_size_at(struct fixture *f, uint64_t ino, uint32_t mask, uint64_t size, uint64_t file_id,
	       uint64_t truncations);

/* The same of one who knows of all. */
int do_size(struct fixture *f, uint64_t ino, uint32_t mask, uint64_t size, uint64_t file_id);
int do_xattr(struct fixture *f, uint64_t ino, uint32_t op, const char *name, const char *value,
	     uint32_t flags);

/* The inode of what the last request made or found; 0: it failed. */
uint64_t reply_ino(const struct fixture *f);

/* ---- what must always hold ---- */

/* Every record fits every other, and the counters fit the records. */
bool state_is_sound(struct fixture *f);
#endif
