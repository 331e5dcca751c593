#include "chunkserver/server/workers.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int workers_start(struct workers *workers, const struct worker_options *options, char *error,
		  size_t error_size)
{
	struct worker_options one = *options;

	workers->items = calloc(options->workers, sizeof(struct worker *));
	if (workers->items == NULL)
		return -ENOMEM;
	one.copy_rate = &workers->copy_rate;
	for (uint32_t i = 0; i < options->workers; i++) {
		int rc;

		one.index = i;
		rc = worker_start(&one, &workers->items[i]);
		if (rc < 0) {
			snprintf(error, error_size, "cannot start worker %u: %s", i, strerror(-rc));
			return rc;
		}
		workers->count++;
	}
	return 0;
}

void workers_set_instance(const struct workers *workers, uint64_t instance)
{
	for (uint32_t i = 0; i < workers->count; i++)
		worker_set_instance(workers->items[i], instance);
}

void workers_set_identity(const struct workers *workers, uint64_t server_id,
			  const uint32_t *target_ids, uint64_t map_version)
{
	for (uint32_t i = 0; i < workers->count; i++)
		worker_set_identity(workers->items[i], server_id, target_ids, map_version);
}

void workers_set_map(const struct workers *workers, struct cluster_map *map)
{
	for (uint32_t i = 0; i < workers->count; i++)
		worker_set_map(workers->items[i], map);
}

void workers_set_lease(const struct workers *workers, uint64_t until_ns)
{
	for (uint32_t i = 0; i < workers->count; i++)
		worker_set_lease(workers->items[i], until_ns);
}

static uint64_t least(const struct workers *workers,
		      uint64_t (*version_of)(const struct worker *worker))
{
	uint64_t version = workers->count == 0 ? 0 : UINT64_MAX;

	for (uint32_t i = 0; i < workers->count; i++) {
		uint64_t one = version_of(workers->items[i]);

		version = one < version ? one : version;
	}
	return version;
}

uint64_t workers_map_version(const struct workers *workers)
{
	return least(workers, worker_map_version);
}

uint64_t workers_fence_version(const struct workers *workers)
{
	return least(workers, worker_fence_version);
}

void workers_stop(struct workers *workers, uint64_t timeout_ns)
{
	for (uint32_t i = 0; i < workers->count; i++)
		worker_stop(workers->items[i], timeout_ns / workers->count);
	free(workers->items);
	workers->items = NULL;
	workers->count = 0;
}
