/* entry_unpack.h - the message of an entry as a command. Pure. */
#ifndef CATENA_MASTER_LOG_ENTRY_UNPACK_H
#define CATENA_MASTER_LOG_ENTRY_UNPACK_H
#include "log.pb-c.h"
#include "master/log/command.h"
#include "master/log/entry_memory.h"

/* Fills @out, which points into @memory and to parts of @message. What it says is for
 * entry_bounds_check(). -EBADMSG: a part is missing, or does not fit the command's structs.
 * -ENOMEM. */
int entry_unpack(const Catena__LogEntry *message, struct entry_memory *memory,
		 struct log_command *out);
#endif
