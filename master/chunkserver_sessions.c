/* chunkserver_sessions.c - streams of chunkservers: heartbeats, liveness, removals' answers. */
#define LOG_MODULE "chunkserver"
#include "master/chunkserver_sessions.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/clock.h"
#include "common/log.h"
#include "master/removal.h"
#include "master/unpack.h"

/* How much later than the lease a server is surely not serving any more. */
#define MARGIN_NS (500 * NS_PER_MSEC)
/* A broken connection usually comes back at once, and a restarting server soon. */
#define RECONNECT_NS NS_PER_SEC
/* A gap between ticks that only a stopped process explains. */
#define PAUSE_NS NS_PER_SEC

static struct log_rate noise;

void chunkserver_stream_unref(struct chunkserver_stream *stream)
{
	if (--stream->refs == 0)
		free(stream);
}

void chunkserver_send(struct chunkserver_stream *stream, const struct push *push)
{
	int rc;

	if (stream->over || push->size == 0)
		return;
	rc = push->failed ? -ENOMEM : rpc_stream_send(stream->rpc, push->data, push->size);
	if (rc == 0 || rc == -EPIPE)
		return;
	if (log_rate_ok(&noise, 2))
		log_warn("stream given up name=%s error=\"%s\"", stream->name, strerror(-rc));
	rpc_stream_close(stream->rpc);
}

struct chunkserver *chunkserver_by_name(struct master *master, const char *name)
{
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

/* ---- messages ---- */

static void heartbeat(struct chunkserver_stream *stream, const Catena__Heartbeat *message,
		      struct push *push, uint64_t now_ns)
{
	struct master *master = stream->master;
	Catena__Renew renew = CATENA__RENEW__INIT;

	for (size_t i = 0; i < message->n_targets; i++) {
		const Catena__TargetReport *report = message->targets[i];
		const struct map_target *target =
			cluster_map_target(master->view.map, report->target_id);

		if (target != NULL && target->server_id == stream->server->id)
			view_set_usage(&master->view, report->target_id, report->capacity,
				       report->used, report->full || report->error != 0);
	}
	stream->server->lease_until_ns = now_ns + master->config.serving_lease_ns;
	renew.sequence = message->sequence;
	push_message(push, SERVER_PUSH_RENEWED, &renew.base);
	if (stream->server->online)
		return;
	/* It was silent for a while, and is back. */
	log_info("online again name=%s", stream->name);
	stream->server->online = true;
	if (view_set_online(&master->view, stream->server->id, true))
		master_publish(master);
	removals_online(master->removals);
}

/* False: the peer does what no chunkserver may do. */
static bool handle(struct chunkserver_stream *stream, const Catena__ServerBatch *batch,
		   struct push *push)
{
	uint64_t now_ns = clock_monotonic_ns();

	for (size_t i = 0; i < batch->n_registrations; i++)
		if (!chunkserver_register(stream, batch->registrations[i]))
			return false;
	if (stream->server == NULL)
		return batch->n_heartbeats == 0 && batch->n_removed == 0;
	for (size_t i = 0; i < batch->n_heartbeats; i++)
		heartbeat(stream, batch->heartbeats[i], push, now_ns);
	for (size_t i = 0; i < batch->n_removed; i++)
		removals_answer(stream->master->removals, batch->removed[i]->target_id,
				batch->removed[i]->sequence, batch->removed[i]->error);
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
		log_info("disconnected name=%s error=\"%s\"", stream->name,
			 error == 0 ? "none" : strerror(-error));
		stream->server->stream = NULL;
		stream->server->disconnected_ns = clock_monotonic_ns();
		stream->server = NULL;
		removals_lost(master->removals);
	}
	chunkserver_stream_unref(stream);
	master_unlock(master);
}

const struct rpc_stream_handler chunkserver_stream_handler = {
	.open = on_open,
	.message = on_message,
	.closed = on_closed,
};

/* ---- liveness ---- */

static bool is_gone(const struct chunkserver *server, uint64_t now_ns)
{
	if (now_ns > server->lease_until_ns + MARGIN_NS)
		return true;
	return server->stream == NULL && now_ns > server->disconnected_ns + RECONNECT_NS;
}

void chunkservers_tick(struct master *master, uint64_t now_ns)
{
	uint64_t gap = master->last_tick_ns == 0 ? 0 : now_ns - master->last_tick_ns;
	bool news = false;

	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next) {
		if (gap > PAUSE_NS) {
			/* This process was stopped: heartbeats may be waiting unread. */
			s->lease_until_ns += gap;
			s->disconnected_ns += gap;
		}
		if (!s->online || !is_gone(s, now_ns))
			continue;
		log_warn("offline name=%s address=%s connected=%s", s->name, s->address,
			 s->stream != NULL ? "yes" : "no");
		s->online = false;
		news |= view_set_online(&master->view, s->id, false);
	}
	if (news)
		master_publish(master);
}

void chunkservers_push_map(struct master *master)
{
	struct push push = {0};

	push_bytes(&push, SERVER_PUSH_MAPS, master->view.encoded, master->view.encoded_size);
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		if (s->stream != NULL)
			chunkserver_send(s->stream, &push);
	push_free(&push);
}

struct rpc_stream *chunkservers_stream_of(struct master *master, uint32_t target_id)
{
	const struct map_target *target = cluster_map_target(master->view.map, target_id);
	struct chunkserver *server;

	if (target == NULL)
		return NULL;
	HASH_FIND(hh, master->chunkservers, &target->server_id, sizeof(target->server_id), server);
	if (server == NULL || server->stream == NULL || !server->online)
		return NULL;
	return rpc_stream_ref(server->stream->rpc);
}

void chunkservers_free(struct master *master)
{
	struct chunkserver *server, *next;

	HASH_ITER(hh, master->chunkservers, server, next)
	{
		HASH_DEL(master->chunkservers, server);
		free(server);
	}
}
