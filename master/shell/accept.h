/* accept.h - accepts an older store: catena-master --accept-older-store.
 *
 *   1. The store is opened, and the port: chunkservers register, and are told that they are not
 *      served. Each tells, for each of its targets, what it has seen and its chains.
 *   2. The serving leases are waited for, and the targets that the store and the chains name. To
 *      the older store a running process may seem to have just begun.
 *   3. accept_decision.h decides: of each chain the newest counts, and all numbers jump ahead.
 *   4. All sessions end. The decision is applied as one command, and made durable.
 *   5. The lost is told: names, sizes and attributes since the store was copied.
 * The process ends; a master that is started then serves.
 *
 * When something fails:
 *   - Two targets have one number: the store is not accepted, and the line names both.
 *   - Some targets are not heard: each is named, and the store is accepted only with
 *     --without-missing. Chains that only those know begin empty.
 *   - The store is not older: nothing is changed.
 *   - The process ends before step 4 is done: the store is as before, though sessions may have
 *   ended. */
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
/* Accepts the store. No other process uses it meanwhile, and none is served. 0: done, or there was
 * nothing to do. Errors: -errno, with one line in @error; the store is as before, though sessions
 * may have ended. */
int master_accept(const struct master_config *config, const struct accept_options *options,
		  char *error, size_t error_size);
#endif
