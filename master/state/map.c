/* map.c - the cluster map, made of what the state has. */
#include <errno.h>
#include <stdlib.h>
#include "master/records/core.h"
#include "master/state/state.h"

/* Everything that the message of one map points to. */
struct map_message {
	Catena__ClusterMap map;
	Catena__Pool *pools, **pool_pointers;
	Catena__Server *servers, **server_pointers;
	Catena__Target *targets, **target_pointers;
	Catena__Chain *chains, **chain_pointers;
	Catena__ChainMember *members, **member_pointers;
};

static void free_message(struct map_message *m)
{
	free(m->pools);
	free(m->pool_pointers);
	free(m->servers);
	free(m->server_pointers);
	free(m->targets);
	free(m->target_pointers);
	free(m->chains);
	free(m->chain_pointers);
	free(m->members);
	free(m->member_pointers);
}

static bool allocate_message(struct map_message *m, const struct cluster *cluster)
{
	size_t chains = 1, members;

	for (size_t i = 0; i < cluster->pool_count; i++)
		chains += cluster->pools[i].partitions;
	members = chains * CHAIN_MEMBERS_MAX;
	m->pools = calloc(cluster->pool_count + 1, sizeof(*m->pools));
	m->pool_pointers = calloc(cluster->pool_count + 1, sizeof(*m->pool_pointers));
	m->servers = calloc(cluster->server_count + 1, sizeof(*m->servers));
	m->server_pointers = calloc(cluster->server_count + 1, sizeof(*m->server_pointers));
	m->targets = calloc(cluster->target_count + 1, sizeof(*m->targets));
	m->target_pointers = calloc(cluster->target_count + 1, sizeof(*m->target_pointers));
	m->chains = calloc(chains, sizeof(*m->chains));
	m->chain_pointers = calloc(chains, sizeof(*m->chain_pointers));
	m->members = calloc(members, sizeof(*m->members));
	m->member_pointers = calloc(members, sizeof(*m->member_pointers));
	return m->pools != NULL && m->pool_pointers != NULL && m->servers != NULL &&
	       m->server_pointers != NULL && m->targets != NULL && m->target_pointers != NULL &&
	       m->chains != NULL && m->chain_pointers != NULL && m->members != NULL &&
	       m->member_pointers != NULL;
}

static void fill_chain(struct map_message *m, size_t at, const struct map_chain *chain)
{
	size_t member = at * CHAIN_MEMBERS_MAX;

	catena__chain__init(&m->chains[at]);
	m->chain_pointers[at] = &m->chains[at];
	m->chains[at].epoch = chain->epoch;
	m->chains[at].n_members = chain->count;
	m->chains[at].members = &m->member_pointers[member];
	for (uint32_t i = 0; i < chain->count; i++, member++) {
		catena__chain_member__init(&m->members[member]);
		m->members[member].target_id = chain->members[i].target_id;
		m->members[member].state = chain->members[i].state;
		m->member_pointers[member] = &m->members[member];
	}
}

static void fill_pools(struct map_message *m, struct cluster *cluster)
{
	size_t at = 0;

	for (size_t i = 0; i < cluster->pool_count; i++) {
		struct state_pool *pool = &cluster->pools[i];
		Catena__Pool *out = &m->pools[i];

		catena__pool__init(out);
		m->pool_pointers[i] = out;
		out->id = pool->id;
		out->copies = pool->copies;
		out->partitions = pool->partitions;
		out->chunk_size = pool->chunk_size;
		out->failure_domain = pool->failure_domain;
		out->name = pool->name;
		out->n_chains = pool->partitions;
		out->chains = &m->chain_pointers[at];
		for (uint32_t p = 0; p < pool->partitions; p++)
			fill_chain(m, at++, &pool->chains[p]);
	}
	m->map.n_pools = cluster->pool_count;
	m->map.pools = m->pool_pointers;
}

static void fill_members(struct map_message *m, struct cluster *cluster)
{
	for (size_t i = 0; i < cluster->server_count; i++) {
		struct map_server *server = &cluster->servers[i];
		Catena__Server *out = &m->servers[i];

		catena__server__init(out);
		m->server_pointers[i] = out;
		out->id = server->id;
		out->workers = server->workers;
		out->name = server->name;
		out->address = server->address;
		out->host = server->host;
		out->rack = server->rack;
		out->zone = server->zone;
	}
	for (size_t i = 0; i < cluster->target_count; i++) {
		catena__target__init(&m->targets[i]);
		m->target_pointers[i] = &m->targets[i];
		m->targets[i].id = cluster->targets[i].id;
		m->targets[i].server_id = cluster->targets[i].server_id;
		m->targets[i].uuid = cluster->targets[i].uuid;
		m->targets[i].draining = cluster->targets[i].draining;
	}
	m->map.n_servers = cluster->server_count;
	m->map.servers = m->server_pointers;
	m->map.n_targets = cluster->target_count;
	m->map.targets = m->target_pointers;
}

uint64_t state_map_version(const struct state *state)
{
	return state->counters.map_version;
}

struct cluster_map *state_map(struct state *state)
{
	struct map_message m = {.map = CATENA__CLUSTER_MAP__INIT};
	struct cluster_map *map = NULL;
	int rc = core_ready(state);

	if (rc == 0 && !allocate_message(&m, &state->cluster))
		rc = -ENOMEM;
	if (rc == 0) {
		m.map.version = state->counters.map_version;
		m.map.cluster = state->cluster_id;
		m.map.instance = state->instance;
		fill_pools(&m, &state->cluster);
		fill_members(&m, &state->cluster);
		m.map.fenced = state->ended.ids;
		m.map.n_fenced = state->ended.count;
		m.map.session_floor = state_session_floor(state);
		rc = cluster_map_from_message(&m.map, &map);
	}
	if (rc != 0 && state->report != NULL)
		state->report("no cluster map can be made");
	free_message(&m);
	return rc == 0 ? map : NULL;
}
