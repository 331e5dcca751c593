/* The server puts its parts together and passes on what each has for the others:
 *
 *   master  -> master_session -> cluster_view (noted at the targets) -> workers
 *   workers -> event_queue    -> chain_reports, heartbeat            -> master_session
 *   clients -> acceptor       -> the worker that they ask for
 *
 * When it opens, targets come first, because none may be what there is to serve; then the port,
 * because the master is told its number; then the workers, and the master's session last. It stops
 * in the order that server.h promises. */
#include "chunkserver/server/server.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/server/acceptor.h"
#include "chunkserver/server/cluster_view.h"
#include "chunkserver/server/event_queue.h"
#include "chunkserver/server/heartbeat.h"
#include "chunkserver/server/leaving.h"
#include "chunkserver/server/master_session.h"
#include "chunkserver/server/own_targets.h"
#include "chunkserver/server/removal.h"
#include "chunkserver/server/targets.h"
#include "chunkserver/server/workers.h"
#include "common/base/expects.h"

#define STOP_TIMEOUT_NS  (8 * NS_PER_SEC)
#define RECOVER_EVERY_MS 1000u
#define ADDRESS_MAX      300u

struct server {
	const struct config *config;
	const struct tls_identity *self;
	uv_loop_t *loop;
	char address[ADDRESS_MAX];
	SSL_CTX *tls;
	struct buf_pool *pool;
	struct targets targets;
	struct workers workers;
	struct acceptor *acceptor;
	struct master_session *master; /* NULL: not open */
	struct cluster_view view;
	struct heartbeat heartbeat;
	struct event_queue queue;
	struct leaving leaving;
	uv_timer_t timer; /* for targets that are down */
};

static void send_heartbeat(struct server *s)
{
	if (s->master != NULL)
		master_session_heartbeat(s->master);
}

/* ---- what the master asks, and says ---- */

static void on_report(void *user, unsigned index, struct target_report *report)
{
	struct server *s = user;

	targets_report(&s->targets, index, report);
}

static void on_status(void *user, struct server_status *status)
{
	struct server *s = user;

	status->leaving = leaving_has_begun(&s->leaving);
	heartbeat_status(&s->heartbeat, &s->workers, status);
}

static uint64_t on_instance(void *user)
{
	const struct server *s = user;

	return targets_instance(&s->targets);
}

static int on_joined(void *user, const struct master_identity *master)
{
	struct server *s = user;
	int rc = cluster_view_join(&s->view, &s->targets, master);

	if (rc < 0)
		return rc;
	acceptor_set_instance(s->acceptor, master->instance);
	workers_set_instance(&s->workers, master->instance);
	return 0;
}

static void on_registered(void *user, uint64_t server_id, const uint32_t *target_ids,
			  uint64_t map_version)
{
	struct server *s = user;

	targets_registered(&s->targets, target_ids, map_version);
	cluster_view_registered(&s->view, &s->targets, server_id);
	acceptor_set_server_id(s->acceptor, server_id);
	workers_set_identity(&s->workers, server_id, target_ids, map_version);
}

static void on_map(void *user, struct cluster_map *map)
{
	struct server *s = user;

	if (!cluster_view_set_map(&s->view, &s->targets, map))
		return;
	chain_reports_map(s->heartbeat.reports, map);
	workers_set_map(&s->workers, map);
}

static void on_index(void *user, uint64_t index)
{
	struct server *s = user;

	cluster_view_index(&s->view, &s->targets, index);
}

static int on_remembered(void *user, unsigned index, store_seen_each *each, void *each_user)
{
	struct server *s = user;

	expects(index < s->targets.count);
	return store_seen_chains(s->targets.stores[index], each, each_user);
}

static void on_recovery(void *user, uint64_t rate, bool paused)
{
	struct server *s = user;

	copy_rate_set(&s->workers.copy_rate, rate, paused);
}

/* A renewal says that the master has settled the lives of all targets. So in all chains of a
 * damaged target the other members are ahead of it by now. */
static void on_lease(void *user, uint64_t until_ns)
{
	struct server *s = user;

	targets_settle_damage(&s->targets, s->loop);
	workers_set_lease(&s->workers, until_ns);
}

