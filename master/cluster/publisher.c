/* publisher.c - from decisions to maps that everybody has; see publisher.h. */
#define LOG_MODULE "chain"
#include "master/cluster/publisher.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/shared/chains.h"
#include "master/shared/chunkserver.h"
#include "master/cluster/removals.h"

enum phase {
	PHASE_IDLE,
	PHASE_PROPOSED, /* a plan is on its way into the log */
	PHASE_LOG,      /* a plan is in the log, and on its way to the disk */
	PHASE_DOUBT,    /* the disk has failed meanwhile */
	PHASE_FENCE,    /* durable; the fenced are told */
};

struct fenced {
	uint64_t server;
	bool knows;
};

struct publisher {
	struct master *master;
	enum phase phase;
	struct command_call plan_call;
	struct command_flush plan_flush, show_flush;
	bool doubtful;                      /* the plan was applied, and then the store failed */
	bool showing;                       /* show_flush is under way */
	uint64_t shown_index, wanted_index; /* of commands that change the map */
	struct fenced *fenced;
	size_t fenced_count;
	uint64_t fence_version;
	bool fence_blind; /* since a restart: the map that was shown before is not known */
};

/* ---- maps ---- */

static void publish(struct master *master)
{
	lock_held(&master->lock);
	/* A former life of this master may not have told all fenced servers. */
	if (master->published.hidden)
		return;
	if (published_map_publish(&master->published) != 0)
		return;
	master->sessions->published(master);
}

static void fill_usage(struct master *master)
{
	const struct cluster_map *map = master->published.map;

	for (size_t i = 0; i < map->target_count; i++) {
		struct liveness_report t;

		if (chain_manager_usage(master->chain_manager, map->targets[i].id, &t))
			published_map_set_usage(&master->published, t.id, t.capacity, t.used,
						t.full || t.error != 0);
	}
}

/* Brings the published liveness up to date. True: some server has come or gone. */
static bool fill_online(struct master *master, uint64_t now_ns)
{
	const struct cluster_map *map = master->published.map;
	bool news = false, back = false;

	for (size_t i = 0; i < map->server_count; i++) {
		const struct map_server *server = &map->servers[i];
		bool online = chain_manager_online(master->chain_manager, server->id, now_ns);

		if (!published_map_set_online(&master->published, server->id, online))
			continue;
		log_info("%s name=%s address=%s", online ? "online" : "offline", server->name,
			 server->address);
		news = true;
		back |= online;
	}
	if (back)
		removals_online(master->removals);
	return news;
}

/* Shows the state as it is: all of it is durable. */
static void show(struct master *master)
{
	struct publisher *publisher = master->publisher;

	/* In another phase the state has a plan that the fenced do not know. */
	expects(publisher->phase == PHASE_IDLE);
	if (published_map_refresh(&master->published, master->state) != 0) {
		log_error("the cluster map cannot be shown: out of memory");
		return;
	}
	publisher->shown_index = publisher->wanted_index;
	fill_usage(master);
	fill_online(master, clock_boottime_ns());
	publish(master);
}

/* On the log's thread. */
static void on_show_durable(struct command_flush *flush, int status)
{
	struct publisher *publisher =
		(struct publisher *)((char *)flush - offsetof(struct publisher, show_flush));
	struct master *master = publisher->master;

	master_lock(master);
	publisher->showing = false;
	if (!master->stopping)
		publisher_act(master, clock_boottime_ns());
	master_unlock(master);
}

/* True when all commands that change the map are durable. If not, a flush is begun, and its end
 * looks again. */
static bool is_durable(struct master *master)
{
	struct publisher *publisher = master->publisher;

	if (command_log_is_durable(master->log, publisher->wanted_index))
		return true;
	if (!publisher->showing && command_log_error(master->log) == 0) {
		publisher->showing = true;
		publisher->show_flush.index = publisher->wanted_index;
		command_log_flush(master->log, &publisher->show_flush);
	}
	return false;
}

void publisher_changed(struct master *master, uint64_t index)
{
	lock_held(&master->lock);
	master->publisher->wanted_index = index;
}

void publisher_recovered(struct master *master)
{
	lock_held(&master->lock);
	/* A plan that was on its way may not be in the store. */
	if (master->publisher->phase == PHASE_LOG)
		master->publisher->doubtful = true;
	/* Indices of what is not in the store come again. */
	master->publisher->wanted_index = command_log_applied(master->log);
	master->publisher->shown_index = master->publisher->wanted_index - 1;
}

