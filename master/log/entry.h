/* entry.h - a command as bytes: an entry of a log that is kept on disk, or sent to other masters.
 *
 * The bytes are a LogEntry (log.proto). There is one encoding of each command: what decodes is
 * encoded to the same bytes again, so masters may compare entries by their bytes.
 *
 * The bytes come from a disk or the network, and are not trusted. Decoding bounds what the state
 * machine takes for granted. What it checks itself, against what it knows, is left to it.
 *
 * A reader must not skip what it does not know, or its state would not be that of others. So an
 * unknown field, at any depth, is an error of its own. In requests, which clients send, encoding
 * leaves unknown fields out: the state machine does not look at them.
 *
 * Pure. Thread: any. */
#ifndef CATENA_MASTER_LOG_ENTRY_H
#define CATENA_MASTER_LOG_ENTRY_H
#include <stddef.h>
#include <stdint.h>
#include "master/log/command.h"

#define ENTRY_FORMAT 1u
/* Room for the change of all chains and the lives of all targets in one command. */
#define ENTRY_BYTES_MAX (16u << 20)

struct entry {
	uint64_t index;
	struct log_command command;
};

/* Encodes @command as the entry @index, which is not 0. *out is malloc()ed. -EINVAL: decoding would
 * refuse it. -EMSGSIZE: above ENTRY_BYTES_MAX. -ENOMEM. */
int entry_encode(const struct log_command *command, uint64_t index, uint8_t **out, size_t *size);
/* Decodes. *out holds the command and all that it points to, nothing of @data; it is freed with
 * entry_free(). -EBADMSG: not well-formed, not as entry_encode() makes it, or counts, lengths or
 * numbers out of bounds. -EPROTONOSUPPORT: a format, kind, field or level of a later version; the reader
 * must stop before it. -ENOMEM. */
int entry_decode(const uint8_t *data, size_t size, struct entry **out);
void entry_free(struct entry *entry); /* NULL is allowed */
#endif
