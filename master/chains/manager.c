/* manager.c - what happens, and what has to change because of it; see manager.h. */
#include "master/chains/manager.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "master/state/chain_faults.h"
#include "master/chains/manager_internal.h"

/* ---- life ---- */

struct chain_manager *chain_manager_new(const struct chain_manager_options *options)
{
	struct chain_manager *manager = calloc(1, sizeof(*manager));

	if (manager == NULL)
		return NULL;
	manager->options = *options;
	manager->live.lease_ns = options->lease_ns;
	manager->live.margin_ns = options->margin_ns;
	manager->live.gather_ns = options->gather_ns;
	manager->complaints.lasting_ns = options->unreachable_ns;
	return manager;
}

void chain_manager_free(struct chain_manager *manager)
{
	if (manager == NULL)
		return;
	while (manager->pools != NULL) {
		struct pool_memory *next = manager->pools->next;

		free(manager->pools->chains);
		free(manager->pools);
		manager->pools = next;
	}
	liveness_free(&manager->live);
	free(manager->plan.changes);
	free(manager->plan.lives);
	free(manager->plan.fenced);
	free(manager->rotated);
	free(manager);
}

/* ---- what happens ---- */

void chain_manager_restore(struct chain_manager *manager, uint64_t server, uint64_t now_ns)
{
	liveness_restore(&manager->live, server, now_ns);
}

int chain_manager_registered(struct chain_manager *manager, uint64_t server,
			     const struct liveness_report *targets, size_t count, uint64_t now_ns)
{
	return liveness_registered(&manager->live, server, targets, count, now_ns);
}

static bool has_unsettled(const struct liveness *live, uint64_t server)
{
	for (struct live_target *t = live->targets; t != NULL; t = t->hh.next)
		if (t->server == server && t->listed && t->life != t->seen_life)
			return true;
	return false;
}

bool chain_manager_settled(const struct chain_manager *manager, uint64_t server)
{
	return !has_unsettled(&manager->live, server);
}

static bool renew(const struct chain_manager *manager, struct live_server *server, uint64_t now_ns)
{
	if (manager->leases_held || server->leaving || server->owes ||
	    (server->withheld && !MANAGER_FAULTY(RENEW_BEFORE_PUBLICATION)) ||
	    has_unsettled(&manager->live, server->id))
		return false;
	server->renewed_ns = now_ns;
	return true;
}

bool chain_manager_heartbeat(struct chain_manager *manager, uint64_t id, bool leaving,
			     const struct liveness_report *targets, size_t count, uint64_t now_ns)
{
	struct live_server *server =
		liveness_heartbeat(&manager->live, id, leaving, targets, count, now_ns);

	return server != NULL && renew(manager, server, now_ns);
}

void chain_manager_owes(struct chain_manager *manager, uint64_t id, bool owes)
{
	struct live_server *server = liveness_server(&manager->live, id);

	if (server != NULL)
		server->owes = owes;
}

void chain_manager_owes_chain(struct chain_manager *manager, uint32_t pool, uint32_t partition,
			      bool owes)
{
	struct chain_memory *memory = chain_manager_memory(manager, pool, partition);

	if (memory != NULL)
		memory->owed = owes;
}

void chain_manager_hold_leases(struct chain_manager *manager, bool held)
{
	manager->leases_held = held;
}

bool chain_manager_renew_late(struct chain_manager *manager, uint64_t id, uint64_t now_ns)
{
	struct live_server *server = liveness_server(&manager->live, id);

	return server != NULL && server->registered && renew(manager, server, now_ns);
}

void chain_manager_disconnected(struct chain_manager *manager, uint64_t server, uint64_t now_ns)
{
	liveness_disconnected(&manager->live, server, now_ns);
}

void chain_manager_refused(struct chain_manager *manager, uint64_t server, uint64_t asked_ns)
{
	liveness_refused(&manager->live, server, asked_ns);
}

void chain_manager_unreachable(struct chain_manager *manager, uint64_t from, uint64_t about,
			       uint64_t now_ns)
{
	if (from != about && liveness_server(&manager->live, from) != NULL &&
	    liveness_server(&manager->live, about) != NULL)
		complaints_add(&manager->complaints, from, about, false, now_ns);
}

void chain_manager_client_unreachable(struct chain_manager *manager, uint64_t session,
				      uint64_t about, uint64_t now_ns)
{
	if (liveness_server(&manager->live, about) != NULL)
		complaints_add(&manager->complaints, session, about, true, now_ns);
}

struct chain_memory *chain_manager_memory(const struct chain_manager *manager, uint32_t pool,
					  uint32_t partition)
{
	for (struct pool_memory *p = manager->pools; p != NULL; p = p->next)
		if (p->id == pool)
			return partition < p->partitions ? &p->chains[partition] : NULL;
	return NULL;
}

