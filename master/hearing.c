/* hearing.c - see hearing.h. */
#define LOG_MODULE "master"
#include "master/hearing.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/log.h"
#include "master/chain_manager.h"
#include "master/chains.h"
#include "master/chunkserver_sessions.h"
#include "master/removal.h"

static size_t find_refused(const struct hearing *hearing, uint32_t target)
{
	size_t i = 0;

	while (i < hearing->refused_count && hearing->refused[i] != target)
		i++;
	return i;
}

static bool is_refused(const struct master *master, uint32_t target)
{
	return find_refused(&master->hearing, target) < master->hearing.refused_count;
}

static bool has_registered(const struct master *master, uint32_t target)
{
	const struct map_target *is = cluster_map_target(master->view.map, target);
	struct chunkserver *server;

	if (is == NULL)
		return false;
	HASH_FIND(hh, master->chunkservers, &is->server_id, sizeof(is->server_id), server);
	return server != NULL && server->stream != NULL;
}

struct heard {
	uint32_t missing;  /* one of the targets that are waited for; 0: none */
	bool chain_silent; /* some chain has no in-sync member that is there */
};

static void look_at(const struct master *master, const struct map_chain *chain, struct heard *heard)
{
	bool spoken = chain->count == 0;

	for (uint32_t i = 0; i < chain->count; i++) {
		uint32_t target = chain->members[i].target_id;
		bool refused = is_refused(master, target);
		bool there = chain->members[i].state != MEMBER_OFFLINE && !refused &&
			     has_registered(master, target);

		if (chain->members[i].state != MEMBER_OFFLINE && !there && !refused)
			heard->missing = target;
		spoken = spoken || (there && chain->members[i].state == MEMBER_IN_SYNC);
	}
	heard->chain_silent = heard->chain_silent || !spoken;
}

static struct heard who_was_heard(const struct master *master)
{
	struct heard heard = {0};

	for (size_t i = 0; i < master->view.map->pool_count; i++) {
		const struct map_pool *pool = &master->view.map->pools[i];

		for (uint32_t p = 0; p < pool->partitions; p++)
			look_at(master, &pool->chains[p], &heard);
	}
	return heard;
}

void hearing_start(struct master *master, uint64_t now_ns)
{
	master->hearing.begun_ns = now_ns;
	master->view.hidden = true;
	chain_manager_hold_leases(chains_manager(master), true);
	hearing_look(master, now_ns);
}

bool hearing_may_serve(const struct master *master)
{
	return master->hearing.over && master->hearing.behind[0] == '\0';
}

void hearing_look(struct master *master, uint64_t now_ns)
{
	struct hearing *hearing = &master->hearing;
	uint64_t waited_ns = now_ns - hearing->begun_ns;
	struct heard heard;

	if (hearing->over || hearing->behind[0] != '\0')
		return;
	heard = who_was_heard(master);
	if (heard.missing != 0 && waited_ns < master->config.hear_wait_ns &&
	    (heard.chain_silent || waited_ns < HEARING_SHORT_NS))
		return;
	hearing->over = true;
	if (heard.missing != 0)
		log_warn("serving although target %u has not been heard since the start "
			 "waited_ms=%llu",
			 heard.missing, (unsigned long long)(waited_ns / NS_PER_MSEC));
	chains_heard(master, now_ns);
	clients_heard(master, now_ns);
	removals_online(master->removals);
}

void hearing_target(struct master *master, uint32_t target, bool refused)
{
	struct hearing *hearing = &master->hearing;
	size_t at = find_refused(hearing, target);
	uint32_t *bigger;

	if (hearing->over || target == 0 || refused == (at < hearing->refused_count))
		return;
	if (!refused) {
		hearing->refused[at] = hearing->refused[--hearing->refused_count];
		return;
	}
	bigger = realloc(hearing->refused, (at + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return; /* it is waited for somewhat longer */
	hearing->refused = bigger;
	hearing->refused[hearing->refused_count++] = target;
}

void hearing_free(struct master *master)
{
	free(master->hearing.refused);
	master->hearing.refused = NULL;
	master->hearing.refused_count = 0;
}

void hearing_is_behind(struct master *master, const char *why)
{
	struct hearing *hearing = &master->hearing;

	if (hearing->behind[0] != '\0')
		return;
	snprintf(hearing->behind, sizeof(hearing->behind), "%s", why);
	log_error("this master serves nobody from now on reason=\"%s\"", hearing->behind);
	master->view.hidden = true;
	chain_manager_hold_leases(chains_manager(master), true);
	clients_turn_away(master);
	chunkservers_turn_away(master);
}

bool hearing_describe(const struct master *master, char *out, size_t size)
{
	const struct hearing *hearing = &master->hearing;

	if (hearing->behind[0] != '\0')
		snprintf(out, size, "this master serves nobody: %s", hearing->behind);
	else if (!hearing->over)
		snprintf(out, size,
			 "this master has started and does not serve yet: it waits for the targets "
			 "of its chains, among them target %u",
			 who_was_heard(master).missing);
	else
		return false;
	return true;
}
