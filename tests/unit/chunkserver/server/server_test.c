/* Goal: a chunkserver serves the targets that can be opened, and leaves in order: others take over
 * first, and its port is closed last. Method: a whole server on the test's loop, with a master that
 * says what the test wants. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <time.h>
#include "chunkserver/server/server.h"
#include "chunkserver/store/store.h"
#include "common/os/clock.h"
#include "common/cluster/cluster_map.h"
#include "tests/lib/catena_ca.h"
#include "tests/unit/chunkserver/server/server_master.h"
#include "tests/lib/rpc_end.h"

#define WAIT_NS (10 * NS_PER_SEC)

static char dir[CA_PATH_MAX], ca[CA_PATH_MAX], address[64], error[512];
static char one[CA_PATH_MAX + 8], two[CA_PATH_MAX + 8];
static char *paths[2] = {one, two};
static struct ca_files master_cert, server_cert;
static struct tls_identity self;
static struct config config;
static uv_loop_t loop;
static struct server *server;
static bool has_left;

static int group_setup(void **state)
{
	ca_temp_dir(dir);
	snprintf(ca, sizeof(ca), "%.200s/ca", dir);
	ca_init(ca, "test");
	ca_issue(ca, "master", "m1", NULL, &master_cert);
	ca_issue(ca, "chunkserver", "cs", NULL, &server_cert);
	rpc_init();
	return tls_files_check(&server_cert.files, TLS_ROLE_CHUNKSERVER, &self, error,
			       sizeof(error));
}

static int group_teardown(void **state)
{
	rpc_end();
	tree_remove(dir);
	return 0;
}

static int setup(void **state)
{
	snprintf(one, sizeof(one), "%s/one", dir);
	snprintf(two, sizeof(two), "%s/two", dir);
	tree_remove(one);
	tree_remove(two);
	memset(&config, 0, sizeof(config));
	has_left = false;
	server = NULL;
	if (server_master_start(&master_cert.files, address, sizeof(address)) != 0)
		return -1;
	config.listen = (char *)(uintptr_t) "127.0.0.1:0";
	config.advertise = config.host = config.rack = config.zone = (char *)(uintptr_t) "";
	config.master = address;
	config.ca = server_cert.ca;
	config.cert = server_cert.cert;
	config.key = server_cert.key;
	config.workers = 2;
	config.memory = 32u << 20;
	config.targets.items = paths;
	config.targets.count = 2;
	error[0] = '\0';
	return uv_loop_init(&loop);
}

static void make(const char *path)
{
	char why[256];

	assert_int_equal(store_init(path, "test", why, sizeof(why)), 0);
}

static int open_server(void)
{
	return server_open(&loop, &config, &self, &server, error, sizeof(error));
}

static int teardown(void **state)
{
	if (server != NULL) {
		server_stop(server);
		uv_run(&loop, UV_RUN_DEFAULT);
		server_free(server);
	}
	server_master_stop();
	return uv_loop_close(&loop);
}

static void run_for(uint64_t ns)
{
	uint64_t until = clock_monotonic_ns() + ns;

	while (clock_monotonic_ns() < until) {
		uv_run(&loop, UV_RUN_NOWAIT);
		nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MSEC}, NULL);
	}
}

static void wait_for(const unsigned *count, unsigned least)
{
	uint64_t until = clock_monotonic_ns() + WAIT_NS;

	while (counted(count) < least && clock_monotonic_ns() < until)
		run_for(2 * NS_PER_MSEC);
	assert_true(counted(count) >= least);
}

/* ---- targets that cannot be opened ---- */

static void test_a_target_that_cannot_be_opened_does_not_keep_the_others(void **state)
{
	Catena__ServerBatch *batch;

	make(two);
	assert_int_equal(open_server(), 0);
	assert_int_equal(server_targets(server), 1);
	wait_for(&master.registrations, 1);
	batch = take(&master.last_register);
	assert_int_equal(batch->registrations[0]->n_targets, 1);
	assert_int_equal(batch->registrations[0]->targets[0]->life & UINT32_MAX, 1);
	done_with(batch);
}

static void test_without_any_target_it_does_not_start(void **state)
{
	assert_int_equal(open_server(), -ENOENT);
	assert_non_null(strstr(error, two));
	config.targets.count = 1;
	assert_int_equal(open_server(), -ENOENT);
	assert_non_null(strstr(error, one));
	assert_null(server);
}

