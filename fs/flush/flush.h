/* flush.h - what was written here comes to the chunkservers, and its size and times to the master.
 *
 * A flush of an inode: its data (data_flush), then what the master must know of it. In that order,
 * so that after a crash of everything a file never has a size beyond data that was written before
 * it, and so that other mounts, which go by version and size, find the data of what they see; only
 * fsync of the sole client sends both at once, because it answers when both have.
 *
 * Every inode with something to tell is in one list until it has nothing more: closed ones are
 * flushed within HOUSEKEEPER_TICK_NS, open ones every FLUSH_AGE. (That data comes to the disks by and by is
 * the data layer's business, which also remembers closed files that are not there yet.)
 *
 * Errors of the background are kept in the inode for the handles that are open. */
#ifndef CATENA_FS_FLUSH_FLUSH_H
#define CATENA_FS_FLUSH_FLUSH_H
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/inodes/fs.h"

#define FLUSH_AGE_NS  NS_PER_SEC
#define FLUSH_AT_ONCE 512u /* under way, but for those that take longer than FLUSH_SLOW */
#define FLUSH_SLOW_NS NS_PER_SEC

int flush_list_create(struct flush_list **out);
void flush_list_destroy(struct flush_list *list);

/* With the inode's lock held: it has something to tell. True: flush_list_add() must follow, unlocked.
 */
bool flush_mark(struct inode *inode);
bool flush_mark_written(struct inode *inode); /* the same, and its data is not synced any more */
void flush_list_add(struct fs *fs, struct inode *inode);

/* @done when all copies and the master have what was written before; @durable: on their disks. Any
 * thread; @done on any. */
typedef void flush_done_fn(void *user, int error);
void flush_inode(struct fs *fs, struct inode *inode, bool durable, flush_done_fn *done, void *user);
/* Sends size and times that the master does not know, without waiting: later commands come after.
 */
void flush_attrs_now(struct fs *fs, struct inode *inode);
/* A name that is given to a file publishes it: programs that replace a file by a new one, by rename
 * or link, rely on finding the one or the other whatever dies. So what was written of it goes
 * first. True: it has something to go first. */
bool flush_unpublished(struct inode *inode);
/* Begins that; what is called of the master after this waits until the data is with all copies and
 * the size is told (meta_hold()). The program need not. False: no memory. The inode is not what
 * another command changes that is not foreseen. */
bool flush_before_names(struct fs *fs, struct inode *inode);

/* Starts what is due. True: there will be more. The housekeeper's thread. */
bool flush_list_tick(struct fs *fs, uint64_t now_ns);
/* All that was written before; waits until @deadline_ns (monotonic). -ETIMEDOUT, or the first
 * error. Not from a callback. */
int flush_everything(struct fs *fs, bool durable, uint64_t deadline_ns);
uint32_t flush_list_count(struct flush_list *list);
/* With the inode's lock held: programs have written something of it that is nowhere but here. Times
 * of reads alone are no loss. */
bool flush_unsaved(const struct inode *inode);
/* Of any inode that is listed; true also when that is not known. */
bool flush_list_unsaved(struct fs *fs);
#endif
