/* drop.h - requests that end without having been done, or are to be tried again.
 *
 * @for_client and @for_server are the answers to clients and to the predecessor; 0: no answer. */
#ifndef CATENA_CHUNKSERVER_CHAIN_DROP_H
#define CATENA_CHUNKSERVER_CHAIN_DROP_H
#include "chunkserver/chain/member.h"

/* Drops everything that is not committed yet. Operations under way end later: chain->queued counts
 * them until then. */
void chain_drop_queued(struct chain *chain, uint32_t for_client, uint32_t for_server);
/* Drops what chain_drop_queued() does, but for updates that the store has begun with and those
 * before them. These come to their end: the bytes of a begun one may be in place already, where no
 * comparison would find them. */
void chain_drop_not_begun(struct chain *chain, uint32_t for_client);
/* Drops @r and everything queued behind it on its chunk. */
void chain_drop_from(struct request *r, uint32_t for_client, uint32_t for_server);
/* Drops everything that is committed and not answered. */
void chain_drop_pending(struct chain *chain, uint32_t for_client, uint32_t for_server);
/* Drops all of these, and the links to both sides with what they had made certain. */
void chain_drop_everything(struct chain *chain, uint32_t for_client, uint32_t for_server);
/* Answers the chunk's pending updates as done: a copy, or the chunk's removal, has superseded them.
 */
void chain_drop_chunk_pending(struct chain *chain, const struct chunk_key *key);
/* Drops what waits in a chunk that the master had removed: it would make the chunk anew, for no
 * client. What is copied stays: the predecessor passes its own removal on. True: there is such. */
bool chain_drop_removed(struct chain *chain, const struct chunk_key *key);
/* Begins requests in RETRY again, or, with @drop, drops them with all behind them. */
void chain_retry_requests(struct chain *chain, bool drop);
#endif
