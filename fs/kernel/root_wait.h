/* root_wait.h - what is needed to take a mount away, while the master cannot be reached.
 *
 * Every way to do that begins with a look at the mount: umount(8) asks for the attributes of its
 * root and for the filesystem's (statfs). That must not wait for what is gone. So who asks for
 * these while nothing is heard of the master is told what was known last, after ROOT_PATIENCE_NS;
 * the kernel may not keep it. All else waits. */
#ifndef CATENA_FS_KERNEL_ROOT_WAIT_H
#define CATENA_FS_KERNEL_ROOT_WAIT_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include "common/base/duration.h"

#define ROOT_PATIENCE_NS NS_PER_SEC

struct fs;
struct task;

struct root_wait {
	pthread_mutex_t lock; /* before an inode's and the session's */
	struct task *first;
	struct statvfs space; /* as it was told last; all 0 before */
	bool watched;         /* the housekeeper looks at it by and by */
};

void root_wait_init(struct root_wait *wait);
void root_wait_destroy(struct root_wait *wait);
/* The task asks the master now. @known answers it, claimed, with what is known (under the lock). */
void root_wait_begin(struct task *task, void (*known)(struct task *task));
/* Its answer is there, or there will be none. Before whatever ends it. */
void root_wait_end(struct task *task);
/* Answers those that have waited for too long. True: look again soon. The housekeeper's thread. */
bool root_wait_tick(struct fs *fs, uint64_t now_ns);
#endif
