/* daemon.h - into the background, with the parent waiting until it is known how the start went. */
#ifndef CATENA_FS_MOUNT_DAEMON_H
#define CATENA_FS_MOUNT_DAEMON_H
#include <stdbool.h>

/* Forks: the parent waits for daemon_ready() of the child, or for its end, and exits with what that
 * says. Returns in the child only (or -errno in the parent, without a child). Before any thread. */
int daemon_fork(void);
/* All is well: the parent may go (if there is one), and standard output and error with it. */
void daemon_ready(void);
#endif
