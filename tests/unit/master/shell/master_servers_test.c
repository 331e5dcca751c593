/* master_servers_test - chunkservers of the master, over the wire, and the removal of chunks.
 *
 * Goal: servers and targets keep their ids; chains are placed, and change with their members;
 * leases are renewed, and who is silent is offline on everybody's map; chunks of files that are
 * gone are named to every member until it has said that they are gone, over lost connections,
 * errors and restarts. Method: as in master_test.c, with peers that speak as chunkservers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "tests/unit/master/shell/master_servers_fixture.h"

/* ---- registration ---- */

static void test_ids_are_kept_over_reconnects_and_restarts(void **state)
{
	uint64_t server[2], again;
	uint32_t target[2], target_again;
	struct peer *a = server_up(1, &server[0], &target[0]);
	struct peer *b = server_up(2, &server[1], &target[1]);

	assert_int_not_equal(server[0], server[1]);
	assert_int_not_equal(target[0], target[1]);
	peer_close(a);
	a = server_up(1, &again, &target_again);
	assert_int_equal(again, server[0]);
	told_instance = state_instance(fx.master->state);
	assert_int_equal(target_again, target[0]);
	fixture_stop();
	assert_true(peer_wait_closed(a));
	peer_close(a);
	peer_close(b);
	assert_int_equal(fixture_start(), 0);
	b = server_up(2, &again, &target_again);
	told_instance = 0;
	assert_int_equal(again, server[1]);
	assert_int_equal(target_again, target[1]);
	peer_close(b);
}

static void test_wrong_registrations_are_refused_with_a_reason(void **state)
{
	struct registration r = {"another", "store-1", "127.0.0.1:1", "uuid-1", 0, 0};
	uint64_t server;
	uint32_t target;
	struct peer *p;

	expect_refused(&r, EXDEV);
	r.cluster = CLUSTER;
	r.name = "store-2"; /* the certificate is store-1's */
	expect_refused(&r, EACCES);
	r.name = "store-1";
	told_instance = state_instance(fx.master->state) + 1;
	expect_refused(&r, EXDEV);
	told_instance = 0;
	r.address = ""; /* not even a registration */
	p = server_connect(&r);
	assert_true(peer_wait_closed(p));
	peer_close(p);
	p = server_up(1, &server, &target);
	r.address = "127.0.0.1:9999";
	expect_refused(&r, EBUSY);
	/* A target that another server has. */
	r = (struct registration){
		CLUSTER, "store-2", "127.0.0.1:7402", "00000000-0000-0000-0000-000000000001", 1, 0};
	expect_refused(&r, EBUSY);
	peer_close(p);
}

/* Both are here before either is in a table: only one may have the target. */
static void test_of_two_copies_of_a_target_that_come_at_once_one_is_refused(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		char uuid[37];
		struct registration r[2] = {
			{CLUSTER, "store-1", "127.0.0.1:7401", uuid, 0, 0},
			{CLUSTER, "store-2", "127.0.0.1:7402", uuid, 1, 0},
		};
		struct peer *p[2];
		unsigned refused = 0;

		snprintf(uuid, sizeof(uuid), "00000000-0000-0000-0000-0000000001%02u", i);
		master_lock(fx.master);
		for (int j = 0; j < 2; j++)
			p[j] = server_connect(&r[j]);
		usleep(20000); /* only to have both wait for the lock */
		master_unlock(fx.master);
		for (int j = 0; j < 2; j++) {
			Catena__ServerPush *push = server_push(p[j], has_registered, 1);

			assert_non_null(push);
			refused += push->registered[0]->error == EBUSY ? 1 : 0;
			free_push(push);
		}
		assert_int_equal(refused, 1);
		for (int j = 0; j < 2; j++)
			peer_close(p[j]);
	}
}