/* ---- decisions ---- */

static void finish(struct master *master)
{
	struct publisher *publisher = master->publisher;

	expects(publisher->phase == PHASE_FENCE);
	publisher->phase = PHASE_IDLE;
	publisher->fence_blind = false;
	master->published.hidden = false;
	chain_manager_hold_leases(master->chain_manager, false);
	/* Before it is shown, because those whose lives are settled by it get the map only then. */
	chain_manager_published(master->chain_manager, !publisher->doubtful);
	show(master);
	publisher->doubtful = false;
	publisher->fenced_count = 0;
	master->sessions->renewable(master, clock_boottime_ns());
	master->sessions->admitting(master, clock_boottime_ns());
}

static bool fence_holds(struct master *master, uint64_t now_ns)
{
	struct publisher *publisher = master->publisher;

	for (size_t i = 0; i < publisher->fenced_count; i++)
		if (!publisher->fenced[i].knows &&
		    !chain_manager_harmless(master->chain_manager, publisher->fenced[i].server,
					    now_ns))
			return false;
	return true;
}

void publisher_seen(struct master *master, uint64_t server, uint64_t version)
{
	struct publisher *publisher = master->publisher;

	lock_held(&master->lock);
	if (publisher->phase != PHASE_FENCE || version < publisher->fence_version)
		return;
	for (size_t i = 0; i < publisher->fenced_count; i++)
		if (publisher->fenced[i].server == server)
			publisher->fenced[i].knows = true;
}

void publisher_push_fence(struct master *master, struct chunkserver *server)
{
	struct publisher *publisher = master->publisher;
	struct push push = {0};
	bool fenced = false;
	uint8_t *map;
	size_t size;

	lock_held(&master->lock);
	for (size_t i = 0; i < publisher->fenced_count; i++)
		fenced = fenced || publisher->fenced[i].server == server->id;
	if (publisher->phase != PHASE_FENCE || !master_may_serve(master) || !fenced ||
	    (publisher->fence_blind && publisher->fenced_count > 1) || server->stream == NULL ||
	    !chain_manager_settled(master->chain_manager, server->id))
		return;
	/* If not, it will have lost its lease before anybody else hears of it. */
	if (published_map_prepare(&master->published, master->state, server->id, &map, &size) != 0)
		return;
	push_bytes(&push, SERVER_PUSH_MAPS, map, size);
	chunkserver_send(server->stream, &push);
	push_free(&push);
	free(map);
}

static void tell_fenced(struct master *master)
{
	struct publisher *publisher = master->publisher;

	expects(publisher->phase == PHASE_FENCE);
	publisher->fence_version = published_map_version_of(state_map_version(master->state));
	for (size_t i = 0; i < publisher->fenced_count; i++) {
		struct chunkserver *server = chunkserver_find(master, publisher->fenced[i].server);

		if (server != NULL)
			publisher_push_fence(master, server);
	}
}

/* On the log's thread. */
static void on_plan_durable(struct command_flush *flush, int status)
{
	struct publisher *publisher =
		(struct publisher *)((char *)flush - offsetof(struct publisher, plan_flush));
	struct master *master = publisher->master;

	master_lock(master);
	if (master->stopping) {
		/* the next life of the master reads what has become of it */
		master_unlock(master);
		return;
	}
	expects(publisher->phase == PHASE_LOG);
	if (status != 0) {
		publisher->phase = PHASE_DOUBT;
		publisher->doubtful = true;
	} else if (!command_log_is_durable(master->log, publisher->wanted_index)) {
		/* What has come behind it would be shown with it. */
		command_log_flush(master->log, flush);
	} else {
		publisher->phase = PHASE_FENCE;
		if (publisher->fenced_count != 0)
			tell_fenced(master);
		publisher_act(master, clock_boottime_ns());
	}
	master_unlock(master);
}

static void log_change(const struct chain_change *change)
{
	char text[128] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < change->chain.count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %u%s",
					 change->chain.members[i].target_id,
					 change->chain.members[i].state == MEMBER_IN_SYNC   ? ""
					 : change->chain.members[i].state == MEMBER_SYNCING ? "+"
											    : "-");
	log_debug("chain pool=%u partition=%u epoch=%llu members=\"%s\"", change->pool,
		  change->partition, (unsigned long long)change->chain.epoch, text + 1);
}

