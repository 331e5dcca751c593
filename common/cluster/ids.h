/* ids.h - numbers of inodes, files and sessions. Pure.
 *
 * Each is 12 bits of the group of masters that gave it, and 52 bits of that group's counter. There
 * is one group today, 0: whoever gets a number of another group refuses it, and no counter runs into
 * the group's bits. So groups can be added without a new form of anything. */
#ifndef CATENA_COMMON_CLUSTER_IDS_H
#define CATENA_COMMON_CLUSTER_IDS_H
#include <stdbool.h>
#include <stdint.h>

#define ID_COUNTER_BITS 52
/* The numbers of group 0 end here. */
#define ID_END (UINT64_C(1) << ID_COUNTER_BITS)

/* True of a number that this group may have given. */
static inline bool id_is_ours(uint64_t id)
{
	return id < ID_END;
}

/* True when @count numbers from @next on are left to the group. */
static inline bool id_has_room(uint64_t next, uint64_t count)
{
	return id_is_ours(next) && ID_END - next >= count;
}

/* Returns the number that is @gap behind @next, or ID_END: none is left. */
static inline uint64_t id_skip(uint64_t next, uint64_t gap)
{
	return id_has_room(next, gap) ? next + gap : ID_END;
}
#endif
