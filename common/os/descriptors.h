/* descriptors.h - how many descriptors this process may have open. */
#ifndef CATENA_COMMON_OS_DESCRIPTORS_H
#define CATENA_COMMON_OS_DESCRIPTORS_H

/* Raises the soft limit to the hard one, at most to DESCRIPTORS_MAX. A failure is logged and leaves
 * the limit as it is. Call it before threads start that read the limit. */
#define DESCRIPTORS_MAX 1048576u
void descriptors_raise(void);

/* Returns the number below which a peer's descriptor must be. The rest of the limit is kept for
 * files and for connections of our own. Thread: any. */
int descriptors_for_peers(void);
#endif
