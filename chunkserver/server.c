#include "chunkserver/server.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/acceptor.h"
#include "chunkserver/master_session.h"
#include "chunkserver/store.h"
#include "chunkserver/worker.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_MODULE "server"

#define STOP_TIMEOUT_NS  (8 * NS_PER_SEC)
#define RECOVER_EVERY_MS 1000u
#define ADDRESS_MAX      300u

/* A removal ordered by the master, spread over the workers that own its partitions. */
struct removal {
	struct removal *next;
	struct server *server;
	unsigned target;
	uint64_t sequence;
	atomic_uint left;
	atomic_int error; /* the first one */
};

struct target {
	struct server *server;
	struct store *store;
	char uuid[64];
	uv_work_t recovery;
	bool recovering;
};

struct server {
	const struct config *config;
	const struct tls_identity *self;
	uv_loop_t *loop;
	char address[ADDRESS_MAX];
	SSL_CTX *tls;
	struct buf_pool *pool;
	struct target *targets;
	struct store **stores;
	unsigned target_count; /* opened so far */
	struct worker **workers;
	uint32_t worker_count; /* started so far */
	struct acceptor *acceptor;
	struct master_session *master;
	uv_timer_t timer;
	uv_async_t async;
	pthread_mutex_t lock; /* guards finished alone */
	struct removal *finished;
	bool stopping;
};

/* ---- what the master says ---- */

static void on_report(void *user, unsigned index, struct target_report *report)
{
	struct server *s = user;
	struct target *target = &s->targets[index];
	uint64_t free_bytes;

	report->uuid = target->uuid;
	store_space(target->store, &report->capacity, &report->used, &free_bytes);
	report->full = store_full(target->store);
	report->error = store_is_down(target->store) ? EIO : 0;
}

static void on_registered(void *user, uint64_t server_id, const uint32_t *target_ids)
{
	struct server *s = user;

	acceptor_set_server_id(s->acceptor, server_id);
	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_set_identity(s->workers[i], server_id, target_ids);
}

static void on_map(void *user, struct cluster_map *map)
{
	struct server *s = user;

	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_set_map(s->workers[i], map);
}

static void on_lease(void *user, uint64_t until_ns)
{
	struct server *s = user;

	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_set_lease(s->workers[i], until_ns);
}

/* On a worker's thread, or in on_remove(). */
static void removal_part_done(void *user, int error)
{
	struct removal *removal = user;
	struct server *s = removal->server;
	int none = 0;

	if (error < 0)
		atomic_compare_exchange_strong(&removal->error, &none, error);
	if (atomic_fetch_sub(&removal->left, 1) > 1)
		return;
	pthread_mutex_lock(&s->lock);
	removal->next = s->finished;
	s->finished = removal;
	if (!s->stopping)
		uv_async_send(&s->async);
	pthread_mutex_unlock(&s->lock);
}

static void on_remove(void *user, unsigned index, uint64_t sequence, const struct chunk_key *keys,
		      size_t count)
{
	struct server *s = user;
	struct removal *removal = calloc(1, sizeof(*removal));
	struct chunk_key *part = calloc(count + 1, sizeof(*part));

	if (removal == NULL || part == NULL) {
		free(removal);
		free(part);
		return; /* unanswered: the master sends it again */
	}
	removal->server = s;
	removal->target = index;
	removal->sequence = sequence;
	/* One more than there are workers, so that it cannot end before all parts are handed out.
	 */
	atomic_store(&removal->left, s->worker_count + 1);
	for (uint32_t w = 0; w < s->worker_count; w++) {
		size_t n = 0;

		for (size_t i = 0; i < count; i++) {
			if (keys[i].partition % s->worker_count == w)
				part[n++] = keys[i];
		}
		if (n > 0)
			worker_remove(s->workers[w], index, part, n, removal_part_done, removal);
		else
			removal_part_done(removal, 0);
	}
	removal_part_done(removal, 0);
	free(part);
}

static void on_async(uv_async_t *async)
{
	struct server *s = async->data;
	struct removal *removal, *next;

	pthread_mutex_lock(&s->lock);
	removal = s->finished;
	s->finished = NULL;
	pthread_mutex_unlock(&s->lock);
	for (; removal != NULL; removal = next) {
		next = removal->next;
		if (s->master != NULL)
			master_session_removed(s->master, removal->target, removal->sequence,
					       atomic_load(&removal->error));
		free(removal);
	}
}

static void on_adopt(void *user, struct conn *conn, const struct hello *hello)
{
	struct server *s = user;

	worker_adopt(s->workers[hello->worker], conn, hello);
}

/* ---- targets that are down ---- */

