#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/master/chains/chain_manager_rig.h"

#define RIG_LEASE_MS  2000u
#define RIG_MARGIN_MS 500u

void rig_init(struct rig *r, uint32_t servers, uint32_t per_server, uint32_t copies,
	      uint32_t partitions)
{
	memset(r, 0, sizeof(*r));
	r->options = (struct chain_manager_options){.lease_ns = RIG_LEASE_MS * MS,
						    .margin_ns = RIG_MARGIN_MS * MS,
						    .replace_after_ns = 20000 * MS,
						    .gather_ns = 50 * MS,
						    .return_ns = 3000 * MS,
						    .unreachable_ns = 1500 * MS,
						    .moves_max = 2,
						    .initial_targets = servers * per_server};
	r->manager = chain_manager_new(&r->options);
	r->now_ns = 1000000 * MS;
	r->catches_up = true;
	r->pool = (struct map_pool){.id = 1,
				    .copies = copies,
				    .partitions = partitions,
				    .chunk_size = 1 << 20,
				    .chains = r->chains};
	r->map.pools = &r->pool;
	r->map.pool_count = 1;
	r->map.servers = r->servers;
	r->map.targets = r->targets;
	for (uint32_t s = 0; s < servers; s++)
		for (uint32_t i = 0; i < per_server; i++) {
			uint32_t t = s * per_server + i;

			r->targets[t] = (struct map_target){.id = t + 1, .server_id = s + 1};
			r->target[t].report.id = t + 1;
			r->target[t].report.life = 1;
			r->target[t].report.capacity = 1 << 30;
			r->target[t].server = s;
			r->target[t].listed = true;
		}
	for (uint32_t s = 0; s < servers; s++) {
		r->servers[s].id = s + 1;
		snprintf(r->servers[s].host, sizeof(r->servers[s].host), "h%u", s + 1);
	}
	r->map.server_count = servers;
	r->map.target_count = servers * per_server;
}

void rig_end(struct rig *r)
{
	chain_manager_free(r->manager);
}

static size_t rig_reports(struct rig *r, uint32_t s, struct liveness_report *out)
{
	size_t n = 0;

	for (uint32_t t = 0; t < r->map.target_count; t++)
		if (r->target[t].server == s && r->target[t].listed) {
			out[n] = r->target[t].report;
			out[n++].seen_life = r->stored_life[t];
		}
	return n;
}

/* ---- what servers do ---- */

int rig_register(struct rig *r, uint32_t s)
{
	struct liveness_report reports[RIG_TARGETS] = {0};
	size_t n = rig_reports(r, s, reports), taken = 0;
	bool refused[RIG_TARGETS];

	chain_manager_check(r->manager, &r->map, reports, n, refused);
	for (size_t i = 0; i < n; i++)
		if (!refused[i])
			reports[taken++] = reports[i];
	if (taken == 0)
		return -ESTALE;
	for (size_t i = 0; i < taken; i++)
		r->targets[reports[i].id - 1].server_id = s + 1;
	r->server[s].up = r->server[s].connected = true;
	return chain_manager_registered(r->manager, s + 1, reports, taken, r->now_ns);
}

/* As a chunkserver's disk does (chunkserver/disk/space.c): low, until much more is free. */
static void rig_fill(struct rig *r, uint32_t t)
{
	struct liveness_report *report = &r->target[t].report;
	uint64_t free_bytes;

	report->used = r->target[t].foreign + rig_load(r, t + 1) * r->chain_bytes;
	free_bytes = report->capacity > report->used ? report->capacity - report->used : 0;
	report->full = free_bytes < report->capacity / (report->full ? 9 : 12);
}

bool rig_beat(struct rig *r, uint32_t s, bool leaving)
{
	struct liveness_report reports[RIG_TARGETS] = {0};
	size_t n;

	for (uint32_t t = 0; t < r->map.target_count && r->chain_bytes != 0; t++)
		if (r->target[t].server == s)
			rig_fill(r, t);
	n = rig_reports(r, s, reports);
	r->server[s].renewed =
		chain_manager_heartbeat(r->manager, s + 1, leaving, reports, n, r->now_ns);
	return r->server[s].renewed;
}

void rig_kill(struct rig *r, uint32_t s)
{
	r->server[s].up = false;
	r->server[s].refusing = true;
	if (r->server[s].connected)
		chain_manager_disconnected(r->manager, s + 1, r->now_ns);
	r->server[s].connected = false;
}

