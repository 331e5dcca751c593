/* make.h - making a target in an empty directory. */
#ifndef CATENA_CHUNKSERVER_DISK_MAKE_H
#define CATENA_CHUNKSERVER_DISK_MAKE_H
#include <stddef.h>

/* Makes an empty target in @path (created if absent, must be empty): identity, db, lock. The uuid
 * is new. Errors: -EEXIST: is one already; -ENOTEMPTY. */
int disk_make(const char *path, const char *cluster, char *error, size_t error_size);
#endif
