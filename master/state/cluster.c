/* cluster.c - pools, servers, targets and chains: their records, registrations, and the map
 * made of them. All of it is in memory too; a change is made in a copy of the record, written, and
 * then taken over. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/os/log.h"
#include "master/state/internal.h"

#define LOG_MODULE "state"

/* Pools and targets of format 1 have no failure domain, life and flags. */
#define RECORD_FORMAT      1
#define RECORD_FORMAT_2    2
#define TARGET_DRAINING    1u
#define PARTITIONS_MAX     65536u
#define CHAIN_BYTES_MAX    (10 + CHAIN_MEMBERS_MAX * 5)
#define RECORD_BYTES_MAX   (32 + 5 * (MAP_NAME_MAX + 2))
#define REGISTERED_AT_ONCE 256u /* targets of one server */

/* ---- records ---- */

static uint8_t *add_text(uint8_t *at, const char *text)
{
	size_t size = strlen(text);

	if (size >= MAP_NAME_MAX)
		size = MAP_NAME_MAX - 1;

	put_le16(at, (uint16_t)size);
	memcpy(at + 2, text, size);
	return at + 2 + size;
}

static void get_text(struct reader *r, char *out, size_t room)
{
	uint16_t size = reader_le16(r);
	const uint8_t *bytes = reader_bytes(r, size);

	if (bytes == NULL || size >= room) {
		r->failed = true;
		return;
	}
	memcpy(out, bytes, size);
	out[size] = '\0';
}

static void put_pool(struct kv_batch *batch, const struct state_pool *pool)
{
	uint8_t key[META_KEY_MAX], value[RECORD_BYTES_MAX];

	value[0] = RECORD_FORMAT_2;
	put_le32(value + 1, pool->copies);
	put_le32(value + 5, pool->partitions);
	put_le32(value + 9, pool->chunk_size);
	value[13] = (uint8_t)pool->failure_domain;
	kv_batch_put(batch, FAMILY_META, key, key_meta32(key, META_POOL, pool->id, 0), value,
		     (size_t)(add_text(value + 14, pool->name) - value));
}

void cluster_put_server(struct kv_batch *batch, const struct map_server *server)
{
	uint8_t key[META_KEY_MAX], value[RECORD_BYTES_MAX], *at;

	value[0] = RECORD_FORMAT;
	put_le32(value + 1, server->workers);
	at = add_text(value + 5, server->name);
	at = add_text(at, server->address);
	at = add_text(at, server->host);
	at = add_text(at, server->rack);
	at = add_text(at, server->zone);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SERVER, server->id), value,
		     (size_t)(at - value));
}

void cluster_put_target(struct kv_batch *batch, const struct state_target *target)
{
	uint8_t key[META_KEY_MAX], value[RECORD_BYTES_MAX];

	value[0] = RECORD_FORMAT_2;
	put_le64(value + 1, target->server_id);
	put_le64(value + 9, target->life);
	value[17] = target->draining ? TARGET_DRAINING : 0;
	kv_batch_put(batch, FAMILY_META, key, key_meta32(key, META_TARGET, target->id, 0), value,
		     (size_t)(add_text(value + 18, target->uuid) - value));
}

void cluster_put_recovery(struct kv_batch *batch, const struct state_recovery *recovery)
{
	uint8_t key[META_KEY_MAX], value[10];

	value[0] = RECORD_FORMAT;
	put_le64(value + 1, recovery->rate);
	value[9] = recovery->paused ? 1 : 0;
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_RECOVERY, 0), value,
		     sizeof(value));
}

int cluster_put_fence(struct kv_batch *batch, const uint64_t *servers, size_t count)
{
	uint8_t key[META_KEY_MAX], *value = malloc(1 + count * 8);

	if (value == NULL)
		return -ENOMEM;
	value[0] = RECORD_FORMAT;
	for (size_t i = 0; i < count; i++)
		put_le64(value + 1 + i * 8, servers[i]);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_FENCE, 0), value, 1 + count * 8);
	free(value);
	return 0;
}

