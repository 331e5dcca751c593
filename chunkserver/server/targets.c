#include "chunkserver/server/targets.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/server/own_targets.h"
#include "common/base/expects.h"
#include "common/os/log.h"

#define LOG_MODULE "server"

/* ---- opening ---- */

/* Targets of two clusters cannot have one master, and only people know which of them is meant. */
static int check_instance(const struct targets *targets, const struct store *store, char *error,
			  size_t error_size)
{
	uint64_t ours = targets_instance(targets), other = store_instance(store);

	if (ours == 0 || other == 0 || ours == other)
		return 0;
	snprintf(error, error_size,
		 "the targets belong to two clusters of one name (instances %016" PRIx64
		 " and, target %s, %016" PRIx64 "): take the paths of one out of the configuration",
		 ours, store_uuid(store), other);
	return -EXDEV;
}

static void add(struct targets *targets, struct store *store, const char *path)
{
	struct server_target *target = &targets->items[targets->count];

	target->store = target->mend.store = store;
	target->path = path;
	snprintf(target->uuid, sizeof(target->uuid), "%s", store_uuid(store));
	targets->stores[targets->count++] = store;
}

int targets_open(struct targets *targets, const struct conf_list *paths, const char *cluster,
		 struct buf_pool *pool, char *error, size_t error_size)
{
	int failed = 0;

	targets->items = calloc(paths->count, sizeof(*targets->items));
	targets->stores = calloc(paths->count, sizeof(*targets->stores));
	if (targets->items == NULL || targets->stores == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < paths->count; i++) {
		struct store_options options = {
			.path = paths->items[i], .cluster = cluster, .pool = pool};
		struct store *store;
		int rc = store_open(&options, &store, error, error_size);

		/* In use by a server that is about to end, or that has the same configuration: each
		 * of the two would come to half of the targets. */
		if (rc == -EBUSY)
			return rc;
		if (rc < 0) {
			failed = rc;
			if (paths->count > 1)
				log_error("target is left out error=\"%s\" hint=\"mend or replace "
					  "the disk and start again, or take its path out of the "
					  "configuration\"",
					  error);
			continue;
		}
		rc = check_instance(targets, store, error, error_size);
		if (rc < 0) {
			store_close(store);
			return rc;
		}
		add(targets, store, options.path);
	}
	if (targets->count == 0)
		return failed;
	error[0] = '\0';
	return 0;
}

uint64_t targets_instance(const struct targets *targets)
{
	return own_targets_instance(targets->stores, targets->count);
}

/* ---- by the master ---- */

void targets_registered(struct targets *targets, const uint32_t *ids, uint64_t map_version)
{
	if (targets->ids == NULL)
		targets->ids = calloc(targets->count, sizeof(*targets->ids));
	if (targets->ids == NULL)
		abort(); /* a server that does not know its targets could not leave in order */
	for (unsigned i = 0; i < targets->count; i++) {
		targets->ids[i] = ids[i];
		(void)target_entry_registered(&targets->items[i].entry, ids[i], map_version);
	}
}

void targets_map(struct targets *targets, uint64_t version)
{
	for (unsigned i = 0; i < targets->count; i++)
		(void)target_entry_map(&targets->items[i].entry, version);
}

void targets_report(struct targets *targets, unsigned index, struct target_report *report)
{
	struct server_target *target;
	uint64_t free_bytes;

	expects(index < targets->count);
	target = &targets->items[index];
	report->uuid = target->uuid;
	store_space(target->store, &report->capacity, &report->used, &free_bytes);
	target->low = store_is_low(target->store, target->low);
	report->full = target->low;
	target->told_down = store_is_down(target->store);
	report->error = target->told_down ? EIO : 0;
	report->life = store_life(target->store);
	report->damaged = store_damaged(target->store);
	report->settled = target_entry_is_in(&target->entry);
	store_seen(target->store, &report->seen);
}

/* ---- mending ---- */

void targets_settle_damage(struct targets *targets, uv_loop_t *loop)
{
	for (unsigned i = 0; targets->ids != NULL && i < targets->count; i++)
		if (targets->ids[i] != 0)
			target_mend_settle(&targets->items[i].mend, loop);
}

bool targets_have_changed(const struct targets *targets)
{
	for (unsigned i = 0; i < targets->count; i++) {
		if (store_is_down(targets->stores[i]) != targets->items[i].told_down)
			return true;
	}
	return false;
}

void targets_recover(struct targets *targets, uv_loop_t *loop)
{
	static struct log_rate rate;

	for (unsigned i = 0; i < targets->count; i++) {
		struct server_target *target = &targets->items[i];

		if (target_mend_recover(&target->mend, loop) && log_rate_ok(&rate, 1))
			log_error("target is down, trying to recover path=%s uuid=%s", target->path,
				  target->uuid);
	}
}

void targets_close(struct targets *targets)
{
	for (unsigned i = 0; i < targets->count; i++) {
		const struct target_mend *mend = &targets->items[i].mend;

		expects(!mend->recovering && !mend->is_settling);
		store_close(targets->stores[i]);
	}
	free(targets->ids);
	free(targets->stores);
	free(targets->items);
	*targets = (struct targets){0};
}
