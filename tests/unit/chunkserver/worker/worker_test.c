/* Goal: what a worker makes of a new map: chains and links where something has changed and only
 * there, chunks deleted of partitions that are certainly kept elsewhere and of no others, never
 * while a partition is the target's again; and what it tells the master. Method: a worker put
 * together by hand on the test's loop, so that each step of it can be stopped at. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/ids.h"
#include "tests/lib/store_fixture.h"
#include "chunkserver/server/acceptor.h"
#include "chunkserver/worker/execute.h"
#include "chunkserver/worker/links.h"
#include "chunkserver/worker/members.h"
#include "chunkserver/worker/peers.h"
#include "chunkserver/worker/place.h"
#include "chunkserver/worker/purge.h"
#include "chunkserver/worker/status.h"
#include "tests/lib/catena_ca.h"

#define US         100u /* server */
#define OTHER      101u
#define AWAY       102u
#define OUR_TARGET 10u
#define PARTITIONS 16u

static struct fixture fx;
static struct worker worker;
static struct copy_rate copy_rate;
static SSL_CTX *tls, *client_tls;
static char dir[CA_PATH_MAX], ca_dir[CA_PATH_MAX], log_path[CA_PATH_MAX + 8];
static unsigned changes;

/* The map as it is going to be next. */
static struct map_chain chains[PARTITIONS];
static struct map_pool pools[1] = {
	{.id = 1, .copies = 2, .partitions = PARTITIONS, .chunk_size = CHUNK_SIZE_DEFAULT}};
static struct map_server servers[3];
static struct map_target targets[3];
static struct cluster_map next_map;

static void map_start(void)
{
	memset(chains, 0, sizeof(chains));
	pools[0].chains = chains;
	for (uint32_t i = 0; i < 3; i++) {
		servers[i] = (struct map_server){.id = US + i,
						 .workers = 2,
						 .online = i != 2,
						 .name = "cs",
						 .address = "127.0.0.1:1",
						 .host = "h"};
		targets[i] = (struct map_target){.id = OUR_TARGET * (i + 1),
						 .server_id = US + i,
						 .uuid = "01234567-89ab-4def-8123-456789abcdef"};
	}
	next_map = (struct cluster_map){.version = 1,
					.cluster = "test",
					.pool_count = 1,
					.server_count = 3,
					.target_count = 3,
					.pools = pools,
					.servers = servers,
					.targets = targets};
}

static void chain_is(uint32_t partition, uint64_t epoch, struct chain_member a,
		     struct chain_member b)
{
	chains[partition] = (struct map_chain){
		.epoch = epoch, .count = b.state != 0 ? 2 : 1, .members = {a, b}};
}

#define IN_SYNC(n) ((struct chain_member){OUR_TARGET * (n), MEMBER_IN_SYNC})
#define SYNCING(n) ((struct chain_member){OUR_TARGET * (n), MEMBER_SYNCING})
#define OFFLINE(n) ((struct chain_member){OUR_TARGET * (n), MEMBER_OFFLINE})
#define NOBODY     ((struct chain_member){0})

/* True: it counts. */
static bool map_comes(uint64_t version)
{
	struct cluster_map *map = NULL;
	uint8_t *bytes = NULL;
	size_t size = 0;
	bool counts;

	next_map.version = version;
	assert_int_equal(cluster_map_encode(&next_map, &bytes, &size), 0);
	assert_int_equal(cluster_map_decode(bytes, size, &map), 0);
	free(bytes);
	counts = place_map(&worker, map);
	cluster_map_unref(map);
	return counts;
}

static void publish(void)
{
	assert_true(map_comes(next_map.version + 1));
}

static void on_changed(void *user)
{
	changes++;
}

