/* attr_request.c - see attr_request.h. */
#include "fs/files/attr_request.h"
#include <errno.h>
#include "common/base/expects.h"
#include "fs/inodes/inode_apply.h"
#include "fs/kernel/task.h"

void attr_request_fetch(struct task *task, meta_done_fn *done)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	bool now;

	getattr.ino = task->inode->ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	pthread_mutex_lock(&task->inode->lock);
	now = task->inode->commands.under_way == 0;
	pthread_mutex_unlock(&task->inode->lock);
	task->generation = meta_generation(task->fs->meta);
	if (now)
		meta_call_now(task->fs->meta, &request, done, task);
	else
		meta_call(task->fs->meta, &request, done, task);
}

void attr_request_fill(const struct task *task, Catena__SetattrReq *setattr,
		       Catena__Request *request)
{
	setattr->ino = task->inode->ino;
	setattr->mask = task->set.mask;
	setattr->mode = task->set.mode;
	setattr->uid = task->set.uid;
	setattr->gid = task->set.gid;
	setattr->atime = task->set.atime;
	setattr->mtime = task->set.mtime;
	setattr->size = task->size;
	/* It was delegated to the session in which the task began. */
	if (task->session == atomic_load(&task->fs->session_id))
		setattr->new_file_id = task->new_file_id;
	request->op_case = CATENA__REQUEST__OP_SETATTR;
	request->setattr = setattr;
}

void attr_request_set(struct task *task, meta_done_fn *done)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct inode *inode = task->inode;
	bool now;

	attr_request_fill(task, &setattr, &request);
	request.durable = task->durable;
	task->changes = atomic_load(&task->fs->changes);
	pthread_mutex_lock(&inode->lock);
	now = inode->commands.under_way++ == 0;
	inode->commands.setattrs++;
	task->seq = inode->local.write_seq;
	pthread_mutex_unlock(&inode->lock);
	task->generation = meta_generation(task->fs->meta);
	if (now)
		meta_call_now(task->fs->meta, &request, done, task);
	else
		meta_call(task->fs->meta, &request, done, task);
}

int attr_request_set_end(struct task *task, int error, const Catena__Reply *reply)
{
	struct inode *inode = task->inode;

	if (error == 0 && task->durable)
		inode_change_flushed(task->fs, inode, task->changes);
	else
		inode_change_end(task->fs, inode, reply != NULL);
	pthread_mutex_lock(&inode->lock);
	expects(inode->commands.setattrs > 0);
	inode->commands.setattrs--;
	if (error == 0) {
		/* Times of our own writes and reads, made before, are overruled. */
		if ((task->set.mask & CATENA__SET_MASK__SET_MTIME) &&
		    inode->local.write_seq == task->seq)
			inode_mtime_set(inode, !meta_sole(task->fs->meta));
		if (task->set.mask & CATENA__SET_MASK__SET_ATIME)
			inode->local.dirty &= ~(uint32_t)INODE_DIRTY_ATIME;
	}
	pthread_mutex_unlock(&inode->lock);
	if (error == 0 && reply->attr == NULL)
		error = -EIO;
	if (reply != NULL && inode_apply(task->fs, inode, reply->attr, task->generation) != 0)
		error = -EIO;
	return error;
}
