/* start.c - the master's life: opening its parts in order, ticking, ending them in reverse. */
#define LOG_MODULE "master"
#include "master/shell/start.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/cluster/publisher.h"
#include "master/kept/keeper.h"
#include "master/shared/chunkserver.h"
#include "master/shell/admin.h"
#include "master/shell/status.h"
#include "master/servers/failure_domain.h"
#include "master/cluster/hearing.h"
#include "master/cluster/probes.h"
#include "master/cluster/removals.h"
#include "master/shell/space.h"
#include "master/sessions/chunkservers.h"
#include "master/sessions/client_requests.h"
#include "master/sessions/client_fences.h"
#include "master/sessions/client_leases.h"
#include "master/sessions/clients.h"
#include "master/sessions/sessions.h"

#define RETRY_NS   NS_PER_SEC
#define PATH_BYTES 4096
/* A gap between ticks that only a stopped process explains. */
#define PAUSE_NS NS_PER_SEC

static const struct rpc_method methods[] = {
	{.path = "/catena.Master/Session", .stream = &client_stream_handler},
	{.path = "/catena.Master/Chunkserver", .stream = &chunkserver_stream_handler},
	{.path = "/catena.Master/Status", .unary = status_serve},
	{.path = "/catena.Master/Admin", .unary = admin_serve},
	{0},
};

/* ---- the store ---- */

static int open_store(const struct master_config *config, bool create, struct kv **out, char *error,
		      size_t error_size)
{
	char path[PATH_BYTES], detail[256] = "";
	struct kv_options options = {.path = path,
				     .families = records_families,
				     .family_count = records_family_count,
				     .cache_bytes = config->cache_bytes,
				     .bears_damage = true,
				     .create = create};
	int rc;

	if ((size_t)snprintf(path, sizeof(path), "%s/store", config->data) >= sizeof(path)) {
		snprintf(error, error_size, "[master] data is too long");
		return -ENAMETOOLONG;
	}
	rc = kv_open(&options, out, detail, sizeof(detail));
	if (rc == -ENOENT && !create)
		snprintf(error, error_size,
			 "%s is not initialised: run catena-master with --init first",
			 config->data);
	else if (rc == -EBUSY)
		snprintf(error, error_size, "%s is %sin use by another process", config->data,
			 create ? "already initialised and " : "");
	else if (rc != 0)
		snprintf(error, error_size, "%s: %s", config->data,
			 detail[0] != '\0' ? detail : strerror(-rc));
	return rc;
}

int master_open_store(const struct master_config *config, struct kv **out, char *error,
		      size_t error_size)
{
	return open_store(config, false, out, error, error_size);
}

int master_init(const struct master_config *config, char *error, size_t error_size)
{
	struct tls_files tls = master_config_tls(config);
	struct state_options options = {.copies = (uint32_t)config->copies,
					.partitions = (uint32_t)config->partitions,
					.chunk_size = (uint32_t)config->chunk_size};
	struct tls_identity self;
	struct kv *kv;
	int rc;

	rc = failure_domain_parse(config->failure_domain, &options.failure_domain);
	if (rc != 0) {
		snprintf(error, error_size, "[pool] failure_domain is none");
		return rc;
	}
	rc = tls_files_check(&tls, TLS_ROLE_MASTER, &self, error, error_size);
	if (rc != 0)
		return rc;
	if (mkdir(config->data, 0700) != 0 && errno != EEXIST) {
		rc = -errno;
		snprintf(error, error_size, "cannot make %s: %s%s", config->data, strerror(-rc),
			 rc == -ENOENT ? "; make the directory above it first, on the disk where "
					 "it is to be"
				       : "");
		return rc;
	}
	if (getrandom(options.name_key, sizeof(options.name_key), 0) !=
		    (ssize_t)sizeof(options.name_key) ||
	    getrandom(&options.instance, sizeof(options.instance), 0) !=
		    (ssize_t)sizeof(options.instance)) {
		snprintf(error, error_size, "no random numbers");
		return -EIO;
	}
	options.time = clock_realtime_ns();
	rc = open_store(config, true, &kv, error, error_size);
	if (rc != 0)
		return rc;
	rc = state_init(kv, self.cluster, &options);
	kv_close(kv);
	if (rc == -EEXIST)
		snprintf(error, error_size, "%s is already initialised", config->data);
	else if (rc != 0)
		snprintf(error, error_size, "cannot initialise %s: %s", config->data,
			 strerror(-rc));
	else
		log_info("initialised data=%s cluster=%s copies=%u partitions=%u chunk_size=%u",
			 config->data, self.cluster, options.copies, options.partitions,
			 options.chunk_size);
	return rc;
}

