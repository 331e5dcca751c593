/* master_chains_test - chains that change, over the wire.
 *
 * Goal: a lost server is out of its chains at once and comes back by being made equal; only those
 * are believed who may say it; what an administrator sets is kept, and works. Method: as in
 * master_servers_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/master/shell/master_servers_fixture.h"

/* ---- chains ---- */

static const Catena__ClusterMap *last_map(const void *message)
{
	const Catena__ServerPush *push = message;

	return push->n_maps == 0 ? NULL : push->maps[push->n_maps - 1];
}

/* In all chains this target is in this state; @arg: target and state. */
#define TARGET_STATE(target_, state_) ((uint64_t)(target_) << 8 | (state_))
static bool has_target_in_state(const void *message, uint64_t arg)
{
	const Catena__ClusterMap *map = last_map(message);
	size_t found = 0;

	if (map == NULL)
		return false;
	for (size_t p = 0; p < map->pools[0]->n_chains; p++) {
		const Catena__Chain *chain = map->pools[0]->chains[p];

		for (size_t i = 0; i < chain->n_members; i++) {
			if (chain->members[i]->target_id != arg >> 8)
				continue;
			found++;
			if (chain->members[i]->state != (arg & 0xff))
				return false;
		}
	}
	return found != 0;
}

static bool has_target_nowhere(const void *message, uint64_t target)
{
	const Catena__ClusterMap *map = last_map(message);

	if (map == NULL || map->pools[0]->chains[0]->epoch == 0)
		return false;
	for (size_t p = 0; p < map->pools[0]->n_chains; p++)
		for (size_t i = 0; i < map->pools[0]->chains[p]->n_members; i++)
			if (map->pools[0]->chains[p]->members[i]->target_id == target)
				return false;
	return true;
}

/* The tail of each chain of the last map reports its syncing successor as equal. @peers are by
 * target id. */
static void report_caught_up(const Catena__ServerPush *push, struct peer **peers)
{
	const Catena__ClusterMap *map = last_map(push);

	for (size_t p = 0; p < map->pools[0]->n_chains; p++) {
		const Catena__Chain *chain = map->pools[0]->chains[p];

		for (size_t i = 1; i < chain->n_members; i++) {
			Catena__ChainReport report = CATENA__CHAIN_REPORT__INIT,
					    *reports[1] = {&report};
			Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

			if (chain->members[i]->state != MEMBER_SYNCING)
				continue;
			report.pool = map->pools[0]->id;
			report.partition = (uint32_t)p;
			report.epoch = chain->epoch;
			report.target_id = chain->members[i]->target_id;
			report.kind = CATENA__CHAIN_REPORT_KIND__CHAIN_REPORT_CAUGHT_UP;
			batch.n_reports = 1;
			batch.reports = reports;
			peer_send(peers[chain->members[i - 1]->target_id], &batch.base);
		}
	}
}

static void test_a_lost_server_is_out_at_once_and_comes_back_by_being_made_equal(void **state)
{
	struct peer *by_target[8] = {0}, *third;
	Catena__ServerPush *push;
	uint64_t server, began_ns;
	struct beating b;

	three_servers(&b);
	for (int i = 0; i < 3; i++)
		by_target[b.targets[i]] = b.peers[i];
	push = server_push(b.peers[0], has_map_with_chains, 0);
	assert_non_null(push);
	free_push(push);
	/* Nobody listens at its address. */
	set_peer(&b, 2, NULL, &third);
	began_ns = clock_monotonic_ns();
	peer_close(third);
	push = server_push(b.peers[0], has_target_in_state,
			   TARGET_STATE(b.targets[2], MEMBER_OFFLINE));
	assert_non_null(push);
	free_push(push);
	assert_true(clock_monotonic_ns() - began_ns < fx.config.serving_lease_ns / 2);
	set_peer(&b, 2, server_up_again(3, 7, &server, &b.targets[2]), &third);
	push = server_push(b.peers[0], has_target_in_state,
			   TARGET_STATE(b.targets[2], MEMBER_SYNCING));
	assert_non_null(push);
	report_caught_up(push, by_target);
	free_push(push);
	push = server_push(b.peers[0], has_target_in_state,
			   TARGET_STATE(b.targets[2], MEMBER_IN_SYNC));
	assert_non_null(push);
	free_push(push);
	master_lock(fx.master);
	assert_int_equal(
		state_target_life(fx.master->state, "00000000-0000-0000-0000-000000000003"), 7);
	master_unlock(fx.master);
	close_all(&b);
}