static void test_a_target_in_use_keeps_it_from_starting(void **state)
{
	struct store_options options = {.path = one, .cluster = "test"};
	struct store *store;

	make(one);
	make(two);
	assert_int_equal(buf_pool_create(0, &options.pool), 0);
	assert_int_equal(store_open(&options, &store, error, sizeof(error)), 0);
	assert_int_equal(open_server(), -EBUSY);
	assert_non_null(strstr(error, one));
	assert_null(server);
	store_close(store);
	buf_pool_destroy(options.pool);
}

/* ---- leaving ---- */

static void on_left(void *user)
{
	has_left = true;
}

static uint64_t instance_said = 77, life_said = 5, chance_said = 6, index_said;

/* Answers the last registration; the target @refused (2: none) gets no number. */
static void refuse_one(unsigned refused)
{
	Catena__TargetReport reports[2], *pointers[2] = {&reports[0], &reports[1]};
	Catena__Registered message = CATENA__REGISTERED__INIT, *messages[1] = {&message};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;
	Catena__ServerBatch *batch;

	batch = take(&master.last_register);
	assert_int_equal(batch->registrations[0]->n_targets, 2);
	for (unsigned i = 0; i < 2; i++) {
		catena__target_report__init(&reports[i]);
		reports[i].uuid = batch->registrations[0]->targets[i]->uuid;
		reports[i].target_id = i == refused ? 0 : 10 + i;
		reports[i].error = i == refused ? ESTALE : 0;
	}
	message.server_id = 100;
	message.instance = instance_said;
	message.life = life_said;
	message.chance = chance_said;
	message.index = index_said;
	message.lease_ns = 2 * NS_PER_SEC;
	message.targets = pointers;
	message.n_targets = 2;
	push.registered = messages;
	push.n_registered = 1;
	say(&push);
	done_with(batch);
}

static void answer_registration(unsigned registrations, unsigned refused)
{
	unsigned heartbeats = counted(&master.heartbeats);

	wait_for(&master.registrations, registrations + 1);
	refuse_one(refused);
	wait_for(&master.heartbeats, heartbeats + 1);
}

static void start_with(unsigned refused)
{
	unsigned registrations = counted(&master.registrations);

	assert_int_equal(open_server(), 0);
	assert_int_equal(server_targets(server), 2);
	answer_registration(registrations, refused);
}

static void start_and_register(void)
{
	start_with(2);
}

static void register_both(void)
{
	make(one);
	make(two);
	start_and_register();
}

