/* space.h - gives a nearly full disk back what was deleted from the store.
 *
 * Deleted records keep their space until a compaction meets them. On a full disk that may be never,
 * as nothing is written any more. So the store is compacted while space is low, if what lives in it
 * fits into what is left.
 *
 * Thread: one of its own, because a compaction takes its time. */
#ifndef CATENA_MASTER_SHELL_SPACE_H
#define CATENA_MASTER_SHELL_SPACE_H
struct master;
struct space;

int space_start(struct master *master, struct space **out);
/* Joins the thread; without the state lock. NULL is allowed. */
void space_stop(struct space *space);
#endif
