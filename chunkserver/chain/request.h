/* request.h - lives of requests, and the chunks that they are about.
 *
 * A request has one reference from the list that it is on, one from each operation of the store and
 * one from each action. It is over when it is off its lists: request->chain is NULL then. */
#ifndef CATENA_CHUNKSERVER_CHAIN_REQUEST_H
#define CATENA_CHUNKSERVER_CHAIN_REQUEST_H
#include "chunkserver/chain/member.h"

/* Makes a request of a frame. @payload (may be NULL) is taken over. */
struct request *chain_request_new(struct chain *chain, const struct chain_source *source,
				  const struct frame_header *header, struct buf *payload);
void chain_request_unref(struct request *r);
/* Moves the request to @state, which must be one that may follow the one it has. */
void chain_request_move(struct request *r, enum request_state state);
/* Begins the request's operation of the store outside of any chunk's queue. */
void chain_request_begin_reading(struct request *r, enum chain_action_kind kind);
/* Fills in a frame that says what the request says, without id, flags and length. */
void chain_request_fill_header(const struct request *r, struct frame_header *header);
/* Answers every source of the request with @status and takes it off its lists. That may free its
 * chunk, and the request unless another reference holds it. @payload is borrowed. */
void chain_request_end(struct request *r, uint32_t status, struct buf *payload);
/* Ends the request without an answer. */
void chain_request_end_silently(struct request *r);
/* Ends the request with one status for clients and one for the predecessor; 0: no answer. A request
 * that the store works on stays in its chunk's queue, dropped, until the store's result. */
void chain_request_refuse(struct request *r, uint32_t for_client, uint32_t for_server);
/* Ends a request whose chunk has been removed: clients are to ask again, the predecessor hears that
 * it is done. */
void chain_request_end_removed(struct request *r);
/* Adds one more source that waits for the request's answer. */
void chain_request_add_waiter(struct request *r, const struct chain_source *source);
/* Counts that the request has left its chunk's queue. */
void chain_request_unqueued(struct request *r);

/* Returns the chunk if something is going on in it, else NULL. */
struct chain_chunk *chain_chunk_find(struct chain *chain, const struct chunk_key *key);
/* Finds the chunk, or begins to know it from the store's record. -ESTALE: it is of a later epoch
 * than the chain; else the store's error. */
int chain_chunk_get(struct chain *chain, const struct chunk_key *key, struct chain_chunk **out);
/* Keeps the chunk while the caller walks over its lists. */
void chain_chunk_pin(struct chain_chunk *chunk);
/* Lets the chunk go. The last pin frees it when nothing is going on in it. */
void chain_chunk_unpin(struct chain_chunk *chunk);
/* Return the chain's first chunk, and the one behind @chunk, pinned; NULL: there is none. The latter
 * lets @chunk go. For loops that end requests: that may free any chunk but a pinned one. */
struct chain_chunk *chain_chunk_first(struct chain *chain);
struct chain_chunk *chain_chunk_after(struct chain_chunk *chunk);
#endif