static void test_strangers_reports_count_for_nothing(void **state)
{
	struct peer *liars[8] = {0}, *third;
	Catena__ServerPush *push;
	struct beating b;
	uint64_t server;

	three_servers(&b);
	push = server_push(b.peers[0], has_map_with_chains, 0);
	assert_non_null(push);
	free_push(push);
	set_peer(&b, 2, NULL, &third);
	peer_close(third);
	push = server_push(b.peers[0], has_target_in_state,
			   TARGET_STATE(b.targets[2], MEMBER_OFFLINE));
	assert_non_null(push);
	free_push(push);
	set_peer(&b, 2, server_up_again(3, 7, &server, &b.targets[2]), &third);
	push = server_push(b.peers[0], has_target_in_state,
			   TARGET_STATE(b.targets[2], MEMBER_SYNCING));
	assert_non_null(push);
	for (int i = 0; i < 8; i++)
		liars[i] = b.peers[2]; /* it would like to be in-sync */
	report_caught_up(push, liars);
	free_push(push);
	assert_null(peer_wait_for(b.peers[0], &catena__server_push__descriptor, has_target_in_state,
				  TARGET_STATE(b.targets[2], MEMBER_IN_SYNC), 300));
	close_all(&b);
}

#define OLD_DISK                                                                                   \
	{                                                                                          \
		CLUSTER, "store-1", "127.0.0.1:7401", "00000000-0000-0000-0000-000000000001", 0, 5 \
	}

/* Of three servers with lives of 9 all have gone; the first was the last, with @target. */
static void the_last_has_gone(uint32_t *target)
{
	Catena__ServerPush *push;
	struct beating b = {0};
	struct peer *p;
	uint64_t server;

	pthread_mutex_init(&b.lock, NULL);
	for (int i = 0; i < 3; i++)
		b.peers[i] = server_up_again(i + 1, 9, &server, &b.targets[i]);
	begin_beating(&b);
	push = server_push(b.peers[0], has_map_with_chains, 0);
	assert_non_null(push);
	free_push(push);
	/* All go; the first was the last. */
	for (int i = 2; i > 0; i--) {
		set_peer(&b, i, NULL, &p);
		peer_close(p);
		push = server_push(b.peers[0], has_target_in_state,
				   TARGET_STATE(b.targets[i], MEMBER_OFFLINE));
		assert_non_null(push);
		free_push(push);
	}
	*target = b.targets[0];
	close_all(&b);
	usleep(300000);
}

static void test_an_old_copy_of_a_disk_is_refused_with_a_reason(void **state)
{
	struct registration r = OLD_DISK;
	Catena__ServerPush *push;
	struct peer *p;
	uint32_t target;

	the_last_has_gone(&target);
	expect_refused(&r, ESTALE);
	r.life = 10;
	p = server_connect(&r);
	push = server_push(p, has_registered, 1);
	assert_non_null(push);
	assert_int_equal(push->registered[0]->error, 0);
	free_push(push);
	peer_close(p);
}

/* ---- administration ---- */

static Catena__AdminReply *admin(const struct ca_files *cert, const Catena__AdminRequest *request)
{
	struct rpc_client_options options = {.tls = cert->files, .server_role = TLS_ROLE_MASTER};
	size_t size = catena__admin_request__get_packed_size(request), reply_size = 0;
	uint8_t *data = malloc(size + 1), *reply = NULL;
	Catena__AdminReply *unpacked = NULL;
	struct rpc_client *client;
	char target[32], error[256];

	snprintf(target, sizeof(target), "127.0.0.1:%u", fx.port);
	options.target = target;
	assert_int_equal(rpc_client_open(&options, &client, error, sizeof(error)), 0);
	catena__admin_request__pack(request, data);
	if (rpc_call_wait(client, "/catena.Master/Admin", data, size, 5 * NS_PER_SEC, &reply,
			  &reply_size) == 0)
		unpacked = catena__admin_reply__unpack(NULL, reply_size, reply);
	free(reply);
	free(data);
	rpc_client_close(client);
	return unpacked;
}

