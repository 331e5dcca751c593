/* lives.h - the starts of the master that its store knows of. */
#ifndef CATENA_MASTER_STATE_LIVES_H
#define CATENA_MASTER_STATE_LIVES_H
#include <stdint.h>
#include "master/records/core.h"
#include "master/state/state.h"

int lives_load(struct state *state);
void lives_unload(struct state *state);
/* Begins one with the transaction's map version; lives_begin_failed() when that is not written.
 * -ENOMEM. */
int lives_begin(struct txn *txn, uint64_t index, uint64_t number, uint64_t chance);
void lives_begin_failed(struct state *state);
/* Notes the life that begins with an acceptance: it is known for ever, while lives are only kept
 * for some time. The caller reads the state anew. */
void lives_accepted(struct txn *txn, uint64_t number, uint64_t chance);
/* Deletes all that are stored, and what was given up with former ones; the caller reads the state
 * anew. */
void lives_forget(struct txn *txn);
/* Notes what the target @uuid had seen of the lives that are given up. After lives_forget(). */
void lives_give_up(struct txn *txn, const char *uuid, const struct state_seen *seen);
#endif
