/* Goal: a master that has started serves nobody before it has heard its targets, and one whose
 * store is behind what a target has seen serves nobody at all. Method: the master in this process,
 * chunkservers and clients that speak its protocol. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/cluster/hearing.h"
#include "master/older_store/hearing_rules.h"
#include "tests/unit/master/shell/master_fixture.h"
#include "tests/unit/master/shell/master_servers_fixture.h"

/* Three servers with all chains on them; then the master starts anew. */
static void restart_with_chains(void)
{
	Catena__ServerPush *push;
	struct beating b;

	three_servers(&b);
	push = server_push(b.peers[0], has_map_with_chains, 0);
	assert_non_null(push);
	free_push(push);
	close_all(&b);
	fixture_stop();
	assert_int_equal(fixture_start(), 0);
}

static struct state_seen seen_now(void)
{
	struct state_life life;

	state_life(fx.master->state, &life);
	return (struct state_seen){.life = life.number,
				   .chance = life.chance,
				   .version = state_map_version(fx.master->state)
					      << MAP_CHANGE_BITS};
}

static bool is_opened_within(struct peer *client, unsigned ms, int error)
{
	Catena__ClientPush *push =
		peer_wait_for(client, &catena__client_push__descriptor, has_opened, 1, ms);

	if (push == NULL)
		return false;
	assert_int_equal(push->opened[0]->error, error);
	if (error != 0)
		assert_non_null(strstr(push->opened[0]->message, "--accept-older-store"));
	push_free_unpacked(push);
	return true;
}

static bool has_any_map(const void *message, uint64_t n)
{
	return ((const Catena__ServerPush *)message)->n_maps > n;
}

static void test_nobody_is_let_in_before_the_targets_of_the_chains_are_heard(void **state)
{
	struct peer *client, *servers[3];
	Catena__ServerPush *push;
	uint64_t server;
	uint32_t target;

	fx.config.hear_wait_ns = 60 * NS_PER_SEC;
	restart_with_chains();
	client = client_open_stream(0, 0);
	assert_false(is_opened_within(client, 300, 0));
	for (int i = 0; i < 2; i++)
		servers[i] = server_up(i + 1, &server, &target);
	heartbeat(servers[0], 1, target, 0);
	assert_false(is_opened_within(client, 300, 0));
	/* Neither a map nor a lease. */
	assert_null(
		peer_wait_for(servers[0], &catena__server_push__descriptor, has_any_map, 0, 100));
	assert_null(peer_wait_for(servers[0], &catena__server_push__descriptor, has_server_renewed,
				  1, 100));
	servers[2] = server_up(3, &server, &target);
	assert_true(is_opened_within(client, PATIENCE_MS, 0));
	push = server_push(servers[0], has_any_map, 0);
	assert_non_null(push);
	free_push(push);
	for (int i = 0; i < 3; i++)
		peer_close(servers[i]);
	peer_close(client);
}

static void test_what_is_gone_for_good_is_not_waited_for_for_ever(void **state)
{
	struct peer *client;

	fx.config.hear_wait_ns = NS_PER_SEC;
	restart_with_chains();
	client = client_open_stream(0, 0);
	assert_false(is_opened_within(client, 300, 0));
	assert_true(is_opened_within(client, PATIENCE_MS, 0));
	peer_close(client);
}

static void expect_done(struct command_call *call, int status)
{
	assert_int_equal(status, 0);
}

static void expect_no_session(struct command_call *call, int status)
{
	assert_int_equal(status, -ENOENT);
}

/* The master ends while a server has yet to hear of what has changed in its chains. */
static void restart_with_fence(uint64_t server)
{
	struct chain_change change = {.pool = 1};
	struct command_call call = {.done = expect_done,
				    .command = {.kind = COMMAND_CHAINS,
						.chains = {.changes = &change,
							   .change_count = 1,
							   .fenced = &server,
							   .fenced_count = 1}}};

	restart_with_chains();
	master_lock(fx.master);
	change.chain = *cluster_map_chain(fx.master->published.map, 1, 0);
	change.chain.epoch++;
	command_log_propose(fx.master->log, &call);
	master_unlock(fx.master);
	fixture_stop();
	assert_int_equal(fixture_start(), 0);
}

