/* disks.h - the disks of the simulated cluster, and what chains ask of them. */
#ifndef CATENA_TESTS_SIM_CLUSTER_DISKS_H
#define CATENA_TESTS_SIM_CLUSTER_DISKS_H
#include <errno.h>
#include "tests/sim/cluster/network.h"

/* ---- lookups of the chains ---- */

extern struct chain_ops disk_ops;

/* ---- operations ---- */

unsigned disk_number(const struct world *w, const struct disk *disk);
struct event *disk_begins(struct world *w, struct disk *disk, enum chain_action_kind kind);
void start_operation(struct world *w, struct disk *disk, const struct chain_action *action);
void operation_ended(struct world *w, struct event *event);

/* The events stay where they are, without effect. */
void drop_operations(struct world *w, struct disk *disk);

/* ---- what becomes of disks ---- */

/* Where servers have several, three of four do: so that in all worlds together as many servers have
 * one as have more. Returns how many. */
unsigned server_disks(struct world *w, unsigned server);
void disk_power_cut(struct world *w, struct disk *disk);

/* A new, empty one in its place. */
void disk_wipe(struct disk *disk);

/* What a copy has that somebody makes now. */
void disk_copy(struct disk *disk);
void disk_put_back(struct disk *disk);
void disk_set_aside(struct disk *disk);
void disk_take_back(struct disk *disk);
void disk_throw_away(struct disk *disk);
void disk_free(struct disk *disk);

/* Of an existing chunk. */
void disk_damage(struct world *w, struct disk *disk);
#endif
