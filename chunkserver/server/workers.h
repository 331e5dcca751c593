/* workers.h - the workers of this server, all of them at once.
 *
 * Thread: the front loop's. */
#ifndef CATENA_CHUNKSERVER_SERVER_WORKERS_H
#define CATENA_CHUNKSERVER_SERVER_WORKERS_H
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/worker/copy_rate.h"
#include "chunkserver/worker/worker.h"

/* All zero: none. */
struct workers {
	struct worker **items;
	uint32_t count;             /* started so far */
	struct copy_rate copy_rate; /* one for all */
};

/* Starts options->workers of them; their index and copy rate are set here. @options is copied, what
 * it points to is borrowed. Errors: -errno with one line in @error, except for -ENOMEM; those that
 * have been started stay, for workers_stop(). */
int workers_start(struct workers *workers, const struct worker_options *options, char *error,
		  size_t error_size);
/* See worker.h for these four: each worker gets the same. */
void workers_set_instance(const struct workers *workers, uint64_t instance);
void workers_set_identity(const struct workers *workers, uint64_t server_id,
			  const uint32_t *target_ids, uint64_t map_version);
void workers_set_map(const struct workers *workers, struct cluster_map *map);
void workers_set_lease(const struct workers *workers, uint64_t until_ns);
/* The version that every worker has come to; 0: one has none yet, or there are no workers. */
uint64_t workers_map_version(const struct workers *workers);
uint64_t workers_fence_version(const struct workers *workers);
/* Stops one after the other, each within its share of @timeout_ns. There are none afterwards. */
void workers_stop(struct workers *workers, uint64_t timeout_ns);
#endif