/* The pool is made once; later changes of the file do not change it. */
static void compare_pool(const struct master *master)
{
	const struct map_pool *pool = &master->published.map->pools[0];
	const struct master_config *config = &master->config;

	if (pool->copies != config->copies || pool->partitions != config->partitions ||
	    pool->chunk_size != config->chunk_size ||
	    strcmp(failure_domain_name(pool->failure_domain), config->failure_domain) != 0)
		log_warn("the [pool] options count at --init only: the pool stays as it is "
			 "copies=%u partitions=%u chunk_size=%u failure_domain=%s",
			 pool->copies, pool->partitions, pool->chunk_size,
			 failure_domain_name(pool->failure_domain));
}

static int draw(struct state_start *start)
{
	if (getrandom(start, sizeof(*start), 0) != (ssize_t)sizeof(*start))
		return -EIO;
	start->instance = start->instance == 0 ? 1 : start->instance;
	start->chance = start->chance == 0 ? 1 : start->chance;
	return 0;
}

static void report_trouble(const char *line)
{
	static struct log_rate rate;

	if (log_rate_ok(&rate, 5))
		log_error("state: %s", line);
}

/* Without it the master does all the same. */
static void open_keeper(struct master *master)
{
	char path[PATH_BYTES];
	struct keeper_options options = {.path = path,
					 .kv = master->kv,
					 .state = master->state,
					 .bytes = master->config.keep_log_bytes};
	int rc = -ENAMETOOLONG;

	if (options.bytes == 0)
		return;
	if ((size_t)snprintf(path, sizeof(path), "%s/log", master->config.data) < sizeof(path))
		rc = keeper_open(&options, &master->keeper);
	if (rc != 0)
		log_error("the log is not kept path=%s error=\"%s\"", path, strerror(-rc));
}

static const struct command_keeper *keeper_of(const struct master *master)
{
	return master->keeper == NULL ? NULL : keeper_interface(master->keeper);
}

static int open_state(struct master *master, char *error, size_t error_size)
{
	const char *data = master->config.data;
	char detail[256] = "";
	int rc;

	rc = open_store(&master->config, false, &master->kv, error, error_size);
	if (rc != 0)
		return rc;
	rc = state_open(master->kv, &master->state, detail, sizeof(detail));
	if (rc == -ENOENT) {
		snprintf(error, error_size,
			 "%s is not initialised: run catena-master with --init first", data);
		return rc;
	}
	if (rc != 0) {
		snprintf(error, error_size, "%s: %s", data, detail);
		return rc;
	}
	state_report_to(master->state, report_trouble);
	if (strcmp(state_cluster(master->state), master->self.cluster) != 0) {
		snprintf(error, error_size,
			 "%s belongs to another cluster (%s) than the certificate %s (%s)", data,
			 state_cluster(master->state), master->config.cert, master->self.cluster);
		return -EXDEV;
	}
	open_keeper(master);
	return 0;
}

/* ---- leading ---- */

/* Builds all that is not in the store. */
static int on_leading(void *user)
{
	struct master *master = user;
	struct leases_options leases = {.lease_ns = master->config.client_lease_ns,
					.margin_ns = master->config.client_lease_ns / 10,
					.session_timeout_ns = master->config.session_timeout_ns,
					.recall_timeout_ns = master->config.recall_timeout_ns,
					.first_recall = state_applied_index(master->state) << 20,
					.sessions_max = STATE_SESSIONS_MAX};
	int rc = published_map_open(&master->published, master->state);

	if (rc == 0 && master->published.map->pool_count == 0)
		rc = -EUCLEAN;
	if (rc != 0)
		return rc;
	compare_pool(master);
	rc = leases_create(&leases, &master->leases);
	if (rc == 0)
		rc = client_fences_start(master);
	if (rc == 0)
		rc = publisher_start(master);
	if (rc == 0)
		rc = clients_load(master);
	if (rc == 0)
		rc = hearing_start(master, clock_boottime_ns());
	return rc;
}