/* Without one it could tell of no file where it is. */
static void test_a_mount_is_let_in_when_there_is_a_map_for_it(void **state)
{
	struct peer *client, *servers[3];
	Catena__ClientPush *push;
	uint64_t server;
	uint32_t target;

	restart_with_fence(1);
	client = client_open_stream(0, 0);
	for (int i = 0; i < 3; i++)
		servers[i] = server_up(i + 1, &server, &target);
	push = peer_wait_for(client, &catena__client_push__descriptor, has_opened, 1, PATIENCE_MS);
	assert_non_null(push);
	assert_int_equal(push->opened[0]->error, 0);
	assert_true(push->n_maps >= 1);
	push_free_unpacked(push);
	for (int i = 0; i < 3; i++)
		peer_close(servers[i]);
	peer_close(client);
}

static void expect_described(const char *text)
{
	char line[MASTER_BEHIND_MAX + 64] = "";

	master_lock(fx.master);
	(void)hearing_describe(fx.master, line, sizeof(line));
	master_unlock(fx.master);
	if (strstr(line, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", line, text);
}

/* By what it says nobody can tell how old the store is, and its number may be another's. */
static void test_a_new_server_waits_until_those_that_are_known_were_heard(void **state)
{
	struct registration r = {
		CLUSTER, "store-4", "127.0.0.1:7404", "00000000-0000-0000-0000-000000000004", 3, 9};
	struct peer *servers[3];
	uint64_t server;
	uint32_t target;

	fx.config.hear_wait_ns = 60 * NS_PER_SEC;
	restart_with_chains();
	expect_refused(&r, EAGAIN);
	expect_described("waits for the targets of its chains, among them target");
	for (int i = 0; i < 3; i++)
		servers[i] = server_up(i + 1, &server, &target);
	peer_close(server_up(4, &server, &target));
	assert_int_equal(target, 4);
	for (int i = 0; i < 3; i++)
		peer_close(servers[i]);
}

static void test_a_store_without_chains_waits_for_its_targets_somewhat(void **state)
{
	struct registration r = {
		CLUSTER, "store-4", "127.0.0.1:7404", "00000000-0000-0000-0000-000000000004", 3, 9};
	uint64_t server, from;
	uint32_t target;
	struct peer *client;

	peer_close(server_up(1, &server, &target));
	fixture_stop();
	fx.config.hear_wait_ns = 60 * NS_PER_SEC;
	from = clock_boottime_ns();
	assert_int_equal(fixture_start(), 0);
	expect_refused(&r, EAGAIN);
	expect_described("waits for the targets that it knows, among them target 1");
	client = client_open_stream(0, 0);
	assert_true(is_opened_within(client, PATIENCE_MS, 0));
	assert_true(clock_boottime_ns() - from >= HEARING_SHORT_NS);
	peer_close(server_up(4, &server, &target));
	assert_int_equal(target, 2);
	peer_close(client);
}

static void expect_nobody_served(void)
{
	struct registration other = {
		CLUSTER, "store-2", "127.0.0.1:7402", "00000000-0000-0000-0000-000000000002", 1, 9};
	struct peer *client = client_open_stream(0, 0);

	expect_refused(&other, ENOTRECOVERABLE);
	assert_true(is_opened_within(client, PATIENCE_MS, ENOTRECOVERABLE));
	peer_close(client);
}

static void test_a_master_behind_its_targets_serves_nobody(void **state)
{
	struct registration r = {
		CLUSTER, "store-1", "127.0.0.1:7401", "00000000-0000-0000-0000-000000000001", 0, 9};
	struct peer *client, *server;
	uint32_t target;
	bool may_serve;
	uint64_t id;

	client = client_open_stream(0, 0);
	assert_true(is_opened_within(client, PATIENCE_MS, 0));
	server = server_up_again(2, 9, &id, &target);
	told_seen = seen_now();
	told_seen.version += UINT64_C(1) << MAP_CHANGE_BITS;
	told_seen.version += UINT64_C(1) << (MAP_CHANGE_BITS + 4); /* servers come meanwhile */
	expect_refused(&r, ENOTRECOVERABLE);
	told_seen = (struct state_seen){0};
	assert_true(peer_wait_closed(client));
	assert_true(peer_wait_closed(server));
	peer_close(client);
	peer_close(server);
	expect_nobody_served();
	master_lock(fx.master);
	may_serve = master_may_serve(fx.master);
	master_unlock(fx.master);
	assert_false(may_serve);
}

static bool has_index(const void *message, uint64_t least)
{
	const Catena__ServerPush *push = message;

	return push->n_renewed != 0 && push->renewed[0]->index >= least;
}

/* A copy of the running master: nothing but commands came after it. */
static void test_a_master_that_lacks_commands_that_targets_know_of_serves_nobody(void **state)
{
	struct registration r = {
		CLUSTER, "store-2", "127.0.0.1:7402", "00000000-0000-0000-0000-000000000002", 1, 9};
	struct peer *server;
	uint64_t id, applied;
	uint32_t target;

	server = server_up(1, &id, &target);
	applied = command_log_applied(fx.master->log);
	heartbeat(server, 1, target, 0);
	free_push(server_push(server, has_index, applied));
	told_seen = seen_now();
	told_seen.index = applied + 1;
	expect_refused(&r, ENOTRECOVERABLE);
	told_seen = (struct state_seen){0};
	peer_close(server);
	expect_nobody_served();
}

static void test_another_copy_of_its_store_stops_it_while_it_waits(void **state)
{
	struct registration r = {
		CLUSTER, "store-1", "127.0.0.1:7401", "00000000-0000-0000-0000-000000000001", 0, 9};
	struct peer *client;

	fx.config.hear_wait_ns = 60 * NS_PER_SEC;
	restart_with_chains();
	client = client_open_stream(0, 0);
	assert_false(is_opened_within(client, 100, 0));
	told_seen = seen_now();
	told_seen.chance++;
	expect_refused(&r, ENOTRECOVERABLE);
	told_seen = (struct state_seen){0};
	/* Also who waited. */
	assert_true(is_opened_within(client, PATIENCE_MS, ENOTRECOVERABLE));
	peer_close(client);
	expect_nobody_served();
}

static void test_what_a_target_has_seen_of_it_is_fine(void **state)
{
	uint32_t target;
	struct peer *client;
	uint64_t id;

	for (int i = 0; i < 3; i++) {
		told_seen = seen_now();
		fixture_stop();
		assert_int_equal(fixture_start(), 0);
		peer_close(server_up_again(1, 9, &id, &target));
		told_seen = (struct state_seen){0};
		client = client_open_stream(0, 0);
		assert_true(is_opened_within(client, PATIENCE_MS, 0));
		peer_close(client);
	}
}

struct waiting {
	struct command_flush flush;
	atomic_bool done;
};

static void on_flushed(struct command_flush *flush, int status)
{
	assert_int_equal(status, 0);
	atomic_store(&((struct waiting *)flush)->done, true);
}

/* A command that is refused leaves nothing in the store but its index. */
static void test_what_changes_nothing_is_not_missed_after_a_restart(void **state)
{
	struct command_call call = {.done = expect_no_session,
				    .command = {.kind = COMMAND_SESSION_CLOSE, .session = 9}};
	struct waiting waiting = {.flush.done = on_flushed};
	struct peer *server, *client;
	uint32_t target;
	uint64_t id;

	server = server_up(1, &id, &target);
	master_lock(fx.master);
	command_log_propose(fx.master->log, &call);
	master_unlock(fx.master);
	command_log_flush(fx.master->log, &waiting.flush);
	while (!atomic_load(&waiting.done))
		usleep(1000);
	told_seen = seen_now();
	told_seen.index = command_log_durable(fx.master->log);
	assert_int_not_equal(told_seen.index, 0);
	peer_close(server);
	fixture_stop();
	assert_int_equal(fixture_start(), 0);
	peer_close(server_up_again(1, 9, &id, &target));
	told_seen = (struct state_seen){0};
	client = client_open_stream(0, 0);
	assert_true(is_opened_within(client, PATIENCE_MS, 0));
	peer_close(client);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_is_let_in_before_the_targets_of_the_chains_are_heard),
		TEST(test_what_is_gone_for_good_is_not_waited_for_for_ever),
		TEST(test_a_mount_is_let_in_when_there_is_a_map_for_it),
		TEST(test_a_new_server_waits_until_those_that_are_known_were_heard),
		TEST(test_a_store_without_chains_waits_for_its_targets_somewhat),
		TEST(test_a_master_behind_its_targets_serves_nobody),
		TEST(test_a_master_that_lacks_commands_that_targets_know_of_serves_nobody),
		TEST(test_another_copy_of_its_store_stops_it_while_it_waits),
		TEST(test_what_changes_nothing_is_not_missed_after_a_restart),
		TEST(test_what_a_target_has_seen_of_it_is_fine),
	};

	return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
