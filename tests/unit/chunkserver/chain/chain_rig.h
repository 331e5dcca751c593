/* chain_rig.h - one chain member alone, for tests: the test is its predecessor, its successor, its
 * clients, and decides when its store has ended what. */
#ifndef CATENA_TESTS_UNIT_CHUNKSERVER_CHAIN_CHAIN_RIG_H
#define CATENA_TESTS_UNIT_CHUNKSERVER_CHAIN_CHAIN_RIG_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "common/base/bitmap.h"
#include "common/base/duration.h"
#include "tests/lib/chain_store.h"

#define POOL      1u
#define PARTITION 3u
#define CLIENT    11u /* connections */
#define BEFORE    12u
#define RIG_MAX   256

struct rig {
	struct model_store store;
	struct chain_env *env;
	struct chain *chain;
	unsigned self, count; /* place in the chain; servers and targets are 1, 2, ... by place */
	uint64_t now, lease_until, free_bytes, in_flight, last_request;
	int info_error;
	/* What the chain wants, oldest first. */
	struct chain_action operations[RIG_MAX], sent[RIG_MAX], answers[RIG_MAX];
	size_t operation_count, sent_count, answer_count;
	unsigned aborts, troubles;
	struct chain_action report; /* the last one */
	unsigned reports;
};

/* Takes all actions; commits are executed at once. */
void rig_run(struct rig *rig);
struct chain_action take(struct chain_action *list, size_t *count, size_t at);

/* The disk is full when half of the oldest update being prepared is in place. */
void rig_breaks_off(struct rig *rig);

/* Ends the oldest operation of that kind. */
void rig_end(struct rig *rig, enum chain_action_kind kind, int error);
size_t rig_operations(const struct rig *rig, enum chain_action_kind kind);

/* ---- messages ---- */

struct chunk_key rig_key(uint64_t file_id);
struct frame_header rig_header(struct rig *rig, uint8_t op, uint64_t file_id);

/* @payload is given away. */
uint64_t rig_ask(struct rig *rig, uint64_t conn, const struct frame_header *header,
		 struct buf *payload);
struct buf *rig_payload(uint32_t blocks);
uint64_t client_writes(struct rig *rig, uint64_t op_id, uint32_t first, uint32_t blocks,
		       uint16_t flags);
uint64_t predecessor_writes(struct rig *rig, uint64_t version, uint32_t first);
uint64_t client_reads(struct rig *rig, uint32_t first);
uint64_t rig_flush(struct rig *rig, uint64_t conn);

#define NO_ANSWER UINT32_MAX
/* The status with which the request was answered; it is taken off the list. */
uint32_t answer_to(struct rig *rig, uint64_t request_id);

/* The successor answers the oldest frame sent to it. */
void successor_answers(struct rig *rig, uint32_t status);

/* ---- its place ---- */

void rig_configure(struct rig *rig, uint64_t epoch, unsigned self, unsigned count);
struct rig *rig_new(unsigned self, unsigned count);

/* What was sent so far is not looked at any more. */
void rig_forget_sent(struct rig *rig);

/* Nor what was answered. */
void rig_forget_answers(struct rig *rig);

/* Ends what is under way, and checks that nothing is left. */
void rig_free_all(struct rig *rig);
void successor_connects(struct rig *rig);

/* The successor answers everything until the walk is over. */
void link_comes_up(struct rig *rig);
uint64_t predecessor_compares(struct rig *rig, const struct catchup_compare *compare);
uint64_t predecessor_ends(struct rig *rig);

/* An equal partition is compared: everything the member has is said to be so there, too. */
struct catchup_compare everything(struct rig *rig);
void inbound_comes_up(struct rig *rig);

/* Head, middle or tail of three, with all links up. */
struct rig *rig_up(unsigned self);
uint32_t refusal(struct rig *rig, uint64_t conn, struct frame_header header);
#endif