static int group_setup(void **state)
{
	struct ca_files files, client;
	char error[256];

	ca_temp_dir(dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	snprintf(ca_dir, sizeof(ca_dir), "%.200s/ca", dir);
	ca_init(ca_dir, "test");
	ca_issue(ca_dir, "chunkserver", "cs", NULL, &files);
	ca_issue(ca_dir, "client", "c1", NULL, &client);
	if (tls_context(&client.files, &client_tls, error, sizeof(error)) != 0)
		return -1;
	return tls_context(&files.files, &tls, error, sizeof(error));
}

static int group_teardown(void **state)
{
	SSL_CTX_free(tls);
	SSL_CTX_free(client_tls);
	tree_remove(dir);
	return 0;
}

static int setup(void **state)
{
	static struct worker_target target;

	if (fixture_start(&fx, false) != 0)
		return -1;
	memset(&worker, 0, sizeof(worker));
	memset(&target, 0, sizeof(target));
	memset(&copy_rate, 0, sizeof(copy_rate));
	changes = 0;
	worker.options = (struct worker_options){.index = 0,
						 .workers = 1,
						 .cluster = "test",
						 .tls = tls,
						 .pool = fx.pool,
						 .store_count = 1,
						 .copy_rate = &copy_rate,
						 .events = {.changed = on_changed}};
	worker.targets = &target;
	worker.server_id = US;
	worker.last_command = &worker.commands;
	worker.last_flush = &worker.flushes;
	worker.execute = execute_actions;
	pthread_mutex_init(&worker.lock, NULL);
	uv_loop_init(&worker.loop);
	target.worker = &worker;
	target.store = fx.store;
	target.view = fx.view;
	target.entry.target_id = OUR_TARGET;
	target.env =
		chain_env_new(&execute_chain_ops, &target, sizeof(struct execution), 1ull << 48);
	map_start();
	return buf_pool_create(0, &worker.peer_pool);
}

static int teardown(void **state)
{
	links_close(&worker);
	worker_execute(&worker);
	uv_run(&worker.loop, UV_RUN_DEFAULT);
	links_free(&worker);
	members_free(&worker);
	purge_list_free(worker.targets);
	chain_env_free(worker.targets->env);
	cluster_map_unref(worker.map);
	cluster_map_unref(worker.placed);
	buf_pool_destroy(worker.peer_pool);
	pthread_mutex_destroy(&worker.lock);
	uv_loop_close(&worker.loop);
	fixture_end(&fx);
	return 0;
}

static struct worker_target *target(void)
{
	return &worker.targets[0];
}

static void put_chunks(uint32_t pool, uint32_t partition, uint32_t count, uint64_t epoch)
{
	struct chunk_key key = {.pool = pool, .partition = partition, .file_id = 5};
	struct store_update u;
	struct waited w;

	for (key.index = 0; key.index < count; key.index++) {
		update_fill(&u, &w, STORE_WRITE, &key, 0, 1, 1);
		u.epoch = epoch;
		u.payload = payload_of(&fx, "x", 0, 1);
		assert_int_equal(prepare_wait(&fx, &u), 0);
		assert_int_equal(store_commit(fx.view, &u), 0);
		buf_unref(u.payload);
	}
}

static int chunks(uint32_t pool, uint32_t partition)
{
	static struct chunk_key keys[1000];

	return store_scan(fx.view, pool, partition, NULL, keys, 1000);
}

/* Ticks until nothing is left to be purged, or nothing that may be. */
static void purge_all(void)
{
	for (unsigned i = 0; i < 100; i++) {
		purge_tick(&worker, clock_monotonic_ns());
		while (target()->purging != NULL)
			uv_run(&fx.loop, UV_RUN_ONCE);
	}
}

static void test_chunks_kept_elsewhere_are_deleted_and_no_others(void **state)
{
	for (uint32_t p = 0; p < 8; p++)
		put_chunks(1, p, p == 1 ? 300 : 3, 4);
	put_chunks(1, 4, 1, 9); /* of a later epoch than the map's */
	put_chunks(2, 1, 3, 4); /* of a pool that the map does not have */
	chain_is(0, 5, IN_SYNC(1), NOBODY);
	chain_is(1, 5, IN_SYNC(2), NOBODY);
	/* 2 is not placed: epoch 0 */
	chain_is(3, 5, IN_SYNC(3), NOBODY); /* whose server is away */
	chain_is(4, 5, IN_SYNC(2), NOBODY);
	chain_is(5, 5, OFFLINE(2), NOBODY); /* nobody in-sync */
	chain_is(6, 5, IN_SYNC(2), OFFLINE(1));
	chain_is(7, 5, IN_SYNC(2), SYNCING(1));
	publish();
	purge_all();
	assert_int_equal(chunks(1, 1), 0);
	for (uint32_t p = 0; p < 8; p++)
		assert_int_equal(chunks(1, p), p == 1 ? 0 : 3);
	assert_int_equal(chunks(2, 1), 3);
	/* The doubts are gone. */
	servers[2].online = true;
	chain_is(4, 10, IN_SYNC(2), NOBODY);
	chain_is(5, 6, IN_SYNC(2), NOBODY);
	publish();
	purge_all();
	for (uint32_t p = 3; p < 6; p++)
		assert_int_equal(chunks(1, p), 0);
	assert_int_equal(chunks(1, 0), 3);
	assert_int_equal(chunks(1, 2), 3);
	assert_null(target()->purges);
}

static void test_a_member_is_told_before_its_chunks_go(void **state)
{
	struct member *member;

	put_chunks(1, 0, 3, 4);
	chain_is(0, 5, IN_SYNC(1), NOBODY);
	publish();
	purge_all();
	assert_int_equal(chunks(1, 0), 3);
	chain_is(0, 6, IN_SYNC(2), NOBODY);
	publish();
	member = member_find(&worker, 1, 0, OUR_TARGET);
	assert_non_null(member);
	assert_int_equal(chain_epoch(member->chain), 6);
	assert_false(chain_is_head(member->chain));
	assert_int_equal(chunks(1, 0), 3);
	purge_all();
	assert_int_equal(chunks(1, 0), 0);
}

static void registered(uint32_t number, uint64_t map_version)
{
	place_registered(&worker, US, &number, map_version);
}

/* By the map that we have it is a member that has everything: so it was before its disk was
 * replaced by an older copy. */
static void test_a_target_that_gets_its_number_later_waits_for_a_map(void **state)
{
	struct member *member;

	target()->entry = (struct target_entry){0};
	put_chunks(1, 1, 3, 4);
	chain_is(0, 5, IN_SYNC(1), IN_SYNC(2));
	chain_is(1, 5, IN_SYNC(2), NOBODY);
	registered(0, 1);
	assert_true(map_comes(10));
	registered(OUR_TARGET, 10);
	assert_null(worker.member_list);
	/* Known already; and one that was made before the registration. */
	assert_false(map_comes(9));
	registered(OUR_TARGET, 12);
	assert_null(worker.member_list);
	assert_true(map_comes(10));
	member = member_find(&worker, 1, 0, OUR_TARGET);
	assert_non_null(member);
	assert_true(chain_is_head(member->chain));
	/* Everything is looked at, though the map is the same. */
	purge_all();
	assert_int_equal(chunks(1, 1), 0);
}

static void test_a_map_from_before_the_registration_places_nothing(void **state)
{
	target()->entry = (struct target_entry){0};
	chain_is(0, 5, IN_SYNC(1), IN_SYNC(2));
	registered(0, 1);
	assert_true(map_comes(10));
	registered(OUR_TARGET, 12);
	assert_true(map_comes(11));
	assert_null(worker.member_list);
	chain_is(0, 6, IN_SYNC(2), SYNCING(1));
	assert_true(map_comes(12));
	assert_false(chain_is_head(member_find(&worker, 1, 0, OUR_TARGET)->chain));
}

static void asks(uint16_t flags, uint64_t client)
{
	struct chain_source source = {.conn = 1, .request_id = 1};
	struct frame_header header = {.op = FRAME_WRITE,
				      .flags = flags,
				      .key = {.pool = 1, .file_id = 9},
				      .epoch = 5,
				      .client_id = client,
				      .op_id = 1,
				      .length = 1};

	worker_time(&worker);
	chain_frame(member_find(&worker, 1, 0, OUR_TARGET)->chain, &source, &header,
		    payload_of(&fx, "x", 0, 1));
	worker_execute(&worker);
}

static void test_the_master_is_told_when_nothing_of_an_ended_session_is_left(void **state)
{
	uint64_t fenced = 7;

	worker.lease_until_ns = UINT64_MAX;
	chain_is(0, 5, IN_SYNC(1), NOBODY);
	publish();
	assert_int_equal(worker_fence_version(&worker), next_map.version);
	asks(FRAME_DURABLE, 7);
	assert_int_equal(chain_env_operations(target()->env), 1);
	next_map.fenced = &fenced;
	next_map.fenced_count = 1;
	publish();
	assert_int_equal(worker_fence_version(&worker), next_map.version - 1);
	/* Also by a later map. */
	publish();
	assert_int_equal(worker_fence_version(&worker), next_map.version - 2);
	asks(0, 7); /* a late one is refused, and changes nothing */
	while (worker_fence_version(&worker) != next_map.version)
		uv_run(&fx.loop, UV_RUN_ONCE);
	assert_int_equal(chain_env_fenced(target()->env), 0);
	assert_int_equal(chunks(1, 0), 1);
	/* One that is not placed yet does not say so. */
	worker.server_id = 0;
	publish();
	assert_int_equal(worker_fence_version(&worker), next_map.version - 1);
}

static void test_nothing_is_purged_on_the_word_of_an_older_chain(void **state)
{
	put_chunks(1, 0, 3, 4);
	put_chunks(1, 1, 3, 4);
	chain_is(0, 9, IN_SYNC(1), NOBODY);
	chain_is(1, 9, IN_SYNC(1), NOBODY);
	publish();
	/* Another process, and an older copy of the master's store. */
	links_free(&worker);
	members_free(&worker);
	chain_is(0, 8, IN_SYNC(2), NOBODY);
	chain_is(1, 8, IN_SYNC(1), NOBODY);
	publish();
	purge_all();
	assert_int_equal(chunks(1, 0), 3);
	assert_true(chain_count(member_find(&worker, 1, 1, OUR_TARGET)->chain).outdated);
	assert_false(chain_is_ready(member_find(&worker, 1, 1, OUR_TARGET)->chain));
	/* The right one. */
	chain_is(0, 10, IN_SYNC(2), NOBODY);
	chain_is(1, 9, IN_SYNC(1), NOBODY);
	publish();
	purge_all();
	assert_int_equal(chunks(1, 0), 0);
	assert_int_equal(chunks(1, 1), 3);
	assert_true(chain_is_ready(member_find(&worker, 1, 1, OUR_TARGET)->chain));
}

static void test_a_partition_that_comes_back_waits_for_the_batch_under_way(void **state)
{
	struct member *member;

	put_chunks(1, 0, 300, 4);
	chain_is(0, 5, IN_SYNC(2), NOBODY);
	publish();
	purge_tick(&worker, clock_monotonic_ns());
	assert_non_null(target()->purging);
	chain_is(0, 6, IN_SYNC(2), SYNCING(1));
	publish();
	assert_null(member_find(&worker, 1, 0, OUR_TARGET));
	while (target()->purging != NULL)
		uv_run(&fx.loop, UV_RUN_ONCE);
	member = member_find(&worker, 1, 0, OUR_TARGET);
	assert_non_null(member);
	assert_int_equal(chain_epoch(member->chain), 6);
	/* One batch is gone, the rest is for the walk to compare. */
	purge_all();
	assert_int_equal(chunks(1, 0), 300 - 128);
	assert_null(target()->purges);
}

static void test_a_purge_that_fails_is_tried_again(void **state)
{
	put_chunks(1, 0, 3, 4);
	chain_is(0, 5, IN_SYNC(2), NOBODY);
	publish();
	atomic_store(&fx.store->disk.down, -EIO);
	purge_tick(&worker, clock_monotonic_ns());
	assert_null(target()->purging);
	atomic_store(&fx.store->disk.down, 0);
	purge_all();
	assert_int_equal(chunks(1, 0), 3); /* not at once */
	target()->purge_at_ns = 0;
	purge_all();
	assert_int_equal(chunks(1, 0), 0);
}

static void test_links_follow_the_servers_and_stay_when_nothing_changes(void **state)
{
	struct member *member;
	struct link *link;

	chain_is(3, 5, IN_SYNC(1), IN_SYNC(2));
	publish();
	member = member_find(&worker, 1, 3, OUR_TARGET);
	link = member->link;
	assert_non_null(link);
	assert_int_equal(link->server_id, OTHER);
	assert_int_equal(link->remote_worker, 1);
	assert_string_equal(link->address, "127.0.0.1:1");
	/* Another partition changes: not this one. */
	chain_is(4, 5, IN_SYNC(2), NOBODY);
	publish();
	assert_ptr_equal(member->link, link);
	assert_int_equal(link->users, 1);
	snprintf(servers[1].address, sizeof(servers[1].address), "127.0.0.1:2");
	publish();
	assert_string_equal(member->link->address, "127.0.0.1:2");
	servers[1].workers = 1;
	publish();
	assert_int_equal(member->link->remote_worker, 0);
	chain_is(3, 6, IN_SYNC(1), OFFLINE(2));
	publish();
	assert_null(member->link);
	assert_null(worker.links);
}

static void test_a_server_that_is_not_heard_of_is_told_while_it_lasts(void **state)
{
	struct worker_status status;
	uint64_t now = clock_monotonic_ns();

	chain_is(3, 5, IN_SYNC(1), IN_SYNC(2)); /* nobody listens there */
	publish();
	for (unsigned i = 1; i < LINK_UNREACHABLE_TICKS; i++) {
		links_tick(&worker, now + i * 50 * NS_PER_MSEC);
		uv_run(&worker.loop, UV_RUN_NOWAIT);
		status_tick(&worker);
		worker_status(&worker, &status);
		assert_int_equal(status.unreachable_count, 0);
	}
	assert_int_equal(changes, 0);
	for (unsigned i = 0; i < 20; i++) {
		links_tick(&worker, now + 60 * 50 * NS_PER_MSEC);
		uv_run(&worker.loop, UV_RUN_NOWAIT);
		status_tick(&worker);
		worker_status(&worker, &status);
		assert_int_equal(status.unreachable_count, 1);
		assert_int_equal(status.unreachable[0], OTHER);
	}
	assert_int_equal(changes, 1); /* the master hears of it at once, and then with heartbeats */
	worker.links->unheard = 0;    /* what an answer does */
	status_tick(&worker);
	worker_status(&worker, &status);
	assert_int_equal(status.unreachable_count, 0);
	/* Wanted no more. */
	worker.links->unheard = 1000;
	chain_is(3, 6, IN_SYNC(1), OFFLINE(2));
	publish();
	status_tick(&worker);
	worker_status(&worker, &status);
	assert_int_equal(status.unreachable_count, 0);
}

/* ---- HELLO, with the data port on the same loop ---- */

#define OUR_INSTANCE 77u

static void on_adopt(void *user, struct conn *conn, const struct hello *hello)
{
	peer_adopt(user, conn, hello);
}

static bool no_session_is_over(void *user, uint64_t session)
{
	return false;
}

static struct acceptor *open_port(char *address, size_t size, uint64_t instance)
{
	struct acceptor_options options = {.loop = &worker.loop,
					   .listen = "127.0.0.1:0",
					   .tls = tls,
					   .pool = fx.pool,
					   .cluster = "test",
					   .workers = 2,
					   .instance = instance,
					   .adopt = on_adopt,
					   .is_over = no_session_is_over,
					   .user = &worker};
	struct acceptor *acceptor = NULL;

	assert_int_equal(acceptor_open(&options, &acceptor), 0);
	acceptor_set_server_id(acceptor, OTHER);
	snprintf(address, size, "127.0.0.1:%u", acceptor_port(acceptor));
	return acceptor;
}

/* Of a log that is this test's alone. */
static bool is_logged(const char *text)
{
	FILE *file = fopen(log_path, "r");
	char line[1024];
	bool found = false;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		found = found || strstr(line, text) != NULL;
	if (file != NULL)
		(void)fclose(file);
	return found;
}

static bool run_until_logged(const char *text)
{
	uint64_t until = clock_monotonic_ns() + 10 * NS_PER_SEC;

	while (!is_logged(text) && clock_monotonic_ns() < until) {
		links_tick(&worker, clock_monotonic_ns());
		uv_run(&worker.loop, UV_RUN_NOWAIT);
		usleep(2000);
	}
	return is_logged(text);
}

struct caller {
	struct conn *conn;
	uint64_t instance;
	unsigned ready, frames;
	bool closed;
	struct frame_header last;
};

static void say_hello(struct conn *conn, void *user, const struct tls_identity *peer)
{
	struct frame_header header = {.op = FRAME_HELLO, .request_id = 1, .length = HELLO_BYTES};
	struct hello hello = {.protocol = HELLO_PROTOCOL, .id = 5, .cluster = "test"};
	struct buf *payload = buf_get(fx.pool, HELLO_BYTES);
	struct caller *caller = user;

	hello.instance = caller->instance;
	hello_encode(&hello, payload->data);
	payload->length = HELLO_BYTES;
	block_checksums(payload->data, 0, HELLO_BYTES, payload->crcs);
	(void)conn_send(conn, &header, payload);
	buf_unref(payload);
	caller->ready++;
}

static void note_frame(struct conn *conn, void *user, const struct frame_header *header,
		       struct buf *payload)
{
	struct caller *caller = user;

	caller->frames++;
	caller->last = *header;
	buf_unref(payload);
}

static void note_closed(struct conn *conn, void *user, int closed_error)
{
	struct caller *caller = user;

	caller->closed = true;
	caller->conn = NULL;
}

static void call_port(struct caller *caller, SSL_CTX *as, const char *address, uint64_t instance)
{
	struct conn_options options = {
		.loop = &worker.loop,
		.tls = as,
		.pool = fx.pool,
		.callbacks = {.ready = say_hello, .frame = note_frame, .closed = note_closed},
		.user = caller,
		.server_role = TLS_ROLE_CHUNKSERVER};

	*caller = (struct caller){.instance = instance};
	assert_int_equal(conn_connect(&options, address, &caller->conn), 0);
}

static void hear(const struct caller *caller, unsigned frames)
{
	uint64_t until = clock_monotonic_ns() + 10 * NS_PER_SEC;

	while (caller->frames < frames && !caller->closed && clock_monotonic_ns() < until) {
		uv_run(&worker.loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
}

static void hang_up(struct caller *caller)
{
	if (caller->conn != NULL)
		conn_close(caller->conn);
	caller->conn = NULL;
}

static void end_port(struct acceptor *acceptor)
{
	peers_close(&worker);
	acceptor_close(acceptor);
	(void)log_open(NULL);
}

static void test_who_is_of_another_cluster_of_this_name_is_told_so(void **state)
{
	SSL_CTX *roles[2] = {client_tls, tls};
	struct caller caller;
	char address[64];
	struct acceptor *acceptor = open_port(address, sizeof(address), OUR_INSTANCE);

	for (unsigned i = 0; i < 2; i++) {
		(void)unlink(log_path);
		assert_int_equal(log_open(log_path), 0);
		call_port(&caller, roles[i], address, OUR_INSTANCE + 1);
		hear(&caller, 1);
		assert_int_equal(caller.frames, 1);
		assert_int_equal(caller.last.op, FRAME_HELLO);
		assert_int_equal(caller.last.status, EXDEV);
		assert_int_equal(caller.last.length, 0);
		assert_true(is_logged("of another cluster of this name"));
		/* It does not get any further. */
		hear(&caller, 2);
		assert_true(caller.closed);
		assert_int_equal(caller.frames, 1);
		assert_null(worker.peers);
	}
	end_port(acceptor);
}

static void test_a_successor_of_another_cluster_of_this_name_is_no_successor(void **state)
{
	struct acceptor *acceptor;

	(void)unlink(log_path);
	assert_int_equal(log_open(log_path), 0);
	worker.instance = OUR_INSTANCE;
	acceptor = open_port(servers[1].address, sizeof(servers[1].address), OUR_INSTANCE + 1);
	chain_is(3, 5, IN_SYNC(1), IN_SYNC(2));
	publish();
	assert_true(run_until_logged("HELLO was refused: the server is of another cluster"));
	assert_int_equal(worker.links->id, 0);
	end_port(acceptor);
}

static void test_a_chunk_of_a_file_id_above_52_bits_is_refused(void **state)
{
	struct frame_header write = {.op = FRAME_WRITE,
				     .request_id = 2,
				     .key = {.pool = 1, .file_id = ID_END},
				     .epoch = 5,
				     .client_id = 5,
				     .op_id = 1,
				     .length = 1};
	struct buf *payload = payload_of(&fx, "x", 0, 1);
	struct caller caller;
	char address[64];
	struct acceptor *acceptor = open_port(address, sizeof(address), OUR_INSTANCE);

	(void)unlink(log_path);
	assert_int_equal(log_open(log_path), 0);
	worker.lease_until_ns = UINT64_MAX;
	chain_is(0, 5, IN_SYNC(1), NOBODY);
	publish();
	call_port(&caller, client_tls, address, OUR_INSTANCE);
	hear(&caller, 1);
	assert_int_equal(caller.last.status, FRAME_OK);
	assert_int_equal(conn_send(caller.conn, &write, payload), 0);
	hear(&caller, 2);
	assert_int_equal(caller.last.op, FRAME_WRITE);
	assert_int_equal(caller.last.status, EINVAL);
	assert_true(is_logged("file ids have 52 bits"));
	assert_int_equal(chunks(1, 0), 0);
	assert_int_equal(chain_env_requests(target()->env), 0);
	buf_unref(payload);
	hang_up(&caller);
	end_port(acceptor);
}

static void test_the_master_hears_at_once_of_a_target_that_fails(void **state)
{
	put_chunks(1, 0, 3, 4);
	chain_is(0, 5, IN_SYNC(1), NOBODY);
	chain_is(1, 5, IN_SYNC(2), NOBODY);
	publish();
	atomic_store(&fx.store->disk.down, -EIO);
	for (unsigned i = 0; i < 3; i++)
		execute_check_store(target());
	assert_int_equal(changes, 1);
	assert_false(chain_is_ready(member_find(&worker, 1, 0, OUR_TARGET)->chain));
	atomic_store(&fx.store->disk.down, 0);
	execute_check_store(target());
	assert_int_equal(changes, 2);
	assert_true(chain_is_ready(member_find(&worker, 1, 0, OUR_TARGET)->chain));
}

static void test_copies_ask_the_rate_of_the_process(void **state)
{
	assert_true(execute_chain_ops.may_copy(target(), 1 << 20));
	copy_rate_set(&copy_rate, 0, true);
	assert_false(execute_chain_ops.may_copy(target(), 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_chunks_kept_elsewhere_are_deleted_and_no_others),
		TEST(test_a_member_is_told_before_its_chunks_go),
		TEST(test_a_target_that_gets_its_number_later_waits_for_a_map),
		TEST(test_a_map_from_before_the_registration_places_nothing),
		TEST(test_the_master_is_told_when_nothing_of_an_ended_session_is_left),
		TEST(test_nothing_is_purged_on_the_word_of_an_older_chain),
		TEST(test_a_partition_that_comes_back_waits_for_the_batch_under_way),
		TEST(test_a_purge_that_fails_is_tried_again),
		TEST(test_links_follow_the_servers_and_stay_when_nothing_changes),
		TEST(test_a_server_that_is_not_heard_of_is_told_while_it_lasts),
		TEST(test_who_is_of_another_cluster_of_this_name_is_told_so),
		TEST(test_a_successor_of_another_cluster_of_this_name_is_no_successor),
		TEST(test_a_chunk_of_a_file_id_above_52_bits_is_refused),
		TEST(test_the_master_hears_at_once_of_a_target_that_fails),
		TEST(test_copies_ask_the_rate_of_the_process),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
