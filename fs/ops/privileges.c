/* privileges.c - see privileges.h. */
#include "fs/ops/privileges.h"
#include <linux/fuse.h>
#include "fs/ops/ops.h"

static _Thread_local bool asked;

/* The argument behind the header; NULL: the request is too short to have it. */
static const void *argument(const struct fuse_in_header *in, size_t size, size_t argument_size)
{
	return size >= sizeof(*in) + argument_size ? in + 1 : NULL;
}

static bool says_so(const struct fuse_in_header *in, size_t size)
{
	const struct fuse_write_in *write;
	const struct fuse_setattr_in *setattr;
	const struct fuse_create_in *create;

	switch (in->opcode) {
	case FUSE_WRITE:
		write = argument(in, size, sizeof(*write));
		return write != NULL && (write->write_flags & FUSE_WRITE_KILL_SUIDGID);
	case FUSE_SETATTR:
		setattr = argument(in, size, sizeof(*setattr));
		return setattr != NULL && (setattr->valid & FATTR_KILL_SUIDGID);
	case FUSE_CREATE:
		create = argument(in, size, sizeof(*create));
		return create != NULL && (create->open_flags & FUSE_OPEN_KILL_SUIDGID);
	case FUSE_FALLOCATE:
		/* Not said. Who may keep the bits (CAP_FSETID) is root, as a rule. */
		return in->uid != 0;
	default:
		return false;
	}
}

void privileges_request(const void *request, size_t size)
{
	asked = size >= sizeof(struct fuse_in_header) && says_so(request, size);
}

bool privileges_asked(void)
{
	return asked;
}

bool privileges_lost(struct inode *inode)
{
	const uint32_t set_group = S_ISGID | S_IXGRP;
	bool lost;

	pthread_mutex_lock(&inode->lock);
	lost = !inode->known ||
	       (attr_is_regular(&inode->attr) &&
		((inode->attr.mode & S_ISUID) || (inode->attr.mode & set_group) == set_group));
	pthread_mutex_unlock(&inode->lock);
	return lost;
}

/* Of attributes only, so it waits for no page and may be said from any thread. */
void privileges_cleared(struct fs *fs, struct inode *inode)
{
	if (fs->session != NULL)
		fuse_lowlevel_notify_inval_inode(fs->session, inode->ino, -1, 0);
}

static void cleared(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	error = setattr_end(task, error, reply);
	if (error == 0)
		privileges_cleared(task->fs, task->inode);
	task->cleared(task, error);
}

void privileges_clear(struct task *task, void (*done)(struct task *task, int error))
{
	task->cleared = done;
	task->set.mask = CATENA__SET_MASK__SET_KILL_PRIV;
	setattr_send(task, cleared);
}
