/* The worker's thread, its commands, and its clock. */
#include "chunkserver/worker/worker.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/worker/execute.h"
#include "chunkserver/worker/fence.h"
#include "chunkserver/worker/links.h"
#include "chunkserver/worker/loop.h"
#include "chunkserver/worker/members.h"
#include "chunkserver/worker/peers.h"
#include "chunkserver/worker/place.h"
#include "chunkserver/worker/purge.h"
#include "chunkserver/worker/status.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "worker"

#define TICK_MS 50u

/* An order of the front loop. */
struct worker_command {
	struct worker_command *next;
	enum {
		COMMAND_INSTANCE,
		COMMAND_IDENTITY,
		COMMAND_MAP,
		COMMAND_LEASE,
		COMMAND_ADOPT,
		COMMAND_REMOVE,
		COMMAND_STOP
	} kind;
	uint64_t number; /* instance, server id, lease, deadline */
	uint64_t version;
	uint32_t *target_ids;
	struct cluster_map *map;
	struct conn *conn;
	struct hello hello;
	unsigned store;
	struct chunk_order *chunks;
	struct chunk_key *keys; /* of the chunks */
	size_t chunk_count;
	struct worker *worker;
	worker_removed_fn *done;
	void *user;
};

/* ---- commands ---- */

static void command_free(struct worker_command *command)
{
	free(command->target_ids);
	free(command->chunks);
	free(command->keys);
	cluster_map_unref(command->map);
	free(command);
}

static void post(struct worker *worker, struct worker_command *command)
{
	pthread_mutex_lock(&worker->lock);
	expects(command->next == NULL && *worker->last_command == NULL);
	*worker->last_command = command;
	worker->last_command = &command->next;
	uv_async_send(&worker->async);
	pthread_mutex_unlock(&worker->lock);
}

static struct worker_command *command_new(int kind)
{
	struct worker_command *command = calloc(1, sizeof(*command));

	if (command == NULL)
		abort(); /* maps and leases must not get lost; a crash is survived */
	command->kind = (unsigned)kind;
	return command;
}

static void run_map(struct worker *worker, struct worker_command *command)
{
	if (!place_map(worker, command->map))
		return;
	expects(command->map->version >= worker_map_version(worker));
	atomic_store(&worker->map_version, command->map->version);
	if (worker->options.events.placed != NULL)
		worker->options.events.placed(worker->options.events.user);
}

/* Ends a removal, and its command. The chains hear of it first: or their predecessors might copy
 * the chunks back. */
static void on_removed(void *user, int error)
{
	struct worker_command *command = user;
	struct worker *worker = command->worker;
	struct worker_target *target = &worker->targets[command->store];
	size_t again = 0;

	expects(worker->background > 0);
	worker->background--;
	worker_event_begin(worker);
	for (size_t i = 0; error == 0 && i < command->chunk_count; i++) {
		const struct chunk_order *chunk = &command->chunks[i];
		struct member *member =
			target->entry.target_id == 0
				? NULL
				: member_find(worker, chunk->key.pool, chunk->key.partition,
					      target->entry.target_id);

		if (member == NULL ||
		    !chain_chunk_removed(member->chain, &chunk->key, chunk->epoch))
			command->chunks[again++] = *chunk;
	}
	worker_event_end(worker);
	command->done(command->user, error, command->chunks, again);
	command_free(command);
}

static void run_remove(struct worker *worker, struct worker_command *command)
{
	command->worker = worker;
	worker->background++;
	store_remove(worker->targets[command->store].view, command->keys, command->chunk_count,
		     on_removed, command);
}

static void run_stop(struct worker *worker, const struct worker_command *command)
{
	expects(!worker->stopping);
	worker->stopping = true;
	worker->stop_deadline_ns = command->number;
	for (unsigned i = 0; i < worker->options.store_count; i++)
		chain_env_stop(worker->targets[i].env);
	worker_execute(worker);
}

static void run_command(struct worker *worker, struct worker_command *command)
{
	switch (command->kind) {
	case COMMAND_INSTANCE:
		expects(worker->instance == 0 || worker->instance == command->number);
		worker->instance = command->number;
		break;
	case COMMAND_IDENTITY:
		place_registered(worker, command->number, command->target_ids, command->version);
		break;
	case COMMAND_MAP:
		run_map(worker, command);
		break;
	case COMMAND_LEASE:
		worker->lease_until_ns = command->number;
		break;
	case COMMAND_ADOPT:
		peer_adopt(worker, command->conn, &command->hello);
		break;
	case COMMAND_REMOVE: /* ends later: run_remove() */
		break;
	case COMMAND_STOP:
		run_stop(worker, command);
		break;
	}
}