static void on_remove(void *user, unsigned index, uint64_t sequence,
		      const struct chunk_order *chunks, size_t count)
{
	struct server *s = user;

	expects(index < s->targets.count);
	removal_start(&s->workers, &s->queue, index, sequence, chunks, count);
}

/* ---- what workers say ---- */

static void send_reports(struct server *s, struct event_report *event)
{
	struct report batch[MASTER_REPORTS_MAX];
	size_t count = 0;

	while (event != NULL) {
		struct event_report *next = event->next;

		if (chain_reports_add(s->heartbeat.reports, &event->report) < 0)
			abort(); /* the chain does not say it again; a crash is survived */
		batch[count++] = event->report;
		free(event);
		event = next;
		if (count == MASTER_REPORTS_MAX || event == NULL) {
			if (s->master != NULL)
				master_session_report(s->master, batch, count);
			count = 0;
		}
	}
}

static void send_removals(struct server *s, struct event_removal *removal)
{
	while (removal != NULL) {
		struct event_removal *next = removal->next;

		if (s->master != NULL)
			master_session_removed(s->master, removal->target, removal->sequence,
					       removal->error, removal->again,
					       removal->again_count);
		free(removal);
		removal = next;
	}
}

static void take_events(struct server *s)
{
	struct events events;

	event_queue_take(&s->queue, &events);
	send_removals(s, events.removals);
	send_reports(s, events.reports);
	if (events.changed || (events.placed && heartbeat_is_due(&s->heartbeat, &s->workers)))
		send_heartbeat(s);
}

static void on_events(uv_async_t *async)
{
	take_events(async->data);
}

/* ---- connections ---- */

static bool on_is_over(void *user, uint64_t session)
{
	const struct server *s = user;

	return cluster_view_session_over(&s->view, session);
}

static void on_adopt(void *user, struct conn *conn, const struct hello *hello)
{
	struct server *s = user;

	expects(hello->worker < s->workers.count);
	worker_adopt(s->workers.items[hello->worker], conn, hello);
}

/* ---- opening ---- */

static void on_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;

	cluster_view_note_again(&s->view, &s->targets);
	if (targets_have_changed(&s->targets))
		send_heartbeat(s);
	targets_recover(&s->targets, s->loop);
}

static int start_workers(struct server *s, char *error, size_t error_size)
{
	const struct worker_options options = {
		.workers = (uint32_t)s->config->workers,
		.cluster = s->self->cluster,
		.tls = s->tls,
		.pool = s->pool,
		.stores = s->targets.stores,
		.store_count = s->targets.count,
		.events = {.report = event_queue_post_report,
			   .changed = event_queue_post_changed,
			   .placed = event_queue_post_placed,
			   .user = &s->queue},
	};

	return workers_start(&s->workers, &options, error, error_size);
}

static int open_port(struct server *s, char *error, size_t error_size)
{
	struct acceptor_options options = {
		.loop = s->loop,
		.listen = s->config->listen,
		.tls = s->tls,
		.pool = s->pool,
		.cluster = s->self->cluster,
		.workers = (uint32_t)s->config->workers,
		.instance = on_instance(s),
		.adopt = on_adopt,
		.is_over = on_is_over,
		.user = s,
	};
	const char *colon = strrchr(s->config->listen, ':');
	int rc = acceptor_open(&options, &s->acceptor);

	if (rc < 0) {
		snprintf(error, error_size, "cannot listen on %s: %s", s->config->listen,
			 rc == -EADDRINUSE ? "the port is in use by another process"
					   : strerror(-rc));
		return rc;
	}
	if (s->config->advertise[0] != '\0')
		snprintf(s->address, sizeof(s->address), "%s", s->config->advertise);
	else
		snprintf(s->address, sizeof(s->address), "%.*s:%u",
			 (int)(colon - s->config->listen), s->config->listen,
			 acceptor_port(s->acceptor));
	return 0;
}

