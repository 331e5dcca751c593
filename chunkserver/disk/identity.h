/* identity.h - the identity file of a target, and the lock that one process has on it. */
#ifndef CATENA_CHUNKSERVER_DISK_IDENTITY_H
#define CATENA_CHUNKSERVER_DISK_IDENTITY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY       "identity"
#define IDENTITY_BEGUN "identity.begun" /* until all the rest is there */

/* Is it fit to be a cluster's id? */
bool identity_cluster_ok(const char *cluster);
/* Reads the identity. @cluster NULL: any. *instance 0: of none yet. Errors: -ENOENT, -EUCLEAN,
 * -EXDEV: of another cluster. */
int identity_read(int root_fd, const char *path, const char *cluster, char uuid[37],
		  uint64_t *instance, char *error, size_t error_size);
/* Writes IDENTITY_BEGUN with a new uuid, durably but for the name. */
int identity_make(int root_fd, const char *cluster);
/* Writes the identity anew, with the cluster's instance; durable when it returns 0. */
int identity_adopt(int root_fd, const char *cluster, const char *uuid, uint64_t instance);
/* Errors: -EBUSY: another process has it. */
int identity_lock(int root_fd, const char *path, int *lock_fd, char *error, size_t error_size);
/* Writes "@path: @what" (NULL: the text of @rc) to @error; returns @rc. */
int identity_fail(char *error, size_t error_size, int rc, const char *path, const char *what);
#endif
