/* entry_bounds.h - which commands an entry may hold. Pure. */
#ifndef CATENA_MASTER_LOG_ENTRY_BOUNDS_H
#define CATENA_MASTER_LOG_ENTRY_BOUNDS_H
#include "master/log/command.h"

#define ENTRY_TARGETS_MAX STATE_TARGETS_MAX
#define ENTRY_SERVERS_MAX STATE_SERVERS_MAX
#define ENTRY_CHAINS_MAX  65536u /* PARTITIONS_MAX: a store has one pool */
#define ENTRY_WORKERS_MAX STATE_WORKERS_MAX
#define ENTRY_REMOVED_MAX 4096u

/* Checks counts, lengths and numbers. 0; -EINVAL: one is out of bounds; -ENOMEM. */
int entry_bounds_check(const struct log_command *command);
#endif