/* Gives the memory of the chain that a report is about; NULL: the report is not to be believed.
 * @by_tail: the tail must have sent it, not the target itself. *life: the sender's. A sender whose
 * life is not settled has been told no map yet, so it cannot speak of one. */
static struct chain_memory *believed(const struct chain_manager *manager,
				     const struct cluster_map *map,
				     const struct chain_manager_report *report, bool by_tail,
				     uint64_t *life)
{
	const struct map_chain *chain = cluster_map_chain(map, report->pool, report->partition);
	int tail = chain == NULL ? -1 : cluster_map_chain_tail(chain);
	const struct map_target *reporter;
	const struct live_target *known;

	if (tail < 0 || report->epoch > chain->epoch ||
	    (report->epoch < chain->epoch && !MANAGER_FAULTY(PROMOTE_ON_OLD_EPOCH)))
		return NULL;
	reporter =
		cluster_map_target(map, by_tail ? chain->members[tail].target_id : report->target);
	if (reporter == NULL || reporter->server_id != report->server)
		return NULL;
	known = liveness_target(&manager->live, reporter->id);
	if (known == NULL || !known->listed || known->life != known->seen_life)
		return NULL;
	*life = known->life;
	return chain_manager_memory(manager, report->pool, report->partition);
}

void chain_manager_caught_up(struct chain_manager *manager, const struct cluster_map *map,
			     const struct chain_manager_report *report)
{
	uint64_t life;
	struct chain_memory *memory = believed(manager, map, report, true, &life);

	if (memory == NULL)
		return;
	manager->live.changed = true;
	memory->caught_up_life = life;
	memory->caught_up_epoch = report->epoch;
	memory->caught_up_target = report->target;
}

void chain_manager_unfit(struct chain_manager *manager, const struct cluster_map *map,
			 const struct chain_manager_report *report)
{
	uint64_t life;
	struct chain_memory *memory = believed(manager, map, report, false, &life);

	if (memory == NULL)
		return;
	if (report->epoch != memory->unfit_epoch)
		memory->unfit_count = 0;
	manager->live.changed = true;
	memory->unfit_epoch = report->epoch;
	for (uint32_t i = 0; i < memory->unfit_count; i++)
		if (memory->unfit[i] == report->target)
			return;
	if (memory->unfit_count < CHAIN_MEMBERS_MAX)
		memory->unfit[memory->unfit_count++] = report->target;
}

void chain_manager_progress(struct chain_manager *manager, const struct cluster_map *map,
			    const struct chain_manager_report *report, uint64_t now_ns)
{
	uint64_t life;
	struct chain_memory *memory = believed(manager, map, report, true, &life);

	for (uint32_t i = 0; memory != NULL && i < CHAIN_MEMBERS_MAX; i++)
		if (memory->lag[i].target == report->target)
			memory->lag[i].progress_ns = now_ns;
}

void chain_manager_paused(struct chain_manager *manager, uint64_t gap_ns)
{
	liveness_paused(&manager->live, gap_ns);
	complaints_paused(&manager->complaints, gap_ns);
}

void chain_manager_set_recovery(struct chain_manager *manager, bool paused)
{
	manager->recovery_paused = paused;
}

bool chain_manager_probe(struct chain_manager *manager, uint64_t now_ns, uint64_t *server)
{
	liveness_update(&manager->live, now_ns);
	return liveness_probe(&manager->live, now_ns, server);
}

bool chain_manager_pressing(const struct chain_manager *manager)
{
	return manager->live.changed && !manager->pending;
}

bool chain_manager_soon(const struct chain_manager *manager, uint64_t now_ns)
{
	return liveness_soon(&manager->live, now_ns);
}

bool chain_manager_online(const struct chain_manager *manager, uint64_t server, uint64_t now_ns)
{
	return liveness_online(&manager->live, server, now_ns);
}

bool chain_manager_holds(const struct chain_manager *manager, uint64_t server, uint32_t target,
			 uint64_t now_ns)
{
	return liveness_holds(&manager->live, server, target, now_ns);
}

bool chain_manager_harmless(const struct chain_manager *manager, uint64_t server, uint64_t now_ns)
{
	return liveness_harmless(&manager->live, server, now_ns);
}

/* ---- old copies of disks ---- */

/* True when the target is in-sync in this chain, and all other in-sync members are old copies. */
static bool would_be_last(const struct chain_manager *manager, const struct map_chain *chain,
			  uint32_t target)
{
	int at = cluster_map_chain_index(chain, target);

	if (at < 0 || chain->members[at].state != MEMBER_IN_SYNC)
		return false;
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct live_target *other =
			liveness_target(&manager->live, chain->members[i].target_id);

		if ((int)i != at && chain->members[i].state == MEMBER_IN_SYNC &&
		    (other == NULL || !other->listed || !liveness_target_is_old(other)))
			return false;
	}
	return true;
}

