/* target_mend.h - long work on a target, in the thread pool: it is opened again when it is down,
 * and its damage is settled.
 *
 * Thread: the loop's. */
#ifndef CATENA_CHUNKSERVER_SERVER_TARGET_MEND_H
#define CATENA_CHUNKSERVER_SERVER_TARGET_MEND_H
#include <stdbool.h>
#include <uv.h>
#include "chunkserver/store/store.h"

/* All zero but for the store. The store must stay open until the loop has ended its work. */
struct target_mend {
	struct store *store;
	uv_work_t recovery, settling;
	bool recovering, is_settling;
};

/* Begins to recover a target that is down. False: it is up, or recovery is under way. */
bool target_mend_recover(struct target_mend *mend, uv_loop_t *loop);
/* Begins to settle the damage of a target that has any and is up, if that is not under way. */
void target_mend_settle(struct target_mend *mend, uv_loop_t *loop);
#endif