/* False: out of memory. */
static bool take_fenced(struct publisher *publisher, const uint64_t *servers, size_t count)
{
	struct fenced *fenced = realloc(publisher->fenced, (count + 1) * sizeof(*fenced));

	expects(publisher->phase == PHASE_IDLE);
	if (fenced == NULL)
		return false;
	publisher->fenced = fenced;
	publisher->fenced_count = count;
	for (size_t i = 0; i < count; i++)
		fenced[i] = (struct fenced){.server = servers[i]};
	return true;
}

static void on_planned(struct command_call *call, int status)
{
	struct publisher *publisher =
		(struct publisher *)((char *)call - offsetof(struct publisher, plan_call));
	struct master *master = publisher->master;

	expects(publisher->phase == PHASE_PROPOSED);
	if (status == -EINVAL)
		log_warn("chains have changed since they were decided about: it is decided anew");
	else if (status != 0)
		log_error("chains cannot be changed error=\"%s\"", strerror(-status));
	if (status != 0 && status != COMMAND_MAY_HAPPEN) {
		publisher->phase = PHASE_IDLE;
		return;
	}
	log_info("chains change=%zu lives=%zu fenced=%zu", call->command.chains.change_count,
		 call->command.chains.life_count, call->command.chains.fenced_count);
	for (size_t i = 0; i < call->command.chains.change_count; i++)
		log_change(&call->command.chains.changes[i]);
	chain_manager_planned(master->chain_manager);
	publisher->plan_flush.index = call->index;
	if (status != 0) {
		publisher->phase = PHASE_DOUBT;
		publisher->doubtful = true;
		return;
	}
	publisher_changed(master, call->index);
	publisher->phase = PHASE_LOG;
	command_log_flush(master->log, &publisher->plan_flush);
}

static void decide(struct master *master, uint64_t now_ns)
{
	struct publisher *publisher = master->publisher;
	const struct cluster_map *map;
	const struct chain_plan *plan;

	if (publisher->phase != PHASE_IDLE || command_log_error(master->log) != 0)
		return;
	map = chains_map(master);
	if (map == NULL || !chain_manager_plan(master->chain_manager, map, now_ns, &plan) ||
	    !take_fenced(publisher, plan->fenced, plan->fenced_count))
		return;
	expects(plan->change_count + plan->life_count != 0);
	/* The plan stays as it is until the next one is made. */
	publisher->phase = PHASE_PROPOSED;
	publisher->plan_call.done = on_planned;
	publisher->plan_call.command =
		(struct log_command){.kind = COMMAND_CHAINS,
				     .chains = {.changes = plan->changes,
						.lives = plan->lives,
						.fenced = plan->fenced,
						.change_count = plan->change_count,
						.life_count = plan->life_count,
						.fenced_count = plan->fenced_count}};
	command_log_propose(master->log, &publisher->plan_call);
}

void publisher_act(struct master *master, uint64_t now_ns)
{
	struct publisher *publisher = master->publisher;

	lock_held(&master->lock);
	if (!master_may_serve(master))
		return;
	if (fill_online(master, now_ns))
		publish(master);
	master->sessions->deciding(master, now_ns);
	if (publisher->phase == PHASE_DOUBT && command_log_error(master->log) == 0) {
		/* The store is open again; whether the plan is in it, the state says. */
		publisher->phase = PHASE_LOG;
		command_log_flush(master->log, &publisher->plan_flush);
	}
	if (publisher->phase == PHASE_FENCE && fence_holds(master, now_ns) && is_durable(master))
		finish(master);
	/* The state may have changes that are not durable yet: then all waits for them. */
	if (publisher->phase == PHASE_IDLE && publisher->shown_index != publisher->wanted_index &&
	    is_durable(master))
		show(master);
	decide(master, now_ns);
}

void publisher_heard(struct master *master, uint64_t now_ns)
{
	struct publisher *publisher = master->publisher;

	lock_held(&master->lock);
	if (publisher->phase == PHASE_FENCE) {
		/* Fenced servers may have come meanwhile. */
		tell_fenced(master);
	} else {
		master->published.hidden = false;
		chain_manager_hold_leases(master->chain_manager, false);
		fill_usage(master);
		fill_online(master, now_ns);
		publish(master);
		master->sessions->renewable(master, now_ns);
	}
	publisher_act(master, now_ns);
}

