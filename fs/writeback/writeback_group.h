/* writeback_group.h - groups of extents and holes in the order of acceptance, and the waits for
 * them. See "Groups" in writeback.h.
 *
 * Pure; the owner of the write-back serialises all calls. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_GROUP_H
#define CATENA_FS_WRITEBACK_WRITEBACK_GROUP_H
#include "fs/writeback/writeback_internal.h"

/* Finds the newest group, if it takes new ones, or makes one. With @through the group is always a
 * new one, for a write with a wait of its own. Errors: -ENOMEM. */
int writeback_group_open(struct writeback *wb, bool through, struct writeback_group **out);
/* Takes one extent or hole out. */
void writeback_group_leave(struct writeback *wb, struct writeback_group *group);
/* Gives @error to all that wait for the group, and keeps it unless the group is of one write. */
void writeback_group_fail(struct writeback *wb, struct writeback_group *group, int error);
/* Returns the older group, which bytes of the newer one join. Waits for the newer one alone would
 * no longer see these bytes, so they wait for all before it too. */
struct writeback_group *writeback_group_older(struct writeback_group *a, struct writeback_group *b);
/* Closes the group, and has @wait fire when it is empty. */
void writeback_group_wait(struct writeback *wb, struct writeback_group *group,
			  struct writeback_wait *wait);
/* Fires what has run empty. Every public function ends with this. */
void writeback_group_settle(struct writeback *wb);
#endif
