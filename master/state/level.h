/* level.h - the level of a state: what kinds, fields and meanings of commands count in it. */
#ifndef CATENA_MASTER_STATE_LEVEL_H
#define CATENA_MASTER_STATE_LEVEL_H
#include "master/state/state.h"

void level_put(struct kv_batch *batch, uint32_t level);
/* Reads the level. -EPROTONOSUPPORT: it is of a later program; state->level says which. */
int level_load(struct state *state);
#endif