void rig_lose(struct rig *r, uint32_t s)
{
	if (r->server[s].up)
		r->server[s].lost_ns = r->now_ns;
	r->server[s].up = false;
	r->server[s].refusing = false;
}

int rig_start(struct rig *r, uint32_t s)
{
	for (uint32_t t = 0; t < r->map.target_count; t++)
		if (r->target[t].server == s)
			r->target[t].report.life++;
	return rig_register(r, s);
}

/* ---- plans ---- */

static struct rig_server *rig_server_of(struct rig *r, uint32_t target)
{
	return &r->server[r->target[target - 1].server];
}

/* As far as anybody can know: of a lost one nobody hears for a while. */
static bool rig_there(struct rig *r, uint32_t target)
{
	const struct rig_server *server = rig_server_of(r, target);

	return server->up ||
	       (server->connected && r->now_ns <= server->lost_ns + RIG_LEASE_MS / 2 * MS);
}

bool rig_in_sync(const struct map_chain *chain, uint32_t target)
{
	int at = cluster_map_chain_index(chain, target);

	return at >= 0 && chain->members[at].state == MEMBER_IN_SYNC;
}

static void rig_check(struct rig *r, const struct chain_change *change)
{
	const struct map_chain *was = &r->chains[change->partition], *is = &change->chain;
	unsigned syncing = 0, there = 0, kept = 0;

	if (is->epoch != was->epoch + 1)
		r->broken = "an epoch is left out";
	if (is->count == 0 || is->members[0].state != MEMBER_IN_SYNC)
		r->broken = "no in-sync member";
	for (uint32_t i = 0; i < is->count; i++) {
		if (cluster_map_chain_index(is, is->members[i].target_id) != (int)i)
			r->broken = "a member twice";
		if (i > 0 && is->members[i].state < is->members[i - 1].state)
			r->broken = "the order of states";
		syncing += is->members[i].state == MEMBER_SYNCING ? 1 : 0;
	}
	if (syncing > 1)
		r->broken = "two syncing";
	for (uint32_t i = 0; i < was->count; i++) {
		uint32_t target = was->members[i].target_id;

		if (was->members[i].state != MEMBER_IN_SYNC)
			continue;
		kept += rig_in_sync(is, target) ? 1 : 0;
		there += rig_in_sync(is, target) && rig_there(r, target) ? 1 : 0;
	}
	if (was->epoch != 0 && kept == 0)
		r->broken = "nobody of the in-sync members was kept";
	for (uint32_t i = 0; i < was->count; i++)
		/* Who has lost what it had is no help to anybody. */
		if (was->members[i].state == MEMBER_IN_SYNC &&
		    !r->target[was->members[i].target_id - 1].report.damaged &&
		    !rig_in_sync(is, was->members[i].target_id) && there == 0)
			r->broken = "taken out though nobody else is there";
}

void rig_take(struct rig *r, const struct chain_plan *plan)
{
	for (size_t i = 0; i < plan->change_count; i++)
		rig_check(r, &plan->changes[i]);
	for (size_t i = 0; i < plan->change_count; i++)
		r->chains[plan->changes[i].partition] = plan->changes[i].chain;
	for (size_t i = 0; i < plan->life_count; i++)
		r->stored_life[plan->lives[i].target - 1] = plan->lives[i].life;
	r->plans++;
	r->changes += (unsigned)plan->change_count;
	r->last_fenced = (uint32_t)plan->fenced_count;
}

/* ---- what members report ---- */

struct chain_manager_report rig_said(const struct rig *r, uint32_t p, uint32_t target, bool by_tail)
{
	const struct map_chain *chain = &r->chains[p];
	uint32_t by = by_tail ? chain->members[cluster_map_chain_tail(chain)].target_id : target;

	return (struct chain_manager_report){.server = r->targets[by - 1].server_id,
					     .pool = r->pool.id,
					     .partition = p,
					     .epoch = chain->epoch,
					     .target = target};
}

void rig_caught_up(struct rig *r, uint32_t p, uint32_t target)
{
	struct chain_manager_report said = rig_said(r, p, target, true);

	chain_manager_caught_up(r->manager, &r->map, &said);
}

void rig_unfit(struct rig *r, uint32_t p, uint32_t target)
{
	struct chain_manager_report said = rig_said(r, p, target, false);

	chain_manager_unfit(r->manager, &r->map, &said);
}

