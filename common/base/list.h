/* list.h - linked lists: utlist.h of uthash, whose macros work on members of the user's structs.
 *
 * DL_ is for lists whose members leave from the middle, and for queues: each operation takes constant
 * time, and head->prev is the last member. LL_ is for stacks, and for lists so short that a walk costs
 * nothing. A member that may be in several lists at once names its links (DL_APPEND2 and so on). */
#ifndef CATENA_COMMON_BASE_LIST_H
#define CATENA_COMMON_BASE_LIST_H
#include <utlist.h>
#endif
