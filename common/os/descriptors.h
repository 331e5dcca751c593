/* descriptors.h - how many descriptors this process may have open. */
#ifndef CATENA_COMMON_OS_DESCRIPTORS_H
#define CATENA_COMMON_OS_DESCRIPTORS_H

/* Raises the soft limit to the hard one, at most to DESCRIPTORS_MAX. A failure is logged and leaves
 * the limit as it is. Call it before threads start that read the limit. */
#define DESCRIPTORS_MAX 1048576u
void descriptors_raise(void);

/* The number from which on a descriptor may not be a stranger's: the rest is kept for files and for
 * our own connections. */
int descriptors_for_peers(void);
#endif