static int admin_error(const Catena__AdminRequest *request)
{
	Catena__AdminReply *reply = admin(&fx.admin_cert, request);
	int error;

	assert_non_null(reply);
	assert_true(reply->message[0] != '\0');
	error = reply->error;
	catena__admin_reply__free_unpacked(reply, NULL);
	return error;
}

static void test_an_old_copy_is_refused_alone_until_an_administrator_takes_it(void **state)
{
	Catena__AcceptDataLossRequest accept = CATENA__ACCEPT_DATA_LOSS_REQUEST__INIT;
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	static const char second[] = "00000000-0000-0000-0000-00000000000a";
	struct registration r = OLD_DISK;
	const Catena__Registered *said;
	Catena__ServerPush *push;
	struct peer *p;
	uint32_t target;

	the_last_has_gone(&target);
	p = server_connect_with(&r, second);
	push = server_push(p, has_registered, 1);
	assert_non_null(push);
	said = push->registered[0];
	assert_int_equal(said->error, 0);
	assert_int_equal(said->n_targets, 2);
	assert_string_equal(said->targets[0]->uuid, second);
	assert_int_not_equal(said->targets[0]->target_id, 0);
	assert_int_equal(said->targets[0]->error, 0);
	assert_string_equal(said->targets[1]->uuid, r.uuid);
	assert_int_equal(said->targets[1]->target_id, 0);
	assert_int_equal(said->targets[1]->error, ESTALE);
	assert_non_null(strstr(said->message, r.uuid));
	free_push(push);
	request.op_case = CATENA__ADMIN_REQUEST__OP_ACCEPT_DATA_LOSS;
	request.accept_data_loss = &accept;
	accept.pool = 1;
	accept.partition = UINT32_MAX;
	accept.target_id = target;
	assert_int_equal(admin_error(&request), 0);
	/* It is asked for. */
	assert_true(peer_wait_closed(p));
	peer_close(p);
	p = server_connect_with(&r, second);
	push = server_push(p, has_registered, 1);
	assert_non_null(push);
	said = push->registered[0];
	assert_int_equal(said->error, 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(said->targets[i]->error, 0);
	assert_int_equal(said->targets[0]->target_id, target);
	free_push(push);
	peer_close(p);
}

/* A target that is refused has told what it has seen: nothing more is to come from it. */
static void test_a_refused_target_is_not_waited_for(void **state)
{
	Catena__AcceptDataLossRequest accept = CATENA__ACCEPT_DATA_LOSS_REQUEST__INIT;
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	struct registration r = OLD_DISK;
	uint32_t target;

	the_last_has_gone(&target);
	fixture_stop();
	fx.config.hear_wait_ns = 60 * NS_PER_SEC;
	assert_int_equal(fixture_start(), 0);
	request.op_case = CATENA__ADMIN_REQUEST__OP_ACCEPT_DATA_LOSS;
	request.accept_data_loss = &accept;
	accept.pool = 1;
	accept.partition = UINT32_MAX;
	accept.target_id = target;
	assert_int_equal(admin_error(&request), EAGAIN);
	expect_refused(&r, ESTALE);
	assert_int_equal(admin_error(&request), 0);
}

static bool has_recovery_of_rate(const void *message, uint64_t rate)
{
	const Catena__ServerPush *push = message;

	return push->n_recoveries != 0 && push->recoveries[push->n_recoveries - 1]->rate == rate;
}

static void test_administrators_set_what_is_kept(void **state)
{
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	Catena__AcceptDataLossRequest accept = CATENA__ACCEPT_DATA_LOSS_REQUEST__INIT;
	Catena__Recovery recovery = CATENA__RECOVERY__INIT;
	Catena__DrainRequest drain = CATENA__DRAIN_REQUEST__INIT;
	uint32_t ids[] = {99};
	struct state_recovery stored;
	Catena__ServerPush *push;
	struct beating b;
	uint64_t server;
	struct peer *a;

	three_servers(&b);
	push = server_push(b.peers[0], has_map_with_chains, 0);
	assert_non_null(push);
	free_push(push);
	request.op_case = CATENA__ADMIN_REQUEST__OP_RECOVERY;
	request.recovery = &recovery;
	recovery.rate = 4711;
	assert_null(admin(&fx.client_cert, &request));
	assert_int_equal(admin_error(&request), 0);
	push = server_push(b.peers[1], has_recovery_of_rate, 4711);
	assert_non_null(push);
	free_push(push);
	request.op_case = CATENA__ADMIN_REQUEST__OP__NOT_SET;
	assert_int_equal(admin_error(&request), EINVAL);
	request.op_case = CATENA__ADMIN_REQUEST__OP_DRAIN;
	request.drain = &drain;
	assert_int_equal(admin_error(&request), EINVAL);
	drain.n_target_ids = 1;
	drain.target_ids = ids;
	assert_int_equal(admin_error(&request), ENOENT);
	request.op_case = CATENA__ADMIN_REQUEST__OP_ACCEPT_DATA_LOSS;
	request.accept_data_loss = &accept;
	accept.pool = 1;
	accept.target_id = 99;
	assert_int_equal(admin_error(&request), ENOENT);
	accept.target_id = b.targets[0];
	assert_int_equal(admin_error(&request), EBUSY);
	accept.partition = UINT32_MAX;
	assert_int_equal(admin_error(&request), ENOENT);
	close_all(&b);
	fixture_stop();
	assert_int_equal(fixture_start(), 0);
	master_lock(fx.master);
	state_recovery(fx.master->state, &stored);
	master_unlock(fx.master);
	assert_int_equal(stored.rate, 4711);
	a = server_up(1, &server, ids);
	push = server_push(a, has_recovery_of_rate, 4711);
	assert_non_null(push);
	free_push(push);
	peer_close(a);
}

static void test_a_drained_target_knows_it_first(void **state)
{
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	Catena__DrainRequest drain = CATENA__DRAIN_REQUEST__INIT;
	struct peer *by_target[8] = {0}, *unused;
	Catena__ServerPush *push = NULL;
	uint64_t server;
	struct beating b;

	three_servers(&b);
	push = server_push(b.peers[0], has_map_with_chains, 0);
	assert_non_null(push);
	free_push(push);
	set_peer(&b, 3, server_up(4, &server, &b.targets[3]), &unused);
	for (int i = 0; i < 4; i++)
		by_target[b.targets[i]] = b.peers[i];
	request.op_case = CATENA__ADMIN_REQUEST__OP_DRAIN;
	request.drain = &drain;
	drain.n_target_ids = 1;
	drain.target_ids = &b.targets[0];
	assert_int_equal(admin_error(&request), 0);
	/* The others hear that it is out only when its lease is over: it never says that it knows.
	 */
	for (int i = 0; i < 200; i++) {
		push = peer_wait_for(b.peers[1], &catena__server_push__descriptor,
				     has_target_nowhere, b.targets[0], 100);
		if (push != NULL)
			break;
		push = server_push(b.peers[1], has_map_with_chains, 0);
		report_caught_up(push, by_target);
		free_push(push);
	}
	assert_non_null(push);
	free_push(push);
	push = server_push(b.peers[0], has_target_nowhere, b.targets[0]);
	assert_non_null(push);
	free_push(push);
	close_all(&b);
}

#define with_calm(test)   cmocka_unit_test_setup_teardown(test, fixture_setup_calm, fixture_teardown)
#define with_master(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_calm(test_a_lost_server_is_out_at_once_and_comes_back_by_being_made_equal),
		with_calm(test_strangers_reports_count_for_nothing),
		with_master(test_an_old_copy_of_a_disk_is_refused_with_a_reason),
		with_master(test_an_old_copy_is_refused_alone_until_an_administrator_takes_it),
		with_master(test_a_refused_target_is_not_waited_for),
		with_calm(test_administrators_set_what_is_kept),
		with_master(test_a_drained_target_knows_it_first),
	};

	return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
