/* append.c - see append.h. */
#include "fs/files/append.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "fs/flush/housekeeper.h"
#include "fs/kernel/page_drops.h"
#include "fs/flush/tail_trim.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"
#include "fs/files/written.h"
#include "fs/kernel/task.h"

/* The master lets a request wait; one that comes back at once is not to be a loop. */
#define ASK_AGAIN_NS (20 * NS_PER_MSEC)

/* ---- the right ---- */

struct right_request {
	struct housekeeper_later later;
	struct task *task;
	void (*done)(struct task *task, int error);
};

static void send_append(struct task *task, bool release, meta_done_fn *done, void *user)
{
	Catena__AppendReq append = CATENA__APPEND_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	append.ino = task->inode->ino;
	append.release = release;
	request.op_case = CATENA__REQUEST__OP_APPEND;
	request.append = &append;
	/* If its power were lost, the master would give to others what it has given to us. */
	request.durable = !release;
	meta_call_within(task->fs->meta, task->session, true, &request, done, user);
}

void append_right_return(struct task *task)
{
	send_append(task, true, NULL, NULL);
}

static void ask(struct right_request *right);

static void ask_again(struct housekeeper_later *later)
{
	ask((struct right_request *)((char *)later - offsetof(struct right_request, later)));
}

static void asked(void *user, int error, const Catena__Reply *reply)
{
	struct right_request *right = user;
	struct task *task = right->task;
	struct fs *fs = task->fs;
	bool have = error == 0;

	if (error == 0 && reply->attr == NULL)
		error = -EIO;
	if (reply != NULL && inode_apply(fs, task->inode, reply->attr, task->generation) != 0)
		error = -EIO;
	if (task_answered(task))
		error = -EINTR;
	if (error == -EAGAIN) {
		housekeeper_later(fs->housekeeper, &right->later, ASK_AGAIN_NS, ask_again);
		return;
	}
	/* Without an answer we may have it, or get it by and by. */
	if (error != 0 && (have || reply == NULL))
		append_right_return(task);
	right->done(task, error);
	free(right);
}

static void ask(struct right_request *right)
{
	struct task *task = right->task;

	task->generation = meta_generation(task->fs->meta);
	send_append(task, false, asked, right);
}

void append_right_take(struct task *task, void (*done)(struct task *task, int error))
{
	struct right_request *right = malloc(sizeof(*right));

	if (right == NULL) {
		done(task, -ENOMEM);
		return;
	}
	*right = (struct right_request){.task = task, .done = done};
	ask(right);
}

/* ---- the way out ---- */

/* The kernel has put the bytes into its pages where it believed the end to be. */
static void drop_pages(struct task *task)
{
	uint64_t from = task->offset < task->wanted ? task->offset : task->wanted;

	if (task->offset != task->wanted)
		page_drops_ino(task->fs->page_drops, task->inode->ino, from);
}

static void leave(struct task *task, int error)
{
	inode_gate_leave(task->inode);
	if (error == 0)
		drop_pages(task);
	task->appended(task, error);
}

static void fail_with_right(struct task *task, int error)
{
	append_right_return(task);
	leave(task, error);
}

/* ---- behind the bytes: the size ---- */

static void published(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;

	inode_change_end(fs, task->inode, reply != NULL);
	if (reply != NULL && inode_apply(fs, task->inode, reply->attr, task->generation) != 0)
		error = -EIO;
	/* Others cannot have truncated it, and we have not: whatever it is, it is no success. */
	if (error != 0)
		fail_with_right(task, error == -ESTALE || error == -EPERM ? -EIO : error);
	else
		leave(task, 0);
}

static void publish(struct task *task)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct inode *inode = task->inode;

	setattr.ino = inode->ino;
	setattr.mask = CATENA__SET_MASK__SET_GROW | CATENA__SET_MASK__SET_MTIME |
		       CATENA__SET_MASK__SET_CTIME | CATENA__SET_MASK__SET_OWN_TIMES;
	setattr.size = task->offset + task->length;
	setattr.mtime = setattr.ctime = clock_realtime_ns();
	setattr.append_done = true;
	pthread_mutex_lock(&inode->lock);
	setattr.file_id = inode->attr.file_id;
	setattr.truncations = inode->attr.truncations;
	inode->commands.under_way++;
	pthread_mutex_unlock(&inode->lock);
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	task->generation = meta_generation(task->fs->meta);
	meta_call_within(task->fs->meta, task->session, true, &request, published, task);
}

