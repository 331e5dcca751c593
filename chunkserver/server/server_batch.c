#include "chunkserver/server/server_batch.h"
#include <stdlib.h>
#include "catena.pb-c.h"
#include "common/base/expects.h"

#define PROTOCOL 1u

static char *text(const char *value)
{
	return (char *)(uintptr_t)(value == NULL ? "" : value);
}

static uint8_t *pack(const Catena__ServerBatch *batch, size_t *size)
{
	uint8_t *data;

	*size = catena__server_batch__get_packed_size(batch);
	data = malloc(*size);
	if (data != NULL)
		catena__server_batch__pack(batch, data);
	return data;
}

/* ---- targets ---- */

struct target_messages {
	Catena__TargetReport *reports, **pointers;
};

static void target_messages_free(struct target_messages *messages)
{
	free(messages->reports);
	free(messages->pointers);
}

/* False: out of memory; the messages are to be freed all the same. @with_seen: what they remember
 * of masters, too. */
static bool target_messages_fill(const struct target_reports *targets, bool with_seen,
				 struct target_messages *messages)
{
	messages->reports = calloc(targets->count, sizeof(*messages->reports));
	messages->pointers = calloc(targets->count, sizeof(*messages->pointers));
	if (messages->reports == NULL || messages->pointers == NULL)
		return false;
	for (size_t i = 0; i < targets->count; i++) {
		const struct target_report *target = &targets->reports[i];
		Catena__TargetReport *message = &messages->reports[i];

		expects(target->error >= 0);
		catena__target_report__init(message);
		message->uuid = text(target->uuid);
		message->target_id = targets->ids[i];
		message->capacity = target->capacity;
		message->used = target->used;
		message->full = target->full;
		message->error = target->error;
		message->life = target->life;
		message->damaged = target->damaged;
		if (with_seen) {
			message->seen_life = target->seen.life;
			message->seen_chance = target->seen.chance;
			message->seen_version = target->seen.version;
			message->seen_index = target->seen.index;
			message->settled = target->settled;
		}
		messages->pointers[i] = message;
	}
	return true;
}

uint8_t *server_batch_register(const struct server_registration *server,
			       const struct target_reports *targets, size_t *size)
{
	Catena__Register message = CATENA__REGISTER__INIT, *messages[1] = {&message};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	struct target_messages reports;
	uint8_t *data = NULL;

	if (target_messages_fill(targets, true, &reports)) {
		message.cluster = text(server->cluster);
		message.name = text(server->name);
		message.address = text(server->address);
		message.host = text(server->host);
		message.rack = text(server->rack);
		message.zone = text(server->zone);
		message.workers = server->workers;
		message.protocol = PROTOCOL;
		message.instance = server->instance;
		message.targets = reports.pointers;
		message.n_targets = targets->count;
		batch.registrations = messages;
		batch.n_registrations = 1;
		data = pack(&batch, size);
	}
	target_messages_free(&reports);
	return data;
}

/* ---- heartbeats and reports ---- */

static void fill_reports(const struct report *reports, size_t count, Catena__ChainReport *messages,
			 Catena__ChainReport **pointers)
{
	for (size_t i = 0; i < count; i++) {
		catena__chain_report__init(&messages[i]);
		messages[i].pool = reports[i].pool;
		messages[i].partition = reports[i].partition;
		messages[i].epoch = reports[i].epoch;
		messages[i].target_id = reports[i].target_id;
		messages[i].kind = reports[i].kind;
		pointers[i] = &messages[i];
	}
}

uint8_t *server_batch_reports(const struct report *reports, size_t count, size_t *size)
{
	Catena__ChainReport *messages = calloc(count, sizeof(*messages));
	Catena__ChainReport **pointers = calloc(count, sizeof(*pointers));
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	uint8_t *data = NULL;

	if (messages != NULL && pointers != NULL) {
		fill_reports(reports, count, messages, pointers);
		batch.reports = pointers;
		batch.n_reports = count;
		data = pack(&batch, size);
	}
	free(pointers);
	free(messages);
	return data;
}