static void readmit(struct master *master)
{
	const struct cluster_map *map = chains_map(master);
	uint64_t id;

	while (map != NULL && chain_manager_readmit(master->chain_manager, map, &id)) {
		const struct chunkserver *server = chunkserver_find(master, id);

		if (server == NULL || server->stream == NULL)
			continue;
		log_info("has to register anew: a target that was refused may come name=%s",
			 server->name);
		rpc_stream_close(server->stream->rpc);
	}
}

void publisher_tick(struct master *master, uint64_t now_ns, uint64_t gap_ns)
{
	lock_held(&master->lock);
	if (gap_ns != 0)
		chain_manager_paused(master->chain_manager, gap_ns);
	if (master_may_serve(master))
		readmit(master);
	publisher_act(master, now_ns);
}

bool publisher_settled(const struct master *master)
{
	lock_held(&master->lock);
	return master->publisher->phase == PHASE_IDLE;
}

bool publisher_soon(struct master *master, uint64_t now_ns)
{
	lock_held(&master->lock);
	return master->publisher->phase == PHASE_FENCE ||
	       chain_manager_soon(master->chain_manager, now_ns);
}

void publisher_push_recovery(struct master *master, struct chunkserver *only)
{
	lock_held(&master->lock);
	Catena__Recovery message = CATENA__RECOVERY__INIT;
	struct state_recovery recovery;
	struct push push = {0};

	state_recovery(master->state, &recovery);
	message.rate = recovery.rate;
	message.paused = recovery.paused;
	push_message(&push, SERVER_PUSH_RECOVERIES, &message.base);
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		if (s->stream != NULL && (only == NULL || s == only))
			chunkserver_send(s->stream, &push);
	push_free(&push);
}

/* ---- life ---- */

/* Begins as the last life of the master ended: its last change may not have been told to all fenced
 * servers. */
static int begin_with_fence(struct master *master)
{
	struct publisher *publisher = master->publisher;
	size_t count;
	const uint64_t *servers = state_fenced(master->state, &count);

	if (count == 0)
		return 0;
	if (!take_fenced(publisher, servers, count))
		return -ENOMEM;
	master->published.hidden = true;
	chain_manager_hold_leases(master->chain_manager, true);
	publisher->phase = PHASE_FENCE;
	publisher->fence_blind = true;
	tell_fenced(master);
	return 0;
}

int publisher_start(struct master *master)
{
	const struct master_config *config = &master->config;
	struct chain_manager_options options = {
		.lease_ns = config->serving_lease_ns,
		.margin_ns = config->lease_margin_ns,
		.replace_after_ns = config->replace_after_ns,
		.gather_ns = config->gather_ns,
		.return_ns = config->return_wait_ns,
		.unreachable_ns = config->unreachable_ns,
		.moves_max = (uint32_t)config->moves,
		.initial_targets = (uint32_t)config->initial_targets,
		.epoch_base = state_epoch_base(master->state),
	};
	struct publisher *publisher = calloc(1, sizeof(*publisher));
	struct state_recovery recovery;

	if (publisher == NULL)
		return -ENOMEM;
	publisher->master = master;
	publisher->plan_flush.done = on_plan_durable;
	publisher->show_flush.done = on_show_durable;
	master->publisher = publisher;
	master->chain_manager = chain_manager_new(&options);
	if (master->chain_manager == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < master->published.map->server_count; i++)
		chain_manager_restore(master->chain_manager, master->published.map->servers[i].id,
				      clock_boottime_ns());
	state_recovery(master->state, &recovery);
	chain_manager_set_recovery(master->chain_manager, recovery.paused);
	return begin_with_fence(master);
}

void publisher_free(struct master *master)
{
	struct publisher *publisher = master->publisher;

	if (publisher == NULL)
		return;
	chain_manager_free(master->chain_manager);
	cluster_map_unref(master->chains_map);
	free(publisher->fenced);
	free(publisher);
	master->publisher = NULL;
	master->chain_manager = NULL;
	master->chains_map = NULL;
}