static void run_commands(struct worker *worker)
{
	struct worker_command *command, *next;

	pthread_mutex_lock(&worker->lock);
	command = worker->commands;
	worker->commands = NULL;
	worker->last_command = &worker->commands;
	pthread_mutex_unlock(&worker->lock);
	conn_batch_begin();
	for (; command != NULL; command = next) {
		next = command->next;
		if (command->kind == COMMAND_REMOVE) {
			run_remove(worker, command);
			continue;
		}
		run_command(worker, command);
		command_free(command);
	}
	conn_batch_end();
}

/* Ends the commands that were posted after the loop ended. */
static void drop_commands(struct worker *worker)
{
	struct worker_command *command, *next;

	for (command = worker->commands; command != NULL; command = next) {
		next = command->next;
		if (command->conn != NULL)
			conn_close(command->conn);
		if (command->done != NULL)
			command->done(command->user, -ECANCELED, NULL, 0);
		command_free(command);
	}
}

static void on_async(uv_async_t *async)
{
	run_commands(async->data);
}

/* ---- time ---- */

static size_t operations(const struct worker *worker)
{
	size_t count = worker->background;

	for (unsigned i = 0; i < worker->options.store_count; i++)
		count += chain_env_operations(worker->targets[i].env);
	return count;
}

static size_t requests(const struct worker *worker)
{
	size_t count = 0;

	for (unsigned i = 0; i < worker->options.store_count; i++)
		count += chain_env_requests(worker->targets[i].env);
	return count;
}

/* Closes connections when nothing is left to answer, or at the deadline. The loop stops when the
 * store has ended its operations as well, which takes no help. */
static void stop_when_idle(struct worker *worker, uint64_t now_ns)
{
	if (!worker->closed && (requests(worker) == 0 || now_ns >= worker->stop_deadline_ns)) {
		worker->closed = true;
		peers_close(worker);
		links_close(worker);
		worker_execute(worker);
	}
	if (worker->closed && operations(worker) == 0 && worker->waiting_reads == NULL)
		uv_stop(&worker->loop);
}

static void on_tick(uv_timer_t *timer)
{
	struct worker *worker = timer->data;
	uint64_t now = clock_monotonic_ns();

	copy_rate_tell(worker->options.copy_rate, &worker->clients_moved, now);
	worker_event_begin(worker);
	for (unsigned i = 0; i < worker->options.store_count; i++) {
		execute_check_store(&worker->targets[i]);
		chain_tick(worker->targets[i].env);
	}
	worker_execute(worker);
	if (worker->stopping) {
		stop_when_idle(worker, now);
	} else {
		links_tick(worker, now);
		peers_tick(worker, now);
		purge_tick(worker, now);
		status_tick(worker);
	}
	worker_event_end(worker);
}

/* ---- the thread ---- */

static void close_target(struct worker_target *target)
{
	purge_list_free(target);
	if (target->env != NULL)
		chain_env_free(target->env);
	if (target->view != NULL)
		store_view_close(target->view);
}

static void close_all(struct worker *worker)
{
	links_free(worker);
	members_free(worker);
	for (unsigned i = 0; worker->targets != NULL && i < worker->options.store_count; i++)
		close_target(&worker->targets[i]);
	uv_close((uv_handle_t *)&worker->tick, NULL);
	uv_close((uv_handle_t *)&worker->read_timer, NULL);
	uv_close((uv_handle_t *)&worker->async, NULL);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	uv_loop_close(&worker->loop);
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	char name[16];

	snprintf(name, sizeof(name), "worker-%" PRIu32, worker->options.index % 1000);
	pthread_setname_np(pthread_self(), name);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	close_all(worker);
	return NULL;
}

static int open_targets(struct worker *worker)
{
	worker->targets = calloc(worker->options.store_count, sizeof(*worker->targets));
	if (worker->targets == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < worker->options.store_count; i++) {
		struct worker_target *target = &worker->targets[i];
		int rc;

		target->worker = worker;
		target->number = i;
		target->store = worker->options.stores[i];
		rc = store_view_open(target->store, &worker->loop, &target->view);
		if (rc < 0)
			return rc;
		target->env = chain_env_new(&execute_chain_ops, target, sizeof(struct execution),
					    (uint64_t)(i + 1) << 48);
	}
	return 0;
}

