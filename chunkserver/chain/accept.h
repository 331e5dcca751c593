/* accept.h - updates and flushes, from their arrival to their place in a chunk's queue. */
#ifndef CATENA_CHUNKSERVER_CHAIN_ACCEPT_H
#define CATENA_CHUNKSERVER_CHAIN_ACCEPT_H
#include "chunkserver/chain/member.h"

/* Takes an update or a flush, or answers why not. @payload is taken over. */
void chain_update_arrived(struct chain *chain, const struct chain_source *source,
			  const struct frame_header *header, struct buf *payload);
/* Accepts the requests that were held while the link was not up, as far as it is now. */
void chain_held_accept(struct chain *chain);
/* Refuses the held requests; 0: without an answer. With @for_server 0 the predecessor's stay held
 * while its link stands. */
void chain_held_refuse(struct chain *chain, uint32_t for_client, uint32_t for_server);
#endif
