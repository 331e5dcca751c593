/* fs_master_fixture.h - meta_*() on the master's real state machine in memory, without a
 * connection.
 *
 * Answers can be held back and given in any order, requests fail or be lost, and others can be let
 * into the state. A part of fs_fixture.h. */
#ifndef CATENA_TESTS_LIB_FS_MASTER_FIXTURE_H
#define CATENA_TESTS_LIB_FS_MASTER_FIXTURE_H
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "common/kv/kv.h"
#include "fs/session/meta.h"
#include "master/state/state.h"
#include "tests/lib/fs_events.h"

struct held_reply {
	struct held_reply *next;
	meta_done_fn *done;
	void *user;
	uint8_t *bytes;
	size_t size;
};

struct master {
	pthread_mutex_t lock;
	struct kv *kv;
	struct state *state;
	uint64_t index, id, session;
	bool sole, hold, unreachable;
	uint64_t grant, last_generation; /* of the lease, in the last request */
	bool lose;                       /* nothing is executed: the answers are for nobody */
	uint64_t lease_left_ns;
	_Atomic uint64_t generation;
	unsigned returns;
	int fail; /* the next request ends with this errno, not executed */
	struct held_reply *held;
	unsigned durable; /* requests to be answered when durable */
};
extern struct master master;

void deliver(struct held_reply *held);

/* Gives the held answers, the last first if @backwards. */
void release_replies(bool backwards);

/* Somebody else's request. */
int other_session(uint64_t session, Catena__Request *request);
void set_sole(bool sole);
struct state_counts counts(void);
#endif
