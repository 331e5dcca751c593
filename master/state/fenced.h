/* fenced.h - sessions that were ended by fence, as the store has them. */
#ifndef CATENA_MASTER_STATE_FENCED_H
#define CATENA_MASTER_STATE_FENCED_H
#include <stdbool.h>
#include <stdint.h>
#include "master/records/core.h"

/* After the sessions. */
int fenced_load(struct state *state);
void fenced_unload(struct state *state);
/* Adds state_fences_owed() to the batch; memory follows when it was written. */
void fenced_put_owed(struct kv_batch *batch, bool owed);
/* Adds to the batch what follows from the end of @session; fenced_closed() after it was written,
 * when the session is out of the table. */
void fenced_batch_close(const struct state *state, struct kv_batch *batch,
			const struct session *session);
void fenced_closed(struct state *state);
#endif
