/* hearing.c - see hearing.h. */
#define LOG_MODULE "master"
#include "master/cluster/hearing.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/lock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/publisher.h"
#include "master/cluster/removals.h"
#include "master/older_store/hearing_rules.h"
#include "master/shared/chunkserver.h"

struct hearing {
	uint32_t *refused; /* targets, each once */
	size_t refused_count;
	uint64_t begun_ns;
};

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
	const struct map_target *is = cluster_map_target(master->published.map, target);
	const struct chunkserver *server;

	if (find_refused(master->hearing, target) < master->hearing->refused_count)
		return HEARING_REFUSED;
	if (is == NULL)
		return HEARING_SILENT;
	server = chunkserver_find(master, is->server_id);
	return server != NULL && server->stream != NULL ? HEARING_HERE : HEARING_SILENT;
}

static struct heard who_was_heard(const struct master *master)
{
	return hearing_rules_count(master->published.map, state_of, master);
}

int hearing_start(struct master *master, uint64_t now_ns)
{
	lock_held(&master->lock);
	master->hearing = calloc(1, sizeof(*master->hearing));
	if (master->hearing == NULL)
		return -ENOMEM;
	master->hearing->begun_ns = now_ns;
	master->published.hidden = true;
	chain_manager_hold_leases(master->chain_manager, true);
	hearing_look(master, now_ns);
	return 0;
}

void hearing_look(struct master *master, uint64_t now_ns)
{
	struct hearing *hearing = master->hearing;
	uint64_t waited_ns = now_ns - hearing->begun_ns;
	struct heard heard;

	lock_held(&master->lock);
	if (master->heard || master->behind[0] != '\0')
		return;
	heard = who_was_heard(master);
	if (!hearing_rules_enough(&heard, waited_ns, master->config.hear_wait_ns))
		return;
	master->heard = true;
	if (heard.missing != 0)
		log_warn("serving although target %u has not been heard since the start "
			 "waited_ms=%llu",
			 heard.missing, (unsigned long long)(waited_ns / NS_PER_MSEC));
	publisher_heard(master, now_ns);
	master->sessions->admitting(master, now_ns);
	removals_online(master->removals);
}

void hearing_target(struct master *master, uint32_t target, bool refused)
{
	struct hearing *hearing = master->hearing;
	size_t at = find_refused(hearing, target);
	uint32_t *bigger;

	lock_held(&master->lock);
	if (master->heard || target == 0 || refused == (at < hearing->refused_count))
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
	if (master->hearing != NULL)
		free(master->hearing->refused);
	free(master->hearing);
	master->hearing = NULL;
}

void hearing_found_behind(struct master *master, const char *why)
{
	lock_held(&master->lock);
	if (master->behind[0] != '\0')
		return;
	snprintf(master->behind, sizeof(master->behind), "%s", why);
	log_error("this master serves nobody from now on reason=\"%s\"", master->behind);
	master->published.hidden = true;
	chain_manager_hold_leases(master->chain_manager, true);
	master->sessions->turning_away(master);
}

bool hearing_describe(const struct master *master, char *out, size_t size)
{
	struct heard heard;

	lock_held(&master->lock);
	if (master->behind[0] != '\0') {
		snprintf(out, size, "this master serves nobody: %s", master->behind);
		return true;
	}
	if (master->heard)
		return false;
	heard = who_was_heard(master);
	snprintf(out, size,
		 "this master has started and does not serve yet: it waits for the targets %s, "
		 "among them target %u",
		 heard.placed ? "of its chains" : "that it knows", heard.missing);
	return true;
}
