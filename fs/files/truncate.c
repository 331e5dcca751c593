/* truncate.c - see truncate.h.
 *
 * A truncation goes like this, all of it behind the inode's gate:
 * 1. To size 0 what is on its way to the chunks comes there first: the old file's chunks are
 *    removed, and what came later would make them anew.
 * 2. A size that only we know is told, so that the master's trim covers all chunks there can be.
 * 3. The master records size and trim in one command, and answers when that is durable: with its
 *    power the old size would come back, and must not find zeros.
 * 4. The bytes behind the new end are punched from all copies; then the program has its answer.
 * 5. The trim stays recorded until the punch is durable too (flush/tail_trim.c). An operation that
 *    wants to extend the file before that waits for it.
 *
 * A failure:
 * - An earlier trim is in the way (-EBUSY, or known here): the gate is left, the trim settled, and
 *   the truncation begins anew.
 * - Another mount is appending (-EAGAIN): the right to append is taken first, so that what it
 *   writes does not come to lie behind the new end.
 * - The punch fails: the program gets the error. The trim stays recorded and is done when it is in
 *   the way of something. */
#include "fs/files/truncate.h"
#include <errno.h>
#include <stddef.h>
#include "fs/files/append.h"
#include "fs/flush/flush.h"
#include "fs/flush/tail_trim.h"
#include "fs/files/attr_request.h"
#include "fs/inodes/inode_data.h"
#include "fs/kernel/task.h"

static void end(struct task *task, int error)
{
	if (task->has_right)
		append_right_return(task);
	task->has_right = false;
	inode_gate_leave(task->inode);
	task->truncated(task, error);
}

static void trimmed(void *user, int error)
{
	end(user, error);
}

static void send(struct task *task);

static void settled(void *user, int error)
{
	struct task *task = user;

	/* In again, behind whoever came in meanwhile. */
	if (error != 0)
		task->truncated(task, error);
	else
		truncate_begin(task, task->truncated);
}

/* Somebody's trim stands in the way of growing. Settling has a gate entry of its own. */
static void settle(struct task *task)
{
	if (task->has_right)
		append_right_return(task);
	task->has_right = false;
	inode_gate_leave(task->inode);
	tail_trim_settle(task->fs, task->inode, settled, task);
}

/* Another mount was appending: what it writes must not come to lie behind the new end. */
static void may_truncate(struct task *task, int error)
{
	task->has_right = error == 0;
	if (error != 0)
		end(task, error);
	else
		send(task);
}

static void sized(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct inode *inode = task->inode;
	bool trim;

	/* Before the new attributes: what is local is of the old size. */
	pthread_mutex_lock(&inode->lock);
	if (error == 0)
		inode_update_forget(inode, !meta_sole(task->fs->meta));
	pthread_mutex_unlock(&inode->lock);
	error = attr_request_set_end(task, error, reply);
	if (error == -EBUSY) {
		settle(task);
		return;
	}
	if (error == -EAGAIN) {
		append_right_take(task, may_truncate);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	trim = error == 0 && attr_trim_pending(&inode->attr) &&
	       inode->attr.trim_session == meta_session_id(task->fs->meta);
	pthread_mutex_unlock(&inode->lock);
	if (trim)
		tail_trim_punch(task->fs, inode, task->size_before, false, trimmed, task);
	else
		end(task, error);
}

static void send(struct task *task)
{
	struct inode *inode = task->inode;
	bool announce, in_the_way;

	pthread_mutex_lock(&inode->lock);
	announce = (inode->local.dirty & INODE_DIRTY_SIZE) != 0;
	task->size_before = inode_size(inode);
	in_the_way = task->size > task->size_before && attr_trim_pending(&inode->attr);
	pthread_mutex_unlock(&inode->lock);
	if (in_the_way) {
		settle(task);
		return;
	}
	/* What others have written, only the master knows. */
	task->durable =
		task->size != 0 && (task->size < task->size_before || !meta_sole(task->fs->meta));
	if (announce)
		flush_attrs_now(task->fs, inode);
	attr_request_set(task, sized);
}

static void written_back(void *user, int error)
{
	struct task *task = user;

	if (error != 0)
		inode_tell_failed(task->inode, error);
	send(task);
}

/* The old file's chunks are removed when the new size is 0; what is still on its way to them would
 * make them anew, and then nobody would remove them. */
static void entered(struct task *task)
{
	struct data_file *file = inode_data_find(task->inode);

	if (task->size == 0 && file != NULL && data_dirty(file))
		data_flush(file, false, written_back, task);
	else
		send(task);
	inode_data_put(file);
}

static void entered_later(struct inode_gate_entry *entry)
{
	entered((struct task *)((char *)entry - offsetof(struct task, gate)));
}

void truncate_begin(struct task *task, void (*done)(struct task *task, int error))
{
	task->truncated = done;
	if (inode_gate_enter(task->inode, &task->gate, entered_later))
		entered(task);
}
