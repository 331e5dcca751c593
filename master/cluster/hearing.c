/* hearing.c - see hearing.h. */
#define LOG_MODULE "master"
#include "master/cluster/hearing.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/publisher.h"
#include "master/sessions/chunkservers.h"
#include "master/cluster/removal.h"

static size_t find_refused(const struct hearing *hearing, uint32_t target)
{
	size_t i = 0;

	while (i < hearing->refused_count && hearing->refused[i] != target)
		i++;
	return i;
}

static enum hearing_state state_of(const void *user, uint32_t target)
{
	const struct master *master = user;
	const struct map_target *is = cluster_map_target(master->view.map, target);
	struct chunkserver *server;

	if (find_refused(&master->hearing, target) < master->hearing.refused_count)
		return HEARING_REFUSED;
	if (is == NULL)
		return HEARING_SILENT;
	HASH_FIND(hh, master->chunkservers, &is->server_id, sizeof(is->server_id), server);
	return server != NULL && server->stream != NULL ? HEARING_HERE : HEARING_SILENT;
}

static struct heard who_was_heard(const struct master *master)
{
	return hearing_count(master->view.map, state_of, master);
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
	if (!hearing_is_enough(&heard, waited_ns, master->config.hear_wait_ns))
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
