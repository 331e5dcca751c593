/* chain_manager_rig.h - a cluster as the chain manager sees it: servers that register, beat, fail
 * and come back, members that are made equal, and a log that takes every plan.
 *
 * Every plan that is taken is checked: what must hold of every change of a chain holds. */
#ifndef CATENA_TESTS_UNIT_MASTER_CHAINS_CHAIN_MANAGER_RIG_H
#define CATENA_TESTS_UNIT_MASTER_CHAINS_CHAIN_MANAGER_RIG_H
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/duration.h"
#include "master/chains/manager.h"

#define MS             NS_PER_MSEC
#define RIG_SERVERS    12u
#define RIG_TARGETS    24u
#define RIG_PARTITIONS 64u

struct rig_target {
	struct liveness_report report;
	uint64_t foreign; /* bytes that others have on its disk */
	uint32_t server;  /* index */
	bool listed;
};

struct rig_server {
	bool up, connected, refusing, silent; /* refusing: nobody listens while it is down */
	bool renewed;                         /* by the last heartbeat */
	uint64_t lost_ns;                     /* when it fell silent */
};

struct rig {
	struct chain_manager *manager;
	struct chain_manager_options options;
	struct cluster_map map;
	struct map_pool pool;
	struct map_chain chains[RIG_PARTITIONS];
	struct map_server servers[RIG_SERVERS];
	struct map_target targets[RIG_TARGETS];
	struct rig_server server[RIG_SERVERS];
	struct rig_target target[RIG_TARGETS];
	uint64_t stored_life[RIG_TARGETS];
	uint64_t now_ns, beat_ns;
	uint64_t chain_bytes; /* what a chain takes on a disk; 0: targets say nothing of it */
	bool catches_up;      /* syncing members are reported as soon as they are seen */
	unsigned plans, changes;
	uint32_t last_fenced;
	const char *broken; /* what did not hold */
};

void rig_init(struct rig *r, uint32_t servers, uint32_t per_server, uint32_t copies,
	      uint32_t partitions);
void rig_end(struct rig *r);

/* ---- what servers do ---- */

int rig_register(struct rig *r, uint32_t s);
bool rig_beat(struct rig *r, uint32_t s, bool leaving);

/* The process is killed: its stream breaks at once. */
void rig_kill(struct rig *r, uint32_t s);

/* The machine is gone: nothing is heard, nothing is refused. */
void rig_lose(struct rig *r, uint32_t s);
int rig_start(struct rig *r, uint32_t s);

/* ---- plans ---- */

bool rig_in_sync(const struct map_chain *chain, uint32_t target);
void rig_take(struct rig *r, const struct chain_plan *plan);

/* ---- what members report ---- */

/* Of the chain @p about @target, by whom it must be: the tail, or the target itself. */
struct chain_manager_report rig_said(const struct rig *r, uint32_t p, uint32_t target,
				     bool by_tail);
void rig_caught_up(struct rig *r, uint32_t p, uint32_t target);
void rig_unfit(struct rig *r, uint32_t p, uint32_t target);

/* Time goes by: heartbeats each half second, plans every 10 ms. */
void rig_run(struct rig *r, uint64_t ms);
void rig_all_up(struct rig *r);

/* ---- questions ---- */

uint32_t rig_count(const struct rig *r, enum member_state state);
uint32_t rig_load(const struct rig *r, uint32_t target);
bool rig_whole(const struct rig *r);

/* "1 2+ 3-": in-sync, syncing, offline. */
const char *rig_chain(const struct rig *r, uint32_t partition);
void rig_set_chain(struct rig *r, uint32_t partition, uint32_t a, uint32_t b, uint32_t c);

/* ---- of most tests ---- */

/* @servers with one target each; one chain of 1, 2, 3 in this order when copies say so. */
void rig_begin(struct rig *r, uint32_t servers, uint32_t copies, uint32_t partitions);
void rig_finish(struct rig *r);
#endif
