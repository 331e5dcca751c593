/* chunkservers.c - streams of chunkservers: heartbeats, liveness, removals' answers. */
#define LOG_MODULE "chunkserver"
#include "master/sessions/chunkservers.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/unpack.h"
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/publisher.h"
#include "master/shared/chains.h"
#include "master/cluster/probes.h"
#include "master/cluster/removals.h"
#include "master/leases/fences.h"
#include "master/sessions/chunkserver_register.h"
#include "master/sessions/client_fences.h"

/* One heartbeat may say so much; the rest is not looked at. */
#define TARGETS_MAX     256u
#define UNREACHABLE_MAX 256u

static struct log_rate noise;

/* ---- messages ---- */

static size_t take_reports(struct master *master, uint64_t server, const Catena__Heartbeat *message,
			   struct liveness_report *out)
{
	size_t count = 0;

	for (size_t i = 0; i < message->n_targets && count < TARGETS_MAX; i++) {
		const Catena__TargetReport *report = message->targets[i];
		const struct map_target *target =
			cluster_map_target(master->published.map, report->target_id);

		out[count++] = (struct liveness_report){.id = report->target_id,
							.capacity = report->capacity,
							.used = report->used,
							.full = report->full != 0,
							.error = report->error};
		if (target != NULL && target->server_id == server)
			published_map_set_usage(&master->published, report->target_id,
						report->capacity, report->used,
						report->full || report->error != 0);
	}
	return count;
}

/* True when the same walk has come further than it was. */
static bool is_nearer(const struct chunkserver *server, const struct server_catchup *now,
		      size_t hint)
{
	for (size_t i = 0; i < server->catchup_count; i++) {
		const struct server_catchup *was =
			&server->catchups[(hint + i) % server->catchup_count];

		if (was->pool == now->pool && was->partition == now->partition &&
		    was->target == now->target && was->epoch == now->epoch)
			return now->compared > was->compared || now->copied > was->copied;
	}
	return true;
}

static void take_catchups(struct master *master, struct chunkserver *server,
			  const Catena__Heartbeat *message, uint64_t now_ns)
{
	size_t count = message->n_catchups < SERVER_CATCHUPS_MAX ? message->n_catchups
								 : SERVER_CATCHUPS_MAX;
	struct server_catchup *catchups = calloc(count + 1, sizeof(*catchups));
	const struct cluster_map *map = chains_map(master);

	if (catchups == NULL || map == NULL) {
		free(catchups);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const Catena__CatchupProgress *from = message->catchups[i];
		struct chain_manager_report said = {.server = server->id,
						    .pool = from->pool,
						    .partition = from->partition,
						    .epoch = from->epoch,
						    .target = from->target_id};

		catchups[i] = (struct server_catchup){.pool = from->pool,
						      .partition = from->partition,
						      .target = from->target_id,
						      .epoch = from->epoch,
						      .compared = from->compared,
						      .copied = from->copied,
						      .damaged = from->damaged != 0};
		if (is_nearer(server, &catchups[i], i))
			chain_manager_progress(master->chain_manager, map, &said, now_ns);
	}
	free(server->catchups);
	server->catchups = catchups;
	server->catchup_count = count;
}

/* Takes the acknowledgement that nothing is left there of ended sessions of clients. */
static void take_fence(struct master *master, const struct chunkserver *server, uint64_t version,
		       uint64_t now_ns)
{
	if (fences_acknowledged(master->fences, server->id, version) != 0)
		log_error("an acknowledgement is lost: out of memory");
	if (fences_busy(master->fences) || fences_owed(master->fences))
		client_fences_act(master, now_ns);
	chain_manager_owes(master->chain_manager, server->id,
			   !fences_may_renew(master->fences, server->id));
}

static void heartbeat(struct chunkserver_stream *stream, const Catena__Heartbeat *message,
		      struct push *push, uint64_t now_ns)
{
	struct master *master = stream->master;
	struct chunkserver *server = stream->server;
	struct liveness_report targets[TARGETS_MAX];
	size_t count = take_reports(master, server->id, message, targets);
	Catena__Renew renew = CATENA__RENEW__INIT;

	take_catchups(master, server, message, now_ns);
	for (size_t i = 0; i < message->n_unreachable && i < UNREACHABLE_MAX; i++)
		chain_manager_unreachable(master->chain_manager, server->id,
					  message->unreachable[i], now_ns);
	publisher_seen(master, server->id, message->map_version);
	take_fence(master, server, message->fence_version, now_ns);
	if (!chain_manager_heartbeat(master->chain_manager, server->id, message->leaving != 0,
				     targets, count, now_ns)) {
		server->unanswered = message->sequence;
		return;
	}
	server->unanswered = 0;
	renew.sequence = message->sequence;
	renew.index = command_log_durable(master->log);
	push_message(push, SERVER_PUSH_RENEWED, &renew.base);
}

static void report(struct chunkserver_stream *stream, const Catena__ChainReport *message)
{
	struct chain_manager *manager = stream->master->chain_manager;
	const struct cluster_map *map = chains_map(stream->master);
	struct chain_manager_report said = {.server = stream->server->id,
					    .pool = message->pool,
					    .partition = message->partition,
					    .epoch = message->epoch,
					    .target = message->target_id};

	if (map == NULL)
		return; /* they report again */
	if (message->kind == CATENA__CHAIN_REPORT_KIND__CHAIN_REPORT_CAUGHT_UP)
		chain_manager_caught_up(manager, map, &said);
	else if (message->kind == CATENA__CHAIN_REPORT_KIND__CHAIN_REPORT_UNFIT)
		chain_manager_unfit(manager, map, &said);
}

