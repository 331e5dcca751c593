/* flush.h - brings what was written here to the chunkservers, and its size and times to the master.
 *
 * A flush of an inode sends its data (data_flush()), and then what the master must know of it. This
 * order gives two things. After a crash of everything no file has a size beyond data that was
 * written before it. Other mounts go by version and size, and find the data of what they see. Only
 * the sole client's fsync sends both at once: it answers when both have.
 *
 * One list has every inode with something to tell, until nothing is left. Closed ones are flushed
 * within HOUSEKEEPER_TICK_NS, open ones every FLUSH_AGE_NS. The data layer brings data to the disks
 * later, and remembers closed files whose data is not there yet.
 *
 * Thread: any, unless a function says otherwise. Errors: those of the background are kept in the
 * inode, for the handles that are open. */
#ifndef CATENA_FS_FLUSH_FLUSH_H
#define CATENA_FS_FLUSH_FLUSH_H
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/inodes/fs.h"

#define FLUSH_AGE_NS  NS_PER_SEC
#define FLUSH_AT_ONCE 512u /* under way; those that take longer than FLUSH_SLOW_NS do not count */
#define FLUSH_SLOW_NS NS_PER_SEC

int flush_list_create(struct flush_list **out);
void flush_list_destroy(struct flush_list *list);

/* Marks the inode as one with something to tell. True: it is not in the list yet, and
 * flush_list_add() must follow without the lock. Locks: the inode's. */
bool flush_mark(struct inode *inode);
/* Does the same, and notes that the inode's data is not durable any more. Locks: the inode's. */
bool flush_mark_written(struct inode *inode);
/* Appends a marked inode to the list, with a reference, and wakes the housekeeper. Locks: none. */
void flush_list_add(struct fs *fs, struct inode *inode);

/* Flushes one inode. @done is called when all copies and the master have what was written before;
 * with @durable, when it is on their disks. Thread: any, @done's too. Locks: none. */
typedef void flush_done_fn(void *user, int error);
void flush_inode(struct fs *fs, struct inode *inode, bool durable, flush_done_fn *done, void *user);
/* Sends size and times that the master does not know. Nothing waits for the answer; the master
 * executes later commands after it. Locks: none. */
void flush_attrs_now(struct fs *fs, struct inode *inode);
/* Says whether something was written of the inode and is not with the copies yet. A new name (by
 * rename or link) publishes a file: programs rely on finding the old file or the whole new one,
 * whatever dies. So this must go before the name does. Locks: none. */
bool flush_unpublished(struct inode *inode);
/* Sends what flush_unpublished() is about. Later calls of the master wait (meta_hold()) until all
 * copies have the data and the size is told; the program does not. Of commands about the inode, only
 * those answered early may be under way. False: out of memory. Locks: none. */
bool flush_before_names(struct fs *fs, struct inode *inode);

/* Starts the flushes that are due. True: there will be more. Thread: the housekeeper's. */
bool flush_list_tick(struct fs *fs, uint64_t now_ns);
/* Flushes every inode of the list, and waits for that until @deadline_ns (monotonic). Errors:
 * -ETIMEDOUT, -ENOMEM, or the first flush's. Thread: one that may wait, so no callback's. */
int flush_everything(struct fs *fs, bool durable, uint64_t deadline_ns);
uint32_t flush_list_count(struct flush_list *list);
/* Says whether only this mount has something that programs have written of the inode. Times of
 * reads alone do not count. Locks: the inode's. */
bool flush_unsaved(const struct inode *inode);
/* Says the same of the whole list; true also when memory is short. */
bool flush_list_unsaved(struct fs *fs);
#endif
