/* types.h - what the state shows of its records as it keeps them. Pure. */
#ifndef CATENA_MASTER_RECORDS_TYPES_H
#define CATENA_MASTER_RECORDS_TYPES_H
#include <stdbool.h>
#include <stdint.h>
#include "common/cluster/ids.h"

/* The level of the state that this program makes: which kinds of commands, fields and meanings there
 * are. 0: from before levels. 1: COMMAND_LEVEL, COMMAND_REFUSED. */
#define STATE_LEVEL 2u

/* What a state may have at most. Servers, targets and workers: as many as maps may name
 * (common/cluster/cluster_map_codec.c). */
#define STATE_SERVERS_MAX  4096u
#define STATE_TARGETS_MAX  65536u
#define STATE_WORKERS_MAX  1024u /* of one server */
#define STATE_SESSIONS_MAX 4096u
#define STATE_OPENS_MAX    (1u << 20) /* inodes that one session has open */

/* A start of the master. */
struct state_life {
	uint64_t number, chance; /* 0: the store has not been started yet */
	uint64_t first_version;  /* of the state's map in this life */
	uint64_t first_index; /* its first command; 0: not known, it began before this was noted */
};

/* What a target remembers; life 0: nothing. */
struct state_seen {
	uint64_t life, chance;
	uint64_t version; /* of the newest map, as shown (common/cluster/cluster_map.h) */
	uint64_t index;   /* up to here the log was durable in that life; 0: not known */
};

struct state_removal {
	uint64_t sequence; /* of the queue entry */
	uint32_t pool;
	uint64_t file_id;
	uint64_t size; /* chunks may exist below this offset */
};

/* How fast members of chains are made equal. */
struct state_recovery {
	uint64_t rate; /* bytes a second and server; 0: as users leave room */
	bool paused;
};
#endif
