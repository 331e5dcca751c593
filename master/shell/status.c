/* status.c - the Status call: what there is and how it is. */
#define LOG_MODULE "status"
#include "master/shell/status.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/hearing.h"
#include "master/cluster/publisher.h"
#include "master/leases/leases.h"
#include "master/shared/chunkserver.h"
#include "master/sessions/clients.h"

static void fill_sessions(struct master *master, Catena__StatusReply *reply,
			  Catena__SessionStatus *sessions, Catena__SessionStatus **pointers)
{
	uint64_t now_ns = clock_boottime_ns();
	size_t n = 0;

	for (struct client_session *s = master->clients; s != NULL; s = s->hh.next, n++) {
		catena__session_status__init(&sessions[n]);
		sessions[n].id = s->id;
		sessions[n].mount = s->mount;
		sessions[n].name = s->name;
		sessions[n].online =
			s->stream != NULL && !leases_lapsed(master->leases, s->id, now_ns);
		pointers[n] = &sessions[n];
	}
	reply->n_sessions = n;
	reply->sessions = pointers;
}

/* ---- chains ---- */

#define WARNINGS_MAX 256u

/* What a reply points to. */
struct chains_status {
	Catena__Recovery recovery;
	Catena__CatchupProgress *catchups, **catchup_pointers;
	Catena__TargetStatus *targets, **target_pointers;
	char *warnings[WARNINGS_MAX];
	size_t warning_count;
};

static void chains_status_free(struct chains_status *status)
{
	free(status->catchups);
	free(status->catchup_pointers);
	free(status->targets);
	free(status->target_pointers);
	for (size_t i = 0; i < status->warning_count; i++)
		free(status->warnings[i]);
}

static void add_warning(void *user, const char *line)
{
	struct chains_status *status = user;

	if (status->warning_count == WARNINGS_MAX)
		return;
	status->warnings[status->warning_count] = strdup(line);
	if (status->warnings[status->warning_count] != NULL)
		status->warning_count++;
}

static int fill_catchups(struct master *master, Catena__StatusReply *reply,
			 struct chains_status *status)
{
	size_t count = 0, n = 0;

	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		count += s->catchup_count;
	status->catchups = calloc(count + 1, sizeof(*status->catchups));
	status->catchup_pointers = calloc(count + 1, sizeof(*status->catchup_pointers));
	if (status->catchups == NULL || status->catchup_pointers == NULL)
		return -ENOMEM;
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next) {
		if (s->stream == NULL)
			continue;
		for (size_t i = 0; i < s->catchup_count; i++, n++) {
			Catena__CatchupProgress *out = &status->catchups[n];

			catena__catchup_progress__init(out);
			out->pool = s->catchups[i].pool;
			out->partition = s->catchups[i].partition;
			out->epoch = s->catchups[i].epoch;
			out->target_id = s->catchups[i].target;
			out->compared = s->catchups[i].compared;
			out->copied = s->catchups[i].copied;
			out->damaged = s->catchups[i].damaged;
			status->catchup_pointers[n] = out;
		}
	}
	reply->n_catchups = n;
	reply->catchups = status->catchup_pointers;
	return 0;
}

static int fill_targets(struct master *master, Catena__StatusReply *reply,
			struct chains_status *status)
{
	const struct cluster_map *map = master->published.map;
	uint64_t now_ns = clock_boottime_ns();

	status->targets = calloc(map->target_count + 1, sizeof(*status->targets));
	status->target_pointers = calloc(map->target_count + 1, sizeof(*status->target_pointers));
	if (status->targets == NULL || status->target_pointers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < map->target_count; i++) {
		Catena__TargetStatus *out = &status->targets[i];
		struct chain_manager_status is = {0};

		chain_manager_target_status(master->chain_manager, map, map->targets[i].id, now_ns,
					    &is);
		catena__target_status__init(out);
		out->id = map->targets[i].id;
		out->error = is.error;
		out->partitions = is.partitions;
		out->in_sync = is.in_sync;
		out->heads = is.heads;
		out->fair = is.fair;
		/* Less than a second is not "there", either. */
		out->out_seconds = (is.out_ns + NS_PER_SEC - 1) / NS_PER_SEC;
		status->target_pointers[i] = out;
	}
	reply->n_targets = map->target_count;
	reply->targets = status->target_pointers;
	return 0;
}