static int listen_somewhere(char *address, size_t size)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
	snprintf(address, size, "127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

/* A master that has just started does not know whose leases the former one has renewed. */
static void test_a_lease_of_the_masters_last_life_keeps_targets_where_they_are(void **state)
{
	char address[32];
	struct registration owner = {
		CLUSTER, "store-1", address, "00000000-0000-0000-0000-000000000001", 0, 0};
	struct registration copy = {
		CLUSTER, "store-2", "127.0.0.1:7402", "00000000-0000-0000-0000-000000000001", 1, 0};
	struct registration double_of = owner;
	int fd = listen_somewhere(address, sizeof(address)), error = EBUSY;
	struct peer *p = server_connect(&owner);
	Catena__ServerPush *push = server_push(p, has_registered, 1);

	assert_non_null(push);
	assert_int_equal(push->registered[0]->error, 0);
	free_push(push);
	peer_close(p);
	fixture_stop();
	fx.config.serving_lease_ns = 30 * NS_PER_SEC;
	assert_int_equal(fixture_start(), 0);
	double_of.address = "127.0.0.1:9999";
	expect_refused(&copy, EBUSY);
	expect_refused(&double_of, EBUSY);
	/* Until nothing of that process is left. */
	close(fd);
	for (int i = 0; i < 100 && error != 0; i++) {
		p = server_connect(&copy);
		push = server_push(p, has_registered, 1);
		assert_non_null(push);
		error = push->registered[0]->error;
		free_push(push);
		peer_close(p);
		usleep(50000);
	}
	assert_int_equal(error, 0);
}

static void test_chains_are_placed_once_enough_targets_are_there(void **state)
{
	uint64_t server;
	uint32_t target, first, second;
	struct peer *a = server_up(1, &server, &first), *b = server_up(2, &server, &second), *c, *d;
	Catena__ServerPush *push = NULL;
	Catena__ClusterMap *map;
	uint64_t epoch_sum = 0, last = 0;

	assert_null(
		peer_wait_for(a, &catena__server_push__descriptor, has_map_with_chains, 0, 200));
	c = server_up(3, &server, &target);
	for (uint64_t i = 1; i < 80 && push == NULL; i++) {
		heartbeat(a, i, first, 0);
		heartbeat(b, i, second, 0);
		heartbeat(c, i, target, 0);
		push = peer_wait_for(a, &catena__server_push__descriptor, has_map_with_chains, 0,
				     100);
	}
	assert_non_null(push);
	map = push->maps[push->n_maps - 1];
	assert_int_equal(map->pools[0]->n_chains, 16);
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(map->pools[0]->chains[i]->n_members, 3);
		epoch_sum += map->pools[0]->chains[i]->epoch;
	}
	assert_int_equal(epoch_sum, 16);
	for (size_t i = 0; i < push->n_maps; i++) {
		assert_true(push->maps[i]->version > last);
		last = push->maps[i]->version;
	}
	free_push(push);
	/* They are not placed again, and a restarted master's maps are newer. */
	d = server_up(4, &server, &target);
	peer_close(a);
	peer_close(b);
	peer_close(c);
	peer_close(d);
	fixture_stop();
	assert_int_equal(fixture_start(), 0);
	a = server_up(1, &server, &target);
	push = server_push(a, has_map_with_chains, 0);
	assert_non_null(push);
	assert_true(push->maps[push->n_maps - 1]->version > last);
	assert_true(push->maps[push->n_maps - 1]->pools[0]->chains[3]->epoch >= 1);
	free_push(push);
	peer_close(a);
}

static void test_heartbeats_renew_and_silence_is_seen_by_all(void **state)
{
	struct beating b;
	Catena__ServerPush *push;

	three_servers(&b);
	push = server_push(b.peers[0], has_server_renewed, 1001);
	assert_non_null(push);
	free_push(push);
	push = server_push(b.peers[0], has_online, 3);
	assert_non_null(push);
	free_push(push);
	atomic_store(&b.paused[2], true);
	push = server_push(b.peers[0], has_online, 2);
	assert_non_null(push);
	free_push(push);
	atomic_store(&b.paused[2], false);
	push = server_push(b.peers[0], has_online, 3);
	assert_non_null(push);
	free_push(push);
	close_all(&b);
}

/* Long before its lease runs out, whether its address is a number or a name. */
static void test_who_is_gone_for_certain_is_seen_at_once(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost"};
	char address[32];
	struct registration r = {
		CLUSTER, "store-3", address, "00000000-0000-0000-0000-000000000003", 2, 0};
	uint64_t server, began_ns = clock_monotonic_ns();
	uint32_t target;
	struct peer *watcher;

	fixture_stop();
	fx.config.serving_lease_ns = 60 * NS_PER_SEC;
	assert_int_equal(fixture_start(), 0);
	watcher = server_up(1, &server, &target);
	for (size_t i = 0; i < 2; i++) {
		struct peer *p;
		Catena__ServerPush *push;

		snprintf(address, sizeof(address), "%s:1", hosts[i]);
		p = server_connect(&r);
		push = server_push(p, has_registered, 1);
		assert_non_null(push);
		assert_int_equal(push->registered[0]->error, 0);
		free_push(push);
		push = server_push(watcher, has_online, 2);
		assert_non_null(push);
		free_push(push);
		peer_close(p);
		push = server_push(watcher, has_online, 1);
		assert_non_null(push);
		free_push(push);
	}
	assert_true(clock_monotonic_ns() - began_ns < 40 * NS_PER_SEC);
	peer_close(watcher);
}

