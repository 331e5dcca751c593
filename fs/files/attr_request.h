/* attr_request.h - requests to the master for the attributes of task->inode.
 *
 * Thread: any; @done comes on the RPC thread, with the task as user. Locks: none held by the
 * caller. */
#ifndef CATENA_FS_FILES_ATTR_REQUEST_H
#define CATENA_FS_FILES_ATTR_REQUEST_H
#include "fs/kernel/task.h"
#include "fs/session/meta.h"

/* Asks for the inode's attributes. */
void attr_request_fetch(struct task *task, meta_done_fn *done);
/* Encodes what task->set and task->size say of the inode. All pointers are borrowed. */
void attr_request_fill(const struct task *task, Catena__SetattrReq *setattr,
		       Catena__Request *request);
/* Sends what task->set and task->size say of the inode; with task->durable it is answered when it is
 * durable. attr_request_set_end() follows in @done. */
void attr_request_set(struct task *task, meta_done_fn *done);
/* Applies what came. The result is @error, or -EIO when the reply makes no sense. */
int attr_request_set_end(struct task *task, int error, const Catena__Reply *reply);
#endif
