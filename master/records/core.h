/* core.h - all that the state machine has in memory. */
#ifndef CATENA_MASTER_RECORDS_CORE_H
#define CATENA_MASTER_RECORDS_CORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/kv/kv.h"
#include "master/records/appends.h"
#include "master/records/cache.h"
#include "master/records/cluster.h"
#include "master/records/meta.h"
#include "master/records/sessions.h"
#include "master/records/txn.h"
#include "master/records/types.h"
#include "master/records/values.h"

/* The fenced sessions, ascending: the open ones, and those not below the floor. */
struct ended_sessions {
	uint64_t *ids;
	size_t count, capacity;
};

struct state {
	struct kv *kv; /* an overlay of the store's, see state_batch_begin() */
	char cluster_id[CLUSTER_ID_MAX];
	uint64_t instance;        /* 0: none yet */
	uint32_t level;           /* as stored */
	struct state_life *lives; /* ascending */
	size_t life_count;
	uint64_t accepted_life, accepted_chance; /* that began with the last acceptance; 0: none */
	uint8_t name_key[NAME_KEY_BYTES];
	uint64_t name_mask; /* all ones, but in tests, which want many names with one hash */
	struct counters counters;
	struct inode_cache *inodes;
	struct dentry_cache *dentries;
	struct session *sessions;
	struct open_total *opens;
	struct tree_lease lease;
	struct ended_sessions ended;
	bool fences_owed;
	struct append_right *appends;
	struct cluster cluster;
	struct txn txn;
	void (*report)(const char *line); /* NULL: to nobody */
	/* Reads memory anew from the store. */
	int (*reload)(struct state *state);
	bool stale; /* memory may differ from the store: read anew before anything else */
};

/* Reads memory anew when it may not be what the store is. 0: the state may be used. */
int core_ready(struct state *state);
#endif
