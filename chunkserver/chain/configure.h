/* configure.h - what a member is in its chain, and what becomes of its work when that changes. */
#ifndef CATENA_CHUNKSERVER_CHAIN_CONFIGURE_H
#define CATENA_CHUNKSERVER_CHAIN_CONFIGURE_H
#include "chunkserver/chain/member.h"

/* True when the chain names this target, and not as offline. */
bool chain_is_member(const struct chain *chain);
/* Keeps a predecessor's first question of an epoch that this member has not heard of yet. True: it
 * is kept until chain_configure(), and @payload is taken over. */
bool chain_early_keep(struct chain *chain, const struct chain_source *source,
		      const struct frame_header *header, struct buf *payload);
/* Drops what chain_early_keep() has kept. @status: its answer; 0: none. */
void chain_early_drop(struct chain *chain, uint32_t status);
/* Notes that something here is of a later epoch than the chain: see chain_configure(). */
void chain_outdated_found(struct chain *chain);
/* True when the chunk's record is of a later epoch than the chain, which is noted as above. A
 * record that cannot be read counts as not later. */
bool chain_chunk_is_later(struct chain *chain, const struct chunk_key *key);
#endif