void cluster_put_chain(struct kv_batch *batch, uint32_t pool, uint32_t partition,
		       const struct map_chain *chain)
{
	uint8_t key[META_KEY_MAX], value[CHAIN_BYTES_MAX], *at = value + 10;

	value[0] = RECORD_FORMAT;
	put_le64(value + 1, chain->epoch);
	value[9] = (uint8_t)chain->count;
	for (uint32_t i = 0; i < chain->count; i++, at += 5) {
		put_le32(at, chain->members[i].target_id);
		at[4] = (uint8_t)chain->members[i].state;
	}
	kv_batch_put(batch, FAMILY_META, key, key_meta32(key, META_CHAIN, pool, partition), value,
		     (size_t)(at - value));
}

void cluster_put_default_pool(struct kv_batch *batch, const struct state_options *options)
{
	struct state_pool pool = {
		.id = DEFAULT_POOL,
		.copies = options->copies,
		.partitions = options->partitions,
		.chunk_size = options->chunk_size,
		.failure_domain = options->failure_domain,
		.name = "default",
	};

	put_pool(batch, &pool);
}

/* ---- loading ---- */

/* One more place at the end of an array; NULL: out of memory. */
static void *grow(void **array, size_t *count, size_t item)
{
	void *bigger = realloc(*array, (*count + 1) * item);

	if (bigger == NULL)
		return NULL;
	*array = bigger;
	memset((char *)bigger + *count * item, 0, item);
	return (char *)bigger + (*count)++ * item;
}

static int load_pool(struct cluster *cluster, const uint8_t *key, uint8_t format, struct reader *r)
{
	struct state_pool *pool =
		grow((void **)&cluster->pools, &cluster->pool_count, sizeof(*pool));

	if (pool == NULL)
		return -ENOMEM;
	pool->id = get_be32(key + 1);
	pool->copies = reader_le32(r);
	pool->partitions = reader_le32(r);
	pool->chunk_size = reader_le32(r);
	if (format == RECORD_FORMAT_2)
		pool->failure_domain = (enum failure_domain)reader_u8(r);
	get_text(r, pool->name, sizeof(pool->name));
	if (!reader_done(r) || pool->partitions == 0 || pool->partitions > PARTITIONS_MAX ||
	    pool->failure_domain > FAILURE_DOMAIN_ZONE)
		return -EUCLEAN;
	pool->chains = calloc(pool->partitions, sizeof(*pool->chains));
	return pool->chains == NULL ? -ENOMEM : 0;
}

static int load_server(struct cluster *cluster, const uint8_t *key, uint8_t format,
		       struct reader *r)
{
	struct map_server *server =
		grow((void **)&cluster->servers, &cluster->server_count, sizeof(*server));

	if (server == NULL)
		return -ENOMEM;
	server->id = get_be64(key + 1);
	server->workers = reader_le32(r);
	get_text(r, server->name, sizeof(server->name));
	get_text(r, server->address, sizeof(server->address));
	get_text(r, server->host, sizeof(server->host));
	get_text(r, server->rack, sizeof(server->rack));
	get_text(r, server->zone, sizeof(server->zone));
	return reader_done(r) ? 0 : -EUCLEAN;
}

static int load_target(struct cluster *cluster, const uint8_t *key, uint8_t format,
		       struct reader *r)
{
	struct state_target *target =
		grow((void **)&cluster->targets, &cluster->target_count, sizeof(*target));

	if (target == NULL)
		return -ENOMEM;
	target->id = get_be32(key + 1);
	target->server_id = reader_le64(r);
	if (format == RECORD_FORMAT_2) {
		target->life = reader_le64(r);
		target->draining = (reader_u8(r) & TARGET_DRAINING) != 0;
	}
	get_text(r, target->uuid, sizeof(target->uuid));
	return reader_done(r) ? 0 : -EUCLEAN;
}

struct state_pool *cluster_find_pool(struct cluster *cluster, uint32_t id)
{
	for (size_t i = 0; i < cluster->pool_count; i++)
		if (cluster->pools[i].id == id)
			return &cluster->pools[i];
	return NULL;
}

