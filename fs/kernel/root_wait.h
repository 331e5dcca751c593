/* root_wait.h - what is needed to take a mount away, while the master cannot be reached.
 *
 * Every way to do that begins with a look at the mount: umount(8) asks for the attributes of its
 * root and for the filesystem's (statfs). That must not wait for what is gone. So who asks for
 * these while nothing is heard of the master is told what was known last, after ROOT_PATIENCE_NS;
 * the kernel may not keep it. All else waits. */
#ifndef CATENA_FS_KERNEL_ROOT_WAIT_H
#define CATENA_FS_KERNEL_ROOT_WAIT_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include "common/base/duration.h"

#define ROOT_PATIENCE_NS NS_PER_SEC

struct fs;
struct root_wait;
struct task;

/* @wake is called when there is something to look at by and by (root_wait_tick()). */
int root_wait_create(void (*wake)(struct fs *fs), struct root_wait **out);
void root_wait_destroy(struct root_wait *wait); /* NULL is allowed */
/* Notes that the task asks the master now. @known answers the claimed task with what is known; it
 * is called with the lock held, so root_wait_space() may be read. */
void root_wait_begin(struct task *task, void (*known)(struct task *task));
/* Ends the wait: the task's answer is there, or there will be none. Comes before task_end(). */
void root_wait_end(struct task *task);
/* Remembers what the master has told of the filesystem's space. */
void root_wait_set_space(struct fs *fs, const struct statvfs *space);
/* The space that was told last; all 0 before. Only in a @known of root_wait_begin(). */
const struct statvfs *root_wait_space(const struct fs *fs);
/* Answers those that have waited for too long. True: look again soon. The housekeeper's thread. */
bool root_wait_tick(struct fs *fs, uint64_t now_ns);
#endif
