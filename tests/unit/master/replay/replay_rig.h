/* replay_rig.h - a master that keeps its log, as far as that concerns the log: a store on disk, the
 * local log, and a keeper of small segments; and replay() of what is kept.
 *
 * Whatever does not go as it should fails the test. Thread: the test's. */
#ifndef CATENA_TESTS_UNIT_MASTER_REPLAY_REPLAY_RIG_H
#define CATENA_TESTS_UNIT_MASTER_REPLAY_REPLAY_RIG_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/kv/kv.h"
#include "master/kept/directory.h"
#include "master/kept/keeper.h"
#include "master/log/command_log.h"
#include "master/state/state.h"

#define SEGMENT_BYTES  (16u << 10)
#define RIG_TURN_CALLS 8u

struct replay_rig {
	char path[256], store[320], log[320], work[320], copy[320];
	struct kv *kv;
	struct state *state;
	struct keeper *keeper;
	struct command_log *command_log;
	pthread_mutex_t lock;
	uint64_t session, chance, names, requests;
	bool write_half;       /* the next write of the keeper fails when half of it is done */
	atomic_bool space_low; /* what the keeper is told of the disk */
	char *said;            /* what replay() printed */
	size_t said_size;
	char error[512];
};

extern struct replay_rig rig;

/* Some commands as one batch. */
struct rig_turn {
	struct command_call calls[RIG_TURN_CALLS];
	Catena__Request requests[RIG_TURN_CALLS];
	Catena__CreateReq creates[RIG_TURN_CALLS];
	Catena__UnlinkReq unlinks[RIG_TURN_CALLS];
	char names[RIG_TURN_CALLS][32];
	unsigned count;
};

int rig_setup(void **state);
int rig_teardown(void **state);

/* Starts on what is in the store, and opens a session if there was none; ends. */
void rig_start(void);
void rig_stop(void);
/* Opens the store and the state only. */
void rig_open_state(void);
/* What the keeper is told by. */
const struct command_keeper *rig_telling(void);

/* The next call of the turn, which is to succeed; one with a request that makes or removes a name. */
struct command_call *rig_next_call(struct rig_turn *turn);
void rig_add_request(struct rig_turn *turn);
void rig_take_turn(struct rig_turn *turn);
/* As many commands, in batches of different length. */
void rig_work(unsigned commands);

/* What is kept: the caller frees *parts. */
size_t rig_parts(struct kept_part **parts);
uint32_t rig_last_number(void);
/* The path of a segment; valid until the next call. */
const char *rig_segment_path(uint32_t number);
/* Waits until some part from @first on has a checkpoint. */
void rig_wait_for_checkpoint(uint32_t first);

/* replay()'s result, with batches of @batch commands; rig.said and rig.error have its words. */
int rig_replay(unsigned batch);
void rig_expect_equal(void);
void rig_expect_difference(unsigned batch);
void rig_expect_said(const char *text);

/* Writes a record into a store that is closed, or deletes it (@value NULL). */
void rig_write_record(const char *path, unsigned family, const void *key, size_t size,
		      const char *value);
#endif
