/* inbound.h - the link from the predecessor: being compared, being made equal, removals. */
#ifndef CATENA_CHUNKSERVER_CHAIN_INBOUND_H
#define CATENA_CHUNKSERVER_CHAIN_INBOUND_H
#include "chunkserver/chain/member.h"

/* Takes a CATCHUP frame of the predecessor, or answers why not. @payload is taken over. */
void chain_inbound_arrived(struct chain *chain, const struct chain_source *source,
			   const struct frame_header *header, struct buf *payload);
/* Goes on with a comparison, when the queues of its range are empty and nothing is being removed.
 */
void chain_inbound_advance(struct chain *chain);
/* Begins removals that waited for what was going on in their chunks. */
void chain_inbound_removals_advance(struct chain *chain);
/* Answers CATCHUP_END (or a resume) if nothing is left that it waits for. */
void chain_inbound_end_answer(struct chain *chain);
/* Goes on with CATCHUP_END: nothing of what came before it is in a queue any more. */
void chain_inbound_end_advance(struct chain *chain);
/* Answers CATCHUP_END as not done: what it waits for ends otherwise. */
void chain_inbound_end_refuse(struct chain *chain);
/* Gives the link up: the predecessor has to compare before it sends anything else. */
void chain_inbound_lose(struct chain *chain);
/* Notes that something was copied to this member or removed from it by its predecessor: those
 * behind it have to be compared, too. */
void chain_inbound_changed(struct chain *chain);
/* Completes a copied chunk: its CATCHUP_COMMIT is first in the chunk's queue. */
void chain_inbound_complete(struct request *r);
/* True when the predecessor may be copying the chunk: it is in the range that was compared last. */
bool chain_inbound_copies(const struct chain *chain, const struct chunk_key *key);
/* True when the chunk is in the range that the predecessor is comparing. */
bool chain_inbound_compares(const struct chain *chain, const struct chunk_key *key);
/* Remembers a damaged chunk, to be copied by the next walk whatever its record says. */
void chain_suspect_add(struct chain *chain, const struct chunk_key *key);
/* Notes that a chunk cannot be read or changed here: another member has to bring it anew. */
void chain_damage_found(struct chain *chain, const struct chunk_key *key);
#endif
