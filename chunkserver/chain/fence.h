/* fence.h - updates of clients whose sessions are over: see fence.c. */
#ifndef CATENA_CHUNKSERVER_CHAIN_FENCE_H
#define CATENA_CHUNKSERVER_CHAIN_FENCE_H
#include "chunkserver/chain/member.h"

/* True when the client's session is over, so that no update of it is taken. */
bool chain_fence_refuses(const struct chain_env *env, uint64_t client_id);
/* Counts the request if it is an update of such a session, until chain_fence_uncount(). */
void chain_fence_count(struct request *r);
void chain_fence_uncount(struct request *r);
#endif