static void recover_work(uv_work_t *work)
{
	struct target *target = work->data;
	int rc = store_recover(target->store);

	if (rc == 0)
		log_info("target is back uuid=%s", target->uuid);
}

static void recover_done(uv_work_t *work, int status)
{
	struct target *target = work->data;

	(void)status;
	target->recovering = false;
}

static void on_timer(uv_timer_t *timer)
{
	static struct log_rate rate;
	struct server *s = timer->data;

	for (unsigned i = 0; i < s->target_count; i++) {
		struct target *target = &s->targets[i];

		if (target->recovering || !store_is_down(target->store))
			continue;
		if (log_rate_ok(&rate, 1))
			log_error("target is down, trying to recover path=%s uuid=%s",
				  s->config->targets.items[i], target->uuid);
		target->recovery.data = target;
		target->recovering =
			uv_queue_work(s->loop, &target->recovery, recover_work, recover_done) == 0;
	}
}

/* ---- opening ---- */

static int open_targets(struct server *s, char *error, size_t error_size)
{
	size_t count = s->config->targets.count;

	s->targets = calloc(count, sizeof(*s->targets));
	s->stores = calloc(count, sizeof(*s->stores));
	if (s->targets == NULL || s->stores == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct store_options options = {
			.path = s->config->targets.items[i],
			.cluster = s->self->cluster,
			.pool = s->pool,
		};
		int rc = store_open(&options, &s->stores[i], error, error_size);

		if (rc < 0)
			return rc;
		s->targets[i].server = s;
		s->targets[i].store = s->stores[i];
		snprintf(s->targets[i].uuid, sizeof(s->targets[i].uuid), "%s",
			 store_uuid(s->stores[i]));
		s->target_count++;
	}
	return 0;
}

static int start_workers(struct server *s, char *error, size_t error_size)
{
	uint32_t count = (uint32_t)s->config->workers;

	s->workers = calloc(count, sizeof(struct worker *));
	if (s->workers == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct worker_options options = {
			.index = i,
			.workers = count,
			.cluster = s->self->cluster,
			.tls = s->tls,
			.pool = s->pool,
			.stores = s->stores,
			.store_count = s->target_count,
		};
		int rc = worker_start(&options, &s->workers[i]);

		if (rc < 0) {
			snprintf(error, error_size, "cannot start worker %u: %s", i, strerror(-rc));
			return rc;
		}
		s->worker_count++;
	}
	return 0;
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
		.adopt = on_adopt,
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
		.workers = s->worker_count,
		.target_count = s->target_count,
		.callbacks = {.report = on_report,
			      .registered = on_registered,
			      .map = on_map,
			      .lease = on_lease,
			      .remove = on_remove},
		.user = s,
	};

	return master_session_open(&options, &s->master, error, error_size);
}

int server_open(uv_loop_t *loop, const struct config *config, const struct tls_identity *self,
		struct server **out, char *error, size_t error_size)
{
	struct tls_files files = {.ca = config->ca, .cert = config->cert, .key = config->key};
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return -ENOMEM;
	s->config = config;
	s->self = self;
	s->loop = loop;
	pthread_mutex_init(&s->lock, NULL);
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	rc = uv_async_init(loop, &s->async, on_async);
	s->async.data = s;
	if (rc == 0)
		rc = tls_context(&files, &s->tls, error, error_size);
	if (rc == 0)
		rc = buf_pool_create(config->memory, &s->pool);
	if (rc == 0)
		rc = open_targets(s, error, error_size);
	if (rc == 0)
		rc = open_port(s, error, error_size);
	if (rc == 0)
		rc = start_workers(s, error, error_size);
	if (rc == 0)
		rc = open_master(s, error, error_size);
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

void server_stop(struct server *server)
{
	acceptor_close(server->acceptor);
	server->acceptor = NULL;
	for (uint32_t i = 0; i < server->worker_count; i++)
		worker_stop(server->workers[i], STOP_TIMEOUT_NS / server->worker_count);
	server->worker_count = 0;
	master_session_close(server->master);
	server->master = NULL;
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	pthread_mutex_unlock(&server->lock);
	uv_close((uv_handle_t *)&server->timer, NULL);
	uv_close((uv_handle_t *)&server->async, NULL);
}

void server_free(struct server *server)
{
	on_async(&server->async); /* frees what came too late to be answered */
	for (unsigned i = 0; i < server->target_count; i++)
		store_close(server->stores[i]);
	free(server->stores);
	free(server->targets);
	free(server->workers);
	buf_pool_destroy(server->pool);
	SSL_CTX_free(server->tls);
	pthread_mutex_destroy(&server->lock);
	free(server);
}