static void on_lost(void *user)
{
	struct master *master = user;

	clients_free(master);
	chunkserver_free_all(master);
	publisher_free(master);
	leases_destroy(master->leases);
	master->leases = NULL;
	fences_free(master->fences);
	master->fences = NULL;
	hearing_free(master);
	published_map_close(&master->published);
}

static void on_recovered(void *user)
{
	struct master *master = user;

	client_leases_reconcile(master);
	client_requests_recovered(master);
	publisher_recovered(master);
	removals_recovered(master->removals);
}

/* ---- start and stop ---- */

/* What the messages of this turn have proposed is applied. */
static void on_turn(void *user)
{
	struct master *master = user;

	master_lock(master);
	master_unlock(master);
}

static int start_parts(struct master *master, char *error, size_t error_size)
{
	struct command_log_options log = {.state = master->state,
					  .kv = master->kv,
					  .state_lock = &master->lock,
					  .leading = on_leading,
					  .lost = on_lost,
					  .recovered = on_recovered,
					  .user = master,
					  .keeper = keeper_of(master)};
	struct rpc_server_options rpc = {.listen = master->config.listen,
					 .tls = master_config_tls(&master->config),
					 .methods = methods,
					 .turn = on_turn,
					 .user = master};
	int rc;

	rc = draw(&log.start);
	if (rc == 0)
		rc = command_log_open(&log, &master->log);
	if (rc == 0)
		rc = removals_start(master, &master->removals);
	if (rc == 0)
		rc = probes_start(master, &master->probes);
	if (rc == 0)
		rc = space_start(master, &master->space);
	if (rc != 0) {
		snprintf(error, error_size, "cannot start on %s: %s", master->config.data,
			 strerror(-rc));
		return rc;
	}
	return rpc_server_start(&rpc, &master->rpc, error, error_size);
}

int master_start(const struct master_config *config, struct master **out, char *error,
		 size_t error_size)
{
	struct tls_files tls = master_config_tls(config);
	struct master *master = calloc(1, sizeof(*master));
	int rc;

	if (master == NULL) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	master->config = *config;
	master->sessions = &session_events;
	pthread_mutex_init(&master->lock, NULL);
	rc = tls_files_check(&tls, TLS_ROLE_MASTER, &master->self, error, error_size);
	if (rc == 0)
		rc = open_state(master, error, error_size);
	if (rc == 0)
		rc = start_parts(master, error, error_size);
	if (rc != 0) {
		master_stop(master);
		return rc;
	}
	*out = master;
	return 0;
}

void master_stop(struct master *master)
{
	if (master == NULL)
		return;
	master_lock(master);
	master->stopping = true;
	master_unlock(master);
	rpc_server_stop(master->rpc);
	probes_stop(master->probes);
	space_stop(master->space);
	removals_stop(master->removals);
	command_log_close(master->log);
	master->log = NULL;
	keeper_close(master->keeper);
	state_close(master->state);
	kv_close(master->kv);
	pthread_mutex_destroy(&master->lock);
	free(master);
}

void master_tick(struct master *master)
{
	uint64_t now_ns = clock_boottime_ns();
	uint64_t gap_ns;

	master_lock(master);
	/* If this process was stopped, heartbeats may be waiting unread. */
	gap_ns = master->last_tick_ns == 0 ? 0 : now_ns - master->last_tick_ns;
	hearing_look(master, now_ns);
	publisher_tick(master, now_ns, gap_ns > PAUSE_NS ? gap_ns : 0);
	if (now_ns >= master->retry_ns && master_may_serve(master)) {
		master->retry_ns = now_ns + RETRY_NS;
		client_leases_retry(master);
	}
	client_fences_tick(master, now_ns);
	client_requests_go(master, now_ns);
	client_leases_act(master, now_ns);
	master->last_tick_ns = now_ns;
	master_unlock(master);
}

void master_address(const struct master *master, char *out, size_t size)
{
	const char *listen = master->config.listen, *colon = strrchr(listen, ':');

	snprintf(out, size, "%.*s:%u", colon == NULL ? 0 : (int)(colon - listen), listen,
		 rpc_server_port(master->rpc));
}
