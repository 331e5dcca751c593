/* target_mend.h - what is done for a target beside the workers, in the thread pool, since it may
 * take long: it is opened again when it was down, and its damage is settled. All on the loop's
 * thread. */
#ifndef CATENA_CHUNKSERVER_SERVER_TARGET_MEND_H
#define CATENA_CHUNKSERVER_SERVER_TARGET_MEND_H
#include <stdbool.h>
#include <uv.h>
#include "chunkserver/store/store.h"

/* Zeroed but for the store, which must stay open until the loop has ended its work. */
struct target_mend {
	struct store *store;
	uv_work_t recovery, settling;
	bool recovering, is_settling;
};

/* store_recover(), of a target that is down. False: it is under way, or nothing is to be done. */
bool target_mend_recover(struct target_mend *mend, uv_loop_t *loop);
/* store_damage_settled(), when the target is damaged, up, and that is not under way. */
void target_mend_settle(struct target_mend *mend, uv_loop_t *loop);
#endif