static void test_a_heartbeat_without_registration_ends_the_stream(void **state)
{
	struct peer *p = peer_open(&fx.server_certs[0], PATH);

	heartbeat(p, 1, 1, 0);
	assert_true(peer_wait_closed(p));
	peer_close(p);
}

/* ---- removal ---- */

/* A file of @size bytes, made and unlinked. */
static void make_and_unlink(uint64_t size)
{
	struct peer *client = client_open_stream(0, 0);
	Catena__ClientPush *push = peer_push(client, has_opened, 1);

	assert_non_null(push);
	push_free_unpacked(push);
	send_create(client, 1, "doomed", false);
	push = peer_push(client, has_reply, 1);
	assert_non_null(push);
	assert_int_equal(find_reply(push, 1)->error, 0);
	send_grow(client, 2, find_reply(push, 1)->attr, size);
	push_free_unpacked(push);
	send_unlink(client, 3, "doomed");
	push = peer_push(client, has_reply, 3);
	assert_non_null(push);
	assert_int_equal(find_reply(push, 2)->error, 0);
	assert_int_equal(find_reply(push, 3)->error, 0);
	push_free_unpacked(push);
	peer_close(client);
}

/* @again: all of the chunks may come back. */
static void answer(struct peer *p, const Catena__Remove *remove, int error, bool again)
{
	Catena__Removed removed = CATENA__REMOVED__INIT, *list[1] = {&removed};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

	removed.sequence = remove->sequence;
	removed.target_id = remove->target_id;
	removed.error = error;
	removed.again = remove->chunks;
	removed.n_again = again ? remove->n_chunks : 0;
	batch.n_removed = 1;
	batch.removed = list;
	peer_send(p, &batch.base);
}

/* Answers what is asked of @p within @ms; returns how many chunks that were. */
static size_t answer_some(struct peer *p, int error, bool again, unsigned ms)
{
	Catena__ServerPush *push =
		peer_take(p, &catena__server_push__descriptor, has_removes, 1, ms);
	size_t chunks = 0;

	if (push == NULL)
		return 0;
	for (size_t i = 0; i < push->n_removes; i++) {
		chunks += push->removes[i]->n_chunks;
		for (size_t c = 0; c < push->removes[i]->n_chunks; c++)
			assert_int_not_equal(push->removes[i]->chunks[c]->epoch, 0);
		answer(p, push->removes[i], error, again);
	}
	free_push(push);
	return chunks;
}

/* Answers whoever is asked next; returns who it is. */
static int next_answers(struct beating *b, int error, bool again)
{
	for (int round = 0; round < 400; round++)
		for (int i = 0; i < 3; i++)
			if (answer_some(b->peers[i], error, again, 5) != 0)
				return i;
	fail_msg("nobody is asked");
	return -1;
}

