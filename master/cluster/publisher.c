/* publisher.c - from decisions to maps that everybody has; see publisher.h. */
#define LOG_MODULE "chain"
#include "master/cluster/publisher.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/shared/chains.h"
#include "master/shared/chunkserver_table.h"
#include "master/cluster/removal.h"

enum phase {
	PHASE_IDLE,
	PHASE_LOG,   /* a plan is in the log, and on its way to the disk */
	PHASE_DOUBT, /* the disk has failed meanwhile */
	PHASE_FENCE, /* durable; those who lose a place are told */
};

struct fenced {
	uint64_t server;
	bool knows;
};

struct chains {
	struct master *master;
	enum phase phase;
	struct command_flush plan_flush, show_flush;
	bool doubtful;                      /* the plan was applied, and then the store failed */
	bool showing;                       /* show_flush is under way */
	uint64_t shown_index, wanted_index; /* of commands that change the map */
	struct fenced *fenced;
	size_t fenced_count;
	uint64_t fence_version;
	bool fence_blind; /* what the others were shown before is not known any more */
};

/* ---- maps ---- */

void master_publish(struct master *master)
{
	/* A former life of this master may not have told everybody who has to know first. */
	if (master->view.hidden)
		return;
	if (view_publish(&master->view) != 0)
		return;
	master->sessions->published(master);
}

static void fill_usage(struct master *master)
{
	const struct cluster_map *map = master->view.map;

	for (size_t i = 0; i < map->target_count; i++) {
		struct chain_manager_target t;

		if (chain_manager_usage(master->chain_manager, map->targets[i].id, &t))
			view_set_usage(&master->view, t.id, t.capacity, t.used,
				       t.full || t.error != 0);
	}
}