int worker_start(const struct worker_options *options, struct worker **out)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc;

	if (worker == NULL)
		return -ENOMEM;
	worker->options = *options;
	worker->last_flush = &worker->flushes;
	worker->last_command = &worker->commands;
	worker->execute = execute_actions;
	rc = uv_loop_init(&worker->loop);
	if (rc < 0) {
		free(worker);
		return rc;
	}
	pthread_mutex_init(&worker->lock, NULL);
	uv_timer_init(&worker->loop, &worker->tick);
	uv_timer_init(&worker->loop, &worker->read_timer);
	worker->tick.data = worker;
	worker->read_timer.data = worker;
	worker->async.data = worker;
	rc = uv_async_init(&worker->loop, &worker->async, on_async);
	if (rc == 0)
		rc = buf_pool_create(0, &worker->peer_pool);
	if (rc == 0)
		rc = open_targets(worker);
	if (rc == 0)
		rc = uv_timer_start(&worker->tick, on_tick, TICK_MS, TICK_MS);
	if (rc == 0)
		rc = -pthread_create(&worker->thread, NULL, run, worker);
	if (rc < 0) {
		close_all(worker);
		buf_pool_destroy(worker->peer_pool);
		pthread_mutex_destroy(&worker->lock);
		free(worker->targets);
		free(worker);
		return rc;
	}
	*out = worker;
	return 0;
}

/* ---- from the front loop ---- */

void worker_set_identity(struct worker *worker, uint64_t server_id, const uint32_t *target_ids,
			 uint64_t map_version)
{
	struct worker_command *command = command_new(COMMAND_IDENTITY);
	size_t count = worker->options.store_count;

	command->number = server_id;
	command->version = map_version;
	command->target_ids = calloc(count, sizeof(*target_ids));
	if (command->target_ids == NULL)
		abort();
	memcpy(command->target_ids, target_ids, count * sizeof(*target_ids));
	post(worker, command);
}

void worker_set_instance(struct worker *worker, uint64_t instance)
{
	struct worker_command *command = command_new(COMMAND_INSTANCE);

	command->number = instance;
	post(worker, command);
}

void worker_set_map(struct worker *worker, struct cluster_map *map)
{
	struct worker_command *command = command_new(COMMAND_MAP);

	command->map = cluster_map_ref(map);
	post(worker, command);
}

uint64_t worker_map_version(const struct worker *worker)
{
	return atomic_load(&worker->map_version);
}

void worker_set_lease(struct worker *worker, uint64_t until_ns)
{
	struct worker_command *command = command_new(COMMAND_LEASE);

	command->number = until_ns;
	post(worker, command);
}

void worker_adopt(struct worker *worker, struct conn *conn, const struct hello *hello)
{
	struct worker_command *command = command_new(COMMAND_ADOPT);

	command->conn = conn;
	command->hello = *hello;
	post(worker, command);
}

void worker_remove(struct worker *worker, unsigned store, const struct chunk_order *chunks,
		   size_t count, worker_removed_fn *done, void *user)
{
	struct worker_command *command = command_new(COMMAND_REMOVE);

	expects(store < worker->options.store_count && count > 0);
	command->chunks = calloc(count, sizeof(*chunks));
	command->keys = calloc(count, sizeof(*command->keys));
	if (command->chunks == NULL || command->keys == NULL)
		abort();
	memcpy(command->chunks, chunks, count * sizeof(*chunks));
	for (size_t i = 0; i < count; i++)
		command->keys[i] = chunks[i].key;
	command->chunk_count = count;
	command->store = store;
	command->done = done;
	command->user = user;
	post(worker, command);
}

void worker_stop(struct worker *worker, uint64_t timeout_ns)
{
	struct worker_command *command = command_new(COMMAND_STOP);

	command->number = clock_monotonic_ns() + timeout_ns;
	post(worker, command);
	pthread_join(worker->thread, NULL);
	expects(worker->closed);
	drop_commands(worker);
	cluster_map_unref(worker->map);
	cluster_map_unref(worker->placed);
	buf_pool_destroy(worker->peer_pool);
	pthread_mutex_destroy(&worker->lock);
	free(worker->targets);
	free(worker);
}
