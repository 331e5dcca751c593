#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/master/shell/master_servers_fixture.h"

bool has_registered(const void *message, uint64_t n)
{
	return ((const Catena__ServerPush *)message)->n_registered >= n;
}

bool has_map_with_chains(const void *message, uint64_t unused)
{
	const Catena__ServerPush *push = message;
	const Catena__ClusterMap *map;

	if (push->n_maps == 0)
		return false;
	map = push->maps[push->n_maps - 1];
	return map->pools[0]->chains[0]->epoch != 0;
}

bool has_online(const void *message, uint64_t n)
{
	const Catena__ServerPush *push = message;
	const Catena__ClusterMap *map;
	uint64_t online = 0;

	if (push->n_maps == 0)
		return false;
	map = push->maps[push->n_maps - 1];
	for (size_t i = 0; i < map->n_servers; i++)
		online += map->servers[i]->online ? 1 : 0;
	return online == n;
}

bool has_removes(const void *message, uint64_t n)
{
	return ((const Catena__ServerPush *)message)->n_removes >= n;
}

bool has_server_renewed(const void *message, uint64_t sequence)
{
	const Catena__ServerPush *push = message;

	for (size_t i = 0; i < push->n_renewed; i++)
		if (push->renewed[i]->sequence == sequence)
			return true;
	return false;
}

uint64_t told_instance;
struct state_seen told_seen;

struct peer *server_connect_with(const struct registration *r, const char *second_uuid)
{
	struct peer *p = peer_open(&fx.server_certs[r->cert], PATH);
	Catena__Register message = CATENA__REGISTER__INIT, *messages[1] = {&message};
	Catena__TargetReport report = CATENA__TARGET_REPORT__INIT, second = report;
	Catena__TargetReport *reports[2] = {&report, &second};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

	message.cluster = (char *)r->cluster;
	message.name = (char *)r->name;
	message.address = (char *)r->address;
	message.workers = 2;
	message.protocol = 1;
	message.instance = told_instance;
	message.n_targets = second_uuid == NULL ? 1 : 2;
	message.targets = reports;
	second.uuid = (char *)second_uuid;
	second.capacity = 1 << 30;
	second.life = 1;
	report.uuid = (char *)r->uuid;
	report.capacity = 1 << 30;
	report.used = 1 << 20;
	report.life = r->life;
	report.seen_life = told_seen.life;
	report.seen_chance = told_seen.chance;
	report.seen_version = told_seen.version;
	report.seen_index = told_seen.index;
	batch.n_registrations = 1;
	batch.registrations = messages;
	peer_send(p, &batch.base);
	return p;
}

struct peer *server_connect(const struct registration *r)
{
	return server_connect_with(r, NULL);
}

static struct peer *server_of_life(int n, uint64_t life)
{
	char name[32], address[32], uuid[40];
	struct registration r = {CLUSTER, name, address, uuid, n - 1, life};

	snprintf(name, sizeof(name), "store-%d", n);
	snprintf(address, sizeof(address), "127.0.0.1:%d", 7400 + n);
	snprintf(uuid, sizeof(uuid), "00000000-0000-0000-0000-00000000000%d", n);
	return server_connect(&r);
}

struct peer *server_up_again(int n, uint64_t life, uint64_t *server_id, uint32_t *target_id)
{
	struct peer *p = server_of_life(n, life);
	Catena__ServerPush *push = server_push(p, has_registered, 1);

	assert_non_null(push);
	assert_int_equal(push->registered[0]->error, 0);
	assert_int_equal(push->registered[0]->n_targets, 1);
	assert_int_equal(push->registered[0]->lease_ns, fx.config.serving_lease_ns);
	assert_int_not_equal(push->registered[0]->map_version, 0);
	*server_id = push->registered[0]->server_id;
	*target_id = push->registered[0]->targets[0]->target_id;
	assert_int_not_equal(*server_id, 0);
	assert_int_not_equal(*target_id, 0);
	free_push(push);
	return p;
}

struct peer *server_up(int n, uint64_t *server_id, uint32_t *target_id)
{
	return server_up_again(n, 0, server_id, target_id);
}

void heartbeat(struct peer *p, uint64_t sequence, uint32_t target_id, uint64_t used)
{
	Catena__Heartbeat message = CATENA__HEARTBEAT__INIT, *messages[1] = {&message};
	Catena__TargetReport report = CATENA__TARGET_REPORT__INIT, *reports[1] = {&report};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

	message.sequence = sequence;
	message.n_targets = 1;
	message.targets = reports;
	report.target_id = target_id;
	report.capacity = 1 << 30;
	report.used = used;
	batch.n_heartbeats = 1;
	batch.heartbeats = messages;
	peer_send(p, &batch.base);
}

void expect_refused(const struct registration *r, int error)
{
	struct peer *p = server_connect(r);
	Catena__ServerPush *push = server_push(p, has_registered, 1);

	assert_non_null(push);
	assert_int_equal(push->registered[0]->error, error);
	assert_true(push->registered[0]->message[0] != '\0');
	free_push(push);
	peer_close(p);
}

static void *beat(void *arg)
{
	struct beating *b = arg;

	for (uint64_t sequence = 1000; !atomic_load(&b->stop); sequence++) {
		pthread_mutex_lock(&b->lock);
		for (int i = 0; i < SERVERS; i++)
			if (b->peers[i] != NULL && !atomic_load(&b->paused[i]))
				heartbeat(b->peers[i], sequence, b->targets[i], 2 << 20);
		pthread_mutex_unlock(&b->lock);
		usleep(100000);
	}
	return NULL;
}

void begin_beating(struct beating *b)
{
	pthread_create(&b->thread, NULL, beat, b);
}

static void end_beating(struct beating *b)
{
	atomic_store(&b->stop, true);
	pthread_join(b->thread, NULL);
}

void three_servers(struct beating *b)
{
	uint64_t server;

	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	for (int i = 0; i < 3; i++)
		b->peers[i] = server_up(i + 1, &server, &b->targets[i]);
	begin_beating(b);
}

void set_peer(struct beating *b, int i, struct peer *peer, struct peer **old)
{
	pthread_mutex_lock(&b->lock);
	*old = b->peers[i];
	b->peers[i] = peer;
	pthread_mutex_unlock(&b->lock);
}

void close_all(struct beating *b)
{
	end_beating(b);
	for (int i = 0; i < SERVERS; i++)
		if (b->peers[i] != NULL)
			peer_close(b->peers[i]);
}