/* The array is in order of ids, as they are given. */
struct state_target *cluster_find_target(struct cluster *cluster, uint32_t id)
{
	size_t low = 0, high = cluster->target_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (cluster->targets[middle].id == id)
			return &cluster->targets[middle];
		if (cluster->targets[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int load_recovery(struct cluster *cluster, const uint8_t *key, uint8_t format,
			 struct reader *r)
{
	cluster->recovery.rate = reader_le64(r);
	cluster->recovery.paused = reader_u8(r) != 0;
	return reader_done(r) ? 0 : -EUCLEAN;
}

static int load_fence(struct cluster *cluster, const uint8_t *key, uint8_t format, struct reader *r)
{
	while (!reader_done(r)) {
		uint64_t *server =
			grow((void **)&cluster->fenced, &cluster->fenced_count, sizeof(*server));

		if (server == NULL)
			return -ENOMEM;
		*server = reader_le64(r);
		if (r->failed)
			return -EUCLEAN;
	}
	return 0;
}

static int load_chain(struct cluster *cluster, const uint8_t *key, uint8_t format, struct reader *r)
{
	struct state_pool *pool = cluster_find_pool(cluster, get_be32(key + 1));
	uint32_t partition = get_be32(key + 5);
	struct map_chain chain = {0};

	if (pool == NULL || partition >= pool->partitions)
		return -EUCLEAN;
	chain.epoch = reader_le64(r);
	chain.count = reader_u8(r);
	if (chain.count > CHAIN_MEMBERS_MAX)
		return -EUCLEAN;
	for (uint32_t i = 0; i < chain.count; i++) {
		chain.members[i].target_id = reader_le32(r);
		chain.members[i].state = (enum member_state)reader_u8(r);
	}
	pool->chains[partition] = chain;
	return reader_done(r) ? 0 : -EUCLEAN;
}

/* Calls @load for each record of a tag, in order of ids. */
static int load_tag(struct state *state, enum meta_tag tag,
		    int (*load)(struct cluster *cluster, const uint8_t *key, uint8_t format,
				struct reader *r))
{
	const uint8_t start = (uint8_t)tag, end = (uint8_t)(tag + 1);
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	int rc = kv_iter_open(state->kv, FAMILY_META, &start, 1, &end, 1, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		struct reader r = reader_on(value, size);

		uint8_t format = reader_u8(&r);

		rc = -EUCLEAN;
		if (key_size == META_KEY_MAX &&
		    (format == RECORD_FORMAT || format == RECORD_FORMAT_2))
			rc = load(&state->cluster, key, format, &r);
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	return rc;
}

int cluster_load(struct state *state)
{
	int rc = load_tag(state, META_POOL, load_pool);

	if (rc == 0)
		rc = load_tag(state, META_CHAIN, load_chain);
	if (rc == 0)
		rc = load_tag(state, META_SERVER, load_server);
	if (rc == 0)
		rc = load_tag(state, META_TARGET, load_target);
	if (rc == 0)
		rc = load_tag(state, META_RECOVERY, load_recovery);
	if (rc == 0)
		rc = load_tag(state, META_FENCE, load_fence);
	return rc;
}

void cluster_unload(struct state *state)
{
	struct cluster *cluster = &state->cluster;

	for (size_t i = 0; i < cluster->pool_count; i++)
		free(cluster->pools[i].chains);
	free(cluster->pools);
	free(cluster->servers);
	free(cluster->targets);
	free(cluster->fenced);
	memset(cluster, 0, sizeof(*cluster));
}

/* ---- registration ---- */

static struct map_server *server_by_name(const struct cluster *cluster, const char *name)
{
	for (size_t i = 0; i < cluster->server_count; i++)
		if (strcmp(cluster->servers[i].name, name) == 0)
			return &cluster->servers[i];
	return NULL;
}

static struct state_target *target_by_uuid(const struct cluster *cluster, const char *uuid)
{
	for (size_t i = 0; i < cluster->target_count; i++)
		if (strcmp(cluster->targets[i].uuid, uuid) == 0)
			return &cluster->targets[i];
	return NULL;
}

static bool terminated(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static bool registration_ok(const struct map_server *server, const struct map_target *targets,
			    size_t count)
{
	if (!terminated(server->name, sizeof(server->name)) || server->name[0] == '\0' ||
	    !terminated(server->address, sizeof(server->address)) ||
	    !terminated(server->host, sizeof(server->host)) ||
	    !terminated(server->rack, sizeof(server->rack)) ||
	    !terminated(server->zone, sizeof(server->zone)) || server->workers == 0 ||
	    count > REGISTERED_AT_ONCE)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!terminated(targets[i].uuid, sizeof(targets[i].uuid)) ||
		    targets[i].uuid[0] == '\0')
			return false;
		for (size_t j = 0; j < i; j++)
			if (strcmp(targets[i].uuid, targets[j].uuid) == 0)
				return false;
	}
	return true;
}

static bool same_server(const struct map_server *a, const struct map_server *b)
{
	return a->workers == b->workers && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->rack, b->rack) == 0 &&
	       strcmp(a->zone, b->zone) == 0;
}

/* Room for what a registration may add, so that nothing can fail after the write. */
static int reserve(struct cluster *cluster, size_t targets)
{
	struct map_server *servers =
		realloc(cluster->servers, (cluster->server_count + 1) * sizeof(*servers));
	struct state_target *bigger;

	if (servers == NULL)
		return -ENOMEM;
	cluster->servers = servers;
	bigger = realloc(cluster->targets, (cluster->target_count + targets + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	cluster->targets = bigger;
	return 0;
}

/* What a target of this server is from now on; *changed when that is news. */
static struct state_target make_target(struct txn *txn, const char *uuid, uint64_t server_id,
				       bool *changed)
{
	const struct state_target *known = target_by_uuid(&txn->state->cluster, uuid);
	struct state_target target = {0};

	*changed = known == NULL || known->server_id != server_id;
	if (known != NULL) {
		target = *known;
	} else {
		target.id = txn->counters.next_target++;
		memcpy(target.uuid, uuid, strlen(uuid) + 1);
	}
	target.server_id = server_id;
	return target;
}

static void take_server(struct cluster *cluster, const struct map_server *server)
{
	struct map_server *known = server_by_name(cluster, server->name);

	/* New ids are the highest, so the array stays in order. */
	if (known == NULL)
		known = &cluster->servers[cluster->server_count++];
	*known = *server;
}

static void take_target(struct cluster *cluster, const struct state_target *target)
{
	struct state_target *known = target_by_uuid(cluster, target->uuid);

	if (known == NULL)
		known = &cluster->targets[cluster->target_count++];
	*known = *target;
}

int state_apply_register(struct state *state, uint64_t index, const struct map_server *server,
			 const struct map_target *targets, size_t target_count)
{
	struct cluster *cluster = &state->cluster;
	struct state_target made[REGISTERED_AT_ONCE];
	const struct map_server *known;
	struct map_server is = *server;
	struct txn *txn;
	bool changed, news;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	if (!registration_ok(server, targets, target_count))
		return -EINVAL;
	rc = reserve(cluster, target_count);
	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	known = server_by_name(cluster, server->name);
	news = known == NULL || !same_server(known, server);
	is.id = known != NULL ? known->id : txn->counters.next_server++;
	is.online = false; /* liveness is not the state's */
	if (news)
		cluster_put_server(txn->batch, &is);
	for (size_t i = 0; i < target_count; i++) {
		made[i] = make_target(txn, targets[i].uuid, is.id, &changed);
		if (changed)
			cluster_put_target(txn->batch, &made[i]);
		news |= changed;
	}
	/* A server that only came back is no news to anybody. */
	if (news)
		txn->counters.map_version++;
	rc = txn_commit(txn, index);
	if (rc != 0)
		return rc;
	take_server(cluster, &is);
	for (size_t i = 0; i < target_count; i++)
		take_target(cluster, &made[i]);
	return 0;
}

uint64_t state_server_id(const struct state *state, const char *name)
{
	const struct map_server *server = server_by_name(&state->cluster, name);

	return server == NULL ? 0 : server->id;
}

uint32_t state_target_id(const struct state *state, const char *uuid)
{
	const struct state_target *target = target_by_uuid(&state->cluster, uuid);

	return target == NULL ? 0 : target->id;
}

uint64_t state_target_life(const struct state *state, const char *uuid)
{
	const struct state_target *target = target_by_uuid(&state->cluster, uuid);

	return target == NULL ? 0 : target->life;
}

/* ---- the map ---- */

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
	int rc = state_ready(state);

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
	if (rc != 0)
		log_error("no cluster map error=%d", rc);
	free_message(&m);
	return rc == 0 ? map : NULL;
}
