/* ops.h - operation ids: each update has one for all of its attempts.
 *
 * Thread: any. Locks: takes the client's ops_lock. */
#ifndef CATENA_FS_CHAINS_OPS_H
#define CATENA_FS_CHAINS_OPS_H
#include "fs/chains/request.h"

struct chains_client;

/* Fills the header of an attempt. False: nothing may go out, see chains_ops_void(). */
bool chains_ops_header(struct chains_client *client, struct chains_request *request,
		       struct frame_header *header);
/* Says whether the update's session is over: then it must not be sent any more. */
bool chains_ops_void(struct chains_client *client, const struct chains_request *request);
/* Ends an update's id. @lingers: the chunk may keep it, and has little room for ids. True: the
 * chunk may keep some, and no update of it is open any more; then chains_ops_close() should
 * follow. */
bool chains_ops_forget(struct chains_client *client, struct chains_request *request, bool lingers);
/* Tells the chunk's members that all updates of @session were answered, if it is the session
 * still. */
void chains_ops_close(struct chains_client *client, const struct chunk_key *key, uint64_t session);
#endif
