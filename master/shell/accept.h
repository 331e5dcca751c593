/* accept.h - catena-master --accept-older-store: hears what the targets have seen, makes the store
 * go on from there, and says what is lost. */
#ifndef CATENA_MASTER_SHELL_ACCEPT_H
#define CATENA_MASTER_SHELL_ACCEPT_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "master/shared/config.h"

struct accept_options {
	uint64_t wait_ns;     /* for all targets to be heard */
	bool without_missing; /* go on although some were not */
	FILE *out;            /* what is lost, for people */
};
/* No other process uses the store meanwhile, and nobody is served. 0: done, or there was nothing to
 * do; -errno with one line in @error: the store is as before (but sessions may have been ended). */
int master_accept(const struct master_config *config, const struct accept_options *options,
		  char *error, size_t error_size);
#endif