static void earlier_flushed(void *user, int error)
{
	struct task *task = user;

	if (error != 0)
		inode_tell_failed(task->inode, error);
	/* The program hears of lost data; the size goes on, with a hole there. */
	publish(task);
}

static void written_shared(void *user, int error)
{
	struct task *task = user;
	struct inode *inode = task->inode;
	struct data_file *file = NULL;

	if (error != 0) {
		fail_with_right(task, error);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	inode->local.write_seq++;
	inode->data.durable = false;
	/* Other writes of ours lie before it, which the new size would tell of too. */
	if ((inode->local.dirty & INODE_DIRTY_SIZE) && inode->data.file != NULL)
		file = data_file_ref(inode->data.file);
	pthread_mutex_unlock(&inode->lock);
	if (file != NULL)
		data_flush(file, false, earlier_flushed, task);
	else
		publish(task);
	inode_data_put(file);
}

static void written_alone(void *user, int error)
{
	struct task *task = user;

	leave(task, error == 0 ? written_count(task) : error);
}

/* ---- to the end ---- */

static void enter(struct task *task);

static void trim_settled(void *user, int error)
{
	struct task *task = user;

	if (error != 0)
		task->appended(task, error);
	else
		enter(task);
}

/* The bytes behind the end of somebody's truncation are still there. Settling that passes the gate,
 * and may take long: others may append meanwhile. */
static void settle(struct task *task)
{
	if (!task->alone)
		append_right_return(task);
	inode_gate_leave(task->inode);
	tail_trim_settle(task->fs, task->inode, trim_settled, task);
}

/* The inode's size is exact, and stays so: by the right to append, or since nobody else is there.
 */
static void write_at_end(struct task *task)
{
	struct inode *inode = task->inode;
	struct buf *payload = task->payload;
	struct data_file *file;
	bool in_the_way;
	int error = -EFBIG;

	pthread_mutex_lock(&inode->lock);
	task->offset = inode_size(inode);
	in_the_way = tail_trim_in_the_way(inode, task->offset + task->length);
	pthread_mutex_unlock(&inode->lock);
	if (in_the_way) {
		settle(task);
		return;
	}
	file = task->offset > FS_FILE_BYTES_MAX - task->length
		       ? NULL
		       : inode_data_get(task->fs, inode, &error);
	if (file == NULL) {
		if (task->alone)
			leave(task, error);
		else
			fail_with_right(task, error);
		return;
	}
	task->payload = NULL;
	data_write_within(file, task->session, task->offset, payload,
			  !task->alone || (task->flags & O_DIRECT) != 0,
			  task->alone ? written_alone : written_shared, task);
	inode_data_put(file);
}

static void have_right(struct task *task, int error)
{
	if (error != 0)
		leave(task, error);
	else
		write_at_end(task);
}

static void looked(void *user, int error, const Catena__Reply *reply);

static void look(struct task *task)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	getattr.ino = task->inode->ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	task->generation = meta_generation(task->fs->meta);
	meta_call(task->fs->meta, &request, looked, task);
}

/* In the gate. */
static void find_end(struct task *task)
{
	struct inode *inode = task->inode;
	struct meta_view view = fs_view(task->fs);
	bool exact;

	if (task_answered(task)) {
		leave(task, -EINTR);
		return;
	}
	if (task->alone && !view.sole)
		append_is_shared(task);
	if (!task->alone) {
		append_right_take(task, have_right);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	exact = inode_exact(inode, view.sole, view.generation);
	pthread_mutex_unlock(&inode->lock);
	if (exact)
		write_at_end(task);
	else
		look(task);
}

static void looked(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0)
		error = reply->attr == NULL
				? -EIO
				: inode_apply(task->fs, task->inode, reply->attr, task->generation);
	if (error != 0)
		leave(task, error);
	else
		find_end(task);
}

static void entered(struct inode_gate_entry *entry)
{
	find_end((struct task *)((char *)entry - offsetof(struct task, gate)));
}

static void enter(struct task *task)
{
	if (inode_gate_enter(task->inode, &task->gate, entered))
		find_end(task);
}

void append_is_shared(struct task *task)
{
	expects(task->alone);
	atomic_fetch_sub(&task->fs->appends_alone, 1);
	task->alone = false;
}

void append_write(struct task *task, void (*done)(struct task *task, int error))
{
	task->appended = done;
	task->wanted = task->offset;
	enter(task);
}