/* One partition, of targets 10 and 11 (ours) and 12, with these states (0: not there). */
static void say_map(uint64_t version, const uint32_t states[3])
{
	Catena__Server servers[2], *server_pointers[2] = {&servers[0], &servers[1]};
	Catena__Target targets[3], *target_pointers[3] = {&targets[0], &targets[1], &targets[2]};
	Catena__ChainMember members[3], *member_pointers[3];
	Catena__Chain chain = CATENA__CHAIN__INIT, *chains[1] = {&chain};
	Catena__Pool pool = CATENA__POOL__INIT, *pools[1] = {&pool};
	Catena__ClusterMap map = CATENA__CLUSTER_MAP__INIT, *maps[1] = {&map};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;

	for (unsigned i = 0; i < 2; i++) {
		catena__server__init(&servers[i]);
		servers[i].id = 100 + i;
		servers[i].name = (char *)(uintptr_t) "cs";
		servers[i].address = (char *)(uintptr_t) "127.0.0.1:1";
		servers[i].host = servers[i].rack = servers[i].zone = (char *)(uintptr_t) "";
		servers[i].workers = 1;
		servers[i].online = true;
	}
	/* In-sync ones come first. */
	for (uint32_t state = MEMBER_IN_SYNC; state <= MEMBER_OFFLINE; state++) {
		for (unsigned i = 0; i < 3; i++) {
			Catena__ChainMember *member = &members[chain.n_members];

			if (states[i] != state)
				continue;
			catena__chain_member__init(member);
			member->target_id = 10 + i;
			member->state = state;
			member_pointers[chain.n_members++] = member;
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		catena__target__init(&targets[i]);
		targets[i].id = 10 + i;
		targets[i].server_id = i < 2 ? 100 : 101;
		targets[i].uuid = (char *)(uintptr_t) "01234567-89ab-4def-8123-456789abcdef";
	}
	chain.epoch = version;
	chain.members = member_pointers;
	pool.id = 1;
	pool.copies = 2;
	pool.partitions = 1;
	pool.chunk_size = CHUNK_SIZE_DEFAULT;
	pool.name = (char *)(uintptr_t) "default";
	pool.chains = chains;
	pool.n_chains = 1;
	map.version = version;
	map.cluster = (char *)(uintptr_t) "test";
	map.pools = pools;
	map.n_pools = 1;
	map.servers = server_pointers;
	map.n_servers = 2;
	map.targets = target_pointers;
	map.n_targets = 3;
	push.maps = maps;
	push.n_maps = 1;
	say(&push);
}

/* Milliseconds until it has left. */
static uint64_t leave(void)
{
	uint64_t from = clock_monotonic_ns();

	server_leave(server, on_left, NULL);
	while (!has_left && clock_monotonic_ns() < from + WAIT_NS)
		run_for(2 * NS_PER_MSEC);
	assert_true(has_left);
	return (clock_monotonic_ns() - from) / NS_PER_MSEC;
}

/* ---- which master ---- */

static struct store_seen seen_by(unsigned index)
{
	struct store_options options = {.path = paths[index], .cluster = "test"};
	struct store_seen seen;
	struct store *store;

	assert_int_equal(buf_pool_create(0, &options.pool), 0);
	assert_int_equal(store_open(&options, &store, error, sizeof(error)), 0);
	store_seen(store, &seen);
	store_close(store);
	buf_pool_destroy(options.pool);
	return seen;
}

static void end_server(void)
{
	server_stop(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	server_free(server);
	server = NULL;
}

static void open_and_answer(void)
{
	unsigned registrations = counted(&master.registrations);

	assert_int_equal(open_server(), 0);
	wait_for(&master.registrations, registrations + 1);
	refuse_one(2);
}

/* @told: the registration counts, so heartbeats come. */
static void expect_taken(bool told)
{
	unsigned heartbeats = counted(&master.heartbeats);

	run_for(300 * NS_PER_MSEC);
	assert_int_equal(counted(&master.heartbeats) > heartbeats, told);
}

static void test_a_master_that_another_one_has_overtaken_is_refused(void **state)
{
	struct store_seen seen;

	make(one);
	make(two);
	open_and_answer();
	expect_taken(true);
	end_server();
	seen = seen_by(0);
	assert_int_equal(seen.life, 5);
	assert_int_equal(seen.chance, 6);
	assert_int_equal(seen.server_id, 100);
	assert_int_equal(seen.target_id, 10);
	life_said = 4; /* an older one */
	open_and_answer();
	expect_taken(false);
	end_server();
	life_said = 5; /* the same start, of another copy */
	chance_said = 7;
	open_and_answer();
	expect_taken(false);
	end_server();
	chance_said = 6;
	instance_said = 78; /* made anew */
	open_and_answer();
	expect_taken(false);
	end_server();
	instance_said = 77;
	open_and_answer();
	expect_taken(true);
	end_server();
	assert_int_equal(seen_by(0).index, 0);
	index_said = 42;
	open_and_answer();
	expect_taken(true);
	end_server();
	assert_int_equal(seen_by(0).index, 42);
	index_said = 7; /* of the log of another life */
	life_said = 6;  /* the next start */
	open_and_answer();
	expect_taken(true);
	end_server();
	assert_int_equal(seen_by(1).life, 6);
	assert_int_equal(seen_by(1).index, 7);
	life_said = 5;
	index_said = 0;
}

static void test_it_leaves_at_once_when_there_is_no_master(void **state)
{
	make(one);
	make(two);
	assert_int_equal(open_server(), 0);
	assert_in_range(leave(), 0, 500);
}

static void test_it_leaves_at_once_when_no_chain_needs_it(void **state)
{
	register_both();
	/* Nobody else has this partition. */
	say_map(5, (uint32_t[]){MEMBER_IN_SYNC, MEMBER_SYNCING, MEMBER_OFFLINE});
	run_for(300 * NS_PER_MSEC);
	assert_in_range(leave(), 0, 500);
}

static void test_it_waits_until_others_have_taken_over(void **state)
{
	Catena__ServerBatch *batch;
	unsigned before;

	register_both();
	say_map(5, (uint32_t[]){MEMBER_IN_SYNC, 0, MEMBER_IN_SYNC});
	run_for(300 * NS_PER_MSEC);
	before = counted(&master.heartbeats);
	server_leave(server, on_left, NULL);
	wait_for(&master.heartbeats, before + 1);
	batch = take(&master.last_heartbeat);
	assert_true(batch->heartbeats[batch->n_heartbeats - 1]->leaving);
	done_with(batch);
	run_for(500 * NS_PER_MSEC);
	assert_false(has_left);
	/* One that is being made equal is not out yet. */
	say_map(6, (uint32_t[]){MEMBER_OFFLINE, MEMBER_SYNCING, MEMBER_IN_SYNC});
	run_for(300 * NS_PER_MSEC);
	assert_false(has_left);
	say_map(7, (uint32_t[]){MEMBER_OFFLINE, MEMBER_OFFLINE, MEMBER_IN_SYNC});
	run_for(300 * NS_PER_MSEC);
	assert_true(has_left);
	/* Others wait for that. */
	batch = take(&master.last_heartbeat);
	assert_int_equal(batch->heartbeats[batch->n_heartbeats - 1]->map_version, 7);
	done_with(batch);
}

static void test_it_waits_no_longer_than_it_should(void **state)
{
	register_both();
	say_map(5, (uint32_t[]){MEMBER_IN_SYNC, 0, MEMBER_IN_SYNC});
	run_for(300 * NS_PER_MSEC);
	assert_in_range(leave(), 1900, 4000);
}

/* ---- damaged targets ---- */

/* Like a target whose db comes from an older copy of it. */
static void lose_the_mark(const char *path)
{
	char synced[CA_PATH_MAX + 32];

	snprintf(synced, sizeof(synced), "%s/synced", path);
	assert_int_equal(unlink(synced), 0);
}

static bool reports_damage(unsigned target)
{
	Catena__ServerBatch *batch = take(&master.last_heartbeat);
	bool damaged = batch->heartbeats[batch->n_heartbeats - 1]->targets[target]->damaged;

	done_with(batch);
	return damaged;
}

static void renew(void)
{
	Catena__ServerBatch *batch = take(&master.last_heartbeat);
	Catena__Renew message = CATENA__RENEW__INIT, *messages[1] = {&message};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;

	message.sequence = batch->heartbeats[batch->n_heartbeats - 1]->sequence;
	push.renewed = messages;
	push.n_renewed = 1;
	say(&push);
	done_with(batch);
}

static void stop(void)
{
	server_stop(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	server_free(server);
	server = NULL;
}

static void test_damage_is_reported_until_the_master_has_settled_it(void **state)
{
	register_both();
	stop();
	lose_the_mark(two);
	start_and_register();
	assert_true(reports_damage(1));
	/* A process that ends before the master has settled it tells it again. */
	stop();
	start_and_register();
	assert_true(reports_damage(1));
	wait_for(&master.heartbeats, counted(&master.heartbeats) + 1);
	renew();
	run_for(500 * NS_PER_MSEC);
	wait_for(&master.heartbeats, counted(&master.heartbeats) + 1);
	assert_false(reports_damage(1));
	stop();
	start_and_register();
	assert_false(reports_damage(1));
}

/* Its number it gets later, from the same process. */
static void test_a_refused_target_keeps_what_it_has_until_it_is_taken(void **state)
{
	unsigned registrations;

	register_both();
	stop();
	lose_the_mark(two);
	start_with(1);
	say_map(5, (uint32_t[]){MEMBER_IN_SYNC, 0, MEMBER_IN_SYNC});
	wait_for(&master.heartbeats, counted(&master.heartbeats) + 1);
	renew();
	run_for(500 * NS_PER_MSEC);
	wait_for(&master.heartbeats, counted(&master.heartbeats) + 1);
	assert_true(reports_damage(1));
	registrations = counted(&master.registrations);
	pthread_mutex_lock(&master.mutex);
	rpc_stream_close(master.stream);
	pthread_mutex_unlock(&master.mutex);
	answer_registration(registrations, 2);
	wait_for(&master.heartbeats, counted(&master.heartbeats) + 1);
	renew();
	run_for(500 * NS_PER_MSEC);
	wait_for(&master.heartbeats, counted(&master.heartbeats) + 1);
	assert_false(reports_damage(1));
	/* One that may be in chains by now is not refused alone. */
	registrations = counted(&master.registrations);
	pthread_mutex_lock(&master.mutex);
	rpc_stream_close(master.stream);
	pthread_mutex_unlock(&master.mutex);
	wait_for(&master.registrations, registrations + 1);
	refuse_one(1);
	wait_for(&master.registrations, registrations + 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_target_that_cannot_be_opened_does_not_keep_the_others),
		TEST(test_without_any_target_it_does_not_start),
		TEST(test_a_target_in_use_keeps_it_from_starting),
		TEST(test_a_master_that_another_one_has_overtaken_is_refused),
		TEST(test_it_leaves_at_once_when_there_is_no_master),
		TEST(test_it_leaves_at_once_when_no_chain_needs_it),
		TEST(test_it_waits_until_others_have_taken_over),
		TEST(test_it_waits_no_longer_than_it_should),
		TEST(test_damage_is_reported_until_the_master_has_settled_it),
		TEST(test_a_refused_target_keeps_what_it_has_until_it_is_taken),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