/* True: somebody has come or gone. */
static bool fill_online(struct master *master, uint64_t now_ns)
{
	const struct cluster_map *map = master->view.map;
	bool news = false, back = false;

	for (size_t i = 0; i < map->server_count; i++) {
		const struct map_server *server = &map->servers[i];
		bool online = chain_manager_online(master->chain_manager, server->id, now_ns);

		if (!view_set_online(&master->view, server->id, online))
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

/* Everything of the state is durable, and may be seen. */
static void show(struct master *master)
{
	struct chains *chains = master->chains;

	if (view_refresh(&master->view, master->state) != 0) {
		log_error("the cluster map cannot be shown: out of memory");
		return;
	}
	chains->shown_index = chains->wanted_index;
	fill_usage(master);
	fill_online(master, clock_boottime_ns());
	master_publish(master);
}

/* On the log's thread. */
static void on_show_durable(struct command_flush *flush, int status)
{
	struct chains *chains =
		(struct chains *)((char *)flush - offsetof(struct chains, show_flush));
	struct master *master = chains->master;

	master_lock(master);
	chains->showing = false;
	if (!master->stopping)
		chains_act(master, clock_boottime_ns());
	master_unlock(master);
}

/* Everything that changes the map is. If not, it is going to be, and then it is looked again. */
static bool is_durable(struct master *master)
{
	struct chains *chains = master->chains;

	if (command_log_is_durable(master->log, chains->wanted_index))
		return true;
	if (!chains->showing && command_log_error(master->log) == 0) {
		chains->showing = true;
		chains->show_flush.index = chains->wanted_index;
		command_log_flush(master->log, &chains->show_flush);
	}
	return false;
}

void chains_changed(struct master *master, uint64_t index)
{
	master->chains->wanted_index = index;
}

void chains_recovered(struct master *master)
{
	/* A plan that was on its way may have left no trace either. */
	if (master->chains->phase == PHASE_LOG)
		master->chains->doubtful = true;
	/* Indices that left no trace in the store come again. */
	master->chains->wanted_index = command_log_applied(master->log);
	master->chains->shown_index = master->chains->wanted_index - 1;
}

/* ---- decisions ---- */

static void finish(struct master *master)
{
	struct chains *chains = master->chains;

	chains->phase = PHASE_IDLE;
	chains->fence_blind = false;
	master->view.hidden = false;
	chain_manager_hold_leases(master->chain_manager, false);
	/* Before it is shown, because those whose lives are settled by it get the map only then. */
	chain_manager_published(master->chain_manager, !chains->doubtful);
	show(master);
	chains->doubtful = false;
	chains->fenced_count = 0;
	master->sessions->renewable(master, clock_boottime_ns());
	master->sessions->admitting(master, clock_boottime_ns());
}

static bool fence_holds(struct master *master, uint64_t now_ns)
{
	struct chains *chains = master->chains;

	for (size_t i = 0; i < chains->fenced_count; i++)
		if (!chains->fenced[i].knows &&
		    !chain_manager_harmless(master->chain_manager, chains->fenced[i].server,
					    now_ns))
			return false;
	return true;
}

void chains_seen(struct master *master, uint64_t server, uint64_t version)
{
	struct chains *chains = master->chains;

	if (chains->phase != PHASE_FENCE || version < chains->fence_version)
		return;
	for (size_t i = 0; i < chains->fenced_count; i++)
		if (chains->fenced[i].server == server)
			chains->fenced[i].knows = true;
}

void chains_push_fence(struct master *master, struct chunkserver *server)
{
	struct chains *chains = master->chains;
	struct push push = {0};
	bool fenced = false;
	uint8_t *map;
	size_t size;

	for (size_t i = 0; i < chains->fenced_count; i++)
		fenced = fenced || chains->fenced[i].server == server->id;
	if (chains->phase != PHASE_FENCE || !master_may_serve(master) || !fenced ||
	    (chains->fence_blind && chains->fenced_count > 1) || server->stream == NULL ||
	    !chain_manager_settled(master->chain_manager, server->id))
		return;
	/* If not, it will have lost its lease before anybody else hears of it. */
	if (view_prepare(&master->view, master->state, server->id, &map, &size) != 0)
		return;
	push_bytes(&push, SERVER_PUSH_MAPS, map, size);
	chunkserver_send(server->stream, &push);
	push_free(&push);
	free(map);
}

static void tell_fenced(struct master *master)
{
	struct chains *chains = master->chains;

	chains->fence_version = view_version_of(state_map_version(master->state));
	for (size_t i = 0; i < chains->fenced_count; i++) {
		struct chunkserver *server = chunkserver_find(master, chains->fenced[i].server);

		if (server != NULL)
			chains_push_fence(master, server);
	}
}

/* On the log's thread. */
static void on_plan_durable(struct command_flush *flush, int status)
{
	struct chains *chains =
		(struct chains *)((char *)flush - offsetof(struct chains, plan_flush));
	struct master *master = chains->master;

	master_lock(master);
	if (master->stopping) {
		/* the next life of the master reads what has become of it */
	} else if (status != 0) {
		chains->phase = PHASE_DOUBT;
		chains->doubtful = true;
	} else if (!command_log_is_durable(master->log, chains->wanted_index)) {
		/* What has come behind it would be shown with it. */
		command_log_flush(master->log, flush);
	} else {
		chains->phase = PHASE_FENCE;
		if (chains->fenced_count != 0)
			tell_fenced(master);
		chains_act(master, clock_boottime_ns());
	}
	master_unlock(master);
}

static void on_applied(void *user, uint64_t index, int status, const struct command_result *result)
{
	struct chains *chains = user;

	chains->plan_flush.index = status == 0 ? index : 0;
	if (status != 0)
		log_error("chains cannot be changed error=\"%s\"", strerror(-status));
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
static bool take_fenced(struct chains *chains, const uint64_t *servers, size_t count)
{
	struct fenced *fenced = realloc(chains->fenced, (count + 1) * sizeof(*fenced));

	if (fenced == NULL)
		return false;
	chains->fenced = fenced;
	chains->fenced_count = count;
	for (size_t i = 0; i < count; i++)
		fenced[i] = (struct fenced){.server = servers[i]};
	return true;
}

static void decide(struct master *master, uint64_t now_ns)
{
	struct log_command command = {.kind = COMMAND_CHAINS};
	struct chains *chains = master->chains;
	const struct cluster_map *map;
	const struct chain_plan *plan;

	if (chains->phase != PHASE_IDLE || command_log_error(master->log) != 0)
		return;
	map = chains_map(master);
	if (map == NULL || !chain_manager_plan(master->chain_manager, map, now_ns, &plan) ||
	    !take_fenced(chains, plan->fenced, plan->fenced_count))
		return;
	command.chains.changes = plan->changes;
	command.chains.change_count = plan->change_count;
	command.chains.lives = plan->lives;
	command.chains.life_count = plan->life_count;
	command.chains.fenced = plan->fenced;
	command.chains.fenced_count = plan->fenced_count;
	command_log_propose(master->log, &command, on_applied, chains);
	if (chains->plan_flush.index == 0)
		return;
	log_info("chains change=%zu lives=%zu fenced=%zu", plan->change_count, plan->life_count,
		 plan->fenced_count);
	for (size_t i = 0; i < plan->change_count; i++)
		log_change(&plan->changes[i]);
	chain_manager_planned(master->chain_manager);
	chains_changed(master, chains->plan_flush.index);
	chains->phase = PHASE_LOG;
	command_log_flush(master->log, &chains->plan_flush);
}

void chains_act(struct master *master, uint64_t now_ns)
{
	struct chains *chains = master->chains;

	if (!master_may_serve(master))
		return;
	if (fill_online(master, now_ns))
		master_publish(master);
	master->sessions->deciding(master, now_ns);
	if (chains->phase == PHASE_DOUBT && command_log_error(master->log) == 0) {
		/* The store is open again; whether the plan is in it, the state says. */
		chains->phase = PHASE_LOG;
		command_log_flush(master->log, &chains->plan_flush);
	}
	if (chains->phase == PHASE_FENCE && fence_holds(master, now_ns) && is_durable(master))
		finish(master);
	/* Chains may be in the state that nobody may know of yet: then all waits for them. */
	if (chains->phase == PHASE_IDLE && chains->shown_index != chains->wanted_index &&
	    is_durable(master))
		show(master);
	decide(master, now_ns);
}

void chains_heard(struct master *master, uint64_t now_ns)
{
	struct chains *chains = master->chains;

	if (chains->phase == PHASE_FENCE) {
		/* Those who have to know first may have come meanwhile. */
		tell_fenced(master);
	} else {
		master->view.hidden = false;
		chain_manager_hold_leases(master->chain_manager, false);
		fill_usage(master);
		fill_online(master, now_ns);
		master_publish(master);
		master->sessions->renewable(master, now_ns);
	}
	chains_act(master, now_ns);
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

void chains_tick(struct master *master, uint64_t now_ns, uint64_t gap_ns)
{
	if (gap_ns != 0)
		chain_manager_paused(master->chain_manager, gap_ns);
	if (master_may_serve(master))
		readmit(master);
	chains_act(master, now_ns);
}

bool chains_settled(const struct master *master)
{
	return master->chains->phase == PHASE_IDLE;
}

bool chains_soon(struct master *master, uint64_t now_ns)
{
	return master->chains->phase == PHASE_FENCE ||
	       chain_manager_soon(master->chain_manager, now_ns);
}

void chains_push_recovery(struct master *master, struct chunkserver *only)
{
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

/* The last change may not have been told yet to those who have to know it first. */
static int begin_with_fence(struct master *master)
{
	struct chains *chains = master->chains;
	size_t count;
	const uint64_t *servers = state_fenced(master->state, &count);

	if (count == 0)
		return 0;
	if (!take_fenced(chains, servers, count))
		return -ENOMEM;
	master->view.hidden = true;
	chain_manager_hold_leases(master->chain_manager, true);
	chains->phase = PHASE_FENCE;
	chains->fence_blind = true;
	tell_fenced(master);
	return 0;
}

int chains_start(struct master *master)
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
	};
	struct chains *chains = calloc(1, sizeof(*chains));
	struct state_recovery recovery;

	if (chains == NULL)
		return -ENOMEM;
	chains->master = master;
	chains->plan_flush.done = on_plan_durable;
	chains->show_flush.done = on_show_durable;
	master->chains = chains;
	master->chain_manager = chain_manager_new(&options);
	if (master->chain_manager == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < master->view.map->server_count; i++)
		chain_manager_restore(master->chain_manager, master->view.map->servers[i].id,
				      clock_boottime_ns());
	state_recovery(master->state, &recovery);
	chain_manager_set_recovery(master->chain_manager, recovery.paused);
	return begin_with_fence(master);
}

void chains_free(struct master *master)
{
	struct chains *chains = master->chains;

	if (chains == NULL)
		return;
	chain_manager_free(master->chain_manager);
	cluster_map_unref(master->chains_map);
	free(chains->fenced);
	free(chains);
	master->chains = NULL;
	master->chain_manager = NULL;
	master->chains_map = NULL;
}