/* What a heartbeat's message points to. */
struct status_messages {
	Catena__CatchupProgress catchups[MASTER_CATCHUPS_MAX],
		*catchup_pointers[MASTER_CATCHUPS_MAX];
	Catena__ChainReport reports[MASTER_REPORTS_MAX], *report_pointers[MASTER_REPORTS_MAX];
};

static void fill_catchups(const struct server_status *status, struct status_messages *messages)
{
	for (size_t i = 0; i < status->catchup_count; i++) {
		const struct worker_catchup *catchup = &status->catchups[i];
		Catena__CatchupProgress *message = &messages->catchups[i];

		catena__catchup_progress__init(message);
		message->pool = catchup->pool;
		message->partition = catchup->partition;
		message->epoch = catchup->epoch;
		message->target_id = catchup->target_id;
		message->compared = catchup->compared;
		message->copied = catchup->copied;
		message->damaged = catchup->damaged;
		messages->catchup_pointers[i] = message;
	}
}

static void fill_status(const struct server_status *status, struct status_messages *messages,
			Catena__Heartbeat *message, Catena__ServerBatch *batch)
{
	expects(status->unreachable_count <= MASTER_UNREACHABLE_MAX);
	expects(status->catchup_count <= MASTER_CATCHUPS_MAX);
	expects(status->report_count <= MASTER_REPORTS_MAX);
	fill_catchups(status, messages);
	fill_reports(status->reports, status->report_count, messages->reports,
		     messages->report_pointers);
	message->leaving = status->leaving;
	message->map_version = status->map_version;
	message->fence_version = status->fence_version;
	message->unreachable = (uint64_t *)(uintptr_t)status->unreachable;
	message->n_unreachable = status->unreachable_count;
	message->catchups = messages->catchup_pointers;
	message->n_catchups = status->catchup_count;
	batch->reports = messages->report_pointers;
	batch->n_reports = status->report_count;
}

uint8_t *server_batch_heartbeat(uint64_t sequence, const struct server_status *status,
				const struct target_reports *targets, size_t *size)
{
	Catena__Heartbeat message = CATENA__HEARTBEAT__INIT, *messages[1] = {&message};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	struct status_messages *parts = calloc(1, sizeof(*parts));
	struct target_messages reports;
	uint8_t *data = NULL;

	if (target_messages_fill(targets, false, &reports) && parts != NULL) {
		fill_status(status, parts, &message, &batch);
		message.sequence = sequence;
		message.targets = reports.pointers;
		message.n_targets = targets->count;
		batch.heartbeats = messages;
		batch.n_heartbeats = 1;
		data = pack(&batch, size);
	}
	target_messages_free(&reports);
	free(parts);
	return data;
}

uint8_t *server_batch_removed(uint32_t target_id, uint64_t sequence, int error,
			      const struct chunk_order *again, size_t count, size_t *size)
{
	Catena__Removed message = CATENA__REMOVED__INIT, *messages[1] = {&message};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	Catena__RemoveChunk *chunks = calloc(count + 1, sizeof(*chunks));
	Catena__RemoveChunk **pointers = calloc(count + 1, sizeof(Catena__RemoveChunk *));
	uint8_t *data = NULL;

	expects(error <= 0);
	message.sequence = sequence;
	message.target_id = target_id;
	message.error = -error;
	message.again = pointers;
	message.n_again = count;
	batch.removed = messages;
	batch.n_removed = 1;
	if (chunks == NULL || pointers == NULL)
		goto out;
	for (size_t i = 0; i < count; i++) {
		catena__remove_chunk__init(&chunks[i]);
		chunks[i].pool = again[i].key.pool;
		chunks[i].partition = again[i].key.partition;
		chunks[i].file_id = again[i].key.file_id;
		chunks[i].index = again[i].key.index;
		chunks[i].epoch = again[i].epoch;
		pointers[i] = &chunks[i];
	}
	data = pack(&batch, size);
out:
	free(pointers);
	free(chunks);
	return data;
}
