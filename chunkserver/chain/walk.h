/* walk.h - the walk that makes the successor equal, and which updates have to wait for it. */
#ifndef CATENA_CHUNKSERVER_CHAIN_WALK_H
#define CATENA_CHUNKSERVER_CHAIN_WALK_H
#include "chunkserver/chain/member.h"

/* Begins a walk over the link, which must be in WAIT. */
void chain_walk_start(struct chain *chain);
/* Takes the steps that the walk can take now, and decides anew about what is pending. */
void chain_walk_advance(struct chain *chain);
/* Ends the walk. chain_walk_release() must follow. */
void chain_walk_drop(struct chain *chain);
/* Lets the chunk that was copied go on, if the walk has done with it. */
void chain_walk_release(struct chain *chain);
/* Takes an answer of the successor. False: it was not to a frame of the walk. */
bool chain_walk_answered(struct chain *chain, const struct frame_header *header,
			 const struct buf *payload);
/* True while no update of the chunk may be begun. */
bool chain_walk_blocks(const struct chain_chunk *chunk);
/* Tells the walk that the chunk's queue has changed. */
void chain_walk_chunk_quiet(struct chain_chunk *chunk);

/* What a committed request has to do with the successor. */
enum follow {
	FOLLOW_SEND,  /* send it, and wait for the answer */
	FOLLOW_LEAVE, /* the walk copies it: wait for no answer */
	FOLLOW_LATER  /* not decided yet */
};
enum follow chain_walk_follow(const struct request *r);
/* Decides anew for all that is pending. */
void chain_pending_advance(struct chain *chain);
/* True when the successor's disk must have what is sent, too. Before the end of the walk it need
 * not: that end brings about a flush of everything. */
bool chain_walk_needs_flush(const struct chain *chain);
#endif