/* False: the peer does what no chunkserver may do. */
static bool handle(struct chunkserver_stream *stream, const Catena__ServerBatch *batch,
		   struct push *push)
{
	uint64_t now_ns = clock_boottime_ns();

	for (size_t i = 0; i < batch->n_registrations; i++)
		if (!chunkserver_register(stream, batch->registrations[i]))
			return false;
	if (stream->server == NULL)
		return batch->n_heartbeats == 0 && batch->n_removed == 0 && batch->n_reports == 0;
	for (size_t i = 0; i < batch->n_heartbeats; i++)
		heartbeat(stream, batch->heartbeats[i], push, now_ns);
	for (size_t i = 0; i < batch->n_removed; i++)
		removals_answer(stream->master->removals, stream->rpc, batch->removed[i]);
	for (size_t i = 0; i < batch->n_reports; i++)
		report(stream, batch->reports[i]);
	/* What only time decides is looked at each tick. */
	if (batch->n_heartbeats + batch->n_reports != 0 &&
	    (publisher_soon(stream->master, now_ns) ||
	     chain_manager_pressing(stream->master->chain_manager)))
		publisher_act(stream->master, now_ns);
	return true;
}

static void on_message(void *stream_user, struct rpc_stream *rpc, const uint8_t *data, size_t size)
{
	struct chunkserver_stream *stream = stream_user;
	struct push push = {0};
	struct unpack unpack;
	Catena__ServerBatch *batch =
		catena__server_batch__unpack(unpack_begin(&unpack), size, data);
	bool orderly;

	if (batch == NULL) {
		if (log_rate_ok(&noise, 5))
			log_warn("a chunkserver sent what cannot be decoded name=%s bytes=%zu",
				 stream->name, size);
		rpc_stream_close(rpc);
		return;
	}
	master_lock(stream->master);
	orderly = handle(stream, batch, &push);
	chunkserver_send(stream, &push);
	master_unlock(stream->master);
	push_free(&push);
	catena__server_batch__free_unpacked(batch, &unpack.allocator);
	if (!orderly) {
		if (log_rate_ok(&noise, 5))
			log_warn("a chunkserver breaks the protocol name=%s", stream->name);
		rpc_stream_close(rpc);
	}
}

/* ---- the stream's life ---- */

static int on_open(void *server_user, struct rpc_stream *rpc, const struct tls_identity *peer,
		   void **stream_user)
{
	struct master *master = server_user;
	struct chunkserver_stream *stream;

	if (peer->role != TLS_ROLE_CHUNKSERVER ||
	    strcmp(peer->cluster, master->self.cluster) != 0) {
		if (log_rate_ok(&noise, 5))
			log_warn("stream refused name=%s role=%s cluster=%s reason=\"not a "
				 "chunkserver of this cluster\"",
				 peer->name, tls_role_name(peer->role), peer->cluster);
		return -EACCES;
	}
	stream = calloc(1, sizeof(*stream));
	if (stream == NULL)
		return -ENOMEM;
	stream->master = master;
	stream->rpc = rpc;
	stream->refs = 1;
	snprintf(stream->name, sizeof(stream->name), "%s", peer->name);
	*stream_user = stream;
	return 0;
}

static void on_closed(void *stream_user, struct rpc_stream *rpc, int error)
{
	struct chunkserver_stream *stream = stream_user;
	struct master *master = stream->master;

	master_lock(master);
	stream->over = true;
	if (stream->server != NULL) {
		log_info("disconnected name=%s error=\"%s\"", stream->name, rpc_strerror(error));
		stream->server->stream = NULL;
		chain_manager_disconnected(master->chain_manager, stream->server->id,
					   clock_boottime_ns());
		stream->server = NULL;
		removals_lost(master->removals);
		probes_kick(master->probes);
	}
	chunkserver_stream_unref(stream);
	master_unlock(master);
}

const struct rpc_stream_handler chunkserver_stream_handler = {
	.open = on_open,
	.message = on_message,
	.closed = on_closed,
};

/* ---- all of them ---- */

void chunkservers_renew_late(struct master *master, uint64_t now_ns)
{
	lock_held(&master->lock);
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next) {
		Catena__Renew renew = CATENA__RENEW__INIT;
		struct push push = {0};

		if (s->stream == NULL || s->unanswered == 0)
			continue;
		chain_manager_owes(master->chain_manager, s->id,
				   !fences_may_renew(master->fences, s->id));
		if (!chain_manager_renew_late(master->chain_manager, s->id, now_ns))
			continue;
		renew.sequence = s->unanswered;
		renew.index = command_log_durable(master->log);
		s->unanswered = 0;
		push_message(&push, SERVER_PUSH_RENEWED, &renew.base);
		chunkserver_send(s->stream, &push);
		push_free(&push);
	}
}

void chunkservers_turn_away(struct master *master)
{
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		if (s->stream != NULL)
			rpc_stream_close(s->stream->rpc);
}

void chunkservers_push_map(struct master *master)
{
	struct push push = {0};

	lock_held(&master->lock);
	if (master->published.hidden)
		return;
	push_bytes(&push, SERVER_PUSH_MAPS, master->published.encoded,
		   master->published.encoded_size);
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		if (s->stream != NULL && chain_manager_settled(master->chain_manager, s->id))
			chunkserver_send(s->stream, &push);
	push_free(&push);
}
