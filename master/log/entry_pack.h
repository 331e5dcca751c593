/* entry_pack.h - a command as the message of its entry. Pure. */
#ifndef CATENA_MASTER_LOG_ENTRY_PACK_H
#define CATENA_MASTER_LOG_ENTRY_PACK_H
#include "log.pb-c.h"
#include "master/log/command.h"
#include "master/log/entry_memory.h"

/* Fills @out with a command that entry_bounds_check() lets through. It points into @memory and to
 * what the command points to. -ENOMEM. */
int entry_pack(const struct log_command *command, struct entry_memory *memory,
	       Catena__LogEntry *out);
#endif