static int fill_chains(struct master *master, Catena__StatusReply *reply,
		       struct chains_status *status)
{
	char line[MASTER_BEHIND_MAX + 64];
	struct state_recovery recovery;
	int rc = fill_catchups(master, reply, status);

	if (rc == 0)
		rc = fill_targets(master, reply, status);
	state_recovery(master->state, &recovery);
	catena__recovery__init(&status->recovery);
	status->recovery.rate = recovery.rate;
	status->recovery.paused = recovery.paused;
	reply->recovery = &status->recovery;
	if (hearing_describe(master, line, sizeof(line)))
		add_warning(status, line);
	if (master->behind[0] == '\0') /* else that is why all are refused */
		refusals_describe(&master->refusals, clock_boottime_ns(), add_warning, status);
	chain_manager_warnings(master->chain_manager, master->published.map, clock_boottime_ns(),
			       add_warning, status);
	reply->n_warnings = status->warning_count;
	reply->warnings = status->warnings;
	return rc;
}

/* ---- the reply ---- */

/* With the state lock held, because sessions' texts are borrowed. */
static int build(struct master *master, struct push *push)
{
	Catena__StatusReply reply = CATENA__STATUS_REPLY__INIT;
	size_t count = HASH_COUNT(master->clients), size, map_size;
	Catena__SessionStatus *sessions = calloc(count + 1, sizeof(*sessions));
	Catena__SessionStatus **pointers = calloc(count + 1, sizeof(*pointers));
	int error = command_log_error(master->log), rc = -ENOMEM;
	uint8_t *rest = NULL, *map = NULL;
	struct chains_status chains = {.warning_count = 0};
	struct state_counts counts;

	if (sessions == NULL || pointers == NULL)
		goto out;
	fill_sessions(master, &reply, sessions, pointers);
	state_counts(master->state, &counts);
	reply.inodes = counts.inodes;
	reply.orphans = counts.orphans;
	reply.removal_queue = counts.removals;
	reply.log_index = command_log_applied(master->log);
	if (error != 0)
		reply.store_error = strerror(-error);
	rc = fill_chains(master, &reply, &chains);
	if (rc != 0)
		goto out;
	rc = -ENOMEM;
	size = catena__status_reply__get_packed_size(&reply);
	rest = malloc(size + 1);
	if (rest == NULL)
		goto out;
	catena__status_reply__pack(&reply, rest);
	rc = published_map_encode_now(&master->published, &map, &map_size);
	if (rc != 0)
		goto out;
	push_bytes(push, STATUS_REPLY_MAP, map, map_size);
	push_raw(push, rest, size);
	if (push->failed)
		rc = -ENOMEM;
out:
	chains_status_free(&chains);
	free(map);
	free(rest);
	free(pointers);
	free(sessions);
	return rc;
}

void status_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		  const uint8_t *data, size_t size)
{
	static struct log_rate rate;
	struct master *master = server_user;
	struct push push = {0};
	int rc;

	if ((peer->role != TLS_ROLE_ADMIN && peer->role != TLS_ROLE_CLIENT) ||
	    strcmp(peer->cluster, master->self.cluster) != 0) {
		if (log_rate_ok(&rate, 5))
			log_warn("status refused name=%s role=%s", peer->name,
				 tls_role_name(peer->role));
		rpc_call_reply(call, -EACCES, NULL, 0);
		return;
	}
	master_lock(master);
	rc = build(master, &push);
	master_unlock(master);
	rpc_call_reply(call, rc, push.data, push.size);
	push_free(&push);
}
