/* outbound.h - the link to the successor: down -> wait -> comparing -> up. */
#ifndef CATENA_CHUNKSERVER_CHAIN_OUTBOUND_H
#define CATENA_CHUNKSERVER_CHAIN_OUTBOUND_H
#include "chunkserver/chain/member.h"

/* Adds a frame to the successor with a new request id, to be filled in further. */
struct chain_action *chain_outbound_send(struct chain *chain, uint8_t op);
/* Moves the link to @link, with all that this brings about. */
void chain_outbound_set(struct chain *chain, enum chain_link link);
/* Looks whether the link can go on: a resume, a new walk, or the next step of one. */
void chain_outbound_consider(struct chain *chain);
/* Notes that bytes of this copy, and of no other, may have been gone over by an update that will
 * not be done. The copy has to be compared before it is read, and before it counts as equal. Only
 * notes it, so that it may be called from anywhere; the link acts by it before its next use. */
void chain_copy_altered(struct chain *chain);
/* Takes the link back to comparing after a pause that grows with each time. @status: the reason. */
void chain_outbound_retry(struct chain *chain, uint32_t status);
/* Passes on that chunks were removed here, where the successor may have got copies of them. */
void chain_outbound_removed(struct chain *chain, const struct chunk_key *keys, size_t count);
/* Begins the link anew for the configuration of now. */
void chain_outbound_reset(struct chain *chain);
/* Asks the successor for news of its space (PING), when there is little and not too often. */
void chain_outbound_probe(struct chain *chain);
#endif
