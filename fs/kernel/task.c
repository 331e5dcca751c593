/* task.c - see task.h. */
#include "fs/kernel/task.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "common/os/buf.h"
#include "fs/inodes/dir_handle.h"
#include "fs/inodes/handle.h"
#include "fs/inodes/removed.h"

#define SLAB_TASKS 128u
#define SLABS_MAX  1024u

#define INTERRUPTED 1u
#define ANSWERED    2u
#define GENERATION  4u

struct task_table {
	pthread_mutex_t lock;
	struct task *slabs[SLABS_MAX]; /* set once each, before slab_count */
	_Atomic uint32_t slab_count;
	struct task *free;
	uint32_t used;
	void (*interrupted)(void *user);
	void *user;
};

int task_table_create(void (*interrupted)(void *user), void *user, struct task_table **out)
{
	struct task_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return -ENOMEM;
	pthread_mutex_init(&table->lock, NULL);
	table->interrupted = interrupted;
	table->user = user;
	*out = table;
	return 0;
}

void task_table_destroy(struct task_table *table)
{
	if (table == NULL)
		return;
	for (uint32_t i = 0; i < table->slab_count; i++)
		free(table->slabs[i]);
	pthread_mutex_destroy(&table->lock);
	free(table);
}

static struct task *by_number(struct task_table *table, uint32_t number)
{
	if (number / SLAB_TASKS >= atomic_load(&table->slab_count))
		return NULL;
	return &table->slabs[number / SLAB_TASKS][number % SLAB_TASKS];
}

/* With the lock held. */
static void add_slab(struct task_table *table)
{
	uint32_t slab = table->slab_count;
	struct task *tasks;

	lock_held(&table->lock);
	if (slab == SLABS_MAX)
		return;
	tasks = calloc(SLAB_TASKS, sizeof(*tasks));
	if (tasks == NULL)
		return;
	for (uint32_t i = 0; i < SLAB_TASKS; i++) {
		tasks[i].number = slab * SLAB_TASKS + i;
		tasks[i].next_free = table->free;
		table->free = &tasks[i];
	}
	table->slabs[slab] = tasks;
	atomic_store(&table->slab_count, slab + 1);
}

static struct task *take_free(struct task_table *table)
{
	struct task *task;

	pthread_mutex_lock(&table->lock);
	if (table->free == NULL)
		add_slab(table);
	task = table->free;
	if (task != NULL) {
		table->free = task->next_free;
		table->used++;
	}
	pthread_mutex_unlock(&table->lock);
	return task;
}

/* libfuse keeps one pointer for us: number and the low bits of the generation fit. */
static void *name_of(const struct task *task, uint64_t state)
{
	return (void *)(uintptr_t)((state / GENERATION) << 32 | task->number);
}

static void on_interrupt(fuse_req_t req, void *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct task *task = by_number(fs->tasks, (uint32_t)(uintptr_t)name);
	uint64_t state;

	if (task == NULL)
		return;
	state = atomic_load(&task->state);
	do {
		if (name_of(task, state) != name || (state & (ANSWERED | INTERRUPTED)) != 0)
			return;
	} while (!atomic_compare_exchange_weak(&task->state, &state, state | INTERRUPTED));
	if (fs->tasks->interrupted != NULL)
		fs->tasks->interrupted(fs->tasks->user);
}

struct task *task_begin(struct fs *fs, fuse_req_t req)
{
	struct task *task = take_free(fs->tasks);
	size_t head = offsetof(struct task, fs), tail = offsetof(struct task, name);

	if (task == NULL) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	memset((char *)task + head, 0, tail - head);
	task->name[0] = task->new_name[0] = '\0';
	task->req = req;
	task->fs = fs;
	task->session = atomic_load(&fs->session_id);
	task->interrupted_at_ns = 0;
	fuse_req_interrupt_func(req, on_interrupt, name_of(task, atomic_load(&task->state)));
	return task;
}

void task_of_pages(struct task *task, const struct fuse_file_info *fi)
{
	task->direct = fi->lock_owner != 0;
	if (task->direct)
		return;
	task->paged = true;
	atomic_fetch_add(&task->handle->inode->pages.requests, 1);
}

bool task_claim(struct task *task)
{
	return (atomic_fetch_or(&task->state, ANSWERED) & ANSWERED) == 0;
}

bool task_answered(const struct task *task)
{
	return (atomic_load(&task->state) & ANSWERED) != 0;
}

void task_end(struct task *task)
{
	struct fs *fs = task->fs;
	struct task_table *table = fs->tasks;
	uint64_t state = atomic_load(&task->state);

	/* Nobody answers it any more, and its program would wait for ever. */
	expects((state & ANSWERED) != 0);
	if (task->alone)
		atomic_fetch_sub(&fs->appends_alone, 1);
	if (task->paged)
		atomic_fetch_sub(&task->handle->inode->pages.requests, 1);
	inode_put(fs->inodes, task->inode);
	inode_put(fs->inodes, task->parent);
	inode_put(fs->inodes, task->new_parent);
	inode_put(fs->inodes, task->victim);
	handle_unref(fs, task->handle);
	dir_handle_unref(fs, task->dir);
	buf_unref(task->payload);
	free(task->text);
	/* An interrupt that still holds the old name finds another generation. */
	atomic_store(&task->state, (state / GENERATION + 1) * GENERATION);
	pthread_mutex_lock(&table->lock);
	task->next_free = table->free;
	table->free = task;
	expects(table->used > 0);
	table->used--;
	pthread_mutex_unlock(&table->lock);
}

int task_errno(int error)
{
	/* Ours inside; programs know nothing of them. */
	if (error == -EUCLEAN || error == -EBADMSG || error == -EPROTO || error == -ECANCELED)
		return EIO;
	return error < 0 && error >= -4095 ? -error : EIO;
}

void task_fail(struct task *task, int error)
{
	if (error == -ESTALE)
		removed_missed(task->fs);
	if (task_claim(task))
		fuse_reply_err(task->req, error == 0 ? 0 : task_errno(error));
	task_end(task);
}

/* The pointer is read before the claim: if the claim succeeds, it was this task's all the time. */
static bool tick_one(struct task *task, uint64_t now_ns)
{
	uint64_t state = atomic_load(&task->state);
	fuse_req_t req = task->req;

	if ((state & (INTERRUPTED | ANSWERED)) != INTERRUPTED)
		return false;
	if (task->interrupted_at_ns == 0)
		task->interrupted_at_ns = now_ns;
	if (now_ns - task->interrupted_at_ns < INTERRUPT_PATIENCE_NS)
		return true;
	if (atomic_compare_exchange_strong(&task->state, &state, state | ANSWERED))
		fuse_reply_err(req, EINTR);
	return false;
}

bool task_tick(struct task_table *table, uint64_t now_ns)
{
	bool waiting = false;

	for (uint32_t i = 0; i < atomic_load(&table->slab_count); i++) {
		for (uint32_t k = 0; k < SLAB_TASKS; k++)
			waiting |= tick_one(&table->slabs[i][k], now_ns);
	}
	return waiting;
}

uint32_t task_count(struct task_table *table)
{
	uint32_t used;

	pthread_mutex_lock(&table->lock);
	used = table->used;
	pthread_mutex_unlock(&table->lock);
	return used;
}
