#include "chunkserver/server/server.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/server/acceptor.h"
#include "chunkserver/server/master_session.h"
#include "chunkserver/server/own_targets.h"
#include "chunkserver/store/store.h"
#include "chunkserver/worker/target_entry.h"
#include "chunkserver/server/target_mend.h"
#include "chunkserver/worker/worker.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "server"

#define STOP_TIMEOUT_NS  (8 * NS_PER_SEC)
#define LEAVE_LOOK_MS    20u
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

/* A report of a chain on its way from a worker. */
struct queued_report {
	struct queued_report *next;
	struct report report;
};

struct target {
	struct server *server;
	struct store *store;
	const char *path;
	char uuid[64];
	struct target_entry entry; /* as the workers have it */
	bool told_down;            /* in the last heartbeat */
	bool low;                  /* store_is_low() */
	struct target_mend mend;
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
	uint32_t *target_ids; /* NULL: not registered yet */
	struct cluster_map *map;
	struct master_identity master_is; /* who has registered us last */
	uint64_t server_id;
	uint64_t index_noted_ns;
	bool unseen; /* some target has not noted that, or the map: it is down */
	struct copy_rate copy_rate;
	uint64_t told_version;         /* of the map, in the last heartbeat */
	uint64_t told_fence;           /* likewise */
	struct chain_reports *reports; /* to be repeated */
	uint64_t leave_until_ns;       /* 0: we stay */
	uv_timer_t leave_timer;
	void (*left)(void *user);
	void *left_user;
	pthread_mutex_t lock; /* guards what follows */
	struct removal *finished;
	struct queued_report *new_reports, **last_report;
	bool changed; /* a worker wants the master to hear of us */
	bool placed;  /* a worker goes by a new map */
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
	target->low = store_is_low(target->store, target->low);
	report->full = target->low;
	target->told_down = store_is_down(target->store);
	report->error = target->told_down ? EIO : 0;
	report->life = store_life(target->store);
	report->damaged = store_damaged(target->store);
	report->settled = target_entry_is_in(&target->entry);
	store_seen(target->store, &report->seen);
}

static void add_unreachable(struct server_status *status, uint64_t server_id)
{
	for (size_t i = 0; i < status->unreachable_count; i++) {
		if (status->unreachable[i] == server_id)
			return;
	}
	if (status->unreachable_count < MASTER_UNREACHABLE_MAX)
		status->unreachable[status->unreachable_count++] = server_id;
}

/* What all workers have come to. */
static uint64_t least(const struct server *s, uint64_t (*of)(const struct worker *worker))
{
	uint64_t version = UINT64_MAX;

	for (uint32_t w = 0; w < s->worker_count; w++) {
		uint64_t one = of(s->workers[w]);

		version = one < version ? one : version;
	}
	return s->worker_count == 0 ? 0 : version;
}

static void on_status(void *user, struct server_status *status)
{
	struct server *s = user;

	status->leaving = s->leave_until_ns != 0;
	status->map_version = s->told_version = least(s, worker_map_version);
	status->fence_version = s->told_fence = least(s, worker_fence_version);
	for (uint32_t w = 0; w < s->worker_count; w++) {
		struct worker_status one;

		worker_status(s->workers[w], &one);
		for (size_t i = 0; i < one.unreachable_count; i++)
			add_unreachable(status, one.unreachable[i]);
		for (size_t i = 0;
		     i < one.catchup_count && status->catchup_count < MASTER_CATCHUPS_MAX; i++)
			status->catchups[status->catchup_count++] = one.catchups[i];
	}
	status->report_count = chain_reports_next(s->reports, status->reports, MASTER_REPORTS_MAX);
}

static uint64_t on_instance(void *user)
{
	const struct server *s = user;

	return own_targets_instance(s->stores, s->target_count);
}

