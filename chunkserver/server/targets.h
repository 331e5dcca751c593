/* targets.h - the targets that this server has opened, with what each of them is to the master.
 *
 * Thread: the front loop's. */
#ifndef CATENA_CHUNKSERVER_SERVER_TARGETS_H
#define CATENA_CHUNKSERVER_SERVER_TARGETS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "chunkserver/server/master_session.h"
#include "chunkserver/server/target_mend.h"
#include "chunkserver/store/store.h"
#include "chunkserver/worker/target_entry.h"
#include "common/os/conf.h"

struct server_target {
	struct store *store;
	const char *path; /* of the configuration, borrowed */
	char uuid[64];
	struct target_entry entry; /* as the workers have it */
	struct target_mend mend;
	bool told_down; /* in the last heartbeat */
	bool low;       /* store_is_low() */
};

/* All zero: none. */
struct targets {
	struct server_target *items;
	struct store **stores; /* of the same, in their order */
	uint32_t *ids;         /* by the master, 0: refused; NULL: not registered yet */
	unsigned count;        /* opened so far */
};

/* Opens the targets at @paths. One that cannot be opened is left out, with a line in the log, as
 * long as there is another one. Errors: -EBUSY when another process has one of them in use, -EXDEV
 * when they belong to two clusters, or else what the last one had when none can be opened; with one
 * line in @error, except for -ENOMEM. Those that are open stay, for targets_close(). */
int targets_open(struct targets *targets, const struct conf_list *paths, const char *cluster,
		 struct buf_pool *pool, char *error, size_t error_size);
/* Returns the instance of the cluster that they belong to; 0: none yet. */
uint64_t targets_instance(const struct targets *targets);
/* Takes the numbers that the master has given them; see worker_set_identity(). */
void targets_registered(struct targets *targets, const uint32_t *ids, uint64_t map_version);
/* A map of this version has been taken. */
void targets_map(struct targets *targets, uint64_t version);
/* Fills in the state of a target for the master. report->uuid stays the target's. */
void targets_report(struct targets *targets, unsigned index, struct target_report *report);
/* Settles the damage of all targets but the refused ones, in the thread pool. The master has
 * settled their lives. */
void targets_settle_damage(struct targets *targets, uv_loop_t *loop);
/* True: one is down, or up, and the master was last told otherwise. */
bool targets_have_changed(const struct targets *targets);
/* Begins to recover those that are down, in the thread pool. */
void targets_recover(struct targets *targets, uv_loop_t *loop);
/* When nothing uses them any more: workers have stopped, and the loop has ended its work. */
void targets_close(struct targets *targets);
#endif