/* Each of the three is asked for @chunks, in some order. */
static void all_answer(struct beating *b, size_t chunks)
{
	size_t asked[3] = {0};

	while (asked[0] + asked[1] + asked[2] < 3 * chunks) {
		size_t before = asked[0] + asked[1] + asked[2];

		for (int round = 0; round < 400 && asked[0] + asked[1] + asked[2] == before;
		     round++)
			for (int i = 0; i < 3; i++)
				asked[i] += answer_some(b->peers[i], 0, false, 5);
		assert_true(asked[0] + asked[1] + asked[2] > before);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(asked[i], chunks);
}

static uint64_t queue_length(void)
{
	struct state_counts counts;

	master_lock(fx.master);
	state_counts(fx.master->state, &counts);
	master_unlock(fx.master);
	return counts.removals;
}

static bool queue_empties(void)
{
	for (unsigned i = 0; i < PATIENCE_MS && queue_length() != 0; i++)
		usleep(1000);
	return queue_length() == 0;
}

static void test_all_chunks_are_named_to_all_members(void **state)
{
	struct beating b;

	three_servers(&b);
	make_and_unlink((10ull << 20) + 1); /* 11 chunks of 1 MiB */
	all_answer(&b, 11);
	assert_true(queue_empties());
	close_all(&b);
}

static void test_a_large_file_goes_in_several_batches(void **state)
{
	struct beating b;

	three_servers(&b);
	make_and_unlink(5000ull << 20);
	all_answer(&b, 5000);
	assert_true(queue_empties());
	close_all(&b);
}

static void test_nothing_is_forgotten_when_a_member_fails_or_goes(void **state)
{
	struct beating b;
	struct peer *gone;
	uint64_t server;
	int head, second, third;

	three_servers(&b);
	make_and_unlink(1 << 20);
	head = next_answers(&b, 0, false);
	second = next_answers(&b, EIO, false);
	assert_int_not_equal(head, second);
	third = 3 - head - second;
	/* From the head on again; this time one is gone before it answers. */
	assert_int_equal(next_answers(&b, 0, false), head);
	assert_int_equal(next_answers(&b, 0, false), second);
	set_peer(&b, third, NULL, &gone);
	peer_close(gone);
	usleep(500000);
	assert_int_equal(queue_length(), 1);
	set_peer(&b, third, server_up(third + 1, &server, &b.targets[third]), &gone);
	assert_int_equal(next_answers(&b, 0, false), head);
	assert_int_equal(next_answers(&b, 0, false), second);
	assert_int_equal(queue_length(), 1);
	assert_int_equal(next_answers(&b, 0, false), third);
	assert_true(queue_empties());
	close_all(&b);
}

static void test_what_may_come_back_is_removed_once_more(void **state)
{
	struct beating b;
	int head, second;

	three_servers(&b);
	make_and_unlink(1 << 20);
	head = next_answers(&b, 0, false);
	second = next_answers(&b, 0, true);
	assert_int_not_equal(head, second);
	assert_int_equal(next_answers(&b, 0, false), 3 - head - second);
	assert_int_equal(queue_length(), 1);
	assert_int_equal(next_answers(&b, 0, false), head);
	assert_int_equal(next_answers(&b, 0, false), second);
	assert_int_equal(next_answers(&b, 0, false), 3 - head - second);
	assert_true(queue_empties());
	close_all(&b);
}

static void test_a_restarted_master_goes_on_removing(void **state)
{
	struct beating b;

	three_servers(&b);
	make_and_unlink(3 << 20);
	close_all(&b);
	fixture_stop();
	assert_int_equal(fixture_start(), 0);
	assert_int_equal(queue_length(), 1);
	three_servers(&b);
	all_answer(&b, 3);
	assert_true(queue_empties());
	close_all(&b);
}

/* Nobody is out of a chain because a test takes its time. */
static int patient_setup(void **state)
{
	if (fixture_setup(state) != 0)
		return -1;
	fixture_stop();
	fx.config.gather_ns = 60 * NS_PER_SEC;
	return fixture_start();
}

#define with_patience(test) cmocka_unit_test_setup_teardown(test, patient_setup, fixture_teardown)
#define with_calm(test)     cmocka_unit_test_setup_teardown(test, fixture_setup_calm, fixture_teardown)
#define with_master(test)   cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_calm(test_ids_are_kept_over_reconnects_and_restarts),
		with_calm(test_wrong_registrations_are_refused_with_a_reason),
		with_calm(test_of_two_copies_of_a_target_that_come_at_once_one_is_refused),
		with_master(test_a_lease_of_the_masters_last_life_keeps_targets_where_they_are),
		with_calm(test_chains_are_placed_once_enough_targets_are_there),
		with_master(test_heartbeats_renew_and_silence_is_seen_by_all),
		with_master(test_who_is_gone_for_certain_is_seen_at_once),
		with_calm(test_a_heartbeat_without_registration_ends_the_stream),
		with_patience(test_all_chunks_are_named_to_all_members),
		with_patience(test_a_large_file_goes_in_several_batches),
		with_patience(test_nothing_is_forgotten_when_a_member_fails_or_goes),
		with_patience(test_what_may_come_back_is_removed_once_more),
		with_patience(test_a_restarted_master_goes_on_removing),
	};

	return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