static bool last_of_any(const struct chain_manager *manager, const struct cluster_map *map,
			uint32_t target)
{
	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++)
			if (would_be_last(manager, &map->pools[i].chains[p], target))
				return true;
	return false;
}

/* Remembers a refused target, for when an administrator lets it come. */
static struct live_target *remember_refused(struct chain_manager *manager,
					    const struct cluster_map *map, uint32_t id)
{
	struct live_target *known = liveness_target_make(&manager->live, id);
	const struct map_target *target = cluster_map_target(map, id);

	if (known != NULL && known->server == 0 && target != NULL)
		known->server = target->server_id;
	return known;
}

size_t chain_manager_check(struct chain_manager *manager, const struct cluster_map *map,
			   const struct liveness_report *targets, size_t count, bool *refused)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct live_target *known = liveness_target(&manager->live, targets[i].id);

		refused[i] = liveness_life_is_old(targets[i].life, targets[i].seen_life,
						  targets[i].damaged) &&
			     (known == NULL || !known->forgiven) &&
			     last_of_any(manager, map, targets[i].id);
		if (!refused[i])
			continue;
		n++;
		known = remember_refused(manager, map, targets[i].id);
		if (known == NULL)
			continue;
		known->old_refused = true;
		known->damaged = targets[i].damaged;
	}
	return n;
}

bool chain_manager_readmit(struct chain_manager *manager, const struct cluster_map *map,
			   uint64_t *server)
{
	for (struct live_target *t = manager->live.targets; t != NULL; t = t->hh.next) {
		const struct live_server *owner = liveness_server(&manager->live, t->server);

		if (!t->old_refused || t->listed || owner == NULL || !owner->registered ||
		    !owner->connected || (!t->forgiven && last_of_any(manager, map, t->id)))
			continue;
		t->old_refused = false;
		*server = t->server;
		return true;
	}
	return false;
}

/* True when the server was there when liveness was last looked at. */
static bool is_there(const struct chain_manager *manager, uint64_t id)
{
	const struct live_server *server = liveness_server(&manager->live, id);

	return server != NULL && server->registered && server->out_ns == 0;
}

/* True when some member is there, whatever it has. */
static bool any_member_listed(const struct chain_manager *manager, const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct live_target *member =
			liveness_target(&manager->live, chain->members[i].target_id);

		if (member != NULL && member->listed && is_there(manager, member->server))
			return true;
	}
	return false;
}

int chain_manager_accept_data_loss(struct chain_manager *manager, const struct cluster_map *map,
				   uint32_t pool, uint32_t partition, uint32_t target)
{
	const struct map_chain *chain = cluster_map_chain(map, pool, partition);
	struct chain_memory *memory = chain_manager_memory(manager, pool, partition);
	struct live_target *known = liveness_target(&manager->live, target);
	int at = chain == NULL ? -1 : cluster_map_chain_index(chain, target);

	if (chain == NULL || chain->epoch == 0 || memory == NULL ||
	    (at < 0 && any_member_listed(manager, chain)))
		return -ENOENT;
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct live_target *other =
			liveness_target(&manager->live, chain->members[i].target_id);

		if (chain->members[i].state == MEMBER_IN_SYNC && other != NULL && other->listed &&
		    other->error == 0 && !liveness_target_is_old(other) &&
		    is_there(manager, other->server))
			return -EBUSY;
	}
	if (known != NULL && known->old_refused && at >= 0 &&
	    chain->members[at].state == MEMBER_IN_SYNC) {
		known->forgiven = true;
		return 0;
	}
	if (known == NULL || !known->listed || known->error != 0 ||
	    !is_there(manager, known->server))
		return -EAGAIN;
	memory->accept = target;
	return 0;
}

/* ---- a plan's way ---- */

void chain_manager_withhold_nobody(struct chain_manager *manager)
{
	for (struct live_server *s = manager->live.servers; s != NULL; s = s->hh.next)
		s->withheld = false;
}

void chain_manager_planned(struct chain_manager *manager)
{
	expects(!manager->pending);
	manager->pending = manager->live.lives_held = true;
}

void chain_manager_published(struct chain_manager *manager, bool ok)
{
	manager->pending = manager->live.lives_held = false;
	chain_manager_withhold_nobody(manager);
	for (size_t i = 0; ok && i < manager->plan.life_count; i++) {
		struct live_target *target =
			liveness_target(&manager->live, manager->plan.lives[i].target);

		if (target == NULL)
			continue;
		target->seen_life = manager->plan.lives[i].life;
		target->forgiven = false;
	}
}
