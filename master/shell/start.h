/* start.h - the master's life: it opens its parts in order, ticks, and ends them in reverse.
 *
 * Threading: the main loop. */
#ifndef CATENA_MASTER_SHELL_START_H
#define CATENA_MASTER_SHELL_START_H
#include "master/shared/master.h"

#define MASTER_TICK_MS 100

/* Opens store, state and log and listens. One line in @error. */
int master_start(const struct master_config *config, struct master **out, char *error,
		 size_t error_size);
/* For those that use it without a master. */
int master_open_store(const struct master_config *config, struct kv **out, char *error,
		      size_t error_size);
/* First start: makes the data directory. */
int master_init(const struct master_config *config, char *error, size_t error_size);
/* "host:port" as it is, with the real port. */
void master_address(const struct master *master, char *out, size_t size);
/* Every MASTER_TICK_MS. */
void master_tick(struct master *master);
void master_stop(struct master *master);
#endif