/* All that can be decided now. */
static void rig_plan(struct rig *r)
{
	const struct chain_plan *plan;

	for (int i = 0; i < 50; i++) {
		for (uint32_t p = 0; r->catches_up && p < r->pool.partitions; p++)
			for (uint32_t m = 0; m < r->chains[p].count; m++)
				if (r->chains[p].members[m].state == MEMBER_SYNCING &&
				    rig_server_of(r, r->chains[p].members[m].target_id)->up)
					rig_caught_up(r, p, r->chains[p].members[m].target_id);
		if (!chain_manager_plan(r->manager, &r->map, r->now_ns, &plan))
			return;
		rig_take(r, plan);
		chain_manager_planned(r->manager);
		chain_manager_published(r->manager, true);
	}
	r->broken = "it never comes to rest";
}

static void rig_probe(struct rig *r)
{
	uint64_t server;

	while (chain_manager_probe(r->manager, r->now_ns, &server))
		if (!r->server[server - 1].up && r->server[server - 1].refusing)
			chain_manager_refused(r->manager, server, r->now_ns);
}

void rig_run(struct rig *r, uint64_t ms)
{
	uint64_t until = r->now_ns + ms * MS;

	while (r->now_ns < until) {
		r->now_ns += 10 * MS;
		if (r->now_ns >= r->beat_ns + 500 * MS) {
			r->beat_ns = r->now_ns;
			for (uint32_t s = 0; s < r->map.server_count; s++)
				if (r->server[s].up && r->server[s].connected &&
				    !r->server[s].silent)
					rig_beat(r, s, false);
		}
		rig_probe(r);
		rig_plan(r);
	}
}

void rig_all_up(struct rig *r)
{
	for (uint32_t s = 0; s < r->map.server_count; s++)
		rig_register(r, s);
	rig_run(r, 1000);
}

/* ---- questions ---- */

uint32_t rig_count(const struct rig *r, enum member_state state)
{
	uint32_t n = 0;

	for (uint32_t p = 0; p < r->pool.partitions; p++)
		for (uint32_t m = 0; m < r->chains[p].count; m++)
			n += r->chains[p].members[m].state == state ? 1 : 0;
	return n;
}

uint32_t rig_load(const struct rig *r, uint32_t target)
{
	uint32_t n = 0;

	for (uint32_t p = 0; p < r->pool.partitions; p++)
		n += cluster_map_chain_index(&r->chains[p], target) >= 0 ? 1 : 0;
	return n;
}

bool rig_whole(const struct rig *r)
{
	for (uint32_t p = 0; p < r->pool.partitions; p++) {
		if (r->chains[p].count != r->pool.copies)
			return false;
		for (uint32_t m = 0; m < r->chains[p].count; m++)
			if (r->chains[p].members[m].state != MEMBER_IN_SYNC)
				return false;
	}
	return true;
}

const char *rig_chain(const struct rig *r, uint32_t partition)
{
	static char text[64];
	const struct map_chain *chain = &r->chains[partition];
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < chain->count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u%s",
					 i == 0 ? "" : " ", chain->members[i].target_id,
					 chain->members[i].state == MEMBER_IN_SYNC   ? ""
					 : chain->members[i].state == MEMBER_SYNCING ? "+"
										     : "-");
	return text;
}

void rig_set_chain(struct rig *r, uint32_t partition, uint32_t a, uint32_t b, uint32_t c)
{
	struct map_chain *chain = &r->chains[partition];
	uint32_t ids[] = {a, b, c};

	chain->count = 0;
	for (int i = 0; i < 3; i++)
		if (ids[i] != 0)
			chain->members[chain->count++] =
				(struct chain_member){.target_id = ids[i], .state = MEMBER_IN_SYNC};
	chain->epoch++;
}

/* ---- of most tests ---- */

void rig_begin(struct rig *r, uint32_t servers, uint32_t copies, uint32_t partitions)
{
	rig_init(r, servers, 1, copies, partitions);
	rig_all_up(r);
	assert_int_equal(r->chains[0].epoch, 1);
	assert_true(rig_whole(r));
	if (partitions == 1 && copies > 1)
		rig_set_chain(r, 0, 1, 2, copies > 2 ? 3 : 0);
	rig_run(r, 20);
}

void rig_finish(struct rig *r)
{
	if (r->broken != NULL)
		fail_msg("%s", r->broken);
	rig_end(r);
}
