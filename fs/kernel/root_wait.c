/* root_wait.c - see root_wait.h. */
#include "fs/kernel/root_wait.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "fs/inodes/fs.h"
#include "fs/kernel/task.h"

struct root_wait {
	pthread_mutex_t lock; /* before an inode's and the session's */
	struct task *first;
	struct statvfs space; /* as it was told last; all 0 before */
	bool watched;         /* root_wait_tick() is going to look */
	void (*wake)(struct fs *fs);
};

int root_wait_create(void (*wake)(struct fs *fs), struct root_wait **out)
{
	struct root_wait *wait = calloc(1, sizeof(*wait));

	if (wait == NULL)
		return -ENOMEM;
	pthread_mutex_init(&wait->lock, NULL);
	wait->wake = wake;
	*out = wait;
	return 0;
}

void root_wait_destroy(struct root_wait *wait)
{
	if (wait == NULL)
		return;
	pthread_mutex_destroy(&wait->lock);
	free(wait);
}

void root_wait_begin(struct task *task, void (*known)(struct task *task))
{
	struct root_wait *wait = task->fs->root_wait;
	bool wake;

	task->root_since_ns = clock_monotonic_ns();
	task->root_known = known;
	pthread_mutex_lock(&wait->lock);
	DL_PREPEND2(wait->first, task, root_prev, root_next);
	wake = !wait->watched;
	wait->watched = true;
	pthread_mutex_unlock(&wait->lock);
	if (wake)
		wait->wake(task->fs);
}

void root_wait_end(struct task *task)
{
	struct root_wait *wait = task->fs->root_wait;

	pthread_mutex_lock(&wait->lock);
	expects(wait->first != NULL && task->root_prev != NULL);
	DL_DELETE2(wait->first, task, root_prev, root_next);
	pthread_mutex_unlock(&wait->lock);
}

void root_wait_set_space(struct fs *fs, const struct statvfs *space)
{
	pthread_mutex_lock(&fs->root_wait->lock);
	fs->root_wait->space = *space;
	pthread_mutex_unlock(&fs->root_wait->lock);
}

const struct statvfs *root_wait_space(const struct fs *fs)
{
	return &fs->root_wait->space;
}

bool root_wait_tick(struct fs *fs, uint64_t now_ns)
{
	struct root_wait *wait = fs->root_wait;
	bool more;

	/* One that is answered so goes on waiting, for nobody: it cannot end while the lock is
	 * held. */
	pthread_mutex_lock(&wait->lock);
	more = wait->watched = wait->first != NULL;
	for (struct task *task = wait->first; task != NULL; task = task->root_next)
		if (now_ns >= task->root_since_ns + ROOT_PATIENCE_NS && !meta_reachable(fs->meta) &&
		    task_claim(task))
			task->root_known(task);
	pthread_mutex_unlock(&wait->lock);
	return more;
}
