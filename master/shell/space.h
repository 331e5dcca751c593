/* space.h - gives a nearly full disk back what was deleted from the store.
 *
 * Deleted records keep their space until a compaction meets them, which may be never when nothing
 * is written any more because the disk is full. So while space is low, and what lives is small
 * enough to be written anew into what is left, the store is compacted.
 *
 * Threading: a thread of its own, because it takes its time. */
#ifndef CATENA_MASTER_SHELL_SPACE_H
#define CATENA_MASTER_SHELL_SPACE_H
struct master;
struct space;

int space_start(struct master *master, struct space **out);
/* Joins the thread; without the state lock. NULL is allowed. */
void space_stop(struct space *space);
#endif