static int on_joined(void *user, const struct master_identity *master)
{
	struct server *s = user;
	uint64_t ours = on_instance(s), instance = master->instance;

	if (instance == 0 || (ours != 0 && ours != instance)) {
		log_error("the master is of another cluster of this name than the targets: its "
			  "store was made anew (catena-master --init) after them "
			  "instance=%016" PRIx64 " ours=%016" PRIx64
			  " hint=\"start the master on the store that the targets belong to, or "
			  "make new targets with --init in empty directories\"",
			  instance, ours);
		return -EXDEV;
	}
	if (master->life == 0 || own_targets_overtaken(s->stores, s->target_count, master))
		return -ESTALE;
	s->master_is = *master;
	for (unsigned i = 0; i < s->target_count; i++) {
		int rc = store_adopt(s->stores[i], instance);

		if (rc < 0)
			return rc;
	}
	acceptor_set_instance(s->acceptor, instance);
	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_set_instance(s->workers[i], instance);
	return 0;
}

static void note_map(struct server *s)
{
	if (s->map != NULL && s->target_ids != NULL &&
	    !own_targets_see_map(s->stores, s->target_ids, s->target_count, s->map))
		s->unseen = true;
}

/* Before anything is done by what the master says. A target that is down does nothing by it either,
 * and notes it when it is back. */
static void note_master(struct server *s)
{
	s->unseen = !own_targets_see_master(s->stores, s->target_ids, s->target_count,
					    &s->master_is, s->server_id);
	note_map(s);
}

static void on_registered(void *user, uint64_t server_id, const uint32_t *target_ids,
			  uint64_t map_version)
{
	struct server *s = user;

	if (s->target_ids == NULL)
		s->target_ids = calloc(s->target_count, sizeof(*s->target_ids));
	if (s->target_ids == NULL)
		abort(); /* a server that does not know its targets could not leave in order */
	memcpy(s->target_ids, target_ids, s->target_count * sizeof(*s->target_ids));
	for (unsigned i = 0; i < s->target_count; i++)
		(void)target_entry_registered(&s->targets[i].entry, target_ids[i], map_version);
	s->server_id = server_id;
	note_master(s);
	acceptor_set_server_id(s->acceptor, server_id);
	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_set_identity(s->workers[i], server_id, target_ids, map_version);
}

static void on_map(void *user, struct cluster_map *map)
{
	struct server *s = user;

	if (s->map != NULL && map->version < s->map->version)
		return;
	if (own_targets_ahead(s->stores, s->target_count, map))
		return;
	cluster_map_unref(s->map);
	s->map = cluster_map_ref(map);
	for (unsigned i = 0; i < s->target_count; i++)
		(void)target_entry_map(&s->targets[i].entry, map->version);
	note_map(s);
	chain_reports_map(s->reports, map);
	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_set_map(s->workers[i], map);
}

/* Often enough for what an administrator may do, and seldom enough to cost nothing. */
static void on_index(void *user, uint64_t index)
{
	struct server *s = user;
	uint64_t now_ns = clock_boottime_ns();

	if (now_ns - s->index_noted_ns < NS_PER_SEC)
		return;
	s->index_noted_ns = now_ns;
	own_targets_see_index(s->stores, s->target_count, index);
}

static int on_remembered(void *user, unsigned index, store_seen_each *each, void *each_user)
{
	struct server *s = user;

	return store_seen_chains(s->stores[index], each, each_user);
}

static void on_recovery(void *user, uint64_t rate, bool paused)
{
	struct server *s = user;

	copy_rate_set(&s->copy_rate, rate, paused);
}

/* The master renews nobody whose lives are not settled: so in all chains of a damaged target the
 * others are ahead of it by now. Unless it has refused that one. */
static void settle_damage(struct server *s)
{
	for (unsigned i = 0; s->target_ids != NULL && i < s->target_count; i++)
		if (s->target_ids[i] != 0)
			target_mend_settle(&s->targets[i].mend, s->loop);
}