static int open_master(struct server *s, char *error, size_t error_size)
{
	struct master_session_options options = {
		.loop = s->loop,
		.master = s->config->master,
		.tls = {.ca = s->config->ca, .cert = s->config->cert, .key = s->config->key},
		.cluster = s->self->cluster,
		.name = s->self->name,
		.address = s->address,
		.host = s->config->host,
		.rack = s->config->rack,
		.zone = s->config->zone,
		.workers = s->workers.count,
		.target_count = s->targets.count,
		.instance = on_instance,
		.callbacks = {.joined = on_joined,
			      .report = on_report,
			      .status = on_status,
			      .recovery = on_recovery,
			      .registered = on_registered,
			      .remembered = on_remembered,
			      .map = on_map,
			      .lease = on_lease,
			      .index = on_index,
			      .remove = on_remove},
		.user = s,
	};

	return master_session_open(&options, &s->master, error, error_size);
}

/* True when the master knows that this server goes by its newest map: other servers wait for
 * that. */
static bool has_told_map(const struct server *s)
{
	return s->view.map == NULL || s->heartbeat.map_version >= s->view.map->version;
}

static bool may_go(void *user)
{
	const struct server *s = user;
	const struct targets *targets = &s->targets;
	unsigned registered = targets->ids == NULL ? 0 : targets->count;

	if (!master_session_registered(s->master))
		return true;
	return !own_targets_needed(targets->ids, registered, s->view.map) && has_told_map(s);
}

static int open_all(struct server *s, char *error, size_t error_size)
{
	struct tls_files files = {
		.ca = s->config->ca, .cert = s->config->cert, .key = s->config->key};
	int rc = event_queue_open(&s->queue, s->loop, on_events, s);

	s->heartbeat.reports = chain_reports_new();
	if (rc == 0 && s->heartbeat.reports == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = tls_context(&files, &s->tls, error, error_size);
	if (rc == 0)
		rc = buf_pool_create(s->config->memory, &s->pool);
	if (rc == 0)
		rc = targets_open(&s->targets, &s->config->targets, s->self->cluster, s->pool,
				  error, error_size);
	if (rc == 0)
		rc = open_port(s, error, error_size);
	if (rc == 0)
		rc = start_workers(s, error, error_size);
	if (rc == 0)
		rc = open_master(s, error, error_size);
	return rc;
}

int server_open(uv_loop_t *loop, const struct config *config, const struct tls_identity *self,
		struct server **out, char *error, size_t error_size)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->config = config;
	s->self = self;
	s->loop = loop;
	leaving_open(&s->leaving, loop, may_go, s);
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	rc = open_all(s, error, error_size);
	if (rc < 0) {
		if (error[0] == '\0')
			snprintf(error, error_size, "%s", strerror(-rc));
		server_stop(s);
		uv_run(loop, UV_RUN_DEFAULT);
		server_free(s);
		return rc;
	}
	uv_timer_start(&s->timer, on_timer, RECOVER_EVERY_MS, RECOVER_EVERY_MS);
	*out = s;
	return 0;
}

const char *server_address(const struct server *server)
{
	return server->address;
}

unsigned server_targets(const struct server *server)
{
	return server->targets.count;
}

/* ---- the end ---- */

void server_leave(struct server *server, void (*left)(void *user), void *user)
{
	leaving_start(&server->leaving, SERVER_LEAVE_NS, left, user);
	send_heartbeat(server);
}

void server_stop(struct server *server)
{
	workers_stop(&server->workers, STOP_TIMEOUT_NS);
	acceptor_close(server->acceptor);
	server->acceptor = NULL;
	master_session_close(server->master);
	server->master = NULL;
	event_queue_close(&server->queue);
	leaving_close(&server->leaving);
	uv_close((uv_handle_t *)&server->timer, NULL);
}

void server_free(struct server *server)
{
	expects(server->workers.count == 0 && server->master == NULL);
	take_events(server); /* what came too late to be sent */
	event_queue_destroy(&server->queue);
	targets_close(&server->targets);
	chain_reports_free(server->heartbeat.reports);
	cluster_view_free(&server->view);
	buf_pool_destroy(server->pool);
	SSL_CTX_free(server->tls);
	free(server);
}
