/* mounts.h - a mount namespace of a test's own. */
#ifndef CATENA_TESTS_LIB_MOUNTS_H
#define CATENA_TESTS_LIB_MOUNTS_H

/* Gives this process its own mounts: what it mounts is not seen outside, and ends with it. A new
 * namespace has copies of all mounts, and a copy keeps a filesystem alive that is unmounted
 * elsewhere: those of Catena, which are other tests', are let go of. Errors: -errno when namespaces
 * are not possible here. */
int mounts_own(void);
#endif