static void on_lease(void *user, uint64_t until_ns)
{
	struct server *s = user;

	settle_damage(s);

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

/* On a worker's thread. */
static void on_chain_report(void *user, const struct report *report)
{
	struct server *s = user;
	struct queued_report *queued = calloc(1, sizeof(*queued));

	if (queued == NULL)
		abort(); /* the chain does not say it again; a crash is survived */
	queued->report = *report;
	pthread_mutex_lock(&s->lock);
	*s->last_report = queued;
	s->last_report = &queued->next;
	if (!s->stopping)
		uv_async_send(&s->async);
	pthread_mutex_unlock(&s->lock);
}

/* On a worker's thread. */
static void on_worker_placed(void *user)
{
	struct server *s = user;

	pthread_mutex_lock(&s->lock);
	s->placed = true;
	if (!s->stopping)
		uv_async_send(&s->async);
	pthread_mutex_unlock(&s->lock);
}

/* On a worker's thread. */
static void on_worker_changed(void *user)
{
	struct server *s = user;

	pthread_mutex_lock(&s->lock);
	s->changed = true;
	if (!s->stopping)
		uv_async_send(&s->async);
	pthread_mutex_unlock(&s->lock);
}

static void send_reports(struct server *s, struct queued_report *queued)
{
	struct report batch[MASTER_REPORTS_MAX];
	size_t count = 0;

	while (queued != NULL) {
		struct queued_report *next = queued->next;

		if (chain_reports_add(s->reports, &queued->report) < 0)
			abort(); /* as above */
		batch[count++] = queued->report;
		free(queued);
		queued = next;
		if (count == MASTER_REPORTS_MAX || queued == NULL) {
			if (s->master != NULL)
				master_session_report(s->master, batch, count);
			count = 0;
		}
	}
}

static void send_removed(struct server *s, struct removal *removal)
{
	while (removal != NULL) {
		struct removal *next = removal->next;

		if (s->master != NULL)
			master_session_removed(s->master, removal->target, removal->sequence,
					       atomic_load(&removal->error));
		free(removal);
		removal = next;
	}
}

static void on_async(uv_async_t *async)
{
	struct server *s = async->data;
	struct queued_report *queued;
	struct removal *removal;
	bool changed, placed;

	pthread_mutex_lock(&s->lock);
	removal = s->finished;
	s->finished = NULL;
	queued = s->new_reports;
	s->new_reports = NULL;
	s->last_report = &s->new_reports;
	changed = s->changed;
	placed = s->placed;
	s->changed = s->placed = false;
	pthread_mutex_unlock(&s->lock);
	send_removed(s, removal);
	send_reports(s, queued);
	/* Others may wait until we know that we have lost a place. */
	if (placed && (least(s, worker_map_version) > s->told_version ||
		       least(s, worker_fence_version) > s->told_fence))
		changed = true;
	if (changed && s->master != NULL)
		master_session_heartbeat(s->master);
}

static bool on_is_over(void *user, uint64_t session)
{
	const struct server *s = user;

	return s->map != NULL && cluster_map_session_over(s->map, session);
}

static void on_adopt(void *user, struct conn *conn, const struct hello *hello)
{
	struct server *s = user;

	worker_adopt(s->workers[hello->worker], conn, hello);
}

/* ---- targets that are down ---- */

static void on_timer(uv_timer_t *timer)
{
	static struct log_rate rate;
	struct server *s = timer->data;

	if (s->unseen)
		note_master(s);

	for (unsigned i = 0; i < s->target_count; i++) {
		struct target *target = &s->targets[i];

		if (store_is_down(target->store) != target->told_down && s->master != NULL)
			master_session_heartbeat(s->master);
		if (target_mend_recover(&target->mend, s->loop) && log_rate_ok(&rate, 1))
			log_error("target is down, trying to recover path=%s uuid=%s", target->path,
				  target->uuid);
	}
}

/* ---- opening ---- */

/* Targets of two clusters cannot have one master, and only people know which of them is meant. */
static int check_instance(struct server *s, const struct store *store, char *error,
			  size_t error_size)
{
	uint64_t ours = on_instance(s), other = store_instance(store);

	if (ours == 0 || other == 0 || ours == other)
		return 0;
	snprintf(error, error_size,
		 "the targets belong to two clusters of one name (instances %016" PRIx64
		 " and, target %s, %016" PRIx64 "): take the paths of one out of the configuration",
		 ours, store_uuid(store), other);
	return -EXDEV;
}

static int open_targets(struct server *s, char *error, size_t error_size)
{
	size_t count = s->config->targets.count;

	int failed = 0;

	s->targets = calloc(count, sizeof(*s->targets));
	s->stores = calloc(count, sizeof(*s->stores));
	if (s->targets == NULL || s->stores == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct target *target = &s->targets[s->target_count];
		struct store_options options = {
			.path = s->config->targets.items[i],
			.cluster = s->self->cluster,
			.pool = s->pool,
		};
		int rc = store_open(&options, &target->store, error, error_size);

		/* In use: by a server that is about to end, or of the same configuration. It would
		 * come to half of the targets each. */
		if (rc == -EBUSY)
			return rc;
		if (rc < 0) {
			failed = rc;
			if (count > 1)
				log_error("target is left out error=\"%s\" hint=\"mend or replace "
					  "the disk and start again, or take its path out of the "
					  "configuration\"",
					  error);
			continue;
		}
		rc = check_instance(s, target->store, error, error_size);
		if (rc < 0) {
			store_close(target->store);
			return rc;
		}
		s->stores[s->target_count++] = target->store;
		target->mend.store = target->store;
		target->server = s;
		target->path = options.path;
		snprintf(target->uuid, sizeof(target->uuid), "%s", store_uuid(target->store));
	}
	if (s->target_count == 0)
		return failed; /* error says what the last one had */
	error[0] = '\0';
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
			.copy_rate = &s->copy_rate,
			.events = {.report = on_chain_report,
				   .changed = on_worker_changed,
				   .placed = on_worker_placed,
				   .user = s},
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
		.workers = s->worker_count,
		.target_count = s->target_count,
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
	uv_timer_init(loop, &s->leave_timer);
	s->timer.data = s;
	s->leave_timer.data = s;
	s->last_report = &s->new_reports;
	rc = uv_async_init(loop, &s->async, on_async);
	s->async.data = s;
	s->reports = chain_reports_new();
	if (rc == 0 && s->reports == NULL)
		rc = -ENOMEM;
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

unsigned server_targets(const struct server *server)
{
	return server->target_count;
}

/* ---- the end ---- */

/* Others wait until we have said that we know, or our process is seen to be gone. */
static bool has_told(const struct server *s)
{
	return s->map == NULL || s->told_version >= s->map->version;
}

static void on_leave_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;
	bool late = clock_monotonic_ns() >= s->leave_until_ns;
	unsigned count = s->target_ids == NULL ? 0 : s->target_count;

	if (!late && master_session_registered(s->master) &&
	    (own_targets_needed(s->target_ids, count, s->map) || !has_told(s)))
		return;
	if (late)
		log_warn("stopping although the master has not let others take over");
	uv_timer_stop(timer);
	s->left(s->left_user);
}

void server_leave(struct server *server, void (*left)(void *user), void *user)
{
	server->left = left;
	server->left_user = user;
	server->leave_until_ns = clock_monotonic_ns() + SERVER_LEAVE_NS;
	master_session_heartbeat(server->master);
	uv_timer_start(&server->leave_timer, on_leave_timer, 0, LEAVE_LOOK_MS);
}

void server_stop(struct server *server)
{
	for (uint32_t i = 0; i < server->worker_count; i++)
		worker_stop(server->workers[i], STOP_TIMEOUT_NS / server->worker_count);
	server->worker_count = 0;
	acceptor_close(server->acceptor);
	server->acceptor = NULL;
	master_session_close(server->master);
	server->master = NULL;
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	pthread_mutex_unlock(&server->lock);
	uv_close((uv_handle_t *)&server->timer, NULL);
	uv_close((uv_handle_t *)&server->leave_timer, NULL);
	uv_close((uv_handle_t *)&server->async, NULL);
}

void server_free(struct server *server)
{
	on_async(&server->async); /* frees what came too late to be answered */
	for (unsigned i = 0; i < server->target_count; i++)
		store_close(server->stores[i]);
	chain_reports_free(server->reports);
	cluster_map_unref(server->map);
	free(server->target_ids);
	free(server->stores);
	free(server->targets);
	free(server->workers);
	buf_pool_destroy(server->pool);
	SSL_CTX_free(server->tls);
	pthread_mutex_destroy(&server->lock);
	free(server);
}
