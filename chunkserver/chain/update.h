/* update.h - updates and flushes, from their place in a chunk's queue to their answer. */
#ifndef CATENA_CHUNKSERVER_CHAIN_UPDATE_H
#define CATENA_CHUNKSERVER_CHAIN_UPDATE_H
#include "chunkserver/chain/member.h"

/* Puts a request at the end of its chunk's queue, and advances the chunk. */
void chain_update_queue(struct chain_chunk *chunk, struct request *r);
/* Commits, prepares and reads what can be in this chunk. May free the chunk. */
void chain_chunk_advance(struct chain_chunk *chunk);
/* Makes a committed request (a flush: one whose turn has come) wait for the successor's answer and,
 * where it asks for that, for the own disk. */
void chain_update_become_pending(struct request *r);
/* Sends a pending request to the successor, if it is to be sent and can be now. */
void chain_update_forward(struct request *r);
/* Answers a pending request if nothing is left that it waits for. */
void chain_update_check_done(struct request *r);
/* Returns 0 when all that the client was answered last is here; LOST when that went with the power
 * of all copies, so that an update must not take its number; NOT_READY when the store failed. */
uint32_t chain_update_answered_status(const struct request *r);
#endif
