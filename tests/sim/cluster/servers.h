/* servers.h - chunkservers: they execute what the chains decide, hold on to the master's
 * lease by their own clocks, and follow its maps. */
#ifndef CATENA_TESTS_SIM_CLUSTER_SERVERS_H
#define CATENA_TESTS_SIM_CLUSTER_SERVERS_H
#include "chunkserver/record/seen.h"
#include "common/base/duration.h"
#include "tests/sim/cluster/disks.h"
#include "tests/sim/cluster/sessions.h"
#include "master/state/chain_faults.h"

#define SERVER_TICK      (50 * MS)
#define SERVER_HEARTBEAT (500 * MS)

/* Disks of server @s, as disk; its process is to be running.
 * NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared cannot stand in them. */
#define EACH_DISK(w, s, each)                                                                      \
	for (struct disk *each = &(w)->disks[(s)*DISKS_EACH];                                      \
	     each < &(w)->disks[((s) + 1) * DISKS_EACH]; each++)                                   \
		if (each->env != NULL)
/* NOLINTEND(bugprone-macro-parentheses) */

void server_time(struct world *w, unsigned s);

/* ---- actions ---- */

void server_run(struct world *w, unsigned s);

/* ---- members by the map ---- */

unsigned server_by_id(const struct world *w, uint64_t id);
void tell_connections(struct world *w, unsigned s);

/* ---- what targets remember of masters and maps (own_targets.c, disk/seen.c) ---- */

void heartbeat(struct world *w, unsigned s);
void session_begins(struct world *w, unsigned s);
void session_registered(struct world *w, unsigned s, const struct event *event);
void session_renewed(struct world *w, unsigned s, uint64_t sequence, uint64_t index);

/* Something may have ended that was waited for: then the master is told at once. */
void server_fence_look(struct world *w, unsigned s);
void session_map(struct world *w, unsigned s, struct cluster_map *map);
void sim_session_remove(struct world *w, unsigned s, const struct event *event);
void removed_by_master(struct world *w, unsigned s, const struct event *event);

/* ---- life and death ---- */

void schedule_local(struct world *w, unsigned s, uint64_t after, enum event_kind kind);
/* What was broken off in place on this disk, which goes on alone in the chain: nobody makes it good,
 * and it is seen before it is repeated, as when a process ends (docs/limits.md). */
void note_halves(struct world *w, const struct disk *disk, unsigned p);
void server_start(struct world *w, unsigned s);
void server_kill(struct world *w, unsigned s, bool power);
void disk_fails(struct world *w, struct disk *disk);
void disk_back(struct world *w, struct disk *disk);
#endif
